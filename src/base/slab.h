/* Objects of one size, many and long-lived: an idle connection's, say.
 *
 * They lie in pages of their own. So they cost no header each, and what comes and goes
 * in the heap meanwhile leaves no holes between them that are too small for anything
 * else. A page without objects goes back to the system. One thread at a time.
 */
#ifndef SOTTO_BASE_SLAB_H
#define SOTTO_BASE_SLAB_H

#include <stddef.h>

enum { SLAB_PAGE_BYTES = 16 * 1024 };

struct slab_page;
struct slab {
    struct slab_page *open; /* pages with room */
    size_t size;            /* bytes of an object, rounded up to eight */
    size_t pages;
};

/* size: bytes of an object, 1 to SLAB_PAGE_BYTES / 8; aligned like a
 * pointer, and a multiple of 64 like a cache line. */
void slab_init(struct slab *s, size_t size);
/* Never NULL; zeroed. */
void *slab_take(struct slab *s);
/* To the slab that it was taken from. NULL: nothing. */
void slab_give(void *object);
/* Everything has been given back. */
void slab_deinit(struct slab *s);

/* `size` bytes, zeroed, aligned to `size`: a power of two, 4 KiB or more. Straight from
 * the system: the heap takes twice as much for what is aligned. Never NULL. */
void *aligned_pages_map(size_t size);
void aligned_pages_unmap(void *pages, size_t size);

#endif
