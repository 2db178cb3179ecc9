/* RocksDB with our options against the store in memory: the same batches, chosen at
 * random, must leave the same rows, also after the log was read again. The options are
 * not harmless: some are little used, and what they do together nobody else tests. */
#include "unit/store/folder.h"

#include "base/random.h"
#include "store/keys.h"
#include "store/store_memory.h"

enum { CONVERSATIONS = 5, COMMITS = 600, OPERATIONS_MAX = 12, VALUE_MAX = 200 };

struct model {
    struct folder folder;
    struct store *real, *plain;
    struct random_source random;
    uint64_t next[CONVERSATIONS], first[CONVERSATIONS];
};

static uint32_t below(struct model *m, uint32_t n) { return (uint32_t)(random_u64(&m->random) % n); }

static struct id conversation(uint32_t i)
{
    struct id id = {.bytes = {(uint8_t)(i + 1), 7}};
    return id;
}

struct both {
    struct store_batch *real, *plain;
};

static void put(struct both *b, enum store_family f, struct slice key, struct slice value)
{
    store_put(b->real, f, key, value);
    store_put(b->plain, f, key, value);
}

static void one_operation(struct model *m, struct both *b)
{
    uint8_t value[VALUE_MAX];
    uint32_t i = below(m, CONVERSATIONS);
    struct slice row = slice_of(value, below(m, VALUE_MAX));
    random_fill(&m->random, value, sizeof(value));
    struct key key = key_message(conversation(i), m->next[i]);
    switch (below(m, 10)) {
    case 0: { /* retention */
        m->first[i] += below(m, (uint32_t)(m->next[i] - m->first[i]) + 1);
        struct key from = key_conversation(conversation(i)), to = key_message(conversation(i), m->first[i]);
        store_delete_range(b->real, STORE_MESSAGE, key_slice(&from), key_slice(&to));
        store_delete_range(b->plain, STORE_MESSAGE, key_slice(&from), key_slice(&to));
        break;
    }
    case 1: /* a row that is there, or was, written again */
        if (m->next[i] == 1) break;
        key = key_message(conversation(i), 1 + below(m, (uint32_t)m->next[i] - 1));
        put(b, STORE_MESSAGE, key_slice(&key), row);
        break;
    case 2: {
        key = key_message(conversation(i), 1 + below(m, (uint32_t)m->next[i]));
        store_delete(b->real, STORE_MESSAGE, key_slice(&key));
        store_delete(b->plain, STORE_MESSAGE, key_slice(&key));
        break;
    }
    case 3: {
        key = key_member(conversation(below(m, CONVERSATIONS)), conversation(i));
        put(b, STORE_MEMBER, key_slice(&key), slice_of(NULL, 0));
        break;
    }
    case 4: { /* a state keeps its length, or gets longer (store.h) */
        struct slice state = slice_of(value, 64 + 8 * (m->next[i] / 64));
        key = key_conversation(conversation(i));
        put(b, STORE_CONVERSATION, key_slice(&key), state.len <= sizeof(value) ? state : slice_of(value, sizeof(value)));
        break;
    }
    default:
        m->next[i]++;
        put(b, STORE_MESSAGE, key_slice(&key), row);
    }
}

static void expect_same(struct model *m, enum store_family f)
{
    struct store_iter *a = store_iter_create(m->real, f), *b = store_iter_create(m->plain, f);
    struct buffer got;
    buffer_init(&got, 4096);
    store_iter_seek(a, slice_of(NULL, 0));
    store_iter_seek(b, slice_of(NULL, 0));
    for (; store_iter_valid(b); store_iter_next(a), store_iter_next(b)) {
        assert_true(store_iter_valid(a));
        assert_true(slice_eq(store_iter_key(a), store_iter_key(b)));
        assert_true(slice_eq(store_iter_value(a), store_iter_value(b)));
        assert_int_equal(store_get(m->real, f, store_iter_key(b), &got), SOTTO_OK);
        assert_true(slice_eq(buffer_slice(&got), store_iter_value(b)));
    }
    assert_false(store_iter_valid(a));
    assert_int_equal(store_iter_error(a), SOTTO_OK);
    store_iter_destroy(&a);
    store_iter_destroy(&b);
    buffer_deinit(&got);
}

static void expect_same_rows(struct model *m)
{
    expect_same(m, STORE_MESSAGE);
    expect_same(m, STORE_MEMBER);
    expect_same(m, STORE_CONVERSATION);
}

static void check_model(uint64_t seed)
{
    struct model m = {0};
    folder_make(&m.folder);
    m.real = must_open(m.folder.store);
    m.plain = store_memory_create(NULL, NULL);
    struct random_seeded seeded;
    random_seeded_init(&seeded, seed);
    m.random = seeded.source;
    for (int i = 0; i < CONVERSATIONS; i++) m.next[i] = m.first[i] = 1;
    for (int i = 0; i < COMMITS; i++) {
        struct both b = {store_batch_create(m.real), store_batch_create(m.plain)};
        for (uint32_t n = 1 + below(&m, OPERATIONS_MAX); n > 0; n--) one_operation(&m, &b);
        assert_int_equal(store_commit(m.real, b.real), SOTTO_OK);
        assert_int_equal(store_commit(m.plain, b.plain), SOTTO_OK);
        store_batch_destroy(&b.real);
        store_batch_destroy(&b.plain);
        if (below(&m, 20) == 0) expect_same_rows(&m);
        if (below(&m, 150) == 0) { /* from its log */
            store_close(&m.real);
            m.real = must_open(m.folder.store);
        }
        if (below(&m, 150) == 0) store_compact(m.real, STORE_MESSAGE);
    }
    expect_same_rows(&m);
    store_close(&m.real);
    store_close(&m.plain);
    folder_remove(&m.folder);
}

static void store__random_batches__leave_what_the_store_in_memory_has(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) check_model(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(store__random_batches__leave_what_the_store_in_memory_has)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
