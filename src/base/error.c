/* Names of operational failures, the way a bug ends the process, and the
 * allocator of the server.
 *
 * Out of memory is not an operational failure here: a chat server that cannot
 * allocate a few hundred bytes cannot say so to anybody either, and every
 * queue is bounded long before. It stops, and the log on disk is the truth.
 */
#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const names[SOTTO_ERR_COUNT] = {
    [SOTTO_OK] = "ok",
    [SOTTO_ERR_INVALID] = "invalid",
    [SOTTO_ERR_NOT_FOUND] = "not_found",
    [SOTTO_ERR_EXISTS] = "exists",
    [SOTTO_ERR_CONFLICT] = "conflict",
    [SOTTO_ERR_DENIED] = "denied",
    [SOTTO_ERR_FULL] = "full",
    [SOTTO_ERR_AGAIN] = "again",
    [SOTTO_ERR_TIMEOUT] = "timeout",
    [SOTTO_ERR_CLOSED] = "closed",
    [SOTTO_ERR_IO] = "io",
    [SOTTO_ERR_CORRUPT] = "corrupt",
    [SOTTO_ERR_UNCERTAIN] = "uncertain",
};

const char *sotto_err_name(enum sotto_err err)
{
    if ((unsigned)err >= SOTTO_ERR_COUNT) return "unknown";
    return names[err];
}

void sotto_panic(const char *file, int line, const char *what)
{
    fprintf(stderr, "sotto: bug at %s:%d: %s\n", file, line, what);
    abort();
}

static _Noreturn void out_of_memory(unsigned long size)
{
    fprintf(stderr, "sotto: out of memory, %lu bytes asked for\n", size);
    abort();
}

/* A size of 0 still gives a pointer that can be told from failure. */
void *sotto_alloc(unsigned long size)
{
    void *p = malloc(size ? size : 1);
    if (p == NULL) out_of_memory(size);
    return p;
}

void *sotto_zalloc(unsigned long size)
{
    void *p = calloc(1, size ? size : 1);
    if (p == NULL) out_of_memory(size);
    return p;
}

void *sotto_realloc(void *old, unsigned long size)
{
    void *p = realloc(old, size ? size : 1);
    if (p == NULL) out_of_memory(size);
    return p;
}
