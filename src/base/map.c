/* Open addressing with linear probing and backward-shift removal.
 *
 * A slot is the full hash and the entry, so that growing never touches the
 * entries and a probe compares keys only where all 64 bits agree. The home slot
 * is hash modulo size; callers give well-mixed hashes.
 *
 * Invariant: between an entry's home slot and its own there is no free slot.
 * Removal keeps it by moving later entries of the run down; tombstones were
 * rejected, because a long-lived map of connections fills with them.
 */
#include "base/map.h"
#include "base/error.h"

#include <stdlib.h>

enum { MAP_SIZE_MIN = 8 };

void map_init(struct map *m)
{
    *m = (struct map){0};
}

void map_deinit(struct map *m)
{
    free(m->slots);
    *m = (struct map){0};
}

static void place(struct map *m, uint64_t hash, void *entry)
{
    size_t mask = m->size - 1;
    size_t at = hash & mask;
    while (m->slots[at].entry != NULL) at = (at + 1) & mask;
    m->slots[at] = (struct map_slot){hash, entry};
}

static void resize(struct map *m, size_t size)
{
    struct map_slot *old = m->slots;
    size_t old_size = m->size;
    m->slots = sotto_zalloc(size * sizeof(*m->slots));
    m->size = size;
    for (size_t i = 0; i < old_size; i++)
        if (old[i].entry != NULL) place(m, old[i].hash, old[i].entry);
    free(old);
}

/* The slot of the key, or SIZE_MAX. */
static size_t locate(const struct map *m, uint64_t hash, const void *key, map_eq_fn eq)
{
    if (m->size == 0) return SIZE_MAX;
    size_t mask = m->size - 1;
    for (size_t at = hash & mask; m->slots[at].entry != NULL; at = (at + 1) & mask)
        if (m->slots[at].hash == hash && eq(m->slots[at].entry, key)) return at;
    return SIZE_MAX;
}

void *map_find(const struct map *m, uint64_t hash, const void *key, map_eq_fn eq)
{
    size_t at = locate(m, hash, key, eq);
    return at == SIZE_MAX ? NULL : m->slots[at].entry;
}

void map_insert(struct map *m, uint64_t hash, void *entry)
{
    SOTTO_ASSERT(entry != NULL);
    if (m->size == 0)
        resize(m, MAP_SIZE_MIN);
    else if (m->count + 1 > m->size / 8 * 7)
        resize(m, m->size * 2);
    place(m, hash, entry);
    m->count++;
}

void *map_remove(struct map *m, uint64_t hash, const void *key, map_eq_fn eq)
{
    size_t hole = locate(m, hash, key, eq);
    if (hole == SIZE_MAX) return NULL;
    void *entry = m->slots[hole].entry;
    size_t mask = m->size - 1;
    for (size_t at = (hole + 1) & mask; m->slots[at].entry != NULL; at = (at + 1) & mask) {
        size_t home = m->slots[at].hash & mask;
        /* It may move to the hole unless its home lies after the hole. */
        if (((at - home) & mask) < ((at - hole) & mask)) continue;
        m->slots[hole] = m->slots[at];
        hole = at;
    }
    m->slots[hole] = (struct map_slot){0};
    m->count--;
    if (m->size > MAP_SIZE_MIN && m->count < m->size / 8) resize(m, m->size / 2);
    return entry;
}

void *map_next(const struct map *m, size_t *at)
{
    while (*at < m->size) {
        void *entry = m->slots[(*at)++].entry;
        if (entry != NULL) return entry;
    }
    return NULL;
}
