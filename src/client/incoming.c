/* Frames from the server, decoded and acted on.
 *
 * A frame that is not JSON, or an event whose members do not decode, is a broken
 * server: the first closes the connection (1007), the second is skipped, since
 * whatever it would have told comes again through gaps or the next backlog.
 * Unknown types and members are ignored. A batch is acted on whole: one frame,
 * one transaction.
 */
#include "base/text.h"
#include "client/client_private.h"

#include <stddef.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

/* Empty when there is none. */
static struct slice member_text(struct arena *arena, struct json object, const char *name)
{
    struct json v = json_get(object, name);
    struct slice s;
    if (json_type(v) != JSON_STRING || json_string(arena, v, &s) != SOTTO_OK) return (struct slice){NULL, 0};
    return s;
}

static uint64_t member_u64(struct json object, const char *name)
{
    uint64_t v;
    return json_u64(json_get(object, name), &v) == SOTTO_OK ? v : 0;
}

static bool member_id(struct arena *arena, struct json object, const char *name, struct id *out)
{
    return id_parse(member_text(arena, object, name), out) == SOTTO_OK;
}

static enum sotto_err decode(struct client *c, struct arena *arena, struct json object,
                             const struct json_field *fields, size_t count, void *out)
{
    (void)c;
    uint8_t room[256];
    struct buffer why = {.data = room, .size = sizeof room, .max = sizeof room};
    return json_decode(arena, object, fields, count, out, &why, NULL);
}

/* ---- Messages ---------------------------------------------------------- */

enum sotto_err incoming_message_decode(struct client *c, struct arena *arena, struct json object,
                                       struct incoming_message *out)
{
    struct wire {
        struct id conversation, message_id, sender;
        uint64_t sequence, device, ts, expires;
        struct slice chain, hash, type, payload, withheld, client_msg_id;
        bool has_payload, urgent;
    } m = {0};
#define FIELD(name_, kind_, required_, member_, min_, max_) \
    {.name = name_, .kind = kind_, .required = required_, .offset = offsetof(struct wire, member_), \
     .min = min_, .max = max_, .present_offset = SIZE_MAX}
    const struct json_field fields[] = {
        FIELD("conversationId", JF_ID, true, conversation, 0, 0),
        FIELD("messageId", JF_ID, true, message_id, 0, 0),
        FIELD("senderId", JF_ID, true, sender, 0, 0),
        FIELD("senderDeviceId", JF_U64, true, device, 0, 255),
        FIELD("sequence", JF_U64, true, sequence, 1, UINT64_MAX >> 11),
        FIELD("ts", JF_U64, true, ts, 0, UINT64_MAX >> 11),
        FIELD("expiresAt", JF_U64, false, expires, 0, UINT64_MAX >> 11),
        FIELD("chain", JF_BASE64, true, chain, HASH_LEN, HASH_LEN),
        FIELD("payloadHash", JF_BASE64, true, hash, HASH_LEN, HASH_LEN),
        FIELD("messageType", JF_STRING, false, type, 0, SOTTO_MESSAGE_TYPE_MAX),
        {.name = "payload", .kind = JF_BASE64, .offset = offsetof(struct wire, payload),
         .max = SOTTO_PAYLOAD_MAX, .present_offset = offsetof(struct wire, has_payload)},
        FIELD("withheld", JF_STRING, false, withheld, 0, 32),
        FIELD("clientMsgId", JF_STRING, false, client_msg_id, 0, SOTTO_CLIENT_MSG_ID_MAX),
        FIELD("urgent", JF_BOOL, false, urgent, 0, 0),
    };
#undef FIELD
    enum sotto_err err = decode(c, arena, object, fields, COUNT(fields), &m);
    if (err) return err;
    *out = (struct incoming_message){
        .message = {.conversation = m.conversation, .message_id = m.message_id, .sender = m.sender,
                    .sender_device = (uint8_t)m.device, .sequence = m.sequence, .ts_ms = m.ts,
                    .expires_ms = m.expires, .urgent = m.urgent, .type = m.type, .payload = m.payload,
                    .withheld = m.withheld, .client_msg_id = m.client_msg_id},
        .chain = m.chain, .payload_hash = m.hash, .has_payload = m.has_payload};
    return SOTTO_OK;
}

static enum sotto_err on_message_new(struct client *c, struct arena *arena, struct json e)
{
    struct incoming_message m;
    enum sotto_err err = incoming_message_decode(c, arena, e, &m);
    return err ? err : conversation_accept(c, &m, false);
}

/* The answer to our own message. If it is the next of its conversation it is shown,
 * and the mark moves on (the server does not send us our own). Otherwise what is
 * between is fetched, and it comes again with that, in its turn. */
static enum sotto_err on_message_sent(struct client *c, struct arena *arena, struct json e)
{
    struct queued *q = outbox_find(c, member_text(arena, e, "clientMsgId"));
    if (!q) return SOTTO_OK;
    struct incoming_message m = {.has_payload = true};
    struct client_message *msg = &m.message;
    uint8_t chain[HASH_LEN + 3], hash[HASH_LEN];
    size_t chain_len = 0;
    struct slice text = member_text(arena, e, "chain");
    if (!member_id(arena, e, "conversationId", &msg->conversation) ||
        !member_id(arena, e, "messageId", &msg->message_id) || text.len > 44 ||
        base64_decode(text, chain, &chain_len) != SOTTO_OK || chain_len != HASH_LEN)
        return SOTTO_ERR_INVALID;
    msg->sequence = member_u64(e, "sequence");
    msg->ts_ms = member_u64(e, "ts");
    msg->sender = c->user;
    msg->sender_device = c->device;
    msg->client_msg_id = q->item.client_msg_id;
    msg->type = q->item.type;
    msg->payload = q->item.payload;
    body_hash(BODY_PAYLOAD, q->item.payload, hash);
    m.payload_hash = slice_of(hash, HASH_LEN);
    m.chain = slice_of(chain, HASH_LEN);

    if (msg->sequence > 1 && !conversation_find(c, msg->conversation)) {
        outbox_placed(c, q, msg);
        return conversation_ask(c, msg->conversation);
    }
    struct conversation *v;
    enum sotto_err err = conversation_get(c, msg->conversation, &v);
    if (err) return err;
    if (msg->sequence == v->mark.sequence + 1) return conversation_accept(c, &m, false); /* takes it out of the outbox */
    outbox_placed(c, q, msg);
    if (msg->sequence <= v->mark.sequence) return outbox_passed(c, msg->conversation, v->mark.sequence);
    conversation_head(c, v, msg->sequence);
    return SOTTO_OK;
}

/* ---- Conversations ----------------------------------------------------- */

/* Our user's marks, as a conversation object tells them. */
struct own_marks {
    uint64_t delivered, read; /* 0: none, or not a member */
};

static struct own_marks own_marks(const struct client *c, struct arena *arena, struct json e)
{
    struct own_marks own = {0};
    struct json members = json_get(e, "members");
    for (struct json m = json_first(members); json_type(m) != JSON_ABSENT; m = json_next(members, m)) {
        struct id user;
        if (!member_id(arena, m, "userId", &user) || !id_eq(user, c->user)) continue;
        own = (struct own_marks){member_u64(m, "delivered"), member_u64(m, "read")};
    }
    return own;
}

/* What a server that may have gone back says of a conversation that we know. */
static enum sotto_err on_doubted(struct client *c, struct arena *arena, struct conversation *v, struct json e)
{
    struct own_marks own = own_marks(c, arena, e);
    return conversation_restart(c, v, own.delivered, own.read, member_u64(e, "lastSequence"));
}

/* conversation.updated, or one entry of a snapshot. What is new to us is fetched: from
 * the beginning of a conversation that began after our cursor; for a device without
 * a cursor, from its user's delivered mark on. */
static enum sotto_err on_conversation(struct client *c, struct arena *arena, struct json e, bool snapshot)
{
    struct id id;
    if (!member_id(arena, e, "conversationId", &id)) return SOTTO_ERR_INVALID;
    bool fresh = conversation_find(c, id) == NULL;
    struct conversation *v;
    enum sotto_err err = conversation_get(c, id, &v);
    if (err) return err;
    if (v->unsure && (err = on_doubted(c, arena, v, e))) return err;
    if (fresh) {
        struct own_marks own = own_marks(c, arena, e);
        v->mark.confirmed[MARK_DELIVERED] = own.delivered;
        v->mark.confirmed[MARK_READ] = v->mark.read = own.read;
        if (snapshot && !c->cursor[0]) v->mark.sequence = own.delivered;
        v->mark.chain_known = v->mark.sequence == 0;
        if ((err = store_open(c)) || (err = c->store->save_mark(c->store->ctx, &v->mark))) return err;
    }
    uint64_t head = member_u64(e, "lastSequence");
    conversation_head(c, v, head);
    struct output_node *n = event_new(c, CLIENT_EVENT_CONVERSATION, 0);
    if (!n) return SOTTO_ERR_FULL;
    n->out.event.conversation = id;
    n->out.event.sequence = head;
    output_stage(c, n);
    return SOTTO_OK;
}

static enum sotto_err on_snapshot(struct client *c, struct arena *arena, struct json e)
{
    struct json list = json_get(e, "conversations");
    for (struct json v = json_first(list); json_type(v) != JSON_ABSENT; v = json_next(list, v)) {
        enum sotto_err err = on_conversation(c, arena, v, true);
        if (err && err != SOTTO_ERR_INVALID) return err;
    }
    return SOTTO_OK;
}

/* ---- Everything else --------------------------------------------------- */

static enum sotto_err on_mark(struct client *c, struct arena *arena, struct json e, enum client_event_kind kind)
{
    struct output_node *n = event_new(c, kind, 0);
    if (!n) return SOTTO_ERR_FULL;
    struct client_event *out = &n->out.event;
    if (!member_id(arena, e, "conversationId", &out->conversation) ||
        (kind != CLIENT_EVENT_EXPIRED && !member_id(arena, e, "userId", &out->user))) {
        output_free(c, n);
        return SOTTO_ERR_INVALID;
    }
    out->sequence = member_u64(e, "sequence");
    out->ts_ms = member_u64(e, "ts");
    if (kind == CLIENT_EVENT_TYPING && json_bool(json_get(e, "started"), &out->started) != SOTTO_OK)
        out->started = true;
    output_stage(c, n);
    return SOTTO_OK;
}

static enum sotto_err on_presence(struct client *c, struct arena *arena, struct json e)
{
    struct json list = json_get(e, "users");
    for (struct json u = json_first(list); json_type(u) != JSON_ABSENT; u = json_next(list, u)) {
        struct slice status = member_text(arena, u, "status");
        struct output_node *n = event_new(c, CLIENT_EVENT_PRESENCE, status.len);
        if (!n) return SOTTO_ERR_FULL;
        if (!member_id(arena, u, "userId", &n->out.event.user)) {
            output_free(c, n);
            continue;
        }
        n->out.event.text = output_copy(n, status);
        n->out.event.ts_ms = member_u64(u, "lastSeenAt");
        output_stage(c, n);
    }
    return SOTTO_OK;
}

static enum sotto_err plain_event(struct client *c, enum client_event_kind kind, struct slice code,
                                  struct slice text, uint64_t wait_ms)
{
    struct output_node *n = event_new(c, kind, code.len + text.len);
    if (!n) return SOTTO_ERR_FULL;
    n->out.event.code = output_copy(n, code);
    n->out.event.text = output_copy(n, text);
    n->out.event.wait_ms = wait_ms;
    output_stage(c, n);
    return SOTTO_OK;
}

/* Which conversation we had asked about under that name. */
static bool asked_about(struct slice re, const char *name, struct id *out)
{
    size_t len = strlen(name);
    return re.len == len + ID_TEXT_LEN && memcmp(re.data, name, len) == 0 &&
           id_parse(slice_of(re.data + len, ID_TEXT_LEN), out) == SOTTO_OK;
}

static struct conversation *history_of(struct client *c, struct slice re)
{
    struct id id;
    return asked_about(re, ASK_HISTORY, &id) ? conversation_find(c, id) : NULL;
}

static enum sotto_err on_asked(struct client *c, struct arena *arena, struct json e, struct slice re)
{
    struct id id;
    if (!asked_about(re, ASK_CONVERSATION, &id)) return SOTTO_OK;
    struct own_marks own = own_marks(c, arena, e);
    return conversation_begin(c, id, own.delivered, own.read);
}

static bool marks_of(struct slice re, enum mark_kind *kind_out)
{
    *kind_out = slice_is(re, "marks:read") ? MARK_READ : MARK_DELIVERED;
    return *kind_out == MARK_READ || slice_is(re, "marks:delivered");
}

/* A cursor that the server cannot read at all: start over from a snapshot. */
static enum sotto_err hello_without_cursor(struct client *c)
{
    if (!c->cursor[0]) return SOTTO_OK;
    c->cursor[0] = '\0';
    enum sotto_err err = store_open(c);
    if (!err) err = c->store->save_cursor(c->store->ctx, (struct slice){0});
    return err ? err : hello_send(c);
}

static enum sotto_err on_error(struct client *c, struct arena *arena, struct json e)
{
    struct slice re = member_text(arena, e, "re"), code = member_text(arena, e, "code");
    struct slice text = member_text(arena, e, "message");
    uint64_t retry_ms = member_u64(e, "retryAfterMs");
    if (c->phase == CLIENT_GREETING && slice_is(code, "bad_cursor")) return hello_without_cursor(c);
    struct queued *q = re.len ? outbox_find(c, re) : NULL;
    if (q) return outbox_refused(c, q, code, text, retry_ms);
    struct id asked;
    if (asked_about(re, ASK_CONVERSATION, &asked)) return conversation_begin(c, asked, UINT64_MAX, 0);
    struct conversation *v = history_of(c, re);
    enum sotto_err err = v ? conversation_history_failed(c, v, code, retry_ms) : SOTTO_OK;
    if (err) return err;
    enum mark_kind kind;
    if (marks_of(re, &kind)) {
        if (!problem_passes(code)) return marks_answered(c, kind); /* refused for good: do not ask for ever */
        c->marks_under_way[kind] = false;
        c->marks_dirty = true;
        c->marks_ms = c->now_ms + (retry_ms ? retry_ms : CLIENT_BACKOFF_MAX_MS);
        return SOTTO_OK;
    }
    return plain_event(c, CLIENT_EVENT_PROBLEM, code, text, retry_ms);
}

static enum sotto_err on_hello(struct client *c, struct arena *arena, struct json e)
{
    if (c->phase != CLIENT_GREETING) return SOTTO_OK;
    struct id user;
    if (!member_id(arena, e, "userId", &user) || !id_eq(user, c->user)) return SOTTO_ERR_INVALID;
    c->device = (uint8_t)member_u64(e, "deviceId");
    struct slice resume = member_text(arena, e, "resumeToken");
    if (resume.len && resume.len <= CLIENT_TOKEN_MAX) {
        memcpy(c->resume_token, resume.data, resume.len);
        c->resume_token[resume.len] = '\0';
    }
    c->heartbeat_ms = member_u64(e, "heartbeatMs");
    c->idle_timeout_ms = member_u64(e, "idleTimeoutMs");
    client_enter(c, CLIENT_SYNCING, UINT64_MAX);
    return SOTTO_OK;
}

static enum sotto_err on_done(struct client *c, struct arena *arena, struct json e)
{
    if (c->phase != CLIENT_SYNCING) return SOTTO_OK;
    enum sotto_err err = conversations_settle(c);
    if (!err) err = cursor_keep(c, member_text(arena, e, "cursor"));
    if (err) return err;
    client_enter(c, CLIENT_LIVE, UINT64_MAX);
    c->failures = 0;
    return plain_event(c, CLIENT_EVENT_CAUGHT_UP, (struct slice){0}, (struct slice){0}, 0);
}

static enum sotto_err on_event(struct client *c, struct arena *arena, struct json e);

static enum sotto_err on_batch(struct client *c, struct arena *arena, struct json e)
{
    struct json list = json_get(e, "events");
    c->in_batch = true;
    enum sotto_err err = SOTTO_OK;
    for (struct json v = json_first(list); json_type(v) != JSON_ABSENT && !err; v = json_next(list, v)) {
        err = on_event(c, arena, v);
        if (err == SOTTO_ERR_INVALID) err = SOTTO_OK;
    }
    c->in_batch = false;
    return err;
}

static enum sotto_err on_event(struct client *c, struct arena *arena, struct json e)
{
    struct slice type = member_text(arena, e, "type"), none = {0};
    struct slice re = member_text(arena, e, "re");
    if (slice_is(type, "message.new")) return on_message_new(c, arena, e);
    if (slice_is(type, "message.sent")) return on_message_sent(c, arena, e);
    if (slice_is(type, "message.delivered")) return on_mark(c, arena, e, CLIENT_EVENT_DELIVERED);
    if (slice_is(type, "message.read")) return on_mark(c, arena, e, CLIENT_EVENT_READ);
    if (slice_is(type, "message.expired")) return on_mark(c, arena, e, CLIENT_EVENT_EXPIRED);
    if (slice_is(type, "typing")) return on_mark(c, arena, e, CLIENT_EVENT_TYPING);
    if (slice_is(type, "conversation.updated")) return on_conversation(c, arena, e, false);
    if (slice_is(type, "presence")) return on_presence(c, arena, e);
    if (slice_is(type, "conversation")) return on_asked(c, arena, e, re);
    if (slice_is(type, "history")) {
        struct conversation *v = history_of(c, re);
        return v ? conversation_history(c, v, arena, e) : SOTTO_OK;
    }
    enum mark_kind kind;
    if (slice_is(type, "ok")) return marks_of(re, &kind) ? marks_answered(c, kind) : SOTTO_OK;
    if (slice_is(type, "error")) return on_error(c, arena, e);
    if (slice_is(type, "devices.changed")) return plain_event(c, CLIENT_EVENT_DEVICES, none, none, 0);
    if (slice_is(type, "account.changed")) return plain_event(c, CLIENT_EVENT_ACCOUNT, none, none, 0);
    if (slice_is(type, "prekeys.low")) return plain_event(c, CLIENT_EVENT_PREKEYS_LOW, none, none, 0);
    if (slice_is(type, "flow_control"))
        return plain_event(c, CLIENT_EVENT_FLOW, none, member_text(arena, e, "state"), member_u64(e, "retryAfterMs"));
    return SOTTO_OK;
}

static enum sotto_err on_frame(struct client *c, struct arena *arena, struct json e)
{
    struct slice type = member_text(arena, e, "type");
    if (slice_is(type, "hello")) return on_hello(c, arena, e);
    if (slice_is(type, "sync.snapshot")) return on_snapshot(c, arena, e);
    if (slice_is(type, "sync.done")) return on_done(c, arena, e);
    if (slice_is(type, "sync.reset")) { /* a snapshot follows */
        if (slice_is(member_text(arena, e, "reason"), "unknown")) conversations_doubt(c);
        return SOTTO_OK;
    }
    bool batch = slice_is(type, "sync.batch");
    enum sotto_err err = batch ? on_batch(c, arena, e) : on_event(c, arena, e);
    if (err) return err;
    if (batch) c->failures = 0; /* on a link that breaks again and again it goes forward */
    return cursor_keep(c, member_text(arena, e, "cursor"));
}

enum sotto_err incoming_frame(struct client *c, struct slice text)
{
    /* A batch is bounded by its bytes, not by what it has of the smallest events. */
    unsigned tokens_max = json_tokens_bound(text);
    size_t need = (size_t)tokens_max * 48 + 2 * text.len + 4096;
    if (need > c->scratch_len) {
        void *grown = c->memory->resize(c->memory->ctx, c->scratch, need);
        if (!grown) return SOTTO_ERR_FULL;
        c->scratch = grown;
        c->scratch_len = need;
    }
    struct arena arena;
    arena_init(&arena, c->scratch, c->scratch_len, 0);
    struct json root;
    enum sotto_err err = json_parse_up_to(&arena, text, tokens_max, &root);
    if (!err && json_type(root) != JSON_OBJECT) err = SOTTO_ERR_INVALID;
    if (err == SOTTO_ERR_INVALID) {
        client_disconnect(c, 1007);
    } else if (!err) {
        err = on_frame(c, &arena, root);
    }
    arena_deinit(&arena);
    return err == SOTTO_ERR_INVALID ? SOTTO_OK : err;
}
