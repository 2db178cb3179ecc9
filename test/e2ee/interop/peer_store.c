/* Records of a test peer. A record that is removed keeps its place, so that
 * the journal can name it by its index. */
#include "e2ee/interop/peer_store.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static struct peer_record *find(const struct peer_store *store, enum e2ee_record kind,
                                const uint8_t *key, size_t key_len)
{
    for (size_t i = 0; i < store->count; i++) {
        struct peer_record *record = &store->records[i];
        if (record->kind == kind && record->key_len == key_len &&
            memcmp(record->key, key, key_len) == 0) {
            return record;
        }
    }
    return NULL;
}

const struct peer_record *peer_store_find(const struct peer_store *store, enum e2ee_record kind,
                                          const uint8_t *key, size_t key_len)
{
    const struct peer_record *record = find(store, kind, key, key_len);
    return record != NULL && record->data != NULL ? record : NULL;
}

/* Puts `data` (owned, or NULL) in place of what is there, and notes it. */
static enum e2ee_err put(struct peer_store *store, enum e2ee_record kind, const uint8_t *key,
                         size_t key_len, uint8_t *data, size_t len)
{
    struct peer_record *record = find(store, kind, key, key_len);
    if (store->undo_count == PEER_UNDO_MAX) abort();
    if (record == NULL) {
        if (store->count == store->size) {
            store->size = store->size == 0 ? 64 : store->size * 2;
            store->records = realloc(store->records, store->size * sizeof(*store->records));
            if (store->records == NULL) abort();
        }
        record = &store->records[store->count++];
        *record = (struct peer_record){.kind = kind, .key_len = key_len};
        memcpy(record->key, key, key_len);
    }
    store->undo[store->undo_count].index = (size_t)(record - store->records);
    store->undo[store->undo_count].data = record->data;
    store->undo[store->undo_count].len = record->len;
    store->undo_count++;
    record->data = data;
    record->len = len;
    return E2EE_OK;
}

static enum e2ee_err store_load(void *context, const struct e2ee_env *env, enum e2ee_record kind,
                                const uint8_t *key, size_t key_len, struct e2ee_bytes *out)
{
    const struct peer_record *record = peer_store_find(context, kind, key, key_len);
    if (record == NULL) return E2EE_ERR_NOT_FOUND;
    return e2ee_bytes_copy(env, record->data, record->len, out);
}

static enum e2ee_err store_save(void *context, enum e2ee_record kind, const uint8_t *key,
                                size_t key_len, const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len + 1);
    if (copy == NULL) abort();
    memcpy(copy, data, len);
    return put(context, kind, key, key_len, copy, len);
}

static enum e2ee_err store_remove(void *context, enum e2ee_record kind, const uint8_t *key,
                                  size_t key_len)
{
    if (peer_store_find(context, kind, key, key_len) == NULL) return E2EE_OK;
    return put(context, kind, key, key_len, NULL, 0);
}

struct e2ee_store peer_store_table(struct peer_store *store)
{
    return (struct e2ee_store){store, store_load, store_save, store_remove};
}

void peer_store_end(struct peer_store *store, bool commit)
{
    while (store->undo_count > 0) {
        store->undo_count--;
        uint8_t *before = store->undo[store->undo_count].data;
        if (commit) {
            free(before);
            continue;
        }
        struct peer_record *record = &store->records[store->undo[store->undo_count].index];
        free(record->data);
        record->data = before;
        record->len = store->undo[store->undo_count].len;
    }
}

void peer_store_digest(const struct peer_store *store, uint8_t digest_out[32])
{
    memset(digest_out, 0, 32);
    for (size_t i = 0; i < store->count; i++) {
        const struct peer_record *record = &store->records[i];
        if (record->data == NULL) continue;
        uint8_t hash[32], kind = (uint8_t)record->kind;
        crypto_generichash_state state;
        crypto_generichash_init(&state, NULL, 0, sizeof(hash));
        crypto_generichash_update(&state, &kind, 1);
        crypto_generichash_update(&state, record->key, record->key_len);
        crypto_generichash_update(&state, record->data, record->len);
        crypto_generichash_final(&state, hash, sizeof(hash));
        for (size_t k = 0; k < 32; k++) digest_out[k] ^= hash[k];
    }
}

void peer_store_deinit(struct peer_store *store)
{
    peer_store_end(store, true);
    for (size_t i = 0; i < store->count; i++) free(store->records[i].data);
    free(store->records);
}
