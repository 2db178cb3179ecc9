/* SHA-256 (FIPS 180-4) with the SHA extensions of x86-64.
 *
 * The state lives in two registers in the order that sha256rnds2 wants:
 * (a b e f) and (c d g h). Each call of it does two rounds; sha256msg1 and
 * sha256msg2 extend the message schedule four words at a time. Constant time:
 * no table, no branch on data.
 */
#include "e2ee/hash_fast.h"

#include "e2ee/crypto.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>
#include <string.h>

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

bool hash_fast_available(void)
{
    unsigned eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return false;
    bool ssse3 = ecx >> 9 & 1, sse41 = ecx >> 19 & 1;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
    bool sha = ebx >> 29 & 1;
    return ssse3 && sse41 && sha;
}

__attribute__((target("sha,sse4.1,ssse3"))) static void
compress(uint32_t state[8], const uint8_t *data, size_t blocks)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)&state[0]), 0xb1); /* cdab */
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)&state[4]), 0x1b); /* efgh */
    __m128i abef = _mm_alignr_epi8(low, high, 8);
    __m128i cdgh = _mm_blend_epi16(high, low, 0xf0);

    for (; blocks > 0; blocks--, data += 64) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i words[4];
        for (int i = 0; i < 4; i++) {
            words[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(data + 16 * i)), swap);
        }
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            __m128i now = words[i & 3];
            __m128i sum = _mm_add_epi32(
                now, _mm_loadu_si128((const __m128i *)&round_constants[4 * i]));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
            if (i < 12) { /* the four words that come 16 later */
                __m128i w4 = words[(i + 1) & 3], w8 = words[(i + 2) & 3], w12 = words[(i + 3) & 3];
                __m128i next = _mm_add_epi32(_mm_sha256msg1_epu32(now, w4),
                                             _mm_alignr_epi8(w12, w8, 4));
                words[i & 3] = _mm_sha256msg2_epu32(next, w12);
            }
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }

    low = _mm_shuffle_epi32(abef, 0x1b);  /* feba */
    high = _mm_shuffle_epi32(cdgh, 0xb1); /* dchg */
    _mm_storeu_si128((__m128i *)&state[0], _mm_blend_epi16(low, high, 0xf0));
    _mm_storeu_si128((__m128i *)&state[4], _mm_alignr_epi8(high, low, 8));
}

void hash_fast_sha256(bool fast, const uint8_t *data, size_t len, uint8_t out[32])
{
    if (!fast) {
        sha256(data, len, out);
        return;
    }
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    size_t whole = len / 64, rest = len % 64;
    if (whole > 0) compress(state, data, whole);

    uint8_t tail[128] = {0};
    size_t tail_len = rest < 56 ? 64 : 128;
    if (rest > 0) memcpy(tail, data + 64 * whole, rest);
    tail[rest] = 0x80;
    for (size_t i = 0; i < 8; i++) tail[tail_len - 1 - i] = (uint8_t)((uint64_t)len * 8 >> (8 * i));
    compress(state, tail, tail_len / 64);
    for (size_t i = 0; i < 32; i++) out[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
    SECRET_WIPE(tail);
}

#else

bool hash_fast_available(void)
{
    return false;
}

void hash_fast_sha256(bool fast, const uint8_t *data, size_t len, uint8_t out[32])
{
    (void)fast;
    sha256(data, len, out);
}

#endif
