/* The client's durable state, as a port: what the engine must find again after
 * a crash. Implemented by local_store.c (SQLite) and by a double in the tests.
 *
 * The engine opens a transaction before it changes anything for one input and
 * commits it before any event comes out. Every function returns SOTTO_OK,
 * SOTTO_ERR_IO or SOTTO_ERR_CORRUPT. Slices are borrowed until return.
 */
#ifndef SOTTO_CLIENT_STORE_H
#define SOTTO_CLIENT_STORE_H

#include "base/error.h"
#include "base/id.h"
#include "wire/record.h"

enum mark_kind { MARK_DELIVERED, MARK_READ, MARK_KINDS };

/* What is known of one conversation. */
struct client_mark {
    struct id conversation;
    uint64_t sequence;              /* everything up to there has come */
    uint64_t read;                  /* what the user has seen */
    uint64_t confirmed[MARK_KINDS]; /* marks that the server has taken */
    /* A message of our own that the conversation begins with for this device, since nothing
     * was known of it; 0: it does not. Others before it may still come as events. */
    uint64_t first;
    bool chain_known;
    uint8_t chain[HASH_LEN];        /* of `sequence` */
};
/* A message that the server has not answered. */
struct client_queued {
    uint64_t order;          /* ascending; 0 when it is put for the first time */
    struct slice client_msg_id;
    struct id to, conversation; /* one of them is zero */
    struct slice type, payload;
    uint64_t ttl_s;
    bool urgent;
};
/* The members of message.send, into an object that the caller has begun. */
struct json_writer;
void client_queued_write(const struct client_queued *q, struct json_writer *w);

struct client_store {
    enum sotto_err (*begin)(void *ctx);
    enum sotto_err (*commit)(void *ctx);
    void (*rollback)(void *ctx);
    /* The callbacks return false to stop with SOTTO_ERR_FULL. */
    enum sotto_err (*load_marks)(void *ctx, bool (*each)(void *arg, const struct client_mark *m), void *arg);
    enum sotto_err (*load_queued)(void *ctx, bool (*each)(void *arg, const struct client_queued *q), void *arg);
    /* An empty slice to `each` when there is no cursor. */
    enum sotto_err (*load_cursor)(void *ctx, bool (*each)(void *arg, struct slice cursor), void *arg);
    enum sotto_err (*save_cursor)(void *ctx, struct slice cursor);
    enum sotto_err (*save_mark)(void *ctx, const struct client_mark *m);
    enum sotto_err (*put_queued)(void *ctx, const struct client_queued *q);
    enum sotto_err (*remove_queued)(void *ctx, struct slice client_msg_id);
    void *ctx;
};

#endif
