/* Our own keys and our view of a peer's, as the other files load them. */
#ifndef SOTTO_E2EE_KEYS_PRIVATE_H
#define SOTTO_E2EE_KEYS_PRIVATE_H

#include "e2ee/crypto.h"
#include "e2ee/identity.h"
#include "e2ee/record.h"

struct self {
    uint32_t registration_id;
    struct curve_pair pair;
};

/* The caller wipes *self_out. Errors: NOT_FOUND, CORRUPT, MEMORY, STORE. */
E2EE_CHECKED enum e2ee_err self_load(const struct e2ee_env *env, struct self *self_out);

/* What seeing `identity` as the key of a contact means: fills *peer_out with
 * the record as it should be afterwards. Nothing is saved. For our own account
 * the key must be `own_identity`. Errors: IDENTITY, CORRUPT, MEMORY, STORE. */
E2EE_CHECKED enum e2ee_err peer_observe(const struct e2ee_env *env,
                                        const uint8_t service_id[E2EE_SERVICE_ID_LEN],
                                        const uint8_t identity[E2EE_PUBLIC_LEN],
                                        const uint8_t own_identity[E2EE_PUBLIC_LEN],
                                        struct e2ee_peer *peer_out,
                                        enum e2ee_identity_seen *seen_out);
/* Errors: MEMORY. */
E2EE_CHECKED enum e2ee_err peer_seal(const struct e2ee_env *env, const struct e2ee_peer *peer,
                                     struct e2ee_bytes *record_out);

/* A one-time or a signed prekey; the signature of a one-time one is unused. */
struct curve_prekey {
    uint64_t created_ms;
    struct curve_pair pair;
    uint8_t signature[E2EE_SIGNATURE_LEN];
};

struct kem_prekey {
    uint64_t created_ms;
    bool last_resort;
    uint8_t secret[KYBER1024_SECRET_LEN]; /* the public key is inside */
    uint8_t signature[E2EE_SIGNATURE_LEN];
};
/* Where ML-KEM keeps the public key in the secret one. */
enum { KYBER1024_PUBLIC_OFFSET = 1536 };

/* The caller wipes. Errors: NOT_FOUND, CORRUPT, MEMORY, STORE. */
E2EE_CHECKED enum e2ee_err curve_prekey_load(const struct e2ee_env *env, enum e2ee_record kind,
                                             uint32_t id, struct curve_prekey *prekey_out);
E2EE_CHECKED enum e2ee_err kem_prekey_load(const struct e2ee_env *env, uint32_t id,
                                           struct kem_prekey *prekey_out);

#endif
