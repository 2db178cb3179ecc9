/* SQLite behind sql.h.
 *
 * DESIGN
 * One connection writes, under a mutex; SQL_READERS others read, handed out
 * from a pool, so that a worker that lists contacts does not wait for another
 * one's fsync. WAL mode gives each reader its snapshot. synchronous=FULL: a
 * commit that returned has reached the disk. Every connection is held by one
 * thread at a time, so SQLite's own mutexes are off.
 *
 * FAILURE
 * Disk full (SQLITE_FULL, or an I/O error whose errno is ENOSPC or EDQUOT) is
 * SOTTO_ERR_FULL; the transaction is rolled back, readers go on, and the next
 * transaction simply tries again. Another process that holds the write lock
 * longer than SQL_BUSY_MS is SOTTO_ERR_AGAIN. A commit that failed on fsync is
 * reported as an error although the frames may be found again after a crash:
 * callers' retries meet the unique keys.
 *
 * RECOGNITION
 * The header's application id tells our files from other SQLite databases. On
 * opening, a file of up to CHECK_BYTES_MAX is checked page by page; a larger
 * one would delay the start, and is left to `sottod check` and to SQLite's
 * own complaints when it meets the damage.
 *
 * The file is made with mode 0600 (its -wal and -shm follow it), and only when
 * it does not exist: opening and closing it here later would drop the locks
 * that the process holds on it, as POSIX has it.
 */
#include "directory/sql.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    APPLICATION_ID = 0x536f7464, /* "Sotd" */
    CHECK_BYTES_MAX = 64 * 1024 * 1024,
    BACKUP_PAGES = 1024,         /* copied between two looks at the result */
    PATH_LEN_MAX = 4096,
};

struct sqlite_stmt {
    struct sql_stmt base;
    const char *text;
    sqlite3_stmt *handle; /* NULL: could not be prepared; every call does nothing */
    bool used;            /* in this transaction */
    bool row;             /* standing on a row */
};
struct sqlite_conn {
    struct sql_tx base;
    struct sqlite_sql *owner;
    sqlite3 *handle;
    struct sqlite_conn *next_idle;
    size_t statements_count;
    struct sqlite_stmt statements[SQL_STATEMENTS_MAX];
    struct sqlite_stmt broken; /* handed out when preparing failed */
};
struct sqlite_sql {
    struct sql base;
    struct log *log;
    char *file;
    pthread_mutex_t writer_mutex;
    struct sqlite_conn *writer;
    uint64_t data_version; /* under writer_mutex */
    pthread_mutex_t pool_mutex;
    pthread_cond_t pool_cond;
    struct sqlite_conn *idle;
    struct sqlite_conn *readers[SQL_READERS];
};

static enum sotto_err err_of(int code, int system_errno)
{
    bool no_room = system_errno == ENOSPC || system_errno == EDQUOT;
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE: return SOTTO_OK;
    case SQLITE_FULL: return SOTTO_ERR_FULL;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN: return no_room ? SOTTO_ERR_FULL : SOTTO_ERR_IO;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return SOTTO_ERR_AGAIN;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return SOTTO_ERR_CORRUPT;
    case SQLITE_CONSTRAINT:
        return code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY ? SOTTO_ERR_EXISTS
                                                                                        : SOTTO_ERR_INVALID;
    default: return SOTTO_ERR_IO;
    }
}

static enum sotto_err err_now(sqlite3 *handle)
{
    int code = sqlite3_extended_errcode(handle);
    bool io = (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN;
    return err_of(code, io ? sqlite3_system_errno(handle) : 0);
}

/* SQLite's sentences name tables and columns, never values. */
static void conn_fail(struct sqlite_conn *c)
{
    enum sotto_err err = err_now(c->handle);
    if (c->base.err != SOTTO_OK) return;
    c->base.err = err == SOTTO_OK ? SOTTO_ERR_IO : err;
    LOG(c->owner->log, LOG_ERROR, "directory.sql", LOG_S("error", sotto_err_name(c->base.err)),
        LOG_I("code", sqlite3_extended_errcode(c->handle)), LOG_S("says", sqlite3_errmsg(c->handle)));
}

/* ---- Statements --------------------------------------------------------- */

/* $1 is a name to SQLite, numbered by first appearance: the rule in sql.h
 * makes name and number agree. */
static void check_parameters(sqlite3_stmt *handle)
{
    for (int i = 1; i <= sqlite3_bind_parameter_count(handle); i++) {
        char expected[16];
        snprintf(expected, sizeof expected, "$%d", i);
        const char *name = sqlite3_bind_parameter_name(handle, i);
        SOTTO_ASSERT(name != NULL && strcmp(name, expected) == 0);
    }
}

static void stmt_rewind(struct sqlite_stmt *q)
{
    sqlite3_reset(q->handle);
    sqlite3_clear_bindings(q->handle);
    q->row = false;
}

static struct sql_stmt *sqlite_prepare(struct sql_tx *tx, const char *text)
{
    struct sqlite_conn *c = (struct sqlite_conn *)tx;
    struct sqlite_stmt *q = NULL;
    for (size_t i = 0; i < c->statements_count && q == NULL; i++)
        if (c->statements[i].text == text) q = &c->statements[i];
    if (c->base.err != SOTTO_OK) return &c->broken.base;
    if (q == NULL) {
        SOTTO_ASSERT(c->statements_count < SQL_STATEMENTS_MAX);
        sqlite3_stmt *handle = NULL;
        if (sqlite3_prepare_v3(c->handle, text, -1, SQLITE_PREPARE_PERSISTENT, &handle, NULL) != SQLITE_OK) {
            conn_fail(c);
            return &c->broken.base;
        }
        check_parameters(handle);
        q = &c->statements[c->statements_count++];
        *q = (struct sqlite_stmt){.base.tx = tx, .text = text, .handle = handle};
    }
    stmt_rewind(q);
    q->used = true;
    return &q->base;
}

static void bind_checked(struct sqlite_stmt *q, int result)
{
    /* A wrong position is a bug; so is binding while the statement runs. */
    SOTTO_ASSERT(result != SQLITE_RANGE && result != SQLITE_MISUSE);
    if (result != SQLITE_OK) conn_fail((struct sqlite_conn *)q->base.tx);
}

static void sqlite_bind_i64(struct sql_stmt *stmt, int at, int64_t value)
{
    struct sqlite_stmt *q = (struct sqlite_stmt *)stmt;
    if (q->handle != NULL) bind_checked(q, sqlite3_bind_int64(q->handle, at, value));
}

static void sqlite_bind_bytes(struct sql_stmt *stmt, int at, struct slice value)
{
    struct sqlite_stmt *q = (struct sqlite_stmt *)stmt;
    const void *data = value.len > 0 ? (const void *)value.data : "";
    if (q->handle != NULL) bind_checked(q, sqlite3_bind_blob64(q->handle, at, data, value.len, SQLITE_STATIC));
}

static void sqlite_bind_text(struct sql_stmt *stmt, int at, struct slice value)
{
    struct sqlite_stmt *q = (struct sqlite_stmt *)stmt;
    const char *text = value.len > 0 ? (const char *)value.data : "";
    if (q->handle != NULL)
        bind_checked(q, sqlite3_bind_text64(q->handle, at, text, value.len, SQLITE_STATIC, SQLITE_UTF8));
}

static bool sqlite_step(struct sql_stmt *stmt)
{
    struct sqlite_stmt *q = (struct sqlite_stmt *)stmt;
    q->row = false;
    if (q->base.tx->err != SOTTO_OK || q->handle == NULL) return false;
    int result = sqlite3_step(q->handle);
    q->row = result == SQLITE_ROW;
    if (result != SQLITE_ROW && result != SQLITE_DONE) conn_fail((struct sqlite_conn *)q->base.tx);
    if (!q->row) sqlite3_reset(q->handle);
    return q->row;
}

static int64_t sqlite_column_i64(struct sql_stmt *stmt, int at)
{
    struct sqlite_stmt *q = (struct sqlite_stmt *)stmt;
    return q->row ? sqlite3_column_int64(q->handle, at) : 0;
}

static struct slice sqlite_column_bytes(struct sql_stmt *stmt, int at)
{
    struct sqlite_stmt *q = (struct sqlite_stmt *)stmt;
    if (!q->row) return slice_of(NULL, 0);
    const void *data = sqlite3_column_blob(q->handle, at);
    return slice_of(data, data != NULL ? (size_t)sqlite3_column_bytes(q->handle, at) : 0);
}

static uint64_t sqlite_changes(struct sql_tx *tx)
{
    return tx->err == SOTTO_OK ? (uint64_t)sqlite3_changes(((struct sqlite_conn *)tx)->handle) : 0;
}

/* ---- Transactions ------------------------------------------------------- */

static void sqlite_exec(struct sql_tx *tx, const char *script)
{
    struct sqlite_conn *c = (struct sqlite_conn *)tx;
    if (tx->err == SOTTO_OK && sqlite3_exec(c->handle, script, NULL, NULL, NULL) != SQLITE_OK) conn_fail(c);
}

static struct sqlite_conn *conn_take(struct sqlite_sql *s, enum sql_use use)
{
    if (use == SQL_WRITE) {
        pthread_mutex_lock(&s->writer_mutex);
        return s->writer;
    }
    pthread_mutex_lock(&s->pool_mutex);
    while (s->idle == NULL) pthread_cond_wait(&s->pool_cond, &s->pool_mutex);
    struct sqlite_conn *c = s->idle;
    s->idle = c->next_idle;
    pthread_mutex_unlock(&s->pool_mutex);
    return c;
}

static void conn_give_back(struct sqlite_conn *c)
{
    struct sqlite_sql *s = c->owner;
    if (c == s->writer) {
        pthread_mutex_unlock(&s->writer_mutex);
        return;
    }
    pthread_mutex_lock(&s->pool_mutex);
    c->next_idle = s->idle;
    s->idle = c;
    pthread_cond_signal(&s->pool_cond);
    pthread_mutex_unlock(&s->pool_mutex);
}

static void conn_run(struct sqlite_conn *c, const char *text)
{
    struct sql_stmt *q = sqlite_prepare(&c->base, text);
    while (sqlite_step(q)) continue;
}

static struct sql_tx *sqlite_begin(struct sql *sql, enum sql_use use)
{
    struct sqlite_conn *c = conn_take((struct sqlite_sql *)sql, use);
    c->base.use = use;
    c->base.err = SOTTO_OK;
    conn_run(c, use == SQL_WRITE ? "BEGIN IMMEDIATE" : "BEGIN");
    return &c->base;
}

static enum sotto_err sqlite_end(struct sql_tx *tx, bool commit)
{
    struct sqlite_conn *c = (struct sqlite_conn *)tx;
    for (size_t i = 0; i < c->statements_count; i++) {
        if (!c->statements[i].used) continue;
        stmt_rewind(&c->statements[i]);
        c->statements[i].used = false;
    }
    if (commit && tx->err == SOTTO_OK) conn_run(c, "COMMIT");
    enum sotto_err err = tx->err;
    /* Some errors have rolled back by themselves. */
    if (!sqlite3_get_autocommit(c->handle)) {
        tx->err = SOTTO_OK;
        conn_run(c, "ROLLBACK");
    }
    conn_give_back(c);
    return err;
}

static bool sqlite_changed_elsewhere(struct sql *sql)
{
    struct sqlite_sql *s = (struct sqlite_sql *)sql;
    struct sqlite_conn *c = conn_take(s, SQL_WRITE);
    c->base.err = SOTTO_OK;
    struct sql_stmt *q = sqlite_prepare(&c->base, "PRAGMA data_version");
    uint64_t version = sqlite_step(q) ? (uint64_t)sqlite_column_i64(q, 0) : s->data_version;
    sqlite_step(q);
    bool changed = version != s->data_version;
    s->data_version = version;
    conn_give_back(c);
    return changed;
}

/* ---- Opening and closing ------------------------------------------------ */

static void say(struct buffer *why, const char *file, enum sotto_err err, const char *detail)
{
    if (why == NULL) return;
    buffer_clear(why);
    buffer_printf(why, "The directory database %s ", file);
    switch (err) {
    case SOTTO_ERR_CORRUPT:
        buffer_printf(why, "is damaged (%s). Restore it from a backup; keep the damaged file for recovery.", detail);
        break;
    case SOTTO_ERR_INVALID: buffer_printf(why, "cannot be used: %s.", detail); break;
    case SOTTO_ERR_FULL: buffer_printf(why, "cannot be written: the disk is full (%s). Make room.", detail); break;
    case SOTTO_ERR_AGAIN:
        buffer_printf(why, "is locked by another process (%s). Stop it, or try again later.", detail);
        break;
    default: buffer_printf(why, "cannot be opened: %s. Check that the folder exists and is writable.", detail);
    }
}

static void conn_close(struct sqlite_conn **conn)
{
    struct sqlite_conn *c = *conn;
    *conn = NULL;
    if (c == NULL) return;
    for (size_t i = 0; i < c->statements_count; i++) sqlite3_finalize(c->statements[i].handle);
    sqlite3_close(c->handle);
    free(c);
}

static struct sqlite_conn *conn_open(struct sqlite_sql *s)
{
    struct sqlite_conn *c = sotto_zalloc(sizeof *c);
    c->base.driver = &sql_sqlite;
    c->owner = s;
    c->broken.base.tx = &c->base;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
    if (sqlite3_open_v2(s->file, &c->handle, flags, NULL) != SQLITE_OK) {
        SOTTO_ASSERT(c->handle != NULL); /* else out of memory */
        conn_fail(c);
        return c;
    }
    sqlite3_busy_timeout(c->handle, SQL_BUSY_MS);
    sqlite_exec(&c->base, "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;"
                          "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA cache_size = -128;"
                          "PRAGMA secure_delete = FAST; PRAGMA journal_size_limit = 4194304;");
    return c;
}

/* The number that a PRAGMA answers with. */
static uint64_t conn_number(struct sqlite_conn *c, const char *pragma)
{
    struct sql_stmt *q = sqlite_prepare(&c->base, pragma);
    uint64_t value = sqlite_step(q) ? (uint64_t)sqlite_column_i64(q, 0) : 0;
    stmt_rewind((struct sqlite_stmt *)q);
    return value;
}

/* Makes sure that the file is ours and whole. */
static enum sotto_err recognise(struct sqlite_conn *c, struct buffer *why)
{
    uint64_t id = conn_number(c, "PRAGMA application_id");
    if (c->base.err == SOTTO_OK && id != APPLICATION_ID) {
        if (id != 0 || conn_number(c, "PRAGMA schema_version") != 0) {
            say(why, c->owner->file, SOTTO_ERR_INVALID, "it belongs to another program");
            return SOTTO_ERR_INVALID;
        }
        c->owner->base.fresh = true;
        char text[64];
        snprintf(text, sizeof text, "PRAGMA application_id = %d", (int)APPLICATION_ID);
        sqlite_exec(&c->base, text);
    }
    sqlite_exec(&c->base, "PRAGMA journal_mode = WAL");
    struct sql_stmt *q = sqlite_prepare(&c->base, "PRAGMA journal_mode");
    if (sqlite_step(q) && !slice_is(sqlite_column_bytes(q, 0), "wal")) {
        say(why, c->owner->file, SOTTO_ERR_INVALID, "its file system does not allow write-ahead logging");
        return SOTTO_ERR_INVALID;
    }
    struct stat st;
    if (c->base.err == SOTTO_OK && stat(c->owner->file, &st) == 0 && st.st_size <= CHECK_BYTES_MAX) {
        q = sqlite_prepare(&c->base, "PRAGMA quick_check(1)");
        if (sqlite_step(q) && !slice_is(sqlite_column_bytes(q, 0), "ok")) {
            char detail[256];
            sql_copy_text(q, 0, detail, sizeof detail);
            say(why, c->owner->file, SOTTO_ERR_CORRUPT, detail);
            return SOTTO_ERR_CORRUPT;
        }
        stmt_rewind((struct sqlite_stmt *)q);
    }
    if (c->base.err != SOTTO_OK) say(why, c->owner->file, c->base.err, sqlite3_errmsg(c->handle));
    return c->base.err;
}

static void sqlite_close(struct sql *sql)
{
    struct sqlite_sql *s = (struct sqlite_sql *)sql;
    for (size_t i = 0; i < SQL_READERS; i++) conn_close(&s->readers[i]);
    conn_close(&s->writer);
    pthread_mutex_destroy(&s->writer_mutex);
    pthread_mutex_destroy(&s->pool_mutex);
    pthread_cond_destroy(&s->pool_cond);
    free(s->file);
    free(s);
}

static enum sotto_err open_connections(struct sqlite_sql *s, struct buffer *why)
{
    int fd = open(s->file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) close(fd);
    if (fd < 0 && errno != EEXIST) {
        enum sotto_err err = errno == ENOSPC || errno == EDQUOT ? SOTTO_ERR_FULL : SOTTO_ERR_IO;
        say(why, s->file, err, strerror(errno));
        return err;
    }
    s->writer = conn_open(s);
    enum sotto_err err = s->writer->base.err;
    if (err != SOTTO_OK) {
        say(why, s->file, err, sqlite3_errmsg(s->writer->handle));
        return err;
    }
    err = recognise(s->writer, why);
    for (size_t i = 0; i < SQL_READERS && err == SOTTO_OK; i++) {
        struct sqlite_conn *c = s->readers[i] = conn_open(s);
        sqlite_exec(&c->base, "PRAGMA query_only = ON");
        err = c->base.err;
        if (err != SOTTO_OK) say(why, s->file, err, sqlite3_errmsg(c->handle));
        c->next_idle = s->idle;
        s->idle = c;
    }
    return err;
}

static enum sotto_err sqlite_open(const char *name, struct log *log, struct buffer *why_out, struct sql **sql_out)
{
    SOTTO_ASSERT(sqlite3_threadsafe() != 0);
    struct sqlite_sql *s = sotto_zalloc(sizeof *s);
    s->base.driver = &sql_sqlite;
    s->log = log;
    size_t len = strlen(name);
    s->file = sotto_alloc(len + 1);
    memcpy(s->file, name, len + 1);
    pthread_mutex_init(&s->writer_mutex, NULL);
    pthread_mutex_init(&s->pool_mutex, NULL);
    pthread_cond_init(&s->pool_cond, NULL);
    enum sotto_err err = open_connections(s, why_out);
    if (err != SOTTO_OK) {
        sqlite_close(&s->base);
        return err;
    }
    sqlite_changed_elsewhere(&s->base); /* what is there already is known */
    *sql_out = &s->base;
    return SOTTO_OK;
}

/* ---- Backup and check --------------------------------------------------- */

/* Copies into `part`, one snapshot from the first page to the last: the source
 * transaction keeps its view while others commit. */
static enum sotto_err copy_into(struct sqlite_conn *source, const char *part, struct buffer *why)
{
    sqlite3 *target = NULL;
    enum sotto_err err = SOTTO_OK;
    int fd = open(part, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        err = errno == ENOSPC ? SOTTO_ERR_FULL : SOTTO_ERR_IO;
        say(why, part, err, strerror(errno));
        return err;
    }
    sqlite3_backup *backup = NULL;
    if (sqlite3_open_v2(part, &target, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK)
        backup = sqlite3_backup_init(target, "main", source->handle, "main");
    if (backup != NULL) {
        while (sqlite3_backup_step(backup, BACKUP_PAGES) == SQLITE_OK) continue;
        sqlite3_backup_finish(backup);
    }
    err = err_now(target);
    if (err != SOTTO_OK) say(why, part, err, sqlite3_errmsg(target));
    sqlite3_close(target);
    if (err == SOTTO_OK && fsync(fd) != 0) {
        err = errno == ENOSPC ? SOTTO_ERR_FULL : SOTTO_ERR_IO;
        say(why, part, err, strerror(errno));
    }
    close(fd);
    return err;
}

/* Makes a rename in the folder of `file` durable. */
static int sync_folder(const char *file)
{
    char folder[PATH_LEN_MAX];
    const char *slash = strrchr(file, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - file);
    if (len == 0) snprintf(folder, sizeof folder, "%s", slash == NULL ? "." : "/");
    else snprintf(folder, sizeof folder, "%.*s", (int)len, file);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -1;
    int result = fsync(fd);
    close(fd);
    return result;
}

static enum sotto_err sqlite_backup(struct sql *sql, const char *file, struct buffer *why_out)
{
    char part[PATH_LEN_MAX];
    if ((size_t)snprintf(part, sizeof part, "%s.part", file) >= sizeof part) {
        say(why_out, file, SOTTO_ERR_INVALID, "its name is too long");
        return SOTTO_ERR_INVALID;
    }
    struct sqlite_conn *source = (struct sqlite_conn *)sqlite_begin(sql, SQL_READ);
    conn_number(source, "SELECT COUNT(*) FROM schema_version"); /* takes the snapshot */
    enum sotto_err err = source->base.err;
    if (err == SOTTO_OK)
        err = copy_into(source, part, why_out);
    else
        say(why_out, file, err, "the source cannot be read");
    enum sotto_err ended = sqlite_end(&source->base, false);
    if (err == SOTTO_OK) err = ended;
    if (err == SOTTO_OK && (rename(part, file) != 0 || sync_folder(file) != 0)) {
        err = SOTTO_ERR_IO;
        say(why_out, file, err, strerror(errno));
    }
    if (err != SOTTO_OK) unlink(part);
    return err;
}

static enum sotto_err sqlite_check(struct sql *sql, sql_found_fn found, void *ctx)
{
    struct sql_tx *tx = sqlite_begin(sql, SQL_READ);
    bool clean = true;
    struct sql_stmt *q = sqlite_prepare(tx, "PRAGMA integrity_check(100)");
    while (sqlite_step(q)) {
        char sentence[512];
        sql_copy_text(q, 0, sentence, sizeof sentence);
        if (strcmp(sentence, "ok") == 0) continue;
        clean = false;
        found(ctx, sentence);
    }
    q = sqlite_prepare(tx, "PRAGMA foreign_key_check");
    while (sqlite_step(q)) {
        char table[64], sentence[160];
        sql_copy_text(q, 0, table, sizeof table);
        snprintf(sentence, sizeof sentence, "A row of table %s refers to a row that does not exist.", table);
        clean = false;
        found(ctx, sentence);
    }
    enum sotto_err err = sqlite_end(tx, false);
    if (err == SOTTO_ERR_CORRUPT && clean) found(ctx, "The database is too damaged to be checked.");
    return err != SOTTO_OK ? err : clean ? SOTTO_OK : SOTTO_ERR_CORRUPT;
}

const struct sql_driver sql_sqlite = {
    .open = sqlite_open,
    .close = sqlite_close,
    .begin = sqlite_begin,
    .end = sqlite_end,
    .exec = sqlite_exec,
    .prepare = sqlite_prepare,
    .bind_i64 = sqlite_bind_i64,
    .bind_bytes = sqlite_bind_bytes,
    .bind_text = sqlite_bind_text,
    .step = sqlite_step,
    .column_i64 = sqlite_column_i64,
    .column_bytes = sqlite_column_bytes,
    .changes = sqlite_changes,
    .changed_elsewhere = sqlite_changed_elsewhere,
    .backup = sqlite_backup,
    .check = sqlite_check,
};
