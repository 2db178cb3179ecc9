/* What the operator does: invites, and the accounts of others.
 *
 * INVITE TEXT: "inv_" + base64url(18 random bytes), 28 characters. Stored:
 * BLAKE2b-256 of the text. Taking one is part of registering.
 */
#include "directory/directory_private.h"

enum { INVITE_SECRET_LEN = 18, INVITE_PREFIX_LEN = 4 };

static uint64_t next_invite_id(struct edit *e)
{
    struct sql_stmt *q =
        sql_prepare(e->tx, "UPDATE counters SET value = value + 1 WHERE name = 'invite' RETURNING value");
    uint64_t id = sql_step(q) ? sql_u64(q, 0) : 0;
    sql_run(q);
    return id;
}

static void forget_old_invites(struct edit *e, uint64_t now_ms)
{
    struct sql_stmt *q = sql_prepare(e->tx, "DELETE FROM invites WHERE expires_ms < $1");
    sql_bind_u64(q, 1, now_ms > INVITES_KEEP_DAYS * DAY_MS ? now_ms - INVITES_KEEP_DAYS * DAY_MS : 0);
    sql_run(q);
}

enum problem directory_create_invite(struct directory *d, uint64_t ttl_ms, bool admin, char invite_out[INVITE_TEXT_MAX])
{
    uint8_t secret[INVITE_SECRET_LEN], hash[TOKEN_HASH_LEN];
    char text[INVITE_TEXT_MAX] = "inv_";
    random_fill(d->random, secret, sizeof secret);
    sodium_bin2base64(text + INVITE_PREFIX_LEN, sizeof text - INVITE_PREFIX_LEN, secret, sizeof secret,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    crypto_generichash(hash, sizeof hash, (const uint8_t *)text, strlen(text), NULL, 0);
    uint64_t now_ms = clock_wall_ms(d->clock);
    uint64_t expires_ms = ttl_ms < INT64_MAX - now_ms ? now_ms + ttl_ms : INT64_MAX;
    struct edit e;
    edit_begin(&e, d);
    forget_old_invites(&e, now_ms);
    uint64_t id = next_invite_id(&e);
    struct sql_stmt *q = sql_prepare(e.tx, "INSERT INTO invites (id, hash, is_admin, created_ms, expires_ms, used_ms) "
                                           "VALUES ($1, $2, $3, $4, $5, 0)");
    sql_bind_u64(q, 1, id);
    sql_bind_bytes(q, 2, slice_of(hash, sizeof hash));
    sql_bind_u64(q, 3, admin);
    sql_bind_u64(q, 4, now_ms);
    sql_bind_u64(q, 5, expires_ms);
    sql_run(q);
    enum problem p = edit_end(&e, PROBLEM_NONE);
    if (p == PROBLEM_NONE) memcpy(invite_out, text, sizeof text);
    sodium_memzero(secret, sizeof secret);
    sodium_memzero(text, sizeof text);
    return p;
}

enum problem directory_invites(struct directory *d, invite_fn fn, void *ctx)
{
    struct sql_tx *tx = sql_begin(d->sql, SQL_READ);
    struct sql_stmt *q =
        sql_prepare(tx, "SELECT id, created_ms, expires_ms, is_admin, used_ms FROM invites ORDER BY id");
    while (sql_step(q)) {
        struct invite_info i = {.id = sql_u64(q, 0), .created_ms = sql_u64(q, 1), .expires_ms = sql_u64(q, 2),
                                .admin = sql_u64(q, 3) != 0, .used = sql_u64(q, 4) != 0};
        fn(ctx, &i);
    }
    return read_end(d, tx, PROBLEM_NONE);
}

enum problem directory_revoke_invite(struct directory *d, uint64_t id)
{
    if (id > INT64_MAX) return PROBLEM_NOT_FOUND;
    struct edit e;
    edit_begin(&e, d);
    struct sql_stmt *q = sql_prepare(e.tx, "DELETE FROM invites WHERE id = $1 AND used_ms = 0");
    sql_bind_u64(q, 1, id);
    sql_run(q);
    return edit_end(&e, sql_changes(e.tx) == 1 ? PROBLEM_NONE : PROBLEM_NOT_FOUND);
}

/* ---- Accounts of others -------------------------------------------------------- */

enum problem directory_users(struct directory *d, profile_fn fn, void *ctx)
{
    struct sql_tx *tx = sql_begin(d->sql, SQL_READ);
    struct sql_stmt *q =
        sql_prepare(tx, "SELECT " PROFILE_COLUMNS " FROM users WHERE deleted_ms = 0 ORDER BY username");
    while (sql_step(q)) {
        struct profile p;
        profile_read(q, &p);
        fn(ctx, &p);
    }
    return read_end(d, tx, PROBLEM_NONE);
}

uint64_t directory_user_count(struct directory *d)
{
    struct sql_tx *tx = sql_begin(d->sql, SQL_READ);
    struct sql_stmt *q = sql_prepare(tx, "SELECT COUNT(*) FROM users WHERE deleted_ms = 0");
    uint64_t count = sql_step(q) ? sql_u64(q, 0) : 0;
    return read_end(d, tx, PROBLEM_NONE) == PROBLEM_NONE ? count : 0;
}

enum problem directory_set_password(struct directory *d, struct id user, struct slice fresh, struct buffer *why)
{
    char hash[crypto_pwhash_STRBYTES];
    if (!field_password(fresh, why)) return PROBLEM_BAD_FIELD;
    if (!password_hash(d, fresh, hash)) return PROBLEM_BUSY;
    enum problem p = PROBLEM_NO_SUCH_USER;
    struct edit e;
    edit_begin(&e, d);
    if (edit_lock_user(&e, &user) && password_store(&e, &user, NULL, hash)) {
        p = PROBLEM_NONE;
        edit_tell(&e, CHANGE_PASSWORD, user, 0);
        devices_remove(&e, &user, 0);
    }
    p = edit_end(&e, p);
    sodium_memzero(hash, sizeof hash);
    return p;
}

enum problem directory_remove_user(struct directory *d, struct id user)
{
    struct edit e;
    edit_begin(&e, d);
    if (!edit_lock_user(&e, &user)) return edit_end(&e, PROBLEM_NO_SUCH_USER);
    account_erase(&e, &user);
    return edit_end(&e, PROBLEM_NONE);
}
