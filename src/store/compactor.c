/* A thread that makes deleted rows leave the disk.
 *
 * Asked for a family, it flushes all families (so that the write-ahead logs that
 * still hold the rows become obsolete and are removed) and compacts that one.
 * Requests that come meanwhile are joined. Compacting a family rewrites it, so
 * after one that took t seconds the next begins REST times t later at the
 * earliest: a small store erases at once, a large one spends a bounded part of
 * its time on it. What fails is tried again. RocksDB's C interface does not tell whether
 * compacting failed; but it counts the errors of its background work, and whoever stops
 * it for another reason says so (compact_cut). */
#include "store/store_rocksdb_private.h"

#include <stdlib.h>
#include <time.h>

enum { REST = 20 };
enum { RETRY_MS = 60 * 1000 };

static uint64_t errors_of(const struct store_rocksdb *s)
{
    uint64_t count = 0;
    return rocksdb_property_int(s->db, "rocksdb.background-errors", &count) == 0 ? count : 0;
}

/* False: not all of it was done. */
static bool compact(struct store_rocksdb *s, unsigned wanted)
{
    if (!gate_enter(s)) return false;
    bool done = true;
    uint64_t errors = errors_of(s);
    rocksdb_flushoptions_t *flush = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(flush, 1);
    for (int f = 0; f < STORE_FAMILIES; f++) {
        char *error = NULL;
        rocksdb_flush_cf(s->db, flush, s->families[f], &error);
        done &= error == NULL;
        if (error != NULL) LOG(s->log, LOG_WARN, "store.flush", LOG_S("error", error));
        free(error);
    }
    rocksdb_flushoptions_destroy(flush);
    for (int f = 0; f < STORE_FAMILIES && done; f++)
        if (wanted & 1u << f) rocksdb_compact_range_cf(s->db, s->families[f], NULL, 0, NULL, 0);
    done &= errors_of(s) == errors && !atomic_load(&s->compact_cut);
    gate_leave(s);
    if (!done) LOG(s->log, LOG_WARN, "store.compact", LOG_S("result", "not done, tried again later"));
    return done;
}

static void *run(void *arg)
{
    struct store_rocksdb *s = arg;
    uint64_t rest_until_ms = 0; /* whole seconds */
    pthread_mutex_lock(&s->compactor_lock);
    for (;;) {
        while (s->compact_wanted == 0 && !s->compactor_stopping)
            pthread_cond_wait(&s->compactor_wake, &s->compactor_lock);
        struct timespec until = {.tv_sec = (time_t)(rest_until_ms / 1000)};
        while (!s->compactor_stopping && clock_monotonic_ms(clock_system()) < rest_until_ms)
            pthread_cond_clockwait(&s->compactor_wake, &s->compactor_lock, CLOCK_MONOTONIC, &until);
        if (s->compactor_stopping) break;
        unsigned wanted = s->compact_wanted;
        s->compact_wanted = 0;
        s->compact_running = wanted;
        pthread_mutex_unlock(&s->compactor_lock);
        uint64_t began_ms = clock_monotonic_ms(clock_system());
        bool done = compact(s, wanted);
        uint64_t ended_ms = clock_monotonic_ms(clock_system());
        rest_until_ms = (ended_ms + REST * (ended_ms - began_ms)) / 1000 * 1000;
        if (!done) rest_until_ms += RETRY_MS;
        pthread_mutex_lock(&s->compactor_lock);
        s->compact_running = 0;
        if (!done) s->compact_wanted |= wanted;
    }
    pthread_mutex_unlock(&s->compactor_lock);
    return NULL;
}

void compactor_start(struct store_rocksdb *s)
{
    SOTTO_ASSERT(pthread_mutex_init(&s->compactor_lock, NULL) == 0);
    SOTTO_ASSERT(pthread_cond_init(&s->compactor_wake, NULL) == 0);
    SOTTO_ASSERT(pthread_create(&s->compactor, NULL, run, s) == 0);
}

void compactor_stop(struct store_rocksdb *s)
{
    pthread_mutex_lock(&s->compactor_lock);
    s->compactor_stopping = true;
    pthread_cond_signal(&s->compactor_wake);
    pthread_mutex_unlock(&s->compactor_lock);
    if (s->db != NULL) rocksdb_disable_manual_compaction(s->db);
    pthread_join(s->compactor, NULL);
    pthread_cond_destroy(&s->compactor_wake);
    pthread_mutex_destroy(&s->compactor_lock);
}

void compactor_request(struct store *store, enum store_family f)
{
    struct store_rocksdb *s = rocksdb_of(store);
    pthread_mutex_lock(&s->compactor_lock);
    s->compact_wanted |= 1u << f;
    pthread_cond_signal(&s->compactor_wake);
    pthread_mutex_unlock(&s->compactor_lock);
}

bool compactor_busy(struct store *store, enum store_family f)
{
    struct store_rocksdb *s = rocksdb_of(store);
    pthread_mutex_lock(&s->compactor_lock);
    bool busy = ((s->compact_wanted | s->compact_running) & 1u << f) != 0;
    pthread_mutex_unlock(&s->compactor_lock);
    return busy;
}
