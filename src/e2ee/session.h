/* Messages between two devices.
 *
 * A session begins with the peer's bundle (e2ee_session_start) or with the
 * peer's first message. From then on encrypt and decrypt are all there is:
 * both load the session, work on a copy, and save it at the end. When both
 * sides start at once, each keeps both sessions and they settle on one.
 *
 * Per peer the store holds the current session and up to 40 archived ones;
 * a message that opens under an archived one makes it current again.
 *
 * Plaintext is encrypted as it is: pad it before (padding.h).
 *
 * Specification: PQXDH 3.3 and 3.4; Double Ratchet 3, 5 and 6; ML-KEM
 * Braid 2; Sesame 3.3 and 3.4.
 */
#ifndef SOTTO_E2EE_SESSION_H
#define SOTTO_E2EE_SESSION_H

#include <stdbool.h>

#include "e2ee/e2ee.h"
#include "e2ee/identity.h"
#include "e2ee/prekey.h"

/* The types of the official protocol; they travel beside the bytes. */
enum e2ee_message_type {
    E2EE_MESSAGE_WHISPER = 2,
    E2EE_MESSAGE_PREKEY = 3,
    E2EE_MESSAGE_SENDER_KEY = 7,
};

/* Starts a session with the device `peer` from its bundle. An existing
 * session is archived. Nothing is sent yet: messages are prekey messages
 * until the first answer has been decrypted.
 *
 * seen_out  may be NULL; whether the bundle's identity key is new or replaced
 *           another one
 *
 * Errors: MALFORMED, KEY, SIGNATURE bad bundle; ADDRESS if the bundle is of
 * another device than `peer`, or `peer` is not a valid address; NOT_FOUND
 * without our identity; CORRUPT, MEMORY, RANDOM, STORE. */
E2EE_CHECKED enum e2ee_err e2ee_session_start(const struct e2ee_env *env,
                                              const struct e2ee_address *peer,
                                              const struct e2ee_bundle *bundle,
                                              enum e2ee_identity_seen *seen_out);

/* Encrypts `plaintext` (0..E2EE_PLAINTEXT_MAX bytes) to `peer`.
 *
 * type_out     E2EE_MESSAGE_PREKEY or E2EE_MESSAGE_WHISPER
 * message_out  free it with e2ee_bytes_free
 *
 * Errors: NO_SESSION if there is none, or it is unacknowledged for more than
 * 30 days, or under an identity key that the peer has replaced: fetch a
 * bundle and start; IDENTITY if a verified key was replaced and nobody has
 * accepted the new one; EXHAUSTED; ARGUMENT, CORRUPT, MEMORY, RANDOM, STORE. */
E2EE_CHECKED enum e2ee_err e2ee_session_encrypt(const struct e2ee_env *env,
                                                const struct e2ee_address *peer,
                                                const uint8_t *plaintext, size_t plaintext_len,
                                                enum e2ee_message_type *type_out,
                                                struct e2ee_bytes *message_out);

/* What else decrypting told us. */
struct e2ee_received {
    enum e2ee_identity_seen seen; /* about the sender's identity key */
    bool session_started;         /* this message made a new session */
    bool used_prekey;             /* a one-time X25519 prekey was consumed: */
    uint32_t prekey_id;           /*   its id, so that the stock is refilled */
    bool used_kem_prekey;         /* a Kyber prekey was used by a new session */
    uint32_t kem_prekey_id;
    uint32_t registration_id;     /* the sender's installation, by its session */
};

/* Opens a message of `peer`.
 *
 * type           E2EE_MESSAGE_PREKEY or E2EE_MESSAGE_WHISPER
 * plaintext_out  free it with e2ee_bytes_free
 * received_out   may be NULL
 *
 * On success, prekeys that the message used up are removed from the store.
 *
 * Errors: MALFORMED, VERSION, KEY; NO_SESSION for a whisper message without
 * any session; NO_PREKEY; REPLAY; IDENTITY for a session under an identity
 * key that the peer has replaced since; ADDRESS; DUPLICATE; TOO_FAR; DECRYPT;
 * ARGUMENT, CORRUPT, MEMORY, RANDOM, STORE. */
E2EE_CHECKED enum e2ee_err e2ee_session_decrypt(const struct e2ee_env *env,
                                                const struct e2ee_address *peer,
                                                enum e2ee_message_type type,
                                                const uint8_t *message, size_t message_len,
                                                struct e2ee_bytes *plaintext_out,
                                                struct e2ee_received *received_out);

struct e2ee_session_info {
    bool can_send;             /* encrypt would not say NO_SESSION now */
    bool acknowledged;         /* the peer has answered: no more prekey messages */
    uint64_t created_ms;
    uint32_t registration_id;  /* the peer's installation */
    uint64_t pq_epoch;         /* of the post-quantum ratchet, from 1 */
    uint32_t archived_count;
};

/* Facts about the current session with `peer`. Errors: NO_SESSION if there is
 * none; CORRUPT, MEMORY, STORE. */
E2EE_CHECKED enum e2ee_err e2ee_session_info(const struct e2ee_env *env,
                                             const struct e2ee_address *peer,
                                             struct e2ee_session_info *info_out);

/* Moves the current session to the archive: late messages still open, the
 * next encrypt says NO_SESSION. Errors: NO_SESSION, CORRUPT, MEMORY, STORE. */
E2EE_CHECKED enum e2ee_err e2ee_session_archive(const struct e2ee_env *env,
                                                const struct e2ee_address *peer);

/* Forgets all sessions with `peer`, for a device that is gone.
 * Errors: STORE. */
E2EE_CHECKED enum e2ee_err e2ee_session_remove(const struct e2ee_env *env,
                                               const struct e2ee_address *peer);

#endif
