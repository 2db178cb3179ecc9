/* See throttle.h. The table is an 8-way cache keyed by SipHash under a random
 * key, so that nobody can choose names that fall together and push a victim's
 * entry out. It takes its pages from the system only as they are used. */
#include "directory/throttle.h"

#include "base/error.h"

#include <sodium.h>
#include <stdlib.h>

void throttle_init(struct throttle *t, const struct random_source *random)
{
    _Static_assert(sizeof t->hash_key == crypto_shorthash_KEYBYTES, "SipHash key");
    pthread_mutex_init(&t->mutex, NULL);
    random_fill(random, t->hash_key, sizeof t->hash_key);
    t->entries = sotto_zalloc(sizeof *t->entries * THROTTLE_SETS * THROTTLE_WAYS);
}

void throttle_deinit(struct throttle *t)
{
    free(t->entries);
    t->entries = NULL;
    pthread_mutex_destroy(&t->mutex);
}

struct throttle_key throttle_key(const struct throttle *t, const struct throttle_policy *policy, char kind,
                                 struct slice name)
{
    uint8_t text[256] = {(uint8_t)kind};
    size_t len = name.len < sizeof text - 1 ? name.len : sizeof text - 1;
    if (len > 0) memcpy(text + 1, name.data, len);
    uint64_t hash;
    crypto_shorthash((uint8_t *)&hash, text, len + 1, t->hash_key);
    return (struct throttle_key){hash != 0 ? hash : 1, policy};
}

static struct throttle_entry *find(struct throttle *t, uint64_t hash)
{
    struct throttle_entry *set = t->entries + hash % THROTTLE_SETS * THROTTLE_WAYS;
    for (size_t i = 0; i < THROTTLE_WAYS; i++)
        if (set[i].key == hash) return &set[i];
    return NULL;
}

static struct throttle_entry *find_or_make(struct throttle *t, uint64_t hash)
{
    struct throttle_entry *e = find(t, hash);
    if (e != NULL) return e;
    struct throttle_entry *set = t->entries + hash % THROTTLE_SETS * THROTTLE_WAYS;
    e = set;
    for (size_t i = 0; i < THROTTLE_WAYS && e->key != 0; i++)
        if (set[i].key == 0 || set[i].last_ms < e->last_ms) e = &set[i];
    *e = (struct throttle_entry){.key = hash};
    return e;
}

static uint64_t wait_ms(const struct throttle_policy *p, uint32_t attempts)
{
    if (attempts < p->free_attempts) return 0;
    uint32_t doublings = attempts - p->free_attempts;
    if (doublings >= 32 || p->first_ms << doublings > p->max_ms) return p->max_ms;
    return p->first_ms << doublings;
}

bool throttle_begin(struct throttle *t, const struct throttle_key *keys, size_t count, uint64_t now_ms,
                    uint64_t *retry_ms_out)
{
    uint64_t retry_ms = 0;
    pthread_mutex_lock(&t->mutex);
    for (size_t i = 0; i < count; i++) {
        struct throttle_entry *e = find(t, keys[i].hash);
        if (e != NULL && now_ms > e->last_ms + keys[i].policy->forget_ms) *e = (struct throttle_entry){0};
        else if (e != NULL && e->open_ms > now_ms && e->open_ms - now_ms > retry_ms) retry_ms = e->open_ms - now_ms;
    }
    for (size_t i = 0; i < count && retry_ms == 0; i++) {
        struct throttle_entry *e = find_or_make(t, keys[i].hash);
        if (e->attempts < UINT32_MAX) e->attempts++;
        e->last_ms = now_ms;
        e->open_ms = now_ms + wait_ms(keys[i].policy, e->attempts);
    }
    pthread_mutex_unlock(&t->mutex);
    if (retry_ms > 0 && retry_ms_out != NULL) *retry_ms_out = retry_ms;
    return retry_ms == 0;
}

void throttle_undo(struct throttle *t, struct throttle_key key)
{
    pthread_mutex_lock(&t->mutex);
    struct throttle_entry *e = find(t, key.hash);
    if (e != NULL && e->attempts > 0) {
        e->attempts--;
        e->open_ms = 0; /* its wait was over when this attempt began */
    }
    pthread_mutex_unlock(&t->mutex);
}

void throttle_clear(struct throttle *t, struct throttle_key key)
{
    pthread_mutex_lock(&t->mutex);
    struct throttle_entry *e = find(t, key.hash);
    if (e != NULL) *e = (struct throttle_entry){0};
    pthread_mutex_unlock(&t->mutex);
}
