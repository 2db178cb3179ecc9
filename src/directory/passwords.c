/* Passwords: Argon2id, throttled.
 *
 * An attempt costs the same work whether or not the account exists: a user who
 * does not is checked against a hash that no password fits, made at start with
 * the same cost. Attempts are counted by user name and by address: the name
 * protects one account from many addresses, the address many accounts from
 * one. The longest wait for a name is short, because the waiting falls on its
 * owner too. Whoever is signed in and confirms something is counted apart from
 * those who sign in, so that a stranger's guesses cannot keep the owner from
 * changing the password.
 */
#include "directory/directory_private.h"

#include <errno.h>

static const struct throttle_policy by_name = {
    .free_attempts = 5, .first_ms = 1000, .max_ms = 5 * 60 * 1000, .forget_ms = 3600 * 1000};
static const struct throttle_policy by_address = {
    .free_attempts = 20, .first_ms = 1000, .max_ms = 15 * 60 * 1000, .forget_ms = 3600 * 1000};

bool password_hash(struct directory *d, struct slice password, char out[crypto_pwhash_STRBYTES])
{
    uint64_t began_us = clock_monotonic_us(d->clock);
    int result = crypto_pwhash_str(out, (const char *)password.data, password.len, d->argon2_ops, d->argon2_mem_bytes);
    histogram_observe(d->hash_time, clock_monotonic_us(d->clock) - began_us);
    if (result != 0) LOG(d->log, LOG_ERROR, "directory.password_memory", LOG_U("bytes", d->argon2_mem_bytes));
    return result == 0;
}

/* `whose`: what the attempt counts against besides the address. */
static enum problem attempt(struct directory *d, struct throttle_key whose, struct slice address, const char *stored,
                            struct slice password, uint64_t *retry_ms_out)
{
    struct throttle_key keys[THROTTLE_KEYS_MAX] = {whose, throttle_key(&d->throttle, &by_address, 'a', address)};
    size_t count = address.len > 0 ? 2 : 1;
    if (!throttle_begin(&d->throttle, keys, count, clock_monotonic_ms(d->clock), retry_ms_out)) {
        counter_add(d->logins_throttled, 1);
        return PROBLEM_RATE_LIMITED;
    }
    /* Nothing longer was ever stored; the work is done all the same. */
    bool possible = stored != NULL && password.len <= SOTTO_PASSWORD_MAX;
    size_t len = password.len <= SOTTO_PASSWORD_MAX ? password.len : SOTTO_PASSWORD_MAX;
    const char *text = len > 0 ? (const char *)password.data : "";
    uint64_t began_us = clock_monotonic_us(d->clock);
    errno = 0;
    int result = crypto_pwhash_str_verify(possible ? stored : d->nobodys_hash, text, len);
    int reason = errno;
    histogram_observe(d->hash_time, clock_monotonic_us(d->clock) - began_us);
    if (result == 0 && possible) {
        throttle_clear(&d->throttle, keys[0]);
        if (count == 2) throttle_undo(&d->throttle, keys[1]);
        return PROBLEM_NONE;
    }
    if (result != 0 && reason == ENOMEM) { /* nothing was compared */
        for (size_t i = 0; i < count; i++) throttle_undo(&d->throttle, keys[i]);
        LOG(d->log, LOG_ERROR, "directory.password_memory", LOG_U("bytes", d->argon2_mem_bytes));
        return PROBLEM_BUSY;
    }
    counter_add(d->logins_failed, 1);
    return PROBLEM_CREDENTIALS;
}

enum problem password_attempt(struct directory *d, struct slice username, struct slice address, const char *stored,
                              struct slice password, uint64_t *retry_ms_out)
{
    return attempt(d, throttle_key(&d->throttle, &by_name, 'n', username), address, stored, password, retry_ms_out);
}

enum problem password_confirm(struct directory *d, const struct id *user, struct slice password, struct slice address,
                              uint64_t *retry_ms_out, char hash_out[crypto_pwhash_STRBYTES])
{
    struct sql_tx *tx = sql_begin(d->sql, SQL_READ);
    struct sql_stmt *q = sql_prepare(tx, "SELECT password_hash FROM users WHERE id = $1 AND deleted_ms = 0");
    sql_bind_id(q, 1, user);
    bool found = sql_step(q);
    sql_copy_text(q, 0, hash_out, crypto_pwhash_STRBYTES);
    enum problem p = read_end(d, tx, found ? PROBLEM_NONE : PROBLEM_NO_SUCH_USER);
    if (p != PROBLEM_NONE) return p;
    struct throttle_key key = throttle_key(&d->throttle, &by_name, 'c', slice_of(user->bytes, ID_LEN));
    return attempt(d, key, address, hash_out, password, retry_ms_out);
}

bool password_store(struct edit *e, const struct id *user, const char *old_hash, const char *new_hash)
{
    struct sql_stmt *q = sql_prepare(e->tx, "SELECT password_hash FROM users WHERE id = $1");
    sql_bind_id(q, 1, user);
    char stored[crypto_pwhash_STRBYTES] = "";
    if (sql_step(q)) sql_copy_text(q, 0, stored, sizeof stored);
    if (old_hash != NULL && strcmp(stored, old_hash) != 0) return false;
    if (strcmp(stored, new_hash) == 0) return true;
    q = sql_prepare(e->tx, "UPDATE users SET password_hash = $1 WHERE id = $2");
    sql_bind_text(q, 1, slice_str(new_hash));
    sql_bind_id(q, 2, user);
    sql_run(q);
    return true;
}
