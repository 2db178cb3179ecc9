/* User views: the cache that the message path looks into. */
#ifndef SOTTO_DIRECTORY_VIEWS_H
#define SOTTO_DIRECTORY_VIEWS_H

#include "directory/directory.h"

#include "base/map.h"

#include <pthread.h>

enum { VIEW_SHARDS = 16, VIEW_STAMPS = 64 };

struct view_node;
struct view_shard {
    pthread_mutex_t mutex;
    struct map map;
    struct view_node *newest, *oldest;
    size_t bytes;
    uint64_t stamps[VIEW_STAMPS]; /* grow when a user with that hash changes */
};
struct views {
    struct view_shard shards[VIEW_SHARDS];
    size_t shard_bytes_max;
};

void views_init(struct views *v, size_t bytes_max);
void views_deinit(struct views *v);
/* With a reference, or NULL. */
struct user_view *views_find(struct views *v, struct id user);
/* To be read before a view is loaded, and handed to views_put. */
uint64_t views_stamp(struct views *v, struct id user);
/* Keeps the view unless the user changed since the stamp was read. */
void views_put(struct views *v, struct user_view *view, uint64_t stamp);
/* NULL: every user. */
void views_forget(struct views *v, const struct id *user);
/* The ids are copied and must be sorted; the rest is filled in by the caller. */
struct user_view *view_create(const struct id *blocks, size_t blocks_count, const struct id *contacts,
                              size_t contacts_count);

#endif
