/* Safety numbers, version 2: 60 digits to read aloud, and bytes for a QR code.
 *
 * Both people see the same 60 digits. The QR form differs per side and is
 * compared crosswise. Pure functions: no store, no randomness.
 *
 * Specification: fingerprints of the official protocol, version 2, 5200
 * iterations of SHA-512; docs/e2ee.md has the formula.
 */
#ifndef SOTTO_E2EE_FINGERPRINT_H
#define SOTTO_E2EE_FINGERPRINT_H

#include <stdbool.h>

#include "e2ee/e2ee.h"

enum {
    E2EE_FINGERPRINT_DIGITS = 60,
    E2EE_FINGERPRINT_QR_LEN = 74,
    E2EE_FINGERPRINT_ID_MAX = 1024,
};

struct e2ee_fingerprint {
    char digits[E2EE_FINGERPRINT_DIGITS + 1]; /* ends with NUL */
    uint8_t qr[E2EE_FINGERPRINT_QR_LEN];
};

/* Makes the safety number of two people.
 *
 * *_id   stable user id bytes, 1..1024 (we use the 16 bytes of the UUID)
 * *_key  identity keys; only the type byte is checked, they are public
 *
 * Takes some 10 ms. Errors: ARGUMENT, KEY. */
E2EE_CHECKED enum e2ee_err e2ee_fingerprint_make(
    const uint8_t *local_id, size_t local_id_len, const uint8_t local_key[E2EE_PUBLIC_LEN],
    const uint8_t *remote_id, size_t remote_id_len, const uint8_t remote_key[E2EE_PUBLIC_LEN],
    struct e2ee_fingerprint *fingerprint_out);

/* Compares a scanned QR code of the other side with ours, in constant time.
 *
 * Errors: MALFORMED; VERSION if the other side uses another version of safety
 * numbers (which says nothing about the keys); ARGUMENT if `local` was not made
 * by e2ee_fingerprint_make. */
E2EE_CHECKED enum e2ee_err e2ee_fingerprint_compare(const struct e2ee_fingerprint *local,
                                                    const uint8_t *scanned, size_t scanned_len,
                                                    bool *equal_out);

#endif
