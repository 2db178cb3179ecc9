/* Records: what a client (or the server's housekeeping) asks to happen in a
 * conversation, with everything that is not a function of the log filled in.
 *
 * FORMAT, version 1. Big-endian; "block" is a varint length and that many
 * bytes; ids are 16 bytes.
 *
 *   u8 version (1) | u8 kind | id conversation | body
 *
 *   RECORD_MESSAGE      id messageId | id sender | u8 device | u64 tsMs |
 *                       u64 expiresMs (0: never) | u8 flags | payloadHash[32] |
 *                       block clientMsgId | block type | block media |
 *                       u8 hasReplyTo [id replyTo] |
 *                       u8 hasPeer [id peer]      (direct conversations: creates)
 *                       u8 bodyKind | block body
 *   RECORD_WATERMARK    id user | u8 device | u64 tsMs | u8 flags |
 *                       varint delivered | varint read        (0: unchanged)
 *   RECORD_EXPIRE       varint sequence                       (payload is dropped)
 *   RECORD_PURGE        varint first kept sequence
 *   RECORD_CREATE       id creator | u64 tsMs | u8 conversationKind | varint n |
 *                       n * (id user | u8 role)
 *   RECORD_MEMBER       id actor | id user | u64 tsMs | u8 change | u8 role
 *   RECORD_TYPING       id user | u8 device | u8 started      (never stored)
 *
 * Body kinds: 1 one opaque payload for everybody; 2 envelopes, one per device:
 *   varint n | n * (id user | u8 device | u8 kind | block content), ordered by
 *   (user, device) without repeats.
 *
 * payloadHash: BLAKE2b-256 of the payload; for envelopes BLAKE2b-256 over, for
 * each in order, user id | device | kind | BLAKE2b-256(content).
 *
 * A decoder refuses unknown versions and kinds, trailing bytes and anything
 * past the maxima of base/limits.h. Decoded slices borrow from the input.
 */
#ifndef SOTTO_WIRE_RECORD_H
#define SOTTO_WIRE_RECORD_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/id.h"

enum { RECORD_VERSION = 1, HASH_LEN = 32 };

enum record_kind {
    RECORD_MESSAGE = 1,
    RECORD_WATERMARK = 2,
    RECORD_EXPIRE = 3,
    RECORD_PURGE = 4,
    RECORD_CREATE = 5,
    RECORD_MEMBER = 6,
    RECORD_TYPING = 7,
};
enum message_flag {
    MESSAGE_URGENT = 1,
    MESSAGE_WITHHELD = 2, /* the other side has blocked the sender: only the sender's devices see it */
    MESSAGE_ONLY_REPEATED = 4, /* a question: has it been stored before? Never stored itself */
};
enum watermark_flag {
    WATERMARK_PRIVATE = 1, /* shared with the reader's own devices only */
};
enum body_kind { BODY_PAYLOAD = 1, BODY_ENVELOPES = 2 };
enum conversation_kind { CONVERSATION_DIRECT = 1, CONVERSATION_GROUP = 2 };
enum member_role { ROLE_MEMBER = 1, ROLE_ADMIN = 2, ROLE_OWNER = 3 };
enum member_change { MEMBER_ADD = 1, MEMBER_REMOVE = 2, MEMBER_SET_ROLE = 3 };

struct record_message {
    struct id message_id, sender, reply_to, peer;
    uint8_t sender_device;
    bool has_reply_to, has_peer;
    uint8_t flags;          /* enum message_flag bits */
    uint8_t body_kind;
    uint64_t ts_ms, expires_ms;
    uint8_t payload_hash[HASH_LEN];
    struct slice client_msg_id, type, media, body;
};
struct record_watermark {
    struct id user;
    uint8_t device, flags;
    uint64_t ts_ms, delivered, read;
};
struct record_create {
    struct id creator;
    uint64_t ts_ms;
    uint8_t kind;
    size_t members_count;
    struct slice members;   /* members_count * 17 bytes */
};
struct record_member {
    struct id actor, user;
    uint64_t ts_ms;
    uint8_t change, role;
};
struct record {
    enum record_kind kind;
    struct id conversation;
    union {
        struct record_message message;
        struct record_watermark watermark;
        uint64_t sequence;  /* EXPIRE: which; PURGE: first kept */
        struct record_create create;
        struct record_member member;
        struct {
            struct id user;
            uint8_t device;
            bool started;
        } typing;
    };
};

void record_encode(const struct record *r, struct buffer *out);
SOTTO_CHECKED enum sotto_err record_decode(struct slice bytes, struct record *record_out);

struct envelope {
    struct id user;
    uint8_t device;
    uint8_t kind;           /* opaque to the server; 2 message, 3 prekey message, … */
    struct slice content;
};
/* Appends one envelope to a body; the caller wrote the varint count first. */
void envelope_encode(const struct envelope *e, struct buffer *out);
/* Checks count, order, sizes. */
SOTTO_CHECKED enum sotto_err envelopes_check(struct slice body, size_t *count_out);
/* Finds the envelope of one device in a checked body. */
bool envelope_find(struct slice body, struct id user, uint8_t device, struct envelope *envelope_out);

/* BLAKE2b-256 as described above; the body is checked. */
void body_hash(enum body_kind kind, struct slice body, uint8_t hash_out[HASH_LEN]);

/* BLAKE2b-256 of the encoded record: what stands in the chain for sequenced
 * records that have no payload (RECORD_CREATE, RECORD_MEMBER). */
void record_hash(const struct record *r, uint8_t hash_out[HASH_LEN]);

/* The chain: BLAKE2b-256 over previous[32] | u64 sequence | message id |
 * sender id | payloadHash. The first previous value is all zero. Sequenced
 * records without a payload take record_hash and a zero message id. */
void chain_next(const uint8_t previous[HASH_LEN], uint64_t sequence, struct id message_id,
                struct id sender, const uint8_t payload_hash[HASH_LEN], uint8_t chain_out[HASH_LEN]);

#endif
