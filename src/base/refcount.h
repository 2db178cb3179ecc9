/* Atomic reference count, embedded in what is shared between threads. */
#ifndef SOTTO_BASE_REFCOUNT_H
#define SOTTO_BASE_REFCOUNT_H

#include <stdatomic.h>
#include <stdbool.h>

struct refcount {
    atomic_uint count;
};
static inline void refcount_init(struct refcount *r) { atomic_init(&r->count, 1); }
static inline void refcount_ref(struct refcount *r)
{
    atomic_fetch_add_explicit(&r->count, 1, memory_order_relaxed);
}
/* True when this was the last reference: the caller frees. */
static inline bool refcount_unref(struct refcount *r)
{
    return atomic_fetch_sub_explicit(&r->count, 1, memory_order_acq_rel) == 1;
}

#endif
