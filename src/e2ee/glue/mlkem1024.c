/* ML-KEM-1024 (FIPS 203), and Kyber-1024 of round 3 out of it.
 *
 * Both share the inner encryption. Round 3 hashes the coins before use and
 * derives the secret from the hash of the ciphertext:
 *   m = SHA3-256(coins);  ss = SHAKE256(Kbar || SHA3-256(ct), 32)
 * where (Kbar, r) = SHA3-512(m || SHA3-256(pk)) as in ML-KEM.
 */
#include <string.h>

#define MLK_CONFIG_PARAMETER_SET 1024
#define MLK_CONFIG_FILE "e2ee/glue/mlkem_config.h"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <mlkem_native_bcm.c>
#pragma GCC diagnostic pop

#include "e2ee/crypto.h"

bool mlkem1024_keypair_derand(const uint8_t coins[64], uint8_t public_out[KYBER1024_PUBLIC_LEN],
                              uint8_t secret_out[KYBER1024_SECRET_LEN])
{
    return pxmlk_keypair_derand(public_out, secret_out, coins) == 0;
}

bool mlkem1024_encaps_derand(const uint8_t public_key[KYBER1024_PUBLIC_LEN],
                             const uint8_t coins[32],
                             uint8_t ciphertext_out[KYBER1024_CIPHERTEXT_LEN],
                             uint8_t shared_out[32])
{
    return pxmlk_enc_derand(ciphertext_out, shared_out, public_key, coins) == 0;
}

bool mlkem1024_decaps(const uint8_t secret_key[KYBER1024_SECRET_LEN],
                      const uint8_t ciphertext[KYBER1024_CIPHERTEXT_LEN], uint8_t shared_out[32])
{
    return pxmlk_dec(shared_out, ciphertext, secret_key) == 0;
}

bool kyber1024_public_check(const uint8_t public_key[KYBER1024_PUBLIC_LEN])
{
    return pxmlk_check_pk(public_key) == 0;
}

bool kyber1024_keypair(const struct e2ee_env *env, uint8_t public_out[KYBER1024_PUBLIC_LEN],
                       uint8_t secret_out[KYBER1024_SECRET_LEN])
{
    uint8_t coins[64];
    bool ok = env_random(env, coins, sizeof coins) &&
              mlkem1024_keypair_derand(coins, public_out, secret_out);
    SECRET_WIPE(coins);
    return ok;
}

/* ss = SHAKE256(Kbar || SHA3-256(ct), 32), over Kbar in place. */
static void kyber1024_finish(const uint8_t ciphertext[KYBER1024_CIPHERTEXT_LEN],
                             struct secret32 *shared)
{
    uint8_t input[64];
    memcpy(input, shared->bytes, 32);
    sha3_256(ciphertext, KYBER1024_CIPHERTEXT_LEN, input + 32);
    shake256(input, sizeof input, shared->bytes, 32);
    SECRET_WIPE(input);
}

bool kyber1024_encaps(const struct e2ee_env *env, const uint8_t public_key[KYBER1024_PUBLIC_LEN],
                      uint8_t ciphertext_out[KYBER1024_CIPHERTEXT_LEN],
                      struct secret32 *shared_out)
{
    uint8_t coins[32], m[32];
    bool ok = env_random(env, coins, sizeof coins);
    if (ok) {
        sha3_256(coins, sizeof coins, m);
        ok = mlkem1024_encaps_derand(public_key, m, ciphertext_out, shared_out->bytes);
    }
    if (ok) {
        kyber1024_finish(ciphertext_out, shared_out);
    }
    SECRET_WIPE(coins);
    SECRET_WIPE(m);
    return ok;
}

bool kyber1024_decaps(const uint8_t secret_key[KYBER1024_SECRET_LEN],
                      const uint8_t ciphertext[KYBER1024_CIPHERTEXT_LEN],
                      struct secret32 *shared_out)
{
    if (!mlkem1024_decaps(secret_key, ciphertext, shared_out->bytes)) {
        return false;
    }
    kyber1024_finish(ciphertext, shared_out);
    return true;
}
