/* The hash map against a plain array, and the timer wheel under a hand-set time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/map.h"
#include "base/random.h"
#include "base/wheel.h"

static bool same_number(const void *entry, const void *key)
{
    return *(const uint64_t *)entry == *(const uint64_t *)key;
}

static void map__random_operations__agree_with_an_array(void **state)
{
    (void)state;
    enum { KEYS = 500 };
    static uint64_t keys[KEYS];
    bool inside[KEYS] = {false};
    size_t count = 0;
    struct random_seeded random;
    random_seeded_init(&random, 3);
    struct map m;
    map_init(&m);
    for (int i = 0; i < KEYS; i++) keys[i] = (uint64_t)i;
    for (int step = 0; step < 100000; step++) {
        uint64_t r = random_u64(&random.source);
        size_t k = r % KEYS;
        /* Few distinct hashes, at the end of the table too: long runs that wrap. */
        uint64_t hash = keys[k] % 37 * 0xfffffffffffffff1u;
        bool grow = step / 10000 % 2 == 0;
        if (!inside[k] && (grow || r >> 60 == 0)) {
            map_insert(&m, hash, &keys[k]);
            inside[k] = true;
            count++;
        } else if (inside[k] && (!grow || r >> 60 == 0)) {
            assert_ptr_equal(map_remove(&m, hash, &keys[k], same_number), &keys[k]);
            inside[k] = false;
            count--;
        }
        size_t probe = (r >> 20) % KEYS;
        void *found = map_find(&m, keys[probe] % 37 * 0xfffffffffffffff1u, &keys[probe], same_number);
        assert_ptr_equal(found, inside[probe] ? &keys[probe] : NULL);
        assert_int_equal(m.count, count);
        assert_true(m.count <= m.size / 8 * 7);
    }
    size_t at = 0, seen = 0;
    for (uint64_t *entry; (entry = map_next(&m, &at)) != NULL; seen++) assert_true(inside[*entry]);
    assert_int_equal(seen, count);
    map_deinit(&m);
    assert_null(map_find(&m, 1, &keys[1], same_number));
    assert_null(map_remove(&m, 1, &keys[1], same_number));
}

struct probe {
    struct timer timer;
    uint64_t started_ms;
    uint64_t delay_ms;
    uint64_t fired_ms;
    int fired;
    struct timer *stop;    /* stop this one when firing */
    uint64_t restart_ms;
};
struct bench {
    struct wheel wheel;
    uint64_t now_ms;
    uint64_t last_tick;
};

static void fired(void *ctx, struct timer *t)
{
    struct bench *b = ctx;
    struct probe *p = (struct probe *)(void *)t;
    assert_false(timer_running(t));
    assert_true(p->started_ms + p->delay_ms <= b->now_ms);
    assert_true(b->wheel.tick >= b->last_tick);
    b->last_tick = b->wheel.tick;
    p->fired++;
    p->fired_ms = b->now_ms;
    if (p->stop != NULL) timer_stop(&b->wheel, p->stop);
    if (p->restart_ms != 0) {
        p->started_ms = b->now_ms;
        p->delay_ms = p->restart_ms;
        timer_start(&b->wheel, t, p->restart_ms);
    }
}

static void wheel__random_timers__fire_once_never_early_and_within_a_tick(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    static struct probe probes[COUNT];
    struct bench b = {.now_ms = 123456789};
    struct random_seeded random;
    random_seeded_init(&random, 11);
    wheel_init(&b.wheel, b.now_ms);
    for (int step = 0; step < 20000; step++) {
        uint64_t r = random_u64(&random.source);
        struct probe *p = &probes[r % COUNT];
        uint64_t step_ms = (r >> 20) % 300;
        b.now_ms += step_ms;
        wheel_set_now(&b.wheel, b.now_ms);
        if (r >> 62 == 0) {
            timer_stop(&b.wheel, &p->timer);
            p->fired = 1;
        } else {
            p->started_ms = b.now_ms;
            p->delay_ms = (r >> 40) % 120000;
            p->fired = 0;
            timer_start(&b.wheel, &p->timer, p->delay_ms);
        }
        uint64_t wait = wheel_wait_ms(&b.wheel, b.now_ms);
        for (int i = 0; i < COUNT; i++)
            if (timer_running(&probes[i].timer) && wait != 0)
                assert_true(probes[i].timer.due_tick * 100 >= b.now_ms + wait);
        wheel_advance(&b.wheel, b.now_ms, fired, &b);
        size_t running = 0;
        for (int i = 0; i < COUNT; i++) {
            if (!timer_running(&probes[i].timer)) continue;
            running++;
            assert_true(probes[i].started_ms + probes[i].delay_ms + 100 > b.now_ms);
        }
        assert_int_equal(running, b.wheel.count);
    }
    b.now_ms += 1000000;
    wheel_advance(&b.wheel, b.now_ms, fired, &b);
    assert_int_equal(b.wheel.count, 0);
    assert_true(wheel_wait_ms(&b.wheel, b.now_ms) == UINT64_MAX);
}

static void wheel__callback__may_stop_another_due_timer(void **state)
{
    (void)state;
    struct bench b = {.now_ms = 1000};
    wheel_init(&b.wheel, b.now_ms);
    struct probe first = {.started_ms = 1000}, second = {.started_ms = 1000}, third = {.started_ms = 1000};
    timer_start(&b.wheel, &first.timer, 50);
    timer_start(&b.wheel, &second.timer, 50);
    timer_start(&b.wheel, &third.timer, 50);
    /* Whichever comes first stops the one in the middle of the due list. */
    first.stop = &second.timer;
    third.stop = &second.timer;
    b.now_ms = 1100;
    wheel_advance(&b.wheel, b.now_ms, fired, &b);
    assert_int_equal(first.fired + third.fired, 2);
    assert_int_equal(second.fired, 0);
    assert_int_equal(b.wheel.count, 0);
}

static void wheel__callback__may_restart_itself(void **state)
{
    (void)state;
    struct bench b = {.now_ms = 0};
    wheel_init(&b.wheel, 0);
    struct probe p = {.restart_ms = 1};
    timer_start(&b.wheel, &p.timer, 0);
    for (b.now_ms = 0; b.now_ms <= 10000; b.now_ms += 10) wheel_advance(&b.wheel, b.now_ms, fired, &b);
    assert_in_range(p.fired, 49, 101);
    timer_stop(&b.wheel, &p.timer);
    timer_stop(&b.wheel, &p.timer);
    assert_int_equal(b.wheel.count, 0);
}

static void wheel__jump__of_a_year_is_cheap_and_in_order(void **state)
{
    (void)state;
    struct bench b = {.now_ms = 5};
    wheel_init(&b.wheel, 5);
    struct probe near_one = {.started_ms = 5, .delay_ms = 200}, far_one = {.started_ms = 5, .delay_ms = 86400000};
    struct probe never = {.started_ms = 5};
    timer_start(&b.wheel, &far_one.timer, far_one.delay_ms);
    timer_start(&b.wheel, &near_one.timer, near_one.delay_ms);
    timer_start(&b.wheel, &never.timer, UINT64_MAX);
    b.now_ms += 365ull * 86400000;
    wheel_advance(&b.wheel, b.now_ms, fired, &b);
    assert_int_equal(near_one.fired, 1);
    assert_int_equal(far_one.fired, 1);
    assert_int_equal(never.fired, 0);
    timer_stop(&b.wheel, &never.timer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map__random_operations__agree_with_an_array),
        cmocka_unit_test(wheel__random_timers__fire_once_never_early_and_within_a_tick),
        cmocka_unit_test(wheel__callback__may_stop_another_due_timer),
        cmocka_unit_test(wheel__callback__may_restart_itself),
        cmocka_unit_test(wheel__jump__of_a_year_is_cheap_and_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
