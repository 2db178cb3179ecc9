/* AES-256-CBC with PKCS#7, over the bitsliced, constant-time AES of BoringSSL
 * as AWS-LC carries it (aes_nohw.c, ISC).
 *
 * That file wants three headers of its library, of which it uses a handful of
 * names. The guards of those headers are defined here, so that they come out
 * empty, and the names are given below.
 */
#include <assert.h>
#include <stdalign.h>
#include <stdint.h>
#include <string.h>

#define OPENSSL_HEADER_AES_H
#define OPENSSL_HEADER_AES_INTERNAL_H
#define OPENSSL_HEADER_CRYPTO_INTERNAL_H
#define OPENSSL_64_BIT
#if defined(__SSE2__)
#define OPENSSL_SSE2
#endif
#define OPENSSL_STATIC_ASSERT(condition, message) _Static_assert(condition, #message);
#define OPENSSL_memcpy memcpy
#define OPENSSL_memset memset
#define AES_MAXNR 14
#define AES_BLOCK_SIZE 16

typedef struct aes_key_st {
    alignas(16) uint32_t rd_key[4 * (AES_MAXNR + 1)];
    unsigned rounds;
} AES_KEY;

/* Which of these are used depends on the word size that the file picks. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"

static inline uint32_t CRYPTO_load_u32_le(const void *in)
{
    uint32_t value;
    memcpy(&value, in, sizeof value);
    return value;
}

static inline uint32_t CRYPTO_load_u32_be(const void *in)
{
    return __builtin_bswap32(CRYPTO_load_u32_le(in));
}

static inline uint64_t CRYPTO_load_u64_le(const void *in)
{
    uint64_t value;
    memcpy(&value, in, sizeof value);
    return value;
}

static inline void CRYPTO_store_u32_le(void *out, uint32_t value)
{
    memcpy(out, &value, sizeof value);
}

static inline void CRYPTO_store_u32_be(void *out, uint32_t value)
{
    CRYPTO_store_u32_le(out, __builtin_bswap32(value));
}

static inline void CRYPTO_store_u64_le(void *out, uint64_t value)
{
    memcpy(out, &value, sizeof value);
}

/* The file defines these with external linkage; declaring them static first
 * keeps them to ourselves. */
static int aes_nohw_set_encrypt_key(const uint8_t *key, unsigned bits, AES_KEY *aeskey);
static int aes_nohw_set_decrypt_key(const uint8_t *key, unsigned bits, AES_KEY *aeskey);
static void aes_nohw_encrypt(const uint8_t *in, uint8_t *out, const AES_KEY *key);
static void aes_nohw_decrypt(const uint8_t *in, uint8_t *out, const AES_KEY *key);
static void aes_nohw_ctr32_encrypt_blocks(const uint8_t *in, uint8_t *out, size_t blocks,
                                          const AES_KEY *key, const uint8_t ivec[16]);
static void aes_nohw_cbc_encrypt(const uint8_t *in, uint8_t *out, size_t len, const AES_KEY *key,
                                 uint8_t *ivec, const int enc);

#include <aes_nohw.c>
#pragma GCC diagnostic pop

#include "e2ee/crypto.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "loads above are little-endian");

enum { BLOCK = 16 };

size_t aes_cbc_len(size_t plaintext_len)
{
    return plaintext_len - plaintext_len % BLOCK + BLOCK;
}

void aes_cbc_encrypt(const uint8_t key[32], const uint8_t iv[16], const uint8_t *plaintext,
                     size_t plaintext_len, uint8_t *ciphertext_out)
{
    AES_KEY schedule;
    uint8_t chain[BLOCK], last[BLOCK];
    size_t rest = plaintext_len % BLOCK;
    size_t whole = plaintext_len - rest;

    aes_nohw_set_encrypt_key(key, 256, &schedule);
    memcpy(chain, iv, BLOCK);
    if (whole > 0) {
        aes_nohw_cbc_encrypt(plaintext, ciphertext_out, whole, &schedule, chain, 1);
    }
    memset(last, (int)(BLOCK - rest), BLOCK);
    if (rest > 0) {
        memcpy(last, plaintext + whole, rest);
    }
    aes_nohw_cbc_encrypt(last, ciphertext_out + whole, BLOCK, &schedule, chain, 1);
    SECRET_WIPE(schedule);
    SECRET_WIPE(last);
}

bool aes_cbc_decrypt(const uint8_t key[32], const uint8_t iv[16], const uint8_t *ciphertext,
                     size_t ciphertext_len, uint8_t *plaintext_out, size_t *plaintext_len_out)
{
    if (ciphertext_len == 0 || ciphertext_len % BLOCK != 0) {
        return false;
    }
    AES_KEY schedule;
    uint8_t chain[BLOCK];
    aes_nohw_set_decrypt_key(key, 256, &schedule);
    memcpy(chain, iv, BLOCK);
    aes_nohw_cbc_encrypt(ciphertext, plaintext_out, ciphertext_len, &schedule, chain, 0);
    SECRET_WIPE(schedule);

    /* Every byte of the last block is looked at, whatever the padding says. */
    const uint8_t *last = plaintext_out + ciphertext_len - BLOCK;
    uint32_t padding = last[BLOCK - 1];
    uint32_t bad = ((padding - 1) | (BLOCK - padding)) >> 31; /* not 1..16 */
    for (uint32_t i = 0; i < BLOCK; i++) {
        uint32_t inside = (i - padding) >> 31; /* i < padding */
        bad |= inside * (last[BLOCK - 1 - i] ^ padding);
    }
    if (bad != 0) {
        secret_wipe(plaintext_out, ciphertext_len);
        return false;
    }
    *plaintext_len_out = ciphertext_len - padding;
    return true;
}
