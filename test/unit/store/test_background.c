/* How fast the background writes: slowly as long as it keeps up, and never so slowly that
 * the writer would have to wait for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/background.h"
#include "store/limiter_rate.h"

static uint64_t rate(unsigned files, unsigned buffers, unsigned filled_percent, uint64_t committed_per_s)
{
    struct background_debt d = {files, buffers, filled_percent};
    return background_rate(&d, committed_per_s);
}

static void background__rate__is_low_while_it_keeps_up(void **state)
{
    (void)state;
    uint64_t low = rate(0, 0, 0, 0);
    assert_int_equal(rate(BACKGROUND_LEVEL0_FILES, 0, 99, low / 2), low);
    assert_int_equal(rate(BACKGROUND_LEVEL0_FILES + 1, 1, 74, low / 2), low);
}

static void background__rate__rises_with_what_waits(void **state)
{
    (void)state;
    enum { SLOWED_DOWN = 20 }; /* files, by RocksDB's own default */
    uint64_t low = rate(0, 0, 0, 0), most = rate(1000, 0, 0, 0);
    for (unsigned files = BACKGROUND_LEVEL0_FILES + 2; files < SLOWED_DOWN; files += 2)
        assert_true(rate(files, 0, 0, 0) == 2 * rate(files - 2, 0, 0, 0) || rate(files, 0, 0, 0) == most);
    assert_int_equal(rate(SLOWED_DOWN - 2, 0, 0, 0), most);
    assert_true(most >= 32 * low);
    assert_int_equal(rate(0, 1, 75, 0), most);
    assert_int_equal(rate(0, BACKGROUND_WRITE_BUFFERS - 1, 0, 0), most);
    assert_int_equal(rate(0, 0, 0, low), most);
}

/* What we know of RocksDB's own struct is right. */
static void limiter_rate__set__is_what_the_limiter_has(void **state)
{
    (void)state;
    rocksdb_ratelimiter_t *limiter = rocksdb_ratelimiter_create(1000000, 1000, 10);
    assert_int_equal(limiter_rate(limiter), 1000000);
    limiter_rate_set(limiter, 7000000);
    assert_int_equal(limiter_rate(limiter), 7000000);
    rocksdb_ratelimiter_destroy(limiter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(background__rate__is_low_while_it_keeps_up),
        cmocka_unit_test(background__rate__rises_with_what_waits),
        cmocka_unit_test(limiter_rate__set__is_what_the_limiter_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
