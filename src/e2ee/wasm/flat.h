/* The core's functions with structures taken apart, for a host that knows
 * only numbers and bytes. Functions whose parameters are such already are
 * exported as they are; exports.txt lists both.
 *
 * Layouts, integers big-endian in `packed` ones:
 *
 *   packed bundle    u32 registration || u8 device || identity[33] ||
 *                    u32 signed id || signed key[33] || signature[64] ||
 *                    u32 KEM id || KEM key[1569] || signature[64] ||
 *                    u8 has one-time key || u32 its id || key[33]: 1,814 bytes
 *   words            32-bit little-endian words, one per field
 *   doubles          64-bit floats, one per field
 */
#ifndef SOTTO_E2EE_WASM_FLAT_H
#define SOTTO_E2EE_WASM_FLAT_H

#include "e2ee/backup.h"
#include "e2ee/fingerprint.h"
#include "e2ee/group.h"
#include "e2ee/identity.h"
#include "e2ee/media.h"
#include "e2ee/prekey.h"
#include "e2ee/provisioning.h"
#include "e2ee/session.h"

enum { FLAT_BUNDLE_LEN = 1814 };

int sotto_bundle_make(const struct e2ee_env *env, uint32_t signed_id, uint32_t kem_id,
                      const uint32_t *prekey_id, uint8_t *packed_out);
/* seen_out: one word. */
int sotto_session_start(const struct e2ee_env *env, const struct e2ee_address *peer,
                        const uint8_t *packed, size_t packed_len, uint32_t *seen_out);
/* words_out: seen, session started, used prekey, its id, used KEM prekey, its
 * id, registration id. */
int sotto_session_decrypt(const struct e2ee_env *env, const struct e2ee_address *peer,
                          uint32_t type, const uint8_t *message, size_t message_len,
                          struct e2ee_bytes *plaintext_out, uint32_t words_out[7]);
/* doubles_out: can send, acknowledged, created, registration, epoch, archived. */
int sotto_session_info(const struct e2ee_env *env, const struct e2ee_address *peer,
                       double doubles_out[6]);
/* doubles_out: verified, blocked, since, changes. */
int sotto_peer_get(const struct e2ee_env *env, const uint8_t *service_id, uint8_t *identity_out,
                   double doubles_out[4]);
/* doubles_out: created, last resort. */
int sotto_prekey_info(const struct e2ee_env *env, uint32_t kind, uint32_t id,
                      double doubles_out[2]);

/* digits_out: 60 characters; qr_out: 74 bytes. */
int sotto_fingerprint(const uint8_t *local_id, size_t local_id_len, const uint8_t *local_key,
                      const uint8_t *remote_id, size_t remote_id_len, const uint8_t *remote_key,
                      char *digits_out, uint8_t *qr_out);
/* local_qr: 74 bytes of sotto_fingerprint. equal_out: one word. */
int sotto_fingerprint_compare(const uint8_t *local_qr, const uint8_t *scanned, size_t scanned_len,
                              uint32_t *equal_out);

/* doubles_out: padded, chunks, hashes at, object size. */
int sotto_media_layout(double size, double doubles_out[4]);
/* doubles_out: first chunk, chunks, object offset, object length, skip. */
int sotto_media_range(double size, double offset, double len, double doubles_out[5]);
int sotto_media_writer_create(const struct e2ee_env *env, double size,
                              struct e2ee_media_writer **writer_out);
void sotto_media_writer_destroy(struct e2ee_media_writer *writer);
double sotto_media_reader_size(const struct e2ee_media_reader *reader);
void sotto_media_reader_destroy(struct e2ee_media_reader *reader);

size_t sotto_backup_size(void); /* bytes of a struct e2ee_backup */

/* link: 112 bytes of struct e2ee_link, opaque to the host. */
int sotto_link_seal(const struct e2ee_env *env, const char *url, size_t url_len,
                    const uint8_t *service_id, const uint8_t *identity_private,
                    const uint8_t *recovery_key, const uint8_t *more, size_t more_len,
                    struct e2ee_bytes *envelope_out);
/* secrets_out: service id[17] || identity private key[32] || u8 has recovery
 * key || recovery key[32]. */
int sotto_link_open(const struct e2ee_env *env, const struct e2ee_link *link,
                    const uint8_t *envelope, size_t envelope_len, uint8_t secrets_out[82],
                    struct e2ee_bytes *more_out);

#endif
