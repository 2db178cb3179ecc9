/* Accounts and logins over REST, many connections at a time.
 *
 * Each slot is one kept connection with one request under way. A slot asks its
 * owner for the next request and gives it the answer.
 */
#include "bench.h"

#include "net/http.h"

#include <stdlib.h>

enum { SLOTS_MAX = 64 };

struct pool;
struct slot {
    struct pool *pool;
    struct stream *stream;
    struct http_parser *parser;
    size_t job;
    uint64_t started_us;
    bool busy;
};
struct pool {
    struct bench *bench;
    struct slot slots[SLOTS_MAX];
    size_t slots_count;
    /* Writes the next request for the slot; false: nothing to do (now). */
    bool (*next)(struct pool *p, struct slot *s, struct buffer *out);
    void (*answer)(struct pool *p, struct slot *s, unsigned status, struct slice body);
    size_t busy;
    bool failed;
    void *ctx;
};

static const char password[] = "correct horse battery staple";

static void request(struct pool *p, struct buffer *out, const char *path, const char *token, struct slice body)
{
    buffer_printf(out, "POST %s HTTP/1.1\r\nHost: %s:%u\r\n", path, p->bench->server.host,
                  (unsigned)p->bench->server.port);
    if (token) buffer_printf(out, "Authorization: Bearer %s\r\n", token);
    buffer_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n", body.len);
    buffer_append_slice(out, body);
}

static void slot_next(struct slot *s)
{
    struct pool *p = s->pool;
    if (!s->stream || s->busy) return;
    if (!p->next(p, s, stream_output(s->stream))) return;
    s->busy = true;
    p->busy++;
    s->started_us = bench_now_us();
    stream_flush_later(s->stream);
}

static void on_opened(struct stream *stream, void *ctx)
{
    (void)stream;
    slot_next(ctx);
}

static void on_received(struct stream *stream, void *ctx, uint8_t *data, size_t len)
{
    struct slot *s = ctx;
    while (len) {
        const struct http_message *m;
        size_t used = 0;
        unsigned status;
        enum http_result result = http_parser_feed(s->parser, slice_of(data, len), &used, &m, &status);
        data += used;
        len -= used;
        if (result == HTTP_MORE) return;
        if (result != HTTP_COMPLETE || !s->busy) {
            s->pool->failed = true;
            stream_abort(stream);
            return;
        }
        s->busy = false;
        s->pool->busy--;
        s->pool->answer(s->pool, s, m->status, m->body);
        slot_next(s);
    }
}

static void on_closed(struct stream *stream, void *ctx, enum stream_end why)
{
    (void)stream;
    (void)why;
    struct slot *s = ctx;
    s->stream = NULL;
    http_parser_destroy(&s->parser);
    if (s->busy) {
        s->busy = false;
        s->pool->busy--;
        s->pool->failed = true;
    }
}

static const struct stream_owner callbacks = {.opened = on_opened, .received = on_received, .closed = on_closed};

static bool pool_open(struct pool *p, struct bench *b, size_t slots)
{
    p->bench = b;
    p->slots_count = slots < SLOTS_MAX ? slots : SLOTS_MAX;
    for (size_t i = 0; i < p->slots_count; i++) {
        struct slot *s = &p->slots[i];
        s->pool = p;
        s->parser = http_parser_create(true);
        if (!s->parser ||
            stream_connect(b->loop, b->server.host, b->server.port, NULL, &callbacks, s, &s->stream) != SOTTO_OK) {
            s->stream = NULL;
            http_parser_destroy(&s->parser);
            (void)fprintf(stderr, "no connection to %s:%u\n", b->server.host, (unsigned)b->server.port);
            return false;
        }
    }
    return true;
}

static bool pool_gone(void *ctx)
{
    const struct pool *p = ctx;
    for (size_t i = 0; i < p->slots_count; i++)
        if (p->slots[i].stream) return false;
    return true;
}

static void pool_close(struct pool *p)
{
    for (size_t i = 0; i < p->slots_count; i++)
        if (p->slots[i].stream) stream_abort(p->slots[i].stream);
    (void)bench_wait(p->bench, pool_gone, p, 5000, "closing connections");
}

static bool take_credentials(struct pool *p, unsigned status, struct slice body, struct account *a)
{
    struct slice token = text_string(body, "\"token\":");
    if (status != 200 && status != 201) {
        count_error(p->bench, body);
        p->failed = true;
        return false;
    }
    a->device = text_u64(body, "\"deviceId\":");
    if (token.len == 0 || token.len >= BENCH_TOKEN_MAX || !a->device ||
        id_parse(text_string(body, "\"userId\":"), &a->user) != SOTTO_OK) {
        count_error(p->bench, body);
        p->failed = true;
        return false;
    }
    memcpy(a->token, token.data, token.len);
    a->token[token.len] = '\0';
    return true;
}

/* ---- Making accounts ------------------------------------------------------ */

struct making {
    struct account *out;
    size_t users, devices;
    size_t registered, started, done;
    size_t login_next;       /* number of the next login */
};

static bool making_next(struct pool *p, struct slot *s, struct buffer *out)
{
    struct making *m = p->ctx;
    char body[256];
    int n;
    if (p->failed) return false;
    if (m->started < m->users) {
        s->job = m->started++ * m->devices;
        n = snprintf(body, sizeof body, "{\"username\":\"%s\",\"password\":\"%s\",\"deviceName\":\"bench\","
                     "\"platform\":\"bench\"}", m->out[s->job].username, password);
        request(p, out, "/api/v1/accounts", NULL, slice_of(body, (size_t)n));
        return true;
    }
    /* Logins begin when every account is there: no order to keep in mind. */
    if (m->registered < m->users || m->login_next >= m->users * (m->devices - 1)) return false;
    size_t user = m->login_next % m->users, device = 1 + m->login_next / m->users;
    m->login_next++;
    s->job = user * m->devices + device;
    n = snprintf(body, sizeof body, "{\"username\":\"%s\",\"password\":\"%s\",\"deviceName\":\"bench\","
                 "\"platform\":\"bench\"}", m->out[s->job].username, password);
    request(p, out, "/api/v1/login", NULL, slice_of(body, (size_t)n));
    return true;
}

static void making_answer(struct pool *p, struct slot *s, unsigned status, struct slice body)
{
    struct making *m = p->ctx;
    if (!take_credentials(p, status, body, &m->out[s->job])) return;
    m->done++;
    if (s->job % m->devices == 0) m->registered++;
}

static bool making_done(void *ctx)
{
    struct pool *p = ctx;
    struct making *m = p->ctx;
    for (size_t i = 0; i < p->slots_count; i++) slot_next(&p->slots[i]);
    return p->failed || m->done == m->users * m->devices;
}

bool accounts_make(struct bench *b, size_t users, size_t devices, struct account *out)
{
    static unsigned batch;
    struct making m = {.out = out, .users = users, .devices = devices};
    struct pool pool = {.next = making_next, .answer = making_answer, .ctx = &m};
    uint64_t begin = bench_now_us();
    unsigned salt = (unsigned)(random_u64(random_system()) & 0xffffff);
    batch++;
    for (size_t i = 0; i < users * devices; i++)
        (void)snprintf(out[i].username, sizeof out[i].username, "b%06x.%u.%zu", salt, batch, i / devices);
    bool ok = pool_open(&pool, b, 32) &&
              bench_wait(b, making_done, &pool, BENCH_TTL_MS, "making accounts") && !pool.failed;
    pool_close(&pool);
    if (!ok) (void)fprintf(stderr, "accounts could not be made: %s\n", b->first_error);
    else
        (void)fprintf(stderr, "%zu accounts with %zu device(s) in %.1f s\n", users, devices,
                      (double)(bench_now_us() - begin) / 1e6);
    return ok;
}

/* ---- Login load ----------------------------------------------------------- */

struct logging_in {
    struct account *accounts;
    size_t count, next;
    struct login_result *result;
    uint64_t begin_us, end_us;
    bool out_next[SLOTS_MAX];        /* the slot's next request is a logout */
    struct account held[SLOTS_MAX];  /* what the slot is signed in as */
};

static bool login_next(struct pool *p, struct slot *s, struct buffer *out)
{
    struct logging_in *l = p->ctx;
    size_t at = (size_t)(s - p->slots);
    if (p->failed || bench_now_us() >= l->end_us) return false;
    if (l->out_next[at]) {
        request(p, out, "/api/v1/logout", l->held[at].token, (struct slice){0});
        return true;
    }
    char body[256];
    int n = snprintf(body, sizeof body, "{\"username\":\"%s\",\"password\":\"%s\",\"deviceName\":\"bench\","
                     "\"platform\":\"bench\"}", l->accounts[l->next++ % l->count].username, password);
    request(p, out, "/api/v1/login", NULL, slice_of(body, (size_t)n));
    return true;
}

static void login_answer(struct pool *p, struct slot *s, unsigned status, struct slice body)
{
    struct logging_in *l = p->ctx;
    size_t at = (size_t)(s - p->slots);
    if (l->out_next[at]) {
        l->out_next[at] = false;
        if (status != 200) count_error(p->bench, body);
        return;
    }
    if (!take_credentials(p, status, body, &l->held[at])) return;
    l->out_next[at] = true;
    uint64_t now = bench_now_us();
    if (now > l->end_us) return;
    l->result->count++;
    histogram_us_add(&l->result->latency, now - s->started_us);
}

static bool login_done(void *ctx)
{
    struct pool *p = ctx;
    struct logging_in *l = p->ctx;
    return p->failed || (bench_now_us() >= l->end_us && p->busy == 0);
}

bool accounts_login_load(struct bench *b, struct account *accounts, size_t count, size_t parallel,
                         uint64_t seconds, struct login_result *out)
{
    struct logging_in *l = calloc(1, sizeof *l);
    struct pool *pool = calloc(1, sizeof *pool);
    SOTTO_ASSERT(l && pool);
    *out = (struct login_result){0};
    l->accounts = accounts;
    l->count = count;
    l->result = out;
    l->begin_us = bench_now_us();
    l->end_us = l->begin_us + seconds * 1000000;
    pool->next = login_next;
    pool->answer = login_answer;
    pool->ctx = l;
    bool ok = pool_open(pool, b, parallel) &&
              bench_wait(b, login_done, pool, seconds * 1000 + 30000, "logins") && !pool->failed;
    pool_close(pool);
    out->seconds = (double)seconds;
    free(pool);
    free(l);
    return ok;
}
