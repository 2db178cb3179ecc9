/* Loading the bare relay; see relay.h. */
#include "relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RING = 1024, EVENTS = 256, WARMUP_MS = 500, IDLE_MS = 5000 };

struct end {
    struct relay_end wire;
    uint64_t seen;           /* frames received, in order */
};
struct couple {
    struct end sender, receiver;
    uint64_t started;
    uint64_t at_us[RING];
};
struct relay_load {
    size_t count, send_len, new_len;
    struct relay_plan plan;
    uint64_t paced;          /* at a fixed rate: messages that were due so far */
    bool sending, measuring;
    struct couple *couples;
    struct couple **due;     /* may send at the end of this turn */
    size_t due_count;
    int poll;
    uint8_t *scratch;
    struct relay_result *result;
};

static void couple_due(struct relay_load *l, struct couple *c)
{
    if (c->sender.wire.due) return;
    c->sender.wire.due = true;
    l->due[l->due_count++] = c;
}

static uint64_t couple_done(const struct couple *c)
{
    return c->sender.seen < c->receiver.seen ? c->sender.seen : c->receiver.seen;
}

static void frame_seen(struct relay_load *l, struct couple *c, struct end *e, uint64_t number)
{
    uint64_t done = couple_done(c);
    if (number != e->seen + 1) l->result->faults++;
    e->seen++;
    if (l->measuring && e == &c->sender) histogram_us_add(&l->result->latency, bench_now_us() - c->at_us[e->seen % RING]);
    if (couple_done(c) == done) return;
    if (l->measuring) l->result->msgs++;
    couple_due(l, c);
}

static bool on_ready(struct relay_load *l, struct couple *c, struct end *e, uint32_t events)
{
    size_t frame_len = e == &c->sender ? (size_t)RELAY_SENT_LEN : l->new_len;
    if ((events & EPOLLOUT) && e->wire.count > 0) couple_due(l, c);
    if (!(events & ~(uint32_t)EPOLLOUT)) return true;
    for (ssize_t n = RELAY_SCRATCH; n == RELAY_SCRATCH;) {
        uint64_t number;
        n = recv(e->wire.fd, l->scratch, RELAY_SCRATCH, 0);
        if (n <= 0) return n < 0 && errno == EAGAIN;
        struct slice bytes = slice_of(l->scratch, (size_t)n);
        while (relay_next(&e->wire, frame_len, &bytes, &number)) frame_seen(l, c, e, number);
    }
    return true;
}

static bool send_due(struct relay_load *l)
{
    bool ok = true;
    for (size_t i = 0; i < l->due_count; i++) {
        struct couple *c = l->due[i];
        struct relay_end *wire = &c->sender.wire;
        wire->due = false;
        if (wire->count == 0) wire->first = c->started + 1;
        for (; l->sending && c->started - couple_done(c) < l->plan.inflight; wire->count++)
            c->at_us[++c->started % RING] = bench_now_us();
        ok = relay_write(wire, l->send_len, l->scratch) && ok;
    }
    l->due_count = 0;
    return ok;
}

/* Sends what is due by the clock; a pair that is RING behind leaves out its turn. */
static void pace(struct relay_load *l, uint64_t begin_us)
{
    uint64_t now = bench_now_us();
    for (int burst = 0; burst < 256; burst++, l->paced++) {
        uint64_t due_us = begin_us + l->paced * 1000000 / l->plan.rate;
        if (due_us > now) return;
        struct couple *c = &l->couples[l->paced * BENCH_STRIDE % l->count];
        if (c->started - couple_done(c) >= RING) continue;
        if (c->sender.wire.count++ == 0) c->sender.wire.first = c->started + 1;
        c->at_us[++c->started % RING] = due_us;
        couple_due(l, c);
    }
}

/* False when the relay is gone, or nothing has happened for IDLE_MS. */
static bool load_turn(struct relay_load *l)
{
    struct epoll_event events[EVENTS];
    bool polling = l->sending && l->plan.inflight == 0;
    int n = epoll_wait(l->poll, events, EVENTS, polling ? 0 : IDLE_MS);
    bool ok = n > 0 || (polling && n == 0);
    for (int i = 0; i < n && ok; i++) {
        struct couple *c = &l->couples[events[i].data.u32 / 2];
        ok = on_ready(l, c, events[i].data.u32 % 2 == 0 ? &c->sender : &c->receiver, events[i].events);
    }
    return ok && send_due(l);
}

static bool load_connect(struct relay_load *l, const struct sockaddr_in *address)
{
    int one = 1;
    for (uint32_t i = 0; i < 2 * l->count; i++) {
        struct relay_end *e = i % 2 == 0 ? &l->couples[i / 2].sender.wire : &l->couples[i / 2].receiver.wire;
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = i};
        e->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (e->fd < 0 || connect(e->fd, (const struct sockaddr *)address, sizeof *address) != 0 ||
            fcntl(e->fd, F_SETFL, O_NONBLOCK) != 0 || epoll_ctl(l->poll, EPOLL_CTL_ADD, e->fd, &event) != 0) {
            (void)fprintf(stderr, "relay: connection %u: %s\n", (unsigned)i + 1, strerror(errno));
            return false;
        }
        (void)setsockopt(e->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    return true;
}

static uint64_t own_cpu_us(void)
{
    struct timespec t;
    return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0
               ? (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000 : 0;
}

static bool load_until(struct relay_load *l, uint64_t begin_us, uint64_t end_us)
{
    bool ok = true;
    while (ok && bench_now_us() < end_us) {
        if (l->plan.inflight == 0) pace(l, begin_us);
        ok = load_turn(l);
        if (l->plan.inflight == 0) (void)sched_yield(); /* as in run_open */
    }
    return ok;
}

static bool load_run(struct relay_load *l, const struct server *s)
{
    struct usage before = {0}, after = {0};
    uint64_t start = bench_now_us();
    bool ok = true;
    l->sending = true;
    for (size_t i = 0; i < l->count; i++) couple_due(l, &l->couples[i]);
    ok = send_due(l) && load_until(l, start, start + l->plan.warmup_ms * 1000);
    uint64_t begin = bench_now_us(), own = own_cpu_us();
    ok = ok && server_usage(s, &before);
    l->measuring = true;
    ok = ok && load_until(l, start, begin + l->plan.seconds * 1000000);
    l->measuring = l->sending = false;
    l->result->seconds = (double)(bench_now_us() - begin) / 1e6;
    l->result->generator_us = own_cpu_us() - own;
    ok = ok && server_usage(s, &after) && after.cpu_us >= before.cpu_us;
    if (ok) l->result->cpu_us = after.cpu_us - before.cpu_us;
    for (size_t i = 0; i < l->count && ok; i++)
        while (ok && couple_done(&l->couples[i]) < l->couples[i].started) ok = load_turn(l);
    for (size_t i = 0; i < l->count; i++)
        if (l->couples[i].sender.seen > l->couples[i].receiver.seen)
            l->result->lost += l->couples[i].sender.seen - l->couples[i].receiver.seen;
    return ok;
}

static pid_t relay_start(const struct bench *b, int listener)
{
    char path[BENCH_PATH_MAX + 16];
    const struct options *o = b->options;
    const char *parent = b->server.data[0] ? b->server.data : o->data_parent;
    (void)snprintf(path, sizeof path, "%s/relay-XXXXXX", parent);
    pid_t pid = fork();
    if (pid != 0) return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* never outlives the generator */
    pin_to_cpu(0, o->server_cpu);
    int log = mkstemp(path);
    if (log >= 0) (void)unlink(path);
    else (void)fprintf(stderr, "relay: %s: %s; --data takes another directory\n", path, strerror(errno));
    _exit(log >= 0 ? relay_serve(listener, log, (size_t)o->pairs, o->payload) : 1);
}

static int listener_open(struct sockaddr_in *address)
{
    socklen_t len = sizeof *address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd >= 0 && bind(fd, (struct sockaddr *)address, len) == 0 && listen(fd, 4096) == 0 &&
        getsockname(fd, (struct sockaddr *)address, &len) == 0)
        return fd;
    (void)fprintf(stderr, "relay: listening on 127.0.0.1: %s\n", strerror(errno));
    if (fd >= 0) close(fd);
    return -1;
}

static void load_deinit(struct relay_load *l)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->couples[i].sender.wire.fd >= 0) close(l->couples[i].sender.wire.fd);
        if (l->couples[i].receiver.wire.fd >= 0) close(l->couples[i].receiver.wire.fd);
    }
    if (l->poll >= 0) close(l->poll);
    free(l->scratch);
    free(l->couples);
    free(l->due);
}

static void load_init(struct relay_load *l, const struct options *o, struct relay_plan plan, struct relay_result *result)
{
    *l = (struct relay_load){.count = (size_t)o->pairs, .plan = plan, .result = result,
                             .send_len = RELAY_SEND_EXTRA + relay_base64_len(o->payload),
                             .new_len = RELAY_NEW_EXTRA + relay_base64_len(o->payload),
                             .poll = epoll_create1(EPOLL_CLOEXEC), .scratch = malloc(RELAY_SCRATCH)};
    l->couples = calloc(l->count, sizeof *l->couples);
    l->due = calloc(l->count, sizeof(struct couple *));
    SOTTO_ASSERT(l->couples != NULL && l->due != NULL && l->scratch != NULL);
    memset(l->scratch, 'x', RELAY_SCRATCH);
    for (size_t i = 0; i < l->count; i++) l->couples[i].sender.wire.fd = l->couples[i].receiver.wire.fd = -1;
}

bool relay_measure(const struct bench *b, struct relay_plan plan, struct relay_result *out)
{
    const struct options *o = b->options;
    struct sockaddr_in address;
    struct relay_load l;
    *out = (struct relay_result){0};
    if (o->pairs * plan.inflight * (RELAY_SEND_EXTRA + relay_base64_len(o->payload)) > RELAY_INFLIGHT_MAX) {
        (void)fprintf(stderr, "relay: more than %d bytes in flight; lower --pairs, --inflight or --payload, or "
                              "leave it out of `pairs` with --relay 0\n", RELAY_INFLIGHT_MAX);
        return false;
    }
    int listener = listener_open(&address);
    if (listener < 0) return false;
    load_init(&l, o, plan, out);
    struct server s = {.pid = relay_start(b, listener)};
    bool ok = s.pid > 0 && load_connect(&l, &address) && load_run(&l, &s);
    close(listener);
    load_deinit(&l);
    int status = 0;
    if (!ok && s.pid > 0) (void)kill(s.pid, SIGKILL);
    if (s.pid > 0) ok = waitpid(s.pid, &status, 0) == s.pid && status == 0 && ok;
    if (!ok) (void)fprintf(stderr, "relay: it did not run to its end (status %d)\n", status);
    if (out->lost || out->faults)
        (void)fprintf(stderr, "relay: %llu frames lost, %llu out of order\n", (unsigned long long)out->lost,
                      (unsigned long long)out->faults);
    return ok && out->lost == 0 && out->faults == 0;
}

bool scenario_relay(struct bench *b)
{
    const struct options *o = b->options;
    struct relay_result *result = calloc(1, sizeof *result);
    SOTTO_ASSERT(result != NULL);
    struct relay_plan plan = {.inflight = o->rate ? 0 : o->inflight, .rate = o->rate,
                              .warmup_ms = o->warmup * 1000, .seconds = o->seconds};
    bool ok = relay_measure(b, plan, result);
    struct report r;
    report_init(&r, "relay");
    r.msgs = result->msgs;
    r.seconds = result->seconds;
    r.cpu_us = result->cpu_us;
    r.latency = &result->latency;
    r.lost = (int64_t)result->lost;
    b->protocol_faults = result->faults;
    report_u64(&r, "pairs", o->pairs);
    if (o->rate) report_u64(&r, "rate", o->rate);
    else report_u64(&r, "inflight", o->inflight);
    report_u64(&r, "payload", o->payload);
    if (r.msgs) report_double(&r, "generator_cpu_us_per_msg", (double)result->generator_us / (double)r.msgs);
    report_print(b, &r);
    free(result);
    return ok;
}

bool relay_beside(const struct bench *b, uint64_t inflight, uint64_t rate, struct relay_result **result_out)
{
    *result_out = NULL;
    if (b->server.pid == 0 || b->options->relay == 0) return true;
    struct relay_plan plan = {.inflight = inflight, .rate = rate, .warmup_ms = WARMUP_MS, .seconds = b->options->relay};
    *result_out = calloc(1, sizeof **result_out);
    SOTTO_ASSERT(*result_out != NULL);
    return relay_measure(b, plan, *result_out) && (*result_out)->msgs > 0;
}
