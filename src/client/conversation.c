/* Per conversation: what has been seen, whether the chain holds, what is missing.
 *
 * INVARIANT. mark.sequence is the highest sequence up to which everything has
 * been accepted, in order; mark.chain is the chain value there. Messages are
 * accepted only one after the other. A message further ahead is not kept but
 * starts a pull (history.get since the mark), and the pull brings it again: one
 * code path fills gaps whatever caused them. While a pull is open the cursor is
 * not stored, so that a crash in between leads back to before the gap.
 *
 * When the server has nothing between (it was purged), that is told as a hole,
 * and the chain begins anew there. A message whose chain value does not follow
 * from the one before is shown and reported: history was changed.
 *
 * A server that was restored from a backup has lost what it had after that and
 * numbers anew from there; taken for repeats, its new messages would be dropped.
 * Its answer to our cursor is a reset without a known cursor. Then each conversation
 * goes back to what the server says was delivered to us: what is fetched again may
 * repeat a message or two, but none is missed, and that history was changed is
 * reported when the head or the chain tells it.
 *
 * A device that is new has no conversations, and an old one does not come to it: it begins
 * with the first message that comes as an event, since those come in order. If an answer to
 * a message of ours comes first, it begins behind what was delivered to our other devices
 * (mark.first). Events of that may still follow, if they had just been said; then we go back
 * to them, and what we have seen since comes again.
 *
 * Delivered and read marks are collected for CLIENT_DELIVERED_DELAY_MS and leave
 * as one frame; what the server has confirmed is stored, so that a mark is told
 * again after a crash or a lost connection until it is.
 */
#include "client/client_private.h"

#include <string.h>

static bool conversation_search(const struct client *c, struct id id, size_t *at_out)
{
    size_t low = 0, high = c->conversations_count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        int order = id_cmp(c->conversations[mid]->mark.conversation, id);
        if (order == 0) {
            *at_out = mid;
            return true;
        }
        if (order < 0) low = mid + 1;
        else high = mid;
    }
    *at_out = low;
    return false;
}

struct conversation *conversation_find(const struct client *c, struct id id)
{
    size_t at;
    return conversation_search(c, id, &at) ? c->conversations[at] : NULL;
}

enum sotto_err conversation_get(struct client *c, struct id id, struct conversation **out)
{
    size_t at;
    if (conversation_search(c, id, &at)) {
        *out = c->conversations[at];
        return SOTTO_OK;
    }
    if (c->conversations_count == CLIENT_CONVERSATIONS_MAX) return SOTTO_ERR_FULL;
    if (c->conversations_count == c->conversations_size) {
        size_t size = c->conversations_size ? c->conversations_size * 2 : 16;
        void *grown = c->memory->resize(c->memory->ctx, c->conversations, size * sizeof *c->conversations);
        if (!grown) return SOTTO_ERR_FULL;
        c->conversations = grown;
        c->conversations_size = size;
    }
    struct conversation *v = client_alloc(c->memory, sizeof *v);
    if (!v) return SOTTO_ERR_FULL;
    v->mark.conversation = id;
    v->mark.chain_known = true; /* before the first message it is all zero */
    memmove(c->conversations + at + 1, c->conversations + at,
            (c->conversations_count - at) * sizeof *c->conversations);
    c->conversations[at] = v;
    c->conversations_count++;
    *out = v;
    return SOTTO_OK;
}

void conversations_clear(struct client *c)
{
    for (size_t i = 0; i < c->conversations_count; i++) client_free(c->memory, c->conversations[i]);
    client_free(c->memory, c->conversations);
    c->conversations = NULL;
    c->conversations_count = c->conversations_size = 0;
    c->pulls = c->pulls_wanted = 0;
    c->marks_dirty = false;
}

static enum sotto_err mark_save(struct client *c, const struct conversation *v)
{
    enum sotto_err err = store_open(c);
    return err ? err : c->store->save_mark(c->store->ctx, &v->mark);
}

static enum sotto_err cursor_flush(struct client *c)
{
    if (c->pending_cursor[0] == '\0' || c->pulls || c->pulls_wanted || c->held) return SOTTO_OK;
    enum sotto_err err = store_open(c);
    if (!err) err = c->store->save_cursor(c->store->ctx, slice_str(c->pending_cursor));
    if (err) return err;
    memcpy(c->cursor, c->pending_cursor, sizeof c->cursor);
    c->pending_cursor[0] = '\0';
    return SOTTO_OK;
}

enum sotto_err cursor_keep(struct client *c, struct slice text)
{
    if (text.len == 0 || text.len > CURSOR_TEXT_MAX) return SOTTO_OK; /* not one: keep the old */
    memcpy(c->pending_cursor, text.data, text.len);
    c->pending_cursor[text.len] = '\0';
    return cursor_flush(c);
}

/* ---- Accepting --------------------------------------------------------- */

static enum sotto_err report(struct client *c, enum client_event_kind kind, struct id conversation,
                             uint64_t sequence)
{
    struct output_node *n = event_new(c, kind, 0);
    if (!n) return SOTTO_ERR_FULL;
    n->out.event.conversation = conversation;
    n->out.event.sequence = sequence;
    output_stage(c, n);
    return SOTTO_OK;
}

static bool chain_holds(const struct conversation *v, const struct incoming_message *m)
{
    const struct client_message *msg = &m->message;
    uint8_t hash[HASH_LEN];
    if (m->has_payload) {
        body_hash(BODY_PAYLOAD, msg->payload, hash);
        if (memcmp(hash, m->payload_hash.data, HASH_LEN) != 0) return false;
    }
    if (!v->mark.chain_known) return true;
    chain_next(v->mark.chain, msg->sequence, msg->message_id, msg->sender, m->payload_hash.data, hash);
    return memcmp(hash, m->chain.data, HASH_LEN) == 0;
}

/* The message as an event; our own that waits in the outbox as SENT. */
static enum sotto_err message_event(struct client *c, const struct client_message *m)
{
    bool own = id_eq(m->sender, c->user) && m->sender_device == c->device;
    struct queued *waiting = own && m->client_msg_id.len ? outbox_find(c, m->client_msg_id) : NULL;
    /* Another message under the same key: the server will refuse the one that waits. */
    if (waiting && m->payload.len && !slice_eq(m->payload, waiting->item.payload)) waiting = NULL;
    struct output_node *n =
        event_new(c, waiting ? CLIENT_EVENT_SENT : CLIENT_EVENT_MESSAGE,
                  m->type.len + m->payload.len + m->withheld.len + m->client_msg_id.len);
    if (!n) return SOTTO_ERR_FULL;
    struct client_event *e = &n->out.event;
    e->message = *m;
    e->message.type = output_copy(n, m->type);
    e->message.payload = output_copy(n, m->payload);
    e->message.withheld = output_copy(n, m->withheld);
    e->message.client_msg_id = output_copy(n, m->client_msg_id);
    e->message.backlog = c->phase == CLIENT_SYNCING || c->in_batch;
    e->conversation = m->conversation;
    e->sequence = m->sequence;
    e->client_msg_id = e->message.client_msg_id;
    output_stage(c, n);
    return waiting ? outbox_done(c, waiting) : SOTTO_OK;
}

void marks_want(struct client *c)
{
    if (c->marks_dirty) return;
    c->marks_dirty = true;
    c->marks_ms = c->now_ms + CLIENT_DELIVERED_DELAY_MS;
}

/* To before a message that is older than the one that we had begun with. */
static void go_back(struct client *c, struct conversation *v, uint64_t sequence)
{
    v->mark.first = sequence;
    v->mark.sequence = sequence - 1;
    v->mark.chain_known = sequence == 1;
    memset(v->mark.chain, 0, HASH_LEN);
    conversation_head(c, v, v->head);
}

enum sotto_err conversation_accept(struct client *c, const struct incoming_message *m, bool history)
{
    const struct client_message *msg = &m->message;
    bool known = conversation_find(c, msg->conversation) != NULL;
    struct conversation *v;
    enum sotto_err err = conversation_get(c, msg->conversation, &v);
    if (err) return err;
    if (!known && msg->sequence > 1) {
        /* One that begins after our cursor is announced: this is older than the device. */
        v->mark.sequence = msg->sequence - 1;
        v->mark.chain_known = false;
    }
    if (msg->sequence <= v->mark.sequence) {
        if (history || msg->sequence >= v->mark.first) return SOTTO_OK; /* a repeat */
        go_back(c, v, msg->sequence);
    }
    if (c->accept_left == 0) {
        c->held = true;
        return SOTTO_OK;
    }
    if (msg->sequence > v->mark.sequence + 1) {
        if (!history) {
            conversation_head(c, v, msg->sequence);
            return SOTTO_OK;
        }
        v->mark.chain_known = false;
        if ((err = report(c, CLIENT_EVENT_HOLE, msg->conversation, msg->sequence)) ||
            (err = outbox_passed(c, msg->conversation, msg->sequence - 1)))
            return err;
    }
    bool changed = !chain_holds(v, m);
    if (msg->sequence == v->check_at) {
        changed = changed || memcmp(v->check_chain, m->chain.data, HASH_LEN) != 0;
        v->check_at = 0;
    }
    if (changed && (err = report(c, CLIENT_EVENT_BROKEN_CHAIN, msg->conversation, msg->sequence)))
        return err;
    v->mark.sequence = msg->sequence;
    memcpy(v->mark.chain, m->chain.data, HASH_LEN);
    v->mark.chain_known = true;
    if (v->head < msg->sequence) v->head = msg->sequence;
    if ((err = mark_save(c, v))) return err;
    if (!id_eq(msg->sender, c->user)) {
        marks_want(c);
        if (c->accept_left != UINT64_MAX) c->accept_left--;
    }
    return message_event(c, msg);
}

/* ---- A server that went back ------------------------------------------- */

void conversations_doubt(struct client *c)
{
    for (size_t i = 0; i < c->conversations_count; i++) c->conversations[i]->unsure = true;
}

enum sotto_err conversation_restart(struct client *c, struct conversation *v, uint64_t delivered, uint64_t read,
                                    uint64_t head)
{
    struct client_mark *m = &v->mark;
    v->unsure = false;
    if (delivered >= m->sequence) return SOTTO_OK;
    enum sotto_err err = SOTTO_OK;
    if (head < m->sequence) {
        err = report(c, CLIENT_EVENT_BROKEN_CHAIN, m->conversation, head + 1);
    } else if (m->chain_known) {
        v->check_at = m->sequence;
        memcpy(v->check_chain, m->chain, HASH_LEN);
    }
    if (err) return err;
    m->sequence = m->confirmed[MARK_DELIVERED] = v->head = delivered;
    m->first = 0;
    m->read = m->confirmed[MARK_READ] = read < delivered ? read : delivered;
    m->chain_known = delivered == 0;
    memset(m->chain, 0, HASH_LEN);
    return mark_save(c, v);
}

enum sotto_err conversations_settle(struct client *c)
{
    for (size_t i = 0; i < c->conversations_count; i++) {
        struct conversation *v = c->conversations[i];
        if (!v->unsure) continue;
        enum sotto_err err = conversation_restart(c, v, 0, 0, 0);
        if (err) return err;
    }
    return SOTTO_OK;
}

/* ---- Asking ------------------------------------------------------------ */

/* A request about a conversation, answered with `name` and its id in "re". */
static struct output_node *ask(struct client *c, const char *type, const char *name, struct id conversation,
                               struct buffer *frame_out, struct json_writer *writer_out)
{
    struct output_node *n = output_new(c, CLIENT_OUT_FRAME, 256);
    if (!n) return NULL;
    char re[ASK_NAME_MAX + ID_TEXT_LEN + 1];
    size_t len = strlen(name);
    memcpy(re, name, len);
    id_format(conversation, re + len);
    *frame_out = frame_begin(n);
    *writer_out = json_writer_of(frame_out);
    json_begin_object(writer_out);
    json_put_cstr(writer_out, "type", type);
    json_put_cstr(writer_out, "id", re);
    json_put_id(writer_out, "conversationId", conversation);
    return n;
}

/* ---- Where an old conversation begins ---------------------------------- */

enum sotto_err conversation_ask(struct client *c, struct id conversation)
{
    struct buffer b;
    struct json_writer w;
    struct output_node *n = ask(c, "conversation.get", ASK_CONVERSATION, conversation, &b, &w);
    if (!n) return SOTTO_ERR_FULL;
    json_end_object(&w);
    return frame_end(c, n, &b) ? SOTTO_OK : SOTTO_ERR_FULL;
}

enum sotto_err conversation_begin(struct client *c, struct id id, uint64_t delivered, uint64_t read)
{
    uint64_t head = outbox_placed_last(c, id);
    bool known = conversation_find(c, id) != NULL;
    if (head == 0) return SOTTO_OK;
    struct conversation *v;
    enum sotto_err err = conversation_get(c, id, &v);
    if (err) return err;
    if (!known) {
        v->mark.sequence = delivered < head ? delivered : head - 1;
        v->mark.confirmed[MARK_DELIVERED] = v->mark.sequence;
        v->mark.confirmed[MARK_READ] = v->mark.read = read < v->mark.sequence ? read : v->mark.sequence;
        v->mark.first = v->mark.sequence + 1;
        v->mark.chain_known = v->mark.sequence == 0;
        if ((err = mark_save(c, v))) return err;
    }
    conversation_head(c, v, head);
    return outbox_passed(c, id, v->mark.sequence);
}

/* ---- Pulling what is missing ------------------------------------------- */

static enum sotto_err pull_start(struct client *c, struct conversation *v)
{
    struct buffer b;
    struct json_writer w;
    struct output_node *n = ask(c, "history.get", ASK_HISTORY, v->mark.conversation, &b, &w);
    if (!n) return SOTTO_ERR_FULL;
    json_put_u64(&w, "since", v->mark.sequence);
    json_put_u64(&w, "limit", CLIENT_PULL_LIMIT);
    json_end_object(&w);
    if (!frame_end(c, n, &b)) return SOTTO_ERR_FULL;
    if (v->pull_wanted) c->pulls_wanted--;
    v->pull_wanted = false;
    v->pulling = true;
    c->pulls++;
    return SOTTO_OK;
}

static void pull_want(struct client *c, struct conversation *v)
{
    if (v->pulling || v->pull_wanted) return;
    v->pull_wanted = true;
    c->pulls_wanted++;
}

void conversation_head(struct client *c, struct conversation *v, uint64_t head)
{
    if (head > v->head) v->head = head;
    if (v->head > v->mark.sequence) pull_want(c, v);
}

enum sotto_err conversations_pump(struct client *c)
{
    if (c->phase != CLIENT_LIVE && c->phase != CLIENT_SYNCING) return SOTTO_OK;
    if (c->now_ms < c->pulls_ms) return cursor_flush(c);
    for (size_t i = 0; i < c->conversations_count && c->pulls_wanted && c->pulls < CLIENT_PULLS_MAX; i++) {
        if (!c->conversations[i]->pull_wanted) continue;
        enum sotto_err err = pull_start(c, c->conversations[i]);
        if (err) return err;
    }
    return cursor_flush(c);
}

enum sotto_err conversation_history(struct client *c, struct conversation *v, struct arena *arena,
                                    struct json answer)
{
    if (!v->pulling) return SOTTO_OK; /* nobody asked */
    v->pulling = false;
    c->pulls--;
    uint64_t before = v->mark.sequence;
    struct json list = json_get(answer, "messages");
    for (struct json e = json_first(list); json_type(e) != JSON_ABSENT; e = json_next(list, e)) {
        struct incoming_message m;
        enum sotto_err err = incoming_message_decode(c, arena, e, &m);
        if (err == SOTTO_ERR_INVALID) continue;
        if (!err && id_eq(m.message.conversation, v->mark.conversation)) err = conversation_accept(c, &m, true);
        if (err) return err;
    }
    if (c->held) return SOTTO_OK;
    bool more = false;
    if (json_bool(json_get(answer, "hasMore"), &more) != SOTTO_OK) more = false;
    if (v->mark.sequence >= v->head && !more) return SOTTO_OK;
    if (v->mark.sequence > before) {
        pull_want(c, v);
        return SOTTO_OK;
    }
    if (v->mark.sequence >= v->head) return SOTTO_OK;
    /* No progress: what we heard of is gone. Go on behind it. */
    v->mark.sequence = v->head;
    v->mark.chain_known = false;
    enum sotto_err err = mark_save(c, v);
    if (!err) err = report(c, CLIENT_EVENT_HOLE, v->mark.conversation, v->head + 1);
    return err ? err : outbox_passed(c, v->mark.conversation, v->head);
}

enum sotto_err conversation_history_failed(struct client *c, struct conversation *v, struct slice code,
                                           uint64_t retry_ms)
{
    if (!v->pulling) return SOTTO_OK;
    v->pulling = false;
    c->pulls--;
    /* The next message of this conversation finds the gap again. */
    if (!problem_passes(code)) return outbox_passed(c, v->mark.conversation, UINT64_MAX);
    pull_want(c, v);
    uint64_t wait = retry_ms > CLIENT_BACKOFF_FIRST_MS ? retry_ms : CLIENT_BACKOFF_FIRST_MS;
    uint64_t at = c->now_ms + wait + client_jitter_ms(c, wait / 4);
    if (c->pulls_ms < at) c->pulls_ms = at;
    return SOTTO_OK;
}

/* ---- Marks ------------------------------------------------------------- */

static const char *const mark_types[] = {"message.delivered", "message.read"};

static uint64_t mark_due(const struct conversation *v, enum mark_kind kind)
{
    uint64_t wanted = kind == MARK_READ ? v->mark.read : v->mark.sequence;
    return wanted > v->mark.confirmed[kind] ? wanted : 0;
}

/* One frame of each kind is under way at a time; what comes up meanwhile is
 * collected and goes with the next. */
static enum sotto_err marks_frame(struct client *c, enum mark_kind kind)
{
    struct output_node *n = output_new(c, CLIENT_OUT_FRAME, 128 + SOTTO_MARKS_MAX * 96);
    if (!n) return SOTTO_ERR_FULL;
    struct buffer b = frame_begin(n);
    struct json_writer w = json_writer_of(&b);
    json_begin_object(&w);
    json_put_cstr(&w, "type", mark_types[kind]);
    json_put_cstr(&w, "id", kind == MARK_READ ? "marks:read" : "marks:delivered");
    json_key(&w, "marks");
    json_begin_array(&w);
    size_t count = 0;
    for (size_t i = 0; i < c->conversations_count && count < SOTTO_MARKS_MAX; i++) {
        struct conversation *v = c->conversations[i];
        uint64_t due = mark_due(v, kind);
        if (!due) continue;
        json_begin_object(&w);
        json_put_id(&w, "conversationId", v->mark.conversation);
        json_put_u64(&w, "sequence", due);
        json_end_object(&w);
        v->told[kind] = due;
        count++;
    }
    json_end_array(&w);
    json_end_object(&w);
    if (count == 0) {
        output_free(c, n);
        return SOTTO_OK;
    }
    c->marks_under_way[kind] = true;
    return frame_end(c, n, &b) ? SOTTO_OK : SOTTO_ERR_FULL;
}

enum sotto_err marks_send(struct client *c)
{
    if (!c->marks_dirty || c->now_ms < c->marks_ms || c->phase != CLIENT_LIVE) return SOTTO_OK;
    c->marks_dirty = false;
    for (enum mark_kind kind = MARK_DELIVERED; kind < MARK_KINDS; kind++) {
        if (c->marks_under_way[kind]) continue; /* its answer looks again */
        enum sotto_err err = marks_frame(c, kind);
        if (err) return err;
    }
    return SOTTO_OK;
}

enum sotto_err marks_answered(struct client *c, enum mark_kind kind)
{
    c->marks_under_way[kind] = false;
    bool left = false;
    for (size_t i = 0; i < c->conversations_count; i++) {
        struct conversation *v = c->conversations[i];
        if (v->told[kind]) {
            v->mark.confirmed[kind] = v->told[kind];
            v->told[kind] = 0;
            enum sotto_err err = mark_save(c, v);
            if (err) return err;
        }
        left = left || mark_due(v, kind);
    }
    if (left) marks_want(c);
    return SOTTO_OK;
}

void marks_rewind(struct client *c)
{
    for (size_t i = 0; i < c->conversations_count; i++)
        for (enum mark_kind kind = MARK_DELIVERED; kind < MARK_KINDS; kind++) c->conversations[i]->told[kind] = 0;
    memset(c->marks_under_way, 0, sizeof c->marks_under_way);
    marks_want(c);
}
