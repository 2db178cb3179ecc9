/* Devices of a user.
 *
 * Ids go from 1 to 127 and belong to the user. The next one is the first free
 * after the one given last, and only after 127 does it begin again at 1: an id
 * comes back as late as possible, because other people's sessions are named by
 * (user, device) and must not take a new device for the old one. When it does
 * come back, its identity key and registration id differ, which tells them.
 */
#include "directory/directory_private.h"

static void insert_device(struct edit *e, const struct id *user, uint8_t device, const struct device_login *login,
                          const uint8_t token_hash[TOKEN_HASH_LEN])
{
    uint64_t now_ms = clock_wall_ms(e->d->clock);
    struct sql_stmt *q = sql_prepare(e->tx, "INSERT INTO devices (user_id, device, name, platform, token_hash, "
                                            "created_ms, last_seen_ms, registration_id) "
                                            "VALUES ($1, $2, $3, $4, $5, $6, $6, 0)");
    sql_bind_id(q, 1, user);
    sql_bind_u64(q, 2, device);
    sql_bind_text(q, 3, login->name);
    sql_bind_text(q, 4, login->platform);
    sql_bind_bytes(q, 5, slice_of(token_hash, TOKEN_HASH_LEN));
    sql_bind_u64(q, 6, now_ms);
    sql_run(q);
    q = sql_prepare(e->tx, "UPDATE users SET device_last = $1 WHERE id = $2");
    sql_bind_u64(q, 1, device);
    sql_bind_id(q, 2, user);
    sql_run(q);
}

enum problem device_create(struct edit *e, const struct id *user, const struct device_login *login,
                           struct credentials *credentials_out)
{
    bool taken[SOTTO_DEVICE_ID_MAX + 1] = {false};
    size_t count = 0;
    struct sql_stmt *q = sql_prepare(e->tx, "SELECT device FROM devices WHERE user_id = $1");
    sql_bind_id(q, 1, user);
    while (sql_step(q)) {
        uint64_t device = sql_u64(q, 0);
        if (device <= SOTTO_DEVICE_ID_MAX) taken[device] = true;
        count++;
    }
    if (count >= SOTTO_DEVICES_PER_USER_MAX) return PROBLEM_TOO_MANY_DEVICES;
    q = sql_prepare(e->tx, "SELECT device_last FROM users WHERE id = $1");
    sql_bind_id(q, 1, user);
    uint64_t device = sql_step(q) ? sql_u64(q, 0) : 0;
    do device = device % SOTTO_DEVICE_ID_MAX + 1;
    while (taken[device]);

    uint8_t token_hash[TOKEN_HASH_LEN];
    credentials_out->user = *user;
    credentials_out->device = (uint8_t)device;
    token_create(e->d, *user, (uint8_t)device, credentials_out->token, token_hash);
    insert_device(e, user, (uint8_t)device, login, token_hash);
    edit_tell(e, CHANGE_DEVICES, *user, (uint8_t)device);
    return PROBLEM_NONE;
}

void devices_remove(struct edit *e, const struct id *user, uint8_t keep)
{
    struct sql_stmt *q = sql_prepare(e->tx, "DELETE FROM devices WHERE user_id = $1 AND device <> $2 RETURNING device");
    sql_bind_id(q, 1, user);
    sql_bind_u64(q, 2, keep);
    size_t count = 0;
    while (sql_step(q)) {
        if (count++ < SOTTO_DEVICES_PER_USER_MAX) edit_tell(e, CHANGE_DEVICE_REVOKED, *user, (uint8_t)sql_u64(q, 0));
    }
    if (count > 0) edit_tell(e, CHANGE_DEVICES, *user, keep);
}

enum problem directory_devices(struct directory *d, struct id user, struct device_info out[SOTTO_DEVICES_PER_USER_MAX],
                               size_t *count_out)
{
    size_t count = 0;
    struct sql_tx *tx = sql_begin(d->sql, SQL_READ);
    struct sql_stmt *q = sql_prepare(tx, "SELECT device, name, platform, created_ms, last_seen_ms, registration_id "
                                         "FROM devices WHERE user_id = $1 ORDER BY device");
    sql_bind_id(q, 1, &user);
    while (count < SOTTO_DEVICES_PER_USER_MAX && sql_step(q)) {
        struct device_info *i = &out[count++];
        i->id = (uint8_t)sql_u64(q, 0);
        sql_copy_text(q, 1, i->name, sizeof i->name);
        sql_copy_text(q, 2, i->platform, sizeof i->platform);
        i->created_ms = sql_u64(q, 3);
        i->last_seen_ms = sql_u64(q, 4);
        i->registration_id = (uint16_t)sql_u64(q, 5);
        i->has_keys = i->registration_id != 0;
    }
    enum problem p = read_end(d, tx, PROBLEM_NONE);
    if (p == PROBLEM_NONE) *count_out = count;
    return p;
}

enum problem directory_rename_device(struct directory *d, struct id user, uint8_t device, struct slice name,
                                     struct buffer *why)
{
    if (name.len == 0) return field_problem(why, "A device needs a name.");
    if (!field_text(name, SOTTO_DEVICE_NAME_MAX, "device name", why)) return PROBLEM_BAD_FIELD;
    struct edit e;
    edit_begin(&e, d);
    struct sql_stmt *q = sql_prepare(e.tx, "UPDATE devices SET name = $1 WHERE user_id = $2 AND device = $3");
    sql_bind_text(q, 1, name);
    sql_bind_id(q, 2, &user);
    sql_bind_u64(q, 3, device);
    sql_run(q);
    return edit_end(&e, sql_changes(e.tx) == 1 ? PROBLEM_NONE : PROBLEM_NOT_FOUND);
}

enum problem directory_revoke_device(struct directory *d, struct id user, uint8_t device)
{
    struct edit e;
    edit_begin(&e, d);
    if (!edit_lock_user(&e, &user)) return edit_end(&e, PROBLEM_NO_SUCH_USER);
    struct sql_stmt *q = sql_prepare(e.tx, "DELETE FROM devices WHERE user_id = $1 AND device = $2");
    sql_bind_id(q, 1, &user);
    sql_bind_u64(q, 2, device);
    sql_run(q);
    if (sql_changes(e.tx) != 1) return edit_end(&e, PROBLEM_NOT_FOUND);
    edit_tell(&e, CHANGE_DEVICE_REVOKED, user, device);
    edit_tell(&e, CHANGE_DEVICES, user, device);
    return edit_end(&e, PROBLEM_NONE);
}
