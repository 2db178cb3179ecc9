/* Padding of plaintexts, so that the length of a ciphertext tells little.
 *
 * A padded plaintext is
 *
 *     plaintext || 0x80 || zero bytes
 *
 * whose whole length is a function of the plaintext's length alone: up to
 * 2,560 bytes the next multiple of 160, above that eight sizes per doubling
 * (at most 12.5 % more). Every "yes" and every paragraph look alike, and a
 * longer text is known to within an eighth of its length.
 *
 * Whatever has another length than this formula gives is refused, so that
 * there is exactly one padded form of each plaintext.
 */
#ifndef SOTTO_E2EE_PADDING_H
#define SOTTO_E2EE_PADDING_H

#include "e2ee/e2ee.h"

enum {
    E2EE_PADDING_STEP = 160,           /* bytes, for short plaintexts */
    E2EE_PADDING_LINEAR_MAX = 16 * 160 /* padded bytes; above: eighths */
};

/* Length of the padded form of `len` bytes (0..E2EE_PLAINTEXT_MAX). */
size_t e2ee_padded_len(size_t len);

/* Pads in place: `data` holds `len` bytes and has room for
 * e2ee_padded_len(len). */
void e2ee_pad(uint8_t *data, size_t len);

/* Finds the end of the plaintext in a padded one. The time depends on
 * padded_len only.
 *
 * len_out  bytes of plaintext, from the start of `padded`
 *
 * Errors: MALFORMED if it is not what e2ee_pad makes. */
E2EE_CHECKED enum e2ee_err e2ee_unpad(const uint8_t *padded, size_t padded_len, size_t *len_out);

#endif
