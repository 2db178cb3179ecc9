/* The embedded store on RocksDB.
 *
 * DESIGN. One column family per key space. Every commit is one write batch, and
 * RocksDB syncs its write-ahead log before the call returns: that sync is the
 * `sent` of every message in the batch. Nothing else is ever synced by us. It writes
 * over zeros that are put there before (wal_ahead.h), which makes the sync shorter.
 *
 * RECOVERY. The log is replayed with "tolerate corrupted tail": a record that a
 * crash cut off at the end of the log was never acknowledged and is dropped;
 * damage anywhere else is a refusal to open. Where that mode refuses because the
 * last write has a hole instead of being short, which a power loss can do too,
 * "point in time" is used, after wal_tail.c has made sure that nothing follows.
 * "Point in time" alone would open a log that is damaged in its middle, silently
 * without what follows the damage, which was acknowledged. A log that is gone, or is not
 * what it was when the store was closed, is missed before it is opened (wal_note.h); and
 * where nothing was written since, nothing is torn, and all damage is a refusal. A disk
 * can damage the last write after it was acknowledged, which looks like a torn one: so a
 * store that was opened without it forgets its epoch, and the devices look again.
 *
 * A FULL DISK. Commits are refused while less than the reserve is free, so that
 * RocksDB itself, whose background work needs room, does not run into the wall; but
 * those that make room, which would else never come, are not until little of it is left.
 * If it does (another program filled the disk), its error is sticky; the commit
 * then closes the database and opens it again, under a lock that keeps readers
 * out. What was recovered tells whether the batch is there. Opening for writing
 * needs room: without it, it is opened for reading only, and the first commit
 * that finds room opens it for writing. If it cannot be opened at all, whoever
 * comes next tries again, once a second. A batch whose sync failed may be read from the
 * system's memory and be on no disk: only opening for writing, which puts what it
 * recovers in a table and syncs that, settles it. Until then nothing is read: so
 * nothing of it is answered or published, and nobody sees what may vanish. RocksDB's own log file gets nothing but
 * its options when it is opened for writing: Debian's build, which has RocksDB's
 * assertions on, stops the process at the second line that does not fit.
 *
 * BACKUP. A checkpoint: links to the files, which do not change, and a copy of the newest
 * log up to the length that it has now. Commits go on meanwhile, so there must be nothing
 * in that log yet to be written over. Zeros are not put ahead during a backup, and it begins
 * with a deletion of nothing: so there is something to flush, which RocksDB does first, and
 * something in the log, so that flushing makes another, without zeros.
 *
 * ERASING. What is deleted stays on disk until compaction rewrites the files.
 * store_compact asks a thread to flush and compact, so that expired payloads
 * leave the disk without holding up the writer.
 *
 * STATES IN PLACE. A conversation's state is written with every message and every
 * mark. In the memory table the new one takes the place of the old, where it is no
 * longer than that: else the versions of a few thousand states fill the table
 * several times a second, each to be written to a file and merged away. So a state
 * that is read may be newer than every snapshot, by the commit under way. What it
 * says is on disk (the log is synced first), but rows that it speaks of may not be
 * seen yet; see store.h. RocksDB locks out readers while it copies the bytes, but not
 * while it writes their length (MemTable::Update of 7.8): so a state keeps its length,
 * or gets longer, which is a new entry of the table.
 *
 * BACKGROUND. Flushing and compaction take the processor only when nobody else
 * wants it: on a small machine they would hold up the threads that people wait
 * for. If they fall behind, RocksDB holds up the writer, which gives them room.
 *
 * THREADS. Readers hold `gate` shared for the length of a get or the life of an
 * iterator; only reopening takes it exclusively.
 */
#include "store/store_rocksdb.h"

#include "store/store_rocksdb_private.h"
#include "store/background.h"
#include "store/wal_ahead.h"
#include "store/wal_note.h"
#include "store/wal_tail.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/bytes.h"
#include "base/sched.h"

static const char *const family_names[STORE_FAMILIES] = {"default", "conversation", "message",
                                                         "dedupe",  "member",       "expiry"};
static const struct store_ops rocksdb_ops;

enum { REOPEN_INTERVAL_MS = 1000 };
/* Opening writes a manifest, and what it recovers. */
enum { OPEN_ROOM_BYTES = 8 * 1024 * 1024 };
/* What commits that make room leave of the reserve: enough to open it again, and to flush. */
enum { FREEING_ROOM_BYTES = 16 * 1024 * 1024 };

/* ---- Options -------------------------------------------------------------- */

enum { STATE_LOCKS = 64 }; /* between a state that is overwritten and its readers */

/* Keys begin with the id of a conversation (or user), and what is written next
 * lies beside what was written for it last: the memory table remembers where
 * that was, instead of walking down from the top each time. Keys shorter than what it
 * remembers them by have no such memory. 0: none has. */
static size_t hint_len(enum store_family f)
{
    /* One more than the id: STORE_RANGE_FROM_MAX, see rocksdb_store_delete_range. */
    if (f == STORE_MESSAGE) return STORE_RANGE_FROM_MAX + 1;
    return f == STORE_MEMBER ? ID_LEN : 0;
}

static rocksdb_options_t *with_insert_hints(rocksdb_options_t *o, size_t len)
{
    rocksdb_options_t *hinted = rocksdb_options_create();
    char *error = NULL, text[96];
    (void)snprintf(text, sizeof(text), "memtable_insert_with_hint_prefix_extractor=rocksdb.FixedPrefix.%zu", len);
    rocksdb_get_options_from_string(o, text, hinted, &error);
    SOTTO_ASSERT(error == NULL);
    rocksdb_options_destroy(o);
    return hinted;
}

static rocksdb_options_t *make_family_options(const struct store_rocksdb *s, enum store_family f)
{
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(t, s->cache);
    rocksdb_block_based_options_set_block_size(t, 16 * 1024);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(t, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(t, 1);
    rocksdb_block_based_options_set_filter_policy(t, rocksdb_filterpolicy_create_bloom(10));
    rocksdb_options_set_block_based_table_factory(o, t);
    rocksdb_block_based_options_destroy(t);
    /* Not in what is merged into the next level soon. */
    static const int compression[] = {rocksdb_no_compression, rocksdb_lz4_compression};
    rocksdb_options_set_compression_per_level(o, (int *)(uintptr_t)compression, 2);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
    background_set_family_options(o);
    rocksdb_options_set_write_buffer_size(o, s->buffer_bytes[f]);
    if (f == STORE_DEDUPE || f == STORE_CONVERSATION) {
        /* Most lookups are of keys that are not there. */
        rocksdb_options_set_memtable_whole_key_filtering(o, 1);
        rocksdb_options_set_memtable_prefix_bloom_size_ratio(o, 0.1);
    }
    if (f == STORE_CONVERSATION) {
        rocksdb_options_set_inplace_update_support(o, 1);
        rocksdb_options_set_inplace_update_num_locks(o, STATE_LOCKS);
    }
    return hint_len(f) != 0 ? with_insert_hints(o, hint_len(f)) : o;
}

static rocksdb_options_t *make_database_options(const struct store_rocksdb *s)
{
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_create_missing_column_families(o, 1);
    rocksdb_options_set_paranoid_checks(o, 1);
    rocksdb_options_set_wal_recovery_mode(o, rocksdb_tolerate_corrupted_tail_records_recovery);
    rocksdb_options_set_max_total_wal_size(o, 4 * (uint64_t)s->write_buffer);
    rocksdb_options_set_allow_concurrent_memtable_write(o, 0); /* one writer, and states in place */
    background_set_options(s->background, o);
    rocksdb_options_set_max_open_files(o, 512);
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    rocksdb_options_set_keep_log_file_num(o, 4);
    rocksdb_options_set_info_log_level(o, 4); /* fatal: see above */
    return o;
}

static bool has_room(const struct store_rocksdb *s, uint64_t least)
{
    struct statvfs v;
    if (least == 0 || statvfs(s->directory, &v) != 0) return true;
    return (uint64_t)v.f_bavail * v.f_frsize >= least;
}

/* ---- Opening -------------------------------------------------------------- */

static bool mentions(const char *error, const char *what) { return strstr(error, what) != NULL; }

/* What an error text of RocksDB means to us. */
static enum sotto_err classify(const char *error)
{
    if (mentions(error, "No space left")) return SOTTO_ERR_FULL;
    if (mentions(error, "While lock file") || mentions(error, "lock hold by")) return SOTTO_ERR_DENIED;
    if (mentions(error, "Corruption") || mentions(error, "Invalid argument") || mentions(error, "checksum"))
        return SOTTO_ERR_CORRUPT;
    if (mentions(error, "No such file") && (mentions(error, ".sst") || mentions(error, "MANIFEST")))
        return SOTTO_ERR_CORRUPT;
    return SOTTO_ERR_IO;
}

static void explain(enum sotto_err err, const char *directory, const char *error, struct buffer *why)
{
    buffer_clear(why);
    switch (err) {
    case SOTTO_ERR_DENIED:
        buffer_printf(why, "The message store in %s is in use by another process. Stop that one first.", directory);
        break;
    case SOTTO_ERR_FULL:
        buffer_printf(why, "There is no room on the disk of %s. Free some and start again.", directory);
        break;
    case SOTTO_ERR_CORRUPT:
        buffer_printf(why,
                      "The message store in %s is damaged: %s. Nothing has been changed. Keep a copy of that "
                      "folder, then put back a backup with `sottod restore`.",
                      directory, error);
        break;
    default:
        buffer_printf(why, "The message store in %s cannot be opened: %s.", directory, error);
    }
}

/* WHOLE: no write can be torn. */
enum open_mode { OPEN_WRITE, OPEN_WRITE_WHOLE, OPEN_READ, OPEN_WRITE_WITHOUT_TAIL };

/* Opens the database and its families; *error_out is RocksDB's, to be freed. */
static void open_as(struct store_rocksdb *s, enum open_mode mode, char **error_out)
{
    rocksdb_options_t *database = make_database_options(s);
    rocksdb_options_t *options[STORE_FAMILIES];
    const rocksdb_options_t *const *families = (const rocksdb_options_t *const *)options;
    for (int f = 0; f < STORE_FAMILIES; f++) options[f] = make_family_options(s, (enum store_family)f);
    if (mode == OPEN_WRITE_WITHOUT_TAIL)
        rocksdb_options_set_wal_recovery_mode(database, rocksdb_point_in_time_recovery);
    if (mode == OPEN_READ)
        s->db = rocksdb_open_for_read_only_column_families(database, s->directory, STORE_FAMILIES, family_names,
                                                           families, s->families, 0, error_out);
    else
        s->db = rocksdb_open_column_families(database, s->directory, STORE_FAMILIES, family_names, families,
                                             s->families, error_out);
    for (int f = 0; f < STORE_FAMILIES; f++) rocksdb_options_destroy(options[f]);
    rocksdb_options_destroy(database);
    if (*error_out != NULL) s->db = NULL;
    s->read_only = mode == OPEN_READ;
}

/* Gate held exclusively, or not shared yet. */
static enum sotto_err open_database(struct store_rocksdb *s, enum open_mode mode, struct buffer *why)
{
    char *error = NULL;
    s->tail_dropped = false;
    open_as(s, mode, &error);
    if (error != NULL && mode == OPEN_WRITE && classify(error) == SOTTO_ERR_CORRUPT &&
        wal_tail_is_torn(s->directory)) {
        LOG(s->log, LOG_WARN, "store.torn_tail", LOG_S("error", error));
        free(error);
        error = NULL;
        open_as(s, OPEN_WRITE_WITHOUT_TAIL, &error);
        s->tail_dropped = true;
    }
    if (error == NULL) return SOTTO_OK;
    enum sotto_err err = classify(error);
    explain(err, s->directory, error, why);
    free(error);
    return err;
}

static void close_database(struct store_rocksdb *s)
{
    if (s->db == NULL) return;
    for (int f = 0; f < STORE_FAMILIES; f++) rocksdb_column_family_handle_destroy(s->families[f]);
    rocksdb_close(s->db);
    s->db = NULL;
}

/* Before opening, which would remove the other logs. */
static enum sotto_err check_logs(const struct store_rocksdb *s, enum open_mode *mode_out, struct buffer *why)
{
    struct buffer what;
    bool stopped;
    buffer_init(&what, 1024);
    enum sotto_err err = wal_note_check(s->directory, &stopped, &what);
    *mode_out = stopped ? OPEN_WRITE_WHOLE : OPEN_WRITE;
    buffer_append_byte(&what, 0);
    if (err != SOTTO_OK) explain(err, s->directory, (const char *)what.data, why);
    buffer_deinit(&what);
    return err;
}

/* A new store gets the version of our formats; an old one must have it. */
static enum sotto_err check_format(struct store_rocksdb *s, struct buffer *why)
{
    struct buffer value;
    buffer_init(&value, 64);
    uint8_t version[4] = {0, 0, 0, STORE_FORMAT_VERSION};
    enum sotto_err err = store_get(&s->base, STORE_META, SLICE_LIT("format"), &value);
    if (err == SOTTO_ERR_NOT_FOUND) {
        struct store_batch *b = store_batch_create(&s->base);
        store_put(b, STORE_META, SLICE_LIT("format"), slice_of(version, sizeof(version)));
        err = store_commit(&s->base, b);
        store_batch_destroy(&b);
        if (err != SOTTO_OK) explain(err, s->directory, "the first write failed", why);
    } else if (err == SOTTO_OK && !slice_eq(buffer_slice(&value), slice_of(version, sizeof(version)))) {
        buffer_clear(why);
        buffer_printf(why, "The message store in %s was written by another version of sottod. Use that version, "
                           "or a newer one.", s->directory);
        err = SOTTO_ERR_CORRUPT;
    } else if (err != SOTTO_OK) {
        explain(err, s->directory, "the format cannot be read", why);
    }
    buffer_deinit(&value);
    return err;
}

/* Not a commit: room that is kept for RocksDB is for this, too. */
static enum sotto_err forget_epoch(struct store_rocksdb *s, struct buffer *why)
{
    char *error = NULL;
    rocksdb_delete_cf(s->db, s->sync_write, s->families[STORE_META], "epoch", strlen("epoch"), &error);
    if (error == NULL) return SOTTO_OK;
    enum sotto_err err = classify(error);
    explain(err, s->directory, error, why);
    free(error);
    return err;
}

static struct store_rocksdb *make(const struct store_rocksdb_options *options)
{
    struct store_rocksdb *s = sotto_zalloc(sizeof(*s));
    s->base.head.ops = &rocksdb_ops;
    s->directory = strdup(options->directory);
    SOTTO_ASSERT(s->directory != NULL);
    s->write_buffer = options->write_buffer_bytes ? options->write_buffer_bytes : 64u << 20;
    for (int f = 0; f < STORE_FAMILIES; f++)
        s->buffer_bytes[f] = f == STORE_MESSAGE ? s->write_buffer : s->write_buffer / 4;
    s->reserve = options->reserve_bytes;
    s->log = options->log;
    s->cache = rocksdb_cache_create_lru(options->block_cache_bytes ? options->block_cache_bytes : 64u << 20);
    s->sync_write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(s->sync_write, 1);
    s->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_total_order_seek(s->read, 1);
    SOTTO_ASSERT(pthread_rwlock_init(&s->gate, NULL) == 0);
    s->ahead = wal_ahead_create(s->directory);
    s->background = background_create();
    compactor_start(s);
    return s;
}

enum sotto_err store_rocksdb_open(const struct store_rocksdb_options *options, struct buffer *why_out,
                                  struct store **store_out)
{
    if (mkdir(options->directory, 0700) != 0 && errno != EEXIST) {
        buffer_clear(why_out);
        buffer_printf(why_out, "The folder %s cannot be made: %s.", options->directory, strerror(errno));
        return SOTTO_ERR_IO;
    }
    struct store_rocksdb *s = make(options);
    struct store *store = &s->base;
    enum sotto_err err = SOTTO_OK;
    enum open_mode mode = OPEN_WRITE;
    if (!has_room(s, OPEN_ROOM_BYTES)) {
        err = SOTTO_ERR_FULL;
        explain(err, s->directory, "", why_out);
    }
    if (err == SOTTO_OK) err = check_logs(s, &mode, why_out);
    if (err == SOTTO_OK) err = open_database(s, mode, why_out);
    if (err == SOTTO_OK) err = check_format(s, why_out);
    if (err == SOTTO_OK && s->tail_dropped) err = forget_epoch(s, why_out);
    if (err != SOTTO_OK) {
        store_close(&store);
        return err;
    }
    *store_out = store;
    return SOTTO_OK;
}

static void rocksdb_store_close(struct store *store)
{
    struct store_rocksdb *s = rocksdb_of(store);
    compactor_stop(s);
    bool clean = s->db != NULL && !s->read_only;
    close_database(s);
    if (clean) wal_note_write(s->directory);
    wal_ahead_destroy(&s->ahead);
    background_destroy(&s->background);
    rocksdb_writeoptions_destroy(s->sync_write);
    rocksdb_readoptions_destroy(s->read);
    rocksdb_cache_destroy(s->cache);
    pthread_rwlock_destroy(&s->gate);
    free(s->directory);
    free(s);
}

/* ---- Opening again ---------------------------------------------------------- */

/* After a failed write the database refuses everything until it is opened
 * again, and only opening it tells whether what was uncertain is there. */
static void reopen(struct store_rocksdb *s)
{
    struct buffer why;
    buffer_init(&why, 4096);
    close_database(s);
    atomic_store(&s->compact_cut, false);
    enum sotto_err err = SOTTO_ERR_FULL;
    if (has_room(s, OPEN_ROOM_BYTES)) err = open_database(s, OPEN_WRITE, &why);
    if (err != SOTTO_OK) err = open_database(s, OPEN_READ, &why);
    s->opened_ms = clock_monotonic_ms(clock_system());
    if (err == SOTTO_OK && !s->read_only) s->unsettled = false;
    LOG(s->log, err == SOTTO_OK ? LOG_WARN : LOG_ERROR, "store.reopen", LOG_S("result", sotto_err_name(err)),
        LOG_S("for", s->read_only ? "reading" : "writing"), LOG_SLICE("why", buffer_slice(&why)));
    buffer_deinit(&why);
}

/* Tries to leave the state that a failure led to. */
static void recover(struct store_rocksdb *s)
{
    pthread_rwlock_wrlock(&s->gate);
    bool better = s->db == NULL || (s->read_only && has_room(s, OPEN_ROOM_BYTES));
    if (better && clock_monotonic_ms(clock_system()) >= s->opened_ms + REOPEN_INTERVAL_MS) reopen(s);
    pthread_rwlock_unlock(&s->gate);
}

/* Whoever holds the gate shared has an open database, so that waiting for the
 * gate exclusively, when it is closed, is never waiting for oneself. */
bool gate_enter(struct store_rocksdb *s)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        pthread_rwlock_rdlock(&s->gate);
        if (s->db != NULL) {
            /* Of this thread: else RocksDB counts every comparison of keys for
             * nobody, which is a tenth of an insertion. */
            rocksdb_set_perf_level(rocksdb_disable);
            return true;
        }
        pthread_rwlock_unlock(&s->gate);
        if (attempt == 0) recover(s);
    }
    return false;
}

void gate_leave(struct store_rocksdb *s) { pthread_rwlock_unlock(&s->gate); }

/* Takes the gate shared where *hindrance, one of the two that opening for writing
 * removes, is gone. Errors: IO the database is closed, FULL the hindrance is still
 * there. The caller may hold an iterator, and only that: while the store is unsettled
 * there is none. */
static enum sotto_err gate_enter_without(struct store_rocksdb *s, const bool *hindrance)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        if (!gate_enter(s)) return SOTTO_ERR_IO;
        if (!*hindrance) return SOTTO_OK;
        gate_leave(s);
        if (attempt == 0) recover(s);
    }
    return SOTTO_ERR_FULL;
}

/* ---- Reading -------------------------------------------------------------- */

static enum sotto_err rocksdb_store_get(struct store *store, enum store_family f, struct slice key,
                                        struct buffer *value)
{
    struct store_rocksdb *s = rocksdb_of(store);
    buffer_clear(value);
    if (gate_enter_without(s, &s->unsettled) != SOTTO_OK) return SOTTO_ERR_IO;
    char *error = NULL;
    rocksdb_pinnableslice_t *pinned =
        rocksdb_get_pinned_cf(s->db, s->read, s->families[f], (const char *)key.data, key.len, &error);
    enum sotto_err err = SOTTO_OK;
    if (error != NULL) {
        err = classify(error);
        if (err == SOTTO_ERR_FULL) err = SOTTO_ERR_IO;
        LOG(s->log, LOG_ERROR, "store.get", LOG_S("family", family_names[f]), LOG_S("error", error));
        free(error);
    } else if (pinned == NULL) {
        err = SOTTO_ERR_NOT_FOUND;
    } else {
        size_t len;
        const char *data = rocksdb_pinnableslice_value(pinned, &len);
        buffer_append(value, data, len);
        if (value->overflow) err = SOTTO_ERR_CORRUPT;
    }
    if (pinned != NULL) rocksdb_pinnableslice_destroy(pinned);
    gate_leave(s);
    return err;
}

struct rocksdb_iter {
    struct store_head head;
    struct store_rocksdb *store;
    rocksdb_iterator_t *it; /* NULL: nothing can be read now, and the gate is not held */
};

static struct store_iter *rocksdb_store_iter_create(struct store *store, enum store_family f)
{
    struct store_rocksdb *s = rocksdb_of(store);
    struct rocksdb_iter *it = sotto_zalloc(sizeof(*it));
    it->head.ops = &rocksdb_ops;
    it->store = s;
    if (gate_enter_without(s, &s->unsettled) == SOTTO_OK)
        it->it = rocksdb_create_iterator_cf(s->db, s->read, s->families[f]);
    return (struct store_iter *)it;
}

static struct rocksdb_iter *iter_of(const struct store_iter *it) { return (struct rocksdb_iter *)(uintptr_t)it; }

static void rocksdb_store_iter_destroy(struct store_iter *iter)
{
    struct rocksdb_iter *it = iter_of(iter);
    if (it->it != NULL) {
        rocksdb_iter_destroy(it->it);
        gate_leave(it->store);
    }
    free(it);
}

static void rocksdb_store_iter_seek(struct store_iter *it, struct slice key)
{
    if (iter_of(it)->it != NULL) rocksdb_iter_seek(iter_of(it)->it, (const char *)key.data, key.len);
}

static void rocksdb_store_iter_seek_last(struct store_iter *it, struct slice key)
{
    if (iter_of(it)->it != NULL) rocksdb_iter_seek_for_prev(iter_of(it)->it, (const char *)key.data, key.len);
}

static bool rocksdb_store_iter_valid(const struct store_iter *it)
{
    return iter_of(it)->it != NULL && rocksdb_iter_valid(iter_of(it)->it);
}

static void rocksdb_store_iter_next(struct store_iter *it) { rocksdb_iter_next(iter_of(it)->it); }
static void rocksdb_store_iter_prev(struct store_iter *it) { rocksdb_iter_prev(iter_of(it)->it); }

static struct slice rocksdb_store_iter_key(const struct store_iter *it)
{
    size_t len;
    const char *data = rocksdb_iter_key(iter_of(it)->it, &len);
    return slice_of(data, len);
}

static struct slice rocksdb_store_iter_value(const struct store_iter *it)
{
    size_t len;
    const char *data = rocksdb_iter_value(iter_of(it)->it, &len);
    return slice_of(data, len);
}

static enum sotto_err rocksdb_store_iter_error(const struct store_iter *iter)
{
    struct rocksdb_iter *it = iter_of(iter);
    if (it->it == NULL) return SOTTO_ERR_IO;
    char *error = NULL;
    rocksdb_iter_get_error(it->it, &error);
    if (error == NULL) return SOTTO_OK;
    enum sotto_err err = classify(error);
    LOG(it->store->log, LOG_ERROR, "store.iterate", LOG_S("error", error));
    free(error);
    return err == SOTTO_ERR_CORRUPT ? err : SOTTO_ERR_IO;
}

/* ---- Writing -------------------------------------------------------------- */

struct rocksdb_batch {
    struct store_head head;
    struct store_rocksdb *store;
    rocksdb_writebatch_t *batch;
    bool frees;
    struct buffer join; /* where two-piece values become one */
};

static struct rocksdb_batch *batch_of(const struct store_batch *b) { return (struct rocksdb_batch *)(uintptr_t)b; }

static struct store_batch *rocksdb_store_batch_create(struct store *store)
{
    struct rocksdb_batch *b = sotto_zalloc(sizeof(*b));
    b->head.ops = &rocksdb_ops;
    b->store = rocksdb_of(store);
    b->batch = rocksdb_writebatch_create();
    buffer_init(&b->join, 16u << 20);
    return (struct store_batch *)b;
}

static void rocksdb_store_batch_destroy(struct store_batch *batch)
{
    struct rocksdb_batch *b = batch_of(batch);
    rocksdb_writebatch_destroy(b->batch);
    buffer_deinit(&b->join);
    free(b);
}

static void rocksdb_store_batch_clear(struct store_batch *b)
{
    rocksdb_writebatch_clear(batch_of(b)->batch);
    batch_of(b)->frees = false;
}

static void rocksdb_store_put2(struct store_batch *batch, enum store_family f, struct slice key, struct slice head,
                               struct slice tail)
{
    struct rocksdb_batch *b = batch_of(batch);
    struct slice value = head;
    if (tail.len != 0) {
        buffer_clear(&b->join);
        buffer_append_slice(&b->join, head);
        buffer_append_slice(&b->join, tail);
        SOTTO_ASSERT(!b->join.overflow);
        value = buffer_slice(&b->join);
    }
    rocksdb_writebatch_put_cf(b->batch, b->store->families[f], (const char *)key.data, key.len,
                              (const char *)value.data, value.len);
}

static void rocksdb_store_delete(struct store_batch *batch, enum store_family f, struct slice key)
{
    struct rocksdb_batch *b = batch_of(batch);
    rocksdb_writebatch_delete_cf(b->batch, b->store->families[f], (const char *)key.data, key.len);
}

static void rocksdb_store_delete_range(struct store_batch *batch, enum store_family f, struct slice from,
                                       struct slice to)
{
    /* The memory table keeps deleted ranges in a list of their own, but up to RocksDB 9.1 its
     * memory of places (hint_len) for both: a range would then be written into the list of rows,
     * and the next row into that of ranges, where nobody finds it. */
    SOTTO_ASSERT(hint_len(f) == 0 || from.len < hint_len(f));
    struct rocksdb_batch *b = batch_of(batch);
    rocksdb_writebatch_delete_range_cf(b->batch, b->store->families[f], (const char *)from.data, from.len,
                                       (const char *)to.data, to.len);
}

static size_t rocksdb_store_batch_count(const struct store_batch *b)
{
    return (size_t)rocksdb_writebatch_count(batch_of(b)->batch);
}

static void rocksdb_store_batch_frees(struct store_batch *b) { batch_of(b)->frees = true; }

/* Takes the gate shared with the database open for writing. */
static enum sotto_err enter_for_writing(struct store_rocksdb *s, bool frees)
{
    uint64_t least = frees && s->reserve > FREEING_ROOM_BYTES ? FREEING_ROOM_BYTES : s->reserve;
    return has_room(s, least) ? gate_enter_without(s, &s->read_only) : SOTTO_ERR_FULL;
}

static enum sotto_err rocksdb_store_commit(struct store *store, struct store_batch *batch)
{
    struct store_rocksdb *s = rocksdb_of(store);
    enum sotto_err err = enter_for_writing(s, batch_of(batch)->frees);
    if (err != SOTTO_OK) return err;
    uint64_t before = rocksdb_get_latest_sequence_number(s->db);
    char *error = NULL;
    size_t len;
    (void)rocksdb_writebatch_data(batch_of(batch)->batch, &len);
    wal_ahead_used(s->ahead, len);
    background_committed(s->background, len);
    rocksdb_write(s->db, s->sync_write, batch_of(batch)->batch, &error);
    if (error != NULL) {
        atomic_store(&s->compact_cut, true);
        rocksdb_disable_manual_compaction(s->db); /* it would hold the gate */
    }
    gate_leave(s);
    if (error == NULL) return SOTTO_OK;
    err = classify(error) == SOTTO_ERR_FULL ? SOTTO_ERR_FULL : SOTTO_ERR_IO;
    LOG(s->log, LOG_ERROR, "store.commit", LOG_S("error", error));
    free(error);
    pthread_rwlock_wrlock(&s->gate);
    reopen(s);
    /* Each row takes a number: none taken, nothing written. */
    if (s->db == NULL || rocksdb_get_latest_sequence_number(s->db) != before) err = SOTTO_ERR_UNCERTAIN;
    s->unsettled = err == SOTTO_ERR_UNCERTAIN && (s->db == NULL || s->read_only);
    pthread_rwlock_unlock(&s->gate);
    return err;
}

static void rocksdb_store_rest(struct store *store)
{
    struct store_rocksdb *s = rocksdb_of(store);
    if (!gate_enter(s)) return;
    if (!s->read_only && has_room(s, s->reserve)) wal_ahead_fill(s->ahead);
    if (!s->read_only)
        background_adjust(s->background, s->db, s->families, s->buffer_bytes, STORE_FAMILIES,
                          clock_monotonic_ms(clock_system()));
    gate_leave(s);
}

/* ---- Backup --------------------------------------------------------------- */

enum { FLUSH_ALWAYS = 0 }; /* whatever the size of the logs */

/* Filling is paused; zeros: there may be some. */
static void copy_database(struct store_rocksdb *s, const char *directory, bool zeros, char **error_out)
{
    rocksdb_checkpoint_t *checkpoint = NULL;
    if (zeros) rocksdb_delete_cf(s->db, s->sync_write, s->families[STORE_META], "", 0, error_out);
    if (*error_out == NULL) checkpoint = rocksdb_checkpoint_object_create(s->db, error_out);
    if (*error_out == NULL) rocksdb_checkpoint_create(checkpoint, directory, FLUSH_ALWAYS, error_out);
    if (checkpoint != NULL) rocksdb_checkpoint_object_destroy(checkpoint);
}

static enum sotto_err rocksdb_store_backup(struct store *store, const char *directory, struct buffer *why_out)
{
    struct store_rocksdb *s = rocksdb_of(store);
    char *error = NULL;
    enum sotto_err err = SOTTO_OK;
    if (!gate_enter(s)) {
        buffer_clear(why_out);
        buffer_append_str(why_out, "The message store is closed after an error; see the log.");
        return SOTTO_ERR_IO;
    }
    bool zeros = wal_ahead_pause(s->ahead);
    copy_database(s, directory, zeros, &error);
    wal_ahead_resume(s->ahead);
    gate_leave(s);
    if (error != NULL) {
        err = classify(error) == SOTTO_ERR_FULL ? SOTTO_ERR_FULL : SOTTO_ERR_IO;
        buffer_clear(why_out);
        buffer_printf(why_out, "The backup in %s failed: %s.", directory, error);
        free(error);
    }
    return err;
}

static const struct store_ops rocksdb_ops = {
    .get = rocksdb_store_get,
    .batch_create = rocksdb_store_batch_create,
    .batch_destroy = rocksdb_store_batch_destroy,
    .batch_clear = rocksdb_store_batch_clear,
    .put2 = rocksdb_store_put2,
    .del = rocksdb_store_delete,
    .delete_range = rocksdb_store_delete_range,
    .batch_count = rocksdb_store_batch_count,
    .batch_frees = rocksdb_store_batch_frees,
    .commit = rocksdb_store_commit,
    .rest = rocksdb_store_rest,
    .iter_create = rocksdb_store_iter_create,
    .iter_destroy = rocksdb_store_iter_destroy,
    .iter_seek = rocksdb_store_iter_seek,
    .iter_seek_last = rocksdb_store_iter_seek_last,
    .iter_valid = rocksdb_store_iter_valid,
    .iter_next = rocksdb_store_iter_next,
    .iter_prev = rocksdb_store_iter_prev,
    .iter_key = rocksdb_store_iter_key,
    .iter_value = rocksdb_store_iter_value,
    .iter_error = rocksdb_store_iter_error,
    .compact = compactor_request,
    .compacting = compactor_busy,
    .backup = rocksdb_store_backup,
    .close = rocksdb_store_close,
};
