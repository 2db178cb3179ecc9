/* The primitives, over libsodium, mlkem-native and a bitsliced AES.
 *
 * Internal to this library. Everything here runs in time that does not depend
 * on secrets; what depends on public data only says so. No function allocates
 * except crypto_password_key. Return values: `bool` is true on success.
 */
#ifndef SOTTO_E2EE_CRYPTO_H
#define SOTTO_E2EE_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "e2ee/e2ee.h"

/* --- secrets -------------------------------------------------------------- */

/* 32 secret bytes. Its own type, so that a secret is seen as one, is never
 * passed where bytes are logged or compared, and is wiped by one name. */
struct secret32 {
    uint8_t bytes[32];
};

/* Overwrites memory; the compiler does not remove it. */
void secret_wipe(void *memory, size_t len);
#define SECRET_WIPE(object) secret_wipe(&(object), sizeof(object))

/* Compares in constant time. */
bool secret_equal(const uint8_t *a, const uint8_t *b, size_t len);

/* --- from the environment -------------------------------------------------- */

bool env_random(const struct e2ee_env *env, uint8_t *out, size_t len);
/* NULL when memory runs out, and for len 0. Not zeroed. */
void *env_alloc(const struct e2ee_env *env, size_t len);
/* Same, zeroed. */
void *env_zalloc(const struct e2ee_env *env, size_t len);
/* Wipes, then frees. NULL is fine. */
void env_free(const struct e2ee_env *env, void *block, size_t len);

/* --- X25519 and Ed25519 ---------------------------------------------------- */

struct curve_pair {
    struct secret32 private_key; /* clamped */
    uint8_t public_key[E2EE_PUBLIC_LEN]; /* 0x05 || u */
};

/* Fresh pair. False only when randomness fails. */
E2EE_CHECKED bool curve_pair_generate(const struct e2ee_env *env, struct curve_pair *pair_out);
/* Pair of a given private key, which is clamped. */
void curve_pair_from_private(const uint8_t private_key[32], struct curve_pair *pair_out);

/* X25519. False if the public key has another type byte or is not canonical
 * (top bit set or u >= 2^255-19), or if the result is all zero. */
E2EE_CHECKED bool curve_agree(const struct secret32 *private_key,
                              const uint8_t public_key[E2EE_PUBLIC_LEN],
                              struct secret32 *shared_out);

/* Full check of a public key: type byte, canonical, on the curve (not its
 * twist), in the prime-order subgroup and not the identity. Public data. */
E2EE_CHECKED bool curve_public_check(const uint8_t public_key[E2EE_PUBLIC_LEN]);
/* Only the type byte and canonical form: cheap. */
E2EE_CHECKED bool curve_public_canonical(const uint8_t public_key[E2EE_PUBLIC_LEN]);

/* XEdDSA (specification 2.3; the variant of the official library, which puts
 * the sign of A into bit 7 of the last byte). False: randomness failed. */
E2EE_CHECKED bool xeddsa_sign(const struct e2ee_env *env, const struct secret32 *private_key,
                              const uint8_t *message, size_t message_len,
                              uint8_t signature_out[E2EE_SIGNATURE_LEN]);
E2EE_CHECKED bool xeddsa_verify(const uint8_t public_key[E2EE_PUBLIC_LEN], const uint8_t *message,
                                size_t message_len, const uint8_t signature[E2EE_SIGNATURE_LEN]);

/* Montgomery u to Edwards y = (u-1)/(u+1), with bit 255 := sign. Public data.
 * u = -1 gives y = 0. */
void curve_edwards_from_montgomery(const uint8_t u[32], unsigned sign, uint8_t edwards_out[32]);

/* --- hashes, MAC, key derivation ------------------------------------------- */

void sha256(const uint8_t *data, size_t len, uint8_t out[32]);
void sha512(const uint8_t *data, size_t len, uint8_t out[64]);
void sha3_256(const uint8_t *data, size_t len, uint8_t out[32]);
void sha3_512(const uint8_t *data, size_t len, uint8_t out[64]);
void shake256(const uint8_t *data, size_t len, uint8_t *out, size_t out_len);

/* A piece of input, so that several are hashed as if they stood together. */
struct piece {
    const uint8_t *data;
    size_t len;
};
#define PIECE(bytes, length) ((struct piece){(const uint8_t *)(bytes), (length)})

/* HMAC-SHA-256 (RFC 2104) over all pieces in order. */
void hmac_sha256(const uint8_t *key, size_t key_len, const struct piece *pieces,
                 size_t piece_count, uint8_t out[32]);

/* HKDF-SHA-256 (RFC 5869). salt may be NULL: 32 zero bytes. out_len is at
 * most 8160; more is a bug and asserts. */
void hkdf_sha256(const uint8_t *salt, size_t salt_len, const uint8_t *ikm, size_t ikm_len,
                 const uint8_t *info, size_t info_len, uint8_t *out, size_t out_len);

/* --- ciphers ---------------------------------------------------------------- */

/* AES-256-CBC with PKCS#7 padding (RFC 5652 6.3).
 * Encrypted length: the next multiple of 16 above plaintext_len. */
size_t aes_cbc_len(size_t plaintext_len);
void aes_cbc_encrypt(const uint8_t key[32], const uint8_t iv[16], const uint8_t *plaintext,
                     size_t plaintext_len, uint8_t *ciphertext_out);
/* plaintext_out has room for ciphertext_len bytes. False if the length is not
 * a positive multiple of 16 or the padding is bad (the output is wiped then);
 * check a MAC first. The padding is checked in constant time. */
E2EE_CHECKED bool aes_cbc_decrypt(const uint8_t key[32], const uint8_t iv[16],
                                  const uint8_t *ciphertext, size_t ciphertext_len,
                                  uint8_t *plaintext_out, size_t *plaintext_len_out);

/* XChaCha20-Poly1305 (IETF draft): 16 bytes longer than the plaintext. */
enum { AEAD_KEY_LEN = 32, AEAD_NONCE_LEN = 24, AEAD_TAG_LEN = 16 };
void aead_seal(const uint8_t key[AEAD_KEY_LEN], const uint8_t nonce[AEAD_NONCE_LEN],
               const uint8_t *extra, size_t extra_len, const uint8_t *plaintext,
               size_t plaintext_len, uint8_t *sealed_out);
/* sealed_len >= AEAD_TAG_LEN or false; plaintext_out has room for sealed_len
 * - AEAD_TAG_LEN and may be `sealed`. */
E2EE_CHECKED bool aead_open(const uint8_t key[AEAD_KEY_LEN], const uint8_t nonce[AEAD_NONCE_LEN],
                            const uint8_t *extra, size_t extra_len, const uint8_t *sealed,
                            size_t sealed_len, uint8_t *plaintext_out);

/* Argon2id (RFC 9106). memory_kib >= 8, passes >= 1. False when memory runs
 * out or a parameter is out of range. Uses libsodium's own allocation, once. */
enum { PASSWORD_SALT_LEN = 16 };
E2EE_CHECKED bool crypto_password_key(const uint8_t *password, size_t password_len,
                                      const uint8_t salt[PASSWORD_SALT_LEN], uint32_t memory_kib,
                                      uint32_t passes, uint8_t *key_out, size_t key_len);

/* --- Kyber-1024 and ML-KEM-768 ---------------------------------------------- */

enum {
    KYBER1024_PUBLIC_LEN = 1568,
    KYBER1024_SECRET_LEN = 3168,
    KYBER1024_CIPHERTEXT_LEN = 1568,
    MLKEM768_EK_LEN = 1184, /* t || rho */
    MLKEM768_T_LEN = 1152,
    MLKEM768_DK_LEN = 2400,
    MLKEM768_CT1_LEN = 960,
    MLKEM768_CT2_LEN = 128,
    MLKEM768_HEADER_LEN = 64, /* rho || SHA3-256(t || rho) */
};

/* Kyber-1024 of round 3 as type 0x08 on the wire, out of ML-KEM-1024 (FIPS
 * 203) and the outer transform of round 3. Keys and ciphertexts here are
 * without the type byte. False: a bad public key (not canonical), or for
 * keygen and encaps that randomness failed. */
E2EE_CHECKED bool kyber1024_keypair(const struct e2ee_env *env,
                                    uint8_t public_out[KYBER1024_PUBLIC_LEN],
                                    uint8_t secret_out[KYBER1024_SECRET_LEN]);
E2EE_CHECKED bool kyber1024_public_check(const uint8_t public_key[KYBER1024_PUBLIC_LEN]);
E2EE_CHECKED bool kyber1024_encaps(const struct e2ee_env *env,
                                   const uint8_t public_key[KYBER1024_PUBLIC_LEN],
                                   uint8_t ciphertext_out[KYBER1024_CIPHERTEXT_LEN],
                                   struct secret32 *shared_out);
/* A bad ciphertext gives a pseudorandom secret (implicit rejection); false
 * only if the secret key itself is damaged. */
E2EE_CHECKED bool kyber1024_decaps(const uint8_t secret_key[KYBER1024_SECRET_LEN],
                                   const uint8_t ciphertext[KYBER1024_CIPHERTEXT_LEN],
                                   struct secret32 *shared_out);

/* The raw ML-KEM (FIPS 203) with given coins, for tests against other
 * implementations. coins: d || z for keypair, m for encaps. */
E2EE_CHECKED bool mlkem1024_keypair_derand(const uint8_t coins[64],
                                           uint8_t public_out[KYBER1024_PUBLIC_LEN],
                                           uint8_t secret_out[KYBER1024_SECRET_LEN]);
E2EE_CHECKED bool mlkem1024_encaps_derand(const uint8_t public_key[KYBER1024_PUBLIC_LEN],
                                          const uint8_t coins[32],
                                          uint8_t ciphertext_out[KYBER1024_CIPHERTEXT_LEN],
                                          uint8_t shared_out[32]);
E2EE_CHECKED bool mlkem1024_decaps(const uint8_t secret_key[KYBER1024_SECRET_LEN],
                                   const uint8_t ciphertext[KYBER1024_CIPHERTEXT_LEN],
                                   uint8_t shared_out[32]);
E2EE_CHECKED bool mlkem768_keypair_derand(const uint8_t coins[64],
                                          uint8_t ek_out[MLKEM768_EK_LEN],
                                          uint8_t dk_out[MLKEM768_DK_LEN]);
E2EE_CHECKED bool mlkem768_decaps(const uint8_t dk[MLKEM768_DK_LEN],
                                  const uint8_t ciphertext[MLKEM768_CT1_LEN + MLKEM768_CT2_LEN],
                                  struct secret32 *shared_out);

/* ML-KEM-768 in two halves (ML-KEM Braid, incremental interface): ct1 needs
 * only the header, ct2 needs t as well. `m` and `r` are kept between the
 * halves, then wiped. */
struct mlkem768_coins {
    struct secret32 m;
    struct secret32 r;
};
E2EE_CHECKED bool mlkem768_encaps1(const uint8_t header[MLKEM768_HEADER_LEN],
                                   const uint8_t m[32], struct mlkem768_coins *coins_out,
                                   uint8_t ct1_out[MLKEM768_CT1_LEN],
                                   struct secret32 *shared_out);
/* False if SHA3-256(t || rho) is not what the header says or t is not
 * canonical. */
E2EE_CHECKED bool mlkem768_encaps2(const uint8_t header[MLKEM768_HEADER_LEN],
                                   const uint8_t t[MLKEM768_T_LEN],
                                   const struct mlkem768_coins *coins,
                                   uint8_t ct2_out[MLKEM768_CT2_LEN]);

#endif
