/* Records: encoding, decoding, hashes. See record.h for the format. */
#include "wire/record.h"

#include "base/limits.h"

#include <sodium.h>

enum { MEMBER_ENTRY_LEN = ID_LEN + 1 };

static void write_id(struct buffer *b, struct id id)
{
    buffer_append(b, id.bytes, ID_LEN);
}

static struct id read_id(struct reader *r)
{
    struct id id;
    read_copy(r, id.bytes, ID_LEN);
    return id;
}

static void encode_message(const struct record_message *m, struct buffer *out)
{
    write_id(out, m->message_id);
    write_id(out, m->sender);
    write_u8(out, m->sender_device);
    write_u64(out, m->ts_ms);
    write_u64(out, m->expires_ms);
    write_u8(out, m->flags);
    buffer_append(out, m->payload_hash, HASH_LEN);
    write_block(out, m->client_msg_id);
    write_block(out, m->type);
    write_block(out, m->media);
    write_u8(out, m->has_reply_to);
    if (m->has_reply_to) write_id(out, m->reply_to);
    write_u8(out, m->has_peer);
    if (m->has_peer) write_id(out, m->peer);
    write_u8(out, m->body_kind);
    write_block(out, m->body);
}

static void encode_watermark(const struct record_watermark *w, struct buffer *out)
{
    write_id(out, w->user);
    write_u8(out, w->device);
    write_u64(out, w->ts_ms);
    write_u8(out, w->flags);
    write_varint(out, w->delivered);
    write_varint(out, w->read);
}

void record_encode(const struct record *r, struct buffer *out)
{
    write_u8(out, RECORD_VERSION);
    write_u8(out, (uint8_t)r->kind);
    write_id(out, r->conversation);
    switch (r->kind) {
    case RECORD_MESSAGE:
        encode_message(&r->message, out);
        break;
    case RECORD_WATERMARK:
        encode_watermark(&r->watermark, out);
        break;
    case RECORD_EXPIRE:
    case RECORD_PURGE:
        write_varint(out, r->sequence);
        break;
    case RECORD_CREATE:
        write_id(out, r->create.creator);
        write_u64(out, r->create.ts_ms);
        write_u8(out, r->create.kind);
        write_varint(out, r->create.members_count);
        buffer_append_slice(out, r->create.members);
        break;
    case RECORD_MEMBER:
        write_id(out, r->member.actor);
        write_id(out, r->member.user);
        write_u64(out, r->member.ts_ms);
        write_u8(out, r->member.change);
        write_u8(out, r->member.role);
        break;
    case RECORD_TYPING:
        write_id(out, r->typing.user);
        write_u8(out, r->typing.device);
        write_u8(out, r->typing.started);
        break;
    }
}

static bool read_flag(struct reader *r)
{
    uint8_t v = read_u8(r);
    if (v > 1) r->failed = true;
    return v == 1;
}

static void decode_message(struct reader *r, struct record_message *m)
{
    m->message_id = read_id(r);
    m->sender = read_id(r);
    m->sender_device = read_u8(r);
    m->ts_ms = read_u64(r);
    m->expires_ms = read_u64(r);
    m->flags = read_u8(r);
    read_copy(r, m->payload_hash, HASH_LEN);
    m->client_msg_id = read_block(r, SOTTO_CLIENT_MSG_ID_MAX);
    m->type = read_block(r, SOTTO_MESSAGE_TYPE_MAX);
    m->media = read_block(r, SOTTO_HANDLE_MAX);
    m->has_reply_to = read_flag(r);
    if (m->has_reply_to) m->reply_to = read_id(r);
    m->has_peer = read_flag(r);
    if (m->has_peer) m->peer = read_id(r);
    m->body_kind = read_u8(r);
    m->body = read_block(r, SOTTO_RECORD_MAX);
    if (m->body_kind != BODY_PAYLOAD && m->body_kind != BODY_ENVELOPES) r->failed = true;
    if (m->flags & ~(MESSAGE_URGENT | MESSAGE_WITHHELD | MESSAGE_ONLY_REPEATED)) r->failed = true;
    if (r->failed || m->body.len == 0) return; /* an expired row has no body */
    size_t count;
    if (m->body_kind == BODY_PAYLOAD ? m->body.len > SOTTO_PAYLOAD_MAX
                                     : envelopes_check(m->body, &count) != SOTTO_OK)
        r->failed = true;
}

static void decode_watermark(struct reader *r, struct record_watermark *w)
{
    w->user = read_id(r);
    w->device = read_u8(r);
    w->ts_ms = read_u64(r);
    w->flags = read_u8(r);
    w->delivered = read_varint(r);
    w->read = read_varint(r);
    if (w->flags & ~WATERMARK_PRIVATE) r->failed = true;
}

static void decode_create(struct reader *r, struct record_create *c)
{
    c->creator = read_id(r);
    c->ts_ms = read_u64(r);
    c->kind = read_u8(r);
    uint64_t count = read_varint(r);
    if (count == 0 || count > SOTTO_MEMBERS_MAX || c->kind < CONVERSATION_DIRECT ||
        c->kind > CONVERSATION_GROUP) {
        r->failed = true;
        return;
    }
    c->members_count = (size_t)count;
    c->members = read_bytes(r, c->members_count * MEMBER_ENTRY_LEN);
    if (r->failed) return;
    for (size_t i = 0; i < c->members_count; i++) {
        uint8_t role = c->members.data[i * MEMBER_ENTRY_LEN + ID_LEN];
        if (role < ROLE_MEMBER || role > ROLE_OWNER) r->failed = true;
    }
}

static void decode_member(struct reader *r, struct record_member *m)
{
    m->actor = read_id(r);
    m->user = read_id(r);
    m->ts_ms = read_u64(r);
    m->change = read_u8(r);
    m->role = read_u8(r);
    if (m->change < MEMBER_ADD || m->change > MEMBER_SET_ROLE) r->failed = true;
    if (m->role < ROLE_MEMBER || m->role > ROLE_OWNER) r->failed = true;
}

enum sotto_err record_decode(struct slice bytes, struct record *record_out)
{
    if (bytes.len > SOTTO_RECORD_MAX + 1024) return SOTTO_ERR_INVALID;
    struct reader r = reader_of(bytes);
    struct record record;
    memset(&record, 0, sizeof(record));
    if (read_u8(&r) != RECORD_VERSION) return SOTTO_ERR_INVALID;
    uint8_t kind = read_u8(&r);
    record.conversation = read_id(&r);
    if (r.failed || kind < RECORD_MESSAGE || kind > RECORD_TYPING) return SOTTO_ERR_INVALID;
    record.kind = (enum record_kind)kind;
    switch (record.kind) {
    case RECORD_MESSAGE:
        decode_message(&r, &record.message);
        break;
    case RECORD_WATERMARK:
        decode_watermark(&r, &record.watermark);
        break;
    case RECORD_EXPIRE:
    case RECORD_PURGE:
        record.sequence = read_varint(&r);
        break;
    case RECORD_CREATE:
        decode_create(&r, &record.create);
        break;
    case RECORD_MEMBER:
        decode_member(&r, &record.member);
        break;
    case RECORD_TYPING:
        record.typing.user = read_id(&r);
        record.typing.device = read_u8(&r);
        record.typing.started = read_flag(&r);
        break;
    }
    if (!reader_done(&r)) return SOTTO_ERR_INVALID;
    *record_out = record;
    return SOTTO_OK;
}

void envelope_encode(const struct envelope *e, struct buffer *out)
{
    write_id(out, e->user);
    write_u8(out, e->device);
    write_u8(out, e->kind);
    write_block(out, e->content);
}

static void read_envelope(struct reader *r, struct envelope *e)
{
    e->user = read_id(r);
    e->device = read_u8(r);
    e->kind = read_u8(r);
    e->content = read_block(r, SOTTO_PAYLOAD_MAX);
}

enum sotto_err envelopes_check(struct slice body, size_t *count_out)
{
    struct reader r = reader_of(body);
    uint64_t count = read_varint(&r);
    if (r.failed || count == 0 || count > SOTTO_ENVELOPES_MAX) return SOTTO_ERR_INVALID;
    struct envelope last = {.device = 0};
    for (uint64_t i = 0; i < count; i++) {
        struct envelope e;
        read_envelope(&r, &e);
        if (r.failed || e.device == 0 || e.device > SOTTO_DEVICE_ID_MAX) return SOTTO_ERR_INVALID;
        int order = id_cmp(last.user, e.user);
        if (i != 0 && (order > 0 || (order == 0 && last.device >= e.device))) return SOTTO_ERR_INVALID;
        last = e;
    }
    if (!reader_done(&r)) return SOTTO_ERR_INVALID;
    *count_out = (size_t)count;
    return SOTTO_OK;
}

bool envelope_find(struct slice body, struct id user, uint8_t device, struct envelope *envelope_out)
{
    struct reader r = reader_of(body);
    uint64_t count = read_varint(&r);
    for (uint64_t i = 0; i < count && !r.failed; i++) {
        struct envelope e;
        read_envelope(&r, &e);
        if (!r.failed && e.device == device && id_eq(e.user, user)) {
            *envelope_out = e;
            return true;
        }
    }
    return false;
}

static void hash(struct slice bytes, uint8_t out[HASH_LEN])
{
    crypto_generichash(out, HASH_LEN, bytes.data, bytes.len, NULL, 0);
}

void body_hash(enum body_kind kind, struct slice body, uint8_t hash_out[HASH_LEN])
{
    if (kind == BODY_PAYLOAD) {
        hash(body, hash_out);
        return;
    }
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, HASH_LEN);
    struct reader r = reader_of(body);
    uint64_t count = read_varint(&r);
    for (uint64_t i = 0; i < count && !r.failed; i++) {
        struct envelope e;
        uint8_t part[ID_LEN + 2 + HASH_LEN];
        read_envelope(&r, &e);
        memcpy(part, e.user.bytes, ID_LEN);
        part[ID_LEN] = e.device;
        part[ID_LEN + 1] = e.kind;
        hash(e.content, part + ID_LEN + 2);
        crypto_generichash_update(&state, part, sizeof(part));
    }
    crypto_generichash_final(&state, hash_out, HASH_LEN);
}

void record_hash(const struct record *r, uint8_t hash_out[HASH_LEN])
{
    struct buffer bytes;
    buffer_init(&bytes, SOTTO_RECORD_MAX);
    record_encode(r, &bytes);
    hash(buffer_slice(&bytes), hash_out);
    buffer_deinit(&bytes);
}

void chain_next(const uint8_t previous[HASH_LEN], uint64_t sequence, struct id message_id,
                struct id sender, const uint8_t payload_hash[HASH_LEN], uint8_t chain_out[HASH_LEN])
{
    uint8_t in[HASH_LEN + 8 + ID_LEN + ID_LEN + HASH_LEN];
    uint8_t *at = in;
    memcpy(at, previous, HASH_LEN), at += HASH_LEN;
    store_be64(at, sequence), at += 8;
    memcpy(at, message_id.bytes, ID_LEN), at += ID_LEN;
    memcpy(at, sender.bytes, ID_LEN), at += ID_LEN;
    memcpy(at, payload_hash, HASH_LEN);
    hash(slice_of(in, sizeof(in)), chain_out);
}
