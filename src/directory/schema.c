/* The tables of the directory.
 *
 * DESIGN
 * Table schema_version holds one row, the number of the last migration that
 * ran. A migration is never edited once released: what changes is a new entry
 * at the end. A database with a higher number than we know is refused, because
 * writing to it could break what the newer program relies on.
 *
 *   users             one row per account that ever was. A deleted one keeps
 *                     its id and deleted_ms, and loses all else, so that the
 *                     id is never used again. device_last: the device id given
 *                     last. revision: counts write transactions; updating it
 *                     locks the user.
 *   devices           the token's hash and the public keys that are not
 *                     one-time. registration_id 0: no keys yet.
 *   one_time_prekeys  those not yet handed out; kind 1 EC, 2 KEM
 *   used_prekeys      ids of those handed out, so that an upload repeated after
 *                     a lost answer does not hand a key out twice
 *   contacts, blocks  user_id's own lists
 *   invites           hashes of one-time invites
 *   settings          keys of this installation
 *   counters          sequences that are without holes and in order of commit,
 *                     because the row is locked until then
 *   changes           what other processes must hear of; origin tells a
 *                     process its own
 */
#include "directory/schema.h"

static const char accounts[] =
    "CREATE TABLE settings ("
    "  name TEXT NOT NULL PRIMARY KEY,"
    "  value BYTEA NOT NULL);"
    "CREATE TABLE counters ("
    "  name TEXT NOT NULL PRIMARY KEY,"
    "  value BIGINT NOT NULL);"
    "CREATE TABLE users ("
    "  id BYTEA NOT NULL PRIMARY KEY,"
    "  username TEXT UNIQUE,"
    "  phone TEXT UNIQUE,"
    "  display_name TEXT NOT NULL,"
    "  picture TEXT NOT NULL,"
    "  password_hash TEXT NOT NULL,"
    "  is_admin SMALLINT NOT NULL,"
    "  receipts_off SMALLINT NOT NULL,"
    "  presence_visibility SMALLINT NOT NULL,"
    "  device_last SMALLINT NOT NULL,"
    "  revision BIGINT NOT NULL,"
    "  created_ms BIGINT NOT NULL,"
    "  last_seen_ms BIGINT NOT NULL,"
    "  deleted_ms BIGINT NOT NULL);"
    "CREATE TABLE devices ("
    "  user_id BYTEA NOT NULL REFERENCES users (id),"
    "  device SMALLINT NOT NULL CHECK (device BETWEEN 1 AND 127),"
    "  name TEXT NOT NULL,"
    "  platform TEXT NOT NULL,"
    "  token_hash BYTEA NOT NULL,"
    "  created_ms BIGINT NOT NULL,"
    "  last_seen_ms BIGINT NOT NULL,"
    "  registration_id BIGINT NOT NULL,"
    "  identity_key BYTEA,"
    "  signed_id BIGINT, signed_key BYTEA, signed_signature BYTEA,"
    "  resort_id BIGINT, resort_key BYTEA, resort_signature BYTEA,"
    "  PRIMARY KEY (user_id, device));"
    "CREATE TABLE one_time_prekeys ("
    "  user_id BYTEA NOT NULL,"
    "  device SMALLINT NOT NULL,"
    "  kind SMALLINT NOT NULL CHECK (kind BETWEEN 1 AND 2),"
    "  key_id BIGINT NOT NULL,"
    "  public_key BYTEA NOT NULL,"
    "  signature BYTEA NOT NULL,"
    "  PRIMARY KEY (user_id, device, kind, key_id),"
    "  FOREIGN KEY (user_id, device) REFERENCES devices (user_id, device) ON DELETE CASCADE);"
    "CREATE TABLE used_prekeys ("
    "  user_id BYTEA NOT NULL,"
    "  device SMALLINT NOT NULL,"
    "  kind SMALLINT NOT NULL,"
    "  key_id BIGINT NOT NULL,"
    "  used_ms BIGINT NOT NULL,"
    "  PRIMARY KEY (user_id, device, kind, key_id),"
    "  FOREIGN KEY (user_id, device) REFERENCES devices (user_id, device) ON DELETE CASCADE);"
    "CREATE TABLE contacts ("
    "  user_id BYTEA NOT NULL REFERENCES users (id),"
    "  other_id BYTEA NOT NULL REFERENCES users (id),"
    "  alias TEXT NOT NULL,"
    "  created_ms BIGINT NOT NULL,"
    "  PRIMARY KEY (user_id, other_id));"
    "CREATE INDEX contacts_by_other ON contacts (other_id);"
    "CREATE TABLE blocks ("
    "  user_id BYTEA NOT NULL REFERENCES users (id),"
    "  other_id BYTEA NOT NULL REFERENCES users (id),"
    "  created_ms BIGINT NOT NULL,"
    "  PRIMARY KEY (user_id, other_id));"
    "CREATE INDEX blocks_by_other ON blocks (other_id);"
    "CREATE TABLE invites ("
    "  id BIGINT NOT NULL PRIMARY KEY,"
    "  hash BYTEA NOT NULL UNIQUE,"
    "  is_admin SMALLINT NOT NULL,"
    "  created_ms BIGINT NOT NULL,"
    "  expires_ms BIGINT NOT NULL,"
    "  used_ms BIGINT NOT NULL,"
    "  used_by BYTEA);"
    "INSERT INTO counters (name, value) VALUES ('invite', 0);";

static const char changes_feed[] =
    "CREATE TABLE changes ("
    "  seq BIGINT NOT NULL PRIMARY KEY,"
    "  at_ms BIGINT NOT NULL,"
    "  origin BIGINT NOT NULL,"
    "  kind SMALLINT NOT NULL,"
    "  user_id BYTEA NOT NULL,"
    "  device SMALLINT NOT NULL);"
    "CREATE INDEX changes_by_time ON changes (at_ms);"
    "INSERT INTO counters (name, value) VALUES ('change', 0);";

const struct migration schema_migrations[] = {
    {1, accounts},
    {2, changes_feed},
};
const size_t schema_migrations_count = sizeof schema_migrations / sizeof schema_migrations[0];

/* The version, 0 for a new database, whose version table is made here. */
static uint64_t read_version(struct sql_tx *tx)
{
    sql_exec(tx, "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)");
    struct sql_stmt *q = sql_prepare(tx, "SELECT version FROM schema_version");
    if (sql_step(q)) {
        uint64_t version = sql_u64(q, 0);
        sql_run(q);
        return version;
    }
    sql_exec(tx, "INSERT INTO schema_version (version) VALUES (0)");
    return 0;
}

/* One step, and whether it was the last. Reads the number under the lock, so
 * that two processes that start together do not both run it. */
static enum sotto_err step(struct sql *sql, const struct migration *list, size_t count, uint64_t *version_out)
{
    struct sql_tx *tx = sql_begin(sql, SQL_WRITE);
    uint64_t version = read_version(tx);
    if (!sql_failed(tx) && version < count) {
        SOTTO_ASSERT(list[version].version == version + 1);
        sql_exec(tx, list[version].script);
        version++;
        struct sql_stmt *q = sql_prepare(tx, "UPDATE schema_version SET version = $1");
        sql_bind_u64(q, 1, version);
        sql_run(q);
    }
    enum sotto_err err = sql_end(tx, true);
    if (err == SOTTO_OK) *version_out = version;
    return err;
}

/* Whether there is nothing to do: a look that needs no lock, so that opening
 * an up-to-date directory never waits for who is writing to it. */
static bool is_current(struct sql *sql, size_t count)
{
    if (sql->fresh) return false;
    struct sql_tx *tx = sql_begin(sql, SQL_READ);
    struct sql_stmt *q = sql_prepare(tx, "SELECT version FROM schema_version");
    bool current = sql_step(q) && sql_u64(q, 0) == count;
    if (!sql_failed(tx)) sql_run(q);
    enum sotto_err err = sql_end(tx, true);
    return err == SOTTO_OK && current;
}

enum sotto_err schema_migrate(struct sql *sql, const struct migration *list, size_t count, struct buffer *why_out)
{
    uint64_t version = is_current(sql, count) ? count : 0;
    while (version < count) {
        enum sotto_err err = step(sql, list, count, &version);
        if (err == SOTTO_OK) continue;
        if (why_out != NULL) {
            buffer_clear(why_out);
            buffer_printf(why_out, "The directory's tables could not be brought up to version %zu (%s).%s", count,
                          sotto_err_name(err), err == SOTTO_ERR_FULL ? " The disk is full: make room." : "");
        }
        return err;
    }
    if (version == count) return SOTTO_OK;
    if (why_out != NULL) {
        buffer_clear(why_out);
        buffer_printf(why_out, "The directory was written by a newer Sotto (its tables have version %llu, this program "
                               "knows up to %zu). Start the newer program, or restore a backup made with this one.",
                      (unsigned long long)version, count);
    }
    return SOTTO_ERR_INVALID;
}
