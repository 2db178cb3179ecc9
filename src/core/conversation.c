/* The conversation state machine; see conversation.h for the state row.
 *
 * INVARIANTS. Sequences are given only to what is stored, one by one, each with
 * a chain value over the one before. A mark never goes back and never passes
 * lastSequence; what others know as read they know as delivered. A record that is refused changes
 * nothing, not even a position. All times come from the record.
 */
#include "core/conversation.h"

#include "base/limits.h"

#include <sodium.h>
#include <stdlib.h>

enum { STATE_VERSION = 1, MEMBER_ENTRY_LEN = ID_LEN + 1 };

void conversation_init(struct conversation *c, struct id id)
{
    memset(c, 0, sizeof(*c));
    c->id = id;
    c->first_sequence = 1;
}

void conversation_deinit(struct conversation *c)
{
    free(c->members);
    c->members = NULL;
    c->members_count = c->members_size = 0;
}

/* The row is written at every commit, so its writers work on plain memory of
 * which there is enough for the longest row. */
enum {
    VARINT_MAX = 10,
    STATE_FIXED_MAX = 2 + 7 * 8 + HASH_LEN + VARINT_MAX,
    STATE_MEMBER_MAX = ID_LEN + 1 + 12 * VARINT_MAX,
};

static uint8_t *put_varint(uint8_t *at, uint64_t v)
{
    for (; v >= 0x80; v >>= 7) *at++ = (uint8_t)(v | 0x80);
    *at++ = (uint8_t)v;
    return at;
}

static uint8_t *put_u64(uint8_t *at, uint64_t v)
{
    store_be64(at, v);
    return at + 8;
}

static uint8_t *put_bytes(uint8_t *at, const uint8_t *bytes, size_t len)
{
    memcpy(at, bytes, len);
    return at + len;
}

static uint8_t *put_watermark(uint8_t *at, const struct watermark *w)
{
    at = put_varint(at, w->sequence);
    at = put_varint(at, w->ts_ms);
    return put_varint(at, w->position);
}

static uint8_t *put_member(uint8_t *at, const struct member *m)
{
    at = put_bytes(at, m->user.bytes, ID_LEN);
    *at++ = m->role;
    at = put_varint(at, m->joined_sequence);
    at = put_varint(at, m->joined_position);
    at = put_varint(at, m->left_sequence);
    at = put_varint(at, m->left_position);
    at = put_watermark(at, &m->delivered);
    at = put_watermark(at, &m->read);
    at = put_varint(at, m->public_read);
    return put_varint(at, m->public_read_position);
}

void conversation_encode(const struct conversation *c, struct buffer *out)
{
    uint8_t *at = buffer_reserve(out, STATE_FIXED_MAX + c->members_count * STATE_MEMBER_MAX);
    if (at == NULL) return;
    *at++ = STATE_VERSION;
    *at++ = c->kind;
    at = put_u64(at, c->created_ms);
    at = put_u64(at, c->created_position);
    at = put_u64(at, c->last_sequence);
    at = put_u64(at, c->first_sequence);
    at = put_u64(at, c->last_position);
    at = put_u64(at, c->purged_position);
    at = put_u64(at, c->last_ts_ms);
    at = put_bytes(at, c->chain, HASH_LEN);
    at = put_varint(at, c->members_count);
    for (size_t i = 0; i < c->members_count; i++) at = put_member(at, &c->members[i]);
    out->len = (size_t)(at - out->data);
}

static void read_watermark(struct reader *r, struct watermark *w)
{
    w->sequence = read_varint(r);
    w->ts_ms = read_varint(r);
    w->position = read_varint(r);
}

static void read_member(struct reader *r, struct member *m)
{
    read_copy(r, m->user.bytes, ID_LEN);
    m->role = read_u8(r);
    m->joined_sequence = read_varint(r);
    m->joined_position = read_varint(r);
    m->left_sequence = read_varint(r);
    m->left_position = read_varint(r);
    read_watermark(r, &m->delivered);
    read_watermark(r, &m->read);
    m->public_read = read_varint(r);
    m->public_read_position = read_varint(r);
    if (m->role < ROLE_MEMBER || m->role > ROLE_OWNER) r->failed = true;
}

enum sotto_err conversation_decode(struct id id, struct slice row, struct conversation *c_out)
{
    struct reader r = reader_of(row);
    struct conversation c;
    conversation_init(&c, id);
    if (read_u8(&r) != STATE_VERSION) return SOTTO_ERR_CORRUPT;
    c.kind = read_u8(&r);
    c.created_ms = read_u64(&r);
    c.created_position = read_u64(&r);
    c.last_sequence = read_u64(&r);
    c.first_sequence = read_u64(&r);
    c.last_position = read_u64(&r);
    c.purged_position = read_u64(&r);
    c.last_ts_ms = read_u64(&r);
    read_copy(&r, c.chain, HASH_LEN);
    uint64_t count = read_varint(&r);
    if (r.failed || c.kind < CONVERSATION_DIRECT || c.kind > CONVERSATION_GROUP || count == 0 ||
        count > SOTTO_MEMBERS_MAX || c.first_sequence == 0 || c.first_sequence > c.last_sequence + 1)
        return SOTTO_ERR_CORRUPT;
    c.members = sotto_zalloc(count * sizeof(*c.members));
    c.members_count = c.members_size = (size_t)count;
    for (size_t i = 0; i < c.members_count; i++) read_member(&r, &c.members[i]);
    while (r.at < r.end && *r.at == 0) r.at++;
    if (!reader_done(&r)) {
        conversation_deinit(&c);
        return SOTTO_ERR_CORRUPT;
    }
    *c_out = c;
    return SOTTO_OK;
}

struct member *conversation_member(const struct conversation *c, struct id user)
{
    for (size_t i = 0; i < c->members_count; i++)
        if (id_eq(c->members[i].user, user)) return &c->members[i];
    return NULL;
}

bool member_sees(const struct member *m, uint64_t sequence)
{
    return sequence > m->joined_sequence && (m->left_sequence == 0 || sequence <= m->left_sequence);
}

void dedupe_key(struct id conversation, struct id sender, uint8_t device, struct slice client_msg_id,
                uint8_t key_out[DEDUPE_KEY_LEN])
{
    enum { HEAD_LEN = 2 * ID_LEN + 1 };
    uint8_t in[HEAD_LEN + SOTTO_CLIENT_MSG_ID_MAX];
    struct id id;
    SOTTO_ASSERT(client_msg_id.len <= SOTTO_CLIENT_MSG_ID_MAX);
    if (id_parse(client_msg_id, &id) == SOTTO_OK && id_version(id) == 7)
        memcpy(key_out, id.bytes, DEDUPE_TIME_LEN);
    else
        memset(key_out, 0, DEDUPE_TIME_LEN);
    memcpy(in, conversation.bytes, ID_LEN);
    memcpy(in + ID_LEN, sender.bytes, ID_LEN);
    in[2 * ID_LEN] = device;
    if (client_msg_id.len != 0) memcpy(in + HEAD_LEN, client_msg_id.data, client_msg_id.len);
    crypto_generichash(key_out + DEDUPE_TIME_LEN, DEDUPE_KEY_LEN - DEDUPE_TIME_LEN, in,
                       HEAD_LEN + client_msg_id.len, NULL, 0);
}

/* ---- Applying ------------------------------------------------------------ */

static struct member *add_member(struct conversation *c, struct id user, uint8_t role, uint64_t sequence,
                                 uint64_t position)
{
    if (c->members_count == c->members_size) {
        c->members_size = c->members_size == 0 ? 2 : 2 * c->members_size;
        c->members = sotto_realloc(c->members, c->members_size * sizeof(*c->members));
    }
    struct member *m = &c->members[c->members_count++];
    *m = (struct member){.user = user, .role = role, .joined_sequence = sequence, .joined_position = position};
    return m;
}

static void create(struct conversation *c, uint8_t kind, uint64_t ts_ms, uint64_t position)
{
    c->kind = kind;
    c->created_ms = ts_ms;
    c->created_position = position;
}

/* Gives the next number and chain value. */
static void number(struct conversation *c, uint64_t position, uint64_t ts_ms, struct id message_id,
                   struct id actor, const uint8_t hash[HASH_LEN], struct applied *out)
{
    c->last_sequence++;
    chain_next(c->chain, c->last_sequence, message_id, actor, hash, c->chain);
    c->last_position = position;
    c->last_ts_ms = ts_ms;
    out->sequence = c->last_sequence;
    out->ts_ms = ts_ms;
    out->message_id = message_id;
    memcpy(out->chain, c->chain, HASH_LEN);
}

static void answer_prior(const struct prior *prior, const uint8_t hash[HASH_LEN], struct applied *out)
{
    if (memcmp(prior->payload_hash, hash, HASH_LEN) != 0) {
        out->problem = PROBLEM_ID_CONFLICT;
        return;
    }
    out->repeated = true;
    out->sequence = prior->sequence;
    out->ts_ms = prior->ts_ms;
    out->message_id = prior->message_id;
    memcpy(out->chain, prior->chain, HASH_LEN);
}

static void apply_message(struct conversation *c, const struct record_message *m, uint64_t position,
                          const struct prior *prior, struct applied *out)
{
    if (prior->found) {
        answer_prior(prior, m->payload_hash, out);
        return;
    }
    if (m->flags & MESSAGE_ONLY_REPEATED) {
        out->problem = PROBLEM_NOT_FOUND;
        return;
    }
    if (c->kind == 0) {
        if (!m->has_peer) {
            out->problem = PROBLEM_NOT_FOUND;
            return;
        }
        if (id_eq(m->sender, m->peer) || !id_eq(c->id, id_direct_conversation(m->sender, m->peer))) {
            out->problem = PROBLEM_BAD_REQUEST;
            return;
        }
        create(c, CONVERSATION_DIRECT, m->ts_ms, position);
        (void)add_member(c, m->sender, ROLE_MEMBER, 0, position);
        (void)add_member(c, m->peer, ROLE_MEMBER, 0, position);
        out->events |= APPLY_CREATED;
    }
    struct member *sender = conversation_member(c, m->sender);
    if (sender == NULL || !member_present(sender)) {
        out->problem = PROBLEM_NOT_MEMBER;
        return;
    }
    number(c, position, m->ts_ms, m->message_id, m->sender, m->payload_hash, out);
    out->member = (size_t)(sender - c->members);
    out->events |= APPLY_MESSAGE;
}

static void move(struct watermark *w, uint64_t sequence, uint64_t ts_ms, uint64_t position)
{
    *w = (struct watermark){sequence, ts_ms, position};
}

static void apply_watermark(struct conversation *c, const struct record_watermark *w, uint64_t position,
                            struct applied *out)
{
    struct member *m = conversation_member(c, w->user);
    if (m == NULL || !member_present(m)) {
        out->problem = c->kind == 0 ? PROBLEM_NOT_FOUND : PROBLEM_NOT_MEMBER;
        return;
    }
    if (w->delivered > c->last_sequence || w->read > c->last_sequence) {
        out->problem = PROBLEM_BAD_FIELD;
        return;
    }
    bool is_public = !(w->flags & WATERMARK_PRIVATE);
    uint64_t delivered = is_public && w->read > w->delivered ? w->read : w->delivered;
    if (delivered > m->delivered.sequence) {
        move(&m->delivered, delivered, w->ts_ms, position);
        out->events |= APPLY_DELIVERED;
    }
    if (w->read > m->read.sequence) {
        move(&m->read, w->read, w->ts_ms, position);
        out->events |= APPLY_READ;
    }
    if (is_public && w->read > m->public_read) {
        m->public_read = w->read;
        m->public_read_position = position;
        out->events |= APPLY_READ_PUBLIC;
    }
    if (out->events != 0) c->last_position = position;
    out->sequence = delivered > w->read ? delivered : w->read;
    out->ts_ms = w->ts_ms;
    out->member = (size_t)(m - c->members);
}

static void apply_create(struct conversation *c, const struct record *r, uint64_t position, struct applied *out)
{
    const struct record_create *create_record = &r->create;
    if (c->kind != 0 || create_record->kind != CONVERSATION_GROUP) {
        out->problem = PROBLEM_CONFLICT;
        return;
    }
    bool has_creator = false;
    const uint8_t *entries = create_record->members.data;
    for (size_t i = 0; i < create_record->members_count; i++) {
        struct id user;
        memcpy(user.bytes, entries + i * MEMBER_ENTRY_LEN, ID_LEN);
        has_creator |= id_eq(user, create_record->creator);
        for (size_t j = 0; j < i; j++)
            if (memcmp(entries + j * MEMBER_ENTRY_LEN, user.bytes, ID_LEN) == 0)
                out->problem = PROBLEM_BAD_REQUEST;
    }
    if (!has_creator) out->problem = PROBLEM_BAD_REQUEST;
    if (out->problem != PROBLEM_NONE) return;
    create(c, create_record->kind, create_record->ts_ms, position);
    for (size_t i = 0; i < create_record->members_count; i++) {
        struct id user;
        memcpy(user.bytes, entries + i * MEMBER_ENTRY_LEN, ID_LEN);
        struct member *m = add_member(c, user, entries[i * MEMBER_ENTRY_LEN + ID_LEN], 0, position);
        if (id_eq(user, create_record->creator)) {
            m->role = ROLE_OWNER;
            out->member = i;
        }
    }
    uint8_t hash[HASH_LEN];
    record_hash(r, hash);
    number(c, position, create_record->ts_ms, (struct id){{0}}, create_record->creator, hash, out);
    out->events |= APPLY_CREATED | APPLY_MEMBERS;
}

/* Owners may do everything, admins everything but touch owners and admins;
 * everyone may leave, but the last owner only when nobody else is left. */
static bool may_change(const struct conversation *c, const struct member *actor, const struct member *subject,
                       const struct record_member *change)
{
    bool self = subject != NULL && subject == actor;
    if (change->change == MEMBER_REMOVE && self) {
        if (actor->role != ROLE_OWNER) return true;
        size_t owners = 0, present = 0;
        for (size_t i = 0; i < c->members_count; i++) {
            if (!member_present(&c->members[i])) continue;
            present++;
            owners += c->members[i].role == ROLE_OWNER;
        }
        return owners > 1 || present == 1;
    }
    if (self) return false;
    if (actor->role == ROLE_OWNER) return true;
    if (actor->role != ROLE_ADMIN || change->role != ROLE_MEMBER) return false;
    return change->change == MEMBER_ADD ||
           (change->change == MEMBER_REMOVE && subject != NULL && subject->role == ROLE_MEMBER);
}

static void apply_member(struct conversation *c, const struct record *r, uint64_t position, struct applied *out)
{
    const struct record_member *change = &r->member;
    const struct member *actor = conversation_member(c, change->actor);
    struct member *subject = conversation_member(c, change->user);
    if (actor == NULL || !member_present(actor)) {
        out->problem = c->kind == 0 ? PROBLEM_NOT_FOUND : PROBLEM_NOT_MEMBER;
        return;
    }
    bool present = subject != NULL && member_present(subject);
    if (c->kind != CONVERSATION_GROUP || present == (change->change == MEMBER_ADD) ||
        (change->change == MEMBER_SET_ROLE && subject->role == change->role) ||
        (subject == NULL && c->members_count == SOTTO_MEMBERS_MAX)) {
        out->problem = PROBLEM_CONFLICT;
        return;
    }
    if (!may_change(c, actor, subject, change)) {
        out->problem = PROBLEM_FORBIDDEN;
        return;
    }
    uint8_t hash[HASH_LEN];
    record_hash(r, hash);
    number(c, position, change->ts_ms, (struct id){{0}}, change->actor, hash, out);
    if (subject == NULL)
        subject = add_member(c, change->user, change->role, out->sequence - 1, position);
    else if (change->change == MEMBER_ADD)
        *subject = (struct member){.user = change->user, .role = change->role,
                                   .joined_sequence = out->sequence - 1, .joined_position = position};
    else if (change->change == MEMBER_SET_ROLE)
        subject->role = change->role;
    else
        subject->left_sequence = out->sequence, subject->left_position = position;
    out->member = (size_t)(subject - c->members);
    out->events |= APPLY_MEMBERS;
}

static void apply_expire(struct conversation *c, uint64_t sequence, uint64_t position, struct applied *out)
{
    if (sequence < c->first_sequence || sequence > c->last_sequence) {
        out->problem = PROBLEM_NOT_FOUND;
        return;
    }
    c->last_position = position;
    out->sequence = sequence;
    out->events |= APPLY_EXPIRED;
}

static void apply_purge(struct conversation *c, uint64_t first_kept, uint64_t position, struct applied *out)
{
    if (first_kept <= c->first_sequence || first_kept > c->last_sequence + 1) {
        out->problem = PROBLEM_CONFLICT;
        return;
    }
    c->first_sequence = first_kept;
    c->last_position = position;
    out->sequence = first_kept;
    out->events |= APPLY_PURGED;
}

void conversation_apply(struct conversation *c, const struct record *r, uint64_t position,
                        const struct prior *prior, struct applied *applied_out)
{
    SOTTO_ASSERT(id_eq(c->id, r->conversation) && position > c->last_position);
    *applied_out = (struct applied){.problem = PROBLEM_NONE};
    switch (r->kind) {
    case RECORD_MESSAGE:
        apply_message(c, &r->message, position, prior, applied_out);
        break;
    case RECORD_WATERMARK:
        apply_watermark(c, &r->watermark, position, applied_out);
        break;
    case RECORD_EXPIRE:
        apply_expire(c, r->sequence, position, applied_out);
        break;
    case RECORD_PURGE:
        apply_purge(c, r->sequence, position, applied_out);
        break;
    case RECORD_CREATE:
        apply_create(c, r, position, applied_out);
        break;
    case RECORD_MEMBER:
        apply_member(c, r, position, applied_out);
        break;
    case RECORD_TYPING: {
        const struct member *m = conversation_member(c, r->typing.user);
        if (m == NULL || !member_present(m)) {
            applied_out->problem = c->kind == 0 ? PROBLEM_NOT_FOUND : PROBLEM_NOT_MEMBER;
            break;
        }
        applied_out->member = (size_t)(m - c->members);
        applied_out->events = APPLY_TYPING;
        break;
    }
    }
}
