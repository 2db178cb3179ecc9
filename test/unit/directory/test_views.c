/* The cache of views by itself: its bound, its stamps, its threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "directory/views.h"

static struct id numbered(uint32_t n)
{
    struct id id = {{0}};
    memcpy(id.bytes, &n, sizeof n);
    return id;
}

static void put(struct views *v, uint32_t n, size_t contacts)
{
    struct id list[8] = {{{0}}};
    struct user_view *view = view_create(NULL, 0, list, contacts);
    view->id = numbered(n);
    views_put(v, view, views_stamp(v, view->id));
    user_view_unref(view);
}

static bool has(struct views *v, uint32_t n)
{
    struct user_view *view = views_find(v, numbered(n));
    user_view_unref(view);
    return view != NULL;
}

static size_t bytes_used(const struct views *v)
{
    size_t bytes = 0;
    for (size_t i = 0; i < VIEW_SHARDS; i++) bytes += v->shards[i].bytes;
    return bytes;
}

static void views__stay_within_their_bytes__and_prefer_what_is_used(void **state)
{
    (void)state;
    struct views v;
    views_init(&v, 256 * 1024);
    put(&v, 0, 8);
    for (uint32_t n = 1; n < 20000; n++) {
        put(&v, n, n % 8);
        assert_true(bytes_used(&v) <= 256 * 1024);
        assert_true(has(&v, 0));
    }
    assert_true(bytes_used(&v) > 128 * 1024);
    assert_false(has(&v, 1));
    views_forget(&v, NULL);
    assert_int_equal(bytes_used(&v), 0);
    views_deinit(&v);
}

static void put__after_a_change_since_the_stamp__is_not_kept(void **state)
{
    (void)state;
    struct views v;
    views_init(&v, 256 * 1024);
    struct id user = numbered(7);
    struct user_view *stale = view_create(NULL, 0, NULL, 0);
    stale->id = user;
    uint64_t stamp = views_stamp(&v, user);
    views_forget(&v, &user);
    views_put(&v, stale, stamp);
    assert_false(has(&v, 7));
    stamp = views_stamp(&v, user);
    views_forget(&v, NULL);
    views_put(&v, stale, stamp);
    assert_false(has(&v, 7));
    views_put(&v, stale, views_stamp(&v, user));
    assert_true(has(&v, 7));
    user_view_unref(stale);
    views_deinit(&v);
}

static void *churn(void *ctx)
{
    struct views *v = ctx;
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t n = i * 7919 % 97;
        struct id user = numbered(n);
        struct user_view *view = views_find(v, user);
        if (view == NULL) put(v, n, 4);
        else assert_true(id_eq(view->id, user));
        user_view_unref(view);
        if (i % 31 == 0) views_forget(v, &user);
    }
    return NULL;
}

static void views__used_from_many_threads__agree(void **state)
{
    (void)state;
    struct views v;
    pthread_t threads[4];
    views_init(&v, 16 * 1024);
    for (size_t i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, churn, &v), 0);
    for (size_t i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    assert_true(bytes_used(&v) <= 16 * 1024);
    views_deinit(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views__stay_within_their_bytes__and_prefer_what_is_used),
        cmocka_unit_test(put__after_a_change_since_the_stamp__is_not_kept),
        cmocka_unit_test(views__used_from_many_threads__agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
