#include "e2ee/keylist.h"

#include <assert.h>
#include <string.h>

static size_t items_size(uint32_t count)
{
    return count * sizeof(struct skipped_key);
}

void keylist_deinit(const struct e2ee_env *env, struct keylist *list)
{
    env_free(env, list->items, items_size(list->capacity));
    *list = (struct keylist){0};
}

enum e2ee_err keylist_reserve(const struct e2ee_env *env, struct keylist *list, uint32_t more)
{
    assert(more <= E2EE_SKIPPED_KEYS_MAX && list->count <= E2EE_SKIPPED_KEYS_MAX);
    uint32_t wanted = list->count + more;
    if (wanted <= list->capacity) {
        return E2EE_OK;
    }
    uint32_t capacity = wanted > 2 * list->capacity ? wanted : 2 * list->capacity;
    struct skipped_key *items = env_alloc(env, items_size(capacity));
    if (items == NULL) {
        return E2EE_ERR_MEMORY;
    }
    if (list->count > 0) {
        memcpy(items, list->items, items_size(list->count));
    }
    env_free(env, list->items, items_size(list->capacity));
    list->items = items;
    list->capacity = capacity;
    return E2EE_OK;
}

void keylist_push(struct keylist *list, uint32_t index, const struct secret32 *key)
{
    assert(list->count < list->capacity);
    assert(list->count == 0 || list->items[list->count - 1].index < index);
    list->items[list->count++] = (struct skipped_key){.index = index, .key = *key};
}

/* First position whose index is not below `index`. Indices are public. */
static uint32_t keylist_find(const struct keylist *list, uint32_t index)
{
    uint32_t low = 0, high = list->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (list->items[middle].index < index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void keylist_remove(struct keylist *list, uint32_t first, uint32_t count)
{
    if (count == 0) {
        return;
    }
    memmove(list->items + first, list->items + first + count,
            items_size(list->count - first - count));
    list->count -= count;
    secret_wipe(list->items + list->count, items_size(count));
}

bool keylist_take(struct keylist *list, uint32_t index, struct secret32 *key_out)
{
    uint32_t at = keylist_find(list, index);
    if (at == list->count || list->items[at].index != index) {
        return false;
    }
    *key_out = list->items[at].key;
    keylist_remove(list, at, 1);
    return true;
}

void keylist_drop(struct keylist *list, uint32_t count)
{
    keylist_remove(list, 0, count < list->count ? count : list->count);
}

void keylist_drop_below(struct keylist *list, uint32_t index)
{
    keylist_remove(list, 0, keylist_find(list, index));
}

void keylist_write(struct writer *writer, const struct keylist *list)
{
    write_u32(writer, list->count);
    for (uint32_t i = 0; i < list->count; i++) {
        write_u32(writer, list->items[i].index);
        write_bytes(writer, list->items[i].key.bytes, 32);
    }
}

enum e2ee_err keylist_read(const struct e2ee_env *env, struct reader *reader,
                           struct keylist *list)
{
    uint32_t count = read_u32(reader);
    if (reader->bad || count > E2EE_SKIPPED_KEYS_MAX || count > reader->left / 36) {
        return E2EE_ERR_CORRUPT;
    }
    enum e2ee_err err = keylist_reserve(env, list, count);
    if (err != E2EE_OK) {
        return err;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct secret32 key;
        uint32_t index = read_u32(reader);
        read_into(reader, key.bytes, 32);
        if (i > 0 && index <= list->items[i - 1].index) {
            return E2EE_ERR_CORRUPT;
        }
        keylist_push(list, index, &key);
        SECRET_WIPE(key);
    }
    return E2EE_OK;
}
