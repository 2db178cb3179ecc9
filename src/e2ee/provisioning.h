/* Linking a new device: secrets from a device that a person already has, to
 * one that they hold in the other hand.
 *
 * 1. The new device makes an ephemeral key and a secret and shows them as a
 *    QR code. It waits at a mailbox of the server under the mailbox id.
 * 2. The old device scans the code, asks its person, seals the account's
 *    secrets to that key and leaves the envelope in the mailbox.
 * 3. The new device opens it.
 *
 * The server sees the mailbox id and the envelope. It knows neither the key
 * nor the secret of the code, so it can neither read an envelope nor make
 * one: that the envelope opens proves that its sender saw the code. Since the
 * secret goes into the key derivation, recorded envelopes stay closed to a
 * future quantum computer too.
 *
 *   URL        "sotto:link?v=1&m=" mailbox "&k=" key "&s=" secret
 *              each in base64url without padding: 16, 32 and 32 bytes
 *   envelope   u8 version = 1 || ephemeral public key[32] || sealed
 *   sealed     XChaCha20-Poly1305 over the padded contents (padding.h)
 *                key, nonce  HKDF-SHA-256(salt = secret, X25519(ephemeral, key),
 *                            "Sotto provisioning v1" || mailbox || key ||
 *                            ephemeral public key), 56 bytes
 *                extra       version || ephemeral public key
 *   contents   u8 version = 1 || service id[17] || identity private key[32] ||
 *              u8 has recovery key || recovery key[32] || u16 length || more
 *
 * All functions are pure but for randomness; there is no store.
 */
#ifndef SOTTO_E2EE_PROVISIONING_H
#define SOTTO_E2EE_PROVISIONING_H

#include <stdbool.h>

#include "e2ee/e2ee.h"

enum {
    E2EE_LINK_MAILBOX_LEN = 16,
    E2EE_LINK_SECRET_LEN = 32,
    E2EE_LINK_URL_LEN = 131, /* characters, without the NUL */
    E2EE_LINK_MORE_MAX = 4096,
    E2EE_LINK_ENVELOPE_MAX = 8192,
};

/* What the QR code says. Secret: whoever sees it can pose as the old device. */
struct e2ee_link_code {
    uint8_t mailbox[E2EE_LINK_MAILBOX_LEN];
    uint8_t key[32]; /* X25519 */
    uint8_t secret[E2EE_LINK_SECRET_LEN];
};

/* The new device's side. Wipe it (e2ee_link_wipe) when linked or given up. */
struct e2ee_link {
    struct e2ee_link_code code;
    uint8_t private_key[32];
};

/* What the old device hands over. */
struct e2ee_link_contents {
    uint8_t service_id[E2EE_SERVICE_ID_LEN];
    uint8_t identity_private[E2EE_PRIVATE_LEN];
    bool has_recovery_key;
    uint8_t recovery_key[32];
    size_t more_len;
    uint8_t more[E2EE_LINK_MORE_MAX]; /* the application's: token, names, history */
};

/* New device: fresh code. Errors: RANDOM. */
E2EE_CHECKED enum e2ee_err e2ee_link_begin(const struct e2ee_env *env, struct e2ee_link *link_out);

/* The text for the QR code, with a NUL. */
void e2ee_link_url(const struct e2ee_link_code *code, char url_out[E2EE_LINK_URL_LEN + 1]);

/* Old device: reads a scanned text. Errors: MALFORMED; VERSION; KEY if the
 * key is not a valid public key. */
E2EE_CHECKED enum e2ee_err e2ee_link_parse(const char *url, size_t url_len,
                                           struct e2ee_link_code *code_out);

/* Old device: seals `contents`. Free the envelope with e2ee_bytes_free.
 * Errors: ARGUMENT more_len; KEY; MEMORY; RANDOM. */
E2EE_CHECKED enum e2ee_err e2ee_link_seal(const struct e2ee_env *env,
                                          const struct e2ee_link_code *code,
                                          const struct e2ee_link_contents *contents,
                                          struct e2ee_bytes *envelope_out);

/* New device: opens an envelope. `contents_out` is secret: wipe it.
 * Errors: MALFORMED; VERSION; KEY; DECRYPT not for this code, or changed;
 * MEMORY. */
E2EE_CHECKED enum e2ee_err e2ee_link_open(const struct e2ee_env *env,
                                          const struct e2ee_link *link, const uint8_t *envelope,
                                          size_t envelope_len,
                                          struct e2ee_link_contents *contents_out);

void e2ee_link_wipe(struct e2ee_link *link);
void e2ee_link_contents_wipe(struct e2ee_link_contents *contents);

#endif
