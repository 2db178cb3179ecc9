/* message.send: the path that must be short.
 *
 * On the loop: decode, look into the caches, check, encode a record, submit.
 * Only when a cache misses does the call go to a worker and come back. The
 * answer is written when the engine says that the record is on disk.
 *
 * BLOCKS, in a direct conversation. If the recipient has blocked the sender the
 * message is stored and marked MESSAGE_WITHHELD: the sender is answered `sent`
 * as always, the recipient's devices get a stub. If the sender has blocked the
 * recipient, sending is refused, since an answer could never arrive.
 *
 * AGAIN. The engine knows a message that comes a second time. One that would be refused by
 * now, since devices have come or gone, somebody is blocked or an account is deleted, may
 * have been stored before all that, its answer lost on the way. So the engine is asked, in
 * line behind what was submitted before, and only what it does not know is refused.
 */
#include "api/api.h"
#include "api/direct.h"
#include "api/envelopes.h"

#include "engine/engine.h"

struct send {
    struct id to, conversation_id, reply_to;
    struct slice client_msg_id, type, payload, media;
    struct json envelopes;
    uint64_t ttl_s;
    bool urgent;
    bool has_to, has_conversation, has_reply_to, has_payload, has_envelopes;
    struct direct direct;
    enum problem refused; /* unless it has been sent before */
};

#define AT(member) offsetof(struct send, member)
static const struct json_field send_fields[] = {
    {"to", JF_ID, false, AT(to), 0, 0, AT(has_to)},
    {"conversationId", JF_ID, false, AT(conversation_id), 0, 0, AT(has_conversation)},
    {"clientMsgId", JF_STRING, true, AT(client_msg_id), 1, SOTTO_CLIENT_MSG_ID_MAX, SIZE_MAX},
    {"messageType", JF_STRING, true, AT(type), 1, SOTTO_MESSAGE_TYPE_MAX, SIZE_MAX},
    {"payload", JF_BASE64, false, AT(payload), 0, SOTTO_PAYLOAD_MAX, AT(has_payload)},
    {"envelopes", JF_JSON, false, AT(envelopes), 0, SOTTO_ENVELOPES_MAX, AT(has_envelopes)},
    {"replyTo", JF_ID, false, AT(reply_to), 0, 0, AT(has_reply_to)},
    {"ttl", JF_U64, false, AT(ttl_s), 1, SOTTO_TTL_MAX_S, SIZE_MAX},
    {"media", JF_STRING, false, AT(media), 0, SOTTO_HANDLE_MAX, SIZE_MAX},
    {"urgent", JF_BOOL, false, AT(urgent), 0, 0, SIZE_MAX},
};
#undef AT

static void finish(struct call *c, enum problem p)
{
    struct send *s = c->context;
    direct_deinit(&s->direct);
    call_finish(c, p);
}

static enum problem mistake(struct call *c, const char *field, const char *why)
{
    c->field = field;
    buffer_append_str(&c->why, why);
    return PROBLEM_BAD_FIELD;
}

static enum problem send_decode(struct call *c, struct send *s)
{
    enum problem p = call_decode(c, send_fields, sizeof(send_fields) / sizeof(send_fields[0]), s);
    if (p != PROBLEM_NONE) return p;
    if (s->has_to == s->has_conversation) return mistake(c, "to", "Give either to or conversationId.");
    if (s->has_payload == s->has_envelopes) return mistake(c, "payload", "Give either payload or envelopes.");
    if (s->has_to && id_eq(s->to, c->user)) return mistake(c, "to", "Somebody else than yourself.");
    s->direct.conversation = s->has_to ? id_direct_conversation(c->user, s->to) : s->conversation_id;
    s->direct.peer = s->to;
    return PROBLEM_NONE;
}

static void answer(struct call *c, struct id conversation, struct slice client_msg_id, const struct applied *a)
{
    if (a->problem != PROBLEM_NONE) {
        call_finish(c, a->problem);
        return;
    }
    struct json_writer *w = &c->answer;
    json_put_string(w, "clientMsgId", client_msg_id);
    json_put_id(w, "conversationId", conversation);
    json_put_id(w, "messageId", a->message_id);
    json_put_u64(w, "sequence", a->sequence);
    json_put_base64(w, "chain", slice_of(a->chain, HASH_LEN));
    json_put_u64(w, "ts", a->ts_ms);
    if (a->repeated) json_put_bool(w, "repeated", true);
    call_count(c, a->repeated ? STAGE_REPEATED : STAGE_DURABLE);
    call_finish(c, PROBLEM_NONE);
}

/* All it tells is in the submission, which is at hand; the request has long left the caches. */
static void on_submitted(struct call *c, const struct submission *s)
{
    answer(c, s->record.conversation, s->record.message.client_msg_id, &s->answer);
}

/* The differences between the devices, as something else is answered. */
static void drop_details(struct call *c)
{
    call_error_details(c);
    c->details = false;
}

static void on_looked_up(struct call *c, const struct submission *s)
{
    const struct send *asked = c->context;
    struct applied a = s->answer;
    if (a.problem == PROBLEM_NOT_FOUND) a.problem = asked->refused;
    else drop_details(c);
    if (a.problem == PROBLEM_FORBIDDEN) buffer_append_str(&c->why, "You have blocked this user.");
    answer(c, s->record.conversation, s->record.message.client_msg_id, &a);
}

/* ---- Sending -------------------------------------------------------------- */

static bool device_listed(const struct user_view *v, uint8_t device)
{
    for (size_t i = 0; i < v->devices_count; i++)
        if (v->devices[i].id == device) return true;
    return false;
}

/* Who may send what to whom; sets the message's flags. */
static enum problem send_check(struct call *c, struct send *s, struct record_message *m)
{
    const struct direct *d = &s->direct;
    if (!device_listed(d->me, c->device)) return PROBLEM_TOKEN; /* revoked a moment ago */
    if (!d->is_direct) {
        if (s->has_envelopes) return mistake(c, "envelopes", "Envelopes are for direct conversations.");
        return PROBLEM_NONE;
    }
    if (d->other == NULL) return PROBLEM_NO_SUCH_USER;
    if (user_view_blocks(d->me, d->peer)) return PROBLEM_FORBIDDEN;
    if (user_view_blocks(d->other, c->user)) m->flags |= MESSAGE_WITHHELD;
    m->has_peer = true;
    m->peer = d->peer;
    return PROBLEM_NONE;
}

static enum problem send_body(struct call *c, struct send *s, struct record_message *m, struct buffer *body)
{
    enum problem p = PROBLEM_NONE;
    if (s->has_payload) {
        m->body_kind = BODY_PAYLOAD;
        m->body = s->payload;
    } else {
        m->body_kind = BODY_ENVELOPES;
        p = envelopes_build(c, s->envelopes, s->direct.me, s->direct.other, body);
        if (p != PROBLEM_NONE && p != PROBLEM_DEVICES_STALE) return p;
        m->body = buffer_slice(body);
    }
    body_hash(m->body_kind, m->body, m->payload_hash);
    return p;
}

/* Checks and makes the message; sets s->refused where it is only to be asked for. */
static enum problem send_make(struct call *c, struct send *s, struct record_message *m, struct buffer *body)
{
    enum problem p = send_check(c, s, m);
    if (p == PROBLEM_FORBIDDEN || p == PROBLEM_NO_SUCH_USER) s->refused = p;
    else if (p != PROBLEM_NONE) return p;
    if (!call_limit_pair(c, s->direct.conversation)) return PROBLEM_RATE_LIMITED;
    p = send_body(c, s, m, body);
    if (p != PROBLEM_NONE && p != PROBLEM_DEVICES_STALE) return p;
    if (s->refused == PROBLEM_NONE) s->refused = p;
    else c->details = false; /* devices do not matter */
    if (s->refused == PROBLEM_NONE) return PROBLEM_NONE;
    m->flags |= MESSAGE_ONLY_REPEATED;
    m->body = slice_of(NULL, 0); /* the hash is enough */
    return PROBLEM_NONE;
}

/* Everything is known: check, encode, submit. */
static void send_go(struct call *c)
{
    struct send *s = c->context;
    uint64_t now = clock_wall_ms(c->services->clock);
    struct record r = {.kind = RECORD_MESSAGE, .conversation = s->direct.conversation};
    struct record_message *m = &r.message;
    struct buffer body, *encoded = call_record(c);
    buffer_init(&body, SOTTO_RECORD_MAX);
    m->sender = c->user;
    m->sender_device = c->device;
    m->ts_ms = now;
    m->expires_ms = s->ttl_s != 0 ? now + s->ttl_s * 1000 : 0;
    m->flags = s->urgent ? MESSAGE_URGENT : 0;
    m->client_msg_id = s->client_msg_id;
    m->type = s->type;
    m->media = s->media;
    m->has_reply_to = s->has_reply_to;
    m->reply_to = s->reply_to;
    enum problem p = send_make(c, s, m, &body);
    if (p == PROBLEM_NONE) {
        m->message_id = id_time_ordered(call_random(c), now);
        record_encode(&r, encoded);
        if (encoded->overflow) p = PROBLEM_TOO_LARGE;
    }
    buffer_deinit(&body);
    bool asks = s->refused != PROBLEM_NONE;
    if (p == PROBLEM_NONE && !call_submit(c, encoded, asks ? on_looked_up : on_submitted)) {
        p = engine_draining(c->services->engine) ? PROBLEM_DRAINING : PROBLEM_BUSY;
        drop_details(c);
    }
    direct_deinit(&s->direct); /* now, while they are at hand: the answer does without */
    if (p != PROBLEM_NONE) {
        finish(c, p);
        return;
    }
    if (asks) return;
    call_count(c, STAGE_ACCEPTED);
    call_forget(c);
}

static void send_load(struct call *c)
{
    struct send *s = c->context;
    direct_load(c, &s->direct, s->has_to);
}

static void send_loaded(struct call *c)
{
    struct send *s = c->context;
    if (s->direct.problem != PROBLEM_NONE) finish(c, s->direct.problem);
    else send_go(c);
}

void api_message_send(struct call *c)
{
    struct send *s = arena_zalloc(&c->arena, sizeof(*s));
    enum problem p = s != NULL ? PROBLEM_NONE : PROBLEM_TOO_LARGE;
    if (p == PROBLEM_NONE) p = send_decode(c, s);
    if (p != PROBLEM_NONE) {
        call_finish(c, p);
        return;
    }
    c->context = s;
    if (direct_peek(c, &s->direct, s->has_to)) send_go(c);
    else if (!call_work(c, send_load, send_loaded)) finish(c, PROBLEM_BUSY);
}
