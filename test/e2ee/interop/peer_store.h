/* Records in memory with transactions, for the peer: what a refused call
 * wrote is taken back, as every client does it. */
#ifndef SOTTO_TEST_E2EE_PEER_STORE_H
#define SOTTO_TEST_E2EE_PEER_STORE_H

#include <stdbool.h>

#include "e2ee/e2ee.h"

enum { PEER_UNDO_MAX = 64 };

struct peer_record {
    enum e2ee_record kind;
    uint8_t key[E2EE_STORE_KEY_MAX];
    size_t key_len;
    uint8_t *data; /* NULL: removed, or never there */
    size_t len;
};

struct peer_store {
    struct peer_record *records;
    size_t count, size;
    struct {
        size_t index;
        uint8_t *data; /* as it was before */
        size_t len;
    } undo[PEER_UNDO_MAX];
    size_t undo_count;
};

struct e2ee_store peer_store_table(struct peer_store *store);
/* Ends a transaction: all writes since the last end stay, or none. */
void peer_store_end(struct peer_store *store, bool commit);
/* NULL if there is none. */
const struct peer_record *peer_store_find(const struct peer_store *store, enum e2ee_record kind,
                                          const uint8_t *key, size_t key_len);
/* The same for the same records in whatever order. */
void peer_store_digest(const struct peer_store *store, uint8_t digest_out[32]);
void peer_store_deinit(struct peer_store *store);

#endif
