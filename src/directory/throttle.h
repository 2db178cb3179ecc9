/* Attempts at a secret, slowed: a few are free, then each further one waits
 * twice as long as the one before.
 *
 * An attempt is counted when it begins and taken back when it succeeds, so that
 * a thousand at once gain nothing. Kept in memory, in a table of fixed size: a
 * full set of ways forgets the entry that was used longest ago. Thread-safe;
 * never blocks for long.
 */
#ifndef SOTTO_DIRECTORY_THROTTLE_H
#define SOTTO_DIRECTORY_THROTTLE_H

#include "base/random.h"
#include "base/slice.h"

#include <pthread.h>

enum { THROTTLE_SETS = 2048, THROTTLE_WAYS = 8, THROTTLE_KEYS_MAX = 2 };

struct throttle_policy {
    uint32_t free_attempts;
    uint64_t first_ms;  /* the wait after the last free attempt */
    uint64_t max_ms;    /* no wait is longer */
    uint64_t forget_ms; /* after so long without an attempt all is forgotten */
};
struct throttle_entry {
    uint64_t key; /* 0: free */
    uint64_t last_ms;
    uint64_t open_ms; /* no attempt before */
    uint32_t attempts;
};
struct throttle {
    pthread_mutex_t mutex;
    uint8_t hash_key[16];
    struct throttle_entry *entries; /* THROTTLE_SETS x THROTTLE_WAYS */
};
struct throttle_key {
    uint64_t hash;
    const struct throttle_policy *policy;
};

void throttle_init(struct throttle *t, const struct random_source *random);
void throttle_deinit(struct throttle *t);
/* kind keeps names of different sorts apart. */
struct throttle_key throttle_key(const struct throttle *t, const struct throttle_policy *policy, char kind,
                                 struct slice name);
/* Counts an attempt against every key, or none: false when one of them must
 * wait, with the longest wait in *retry_ms_out. now_ms: monotonic. */
bool throttle_begin(struct throttle *t, const struct throttle_key *keys, size_t count, uint64_t now_ms,
                    uint64_t *retry_ms_out);
/* The attempt that was begun was no guess: takes it back. */
void throttle_undo(struct throttle *t, struct throttle_key key);
/* Forgets all attempts. */
void throttle_clear(struct throttle *t, struct throttle_key key);

#endif
