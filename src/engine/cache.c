/* Conversation states in memory, least recently used out first. One with many members
 * takes the place of several: it is counted by its size. */
#include "engine/engine_private.h"

#include <stdlib.h>

static bool is_conversation(const void *entry, const void *key)
{
    return id_eq(((const struct cached *)entry)->state.id, *(const struct id *)key);
}

static void unlink_used(struct engine *e, struct cached *c)
{
    *(c->newer != NULL ? &c->newer->older : &e->newest) = c->older;
    *(c->older != NULL ? &c->older->newer : &e->oldest) = c->newer;
}

static void link_newest(struct engine *e, struct cached *c)
{
    c->newer = NULL;
    c->older = e->newest;
    *(e->newest != NULL ? &e->newest->newer : &e->oldest) = c;
    e->newest = c;
}

/* Of a state as it is now. */
static void weigh(struct engine *e, struct cached *c)
{
    size_t weight = 1 + c->state.members_count / ENGINE_MEMBERS_PER_STATE;
    e->cache_weight += weight - c->weight;
    c->weight = weight;
}

static void drop(struct engine *e, struct cached *c)
{
    e->cache_weight -= c->weight;
    map_remove(&e->cache, id_hash(c->state.id), &c->state.id, is_conversation);
    unlink_used(e, c);
    conversation_deinit(&c->state);
    free(c);
}

static enum sotto_err read_state(struct engine *e, struct id id, struct cached *c)
{
    struct key key = key_conversation(id);
    enum sotto_err err = store_get(e->options.store, STORE_CONVERSATION, key_slice(&key), &e->value);
    if (err == SOTTO_ERR_NOT_FOUND) {
        conversation_init(&c->state, id);
        return SOTTO_OK;
    }
    if (err != SOTTO_OK) return err;
    c->row_len = e->value.len;
    return conversation_decode(id, buffer_slice(&e->value), &c->state);
}

struct cached *cache_load(struct engine *e, struct id conversation, enum sotto_err *err_out)
{
    uint64_t hash = id_hash(conversation);
    struct cached *c = map_find(&e->cache, hash, &conversation, is_conversation);
    if (c != NULL) {
        if (c != e->newest) {
            unlink_used(e, c);
            link_newest(e, c);
        }
        return c;
    }
    c = sotto_zalloc(sizeof(*c));
    *err_out = read_state(e, conversation, c);
    if (*err_out != SOTTO_OK) {
        free(c);
        return NULL;
    }
    map_insert(&e->cache, hash, c);
    link_newest(e, c);
    weigh(e, c);
    return c;
}

void cache_mark_dirty(struct engine *e, struct cached *c)
{
    weigh(e, c);
    if (c->dirty) return;
    c->dirty = true;
    e->dirty_bytes += c->state.members_count * ENGINE_MEMBER_BYTES;
    c->next_dirty = e->dirty;
    e->dirty = c;
}

void cache_drop_dirty(struct engine *e)
{
    while (e->dirty != NULL) {
        struct cached *c = e->dirty;
        e->dirty = c->next_dirty;
        drop(e, c);
    }
}

void cache_trim(struct engine *e)
{
    size_t max = e->options.cache_conversations;
    while (e->cache_weight > max && e->oldest != e->newest && !e->oldest->dirty) drop(e, e->oldest);
}

void cache_clear(struct engine *e)
{
    while (e->oldest != NULL) drop(e, e->oldest);
    e->dirty = NULL;
}
