/* Messages that the server has not answered yet.
 *
 * They are kept in the order of sending. Of each conversation one message is
 * under way at a time, so that a refusal that may be tried again (busy, too
 * fast) cannot let a later message overtake. A message leaves the outbox when
 * it is answered `message.sent` and everything before it has been shown, when it
 * comes back as our own in the backlog, or when the server refuses it for good.
 * Until then each new connection sends it again under the same clientMsgId: the
 * server makes one message of it.
 */
#include "client/client_private.h"

#include <string.h>

static struct slice keep(uint8_t **at, struct slice s)
{
    struct slice copy = slice_of(*at, s.len);
    if (s.len) memcpy(*at, s.data, s.len);
    *at += s.len;
    return copy;
}

enum sotto_err outbox_add(struct client *c, const struct client_queued *q)
{
    size_t extra = q->client_msg_id.len + q->type.len + q->payload.len;
    struct queued *e = client_alloc(c->memory, sizeof *e + extra);
    if (!e) return SOTTO_ERR_FULL;
    uint8_t *at = (uint8_t *)(e + 1);
    e->item = *q;
    e->item.client_msg_id = keep(&at, q->client_msg_id);
    e->item.type = keep(&at, q->type);
    e->item.payload = keep(&at, q->payload);
    *c->outbox_last = e;
    c->outbox_last = &e->next;
    c->outbox_count++;
    if (q->order > c->order) c->order = q->order;
    return SOTTO_OK;
}

struct queued *outbox_find(const struct client *c, struct slice client_msg_id)
{
    for (struct queued *e = c->outbox; e; e = e->next)
        if (slice_eq(e->item.client_msg_id, client_msg_id)) return e;
    return NULL;
}

static void outbox_unlink(struct client *c, struct queued *e)
{
    struct queued **at = &c->outbox;
    while (*at != e) at = &(*at)->next;
    *at = e->next;
    if (!*at) c->outbox_last = at;
    c->outbox_count--;
    if (e->under_way) c->sends--;
    client_free(c->memory, e);
}

void outbox_clear(struct client *c)
{
    while (c->outbox) outbox_unlink(c, c->outbox);
    c->outbox_last = &c->outbox;
}

void outbox_rewind(struct client *c)
{
    for (struct queued *e = c->outbox; e; e = e->next) {
        e->under_way = false;
        e->placed.sequence = 0; /* sent again, it is answered again */
    }
    c->sends = 0;
}

static struct id target_of(const struct client *c, const struct client_queued *q)
{
    return id_is_zero(q->to) ? q->conversation : id_direct_conversation(c->user, q->to);
}

/* An earlier message of the same conversation is still waiting or under way. */
static bool blocked(const struct client *c, const struct queued *e)
{
    struct id target = target_of(c, &e->item);
    for (const struct queued *earlier = c->outbox; earlier != e; earlier = earlier->next)
        if (id_eq(target_of(c, &earlier->item), target)) return true;
    return false;
}

void client_queued_write(const struct client_queued *q, struct json_writer *w)
{
    if (id_is_zero(q->to))
        json_put_id(w, "conversationId", q->conversation);
    else
        json_put_id(w, "to", q->to);
    json_put_string(w, "clientMsgId", q->client_msg_id);
    json_put_string(w, "messageType", q->type);
    json_put_base64(w, "payload", q->payload);
    if (q->ttl_s) json_put_u64(w, "ttl", q->ttl_s);
    if (q->urgent) json_put_bool(w, "urgent", true);
}

static enum sotto_err send_one(struct client *c, struct queued *e)
{
    const struct client_queued *q = &e->item;
    /* Strings may double or worse when escaped: six bytes for one at most. */
    size_t room = 512 + 12 * q->client_msg_id.len + 6 * q->type.len + q->payload.len / 3 * 4 + 8;
    struct output_node *n = output_new(c, CLIENT_OUT_FRAME, room);
    if (!n) return SOTTO_ERR_FULL;
    struct buffer b = frame_begin(n);
    struct json_writer w = json_writer_of(&b);
    json_begin_object(&w);
    json_put_cstr(&w, "type", "message.send");
    json_put_string(&w, "id", q->client_msg_id);
    client_queued_write(q, &w);
    json_end_object(&w);
    if (!frame_end(c, n, &b)) return SOTTO_ERR_FULL;
    e->under_way = true;
    e->sent_ms = c->now_ms;
    c->sends++;
    return SOTTO_OK;
}

enum sotto_err outbox_pump(struct client *c)
{
    if (c->phase != CLIENT_LIVE) return SOTTO_OK;
    for (struct queued *e = c->outbox; e && c->sends < CLIENT_SENDS_MAX; e = e->next) {
        if (e->under_way || e->placed.sequence || e->try_ms > c->now_ms || blocked(c, e)) continue;
        enum sotto_err err = send_one(c, e);
        if (err) return err;
    }
    return SOTTO_OK;
}

enum sotto_err outbox_done(struct client *c, struct queued *q)
{
    enum sotto_err err = store_open(c);
    if (!err) err = c->store->remove_queued(c->store->ctx, q->item.client_msg_id);
    if (err) return err;
    outbox_unlink(c, q);
    return SOTTO_OK;
}

void outbox_placed(struct client *c, struct queued *q, const struct client_message *m)
{
    if (q->under_way) c->sends--;
    q->under_way = false;
    q->placed = (struct placed){m->conversation, m->message_id, m->sequence, m->ts_ms};
}

uint64_t outbox_placed_last(const struct client *c, struct id conversation)
{
    uint64_t last = 0;
    for (const struct queued *e = c->outbox; e; e = e->next)
        if (e->placed.sequence > last && id_eq(e->placed.conversation, conversation)) last = e->placed.sequence;
    return last;
}

static enum sotto_err tell_placed(struct client *c, struct queued *q)
{
    const struct client_queued *item = &q->item;
    struct output_node *n = event_new(c, CLIENT_EVENT_SENT, item->client_msg_id.len + item->type.len + item->payload.len);
    if (!n) return SOTTO_ERR_FULL;
    struct client_event *e = &n->out.event;
    e->conversation = q->placed.conversation;
    e->sequence = q->placed.sequence;
    e->message = (struct client_message){.conversation = q->placed.conversation, .message_id = q->placed.message_id,
                                         .sender = c->user, .sender_device = c->device,
                                         .sequence = q->placed.sequence, .ts_ms = q->placed.ts_ms};
    e->message.type = output_copy(n, item->type);
    e->message.payload = output_copy(n, item->payload);
    e->client_msg_id = e->message.client_msg_id = output_copy(n, item->client_msg_id);
    output_stage(c, n);
    return outbox_done(c, q);
}

enum sotto_err outbox_passed(struct client *c, struct id conversation, uint64_t sequence)
{
    for (struct queued *e = c->outbox, *next; e; e = next) {
        next = e->next;
        if (!e->placed.sequence || e->placed.sequence > sequence || !id_eq(e->placed.conversation, conversation)) continue;
        enum sotto_err err = tell_placed(c, e);
        if (err) return err;
    }
    return SOTTO_OK;
}

bool problem_passes(struct slice code)
{
    static const char *const passing[] = {"rate_limited", "busy", "draining", "uncertain", "storage_full", "internal"};
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++)
        if (slice_is(code, passing[i])) return true;
    return false;
}

enum sotto_err outbox_refused(struct client *c, struct queued *q, struct slice code, struct slice text,
                              uint64_t retry_ms)
{
    if (problem_passes(code)) {
        uint64_t wait = (uint64_t)CLIENT_BACKOFF_FIRST_MS << (q->tries < 6 ? q->tries : 6);
        if (wait > CLIENT_BACKOFF_MAX_MS) wait = CLIENT_BACKOFF_MAX_MS;
        if (wait < retry_ms) wait = retry_ms;
        if (q->under_way) c->sends--;
        q->under_way = false;
        q->tries++;
        q->try_ms = c->now_ms + wait + client_jitter_ms(c, wait / 4);
        return SOTTO_OK;
    }
    struct output_node *n = event_new(c, CLIENT_EVENT_FAILED, q->item.client_msg_id.len + code.len + text.len);
    if (!n) return SOTTO_ERR_FULL;
    n->out.event.client_msg_id = output_copy(n, q->item.client_msg_id);
    n->out.event.code = output_copy(n, code);
    n->out.event.text = output_copy(n, text);
    output_stage(c, n);
    return outbox_done(c, q);
}

uint64_t outbox_wake_ms(const struct client *c)
{
    uint64_t wake = UINT64_MAX;
    if (c->phase != CLIENT_LIVE) return wake;
    for (const struct queued *e = c->outbox; e; e = e->next) {
        if (e->placed.sequence) continue;
        uint64_t at = e->under_way ? e->sent_ms + CLIENT_ANSWER_TIMEOUT_MS : e->try_ms;
        if (!e->under_way && at <= c->now_ms) continue; /* waits for another, not for time */
        if (at < wake) wake = at;
    }
    return wake;
}
