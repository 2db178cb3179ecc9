/* Flushing and merging; see background.h.
 *
 * THREADS take the processor only when nobody else wants it (sched_background): on a small
 * machine they would hold up the threads that people wait for.
 *
 * PIECES. A file is written 64 KB at a time, as the limit on the rate allows in each
 * millisecond. RocksDB's own megabyte would be put together in one go, a few milliseconds
 * of a processor and of its caches that nobody limits, and then wait for its thirty turns.
 * Every 128 KB go to the disk at once, else a whole file would, when it is synced.
 *
 * RATE. Looked at every tenth of a second. Twice as fast for every two files more than a
 * merge takes that wait for one. Twice as fast again and again as long as flushing goes on
 * for most of the time, slower when it rests for most of it. And at once so fast that
 * flushing is not limited when a second write buffer waits: the writer stops at the third.
 * The steps come before RocksDB would hold up the writer, so that it never needs to.
 */
#include "store/background.h"

#include "store/limiter_rate.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/sched.h"

enum {
    MEGABYTE = 1024 * 1024,
    RATE_LOW = 32 * MEGABYTE,
    STEPS_MAX = 5,     /* doublings: to 1 GB a second, which limits nothing */
    STEPS_HURRY = 3,   /* when a second buffer waits */
    LOOKS_WEIGHT = 8,  /* what is seen counts for about so many looks */
    MOSTLY = 160, SELDOM = 100, /* of 256 */
    PERIOD_US = 1000,  /* in which an even part of the rate may be written */
    FAIRNESS = 10,     /* merging has a turn in ten before flushing */
    PIECE_BYTES = 64 * 1024,
    SYNC_BYTES = 128 * 1024,
    LOOK_MS = 100
};

struct background {
    rocksdb_ratelimiter_t *limiter;
    struct background_pace pace;
    uint64_t rate, looked_ms;
};

static unsigned larger(unsigned a, unsigned b) { return a > b ? a : b; }

uint64_t background_rate(struct background_pace *p, unsigned level0_files, unsigned waiting)
{
    p->flushing += (waiting != 0 ? 256 / LOOKS_WEIGHT : 0);
    p->flushing -= p->flushing / LOOKS_WEIGHT;
    if (p->flushing > MOSTLY && p->steps < STEPS_MAX) p->steps++;
    if (p->flushing < SELDOM && p->steps > 0) p->steps--;
    if (waiting > 1) p->steps = larger(p->steps, STEPS_HURRY);
    unsigned more = level0_files > BACKGROUND_LEVEL0_FILES ? (level0_files - BACKGROUND_LEVEL0_FILES) / 2 : 0;
    unsigned steps = larger(p->steps, more);
    return (uint64_t)RATE_LOW << (steps < STEPS_MAX ? steps : STEPS_MAX);
}

struct background *background_create(void)
{
    struct background *b = sotto_zalloc(sizeof(*b));
    b->rate = RATE_LOW;
    b->limiter = rocksdb_ratelimiter_create((int64_t)b->rate, PERIOD_US, FAIRNESS);
    return b;
}

void background_destroy(struct background **background)
{
    struct background *b = *background;
    if (b == NULL) return;
    rocksdb_ratelimiter_destroy(b->limiter); /* databases that use it share it */
    free(b);
    *background = NULL;
}

static void *make_threads(void *arg)
{
    rocksdb_env_t *env = arg;
    sched_background();
    rocksdb_env_set_background_threads(env, 1);
    rocksdb_env_set_high_priority_background_threads(env, 1);
    return NULL;
}

/* RocksDB's threads of this process, if there are none yet. They inherit how they
 * are scheduled from the thread that makes them, and that one could not go back:
 * so it is one for the purpose. */
static void start_threads(rocksdb_options_t *o)
{
    pthread_t thread;
    rocksdb_env_t *env = rocksdb_create_default_env();
    SOTTO_ASSERT(pthread_create(&thread, NULL, make_threads, env) == 0);
    pthread_join(thread, NULL);
    rocksdb_options_set_env(o, env);
    rocksdb_env_destroy(env);
}

void background_set_options(struct background *b, rocksdb_options_t *database)
{
    rocksdb_options_set_max_background_jobs(database, 2);
    start_threads(database);
    rocksdb_options_set_ratelimiter(database, b->limiter);
    rocksdb_options_set_writable_file_max_buffer_size(database, PIECE_BYTES);
    rocksdb_options_set_bytes_per_sync(database, SYNC_BYTES);
}

void background_set_family_options(rocksdb_options_t *family)
{
    rocksdb_options_set_level0_file_num_compaction_trigger(family, BACKGROUND_LEVEL0_FILES);
    rocksdb_options_set_max_write_buffer_number(family, BACKGROUND_WRITE_BUFFERS);
}

static unsigned level0_files(rocksdb_t *db, rocksdb_column_family_handle_t *family)
{
    char *text = rocksdb_property_value_cf(db, family, "rocksdb.num-files-at-level0");
    unsigned count = text != NULL ? (unsigned)strtoul(text, NULL, 10) : 0;
    free(text);
    return count;
}

static unsigned buffers_waiting(rocksdb_t *db, rocksdb_column_family_handle_t *family)
{
    uint64_t count = 0;
    if (rocksdb_property_int_cf(db, family, "rocksdb.num-immutable-mem-table", &count) != 0) return 0;
    return (unsigned)count;
}

void background_adjust(struct background *b, rocksdb_t *db, rocksdb_column_family_handle_t *const *families,
                       size_t count, uint64_t now_ms)
{
    if (now_ms < b->looked_ms + LOOK_MS) return;
    b->looked_ms = now_ms;
    unsigned files = 0, waiting = 0;
    for (size_t i = 0; i < count; i++) {
        files = larger(files, level0_files(db, families[i]));
        waiting = larger(waiting, buffers_waiting(db, families[i]));
    }
    uint64_t rate = background_rate(&b->pace, files, waiting);
    if (rate == b->rate) return;
    b->rate = rate;
    limiter_rate_set(b->limiter, rate);
}
