/* No branch and no memory index depends on a secret.
 *
 * Secrets are marked as undefined memory and the primitives run under
 * Valgrind, which reports every jump and every address that undefined memory
 * decides (the method of "ctgrind"). Results are declassified before they are
 * looked at. constant_time.supp lists the few places where a branch on a
 * derived value is meant, and says why each tells nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/memcheck.h>

#include "e2ee/ratchet.h"

static void secret(const void *memory, size_t len)
{
    (void)VALGRIND_MAKE_MEM_UNDEFINED(memory, len);
}

static void declassify(const void *memory, size_t len)
{
    (void)VALGRIND_MAKE_MEM_DEFINED(memory, len);
}

/* Deterministic, and secret. */
static int secret_fill(void *context, uint8_t *out, size_t len)
{
    (void)context;
    for (size_t i = 0; i < len; i++) {
        out[i] = (uint8_t)(i * 11 + 3);
    }
    secret(out, len);
    return 0;
}

static const struct e2ee_env env = {.random = {NULL, secret_fill}};

static void expect(bool ok, const char *what)
{
    declassify(&ok, sizeof ok);
    if (!ok) {
        fprintf(stderr, "%s failed\n", what);
        exit(1);
    }
}

static void curve_and_signatures(void)
{
    struct curve_pair one, two;
    struct secret32 shared;
    uint8_t signature[E2EE_SIGNATURE_LEN], message[40] = {1};
    expect(curve_pair_generate(&env, &one), "curve_pair_generate");
    expect(curve_pair_generate(&env, &two), "curve_pair_generate");
    declassify(one.public_key, sizeof one.public_key);
    declassify(two.public_key, sizeof two.public_key);
    expect(curve_agree(&one.private_key, two.public_key, &shared), "curve_agree");
    expect(xeddsa_sign(&env, &one.private_key, message, sizeof message, signature),
           "xeddsa_sign");
    declassify(signature, sizeof signature);
    expect(xeddsa_verify(one.public_key, message, sizeof message, signature), "xeddsa_verify");
}

static void derivations_and_ciphers(void)
{
    struct secret32 root, shared, chain, seed, pq_key;
    struct message_keys keys;
    uint8_t plaintext[100], ciphertext[112], back[112], tag[32];
    size_t len;
    (void)secret_fill(NULL, root.bytes, 32);
    (void)secret_fill(NULL, shared.bytes, 32);
    (void)secret_fill(NULL, pq_key.bytes, 32);
    (void)secret_fill(NULL, plaintext, sizeof plaintext);
    root_step(&root, &shared, &chain);
    chain_step(&chain, &seed);
    message_keys_derive(&seed, &pq_key, &keys);
    aes_cbc_encrypt(keys.cipher, keys.iv, plaintext, sizeof plaintext, ciphertext);
    struct piece piece = PIECE(ciphertext, sizeof ciphertext);
    hmac_sha256(keys.mac, 32, &piece, 1, tag);
    declassify(ciphertext, sizeof ciphertext);
    expect(aes_cbc_decrypt(keys.cipher, keys.iv, ciphertext, sizeof ciphertext, back, &len),
           "aes_cbc_decrypt");
    expect(secret_equal(back, plaintext, sizeof plaintext), "secret_equal");

    uint8_t key[AEAD_KEY_LEN], sealed[100 + AEAD_TAG_LEN], nonce[AEAD_NONCE_LEN] = {0};
    (void)secret_fill(NULL, key, sizeof key);
    aead_seal(key, nonce, NULL, 0, plaintext, sizeof plaintext, sealed);
    declassify(sealed, sizeof sealed);
    expect(aead_open(key, nonce, NULL, 0, sealed, sizeof sealed, back), "aead_open");
}

/* Of a decapsulation key, t, rho and H(ek) are public. */
static void kems(void)
{
    static uint8_t public_key[KYBER1024_PUBLIC_LEN], secret_key[KYBER1024_SECRET_LEN];
    static uint8_t ciphertext[KYBER1024_CIPHERTEXT_LEN];
    static uint8_t ek[MLKEM768_EK_LEN], dk[MLKEM768_DK_LEN];
    uint8_t coins[64] = {5}, header[MLKEM768_HEADER_LEN], m[32];
    uint8_t split[MLKEM768_CT1_LEN + MLKEM768_CT2_LEN];
    struct mlkem768_coins kept;
    struct secret32 one, two;

    expect(mlkem1024_keypair_derand(coins, public_key, secret_key), "keypair");
    secret(secret_key, KYBER1024_PUBLIC_OFFSET);
    secret(secret_key + KYBER1024_SECRET_LEN - 32, 32);
    expect(kyber1024_encaps(&env, public_key, ciphertext, &one), "encaps");
    declassify(ciphertext, sizeof ciphertext);
    expect(kyber1024_decaps(secret_key, ciphertext, &two), "decaps");
    expect(secret_equal(one.bytes, two.bytes, 32), "same secret");
    ciphertext[9] ^= 1; /* implicit rejection must not show either */
    expect(kyber1024_decaps(secret_key, ciphertext, &two), "decaps");

    expect(mlkem768_keypair_derand(coins, ek, dk), "keypair");
    memcpy(header, ek + MLKEM768_T_LEN, 32);
    sha3_256(ek, sizeof ek, header + 32);
    secret(dk, MLKEM768_T_LEN);
    secret(dk + MLKEM768_DK_LEN - 32, 32);
    (void)secret_fill(NULL, m, sizeof m);
    expect(mlkem768_encaps1(header, m, &kept, split, &one), "encaps1");
    expect(mlkem768_encaps2(header, ek, &kept, split + MLKEM768_CT1_LEN), "encaps2");
    declassify(split, sizeof split);
    expect(mlkem768_decaps(dk, split, &two), "decaps");
    expect(secret_equal(one.bytes, two.bytes, 32), "same secret");
}

int main(void)
{
    if (e2ee_init() != E2EE_OK) {
        return 1;
    }
    curve_and_signatures();
    derivations_and_ciphers();
    kems();
    puts("no branch and no index on a secret");
    return 0;
}
