/* The system's heap behind the client's memory port. */
#include "client/memory.h"

#include <stdlib.h>
#include <string.h>

static void *system_resize(void *ctx, void *old, size_t size)
{
    (void)ctx;
    if (size == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, size);
}

const struct client_memory *client_memory_system(void)
{
    static const struct client_memory memory = {system_resize, NULL};
    return &memory;
}

void *client_alloc(const struct client_memory *m, size_t size)
{
    void *p = m->resize(m->ctx, NULL, size);
    if (p) memset(p, 0, size);
    return p;
}

void client_free(const struct client_memory *m, void *p)
{
    if (p) (void)m->resize(m->ctx, p, 0);
}
