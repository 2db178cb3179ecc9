/* Prekeys, and the bundle with which a stranger starts a session.
 *
 * A device publishes: a signed X25519 prekey (renewed every few days), a
 * signed last-resort Kyber prekey, and stocks of one-time X25519 and Kyber
 * prekeys. The server hands out a bundle with one of each. One-time prekeys
 * are removed by the first message that uses them; a last-resort Kyber prekey
 * stays, and every base key that used it is remembered and refused if it
 * comes again.
 *
 * Signatures cover the serialised public key with its type byte, by the
 * identity key. Specification: PQXDH 3.2; for replays X3DH 4.2
 * and 4.3.
 */
#ifndef SOTTO_E2EE_PREKEY_H
#define SOTTO_E2EE_PREKEY_H

#include <stdbool.h>

#include "e2ee/e2ee.h"

struct e2ee_bundle {
    uint32_t registration_id; /* 1..16380 */
    uint8_t device_id;        /* 1..127 */
    uint8_t identity[E2EE_PUBLIC_LEN];
    uint32_t signed_prekey_id;
    uint8_t signed_prekey[E2EE_PUBLIC_LEN];
    uint8_t signed_prekey_signature[E2EE_SIGNATURE_LEN];
    uint32_t kem_prekey_id;
    uint8_t kem_prekey[E2EE_KEM_PUBLIC_LEN];
    uint8_t kem_prekey_signature[E2EE_SIGNATURE_LEN];
    bool has_prekey; /* a one-time X25519 prekey was left */
    uint32_t prekey_id;
    uint8_t prekey[E2EE_PUBLIC_LEN];
};

/* Makes and stores one prekey under `id` (any 32-bit number; the caller
 * counts). Errors: EXISTS if the id is taken; NOT_FOUND without our identity;
 * CORRUPT, MEMORY, RANDOM, STORE. */
E2EE_CHECKED enum e2ee_err e2ee_prekey_create(const struct e2ee_env *env, uint32_t id,
                                              uint8_t public_out[E2EE_PUBLIC_LEN]);
E2EE_CHECKED enum e2ee_err e2ee_signed_prekey_create(
    const struct e2ee_env *env, uint32_t id, uint8_t public_out[E2EE_PUBLIC_LEN],
    uint8_t signature_out[E2EE_SIGNATURE_LEN]);
E2EE_CHECKED enum e2ee_err e2ee_kem_prekey_create(
    const struct e2ee_env *env, uint32_t id, bool last_resort,
    uint8_t public_out[E2EE_KEM_PUBLIC_LEN], uint8_t signature_out[E2EE_SIGNATURE_LEN]);

/* Facts about a stored prekey, to publish it again or to decide about
 * rotation. `kind` is E2EE_RECORD_PREKEY, _SIGNED_PREKEY or _KEM_PREKEY. */
struct e2ee_prekey_info {
    uint64_t created_ms;
    bool last_resort; /* KEM prekeys only */
};
E2EE_CHECKED enum e2ee_err e2ee_prekey_info(const struct e2ee_env *env, enum e2ee_record kind,
                                            uint32_t id, struct e2ee_prekey_info *info_out);

/* Removes a prekey that was rotated out. Errors: ARGUMENT if `kind` is not a
 * prekey; STORE. */
E2EE_CHECKED enum e2ee_err e2ee_prekey_remove(const struct e2ee_env *env, enum e2ee_record kind,
                                              uint32_t id);

/* Our own bundle from stored prekeys, as the server would hand it out.
 *
 * prekey_id  NULL for a bundle without a one-time X25519 prekey
 *
 * Errors: NOT_FOUND, CORRUPT, MEMORY, STORE. */
E2EE_CHECKED enum e2ee_err e2ee_bundle_make(const struct e2ee_env *env, uint32_t signed_prekey_id,
                                            uint32_t kem_prekey_id, const uint32_t *prekey_id,
                                            struct e2ee_bundle *bundle_out);

/* Checks every field of a bundle from a server: ranges, keys, signatures.
 * e2ee_session_start does it too. Errors: MALFORMED, KEY, SIGNATURE. */
E2EE_CHECKED enum e2ee_err e2ee_bundle_check(const struct e2ee_bundle *bundle);

#endif
