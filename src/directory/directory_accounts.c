/* Accounts: register, log in, change the password, delete.
 *
 * Argon2id takes tens of milliseconds and tens of megabytes, and so never runs
 * inside a transaction. What was true before it is looked at again under the
 * lock: the name may have been taken, the password changed, the account
 * deleted.
 */
#include "directory/directory_private.h"

static void hash_invite(struct slice text, uint8_t out[TOKEN_HASH_LEN])
{
    crypto_generichash(out, TOKEN_HASH_LEN, text.len > 0 ? text.data : (const uint8_t *)"", text.len, NULL, 0);
}

/* ---- Register --------------------------------------------------------------- */

/* The member that is wrong, NULL if none is. */
static const char *registration_wrong(const struct registration *r, char username[SOTTO_USERNAME_MAX + 1],
                                      struct buffer *why)
{
    if (!field_username(r->username, username, why)) return "username";
    if (!field_password(r->password, why)) return "password";
    if (!field_text(r->display_name, SOTTO_DISPLAY_NAME_MAX, "display name", why)) return "displayName";
    if (r->phone.len > 0 && !field_phone(r->phone, why)) return "phone";
    if (!field_picture(r->picture, why)) return "picture";
    if (!field_text(r->device.name, SOTTO_DEVICE_NAME_MAX, "device name", why)) return "deviceName";
    return field_device(&r->device, why) ? NULL : "platform";
}

const char *directory_wrong_registration(const struct registration *r)
{
    char username[SOTTO_USERNAME_MAX + 1];
    return registration_wrong(r, username, NULL);
}

static enum problem check_registration(const struct directory *d, const struct registration *r,
                                       char username[SOTTO_USERNAME_MAX + 1], struct buffer *why)
{
    enum registration_policy policy = atomic_load(&d->registration);
    if (policy == REGISTRATION_CLOSED) return PROBLEM_REGISTRATION_CLOSED;
    if (policy == REGISTRATION_INVITE && r->invite.len == 0) return PROBLEM_INVITE;
    return registration_wrong(r, username, why) == NULL ? PROBLEM_NONE : PROBLEM_BAD_FIELD;
}

static bool row_exists(struct sql_tx *tx, const char *sql, struct slice text)
{
    struct sql_stmt *q = sql_prepare(tx, sql);
    sql_bind_text(q, 1, text);
    return sql_step(q);
}

static enum problem check_taken(struct sql_tx *tx, const char *username, struct slice phone)
{
    if (row_exists(tx, "SELECT 1 FROM users WHERE username = $1", slice_str(username))) return PROBLEM_USERNAME_TAKEN;
    if (phone.len > 0 && row_exists(tx, "SELECT 1 FROM users WHERE phone = $1", phone)) return PROBLEM_PHONE_TAKEN;
    return PROBLEM_NONE;
}

/* Before the costly part. */
static enum problem check_beforehand(struct directory *d, const struct registration *r, const char *username)
{
    uint8_t hash[TOKEN_HASH_LEN];
    struct sql_tx *tx = sql_begin(d->sql, SQL_READ);
    enum problem p = PROBLEM_NONE;
    if (r->invite.len > 0) {
        hash_invite(r->invite, hash);
        struct sql_stmt *q =
            sql_prepare(tx, "SELECT 1 FROM invites WHERE hash = $1 AND used_ms = 0 AND expires_ms > $2");
        sql_bind_bytes(q, 1, slice_of(hash, sizeof hash));
        sql_bind_u64(q, 2, clock_wall_ms(d->clock));
        if (!sql_step(q)) p = PROBLEM_INVITE;
    }
    if (p == PROBLEM_NONE) p = check_taken(tx, username, r->phone);
    return read_end(d, tx, p);
}

/* Takes the invite for the new user. */
static enum problem take_invite(struct edit *e, const struct registration *r, const struct id *user, bool *admin_out)
{
    if (r->invite.len == 0) return PROBLEM_NONE;
    uint8_t hash[TOKEN_HASH_LEN];
    hash_invite(r->invite, hash);
    uint64_t now_ms = clock_wall_ms(e->d->clock);
    struct sql_stmt *q = sql_prepare(e->tx, "UPDATE invites SET used_ms = $1, used_by = $2 "
                                            "WHERE hash = $3 AND used_ms = 0 AND expires_ms > $1 RETURNING is_admin");
    sql_bind_u64(q, 1, now_ms);
    sql_bind_id(q, 2, user);
    sql_bind_bytes(q, 3, slice_of(hash, sizeof hash));
    if (!sql_step(q)) return PROBLEM_INVITE;
    *admin_out = sql_u64(q, 0) != 0;
    sql_run(q);
    return PROBLEM_NONE;
}

static enum problem insert_user(struct edit *e, const struct registration *r, const struct id *user,
                                const char *username, const char *hash, bool admin)
{
    struct sql_stmt *q = sql_prepare(
        e->tx, "INSERT INTO users (id, username, phone, display_name, picture, password_hash, is_admin, created_ms, "
               "last_seen_ms, receipts_off, presence_visibility, device_last, revision, deleted_ms) "
               "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING");
    sql_bind_id(q, 1, user);
    sql_bind_text(q, 2, slice_str(username));
    if (r->phone.len > 0) sql_bind_text(q, 3, r->phone);
    sql_bind_text(q, 4, r->display_name.len > 0 ? r->display_name : slice_str(username));
    sql_bind_text(q, 5, r->picture);
    sql_bind_text(q, 6, slice_str(hash));
    sql_bind_u64(q, 7, admin);
    sql_bind_u64(q, 8, clock_wall_ms(e->d->clock));
    sql_run(q);
    if (sql_changes(e->tx) == 1) return PROBLEM_NONE;
    enum problem taken = check_taken(e->tx, username, r->phone);
    return taken != PROBLEM_NONE ? taken : PROBLEM_CONFLICT;
}

enum problem directory_register(struct directory *d, const struct registration *r, struct buffer *why,
                                struct credentials *credentials_out)
{
    char username[SOTTO_USERNAME_MAX + 1], hash[crypto_pwhash_STRBYTES];
    enum problem p = check_registration(d, r, username, why);
    if (p == PROBLEM_NONE) p = check_beforehand(d, r, username);
    if (p != PROBLEM_NONE) return p;
    if (!password_hash(d, r->password, hash)) return PROBLEM_BUSY;

    struct id user = id_random(d->random);
    struct credentials fresh = {0};
    struct edit e;
    bool admin = false;
    edit_begin(&e, d);
    p = take_invite(&e, r, &user, &admin);
    if (p == PROBLEM_NONE) p = insert_user(&e, r, &user, username, hash, admin);
    if (p == PROBLEM_NONE) p = device_create(&e, &user, &r->device, &fresh);
    p = edit_end(&e, p);
    if (p == PROBLEM_NONE) {
        *credentials_out = fresh;
        LOG(d->log, LOG_INFO, "directory.register", LOG_ID("user", user));
    }
    sodium_memzero(&fresh, sizeof fresh);
    sodium_memzero(hash, sizeof hash);
    return p;
}

/* ---- Log in ------------------------------------------------------------------- */

enum { LOGIN_TRIES = 2 };

/* Empty hash: no such user. */
static enum problem find_account(struct directory *d, const char *username, struct id *user_out,
                                 char hash_out[crypto_pwhash_STRBYTES])
{
    struct sql_tx *tx = sql_begin(d->sql, SQL_READ);
    struct sql_stmt *q = sql_prepare(tx, "SELECT id, password_hash FROM users WHERE username = $1 AND deleted_ms = 0");
    sql_bind_text(q, 1, slice_str(username));
    (void)sql_step(q);
    *user_out = sql_id(q, 0);
    sql_copy_text(q, 1, hash_out, crypto_pwhash_STRBYTES);
    return read_end(d, tx, PROBLEM_NONE);
}

/* Makes the device of whoever has given the password that `hash` is of. *moved_out:
 * the hash was replaced meanwhile, and nothing has happened. */
static enum problem login_finish(struct directory *d, const struct id *user, struct slice password, const char *hash,
                                 const struct device_login *device, struct credentials *fresh, bool *moved_out)
{
    /* Hashes grow with the configured cost, when the password is at hand. */
    char upgraded[crypto_pwhash_STRBYTES];
    memcpy(upgraded, hash, sizeof upgraded);
    if (crypto_pwhash_str_needs_rehash(hash, d->argon2_ops, d->argon2_mem_bytes) == 1 &&
        !password_hash(d, password, upgraded))
        memcpy(upgraded, hash, sizeof upgraded);
    struct edit e;
    edit_begin(&e, d);
    enum problem p = edit_lock_user(&e, user) ? PROBLEM_NONE : PROBLEM_CREDENTIALS;
    *moved_out = p == PROBLEM_NONE && !password_store(&e, user, hash, upgraded);
    if (*moved_out) p = PROBLEM_CREDENTIALS;
    if (p == PROBLEM_NONE) p = device_create(&e, user, device, fresh);
    p = edit_end(&e, p);
    sodium_memzero(upgraded, sizeof upgraded);
    return p;
}

enum problem directory_login(struct directory *d, struct slice username, struct slice password,
                             const struct device_login *device, struct slice address, struct buffer *why,
                             uint64_t *retry_ms_out, struct credentials *credentials_out)
{
    char name[SOTTO_USERNAME_MAX + 1] = "", hash[crypto_pwhash_STRBYTES] = "";
    struct id user = {{0}};
    struct credentials fresh = {0};
    if (!field_device(device, why)) return PROBLEM_BAD_FIELD;
    bool known = username_normalize(username, name), moved = true;
    struct slice throttled = known ? slice_str(name) : username;
    enum problem p = PROBLEM_NONE;
    /* Once more when another sign-in brought the hash up to the cost meanwhile. */
    for (int i = 0; i < LOGIN_TRIES && moved; i++) {
        moved = false;
        p = known ? find_account(d, name, &user, hash) : PROBLEM_NONE;
        if (p == PROBLEM_NONE)
            p = password_attempt(d, throttled, address, hash[0] != '\0' ? hash : NULL, password, retry_ms_out);
        if (p == PROBLEM_NONE) p = login_finish(d, &user, password, hash, device, &fresh, &moved);
    }
    if (p == PROBLEM_NONE) {
        *credentials_out = fresh;
        counter_add(d->logins_ok, 1);
        LOG(d->log, LOG_INFO, "directory.login", LOG_ID("user", user), LOG_U("device", fresh.device));
    }
    sodium_memzero(&fresh, sizeof fresh);
    sodium_memzero(hash, sizeof hash);
    return p;
}

/* ---- Change and delete ------------------------------------------------------------ */

static bool device_exists(struct edit *e, const struct id *user, uint8_t device)
{
    struct sql_stmt *q = sql_prepare(e->tx, "SELECT 1 FROM devices WHERE user_id = $1 AND device = $2");
    sql_bind_id(q, 1, user);
    sql_bind_u64(q, 2, device);
    return sql_step(q);
}

enum problem directory_change_password(struct directory *d, struct id user, uint8_t device, struct slice old,
                                       struct slice fresh, struct slice address, struct buffer *why,
                                       uint64_t *retry_ms_out)
{
    char stored[crypto_pwhash_STRBYTES], hash[crypto_pwhash_STRBYTES];
    if (!field_password(fresh, why)) return PROBLEM_BAD_FIELD;
    enum problem p = password_confirm(d, &user, old, address, retry_ms_out, stored);
    if (p == PROBLEM_NONE && !password_hash(d, fresh, hash)) p = PROBLEM_BUSY;
    if (p == PROBLEM_NONE) {
        struct edit e;
        edit_begin(&e, d);
        if (!edit_lock_user(&e, &user)) p = PROBLEM_NO_SUCH_USER;
        else if (!device_exists(&e, &user, device)) p = PROBLEM_TOKEN; /* revoked meanwhile */
        else if (!password_store(&e, &user, stored, hash)) p = PROBLEM_CREDENTIALS;
        if (p == PROBLEM_NONE) {
            edit_tell(&e, CHANGE_PASSWORD, user, device);
            devices_remove(&e, &user, device);
        }
        p = edit_end(&e, p);
    }
    if (p == PROBLEM_NONE) LOG(d->log, LOG_INFO, "directory.password_change", LOG_ID("user", user));
    sodium_memzero(stored, sizeof stored);
    sodium_memzero(hash, sizeof hash);
    return p;
}

/* Devices go without being told of one by one: USER_DELETED closes them all. */
void account_erase(struct edit *e, const struct id *user)
{
    edit_run(e, "DELETE FROM devices WHERE user_id = $1", user); /* their keys with them */
    edit_run(e, "DELETE FROM contacts WHERE user_id = $1", user);
    edit_run(e, "DELETE FROM contacts WHERE other_id = $1", user);
    edit_run(e, "DELETE FROM blocks WHERE user_id = $1", user);
    edit_run(e, "DELETE FROM blocks WHERE other_id = $1", user);
    struct sql_stmt *q = sql_prepare(e->tx, "UPDATE users SET username = NULL, phone = NULL, display_name = '', "
                                            "picture = '', password_hash = '', is_admin = 0, last_seen_ms = 0, "
                                            "deleted_ms = $1 WHERE id = $2");
    sql_bind_u64(q, 1, clock_wall_ms(e->d->clock));
    sql_bind_id(q, 2, user);
    sql_run(q);
    edit_tell(e, CHANGE_USER_DELETED, *user, 0);
}

enum problem directory_delete_account(struct directory *d, struct id user, struct slice password, struct slice address,
                                      uint64_t *retry_ms_out)
{
    char stored[crypto_pwhash_STRBYTES];
    enum problem p = password_confirm(d, &user, password, address, retry_ms_out, stored);
    if (p == PROBLEM_NONE) {
        struct edit e;
        edit_begin(&e, d);
        if (!edit_lock_user(&e, &user)) p = PROBLEM_NO_SUCH_USER;
        else if (!password_store(&e, &user, stored, stored)) p = PROBLEM_CREDENTIALS;
        if (p == PROBLEM_NONE) account_erase(&e, &user);
        p = edit_end(&e, p);
    }
    if (p == PROBLEM_NONE) LOG(d->log, LOG_INFO, "directory.delete", LOG_ID("user", user));
    sodium_memzero(stored, sizeof stored);
    return p;
}
