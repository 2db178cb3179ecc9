/* Shared by the files of this folder. */
#ifndef SOTTO_DIRECTORY_DIRECTORY_PRIVATE_H
#define SOTTO_DIRECTORY_DIRECTORY_PRIVATE_H

#include "directory/directory.h"
#include "directory/sql.h"
#include "directory/throttle.h"
#include "directory/views.h"

#include <pthread.h>
#include <sodium.h>

enum {
    TOKEN_SECRET_LEN = 32,
    TOKEN_HASH_LEN = 32,
    RESUME_KEY_LEN = 32,
    AUTH_SETS = 512,
    AUTH_WAYS = 8,
    LISTENERS_MAX = 4,
    EDIT_CHANGES_MAX = 2 * SOTTO_DEVICES_PER_USER_MAX + 4,
    DEVICE_SEEN_STEP_MS = 3600 * 1000,              /* how exact a device's last_seen is */
    USED_PREKEYS_KEEP_DAYS = 30,
    CHANGES_KEEP_DAYS = 7,
    INVITES_KEEP_DAYS = 30,
};
static const uint64_t DAY_MS = 24ull * 3600 * 1000;

/* Which token each device has, as far as recently asked. */
struct auth_entry {
    struct id user;
    uint8_t device; /* 0: free */
    uint8_t hash[TOKEN_HASH_LEN];
    uint64_t seen_ms; /* last_seen_ms as stored */
    uint64_t used;    /* grows with use */
};
struct auth_cache {
    pthread_mutex_t mutex;
    uint64_t uses;
    uint64_t invalidations[AUTH_SETS];
    struct auth_entry *entries; /* AUTH_SETS x AUTH_WAYS */
};

struct directory {
    struct sql *sql;
    const struct clock_source *clock;
    const struct random_source *random;
    struct log *log;
    struct metrics *own_metrics; /* when the caller has none */
    _Atomic enum registration_policy registration;
    uint64_t argon2_ops;
    size_t argon2_mem_bytes;
    char nobodys_hash[crypto_pwhash_STRBYTES]; /* checked when there is no such user */
    uint32_t prekeys_low;
    uint8_t resume_key[RESUME_KEY_LEN];
    uint64_t origin; /* tells our changes from those of other processes */
    struct {
        directory_change_fn fn;
        void *ctx;
    } listeners[LISTENERS_MAX];
    size_t listeners_count;
    pthread_mutex_t poll_mutex;
    uint64_t changes_seen;   /* under poll_mutex */
    uint64_t changes_pruned_ms;
    bool poll_due;           /* there may be notes that were not read yet */
    struct views views;
    struct auth_cache auth;
    struct throttle throttle;
    struct counter *logins_ok, *logins_failed, *logins_throttled, *sql_failures, *view_loads;
    struct histogram *hash_time, *write_time;
};

/* ---- directory.c: write transactions that tell what they changed --------- */

struct change {
    enum directory_change what;
    struct id user;
    uint8_t device;
};
struct edit {
    struct directory *d;
    struct sql_tx *tx;
    uint64_t began_us;
    size_t count;
    struct change changes[EDIT_CHANGES_MAX];
};
void edit_begin(struct edit *e, struct directory *d);
/* Locks the user until the end. False: no such user, or an error. */
bool edit_lock_user(struct edit *e, const struct id *user);
/* A statement whose only parameter is the user. */
void edit_run(struct edit *e, const char *sql, const struct id *user);
/* Notes a change: written for other processes with the transaction, told here
 * once it is committed. */
void edit_tell(struct edit *e, enum directory_change what, struct id user, uint8_t device);
/* Commits when p is NONE, rolls back otherwise. A failure of the database takes
 * precedence over p, which may only be its consequence. */
enum problem edit_end(struct edit *e, enum problem p);
/* Ends a read likewise. */
enum problem read_end(struct directory *d, struct sql_tx *tx, enum problem p);
enum problem directory_problem_of(struct directory *d, enum sotto_err err);

/* ---- fields.c: checks of what people type; false fills why ---------------- */

/* Writes the sentence (why may be NULL) and returns BAD_FIELD. */
enum problem field_problem(struct buffer *why, const char *sentence);
bool username_normalize(struct slice text, char out[SOTTO_USERNAME_MAX + 1]);
bool field_username(struct slice text, char out[SOTTO_USERNAME_MAX + 1], struct buffer *why);
bool field_password(struct slice password, struct buffer *why);
bool field_text(struct slice text, size_t max, const char *name, struct buffer *why);
bool field_phone(struct slice text, struct buffer *why);
bool field_picture(struct slice text, struct buffer *why);
bool field_device(const struct device_login *device, struct buffer *why);

/* ---- passwords.c ---------------------------------------------------------- */

/* Argon2id with the directory's cost. False: not enough memory for it now. */
bool password_hash(struct directory *d, struct slice password, char out[crypto_pwhash_STRBYTES]);
/* Checks an attempt that is throttled by name and address. stored: NULL when
 * there is no such user; takes as long. Problems: CREDENTIALS, RATE_LIMITED, BUSY. */
enum problem password_attempt(struct directory *d, struct slice username, struct slice address, const char *stored,
                              struct slice password, uint64_t *retry_ms_out);
/* The password of a signed-in user, attempted; throttled apart from sign-ins.
 * hash_out: as stored, so that the caller can see that it has not changed since. */
enum problem password_confirm(struct directory *d, const struct id *user, struct slice password, struct slice address,
                              uint64_t *retry_ms_out, char hash_out[crypto_pwhash_STRBYTES]);
/* Within the edit: stores the new hash where the old one still stands (NULL:
 * whatever stands). False: it does not. */
bool password_store(struct edit *e, const struct id *user, const char *old_hash, const char *new_hash);

/* ---- directory_devices.c --------------------------------------------------- */

/* Within the edit, the user being locked: a device and its token. */
enum problem device_create(struct edit *e, const struct id *user, const struct device_login *login,
                           struct credentials *credentials_out);
/* Removes every device but `keep` (0: none kept), telling of each. */
void devices_remove(struct edit *e, const struct id *user, uint8_t keep);

/* ---- directory_keys.c ------------------------------------------------------ */

/* All one-time keys that are there count as handed out. */
void keys_forget_one_time(struct sql_tx *tx, uint64_t now_ms);

/* ---- directory_accounts.c --------------------------------------------------- */

/* Within the edit, the user being locked: removes all but the id. */
void account_erase(struct edit *e, const struct id *user);
/* Reads one user's profile from the row that q stands on; columns as in
 * PROFILE_COLUMNS. */
#define PROFILE_COLUMNS                                                                              \
    "id, username, display_name, phone, picture, receipts_off, presence_visibility, is_admin, created_ms, " \
    "last_seen_ms"
void profile_read(struct sql_stmt *q, struct profile *out);

/* ---- directory_tokens.c ------------------------------------------------------ */

void auth_init(struct auth_cache *a);
void auth_deinit(struct auth_cache *a);
/* Forgets what is known of a user's tokens (NULL: of all). */
void auth_forget(struct auth_cache *a, const struct id *user);
/* Copies the entry out, if there is one. stamp_out is set in any case: what is
 * then read from the database is kept by auth_put only if nothing was forgotten
 * since. */
bool auth_find(struct auth_cache *a, struct id user, uint8_t device, struct auth_entry *out, uint64_t *stamp_out);
void auth_put(struct auth_cache *a, const struct auth_entry *fresh, uint64_t stamp);
/* A fresh token: its text, and what is stored of it. */
void token_create(struct directory *d, struct id user, uint8_t device, char text_out[TOKEN_TEXT_MAX],
                  uint8_t hash_out[TOKEN_HASH_LEN]);

#endif
