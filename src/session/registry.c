/* The registry of sessions.
 *
 * DESIGN. A map of users in 64 shards, each under its own mutex; the sections
 * are a few pointer steps long, so two loops and the engine hardly ever meet.
 * There is no second map per loop: a loop that delivers an event asks here for
 * its own sessions. One entry per user carries sessions, presence and the one
 * setting that the delivery of receipts needs, so that an idle connection costs
 * one cache line and a map slot.
 *
 * A session is freed by its own loop only, and registry_remove takes the lock;
 * so pointers returned to that loop stay good until it returns to its loop.
 * An entry lives as long as somebody holds it: added sessions (also unlinked
 * ones, whose owners have not heard yet), watchers, the queue of changes.
 *
 * Why "linked" and "added" differ: when a device connects twice, perhaps on two
 * loops, events must stop for the first connection at once, but only its own
 * loop may touch it. Unlinking does the first, a message to that loop the rest.
 */
#include "session/registry_private.h"

#include <stdlib.h>

struct registry *registry_create(void)
{
    /* Aligned by hand: the shards are cache-line aligned. */
    struct registry *r = aligned_alloc(alignof(struct registry), sizeof(*r));
    SOTTO_ASSERT(r != NULL);
    memset(r, 0, sizeof(*r));
    pthread_mutex_init(&r->users.mutex, NULL);
    slab_init(&r->users.slab, sizeof(struct session_user));
    for (size_t i = 0; i < REGISTRY_SHARDS; i++) {
        pthread_mutex_init(&r->shards[i].mutex, NULL);
        map_init(&r->shards[i].map);
        r->shards[i].users = &r->users;
    }
    return r;
}

void registry_destroy(struct registry **registry)
{
    struct registry *r = *registry;
    if (r == NULL) return;
    *registry = NULL;
    for (size_t i = 0; i < REGISTRY_SHARDS; i++) {
        struct registry_shard *shard = &r->shards[i];
        while (shard->changed != NULL) {
            struct session_user *u = shard->changed;
            shard->changed = u->changed_next;
            u->changed = false;
            registry_release(shard, u);
        }
        SOTTO_ASSERT(shard->map.count == 0);
        map_deinit(&shard->map);
        pthread_mutex_destroy(&shard->mutex);
    }
    slab_deinit(&r->users.slab);
    pthread_mutex_destroy(&r->users.mutex);
    free(r);
}

struct registry_shard *registry_shard_of(struct registry *r, struct id user)
{
    return &r->shards[id_hash(user) >> 58];
}

static bool user_eq(const void *entry, const void *key)
{
    const struct session_user *u = entry;
    return memcmp(&u->id, key, sizeof(u->id)) == 0;
}

struct session_user *registry_find(struct registry_shard *shard, struct id user)
{
    return map_find(&shard->map, id_hash(user), &user, user_eq);
}

static struct session_user *user_create(struct session_users *users, struct id id)
{
    pthread_mutex_lock(&users->mutex);
    struct session_user *u = slab_take(&users->slab);
    pthread_mutex_unlock(&users->mutex);
    u->id = id;
    atomic_init(&u->receipts_off, false);
    return u;
}

static void user_destroy(struct session_users *users, struct session_user *u)
{
    pthread_mutex_lock(&users->mutex);
    slab_give(u);
    pthread_mutex_unlock(&users->mutex);
}

struct session_user *registry_obtain(struct registry_shard *shard, struct id user)
{
    struct session_user *u = registry_find(shard, user);
    if (u == NULL) {
        u = user_create(shard->users, user);
        map_insert(&shard->map, id_hash(user), u);
    }
    u->refs++;
    SOTTO_ASSERT(u->refs != 0);
    return u;
}

void registry_release(struct registry_shard *shard, struct session_user *u)
{
    SOTTO_ASSERT(u->refs > 0);
    if (--u->refs > 0) return;
    SOTTO_ASSERT(u->sessions == NULL && u->watchers == NULL && !u->changed);
    map_remove(&shard->map, id_hash(u->id), &u->id, user_eq);
    user_destroy(shard->users, u);
}

static void session_unlink(struct session_user *u, struct session *s)
{
    struct session **at = &u->sessions;
    while (*at != s) at = &(*at)->next;
    *at = s->next;
    s->next = NULL;
    s->linked = false;
}

/* Serial numbers begin again some day: only those near by tell an order. */
static bool opened_before(const struct session *s, const struct session *other)
{
    enum { NEAR = 1 << 20 };
    return (uint32_t)(other->name.serial - s->name.serial) - 1u < NEAR;
}

bool registry_add(struct registry *r, struct session *s, struct id user, uint8_t device, uint64_t wall_ms,
                  struct session_name *replaced_out)
{
    SOTTO_ASSERT(s->user == NULL && s->name.loop < REGISTRY_LOOPS_MAX);
    struct registry_shard *shard = registry_shard_of(r, user);
    bool replaced = false, late = false;
    pthread_mutex_lock(&shard->mutex);
    struct session_user *u = registry_obtain(shard, user);
    int delta = 1;
    for (struct session *old = u->sessions; old != NULL; old = old->next) {
        if (old->device != device) continue;
        replaced = true;
        late = opened_before(s, old);
        *replaced_out = late ? s->name : old->name;
        if (late || old->present) delta = 0;
        if (late) break;
        session_unlink(u, old);
        old->present = false;
        break;
    }
    s->user = u;
    s->device = device;
    s->linked = s->present = !late;
    if (!late) {
        s->next = u->sessions;
        u->sessions = s;
    }
    presence_count(shard, u, delta, wall_ms);
    pthread_mutex_unlock(&shard->mutex);
    return replaced;
}

void registry_remove(struct registry *r, struct session *s, uint64_t wall_ms)
{
    struct session_user *u = s->user;
    if (u == NULL) return;
    struct registry_shard *shard = registry_shard_of(r, u->id);
    pthread_mutex_lock(&shard->mutex);
    if (s->linked) session_unlink(u, s);
    if (s->present) {
        s->present = false;
        presence_count(shard, u, -1, wall_ms);
    }
    s->user = NULL;
    registry_release(shard, u);
    pthread_mutex_unlock(&shard->mutex);
}

struct id session_user_id(const struct session *s)
{
    return s->user->id; /* never changes while the entry lives */
}

bool session_receipts_off(const struct session *s)
{
    return atomic_load_explicit(&s->user->receipts_off, memory_order_relaxed);
}

void registry_receipts_off(struct registry *r, struct id user, bool off)
{
    struct registry_shard *shard = registry_shard_of(r, user);
    pthread_mutex_lock(&shard->mutex);
    struct session_user *u = registry_find(shard, user);
    if (u != NULL) atomic_store_explicit(&u->receipts_off, off, memory_order_relaxed);
    pthread_mutex_unlock(&shard->mutex);
}

uint64_t registry_loops(struct registry *r, struct id user)
{
    struct registry_shard *shard = registry_shard_of(r, user);
    uint64_t loops = 0;
    pthread_mutex_lock(&shard->mutex);
    struct session_user *u = registry_find(shard, user);
    if (u != NULL)
        for (struct session *s = u->sessions; s != NULL; s = s->next) loops |= UINT64_C(1) << s->name.loop;
    pthread_mutex_unlock(&shard->mutex);
    return loops;
}

size_t registry_on_loop(struct registry *r, struct id user, uint8_t loop, struct session **out)
{
    struct registry_shard *shard = registry_shard_of(r, user);
    size_t count = 0;
    pthread_mutex_lock(&shard->mutex);
    struct session_user *u = registry_find(shard, user);
    if (u != NULL)
        for (struct session *s = u->sessions; s != NULL && count < REGISTRY_SESSIONS_MAX; s = s->next)
            if (s->name.loop == loop) out[count++] = s;
    pthread_mutex_unlock(&shard->mutex);
    return count;
}

size_t registry_names(struct registry *r, struct id user, uint8_t device, struct session_name *out)
{
    struct registry_shard *shard = registry_shard_of(r, user);
    size_t count = 0;
    pthread_mutex_lock(&shard->mutex);
    struct session_user *u = registry_find(shard, user);
    if (u != NULL)
        for (struct session *s = u->sessions; s != NULL && count < REGISTRY_SESSIONS_MAX; s = s->next)
            if (device == 0 || s->device == device) out[count++] = s->name;
    pthread_mutex_unlock(&shard->mutex);
    return count;
}

size_t registry_users_online(struct registry *r)
{
    size_t online = 0;
    for (size_t i = 0; i < REGISTRY_SHARDS; i++) {
        pthread_mutex_lock(&r->shards[i].mutex);
        online += r->shards[i].online;
        pthread_mutex_unlock(&r->shards[i].mutex);
    }
    return online;
}
