/* The half of the pump that runs on a worker: rows to JSON.
 *
 * The text is written once, straight from the rows, without a tree in between;
 * a batch holds hundreds of messages, so that the way to the worker and back
 * and the system call are paid once for all of them.
 */
#include "gateway/sync_job.h"

#include "engine/inbox.h"

#include <stdlib.h>

static void on_conversation(void *ctx, const struct conversation *c, const struct member *me)
{
    struct sync_job *j = ctx;
    (void)me;
    event_json_batch_conversation(&j->w, c, &j->viewer);
    j->count++;
}

static void on_message(void *ctx, const struct conversation *c, const struct member *me, const struct message *m)
{
    struct sync_job *j = ctx;
    (void)me;
    event_json_batch_message(&j->w, m, c->kind, &j->viewer, j->now_ms);
    j->count++;
    j->messages++;
}

static void on_marks(void *ctx, const struct conversation *c, const struct member *me, const struct member *who,
                     bool delivered, bool read)
{
    struct sync_job *j = ctx;
    (void)me;
    j->count += event_json_batch_marks(&j->w, c, who, delivered, read, &j->viewer);
}

static void on_unreadable(void *ctx, struct id conversation)
{
    const struct sync_job *j = ctx;
    char id[ID_TEXT_LEN + 1];
    id_format(conversation, id);
    LOG(j->gateway->services->log, LOG_ERROR, "sync.unreadable", LOG_S("conversation", id));
}

static void on_listed(void *ctx, const struct conversation *c, const struct member *me, const struct message *last,
                      uint64_t unread)
{
    struct sync_job *j = ctx;
    (void)me;
    if (j->full) {
        j->more = true;
        return;
    }
    event_json_listed(&j->w, c, j->bare ? NULL : last, unread, &j->viewer, j->now_ms);
    j->after = c->id;
    j->count++;
    if (j->text.len >= SYNC_PAGE_BYTES) j->full = true;
}

static void run_snapshot(struct sync_job *j, struct store *store)
{
    bool more = false;
    struct id after = j->after;
    if (!j->poll) buffer_append_str(&j->text, "{\"type\":\"sync.snapshot\",\"conversations\":[");
    j->err = inbox_list(store, j->viewer.user, j->now_ms, id_is_zero(after) ? NULL : &after,
                        SYNC_PAGE_CONVERSATIONS, on_listed, j, &more);
    if (!j->poll) buffer_append_str(&j->text, "]}");
    j->done = !more && !j->more;
}

static void run_batch(struct sync_job *j, struct store *store)
{
    static const struct inbox_sink proto = {
        .conversation = on_conversation, .message = on_message, .marks = on_marks,
        .unreadable = on_unreadable};
    struct inbox_sink sink = proto;
    sink.ctx = j;
    if (!j->poll) buffer_append_str(&j->text, "{\"type\":\"sync.batch\",\"events\":[");
    j->err = inbox_sync(store, j->viewer.user, j->now_ms, j->items_max, SYNC_BYTES_MAX, &sink, &j->cursor, &j->done);
    if (j->poll) return;
    buffer_append_str(&j->text, "],\"cursor\":\"");
    cursor_write(&j->cursor, &j->text);
    buffer_append_str(&j->text, "\"}");
}

static void job_run(struct job *job)
{
    struct sync_job *j = (struct sync_job *)(void *)job;
    struct store *store = engine_store(j->gateway->services->engine);
    j->now_ms = gateway_wall_ms(j->gateway);
    j->w = json_writer_of(&j->text);
    if (j->first && !gateway_settings_load(j->gateway, j->viewer.user, j->viewer.device, &j->viewer.receipts_off))
        j->gone = true;
    else if (j->snapshot) run_snapshot(j, store);
    else run_batch(j, store);
    if (j->err == SOTTO_OK && j->text.overflow) j->err = SOTTO_ERR_FULL;
}

struct sync_job *sync_job_create(struct conn *c)
{
    struct gateway *g = conn_loop(c)->gateway;
    const struct sync_state *s = &c->extra->sync;
    struct sync_job *j = sotto_zalloc(sizeof(*j));
    j->job.run = job_run;
    j->conn = c;
    j->gateway = g;
    j->viewer = (struct viewer){.user = session_user_id(&c->session), .device = c->session.device,
                                .receipts_off = session_receipts_off(&c->session)};
    j->first = s->first;
    j->snapshot = s->snapshot;
    j->after = s->snapshot_after;
    j->cursor = s->cursor;
    j->items_max = SYNC_ITEMS_MAX;
    buffer_init(&j->text, SYNC_TEXT_MAX);
    if (c->kind == CONN_POLL) {
        j->poll = true;
        j->bare = c->extra->poll.call->call.answer_bytes.len > SYNC_POLL_BODIES;
        if (c->extra->poll.limit < j->items_max) j->items_max = (size_t)c->extra->poll.limit;
    }
    return j;
}

void sync_job_destroy(struct sync_job *j)
{
    buffer_deinit(&j->text);
    free(j);
}
