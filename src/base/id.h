/* 128-bit identifiers: users, conversations, messages.
 *
 * Text form: the canonical lower-case UUID (RFC 9562), 36 characters. Users
 * are version 4; messages are version 7, so that they sort by time; a direct
 * conversation's id is derived from its two members, version 8.
 */
#ifndef SOTTO_BASE_ID_H
#define SOTTO_BASE_ID_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/random.h"

enum { ID_LEN = 16, ID_TEXT_LEN = 36 };

struct id {
    uint8_t bytes[ID_LEN];
};

/* As two words: shorter than a call of memcmp. */
static inline bool id_eq(struct id a, struct id b)
{
    uint64_t x[2], y[2];
    memcpy(x, a.bytes, ID_LEN);
    memcpy(y, b.bytes, ID_LEN);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}
static inline int id_cmp(struct id a, struct id b) { return memcmp(a.bytes, b.bytes, ID_LEN); }
static inline bool id_is_zero(struct id id) { return id_eq(id, (struct id){{0}}); }
static inline unsigned id_version(struct id id) { return id.bytes[6] >> 4; }
/* Random, version 4. */
struct id id_random(const struct random_source *random);
/* Time-ordered, version 7. ts_ms: Unix milliseconds. */
struct id id_time_ordered(const struct random_source *random, uint64_t ts_ms);
/* The id of the direct conversation of two users: the same whichever comes
 * first. Version 8, BLAKE2b-128 over a label and both ids in order. */
struct id id_direct_conversation(struct id a, struct id b);
/* Writes 36 characters and a NUL. */
void id_format(struct id id, char out[ID_TEXT_LEN + 1]);
void buffer_append_id(struct buffer *b, struct id id);
/* Accepts the canonical lower- or upper-case form only. */
SOTTO_CHECKED enum sotto_err id_parse(struct slice text, struct id *id_out);
/* 64-bit hash for maps and partitions; the same in every process. */
uint64_t id_hash(struct id id);

#endif
