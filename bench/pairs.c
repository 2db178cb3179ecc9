/* `pairs` and `open`: two people in each of many conversations.
 *
 * One of a pair sends, the other confirms. A message is done when it has been
 * answered `sent` (it is on disk), received by the other device, and the
 * `delivered` receipt for it is back. In a conversation only one person sends,
 * so the n-th message has sequence n, and holes, repeats and wrong order show at
 * once: every sequence is checked on both sides.
 *
 * `pairs` keeps a number of messages in flight per pair (closed loop) and counts
 * what is done in the measured time; before it the bare relay (relay.h) runs on the
 * same cores, to be compared with. `open` sends at fixed times, whatever comes
 * back, and takes the latency from the time at which the message should have
 * left: a server that stalls is not spared the messages that were due meanwhile.
 */
#include "relay.h"

#include <sched.h>
#include <stdlib.h>
#include <time.h>

enum { RING = 1024 }; /* messages of a pair that may be unanswered */

struct load;
struct pair {
    struct load *load;
    struct conn sender, receiver;
    struct send_template template;
    uint64_t started;        /* messages sent off */
    uint64_t sent;           /* answered, in order */
    uint64_t received;       /* by the other device, in order */
    uint64_t confirmed;      /* delivered receipt is back */
    uint64_t done;           /* all three */
    uint64_t acked;          /* last mark that the receiver has told */
    char conversation[ID_TEXT_LEN + 1];
    struct deferred ack;
    uint64_t *at_us;         /* when message n was (to be) sent, n % RING */
};
struct load {
    struct bench *bench;
    struct pair *pairs;
    struct account *accounts;
    size_t count;
    uint64_t inflight;       /* 0: fixed rate */
    bool sending, measuring;
    uint64_t done;           /* in the measured time */
    struct histogram_us latency;
    uint64_t generator_us;
    uint64_t overrun;        /* could not be sent: too many unanswered */
};

static void pair_send(struct pair *p, uint64_t at_us)
{
    p->started++;
    p->at_us[p->started % RING] = at_us;
    send_message(&p->sender, &p->template);
}

static void pair_progress(struct pair *p)
{
    uint64_t reached = p->sent;
    if (p->received < reached) reached = p->received;
    if (p->confirmed < reached) reached = p->confirmed;
    struct load *l = p->load;
    if (l->measuring && reached > p->done) l->done += reached - p->done;
    if (reached > p->done) p->done = reached;
    while (l->sending && l->inflight && p->started - p->done < l->inflight) pair_send(p, bench_now_us());
}

static void on_sender(struct conn *c, struct slice text)
{
    struct pair *p = c->owner;
    struct load *l = p->load;
    if (text_is(text, "message.sent")) {
        uint64_t sequence = text_u64(text, "\"sequence\":");
        if (sequence != p->sent + 1) l->bench->protocol_faults++;
        p->sent = sequence;
        if (l->measuring) histogram_us_add(&l->latency, bench_now_us() - p->at_us[sequence % RING]);
        pair_progress(p);
    } else if (text_is(text, "message.delivered")) {
        uint64_t sequence = text_u64(text, "\"sequence\":");
        if (sequence > p->confirmed) p->confirmed = sequence;
        pair_progress(p);
    } else if (text_is(text, "error")) {
        count_error(l->bench, text);
    }
}

static void ack_run(struct deferred *d, struct loop *loop)
{
    (void)loop;
    struct pair *p = (struct pair *)((char *)d - offsetof(struct pair, ack));
    if (p->acked == p->received) return;
    char text[192];
    int n = snprintf(text, sizeof text, "{\"type\":\"message.delivered\",\"conversationId\":\"%s\",\"sequence\":%llu}",
                     p->conversation, (unsigned long long)p->received);
    p->acked = p->received;
    conn_send(&p->receiver, slice_of(text, (size_t)n));
}

static void on_receiver(struct conn *c, struct slice text)
{
    struct pair *p = c->owner;
    if (!text_is(text, "message.new")) {
        /* A reader that lags gets the rest from the store, which this does not read:
         * more in flight than --window-bytes of the server allows. */
        if (text_is(text, "error") || text_is(text, "flow_control")) count_error(p->load->bench, text);
        return;
    }
    uint64_t sequence = text_u64(text, "\"sequence\":");
    if (sequence != p->received + 1) p->load->bench->protocol_faults++;
    else p->received = sequence;
    if (!p->conversation[0]) {
        struct slice id = text_string(text, "\"conversationId\":");
        if (id.len == ID_TEXT_LEN) memcpy(p->conversation, id.data, ID_TEXT_LEN);
    }
    loop_defer(p->load->bench->loop, &p->ack);
    pair_progress(p);
}

static bool load_open(struct load *l, struct bench *b)
{
    l->bench = b;
    l->count = (size_t)b->options->pairs;
    l->pairs = calloc(l->count, sizeof *l->pairs);
    l->accounts = calloc(2 * l->count, sizeof *l->accounts);
    SOTTO_ASSERT(l->pairs && l->accounts);
    if (!accounts_make(b, 2 * l->count, 1, l->accounts)) return false;
    for (size_t i = 0; i < l->count; i++) {
        struct pair *p = &l->pairs[i];
        p->load = l;
        p->ack.run = ack_run;
        p->at_us = calloc(RING, sizeof *p->at_us);
        SOTTO_ASSERT(p->at_us != NULL);
        p->sender.owner = p->receiver.owner = p;
        p->sender.message = on_sender;
        p->receiver.message = on_receiver;
        send_template_init(&p->template, l->accounts[2 * i + 1].user, (size_t)b->options->payload, i);
        if (!conn_open(b, &p->sender, &l->accounts[2 * i]) || !conn_open(b, &p->receiver, &l->accounts[2 * i + 1]))
            return false;
        if (i % 64 == 63) loop_turn(b->loop, 0);
    }
    return true;
}

static bool load_live(void *ctx)
{
    const struct load *l = ctx;
    for (size_t i = 0; i < l->count; i++)
        if (l->pairs[i].sender.state != CONN_LIVE || l->pairs[i].receiver.state != CONN_LIVE) return false;
    return true;
}

static bool load_drained(void *ctx)
{
    const struct load *l = ctx;
    for (size_t i = 0; i < l->count; i++) {
        const struct pair *p = &l->pairs[i];
        if (p->sent < p->started || p->received < p->sent || p->confirmed < p->sent) return false;
    }
    return true;
}

static bool load_closed(void *ctx)
{
    const struct load *l = ctx;
    for (size_t i = 0; i < l->count; i++)
        if (l->pairs[i].sender.stream || l->pairs[i].receiver.stream) return false;
    return true;
}

static void load_close(struct load *l)
{
    for (size_t i = 0; i < l->count; i++) {
        conn_close(&l->pairs[i].sender);
        conn_close(&l->pairs[i].receiver);
    }
    (void)bench_wait(l->bench, load_closed, l, 5000, "closing connections");
    for (size_t i = 0; i < l->count; i++) {
        send_template_deinit(&l->pairs[i].template);
        free(l->pairs[i].at_us);
    }
    free(l->pairs);
    free(l->accounts);
}

/* Answered `sent`, but never seen by the other device. */
static uint64_t load_lost(const struct load *l)
{
    uint64_t lost = 0;
    for (size_t i = 0; i < l->count; i++)
        if (l->pairs[i].sent > l->pairs[i].received) lost += l->pairs[i].sent - l->pairs[i].received;
    return lost;
}

static void turn_until(struct load *l, uint64_t until_us)
{
    while (bench_now_us() < until_us) loop_turn(l->bench->loop, 1);
}

struct measured {
    double seconds;
    uint64_t cpu_us;
    uint64_t generator_us; /* our own processor time: near `seconds`, we are the limit */
};

static uint64_t generator_cpu_us(void)
{
    struct timespec t;
    return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0
               ? (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000 : 0;
}

static void measure_begin(struct load *l, struct usage *before, uint64_t *begin_us)
{
    (void)server_usage(&l->bench->server, before);
    l->done = l->overrun = 0;
    memset(&l->latency, 0, sizeof l->latency);
    l->measuring = true;
    l->generator_us = generator_cpu_us();
    *begin_us = bench_now_us();
}

static struct measured measure_end(struct load *l, const struct usage *before, uint64_t begin_us)
{
    struct usage after = {0};
    struct measured m = {.seconds = (double)(bench_now_us() - begin_us) / 1e6};
    l->measuring = false;
    m.generator_us = generator_cpu_us() - l->generator_us;
    if (server_usage(&l->bench->server, &after)) m.cpu_us = after.cpu_us - before->cpu_us;
    return m;
}

static struct measured run_closed(struct load *l, uint64_t inflight, uint64_t warmup_s, uint64_t seconds)
{
    struct usage before = {0};
    uint64_t begin;
    l->inflight = inflight;
    l->sending = true;
    for (size_t i = 0; i < l->count; i++) pair_progress(&l->pairs[i]);
    turn_until(l, bench_now_us() + warmup_s * 1000000);
    measure_begin(l, &before, &begin);
    turn_until(l, begin + seconds * 1000000);
    struct measured m = measure_end(l, &before, begin);
    l->sending = false;
    return m;
}

bool scenario_pairs(struct bench *b)
{
    const struct options *o = b->options;
    struct load l = {0};
    struct relay_result *relay;
    bool ok = relay_beside(b, o->inflight, 0, &relay);
    ok = load_open(&l, b) && bench_wait(b, load_live, &l, 60000, "opening connections") && ok;
    if (ok) {
        struct report r;
        report_init(&r, "pairs");
        struct measured m = run_closed(&l, o->inflight, o->warmup, o->seconds);
        r.msgs = l.done;
        r.seconds = m.seconds;
        r.cpu_us = m.cpu_us;
        r.latency = &l.latency;
        ok = bench_wait(b, load_drained, &l, 10000, "the last messages");
        r.lost = (int64_t)load_lost(&l);
        report_u64(&r, "pairs", o->pairs);
        report_u64(&r, "inflight", o->inflight);
        report_u64(&r, "payload", o->payload);
        if (r.msgs) report_double(&r, "generator_cpu_us_per_msg", (double)m.generator_us / (double)r.msgs);
        if (r.msgs && relay != NULL) {
            double cost = (double)relay->cpu_us / (double)relay->msgs;
            report_double(&r, "relay_cpu_us_per_msg", cost);
            report_double(&r, "relay_ratio", (double)r.cpu_us / (double)r.msgs / cost);
        }
        report_print(b, &r);
        ok = ok && r.lost == 0 && b->protocol_faults == 0;
    }
    free(relay);
    load_close(&l);
    return ok;
}

/* ---- open ------------------------------------------------------------------ */

static struct measured run_open(struct load *l, uint64_t rate, uint64_t warmup_s, uint64_t seconds)
{
    struct usage before = {0};
    uint64_t start = bench_now_us(), begin = 0, sent = 0;
    uint64_t end = start + (warmup_s + seconds) * 1000000;
    l->inflight = 0;
    for (uint64_t now = start; now < end; now = bench_now_us()) {
        if (!begin && now >= start + warmup_s * 1000000) measure_begin(l, &before, &begin);
        for (int burst = 0; burst < 256; burst++) {
            uint64_t due = start + sent * 1000000 / rate;
            if (due > now) break;
            struct pair *p = &l->pairs[sent * BENCH_STRIDE % l->count];
            if (p->started - p->sent >= RING) l->overrun++;
            else pair_send(p, due);
            sent++;
        }
        loop_turn(l->bench->loop, 0);
        /* Sleeping until the next is due would cost more than it saves, and be late.
         * But the kernel finishes the server's writes on this core, too. */
        (void)sched_yield();
    }
    return measure_end(l, &before, begin);
}

bool scenario_open(struct bench *b)
{
    const struct options *o = b->options;
    struct load l = {0};
    uint64_t rate = o->rate, maximum = 0;
    bool ok = load_open(&l, b) && bench_wait(b, load_live, &l, 60000, "opening connections");
    if (ok && rate == 0) {
        /* One in flight: at a fixed rate a message hardly ever shares a turn with
         * another of its connection, so this is what the server can sustain here. */
        struct measured m = run_closed(&l, 1, 1, 3);
        maximum = (uint64_t)((double)l.done / m.seconds);
        rate = maximum / 2;
        ok = bench_wait(b, load_drained, &l, 10000, "the measured maximum");
        (void)fprintf(stderr, "open: maximum %llu/s, rate %llu/s\n", (unsigned long long)maximum,
                      (unsigned long long)rate);
    }
    if (ok && rate) {
        struct report r;
        struct relay_result *relay;
        report_init(&r, "open");
        ok = relay_beside(b, 0, rate, &relay);
        struct measured m = run_open(&l, rate, o->warmup, o->seconds);
        r.msgs = l.done;
        r.seconds = m.seconds;
        r.cpu_us = m.cpu_us;
        r.latency = &l.latency;
        ok = bench_wait(b, load_drained, &l, 10000, "the last messages") && ok;
        r.lost = (int64_t)load_lost(&l);
        report_u64(&r, "pairs", o->pairs);
        report_u64(&r, "rate", rate);
        if (relay != NULL) {
            report_double(&r, "relay_p50_ms", histogram_us_ms(&relay->latency, 0.5));
            report_double(&r, "relay_p99_ms", histogram_us_ms(&relay->latency, 0.99));
        }
        free(relay);
        if (maximum) report_u64(&r, "maximum", maximum);
        report_u64(&r, "payload", o->payload);
        if (l.overrun) report_u64(&r, "overrun", l.overrun);
        report_print(b, &r);
        ok = ok && r.lost == 0 && b->protocol_faults == 0;
    }
    load_close(&l);
    return ok;
}
