/* What the tests of the encryption core run on: a seeded source of
 * randomness, a clock that stands still, a heap that can fail and that keeps
 * what was freed for inspection, and a store in memory. */
#ifndef SOTTO_TEST_E2EE_SUPPORT_H
#define SOTTO_TEST_E2EE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "e2ee/e2ee.h"
#include "e2ee/group.h"
#include "e2ee/identity.h"
#include "e2ee/prekey.h"
#include "e2ee/session.h"

#define OK(call) assert_int_equal(call, E2EE_OK)

/* xorshift128+; good enough to be different each time, same for a seed. */
struct test_random {
    uint64_t state[2];
    bool fails;
};
void test_random_seed(struct test_random *random, uint64_t seed);
uint64_t test_random_next(struct test_random *random);
/* Below `limit`. */
uint32_t test_random_below(struct test_random *random, uint32_t limit);

struct test_record {
    enum e2ee_record kind;
    uint8_t key[E2EE_STORE_KEY_MAX];
    size_t key_len;
    uint8_t *data;
    size_t data_len;
};

struct test_block;

/* One device with all that it needs. */
struct device {
    struct e2ee_env env;
    struct test_random random;
    uint64_t now_ms;
    /* store */
    struct test_record *records;
    size_t record_count, record_capacity;
    long writes_until_failure; /* -1: never */
    /* heap */
    struct test_block *blocks; /* all that is allocated */
    size_t block_count;        /* of them */
    long allocations;          /* so far */
    long fail_at;              /* the allocation of this number fails; -1: none */
    bool check_wiped;          /* freed blocks must be all zero */
};

/* user: last byte of the UUID. */
void device_init(struct device *device, uint64_t seed, uint8_t user, uint8_t device_id);
/* Frees all; fails the test if the library has left anything allocated. */
void device_deinit(struct device *device);

/* Identity, signed prekey 1, KEM prekeys 1 (one-time) and 2 (last resort),
 * one-time prekeys 1..9. */
void device_publish(struct device *device);
/* Same with the identity key of `other`, as a linked device has it. */
void device_publish_linked(struct device *device, struct device *other);

/* A hash of all records, to see that nothing changed. */
uint64_t device_store_hash(const struct device *device);
/* Replaces the store by a copy of another's, for snapshots. */
void device_store_copy(struct device *device, const struct device *from);
void device_store_clear(struct device *device);
struct test_record *device_record(struct device *device, enum e2ee_record kind,
                                  const uint8_t *key, size_t key_len);
struct test_record *device_session_record(struct device *device, const struct device *peer);

/* Starts a session from -> to with a bundle of `to`; prekey 0: without. */
void device_start(struct device *from, struct device *to, uint32_t kem_id, uint32_t prekey_id);

struct message {
    enum e2ee_message_type type;
    struct e2ee_bytes bytes; /* malloc'ed: outlives its device */
};
struct message device_encrypt(struct device *from, const struct device *to, const char *text);
enum e2ee_err device_decrypt(struct device *to, const struct device *from,
                             const struct message *message, const char *text);
void message_free(struct message *message);
/* Encrypts and decrypts. */
void device_say(struct device *from, struct device *to, const char *text);

size_t from_hex(const char *hex, uint8_t *out, size_t out_max);
void assert_hex(const uint8_t *data, size_t len, const char *hex);
/* Whole file as bytes (hex text); fails the test if there is none. */
size_t read_hex_file(const char *path, uint8_t *out, size_t out_max);

#endif
