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

/* ---- Position and epoch ---------------------------------------------------- */

enum sotto_err engine_read_number(struct store *store, const char *name, size_t len, uint64_t *out)
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

void engine_put_number(struct engine *e, const char *name, uint64_t number)
{
    uint8_t bytes[8];
    store_be64(bytes, number);
    store_put(e->batch, STORE_META, slice_str(name), slice_of(bytes, sizeof(bytes)));
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

void engine_publish(struct engine *e, bool committed) { publish(e, e->events, &e->events_count, committed); }

enum sotto_err engine_reload_position(struct engine *e)
{
    uint64_t position = 0;
    enum sotto_err err = engine_read_number(e->options.store, "position", 8, &position);
    if (err == SOTTO_ERR_NOT_FOUND) err = SOTTO_OK;
    if (err != SOTTO_OK) return err;
    atomic_store(&e->position, position);
    e->next_position = position + 1;
    e->reload = false;
    publish(e, e->held, &e->held_count, position >= e->held_position);
    return SOTTO_OK;
}

/* Keeps the events of the batch in progress until engine_reload_position. */
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
    enum sotto_err err = engine_read_number(e->options.store, "epoch", 4, &epoch);
    if (err == SOTTO_ERR_NOT_FOUND) {
        err = engine_renew_epoch(e->options.store, e->options.random);
        if (err == SOTTO_OK) err = engine_read_number(e->options.store, "epoch", 4, &epoch);
    }
    e->epoch = (uint32_t)epoch;
    return err;
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
    enum sotto_err err = engine_reload_position(e);
    if (err == SOTTO_OK) err = read_epoch(e);
    if (err == SOTTO_OK) err = housekeeping_start(e);
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
    uint64_t housekeep_at_ms = 0;
    while (!atomic_load(&e->stopping)) {
        uint64_t began_us = clock_monotonic_us(e->options.clock), now = began_us / 1000;
        if (now >= housekeep_at_ms || more) {
            more = engine_housekeep(e);
            housekeep_at_ms = now + e->options.housekeeping_ms;
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

void engine_reset_batch(struct engine *e)
{
    store_batch_clear(e->batch);
    for (size_t i = 0; i < e->fresh_count; i++) e->fresh_keys[i].prior.found = false;
    map_deinit(&e->fresh);
    map_init(&e->fresh);
    e->fresh_count = 0;
    e->dirty_bytes = 0;
}

void engine_drop_batch(struct engine *e, enum sotto_err err)
{
    counter_add(e->failures, 1);
    LOG(e->options.log, LOG_ERROR, "engine.commit", LOG_S("error", sotto_err_name(err)));
    cache_drop_dirty(e);
    engine_reset_batch(e);
    if (err == SOTTO_ERR_UNCERTAIN) hold_events(e);
    e->reload = true;
    (void)!engine_reload_position(e); /* else at the next turn */
}

bool engine_commit(struct engine *e, enum problem *problem_out)
{
    enum sotto_err err = SOTTO_OK;
    if (e->dirty != NULL) {
        put_states(e);
        engine_put_number(e, "position", e->next_position - 1);
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
        engine_reset_batch(e);
    } else {
        *problem_out = problem_of_commit(err);
        engine_drop_batch(e, err);
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
    engine_publish(e, committed);
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
    bool usable = !e->reload || engine_reload_position(e) == SOTTO_OK;
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
