/* A wall clock that jumps ahead destroys nothing at once: there is time to put it right. */
#include "unit/engine/fixture.h"

enum { MINUTE_MS = 60 * 1000, HOUR_MS = 60 * MINUTE_MS, DAY_MS = 24 * HOUR_MS };

/* One message that expires in a week, and one that is outdated in ten days. */
static int set_up(void **state)
{
    if (fixture_setup(state) != 0) return -1;
    struct fixture *f = *state;
    f->retention_days = 10;
    fixture_crash(f);
    struct record r = message_to(f, 1, 2, "k1", "x");
    r.message.expires_ms = f->clock.wall_ms + 7ull * DAY_MS;
    assert_int_equal(ask(f, &r).sequence, 1);
    assert_int_equal(send(f, 1, 3, "stays ten days"), 1);
    engine_housekeep(f->engine);
    return 0;
}

static void keep_house(struct fixture *f)
{
    while (engine_housekeep(f->engine)) {}
}

static uint64_t pauses_of(struct fixture *f) { return counter_of(f, "sotto_engine_clock_jumps_total"); }

/* Of what expires there remains a row that says so. */
static void assert_whole(struct fixture *f)
{
    assert_int_equal(rows_of(f, STORE_MESSAGE), 2);
    assert_int_equal(rows_of(f, STORE_EXPIRY), 1);
}

static void clock__jump_ahead__is_believed_after_a_while_only(void **state)
{
    struct fixture *f = *state;
    f->clock.wall_ms += 300ull * DAY_MS;
    keep_house(f);
    clock_manual_advance(&f->clock, 9 * MINUTE_MS);
    keep_house(f);
    assert_whole(f);
    clock_manual_advance(&f->clock, 1 * MINUTE_MS);
    keep_house(f);
    assert_int_equal(pauses_of(f), 1);
    assert_int_equal(rows_of(f, STORE_MESSAGE), 0);
    assert_int_equal(rows_of(f, STORE_EXPIRY), 0);
    assert_store_clean(f);
}

static void clock__put_right_in_time__destroys_nothing(void **state)
{
    struct fixture *f = *state;
    f->clock.wall_ms += 300ull * DAY_MS;
    keep_house(f);
    clock_manual_advance(&f->clock, 5 * MINUTE_MS);
    f->clock.wall_ms -= 300ull * DAY_MS;
    keep_house(f);
    clock_manual_advance(&f->clock, 2 * HOUR_MS);
    keep_house(f);
    assert_whole(f);
    /* And what is due by the right time goes, without another pause. */
    clock_manual_advance(&f->clock, 7ull * DAY_MS);
    keep_house(f);
    assert_int_equal(rows_of(f, STORE_EXPIRY), 0);
    assert_int_equal(pauses_of(f), 1);
}

/* The time that a pause was begun by is not that of the next. */
static void clock__second_jump__pauses_again(void **state)
{
    struct fixture *f = *state;
    f->clock.wall_ms += 2 * HOUR_MS;
    keep_house(f);
    clock_manual_advance(&f->clock, 10 * MINUTE_MS);
    keep_house(f);
    f->clock.wall_ms += 300ull * DAY_MS;
    keep_house(f);
    assert_whole(f);
}

/* Nor is one that comes while it lasts, not even back to where the first went. */
static void clock__another_jump_within_a_pause__has_a_time_of_its_own(void **state)
{
    struct fixture *f = *state;
    f->clock.wall_ms += 300ull * DAY_MS;
    keep_house(f);
    f->clock.wall_ms -= 300ull * DAY_MS - 2 * HOUR_MS;
    clock_manual_advance(&f->clock, 4 * MINUTE_MS);
    keep_house(f);
    f->clock.wall_ms += 300ull * DAY_MS - 2 * HOUR_MS;
    clock_manual_advance(&f->clock, 5 * MINUTE_MS);
    keep_house(f);
    clock_manual_advance(&f->clock, 9 * MINUTE_MS);
    keep_house(f);
    assert_whole(f);
    assert_int_equal(pauses_of(f), 2);
    clock_manual_advance(&f->clock, 1 * MINUTE_MS);
    keep_house(f);
    assert_int_equal(rows_of(f, STORE_MESSAGE), 0);
}

/* A clock that jumps ahead when it has been read so many times. */
struct jumping_clock {
    struct clock_source source;
    struct clock_manual *manual;
    unsigned left;
};
static uint64_t jumping_monotonic_us(void *ctx)
{
    return clock_monotonic_us(&((struct jumping_clock *)ctx)->manual->source);
}
static uint64_t jumping_wall_ms(void *ctx)
{
    struct jumping_clock *j = ctx;
    if (j->left != 0 && --j->left == 0) j->manual->wall_ms += 300ull * DAY_MS;
    return clock_wall_ms(&j->manual->source);
}

/* Whenever it jumps: what is destroyed is due by the time that was judged, and so is the note
 * for the next start. */
static void clock__jump_in_the_midst_of_housekeeping__destroys_nothing(void **state)
{
    struct fixture *f = *state;
    for (unsigned reading = 1; reading <= 4; reading++) {
        struct jumping_clock j = {{jumping_wall_ms, jumping_monotonic_us, &j}, &f->clock, reading};
        uint64_t right_ms = f->clock.wall_ms;
        engine_destroy(&f->engine);
        fixture_start_with(f, &j.source);
        while (j.left != 0) {
            clock_manual_advance(&f->clock, HOUR_MS); /* the note is due */
            right_ms += HOUR_MS;
            keep_house(f);
        }
        keep_house(f);
        fixture_crash(f);
        keep_house(f);
        assert_whole(f);
        f->clock.wall_ms = right_ms;
        keep_house(f);
    }
}

static void clock__small_steps__are_no_jump(void **state)
{
    struct fixture *f = *state;
    f->clock.wall_ms += 7ull * DAY_MS - HOUR_MS / 2;
    keep_house(f);
    clock_manual_advance(&f->clock, 10 * MINUTE_MS);
    keep_house(f);
    assert_int_equal(rows_of(f, STORE_EXPIRY), 1);
    f->clock.wall_ms += HOUR_MS / 2;
    keep_house(f);
    assert_int_equal(rows_of(f, STORE_EXPIRY), 0);
}

static void clock__far_ahead_at_a_start__is_believed_after_a_while_only(void **state)
{
    struct fixture *f = *state;
    f->clock.wall_ms += 300ull * DAY_MS;
    fixture_crash(f);
    keep_house(f);
    assert_whole(f);
    fixture_crash(f); /* another start does not make it true */
    keep_house(f);
    assert_whole(f);
    clock_manual_advance(&f->clock, 10 * MINUTE_MS);
    keep_house(f);
    assert_int_equal(rows_of(f, STORE_MESSAGE), 0);
    assert_store_clean(f);
}

static void clock__a_short_stop__is_no_jump(void **state)
{
    struct fixture *f = *state;
    clock_manual_advance(&f->clock, 6ull * DAY_MS + HOUR_MS);
    keep_house(f);
    f->clock.wall_ms += 23 * HOUR_MS;
    fixture_crash(f);
    keep_house(f);
    assert_int_equal(rows_of(f, STORE_EXPIRY), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(clock__jump_ahead__is_believed_after_a_while_only),
        TEST(clock__put_right_in_time__destroys_nothing),
        TEST(clock__second_jump__pauses_again),
        TEST(clock__another_jump_within_a_pause__has_a_time_of_its_own),
        TEST(clock__jump_in_the_midst_of_housekeeping__destroys_nothing),
        TEST(clock__small_steps__are_no_jump),
        TEST(clock__far_ahead_at_a_start__is_believed_after_a_while_only),
        TEST(clock__a_short_stop__is_no_jump),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
