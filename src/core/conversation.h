/* The conversation state machine: apply(state, record) -> row, events.
 *
 * A pure function of its arguments: no I/O, no clock, no randomness, no
 * threads. Two owners that apply the same records to the same state write the
 * same bytes. One design serves any number of members: a direct conversation
 * has two and is created by its first message; a group is created by
 * RECORD_CREATE and changed by RECORD_MEMBER, which take sequence numbers too.
 *
 * STATE ROW, version 1 (key: conversation id):
 *   u8 version | u8 kind | u64 createdMs | u64 createdPosition |
 *   u64 lastSequence | u64 firstSequence | u64 lastPosition | u64 purgedPosition |
 *   u64 lastTsMs | chain[32] | varint members |
 *   members * (id user | u8 role | varint joinedSequence | varint joinedPosition |
 *              varint leftSequence | varint leftPosition (0: still here) |
 *              2 * (varint sequence | varint tsMs | varint position)  delivered, read
 *              varint publicRead | varint publicReadPosition )
 */
#ifndef SOTTO_CORE_CONVERSATION_H
#define SOTTO_CORE_CONVERSATION_H

#include "wire/message.h"
#include "wire/problem.h"
#include "wire/record.h"

struct watermark {
    uint64_t sequence; /* everything up to here */
    uint64_t ts_ms;    /* when it last moved */
    uint64_t position; /* of the record that moved it */
};
struct member {
    struct id user;
    uint8_t role;               /* enum member_role */
    uint64_t joined_sequence;   /* sees messages after this one */
    uint64_t joined_position;
    uint64_t left_sequence;     /* 0: still a member; else sees up to here */
    uint64_t left_position;
    struct watermark delivered;
    struct watermark read;      /* what the reader's own devices share */
    uint64_t public_read;       /* what others may know */
    uint64_t public_read_position;
};
struct conversation {
    struct id id;
    uint8_t kind;               /* 0: does not exist yet */
    uint64_t created_ms, created_position;
    uint64_t last_sequence;     /* 0: no message yet */
    uint64_t first_sequence;    /* oldest that is kept; 1 at first */
    uint64_t last_position;     /* of the last record that changed anything */
    uint64_t purged_position;   /* of the newest message that retention removed */
    uint64_t last_ts_ms;
    uint8_t chain[HASH_LEN];
    struct member *members;     /* owned */
    size_t members_count, members_size;
};

/* An empty, not yet existing conversation. */
void conversation_init(struct conversation *c, struct id id);
void conversation_deinit(struct conversation *c);
void conversation_encode(const struct conversation *c, struct buffer *out);
/* Zeros behind the state are padding. c is initialised by the call on success only.
 * SOTTO_ERR_CORRUPT otherwise. */
SOTTO_CHECKED enum sotto_err conversation_decode(struct id id, struct slice row, struct conversation *c_out);
/* The member, present or past; NULL if never. */
struct member *conversation_member(const struct conversation *c, struct id user);
static inline bool member_present(const struct member *m) { return m->left_sequence == 0; }
/* Whether the member may see that message: joined before, not gone before. */
bool member_sees(const struct member *m, uint64_t sequence);

/* What the store knows of an earlier message with the same idempotency key. */
struct prior {
    bool found;
    uint64_t sequence;
    uint64_t ts_ms;
    uint8_t chain[HASH_LEN];
    struct id message_id;
    uint8_t payload_hash[HASH_LEN];
};
/* The idempotency key of (conversation, sender device, clientMsgId): 48 bits of
 * Unix milliseconds, big-endian, and 16 bytes of BLAKE2b over conversation id |
 * sender id | device | clientMsgId. The time is that of a clientMsgId which is a
 * UUID of version 7 (RFC 9562, section 5.7), as our clients make them, else 0: keys
 * of messages that are sent about now lie side by side, so that looking for one
 * that is not there yet passes by whatever is older. */
enum { DEDUPE_TIME_LEN = 6, DEDUPE_KEY_LEN = DEDUPE_TIME_LEN + 16 };
void dedupe_key(struct id conversation, struct id sender, uint8_t device, struct slice client_msg_id,
                uint8_t key_out[DEDUPE_KEY_LEN]);

enum apply_event {
    APPLY_CREATED = 1,    /* the conversation is new: tell the members */
    APPLY_MESSAGE = 2,    /* row at `sequence` */
    APPLY_DELIVERED = 4,  /* member's delivered mark moved */
    APPLY_READ = 8,       /* member's read mark moved */
    APPLY_READ_PUBLIC = 16, /* … and others may know */
    APPLY_MEMBERS = 32,   /* membership or a role changed; row at `sequence` */
    APPLY_EXPIRED = 64,   /* the row at `sequence` becomes a tombstone */
    APPLY_PURGED = 128,   /* rows before `sequence` go */
    APPLY_TYPING = 256,   /* tell the others, store nothing */
};
struct applied {
    enum problem problem; /* PROBLEM_NONE, or why nothing changed */
    bool repeated;        /* same key, same payload: the first answer follows */
    unsigned events;      /* enum apply_event bits */
    uint64_t sequence;
    uint64_t ts_ms;
    uint8_t chain[HASH_LEN];
    struct id message_id;
    size_t member;        /* index of the member that acted or moved */
};
/* Applies one record at `position` (> c->last_position). With a problem the
 * state is untouched. Records never fail otherwise: what makes no sense is a
 * problem, and the position is simply not used. */
void conversation_apply(struct conversation *c, const struct record *r, uint64_t position,
                        const struct prior *prior, struct applied *applied_out);

#endif
