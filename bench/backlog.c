/* `sync` and `burst`: readers that were away, and readers that stop reading.
 *
 * Both fill conversations from a number of senders and then count, per
 * conversation, what arrives at the reader: sequences must come densely, in
 * order and once.
 */
#include "bench.h"

#include "base/map.h"

#include <stdlib.h>

/* What a reader has of one conversation. */
struct seen {
    struct id conversation;
    uint64_t sequence;
};
struct backlog;
struct reader {
    struct backlog *backlog;
    struct conn conn;
    struct account *account;
    char cursor[BENCH_CURSOR_MAX];
    struct map conversations;
    uint64_t received;
    bool synced;
    unsigned cuts;           /* times that the server closed on us */
};
struct writer {
    struct backlog *backlog;
    struct conn conn;
    struct reader *reader;
    struct send_template template;
    uint64_t started, sent, target;
};
struct backlog {
    struct bench *bench;
    struct account *accounts;
    struct reader *readers;
    struct writer *writers;
    size_t readers_count, writers_count;
    uint64_t inflight;
};

static bool seen_is(const void *entry, const void *key)
{
    return id_eq(((const struct seen *)entry)->conversation, *(const struct id *)key);
}

static void reader_event(struct reader *r, struct slice event)
{
    struct id id;
    if (id_parse(text_string(event, "\"conversationId\":"), &id) != SOTTO_OK) return;
    struct seen *s = map_find(&r->conversations, id_hash(id), &id, seen_is);
    if (!s) {
        s = calloc(1, sizeof *s);
        SOTTO_ASSERT(s != NULL);
        s->conversation = id;
        map_insert(&r->conversations, id_hash(id), s);
    }
    uint64_t sequence = text_u64(event, "\"sequence\":");
    if (sequence == s->sequence + 1) {
        s->sequence = sequence;
        r->received++;
    } else {
        r->backlog->bench->protocol_faults++;
    }
}

/* A live event or a batch of them: each message.new begins with its type. */
static void on_reader(struct conn *c, struct slice text)
{
    static const char mark[] = "{\"type\":\"message.new\"";
    struct reader *r = c->owner;
    if (text_is(text, "error")) count_error(c->bench, text);
    if (text_is(text, "sync.done")) r->synced = true;
    const uint8_t *end = text.data + text.len;
    const uint8_t *at = memmem(text.data, text.len, mark, sizeof mark - 1);
    while (at) {
        const uint8_t *next = at + 1 < end ? memmem(at + 1, (size_t)(end - at - 1), mark, sizeof mark - 1) : NULL;
        reader_event(r, slice_of(at, (size_t)((next ? next : end) - at)));
        at = next;
    }
}

static void writer_fill(struct writer *w)
{
    while (w->started < w->target && w->started - w->sent < w->backlog->inflight && w->conn.state == CONN_LIVE) {
        w->started++;
        send_message(&w->conn, &w->template);
    }
}

static void on_writer(struct conn *c, struct slice text)
{
    struct writer *w = c->owner;
    if (text_is(text, "message.sent")) {
        if (text_u64(text, "\"sequence\":") != ++w->sent) c->bench->protocol_faults++;
        writer_fill(w);
    } else if (text_is(text, "error")) {
        count_error(c->bench, text);
    }
}

/* ---- Opening and closing --------------------------------------------------- */

static bool readers_live(void *ctx)
{
    const struct backlog *g = ctx;
    for (size_t i = 0; i < g->readers_count; i++)
        if (g->readers[i].conn.state != CONN_LIVE) return false;
    return true;
}

static bool readers_closed(void *ctx)
{
    const struct backlog *g = ctx;
    for (size_t i = 0; i < g->readers_count; i++)
        if (g->readers[i].conn.stream) return false;
    return true;
}

static bool writers_live(void *ctx)
{
    const struct backlog *g = ctx;
    for (size_t i = 0; i < g->writers_count; i++)
        if (g->writers[i].conn.state != CONN_LIVE) return false;
    return true;
}

static bool writers_done(void *ctx)
{
    const struct backlog *g = ctx;
    for (size_t i = 0; i < g->writers_count; i++)
        if (g->writers[i].sent < g->writers[i].target) return false;
    return true;
}

static bool backlog_closed(void *ctx)
{
    const struct backlog *g = ctx;
    for (size_t i = 0; i < g->writers_count; i++)
        if (g->writers[i].conn.stream) return false;
    return readers_closed(ctx);
}

static bool backlog_open(struct backlog *g, struct bench *b, size_t readers, size_t writers, size_t payload)
{
    g->bench = b;
    g->readers_count = readers;
    g->writers_count = writers;
    g->accounts = calloc(readers + writers, sizeof *g->accounts);
    g->readers = calloc(readers, sizeof *g->readers);
    g->writers = calloc(writers, sizeof *g->writers);
    SOTTO_ASSERT(g->accounts && g->readers && g->writers);
    if (!accounts_make(b, readers + writers, 1, g->accounts)) return false;
    for (size_t i = 0; i < readers; i++) {
        struct reader *r = &g->readers[i];
        r->backlog = g;
        r->account = &g->accounts[i];
        r->conn.owner = r;
        r->conn.message = on_reader;
        r->conn.cursor = r->cursor;
        map_init(&r->conversations);
        if (!conn_open(b, &r->conn, r->account)) return false;
    }
    for (size_t i = 0; i < writers; i++) {
        struct writer *w = &g->writers[i];
        w->backlog = g;
        w->reader = &g->readers[i % readers];
        w->conn.owner = w;
        w->conn.message = on_writer;
        send_template_init(&w->template, w->reader->account->user, payload, i);
        if (!conn_open(b, &w->conn, &g->accounts[readers + i])) return false;
    }
    return bench_wait(b, readers_live, g, 30000, "opening readers") &&
           bench_wait(b, writers_live, g, 30000, "opening writers");
}

static void backlog_close(struct backlog *g)
{
    for (size_t i = 0; i < g->readers_count; i++) conn_close(&g->readers[i].conn);
    for (size_t i = 0; i < g->writers_count; i++) conn_close(&g->writers[i].conn);
    (void)bench_wait(g->bench, backlog_closed, g, 5000, "closing connections");
    for (size_t i = 0; i < g->readers_count; i++) {
        struct map *m = &g->readers[i].conversations;
        size_t at = 0;
        for (void *e; (e = map_next(m, &at));) free(e);
        map_deinit(m);
    }
    for (size_t i = 0; i < g->writers_count; i++) send_template_deinit(&g->writers[i].template);
    free(g->readers);
    free(g->writers);
    free(g->accounts);
}

static uint64_t sent_total(const struct backlog *g)
{
    uint64_t n = 0;
    for (size_t i = 0; i < g->writers_count; i++) n += g->writers[i].sent;
    return n;
}

static uint64_t received_total(const struct backlog *g)
{
    uint64_t n = 0;
    for (size_t i = 0; i < g->readers_count; i++) n += g->readers[i].received;
    return n;
}

static bool readers_synced(void *ctx)
{
    const struct backlog *g = ctx;
    for (size_t i = 0; i < g->readers_count; i++)
        if (!g->readers[i].synced) return false;
    return true;
}

/* ---- sync ------------------------------------------------------------------- */

bool scenario_sync(struct bench *b)
{
    const struct options *o = b->options;
    enum { WRITERS = 100 };
    struct backlog g = {.inflight = 64};
    bool ok = backlog_open(&g, b, 1, WRITERS, (size_t)o->payload);
    struct reader *r = g.readers;
    if (ok) {
        conn_close(&r->conn);
        ok = bench_wait(b, readers_closed, &g, 5000, "closing the reader");
    }
    if (ok) {
        for (size_t i = 0; i < WRITERS; i++) {
            g.writers[i].target = o->messages / WRITERS;
            writer_fill(&g.writers[i]);
        }
        ok = bench_wait(b, writers_done, &g, BENCH_TTL_MS, "filling the backlog");
    }
    if (ok) {
        struct usage before = {0}, after = {0};
        struct report rep;
        report_init(&rep, "sync");
        (void)server_usage(&b->server, &before);
        r->synced = false;
        uint64_t begin = bench_now_us();
        ok = conn_open(b, &r->conn, r->account) && bench_wait(b, readers_synced, &g, BENCH_TTL_MS, "syncing");
        rep.seconds = (double)(bench_now_us() - begin) / 1e6;
        if (server_usage(&b->server, &after)) rep.cpu_us = after.cpu_us - before.cpu_us;
        rep.msgs = r->received;
        rep.lost = (int64_t)(sent_total(&g) - r->received);
        report_u64(&rep, "messages", sent_total(&g));
        report_u64(&rep, "conversations", WRITERS);
        report_u64(&rep, "payload", o->payload);
        if (rep.cpu_us) report_double(&rep, "msgs_per_cpu_s", (double)rep.msgs * 1e6 / (double)rep.cpu_us);
        report_print(b, &rep);
        ok = ok && rep.lost == 0 && b->protocol_faults == 0;
    }
    backlog_close(&g);
    return ok;
}

/* ---- burst ------------------------------------------------------------------ */

enum { BURST_PAYLOAD = 4096, BURST_WRITERS_EACH = 4 };

struct burst {
    struct backlog *backlog;
    uint64_t cuts;
};

/* Readers that were cut come back with their cursor until all have everything. */
static bool burst_caught_up(void *ctx)
{
    struct burst *u = ctx;
    struct backlog *g = u->backlog;
    for (size_t i = 0; i < g->readers_count; i++) {
        struct reader *r = &g->readers[i];
        if (r->conn.state != CONN_CLOSED) continue;
        u->cuts++;
        if (!conn_open(g->bench, &r->conn, r->account)) return false;
    }
    return received_total(g) >= sent_total(g);
}

bool scenario_burst(struct bench *b)
{
    const struct options *o = b->options;
    size_t readers = (size_t)o->readers;
    struct backlog g = {.inflight = 8};
    struct burst u = {.backlog = &g};
    bool ok = backlog_open(&g, b, readers, readers * BURST_WRITERS_EACH, BURST_PAYLOAD);
    if (ok) {
        struct usage before = {0}, now = {0};
        struct report rep;
        report_init(&rep, "burst");
        (void)server_usage(&b->server, &before);
        uint64_t peak = before.anonymous_bytes, begin = bench_now_us(), sample = 0;
        for (size_t i = 0; i < readers; i++) stream_pause(g.readers[i].conn.stream, true);
        for (size_t i = 0; i < g.writers_count; i++) {
            g.writers[i].target = UINT64_MAX;
            writer_fill(&g.writers[i]);
        }
        while (bench_now_us() < begin + o->seconds * 1000000) {
            loop_turn(b->loop, 1);
            if (bench_now_us() < sample) continue;
            sample = bench_now_us() + 100000;
            if (server_usage(&b->server, &now) && now.anonymous_bytes > peak) peak = now.anonymous_bytes;
        }
        rep.seconds = (double)(bench_now_us() - begin) / 1e6;
        (void)server_usage(&b->server, &now);
        rep.cpu_us = now.cpu_us - before.cpu_us;
        for (size_t i = 0; i < g.writers_count; i++) g.writers[i].target = g.writers[i].started;
        ok = bench_wait(b, writers_done, &g, 30000, "the last answers");
        rep.msgs = sent_total(&g);
        for (size_t i = 0; i < readers; i++)
            if (g.readers[i].conn.stream) stream_pause(g.readers[i].conn.stream, false);
        uint64_t resumed = bench_now_us();
        ok = bench_wait(b, burst_caught_up, &u, BENCH_TTL_MS, "the readers") && ok;
        report_u64(&rep, "readers", readers);
        report_u64(&rep, "payload", BURST_PAYLOAD);
        report_u64(&rep, "cut", u.cuts);
        report_double(&rep, "catch_up_seconds", (double)(bench_now_us() - resumed) / 1e6);
        report_u64(&rep, "server_memory_growth_bytes", peak - before.anonymous_bytes);
        rep.lost = (int64_t)(sent_total(&g) - received_total(&g));
        report_print(b, &rep);
        ok = ok && rep.lost == 0 && b->protocol_faults == 0;
    }
    backlog_close(&g);
    return ok;
}
