/* Memory of one size that is taken and given back all the time, by one thread.
 *
 * A short list before the heap. Blocks are the heap's: one that was taken here may be
 * freed by another thread, or given to that one's pool. What was not needed between
 * two trims goes back to the heap.
 */
#ifndef SOTTO_BASE_POOL_H
#define SOTTO_BASE_POOL_H

#include "base/bytes.h"
#include "base/error.h"

#include <stdlib.h>

struct pool_block {
    struct pool_block *next;
};
struct pool {
    struct pool_block *first;
    size_t block;       /* bytes of each; what is larger goes to the heap */
    size_t count, low;  /* blocks held; the fewest since the last trim */
    size_t max;
    size_t warm;        /* bytes at the beginning of a block that everybody uses */
};

static inline void pool_init(struct pool *p, size_t block, size_t warm, size_t max)
{
    *p = (struct pool){.block = block, .warm = warm, .max = max};
}
/* At least `size` bytes; p may be NULL. Never NULL. */
static inline void *pool_take(struct pool *p, size_t size)
{
    if (p == NULL || size > p->block) return sotto_alloc(size);
    struct pool_block *b = p->first;
    if (b == NULL) return sotto_alloc(p->block);
    p->first = b->next;
    prefetch(p->first, p->warm);
    if (--p->count < p->low) p->low = p->count;
    return b;
}
/* size: as it was asked for. From any pool of this block size, if it is not larger;
 * p may be NULL. */
static inline void pool_give(struct pool *p, void *memory, size_t size)
{
    if (p == NULL || size > p->block || p->count >= p->max) {
        free(memory);
        return;
    }
    struct pool_block *b = memory;
    b->next = p->first;
    p->first = b;
    p->count++;
}
static inline void pool_free(struct pool *p, size_t count)
{
    while (count-- > 0 && p->first != NULL) {
        struct pool_block *b = p->first;
        p->first = b->next;
        p->count--;
        free(b);
    }
}
/* Returns the bytes that went back to the heap. */
static inline size_t pool_trim(struct pool *p)
{
    size_t bytes = p->low * p->block;
    pool_free(p, p->low);
    p->low = p->count;
    return bytes;
}
static inline void pool_deinit(struct pool *p) { pool_free(p, SIZE_MAX); }

#endif
