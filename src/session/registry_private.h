/* Entries of the registry, shared with presence.c. */
#ifndef SOTTO_SESSION_REGISTRY_PRIVATE_H
#define SOTTO_SESSION_REGISTRY_PRIVATE_H

#include "base/map.h"
#include "base/slab.h"
#include "session/presence.h"
#include "session/registry.h"

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>

enum { REGISTRY_SHARDS = 64 };

enum presence_why { PRESENCE_CAME_OR_WENT = 1, PRESENCE_SETTINGS = 2 };

struct session_user { /* one cache line, in a slab */
    alignas(64) struct id id;
    struct session *sessions;
    struct presence_link *watchers;
    struct session_user *changed_next; /* queue of the next presence turn */
    uint64_t last_seen_ms;             /* wall; 0: never, as far as we know */
    uint16_t refs;                     /* added sessions + 1 if watched + 1 if queued */
    uint16_t present;                  /* linked sessions that count as online */
    uint8_t changed;                   /* in the queue, and why: enum presence_why */
    atomic_bool receipts_off;
};
_Static_assert(sizeof(struct session_user) == 64, "of every connected user");

struct session_users {
    pthread_mutex_t mutex; /* taken with that of a shard held */
    struct slab slab;
};

struct registry_shard {
    alignas(64) pthread_mutex_t mutex;
    struct map map;
    struct session_users *users; /* of all shards */
    struct session_user *changed;
    size_t online; /* users with present > 0 */
};
struct registry {
    struct registry_shard shards[REGISTRY_SHARDS];
    struct session_users users;
};

struct registry_shard *registry_shard_of(struct registry *r, struct id user);
/* With the shard locked: */
struct session_user *registry_find(struct registry_shard *shard, struct id user);
struct session_user *registry_obtain(struct registry_shard *shard, struct id user);
void registry_release(struct registry_shard *shard, struct session_user *u);
/* Adds delta to the sessions that count as online, and queues what follows. */
void presence_count(struct registry_shard *shard, struct session_user *u, int delta, uint64_t wall_ms);
void presence_mark(struct registry_shard *shard, struct session_user *u, enum presence_why why);

#endif
