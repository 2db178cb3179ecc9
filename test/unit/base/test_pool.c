/* Memory of one size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/pool.h"

static void pool__give_and_take__the_last_first(void **state)
{
    (void)state;
    struct pool p;
    pool_init(&p, 64, 64, 2);
    void *a = pool_take(&p, 64), *b = pool_take(&p, 1), *c = pool_take(&p, 64);
    memset(b, 1, 64); /* a whole block, however little was asked for */
    pool_give(&p, a, 64);
    pool_give(&p, b, 1);
    pool_give(&p, c, 64); /* over the maximum: the heap's */
    assert_int_equal(p.count, 2);
    assert_ptr_equal(pool_take(&p, 8), b);
    assert_ptr_equal(pool_take(&p, 8), a);
    assert_int_equal(p.count, 0);
    pool_give(&p, a, 8);
    pool_give(&p, b, 8);
    pool_deinit(&p);
    assert_int_equal(p.count, 0);
}

static void pool__larger_than_a_block__is_the_heaps(void **state)
{
    (void)state;
    struct pool p;
    pool_init(&p, 64, 64, 2);
    void *large = pool_take(&p, 65);
    memset(large, 1, 65);
    pool_give(&p, large, 65);
    assert_int_equal(p.count, 0);
    void *without = pool_take(NULL, 64);
    pool_give(NULL, without, 64);
    pool_deinit(&p);
}

static void pool__trim__frees_what_was_not_needed(void **state)
{
    (void)state;
    struct pool p;
    void *blocks[8];
    pool_init(&p, 64, 64, 8);
    for (int i = 0; i < 8; i++) blocks[i] = pool_take(&p, 64);
    for (int i = 0; i < 8; i++) pool_give(&p, blocks[i], 64);
    pool_trim(&p); /* a moment ago all were in use */
    assert_int_equal(p.count, 8);
    for (int i = 0; i < 3; i++) blocks[i] = pool_take(&p, 64);
    for (int i = 0; i < 3; i++) pool_give(&p, blocks[i], 64);
    pool_trim(&p);
    assert_int_equal(p.count, 3);
    pool_trim(&p); /* none was needed since */
    assert_int_equal(p.count, 0);
    pool_deinit(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool__give_and_take__the_last_first),
        cmocka_unit_test(pool__larger_than_a_block__is_the_heaps),
        cmocka_unit_test(pool__trim__frees_what_was_not_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
