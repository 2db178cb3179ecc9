/* Client state in SQLite.
 *
 * Schema, version 2 (PRAGMA user_version; 1 had no mark.first):
 *   setting(name, value)           settings of the application, and "cursor"
 *   mark(conversation, …)          one row per conversation
 *   outbox(seq, client_msg_id, …)  messages without an answer, in order
 *
 * Reopening is safe at any moment: SQLite's journal recovers what was not
 * committed. A file of another kind or of a later version is refused untouched.
 */
#include "client/local_store.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOCAL_VERSION = 2, LOCAL_APPLICATION = 0x736f7474 /* "sott" */, BUSY_MS = 10000 };

enum statement {
    ST_BEGIN, ST_COMMIT, ST_ROLLBACK, ST_GET, ST_PUT, ST_MARKS, ST_MARK, ST_OUTBOX, ST_QUEUE, ST_UNQUEUE,
    ST_WAITING, ST_COUNT
};
static const char *const statement_sql[ST_COUNT] = {
    [ST_BEGIN] = "BEGIN IMMEDIATE",
    [ST_COMMIT] = "COMMIT",
    [ST_ROLLBACK] = "ROLLBACK",
    [ST_GET] = "SELECT value FROM setting WHERE name = ?1",
    [ST_PUT] = "INSERT INTO setting(name, value) VALUES(?1, ?2) ON CONFLICT(name) DO UPDATE SET value = ?2",
    [ST_MARKS] = "SELECT conversation, sequence, read, delivered_told, read_told, chain, first FROM mark",
    [ST_MARK] = "INSERT INTO mark(conversation, sequence, read, delivered_told, read_told, chain, first)"
                " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT(conversation) DO UPDATE SET sequence = ?2,"
                " read = ?3, delivered_told = ?4, read_told = ?5, chain = ?6, first = ?7",
    [ST_OUTBOX] = "SELECT seq, client_msg_id, recipient, conversation, type, payload, ttl_s, urgent"
                  " FROM outbox ORDER BY seq",
    [ST_QUEUE] = "INSERT INTO outbox(client_msg_id, recipient, conversation, type, payload, ttl_s, urgent)"
                 " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [ST_UNQUEUE] = "DELETE FROM outbox WHERE client_msg_id = ?1",
    [ST_WAITING] = "SELECT count(*) FROM outbox",
};
static const char schema[] =
    "CREATE TABLE setting(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE mark(conversation BLOB PRIMARY KEY, sequence INTEGER NOT NULL, read INTEGER NOT NULL,"
    " delivered_told INTEGER NOT NULL, read_told INTEGER NOT NULL, chain BLOB,"
    " first INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"
    "CREATE TABLE outbox(seq INTEGER PRIMARY KEY AUTOINCREMENT, client_msg_id BLOB NOT NULL UNIQUE,"
    " recipient BLOB, conversation BLOB, type BLOB NOT NULL, payload BLOB NOT NULL, ttl_s INTEGER NOT NULL,"
    " urgent INTEGER NOT NULL);";

struct local_store {
    sqlite3 *db;
    sqlite3_stmt *statements[ST_COUNT];
    struct client_store port;
};

static enum sotto_err err_of(int rc)
{
    if (rc == SQLITE_OK || rc == SQLITE_DONE || rc == SQLITE_ROW) return SOTTO_OK;
    return rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB ? SOTTO_ERR_CORRUPT : SOTTO_ERR_IO;
}

static void bind_blob(sqlite3_stmt *st, int at, struct slice s)
{
    sqlite3_bind_blob64(st, at, s.len ? (const void *)s.data : "", s.len, SQLITE_STATIC);
}

static void bind_id(sqlite3_stmt *st, int at, const struct id *id)
{
    if (id_is_zero(*id))
        sqlite3_bind_null(st, at);
    else
        sqlite3_bind_blob64(st, at, id->bytes, ID_LEN, SQLITE_STATIC);
}

static struct slice column_slice(sqlite3_stmt *st, int at)
{
    const void *data = sqlite3_column_blob(st, at);
    return slice_of(data, (size_t)sqlite3_column_bytes(st, at));
}

static bool column_id(sqlite3_stmt *st, int at, struct id *out)
{
    struct slice s = column_slice(st, at);
    *out = (struct id){{0}};
    if (s.len == 0) return true;
    if (s.len != ID_LEN) return false;
    memcpy(out->bytes, s.data, ID_LEN);
    return true;
}

static enum sotto_err run(struct local_store *s, enum statement which)
{
    sqlite3_stmt *st = s->statements[which];
    enum sotto_err err = err_of(sqlite3_step(st));
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return err;
}

/* ---- The port ---------------------------------------------------------- */

static enum sotto_err port_begin(void *ctx)
{
    return run(ctx, ST_BEGIN);
}

static enum sotto_err port_commit(void *ctx)
{
    return run(ctx, ST_COMMIT);
}

static void port_rollback(void *ctx)
{
    (void)run(ctx, ST_ROLLBACK);
}

static enum sotto_err port_load_marks(void *ctx, bool (*each)(void *arg, const struct client_mark *m), void *arg)
{
    struct local_store *s = ctx;
    sqlite3_stmt *st = s->statements[ST_MARKS];
    enum sotto_err err = SOTTO_OK;
    int rc;
    while (!err && (rc = sqlite3_step(st)) != SQLITE_DONE) {
        struct client_mark m = {0};
        if ((err = err_of(rc))) break;
        struct slice chain = column_slice(st, 5);
        if (!column_id(st, 0, &m.conversation)) err = SOTTO_ERR_CORRUPT;
        m.sequence = (uint64_t)sqlite3_column_int64(st, 1);
        m.read = (uint64_t)sqlite3_column_int64(st, 2);
        m.confirmed[MARK_DELIVERED] = (uint64_t)sqlite3_column_int64(st, 3);
        m.confirmed[MARK_READ] = (uint64_t)sqlite3_column_int64(st, 4);
        m.chain_known = chain.len == HASH_LEN;
        if (m.chain_known) memcpy(m.chain, chain.data, HASH_LEN);
        m.first = (uint64_t)sqlite3_column_int64(st, 6);
        if (!err && !each(arg, &m)) err = SOTTO_ERR_FULL;
    }
    sqlite3_reset(st);
    return err;
}

static enum sotto_err port_load_queued(void *ctx, bool (*each)(void *arg, const struct client_queued *q), void *arg)
{
    struct local_store *s = ctx;
    sqlite3_stmt *st = s->statements[ST_OUTBOX];
    enum sotto_err err = SOTTO_OK;
    int rc;
    while (!err && (rc = sqlite3_step(st)) != SQLITE_DONE) {
        if ((err = err_of(rc))) break;
        struct client_queued q = {.order = (uint64_t)sqlite3_column_int64(st, 0),
                                  .client_msg_id = column_slice(st, 1),
                                  .type = column_slice(st, 4),
                                  .payload = column_slice(st, 5),
                                  .ttl_s = (uint64_t)sqlite3_column_int64(st, 6),
                                  .urgent = sqlite3_column_int(st, 7) != 0};
        if (!column_id(st, 2, &q.to) || !column_id(st, 3, &q.conversation)) err = SOTTO_ERR_CORRUPT;
        if (!err && !each(arg, &q)) err = SOTTO_ERR_FULL;
    }
    sqlite3_reset(st);
    return err;
}

static enum sotto_err port_load_cursor(void *ctx, bool (*each)(void *arg, struct slice cursor), void *arg)
{
    struct buffer value;
    buffer_init(&value, 4096);
    enum sotto_err err = local_setting_get(ctx, "cursor", &value);
    if (err == SOTTO_ERR_NOT_FOUND) err = SOTTO_OK;
    if (!err && !each(arg, buffer_slice(&value))) err = SOTTO_ERR_FULL;
    buffer_deinit(&value);
    return err;
}

static enum sotto_err port_save_cursor(void *ctx, struct slice cursor)
{
    return local_setting_put(ctx, "cursor", cursor);
}

static enum sotto_err port_save_mark(void *ctx, const struct client_mark *m)
{
    struct local_store *s = ctx;
    sqlite3_stmt *st = s->statements[ST_MARK];
    bind_id(st, 1, &m->conversation);
    sqlite3_bind_int64(st, 2, (sqlite3_int64)m->sequence);
    sqlite3_bind_int64(st, 3, (sqlite3_int64)m->read);
    sqlite3_bind_int64(st, 4, (sqlite3_int64)m->confirmed[MARK_DELIVERED]);
    sqlite3_bind_int64(st, 5, (sqlite3_int64)m->confirmed[MARK_READ]);
    if (m->chain_known) bind_blob(st, 6, slice_of(m->chain, HASH_LEN));
    sqlite3_bind_int64(st, 7, (sqlite3_int64)m->first);
    return run(s, ST_MARK);
}

static enum sotto_err port_put_queued(void *ctx, const struct client_queued *q)
{
    struct local_store *s = ctx;
    sqlite3_stmt *st = s->statements[ST_QUEUE];
    bind_blob(st, 1, q->client_msg_id);
    bind_id(st, 2, &q->to);
    bind_id(st, 3, &q->conversation);
    bind_blob(st, 4, q->type);
    bind_blob(st, 5, q->payload);
    sqlite3_bind_int64(st, 6, (sqlite3_int64)q->ttl_s);
    sqlite3_bind_int(st, 7, q->urgent);
    return run(s, ST_QUEUE);
}

static enum sotto_err port_remove_queued(void *ctx, struct slice client_msg_id)
{
    struct local_store *s = ctx;
    bind_blob(s->statements[ST_UNQUEUE], 1, client_msg_id);
    return run(s, ST_UNQUEUE);
}

/* ---- Settings ---------------------------------------------------------- */

enum sotto_err local_setting_get(struct local_store *s, const char *name, struct buffer *out)
{
    sqlite3_stmt *st = s->statements[ST_GET];
    sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
    int rc = sqlite3_step(st);
    enum sotto_err err = rc == SQLITE_DONE ? SOTTO_ERR_NOT_FOUND : err_of(rc);
    if (!err) buffer_append_slice(out, column_slice(st, 0));
    sqlite3_reset(st);
    return err;
}

enum sotto_err local_setting_put(struct local_store *s, const char *name, struct slice value)
{
    sqlite3_stmt *st = s->statements[ST_PUT];
    sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
    bind_blob(st, 2, value);
    return run(s, ST_PUT);
}

enum sotto_err local_store_reset(struct local_store *s)
{
    return err_of(sqlite3_exec(s->db, "BEGIN IMMEDIATE; DELETE FROM setting; DELETE FROM mark; DELETE FROM outbox;"
                                      " COMMIT", NULL, NULL, NULL));
}

size_t local_outbox_count(struct local_store *s)
{
    sqlite3_stmt *st = s->statements[ST_WAITING];
    size_t count = sqlite3_step(st) == SQLITE_ROW ? (size_t)sqlite3_column_int64(st, 0) : 0;
    sqlite3_reset(st);
    return count;
}

const struct client_store *local_store_port(struct local_store *s)
{
    return &s->port;
}

/* ---- Opening ----------------------------------------------------------- */

static int pragma_int(sqlite3 *db, const char *sql, int *out)
{
    sqlite3_stmt *st;
    int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
    if (rc != SQLITE_OK) return rc;
    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        *out = sqlite3_column_int(st, 0);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(st);
    return rc;
}

/* Brings version 1 up to date; another process may have been first. */
static int schema_raise(sqlite3 *db, int *version)
{
    char sql[160];
    int rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc == SQLITE_OK) rc = pragma_int(db, "PRAGMA user_version", version);
    if (rc == SQLITE_OK && *version == 1) {
        (void)snprintf(sql, sizeof sql, "ALTER TABLE mark ADD COLUMN first INTEGER NOT NULL DEFAULT 0;"
                                        " PRAGMA user_version=%d", LOCAL_VERSION);
        rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
        if (rc == SQLITE_OK) *version = LOCAL_VERSION;
    }
    if (rc == SQLITE_OK) rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    return rc;
}

static enum sotto_err schema_check(struct local_store *s, const char *file, struct buffer *why)
{
    int version = 0, application = 0, tables = 0;
    int rc = pragma_int(s->db, "PRAGMA user_version", &version);
    if (rc == SQLITE_OK) rc = pragma_int(s->db, "PRAGMA application_id", &application);
    if (rc == SQLITE_OK) rc = pragma_int(s->db, "SELECT count(*) FROM sqlite_master", &tables);
    if (rc == SQLITE_OK && application == LOCAL_APPLICATION && version == 1) rc = schema_raise(s->db, &version);
    if (rc != SQLITE_OK) {
        buffer_printf(why, "%s cannot be read: %s", file, sqlite3_errmsg(s->db));
        return err_of(rc);
    }
    if (tables && (application != LOCAL_APPLICATION || version != LOCAL_VERSION)) {
        buffer_printf(why, "%s was not written by this version of sotto (format %d, this one knows %d)", file,
                      version, LOCAL_VERSION);
        return SOTTO_ERR_CORRUPT;
    }
    if (tables) return SOTTO_OK;
    char sql[1536];
    (void)snprintf(sql, sizeof sql, "BEGIN IMMEDIATE; %s PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT",
                   schema, LOCAL_APPLICATION, LOCAL_VERSION);
    rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    if (rc != SQLITE_OK) buffer_printf(why, "%s cannot be set up: %s", file, sqlite3_errmsg(s->db));
    return err_of(rc);
}

enum sotto_err local_store_open(const char *file, struct buffer *why_out, struct local_store **store_out)
{
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || fchmod(fd, 0600) < 0) {
        buffer_printf(why_out, "%s cannot be opened: %s", file, strerror(errno));
        if (fd >= 0) close(fd);
        return SOTTO_ERR_IO;
    }
    close(fd);
    struct local_store *s = calloc(1, sizeof *s);
    if (!s) return SOTTO_ERR_FULL;
    s->port = (struct client_store){port_begin, port_commit, port_rollback, port_load_marks, port_load_queued,
                                    port_load_cursor, port_save_cursor, port_save_mark, port_put_queued,
                                    port_remove_queued, s};
    enum sotto_err err = err_of(sqlite3_open_v2(file, &s->db, SQLITE_OPEN_READWRITE, NULL));
    if (!err) {
        sqlite3_busy_timeout(s->db, BUSY_MS);
        err = err_of(sqlite3_exec(s->db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL", NULL, NULL, NULL));
    }
    if (err) buffer_printf(why_out, "%s cannot be opened: %s", file, s->db ? sqlite3_errmsg(s->db) : "no memory");
    if (!err) err = schema_check(s, file, why_out);
    for (int i = 0; i < ST_COUNT && !err; i++) {
        err = err_of(sqlite3_prepare_v3(s->db, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->statements[i], NULL));
        if (err) buffer_printf(why_out, "%s is damaged: %s", file, sqlite3_errmsg(s->db));
    }
    if (err) {
        local_store_close(&s);
        return err;
    }
    *store_out = s;
    return SOTTO_OK;
}

void local_store_close(struct local_store **store)
{
    struct local_store *s = *store;
    if (!s) return;
    *store = NULL;
    for (int i = 0; i < ST_COUNT; i++) sqlite3_finalize(s->statements[i]);
    sqlite3_close(s->db);
    free(s);
}
