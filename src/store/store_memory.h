/* A store in memory, for the simulator: sorted, with snapshots, and with faults
 * at chosen commits. Real enough that the engine cannot tell. */
#ifndef SOTTO_STORE_MEMORY_H
#define SOTTO_STORE_MEMORY_H

#include "store/store.h"

enum store_fault { STORE_FAULT_NONE, STORE_FAULT_FULL, STORE_FAULT_IO, STORE_FAULT_UNCERTAIN_LOST, STORE_FAULT_UNCERTAIN_KEPT };
/* Asked before each commit and before each get (write false). */
typedef enum store_fault (*store_fault_fn)(void *ctx, bool write);

struct store *store_memory_create(store_fault_fn fault, void *ctx);
/* What a crash leaves: a new store with the committed content of this one. */
struct store *store_memory_reopen(struct store **old, store_fault_fn fault, void *ctx);

#endif
