/* From the store to the client until nothing is missing, then live.
 *
 * ONE MECHANISM for three needs: a device that comes back with a cursor, a
 * reader that was too slow (its live events were dropped), and a loop whose
 * mailbox overflowed. In all of them live events are not kept in memory; the
 * connection only notes the newest position that it missed. The pump reads
 * batches from the store, from the cursor on, as fast as the client takes them:
 *
 *     job on a worker: inbox_sync -> one JSON text of bounded size, new cursor
 *     loop: send it; queue below the window? the next job : wait for `drained`
 *     end of the backlog: missed > cursor ? once more : sync.done, live
 *
 * WHY NOTHING IS LOST OR REPEATED. A session joins the registry, in MODE_SYNC,
 * before its first job takes its snapshot of the store. An event is in the
 * store before it is published. So an event is either in the snapshot, or
 * published after the session joined, and then noted in `missed`; the last
 * snapshot is taken after that note, or else `missed` is beyond the cursor and
 * the pump goes round again. Events at or below the cursor that arrive late
 * from the engine are skipped by position. All notes and decisions are made on
 * the loop's thread.
 *
 * A snapshot (no cursor, or one that is too old) takes the position first, then
 * lists the conversations page by page, then synchronises from that position.
 *
 * MEMORY. One job per connection, one batch per job, no new job while the
 * socket's queue is over the window. A reader that makes no progress for
 * lag_timeout_ms is cut with 4001 and resumes from its cursor.
 */
#include "gateway/sync_job.h"

#include <stdio.h>
#include <stdlib.h>

static void job_start(struct conn *c);

static size_t queue_window(const struct gateway *g)
{
    size_t window = gateway_limits(g)->window_bytes;
    return window != 0 ? window : SIZE_MAX;
}

static void say_flow(struct conn *c, const char *text)
{
    conn_send(c, "flow_control", slice_str(text), (struct slice){0}, false);
}

static struct slice cursor_text(const struct cursor *cursor, struct buffer *out)
{
    buffer_init(out, CURSOR_TEXT_MAX);
    cursor_write(cursor, out);
    return buffer_slice(out);
}

/* ---- Ends of a run ------------------------------------------------------- */

static void send_done(struct conn *c)
{
    struct buffer cursor, text;
    struct slice at = cursor_text(&c->extra->sync.cursor, &cursor);
    buffer_init(&text, 256);
    struct json_writer w = json_writer_of(&text);
    json_begin_object(&w);
    json_put_cstr(&w, "type", "sync.done");
    json_put_string(&w, "cursor", at);
    json_end_object(&w);
    conn_send(c, "sync.done", buffer_slice(&text), at, false);
    buffer_deinit(&text);
    buffer_deinit(&cursor);
}

static void go_live(struct conn *c)
{
    struct sync_state *s = &c->extra->sync;
    send_done(c);
    if (s->say_live) say_flow(c, "{\"type\":\"flow_control\",\"state\":\"live\"}");
    c->position = s->cursor.position;
    c->flags |= CONN_SYNCED;
    c->mode = MODE_LIVE;
    memset(s, 0, sizeof(*s));
    conn_extra_trim(c);
}

static void snapshot_start(struct conn *c, const char *reason)
{
    struct gateway *g = conn_loop(c)->gateway;
    struct sync_state *s = &c->extra->sync;
    s->snapshot = true;
    s->snapshot_after = (struct id){0};
    /* Before the first conversation is read: what comes later is synchronised. */
    s->cursor = (struct cursor){.epoch = engine_epoch(g->services->engine),
                                .position = engine_position(g->services->engine)};
    if (reason == NULL) return;
    if (c->kind == CONN_POLL) {
        poll_reset(c, reason);
        return;
    }
    char text[96];
    int len = snprintf(text, sizeof(text), "{\"type\":\"sync.reset\",\"reason\":\"%s\"}", reason);
    conn_send(c, "sync.reset", slice_of(text, (size_t)len), (struct slice){0}, false);
}

/* Whether this server can have given out such a cursor. */
static bool cursor_ours(struct gateway *g, const struct cursor *cursor)
{
    uint64_t position = engine_position(g->services->engine);
    return cursor->epoch == engine_epoch(g->services->engine) && cursor->position <= position &&
           (!cursor->partial || cursor->target <= position);
}

void sync_begin(struct conn *c, const struct cursor *cursor)
{
    struct gateway *g = conn_loop(c)->gateway;
    struct sync_state *s = &conn_extra(c)->sync;
    s->begun = true;
    if (s->running) {
        s->restart = true;
        s->restart_snapshot = cursor == NULL;
        if (cursor != NULL) s->restart_cursor = *cursor;
        return;
    }
    c->mode = MODE_SYNC;
    s->snapshot = false;
    c->extra->progress_tick = 0;
    /* A partial cursor aims at a target from before this session joined; what was
     * committed in between was published to nobody here, so it counts as missed. */
    uint64_t committed = engine_position(g->services->engine);
    if (committed > s->missed) s->missed = committed;
    if (cursor == NULL) snapshot_start(c, NULL);
    else if (!cursor_ours(g, cursor)) snapshot_start(c, "unknown");
    else s->cursor = *cursor;
    job_start(c);
}

/* ---- Results ------------------------------------------------------------- */

static void finished_snapshot_page(struct conn *c, const struct sync_job *j)
{
    struct sync_state *s = &c->extra->sync;
    conn_send(c, "sync.snapshot", buffer_slice(&j->text), (struct slice){0}, true);
    s->snapshot_after = j->after;
    if (j->done) s->snapshot = false;
}

static void finished_batch(struct conn *c, const struct sync_job *j)
{
    struct sync_state *s = &c->extra->sync;
    struct gateway *g = conn_loop(c)->gateway;
    s->cursor = j->cursor;
    if (j->count > 0) {
        struct buffer cursor;
        struct slice at = cursor_text(&s->cursor, &cursor);
        conn_send(c, "sync.batch", buffer_slice(&j->text), at, false);
        buffer_deinit(&cursor);
        counter_add(g->metrics.sync_batches, 1);
        counter_add(g->metrics.sync_messages, j->messages);
    }
    if (j->done && s->missed <= s->cursor.position) go_live(c);
}

/* True: handled, nothing more to do with this connection's pump. */
static bool finished_badly(struct conn *c, const struct sync_job *j)
{
    struct gateway *g = conn_loop(c)->gateway;
    if (j->gone) {
        conn_close(c, CLOSE_SIGN_IN);
    } else if (j->err == SOTTO_ERR_NOT_FOUND) {
        snapshot_start(c, "expired");
        return false;
    } else if (j->err != SOTTO_OK) {
        LOG(g->services->log, LOG_ERROR, "gateway.sync", LOG_S("error", sotto_err_name(j->err)));
        conn_problem(c, PROBLEM_INTERNAL, (struct slice){0}, NULL, 0);
        conn_close(c, WS_CLOSE_INTERNAL);
    } else {
        return false;
    }
    return true;
}

static void pump_finished(struct conn *c, const struct sync_job *j)
{
    struct sync_state *s = &c->extra->sync;
    s->first = false;
    /* A job begins only below the window: the client has read meanwhile. */
    c->extra->progress_tick = 0;
    if (s->restart && !j->gone) { /* what it found is not asked for any more */
        struct cursor cursor = s->restart_cursor;
        bool snapshot = s->restart_snapshot;
        s->restart = false;
        sync_begin(c, snapshot ? NULL : &cursor);
        return;
    }
    if (finished_badly(c, j)) return;
    if (j->err == SOTTO_OK) {
        if (j->snapshot) finished_snapshot_page(c, j);
        else finished_batch(c, j);
    }
    if (conn_alive(c) && c->mode == MODE_SYNC) sync_continue(c);
}

static void job_delivered(struct mail *mail, void *receiver)
{
    struct sync_job *j = (struct sync_job *)(void *)((uint8_t *)mail - offsetof(struct sync_job, job.mail));
    struct conn *c = j->conn;
    (void)receiver;
    SOTTO_ASSERT(c->extra != NULL); /* kept while a job runs */
    c->extra->sync.running = false;
    if (conn_alive(c) && c->mode == MODE_SYNC) {
        if (c->kind == CONN_POLL) poll_finished(c, j);
        else pump_finished(c, j);
    }
    conn_release(c);
    sync_job_destroy(j);
}

static void job_start(struct conn *c)
{
    struct gateway_loop *gl = conn_loop(c);
    struct gateway *g = gl->gateway;
    struct sync_state *s = &c->extra->sync;
    struct sync_job *j = sync_job_create(c);
    j->job.mail.deliver = job_delivered;
    j->job.reply_to = loop_mailbox(gl->loop);
    conn_hold(c);
    s->running = true;
    if (workers_submit(g->services->workers, &j->job)) return;
    /* The workers have more than enough to do: look again in a while. */
    s->running = false;
    sync_job_destroy(j);
    conn_release(c);
    conn_arm(c, LAG_LOOK_MS);
}

void sync_again(struct conn *c)
{
    if (!c->extra->sync.running) job_start(c);
}

void sync_snapshot(struct conn *c, const char *reset_reason)
{
    snapshot_start(c, reset_reason);
}

void sync_continue(struct conn *c)
{
    if (c->extra == NULL || c->extra->sync.running) return;
    if (c->mode == MODE_LAGGING) {
        if (stream_queued(c->stream) > 0) return;
        c->mode = MODE_SYNC;
    }
    if (c->mode != MODE_SYNC) return;
    if (c->kind == CONN_POLL) {
        poll_wake(c);
        return;
    }
    if (!c->extra->sync.begun) return; /* the answer to hello is being sent */
    if (stream_queued(c->stream) < queue_window(conn_loop(c)->gateway)) job_start(c);
    else conn_arm(c, LAG_LOOK_MS);
}

/* ---- Slow readers -------------------------------------------------------- */

void sync_missed(struct conn *c, uint64_t position)
{
    struct sync_state *s = &c->extra->sync;
    if (position > s->missed) s->missed = position;
    if (c->kind == CONN_POLL) poll_wake(c);
}

void sync_lag(struct conn *c, uint64_t missed)
{
    struct gateway *g = conn_loop(c)->gateway;
    struct sync_state *s = &conn_extra(c)->sync;
    memset(s, 0, sizeof(*s));
    s->cursor = (struct cursor){.epoch = engine_epoch(g->services->engine), .position = c->position};
    /* Two events may share a position; if only the first was given, from before it. */
    if (missed == c->position && missed > 0) s->cursor.position--;
    s->begun = true;
    s->missed = missed;
    s->say_live = true;
    c->mode = MODE_LAGGING;
    c->extra->progress_tick = 0;
    counter_add(g->metrics.lagging, 1);
    say_flow(c, "{\"type\":\"flow_control\",\"state\":\"lagging\"}");
    conn_arm(c, LAG_LOOK_MS);
    sync_continue(c);
}

void sync_lag_due(struct conn *c)
{
    const struct gateway_limits *l = gateway_limits(conn_loop(c)->gateway);
    struct conn_extra *x = c->extra;
    size_t queued = stream_queued(c->stream);
    uint32_t now = conn_tick(conn_loop(c));
    if (queued == 0 || x->progress_tick == 0 || queued < x->progress_queued) {
        x->progress_tick = now;
        x->progress_queued = queued;
    } else if (l->lag_timeout_ms != 0 && (uint64_t)(now - x->progress_tick) * GATEWAY_TICK_MS >= l->lag_timeout_ms) {
        conn_cut(c);
        return;
    }
    sync_continue(c);
}

/* ---- sync.start ---------------------------------------------------------- */

struct sync_request {
    struct slice cursor;
    bool has_cursor;
};

void gateway_op_sync_start(struct call *c)
{
    static const struct json_field fields[] = {
        {"cursor", JF_STRING, false, offsetof(struct sync_request, cursor), 1, CURSOR_TEXT_MAX,
         offsetof(struct sync_request, has_cursor)},
    };
    struct conn *conn = ((struct call_state *)c)->conn;
    struct sync_request request = {0};
    struct cursor cursor = {0};
    enum problem p = call_decode(c, fields, 1, &request);
    if (p == PROBLEM_NONE && request.has_cursor && cursor_parse(request.cursor, &cursor) != SOTTO_OK)
        p = PROBLEM_BAD_CURSOR;
    if (p == PROBLEM_NONE && !conn_alive(conn)) p = PROBLEM_CONFLICT;
    bool has_cursor = request.has_cursor;
    conn_hold(conn);
    call_finish(c, p);
    if (p == PROBLEM_NONE && conn_alive(conn)) sync_begin(conn, has_cursor ? &cursor : NULL);
    conn_release(conn);
}
