/* Safety numbers, version 2.
 *
 * Per person: h = SHA-512(0x0000 || key || id || key), then 5199 times
 * h = SHA-512(h || key); key is the 33-byte identity key. The digits are the
 * first 30 bytes of h in groups of five, each as a number modulo 100000. Both
 * people put the smaller half first. The QR code carries the first 32 bytes of
 * both hashes: protobuf { 1: version, 2: { 1: ours }, 3: { 1: theirs } }.
 *
 * All data is public; only the comparison runs in constant time, so that the
 * answer tells nothing about how close a forgery came.
 */
#include "e2ee/fingerprint.h"

#include <assert.h>
#include <string.h>

#include "e2ee/codec.h"
#include "e2ee/crypto.h"

enum { VERSION = 2, ITERATIONS = 5200, HALF_DIGITS = 30, HALF_LEN = 32, KEY_TYPE = 0x05 };

static void fingerprint_hash(const uint8_t *id, size_t id_len,
                             const uint8_t key[E2EE_PUBLIC_LEN], uint8_t out[64])
{
    uint8_t first[2 + 2 * E2EE_PUBLIC_LEN + E2EE_FINGERPRINT_ID_MAX] = {0, 0};
    uint8_t again[64 + E2EE_PUBLIC_LEN];
    memcpy(first + 2, key, E2EE_PUBLIC_LEN);
    memcpy(first + 2 + E2EE_PUBLIC_LEN, id, id_len);
    memcpy(first + 2 + E2EE_PUBLIC_LEN + id_len, key, E2EE_PUBLIC_LEN);
    sha512(first, 2 + 2 * E2EE_PUBLIC_LEN + id_len, out);
    memcpy(again + 64, key, E2EE_PUBLIC_LEN);
    for (unsigned i = 1; i < ITERATIONS; i++) {
        memcpy(again, out, 64);
        sha512(again, sizeof again, out);
    }
}

static void half_digits(const uint8_t hash[64], char out[HALF_DIGITS])
{
    for (unsigned group = 0; group < HALF_DIGITS / 5; group++) {
        uint64_t value = 0;
        for (unsigned i = 0; i < 5; i++) {
            value = value << 8 | hash[5 * group + i];
        }
        value %= 100000;
        for (unsigned i = 5; i-- > 0; value /= 10) {
            out[5 * group + i] = (char)('0' + value % 10);
        }
    }
}

static void qr_fill(const uint8_t *local, const uint8_t *remote,
                    uint8_t out[E2EE_FINGERPRINT_QR_LEN])
{
    uint8_t half[2 + HALF_LEN];
    struct writer writer = {.out = out}, inner = {.out = half};
    write_field_uint(&writer, 1, VERSION);
    write_field_bytes(&inner, 1, local, HALF_LEN);
    write_field_bytes(&writer, 2, half, sizeof half);
    inner.len = 0;
    write_field_bytes(&inner, 1, remote, HALF_LEN);
    write_field_bytes(&writer, 3, half, sizeof half);
    assert(writer.len == E2EE_FINGERPRINT_QR_LEN);
}

enum e2ee_err e2ee_fingerprint_make(const uint8_t *local_id, size_t local_id_len,
                                    const uint8_t local_key[E2EE_PUBLIC_LEN],
                                    const uint8_t *remote_id, size_t remote_id_len,
                                    const uint8_t remote_key[E2EE_PUBLIC_LEN],
                                    struct e2ee_fingerprint *fingerprint_out)
{
    uint8_t local[64], remote[64];
    char local_digits[HALF_DIGITS], remote_digits[HALF_DIGITS];
    if (local_id_len < 1 || local_id_len > E2EE_FINGERPRINT_ID_MAX || remote_id_len < 1 ||
        remote_id_len > E2EE_FINGERPRINT_ID_MAX) {
        return E2EE_ERR_ARGUMENT;
    }
    if (local_key[0] != KEY_TYPE || remote_key[0] != KEY_TYPE) {
        return E2EE_ERR_KEY;
    }
    fingerprint_hash(local_id, local_id_len, local_key, local);
    fingerprint_hash(remote_id, remote_id_len, remote_key, remote);
    half_digits(local, local_digits);
    half_digits(remote, remote_digits);
    bool local_first = memcmp(local_digits, remote_digits, HALF_DIGITS) <= 0;
    char *digits = fingerprint_out->digits;
    memcpy(digits, local_first ? local_digits : remote_digits, HALF_DIGITS);
    memcpy(digits + HALF_DIGITS, local_first ? remote_digits : local_digits, HALF_DIGITS);
    digits[E2EE_FINGERPRINT_DIGITS] = '\0';
    qr_fill(local, remote, fingerprint_out->qr);
    return E2EE_OK;
}

/* The two halves of a QR code, borrowed. */
static enum e2ee_err qr_parse(const uint8_t *data, size_t len, const uint8_t **local_out,
                              const uint8_t **remote_out)
{
    struct field fields[] = {
        {.number = 1, .required = true},
        {.number = 2, .is_bytes = true, .required = true},
        {.number = 3, .is_bytes = true, .required = true},
    };
    struct field local = {.number = 1, .is_bytes = true, .required = true, .len = HALF_LEN};
    struct field remote = local;
    if (!message_parse(data, len, fields, 3)) {
        return E2EE_ERR_MALFORMED;
    }
    if (fields[0].value != VERSION) {
        return E2EE_ERR_VERSION;
    }
    if (!message_parse(fields[1].data, fields[1].data_len, &local, 1) ||
        !message_parse(fields[2].data, fields[2].data_len, &remote, 1)) {
        return E2EE_ERR_MALFORMED;
    }
    *local_out = local.data;
    *remote_out = remote.data;
    return E2EE_OK;
}

enum e2ee_err e2ee_fingerprint_compare(const struct e2ee_fingerprint *local,
                                       const uint8_t *scanned, size_t scanned_len,
                                       bool *equal_out)
{
    const uint8_t *our_local, *our_remote, *their_local, *their_remote;
    enum e2ee_err err = qr_parse(scanned, scanned_len, &their_local, &their_remote);
    if (err != E2EE_OK) {
        return err;
    }
    err = qr_parse(local->qr, sizeof local->qr, &our_local, &our_remote);
    if (err != E2EE_OK) {
        return E2EE_ERR_ARGUMENT;
    }
    bool one = secret_equal(our_local, their_remote, HALF_LEN);
    bool other = secret_equal(our_remote, their_local, HALF_LEN);
    *equal_out = one & other;
    return E2EE_OK;
}
