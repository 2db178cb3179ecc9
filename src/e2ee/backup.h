/* Encrypted backups: a stream of any length under a recovery key
 * (recovery_key.h) or a passphrase.
 *
 *   file      header[80] || chunk 0 || ... || chunk n-1
 *   header    0  8   "SOTTOBAK"
 *             8  1   version = 1
 *             9  1   how the key is made: 1 recovery key, 2 passphrase
 *            10  2   zero
 *            12  4   Argon2id memory, KiB   (recovery key: 0)
 *            16  4   Argon2id passes        (recovery key: 0)
 *            20 16   salt, random
 *            36 12   zero
 *            48 32   HMAC-SHA-256(header key, bytes 0..47)
 *   keys      input = recovery key, or Argon2id(passphrase, salt, 32 bytes)
 *             chunk key || header key =
 *               HKDF-SHA-256(salt = salt, input, "Sotto backup v1", 64)
 *   chunk i   XChaCha20-Poly1305 over 65,536 bytes (the last: 0..65,536)
 *               nonce   15 zero bytes || u64 i || u8 last
 *               extra   bytes 48..79 of the header
 *
 * Integers are big-endian. The code in the header tells a wrong key from a
 * damaged file, and commits to the key. Index and the flag of the last chunk
 * are in the nonce, so a file cannot be cut at a chunk, reordered or extended.
 * The length shows: callers who mind pad the plaintext.
 *
 * Writing and reading go chunk by chunk, and the caller says which one is the
 * last: the one that reaches the end of the file.
 */
#ifndef SOTTO_E2EE_BACKUP_H
#define SOTTO_E2EE_BACKUP_H

#include <stdbool.h>

#include "e2ee/e2ee.h"
#include "e2ee/recovery_key.h"

enum {
    E2EE_BACKUP_HEADER_LEN = 80,
    E2EE_BACKUP_CHUNK_LEN = 65536,
    E2EE_BACKUP_SEALED_LEN = E2EE_BACKUP_CHUNK_LEN + 16,
    E2EE_BACKUP_PASSPHRASE_MAX = 1024,      /* bytes */
    /* Argon2id (RFC 9106): what we write by default, and what we accept. */
    E2EE_BACKUP_MEMORY_KIB = 128 * 1024,
    E2EE_BACKUP_PASSES = 3,
    E2EE_BACKUP_MEMORY_MIN_KIB = 8 * 1024,
    E2EE_BACKUP_MEMORY_MAX_KIB = 1024 * 1024,
    E2EE_BACKUP_PASSES_MAX = 16,
};

enum e2ee_backup_kind {
    E2EE_BACKUP_RECOVERY_KEY = 1,
    E2EE_BACKUP_PASSPHRASE = 2,
};

/* State of one file, in either direction, in the caller's memory. Wipe it
 * with e2ee_backup_end. */
struct e2ee_backup {
    uint8_t chunk_key[32];
    uint8_t header_code[32];
    uint64_t next;
    bool finished;
};

/* --- writing --------------------------------------------------------------- */

/* Errors: RANDOM. */
E2EE_CHECKED enum e2ee_err e2ee_backup_begin(const struct e2ee_env *env,
                                             const uint8_t key[E2EE_RECOVERY_KEY_LEN],
                                             struct e2ee_backup *backup_out,
                                             uint8_t header_out[E2EE_BACKUP_HEADER_LEN]);

/* passphrase  UTF-8 as the person typed it, normalised by the caller (NFKC);
 *             1..1024 bytes
 * memory_kib  0 for the default; passes likewise
 *
 * Takes about a second. Errors: ARGUMENT out of range; MEMORY; RANDOM. */
E2EE_CHECKED enum e2ee_err e2ee_backup_begin_passphrase(
    const struct e2ee_env *env, const uint8_t *passphrase, size_t passphrase_len,
    uint32_t memory_kib, uint32_t passes, struct e2ee_backup *backup_out,
    uint8_t header_out[E2EE_BACKUP_HEADER_LEN]);

/* Seals the next chunk: exactly E2EE_BACKUP_CHUNK_LEN bytes unless it is the
 * last. sealed_out gets data_len + 16 bytes and may be `data`. data may be
 * NULL for 0 bytes. Errors: ARGUMENT wrong length, or after the last;
 * EXHAUSTED. */
E2EE_CHECKED enum e2ee_err e2ee_backup_seal(struct e2ee_backup *backup, const uint8_t *data,
                                            size_t data_len, bool last, uint8_t *sealed_out);

/* --- reading --------------------------------------------------------------- */

/* How the file's key is made, to ask the person for the right thing.
 * Errors: MALFORMED, VERSION. */
E2EE_CHECKED enum e2ee_err e2ee_backup_kind(const uint8_t *header, size_t header_len,
                                            enum e2ee_backup_kind *kind_out);

/* Errors: MALFORMED; VERSION; ARGUMENT if the file wants the other kind;
 * KEY wrong recovery key or passphrase; MEMORY. */
E2EE_CHECKED enum e2ee_err e2ee_backup_open(const uint8_t *header, size_t header_len,
                                            const uint8_t key[E2EE_RECOVERY_KEY_LEN],
                                            struct e2ee_backup *backup_out);
E2EE_CHECKED enum e2ee_err e2ee_backup_open_passphrase(const uint8_t *header, size_t header_len,
                                                       const uint8_t *passphrase,
                                                       size_t passphrase_len,
                                                       struct e2ee_backup *backup_out);

/* Opens the next chunk. data_out has room for sealed_len - 16 bytes and may be
 * `sealed`; it gets exactly that many. Errors: MALFORMED wrong length; DECRYPT
 * damaged, or not the chunk that stood here; ARGUMENT after the last. */
E2EE_CHECKED enum e2ee_err e2ee_backup_open_chunk(struct e2ee_backup *backup,
                                                  const uint8_t *sealed, size_t sealed_len,
                                                  bool last, uint8_t *data_out);

/* Wipes. True if the last chunk was sealed or opened: a file without it is
 * incomplete. */
bool e2ee_backup_end(struct e2ee_backup *backup);

#endif
