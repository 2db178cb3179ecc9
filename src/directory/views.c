/* The cache of user views.
 *
 * DESIGN
 * Sixteen shards, each a mutex, a hash map and a list in order of age, so that
 * I/O threads that route messages seldom meet. A hit costs the hash, one lock,
 * one probe and one reference; the list is not touched then, only a mark that
 * gives the entry a second round when it comes to be evicted. A view lives in
 * one allocation with its links and its sorted id lists, and outlives its
 * eviction for as long as somebody holds it.
 *
 * A load that began before a change and ends after it must not bring the old
 * state back. Each change therefore grows a stamp (one of VIEW_STAMPS per
 * shard), after its commit; the loader reads the stamp before it reads the
 * database, and the view is kept only if the stamp still stands.
 */
#include "directory/views.h"

#include <stdlib.h>

struct view_node {
    struct view_node *newer, *older;
    size_t bytes;
    bool marked; /* used since it was last considered for eviction */
    struct user_view view;
    struct id ids[]; /* blocks, then contacts */
};

static struct view_node *node_of(struct user_view *v)
{
    return (struct view_node *)((char *)v - offsetof(struct view_node, view));
}

struct user_view *view_create(const struct id *blocks, size_t blocks_count, const struct id *contacts,
                              size_t contacts_count)
{
    size_t bytes = sizeof(struct view_node) + (blocks_count + contacts_count) * sizeof(struct id);
    struct view_node *n = sotto_zalloc(bytes);
    n->bytes = bytes;
    refcount_init(&n->view.refs);
    if (blocks_count > 0) memcpy(n->ids, blocks, blocks_count * sizeof *blocks);
    if (contacts_count > 0) memcpy(n->ids + blocks_count, contacts, contacts_count * sizeof *contacts);
    n->view.blocks = n->ids;
    n->view.blocks_count = blocks_count;
    n->view.contacts = n->ids + blocks_count;
    n->view.contacts_count = contacts_count;
    return &n->view;
}

struct user_view *user_view_ref(struct user_view *v)
{
    refcount_ref(&v->refs);
    return v;
}

void user_view_unref(struct user_view *v)
{
    if (v != NULL && refcount_unref(&v->refs)) free(node_of(v));
}

static bool holds(const struct id *ids, size_t count, struct id wanted)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = id_cmp(ids[middle], wanted);
        if (order == 0) return true;
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return false;
}

bool user_view_blocks(const struct user_view *v, struct id other) { return holds(v->blocks, v->blocks_count, other); }

bool user_view_has_contact(const struct user_view *v, struct id other)
{
    return holds(v->contacts, v->contacts_count, other);
}

/* ---- The cache ---------------------------------------------------------- */

void views_init(struct views *v, size_t bytes_max)
{
    v->shard_bytes_max = bytes_max / VIEW_SHARDS;
    for (size_t i = 0; i < VIEW_SHARDS; i++) {
        v->shards[i] = (struct view_shard){0};
        pthread_mutex_init(&v->shards[i].mutex, NULL);
        map_init(&v->shards[i].map);
    }
}

void views_deinit(struct views *v)
{
    views_forget(v, NULL);
    for (size_t i = 0; i < VIEW_SHARDS; i++) {
        map_deinit(&v->shards[i].map);
        pthread_mutex_destroy(&v->shards[i].mutex);
    }
}

/* The map uses the low bits of the hash; the shard and the stamp take others. */
static struct view_shard *shard_of(struct views *v, uint64_t hash)
{
    return &v->shards[hash >> 60 & (VIEW_SHARDS - 1)];
}
static size_t stamp_of(uint64_t hash) { return hash >> 54 & (VIEW_STAMPS - 1); }

static bool same_user(const void *entry, const void *key)
{
    const struct view_node *n = entry;
    const struct id *user = key;
    return id_eq(n->view.id, *user);
}

struct user_view *views_find(struct views *v, struct id user)
{
    uint64_t hash = id_hash(user);
    struct view_shard *s = shard_of(v, hash);
    pthread_mutex_lock(&s->mutex);
    struct view_node *n = map_find(&s->map, hash, &user, same_user);
    if (n != NULL) {
        n->marked = true;
        refcount_ref(&n->view.refs);
    }
    pthread_mutex_unlock(&s->mutex);
    return n != NULL ? &n->view : NULL;
}

uint64_t views_stamp(struct views *v, struct id user)
{
    uint64_t hash = id_hash(user);
    struct view_shard *s = shard_of(v, hash);
    pthread_mutex_lock(&s->mutex);
    uint64_t stamp = s->stamps[stamp_of(hash)];
    pthread_mutex_unlock(&s->mutex);
    return stamp;
}

static size_t cost(const struct view_node *n) { return n->bytes + 2 * sizeof(struct map_slot); }

static void unlink_node(struct view_shard *s, struct view_node *n)
{
    if (n->newer != NULL) n->newer->older = n->older;
    else s->newest = n->older;
    if (n->older != NULL) n->older->newer = n->newer;
    else s->oldest = n->newer;
    n->newer = n->older = NULL;
}

static void link_newest(struct view_shard *s, struct view_node *n)
{
    n->newer = NULL;
    n->older = s->newest;
    if (s->newest != NULL) s->newest->newer = n;
    else s->oldest = n;
    s->newest = n;
}

static void drop(struct view_shard *s, struct view_node *n)
{
    struct view_node *removed = map_remove(&s->map, id_hash(n->view.id), &n->view.id, same_user);
    SOTTO_ASSERT(removed == n);
    unlink_node(s, n);
    s->bytes -= cost(n);
    user_view_unref(&n->view);
}

static void evict(struct views *v, struct view_shard *s)
{
    while (s->bytes > v->shard_bytes_max && s->oldest != NULL) {
        struct view_node *n = s->oldest;
        if (n->marked && n != s->newest) {
            n->marked = false;
            unlink_node(s, n);
            link_newest(s, n);
        } else {
            drop(s, n);
        }
    }
}

void views_put(struct views *v, struct user_view *view, uint64_t stamp)
{
    uint64_t hash = id_hash(view->id);
    struct view_shard *s = shard_of(v, hash);
    struct view_node *n = node_of(view);
    pthread_mutex_lock(&s->mutex);
    if (s->stamps[stamp_of(hash)] == stamp && map_find(&s->map, hash, &view->id, same_user) == NULL) {
        map_insert(&s->map, hash, n);
        refcount_ref(&view->refs);
        link_newest(s, n);
        s->bytes += cost(n);
        evict(v, s);
    }
    pthread_mutex_unlock(&s->mutex);
}

void views_forget(struct views *v, const struct id *user)
{
    uint64_t hash = user != NULL ? id_hash(*user) : 0;
    for (size_t i = 0; i < VIEW_SHARDS; i++) {
        struct view_shard *s = &v->shards[i];
        if (user != NULL && s != shard_of(v, hash)) continue;
        pthread_mutex_lock(&s->mutex);
        if (user != NULL) {
            s->stamps[stamp_of(hash)]++;
            struct view_node *n = map_find(&s->map, hash, user, same_user);
            if (n != NULL) drop(s, n);
        } else {
            for (size_t k = 0; k < VIEW_STAMPS; k++) s->stamps[k]++;
            while (s->oldest != NULL) drop(s, s->oldest);
        }
        pthread_mutex_unlock(&s->mutex);
    }
}
