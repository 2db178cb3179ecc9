/* HTTP/1.1 on a connection: requests one after the other, answers in order.
 *
 * While a request is served the connection is blocked, so pipelined requests
 * wait in the stash and their answers cannot overtake. What comes here leaves
 * as one of: an operation's call, an upgrade to WebSocket, an event stream, a
 * long-poll, a page of the server's (health, metrics, web app), or an error.
 *
 * BODIES are counted while they arrive (conn.c), those that a proxy sends for the
 * client that the head names; a proxy's own may be anybody's and are no address's.
 * What a request has brought is given back as soon as the request has begun.
 *
 * SLOW READERS. Nothing ends a connection whose peer still reads its answer: the
 * time for the next request begins again as long as the queue gets shorter, and
 * what is not to be kept alive is closed when the queue is empty.
 *
 * Errors are JSON of the same form everywhere. Answers of the API are never to
 * be cached and never to be sniffed. No CORS headers: another origin has no
 * business here unless a proxy in front says so.
 */
#include "gateway/call_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { PAGE_MAX = 8 * 1024 * 1024, BUSY_RETRY_MS = 1000, CONNECTIONS_RETRY_MS = 60 * 1000 };

struct http_state {
    struct http_parser *parser;
    size_t body_size;    /* as counted */
    size_t unread;       /* bytes of answers that the peer had not got when last looked at */
    bool keep_alive; /* of the request being served */
    bool head;       /* answer without the body */
    bool serving;
    bool proxied;    /* each request may be another client's */
    bool found;      /* whose the one under way is */
    struct id proxy;
};

void http_state_create(struct conn *c, const struct id *proxy)
{
    c->http = sotto_zalloc(sizeof(*c->http));
    c->http->proxied = proxy != NULL;
    if (proxy != NULL) c->http->proxy = *proxy;
    c->http->parser = http_parser_create(false);
    SOTTO_ASSERT(c->http->parser != NULL);
}

/* False: it takes too much; see conn_partial. */
static bool body_count(struct conn *c, size_t size)
{
    size_t before = c->http->body_size;
    bool of_proxy = c->http->proxied && id_eq(c->address->key, address_key(c->http->proxy));
    c->http->body_size = size;
    return conn_partial(c, of_proxy ? NULL : c->address, before, size);
}

static void body_drop(struct conn *c)
{
    http_parser_drop_body(c->http->parser);
    (void)body_count(c, 0);
}

void http_state_destroy(struct conn *c)
{
    if (c->http == NULL) return;
    (void)body_count(c, 0);
    http_parser_destroy(&c->http->parser);
    free(c->http);
    c->http = NULL;
}

static void header_u64(struct buffer *out, const char *name, uint64_t value)
{
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)value);
    http_write_header(out, name, slice_of(digits, (size_t)len));
}

void http_answer(struct conn *c, const struct http_answer *a)
{
    if (!conn_alive(c)) return;
    struct buffer *out = stream_output(c->stream);
    http_write_status(out, a->status);
    http_write_header(out, "Content-Type", slice_str(a->content_type));
    http_write_header(out, "Cache-Control", SLICE_LIT("no-store"));
    http_write_header(out, "X-Content-Type-Options", SLICE_LIT("nosniff"));
    if (a->retry_after_ms > 0 && (a->status == 429 || a->status == 503))
        header_u64(out, "Retry-After", (a->retry_after_ms + 999) / 1000);
    if (a->status == 401) http_write_header(out, "WWW-Authenticate", SLICE_LIT("Bearer"));
    if (a->allow != NULL) http_write_header(out, "Allow", slice_str(a->allow));
    if (!c->http->keep_alive) http_write_header(out, "Connection", SLICE_LIT("close"));
    if (c->http->head) {
        header_u64(out, "Content-Length", a->body.len);
        buffer_append_str(out, "\r\n");
    } else {
        http_write_body(out, a->body);
    }
    conn_written(c);
}

static const struct {
    unsigned status;
    enum problem problem;
    const char *why;
} http_problems[] = {
    {413, PROBLEM_TOO_LARGE, NULL},
    {414, PROBLEM_TOO_LARGE, "The address of the request is too long."},
    {415, PROBLEM_BAD_REQUEST, "The body must be application/json."},
    {426, PROBLEM_BAD_REQUEST, "This address speaks WebSocket, version 13."},
    {431, PROBLEM_TOO_LARGE, "The headers of the request are too long."},
    {501, PROBLEM_BAD_REQUEST, "The server does not know that method or transfer coding."},
    {505, PROBLEM_BAD_REQUEST, "The server speaks HTTP/1.1."},
};

static void problem_answer(struct conn *c, enum problem p, unsigned status, const char *why, const char *allow)
{
    struct call_state *cs = call_create(c, NULL);
    for (size_t i = 0; i < sizeof(http_problems) / sizeof(http_problems[0]); i++)
        if (status == http_problems[i].status && why == NULL) why = http_problems[i].why;
    if (why != NULL) buffer_append_str(&cs->call.why, why);
    if (p == PROBLEM_BUSY) cs->call.retry_after_ms = BUSY_RETRY_MS;
    if (p == PROBLEM_RATE_LIMITED) cs->call.retry_after_ms = CONNECTIONS_RETRY_MS;
    struct json_writer w = cs->call.answer;
    json_begin_object(&w);
    problem_write(&w, p, (struct slice){0}, &cs->call);
    json_end_object(&w);
    counter_add(cs->call.gateway->metrics.problems, 1);
    http_answer(c, &(struct http_answer){.status = status != 0 ? status : problem_status(p),
                                         .content_type = "application/json", .allow = allow,
                                         .retry_after_ms = cs->call.retry_after_ms,
                                         .body = buffer_slice(&cs->call.answer_bytes)});
    call_destroy(cs);
}

void http_problem(struct conn *c, enum problem p, unsigned status, const char *why)
{
    problem_answer(c, p, status, why, NULL);
}

void http_done(struct conn *c)
{
    if (!conn_alive(c) || c->http == NULL) return;
    c->http->serving = false;
    size_t queued = stream_queued(c->stream);
    c->http->unread = queued == 0 ? 0 : stream_unread(c->stream);
    /* A long answer goes out first (see http_drained): closing would give it a moment only. */
    if (!c->http->keep_alive && queued < CONN_COUNTED_MIN) {
        conn_close(c, 0);
        return;
    }
    conn_arm(c, gateway_limits(conn_loop(c)->gateway)->keepalive_timeout_ms);
    if (!c->http->keep_alive) return;
    c->http->head = false;
    /* Pipelined requests wait until the answers before them are read. */
    if (!conn_queue_full(c)) conn_unblock(c);
}

void http_drained(struct conn *c)
{
    if (c->http->serving) return;
    if (c->http->keep_alive) conn_unblock(c);
    else conn_close(c, 0);
}

/* Whether the peer has read something of its answers since the last look. */
static bool http_reads(struct conn *c)
{
    size_t before = c->http->unread;
    c->http->unread = stream_unread(c->stream);
    return c->http->unread < before;
}

static void refuse(struct conn *c, enum problem p, unsigned status, const char *why)
{
    http_problem(c, p, status, why);
    http_done(c);
}

/* The same for one that has not arrived whole; the rest of it is not read. */
static void refuse_part(struct conn *c, enum problem p, unsigned status, const char *why)
{
    c->http->keep_alive = false;
    c->http->head = false;
    http_problem(c, p, status, why);
    body_drop(c); /* before the next reads on: it must not be refused for this one's sake */
    conn_close(c, 0);
}

static void refuse_method(struct conn *c, const char *allow)
{
    problem_answer(c, PROBLEM_METHOD, 0, NULL, allow);
    http_done(c);
}

/* ---- Requests ----------------------------------------------------------- */

static bool bearer_token(const struct http_message *m, struct slice *token_out)
{
    struct slice value = http_header_get(m, "Authorization");
    if (value.len < 7 || strncasecmp((const char *)value.data, "Bearer ", 7) != 0) return false;
    value.data += 7;
    value.len -= 7;
    while (value.len > 0 && value.data[0] == ' ') value.data++, value.len--;
    *token_out = value;
    return value.len > 0;
}

static bool body_is_json(const struct http_message *m)
{
    static const char json[] = "application/json";
    struct slice type = http_header_get(m, "Content-Type");
    if (type.len < sizeof(json) - 1 || strncasecmp((const char *)type.data, json, sizeof(json) - 1) != 0)
        return false;
    return type.len == sizeof(json) - 1 || type.data[sizeof(json) - 1] == ';' || type.data[sizeof(json) - 1] == ' ';
}

bool http_charge_address(struct conn *c, uint64_t *retry_ms_out)
{
    struct gateway *g = conn_loop(c)->gateway;
    uint64_t now = loop_now_ms(conn_loop(c)->loop);
    if (limiter_take(g->limiter, BUCKET_ADDRESS, c->address->key, 0, &gateway_limits(g)->address, now, retry_ms_out))
        return true;
    counter_add(g->metrics.limited[BUCKET_ADDRESS], 1);
    return false;
}

struct slice http_token(const struct http_message *m)
{
    struct slice token = {0};
    if (!bearer_token(m, &token)) return (struct slice){0};
    return token;
}

static void request_operation(struct conn *c, const struct http_message *m, const struct route *r)
{
    struct call_state *cs = call_create(c, r->op);
    struct call *call = &cs->call;
    cs->over_http = true;
    cs->needs_token = !(r->op->flags & OP_PUBLIC);
    struct slice token = http_token(m);
    if (cs->needs_token && token.len > 0) {
        cs->token = arena_copy(&call->arena, token);
        if (cs->token.data == NULL) cs->token.len = 0;
    }
    if (!http_charge_address(c, &call->retry_after_ms)) {
        call_finish(call, PROBLEM_RATE_LIMITED);
        return;
    }
    /* The text must outlive this callback, and the parser's tokens borrow it. */
    struct buffer text;
    buffer_init(&text, SOTTO_HTTP_BODY_MAX + SOTTO_HTTP_HEAD_MAX * 2);
    enum problem p = route_merge(r, m->query, m->body, &call->arena, &text, &call->field);
    if (p == PROBLEM_NONE) {
        struct slice kept = arena_copy(&call->arena, buffer_slice(&text));
        if (kept.data == NULL) p = PROBLEM_TOO_LARGE;
        else if (json_parse(&call->arena, kept, &call->fields) != SOTTO_OK) p = PROBLEM_BAD_JSON;
    }
    buffer_deinit(&text);
    if (p == PROBLEM_BAD_FIELD)
        buffer_printf(&call->why, "\"%.64s\" cannot be read: numbers are digits only, and %% begins an escape.", call->field);
    if (p != PROBLEM_NONE) call_finish(call, p);
    else call_begin(cs);
}

static void request_options(struct conn *c, const struct route *r)
{
    struct buffer *out = stream_output(c->stream);
    http_write_status(out, 204);
    http_write_header(out, "Allow", slice_str(r->path_known ? r->allow : "GET, HEAD, OPTIONS"));
    buffer_append_str(out, "\r\n");
    conn_written(c);
    http_done(c);
}

static void request_page(struct conn *c, const struct http_message *m)
{
    const struct gateway_options *o = &conn_loop(c)->gateway->options;
    unsigned status = 200;
    const char *content_type = "text/plain; charset=utf-8";
    struct buffer body;
    buffer_init(&body, PAGE_MAX);
    bool reads = m->method == HTTP_M_GET || m->method == HTTP_M_HEAD;
    bool ours = o->page != NULL && reads && o->page(o->page_ctx, m, address_key_local(c->address->key), &status, &content_type, &body);
    if (ours) {
        http_answer(c, &(struct http_answer){.status = status, .content_type = content_type,
                                             .body = buffer_slice(&body)});
        http_done(c);
    } else {
        refuse(c, PROBLEM_NOT_FOUND, 0, NULL);
    }
    buffer_deinit(&body);
}

static bool request_special(struct conn *c, const struct http_message *m)
{
    void (*start)(struct conn *, const struct http_message *) = NULL;
    if (slice_is(m->path, "/api/v1/ws")) start = socket_start;
    else if (slice_is(m->path, "/api/v1/events")) start = sse_start;
    else if (slice_is(m->path, "/api/v1/events/poll")) start = poll_start;
    if (start == NULL) return false;
    if (m->method == HTTP_M_OPTIONS) return false;
    if (m->method != HTTP_M_GET) {
        refuse_method(c, "GET, OPTIONS");
        return true;
    }
    start(c, m);
    return true;
}

static const char too_many_connections[] = "Too many connections from your address. Wait, then try again.";

/* Whose request it is that a proxy sends: once for each, before any of its body is counted.
 * False: too many connections from there. */
static bool find_client(struct conn *c, const struct http_message *m)
{
    if (!c->http->proxied || c->http->found) return true;
    SOTTO_ASSERT(c->http->body_size == 0);
    c->http->found = conn_find_client(c, c->http->proxy, m);
    return c->http->found;
}

static void request(struct conn *c, const struct http_message *m)
{
    struct gateway *g = conn_loop(c)->gateway;
    c->flags &= (uint16_t)~CONN_IN_REQUEST;
    c->http->keep_alive = m->keep_alive && !atomic_load_explicit(&g->draining, memory_order_relaxed);
    c->http->head = m->method == HTTP_M_HEAD;
    c->http->serving = true;
    conn_arm(c, 0);
    conn_block(c);
    bool found = find_client(c, m);
    c->http->found = false; /* the next request's is not */
    if (!found) {
        refuse(c, PROBLEM_RATE_LIMITED, 0, too_many_connections);
        return;
    }
    if (request_special(c, m)) return;
    struct route r;
    route_find(g->op_index, m->method, m->path, &r);
    if (m->method == HTTP_M_OPTIONS) {
        request_options(c, &r);
    } else if (r.op != NULL) {
        if (m->body.len > 0 && !body_is_json(m)) refuse(c, PROBLEM_BAD_REQUEST, 415, NULL);
        else request_operation(c, m, &r);
    } else if (r.path_known) {
        refuse_method(c, r.allow);
    } else {
        request_page(c, m);
    }
}

size_t http_consume(struct conn *c, uint8_t *data, size_t len)
{
    const struct http_message *m = NULL;
    unsigned status = 0;
    size_t used = 0;
    switch (http_parser_feed(c->http->parser, slice_of(data, len), &used, &m, &status)) {
    case HTTP_MORE:
        if (!(c->flags & CONN_IN_REQUEST) && !http_parser_idle(c->http->parser)) {
            c->flags |= CONN_IN_REQUEST;
            conn_arm(c, gateway_limits(conn_loop(c)->gateway)->request_timeout_ms);
        }
        m = http_parser_head(c->http->parser);
        if (m != NULL && !find_client(c, m)) refuse_part(c, PROBLEM_RATE_LIMITED, 0, too_many_connections);
        else if (!body_count(c, http_parser_body_size(c->http->parser))) refuse_part(c, PROBLEM_BUSY, 0, NULL);
        return len;
    case HTTP_HEAD:
        if (!find_client(c, m)) {
            refuse_part(c, PROBLEM_RATE_LIMITED, 0, too_many_connections);
            return len;
        }
        buffer_append_str(stream_output(c->stream), "HTTP/1.1 100 Continue\r\n\r\n");
        conn_written(c);
        return used;
    case HTTP_COMPLETE:
        request(c, m);
        if (c->kind == CONN_HTTP && c->http != NULL) body_drop(c);
        return used;
    default:
        refuse_part(c, status == 413 || status == 414 || status == 431 ? PROBLEM_TOO_LARGE : PROBLEM_BAD_REQUEST,
                    status, NULL);
        return len;
    }
}

void http_due(struct conn *c)
{
    if (c->http->serving) return;
    if (c->flags & CONN_IN_REQUEST) {
        c->http->keep_alive = false;
        http_problem(c, PROBLEM_BAD_REQUEST, 408, "The request took too long to arrive.");
    } else if (http_reads(c)) {
        conn_arm(c, gateway_limits(conn_loop(c)->gateway)->keepalive_timeout_ms);
        return;
    }
    conn_close(c, 0);
}
