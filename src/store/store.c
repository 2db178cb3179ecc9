/* The store port: every call goes through the backend's table, and nothing is
 * added here but what all backends share. */
#include "store/store.h"

static const struct store_ops *ops_of(const void *object)
{
    return ((const struct store_head *)object)->ops;
}

enum sotto_err store_get(struct store *s, enum store_family f, struct slice key, struct buffer *value)
{
    return ops_of(s)->get(s, f, key, value);
}

struct store_batch *store_batch_create(struct store *s) { return ops_of(s)->batch_create(s); }

void store_batch_destroy(struct store_batch **b)
{
    if (*b == NULL) return;
    ops_of(*b)->batch_destroy(*b);
    *b = NULL;
}

void store_batch_clear(struct store_batch *b) { ops_of(b)->batch_clear(b); }

void store_put(struct store_batch *b, enum store_family f, struct slice key, struct slice value)
{
    ops_of(b)->put2(b, f, key, value, slice_of(NULL, 0));
}

void store_put2(struct store_batch *b, enum store_family f, struct slice key, struct slice head, struct slice tail)
{
    ops_of(b)->put2(b, f, key, head, tail);
}

void store_delete(struct store_batch *b, enum store_family f, struct slice key) { ops_of(b)->del(b, f, key); }

void store_delete_range(struct store_batch *b, enum store_family f, struct slice from, struct slice to)
{
    SOTTO_ASSERT(from.len <= STORE_RANGE_FROM_MAX);
    ops_of(b)->delete_range(b, f, from, to);
}

size_t store_batch_count(const struct store_batch *b) { return ops_of(b)->batch_count(b); }
void store_batch_frees(struct store_batch *b) { ops_of(b)->batch_frees(b); }
enum sotto_err store_commit(struct store *s, struct store_batch *b) { return ops_of(s)->commit(s, b); }
void store_rest(struct store *s) { ops_of(s)->rest(s); }
struct store_iter *store_iter_create(struct store *s, enum store_family f) { return ops_of(s)->iter_create(s, f); }

void store_iter_destroy(struct store_iter **it)
{
    if (*it == NULL) return;
    ops_of(*it)->iter_destroy(*it);
    *it = NULL;
}

void store_iter_seek(struct store_iter *it, struct slice key) { ops_of(it)->iter_seek(it, key); }
void store_iter_seek_last(struct store_iter *it, struct slice key) { ops_of(it)->iter_seek_last(it, key); }
bool store_iter_valid(const struct store_iter *it) { return ops_of(it)->iter_valid(it); }
void store_iter_next(struct store_iter *it) { ops_of(it)->iter_next(it); }
void store_iter_prev(struct store_iter *it) { ops_of(it)->iter_prev(it); }
struct slice store_iter_key(const struct store_iter *it) { return ops_of(it)->iter_key(it); }
struct slice store_iter_value(const struct store_iter *it) { return ops_of(it)->iter_value(it); }
enum sotto_err store_iter_error(const struct store_iter *it) { return ops_of(it)->iter_error(it); }
void store_compact(struct store *s, enum store_family f) { ops_of(s)->compact(s, f); }
bool store_compacting(struct store *s, enum store_family f) { return ops_of(s)->compacting(s, f); }

enum sotto_err store_backup(struct store *s, const char *directory, struct buffer *why_out)
{
    return ops_of(s)->backup(s, directory, why_out);
}

void store_close(struct store **s)
{
    if (*s == NULL) return;
    ops_of(*s)->close(*s);
    *s = NULL;
}
