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
 * merge takes that wait for one; RocksDB would slow the writer down at twenty. And so fast
 * that flushing is not limited when a write buffer still waits while the next is nearly
 * full, or two do: the writer would have to stop at the third. The same when what is
 * committed comes near to the low rate: on a processor that never rests a thread of little
 * share that waits a millisecond for its next piece gets half the rate at best.
 */
#include "store/background.h"

#include "store/limiter_rate.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/sched.h"

enum {
    MEGABYTE = 1024 * 1024,
    RATE_LOW = 32 * MEGABYTE,
    STEPS_MAX = 5,     /* doublings: to 1 GB a second, which limits nothing */
    NEARLY_FULL_PERCENT = 75,
    PERIOD_US = 1000,  /* in which an even part of the rate may be written */
    FAIRNESS = 10,     /* merging has a turn in ten before flushing */
    PIECE_BYTES = 64 * 1024,
    SYNC_BYTES = 128 * 1024,
    LOOK_MS = 100
};

struct background {
    rocksdb_ratelimiter_t *limiter;
    uint64_t rate, looked_ms, committed;
};

uint64_t background_rate(const struct background_debt *d, uint64_t committed_per_s)
{
    unsigned more = d->level0_files > BACKGROUND_LEVEL0_FILES ? (d->level0_files - BACKGROUND_LEVEL0_FILES) / 2 : 0;
    bool hurry = committed_per_s + committed_per_s / 2 > RATE_LOW || d->buffers > 1 ||
                 (d->buffers == 1 && d->filled_percent >= NEARLY_FULL_PERCENT);
    return (uint64_t)RATE_LOW << (hurry || more > STEPS_MAX ? STEPS_MAX : more);
}

struct background *background_create(void)
{
    struct background *b = sotto_zalloc(sizeof(*b));
    b->rate = RATE_LOW;
    b->limiter = rocksdb_ratelimiter_create((int64_t)b->rate, PERIOD_US, FAIRNESS);
    SOTTO_ASSERT(limiter_rate(b->limiter) == b->rate);
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

static uint64_t number(rocksdb_t *db, rocksdb_column_family_handle_t *family, const char *property)
{
    uint64_t value = 0;
    return rocksdb_property_int_cf(db, family, property, &value) == 0 ? value : 0;
}

void background_committed(struct background *b, size_t len) { b->committed += len; }

void background_adjust(struct background *b, rocksdb_t *db, rocksdb_column_family_handle_t *const *families,
                       const size_t *buffer_bytes, size_t count, uint64_t now_ms)
{
    if (now_ms < b->looked_ms + LOOK_MS) return;
    uint64_t committed_per_s = b->committed * 1000 / (now_ms - b->looked_ms);
    b->looked_ms = now_ms;
    b->committed = 0;
    uint64_t rate = RATE_LOW;
    for (size_t i = 0; i < count; i++) {
        uint64_t filled = number(db, families[i], "rocksdb.cur-size-active-mem-table");
        struct background_debt debt = {
            .level0_files = level0_files(db, families[i]),
            .buffers = (unsigned)number(db, families[i], "rocksdb.num-immutable-mem-table"),
            .filled_percent = (unsigned)(filled * 100 / buffer_bytes[i])};
        uint64_t wanted = background_rate(&debt, committed_per_s);
        if (wanted > rate) rate = wanted;
    }
    if (rate == b->rate) return;
    b->rate = rate;
    limiter_rate_set(b->limiter, rate);
}
