/* The SHA-3 functions that mlkem-native asks for, out of libsodium. */
#ifndef SOTTO_E2EE_GLUE_MLKEM_FIPS202_H
#define SOTTO_E2EE_GLUE_MLKEM_FIPS202_H

#include <sodium/crypto_hash_sha3.h>
#include <sodium/crypto_xof_shake128.h>
#include <sodium/crypto_xof_shake256.h>
#include <sodium/utils.h>
#include <stddef.h>
#include <stdint.h>

#define SHAKE128_RATE 168
#define SHAKE256_RATE 136
#define SHA3_256_RATE 136
#define SHA3_384_RATE 104
#define SHA3_512_RATE 72

typedef crypto_xof_shake128_state mlk_shake128ctx;

static inline void mlk_shake128_init(mlk_shake128ctx *state)
{
    crypto_xof_shake128_init(state);
}

static inline void mlk_shake128_absorb_once(mlk_shake128ctx *state, const uint8_t *in, size_t len)
{
    crypto_xof_shake128_update(state, in, len);
}

static inline void mlk_shake128_squeezeblocks(uint8_t *out, size_t count, mlk_shake128ctx *state)
{
    crypto_xof_shake128_squeeze(state, out, count * SHAKE128_RATE);
}

static inline void mlk_shake128_release(mlk_shake128ctx *state)
{
    sodium_memzero(state, sizeof *state);
}

static inline void mlk_shake256(uint8_t *out, size_t out_len, const uint8_t *in, size_t len)
{
    crypto_xof_shake256(out, out_len, in, len);
}

static inline void mlk_sha3_256(uint8_t *out, const uint8_t *in, size_t len)
{
    crypto_hash_sha3256(out, in, len);
}

static inline void mlk_sha3_512(uint8_t *out, const uint8_t *in, size_t len)
{
    crypto_hash_sha3512(out, in, len);
}

#endif
