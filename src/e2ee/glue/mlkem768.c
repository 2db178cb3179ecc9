/* ML-KEM-768 (FIPS 203), and its encapsulation in two halves.
 *
 * The two halves follow ML-KEM Braid (incremental interface): the first part
 * of a ciphertext, the compressed vector u, depends on rho and on the coins
 * alone. So ct1 comes from an encryption under rho and any t (we take zero),
 * and ct2, the compressed v, from a second encryption under the true t; both
 * halves together are an ordinary ciphertext.
 */
#include <string.h>

#define MLK_CONFIG_PARAMETER_SET 768
#define MLK_CONFIG_FILE "e2ee/glue/mlkem_config.h"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <mlkem_native_bcm.c>
#pragma GCC diagnostic pop

#include "e2ee/crypto.h"

bool mlkem768_keypair_derand(const uint8_t coins[64], uint8_t ek_out[MLKEM768_EK_LEN],
                             uint8_t dk_out[MLKEM768_DK_LEN])
{
    return pxmlk_keypair_derand(ek_out, dk_out, coins) == 0;
}

bool mlkem768_decaps(const uint8_t dk[MLKEM768_DK_LEN],
                     const uint8_t ciphertext[MLKEM768_CT1_LEN + MLKEM768_CT2_LEN],
                     struct secret32 *shared_out)
{
    return pxmlk_dec(shared_out->bytes, ciphertext, dk) == 0;
}

bool mlkem768_encaps1(const uint8_t header[MLKEM768_HEADER_LEN], const uint8_t m[32],
                      struct mlkem768_coins *coins_out, uint8_t ct1_out[MLKEM768_CT1_LEN],
                      struct secret32 *shared_out)
{
    uint8_t input[64], output[64];
    uint8_t ek[MLKEM768_EK_LEN] = {0};
    uint8_t ciphertext[MLKEM768_CT1_LEN + MLKEM768_CT2_LEN];

    /* (K, r) = G(m || H(ek)): the header carries H(ek). */
    memcpy(input, m, 32);
    memcpy(input + 32, header + 32, 32);
    sha3_512(input, sizeof input, output);
    memcpy(ek + MLKEM768_T_LEN, header, 32);
    bool ok = pxmlk_indcpa_enc(ciphertext, m, ek, output + 32) == 0;
    if (ok) {
        memcpy(shared_out->bytes, output, 32);
        memcpy(coins_out->m.bytes, m, 32);
        memcpy(coins_out->r.bytes, output + 32, 32);
        memcpy(ct1_out, ciphertext, MLKEM768_CT1_LEN);
    }
    SECRET_WIPE(input);
    SECRET_WIPE(output);
    SECRET_WIPE(ciphertext); /* v under t = 0 gives m away */
    return ok;
}

bool mlkem768_encaps2(const uint8_t header[MLKEM768_HEADER_LEN], const uint8_t t[MLKEM768_T_LEN],
                      const struct mlkem768_coins *coins, uint8_t ct2_out[MLKEM768_CT2_LEN])
{
    uint8_t ek[MLKEM768_EK_LEN], hash[32];
    uint8_t ciphertext[MLKEM768_CT1_LEN + MLKEM768_CT2_LEN];

    memcpy(ek, t, MLKEM768_T_LEN);
    memcpy(ek + MLKEM768_T_LEN, header, 32);
    sha3_256(ek, sizeof ek, hash);
    if (memcmp(hash, header + 32, 32) != 0 || pxmlk_check_pk(ek) != 0) {
        return false;
    }
    bool ok = pxmlk_indcpa_enc(ciphertext, coins->m.bytes, ek, coins->r.bytes) == 0;
    if (ok) {
        memcpy(ct2_out, ciphertext + MLKEM768_CT1_LEN, MLKEM768_CT2_LEN);
    }
    SECRET_WIPE(ciphertext);
    return ok;
}
