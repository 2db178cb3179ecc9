/* Our identity key pair, and the identity keys of our contacts.
 *
 * All devices of a user share one identity key pair; a linked device receives
 * it (see provisioning.h) and imports it. Contacts are trusted on first use:
 * the first key seen is kept. When a contact's key changes, the new key takes
 * its place at once, sessions under the old key are no longer used for
 * sending, and the change is reported. If the old key had been verified (by
 * comparing safety numbers), nothing is sent until a person accepts.
 *
 * Specification: X3DH 4.1 and 4.8, Sesame 3.2 and 6.
 */
#ifndef SOTTO_E2EE_IDENTITY_H
#define SOTTO_E2EE_IDENTITY_H

#include <stdbool.h>

#include "e2ee/e2ee.h"

/* Makes an identity key pair and stores it as E2EE_RECORD_SELF.
 *
 * registration_id  1..16380, chosen at random by the caller per installation
 *
 * Errors: EXISTS if the store has one; ARGUMENT, MEMORY, RANDOM, STORE. */
E2EE_CHECKED enum e2ee_err e2ee_identity_create(const struct e2ee_env *env,
                                                uint32_t registration_id);

/* Same with a key pair that came from another device of the user (or from a
 * backup). private_key is clamped if it is not. Errors: as above. */
E2EE_CHECKED enum e2ee_err e2ee_identity_import(const struct e2ee_env *env,
                                                const uint8_t private_key[E2EE_PRIVATE_LEN],
                                                uint32_t registration_id);

/* Our public identity key and registration id. Either output may be NULL.
 * Errors: NOT_FOUND before create or import; CORRUPT, MEMORY, STORE. */
E2EE_CHECKED enum e2ee_err e2ee_identity_get(const struct e2ee_env *env,
                                             uint8_t public_out[E2EE_PUBLIC_LEN],
                                             uint32_t *registration_id_out);

/* Our private identity key, for provisioning and backups only. The caller
 * wipes it. Errors: as e2ee_identity_get. */
E2EE_CHECKED enum e2ee_err e2ee_identity_export(const struct e2ee_env *env,
                                                uint8_t private_out[E2EE_PRIVATE_LEN]);

/* Signs `message` (any length) with our identity key (XEdDSA).
 * Errors: NOT_FOUND, CORRUPT, MEMORY, RANDOM, STORE. */
E2EE_CHECKED enum e2ee_err e2ee_identity_sign(const struct e2ee_env *env, const uint8_t *message,
                                              size_t message_len,
                                              uint8_t signature_out[E2EE_SIGNATURE_LEN]);

/* Checks an XEdDSA signature by anyone's public key. No store needed.
 * Errors: KEY, SIGNATURE. */
E2EE_CHECKED enum e2ee_err e2ee_signature_check(const uint8_t public_key[E2EE_PUBLIC_LEN],
                                                const uint8_t *message, size_t message_len,
                                                const uint8_t signature[E2EE_SIGNATURE_LEN]);

/* Checks that `public_key` is one: type 0x05, canonical, on the curve and in
 * the prime-order subgroup. Errors: KEY. */
E2EE_CHECKED enum e2ee_err e2ee_public_key_check(const uint8_t public_key[E2EE_PUBLIC_LEN]);

/* What we hold about a contact's identity. */
struct e2ee_peer {
    uint8_t identity[E2EE_PUBLIC_LEN];
    bool verified;        /* a person has compared the safety number of this key */
    bool blocked;         /* a verified key was replaced: sending waits for a person */
    uint64_t since_ms;    /* when this key was first seen */
    uint32_t changes;     /* how often the key was replaced so far */
};

/* What a call learned about a peer's identity key. */
enum e2ee_identity_seen {
    E2EE_IDENTITY_SAME = 0,
    E2EE_IDENTITY_NEW = 1,     /* first key of this contact */
    E2EE_IDENTITY_CHANGED = 2, /* it replaced another: tell the person */
};

/* Errors: NOT_FOUND, CORRUPT, MEMORY, STORE. */
E2EE_CHECKED enum e2ee_err e2ee_peer_get(const struct e2ee_env *env,
                                         const uint8_t service_id[E2EE_SERVICE_ID_LEN],
                                         struct e2ee_peer *peer_out);

/* Records that a person has verified (or no longer trusts as verified) the
 * key that is held now. Accepting, with either value, ends a block.
 *
 * identity  the key that the person saw; must be the one held
 *
 * Errors: IDENTITY if the key held is another by now; NOT_FOUND, CORRUPT,
 * MEMORY, STORE. */
E2EE_CHECKED enum e2ee_err e2ee_peer_accept(const struct e2ee_env *env,
                                            const uint8_t service_id[E2EE_SERVICE_ID_LEN],
                                            const uint8_t identity[E2EE_PUBLIC_LEN],
                                            bool verified);

#endif
