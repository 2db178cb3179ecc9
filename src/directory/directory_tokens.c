/* Tokens: who speaks, and for which device.
 *
 * TOKEN TEXT
 *   "sot_" + base64url( user 16 | device 1 | secret 32 )        70 characters
 * Stored: BLAKE2b-256 of the secret. The secret has 256 random bits, so that a
 * fast hash without salt is enough; comparison takes constant time.
 *
 * RESUMPTION TOKEN TEXT
 *   "sor_" + base64url( user 16 | device 1 | expires_ms 8, big-endian
 *                       | first 8 bytes of the token's hash | MAC 32 )
 *                                                               91 characters
 * MAC: BLAKE2b-256 keyed by a key that the directory keeps, over a label and
 * all that precedes. The hash prefix ties it to the token that the device has
 * now: it dies with a revocation, also when the device id comes round again.
 * Whoever can read the database could make one; they could read all else too.
 *
 * CACHE
 * A set-associative table of fixed size from (user, device) to the token's hash
 * as stored, so that reconnecting costs no SQL. All devices of a user fall into
 * one set, which makes forgetting them cheap. As with the views, a stamp grows
 * with each change, so that a lookup that began before a revocation cannot
 * bring the token back after it.
 *
 * A device's last_seen moves in steps of an hour: a cached entry older than
 * that is not good enough for directory_authenticate_peek, and the worker that
 * is asked instead writes the time down.
 */
#include "directory/directory_private.h"

#include "base/bytes.h"

#include <stdlib.h>

enum {
    TOKEN_RAW_LEN = ID_LEN + 1 + TOKEN_SECRET_LEN,
    HASH_PREFIX_LEN = 8,
    MAC_LEN = 32,
    RESUME_SIGNED_LEN = ID_LEN + 1 + 8 + HASH_PREFIX_LEN,
    RESUME_RAW_LEN = RESUME_SIGNED_LEN + MAC_LEN,
    PREFIX_LEN = 4,
};
static const char token_prefix[] = "sot_", resume_prefix[] = "sor_";
static const char resume_label[] = "sotto resume 1";

static void hash_secret(const uint8_t secret[TOKEN_SECRET_LEN], uint8_t hash_out[TOKEN_HASH_LEN])
{
    crypto_generichash(hash_out, TOKEN_HASH_LEN, secret, TOKEN_SECRET_LEN, NULL, 0);
}

static void write_text(const char *prefix, const uint8_t *raw, size_t len, char out[TOKEN_TEXT_MAX])
{
    memcpy(out, prefix, PREFIX_LEN);
    sodium_bin2base64(out + PREFIX_LEN, TOKEN_TEXT_MAX - PREFIX_LEN, raw, len,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

/* The canonical form of exactly `len` bytes and nothing else. */
static bool read_text(struct slice text, const char *prefix, uint8_t *raw, size_t len)
{
    size_t got = 0;
    return text.len == PREFIX_LEN + sodium_base64_encoded_len(len, sodium_base64_VARIANT_URLSAFE_NO_PADDING) - 1 &&
           memcmp(text.data, prefix, PREFIX_LEN) == 0 &&
           sodium_base642bin(raw, len, (const char *)text.data + PREFIX_LEN, text.len - PREFIX_LEN, NULL, &got, NULL,
                             sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
           got == len;
}

void token_create(struct directory *d, struct id user, uint8_t device, char text_out[TOKEN_TEXT_MAX],
                  uint8_t hash_out[TOKEN_HASH_LEN])
{
    uint8_t raw[TOKEN_RAW_LEN];
    memcpy(raw, user.bytes, ID_LEN);
    raw[ID_LEN] = device;
    random_fill(d->random, raw + ID_LEN + 1, TOKEN_SECRET_LEN);
    hash_secret(raw + ID_LEN + 1, hash_out);
    write_text(token_prefix, raw, sizeof raw, text_out);
    sodium_memzero(raw, sizeof raw);
}

/* What a token says, its secret hashed. */
struct token_claim {
    struct id user;
    uint8_t device;
    uint8_t hash[TOKEN_HASH_LEN];
};

static bool token_parse(struct slice text, struct token_claim *out)
{
    uint8_t raw[TOKEN_RAW_LEN];
    bool good = read_text(text, token_prefix, raw, sizeof raw);
    if (good) {
        memcpy(out->user.bytes, raw, ID_LEN);
        out->device = raw[ID_LEN];
        hash_secret(raw + ID_LEN + 1, out->hash);
        good = out->device >= 1 && out->device <= SOTTO_DEVICE_ID_MAX;
    }
    sodium_memzero(raw, sizeof raw);
    return good;
}

/* ---- Cache ------------------------------------------------------------------ */

void auth_init(struct auth_cache *a)
{
    pthread_mutex_init(&a->mutex, NULL);
    a->entries = sotto_zalloc(sizeof *a->entries * AUTH_SETS * AUTH_WAYS);
}

void auth_deinit(struct auth_cache *a)
{
    free(a->entries);
    a->entries = NULL;
    pthread_mutex_destroy(&a->mutex);
}

static size_t auth_set_of(struct id user) { return id_hash(user) % AUTH_SETS; }

void auth_forget(struct auth_cache *a, const struct id *user)
{
    pthread_mutex_lock(&a->mutex);
    size_t first = user != NULL ? auth_set_of(*user) : 0, last = user != NULL ? first : AUTH_SETS - 1;
    for (size_t s = first; s <= last; s++) {
        a->invalidations[s]++;
        for (size_t i = 0; i < AUTH_WAYS; i++) {
            struct auth_entry *e = &a->entries[s * AUTH_WAYS + i];
            if (user == NULL || id_eq(e->user, *user)) *e = (struct auth_entry){0};
        }
    }
    pthread_mutex_unlock(&a->mutex);
}

bool auth_find(struct auth_cache *a, struct id user, uint8_t device, struct auth_entry *out, uint64_t *stamp_out)
{
    bool found = false;
    size_t s = auth_set_of(user);
    pthread_mutex_lock(&a->mutex);
    for (size_t i = 0; i < AUTH_WAYS && !found; i++) {
        struct auth_entry *e = &a->entries[s * AUTH_WAYS + i];
        found = e->device == device && id_eq(e->user, user);
        if (!found) continue;
        e->used = ++a->uses;
        *out = *e;
    }
    *stamp_out = a->invalidations[s];
    pthread_mutex_unlock(&a->mutex);
    return found;
}

void auth_put(struct auth_cache *a, const struct auth_entry *fresh, uint64_t stamp)
{
    size_t s = auth_set_of(fresh->user);
    pthread_mutex_lock(&a->mutex);
    if (a->invalidations[s] == stamp) {
        struct auth_entry *set = &a->entries[s * AUTH_WAYS], *place = set;
        for (size_t i = 0; i < AUTH_WAYS; i++) {
            if (set[i].device == fresh->device && id_eq(set[i].user, fresh->user)) {
                place = &set[i];
                break;
            }
            if (set[i].used < place->used) place = &set[i]; /* free ones were never used */
        }
        *place = *fresh;
        place->used = ++a->uses;
    }
    pthread_mutex_unlock(&a->mutex);
}

/* ---- Authentication ----------------------------------------------------------- */

static bool seen_recently(const struct auth_entry *e, uint64_t now_ms)
{
    return now_ms < e->seen_ms + DEVICE_SEEN_STEP_MS;
}

/* The device's stored hash, from the cache or the database. */
static enum problem device_load(struct directory *d, struct id user, uint8_t device, struct auth_entry *out)
{
    uint64_t stamp;
    if (auth_find(&d->auth, user, device, out, &stamp)) return PROBLEM_NONE;
    *out = (struct auth_entry){.user = user, .device = device};
    struct sql_tx *tx = sql_begin(d->sql, SQL_READ);
    struct sql_stmt *q = sql_prepare(tx, "SELECT token_hash, last_seen_ms FROM devices "
                                         "WHERE user_id = $1 AND device = $2");
    sql_bind_id(q, 1, &user);
    sql_bind_u64(q, 2, device);
    bool found = sql_step(q) && sql_bytes(q, 0).len == TOKEN_HASH_LEN;
    sql_copy_bytes(q, 0, out->hash, TOKEN_HASH_LEN);
    out->seen_ms = sql_u64(q, 1);
    enum problem p = read_end(d, tx, found ? PROBLEM_NONE : PROBLEM_TOKEN);
    if (p == PROBLEM_NONE) auth_put(&d->auth, out, stamp);
    return p;
}

/* Best effort: a full disk must not keep anybody out. */
static void device_seen(struct directory *d, struct auth_entry *e)
{
    uint64_t now_ms = clock_wall_ms(d->clock), stamp;
    if (seen_recently(e, now_ms)) return;
    struct auth_entry cached;
    if (!auth_find(&d->auth, e->user, e->device, &cached, &stamp)) return;
    struct sql_tx *tx = sql_begin(d->sql, SQL_WRITE);
    struct sql_stmt *q = sql_prepare(tx, "UPDATE devices SET last_seen_ms = $1 WHERE user_id = $2 AND device = $3");
    sql_bind_u64(q, 1, now_ms);
    sql_bind_id(q, 2, &e->user);
    sql_bind_u64(q, 3, e->device);
    sql_run(q);
    (void)directory_problem_of(d, sql_end(tx, true));
    cached.seen_ms = now_ms;
    auth_put(&d->auth, &cached, stamp);
}

bool directory_authenticate_peek(struct directory *d, struct slice token, struct id *user_out, uint8_t *device_out)
{
    struct token_claim claim;
    struct auth_entry e;
    uint64_t stamp;
    if (!token_parse(token, &claim) || !auth_find(&d->auth, claim.user, claim.device, &e, &stamp)) return false;
    if (sodium_memcmp(claim.hash, e.hash, TOKEN_HASH_LEN) != 0) return false;
    if (!seen_recently(&e, clock_wall_ms(d->clock))) return false;
    *user_out = claim.user;
    *device_out = claim.device;
    return true;
}

enum problem directory_authenticate(struct directory *d, struct slice token, struct id *user_out, uint8_t *device_out)
{
    struct token_claim claim;
    struct auth_entry e;
    if (!token_parse(token, &claim)) return PROBLEM_TOKEN;
    enum problem p = device_load(d, claim.user, claim.device, &e);
    if (p != PROBLEM_NONE) return p;
    if (sodium_memcmp(claim.hash, e.hash, TOKEN_HASH_LEN) != 0) return PROBLEM_TOKEN;
    device_seen(d, &e);
    *user_out = claim.user;
    *device_out = claim.device;
    return PROBLEM_NONE;
}

/* ---- Resumption ----------------------------------------------------------------- */

static void resume_mac(const struct directory *d, const uint8_t signed_part[RESUME_SIGNED_LEN], uint8_t out[MAC_LEN])
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, d->resume_key, RESUME_KEY_LEN, MAC_LEN);
    crypto_generichash_update(&state, (const uint8_t *)resume_label, sizeof resume_label);
    crypto_generichash_update(&state, signed_part, RESUME_SIGNED_LEN);
    crypto_generichash_final(&state, out, MAC_LEN);
    sodium_memzero(&state, sizeof state);
}

void directory_resume_token(struct directory *d, struct id user, uint8_t device, uint64_t ttl_ms,
                            char out[TOKEN_TEXT_MAX])
{
    struct auth_entry e;
    out[0] = '\0';
    if (device_load(d, user, device, &e) != PROBLEM_NONE) return;
    uint8_t raw[RESUME_RAW_LEN];
    memcpy(raw, user.bytes, ID_LEN);
    raw[ID_LEN] = device;
    store_be64(raw + ID_LEN + 1, clock_wall_ms(d->clock) + ttl_ms);
    memcpy(raw + ID_LEN + 9, e.hash, HASH_PREFIX_LEN);
    resume_mac(d, raw, raw + RESUME_SIGNED_LEN);
    write_text(resume_prefix, raw, sizeof raw, out);
    sodium_memzero(raw, sizeof raw);
}

enum problem directory_resume(struct directory *d, struct slice token, struct id *user_out, uint8_t *device_out)
{
    uint8_t raw[RESUME_RAW_LEN], mac[MAC_LEN];
    struct auth_entry e;
    enum problem p = PROBLEM_TOKEN;
    if (!read_text(token, resume_prefix, raw, sizeof raw)) goto out;
    resume_mac(d, raw, mac);
    if (sodium_memcmp(mac, raw + RESUME_SIGNED_LEN, MAC_LEN) != 0) goto out;
    if (clock_wall_ms(d->clock) >= load_be64(raw + ID_LEN + 1)) goto out;
    struct id user;
    memcpy(user.bytes, raw, ID_LEN);
    p = device_load(d, user, raw[ID_LEN], &e);
    if (p != PROBLEM_NONE) goto out;
    p = sodium_memcmp(e.hash, raw + ID_LEN + 9, HASH_PREFIX_LEN) == 0 ? PROBLEM_NONE : PROBLEM_TOKEN;
    if (p != PROBLEM_NONE) goto out;
    device_seen(d, &e);
    *user_out = user;
    *device_out = raw[ID_LEN];
out:
    sodium_memzero(raw, sizeof raw);
    sodium_memzero(mac, sizeof mac);
    return p;
}
