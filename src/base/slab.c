/* A page finds itself from any of its objects, since it is aligned to its size.
 *
 * The objects behind `fresh` were never taken: their memory is not touched before it
 * is needed. The address sanitizer knows of those, and of the ones given back.
 */
#include "base/slab.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "base/sanitize.h"

struct slab_object {
    struct slab_object *next;
};
struct slab_page {
    struct slab *slab;
    struct slab_page *next, *prev; /* of those with room */
    struct slab_object *free;
    uint8_t *fresh;
    uint32_t used;
    uint32_t size; /* of an object */
};
enum { PAGE_HEAD = 64 };
_Static_assert(sizeof(struct slab_page) <= PAGE_HEAD, "objects of a line begin at one");

static void *map_anywhere(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SOTTO_ASSERT(at != MAP_FAILED);
    return at;
}

void *aligned_pages_map(size_t size)
{
    uint8_t *at = map_anywhere(size);
    size_t past = (uintptr_t)at & (size - 1);
    if (past != 0) { /* seldom: the system puts one beside the other */
        munmap(at, size);
        at = map_anywhere(2 * size);
        past = (uintptr_t)at & (size - 1);
        size_t skip = past == 0 ? 0 : size - past;
        if (skip != 0) munmap(at, skip);
        munmap(at + skip + size, size - skip);
        at += skip;
    }
    __lsan_register_root_region(at, size);
    return at;
}

void aligned_pages_unmap(void *pages, size_t size)
{
    __lsan_unregister_root_region(pages, size);
    munmap(pages, size);
}

void slab_init(struct slab *s, size_t size)
{
    SOTTO_ASSERT(size > 0 && size <= SLAB_PAGE_BYTES / 8);
    *s = (struct slab){.size = (size + 7) & ~(size_t)7};
}

static uint8_t *page_end(struct slab_page *p) { return (uint8_t *)p + SLAB_PAGE_BYTES; }

static bool has_room(struct slab_page *p) { return p->free != NULL || p->fresh + p->size <= page_end(p); }

static void link_page(struct slab_page *p)
{
    struct slab *s = p->slab;
    p->prev = NULL;
    p->next = s->open;
    if (s->open != NULL) s->open->prev = p;
    s->open = p;
}

static void unlink_page(struct slab_page *p)
{
    if (p->prev != NULL) p->prev->next = p->next;
    else p->slab->open = p->next;
    if (p->next != NULL) p->next->prev = p->prev;
}

static struct slab_page *add_page(struct slab *s)
{
    struct slab_page *p = aligned_pages_map(SLAB_PAGE_BYTES);
    *p = (struct slab_page){.slab = s, .fresh = (uint8_t *)p + PAGE_HEAD, .size = (uint32_t)s->size};
    ASAN_POISON_MEMORY_REGION(p->fresh, SLAB_PAGE_BYTES - PAGE_HEAD);
    s->pages++;
    link_page(p);
    return p;
}

static void free_page(struct slab_page *p)
{
    unlink_page(p);
    p->slab->pages--;
    ASAN_UNPOISON_MEMORY_REGION(p, SLAB_PAGE_BYTES);
    aligned_pages_unmap(p, SLAB_PAGE_BYTES);
}

void *slab_take(struct slab *s)
{
    struct slab_page *p = s->open != NULL ? s->open : add_page(s);
    void *object = p->free;
    if (object == NULL) {
        object = p->fresh;
        p->fresh += p->size;
        ASAN_UNPOISON_MEMORY_REGION(object, p->size);
    } else {
        ASAN_UNPOISON_MEMORY_REGION(object, p->size);
        p->free = p->free->next;
    }
    p->used++;
    if (!has_room(p)) unlink_page(p);
    memset(object, 0, p->size);
    return object;
}

void slab_give(void *object)
{
    if (object == NULL) return;
    struct slab_page *p = (struct slab_page *)((uintptr_t)object & ~(uintptr_t)(SLAB_PAGE_BYTES - 1));
    SOTTO_ASSERT(p->used > 0);
    if (!has_room(p)) link_page(p);
    struct slab_object *o = object;
    o->next = p->free;
    p->free = o;
    ASAN_POISON_MEMORY_REGION(object, p->size);
    /* The last page with room stays, for who comes and goes alone. */
    if (--p->used == 0 && (p->next != NULL || p->prev != NULL)) free_page(p);
}

void slab_deinit(struct slab *s)
{
    while (s->open != NULL) {
        SOTTO_ASSERT(s->open->used == 0);
        free_page(s->open);
    }
    SOTTO_ASSERT(s->pages == 0);
}
