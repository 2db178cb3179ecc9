/* REST over one kept connection.
 *
 * A call writes its request and turns the loop until the parser has the answer,
 * the connection is gone or the time is up. A kept connection may have been
 * closed by the server meanwhile: a call that finds it gone before the first
 * byte of an answer is tried once more on a fresh one when that is harmless
 * (GET, or a message with its idempotency key, which the caller repeats).
 */
#include "cli/rest.h"

#include "net/http.h"
#include "net/loop.h"

#include <stdlib.h>

struct rest {
    struct rest_options options;
    uint64_t deadline_ms;
    struct loop *loop;
    struct tls_context *tls;
    struct stream *stream;   /* NULL: none */
    struct http_parser *parser;
    struct rest_reply *reply; /* of the call that runs */
    bool open, done, used;    /* used: an answer came on this connection */
    bool bad;                 /* the answer was no HTTP */
};

static void on_opened(struct stream *s, void *ctx)
{
    (void)s;
    ((struct rest *)ctx)->open = true;
}

static void take_answer(struct rest *r, const struct http_message *m)
{
    r->reply->status = m->status;
    buffer_append_slice(&r->reply->bytes, m->body);
    struct slice retry = http_header_get(m, "Retry-After");
    for (size_t i = 0; i < retry.len && i < 6 && retry.data[i] >= '0' && retry.data[i] <= '9'; i++)
        r->reply->retry_after_ms = r->reply->retry_after_ms * 10 + (uint64_t)(retry.data[i] - '0') * 1000;
    r->done = r->used = true;
    if (!m->keep_alive) stream_close(r->stream, 0);
}

static void on_received(struct stream *s, void *ctx, uint8_t *data, size_t len)
{
    struct rest *r = ctx;
    size_t at = 0;
    while (at < len && !r->done) {
        const struct http_message *m;
        size_t used = 0;
        unsigned status;
        enum http_result result = http_parser_feed(r->parser, slice_of(data + at, len - at), &used, &m, &status);
        at += used;
        if (result == HTTP_MORE) return;
        if (result == HTTP_COMPLETE && r->reply) {
            take_answer(r, m);
        } else if (result == HTTP_BAD || result == HTTP_COMPLETE) {
            r->bad = result == HTTP_BAD;
            stream_abort(s);
            return;
        }
    }
}

static void on_closed(struct stream *s, void *ctx, enum stream_end why)
{
    (void)s;
    (void)why;
    struct rest *r = ctx;
    r->stream = NULL;
    r->open = false;
}

static const struct stream_owner rest_owner = {
    .opened = on_opened, .received = on_received, .closed = on_closed};

enum sotto_err rest_create(const struct rest_options *options, struct buffer *why_out, struct rest **rest_out)
{
    struct rest *r = calloc(1, sizeof *r);
    if (!r) return SOTTO_ERR_FULL;
    r->options = *options;
    r->deadline_ms = UINT64_MAX;
    enum sotto_err err = loop_create(clock_system(), 64, &r->loop);
    if (!err && options->url.tls)
        err = tls_client_create(options->url.host, options->ca_file, true, why_out, &r->tls);
    if (err) {
        rest_destroy(&r);
        return err;
    }
    *rest_out = r;
    return SOTTO_OK;
}

static void rest_disconnect(struct rest *r)
{
    if (r->stream) stream_abort(r->stream);
    while (r->stream) loop_turn(r->loop, 10);
    http_parser_destroy(&r->parser);
    r->used = false;
}

void rest_destroy(struct rest **rest)
{
    struct rest *r = *rest;
    if (!r) return;
    *rest = NULL;
    r->reply = NULL;
    if (r->loop) rest_disconnect(r);
    if (r->loop) loop_destroy(&r->loop);
    if (r->tls) tls_unref(&r->tls);
    free(r);
}

static uint64_t now_ms(void)
{
    return clock_monotonic_ms(clock_system());
}

void rest_set_deadline(struct rest *r, uint64_t deadline_ms)
{
    r->deadline_ms = deadline_ms;
}

static uint64_t call_deadline(const struct rest *r)
{
    uint64_t now = now_ms(), least = now + REST_TIMEOUT_LEAST_MS, most = now + REST_TIMEOUT_MS;
    if (r->deadline_ms < least) return least;
    return r->deadline_ms < most ? r->deadline_ms : most;
}

static enum sotto_err rest_connect(struct rest *r, uint64_t deadline_ms)
{
    if (r->stream && r->open && http_parser_idle(r->parser)) return SOTTO_OK;
    rest_disconnect(r);
    r->parser = http_parser_create(true);
    if (!r->parser) return SOTTO_ERR_FULL;
    enum sotto_err err = stream_connect(r->loop, r->options.url.host, r->options.url.port, r->tls, &rest_owner, r,
                                        &r->stream);
    if (err) {
        r->stream = NULL;
        return SOTTO_ERR_CLOSED;
    }
    while (r->stream && !r->open && now_ms() < deadline_ms) loop_turn(r->loop, 100);
    if (r->open) return SOTTO_OK;
    return r->stream ? SOTTO_ERR_TIMEOUT : SOTTO_ERR_CLOSED;
}

static void write_request(struct rest *r, const char *method, struct slice path, struct slice body)
{
    struct buffer b;
    buffer_init(&b, path.len + body.len + 4096);
    buffer_printf(&b, "%s ", method);
    buffer_append_slice(&b, path);
    buffer_append_str(&b, " HTTP/1.1\r\nHost: ");
    url_authority(&r->options.url, &b);
    buffer_append_str(&b, "\r\n");
    if (r->options.token) {
        buffer_append_str(&b, "Authorization: Bearer ");
        buffer_append_str(&b, r->options.token);
        buffer_append_str(&b, "\r\n");
    }
    http_write_header(&b, "User-Agent", slice_str(r->options.agent));
    http_write_header(&b, "Accept", SLICE_LIT("application/json"));
    if (body.len) http_write_header(&b, "Content-Type", SLICE_LIT("application/json"));
    if (body.len || strcmp(method, "GET") != 0)
        http_write_body(&b, body);
    else
        buffer_append_str(&b, "\r\n");
    stream_write(r->stream, buffer_slice(&b));
    buffer_deinit(&b);
}

static enum sotto_err attempt(struct rest *r, const char *method, struct slice path, struct slice body,
                              uint64_t deadline_ms)
{
    enum sotto_err err = rest_connect(r, deadline_ms);
    if (err) return err;
    r->done = r->bad = false;
    write_request(r, method, path, body);
    while (r->stream && !r->done && now_ms() < deadline_ms) loop_turn(r->loop, 100);
    if (r->done) return SOTTO_OK;
    return r->stream ? SOTTO_ERR_TIMEOUT : SOTTO_ERR_CLOSED;
}

static void explain(const struct rest *r, enum sotto_err err, struct buffer *why)
{
    struct buffer where;
    buffer_init(&where, 512);
    url_write(&r->options.url, &where);
    buffer_append_byte(&where, 0);
    const char *text = (const char *)where.data;
    if (r->bad)
        buffer_printf(why, "what answers at %s is no Sotto server", text);
    else if (err == SOTTO_ERR_TIMEOUT)
        buffer_printf(why, "%s does not answer", text);
    else if (r->options.url.tls)
        buffer_printf(why, "no connection to %s: is it running, and is its certificate valid for this name? "
                           "(--ca FILE trusts a certificate of your own)", text);
    else
        buffer_printf(why, "no connection to %s: is the server running there? (--server URL names another)", text);
    buffer_deinit(&where);
}

enum sotto_err rest_call(struct rest *r, const char *method, struct slice path, struct slice body,
                         struct rest_reply *reply_out, struct buffer *why_out)
{
    *reply_out = (struct rest_reply){0};
    buffer_init(&reply_out->bytes, SOTTO_HTTP_BODY_MAX);
    arena_init(&reply_out->arena, NULL, 0, (size_t)8 << 20);
    r->reply = reply_out;
    uint64_t deadline = call_deadline(r);
    bool repeatable = strcmp(method, "POST") != 0 || slice_is(path, "/api/v1/messages");
    bool kept = r->used && repeatable;
    enum sotto_err err = attempt(r, method, path, body, deadline);
    if (err == SOTTO_ERR_CLOSED && kept) err = attempt(r, method, path, body, deadline);
    r->reply = NULL;
    if (err) {
        explain(r, err, why_out);
        rest_disconnect(r);
        return err;
    }
    if (json_parse(&reply_out->arena, buffer_slice(&reply_out->bytes), &reply_out->body) != SOTTO_OK)
        reply_out->body = (struct json){0};
    if (reply_out->status >= 400) {
        reply_out->code = reply_text(reply_out, reply_out->body, "code");
        reply_out->message = reply_text(reply_out, reply_out->body, "message");
        uint64_t exact = reply_u64(reply_out->body, "retryAfterMs");
        if (exact) reply_out->retry_after_ms = exact;
    }
    return SOTTO_OK;
}

void rest_reply_deinit(struct rest_reply *reply)
{
    arena_deinit(&reply->arena);
    buffer_deinit(&reply->bytes);
}

struct slice reply_text(struct rest_reply *reply, struct json object, const char *name)
{
    struct slice s;
    if (json_type(object) != JSON_OBJECT) return (struct slice){0};
    struct json v = json_get(object, name);
    if (json_type(v) != JSON_STRING || json_string(&reply->arena, v, &s) != SOTTO_OK) return (struct slice){0};
    return s;
}

uint64_t reply_u64(struct json object, const char *name)
{
    uint64_t v;
    return json_u64(json_get(object, name), &v) == SOTTO_OK ? v : 0;
}

bool reply_bool(struct json object, const char *name)
{
    bool v;
    return json_bool(json_get(object, name), &v) == SOTTO_OK && v;
}

bool reply_id(struct rest_reply *reply, struct json object, const char *name, struct id *out)
{
    return id_parse(reply_text(reply, object, name), out) == SOTTO_OK;
}
