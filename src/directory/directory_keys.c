/* Public keys: upload, count, hand out.
 *
 * A device has keys once it has published an identity key, a signed prekey and
 * a last-resort KEM key together; then a bundle can always be made of it. Its
 * one-time keys are handed out lowest id first: the row moves from
 * one_time_prekeys to used_prekeys in the transaction that reads it, under the
 * lock of its owner, so that no two callers get the same. used_prekeys keeps
 * the id for a month: an upload that is repeated because its answer was lost
 * must not offer again what was already taken. In a restored backup nobody knows
 * which were taken since, so all of them move there.
 *
 * A new identity key makes all that was signed with the old one worthless, and
 * one-time keys and the memory of the used ones go with it.
 */
#include "directory/directory_private.h"

enum key_kind { KIND_EC = 1, KIND_KEM = 2 };
enum { REGISTRATION_ID_MAX = 16380 };

/* ---- Upload ----------------------------------------------------------------- */

static bool field_key(const struct signed_key *k, size_t key_len, size_t signature_len, const char *name,
                      struct buffer *why)
{
    if (k->key.len == key_len && k->signature.len == signature_len) return true;
    if (why != NULL) {
        buffer_clear(why);
        buffer_printf(why, "A %s has a public key of %zu bytes", name, key_len);
        buffer_printf(why, signature_len > 0 ? " and a signature of %zu bytes." : " and no signature.", signature_len);
    }
    return false;
}

static bool field_keys(const struct signed_key *keys, size_t count, size_t key_len, size_t signature_len,
                       const char *name, struct buffer *why)
{
    if (count > SOTTO_ONE_TIME_PREKEYS_MAX) {
        (void)field_problem(why, "At most 200 one-time keys of a kind are kept.");
        return false;
    }
    for (size_t i = 0; i < count; i++)
        if (!field_key(&keys[i], key_len, signature_len, name, why)) return false;
    return true;
}
_Static_assert(SOTTO_ONE_TIME_PREKEYS_MAX == 200, "the sentence above names the number");

static bool check_upload(const struct key_upload *u, struct buffer *why)
{
    if (u->identity_key.data != NULL &&
        (u->identity_key.len != EC_KEY_LEN || u->registration_id < 1 || u->registration_id > REGISTRATION_ID_MAX)) {
        (void)field_problem(why, "An identity key has 33 bytes and comes with a registration id from 1 to 16380.");
        return false;
    }
    return (u->signed_prekey.key.data == NULL ||
            field_key(&u->signed_prekey, EC_KEY_LEN, SIGNATURE_LEN, "signed prekey", why)) &&
           (u->last_resort_kem.key.data == NULL ||
            field_key(&u->last_resort_kem, KEM_KEY_LEN, SIGNATURE_LEN, "last-resort KEM prekey", why)) &&
           field_keys(u->kem_prekeys, u->kem_prekeys_count, KEM_KEY_LEN, SIGNATURE_LEN, "KEM prekey", why) &&
           field_keys(u->ec_prekeys, u->ec_prekeys_count, EC_KEY_LEN, 0, "one-time prekey", why);
}

static void run_for_device(struct edit *e, const char *sql, const struct id *user, uint8_t device)
{
    struct sql_stmt *q = sql_prepare(e->tx, sql);
    sql_bind_id(q, 1, user);
    sql_bind_u64(q, 2, device);
    sql_run(q);
}

/* Writes an identity that differs from the one there is. */
static enum problem put_identity(struct edit *e, const struct id *user, uint8_t device, const struct key_upload *u,
                                 struct buffer *why)
{
    uint8_t stored[EC_KEY_LEN];
    struct sql_stmt *q = sql_prepare(e->tx, "SELECT registration_id, identity_key FROM devices "
                                            "WHERE user_id = $1 AND device = $2");
    sql_bind_id(q, 1, user);
    sql_bind_u64(q, 2, device);
    if (!sql_step(q)) return PROBLEM_NOT_FOUND;
    uint64_t registration_id = sql_u64(q, 0);
    sql_copy_bytes(q, 1, stored, sizeof stored);
    if (u->identity_key.data == NULL)
        return registration_id != 0 ? PROBLEM_NONE : field_problem(why, "The first upload brings the identity key.");
    bool same_key = registration_id != 0 && memcmp(stored, u->identity_key.data, EC_KEY_LEN) == 0;
    if (same_key && registration_id == u->registration_id) return PROBLEM_NONE;
    if (!same_key) {
        if (u->signed_prekey.key.data == NULL || u->last_resort_kem.key.data == NULL)
            return field_problem(why, "A new identity key comes with a signed prekey and a last-resort KEM prekey.");
        run_for_device(e, "DELETE FROM one_time_prekeys WHERE user_id = $1 AND device = $2", user, device);
        run_for_device(e, "DELETE FROM used_prekeys WHERE user_id = $1 AND device = $2", user, device);
    }
    q = sql_prepare(e->tx, "UPDATE devices SET registration_id = $1, identity_key = $2 "
                           "WHERE user_id = $3 AND device = $4");
    sql_bind_u64(q, 1, u->registration_id);
    sql_bind_bytes(q, 2, u->identity_key);
    sql_bind_id(q, 3, user);
    sql_bind_u64(q, 4, device);
    sql_run(q);
    edit_tell(e, CHANGE_DEVICES, *user, device);
    return PROBLEM_NONE;
}

static void put_signed(struct edit *e, const char *sql, const struct id *user, uint8_t device,
                       const struct signed_key *k)
{
    if (k->key.data == NULL) return;
    struct sql_stmt *q = sql_prepare(e->tx, sql);
    sql_bind_u64(q, 1, k->id);
    sql_bind_bytes(q, 2, k->key);
    sql_bind_bytes(q, 3, k->signature);
    sql_bind_id(q, 4, user);
    sql_bind_u64(q, 5, device);
    sql_run(q);
}

static bool was_used(struct edit *e, const struct id *user, uint8_t device, enum key_kind kind, uint32_t key_id)
{
    struct sql_stmt *q = sql_prepare(e->tx, "SELECT 1 FROM used_prekeys "
                                            "WHERE user_id = $1 AND device = $2 AND kind = $3 AND key_id = $4");
    sql_bind_id(q, 1, user);
    sql_bind_u64(q, 2, device);
    sql_bind_u64(q, 3, kind);
    sql_bind_u64(q, 4, key_id);
    return sql_step(q);
}

static uint64_t count_keys(struct sql_tx *tx, const struct id *user, uint8_t device, enum key_kind kind)
{
    struct sql_stmt *q = sql_prepare(tx, "SELECT COUNT(*) FROM one_time_prekeys "
                                         "WHERE user_id = $1 AND device = $2 AND kind = $3");
    sql_bind_id(q, 1, user);
    sql_bind_u64(q, 2, device);
    sql_bind_u64(q, 3, kind);
    return sql_step(q) ? sql_u64(q, 0) : 0;
}

/* The same id again: the later key stands, unless it was handed out. */
static enum problem put_one_time(struct edit *e, const struct id *user, uint8_t device, enum key_kind kind,
                                 const struct signed_key *keys, size_t count, struct buffer *why)
{
    for (size_t i = 0; i < count; i++) {
        if (was_used(e, user, device, kind, keys[i].id)) continue;
        struct sql_stmt *q = sql_prepare(
            e->tx, "INSERT INTO one_time_prekeys (user_id, device, kind, key_id, public_key, signature) "
                   "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (user_id, device, kind, key_id) "
                   "DO UPDATE SET public_key = excluded.public_key, signature = excluded.signature");
        sql_bind_id(q, 1, user);
        sql_bind_u64(q, 2, device);
        sql_bind_u64(q, 3, kind);
        sql_bind_u64(q, 4, keys[i].id);
        sql_bind_bytes(q, 5, keys[i].key);
        sql_bind_bytes(q, 6, keys[i].signature);
        sql_run(q);
    }
    if (count > 0 && count_keys(e->tx, user, device, kind) > SOTTO_ONE_TIME_PREKEYS_MAX)
        return field_problem(why, "At most 200 one-time keys of a kind are kept; ask how many there are.");
    return PROBLEM_NONE;
}

static void forget_used(struct edit *e, const struct id *user, uint8_t device)
{
    uint64_t now_ms = clock_wall_ms(e->d->clock), keep_ms = USED_PREKEYS_KEEP_DAYS * DAY_MS;
    struct sql_stmt *q =
        sql_prepare(e->tx, "DELETE FROM used_prekeys WHERE user_id = $1 AND device = $2 AND used_ms < $3");
    sql_bind_id(q, 1, user);
    sql_bind_u64(q, 2, device);
    sql_bind_u64(q, 3, now_ms > keep_ms ? now_ms - keep_ms : 0);
    sql_run(q);
}

enum problem directory_upload_keys(struct directory *d, struct id user, uint8_t device, const struct key_upload *upload,
                                   struct buffer *why)
{
    if (!check_upload(upload, why)) return PROBLEM_BAD_FIELD;
    struct edit e;
    edit_begin(&e, d);
    if (!edit_lock_user(&e, &user)) return edit_end(&e, PROBLEM_NO_SUCH_USER);
    enum problem p = put_identity(&e, &user, device, upload, why);
    if (p != PROBLEM_NONE) return edit_end(&e, p);
    put_signed(&e, "UPDATE devices SET signed_id = $1, signed_key = $2, signed_signature = $3 "
                   "WHERE user_id = $4 AND device = $5", &user, device, &upload->signed_prekey);
    put_signed(&e, "UPDATE devices SET resort_id = $1, resort_key = $2, resort_signature = $3 "
                   "WHERE user_id = $4 AND device = $5", &user, device, &upload->last_resort_kem);
    if (upload->replace)
        run_for_device(&e, "DELETE FROM one_time_prekeys WHERE user_id = $1 AND device = $2", &user, device);
    forget_used(&e, &user, device);
    p = put_one_time(&e, &user, device, KIND_EC, upload->ec_prekeys, upload->ec_prekeys_count, why);
    if (p == PROBLEM_NONE)
        p = put_one_time(&e, &user, device, KIND_KEM, upload->kem_prekeys, upload->kem_prekeys_count, why);
    return edit_end(&e, p);
}

/* Their ids are remembered, so that nobody offers the same keys again. */
void keys_forget_one_time(struct sql_tx *tx, uint64_t now_ms)
{
    /* Without the WHERE, SQLite would read ON as that of a join. */
    sql_exec(tx, "INSERT INTO used_prekeys (user_id, device, kind, key_id, used_ms) "
                 "SELECT user_id, device, kind, key_id, 0 FROM one_time_prekeys WHERE key_id >= 0 "
                 "ON CONFLICT DO NOTHING; "
                 "DELETE FROM one_time_prekeys;");
    struct sql_stmt *q = sql_prepare(tx, "UPDATE used_prekeys SET used_ms = $1 WHERE used_ms = 0");
    sql_bind_u64(q, 1, now_ms);
    sql_run(q);
}

enum problem directory_key_counts(struct directory *d, struct id user, uint8_t device, uint32_t *ec_out,
                                  uint32_t *kem_out)
{
    struct sql_tx *tx = sql_begin(d->sql, SQL_READ);
    uint64_t ec = count_keys(tx, &user, device, KIND_EC), kem = count_keys(tx, &user, device, KIND_KEM);
    enum problem p = read_end(d, tx, PROBLEM_NONE);
    if (p != PROBLEM_NONE) return p;
    *ec_out = (uint32_t)ec;
    *kem_out = (uint32_t)kem;
    return PROBLEM_NONE;
}

/* ---- Hand out ----------------------------------------------------------------- */

/* Fills the bundles from the devices' lasting keys. */
static size_t read_lasting(struct edit *e, const struct id *user, uint8_t device, struct key_bundle *bundles)
{
    size_t count = 0;
    struct sql_stmt *q = sql_prepare(e->tx, "SELECT device, registration_id, identity_key, signed_id, signed_key, "
                                            "signed_signature, resort_id, resort_key, resort_signature "
                                            "FROM devices WHERE user_id = $1 AND registration_id <> 0 ORDER BY device");
    sql_bind_id(q, 1, user);
    while (count < SOTTO_DEVICES_PER_USER_MAX && sql_step(q)) {
        if (device != 0 && sql_u64(q, 0) != device) continue;
        struct key_bundle *b = &bundles[count++];
        *b = (struct key_bundle){.device = (uint8_t)sql_u64(q, 0), .registration_id = (uint16_t)sql_u64(q, 1)};
        sql_copy_bytes(q, 2, b->identity_key, EC_KEY_LEN);
        b->signed_prekey_id = (uint32_t)sql_u64(q, 3);
        sql_copy_bytes(q, 4, b->signed_prekey, EC_KEY_LEN);
        sql_copy_bytes(q, 5, b->signed_prekey_signature, SIGNATURE_LEN);
        b->kem_prekey_id = (uint32_t)sql_u64(q, 6);
        sql_copy_bytes(q, 7, b->kem_prekey, KEM_KEY_LEN);
        sql_copy_bytes(q, 8, b->kem_prekey_signature, SIGNATURE_LEN);
        b->kem_is_last_resort = true;
    }
    return count;
}

/* Takes the key with the lowest id; false: there is none. */
static bool take_one(struct edit *e, const struct id *user, uint8_t device, enum key_kind kind, uint32_t *id_out,
                     uint8_t *key_out, size_t key_len, uint8_t *signature_out)
{
    struct sql_stmt *q = sql_prepare(
        e->tx, "DELETE FROM one_time_prekeys WHERE user_id = $1 AND device = $2 AND kind = $3 AND key_id = "
               "(SELECT MIN(key_id) FROM one_time_prekeys WHERE user_id = $1 AND device = $2 AND kind = $3) "
               "RETURNING key_id, public_key, signature");
    sql_bind_id(q, 1, user);
    sql_bind_u64(q, 2, device);
    sql_bind_u64(q, 3, kind);
    if (!sql_step(q)) return false;
    uint64_t key_id = sql_u64(q, 0);
    sql_copy_bytes(q, 1, key_out, key_len);
    if (signature_out != NULL) sql_copy_bytes(q, 2, signature_out, SIGNATURE_LEN);
    sql_run(q);
    q = sql_prepare(e->tx, "INSERT INTO used_prekeys (user_id, device, kind, key_id, used_ms) "
                           "VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING");
    sql_bind_id(q, 1, user);
    sql_bind_u64(q, 2, device);
    sql_bind_u64(q, 3, kind);
    sql_bind_u64(q, 4, key_id);
    sql_bind_u64(q, 5, clock_wall_ms(e->d->clock));
    sql_run(q);
    *id_out = (uint32_t)key_id;
    return true;
}

static void take_for_device(struct edit *e, const struct id *user, struct key_bundle *b)
{
    b->has_ec_prekey = take_one(e, user, b->device, KIND_EC, &b->ec_prekey_id, b->ec_prekey, EC_KEY_LEN, NULL);
    if (take_one(e, user, b->device, KIND_KEM, &b->kem_prekey_id, b->kem_prekey, KEM_KEY_LEN, b->kem_prekey_signature))
        b->kem_is_last_resort = false;
    uint64_t ec = count_keys(e->tx, user, b->device, KIND_EC), kem = count_keys(e->tx, user, b->device, KIND_KEM);
    if (ec < e->d->prekeys_low || kem < e->d->prekeys_low) edit_tell(e, CHANGE_PREKEYS_LOW, *user, b->device);
}

enum problem directory_take_bundles(struct directory *d, struct id user, uint8_t device, struct key_bundle *bundles,
                                    size_t *count_out)
{
    struct edit e;
    edit_begin(&e, d);
    if (!edit_lock_user(&e, &user)) return edit_end(&e, PROBLEM_NO_SUCH_USER);
    size_t count = read_lasting(&e, &user, device, bundles);
    for (size_t i = 0; i < count; i++) take_for_device(&e, &user, &bundles[i]);
    enum problem p = edit_end(&e, count > 0 ? PROBLEM_NONE : PROBLEM_NO_PREKEYS);
    if (p == PROBLEM_NONE) *count_out = count;
    return p;
}
