/* Padding: the formula and its constant-time inverse. padding.h has the format.
 *
 * A padded form is never longer than its plaintext by more than the step of
 * its size, so the marker stands within the last step: only those bytes are
 * looked at, all of them every time, with masks instead of branches.
 */
#include "e2ee/padding.h"

#include <assert.h>
#include <string.h>

/* Distance between two neighbouring sizes at or below `len`, the length with
 * the marker. */
static size_t padding_step(size_t len)
{
    if (len <= E2EE_PADDING_LINEAR_MAX) return E2EE_PADDING_STEP;
    size_t power = 1;
    while (power <= (len - 1) / 2) power *= 2; /* power <= len-1 < 2*power */
    return power / 8;
}

size_t e2ee_padded_len(size_t len)
{
    assert(len <= E2EE_PLAINTEXT_MAX);
    size_t step = padding_step(len + 1);
    return (len + 1 + step - 1) / step * step;
}

void e2ee_pad(uint8_t *data, size_t len)
{
    size_t padded_len = e2ee_padded_len(len);
    data[len] = 0x80;
    memset(data + len + 1, 0, padded_len - len - 1);
}

enum e2ee_err e2ee_unpad(const uint8_t *padded, size_t padded_len, size_t *len_out)
{
    if (padded_len == 0 || padded_len > e2ee_padded_len(E2EE_PLAINTEXT_MAX)) {
        return E2EE_ERR_MALFORMED;
    }
    size_t step = padding_step(padded_len);
    if (padded_len % step != 0) return E2EE_ERR_MALFORMED;

    /* From the end: zeros, then the marker, then anything. */
    size_t marker = 0;          /* its distance from the end, from 1 */
    size_t searching = SIZE_MAX; /* all ones until something else than zero */
    size_t good = 0;
    for (size_t i = 1; i <= step; i++) {
        size_t byte = padded[padded_len - i];
        size_t is_zero = (size_t)0 - ((byte - 1) >> (sizeof(size_t) * 8 - 1));
        size_t is_marker = (size_t)0 - (((byte ^ 0x80) - 1) >> (sizeof(size_t) * 8 - 1));
        marker |= searching & is_marker & i;
        good |= searching & is_marker;
        searching &= is_zero;
    }
    if (good == 0) return E2EE_ERR_MALFORMED;
    *len_out = padded_len - marker;
    return E2EE_OK;
}
