/* Long-poll: one request, one answer, as soon as there is something.
 *
 * While the request waits, its connection is the device's event channel and
 * stands in the registry like any other, in MODE_SYNC for good: live events are
 * only noted, and wake a look into the store. The answer is what that look
 * finds, so a poll is a short synchronisation and needs no state of its own.
 * Events that are not stored (typing, presence) do not come this way.
 */
#include "gateway/sync_job.h"

enum { POLL_TIMEOUT_MS = 25 * 1000, POLL_TIMEOUT_MAX_MS = 60 * 1000, POLL_ANSWER_MAX = 16 * 1024 * 1024 };

static const struct operation poll_operation = {.type = "events", .answer_type = "events"};

static uint64_t query_number(const struct http_message *m, const char *name, uint64_t fallback, uint64_t max)
{
    struct slice text = http_query_get(m->query, name);
    if (text.data == NULL || text.len == 0 || text.len > 9) return fallback;
    uint64_t v = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') return fallback;
        v = v * 10 + (uint64_t)(text.data[i] - '0');
    }
    return v < max ? v : max;
}

/* Leaves the registry; the connection is plain HTTP again. */
static struct call_state *poll_end(struct conn *c)
{
    struct call_state *cs = c->extra != NULL ? c->extra->poll.call : NULL;
    if (c->extra != NULL) c->extra->poll = (struct poll_state){0};
    conn_leave(c);
    conn_set_kind(c, CONN_HTTP);
    conn_arm(c, 0);
    return cs;
}

static void poll_answer(struct conn *c, const struct cursor *cursor)
{
    struct call_state *cs = poll_end(c);
    struct call *call = &cs->call;
    buffer_append_byte(&call->answer_bytes, ']');
    call->answer.comma = true;
    struct buffer text;
    buffer_init(&text, CURSOR_TEXT_MAX);
    cursor_write(cursor, &text);
    json_put_string(&call->answer, "cursor", buffer_slice(&text));
    buffer_deinit(&text);
    call_finish(call, PROBLEM_NONE);
}

static void poll_fail(struct conn *c, enum problem p)
{
    struct call_state *cs = poll_end(c);
    if (cs == NULL) return;
    call_error_details(&cs->call);
    if (p == PROBLEM_CONFLICT)
        buffer_append_str(&cs->call.why, "Another connection of this device has taken over. Do not poll again by yourself.");
    call_finish(&cs->call, p);
}

void poll_wake(struct conn *c)
{
    struct conn_extra *x = c->extra;
    if (!x->poll.waiting || x->sync.running) return;
    x->poll.waiting = false;
    sync_again(c);
}

static void append_members(struct call *call, const char *before, const struct buffer *text, const char *after)
{
    if (call->answer.comma) buffer_append_byte(&call->answer_bytes, ',');
    buffer_append_str(&call->answer_bytes, before);
    buffer_append_slice(&call->answer_bytes, buffer_slice(text));
    buffer_append_str(&call->answer_bytes, after);
    call->answer.comma = true;
}

void poll_reset(struct conn *c, const char *reason)
{
    struct call *call = &c->extra->poll.call->call;
    struct json_writer w = {&call->answer_bytes, call->answer.comma};
    if (w.comma) buffer_append_byte(w.out, ',');
    w.comma = false;
    json_begin_object(&w);
    json_put_cstr(&w, "type", "sync.reset");
    json_put_cstr(&w, "reason", reason);
    json_end_object(&w);
    call->answer.comma = true;
}

void poll_finished(struct conn *c, struct sync_job *j)
{
    struct sync_state *s = &c->extra->sync;
    struct poll_state *poll = &c->extra->poll;
    struct call *call = &poll->call->call;
    s->first = false;
    if (j->gone) {
        poll_fail(c, PROBLEM_TOKEN);
    } else if (j->err == SOTTO_ERR_NOT_FOUND) {
        sync_snapshot(c, "expired");
        sync_again(c);
    } else if (j->err != SOTTO_OK) {
        poll_fail(c, PROBLEM_INTERNAL);
    } else if (j->snapshot) {
        append_members(call, "{\"type\":\"sync.snapshot\",\"conversations\":[", &j->text, "]}");
        s->snapshot_after = j->after;
        if (j->done) poll_answer(c, &s->cursor);
        else sync_again(c);
    } else if (j->count > 0) {
        append_members(call, "", &j->text, "");
        poll_answer(c, &j->cursor);
    } else {
        s->cursor = j->cursor;
        if (!j->done || s->missed > j->cursor.position) sync_again(c);
        else poll->waiting = true;
    }
}

void poll_due(struct conn *c)
{
    struct conn_extra *x = c->extra;
    if (x->sync.running) {
        conn_arm(c, LAG_LOOK_MS);
        return;
    }
    if (!x->poll.waiting && x->poll.call->call.received_us / 1000 + POLL_TIMEOUT_MAX_MS > loop_now_ms(conn_loop(c)->loop)) {
        /* The workers were full when it was time to look. */
        conn_arm(c, LAG_LOOK_MS);
        sync_again(c);
        return;
    }
    if (x->sync.snapshot) { /* half a list says nothing about the rest */
        poll_fail(c, PROBLEM_BUSY);
        return;
    }
    struct cursor cursor = x->sync.cursor;
    poll_answer(c, &cursor);
}

void poll_closed(struct conn *c, uint16_t code)
{
    enum problem p = code == CLOSE_SIGN_IN || code == CLOSE_GONE ? PROBLEM_TOKEN
                     : code == CLOSE_REPLACED                   ? PROBLEM_CONFLICT
                                                                : PROBLEM_DRAINING;
    poll_fail(c, p);
}

void poll_abandon(struct conn *c)
{
    struct call_state *cs = poll_end(c);
    if (cs != NULL) call_destroy(cs);
}

/* ---- The request --------------------------------------------------------- */

static void poll_work(struct call *c)
{
    sign_in_work(c, &((struct event_request *)c->context)->sign_in);
}

static void poll_done(struct call *c)
{
    struct call_state *cs = (struct call_state *)c;
    struct event_request *r = c->context;
    struct conn *conn = cs->conn;
    if (!events_signed_in(c)) return;
    conn_set_kind(conn, CONN_POLL);
    sign_in_join(conn, &r->sign_in);
    conn->extra->poll.call = cs;
    conn->extra->poll.limit = cs->poll_limit;
    c->answer_bytes.max = POLL_ANSWER_MAX;
    json_key(&c->answer, "events");
    buffer_append_byte(&c->answer_bytes, '[');
    c->answer.comma = false;
    conn_arm(conn, cs->poll_timeout_ms);
    sync_begin(conn, r->has_cursor ? &r->cursor : NULL);
}

void poll_start(struct conn *c, const struct http_message *request)
{
    struct call_state *cs = events_call(c, request, &poll_operation, poll_work, poll_done);
    if (cs == NULL) return;
    cs->poll_timeout_ms = query_number(request, "timeoutMs", POLL_TIMEOUT_MS, POLL_TIMEOUT_MAX_MS);
    if (cs->poll_timeout_ms == 0) cs->poll_timeout_ms = 1;
    cs->poll_limit = query_number(request, "limit", SYNC_ITEMS_MAX, SYNC_ITEMS_MAX);
    if (cs->poll_limit == 0) cs->poll_limit = 1;
}
