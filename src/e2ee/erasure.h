/* The erasure code of SPQR: any n different chunks rebuild a message. Internal.
 *
 * A message of n blocks of 32 bytes is 16 polynomials over GF(2^16): word i of
 * block j is the value at j of polynomial i, of degree below n. Chunk x holds
 * the values at x, so chunks 0..n-1 are the blocks themselves. All data is
 * public. Specification: ML-KEM Braid 2; field polynomial 0x1100b.
 */
#ifndef SOTTO_E2EE_ERASURE_H
#define SOTTO_E2EE_ERASURE_H

#include <stdbool.h>
#include <stdint.h>

#include "e2ee/codec.h"
#include "e2ee/e2ee.h"

enum { ERASURE_CHUNK_LEN = 32, ERASURE_BLOCKS_MAX = 36 };

/* For tests. */
uint16_t gf_multiply(uint16_t a, uint16_t b);
uint16_t gf_divide(uint16_t a, uint16_t b); /* b is not 0 */

/* Chunk `x` of a message of `blocks` blocks. */
void erasure_encode(const uint8_t *message, unsigned blocks, uint16_t x,
                    uint8_t chunk_out[ERASURE_CHUNK_LEN]);

struct erasure_decoder {
    unsigned blocks; /* 1..ERASURE_BLOCKS_MAX */
    unsigned held;   /* at most blocks */
    uint16_t x[ERASURE_BLOCKS_MAX];
    uint8_t chunk[ERASURE_BLOCKS_MAX][ERASURE_CHUNK_LEN];
};

void erasure_decoder_init(struct erasure_decoder *decoder, unsigned blocks);
/* Takes a chunk in, unless that x is held; true once n are held. */
bool erasure_accept(struct erasure_decoder *decoder, uint16_t x,
                    const uint8_t chunk[ERASURE_CHUNK_LEN]);
/* Writes the blocks * 32 bytes; all chunks must be held. */
void erasure_decode(const struct erasure_decoder *decoder, uint8_t *message_out);

void erasure_decoder_write(struct writer *writer, const struct erasure_decoder *decoder);
/* `reader->bad` on failure. */
void erasure_decoder_read(struct reader *reader, unsigned blocks, struct erasure_decoder *decoder);

#endif
