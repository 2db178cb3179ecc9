/* Presence: see presence.h for what it promises.
 *
 * Links of watchers are intrusive and doubly linked, so that a connection that
 * goes away leaves all its lists in time proportional to what it watched, not
 * to how many others watch the same people.
 */
#include "session/registry_private.h"

#include <stdlib.h>

const char *presence_name(enum presence_status s)
{
    static const char *const names[] = {"online", "recently", "offline", "hidden"};
    return names[s];
}

enum presence_status presence_of_last_seen(uint64_t last_seen_ms, uint64_t wall_ms)
{
    if (last_seen_ms == 0) return PRESENCE_OFFLINE;
    if (wall_ms < last_seen_ms) return PRESENCE_RECENTLY; /* the clock went back */
    return wall_ms - last_seen_ms <= PRESENCE_RECENT_MS ? PRESENCE_RECENTLY : PRESENCE_OFFLINE;
}

void presence_mark(struct registry_shard *shard, struct session_user *u, enum presence_why why)
{
    bool queued = u->changed != 0;
    u->changed |= (uint8_t)why;
    if (queued) return;
    u->refs++;
    u->changed_next = shard->changed;
    shard->changed = u;
}

void presence_count(struct registry_shard *shard, struct session_user *u, int delta, uint64_t wall_ms)
{
    bool before = u->present > 0;
    SOTTO_ASSERT(delta >= 0 || u->present > 0);
    u->present = (uint16_t)(u->present + delta);
    u->last_seen_ms = wall_ms;
    bool now = u->present > 0;
    if (before == now) return;
    if (now) shard->online++;
    else shard->online--;
    presence_mark(shard, u, PRESENCE_CAME_OR_WENT);
}

void presence_session_alive(struct registry *r, struct session *s, bool alive, uint64_t wall_ms)
{
    struct session_user *u = s->user;
    struct registry_shard *shard = registry_shard_of(r, u->id);
    pthread_mutex_lock(&shard->mutex);
    if (s->linked && s->present != alive) {
        s->present = alive;
        presence_count(shard, u, alive ? 1 : -1, wall_ms);
    }
    pthread_mutex_unlock(&shard->mutex);
}

enum presence_status presence_get(struct registry *r, struct id user, uint64_t wall_ms,
                                  uint64_t *last_seen_ms_out)
{
    struct registry_shard *shard = registry_shard_of(r, user);
    enum presence_status status = PRESENCE_OFFLINE;
    *last_seen_ms_out = 0;
    pthread_mutex_lock(&shard->mutex);
    struct session_user *u = registry_find(shard, user);
    if (u != NULL && u->present > 0) status = PRESENCE_ONLINE;
    else if (u != NULL) {
        *last_seen_ms_out = u->last_seen_ms;
        status = presence_of_last_seen(u->last_seen_ms, wall_ms);
    }
    pthread_mutex_unlock(&shard->mutex);
    return status;
}

void presence_touch(struct registry *r, struct id user)
{
    struct registry_shard *shard = registry_shard_of(r, user);
    pthread_mutex_lock(&shard->mutex);
    struct session_user *u = registry_find(shard, user);
    if (u != NULL) presence_mark(shard, u, PRESENCE_SETTINGS);
    pthread_mutex_unlock(&shard->mutex);
}

bool presence_later(struct registry *r, struct id user)
{
    struct registry_shard *shard = registry_shard_of(r, user);
    pthread_mutex_lock(&shard->mutex);
    struct session_user *u = registry_find(shard, user);
    bool watched = u != NULL && u->watchers != NULL;
    if (watched) presence_mark(shard, u, PRESENCE_CAME_OR_WENT);
    pthread_mutex_unlock(&shard->mutex);
    return watched;
}

void presence_watch(struct registry *r, struct presence_link *link, struct session *watcher, struct id target)
{
    struct registry_shard *shard = registry_shard_of(r, target);
    link->watcher = watcher;
    link->watcher_user = session_user_id(watcher);
    pthread_mutex_lock(&shard->mutex);
    struct session_user *u = registry_find(shard, target);
    if (u == NULL || u->watchers == NULL) u = registry_obtain(shard, target);
    link->target = u;
    link->next = u->watchers;
    if (link->next != NULL) link->next->prev_next = &link->next;
    link->prev_next = &u->watchers;
    u->watchers = link;
    pthread_mutex_unlock(&shard->mutex);
}

void presence_unwatch(struct registry *r, struct presence_link *link)
{
    struct session_user *u = link->target;
    if (u == NULL) return;
    struct registry_shard *shard = registry_shard_of(r, u->id);
    pthread_mutex_lock(&shard->mutex);
    *link->prev_next = link->next;
    if (link->next != NULL) link->next->prev_next = link->prev_next;
    link->target = NULL;
    if (u->watchers == NULL) registry_release(shard, u);
    pthread_mutex_unlock(&shard->mutex);
}

void presence_said(struct registry *r, struct presence_link *link, struct id target, bool hidden)
{
    struct registry_shard *shard = registry_shard_of(r, target);
    pthread_mutex_lock(&shard->mutex);
    if (link->target != NULL && id_eq(link->target->id, target)) link->hidden = hidden;
    pthread_mutex_unlock(&shard->mutex);
}

/* One user off the queue, with a copy of the watchers. False: the queue of the
 * shard is empty. */
struct change {
    struct id user;
    bool online, settings;
    uint64_t last_seen_ms;
    struct presence_watcher *watchers;
    size_t count, size;
};
static bool change_take(struct registry_shard *shard, struct session_user **list, struct change *out)
{
    pthread_mutex_lock(&shard->mutex);
    struct session_user *u = *list;
    if (u == NULL) {
        pthread_mutex_unlock(&shard->mutex);
        return false;
    }
    *list = u->changed_next;
    out->settings = u->changed & PRESENCE_SETTINGS;
    u->changed = 0;
    out->user = u->id;
    out->online = u->present > 0;
    out->last_seen_ms = out->online ? 0 : u->last_seen_ms;
    out->count = 0;
    for (struct presence_link *l = u->watchers; l != NULL; l = l->next) {
        if (out->count == out->size) {
            out->size = out->size ? 2 * out->size : 16;
            out->watchers = sotto_realloc(out->watchers, out->size * sizeof(*out->watchers));
        }
        out->watchers[out->count++] = (struct presence_watcher){l->watcher_user, l->watcher->name, l->hidden};
    }
    registry_release(shard, u);
    pthread_mutex_unlock(&shard->mutex);
    return true;
}

static bool same_name(const struct session_name *a, const struct session_name *b)
{
    return a->loop == b->loop && a->slot == b->slot && a->serial == b->serial;
}

/* Remembers what was said. Links came to the front of the list and left it meanwhile; those
 * that stayed are in the order of the copy. */
static void change_said(struct registry_shard *shard, const struct change *c)
{
    size_t next = 0;
    pthread_mutex_lock(&shard->mutex);
    struct session_user *u = registry_find(shard, c->user);
    for (struct presence_link *l = u != NULL ? u->watchers : NULL; l != NULL; l = l->next) {
        size_t i = next;
        while (i < c->count && !same_name(&c->watchers[i].name, &l->watcher->name)) i++;
        if (i == c->count) continue;
        l->hidden = c->watchers[i].hidden;
        next = i + 1;
    }
    pthread_mutex_unlock(&shard->mutex);
}

void presence_take_changes(struct registry *r, presence_changed_fn fn, void *ctx)
{
    struct change change = {0};
    for (size_t i = 0; i < REGISTRY_SHARDS; i++) {
        struct registry_shard *shard = &r->shards[i];
        /* What is queued now; what comes meanwhile waits for the next turn. */
        pthread_mutex_lock(&shard->mutex);
        struct session_user *list = shard->changed;
        shard->changed = NULL;
        pthread_mutex_unlock(&shard->mutex);
        while (change_take(shard, &list, &change)) {
            fn(ctx, change.user, change.online, change.settings, change.last_seen_ms, change.watchers, change.count);
            if (change.settings) change_said(shard, &change);
        }
    }
    free(change.watchers);
}
