/* Stored records: framing, and the store as the other files use it. Internal.
 *
 * Layout of every record: 'S' 'E' || kind (1) || version (1) || body ||
 * checksum (8). The kind is the number of enum e2ee_record. The checksum is
 * SipHash-2-4 under a zero key of all before it: it finds damage and
 * truncation; it is no protection against somebody who can write the store.
 * All integers are big-endian. A change of a body's layout raises the version
 * of that kind; old versions stay readable; golden files hold each.
 */
#ifndef SOTTO_E2EE_RECORD_H
#define SOTTO_E2EE_RECORD_H

#include "e2ee/codec.h"
#include "e2ee/e2ee.h"

enum { RECORD_VERSION = 1, RECORD_OVERHEAD = 12 };

/* Writes the body of one object; called twice, first to count. */
typedef void record_body(struct writer *writer, const void *object);

/* Makes a whole record in memory of `env`. Errors: MEMORY. */
E2EE_CHECKED enum e2ee_err record_seal(const struct e2ee_env *env, enum e2ee_record kind,
                                       record_body *body, const void *object,
                                       struct e2ee_bytes *out);

/* Checks the frame and gives the body, borrowed. Errors: CORRUPT. */
E2EE_CHECKED enum e2ee_err record_open(enum e2ee_record kind, const struct e2ee_bytes *bytes,
                                       struct reader *body_out);

/* The key of a record in the store. */
struct record_key {
    uint8_t bytes[E2EE_STORE_KEY_MAX];
    size_t len;
};
struct record_key record_key_none(void);
struct record_key record_key_service(const uint8_t service_id[E2EE_SERVICE_ID_LEN]);
struct record_key record_key_address(const struct e2ee_address *address);
struct record_key record_key_id(uint32_t id);
struct record_key record_key_used(uint32_t kem_id, uint32_t signed_id,
                                  const uint8_t base_key[E2EE_PUBLIC_LEN]);
struct record_key record_key_group(const struct e2ee_address *sender,
                                   const uint8_t id[E2EE_DISTRIBUTION_ID_LEN]);

/* Loads a record and opens its frame. The caller frees *bytes_out; body_out
 * points into it. Errors: NOT_FOUND, CORRUPT, MEMORY, STORE. */
E2EE_CHECKED enum e2ee_err record_load(const struct e2ee_env *env, enum e2ee_record kind,
                                       const struct record_key *key, struct e2ee_bytes *bytes_out,
                                       struct reader *body_out);
/* Whether there is a record. Errors: MEMORY, STORE. */
E2EE_CHECKED enum e2ee_err record_exists(const struct e2ee_env *env, enum e2ee_record kind,
                                         const struct record_key *key, bool *exists_out);
/* Errors: STORE. */
E2EE_CHECKED enum e2ee_err record_save(const struct e2ee_env *env, enum e2ee_record kind,
                                       const struct record_key *key,
                                       const struct e2ee_bytes *bytes);
E2EE_CHECKED enum e2ee_err record_remove(const struct e2ee_env *env, enum e2ee_record kind,
                                         const struct record_key *key);

/* Device 1..127 and kind byte 0 or 1. */
E2EE_CHECKED bool address_valid(const struct e2ee_address *address);
bool address_equal(const struct e2ee_address *a, const struct e2ee_address *b);

#endif
