/* The embedded engine: one writer thread, group commit.
 *
 * See engine.h for the design. INVARIANTS.
 *  - Nothing is answered or published before the sync that covers it.
 *  - A cached state equals the store's, but for those in `dirty`, which equal
 *    the store's plus the batch in progress. After a failed commit those are
 *    dropped and read again, together with the position: only the store knows
 *    whether an uncertain write is there.
 *  - Positions rise by one for each record that changes something.
 *  - The events of an uncertain commit are held until the position that is read
 *    again tells whether it is there; then they are published or dropped, before
 *    anything newer. Else a device that is online would never hear of them.
 *  - A batch that fails answers every submission in it with its problem: refusals
 *    too, which may rest on what was not written.
 *
 * PACE. A commit costs two visits to the disk, wake-ups of two threads and a turn of
 * the loop, however little is in it. So when the last one served several people,
 * the next waits until PACE_US after its beginning, and gathers. A person alone, and
 * an engine whose disk takes longer than that, never wait. While this process has all
 * processors busy, waiting costs nobody time, since everything waits for them: then it
 * is PACE_BUSY_US.
 *
 * ERASING. What expired or is outdated is on disk until the store has been compacted. The
 * row "erased" says so, from the commit that removes on until compaction was successful:
 * then one that was not finished, or not begun, is asked for at the next start.
 *
 * ORDER. Submissions are applied in the order taken, answered in that order,
 * and their events published in that order, before the next batch begins.
 */
#include "engine/engine_private.h"

#include <stdlib.h>
#include <time.h>

#include "base/limits.h"
#include "base/sched.h"

enum { PACE_US = 500, PACE_BUSY_US = 1500 };
/* Busy from one share of the processors on until below another, looked at so often. */
enum { BUSY_PERCENT = 95, BUSY_NO_MORE_PERCENT = 85, LOAD_WINDOW_US = 200 * 1000 };
enum { STATE_ROW_STEP = 32 };
/* Housekeeping that is due may take this much of one turn. */
enum { EXPIRE_PER_TURN = 512, SWEEP_CONVERSATIONS_PER_TURN = 64, SWEEP_ROWS_PER_TURN = 2048 };
/* After a round through all conversations that took t, the next begins this many times t
 * later at the earliest: looking takes a bounded part of the writer's time. */
enum { SWEEP_REST = 20 };
/* Rows that could not be expired are passed by, and tried again after this long. */
enum { EXPIRE_RETRY_MS = 60 * 1000 };
/* Compaction is asked for at most this often: it rewrites files. */
enum { COMPACT_INTERVAL_MS = 10 * 60 * 1000 };

/* ---- Position and epoch ---------------------------------------------------- */

static enum sotto_err read_number(struct store *store, const char *name, size_t len, uint64_t *out)
{
    struct buffer value;
    buffer_init(&value, 64);
    enum sotto_err err = store_get(store, STORE_META, slice_str(name), &value);
    if (err == SOTTO_OK && value.len != len) err = SOTTO_ERR_CORRUPT;
    if (err == SOTTO_OK) {
        *out = 0;
        for (size_t i = 0; i < len; i++) *out = *out << 8 | value.data[i];
    }
    buffer_deinit(&value);
    return err;
}

static void put_position(struct engine *e, uint64_t position)
{
    uint8_t bytes[8];
    store_be64(bytes, position);
    store_put(e->batch, STORE_META, SLICE_LIT("position"), slice_of(bytes, 8));
}

enum sotto_err engine_renew_epoch(struct store *store, const struct random_source *random)
{
    uint8_t epoch[4];
    random_fill(random, epoch, sizeof(epoch));
    struct store_batch *b = store_batch_create(store);
    store_put(b, STORE_META, SLICE_LIT("epoch"), slice_of(epoch, sizeof(epoch)));
    enum sotto_err err = store_commit(store, b);
    store_batch_destroy(&b);
    return err;
}

static void publish(struct engine *e, struct event **events, size_t *count, bool committed)
{
    if (committed && *count != 0 && e->options.publish != NULL)
        e->options.publish(e->options.publish_ctx, events, *count);
    for (size_t i = 0; i < *count; i++) event_unref(events[i], NULL);
    *count = 0;
}

static enum sotto_err reload_position(struct engine *e)
{
    uint64_t position = 0;
    enum sotto_err err = read_number(e->options.store, "position", 8, &position);
    if (err == SOTTO_ERR_NOT_FOUND) err = SOTTO_OK;
    if (err != SOTTO_OK) return err;
    atomic_store(&e->position, position);
    e->next_position = position + 1;
    e->reload = false;
    publish(e, e->held, &e->held_count, position >= e->held_position);
    return SOTTO_OK;
}

/* Keeps the events of the batch in progress until reload_position. */
static void hold_events(struct engine *e)
{
    SOTTO_ASSERT(e->held_count == 0);
    struct event **events = e->held;
    size_t size = e->held_size;
    e->held = e->events, e->held_count = e->events_count, e->held_size = e->events_size;
    e->events = events, e->events_count = 0, e->events_size = size;
    e->held_position = e->next_position - 1;
}

static enum sotto_err read_epoch(struct engine *e)
{
    uint64_t epoch = 0;
    enum sotto_err err = read_number(e->options.store, "epoch", 4, &epoch);
    if (err == SOTTO_ERR_NOT_FOUND) {
        err = engine_renew_epoch(e->options.store, e->options.random);
        if (err == SOTTO_OK) err = read_number(e->options.store, "epoch", 4, &epoch);
    }
    e->epoch = (uint32_t)epoch;
    return err;
}

/* Whether what was removed before this start may still be on disk. */
static enum sotto_err read_erased(struct engine *e)
{
    uint64_t nothing;
    enum sotto_err err = read_number(e->options.store, "erased", 0, &nothing);
    e->erased = e->erased_noted = err == SOTTO_OK;
    return err == SOTTO_ERR_NOT_FOUND ? SOTTO_OK : err;
}

/* ---- Life ------------------------------------------------------------------ */

static void register_metrics(struct engine *e)
{
    static const uint64_t sizes[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096};
    struct metrics *m = e->options.metrics;
    static const char records[] = "sotto_engine_records_total";
    static const char help[] = "Records by outcome.";
    e->batch_records = metrics_histogram(m, "sotto_engine_batch_records", "", "Records in one commit.", sizes,
                                         sizeof(sizes) / sizeof(sizes[0]), 1);
    e->sync_time = metrics_latency(m, "sotto_engine_sync_seconds", "", "Time of one commit to disk.");
    e->stored = metrics_counter(m, records, "outcome=\"stored\"", help);
    e->repeated = metrics_counter(m, records, "outcome=\"repeated\"", help);
    e->refused = metrics_counter(m, records, "outcome=\"refused\"", help);
    e->watermarks = metrics_counter(m, records, "outcome=\"watermark\"", help);
    e->expired = metrics_counter(m, records, "outcome=\"expired\"", help);
    e->purged = metrics_counter(m, records, "outcome=\"purged\"", help);
    e->unreadable = metrics_counter(m, "sotto_engine_unreadable_total", "",
                                    "Rows or blocks that housekeeping could not read.");
    e->failures = metrics_counter(m, "sotto_engine_commit_failures_total", "", "Commits that failed.");
}

enum sotto_err engine_create(const struct engine_options *options, struct buffer *why_out,
                             struct engine **engine_out)
{
    struct engine *e = sotto_zalloc(sizeof(*e));
    e->options = *options;
    if (e->options.cache_conversations == 0) e->options.cache_conversations = 65536;
    if (e->options.housekeeping_ms == 0) e->options.housekeeping_ms = 1000;
    buffer_init(&e->row, ROW_BYTES_MAX);
    buffer_init(&e->value, ROW_BYTES_MAX);
    map_init(&e->cache);
    map_init(&e->fresh);
    enum sotto_err err = reload_position(e);
    if (err == SOTTO_OK) err = read_epoch(e);
    if (err == SOTTO_OK) err = read_erased(e);
    if (err == SOTTO_OK) err = mailbox_init(&e->inbox, SOTTO_ENGINE_QUEUE_MAX);
    if (err != SOTTO_OK) {
        buffer_clear(why_out);
        buffer_printf(why_out, "The message store cannot be used: %s.", sotto_err_name(err));
        buffer_deinit(&e->row);
        buffer_deinit(&e->value);
        free(e);
        return err;
    }
    register_metrics(e);
    e->batch = store_batch_create(options->store);
    e->fresh_keys = sotto_alloc(SOTTO_ENGINE_BATCH_MAX * sizeof(*e->fresh_keys));
    e->taken = sotto_alloc(SOTTO_ENGINE_BATCH_MAX * sizeof(*e->taken));
    *engine_out = e;
    return SOTTO_OK;
}

/* The writer's thread only; not what is decided, but when. */
struct pace {
    struct sched_load load;
    uint64_t looked_us;
    bool busy;
};

static void keep_pace(const struct engine *e, struct pace *p, uint64_t began_us)
{
    uint64_t now = clock_monotonic_us(e->options.clock);
    if (now >= p->looked_us + LOAD_WINDOW_US) {
        p->looked_us = now;
        p->busy = sched_load_percent(&p->load) >= (p->busy ? BUSY_NO_MORE_PERCENT : BUSY_PERCENT);
    }
    uint64_t until = began_us + (p->busy ? PACE_BUSY_US : PACE_US);
    if (now < began_us || now >= until) return;
    struct timespec rest = {.tv_nsec = (long)(until - now) * 1000};
    (void)nanosleep(&rest, NULL);
}

static void *engine_run(void *arg)
{
    struct engine *e = arg;
    struct pace pace = {.looked_us = clock_monotonic_us(e->options.clock)};
    sched_load_start(&pace.load);
    sched_prompt();
    bool more = false;
    while (!atomic_load(&e->stopping)) {
        uint64_t began_us = clock_monotonic_us(e->options.clock), now = began_us / 1000;
        if (now >= e->housekeep_at_ms || more) {
            more = engine_housekeep(e);
            e->housekeep_at_ms = now + e->options.housekeeping_ms;
        }
        size_t handled = engine_turn(e);
        if (handled != 0) store_rest(e->options.store);
        if (handled > 1) keep_pace(e, &pace, began_us);
        if (handled == 0 && !more) mailbox_wait(&e->inbox, (int)e->options.housekeeping_ms);
    }
    while (engine_turn(e) != 0) {}
    return NULL;
}

void engine_start(struct engine *e)
{
    SOTTO_ASSERT(pthread_create(&e->thread, NULL, engine_run, e) == 0);
    pthread_setname_np(e->thread, "writer");
    e->started = true;
}

void engine_stop(struct engine *e)
{
    atomic_store(&e->stopping, true);
    if (!e->started) return;
    mailbox_wake(&e->inbox);
    pthread_join(e->thread, NULL);
    e->started = false;
}

void engine_destroy(struct engine **engine)
{
    struct engine *e = *engine;
    if (e == NULL) return;
    engine_stop(e);
    while (engine_turn(e) != 0) {}
    mailbox_deinit(&e->inbox);
    cache_clear(e);
    store_batch_destroy(&e->batch);
    map_deinit(&e->cache);
    map_deinit(&e->fresh);
    buffer_deinit(&e->row);
    buffer_deinit(&e->value);
    free(e->fresh_keys);
    free(e->taken);
    publish(e, e->held, &e->held_count, false);
    free(e->held);
    free(e->events);
    free(e);
    *engine = NULL;
}

/* ---- Commit ---------------------------------------------------------------- */

/* A row must not be shorter than the one it replaces (store.h); and a little room
 * lets numbers grow without a longer one. */
static void pad_row(struct buffer *row, size_t *row_len)
{
    size_t want = (row->len + STATE_ROW_STEP - 1) / STATE_ROW_STEP * STATE_ROW_STEP;
    if (want < *row_len) want = *row_len;
    uint8_t *rest = buffer_reserve(row, want - row->len);
    if (rest == NULL) return; /* over its cap, which the caller refuses */
    memset(rest, 0, want - row->len);
    row->len = want;
    *row_len = want;
}

static void put_states(struct engine *e)
{
    for (struct cached *c = e->dirty; c != NULL; c = c->next_dirty) {
        struct key key = key_conversation(c->state.id);
        buffer_clear(&e->row);
        conversation_encode(&c->state, &e->row);
        pad_row(&e->row, &c->row_len);
        SOTTO_ASSERT(!e->row.overflow);
        store_put(e->batch, STORE_CONVERSATION, key_slice(&key), buffer_slice(&e->row));
    }
}

static void settle_states(struct engine *e)
{
    struct cached *c = e->dirty;
    while (c != NULL) {
        struct cached *next = c->next_dirty;
        c->dirty = false;
        c->next_dirty = NULL;
        c = next;
    }
    e->dirty = NULL;
}

static enum problem problem_of_commit(enum sotto_err err)
{
    switch (err) {
    case SOTTO_ERR_FULL: return PROBLEM_STORAGE_FULL;
    case SOTTO_ERR_UNCERTAIN: return PROBLEM_UNCERTAIN;
    default: return PROBLEM_BUSY;
    }
}

static void reset_batch(struct engine *e)
{
    store_batch_clear(e->batch);
    for (size_t i = 0; i < e->fresh_count; i++) e->fresh_keys[i].prior.found = false;
    map_deinit(&e->fresh);
    map_init(&e->fresh);
    e->fresh_count = 0;
    e->dirty_bytes = 0;
}

/* Nothing of the batch in progress counts, or nobody knows. */
static void drop_batch(struct engine *e, enum sotto_err err)
{
    counter_add(e->failures, 1);
    LOG(e->options.log, LOG_ERROR, "engine.commit", LOG_S("error", sotto_err_name(err)));
    cache_drop_dirty(e);
    reset_batch(e);
    if (err == SOTTO_ERR_UNCERTAIN) hold_events(e);
    e->reload = true;
    (void)!reload_position(e); /* else at the next turn */
}

/* Writes the batch in progress, if there is anything in it. False: nothing of
 * it counts, and *problem_out says what to answer. */
bool engine_commit(struct engine *e, enum problem *problem_out)
{
    enum sotto_err err = SOTTO_OK;
    if (e->dirty != NULL) {
        put_states(e);
        put_position(e, e->next_position - 1);
        uint64_t before = clock_monotonic_us(e->options.clock);
        err = store_commit(e->options.store, e->batch);
        uint64_t now = clock_monotonic_us(e->options.clock);
        histogram_observe(e->sync_time, now - before);
        for (size_t i = 0; i < e->events_count; i++) e->events[i]->committed_us = now;
    }
    if (err == SOTTO_OK) {
        /* Without rows next_position may still be that of a batch that failed. */
        if (e->dirty != NULL) atomic_store(&e->position, e->next_position - 1);
        settle_states(e);
        reset_batch(e);
    } else {
        *problem_out = problem_of_commit(err);
        drop_batch(e, err);
    }
    return err == SOTTO_OK;
}

/* ---- Turns ------------------------------------------------------------------ */

/* The submitters wake up when everything of the batch has been posted, events too: else
 * each would run for its first answer, and again for the next. */
static void wake_submitters(struct engine *e)
{
    for (size_t i = 0; i < e->asleep_count; i++) mailbox_wake(e->asleep[i]);
    e->asleep_count = 0;
}

static void answer(struct engine *e, struct submission *s)
{
    struct mailbox *to = s->reply_to;
    if (to == NULL) {
        submission_destroy(s, NULL);
        return;
    }
    if (!mailbox_post_always_quietly(to, &s->mail)) return;
    e->asleep[e->asleep_count++] = to;
    if (e->asleep_count == ENGINE_ASLEEP_MAX) wake_submitters(e);
}

static void finish_batch(struct engine *e)
{
    enum problem problem = PROBLEM_NONE;
    bool committed = engine_commit(e, &problem);
    /* The events' references to the submissions' bytes end with publish; the
     * submissions hold their own. */
    for (size_t i = 0; i < e->taken_count; i++) {
        struct submission *s = e->taken[i];
        if (!committed) {
            s->answer = (struct applied){.problem = problem};
            s->position = 0;
        }
        answer(e, s);
    }
    e->taken_count = 0;
    publish(e, e->events, &e->events_count, committed);
    wake_submitters(e);
    cache_trim(e);
}

static void refuse(struct engine *e, struct submission *s, enum problem problem)
{
    s->answer = (struct applied){.problem = problem};
    answer(e, s);
}

size_t engine_turn(struct engine *e)
{
    size_t handled = 0, bytes = 0;
    if (e->pending == NULL) e->pending = mailbox_take(&e->inbox);
    if (e->pending == NULL) return 0;
    bool usable = !e->reload || reload_position(e) == SOTTO_OK;
    while (e->pending != NULL && handled < SOTTO_ENGINE_BATCH_MAX &&
           bytes + e->dirty_bytes < SOTTO_ENGINE_BATCH_BYTES_MAX) {
        struct submission *s = (struct submission *)(void *)e->pending;
        e->pending = e->pending->next;
        prefetch(e->pending, sizeof(*s));
        handled++;
        bytes += s->encoded.len;
        atomic_fetch_sub_explicit(&e->queued_bytes, s->encoded.len, memory_order_relaxed);
        if (!usable) {
            refuse(e, s, PROBLEM_BUSY);
            continue;
        }
        engine_apply(e, s);
        e->taken[e->taken_count++] = s;
    }
    histogram_observe(e->batch_records, handled);
    finish_batch(e);
    return handled;
}

bool engine_submit_quietly(struct engine *e, struct submission *s, bool *asleep_out)
{
    if (atomic_load_explicit(&e->stopping, memory_order_relaxed)) return false;
    size_t len = s->encoded.len; /* once posted it may be gone */
    size_t before = atomic_fetch_add_explicit(&e->queued_bytes, len, memory_order_relaxed);
    if (before + len <= ENGINE_QUEUE_BYTES_MAX && mailbox_post_quietly(&e->inbox, &s->mail, asleep_out))
        return true;
    atomic_fetch_sub_explicit(&e->queued_bytes, len, memory_order_relaxed);
    return false;
}

void engine_wake(struct engine *e) { mailbox_wake(&e->inbox); }

bool engine_submit(struct engine *e, struct submission *s)
{
    bool asleep;
    if (!engine_submit_quietly(e, s, &asleep)) return false;
    if (asleep) engine_wake(e);
    return true;
}

uint64_t engine_position(const struct engine *e) { return atomic_load(&((struct engine *)(uintptr_t)e)->position); }
uint32_t engine_epoch(const struct engine *e) { return e->epoch; }
bool engine_draining(const struct engine *e) { return atomic_load(&((struct engine *)(uintptr_t)e)->stopping); }
size_t engine_queue_depth(const struct engine *e)
{
    return atomic_load_explicit(&((struct engine *)(uintptr_t)e)->inbox.count, memory_order_relaxed);
}
struct store *engine_store(const struct engine *e) { return e->options.store; }

/* ---- Housekeeping ------------------------------------------------------------ */

static void found_unreadable(struct engine *e, const char *what, enum sotto_err err, size_t count)
{
    counter_add(e->unreadable, count);
    LOG(e->options.log, LOG_ERROR, "engine.unreadable", LOG_S("what", what), LOG_S("error", sotto_err_name(err)),
        LOG_U("count", count));
}

/* By an iterator of its own: RocksDB's may go on to fail where there is nothing wrong. */
static bool readable_at(struct engine *e, enum store_family f, uint64_t begin)
{
    uint8_t key[8];
    store_be64(key, begin);
    struct store_iter *it = store_iter_create(e->options.store, f);
    store_iter_seek(it, slice_of(key, sizeof(key)));
    bool readable = store_iter_valid(it) || store_iter_error(it) == SOTTO_OK;
    store_iter_destroy(&it);
    return readable;
}

/* Behind damage that ended an iterator. Keys are told apart by the 8 bytes they begin with:
 * `from` are those of the last that was read, *behind_out those where reading goes on, above
 * `from`; `to` if that is nowhere below. False: the iterator has come to its end, or nothing
 * can be read for now. */
static bool find_behind(struct engine *e, const struct store_iter *it, enum store_family f, uint64_t from,
                        uint64_t to, uint64_t *behind_out)
{
    enum sotto_err err = store_iter_error(it);
    if (err == SOTTO_OK) return false;
    found_unreadable(e, f == STORE_EXPIRY ? "expiry" : "conversation", err, 1);
    if (err != SOTTO_ERR_CORRUPT || from >= to) return false;
    while (to - from > 1) {
        uint64_t middle = from + (to - from) / 2;
        if (readable_at(e, f, middle))
            to = middle;
        else
            from = middle;
    }
    *behind_out = to;
    return true;
}

/* What is damaged must not keep the rest: the next turn goes on behind it. */
static void pass_by(struct engine *e, struct slice last, size_t failed)
{
    if (failed == 0 && e->expire_from.len == 0) return;
    if (e->expire_from.len == 0) e->expire_again_ms = clock_monotonic_ms(e->options.clock) + EXPIRE_RETRY_MS;
    memcpy(e->expire_from.bytes, last.data, last.len);
    e->expire_from.len = last.len;
}

static void expire_due(struct engine *e)
{
    uint64_t now = clock_wall_ms(e->options.clock);
    size_t looked = 0, failed = 0;
    if (clock_monotonic_ms(e->options.clock) >= e->expire_again_ms) e->expire_from.len = 0;
    struct store_iter *it = store_iter_create(e->options.store, STORE_EXPIRY);
    struct key last = {.len = 0};
    bool more = false;
    uint64_t from = e->expire_from.len != 0 ? load_be64(e->expire_from.bytes) : 0;
    for (store_iter_seek(it, key_slice(&e->expire_from)); store_iter_valid(it); store_iter_next(it)) {
        struct slice key = store_iter_key(it);
        if (key.len != EXPIRY_KEY_LEN || load_be64(key.data) > now) break;
        more = looked == EXPIRE_PER_TURN || e->dirty_bytes >= SOTTO_ENGINE_BATCH_BYTES_MAX;
        if (more) break;
        looked++;
        struct record r = {.kind = RECORD_EXPIRE, .sequence = load_be64(key.data + 8 + ID_LEN)};
        memcpy(r.conversation.bytes, key.data + 8, ID_LEN);
        memcpy(last.bytes, key.data, key.len);
        last.len = key.len;
        enum sotto_err err = engine_apply_own(e, &r);
        if (err == SOTTO_OK || err == SOTTO_ERR_NOT_FOUND)
            store_delete(e->batch, STORE_EXPIRY, key);
        else
            failed++;
    }
    if (failed != 0) found_unreadable(e, "message", SOTTO_ERR_CORRUPT, failed);
    if (looked != 0) from = load_be64(last.bytes);
    if (!store_iter_valid(it) && find_behind(e, it, STORE_EXPIRY, from, now + 1, &from)) {
        failed++;
        more = from <= now;
        store_be64(last.bytes, from);
        last.len = 8;
    }
    if (last.len != 0) pass_by(e, key_slice(&last), failed);
    e->more_expired = more;
    store_iter_destroy(&it);
}

/* The first sequence of the conversation that is young enough to stay, as far as has been
 * looked; with e->sweep_look set, looking goes on from there in the next turn. What has a
 * time that is still to come, from a clock that ran ahead, is as old as what follows it. */
static uint64_t first_young(struct engine *e, const struct conversation *c, uint64_t now_ms, uint64_t keep_ms,
                            size_t *rows)
{
    uint64_t kept = c->first_sequence, look = e->sweep_look > kept ? e->sweep_look : kept;
    struct key key = key_message(c->id, look);
    struct store_iter *it = store_iter_create(e->options.store, STORE_MESSAGE);
    enum sotto_err err = SOTTO_OK;
    e->sweep_look = 0;
    for (store_iter_seek(it, key_slice(&key)); store_iter_valid(it); store_iter_next(it)) {
        struct slice at = store_iter_key(it);
        if (at.len != MESSAGE_KEY_LEN || memcmp(at.data, c->id.bytes, ID_LEN) != 0) break;
        struct message m;
        uint64_t sequence = load_be64(at.data + ID_LEN);
        if (*rows == SWEEP_ROWS_PER_TURN) {
            e->sweep_look = sequence;
            break;
        }
        err = message_row_decode(c->id, sequence, store_iter_value(it), &m);
        if (err != SOTTO_OK) break;
        if (m.record.ts_ms >= now_ms - keep_ms && m.record.ts_ms <= now_ms) break;
        if (m.record.ts_ms < now_ms - keep_ms) kept = sequence + 1;
        (*rows)++;
        if (sequence >= c->last_sequence) break; /* the next is another's, and may be damaged */
    }
    if (!store_iter_valid(it)) err = store_iter_error(it);
    if (err != SOTTO_OK) found_unreadable(e, "message", err, 1); /* what follows it stays */
    store_iter_destroy(&it);
    return kept;
}

/* Takes what is outdated of one conversation into the batch, not more of it than one turn
 * may: then e->sweep_look is set. False: the batch in progress is not whole. */
static bool sweep_one(struct engine *e, struct id id, struct slice row, uint64_t now_ms, uint64_t keep_ms,
                      size_t *rows)
{
    struct conversation c;
    enum sotto_err err = conversation_decode(id, row, &c);
    if (err != SOTTO_OK) found_unreadable(e, "conversation", err, 1);
    if (err != SOTTO_OK) return true;
    struct record r = {.kind = RECORD_PURGE, .conversation = id};
    uint64_t first = c.first_sequence, kept = first_young(e, &c, now_ms, keep_ms, rows);
    conversation_deinit(&c);
    r.sequence = kept;
    if (kept - first > SWEEP_ROWS_PER_TURN) { /* times to come, and behind them what is old */
        r.sequence = first + SWEEP_ROWS_PER_TURN;
        e->sweep_look = kept - 1;
    }
    return kept == first || engine_apply_own(e, &r) == SOTTO_OK;
}

/* The next turn begins behind the conversation. */
static void sweep_past(struct engine *e, struct id id)
{
    for (size_t i = ID_LEN; i-- > 0 && ++id.bytes[i] == 0;) {}
    e->sweep_next = id;
    e->sweep_look = 0;
}

static void begin_round(struct engine *e, uint64_t now_ms)
{
    memset(&e->sweep_next, 0, sizeof(e->sweep_next));
    e->sweep_look = 0;
    e->sweep_began_ms = now_ms;
}

/* One piece of a round through the conversations. A conversation is left when nothing
 * outdated is in it any more; the round goes on in the next turns. False: the batch in
 * progress is not whole. */
static bool sweep(struct engine *e)
{
    uint64_t now = clock_wall_ms(e->options.clock), keep_ms = e->options.retention_days * 24 * 3600 * 1000;
    uint64_t monotonic = clock_monotonic_ms(e->options.clock);
    bool whole = true, open = e->more_outdated;
    e->more_outdated = false;
    if (keep_ms == 0 || now < keep_ms || (!open && monotonic < e->sweep_again_ms)) return true;
    if (!open) begin_round(e, monotonic);
    size_t conversations = 0, rows = 0;
    struct store_iter *it = store_iter_create(e->options.store, STORE_CONVERSATION);
    for (store_iter_seek(it, slice_of(e->sweep_next.bytes, ID_LEN)); store_iter_valid(it); store_iter_next(it)) {
        struct slice key = store_iter_key(it);
        struct id id;
        if (key.len != ID_LEN) continue;
        memcpy(id.bytes, key.data, ID_LEN);
        if (!id_eq(id, e->sweep_next)) e->sweep_look = 0;
        e->sweep_next = id;
        if (conversations++ == SWEEP_CONVERSATIONS_PER_TURN || rows == SWEEP_ROWS_PER_TURN ||
            e->dirty_bytes >= SOTTO_ENGINE_BATCH_BYTES_MAX)
            break;
        whole = sweep_one(e, id, store_iter_value(it), now, keep_ms, &rows);
        if (!whole) sweep_past(e, id); /* it must not keep the others */
        if (!whole || e->sweep_look != 0) break;
    }
    uint64_t behind;
    e->more_outdated = store_iter_valid(it);
    if (!e->more_outdated &&
        find_behind(e, it, STORE_CONVERSATION, load_be64(e->sweep_next.bytes), UINT64_MAX, &behind)) {
        e->sweep_next = (struct id){{0}};
        store_be64(e->sweep_next.bytes, behind);
        e->more_outdated = true;
    }
    if (!e->more_outdated)
        e->sweep_again_ms = monotonic + SWEEP_REST * (monotonic - e->sweep_began_ms);
    store_iter_destroy(&it);
    return whole;
}

/* With the batch that removes; or with the next after compaction. */
static bool note_erased(struct engine *e)
{
    bool erased = e->erased || e->compacting;
    if (erased && !e->erased_noted) store_put(e->batch, STORE_META, SLICE_LIT("erased"), slice_of(NULL, 0));
    if (!erased && e->erased_noted) store_delete(e->batch, STORE_META, SLICE_LIT("erased"));
    return erased;
}

/* Writes what housekeeping has put into the batch; false: it is not there, or nobody
 * knows. */
static bool write_own(struct engine *e)
{
    enum problem problem;
    enum sotto_err err = SOTTO_OK;
    bool erased = note_erased(e);
    store_batch_frees(e->batch);
    if (e->dirty == NULL && store_batch_count(e->batch) != 0) {
        /* Only keys of rows that are gone, or "erased": nothing to tell, but write them. */
        err = store_commit(e->options.store, e->batch);
        if (err != SOTTO_OK) e->reload = true;
        reset_batch(e);
    }
    bool committed = engine_commit(e, &problem);
    publish(e, e->events, &e->events_count, committed);
    if (!committed || err != SOTTO_OK) return false;
    e->erased_noted = erased;
    return true;
}

static void compact_erased(struct engine *e)
{
    uint64_t now = clock_monotonic_ms(e->options.clock);
    if (!e->erased || now < e->compact_at_ms) return;
    e->erased = false;
    e->compacting = true;
    e->compact_at_ms = now + COMPACT_INTERVAL_MS;
    store_compact(e->options.store, STORE_MESSAGE);
}

/* One piece of retention. False: it failed; the same piece is next if the disk refused it. */
static bool keep_swept(struct engine *e)
{
    struct id next = e->sweep_next;
    uint64_t look = e->sweep_look;
    if (!sweep(e)) {
        drop_batch(e, SOTTO_ERR_IO);
        publish(e, e->events, &e->events_count, false);
        return false;
    }
    if (write_own(e)) return true;
    e->sweep_next = next;
    e->sweep_look = look;
    e->more_outdated = true;
    return false;
}

bool engine_housekeep(struct engine *e)
{
    e->more_expired = false;
    if (e->reload && reload_position(e) != SOTTO_OK) return false;
    e->compacting = e->compacting && store_compacting(e->options.store, STORE_MESSAGE);
    expire_due(e);
    if (!write_own(e)) return false; /* not at once, again and again */
    bool swept = keep_swept(e);
    cache_trim(e);
    compact_erased(e);
    return swept && (e->more_expired || e->more_outdated);
}
