/* Housekeeping: what has expired or is outdated leaves the disk.
 *
 * The engine's thread, between two turns. Each call does one bounded piece of work, as
 * records of the engine's own (EXPIRE, PURGE) in a batch that is committed at once.
 *
 * CLOCK. What is due is destroyed for good, so a wall clock that is wrong must not decide
 * it alone. One that gets ahead of the monotonic clock by CLOCK_JUMP_MS, or that has gone
 * on by CLOCK_REST_MS since a server last ran on this data, pauses housekeeping for
 * CLOCK_PAUSE_MS: time to put it right. Once it is, housekeeping goes on; if it stays as
 * it is, it is believed. A machine that slept looks the same, and loses nothing by it.
 * Another jump within a pause begins it anew. One piece of work reads the wall clock once:
 * what was not judged destroys nothing.
 * Nothing that expired can be read meanwhile: readers look at the time themselves.
 *
 * ERASING. What expired or is outdated is on disk until the store has been compacted. The
 * row "erased" says so, from the commit that removes on until compaction was successful:
 * then one that was not finished, or not begun, is asked for at the next start.
 */
#include "engine/engine_private.h"

#include "base/limits.h"

/* Housekeeping that is due may take this much of one turn. */
enum { EXPIRE_PER_TURN = 512, SWEEP_CONVERSATIONS_PER_TURN = 64, SWEEP_ROWS_PER_TURN = 2048 };
/* After a round through all conversations that took t, the next begins this many times t
 * later at the earliest: looking takes a bounded part of the writer's time. */
enum { SWEEP_REST = 20 };
/* Rows that could not be expired are passed by, and tried again after this long. */
enum { EXPIRE_RETRY_MS = 60 * 1000 };
/* Compaction is asked for at most this often: it rewrites files. */
enum { COMPACT_INTERVAL_MS = 10 * 60 * 1000 };
enum { CLOCK_JUMP_MS = 60 * 60 * 1000, CLOCK_REST_MS = 24 * 60 * 60 * 1000, CLOCK_PAUSE_MS = 10 * 60 * 1000 };
/* The time is noted in the store this often, for the next start. */
enum { CLOCK_NOTE_MS = 60 * 60 * 1000 };

static void register_metrics(struct engine *e)
{
    struct metrics *m = e->options.metrics;
    static const char records[] = "sotto_engine_records_total";
    static const char help[] = "Records by outcome.";
    e->keep.expired = metrics_counter(m, records, "outcome=\"expired\"", help);
    e->keep.purged = metrics_counter(m, records, "outcome=\"purged\"", help);
    e->keep.unreadable = metrics_counter(m, "sotto_engine_unreadable_total", "",
                                         "Rows or blocks that housekeeping could not read.");
    e->keep.clock_jumps = metrics_counter(m, "sotto_engine_clock_jumps_total", "",
                                          "Pauses of housekeeping because the clock had jumped ahead.");
}

/* ---- The clock ------------------------------------------------------------- */

/* What the wall clock should say, by the monotonic one. */
static uint64_t expected_wall_ms(const struct housekeeping *k, uint64_t monotonic_ms)
{
    return k->clock_wall_ms + (monotonic_ms - k->clock_monotonic_ms);
}

static void clock_believe(struct housekeeping *k, uint64_t wall_ms, uint64_t monotonic_ms)
{
    k->clock_wall_ms = wall_ms;
    k->clock_monotonic_ms = monotonic_ms;
    k->clock_tolerance_ms = CLOCK_JUMP_MS;
    k->clock_ahead_ms = 0;
}

static void clock_pause(struct engine *e, uint64_t ahead_ms, uint64_t monotonic_ms)
{
    e->keep.clock_ahead_ms = ahead_ms;
    e->keep.clock_paused_until_ms = monotonic_ms + CLOCK_PAUSE_MS;
    counter_add(e->keep.clock_jumps, 1);
    LOG(e->options.log, LOG_WARN, "engine.clock_jump", LOG_U("ahead_s", ahead_ms / 1000),
        LOG_U("paused_s", CLOCK_PAUSE_MS / 1000),
        LOG_S("hint", "nothing expires meanwhile; if the clock is wrong, put it right now"));
}

/* Whether what is due by the wall clock may be destroyed. */
static bool clock_trusted(struct engine *e, uint64_t wall_ms)
{
    struct housekeeping *k = &e->keep;
    uint64_t monotonic = clock_monotonic_ms(e->options.clock), expected = expected_wall_ms(k, monotonic);
    uint64_t ahead = wall_ms > expected ? wall_ms - expected : 0;
    bool jumped = ahead > k->clock_tolerance_ms;
    if (jumped && ahead > k->clock_ahead_ms + CLOCK_JUMP_MS) clock_pause(e, ahead, monotonic);
    if (jumped && ahead < k->clock_ahead_ms) k->clock_ahead_ms = ahead;
    if (jumped && monotonic < k->clock_paused_until_ms) return false;
    clock_believe(k, wall_ms, monotonic);
    return true;
}

/* For the next start, which has no monotonic clock to compare with. */
static void note_clock(struct engine *e, uint64_t wall_ms)
{
    bool due = wall_ms < e->keep.clock_noted_ms || wall_ms - e->keep.clock_noted_ms >= CLOCK_NOTE_MS;
    if (!due) return;
    engine_put_number(e, "clock", wall_ms);
    e->keep.clock_noted_ms = wall_ms;
}

static enum sotto_err read_clock(struct engine *e)
{
    struct housekeeping *k = &e->keep;
    clock_believe(k, clock_wall_ms(e->options.clock), clock_monotonic_ms(e->options.clock));
    enum sotto_err err = engine_read_number(e->options.store, "clock", 8, &k->clock_noted_ms);
    if (err == SOTTO_ERR_NOT_FOUND) return SOTTO_OK;
    if (err != SOTTO_OK) return err;
    if (k->clock_wall_ms > k->clock_noted_ms) k->clock_wall_ms = k->clock_noted_ms;
    k->clock_tolerance_ms = CLOCK_REST_MS;
    return SOTTO_OK;
}

/* ---- Life ------------------------------------------------------------------ */

/* Whether what was removed before this start may still be on disk. */
static enum sotto_err read_erased(struct engine *e)
{
    uint64_t nothing;
    enum sotto_err err = engine_read_number(e->options.store, "erased", 0, &nothing);
    e->keep.erased = e->keep.erased_noted = err == SOTTO_OK;
    return err == SOTTO_ERR_NOT_FOUND ? SOTTO_OK : err;
}

enum sotto_err housekeeping_start(struct engine *e)
{
    register_metrics(e);
    enum sotto_err err = read_erased(e);
    return err == SOTTO_OK ? read_clock(e) : err;
}

/* ---- Damage ---------------------------------------------------------------- */

static void found_unreadable(struct engine *e, const char *what, enum sotto_err err, size_t count)
{
    counter_add(e->keep.unreadable, count);
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
 * `from`; `to` if that is nowhere below, or nothing at all can be read. False: the iterator has
 * come to its end. */
static bool find_behind(struct engine *e, const struct store_iter *it, enum store_family f, uint64_t from,
                        uint64_t to, uint64_t *behind_out)
{
    enum sotto_err err = store_iter_error(it);
    if (err == SOTTO_OK) return false;
    found_unreadable(e, f == STORE_EXPIRY ? "expiry" : "conversation", err, 1);
    if ((err != SOTTO_ERR_CORRUPT && err != SOTTO_ERR_IO) || from >= to) return false;
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

/* ---- Expiry ---------------------------------------------------------------- */

/* What is damaged must not keep the rest: the next turn goes on behind it. */
static void pass_by(struct engine *e, struct slice last, size_t failed)
{
    if (failed == 0 && e->keep.expire_from.len == 0) return;
    if (e->keep.expire_from.len == 0) e->keep.expire_again_ms = clock_monotonic_ms(e->options.clock) + EXPIRE_RETRY_MS;
    memcpy(e->keep.expire_from.bytes, last.data, last.len);
    e->keep.expire_from.len = last.len;
}

static void expire_due(struct engine *e, uint64_t now)
{
    size_t looked = 0, failed = 0;
    if (clock_monotonic_ms(e->options.clock) >= e->keep.expire_again_ms) e->keep.expire_from.len = 0;
    struct store_iter *it = store_iter_create(e->options.store, STORE_EXPIRY);
    struct key last = {.len = 0};
    bool more = false;
    uint64_t from = e->keep.expire_from.len != 0 ? load_be64(e->keep.expire_from.bytes) : 0;
    for (store_iter_seek(it, key_slice(&e->keep.expire_from)); store_iter_valid(it); store_iter_next(it)) {
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
    e->keep.more_expired = more;
    store_iter_destroy(&it);
}

/* ---- Retention ------------------------------------------------------------- */

/* The first sequence of the conversation that is young enough to stay, as far as has been
 * looked; with e->keep.sweep_look set, looking goes on from there in the next turn. What has a
 * time that is still to come, from a clock that ran ahead, is as old as what follows it. */
static uint64_t first_young(struct engine *e, const struct conversation *c, uint64_t now_ms, uint64_t keep_ms,
                            size_t *rows)
{
    uint64_t kept = c->first_sequence, look = e->keep.sweep_look > kept ? e->keep.sweep_look : kept;
    struct key key = key_message(c->id, look);
    struct store_iter *it = store_iter_create(e->options.store, STORE_MESSAGE);
    enum sotto_err err = SOTTO_OK;
    e->keep.sweep_look = 0;
    for (store_iter_seek(it, key_slice(&key)); store_iter_valid(it); store_iter_next(it)) {
        struct slice at = store_iter_key(it);
        if (at.len != MESSAGE_KEY_LEN || memcmp(at.data, c->id.bytes, ID_LEN) != 0) break;
        struct message m;
        uint64_t sequence = load_be64(at.data + ID_LEN);
        if (*rows == SWEEP_ROWS_PER_TURN) {
            e->keep.sweep_look = sequence;
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
 * may: then e->keep.sweep_look is set. False: the batch in progress is not whole. */
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
        e->keep.sweep_look = kept - 1;
    }
    return kept == first || engine_apply_own(e, &r) == SOTTO_OK;
}

/* The next turn begins behind the conversation. */
static void sweep_past(struct engine *e, struct id id)
{
    for (size_t i = ID_LEN; i-- > 0 && ++id.bytes[i] == 0;) {}
    e->keep.sweep_next = id;
    e->keep.sweep_look = 0;
}

static void begin_round(struct engine *e, uint64_t now_ms)
{
    memset(&e->keep.sweep_next, 0, sizeof(e->keep.sweep_next));
    e->keep.sweep_look = 0;
    e->keep.sweep_began_ms = now_ms;
}

/* One piece of a round through the conversations. A conversation is left when nothing
 * outdated is in it any more; the round goes on in the next turns. False: the batch in
 * progress is not whole. */
static bool sweep(struct engine *e, uint64_t now)
{
    uint64_t keep_ms = e->options.retention_days * 24 * 3600 * 1000;
    uint64_t monotonic = clock_monotonic_ms(e->options.clock);
    bool whole = true, open = e->keep.more_outdated;
    e->keep.more_outdated = false;
    if (keep_ms == 0 || now < keep_ms || (!open && monotonic < e->keep.sweep_again_ms)) return true;
    if (!open) begin_round(e, monotonic);
    size_t conversations = 0, rows = 0;
    struct store_iter *it = store_iter_create(e->options.store, STORE_CONVERSATION);
    for (store_iter_seek(it, slice_of(e->keep.sweep_next.bytes, ID_LEN)); store_iter_valid(it); store_iter_next(it)) {
        struct slice key = store_iter_key(it);
        struct id id;
        if (key.len != ID_LEN) continue;
        memcpy(id.bytes, key.data, ID_LEN);
        if (!id_eq(id, e->keep.sweep_next)) e->keep.sweep_look = 0;
        e->keep.sweep_next = id;
        if (conversations++ == SWEEP_CONVERSATIONS_PER_TURN || rows == SWEEP_ROWS_PER_TURN ||
            e->dirty_bytes >= SOTTO_ENGINE_BATCH_BYTES_MAX)
            break;
        whole = sweep_one(e, id, store_iter_value(it), now, keep_ms, &rows);
        if (!whole) sweep_past(e, id); /* it must not keep the others */
        if (!whole || e->keep.sweep_look != 0) break;
    }
    uint64_t behind;
    e->keep.more_outdated = store_iter_valid(it);
    if (!e->keep.more_outdated &&
        find_behind(e, it, STORE_CONVERSATION, load_be64(e->keep.sweep_next.bytes), UINT64_MAX, &behind)) {
        e->keep.sweep_next = (struct id){{0}};
        store_be64(e->keep.sweep_next.bytes, behind);
        e->keep.more_outdated = true;
    }
    if (!e->keep.more_outdated)
        e->keep.sweep_again_ms = monotonic + SWEEP_REST * (monotonic - e->keep.sweep_began_ms);
    store_iter_destroy(&it);
    return whole;
}

/* ---- Committing ------------------------------------------------------------ */

/* With the batch that removes; or with the next after compaction. */
static bool note_erased(struct engine *e)
{
    bool erased = e->keep.erased || e->keep.compacting;
    if (erased && !e->keep.erased_noted) store_put(e->batch, STORE_META, SLICE_LIT("erased"), slice_of(NULL, 0));
    if (!erased && e->keep.erased_noted) store_delete(e->batch, STORE_META, SLICE_LIT("erased"));
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
        engine_reset_batch(e);
    }
    bool committed = engine_commit(e, &problem);
    engine_publish(e, committed);
    if (!committed || err != SOTTO_OK) return false;
    e->keep.erased_noted = erased;
    return true;
}

static void compact_erased(struct engine *e)
{
    uint64_t now = clock_monotonic_ms(e->options.clock);
    if (!e->keep.erased || now < e->keep.compact_at_ms) return;
    e->keep.erased = false;
    e->keep.compacting = true;
    e->keep.compact_at_ms = now + COMPACT_INTERVAL_MS;
    store_compact(e->options.store, STORE_MESSAGE);
}

/* One piece of retention. False: it failed; the same piece is next if the disk refused it. */
static bool keep_swept(struct engine *e, uint64_t now)
{
    struct id next = e->keep.sweep_next;
    uint64_t look = e->keep.sweep_look;
    if (!sweep(e, now)) {
        engine_drop_batch(e, SOTTO_ERR_IO);
        engine_publish(e, false);
        return false;
    }
    if (write_own(e)) return true;
    e->keep.sweep_next = next;
    e->keep.sweep_look = look;
    e->keep.more_outdated = true;
    return false;
}

/* ---- One piece ------------------------------------------------------------- */

bool engine_housekeep(struct engine *e)
{
    e->keep.more_expired = false;
    if (e->reload && engine_reload_position(e) != SOTTO_OK) return false;
    e->keep.compacting = e->keep.compacting && store_compacting(e->options.store, STORE_MESSAGE);
    uint64_t now = clock_wall_ms(e->options.clock);
    bool trusted = clock_trusted(e, now);
    if (trusted) {
        note_clock(e, now);
        expire_due(e, now);
    }
    if (!write_own(e)) return false; /* not at once, again and again */
    bool swept = trusted && keep_swept(e, now);
    cache_trim(e);
    compact_erased(e);
    return swept && (e->keep.more_expired || e->keep.more_outdated);
}
