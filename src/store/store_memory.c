/* The store in memory.
 *
 * Each family is a sorted table of rows. Rows never change; a table is changed
 * in place while only the store refers to it and copied before a change while
 * an iterator does: that is the snapshot. One lock guards the tables, so that
 * the threaded engine can be tested on it too; iterators walk without the lock,
 * on tables that nobody changes any more.
 */
#include "store/store_memory.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/refcount.h"

struct row {
    struct refcount refs;
    bool damaged;
    size_t key_len, value_len;
    uint8_t bytes[]; /* key, then value */
};
struct table {
    size_t refs; /* under the lock */
    size_t count, size;
    struct row **rows;
};
struct store {
    struct store_head head;
    pthread_mutex_t lock;
    struct table *tables[STORE_FAMILIES];
    store_fault_fn fault;
    void *ctx;
};
struct change {
    enum { CHANGE_PUT, CHANGE_DELETE, CHANGE_DELETE_RANGE } kind;
    enum store_family family;
    struct row *row; /* PUT: owned. DELETE: its key. DELETE_RANGE: [key, value) */
};
struct store_batch {
    struct store_head head;
    struct change *changes;
    size_t count, size;
};
struct store_iter {
    struct store_head head;
    struct store *store;
    struct table *table; /* NULL: creating it failed */
    size_t at;           /* table->count: not valid */
};
static const struct store_ops memory_ops;

/* ---- Rows and tables ------------------------------------------------------ */

static struct row *row_create(struct slice key, struct slice head, struct slice tail)
{
    struct row *r = sotto_alloc(sizeof(*r) + key.len + head.len + tail.len);
    refcount_init(&r->refs);
    r->damaged = false;
    r->key_len = key.len;
    r->value_len = head.len + tail.len;
    if (key.len != 0) memcpy(r->bytes, key.data, key.len);
    if (head.len != 0) memcpy(r->bytes + key.len, head.data, head.len);
    if (tail.len != 0) memcpy(r->bytes + key.len + head.len, tail.data, tail.len);
    return r;
}

static void row_unref(struct row *r)
{
    if (refcount_unref(&r->refs)) free(r);
}

static struct slice row_key(const struct row *r) { return slice_of(r->bytes, r->key_len); }
static struct slice row_value(const struct row *r) { return slice_of(r->bytes + r->key_len, r->value_len); }

static int compare(struct slice a, struct slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len == 0 ? 0 : memcmp(a.data, b.data, len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* Index of the first row with a key >= `key`. */
static size_t lower_bound(const struct table *t, struct slice key)
{
    size_t low = 0, high = t->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(row_key(t->rows[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool row_at(const struct table *t, size_t at, struct slice key)
{
    return at < t->count && slice_eq(row_key(t->rows[at]), key);
}

static struct table *table_create(void)
{
    struct table *t = sotto_zalloc(sizeof(*t));
    t->refs = 1;
    return t;
}

static void table_unref(struct table *t)
{
    if (--t->refs != 0) return;
    for (size_t i = 0; i < t->count; i++) row_unref(t->rows[i]);
    free(t->rows);
    free(t);
}

/* The family's table, for changing: nobody else looks at it. */
static struct table *own_table(struct store *s, enum store_family f)
{
    struct table *t = s->tables[f];
    if (t->refs == 1) return t;
    struct table *copy = table_create();
    copy->count = copy->size = t->count;
    copy->rows = sotto_alloc((t->count + 1) * sizeof(struct row *));
    for (size_t i = 0; i < t->count; i++) {
        copy->rows[i] = t->rows[i];
        refcount_ref(&t->rows[i]->refs);
    }
    table_unref(t);
    s->tables[f] = copy;
    return copy;
}

static void remove_rows(struct table *t, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) row_unref(t->rows[i]);
    if (to > from) memmove(t->rows + from, t->rows + to, (t->count - to) * sizeof(struct row *));
    t->count -= to - from;
}

static void put_row(struct table *t, struct row *row, bool may_shrink)
{
    size_t at = lower_bound(t, row_key(row));
    refcount_ref(&row->refs);
    if (row_at(t, at, row_key(row))) {
        SOTTO_ASSERT(may_shrink || row_value(row).len >= row_value(t->rows[at]).len);
        row_unref(t->rows[at]);
        t->rows[at] = row;
        return;
    }
    if (t->count >= t->size) {
        t->size = t->size < 8 ? 16 : 2 * t->size;
        t->rows = sotto_realloc(t->rows, t->size * sizeof(struct row *));
    }
    memmove(t->rows + at + 1, t->rows + at, (t->count - at) * sizeof(struct row *));
    t->rows[at] = row;
    t->count++;
}

static void apply(struct store *s, const struct change *c)
{
    struct table *t = own_table(s, c->family);
    size_t at = lower_bound(t, row_key(c->row));
    switch (c->kind) {
    case CHANGE_PUT:
        put_row(t, c->row, c->family != STORE_CONVERSATION);
        break;
    case CHANGE_DELETE:
        if (row_at(t, at, row_key(c->row))) remove_rows(t, at, at + 1);
        break;
    case CHANGE_DELETE_RANGE: {
        size_t end = lower_bound(t, row_value(c->row));
        if (end > at) remove_rows(t, at, end);
        break;
    }
    }
}

/* ---- Reading -------------------------------------------------------------- */

static bool fails(struct store *s) { return s->fault != NULL && s->fault(s->ctx, false) != STORE_FAULT_NONE; }

static enum sotto_err memory_get(struct store *s, enum store_family f, struct slice key, struct buffer *value)
{
    buffer_clear(value);
    pthread_mutex_lock(&s->lock);
    enum sotto_err err = fails(s) ? SOTTO_ERR_IO : SOTTO_OK;
    const struct table *t = s->tables[f];
    size_t at = lower_bound(t, key);
    if (err == SOTTO_OK && !row_at(t, at, key)) err = SOTTO_ERR_NOT_FOUND;
    if (err == SOTTO_OK && t->rows[at]->damaged) err = SOTTO_ERR_CORRUPT;
    if (err == SOTTO_OK) buffer_append_slice(value, row_value(t->rows[at]));
    pthread_mutex_unlock(&s->lock);
    return err == SOTTO_OK && value->overflow ? SOTTO_ERR_CORRUPT : err;
}

static struct store_iter *memory_iter_create(struct store *s, enum store_family f)
{
    struct store_iter *it = sotto_zalloc(sizeof(*it));
    it->head.ops = &memory_ops;
    it->store = s;
    pthread_mutex_lock(&s->lock);
    if (!fails(s)) {
        it->table = s->tables[f];
        it->table->refs++;
        it->at = it->table->count;
    }
    pthread_mutex_unlock(&s->lock);
    return it;
}

static void memory_iter_destroy(struct store_iter *it)
{
    if (it->table != NULL) {
        pthread_mutex_lock(&it->store->lock);
        table_unref(it->table);
        pthread_mutex_unlock(&it->store->lock);
    }
    free(it);
}

static void memory_iter_seek(struct store_iter *it, struct slice key)
{
    if (it->table != NULL) it->at = lower_bound(it->table, key);
}

static void memory_iter_seek_last(struct store_iter *it, struct slice key)
{
    if (it->table == NULL) return;
    size_t at = lower_bound(it->table, key);
    if (row_at(it->table, at, key)) it->at = at;
    else it->at = at == 0 ? it->table->count : at - 1;
}

static bool on_row(const struct store_iter *it) { return it->table != NULL && it->at < it->table->count; }

static bool memory_iter_valid(const struct store_iter *it) { return on_row(it) && !it->table->rows[it->at]->damaged; }

static void memory_iter_next(struct store_iter *it)
{
    SOTTO_ASSERT(memory_iter_valid(it));
    it->at++;
}

static void memory_iter_prev(struct store_iter *it)
{
    SOTTO_ASSERT(memory_iter_valid(it));
    it->at = it->at == 0 ? it->table->count : it->at - 1;
}

static struct slice memory_iter_key(const struct store_iter *it)
{
    SOTTO_ASSERT(memory_iter_valid(it));
    return row_key(it->table->rows[it->at]);
}

static struct slice memory_iter_value(const struct store_iter *it)
{
    SOTTO_ASSERT(memory_iter_valid(it));
    return row_value(it->table->rows[it->at]);
}

static enum sotto_err memory_iter_error(const struct store_iter *it)
{
    if (it->table == NULL) return SOTTO_ERR_IO;
    return on_row(it) && !memory_iter_valid(it) ? SOTTO_ERR_CORRUPT : SOTTO_OK;
}

/* ---- Writing -------------------------------------------------------------- */

static struct store_batch *memory_batch_create(struct store *s)
{
    (void)s;
    struct store_batch *b = sotto_zalloc(sizeof(*b));
    b->head.ops = &memory_ops;
    return b;
}

static void memory_batch_clear(struct store_batch *b)
{
    for (size_t i = 0; i < b->count; i++) row_unref(b->changes[i].row);
    b->count = 0;
}

static void memory_batch_destroy(struct store_batch *b)
{
    memory_batch_clear(b);
    free(b->changes);
    free(b);
}

static void add_change(struct store_batch *b, struct change c)
{
    if (b->count == b->size) {
        b->size = b->size == 0 ? 64 : 2 * b->size;
        b->changes = sotto_realloc(b->changes, b->size * sizeof(*b->changes));
    }
    b->changes[b->count++] = c;
}

static void memory_put2(struct store_batch *b, enum store_family f, struct slice key, struct slice head,
                        struct slice tail)
{
    add_change(b, (struct change){CHANGE_PUT, f, row_create(key, head, tail)});
}

static void memory_delete(struct store_batch *b, enum store_family f, struct slice key)
{
    struct slice none = {0};
    add_change(b, (struct change){CHANGE_DELETE, f, row_create(key, none, none)});
}

static void memory_delete_range(struct store_batch *b, enum store_family f, struct slice from, struct slice to)
{
    add_change(b, (struct change){CHANGE_DELETE_RANGE, f, row_create(from, to, slice_of(NULL, 0))});
}

static size_t memory_batch_count(const struct store_batch *b) { return b->count; }

/* Fullness is a fault here, which spares nothing. */
static void memory_batch_frees(struct store_batch *b) { (void)b; }

static void memory_rest(struct store *s) { (void)s; }

static enum sotto_err memory_commit(struct store *s, struct store_batch *b)
{
    pthread_mutex_lock(&s->lock);
    enum store_fault fault = s->fault != NULL ? s->fault(s->ctx, true) : STORE_FAULT_NONE;
    if (fault == STORE_FAULT_NONE || fault == STORE_FAULT_UNCERTAIN_KEPT)
        for (size_t i = 0; i < b->count; i++) apply(s, &b->changes[i]);
    pthread_mutex_unlock(&s->lock);
    switch (fault) {
    case STORE_FAULT_NONE: return SOTTO_OK;
    case STORE_FAULT_FULL: return SOTTO_ERR_FULL;
    case STORE_FAULT_IO: return SOTTO_ERR_IO;
    default: return SOTTO_ERR_UNCERTAIN;
    }
}

/* ---- The rest --------------------------------------------------------------- */

static void memory_compact(struct store *s, enum store_family f)
{
    (void)s;
    (void)f;
}

static bool memory_compacting(struct store *s, enum store_family f)
{
    (void)s;
    (void)f;
    return false;
}

static enum sotto_err memory_backup(struct store *s, const char *directory, struct buffer *why_out)
{
    (void)s;
    (void)directory;
    buffer_clear(why_out);
    buffer_append_str(why_out, "A store in memory has no backup.");
    return SOTTO_ERR_INVALID;
}

static void memory_close(struct store *s)
{
    for (int f = 0; f < STORE_FAMILIES; f++) table_unref(s->tables[f]);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

struct store *store_memory_create(store_fault_fn fault, void *ctx)
{
    struct store *s = sotto_zalloc(sizeof(*s));
    s->head.ops = &memory_ops;
    SOTTO_ASSERT(pthread_mutex_init(&s->lock, NULL) == 0);
    for (int f = 0; f < STORE_FAMILIES; f++) s->tables[f] = table_create();
    s->fault = fault;
    s->ctx = ctx;
    return s;
}

struct store *store_memory_reopen(struct store **old, store_fault_fn fault, void *ctx)
{
    struct store *s = store_memory_create(fault, ctx);
    for (int f = 0; f < STORE_FAMILIES; f++) {
        struct table *empty = s->tables[f];
        s->tables[f] = (*old)->tables[f];
        (*old)->tables[f] = empty;
    }
    store_close(old);
    return s;
}

void store_memory_damage(struct store *s, enum store_family f, struct slice key)
{
    pthread_mutex_lock(&s->lock);
    const struct table *t = s->tables[f];
    size_t at = lower_bound(t, key);
    SOTTO_ASSERT(row_at(t, at, key));
    t->rows[at]->damaged = true;
    pthread_mutex_unlock(&s->lock);
}

static const struct store_ops memory_ops = {
    .get = memory_get,
    .batch_create = memory_batch_create,
    .batch_destroy = memory_batch_destroy,
    .batch_clear = memory_batch_clear,
    .put2 = memory_put2,
    .del = memory_delete,
    .delete_range = memory_delete_range,
    .batch_count = memory_batch_count,
    .batch_frees = memory_batch_frees,
    .commit = memory_commit,
    .rest = memory_rest,
    .iter_create = memory_iter_create,
    .iter_destroy = memory_iter_destroy,
    .iter_seek = memory_iter_seek,
    .iter_seek_last = memory_iter_seek_last,
    .iter_valid = memory_iter_valid,
    .iter_next = memory_iter_next,
    .iter_prev = memory_iter_prev,
    .iter_key = memory_iter_key,
    .iter_value = memory_iter_value,
    .iter_error = memory_iter_error,
    .compact = memory_compact,
    .compacting = memory_compacting,
    .backup = memory_backup,
    .close = memory_close,
};
