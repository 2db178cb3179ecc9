/* A stored message: the record as it was appended, and what the core gave it.
 *
 * ROW FORMAT, version 1 (key: conversation id | u64 sequence):
 *   u8 version (1) | u8 state | u64 position | chain[32] | encoded record
 * The record is a RECORD_MESSAGE or, in groups, a RECORD_CREATE or
 * RECORD_MEMBER, which have numbers too.
 * state 0: whole. state 1: expired; the record's body is an empty block, its
 * media handle is empty, payloadHash stays, so that the chain still verifies.
 */
#ifndef SOTTO_WIRE_MESSAGE_H
#define SOTTO_WIRE_MESSAGE_H

#include "wire/record.h"

enum message_state { MESSAGE_WHOLE = 0, MESSAGE_EXPIRED = 1 };
enum { MESSAGE_ROW_PREFIX_LEN = 1 + 1 + 8 + HASH_LEN };

struct message {
    struct id conversation;
    uint64_t sequence;
    uint64_t position;
    uint8_t state;
    uint8_t kind;                 /* enum record_kind: MESSAGE, CREATE or MEMBER */
    uint8_t chain[HASH_LEN];
    /* For CREATE and MEMBER: sender (the actor), ts_ms and payload_hash
     * (record_hash) are filled in, so that chains and lists need no cases. */
    struct record_message record;
    union {
        struct record_create create;
        struct record_member member;
    } change;
};
/* kind MESSAGE only: for tombstones. */
void message_row_encode(const struct message *m, struct buffer *out);
/* Appends only the prefix; the encoded record follows as it came. */
void message_row_prefix(uint8_t state, uint64_t position, const uint8_t chain[HASH_LEN], struct buffer *out);
/* Slices borrow from `row`. SOTTO_ERR_CORRUPT: not a row of this version. */
SOTTO_CHECKED enum sotto_err message_row_decode(struct id conversation, uint64_t sequence,
                                                struct slice row, struct message *message_out);

#endif
