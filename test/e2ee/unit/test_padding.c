/* Padding: every short length, bounds of growth, one form per plaintext. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "e2ee/padding.h"

static void padding__round_trip__every_length(void **state)
{
    (void)state;
    uint8_t *data = malloc(e2ee_padded_len(20000));
    for (size_t len = 0; len <= 20000; len += len < 3000 ? 1 : 61) {
        size_t padded_len = e2ee_padded_len(len), found = 0;
        memset(data, 0x80, padded_len); /* plaintext bytes that look like the marker */
        e2ee_pad(data, len);
        assert_int_equal(e2ee_unpad(data, padded_len, &found), E2EE_OK);
        assert_int_equal(found, len);
    }
    free(data);
}

static void padding__length__is_bounded_and_monotonic(void **state)
{
    (void)state;
    size_t before = 0, sizes = 0;
    for (size_t len = 0; len <= 1 << 20; len++) {
        size_t padded = e2ee_padded_len(len);
        assert_true(padded > len && padded >= before);
        assert_true(padded <= len + 160 || padded <= len + 1 + len / 8 + 1);
        if (padded != before) sizes++;
        before = padded;
    }
    assert_int_equal(e2ee_padded_len(0), 160);
    assert_int_equal(e2ee_padded_len(159), 160);
    assert_int_equal(e2ee_padded_len(160), 320);
    assert_int_equal(e2ee_padded_len(2559), 2560);
    assert_int_equal(e2ee_padded_len(2560), 2816);
    assert_true(sizes < 100);
    assert_true(e2ee_padded_len(E2EE_PLAINTEXT_MAX) >= E2EE_PLAINTEXT_MAX);
}

static void padding__damage__is_refused(void **state)
{
    (void)state;
    uint8_t data[320] = {0};
    size_t len = 99;
    assert_int_equal(e2ee_unpad(data, 0, &len), E2EE_ERR_MALFORMED);
    assert_int_equal(e2ee_unpad(data, 160, &len), E2EE_ERR_MALFORMED); /* no marker */
    e2ee_pad(data, 100);
    assert_int_equal(e2ee_unpad(data, 159, &len), E2EE_ERR_MALFORMED);
    assert_int_equal(e2ee_unpad(data, 161, &len), E2EE_ERR_MALFORMED);
    data[101] = 1; /* not zero after the marker */
    assert_int_equal(e2ee_unpad(data, 160, &len), E2EE_ERR_MALFORMED);
    data[101] = 0;
    /* A whole step too many. */
    memset(data + 160, 0, 160);
    assert_int_equal(e2ee_unpad(data, 320, &len), E2EE_ERR_MALFORMED);
    assert_int_equal(len, 99);
    assert_int_equal(e2ee_unpad(data, 160, &len), E2EE_OK);
    assert_int_equal(len, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(padding__round_trip__every_length),
        cmocka_unit_test(padding__length__is_bounded_and_monotonic),
        cmocka_unit_test(padding__damage__is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
