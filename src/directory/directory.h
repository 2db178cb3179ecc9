/* Users, devices, tokens, keys, contacts, blocks, invites.
 *
 * The statements are portable SQL, written once (directory_*.c), over a small
 * driver table (sql.h): SQLite now, PostgreSQL as a second driver. Every call
 * that reads or writes SQL blocks: worker threads only, unless it says
 * otherwise. Passwords: Argon2id through libsodium. Tokens are stored hashed.
 */
#ifndef SOTTO_DIRECTORY_DIRECTORY_H
#define SOTTO_DIRECTORY_DIRECTORY_H

#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/refcount.h"
#include "wire/problem.h"

struct directory;
enum registration_policy { REGISTRATION_OPEN, REGISTRATION_INVITE, REGISTRATION_CLOSED };
enum visibility { VISIBLE_EVERYONE = 0, VISIBLE_CONTACTS = 1, VISIBLE_NOBODY = 2 };

struct directory_options {
    const char *file;                  /* SQLite database */
    const struct clock_source *clock;
    const struct random_source *random;
    struct log *log;
    struct metrics *metrics;
    enum registration_policy registration;
    size_t cache_bytes;                /* for user views */
    uint64_t argon2_ops;               /* 0: libsodium's INTERACTIVE */
    size_t argon2_mem_bytes;           /* 0: libsodium's INTERACTIVE */
    uint32_t prekeys_low;              /* fewer one-time prekeys than this: ask for more */
};
/* Opens, creates or migrates. options is borrowed until return; clock, random,
 * log and metrics (the last two may be NULL) for as long as the directory.
 * Errors, with a sentence for the operator in why_out: CORRUPT (damaged),
 * INVALID (made by a newer program, or not ours), FULL, AGAIN (locked by
 * another process), IO. */
SOTTO_CHECKED enum sotto_err directory_open(const struct directory_options *options, struct buffer *why_out,
                                            struct directory **directory_out);
void directory_close(struct directory **d);
/* Any thread: SIGHUP may change the policy. */
void directory_set_registration(struct directory *d, enum registration_policy policy);

/* What the message path needs to know of a user: immutable, shared. */
struct device_view {
    uint8_t id;
    bool has_keys;
    uint16_t registration_id;          /* 0 without keys */
};
struct user_view {
    struct refcount refs;
    struct id id;
    bool receipts_off;                 /* read receipts, both ways */
    uint8_t presence_visibility;       /* enum visibility */
    uint8_t devices_count;
    struct device_view devices[SOTTO_DEVICES_PER_USER_MAX]; /* by id */
    size_t blocks_count, contacts_count;
    const struct id *blocks;           /* sorted; whom this user blocks */
    const struct id *contacts;         /* sorted */
};
struct user_view *user_view_ref(struct user_view *v);
void user_view_unref(struct user_view *v);
bool user_view_blocks(const struct user_view *v, struct id other);
bool user_view_has_contact(const struct user_view *v, struct id other);

/* The cached view with a reference, or NULL when it must be loaded. Any
 * thread; never blocks on SQL. */
struct user_view *directory_peek(struct directory *d, struct id user);
/* The same, loading it. NOT_FOUND: no such user (or deleted). */
SOTTO_CHECKED enum sotto_err directory_view(struct directory *d, struct id user, struct user_view **view_out);
/* The same, but what had to be loaded is not kept: for a look at someone of
 * whom nothing more may be asked, such as a connection that will be idle. */
SOTTO_CHECKED enum sotto_err directory_view_once(struct directory *d, struct id user, struct user_view **view_out);

/* What changed, told on the thread that changed it, after it is committed. */
enum directory_change {
    CHANGE_DEVICE_REVOKED,  /* close its connections: sign in again */
    CHANGE_USER_DELETED,    /* close all its connections: go away */
    CHANGE_PASSWORD,        /* every other device is revoked, each told apart */
    CHANGE_DEVICES,         /* the list of a user's devices or their keys changed */
    CHANGE_PREKEYS_LOW,     /* for the device: upload more */
    CHANGE_PROFILE,         /* profile, settings, blocks, contacts; by the device, if it is not 0 */
};
typedef void (*directory_change_fn)(void *ctx, enum directory_change what, struct id user, uint8_t device);
/* Up to four listeners; call before other threads use the directory. fn may call
 * the directory. Other processes' changes arrive through directory_poll_changes. */
void directory_on_change(struct directory *d, directory_change_fn fn, void *ctx);

/* ---- Accounts ---------------------------------------------------------- */

struct device_login {
    struct slice name;      /* for people: "Anna's phone" */
    struct slice platform;  /* "cli", "web", "android" … */
};
struct registration {
    struct slice username;     /* checked and lower-cased here */
    struct slice password;
    struct slice display_name; /* may be empty: the user name */
    struct slice phone;        /* may be empty */
    struct slice picture;      /* may be empty */
    struct slice invite;       /* may be empty */
    struct device_login device;
};
enum { TOKEN_TEXT_MAX = 96 };
struct credentials {
    struct id user;
    uint8_t device;
    char token[TOKEN_TEXT_MAX]; /* "sot_…", base64url; NUL-terminated; secret */
};
/* Makes the account and its first device. Problems: BAD_FIELD (why),
 * USERNAME_TAKEN, PHONE_TAKEN, REGISTRATION_CLOSED, INVITE, STORAGE_FULL, INTERNAL. */
enum problem directory_register(struct directory *d, const struct registration *r, struct buffer *why,
                                struct credentials *credentials_out);
/* After BAD_FIELD: the member that is wrong, as the protocol calls it; NULL: none. */
const char *directory_wrong_registration(const struct registration *r);
/* Checks the password (constant work whether or not the user exists), makes a
 * device. address: whose attempts are throttled together with the account's.
 * Problems: CREDENTIALS, RATE_LIMITED (*retry_ms_out), TOO_MANY_DEVICES, BAD_FIELD. */
enum problem directory_login(struct directory *d, struct slice username, struct slice password,
                             const struct device_login *device, struct slice address, struct buffer *why,
                             uint64_t *retry_ms_out, struct credentials *credentials_out);
/* Revokes every other device. */
enum problem directory_change_password(struct directory *d, struct id user, uint8_t device, struct slice old,
                                       struct slice fresh, struct slice address, struct buffer *why,
                                       uint64_t *retry_ms_out);
/* Frees the user name and phone; the id is never used again. */
enum problem directory_delete_account(struct directory *d, struct id user, struct slice password,
                                      struct slice address, uint64_t *retry_ms_out);
/* Who holds this token. Problems: TOKEN. A small cache makes repeats cheap. */
enum problem directory_authenticate(struct directory *d, struct slice token, struct id *user_out,
                                    uint8_t *device_out);
/* The same from the cache only: false when it must be asked above. Any thread. */
bool directory_authenticate_peek(struct directory *d, struct slice token, struct id *user_out,
                                 uint8_t *device_out);
/* Resumption tokens: signed by a key in the directory, bound to the device and
 * its token, good for ttl_ms. resume checks both signature and device. Neither
 * blocks while the device is in the cache, as it is right after it has
 * authenticated; out is empty when there is no such device. */
void directory_resume_token(struct directory *d, struct id user, uint8_t device, uint64_t ttl_ms,
                            char out[TOKEN_TEXT_MAX]);
enum problem directory_resume(struct directory *d, struct slice token, struct id *user_out, uint8_t *device_out);

struct profile {
    struct id id;
    char username[SOTTO_USERNAME_MAX + 1];
    char display_name[SOTTO_DISPLAY_NAME_MAX + 1];
    char phone[SOTTO_PHONE_MAX + 1];      /* only for its owner */
    char picture[SOTTO_HANDLE_MAX + 1];
    bool receipts_off;
    uint8_t presence_visibility;
    bool is_admin;
    uint64_t created_ms;
    uint64_t last_seen_ms;
};
/* find_username leaves the phone out. Problems: NO_SUCH_USER. */
enum problem directory_profile(struct directory *d, struct id user, struct profile *profile_out);
enum problem directory_find_username(struct directory *d, struct slice username, struct profile *profile_out);
struct profile_change { /* data NULL: leave as it is; empty: clear it */
    struct slice display_name, phone, picture;
    const bool *receipts_off;
    const uint8_t *presence_visibility;
};
/* device: the one that asks, which is not told of it. */
enum problem directory_update_profile(struct directory *d, struct id user, uint8_t device,
                                      const struct profile_change *change, struct buffer *why);
/* After BAD_FIELD: the text that is wrong, as the protocol calls it; NULL: none. */
const char *directory_wrong_change(const struct profile_change *change);
/* Many at once, from presence; best effort. */
void directory_store_last_seen(struct directory *d, const struct id *users, const uint64_t *seen_ms, size_t count);

/* ---- Devices ----------------------------------------------------------- */

struct device_info {
    uint8_t id;
    char name[SOTTO_DEVICE_NAME_MAX + 1];
    char platform[SOTTO_PLATFORM_MAX + 1];
    uint64_t created_ms, last_seen_ms;
    bool has_keys;
    uint16_t registration_id;
};
enum problem directory_devices(struct directory *d, struct id user,
                               struct device_info out[SOTTO_DEVICES_PER_USER_MAX], size_t *count_out);
enum problem directory_rename_device(struct directory *d, struct id user, uint8_t device, struct slice name,
                                     struct buffer *why);
enum problem directory_revoke_device(struct directory *d, struct id user, uint8_t device);

/* ---- Public keys (opaque here; sizes are those of the Signal protocol) --- */

enum { EC_KEY_LEN = 33, KEM_KEY_LEN = 1569, SIGNATURE_LEN = 64 };
struct signed_key {            /* signed prekey, KEM prekeys */
    uint32_t id;
    struct slice key;
    struct slice signature;
};
struct key_upload {            /* data NULL or count 0: leave as it is */
    struct slice identity_key; /* EC_KEY_LEN; with registration_id */
    uint16_t registration_id;  /* 1..16380 */
    struct signed_key signed_prekey;
    struct signed_key last_resort_kem;
    const struct signed_key *kem_prekeys; size_t kem_prekeys_count;   /* one-time */
    const struct signed_key *ec_prekeys; size_t ec_prekeys_count;     /* one-time, no signature */
    bool replace;              /* forget the one-time keys there are */
};
/* A device's first upload, and any that changes its identity key, brings the
 * signed prekey and the last-resort KEM key too; a changed identity forgets all
 * one-time keys. An id that was handed out is not offered again, so an upload
 * may be repeated. Problems: BAD_FIELD (why), NOT_FOUND, NO_SUCH_USER. */
enum problem directory_upload_keys(struct directory *d, struct id user, uint8_t device,
                                   const struct key_upload *upload, struct buffer *why);
enum problem directory_key_counts(struct directory *d, struct id user, uint8_t device, uint32_t *ec_out,
                                  uint32_t *kem_out);
struct key_bundle {
    uint8_t device;
    uint16_t registration_id;
    uint8_t identity_key[EC_KEY_LEN];
    uint32_t signed_prekey_id;
    uint8_t signed_prekey[EC_KEY_LEN], signed_prekey_signature[SIGNATURE_LEN];
    uint32_t kem_prekey_id;
    uint8_t kem_prekey[KEM_KEY_LEN], kem_prekey_signature[SIGNATURE_LEN];
    bool kem_is_last_resort;
    bool has_ec_prekey;
    uint32_t ec_prekey_id;
    uint8_t ec_prekey[EC_KEY_LEN];
};
/* One bundle per device that has keys (device 0: all; else that one). Each
 * one-time key is handed out once, in one transaction. The caller has
 * rate-limited. bundles holds SOTTO_DEVICES_PER_USER_MAX. Problems:
 * NO_SUCH_USER, NO_PREKEYS (none of these devices has keys). */
enum problem directory_take_bundles(struct directory *d, struct id user, uint8_t device,
                                    struct key_bundle *bundles, size_t *count_out);

/* ---- Contacts and blocks ------------------------------------------------ */

struct contact {
    struct id user;
    char username[SOTTO_USERNAME_MAX + 1];
    char display_name[SOTTO_DISPLAY_NAME_MAX + 1];
    char alias[SOTTO_DISPLAY_NAME_MAX + 1]; /* the owner's own name for them */
    char picture[SOTTO_HANDLE_MAX + 1];
    bool blocked;
    bool listed; /* false: no contact, a stranger whom the owner blocks */
};
/* fn runs inside the read: it must not call the directory. */
typedef void (*contact_fn)(void *ctx, const struct contact *c);
enum problem directory_contacts(struct directory *d, struct id user, contact_fn fn, void *ctx);
/* device: as above. */
enum problem directory_put_contact(struct directory *d, struct id user, uint8_t device, struct id other,
                                   struct slice alias, struct buffer *why);
enum problem directory_remove_contact(struct directory *d, struct id user, uint8_t device, struct id other);
enum problem directory_set_blocked(struct directory *d, struct id user, uint8_t device, struct id other, bool blocked);

/* ---- For the operator ---------------------------------------------------- */

enum { INVITE_TEXT_MAX = 40 };
/* A one-time invite, good for ttl_ms; admin: the account may administer. Stored
 * hashed. */
enum problem directory_create_invite(struct directory *d, uint64_t ttl_ms, bool admin,
                                     char invite_out[INVITE_TEXT_MAX]);
struct invite_info { uint64_t id, created_ms, expires_ms; bool admin, used; };
/* As contact_fn. An invite that was used or is long past goes after a month. */
typedef void (*invite_fn)(void *ctx, const struct invite_info *i);
enum problem directory_invites(struct directory *d, invite_fn fn, void *ctx);
enum problem directory_revoke_invite(struct directory *d, uint64_t id);
typedef void (*profile_fn)(void *ctx, const struct profile *p);
enum problem directory_users(struct directory *d, profile_fn fn, void *ctx);
uint64_t directory_user_count(struct directory *d);
/* Without the old password. Revokes all devices. */
enum problem directory_set_password(struct directory *d, struct id user, struct slice fresh, struct buffer *why);
enum problem directory_remove_user(struct directory *d, struct id user);
/* A consistent copy of the database while it is in use, made beside `file` and
 * renamed to it when it is on disk; replaces what is there. */
SOTTO_CHECKED enum sotto_err directory_backup(struct directory *d, const char *file, struct buffer *why_out);
/* Makes a copy that directory_backup once made safe to go on from: its one-time
 * prekeys may have been handed out since, so they count as used and devices are
 * asked for more. Lasting keys stay. `file` is in use by nobody; migrates it.
 * Errors: as directory_open. */
SOTTO_CHECKED enum sotto_err directory_restored(const char *file, const struct clock_source *clock,
                                                struct buffer *why_out);
/* Integrity check; one sentence per problem. */
SOTTO_CHECKED enum sotto_err directory_check(struct directory *d, void (*found)(void *ctx, const char *sentence),
                                             void *ctx);
/* Whether another process changed it (the admin command while the server
 * runs): drops what is cached and tells of revoked devices. Cheap; call every
 * second or so from a worker. */
void directory_poll_changes(struct directory *d);

#endif
