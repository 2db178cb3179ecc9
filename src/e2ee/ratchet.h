/* One session: the Double Ratchet with the post-quantum ratchet. Internal.
 *
 * A session is loaded from its record, changed by one operation, and either
 * saved or thrown away; so an operation that fails may leave it half changed.
 *
 * Specification: PQXDH 3.3, 3.4 (start); Double Ratchet 3.4, 3.5 and 6 (messages).
 */
#ifndef SOTTO_E2EE_RATCHET_H
#define SOTTO_E2EE_RATCHET_H

#include "e2ee/keys_private.h"
#include "e2ee/session.h"
#include "e2ee/spqr.h"
#include "e2ee/wire.h"

/* --- key derivation, exposed for tests against vectors ------------------------------ */

struct message_keys {
    uint8_t cipher[32];
    uint8_t mac[32];
    uint8_t iv[16];
};

/* The 96 bytes out of the handshake secrets: root || chain || SPQR key. */
void pqxdh_derive(const uint8_t *secret, size_t secret_len, struct secret32 *root_out,
                  struct secret32 *chain_out, struct secret32 *pq_out);
/* root' and a chain key from root and DH output. */
void root_step(struct secret32 *root, const struct secret32 *shared,
               struct secret32 *chain_out);
/* The seed of this message; moves the chain on. */
void chain_step(struct secret32 *chain, struct secret32 *seed_out);
/* The seed of message `counter` of a chain whose next message is *index; seeds
 * on the way to it go to `skipped`, and come from there when it is late. Sender
 * keys use it too. Errors: DUPLICATE, TOO_FAR, MEMORY. */
E2EE_CHECKED enum e2ee_err chain_seed(const struct e2ee_env *env, struct secret32 *chain,
                                      uint32_t *index, struct keylist *skipped,
                                      uint32_t counter, uint32_t jump_max,
                                      struct secret32 *seed_out);
/* pq_key: the key of the post-quantum ratchet for this message. */
void message_keys_derive(const struct secret32 *seed, const struct secret32 *pq_key,
                         struct message_keys *keys_out);

/* --- session ------------------------------------------------------------------------- */

struct receiver_chain {
    uint8_t ratchet_key[E2EE_PUBLIC_LEN];
    struct secret32 chain;
    uint32_t index;         /* of the next message */
    struct keylist skipped; /* seeds, not message keys: the PQ salt comes with the message */
};

/* What every message repeats until the peer has answered. */
struct pending_prekey {
    bool has_prekey;
    uint32_t prekey_id;
    uint32_t signed_prekey_id;
    uint32_t kem_prekey_id;
    uint8_t kem_ciphertext[E2EE_KEM_CIPHERTEXT_LEN];
};

struct session {
    uint8_t local_identity[E2EE_PUBLIC_LEN];
    uint8_t remote_identity[E2EE_PUBLIC_LEN];
    uint8_t base_key[E2EE_PUBLIC_LEN]; /* of the initiator: names the session */
    uint32_t local_registration_id;
    uint32_t remote_registration_id;
    uint64_t created_ms;
    bool pending; /* we started, and have no answer yet */
    struct pending_prekey prekey;
    struct secret32 root;
    struct curve_pair sender;
    struct secret32 sender_chain;
    uint32_t sender_index; /* of the next message */
    uint32_t previous_counter;
    uint32_t chain_count;
    struct receiver_chain chains[E2EE_RECEIVER_CHAINS_MAX]; /* newest last */
    struct spqr spqr;
};

/* A zeroed session on the heap; NULL when memory runs out. */
struct session *session_create(const struct e2ee_env *env);
/* Wipes, frees, nulls. NULL is fine. */
void session_destroy(const struct e2ee_env *env, struct session **session);

/* Fills a fresh session as initiator, from a checked bundle.
 * Errors: KEY, RANDOM. */
E2EE_CHECKED enum e2ee_err session_initiate(const struct e2ee_env *env, const struct self *self,
                                            const struct e2ee_bundle *bundle,
                                            struct session *session);

/* Our prekeys that a first message names. `prekey` is NULL if it names none. */
struct named_prekeys {
    const struct curve_prekey *signed_prekey;
    const struct curve_prekey *prekey;
    const struct kem_prekey *kem;
};
/* Fills a fresh session as responder. Errors: KEY, CORRUPT. */
E2EE_CHECKED enum e2ee_err session_respond(const struct self *self,
                                           const struct prekey_message *message,
                                           const struct named_prekeys *prekeys, uint64_t now_ms,
                                           struct session *session);

/* Encrypts one message to `peer`. Errors: EXHAUSTED, MEMORY, RANDOM. */
E2EE_CHECKED enum e2ee_err session_seal(const struct e2ee_env *env, struct session *session,
                                        const struct e2ee_address *peer, const uint8_t *plaintext,
                                        size_t plaintext_len, struct e2ee_bytes *message_out);

/* Opens one message from `peer`. Errors: VERSION, KEY, ADDRESS, DUPLICATE,
 * TOO_FAR, DECRYPT, MALFORMED, MEMORY, RANDOM. */
E2EE_CHECKED enum e2ee_err session_open(const struct e2ee_env *env, struct session *session,
                                        const struct e2ee_address *peer,
                                        const struct whisper_message *message,
                                        struct e2ee_bytes *plaintext_out);

/* The body of a SESSION record, also inside ARCHIVE records. */
void session_write(struct writer *writer, const void *session);
/* Whether a stored body is of the session with this base key; cheap. */
bool session_stored_is(const uint8_t *body, size_t len, const uint8_t base_key[E2EE_PUBLIC_LEN]);
/* `session` is fresh. Errors: CORRUPT, MEMORY. */
E2EE_CHECKED enum e2ee_err session_read(const struct e2ee_env *env, struct reader *reader,
                                        struct session *session);

#endif
