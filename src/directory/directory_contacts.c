/* Contacts and blocks: a user's own lists of other users. */
#include "directory/directory_private.h"

static bool user_exists(struct edit *e, const struct id *user)
{
    struct sql_stmt *q = sql_prepare(e->tx, "SELECT 1 FROM users WHERE id = $1 AND deleted_ms = 0");
    sql_bind_id(q, 1, user);
    return sql_step(q);
}

static uint64_t count_of(struct edit *e, const char *sql, const struct id *user)
{
    struct sql_stmt *q = sql_prepare(e->tx, sql);
    sql_bind_id(q, 1, user);
    return sql_step(q) ? sql_u64(q, 0) : 0;
}

/* Contacts first, then strangers who are blocked; each by user name. */
enum problem directory_contacts(struct directory *d, struct id user, contact_fn fn, void *ctx)
{
    static const char *const queries[] = {
        "SELECT u.id, u.username, u.display_name, c.alias, u.picture, CASE WHEN b.user_id IS NULL THEN 0 ELSE 1 END, 1 "
        "FROM contacts c JOIN users u ON u.id = c.other_id "
        "LEFT JOIN blocks b ON b.user_id = c.user_id AND b.other_id = c.other_id "
        "WHERE c.user_id = $1 AND u.deleted_ms = 0 ORDER BY u.username",
        "SELECT u.id, u.username, u.display_name, '', u.picture, 1, 0 FROM blocks b JOIN users u ON u.id = b.other_id "
        "LEFT JOIN contacts c ON c.user_id = b.user_id AND c.other_id = b.other_id "
        "WHERE b.user_id = $1 AND u.deleted_ms = 0 AND c.user_id IS NULL ORDER BY u.username",
    };
    struct sql_tx *tx = sql_begin(d->sql, SQL_READ);
    for (size_t i = 0; i < 2; i++) {
        struct sql_stmt *q = sql_prepare(tx, queries[i]);
        sql_bind_id(q, 1, &user);
        while (sql_step(q)) {
            struct contact c = {.user = sql_id(q, 0), .blocked = sql_u64(q, 5) != 0, .listed = sql_u64(q, 6) != 0};
            sql_copy_text(q, 1, c.username, sizeof c.username);
            sql_copy_text(q, 2, c.display_name, sizeof c.display_name);
            sql_copy_text(q, 3, c.alias, sizeof c.alias);
            sql_copy_text(q, 4, c.picture, sizeof c.picture);
            fn(ctx, &c);
        }
    }
    return read_end(d, tx, PROBLEM_NONE);
}

enum problem directory_put_contact(struct directory *d, struct id user, uint8_t device, struct id other, struct slice alias,
                                   struct buffer *why)
{
    if (!field_text(alias, SOTTO_DISPLAY_NAME_MAX, "name for a contact", why)) return PROBLEM_BAD_FIELD;
    if (id_eq(user, other)) return field_problem(why, "You cannot be your own contact.");
    struct edit e;
    edit_begin(&e, d);
    if (!edit_lock_user(&e, &user) || !user_exists(&e, &other)) return edit_end(&e, PROBLEM_NO_SUCH_USER);
    struct sql_stmt *q = sql_prepare(e.tx, "INSERT INTO contacts (user_id, other_id, alias, created_ms) "
                                           "VALUES ($1, $2, $3, $4) "
                                           "ON CONFLICT (user_id, other_id) DO UPDATE SET alias = excluded.alias");
    sql_bind_id(q, 1, &user);
    sql_bind_id(q, 2, &other);
    sql_bind_text(q, 3, alias);
    sql_bind_u64(q, 4, clock_wall_ms(d->clock));
    sql_run(q);
    enum problem p = PROBLEM_NONE;
    if (count_of(&e, "SELECT COUNT(*) FROM contacts WHERE user_id = $1", &user) > SOTTO_CONTACTS_PER_USER_MAX)
        p = field_problem(why, "You have as many contacts as the server allows. Remove one first.");
    edit_tell(&e, CHANGE_PROFILE, user, device);
    return edit_end(&e, p);
}

/* Runs a statement on (user, other); tells of it when it changed something. */
static void change_pair(struct edit *e, const char *sql, const struct id *user, uint8_t device, const struct id *other)
{
    struct sql_stmt *q = sql_prepare(e->tx, sql);
    sql_bind_id(q, 1, user);
    sql_bind_id(q, 2, other);
    sql_run(q);
    if (sql_changes(e->tx) > 0) edit_tell(e, CHANGE_PROFILE, *user, device);
}

enum problem directory_remove_contact(struct directory *d, struct id user, uint8_t device, struct id other)
{
    struct edit e;
    edit_begin(&e, d);
    if (!edit_lock_user(&e, &user)) return edit_end(&e, PROBLEM_NO_SUCH_USER);
    change_pair(&e, "DELETE FROM contacts WHERE user_id = $1 AND other_id = $2", &user, device, &other);
    return edit_end(&e, e.count > 0 ? PROBLEM_NONE : PROBLEM_NOT_FOUND);
}

enum problem directory_set_blocked(struct directory *d, struct id user, uint8_t device, struct id other, bool blocked)
{
    if (id_eq(user, other)) return PROBLEM_BAD_FIELD;
    struct edit e;
    edit_begin(&e, d);
    if (!edit_lock_user(&e, &user) || !user_exists(&e, &other)) return edit_end(&e, PROBLEM_NO_SUCH_USER);
    if (!blocked) {
        change_pair(&e, "DELETE FROM blocks WHERE user_id = $1 AND other_id = $2", &user, device, &other);
        return edit_end(&e, PROBLEM_NONE);
    }
    struct sql_stmt *q = sql_prepare(e.tx, "INSERT INTO blocks (user_id, other_id, created_ms) VALUES ($1, $2, $3) "
                                           "ON CONFLICT DO NOTHING");
    sql_bind_id(q, 1, &user);
    sql_bind_id(q, 2, &other);
    sql_bind_u64(q, 3, clock_wall_ms(d->clock));
    sql_run(q);
    if (sql_changes(e.tx) > 0) edit_tell(&e, CHANGE_PROFILE, user, device);
    bool full =
        count_of(&e, "SELECT COUNT(*) FROM blocks WHERE user_id = $1", &user) > SOTTO_CONTACTS_PER_USER_MAX;
    return edit_end(&e, full ? PROBLEM_CONFLICT : PROBLEM_NONE);
}
