/* Bump allocation: a pointer moves through blocks, everything is freed at once.
 *
 * The first block is usually on the caller's stack, so that most requests touch
 * no heap. Further blocks double from ARENA_BLOCK_MIN, or are as large as the
 * one allocation that needs them; what was left of the block before is wasted,
 * which doubling keeps below half. The cap counts heap bytes only.
 */
#include "base/arena.h"
#include "base/error.h"

#include <stdlib.h>

enum { ARENA_ALIGN = 16, ARENA_BLOCK_MIN = 1024 };

struct arena_block {
    struct arena_block *next;
    size_t size;
    _Alignas(ARENA_ALIGN) uint8_t bytes[];
};

void arena_init(struct arena *a, void *first, size_t first_len, size_t max)
{
    *a = (struct arena){.at = first, .end = first, .max = max};
    if (first != NULL) a->end = a->at + first_len;
}

void arena_deinit(struct arena *a)
{
    struct arena_block *block = a->blocks;
    while (block != NULL) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
    *a = (struct arena){.max = a->max};
}

static bool arena_grow(struct arena *a, size_t size)
{
    size_t block_size = a->blocks != NULL ? a->blocks->size * 2 : ARENA_BLOCK_MIN;
    if (block_size < size) block_size = size;
    if (block_size > a->max - a->used) block_size = a->max - a->used;
    if (block_size < size) return false;
    struct arena_block *block = sotto_alloc(sizeof(*block) + block_size);
    block->next = a->blocks;
    block->size = block_size;
    a->blocks = block;
    a->used += block_size;
    a->at = block->bytes;
    a->end = block->bytes + block_size;
    return true;
}

void *arena_alloc(struct arena *a, size_t size)
{
    size_t pad = -(uintptr_t)a->at & (ARENA_ALIGN - 1);
    size_t room = (size_t)(a->end - a->at);
    if (size == 0) size = 1;
    if (a->at == NULL || room < pad || room - pad < size) {
        if (!arena_grow(a, size)) return NULL;
        pad = 0;
    }
    uint8_t *p = a->at + pad;
    a->at = p + size;
    return p;
}

void *arena_zalloc(struct arena *a, size_t size)
{
    void *p = arena_alloc(a, size);
    if (p != NULL) memset(p, 0, size);
    return p;
}

struct slice arena_copy(struct arena *a, struct slice s)
{
    uint8_t *p = s.len < SIZE_MAX ? arena_alloc(a, s.len + 1) : NULL;
    if (p == NULL) return (struct slice){NULL, 0};
    if (s.len != 0) memcpy(p, s.data, s.len);
    p[s.len] = 0;
    return slice_of(p, s.len);
}
