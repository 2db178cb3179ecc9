/* The erasure code of SPQR.
 *
 * Most chunks that are sent are plain blocks. A chunk beyond the blocks, and a
 * block that was lost, is a sum of c_j * chunk_j with Lagrange coefficients
 * c_j. The sum is taken bit by bit of the coefficients (Horner), so that one
 * reduction serves all terms and the inner loop is masks and xors of 16 words
 * that the compiler turns into vectors. Inversions are batched: one per set of
 * coefficients. No tables: the field is small enough to do without, and the
 * library has no mutable globals to keep them in.
 */
#include "e2ee/erasure.h"

#include <assert.h>
#include <string.h>

enum { WORDS = 16, POLYNOMIAL = 0x100b }; /* x^16 is left out */

uint16_t gf_multiply(uint16_t a, uint16_t b)
{
    uint32_t product = 0;
    for (int bit = 15; bit >= 0; bit--) {
        product <<= 1;
        product ^= (0u - (product >> 16)) & (0x10000u | POLYNOMIAL);
        product ^= (0u - ((uint32_t)b >> bit & 1)) & a;
    }
    return (uint16_t)product;
}

/* a^(2^16 - 2) */
static uint16_t gf_invert(uint16_t a)
{
    uint16_t out = a;
    for (int i = 0; i < 14; i++) {
        out = gf_multiply(gf_multiply(out, out), a);
    }
    return gf_multiply(out, out);
}

uint16_t gf_divide(uint16_t a, uint16_t b)
{
    return gf_multiply(a, gf_invert(b));
}

/* Inverts all of a[0..count) with one inversion; none is 0. */
static void gf_invert_all(uint16_t *a, unsigned count)
{
    uint16_t prefix[ERASURE_BLOCKS_MAX];
    uint16_t product = 1;
    for (unsigned i = 0; i < count; i++) {
        prefix[i] = product;
        product = gf_multiply(product, a[i]);
    }
    uint16_t inverse = gf_invert(product);
    for (unsigned i = count; i-- > 0;) {
        uint16_t value = gf_multiply(inverse, prefix[i]);
        inverse = gf_multiply(inverse, a[i]);
        a[i] = value;
    }
}

/* The part of the Lagrange coefficients that does not depend on where the
 * polynomial is evaluated: product over k != j of (x_j - x_k). */
static void lagrange_weights(const uint16_t *x, unsigned count, uint16_t *weights_out)
{
    for (unsigned j = 0; j < count; j++) {
        uint16_t product = 1;
        for (unsigned k = 0; k < count; k++) {
            if (k != j) {
                product = gf_multiply(product, x[j] ^ x[k]);
            }
        }
        weights_out[j] = product;
    }
}

/* Coefficients for the value at `at`, which is none of x[]. */
static void lagrange_coefficients(const uint16_t *x, const uint16_t *weights, unsigned count,
                                  uint16_t at, uint16_t *out)
{
    uint16_t product = 1;
    for (unsigned j = 0; j < count; j++) {
        product = gf_multiply(product, at ^ x[j]);
        out[j] = gf_multiply(weights[j], at ^ x[j]);
    }
    gf_invert_all(out, count);
    for (unsigned j = 0; j < count; j++) {
        out[j] = gf_multiply(out[j], product);
    }
}

/* out = sum of coefficients[j] * words[j]. */
static void weighted_sum(uint16_t (*words)[WORDS], const uint16_t *coefficients, unsigned count,
                         uint8_t out[ERASURE_CHUNK_LEN])
{
    uint16_t sum[WORDS] = {0};
    for (int bit = 15; bit >= 0; bit--) {
        for (unsigned i = 0; i < WORDS; i++) {
            uint16_t carry = (uint16_t)(0u - (sum[i] >> 15));
            sum[i] = (uint16_t)((sum[i] << 1) ^ (carry & POLYNOMIAL));
        }
        for (unsigned j = 0; j < count; j++) {
            uint16_t mask = (uint16_t)(0u - (coefficients[j] >> bit & 1u));
            for (unsigned i = 0; i < WORDS; i++) {
                sum[i] ^= words[j][i] & mask;
            }
        }
    }
    for (unsigned i = 0; i < WORDS; i++) {
        out[2 * i] = (uint8_t)(sum[i] >> 8);
        out[2 * i + 1] = (uint8_t)sum[i];
    }
}

static void words_load(const uint8_t chunk[ERASURE_CHUNK_LEN], uint16_t words_out[WORDS])
{
    for (unsigned i = 0; i < WORDS; i++) {
        words_out[i] = (uint16_t)(chunk[2 * i] << 8 | chunk[2 * i + 1]);
    }
}

void erasure_encode(const uint8_t *message, unsigned blocks, uint16_t x,
                    uint8_t chunk_out[ERASURE_CHUNK_LEN])
{
    assert(blocks >= 1 && blocks <= ERASURE_BLOCKS_MAX);
    if (x < blocks) {
        memcpy(chunk_out, message + (size_t)x * ERASURE_CHUNK_LEN, ERASURE_CHUNK_LEN);
        return;
    }
    uint16_t points[ERASURE_BLOCKS_MAX], weights[ERASURE_BLOCKS_MAX];
    uint16_t coefficients[ERASURE_BLOCKS_MAX];
    uint16_t words[ERASURE_BLOCKS_MAX][WORDS];
    for (unsigned j = 0; j < blocks; j++) {
        points[j] = (uint16_t)j;
        words_load(message + (size_t)j * ERASURE_CHUNK_LEN, words[j]);
    }
    lagrange_weights(points, blocks, weights);
    lagrange_coefficients(points, weights, blocks, x, coefficients);
    weighted_sum(words, coefficients, blocks, chunk_out);
}

void erasure_decoder_init(struct erasure_decoder *decoder, unsigned blocks)
{
    assert(blocks >= 1 && blocks <= ERASURE_BLOCKS_MAX);
    memset(decoder, 0, sizeof *decoder);
    decoder->blocks = blocks;
}

static bool decoder_holds(const struct erasure_decoder *decoder, uint16_t x, unsigned *at_out)
{
    for (unsigned i = 0; i < decoder->held; i++) {
        if (decoder->x[i] == x) {
            *at_out = i;
            return true;
        }
    }
    return false;
}

bool erasure_accept(struct erasure_decoder *decoder, uint16_t x,
                    const uint8_t chunk[ERASURE_CHUNK_LEN])
{
    unsigned at;
    if (decoder->held < decoder->blocks && !decoder_holds(decoder, x, &at)) {
        decoder->x[decoder->held] = x;
        memcpy(decoder->chunk[decoder->held], chunk, ERASURE_CHUNK_LEN);
        decoder->held++;
    }
    return decoder->held == decoder->blocks;
}

void erasure_decode(const struct erasure_decoder *decoder, uint8_t *message_out)
{
    uint16_t weights[ERASURE_BLOCKS_MAX], coefficients[ERASURE_BLOCKS_MAX];
    uint16_t words[ERASURE_BLOCKS_MAX][WORDS];
    bool ready = false; /* weights and words are there */

    assert(decoder->held == decoder->blocks);
    for (unsigned block = 0; block < decoder->blocks; block++) {
        uint8_t *out = message_out + (size_t)block * ERASURE_CHUNK_LEN;
        unsigned at;
        if (decoder_holds(decoder, (uint16_t)block, &at)) {
            memcpy(out, decoder->chunk[at], ERASURE_CHUNK_LEN);
            continue;
        }
        if (!ready) {
            for (unsigned j = 0; j < decoder->held; j++) {
                words_load(decoder->chunk[j], words[j]);
            }
            lagrange_weights(decoder->x, decoder->held, weights);
            ready = true;
        }
        lagrange_coefficients(decoder->x, weights, decoder->held, (uint16_t)block, coefficients);
        weighted_sum(words, coefficients, decoder->held, out);
    }
}

void erasure_decoder_write(struct writer *writer, const struct erasure_decoder *decoder)
{
    write_u8(writer, (uint8_t)decoder->held);
    for (unsigned i = 0; i < decoder->held; i++) {
        write_u16(writer, decoder->x[i]);
        write_bytes(writer, decoder->chunk[i], ERASURE_CHUNK_LEN);
    }
}

void erasure_decoder_read(struct reader *reader, unsigned blocks, struct erasure_decoder *decoder)
{
    erasure_decoder_init(decoder, blocks);
    unsigned held = read_u8(reader);
    for (unsigned i = 0; i < held && !reader->bad; i++) {
        uint16_t x = read_u16(reader);
        const uint8_t *chunk = read_bytes(reader, ERASURE_CHUNK_LEN);
        unsigned at;
        /* A full decoder is never stored: it is decoded at once. */
        if (chunk == NULL || held >= blocks || decoder_holds(decoder, x, &at)) {
            reader->bad = true;
            return;
        }
        (void)erasure_accept(decoder, x, chunk);
    }
}
