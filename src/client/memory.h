/* The client's heap, injected so that tests can make each allocation fail. */
#ifndef SOTTO_CLIENT_MEMORY_H
#define SOTTO_CLIENT_MEMORY_H

#include <stddef.h>

struct client_memory {
    /* Like realloc; size 0 frees and returns NULL. NULL: out of memory, `old` stands. */
    void *(*resize)(void *ctx, void *old, size_t size);
    void *ctx;
};

/* malloc and free. */
const struct client_memory *client_memory_system(void);
/* Cleared memory, or NULL. */
void *client_alloc(const struct client_memory *m, size_t size);
void client_free(const struct client_memory *m, void *p);

#endif
