/* Operational failures inside the process.
 *
 * A bug is an assertion. What a peer did wrong is an `enum problem`
 * (wire/problem.h). Everything else that can go wrong is one of these values,
 * and the caller must look at it.
 */
#ifndef SOTTO_BASE_ERROR_H
#define SOTTO_BASE_ERROR_H

enum sotto_err {
    SOTTO_OK = 0,
    SOTTO_ERR_INVALID,   /* bytes or arguments that do not parse or do not fit */
    SOTTO_ERR_NOT_FOUND,
    SOTTO_ERR_EXISTS,    /* a unique value is taken */
    SOTTO_ERR_CONFLICT,  /* the state changed, or the key was used for something else */
    SOTTO_ERR_DENIED,
    SOTTO_ERR_FULL,      /* a queue, quota or disk is full; nothing was done */
    SOTTO_ERR_AGAIN,     /* would block */
    SOTTO_ERR_TIMEOUT,
    SOTTO_ERR_CLOSED,    /* the peer or the object is gone */
    SOTTO_ERR_IO,        /* the system said no; see the log */
    SOTTO_ERR_CORRUPT,   /* stored bytes fail their checks */
    SOTTO_ERR_UNCERTAIN, /* it may have been committed: retry with the same key */
    SOTTO_ERR_COUNT
};

#define SOTTO_CHECKED __attribute__((warn_unused_result))

/* Short lower-case name of `err` for logs, e.g. "not_found". Never NULL. */
const char *sotto_err_name(enum sotto_err err);

/* Aborts with a line on stderr: the process found a bug in itself. */
_Noreturn void sotto_panic(const char *file, int line, const char *what);
#define SOTTO_ASSERT(condition) \
    ((condition) ? (void)0 : sotto_panic(__FILE__, __LINE__, #condition))

/* malloc, calloc and realloc that abort when memory runs out. Server only:
 * the client and encryption libraries return an error instead. */
void *sotto_alloc(unsigned long size) __attribute__((malloc, returns_nonnull));
void *sotto_zalloc(unsigned long size) __attribute__((malloc, returns_nonnull));
void *sotto_realloc(void *old, unsigned long size) __attribute__((returns_nonnull));

#endif
