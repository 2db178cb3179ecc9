/* The encryption core: errors, what it is given, and what it gives back.
 *
 * The library speaks the current Signal protocol: PQXDH with Kyber-1024, the
 * Double Ratchet with the post-quantum ratchet (SPQR), Sender Keys, safety
 * numbers. It does no I/O, reads no clock, starts no thread and has no state
 * of its own: memory, randomness, time and storage arrive in `struct
 * e2ee_env`. The same files build natively and to WebAssembly.
 *
 *   identity.h     our key pair, the keys of our contacts, key changes
 *   prekey.h       prekeys and the bundle that a server hands out
 *   session.h      messages between two devices
 *   group.h        messages to many devices (sender keys)
 *   fingerprint.h  safety numbers
 *
 * Contract, for every function unless it says otherwise:
 *   - Outputs come last, are named `_out`, and are untouched on failure.
 *   - A failed call has changed nothing in the store, with one exception: an
 *     error of the store itself (E2EE_ERR_STORE) in the middle of the writes
 *     that end a call. Run each call inside one transaction of the store and
 *     roll back unless it returns E2EE_OK.
 *   - Pointers are never NULL unless their comment allows it; a NULL is a bug
 *     and asserts. Bytes from a peer or from the store never assert.
 *   - Nothing is kept after return: slices given in are borrowed for the call.
 *   - A call may run on any thread; two calls for the same store must not
 *     overlap. Nothing blocks, except inside the functions handed in.
 *
 * Specifications: PQXDH, Double Ratchet (revision of 2025, with the Triple
 * Ratchet), ML-KEM Braid, X3DH, XEdDSA, Sesame; docs/e2ee.md maps them.
 */
#ifndef SOTTO_E2EE_E2EE_H
#define SOTTO_E2EE_E2EE_H

#include <stddef.h>
#include <stdint.h>

enum e2ee_err {
    E2EE_OK = 0,
    E2EE_ERR_MEMORY,     /* the allocator returned NULL */
    E2EE_ERR_RANDOM,     /* the source of randomness failed */
    E2EE_ERR_STORE,      /* a function of the store failed */
    E2EE_ERR_NOT_FOUND,  /* the store has no such record */
    E2EE_ERR_EXISTS,     /* there is one already, and it is not overwritten */
    E2EE_ERR_ARGUMENT,   /* an argument of the caller is out of its range */
    E2EE_ERR_CORRUPT,    /* a stored record is damaged, truncated or too new */
    E2EE_ERR_MALFORMED,  /* bytes from a peer do not parse */
    E2EE_ERR_VERSION,    /* a protocol version that we do not speak, or a downgrade */
    E2EE_ERR_KEY,        /* a public key that is no valid key, or an all-zero secret */
    E2EE_ERR_SIGNATURE,  /* a signature does not verify */
    E2EE_ERR_IDENTITY,   /* the peer's identity key is not the one we hold */
    E2EE_ERR_NO_SESSION, /* nothing to encrypt with: fetch a bundle and start */
    E2EE_ERR_NO_PREKEY,  /* a first message names a prekey that we do not have */
    E2EE_ERR_NO_SENDER_KEY, /* no distribution message of that sender yet */
    E2EE_ERR_DECRYPT,    /* no session or key opens this message */
    E2EE_ERR_DUPLICATE,  /* this message was opened before */
    E2EE_ERR_REPLAY,     /* a first message on a last-resort key was seen before */
    E2EE_ERR_TOO_FAR,    /* the message is too many steps ahead */
    E2EE_ERR_ADDRESS,    /* the message was made for other addresses */
    E2EE_ERR_EXHAUSTED,  /* a counter has reached its end: start anew */
    E2EE_ERR_COUNT
};

#define E2EE_CHECKED __attribute__((warn_unused_result))

/* Short lower-case name for logs, e.g. "no_session"; "unknown" if out of
 * range. Never NULL. */
const char *e2ee_err_name(enum e2ee_err err);

/* Sizes in bytes. A public key on the wire starts with its type byte. */
enum {
    E2EE_PUBLIC_LEN = 33,          /* 0x05 || u */
    E2EE_PRIVATE_LEN = 32,
    E2EE_SIGNATURE_LEN = 64,
    E2EE_KEM_PUBLIC_LEN = 1569,    /* 0x08 || Kyber-1024 public key */
    E2EE_KEM_CIPHERTEXT_LEN = 1569,
    E2EE_SERVICE_ID_LEN = 17,      /* kind || UUID */
    E2EE_ADDRESS_LEN = 18,         /* service id || device */
    E2EE_DISTRIBUTION_ID_LEN = 16, /* UUID of a group's key chain */
};

/* Every maximum of the library. */
enum {
    E2EE_PLAINTEXT_MAX = 1 << 24,       /* bytes given to one encrypt call */
    E2EE_MESSAGE_MAX = (1 << 24) + 8192, /* bytes given to one decrypt call */
    E2EE_RECORD_MAX = 1 << 26,          /* bytes of one stored record */
    E2EE_REGISTRATION_ID_MAX = 16380,
    E2EE_DEVICE_ID_MAX = 127,
    E2EE_FORWARD_JUMP_MAX = 25000,      /* from the last message to one ahead of it */
    E2EE_SKIPPED_KEYS_MAX = 2000,       /* kept for late messages, per chain */
    E2EE_RECEIVER_CHAINS_MAX = 5,
    E2EE_ARCHIVED_SESSIONS_MAX = 40,
    E2EE_SENDER_KEY_STATES_MAX = 5,
};
#define E2EE_UNACKNOWLEDGED_MAX_MS (UINT64_C(30) * 24 * 60 * 60 * 1000)

/* --- what the library is given -------------------------------------------- */

/* Heap. `alloc` returns memory aligned for any type, or NULL. `free` gets the
 * length that was asked for; what held secrets is wiped before. Blocks are
 * never resized. */
struct e2ee_memory {
    void *context;
    void *(*alloc)(void *context, size_t len);
    void (*free)(void *context, void *block, size_t len);
};

/* A cryptographic source of randomness. Returns 0 when all of `out` is
 * filled, else a non-zero value, and the call fails with E2EE_ERR_RANDOM. */
struct e2ee_random {
    void *context;
    int (*fill)(void *context, uint8_t *out, size_t len);
};

/* Milliseconds since 1970-01-01 UTC. Used only to date records and for the
 * 30-day rule; a clock that jumps does no other harm. */
struct e2ee_clock {
    void *context;
    uint64_t (*now_ms)(void *context);
};

/* Bytes that the library allocated. Give them back with e2ee_bytes_free. */
struct e2ee_bytes {
    uint8_t *data; /* NULL exactly when len is 0 */
    size_t len;
};

/* The kinds of record, and the key of each in the store. Numbers are part of
 * the stored format: never reused. Integers in keys are big-endian. The one
 * kind that grows is KEM_USED, by one record per session on a last-resort
 * prekey; when that prekey has been removed, the store may drop all records of
 * the kind whose key begins with its id. */
enum e2ee_record {
    E2EE_RECORD_SELF = 1,          /* empty key; our identity key pair: secret */
    E2EE_RECORD_PEER = 2,          /* service id 17: identity key of a contact */
    E2EE_RECORD_SESSION = 3,       /* address 18: the current session: secret */
    E2EE_RECORD_ARCHIVE = 4,       /* address 18: older sessions: secret */
    E2EE_RECORD_PREKEY = 5,        /* id 4: one-time prekey pair: secret */
    E2EE_RECORD_SIGNED_PREKEY = 6, /* id 4: secret */
    E2EE_RECORD_KEM_PREKEY = 7,    /* id 4: one-time or last-resort: secret */
    E2EE_RECORD_KEM_USED = 8,      /* KEM id 4 || signed id 4 || base key 33 */
    E2EE_RECORD_SENDER_KEY = 9,    /* address 18 || distribution id 16: secret */
};
enum { E2EE_STORE_KEY_MAX = 41 };

struct e2ee_env;

/* Records by (kind, key). The store keeps bytes and never looks into them; it
 * should encrypt them at rest. `data` and `key` are borrowed for the call.
 *
 * load     copies the record with e2ee_bytes_copy(env, ...) into *out and
 *          returns E2EE_OK; E2EE_ERR_NOT_FOUND if there is none;
 *          E2EE_ERR_MEMORY or E2EE_ERR_STORE
 * save     inserts or replaces: E2EE_OK or E2EE_ERR_STORE
 * remove   E2EE_OK also when there is none; else E2EE_ERR_STORE
 */
struct e2ee_store {
    void *context;
    enum e2ee_err (*load)(void *context, const struct e2ee_env *env, enum e2ee_record kind,
                          const uint8_t *key, size_t key_len, struct e2ee_bytes *out);
    enum e2ee_err (*save)(void *context, enum e2ee_record kind, const uint8_t *key,
                          size_t key_len, const uint8_t *data, size_t data_len);
    enum e2ee_err (*remove)(void *context, enum e2ee_record kind, const uint8_t *key,
                            size_t key_len);
};

/* One device of one user.
 *
 * service_id  kind byte (0 = account) and the 16 bytes of the user's UUID
 * device_id   1..127
 */
struct e2ee_address {
    uint8_t service_id[E2EE_SERVICE_ID_LEN];
    uint8_t device_id;
};

/* Everything a call works with. The caller owns it; calls only read it. */
struct e2ee_env {
    struct e2ee_memory memory;
    struct e2ee_random random;
    struct e2ee_clock clock;
    struct e2ee_store store;
    struct e2ee_address self; /* the device that we are */
};

/* Prepares the library (detects the processor). Call once before anything
 * else, on one thread; calling again does no harm. Returns E2EE_OK or
 * E2EE_ERR_RANDOM if the primitives cannot be set up. */
E2EE_CHECKED enum e2ee_err e2ee_init(void);

/* Copies `len` bytes (0 is fine) into memory of `env`. For stores.
 * Errors: E2EE_ERR_MEMORY. */
E2EE_CHECKED enum e2ee_err e2ee_bytes_copy(const struct e2ee_env *env, const uint8_t *data,
                                           size_t len, struct e2ee_bytes *out);

/* Wipes and frees; `bytes` is empty afterwards. An empty one is fine. */
void e2ee_bytes_free(const struct e2ee_env *env, struct e2ee_bytes *bytes);

#endif
