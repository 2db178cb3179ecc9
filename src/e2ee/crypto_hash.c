/* Hashes, HMAC and HKDF over libsodium, password keys, AEAD.
 *
 * HKDF is RFC 5869 with SHA-256. It is written out here, not taken from the
 * library, because a message key derivation is a handful of HMACs under one
 * key: the state after the key block is computed once and copied.
 */
#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "e2ee/crypto.h"

void sha256(const uint8_t *data, size_t len, uint8_t out[32])
{
    crypto_hash_sha256(out, data, len);
}

void sha512(const uint8_t *data, size_t len, uint8_t out[64])
{
    crypto_hash_sha512(out, data, len);
}

void sha3_256(const uint8_t *data, size_t len, uint8_t out[32])
{
    crypto_hash_sha3256(out, data, len);
}

void sha3_512(const uint8_t *data, size_t len, uint8_t out[64])
{
    crypto_hash_sha3512(out, data, len);
}

void shake256(const uint8_t *data, size_t len, uint8_t *out, size_t out_len)
{
    crypto_xof_shake256(out, out_len, data, len);
}

void hmac_sha256(const uint8_t *key, size_t key_len, const struct piece *pieces,
                 size_t piece_count, uint8_t out[32])
{
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, key, key_len);
    for (size_t i = 0; i < piece_count; i++) {
        crypto_auth_hmacsha256_update(&state, pieces[i].data, pieces[i].len);
    }
    crypto_auth_hmacsha256_final(&state, out);
    SECRET_WIPE(state);
}

void hkdf_sha256(const uint8_t *salt, size_t salt_len, const uint8_t *ikm, size_t ikm_len,
                 const uint8_t *info, size_t info_len, uint8_t *out, size_t out_len)
{
    static const uint8_t no_salt[32] = {0};
    uint8_t prk[32], block[32];
    crypto_auth_hmacsha256_state keyed, state;

    assert(out_len <= 255 * 32);
    if (salt == NULL) {
        salt = no_salt;
        salt_len = sizeof no_salt;
    }
    struct piece input = PIECE(ikm, ikm_len);
    hmac_sha256(salt, salt_len, &input, 1, prk);

    crypto_auth_hmacsha256_init(&keyed, prk, sizeof prk);
    size_t done = 0;
    for (uint8_t counter = 1; done < out_len; counter++) {
        state = keyed;
        if (counter > 1) {
            crypto_auth_hmacsha256_update(&state, block, sizeof block);
        }
        crypto_auth_hmacsha256_update(&state, info, info_len);
        crypto_auth_hmacsha256_update(&state, &counter, 1);
        crypto_auth_hmacsha256_final(&state, block);
        size_t part = out_len - done < sizeof block ? out_len - done : sizeof block;
        memcpy(out + done, block, part);
        done += part;
    }
    SECRET_WIPE(prk);
    SECRET_WIPE(block);
    SECRET_WIPE(keyed);
    SECRET_WIPE(state);
}

void aead_seal(const uint8_t key[AEAD_KEY_LEN], const uint8_t nonce[AEAD_NONCE_LEN],
               const uint8_t *extra, size_t extra_len, const uint8_t *plaintext,
               size_t plaintext_len, uint8_t *sealed_out)
{
    crypto_aead_xchacha20poly1305_ietf_encrypt(sealed_out, NULL, plaintext, plaintext_len, extra,
                                               extra_len, NULL, nonce, key);
}

bool aead_open(const uint8_t key[AEAD_KEY_LEN], const uint8_t nonce[AEAD_NONCE_LEN],
               const uint8_t *extra, size_t extra_len, const uint8_t *sealed, size_t sealed_len,
               uint8_t *plaintext_out)
{
    return sealed_len >= AEAD_TAG_LEN &&
           crypto_aead_xchacha20poly1305_ietf_decrypt(plaintext_out, NULL, NULL, sealed,
                                                      sealed_len, extra, extra_len, nonce,
                                                      key) == 0;
}

bool crypto_password_key(const uint8_t *password, size_t password_len,
                         const uint8_t salt[PASSWORD_SALT_LEN], uint32_t memory_kib,
                         uint32_t passes, uint8_t *key_out, size_t key_len)
{
    if (memory_kib < 8 || passes < 1 || key_len < 16) {
        return false;
    }
    return crypto_pwhash(key_out, key_len, (const char *)password, password_len, salt, passes,
                         (size_t)memory_kib * 1024, crypto_pwhash_ALG_ARGON2ID13) == 0;
}
