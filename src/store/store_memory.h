/* A store in memory, for the simulator: sorted, with snapshots, and with faults
 * at chosen calls. Real enough that the engine cannot tell. */
#ifndef SOTTO_STORE_MEMORY_H
#define SOTTO_STORE_MEMORY_H

#include "store/store.h"

enum store_fault {
    STORE_FAULT_NONE,
    STORE_FAULT_FULL,           /* a commit is refused */
    STORE_FAULT_IO,             /* a commit or a read fails */
    STORE_FAULT_UNCERTAIN_LOST, /* a commit is uncertain, and is not there */
    STORE_FAULT_UNCERTAIN_KEPT, /* a commit is uncertain, and is there */
};
/* Asked before each commit (write) and before each get and each new iterator
 * (not write; anything but NONE is then IO). Under the store's lock. */
typedef enum store_fault (*store_fault_fn)(void *ctx, bool write);

/* fault may be NULL: never. store_backup is refused with INVALID. */
struct store *store_memory_create(store_fault_fn fault, void *ctx);
/* What a crash leaves: a new store with the committed content of this one. Its
 * iterators and batches are gone before. */
struct store *store_memory_reopen(struct store **old, store_fault_fn fault, void *ctx);
/* Makes a row that is there unreadable until it is written again: a get gives CORRUPT,
 * and iterators end before it with that. */
void store_memory_damage(struct store *s, enum store_family f, struct slice key);

#endif
