/* The little SQL that the directory speaks, and the table that a database
 * driver fills in.
 *
 * DESIGN
 * A transaction is the only way in: sql_begin takes a connection and holds it
 * until sql_end. An error is sticky on the transaction: from then on nothing
 * runs, no row comes, every column reads as zero, and sql_end rolls back and
 * returns the first error. Callers therefore check once, at the end, and ask
 * sql_failed only where "no row" would otherwise be believed.
 *
 * PORTABLE SQL
 * The statements are written once, for SQLite and PostgreSQL:
 *   - placeholders $1, $2 … that first appear in this order (both drivers may
 *     then bind by position; the SQLite one asserts it);
 *   - types BIGINT, SMALLINT, TEXT, BYTEA (SQLite accepts any type name, and
 *     bytes keep their storage class under the affinity that BYTEA gets);
 *   - INSERT … ON CONFLICT, RETURNING, COALESCE; no rowid, no REPLACE, no
 *     casts of parameters, no placeholder in a SELECT list;
 *   - a write transaction first updates the row that it is about (the user's),
 *     which is the lock that PostgreSQL needs and SQLite has anyway.
 * Booleans are 0 or 1; instants are Unix milliseconds; "never" is 0.
 *
 * Statement texts must be literals: prepared statements are cached by address.
 * Threads: any; a transaction belongs to the thread that began it. Blocks.
 */
#ifndef SOTTO_DIRECTORY_SQL_H
#define SOTTO_DIRECTORY_SQL_H

#include "base/error.h"
#include "base/id.h"
#include "base/log.h"

enum { SQL_STATEMENTS_MAX = 160, SQL_READERS = 3, SQL_BUSY_MS = 5000 };
enum sql_use { SQL_READ, SQL_WRITE };

/* What the drivers extend: each is the first member of theirs. */
struct sql {
    const struct sql_driver *driver;
    bool fresh; /* opening found an empty database: there are no tables yet */
};
struct sql_tx {
    const struct sql_driver *driver;
    enum sql_use use;
    enum sotto_err err; /* the first that happened */
};
struct sql_stmt {
    struct sql_tx *tx;
};

typedef void (*sql_found_fn)(void *ctx, const char *sentence);
struct sql_driver {
    /* name: a file, or a connection string. Errors: IO, CORRUPT, INVALID (not
     * ours), FULL, AGAIN (in use); why_out says what to do. */
    enum sotto_err (*open)(const char *name, struct log *log, struct buffer *why_out, struct sql **sql_out);
    void (*close)(struct sql *sql);
    /* One write transaction at a time per process; several reads, each on one
     * snapshot. Waits. */
    struct sql_tx *(*begin)(struct sql *sql, enum sql_use use);
    enum sotto_err (*end)(struct sql_tx *tx, bool commit);
    void (*exec)(struct sql_tx *tx, const char *script);
    struct sql_stmt *(*prepare)(struct sql_tx *tx, const char *text);
    void (*bind_i64)(struct sql_stmt *q, int at, int64_t value);
    void (*bind_bytes)(struct sql_stmt *q, int at, struct slice value);
    void (*bind_text)(struct sql_stmt *q, int at, struct slice value);
    bool (*step)(struct sql_stmt *q);
    int64_t (*column_i64)(struct sql_stmt *q, int at);
    struct slice (*column_bytes)(struct sql_stmt *q, int at);
    uint64_t (*changes)(struct sql_tx *tx);
    /* Whether another process may have committed since this was last asked. */
    bool (*changed_elsewhere)(struct sql *sql);
    enum sotto_err (*backup)(struct sql *sql, const char *file, struct buffer *why_out);
    enum sotto_err (*check)(struct sql *sql, sql_found_fn found, void *ctx);
};
extern const struct sql_driver sql_sqlite;

/* Never NULL; a transaction that could not begin has its error set. */
static inline struct sql_tx *sql_begin(struct sql *sql, enum sql_use use)
{
    return sql->driver->begin(sql, use);
}
/* Commits when `commit` is set and nothing failed, rolls back otherwise, and
 * gives the connection back. Returns the transaction's first error.
 * Errors: FULL (disk), AGAIN (another process holds the lock), EXISTS,
 * CORRUPT, IO. */
SOTTO_CHECKED static inline enum sotto_err sql_end(struct sql_tx *tx, bool commit)
{
    return tx->driver->end(tx, commit);
}
static inline bool sql_failed(const struct sql_tx *tx) { return tx->err != SOTTO_OK; }
/* Several statements without parameters. */
static inline void sql_exec(struct sql_tx *tx, const char *script) { tx->driver->exec(tx, script); }

/* A prepared statement, ready to bind; never NULL. Valid until the transaction
 * ends or the same text is prepared again. */
static inline struct sql_stmt *sql_prepare(struct sql_tx *tx, const char *text)
{
    return tx->driver->prepare(tx, text);
}
/* Parameters count from 1. Bytes and text are borrowed until the transaction
 * ends or the statement is prepared again. Not bound: NULL. */
static inline void sql_bind_u64(struct sql_stmt *q, int at, uint64_t value)
{
    SOTTO_ASSERT(value <= INT64_MAX);
    q->tx->driver->bind_i64(q, at, (int64_t)value);
}
static inline void sql_bind_bytes(struct sql_stmt *q, int at, struct slice value)
{
    q->tx->driver->bind_bytes(q, at, value);
}
static inline void sql_bind_text(struct sql_stmt *q, int at, struct slice value)
{
    q->tx->driver->bind_text(q, at, value);
}
/* The id must outlive the statement's use, as any bytes. */
static inline void sql_bind_id(struct sql_stmt *q, int at, const struct id *id)
{
    sql_bind_bytes(q, at, slice_of(id->bytes, ID_LEN));
}
/* True when there is a row to read; false at the end or after an error. */
static inline bool sql_step(struct sql_stmt *q) { return q->tx->driver->step(q); }
/* Runs a statement whose rows, if any, do not matter. */
static inline void sql_run(struct sql_stmt *q)
{
    while (sql_step(q)) continue;
}
/* Rows changed by the last INSERT, UPDATE or DELETE. */
static inline uint64_t sql_changes(struct sql_tx *tx) { return tx->driver->changes(tx); }
/* Columns count from 0. NULL reads as 0 or as empty. */
static inline uint64_t sql_u64(struct sql_stmt *q, int at)
{
    int64_t v = q->tx->driver->column_i64(q, at);
    return v > 0 ? (uint64_t)v : 0;
}
/* Borrowed until the next step. */
static inline struct slice sql_bytes(struct sql_stmt *q, int at) { return q->tx->driver->column_bytes(q, at); }
/* Copies exactly `len` bytes; what is stored in another length is left out and
 * reads as zeros. */
void sql_copy_bytes(struct sql_stmt *q, int at, void *out, size_t len);
/* Copies text with its NUL, cut at size - 1 bytes. */
void sql_copy_text(struct sql_stmt *q, int at, char *out, size_t size);
struct id sql_id(struct sql_stmt *q, int at);

#endif
