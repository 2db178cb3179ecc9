/* Throttling by itself: the waits, their bound, their end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "directory/throttle.h"

#include <stdio.h>

static const struct throttle_policy policy = {.free_attempts = 2, .first_ms = 100, .max_ms = 1000, .forget_ms = 60000};

static int setup(void **state)
{
    static struct throttle t;
    throttle_init(&t, random_system());
    *state = &t;
    return 0;
}

static int teardown(void **state)
{
    throttle_deinit(*state);
    return 0;
}

static void begin__doubles_the_wait__up_to_the_longest(void **state)
{
    struct throttle *t = *state;
    struct throttle_key key = throttle_key(t, &policy, 'n', SLICE_LIT("anna"));
    uint64_t now_ms = 5, retry_ms = 0;
    assert_true(throttle_begin(t, &key, 1, now_ms, &retry_ms));
    static const uint64_t waits[] = {100, 200, 400, 800, 1000, 1000};
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        assert_true(throttle_begin(t, &key, 1, now_ms, &retry_ms));
        assert_false(throttle_begin(t, &key, 1, now_ms, &retry_ms));
        assert_int_equal(retry_ms, waits[i]);
        assert_false(throttle_begin(t, &key, 1, now_ms + waits[i] - 1, &retry_ms));
        assert_int_equal(retry_ms, 1);
        now_ms += waits[i];
    }
    assert_true(throttle_begin(t, &key, 1, now_ms + 60001, &retry_ms)); /* forgotten */
    assert_true(throttle_begin(t, &key, 1, now_ms + 60001, &retry_ms));
}

static void begin__counts_all_keys_or_none(void **state)
{
    struct throttle *t = *state;
    struct throttle_key both[2] = {throttle_key(t, &policy, 'n', SLICE_LIT("anna")),
                                   throttle_key(t, &policy, 'a', SLICE_LIT("anna"))};
    uint64_t retry_ms = 0;
    assert_true(throttle_begin(t, &both[0], 1, 0, &retry_ms));
    assert_true(throttle_begin(t, &both[0], 1, 0, &retry_ms));
    for (int i = 0; i < 10; i++) assert_false(throttle_begin(t, both, 2, 0, &retry_ms));
    assert_true(throttle_begin(t, &both[1], 1, 0, &retry_ms));
    assert_true(throttle_begin(t, &both[1], 1, 0, &retry_ms));
    assert_false(throttle_begin(t, &both[1], 1, 0, &retry_ms));
}

static void undo__takes_one_attempt_back__clear_all(void **state)
{
    struct throttle *t = *state;
    struct throttle_key key = throttle_key(t, &policy, 'n', SLICE_LIT("anna"));
    uint64_t retry_ms = 0;
    for (int i = 0; i < 10; i++) {
        assert_true(throttle_begin(t, &key, 1, 0, &retry_ms));
        throttle_undo(t, key);
    }
    assert_true(throttle_begin(t, &key, 1, 0, &retry_ms));
    assert_true(throttle_begin(t, &key, 1, 0, &retry_ms));
    assert_false(throttle_begin(t, &key, 1, 0, &retry_ms));
    throttle_clear(t, key);
    assert_true(throttle_begin(t, &key, 1, 0, &retry_ms));
    assert_true(throttle_begin(t, &key, 1, 0, &retry_ms));
}

static void table__under_a_flood_of_names__keeps_working(void **state)
{
    struct throttle *t = *state;
    uint64_t retry_ms = 0;
    for (unsigned i = 0; i < 200000; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%u", i);
        struct throttle_key key = throttle_key(t, &policy, 'n', slice_str(name));
        assert_true(throttle_begin(t, &key, 1, i, &retry_ms));
    }
    struct throttle_key key = throttle_key(t, &policy, 'n', SLICE_LIT("anna"));
    assert_true(throttle_begin(t, &key, 1, 200000, &retry_ms));
    assert_true(throttle_begin(t, &key, 1, 200000, &retry_ms));
    assert_false(throttle_begin(t, &key, 1, 200000, &retry_ms));
}

#define THROTTLE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        THROTTLE_TEST(begin__doubles_the_wait__up_to_the_longest),
        THROTTLE_TEST(begin__counts_all_keys_or_none),
        THROTTLE_TEST(undo__takes_one_attempt_back__clear_all),
        THROTTLE_TEST(table__under_a_flood_of_names__keeps_working),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
