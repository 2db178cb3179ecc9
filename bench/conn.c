/* WebSocket connections of the generator. */
#include "bench.h"

#include "base/limits.h"
#include "base/text.h"
#include "net/http.h"
#include "net/websocket.h"

#include <stdlib.h>

uint64_t bench_now_us(void)
{
    return clock_monotonic_us(clock_system());
}

/* ---- Looking into a text ------------------------------------------------- */

static const uint8_t *member(struct slice text, const char *quoted_name)
{
    size_t len = strlen(quoted_name);
    const uint8_t *at = memmem(text.data, text.len, quoted_name, len);
    return at ? at + len : NULL;
}

uint64_t text_u64(struct slice text, const char *quoted_name)
{
    const uint8_t *at = member(text, quoted_name), *end = text.data + text.len;
    uint64_t v = 0;
    for (; at && at < end && *at >= '0' && *at <= '9'; at++) v = v * 10 + (uint64_t)(*at - '0');
    return v;
}

struct slice text_string(struct slice text, const char *quoted_name)
{
    const uint8_t *at = member(text, quoted_name), *end = text.data + text.len;
    if (!at || at >= end || *at != '"') return (struct slice){0};
    const uint8_t *quote = memchr(at + 1, '"', (size_t)(end - at - 1));
    return quote ? slice_of(at + 1, (size_t)(quote - at - 1)) : (struct slice){0};
}

bool text_is(struct slice text, const char *type)
{
    size_t len = strlen(type);
    return text.len > 9 + len && memcmp(text.data, "{\"type\":\"", 9) == 0 &&
           memcmp(text.data + 9, type, len) == 0 && text.data[9 + len] == '"';
}

void count_error(struct bench *b, struct slice text)
{
    if (b->errors++ == 0)
        (void)snprintf(b->first_error, sizeof b->first_error, "%.*s", (int)text.len, (const char *)text.data);
}

/* ---- One connection ------------------------------------------------------ */

void conn_send(struct conn *c, struct slice text)
{
    if (!c->stream || !c->decoder) return;
    ws_write_frame(stream_output(c->stream), WS_TEXT, text, c->bench->mask);
    stream_flush_later(c->stream);
}

static void on_opened(struct stream *s, void *ctx)
{
    struct conn *c = ctx;
    char host[300];
    (void)snprintf(host, sizeof host, "%s:%u", c->bench->server.host, (unsigned)c->bench->server.port);
    ws_request(stream_output(s), host, "/api/v1/ws", false, c->bench->mask, c->key);
    stream_flush_later(s);
}

static bool handshake(struct conn *c, uint8_t **data, size_t *len)
{
    const struct http_message *m;
    size_t used = 0;
    unsigned status;
    bool deflate;
    enum http_result result = http_parser_feed(c->parser, slice_of(*data, *len), &used, &m, &status);
    *data += used;
    *len -= used;
    if (result == HTTP_MORE) return true;
    if (result != HTTP_COMPLETE || m->status != 101 || ws_connected(m, c->key, &deflate) != SOTTO_OK ||
        ws_decoder_create(NULL, false, false, SOTTO_FRAME_MAX, &c->decoder) != SOTTO_OK) {
        count_error(c->bench, result == HTTP_COMPLETE ? m->body : SLICE_LIT("the handshake failed"));
        return false;
    }
    http_parser_destroy(&c->parser);
    char text[512];
    int n = snprintf(text, sizeof text, "{\"type\":\"hello\",\"token\":\"%s\"", c->account->token);
    if (c->cursor && c->cursor[0])
        n += snprintf(text + n, sizeof text - (size_t)n, ",\"cursor\":\"%s\"", c->cursor);
    n += snprintf(text + n, sizeof text - (size_t)n, "}");
    conn_send(c, slice_of(text, (size_t)n));
    return true;
}

static void keep_cursor(struct conn *c, struct slice text)
{
    struct slice cursor = text_string(text, "\"cursor\":");
    if (cursor.len == 0 || cursor.len >= BENCH_CURSOR_MAX) return;
    memcpy(c->cursor, cursor.data, cursor.len);
    c->cursor[cursor.len] = '\0';
}

static void on_text(struct conn *c, struct slice text)
{
    if (c->message) c->message(c, text);
    if (c->cursor) keep_cursor(c, text);
    if (c->state == CONN_LIVE) return;
    if (text_is(text, "sync.done")) c->state = CONN_LIVE;
    else if (text_is(text, "error")) count_error(c->bench, text);
}

static void on_received(struct stream *s, void *ctx, uint8_t *data, size_t len)
{
    struct conn *c = ctx;
    if (!c->decoder && !handshake(c, &data, &len)) {
        stream_abort(s);
        return;
    }
    while (len && c->decoder && c->stream) {
        struct ws_message m;
        size_t used = 0;
        uint16_t code;
        enum ws_result result = ws_decode(c->decoder, NULL, data, len, &used, &m, &code);
        data += used;
        len -= used;
        if (result == WS_MORE) return;
        if (result == WS_BAD) {
            c->bench->protocol_faults++;
            stream_abort(s);
            return;
        }
        if (m.opcode == WS_TEXT) {
            on_text(c, m.payload);
        } else if (m.opcode == WS_PING) {
            ws_write_frame(stream_output(s), WS_PONG, m.payload, c->bench->mask);
            stream_flush_later(s);
        } else if (m.opcode == WS_CLOSE) {
            c->close_code = m.close_code;
            stream_close(s, 500);
            return;
        }
    }
}

static void on_closed(struct stream *s, void *ctx, enum stream_end why)
{
    (void)s;
    (void)why;
    struct conn *c = ctx;
    http_parser_destroy(&c->parser);
    ws_decoder_destroy(&c->decoder);
    c->stream = NULL;
    c->state = CONN_CLOSED;
}

static const struct stream_owner callbacks = {.opened = on_opened, .received = on_received, .closed = on_closed};

bool conn_open(struct bench *b, struct conn *c, const struct account *a)
{
    c->bench = b;
    c->account = a;
    c->close_code = 0;
    c->state = CONN_OPENING;
    c->parser = http_parser_create(true);
    if (!c->parser || stream_connect(b->loop, b->server.host, b->server.port, NULL, &callbacks, c, &c->stream)) {
        http_parser_destroy(&c->parser);
        c->stream = NULL;
        c->state = CONN_CLOSED;
        return false;
    }
    return true;
}

void conn_close(struct conn *c)
{
    if (c->stream) stream_abort(c->stream);
}

/* ---- Many ---------------------------------------------------------------- */

bool bench_wait(struct bench *b, bool (*done)(void *ctx), void *ctx, uint64_t timeout_ms, const char *what)
{
    uint64_t until = bench_now_us() + timeout_ms * 1000;
    while (!done(ctx)) {
        if (bench_now_us() > until) {
            (void)fprintf(stderr, "%s: not done within %llu s\n", what, (unsigned long long)timeout_ms / 1000);
            return false;
        }
        loop_turn(b->loop, 10);
    }
    return true;
}

bool conns_open(struct bench *b, struct conn *conns, size_t count, const struct account *accounts, size_t window)
{
    size_t started = 0, live = 0, failed = 0;
    uint64_t until = bench_now_us() + (uint64_t)BENCH_TTL_MS * 1000;
    size_t first = 0; /* all before it are live */
    while (live < count && failed == 0 && bench_now_us() < until) {
        while (started < count && started - live < window)
            if (!conn_open(b, &conns[started], &accounts[started])) failed++;
            else started++;
        loop_turn(b->loop, 10);
        while (first < started && conns[first].state == CONN_LIVE) first++;
        live = first;
        for (size_t i = first; i < started; i++) {
            live += conns[i].state == CONN_LIVE;
            failed += conns[i].state == CONN_CLOSED;
        }
    }
    if (live == count) return true;
    (void)fprintf(stderr, "only %zu of %zu connections opened (%zu failed); first error: %s\n", live, count, failed,
                  b->first_error);
    return false;
}

/* ---- Messages ------------------------------------------------------------ */

/* Each message's clientMsgId is a UUID of version 7, as our clients make them, and its
 * payload is never twice the same and does not compress, like ciphertext. */
void send_template_init(struct send_template *t, struct id to, size_t payload_len, uint64_t salt)
{
    buffer_init(&t->text, payload_len * 2 + 1024);
    struct json_writer w = json_writer_of(&t->text);
    random_seeded_init(&t->random, salt);
    t->payload_len = payload_len;
    t->payload = calloc(1, payload_len + 1);
    SOTTO_ASSERT(t->payload != NULL);
    json_begin_object(&w);
    json_put_cstr(&w, "type", "message.send");
    json_put_id(&w, "to", to);
    json_put_id(&w, "clientMsgId", to); /* for its length, as the payload is */
    t->id_at = t->text.len - 1 - ID_TEXT_LEN;
    json_put_cstr(&w, "messageType", "text");
    json_put_base64(&w, "payload", slice_of(t->payload, payload_len));
    t->payload_at = t->text.len - 1 - (payload_len + 2) / 3 * 4;
    json_end_object(&w);
}

void send_template_deinit(struct send_template *t)
{
    buffer_deinit(&t->text);
    free(t->payload);
}

void send_message(struct conn *c, struct send_template *t)
{
    struct buffer id, payload;
    buffer_init_fixed(&id, t->text.data + t->id_at, t->text.len - t->id_at);
    buffer_init_fixed(&payload, t->text.data + t->payload_at, t->text.len - t->payload_at);
    buffer_append_id(&id, id_time_ordered(&t->random.source, clock_wall_ms(clock_system())));
    random_fill(&t->random.source, t->payload, t->payload_len);
    buffer_append_base64(&payload, slice_of(t->payload, t->payload_len));
    conn_send(c, buffer_slice(&t->text));
}
