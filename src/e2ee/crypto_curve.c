/* X25519, checks of public keys, XEdDSA.
 *
 * Scalar multiplication is constant-time: s2n-bignum's verified assembly where
 * the build has it, else libsodium. Signatures are computed with libsodium's
 * Ed25519 group. The one thing it lacks, from Montgomery u to Edwards y, is
 * only ever applied to public keys and so may take variable time; it is
 * written out in curve_edwards_from_montgomery with five limbs of 51 bits.
 *
 * Sources: RFC 7748 (X25519), RFC 8032 (Ed25519), XEdDSA specification 2.3.
 */
#include <sodium.h>
#include <string.h>

#include "e2ee/crypto.h"

enum { PUBLIC_TYPE = 0x05 };

/* --- the field of 2^255 - 19, for public data ------------------------------- */

__extension__ typedef unsigned __int128 uint128;

struct field {
    uint64_t limb[5]; /* 51 bits each, a little more between operations */
};

static const uint64_t mask51 = (UINT64_C(1) << 51) - 1;

static uint64_t load64(const uint8_t *bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++) {
        value |= (uint64_t)bytes[i] << (8 * i);
    }
    return value;
}

static struct field field_load(const uint8_t bytes[32])
{
    return (struct field){{
        load64(bytes) & mask51,
        (load64(bytes + 6) >> 3) & mask51,
        (load64(bytes + 12) >> 6) & mask51,
        (load64(bytes + 19) >> 1) & mask51,
        (load64(bytes + 24) >> 12) & mask51,
    }};
}

static struct field field_carry(struct field a)
{
    uint64_t carry = 0;
    for (unsigned i = 0; i < 5; i++) {
        a.limb[i] += carry;
        carry = a.limb[i] >> 51;
        a.limb[i] &= mask51;
    }
    a.limb[0] += 19 * carry;
    return a;
}

static void field_store(struct field a, uint8_t out[32])
{
    a = field_carry(field_carry(a));
    /* a < 2^255 + a little: a + 19 overflows 2^255 exactly if a >= p. */
    uint64_t over = (a.limb[0] + 19) >> 51;
    for (unsigned i = 1; i < 5; i++) {
        over = (a.limb[i] + over) >> 51;
    }
    a.limb[0] += 19 * over;
    for (unsigned i = 0; i < 4; i++) {
        a.limb[i + 1] += a.limb[i] >> 51;
        a.limb[i] &= mask51;
    }
    a.limb[4] &= mask51;
    memset(out, 0, 32);
    for (unsigned bit = 0; bit < 255; bit++) {
        out[bit / 8] |= (uint8_t)(((a.limb[bit / 51] >> (bit % 51)) & 1) << (bit % 8));
    }
}

static struct field field_multiply(const struct field *a, const struct field *b)
{
    uint128 sum[5];
    for (unsigned i = 0; i < 5; i++) {
        sum[i] = 0;
        for (unsigned j = 0; j < 5; j++) {
            /* limb k of b meets limb i - k; what wraps around counts 19-fold */
            unsigned k = (i + 5 - j) % 5;
            uint64_t factor = j <= i ? 1 : 19;
            sum[i] += (uint128)a->limb[j] * (b->limb[k] * factor);
        }
    }
    struct field out;
    uint128 carry = 0;
    for (unsigned i = 0; i < 5; i++) {
        sum[i] += carry;
        carry = sum[i] >> 51;
        out.limb[i] = (uint64_t)sum[i] & mask51;
    }
    uint128 low = (uint128)out.limb[0] + carry * 19;
    out.limb[0] = (uint64_t)low & mask51;
    out.limb[1] += (uint64_t)(low >> 51);
    return out;
}

/* a^(p-2), p - 2 = 2^255 - 21: all bits set but 2 and 4. */
static struct field field_invert(const struct field *a)
{
    struct field out = *a;
    for (int bit = 253; bit >= 0; bit--) {
        out = field_multiply(&out, &out);
        if (bit != 2 && bit != 4) {
            out = field_multiply(&out, a);
        }
    }
    return out;
}

void curve_edwards_from_montgomery(const uint8_t u[32], unsigned sign, uint8_t edwards_out[32])
{
    struct field value = field_load(u);
    struct field plus = value, minus = value;
    plus.limb[0] += 1;
    /* u - 1 + 2p, so that no limb goes below zero */
    minus.limb[0] += 2 * (mask51 - 18) - 1;
    for (unsigned i = 1; i < 5; i++) {
        minus.limb[i] += 2 * mask51;
    }
    plus = field_carry(plus);
    minus = field_carry(minus);
    struct field inverse = field_invert(&plus);
    field_store(field_multiply(&minus, &inverse), edwards_out);
    edwards_out[31] |= (uint8_t)((sign & 1) << 7);
}

/* --- keys -------------------------------------------------------------------- */

#ifdef E2EE_S2N_X25519
void curve25519_x25519_byte_alt(uint8_t out[32], const uint8_t scalar[32],
                                const uint8_t point[32]);
void curve25519_x25519base_byte_alt(uint8_t out[32], const uint8_t scalar[32]);

static void scalar_multiply(uint8_t out[32], const uint8_t scalar[32], const uint8_t point[32])
{
    curve25519_x25519_byte_alt(out, scalar, point);
}

static void scalar_multiply_base(uint8_t out[32], const uint8_t scalar[32])
{
    curve25519_x25519base_byte_alt(out, scalar);
}
#else
static void scalar_multiply(uint8_t out[32], const uint8_t scalar[32], const uint8_t point[32])
{
    /* It fails on an all-zero result, which our caller checks for itself. */
    if (crypto_scalarmult(out, scalar, point) != 0) {
        memset(out, 0, 32);
    }
}

static void scalar_multiply_base(uint8_t out[32], const uint8_t scalar[32])
{
    crypto_scalarmult_base(out, scalar);
}
#endif

static void scalar_clamp(uint8_t scalar[32])
{
    scalar[0] &= 248;
    scalar[31] &= 127;
    scalar[31] |= 64;
}

void curve_pair_from_private(const uint8_t private_key[32], struct curve_pair *pair_out)
{
    memcpy(pair_out->private_key.bytes, private_key, 32);
    scalar_clamp(pair_out->private_key.bytes);
    pair_out->public_key[0] = PUBLIC_TYPE;
    scalar_multiply_base(pair_out->public_key + 1, pair_out->private_key.bytes);
}

bool curve_pair_generate(const struct e2ee_env *env, struct curve_pair *pair_out)
{
    uint8_t seed[32];
    if (!env_random(env, seed, sizeof seed)) {
        return false;
    }
    curve_pair_from_private(seed, pair_out);
    SECRET_WIPE(seed);
    return true;
}

bool curve_public_canonical(const uint8_t public_key[E2EE_PUBLIC_LEN])
{
    const uint8_t *u = public_key + 1;
    if (public_key[0] != PUBLIC_TYPE || u[31] > 127) {
        return false;
    }
    if (u[31] < 127 || u[0] < 0xed) {
        return true;
    }
    for (unsigned i = 1; i < 31; i++) {
        if (u[i] != 0xff) {
            return true;
        }
    }
    return false;
}

bool curve_public_check(const uint8_t public_key[E2EE_PUBLIC_LEN])
{
    uint8_t edwards[32];
    if (!curve_public_canonical(public_key)) {
        return false;
    }
    /* u = -1 has no Edwards form; it comes out as y = 0, which is of order 4. */
    curve_edwards_from_montgomery(public_key + 1, 0, edwards);
    return crypto_core_ed25519_is_valid_point(edwards) == 1;
}

bool curve_agree(const struct secret32 *private_key, const uint8_t public_key[E2EE_PUBLIC_LEN],
                 struct secret32 *shared_out)
{
    if (!curve_public_canonical(public_key)) {
        return false;
    }
    struct secret32 shared;
    scalar_multiply(shared.bytes, private_key->bytes, public_key + 1);
    if (sodium_is_zero(shared.bytes, sizeof shared.bytes)) {
        return false;
    }
    *shared_out = shared;
    SECRET_WIPE(shared);
    return true;
}

/* --- XEdDSA ------------------------------------------------------------------ */

bool xeddsa_sign(const struct e2ee_env *env, const struct secret32 *private_key,
                 const uint8_t *message, size_t message_len,
                 uint8_t signature_out[E2EE_SIGNATURE_LEN])
{
    static const uint8_t prefix[32] = {
        0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint8_t a[32], wide[64] = {0}, reduced[32], r[32], h[32], public_point[32], point[32], z[64];
    crypto_hash_sha512_state hash;

    if (!env_random(env, z, sizeof z)) {
        return false;
    }
    memcpy(a, private_key->bytes, 32);
    scalar_clamp(a);
    memcpy(wide, a, 32);
    crypto_core_ed25519_scalar_reduce(reduced, wide);
    crypto_scalarmult_ed25519_base_noclamp(public_point, reduced);

    crypto_hash_sha512_init(&hash);
    crypto_hash_sha512_update(&hash, prefix, sizeof prefix);
    crypto_hash_sha512_update(&hash, a, sizeof a);
    crypto_hash_sha512_update(&hash, message, message_len);
    crypto_hash_sha512_update(&hash, z, sizeof z);
    crypto_hash_sha512_final(&hash, wide);
    crypto_core_ed25519_scalar_reduce(r, wide);
    crypto_scalarmult_ed25519_base_noclamp(point, r);

    crypto_hash_sha512_init(&hash);
    crypto_hash_sha512_update(&hash, point, sizeof point);
    crypto_hash_sha512_update(&hash, public_point, sizeof public_point);
    crypto_hash_sha512_update(&hash, message, message_len);
    crypto_hash_sha512_final(&hash, wide);
    crypto_core_ed25519_scalar_reduce(h, wide);
    crypto_core_ed25519_scalar_mul(h, h, reduced);
    crypto_core_ed25519_scalar_add(h, h, r);

    memcpy(signature_out, point, 32);
    memcpy(signature_out + 32, h, 32);
    signature_out[63] |= public_point[31] & 0x80;
    SECRET_WIPE(a);
    SECRET_WIPE(wide);
    SECRET_WIPE(reduced);
    SECRET_WIPE(r);
    SECRET_WIPE(z);
    SECRET_WIPE(hash);
    return true;
}

bool xeddsa_verify(const uint8_t public_key[E2EE_PUBLIC_LEN], const uint8_t *message,
                   size_t message_len, const uint8_t signature[E2EE_SIGNATURE_LEN])
{
    uint8_t edwards[32], plain[64];
    if (!curve_public_canonical(public_key)) {
        return false;
    }
    memcpy(plain, signature, sizeof plain);
    plain[63] &= 0x7f;
    if ((plain[63] & 0xe0) != 0) {
        return false;
    }
    curve_edwards_from_montgomery(public_key + 1, signature[63] >> 7, edwards);
    return crypto_sign_verify_detached(plain, message, message_len, edwards) == 0;
}
