/* Two owners of the same records write the same rows, byte for byte, whatever
 * their batches and caches look like and whatever failed in between. */
#include "unit/engine/fixture.h"

enum { USERS = 6, RECORDS = 1500 };

/* The same sequence of records for the same seed. */
static void next_record(struct fixture *f, const struct random_source *random, unsigned n, struct record *r,
                        char key[32], uint8_t *entries)
{
    static const struct id groups[2] = {{{0x99, 1}}, {{0x99, 2}}};
    uint64_t dice = random_u64(random);
    unsigned a = 1 + (unsigned)(dice % USERS), b = 1 + (unsigned)((a - 1 + 1 + dice / 8 % (USERS - 1)) % USERS);
    struct id group = groups[dice >> 20 & 1];
    struct id direct = id_direct_conversation(user_id(a), user_id(b));
    snprintf(key, 32, "k%u", n - (dice >> 56 == 0)); /* now and then one again */
    switch (dice >> 60) {
    case 0:
        *r = group_of(f, group, USERS, entries);
        break;
    case 1:
        *r = member_change(f, group, 1, b, (uint8_t)(1 + (dice >> 30) % 3), (uint8_t)(1 + (dice >> 34) % 2));
        break;
    case 2:
    case 3:
    case 4:
        *r = marks_of(f, dice >> 21 & 1 ? group : direct, a, (dice >> 40) % 40, (dice >> 48) % 40, dice >> 22 & 1);
        break;
    default:
        *r = message_to(f, a, b, key, "payload");
        if (dice >> 23 & 1) r->conversation = group, r->message.has_peer = false;
        if (dice >> 24 % 8 == 0) r->message.expires_ms = r->message.ts_ms + 5000;
        break;
    }
}

/* Applies them all: a turn after every `batch` records, housekeeping at the
 * same records for every owner. A failed commit is done again. */
static void own(struct fixture *f, unsigned batch, bool faults)
{
    struct random_seeded random;
    struct applied answers[RECORDS];
    random_seeded_init(&random, 5);
    uint8_t entries[USERS * (ID_LEN + 1)];
    unsigned queued = 0;
    for (unsigned n = 1; n <= RECORDS; n++) {
        struct record r;
        char key[32];
        next_record(f, &random.source, n, &r, key, entries);
        if (faults && n % 7 == 0) {
            /* Refused once, then asked again: the second answer counts. */
            f->write_faults[0] = n % 2 ? STORE_FAULT_IO : STORE_FAULT_UNCERTAIN_LOST;
            f->write_faults_count = 1;
            struct applied a = ask(f, &r);
            bool again = a.problem == PROBLEM_BUSY || a.problem == PROBLEM_UNCERTAIN;
            f->write_faults_count = 0;
            if (!again) continue;
        }
        submit(f, &r);
        if (++queued < batch && n % 100 != 0) continue;
        turn(f);
        (void)take_answers(f, answers, RECORDS);
        queued = 0;
        if (n % 100 != 0) continue;
        clock_manual_advance(&f->clock, 3000);
        engine_housekeep(f->engine);
        fixture_forget_events(f);
    }
    fixture_forget_events(f);
}

static void assert_same_rows(struct fixture *a, struct fixture *b)
{
    for (int family = STORE_CONVERSATION; family < STORE_FAMILIES; family++) {
        struct store_iter *x = store_iter_create(a->store, (enum store_family)family);
        struct store_iter *y = store_iter_create(b->store, (enum store_family)family);
        store_iter_seek(x, slice_of("", 0));
        store_iter_seek(y, slice_of("", 0));
        for (; store_iter_valid(x) && store_iter_valid(y); store_iter_next(x), store_iter_next(y)) {
            assert_true(slice_eq(store_iter_key(x), store_iter_key(y)));
            assert_true(slice_eq(store_iter_value(x), store_iter_value(y)));
        }
        assert_true(!store_iter_valid(x) && !store_iter_valid(y));
        store_iter_destroy(&x);
        store_iter_destroy(&y);
    }
    assert_int_equal(engine_position(a->engine), engine_position(b->engine));
}

static void owners__same_records__same_rows(void **state)
{
    struct fixture *one = *state, *other = NULL;
    static const struct {
        unsigned batch;
        size_t cache;
        bool faults;
    } ways[] = {{1, 1, false}, {100, 0, false}, {7, 2, false}, {1, 3, true}};
    own(one, 13, false);
    assert_store_clean(one);
    assert_true(rows_of(one, STORE_MESSAGE) > 300);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        assert_int_equal(fixture_setup((void **)&other), 0);
        engine_destroy(&other->engine);
        other->cache_conversations = ways[i].cache;
        fixture_start(other);
        own(other, ways[i].batch, ways[i].faults);
        assert_same_rows(one, other);
        assert_int_equal(fixture_teardown((void **)&other), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(owners__same_records__same_rows, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
