/* The directory as a whole: opening, telling of changes, backup, check.
 *
 * DESIGN
 * Reads run on a snapshot of their own. Every write is an `edit`: it locks the
 * user that it is about, notes what it changes, and after the commit forgets
 * what the caches hold of that user and tells the listeners; nothing is told
 * that was not committed.
 *
 * The same notes go into table `changes`, in the same transaction. Another
 * process on the same database (the operator's command, or one day a second
 * server) reads the notes that are not its own in directory_poll_changes, so
 * that a device revoked there is cut off here. The sequence comes from a
 * counter whose row stays locked until the commit: it has no holes, and no
 * number appears after a higher one. A hole therefore means that notes were
 * pruned before we read them, and everything cached is dropped.
 */
#include "directory/directory_private.h"

#include "directory/schema.h"

#include <stdio.h>
#include <stdlib.h>

enum { POLL_BATCH = 256, PRUNE_EVERY_MS = 3600 * 1000, REPORT_MAX = 256 };

/* ---- Problems and transactions -------------------------------------------- */

enum problem directory_problem_of(struct directory *d, enum sotto_err err)
{
    if (err == SOTTO_OK) return PROBLEM_NONE;
    counter_add(d->sql_failures, 1);
    switch (err) {
    case SOTTO_ERR_FULL: return PROBLEM_STORAGE_FULL;
    case SOTTO_ERR_AGAIN:
    case SOTTO_ERR_TIMEOUT: return PROBLEM_BUSY;
    case SOTTO_ERR_EXISTS: return PROBLEM_CONFLICT;
    default: return PROBLEM_INTERNAL;
    }
}

enum problem read_end(struct directory *d, struct sql_tx *tx, enum problem p)
{
    enum problem failed = directory_problem_of(d, sql_end(tx, true));
    return failed != PROBLEM_NONE ? failed : p;
}

void edit_begin(struct edit *e, struct directory *d)
{
    e->d = d;
    e->count = 0;
    e->began_us = clock_monotonic_us(d->clock);
    e->tx = sql_begin(d->sql, SQL_WRITE);
}

bool edit_lock_user(struct edit *e, const struct id *user)
{
    struct sql_stmt *q =
        sql_prepare(e->tx, "UPDATE users SET revision = revision + 1 WHERE id = $1 AND deleted_ms = 0");
    sql_bind_id(q, 1, user);
    sql_run(q);
    return sql_changes(e->tx) == 1;
}

void edit_run(struct edit *e, const char *sql, const struct id *user)
{
    struct sql_stmt *q = sql_prepare(e->tx, sql);
    sql_bind_id(q, 1, user);
    sql_run(q);
}

void edit_tell(struct edit *e, enum directory_change what, struct id user, uint8_t device)
{
    SOTTO_ASSERT(e->count < EDIT_CHANGES_MAX);
    e->changes[e->count++] = (struct change){what, user, device};
}

static void write_changes(struct edit *e)
{
    for (size_t i = 0; i < e->count; i++) {
        struct sql_stmt *q =
            sql_prepare(e->tx, "UPDATE counters SET value = value + 1 WHERE name = 'change' RETURNING value");
        uint64_t seq = sql_step(q) ? sql_u64(q, 0) : 0;
        sql_run(q);
        q = sql_prepare(e->tx, "INSERT INTO changes (seq, at_ms, origin, kind, user_id, device) "
                               "VALUES ($1, $2, $3, $4, $5, $6)");
        sql_bind_u64(q, 1, seq);
        sql_bind_u64(q, 2, clock_wall_ms(e->d->clock));
        sql_bind_u64(q, 3, e->d->origin);
        sql_bind_u64(q, 4, e->changes[i].what);
        sql_bind_id(q, 5, &e->changes[i].user);
        sql_bind_u64(q, 6, e->changes[i].device);
        sql_run(q);
    }
}

static void tell(struct directory *d, const struct change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (changes[i].what == CHANGE_PREKEYS_LOW) continue; /* nothing cached */
        views_forget(&d->views, &changes[i].user);
        auth_forget(&d->auth, &changes[i].user);
    }
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < d->listeners_count; k++)
            d->listeners[k].fn(d->listeners[k].ctx, changes[i].what, changes[i].user, changes[i].device);
}

enum problem edit_end(struct edit *e, enum problem p)
{
    if (p == PROBLEM_NONE) write_changes(e);
    enum problem failed = directory_problem_of(e->d, sql_end(e->tx, p == PROBLEM_NONE));
    histogram_observe(e->d->write_time, clock_monotonic_us(e->d->clock) - e->began_us);
    if (failed != PROBLEM_NONE) return failed;
    if (p == PROBLEM_NONE) tell(e->d, e->changes, e->count);
    return p;
}

void directory_on_change(struct directory *d, directory_change_fn fn, void *ctx)
{
    SOTTO_ASSERT(d->listeners_count < LISTENERS_MAX);
    d->listeners[d->listeners_count].fn = fn;
    d->listeners[d->listeners_count++].ctx = ctx;
}

/* ---- Opening -------------------------------------------------------------- */

void directory_set_registration(struct directory *d, enum registration_policy policy)
{
    atomic_store(&d->registration, policy);
}

/* The key that signs resumption tokens is made once per installation. */
static enum sotto_err load_resume_key(struct directory *d)
{
    uint8_t fresh[RESUME_KEY_LEN];
    random_fill(d->random, fresh, sizeof fresh);
    struct sql_tx *tx = sql_begin(d->sql, SQL_WRITE);
    struct sql_stmt *q = sql_prepare(tx, "INSERT INTO settings (name, value) VALUES ('resume_key', $1) "
                                         "ON CONFLICT (name) DO NOTHING");
    sql_bind_bytes(q, 1, slice_of(fresh, sizeof fresh));
    sql_run(q);
    q = sql_prepare(tx, "SELECT value FROM settings WHERE name = 'resume_key'");
    bool usable = sql_step(q) && sql_bytes(q, 0).len == RESUME_KEY_LEN;
    sql_copy_bytes(q, 0, d->resume_key, RESUME_KEY_LEN);
    enum sotto_err err = sql_end(tx, true);
    sodium_memzero(fresh, sizeof fresh);
    return err != SOTTO_OK ? err : usable ? SOTTO_OK : SOTTO_ERR_CORRUPT;
}

static enum sotto_err load_changes_seen(struct directory *d)
{
    struct sql_tx *tx = sql_begin(d->sql, SQL_READ);
    struct sql_stmt *q = sql_prepare(tx, "SELECT value FROM counters WHERE name = 'change'");
    if (sql_step(q)) d->changes_seen = sql_u64(q, 0);
    return sql_end(tx, true);
}

static void register_metrics(struct directory *d, struct metrics *metrics)
{
    if (metrics == NULL) metrics = d->own_metrics = metrics_create();
    const char *logins = "sotto_directory_logins_total", *help = "Sign-ins by result.";
    d->logins_ok = metrics_counter(metrics, logins, "result=\"ok\"", help);
    d->logins_failed = metrics_counter(metrics, logins, "result=\"failed\"", help);
    d->logins_throttled = metrics_counter(metrics, logins, "result=\"throttled\"", help);
    d->sql_failures = metrics_counter(metrics, "sotto_directory_failures_total", "", "Transactions that failed.");
    d->view_loads = metrics_counter(metrics, "sotto_directory_view_loads_total", "",
                                    "User views read from the database because the cache had none.");
    d->hash_time = metrics_latency(metrics, "sotto_directory_password_seconds", "", "Time to hash a password.");
    d->write_time = metrics_latency(metrics, "sotto_directory_write_seconds", "",
                                    "Time of a write transaction, waiting included.");
}

static enum sotto_err prepare(struct directory *d, struct buffer *why)
{
    enum sotto_err err = schema_migrate(d->sql, schema_migrations, schema_migrations_count, why);
    if (err != SOTTO_OK) return err;
    err = load_resume_key(d);
    if (err == SOTTO_OK) err = load_changes_seen(d);
    if (err == SOTTO_OK && !password_hash(d, SLICE_LIT("no password is this one"), d->nobodys_hash))
        err = SOTTO_ERR_FULL;
    if (err != SOTTO_OK && why != NULL) {
        buffer_clear(why);
        buffer_printf(why, "The directory could not be prepared (%s). ", sotto_err_name(err));
        buffer_append_str(why, err == SOTTO_ERR_FULL      ? "The disk or the memory is full: make room."
                               : err == SOTTO_ERR_CORRUPT ? "The database is damaged: restore a backup."
                                                          : "Check the disk and the permissions of the file.");
    }
    return err;
}

enum sotto_err directory_open(const struct directory_options *options, struct buffer *why_out,
                              struct directory **directory_out)
{
    SOTTO_ASSERT(sodium_init() >= 0);
    struct sql *sql = NULL;
    enum sotto_err err = sql_sqlite.open(options->file, options->log, why_out, &sql);
    if (err != SOTTO_OK) return err;
    struct directory *d = sotto_zalloc(sizeof *d);
    d->sql = sql;
    d->clock = options->clock;
    d->random = options->random;
    d->log = options->log;
    atomic_init(&d->registration, options->registration);
    d->argon2_ops = options->argon2_ops != 0 ? options->argon2_ops : crypto_pwhash_OPSLIMIT_INTERACTIVE;
    d->argon2_mem_bytes = options->argon2_mem_bytes != 0 ? options->argon2_mem_bytes
                                                         : crypto_pwhash_MEMLIMIT_INTERACTIVE;
    d->prekeys_low = options->prekeys_low;
    d->origin = random_u64(options->random) >> 1;
    pthread_mutex_init(&d->poll_mutex, NULL);
    register_metrics(d, options->metrics);
    views_init(&d->views, options->cache_bytes);
    auth_init(&d->auth);
    throttle_init(&d->throttle, options->random);
    err = prepare(d, why_out);
    if (err != SOTTO_OK) {
        directory_close(&d);
        return err;
    }
    *directory_out = d;
    return SOTTO_OK;
}

void directory_close(struct directory **directory)
{
    struct directory *d = *directory;
    *directory = NULL;
    if (d == NULL) return;
    d->sql->driver->close(d->sql);
    views_deinit(&d->views);
    auth_deinit(&d->auth);
    throttle_deinit(&d->throttle);
    if (d->own_metrics != NULL) metrics_destroy(&d->own_metrics);
    pthread_mutex_destroy(&d->poll_mutex);
    sodium_memzero(d->resume_key, sizeof d->resume_key);
    free(d);
}

/* ---- Changes made by other processes ---------------------------------------- */

static void prune_changes(struct directory *d, uint64_t now_ms)
{
    struct sql_tx *tx = sql_begin(d->sql, SQL_WRITE);
    struct sql_stmt *q = sql_prepare(tx, "DELETE FROM changes WHERE at_ms < $1");
    sql_bind_u64(q, 1, now_ms > CHANGES_KEEP_DAYS * DAY_MS ? now_ms - CHANGES_KEEP_DAYS * DAY_MS : 0);
    sql_run(q);
    (void)directory_problem_of(d, sql_end(tx, true)); /* logged and counted; the next hour tries again */
}

/* Reads up to POLL_BATCH notes; what is foreign goes to `changes`. False: the
 * database failed, nothing was taken. */
static bool read_changes(struct directory *d, struct change changes[POLL_BATCH], size_t *count_out, bool *more_out)
{
    size_t read = 0, count = 0;
    uint64_t seen = d->changes_seen;
    bool hole = false;
    struct sql_tx *tx = sql_begin(d->sql, SQL_READ);
    struct sql_stmt *q = sql_prepare(tx, "SELECT seq, origin, kind, user_id, device FROM changes "
                                         "WHERE seq > $1 ORDER BY seq LIMIT 256");
    sql_bind_u64(q, 1, seen);
    while (read < POLL_BATCH && sql_step(q)) {
        read++;
        hole = hole || sql_u64(q, 0) != seen + 1;
        seen = sql_u64(q, 0);
        if (sql_u64(q, 1) == d->origin) continue;
        changes[count++] = (struct change){(enum directory_change)sql_u64(q, 2), sql_id(q, 3), (uint8_t)sql_u64(q, 4)};
    }
    if (directory_problem_of(d, sql_end(tx, true)) != PROBLEM_NONE) return false;
    if (hole) {
        LOG(d->log, LOG_WARN, "directory.changes_missed", LOG_U("after", d->changes_seen));
        views_forget(&d->views, NULL);
        auth_forget(&d->auth, NULL);
    }
    d->changes_seen = seen;
    *count_out = count;
    *more_out = read == POLL_BATCH;
    return true;
}

/* Before old notes are pruned all are read, our own too, so that a hole always
 * means that something was missed. */
void directory_poll_changes(struct directory *d)
{
    pthread_mutex_lock(&d->poll_mutex);
    uint64_t now_ms = clock_wall_ms(d->clock);
    bool prune = now_ms >= d->changes_pruned_ms + PRUNE_EVERY_MS;
    if (d->sql->driver->changed_elsewhere(d->sql) || prune) d->poll_due = true;
    while (d->poll_due) {
        struct change changes[POLL_BATCH];
        size_t count = 0;
        if (!read_changes(d, changes, &count, &d->poll_due)) break; /* still due: the next poll tries again */
        tell(d, changes, count);
    }
    if (prune && !d->poll_due) {
        d->changes_pruned_ms = now_ms;
        prune_changes(d, now_ms);
    }
    pthread_mutex_unlock(&d->poll_mutex);
}

/* ---- Views ------------------------------------------------------------------ */

struct user_view *directory_peek(struct directory *d, struct id user) { return views_find(&d->views, user); }

static void read_ids(struct sql_stmt *q, struct buffer *out)
{
    while (sql_step(q)) {
        struct slice id = sql_bytes(q, 0);
        if (id.len == ID_LEN) buffer_append_slice(out, id);
    }
}

static struct user_view *read_view(struct sql_tx *tx, const struct id *user)
{
    struct buffer blocks, contacts;
    buffer_init(&blocks, SOTTO_CONTACTS_PER_USER_MAX * ID_LEN);
    buffer_init(&contacts, SOTTO_CONTACTS_PER_USER_MAX * ID_LEN);
    struct sql_stmt *q = sql_prepare(tx, "SELECT other_id FROM blocks WHERE user_id = $1 ORDER BY other_id");
    sql_bind_id(q, 1, user);
    read_ids(q, &blocks);
    q = sql_prepare(tx, "SELECT other_id FROM contacts WHERE user_id = $1 ORDER BY other_id");
    sql_bind_id(q, 1, user);
    read_ids(q, &contacts);
    struct user_view *v = view_create((const struct id *)blocks.data, blocks.len / ID_LEN,
                                      (const struct id *)contacts.data, contacts.len / ID_LEN);
    buffer_deinit(&blocks);
    buffer_deinit(&contacts);
    v->id = *user;
    q = sql_prepare(tx, "SELECT device, registration_id FROM devices WHERE user_id = $1 ORDER BY device");
    sql_bind_id(q, 1, user);
    while (v->devices_count < SOTTO_DEVICES_PER_USER_MAX && sql_step(q)) {
        uint16_t registration_id = (uint16_t)sql_u64(q, 1);
        v->devices[v->devices_count++] =
            (struct device_view){(uint8_t)sql_u64(q, 0), registration_id != 0, registration_id};
    }
    return v;
}

static enum sotto_err load_view(struct directory *d, struct id user, struct user_view **view_out)
{
    struct user_view *v = NULL;
    counter_add(d->view_loads, 1);
    struct sql_tx *tx = sql_begin(d->sql, SQL_READ);
    struct sql_stmt *q = sql_prepare(tx, "SELECT receipts_off, presence_visibility FROM users "
                                         "WHERE id = $1 AND deleted_ms = 0");
    sql_bind_id(q, 1, &user);
    if (sql_step(q)) {
        bool receipts_off = sql_u64(q, 0) != 0;
        uint8_t visibility = (uint8_t)sql_u64(q, 1);
        v = read_view(tx, &user);
        v->receipts_off = receipts_off;
        v->presence_visibility = visibility;
    }
    enum sotto_err err = sql_end(tx, true);
    if (err != SOTTO_OK) {
        user_view_unref(v);
        (void)directory_problem_of(d, err);
        return err;
    }
    if (v == NULL) return SOTTO_ERR_NOT_FOUND;
    *view_out = v;
    return SOTTO_OK;
}

enum sotto_err directory_view(struct directory *d, struct id user, struct user_view **view_out)
{
    struct user_view *v = views_find(&d->views, user);
    if (v == NULL) {
        uint64_t stamp = views_stamp(&d->views, user);
        enum sotto_err err = load_view(d, user, &v);
        if (err != SOTTO_OK) return err;
        views_put(&d->views, v, stamp);
    }
    *view_out = v;
    return SOTTO_OK;
}

enum sotto_err directory_view_once(struct directory *d, struct id user, struct user_view **view_out)
{
    struct user_view *v = views_find(&d->views, user);
    if (v == NULL) return load_view(d, user, view_out);
    *view_out = v;
    return SOTTO_OK;
}

/* ---- Backup and check --------------------------------------------------------- */

enum sotto_err directory_backup(struct directory *d, const char *file, struct buffer *why_out)
{
    return d->sql->driver->backup(d->sql, file, why_out);
}

enum sotto_err directory_restored(const char *file, const struct clock_source *clock, struct buffer *why_out)
{
    struct sql *sql = NULL;
    enum sotto_err err = sql_sqlite.open(file, NULL, why_out, &sql);
    if (err != SOTTO_OK) return err;
    err = schema_migrate(sql, schema_migrations, schema_migrations_count, why_out);
    if (err == SOTTO_OK) {
        struct sql_tx *tx = sql_begin(sql, SQL_WRITE);
        keys_forget_one_time(tx, clock_wall_ms(clock));
        err = sql_end(tx, true);
        if (err != SOTTO_OK) buffer_printf(why_out, "Cannot change %s (%s).", file, sotto_err_name(err));
    }
    sql->driver->close(sql);
    return err;
}

/* Each counts what should not be. */
static const struct {
    const char *sql;
    const char *sentence;
} invariants[] = {
    {"SELECT COUNT(*) FROM users WHERE deleted_ms = 0 AND (username IS NULL OR password_hash = '')",
     "accounts have no user name or no password"},
    {"SELECT COUNT(*) FROM users WHERE deleted_ms <> 0 AND (username IS NOT NULL OR phone IS NOT NULL)",
     "deleted accounts still hold a user name or a phone number"},
    {"SELECT COUNT(*) FROM devices d JOIN users u ON u.id = d.user_id WHERE u.deleted_ms <> 0",
     "devices belong to deleted accounts"},
    {"SELECT COUNT(*) FROM (SELECT user_id FROM devices GROUP BY user_id HAVING COUNT(*) > 16) AS crowded",
     "accounts have more than 16 devices"},
    {"SELECT COUNT(*) FROM devices WHERE registration_id <> 0 AND "
     "(identity_key IS NULL OR signed_key IS NULL OR resort_key IS NULL)",
     "devices have published only part of their keys"},
    {"SELECT COUNT(*) FROM one_time_prekeys o JOIN used_prekeys u ON u.user_id = o.user_id "
     "AND u.device = o.device AND u.kind = o.kind AND u.key_id = o.key_id",
     "one-time keys were handed out and are still offered"},
    {"SELECT COUNT(*) FROM one_time_prekeys o JOIN devices d ON d.user_id = o.user_id AND d.device = o.device "
     "WHERE d.registration_id = 0",
     "one-time keys belong to devices without an identity key"},
    {"SELECT COUNT(*) FROM contacts WHERE user_id = other_id", "accounts are contacts of themselves"},
    {"SELECT COUNT(*) FROM changes WHERE seq > (SELECT value FROM counters WHERE name = 'change')",
     "notes of changes are numbered ahead of their counter"},
};
_Static_assert(SOTTO_DEVICES_PER_USER_MAX == 16, "the invariant above names the number");

enum sotto_err directory_check(struct directory *d, void (*found)(void *ctx, const char *sentence), void *ctx)
{
    enum sotto_err err = d->sql->driver->check(d->sql, found, ctx);
    if (err != SOTTO_OK) return err;
    bool clean = true;
    struct sql_tx *tx = sql_begin(d->sql, SQL_READ);
    for (size_t i = 0; i < sizeof invariants / sizeof invariants[0]; i++) {
        struct sql_stmt *q = sql_prepare(tx, invariants[i].sql);
        uint64_t count = sql_step(q) ? sql_u64(q, 0) : 0;
        if (count == 0) continue;
        char sentence[REPORT_MAX];
        snprintf(sentence, sizeof sentence, "%llu %s.", (unsigned long long)count, invariants[i].sentence);
        clean = false;
        found(ctx, sentence);
    }
    err = sql_end(tx, true);
    return err != SOTTO_OK ? err : clean ? SOTTO_OK : SOTTO_ERR_CORRUPT;
}
