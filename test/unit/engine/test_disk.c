/* The engine on the store that is on disk: what it removes, and when the disk is full. */
#include "store/keys.h"
#include "unit/engine/fixture.h"
#include "unit/store/folder.h"

enum { DAY_MS = 24 * 3600 * 1000 };

struct disk {
    struct fixture *f;
    struct folder folder;
};

static void close_all(struct disk *d)
{
    engine_destroy(&d->f->engine);
    fixture_forget_events(d->f);
    store_close(&d->f->store);
}

static void open_all(struct disk *d, uint64_t reserve_bytes)
{
    struct store_rocksdb_options options = {
        .directory = d->folder.store, .write_buffer_bytes = 1 << 20, .reserve_bytes = reserve_bytes};
    struct buffer why;
    buffer_init(&why, 4096);
    assert_int_equal(store_rocksdb_open(&options, &why, &d->f->store), SOTTO_OK);
    buffer_deinit(&why);
    fixture_start(d->f);
}

static int set_up(void **state)
{
    struct disk *d = sotto_zalloc(sizeof(*d));
    void *f = NULL;
    if (fixture_setup(&f) != 0) return -1;
    d->f = f;
    folder_make(&d->folder);
    close_all(d); /* that in memory */
    open_all(d, 0);
    *state = d;
    return 0;
}

static int tear_down(void **state)
{
    struct disk *d = *state;
    void *f = d->f;
    int result = fixture_teardown(&f);
    folder_remove(&d->folder);
    free(d);
    return result;
}

static void disk__full__what_expires_and_what_is_outdated_goes(void **state)
{
    struct disk *d = *state;
    struct fixture *f = d->f;
    (void)send(f, 1, 3, "old");
    clock_manual_advance(&f->clock, 11ull * DAY_MS);
    struct record r = message_to(f, 1, 2, "k1", "x");
    r.message.expires_ms = f->clock.wall_ms + 1;
    assert_int_equal(ask(f, &r).sequence, 1);
    close_all(d);
    f->retention_days = 10;
    open_all(d, UINT64_MAX / 2);
    clock_manual_advance(&f->clock, 1);
    (void)engine_housekeep(f->engine);
    assert_int_equal(rows_of(f, STORE_EXPIRY), 0);
    assert_int_equal(rows_of(f, STORE_MESSAGE), 1);
    assert_int_equal(f->events_count, 1);
    assert_int_equal(f->events[0]->kind, EVENT_EXPIRED);
    r = message_to(f, 1, 2, "k2", "x");
    assert_int_equal(ask(f, &r).problem, PROBLEM_STORAGE_FULL);
    assert_store_clean(f);
}

static void wait_for_compaction(struct fixture *f)
{
    for (int tries = 0; store_compacting(f->store, STORE_MESSAGE) && tries < PATIENCE; tries++) usleep(PAUSE_US);
    assert_false(store_compacting(f->store, STORE_MESSAGE));
}

static void send_until(struct fixture *f, const char *key, const char *payload, uint64_t expires_ms)
{
    struct record r = message_to(f, 1, 2, key, payload);
    r.message.expires_ms = expires_ms;
    assert_int_equal(ask(f, &r).problem, PROBLEM_NONE);
}

/* What expires when the store was compacted lately leaves it later, by another engine
 * if this one does not live to see it. */
static void disk__expired__leaves_it_after_a_start_too(void **state)
{
    static const char secret[] = "a secret, 4711-0815-qwertz";
    struct disk *d = *state;
    struct fixture *f = d->f;
    struct buffer value;
    buffer_init(&value, 64);
    send_until(f, "k1", "another", START_MS + 1);
    send_until(f, "k2", secret, START_MS + 1000);
    close_all(d); /* what follows is in other files */
    open_all(d, 0);
    clock_manual_advance(&f->clock, 1);
    (void)engine_housekeep(f->engine);
    wait_for_compaction(f);
    clock_manual_advance(&f->clock, 1000);
    (void)engine_housekeep(f->engine);
    assert_int_equal(rows_of(f, STORE_EXPIRY), 0);
    assert_false(store_compacting(f->store, STORE_MESSAGE));
    close_all(d);
    open_all(d, 0);
    assert_true(folder_contains(d->folder.store, secret));
    (void)engine_housekeep(f->engine);
    bool there = true;
    for (int tries = 0; there && tries < PATIENCE; tries++) {
        usleep(PAUSE_US);
        there = folder_contains(d->folder.store, secret);
    }
    assert_false(there);
    /* And is not asked for once more. */
    wait_for_compaction(f);
    assert_int_equal(store_get(f->store, STORE_META, SLICE_LIT("erased"), &value), SOTTO_OK);
    (void)engine_housekeep(f->engine);
    assert_int_equal(store_get(f->store, STORE_META, SLICE_LIT("erased"), &value), SOTTO_ERR_NOT_FOUND);
    assert_store_clean(f);
    buffer_deinit(&value);
}

/* A block of the times that cannot be read takes only those in it along. */
static void disk__damaged_block__keeps_only_what_is_in_it(void **state)
{
    enum { SENT = 3000, BLOCK = 600 /* at most so many lie in one */ };
    static struct applied answers[SENT];
    struct disk *d = *state;
    struct fixture *f = d->f;
    for (unsigned i = 0; i < SENT; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%u", i);
        struct record r = message_to(f, 1, 2, key, "x");
        r.message.expires_ms = START_MS + 1 + i;
        submit(f, &r);
    }
    turn(f);
    assert_int_equal(take_answers(f, answers, SENT), SENT);
    close_all(d);
    open_all(d, 0); /* writes tables */
    close_all(d);
    bool damaged = false;
    char table[PATH_MAX];
    size_t at;
    for (unsigned i = SENT / 2; !damaged && i < SENT; i++) { /* few keys are written whole */
        struct key key = key_expiry(START_MS + 1 + i, id_direct_conversation(user_id(1), user_id(2)), i + 1);
        damaged = find_bytes(d->folder.store, ".sst", key_slice(&key), table, &at);
        if (damaged) damage(table, at + key.len, 4);
    }
    assert_true(damaged);
    open_all(d, 0);
    clock_manual_advance(&f->clock, SENT);
    unsigned pieces = 0;
    while (engine_housekeep(f->engine)) assert_true(++pieces < 2 * SENT / 512);
    assert_in_range(f->events_count, SENT - BLOCK, SENT - 1);
    clock_manual_advance(&f->clock, 1);
    assert_false(engine_housekeep(f->engine));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(disk__full__what_expires_and_what_is_outdated_goes),
        TEST(disk__damaged_block__keeps_only_what_is_in_it),
        TEST(disk__expired__leaves_it_after_a_start_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
