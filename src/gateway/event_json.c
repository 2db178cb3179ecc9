/* Events as JSON; docs/protocol.md describes each field.
 *
 * WHO SEES WHAT.
 *   message    the sending device gets `message.sent` and no event; every other
 *              device of the members gets the message. One that the recipient
 *              has blocked (MESSAGE_WITHHELD) is whole for the sender's devices
 *              and a stub for everybody else, so that numbers stay dense.
 *   envelopes  a device sees its own; without one, a stub.
 *   delivered  everybody but the device that said it.
 *   read       the same; a private one only the reader's own devices; and
 *              nobody sees another's who has switched receipts off.
 *   typing     the others, never the own devices.
 */
#include "gateway/event_json.h"

#include "base/error.h"

const char *conversation_kind_name(uint8_t kind)
{
    return kind == CONVERSATION_GROUP ? "group" : "direct";
}

static const char *role_name(uint8_t role)
{
    switch (role) {
    case ROLE_OWNER: return "owner";
    case ROLE_ADMIN: return "admin";
    default: return "member";
    }
}

/* ---- Messages ------------------------------------------------------------ */

static const char *withheld_why(const struct message *m, const struct viewer *v, uint64_t now_ms)
{
    const struct record_message *r = &m->record;
    if (m->state == MESSAGE_EXPIRED || (r->expires_ms != 0 && r->expires_ms <= now_ms)) return "expired";
    if (r->flags & MESSAGE_WITHHELD && !id_eq(r->sender, v->user)) return "blocked";
    return NULL;
}

static void put_body(struct json_writer *w, const struct record_message *r, const struct viewer *v)
{
    if (r->body_kind == BODY_PAYLOAD) {
        json_put_base64(w, "payload", r->body);
        return;
    }
    struct envelope e;
    if (!envelope_find(r->body, v->user, v->device, &e)) {
        json_put_cstr(w, "withheld", "no_envelope");
        return;
    }
    json_key(w, "envelope");
    json_begin_object(w);
    json_put_u64(w, "kind", e.kind);
    json_put_base64(w, "content", e.content);
    json_end_object(w);
}

void event_json_message(struct json_writer *w, const struct message *m, uint8_t conversation_kind,
                        const struct viewer *v, uint64_t now_ms)
{
    const struct record_message *r = &m->record;
    const char *withheld = withheld_why(m, v, now_ms);
    json_put_id(w, "conversationId", m->conversation);
    json_put_cstr(w, "conversationKind", conversation_kind_name(conversation_kind));
    json_put_id(w, "messageId", r->message_id);
    json_put_u64(w, "sequence", m->sequence);
    json_put_base64(w, "chain", slice_of(m->chain, HASH_LEN));
    json_put_base64(w, "payloadHash", slice_of(r->payload_hash, HASH_LEN));
    json_put_id(w, "senderId", r->sender);
    json_put_u64(w, "senderDeviceId", r->sender_device);
    json_put_string(w, "messageType", r->type);
    if (withheld != NULL) json_put_cstr(w, "withheld", withheld);
    else put_body(w, r, v);
    json_put_u64(w, "ts", r->ts_ms);
    if (id_eq(r->sender, v->user)) json_put_string(w, "clientMsgId", r->client_msg_id);
    if (r->has_reply_to) json_put_id(w, "replyTo", r->reply_to);
    if (r->expires_ms != 0) json_put_u64(w, "expiresAt", r->expires_ms);
    if (r->media.len > 0 && withheld == NULL) json_put_string(w, "media", r->media);
    if (r->flags & MESSAGE_URGENT) json_put_bool(w, "urgent", true);
}

void event_json_batch_message(struct json_writer *w, const struct message *m, uint8_t conversation_kind,
                              const struct viewer *v, uint64_t now_ms)
{
    json_begin_object(w);
    json_put_cstr(w, "type", "message.new");
    event_json_message(w, m, conversation_kind, v, now_ms);
    json_end_object(w);
}

/* ---- Conversations and marks -------------------------------------------- */

static uint64_t read_as_seen(const struct member *m, const struct viewer *v)
{
    if (id_eq(m->user, v->user)) return m->read.sequence;
    return v->receipts_off ? 0 : m->public_read;
}

void event_json_conversation(struct json_writer *w, const struct conversation *c, const struct viewer *v)
{
    json_put_id(w, "conversationId", c->id);
    json_put_cstr(w, "kind", conversation_kind_name(c->kind));
    json_put_u64(w, "createdAt", c->created_ms);
    json_put_u64(w, "lastSequence", c->last_sequence);
    json_put_base64(w, "chain", slice_of(c->chain, HASH_LEN));
    json_key(w, "members");
    json_begin_array(w);
    for (size_t i = 0; i < c->members_count; i++) {
        const struct member *m = &c->members[i];
        if (!member_present(m)) continue;
        json_begin_object(w);
        json_put_id(w, "userId", m->user);
        json_put_cstr(w, "role", role_name(m->role));
        json_put_u64(w, "delivered", m->delivered.sequence);
        json_put_u64(w, "read", read_as_seen(m, v));
        json_end_object(w);
    }
    json_end_array(w);
}

void event_json_batch_conversation(struct json_writer *w, const struct conversation *c, const struct viewer *v)
{
    json_begin_object(w);
    json_put_cstr(w, "type", "conversation.updated");
    event_json_conversation(w, c, v);
    json_end_object(w);
}

static void put_mark(struct json_writer *w, const char *type, struct id conversation, struct id user,
                     uint64_t sequence, uint64_t ts_ms)
{
    json_put_cstr(w, "type", type);
    json_put_id(w, "conversationId", conversation);
    json_put_id(w, "userId", user);
    json_put_u64(w, "sequence", sequence);
    json_put_u64(w, "ts", ts_ms);
}

size_t event_json_batch_marks(struct json_writer *w, const struct conversation *c, const struct member *who,
                              bool delivered, bool read, const struct viewer *v)
{
    size_t count = 0;
    if (delivered) {
        json_begin_object(w);
        put_mark(w, "message.delivered", c->id, who->user, who->delivered.sequence, who->delivered.ts_ms);
        json_end_object(w);
        count++;
    }
    uint64_t sequence = read ? read_as_seen(who, v) : 0;
    if (sequence > 0) {
        json_begin_object(w);
        put_mark(w, "message.read", c->id, who->user, sequence, who->read.ts_ms);
        json_end_object(w);
        count++;
    }
    return count;
}

void event_json_listed(struct json_writer *w, const struct conversation *c, const struct message *last,
                       uint64_t unread, const struct viewer *v, uint64_t now_ms)
{
    json_begin_object(w);
    event_json_conversation(w, c, v);
    json_put_u64(w, "unread", unread);
    if (last != NULL) {
        json_key(w, "lastMessage");
        json_begin_object(w);
        event_json_message(w, last, c->kind, v, now_ms);
        json_end_object(w);
    }
    json_end_object(w);
}

/* ---- Live ---------------------------------------------------------------- */

const char *event_type(const struct event *e)
{
    switch (e->kind) {
    case EVENT_CONVERSATION: return "conversation.updated";
    case EVENT_MESSAGE: return "message.new";
    case EVENT_DELIVERED: return "message.delivered";
    case EVENT_READ: return "message.read";
    case EVENT_EXPIRED: return "message.expired";
    case EVENT_TYPING: return "typing";
    }
    return "";
}

bool event_concerns(const struct event *e, const struct viewer *v)
{
    bool own = id_eq(e->actor, v->user);
    bool same_device = own && e->actor_device == v->device;
    switch (e->kind) {
    case EVENT_MESSAGE:
    case EVENT_DELIVERED: return !same_device;
    case EVENT_READ: return own ? !same_device : !e->is_private && !v->receipts_off;
    case EVENT_TYPING: return !own;
    default: return true;
    }
}

static void put_conversation_event(struct json_writer *w, const struct event *e, const struct viewer *v)
{
    struct conversation c;
    if (e->bytes.len == 0 || conversation_decode(e->conversation, e->bytes, &c) != SOTTO_OK) {
        /* An engine that gave no state: what the event itself says. */
        json_put_id(w, "conversationId", e->conversation);
        json_put_cstr(w, "kind", conversation_kind_name(e->conversation_kind));
        json_put_u64(w, "createdAt", e->ts_ms);
        return;
    }
    event_json_conversation(w, &c, v);
    conversation_deinit(&c);
}

void event_json_live(struct buffer *out, const struct event *e, const struct viewer *v, struct slice cursor,
                     uint64_t now_ms, uint64_t typing_ttl_ms)
{
    struct json_writer w = json_writer_of(out);
    json_begin_object(&w);
    switch (e->kind) {
    case EVENT_MESSAGE:
        json_put_cstr(&w, "type", "message.new");
        event_json_message(&w, &e->message, e->conversation_kind, v, now_ms);
        break;
    case EVENT_DELIVERED:
    case EVENT_READ: put_mark(&w, event_type(e), e->conversation, e->actor, e->sequence, e->ts_ms); break;
    case EVENT_CONVERSATION:
        json_put_cstr(&w, "type", "conversation.updated");
        put_conversation_event(&w, e, v);
        break;
    case EVENT_EXPIRED:
        json_put_cstr(&w, "type", "message.expired");
        json_put_id(&w, "conversationId", e->conversation);
        json_put_u64(&w, "sequence", e->sequence);
        break;
    case EVENT_TYPING:
        json_put_cstr(&w, "type", "typing");
        json_put_id(&w, "conversationId", e->conversation);
        json_put_id(&w, "userId", e->actor);
        json_put_u64(&w, "deviceId", e->actor_device);
        json_put_bool(&w, "started", e->started);
        json_put_u64(&w, "expiresInMs", e->started ? typing_ttl_ms : 0);
        break;
    }
    if (cursor.len > 0) json_put_string(&w, "cursor", cursor);
    json_end_object(&w);
}
