/* Messages to many devices: Sender Keys v3.
 *
 * Each device has a key chain of its own per group and hands it to every
 * member device in a distribution message, over the pairwise sessions. Then
 * one ciphertext serves all. Chains are named by a 16-byte distribution id
 * (a UUID), the same for all members of a group. After a member or a device
 * leaves: e2ee_group_rotate, then distribute again.
 *
 * Specification: Sender Keys as in the official protocol, version 3 (the
 * "0x33" messages); docs/e2ee.md has the layout.
 */
#ifndef SOTTO_E2EE_GROUP_H
#define SOTTO_E2EE_GROUP_H

#include "e2ee/e2ee.h"

/* Our distribution message for a group; makes our key chain if there is none
 * yet. It tells the position of the chain now: whoever gets it reads later
 * messages, not earlier ones. It is a secret: send it only inside sessions.
 *
 * message_out  free it with e2ee_bytes_free
 *
 * Errors: CORRUPT, MEMORY, RANDOM, STORE. */
E2EE_CHECKED enum e2ee_err e2ee_group_distribute(const struct e2ee_env *env,
                                                 const uint8_t id[E2EE_DISTRIBUTION_ID_LEN],
                                                 struct e2ee_bytes *message_out);

/* Takes in a distribution message of `sender`, which arrived in a session
 * with that device. Up to five chains are kept per sender and group, so that
 * messages from before a rotation still open.
 *
 * Errors: MALFORMED, VERSION, KEY; ADDRESS if `sender` is ourselves or not a
 * valid address; CORRUPT, MEMORY, STORE. */
E2EE_CHECKED enum e2ee_err e2ee_group_process(const struct e2ee_env *env,
                                              const struct e2ee_address *sender,
                                              const uint8_t *message, size_t message_len);

/* Encrypts and signs `plaintext` (0..E2EE_PLAINTEXT_MAX bytes) under our
 * chain. Errors: NO_SENDER_KEY before e2ee_group_distribute; EXHAUSTED;
 * ARGUMENT, CORRUPT, MEMORY, RANDOM, STORE. */
E2EE_CHECKED enum e2ee_err e2ee_group_encrypt(const struct e2ee_env *env,
                                              const uint8_t id[E2EE_DISTRIBUTION_ID_LEN],
                                              const uint8_t *plaintext, size_t plaintext_len,
                                              struct e2ee_bytes *message_out);

/* Opens a group message of `sender`.
 *
 * id_out  may be NULL; the distribution id that the message names
 *
 * Errors: ADDRESS as above; MALFORMED, VERSION; NO_SENDER_KEY: ask the sender to
 * distribute; SIGNATURE; DUPLICATE; TOO_FAR; DECRYPT; CORRUPT, MEMORY, STORE. */
E2EE_CHECKED enum e2ee_err e2ee_group_decrypt(const struct e2ee_env *env,
                                              const struct e2ee_address *sender,
                                              const uint8_t *message, size_t message_len,
                                              uint8_t id_out[E2EE_DISTRIBUTION_ID_LEN],
                                              struct e2ee_bytes *plaintext_out);

/* The distribution id that a group message or a distribution message names,
 * to route it before opening it. Nothing is checked beyond the layout.
 * Errors: MALFORMED, VERSION. */
E2EE_CHECKED enum e2ee_err e2ee_group_message_id(const uint8_t *message, size_t message_len,
                                                 uint8_t id_out[E2EE_DISTRIBUTION_ID_LEN]);
E2EE_CHECKED enum e2ee_err e2ee_group_distribution_id(const uint8_t *message, size_t message_len,
                                                      uint8_t id_out[E2EE_DISTRIBUTION_ID_LEN]);

/* Gives our chain up: the next e2ee_group_distribute makes a new chain id and
 * new keys. Call it whenever a member or a device leaves. Errors: STORE. */
E2EE_CHECKED enum e2ee_err e2ee_group_rotate(const struct e2ee_env *env,
                                             const uint8_t id[E2EE_DISTRIBUTION_ID_LEN]);

/* Forgets the chains of `sender` in a group. Errors: STORE. */
E2EE_CHECKED enum e2ee_err e2ee_group_forget(const struct e2ee_env *env,
                                             const struct e2ee_address *sender,
                                             const uint8_t id[E2EE_DISTRIBUTION_ID_LEN]);

#endif
