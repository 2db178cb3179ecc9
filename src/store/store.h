/* Messages and conversations on disk: the port.
 *
 * KEYS (one column family each; integers big-endian so that they sort):
 *   meta          name                         -> value
 *   conversation  conversation id              -> state row (core/conversation.h)
 *   message       conversation id | sequence   -> message row (wire/message.h)
 *   dedupe        idempotency key[22]          -> conversation id | sequence
 *   member        user id | conversation id    -> empty
 *   expiry        expiresMs | conversation id | sequence -> empty
 *
 * States of conversations are overwritten in place: one that is read may already be
 * that of the commit under way, before the other rows of that commit can be seen
 * and before the position is. They are read one by one, not iterated, by anyone
 * but the thread that commits; and none is shorter than the one it replaces.
 *
 * The row `epoch` of meta is the engine's, which draws another where it is missing. A
 * backend that opened without the end of what was written removes it.
 *
 * One writer commits batches; any thread reads. A commit is atomic and, when
 * it returns SOTTO_OK, survives power loss. Backends: RocksDB
 * (store_rocksdb.h) and, for simulation, memory with injected faults
 * (store_memory.h).
 */
#ifndef SOTTO_STORE_STORE_H
#define SOTTO_STORE_STORE_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/id.h"

enum store_family {
    STORE_META, STORE_CONVERSATION, STORE_MESSAGE, STORE_DEDUPE, STORE_MEMBER, STORE_EXPIRY,
    STORE_FAMILIES
};

struct store;        /* opaque; begins with a pointer to its struct store_ops */
struct store_batch;  /* puts and deletes, kept in order */
struct store_iter;   /* over one family, on a snapshot taken when it was made */

/* Reads one value into `value` (cleared first). Blocks.
 * Errors: NOT_FOUND, IO, CORRUPT. */
SOTTO_CHECKED enum sotto_err store_get(struct store *s, enum store_family f, struct slice key,
                                       struct buffer *value);
struct store_batch *store_batch_create(struct store *s);
void store_batch_destroy(struct store_batch **b);
void store_batch_clear(struct store_batch *b);
void store_put(struct store_batch *b, enum store_family f, struct slice key, struct slice value);
/* The value in two pieces, so that a prefix needs no copy of the rest. */
void store_put2(struct store_batch *b, enum store_family f, struct slice key, struct slice head,
                struct slice tail);
void store_delete(struct store_batch *b, enum store_family f, struct slice key);
/* [from, to). from: at most STORE_RANGE_FROM_MAX bytes, the id that keys begin with. */
enum { STORE_RANGE_FROM_MAX = ID_LEN };
void store_delete_range(struct store_batch *b, enum store_family f, struct slice from, struct slice to);
size_t store_batch_count(const struct store_batch *b);
/* What is in it makes room: the commit may use what is kept free on the disk. Until it is
 * cleared. */
void store_batch_frees(struct store_batch *b);
/* Writes and syncs. Errors: FULL no room, nothing written; IO nothing written;
 * UNCERTAIN it may or may not be there: what is read next tells, and is then
 * as durable as any commit; until that can be said, reading fails with IO.
 * Writer only. */
SOTTO_CHECKED enum sotto_err store_commit(struct store *s, struct store_batch *b);

/* Between two commits, when nobody waits: makes ready what the next one needs. Writer only. */
void store_rest(struct store *s);

struct store_iter *store_iter_create(struct store *s, enum store_family f);
void store_iter_destroy(struct store_iter **it);
/* At the first key >= `key`. */
void store_iter_seek(struct store_iter *it, struct slice key);
/* At the last key <= `key`. */
void store_iter_seek_last(struct store_iter *it, struct slice key);
bool store_iter_valid(const struct store_iter *it);
void store_iter_next(struct store_iter *it);
void store_iter_prev(struct store_iter *it);
/* Borrowed until the iterator moves. */
struct slice store_iter_key(const struct store_iter *it);
struct slice store_iter_value(const struct store_iter *it);
/* SOTTO_OK, or why it stopped being valid. */
SOTTO_CHECKED enum sotto_err store_iter_error(const struct store_iter *it);

/* Asks that what was deleted leaves the disk soon. May return before. */
void store_compact(struct store *s, enum store_family f);
/* Whether some of that is still to be done; what failed is tried again. Any thread. */
bool store_compacting(struct store *s, enum store_family f);
/* A consistent copy in `directory`, which must not exist. Any thread. */
SOTTO_CHECKED enum sotto_err store_backup(struct store *s, const char *directory, struct buffer *why_out);
/* Closes, frees, nulls. */
void store_close(struct store **s);

struct store_ops {
    enum sotto_err (*get)(struct store *, enum store_family, struct slice, struct buffer *);
    struct store_batch *(*batch_create)(struct store *);
    void (*batch_destroy)(struct store_batch *);
    void (*batch_clear)(struct store_batch *);
    void (*put2)(struct store_batch *, enum store_family, struct slice, struct slice, struct slice);
    void (*del)(struct store_batch *, enum store_family, struct slice);
    void (*delete_range)(struct store_batch *, enum store_family, struct slice, struct slice);
    size_t (*batch_count)(const struct store_batch *);
    void (*batch_frees)(struct store_batch *);
    enum sotto_err (*commit)(struct store *, struct store_batch *);
    void (*rest)(struct store *);
    struct store_iter *(*iter_create)(struct store *, enum store_family);
    void (*iter_destroy)(struct store_iter *);
    void (*iter_seek)(struct store_iter *, struct slice);
    void (*iter_seek_last)(struct store_iter *, struct slice);
    bool (*iter_valid)(const struct store_iter *);
    void (*iter_next)(struct store_iter *);
    void (*iter_prev)(struct store_iter *);
    struct slice (*iter_key)(const struct store_iter *);
    struct slice (*iter_value)(const struct store_iter *);
    enum sotto_err (*iter_error)(const struct store_iter *);
    void (*compact)(struct store *, enum store_family);
    bool (*compacting)(struct store *, enum store_family);
    enum sotto_err (*backup)(struct store *, const char *, struct buffer *);
    void (*close)(struct store *);
};
/* The first member of every struct store, store_batch and store_iter. */
struct store_head { const struct store_ops *ops; };

#endif
