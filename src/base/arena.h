/* Bump allocation for what lives as long as one request.
 *
 * The first block may be the caller's (stack) memory. Growing aborts when the
 * system is out of memory; passing `max` returns NULL, which a decoder of
 * foreign bytes must check.
 */
#ifndef SOTTO_BASE_ARENA_H
#define SOTTO_BASE_ARENA_H

#include "base/slice.h"

struct arena_block;
struct arena {
    uint8_t *at;
    uint8_t *end;
    struct arena_block *blocks; /* heap blocks, newest first */
    size_t used;                /* bytes taken from the heap */
    size_t max;
};

void arena_init(struct arena *a, void *first, size_t first_len, size_t max);
void arena_deinit(struct arena *a);
/* `size` bytes aligned to 16, not cleared; NULL past the cap. */
void *arena_alloc(struct arena *a, size_t size);
/* Cleared. NULL past the cap. */
void *arena_zalloc(struct arena *a, size_t size);
/* A copy of the bytes with a NUL after them, which len does not count. */
struct slice arena_copy(struct arena *a, struct slice s);

#endif
