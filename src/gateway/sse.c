/* Server-sent events: the event channel for those who cannot have a WebSocket.
 *
 * The cursor comes in Last-Event-ID (what a browser's EventSource sends by
 * itself when it reconnects) or in the query. The token comes in the
 * Authorization header only: a query string ends up in logs. Nothing arrives on
 * such a connection, so there is no silence to measure: a comment line goes out
 * at each heartbeat, and a peer that is gone shows itself when TCP gives up.
 */
#include "gateway/call_private.h"
#include "gateway/conn_slab.h"

static const struct operation sse_operation = {.type = "events", .answer_type = "events"};

static enum problem cursor_of_request(struct call *c, const struct http_message *m, struct event_request *r)
{
    struct slice text = http_header_get(m, "Last-Event-ID");
    if (text.data == NULL || text.len == 0) text = http_query_get(m->query, "cursor");
    if (text.data == NULL || text.len == 0) return PROBLEM_NONE;
    uint8_t plain[CURSOR_TEXT_MAX * 3];
    size_t len;
    c->field = "cursor";
    if (text.len > sizeof(plain) || !http_unescape(text, true, plain, &len)) return PROBLEM_BAD_CURSOR;
    if (cursor_parse(slice_of(plain, len), &r->cursor) != SOTTO_OK) return PROBLEM_BAD_CURSOR;
    c->field = NULL;
    r->has_cursor = true;
    return PROBLEM_NONE;
}

static void sse_work(struct call *c)
{
    struct event_request *r = c->context;
    sign_in_work(c, &r->sign_in);
}

static void sse_head(struct conn *c)
{
    struct buffer *out = stream_output(c->stream);
    http_write_status(out, 200);
    http_write_header(out, "Content-Type", SLICE_LIT("text/event-stream"));
    http_write_header(out, "Cache-Control", SLICE_LIT("no-store"));
    http_write_header(out, "X-Content-Type-Options", SLICE_LIT("nosniff"));
    http_write_header(out, "X-Accel-Buffering", SLICE_LIT("no"));
    http_write_header(out, "Connection", SLICE_LIT("close"));
    buffer_append_str(out, "\r\n");
    conn_written(c);
}

bool events_signed_in(struct call *c)
{
    struct call_state *cs = (struct call_state *)c;
    struct event_request *r = c->context;
    enum problem p = r->sign_in.problem;
    if (p != PROBLEM_NONE) {
        if (p == PROBLEM_TOKEN) counter_add(c->gateway->metrics.auth_failures, 1);
        call_finish(c, p);
        return false;
    }
    if (!conn_alive(cs->conn)) {
        call_destroy(cs);
        return false;
    }
    return true;
}

static void sse_done(struct call *c)
{
    struct call_state *cs = (struct call_state *)c;
    struct event_request *r = c->context;
    struct conn *conn = cs->conn;
    if (!events_signed_in(c)) return;
    bool has_cursor = r->has_cursor;
    struct cursor cursor = r->cursor;
    http_state_destroy(conn);
    conn_set_kind(conn, CONN_STREAM);
    sse_head(conn);
    stream_units_begin(conn->stream);
    sign_in_join(conn, &r->sign_in);
    conn_hold(conn);
    call_destroy(cs);
    sse_due(conn);
    sync_begin(conn, has_cursor ? &cursor : NULL);
    conn_unblock(conn);
    conn_release(conn);
}

struct call_state *events_call(struct conn *c, const struct http_message *request, const struct operation *op,
                               void (*work)(struct call *c), void (*done)(struct call *c))
{
    struct call_state *cs = call_create(c, op);
    struct call *call = &cs->call;
    conn_renumber(c); /* it counts from now, as a WebSocket does from its upgrade, however long signing in takes */
    struct event_request *r = arena_zalloc(&call->arena, sizeof(*r));
    SOTTO_ASSERT(r != NULL);
    call->context = r;
    cs->over_http = true;
    struct slice token = http_token(request);
    enum problem p = token.len == 0 ? PROBLEM_UNAUTHENTICATED : cursor_of_request(call, request, r);
    if (p == PROBLEM_NONE && atomic_load_explicit(&call->gateway->draining, memory_order_relaxed)) p = PROBLEM_DRAINING;
    if (p == PROBLEM_NONE && !http_charge_address(c, &call->retry_after_ms)) p = PROBLEM_RATE_LIMITED;
    if (p == PROBLEM_NONE) {
        r->sign_in.token = arena_copy(&call->arena, token);
        if (r->sign_in.token.data == NULL) p = PROBLEM_TOO_LARGE;
    }
    if (p == PROBLEM_NONE && !call_work(call, work, done)) p = PROBLEM_BUSY;
    if (p == PROBLEM_NONE) return cs;
    call_finish(call, p);
    return NULL;
}

size_t sse_event_len(struct slice events)
{
    static const char end[] = "\n\n"; /* JSON has none */
    const uint8_t *found = memmem(events.data, events.len, end, sizeof(end) - 1);
    return found != NULL ? (size_t)(found - events.data) + sizeof(end) - 1 : events.len;
}

void sse_start(struct conn *c, const struct http_message *request)
{
    (void)events_call(c, request, &sse_operation, sse_work, sse_done);
}

void sse_due(struct conn *c)
{
    const struct gateway_limits *l = gateway_limits(conn_loop(c)->gateway);
    if (c->mode == MODE_LAGGING || c->mode == MODE_SYNC) {
        sync_lag_due(c);
        if (!conn_alive(c)) return;
    }
    if (stream_queued(c->stream) == 0) {
        buffer_append_str(stream_output(c->stream), ":\n\n");
        conn_written(c);
    }
    bool busy = c->mode == MODE_LAGGING || c->mode == MODE_SYNC;
    conn_arm(c, busy ? LAG_LOOK_MS : l->heartbeat_ms);
}
