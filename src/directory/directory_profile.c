/* What people say of themselves, and when they were last seen. */
#include "directory/directory_private.h"

void profile_read(struct sql_stmt *q, struct profile *out)
{
    *out = (struct profile){.id = sql_id(q, 0)};
    sql_copy_text(q, 1, out->username, sizeof out->username);
    sql_copy_text(q, 2, out->display_name, sizeof out->display_name);
    sql_copy_text(q, 3, out->phone, sizeof out->phone);
    sql_copy_text(q, 4, out->picture, sizeof out->picture);
    out->receipts_off = sql_u64(q, 5) != 0;
    out->presence_visibility = (uint8_t)sql_u64(q, 6);
    out->is_admin = sql_u64(q, 7) != 0;
    out->created_ms = sql_u64(q, 8);
    out->last_seen_ms = sql_u64(q, 9);
}

enum problem directory_profile(struct directory *d, struct id user, struct profile *profile_out)
{
    struct profile found;
    struct sql_tx *tx = sql_begin(d->sql, SQL_READ);
    struct sql_stmt *q = sql_prepare(tx, "SELECT " PROFILE_COLUMNS " FROM users WHERE id = $1 AND deleted_ms = 0");
    sql_bind_id(q, 1, &user);
    bool exists = sql_step(q);
    profile_read(q, &found);
    enum problem p = read_end(d, tx, exists ? PROBLEM_NONE : PROBLEM_NO_SUCH_USER);
    if (p == PROBLEM_NONE) *profile_out = found;
    return p;
}

enum problem directory_find_username(struct directory *d, struct slice username, struct profile *profile_out)
{
    char name[SOTTO_USERNAME_MAX + 1];
    struct profile found;
    if (!username_normalize(username, name)) return PROBLEM_NO_SUCH_USER;
    struct sql_tx *tx = sql_begin(d->sql, SQL_READ);
    struct sql_stmt *q = sql_prepare(tx, "SELECT " PROFILE_COLUMNS " FROM users "
                                         "WHERE username = $1 AND deleted_ms = 0");
    sql_bind_text(q, 1, slice_str(name));
    bool exists = sql_step(q);
    profile_read(q, &found);
    found.phone[0] = '\0';
    enum problem p = read_end(d, tx, exists ? PROBLEM_NONE : PROBLEM_NO_SUCH_USER);
    if (p == PROBLEM_NONE) *profile_out = found;
    return p;
}

/* ---- Update ----------------------------------------------------------------- */

/* The member that is wrong, NULL if none is. */
static const char *change_wrong(const struct profile_change *c, struct buffer *why)
{
    if (!field_text(c->display_name, SOTTO_DISPLAY_NAME_MAX, "display name", why)) return "displayName";
    if (c->phone.len > 0 && !field_phone(c->phone, why)) return "phone";
    return field_picture(c->picture, why) ? NULL : "picture";
}

const char *directory_wrong_change(const struct profile_change *c)
{
    return change_wrong(c, NULL);
}

static bool check_change(const struct profile_change *c, struct buffer *why)
{
    if (c->presence_visibility != NULL && *c->presence_visibility > VISIBLE_NOBODY) {
        (void)field_problem(why, "Presence is visible to everyone, to contacts or to nobody.");
        return false;
    }
    return change_wrong(c, why) == NULL;
}

static void set_text(struct edit *e, const char *sql, struct slice text, const struct id *user)
{
    struct sql_stmt *q = sql_prepare(e->tx, sql);
    sql_bind_text(q, 1, text);
    sql_bind_id(q, 2, user);
    sql_run(q);
}

static void set_number(struct edit *e, const char *sql, uint64_t number, const struct id *user)
{
    struct sql_stmt *q = sql_prepare(e->tx, sql);
    sql_bind_u64(q, 1, number);
    sql_bind_id(q, 2, user);
    sql_run(q);
}

static enum problem set_phone(struct edit *e, struct slice phone, const struct id *user)
{
    struct sql_stmt *q = sql_prepare(e->tx, "SELECT 1 FROM users WHERE phone = $1 AND id <> $2");
    sql_bind_text(q, 1, phone);
    sql_bind_id(q, 2, user);
    if (phone.len > 0 && sql_step(q)) return PROBLEM_PHONE_TAKEN;
    q = sql_prepare(e->tx, "UPDATE users SET phone = $1 WHERE id = $2");
    if (phone.len > 0) sql_bind_text(q, 1, phone); /* else NULL */
    sql_bind_id(q, 2, user);
    sql_run(q);
    return PROBLEM_NONE;
}

enum problem directory_update_profile(struct directory *d, struct id user, uint8_t device, const struct profile_change *change,
                                      struct buffer *why)
{
    if (!check_change(change, why)) return PROBLEM_BAD_FIELD;
    enum problem p = PROBLEM_NONE;
    struct edit e;
    edit_begin(&e, d);
    if (!edit_lock_user(&e, &user)) return edit_end(&e, PROBLEM_NO_SUCH_USER);
    if (change->display_name.data != NULL && change->display_name.len > 0)
        set_text(&e, "UPDATE users SET display_name = $1 WHERE id = $2", change->display_name, &user);
    else if (change->display_name.data != NULL)
        edit_run(&e, "UPDATE users SET display_name = username WHERE id = $1", &user);
    if (change->picture.data != NULL)
        set_text(&e, "UPDATE users SET picture = $1 WHERE id = $2", change->picture, &user);
    if (change->receipts_off != NULL)
        set_number(&e, "UPDATE users SET receipts_off = $1 WHERE id = $2", *change->receipts_off, &user);
    if (change->presence_visibility != NULL)
        set_number(&e, "UPDATE users SET presence_visibility = $1 WHERE id = $2", *change->presence_visibility, &user);
    if (change->phone.data != NULL) p = set_phone(&e, change->phone, &user);
    edit_tell(&e, CHANGE_PROFILE, user, device);
    return edit_end(&e, p);
}

void directory_store_last_seen(struct directory *d, const struct id *users, const uint64_t *seen_ms, size_t count)
{
    if (count == 0) return;
    struct sql_tx *tx = sql_begin(d->sql, SQL_WRITE);
    for (size_t i = 0; i < count; i++) {
        struct sql_stmt *q = sql_prepare(tx, "UPDATE users SET last_seen_ms = $1 "
                                             "WHERE id = $2 AND last_seen_ms < $1 AND deleted_ms = 0");
        sql_bind_u64(q, 1, seen_ms[i]);
        sql_bind_id(q, 2, &users[i]);
        sql_run(q);
    }
    (void)directory_problem_of(d, sql_end(tx, true));
}
