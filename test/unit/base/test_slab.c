/* Objects of one size in pages of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/slab.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 52, PER_PAGE_MIN = (SLAB_PAGE_BYTES - 64) / 56, MANY = 4 * PER_PAGE_MIN };

static bool all(const uint8_t *bytes, uint8_t value)
{
    for (size_t i = 0; i < SIZE; i++)
        if (bytes[i] != value) return false;
    return true;
}

static void slab__many__are_apart_and_zeroed(void **state)
{
    (void)state;
    struct slab s;
    static uint8_t *objects[MANY];
    slab_init(&s, SIZE);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < MANY; i++) {
            objects[i] = slab_take(&s);
            assert_int_equal((uintptr_t)objects[i] % 8, 0);
            assert_true(all(objects[i], 0));
            memset(objects[i], (int)(i % 251 + 1), SIZE);
        }
        assert_in_range(s.pages, 4, 5);
        for (size_t i = 0; i < MANY; i++) assert_true(all(objects[i], (uint8_t)(i % 251 + 1)));
        for (size_t i = 0; i < MANY; i++) slab_give(objects[i]);
        assert_int_equal(s.pages, 1); /* empty ones go, but for the last */
    }
    slab_deinit(&s);
    assert_int_equal(s.pages, 0);
}

static void slab__a_place_given_back__is_taken_again(void **state)
{
    (void)state;
    struct slab s;
    static void *objects[MANY];
    slab_init(&s, SIZE);
    for (size_t i = 0; i < MANY; i++) objects[i] = slab_take(&s);
    size_t pages = s.pages;
    /* Out of every page, full ones too. */
    for (size_t i = 0; i < MANY; i += 3) slab_give(objects[i]);
    for (size_t i = 0; i < MANY; i += 3) objects[i] = slab_take(&s);
    assert_int_equal(s.pages, pages);
    slab_give(NULL);
    /* In another order than they were taken. */
    for (size_t i = MANY; i-- > 0;)
        if (i % 2 == 0) slab_give(objects[i]);
    assert_int_equal(s.pages, pages);
    for (size_t i = 1; i < MANY; i += 2) slab_give(objects[i]);
    assert_int_equal(s.pages, 1);
    slab_deinit(&s);
}

static void slab__largest_and_smallest(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 8, SLAB_PAGE_BYTES / 8};
    for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
        struct slab s;
        void *objects[20];
        slab_init(&s, sizes[k]);
        for (size_t i = 0; i < 20; i++) {
            objects[i] = slab_take(&s);
            memset(objects[i], 255, sizes[k]);
        }
        for (size_t i = 0; i < 20; i++) slab_give(objects[i]);
        slab_deinit(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slab__many__are_apart_and_zeroed),
        cmocka_unit_test(slab__a_place_given_back__is_taken_again),
        cmocka_unit_test(slab__largest_and_smallest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
