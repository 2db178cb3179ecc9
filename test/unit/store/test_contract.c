/* What the port promises, held against both backends. */
#include "unit/store/folder.h"

#include "store/store_memory.h"

struct backend {
    struct folder folder;
    struct store *s;
};

static int make_memory(void **state)
{
    struct backend *b = sotto_zalloc(sizeof(*b));
    folder_make(&b->folder);
    b->s = store_memory_create(NULL, NULL);
    *state = b;
    return 0;
}

static int make_rocksdb(void **state)
{
    struct backend *b = sotto_zalloc(sizeof(*b));
    folder_make(&b->folder);
    b->s = must_open(b->folder.store);
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    struct backend *b = *state;
    store_close(&b->s);
    folder_remove(&b->folder);
    free(b);
    return 0;
}

static struct store *store_of(void **state) { return ((struct backend *)*state)->s; }

static void store__get__finds_what_was_put(void **state)
{
    struct store *s = store_of(state);
    struct buffer value;
    buffer_init(&value, 64);
    assert_int_equal(store_get(s, STORE_DEDUPE, SLICE_LIT("k"), &value), SOTTO_ERR_NOT_FOUND);
    struct store_batch *b = store_batch_create(s);
    store_put2(b, STORE_DEDUPE, SLICE_LIT("k"), SLICE_LIT("head "), SLICE_LIT("tail"));
    store_put(b, STORE_MEMBER, SLICE_LIT("k"), slice_of(NULL, 0));
    assert_int_equal(store_batch_count(b), 2);
    assert_int_equal(store_get(s, STORE_DEDUPE, SLICE_LIT("k"), &value), SOTTO_ERR_NOT_FOUND);
    assert_int_equal(store_commit(s, b), SOTTO_OK);
    assert_int_equal(store_get(s, STORE_DEDUPE, SLICE_LIT("k"), &value), SOTTO_OK);
    assert_true(slice_is(buffer_slice(&value), "head tail"));
    assert_int_equal(store_get(s, STORE_MEMBER, SLICE_LIT("k"), &value), SOTTO_OK);
    assert_int_equal(value.len, 0);
    assert_int_equal(store_get(s, STORE_MESSAGE, SLICE_LIT("k"), &value), SOTTO_ERR_NOT_FOUND);
    store_batch_destroy(&b);
    buffer_deinit(&value);
}

static void store__get__value_over_the_cap_is_corrupt(void **state)
{
    struct store *s = store_of(state);
    struct buffer value;
    buffer_init(&value, 4);
    put_one(s, "k", "longer than four");
    assert_int_equal(store_get(s, STORE_MESSAGE, SLICE_LIT("k"), &value), SOTTO_ERR_CORRUPT);
    buffer_deinit(&value);
}

static void store__batch__keeps_its_order(void **state)
{
    struct store *s = store_of(state);
    struct store_batch *b = store_batch_create(s);
    store_put(b, STORE_MESSAGE, SLICE_LIT("a"), SLICE_LIT("1"));
    store_delete(b, STORE_MESSAGE, SLICE_LIT("a"));
    store_put(b, STORE_MESSAGE, SLICE_LIT("b"), SLICE_LIT("1"));
    store_put(b, STORE_MESSAGE, SLICE_LIT("b"), SLICE_LIT("2"));
    store_put(b, STORE_MESSAGE, SLICE_LIT("d"), SLICE_LIT("1"));
    store_delete_range(b, STORE_MESSAGE, SLICE_LIT("c"), SLICE_LIT("e"));
    store_put(b, STORE_MESSAGE, SLICE_LIT("c"), SLICE_LIT("3"));
    assert_int_equal(store_commit(s, b), SOTTO_OK);
    assert_false(has_value(s, "a", "1"));
    assert_true(has_value(s, "b", "2"));
    assert_true(has_value(s, "c", "3"));
    assert_false(has_value(s, "d", "1"));
    store_batch_clear(b);
    assert_int_equal(store_batch_count(b), 0);
    store_put(b, STORE_MESSAGE, SLICE_LIT("e"), SLICE_LIT("4"));
    assert_int_equal(store_commit(s, b), SOTTO_OK);
    assert_true(has_value(s, "b", "2"));
    assert_true(has_value(s, "e", "4"));
    store_batch_destroy(&b);
}

static void expect_at(struct store_iter *it, const char *key)
{
    if (key == NULL) {
        assert_false(store_iter_valid(it));
        assert_int_equal(store_iter_error(it), SOTTO_OK);
    } else {
        assert_true(store_iter_valid(it));
        assert_true(slice_is(store_iter_key(it), key));
    }
}

static void store__iter__walks_in_key_order_both_ways(void **state)
{
    struct store *s = store_of(state);
    const char *const keys[] = {"b", "d", "bb", "a", "c"};
    for (size_t i = 0; i < 5; i++) put_one(s, keys[i], keys[i]);
    struct store_iter *it = store_iter_create(s, STORE_MESSAGE);
    store_iter_seek(it, slice_of("", 0));
    for (const char *const *k = (const char *const[]){"a", "b", "bb", "c", "d", NULL};; k++) {
        expect_at(it, *k);
        if (*k == NULL) break;
        assert_true(slice_is(store_iter_value(it), *k));
        store_iter_next(it);
    }
    store_iter_seek(it, SLICE_LIT("bc"));
    expect_at(it, "c");
    store_iter_prev(it);
    expect_at(it, "bb");
    store_iter_seek_last(it, SLICE_LIT("bc"));
    expect_at(it, "bb");
    store_iter_seek_last(it, SLICE_LIT("c"));
    expect_at(it, "c");
    store_iter_seek_last(it, SLICE_LIT("zzz"));
    expect_at(it, "d");
    store_iter_seek_last(it, SLICE_LIT("A"));
    expect_at(it, NULL);
    store_iter_seek(it, SLICE_LIT("a"));
    store_iter_prev(it);
    expect_at(it, NULL);
    store_iter_seek(it, SLICE_LIT("e"));
    expect_at(it, NULL);
    store_iter_destroy(&it);
    assert_null(it);
}

static void store__iter__sees_the_moment_it_was_made(void **state)
{
    struct store *s = store_of(state);
    put_one(s, "a", "old");
    put_one(s, "b", "old");
    struct store_iter *it = store_iter_create(s, STORE_MESSAGE);
    struct store_batch *b = store_batch_create(s);
    store_put(b, STORE_MESSAGE, SLICE_LIT("a"), SLICE_LIT("new"));
    store_delete(b, STORE_MESSAGE, SLICE_LIT("b"));
    store_put(b, STORE_MESSAGE, SLICE_LIT("c"), SLICE_LIT("new"));
    assert_int_equal(store_commit(s, b), SOTTO_OK);
    store_batch_destroy(&b);
    store_iter_seek(it, slice_of("", 0));
    assert_true(slice_is(store_iter_value(it), "old"));
    store_iter_next(it);
    expect_at(it, "b");
    store_iter_next(it);
    expect_at(it, NULL);
    store_iter_destroy(&it);
    assert_true(has_value(s, "a", "new"));
    store_compact(s, STORE_MESSAGE);
    assert_true(has_value(s, "c", "new"));
}

#define ON(make, test) {#test " (" #make ")", test, make, tear_down, NULL}
#define ON_BOTH(test) ON(make_memory, test), ON(make_rocksdb, test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(store__get__finds_what_was_put),
        ON_BOTH(store__get__value_over_the_cap_is_corrupt),
        ON_BOTH(store__batch__keeps_its_order),
        ON_BOTH(store__iter__walks_in_key_order_both_ways),
        ON_BOTH(store__iter__sees_the_moment_it_was_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
