/* Encrypted backups. backup.h has the format.
 *
 * The parameters of Argon2id are read before anything is authenticated, so
 * they are bounded: a forged file costs at most the maximum once.
 *
 * Rejected: secretstream (the chunk that fails could not be named, and a
 * damaged chunk ends all that follow; here a tool may skip it).
 */
#include "e2ee/backup.h"

#include <string.h>

#include "e2ee/codec.h"
#include "e2ee/crypto.h"

enum {
    BACKUP_VERSION = 1,
    VERSION_AT = 8,
    KIND_AT = 9,
    MEMORY_AT = 12,
    PASSES_AT = 16,
    SALT_AT = 20,
    CODE_AT = 48,
    LABEL_LEN = 15,
};
static const uint8_t magic[8] = "SOTTOBAK";
static const char label[] = "Sotto backup v1";

static uint32_t get_u32(const uint8_t *in)
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

/* --- header -------------------------------------------------------------------- */

/* Derives the keys of a header whose first 48 bytes are complete. */
static void derive(const uint8_t header[CODE_AT], const uint8_t input[32],
                   uint8_t chunk_key_out[32], uint8_t code_out[32])
{
    uint8_t keys[64];
    hkdf_sha256(header + SALT_AT, PASSWORD_SALT_LEN, input, 32, (const uint8_t *)label, LABEL_LEN,
                keys, sizeof(keys));
    struct piece piece = PIECE(header, CODE_AT);
    hmac_sha256(keys + 32, 32, &piece, 1, code_out);
    memcpy(chunk_key_out, keys, 32);
    SECRET_WIPE(keys);
}

static enum e2ee_err header_begin(const struct e2ee_env *env, enum e2ee_backup_kind kind,
                                  uint32_t memory_kib, uint32_t passes,
                                  uint8_t header[E2EE_BACKUP_HEADER_LEN])
{
    memset(header, 0, E2EE_BACKUP_HEADER_LEN);
    memcpy(header, magic, sizeof(magic));
    header[VERSION_AT] = BACKUP_VERSION;
    header[KIND_AT] = (uint8_t)kind;
    store_be32(header + MEMORY_AT, memory_kib);
    store_be32(header + PASSES_AT, passes);
    return env_random(env, header + SALT_AT, PASSWORD_SALT_LEN) ? E2EE_OK : E2EE_ERR_RANDOM;
}

static void header_finish(uint8_t header[E2EE_BACKUP_HEADER_LEN], const uint8_t input[32],
                          struct e2ee_backup *backup_out,
                          uint8_t header_out[E2EE_BACKUP_HEADER_LEN])
{
    struct e2ee_backup backup = {.next = 0, .finished = false};
    derive(header, input, backup.chunk_key, backup.header_code);
    memcpy(header + CODE_AT, backup.header_code, sizeof(backup.header_code));
    memcpy(header_out, header, E2EE_BACKUP_HEADER_LEN);
    *backup_out = backup;
    SECRET_WIPE(backup);
}

enum e2ee_err e2ee_backup_begin(const struct e2ee_env *env,
                                const uint8_t key[E2EE_RECOVERY_KEY_LEN],
                                struct e2ee_backup *backup_out,
                                uint8_t header_out[E2EE_BACKUP_HEADER_LEN])
{
    uint8_t header[E2EE_BACKUP_HEADER_LEN];
    enum e2ee_err err = header_begin(env, E2EE_BACKUP_RECOVERY_KEY, 0, 0, header);
    if (err == E2EE_OK) header_finish(header, key, backup_out, header_out);
    return err;
}

static bool parameters_ok(uint32_t memory_kib, uint32_t passes)
{
    return memory_kib >= E2EE_BACKUP_MEMORY_MIN_KIB && memory_kib <= E2EE_BACKUP_MEMORY_MAX_KIB &&
           passes >= 1 && passes <= E2EE_BACKUP_PASSES_MAX;
}

enum e2ee_err e2ee_backup_begin_passphrase(const struct e2ee_env *env, const uint8_t *passphrase,
                                           size_t passphrase_len, uint32_t memory_kib,
                                           uint32_t passes, struct e2ee_backup *backup_out,
                                           uint8_t header_out[E2EE_BACKUP_HEADER_LEN])
{
    if (memory_kib == 0) memory_kib = E2EE_BACKUP_MEMORY_KIB;
    if (passes == 0) passes = E2EE_BACKUP_PASSES;
    if (passphrase_len == 0 || passphrase_len > E2EE_BACKUP_PASSPHRASE_MAX ||
        !parameters_ok(memory_kib, passes)) {
        return E2EE_ERR_ARGUMENT;
    }
    uint8_t header[E2EE_BACKUP_HEADER_LEN];
    enum e2ee_err err = header_begin(env, E2EE_BACKUP_PASSPHRASE, memory_kib, passes, header);
    if (err != E2EE_OK) return err;
    struct secret32 input;
    if (crypto_password_key(passphrase, passphrase_len, header + SALT_AT, memory_kib, passes,
                            input.bytes, sizeof(input.bytes))) {
        header_finish(header, input.bytes, backup_out, header_out);
    } else {
        err = E2EE_ERR_MEMORY;
    }
    SECRET_WIPE(input);
    return err;
}

enum e2ee_err e2ee_backup_kind(const uint8_t *header, size_t header_len,
                               enum e2ee_backup_kind *kind_out)
{
    if (header_len <= VERSION_AT || memcmp(header, magic, sizeof(magic)) != 0) {
        return E2EE_ERR_MALFORMED;
    }
    if (header[VERSION_AT] != BACKUP_VERSION) return E2EE_ERR_VERSION;
    if (header_len != E2EE_BACKUP_HEADER_LEN) return E2EE_ERR_MALFORMED;
    uint32_t memory_kib = get_u32(header + MEMORY_AT), passes = get_u32(header + PASSES_AT);
    if (header[KIND_AT] == E2EE_BACKUP_RECOVERY_KEY) {
        if (memory_kib != 0 || passes != 0) return E2EE_ERR_MALFORMED;
    } else if (header[KIND_AT] == E2EE_BACKUP_PASSPHRASE) {
        if (!parameters_ok(memory_kib, passes)) return E2EE_ERR_MALFORMED;
    } else {
        return E2EE_ERR_MALFORMED;
    }
    *kind_out = (enum e2ee_backup_kind)header[KIND_AT];
    return E2EE_OK;
}

static enum e2ee_err open_with(const uint8_t *header, const uint8_t input[32],
                               struct e2ee_backup *backup_out)
{
    struct e2ee_backup backup = {.next = 0, .finished = false};
    derive(header, input, backup.chunk_key, backup.header_code);
    bool right = secret_equal(backup.header_code, header + CODE_AT, sizeof(backup.header_code));
    if (right) *backup_out = backup;
    SECRET_WIPE(backup);
    return right ? E2EE_OK : E2EE_ERR_KEY;
}

enum e2ee_err e2ee_backup_open(const uint8_t *header, size_t header_len,
                               const uint8_t key[E2EE_RECOVERY_KEY_LEN],
                               struct e2ee_backup *backup_out)
{
    enum e2ee_backup_kind kind;
    enum e2ee_err err = e2ee_backup_kind(header, header_len, &kind);
    if (err != E2EE_OK) return err;
    if (kind != E2EE_BACKUP_RECOVERY_KEY) return E2EE_ERR_ARGUMENT;
    return open_with(header, key, backup_out);
}

enum e2ee_err e2ee_backup_open_passphrase(const uint8_t *header, size_t header_len,
                                          const uint8_t *passphrase, size_t passphrase_len,
                                          struct e2ee_backup *backup_out)
{
    enum e2ee_backup_kind kind;
    enum e2ee_err err = e2ee_backup_kind(header, header_len, &kind);
    if (err != E2EE_OK) return err;
    if (kind != E2EE_BACKUP_PASSPHRASE || passphrase_len == 0 ||
        passphrase_len > E2EE_BACKUP_PASSPHRASE_MAX) {
        return E2EE_ERR_ARGUMENT;
    }
    struct secret32 input;
    err = E2EE_ERR_MEMORY;
    if (crypto_password_key(passphrase, passphrase_len, header + SALT_AT,
                            get_u32(header + MEMORY_AT), get_u32(header + PASSES_AT), input.bytes,
                            sizeof(input.bytes))) {
        err = open_with(header, input.bytes, backup_out);
    }
    SECRET_WIPE(input);
    return err;
}

/* --- chunks --------------------------------------------------------------------- */

static void chunk_nonce(uint64_t index, bool last, uint8_t nonce[AEAD_NONCE_LEN])
{
    memset(nonce, 0, AEAD_NONCE_LEN);
    store_be64(nonce + 15, index);
    nonce[23] = last ? 1 : 0;
}

enum e2ee_err e2ee_backup_seal(struct e2ee_backup *backup, const uint8_t *data, size_t data_len,
                               bool last, uint8_t *sealed_out)
{
    bool fits = last ? data_len <= E2EE_BACKUP_CHUNK_LEN : data_len == E2EE_BACKUP_CHUNK_LEN;
    if (backup->finished || !fits) return E2EE_ERR_ARGUMENT;
    if (backup->next == UINT64_MAX) return E2EE_ERR_EXHAUSTED;
    uint8_t nonce[AEAD_NONCE_LEN];
    chunk_nonce(backup->next++, last, nonce);
    backup->finished = last;
    aead_seal(backup->chunk_key, nonce, backup->header_code, sizeof(backup->header_code), data,
              data_len, sealed_out);
    return E2EE_OK;
}

enum e2ee_err e2ee_backup_open_chunk(struct e2ee_backup *backup, const uint8_t *sealed,
                                     size_t sealed_len, bool last, uint8_t *data_out)
{
    if (backup->finished || backup->next == UINT64_MAX) return E2EE_ERR_ARGUMENT;
    if (sealed_len < AEAD_TAG_LEN || sealed_len > E2EE_BACKUP_SEALED_LEN ||
        (!last && sealed_len != E2EE_BACKUP_SEALED_LEN)) {
        return E2EE_ERR_MALFORMED;
    }
    uint8_t nonce[AEAD_NONCE_LEN];
    chunk_nonce(backup->next, last, nonce);
    if (!aead_open(backup->chunk_key, nonce, backup->header_code, sizeof(backup->header_code),
                   sealed, sealed_len, data_out)) {
        return E2EE_ERR_DECRYPT;
    }
    backup->next++;
    backup->finished = last;
    return E2EE_OK;
}

bool e2ee_backup_end(struct e2ee_backup *backup)
{
    bool complete = backup->finished;
    secret_wipe(backup, sizeof(*backup));
    return complete;
}
