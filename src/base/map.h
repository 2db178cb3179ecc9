/* Open-addressing hash map from 64-bit hashes to pointers of entries that hold
 * their own keys. Linear probing, power-of-two size, at most 7/8 full, backward
 * shift on removal. 16 bytes per slot. Not thread-safe.
 *
 * The caller finds by hash and a comparison of its own, so that one map serves
 * every key type without copies of keys.
 */
#ifndef SOTTO_BASE_MAP_H
#define SOTTO_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_slot {
    uint64_t hash;
    void *entry; /* NULL: free */
};
struct map {
    struct map_slot *slots;
    size_t size;  /* slots, 0 or a power of two */
    size_t count;
};
typedef bool (*map_eq_fn)(const void *entry, const void *key);

void map_init(struct map *m);
/* Frees the slots, not the entries. */
void map_deinit(struct map *m);
void *map_find(const struct map *m, uint64_t hash, const void *key, map_eq_fn eq);
/* The key must not be in the map. entry is not NULL. */
void map_insert(struct map *m, uint64_t hash, void *entry);
/* Removes and returns the entry, or NULL. Shrinks when an eighth full. */
void *map_remove(struct map *m, uint64_t hash, const void *key, map_eq_fn eq);
/* Iteration: start with *at = 0; NULL at the end. No change of the map between. */
void *map_next(const struct map *m, size_t *at);

#endif
