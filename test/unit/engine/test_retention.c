/* Retention: what is outdated goes, however much of it there is, in bounded pieces. */
#include "store/keys.h"
#include "unit/engine/fixture.h"

enum { DAY_MS = 24 * 3600 * 1000 };

static int set_up(void **state)
{
    if (fixture_setup(state) != 0) return -1;
    struct fixture *f = *state;
    f->retention_days = 10;
    fixture_crash(f);
    return 0;
}

/* So many messages to a peer, with a time so far ahead. */
static void send_many(struct fixture *f, unsigned to, unsigned count, uint64_t ahead_ms)
{
    static struct applied answers[SOTTO_ENGINE_BATCH_MAX];
    for (unsigned i = 0; i < count; i++) {
        char key[32];
        snprintf(key, sizeof(key), "many-%" PRIu64, f->next_message++);
        struct record r = message_to(f, 1, to, key, "x");
        r.message.ts_ms += ahead_ms;
        submit(f, &r);
        if (i % 1000 != 999 && i + 1 != count) continue;
        turn(f);
        size_t got = take_answers(f, answers, SOTTO_ENGINE_BATCH_MAX);
        for (size_t k = 0; k < got; k++) assert_int_equal(answers[k].problem, PROBLEM_NONE);
        fixture_forget_events(f);
    }
}

/* Housekeeping as the engine's thread does it, until that would wait; returns how many
 * pieces it took, each with at most so many rows. */
static unsigned keep_house(struct fixture *f, size_t rows_max)
{
    unsigned pieces = 0;
    for (bool more = true; more; pieces++) {
        size_t before = rows_of(f, STORE_MESSAGE);
        assert_true(pieces < 100);
        more = engine_housekeep(f->engine);
        assert_true(before - rows_of(f, STORE_MESSAGE) <= rows_max);
    }
    return pieces;
}

static void retention__much__goes_in_one_round_of_pieces(void **state)
{
    enum { OLD = 7000, OTHERS = 200 };
    struct fixture *f = *state;
    send_many(f, 2, OLD, 0);
    for (unsigned i = 0; i < OTHERS; i++) (void)send(f, 1, 3 + i, "old");
    clock_manual_advance(&f->clock, 11ull * DAY_MS);
    (void)send(f, 1, 2, "young");
    fixture_forget_events(f);
    /* 7000 rows are four times what a turn takes, 201 conversations too. */
    assert_in_range(keep_house(f, 2048 + 64), 4, 8);
    assert_int_equal(rows_of(f, STORE_MESSAGE), 1);
    assert_int_equal(rows_of(f, STORE_DEDUPE), 1);
    assert_store_clean(f);
    /* A round that finds nothing ends as well. */
    assert_in_range(keep_house(f, 0), 1, 4);
}

static void retention__much__is_not_kept_by_who_has_nothing(void **state)
{
    enum { OTHERS = 300 };
    struct fixture *f = *state;
    (void)send(f, 1, 2, "old");
    (void)send(f, 1, 3, "old");
    clock_manual_advance(&f->clock, 11ull * DAY_MS);
    for (unsigned i = 0; i < OTHERS; i++) (void)send(f, 1, 4 + i, "young");
    fixture_forget_events(f);
    assert_in_range(keep_house(f, 2), 4, 5);
    assert_int_equal(rows_of(f, STORE_MESSAGE), OTHERS);
}

/* More times to come at the front than a turn looks at. */
static void retention__times_to_come__keep_nothing_however_many(void **state)
{
    struct fixture *f = *state;
    send_many(f, 2, 2100, 3650ull * DAY_MS);
    assert_int_equal(send(f, 1, 2, "old"), 2101);
    clock_manual_advance(&f->clock, 11ull * DAY_MS);
    assert_int_equal(send(f, 1, 2, "young"), 2102);
    assert_in_range(keep_house(f, 2048), 2, 4);
    assert_int_equal(rows_of(f, STORE_MESSAGE), 1);
    assert_store_clean(f);
    send_many(f, 3, 2100, 3650ull * DAY_MS);
    assert_in_range(keep_house(f, 0), 2, 3);
    assert_int_equal(rows_of(f, STORE_MESSAGE), 2101);
}

/* The disk refuses a piece: it is not tried at once again, nor forgotten. */
static void retention__a_refused_piece__is_the_next(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 100; i++) (void)send(f, 1, 2 + i, "old");
    clock_manual_advance(&f->clock, 11ull * DAY_MS);
    f->write_faults[0] = STORE_FAULT_FULL;
    f->write_faults_count = 1;
    assert_false(engine_housekeep(f->engine));
    assert_int_equal(rows_of(f, STORE_MESSAGE), 100);
    assert_int_equal(keep_house(f, 64), 2);
    assert_int_equal(rows_of(f, STORE_MESSAGE), 0);
    assert_store_clean(f);
}

/* What took long is not begun again at once. */
static void retention__a_round__rests_as_long_as_it_took(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 100; i++) (void)send(f, 1, 2 + i, "old");
    clock_manual_advance(&f->clock, 11ull * DAY_MS);
    assert_true(engine_housekeep(f->engine));
    clock_manual_advance(&f->clock, 60 * 1000);
    assert_false(engine_housekeep(f->engine));
    assert_int_equal(rows_of(f, STORE_MESSAGE), 0);
    struct record r = message_to(f, 1, 2, "k1", "x");
    r.message.ts_ms -= 10ull * DAY_MS;
    assert_int_equal(ask(f, &r).problem, PROBLEM_NONE);
    clock_manual_advance(&f->clock, 60 * 1000);
    assert_false(engine_housekeep(f->engine));
    assert_int_equal(rows_of(f, STORE_MESSAGE), 1);
    clock_manual_advance(&f->clock, 20 * 60 * 1000);
    (void)keep_house(f, 1);
    assert_int_equal(rows_of(f, STORE_MESSAGE), 0);
}

/* A conversation that cannot be read keeps none that comes before or behind it. */
static void retention__an_unreadable_conversation__keeps_no_other(void **state)
{
    enum { OTHERS = 200 };
    struct fixture *f = *state;
    struct id ids[3] = {{{0}}};
    for (unsigned i = 0; i < OTHERS; i++) (void)send(f, 1, 2 + i, "old");
    fixture_crash(f);
    /* The first, one in the middle, the last. */
    struct store_iter *it = store_iter_create(f->store, STORE_CONVERSATION);
    unsigned n = 0;
    for (store_iter_seek(it, slice_of("", 0)); store_iter_valid(it); store_iter_next(it), n++)
        memcpy(ids[n == 0 ? 0 : n <= OTHERS / 2 ? 1 : 2].bytes, store_iter_key(it).data, ID_LEN);
    store_iter_destroy(&it);
    for (unsigned i = 0; i < 3; i++) store_memory_damage(f->store, STORE_CONVERSATION, slice_of(ids[i].bytes, ID_LEN));
    clock_manual_advance(&f->clock, 11ull * DAY_MS);
    assert_in_range(keep_house(f, 64), 4, 10);
    assert_int_equal(rows_of(f, STORE_MESSAGE), 3);
    assert_int_equal(counter_of(f, "sotto_engine_unreadable_total"), 3);
}

static void retention__an_unreadable_message__is_counted(void **state)
{
    struct fixture *f = *state;
    (void)send(f, 1, 2, "old");
    (void)send(f, 1, 2, "old");
    struct key damaged = key_message(id_direct_conversation(user_id(1), user_id(2)), 2);
    store_memory_damage(f->store, STORE_MESSAGE, key_slice(&damaged));
    clock_manual_advance(&f->clock, 11ull * DAY_MS);
    assert_int_equal(keep_house(f, 1), 1);
    assert_int_equal(rows_of(f, STORE_DEDUPE), 1);
    assert_int_equal(counter_of(f, "sotto_engine_unreadable_total"), 1);
}

/* Nor does damage among the times keep what expires behind it. */
static void expiry__unreadable_times__keep_no_others(void **state)
{
    enum { SENT = 40, DAMAGED = 3 };
    static const unsigned damaged[DAMAGED] = {0, 20, 39};
    struct fixture *f = *state;
    for (unsigned i = 0; i < SENT; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%u", i);
        struct record r = message_to(f, 1, 2, key, "x");
        r.message.expires_ms = START_MS + 1 + 1000 * i;
        assert_int_equal(ask(f, &r).problem, PROBLEM_NONE);
    }
    fixture_forget_events(f);
    for (unsigned i = 0; i < DAMAGED; i++) {
        struct key key = key_expiry(START_MS + 1 + 1000 * damaged[i],
                                    id_direct_conversation(user_id(1), user_id(2)), damaged[i] + 1);
        store_memory_damage(f->store, STORE_EXPIRY, key_slice(&key));
    }
    clock_manual_advance(&f->clock, 10 * 1000 + 1); /* the second is not due yet */
    assert_in_range(keep_house(f, 0), 2, 3);
    assert_int_equal(f->events_count, 10);
    clock_manual_advance(&f->clock, 60 * 1000);
    assert_in_range(keep_house(f, 0), 3, 5);
    assert_int_equal(f->events_count, SENT - DAMAGED);
    assert_in_range(counter_of(f, "sotto_engine_unreadable_total"), 4, 6);
    /* Later ones go on, and nothing goes round and round. */
    struct record late = message_to(f, 1, 3, "late", "x");
    late.message.expires_ms = f->clock.wall_ms + 1;
    assert_int_equal(ask(f, &late).problem, PROBLEM_NONE);
    clock_manual_advance(&f->clock, 1);
    assert_in_range(keep_house(f, 0), 1, 2);
    assert_int_equal(f->events[f->events_count - 1]->kind, EVENT_EXPIRED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, fixture_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(retention__much__goes_in_one_round_of_pieces),
        TEST(retention__much__is_not_kept_by_who_has_nothing),
        TEST(retention__times_to_come__keep_nothing_however_many),
        TEST(retention__a_refused_piece__is_the_next),
        TEST(retention__a_round__rests_as_long_as_it_took),
        TEST(retention__an_unreadable_conversation__keeps_no_other),
        TEST(retention__an_unreadable_message__is_counted),
        TEST(expiry__unreadable_times__keep_no_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
