/* Token buckets: the rate in the long run, the burst, and a bounded table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/ratelimit.h"

#include <string.h>

static struct id key_of(uint64_t n)
{
    struct id id = {{0}};
    memcpy(id.bytes, &n, sizeof(n));
    return id;
}

static void limiter__burst_then_rate__says_when_to_come_back(void **state)
{
    (void)state;
    struct limiter *l = limiter_create(16, 42);
    const struct rate rate = {.per_second = 10, .burst = 3};
    uint64_t retry = 0, now = 1000;
    for (int i = 0; i < 3; i++) assert_true(limiter_take(l, BUCKET_USER, key_of(1), 0, &rate, now, &retry));
    assert_false(limiter_take(l, BUCKET_USER, key_of(1), 0, &rate, now, &retry));
    assert_int_equal(retry, 100);
    assert_false(limiter_take(l, BUCKET_USER, key_of(1), 0, &rate, now + 99, &retry));
    assert_true(limiter_take(l, BUCKET_USER, key_of(1), 0, &rate, now + 101, &retry));
    /* After a long rest no more than the burst. */
    for (int i = 0; i < 3; i++) assert_true(limiter_take(l, BUCKET_USER, key_of(1), 0, &rate, now + 60000, &retry));
    assert_false(limiter_take(l, BUCKET_USER, key_of(1), 0, &rate, now + 60000, &retry));
    limiter_destroy(&l);
}

static void limiter__other_key_kind_or_device__has_its_own_bucket(void **state)
{
    (void)state;
    struct limiter *l = limiter_create(16, 42);
    const struct rate rate = {.per_second = 1, .burst = 1};
    uint64_t retry;
    assert_true(limiter_take(l, BUCKET_USER, key_of(1), 0, &rate, 0, &retry));
    assert_true(limiter_take(l, BUCKET_USER, key_of(2), 0, &rate, 0, &retry));
    assert_true(limiter_take(l, BUCKET_TYPING, key_of(1), 0, &rate, 0, &retry));
    assert_true(limiter_take(l, BUCKET_USER, key_of(1), 1, &rate, 0, &retry));
    assert_false(limiter_take(l, BUCKET_USER, key_of(1), 0, &rate, 0, &retry));
    limiter_destroy(&l);
}

static void limiter__rate_of_zero__never_refuses(void **state)
{
    (void)state;
    struct limiter *l = limiter_create(16, 42);
    const struct rate off = {0};
    uint64_t retry;
    for (int i = 0; i < 1000; i++) assert_true(limiter_take(l, BUCKET_USER, key_of(1), 0, &off, 0, &retry));
    limiter_destroy(&l);
}

static void limiter__flood_of_keys__does_not_free_an_empty_bucket(void **state)
{
    (void)state;
    struct limiter *l = limiter_create(16, 42);
    const struct rate rate = {.per_second = 0.001, .burst = 5};
    uint64_t retry;
    for (int i = 0; i < 5; i++) assert_true(limiter_take(l, BUCKET_ADDRESS, key_of(7), 0, &rate, 0, &retry));
    /* A hundred times more keys than there is room for; each draws once. */
    for (uint64_t i = 100; i < 12900; i++) (void)!limiter_take(l, BUCKET_ADDRESS, key_of(i), 0, &rate, 0, &retry);
    assert_false(limiter_take(l, BUCKET_ADDRESS, key_of(7), 0, &rate, 0, &retry));
    limiter_destroy(&l);
}

static void limiter__time_goes_round__counts_on(void **state)
{
    (void)state;
    struct limiter *l = limiter_create(16, 42);
    const struct rate rate = {.per_second = 10, .burst = 1};
    uint64_t retry, now = (UINT64_C(1) << 32) - 50;
    assert_true(limiter_take(l, BUCKET_USER, key_of(1), 0, &rate, now, &retry));
    assert_false(limiter_take(l, BUCKET_USER, key_of(1), 0, &rate, now + 60, &retry));
    assert_true(limiter_take(l, BUCKET_USER, key_of(1), 0, &rate, now + 170, &retry));
    limiter_destroy(&l);
}

/* What stood empty long ago leaves its place to those who draw now. */
static void limiter__table_full_of_old_keys__limits_new_ones(void **state)
{
    (void)state;
    struct limiter *l = limiter_create(16, 42);
    const struct rate rate = {.per_second = 0.0001, .burst = 5};
    uint64_t retry, now = 1000;
    for (uint64_t i = 1000; i < 5000; i++)
        for (int k = 0; k < 5; k++) (void)!limiter_take(l, BUCKET_ADDRESS, key_of(i), 0, &rate, now, &retry);
    now += 3600 * 1000;
    int given = 0;
    for (int k = 0; k < 20; k++) /* sixteen keys, less than a set each */
        for (uint64_t i = 1; i <= 16; i++) given += limiter_take(l, BUCKET_ADDRESS, key_of(i), 0, &rate, now, &retry);
    assert_int_equal(given, 16 * 5);
    limiter_destroy(&l);
}

/* Loops that serve one address have clocks of their own. */
static void limiter__times_out_of_order__refill_nothing(void **state)
{
    (void)state;
    struct limiter *l = limiter_create(16, 42);
    const struct rate rate = {.per_second = 10, .burst = 5};
    uint64_t retry, now = 1000000;
    for (int i = 0; i < 5; i++)
        assert_true(limiter_take(l, BUCKET_ADDRESS, key_of(1), 0, &rate, now - (uint64_t)(i % 2), &retry));
    for (uint64_t i = 0; i < 50; i++)
        assert_false(limiter_take(l, BUCKET_ADDRESS, key_of(1), 0, &rate, now - (i % 7) * 100, &retry));
    /* And what was refilled since is counted once. */
    assert_true(limiter_take(l, BUCKET_ADDRESS, key_of(1), 0, &rate, now + 101, &retry));
    assert_false(limiter_take(l, BUCKET_ADDRESS, key_of(1), 0, &rate, now, &retry));
    assert_false(limiter_take(l, BUCKET_ADDRESS, key_of(1), 0, &rate, now + 101, &retry));
    limiter_destroy(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limiter__burst_then_rate__says_when_to_come_back),
        cmocka_unit_test(limiter__other_key_kind_or_device__has_its_own_bucket),
        cmocka_unit_test(limiter__rate_of_zero__never_refuses),
        cmocka_unit_test(limiter__flood_of_keys__does_not_free_an_empty_bucket),
        cmocka_unit_test(limiter__time_goes_round__counts_on),
        cmocka_unit_test(limiter__times_out_of_order__refill_nothing),
        cmocka_unit_test(limiter__table_full_of_old_keys__limits_new_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
