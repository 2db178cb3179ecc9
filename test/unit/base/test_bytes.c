/* Buffers, arenas, binary readers and writers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/random.h"

#include <stdio.h>

static void buffer__append__grows_to_the_cap_and_no_further(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b, 1000);
    assert_null(b.data);
    for (int i = 0; i < 1000; i++) buffer_append_byte(&b, (uint8_t)i);
    assert_int_equal(b.len, 1000);
    assert_int_equal(b.size, 1000);
    assert_false(b.overflow);
    buffer_append_byte(&b, 1);
    assert_true(b.overflow);
    assert_int_equal(b.len, 1000);
    for (int i = 0; i < 1000; i++) assert_int_equal(b.data[i], (uint8_t)i);
    buffer_clear(&b);
    assert_false(b.overflow);
    assert_int_equal(b.size, 1000);
    buffer_deinit(&b);
    assert_null(b.data);
    assert_int_equal(b.max, 1000);
}

static void buffer__append__drops_everything_after_an_overflow(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b, 4);
    buffer_append_str(&b, "abc");
    buffer_append_str(&b, "de");
    buffer_append_str(&b, "f");
    assert_true(slice_is(buffer_slice(&b), "abc"));
    assert_true(b.overflow);
    buffer_deinit(&b);
}

static void buffer__append_number__writes_decimal(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b, 1000);
    buffer_append_u64(&b, 0);
    buffer_append_byte(&b, ' ');
    buffer_append_u64(&b, UINT64_MAX);
    buffer_append_byte(&b, ' ');
    buffer_append_i64(&b, INT64_MIN);
    buffer_append_byte(&b, ' ');
    buffer_append_i64(&b, -7);
    buffer_append_byte(&b, ' ');
    buffer_append_i64(&b, 42);
    assert_true(slice_is(buffer_slice(&b), "0 18446744073709551615 -9223372036854775808 -7 42"));
    buffer_deinit(&b);
}

static void buffer__append_u64__agrees_with_printf(void **state)
{
    (void)state;
    struct random_seeded random;
    random_seeded_init(&random, 9);
    for (int i = 0; i < 100000; i++) {
        uint64_t v = i < 10001 ? (uint64_t)i : random_u64(&random.source) >> i % 64;
        uint64_t power = 1;
        for (int n = 0; i > 99900 && n < i % 20; n++) power *= 10;
        if (i > 99900) v = power - (i / 20 % 2 != 0); /* around each power of ten */
        char expected[24];
        int len = snprintf(expected, sizeof(expected), "%llu", (unsigned long long)v);
        uint8_t text[20];
        struct buffer b;
        buffer_init_fixed(&b, text, (size_t)len);
        buffer_append_u64(&b, v);
        assert_int_equal(b.len, len);
        assert_memory_equal(text, expected, (size_t)len);
    }
}

static void buffer__reserve__gives_room_for_all_that_the_cap_allows(void **state)
{
    (void)state;
    uint8_t memory[4];
    struct buffer b;
    buffer_init_fixed(&b, memory, sizeof(memory));
    assert_ptr_equal(buffer_reserve(&b, 3), memory);
    assert_ptr_equal(buffer_reserve(&b, 4), memory);
    b.len = 4;
    assert_ptr_equal(buffer_reserve(&b, 0), memory + 4);
    assert_null(buffer_reserve(&b, 1));
    assert_true(b.overflow);
    assert_null(buffer_reserve(&b, 0));
    buffer_init(&b, 10);
    assert_non_null(buffer_reserve(&b, 0));
    buffer_deinit(&b);
}

static void bytes16__first__finds_the_first_of_any(void **state)
{
    (void)state;
    uint8_t bytes[16] = {0};
    assert_int_equal(bytes16_first(bytes16_load(bytes)), 16);
    for (size_t at = 0; at < 16; at++)
        for (unsigned v = 1; v < 256; v++) {
            memset(bytes, 0, sizeof(bytes));
            bytes[at] = (uint8_t)v;
            assert_int_equal(bytes16_first(bytes16_load(bytes)), at);
            memset(bytes + at, (int)v, sizeof(bytes) - at);
            assert_int_equal(bytes16_first(bytes16_load(bytes)), at);
        }
    bytes16_store(bytes, bytes16_of(0x0102030405060708, 0x090a0b0c0d0e0f10));
    for (size_t i = 0; i < 16; i++) assert_int_equal(bytes[i], i + 1);
    assert_true(load_be64(bytes) == 0x0102030405060708);
    store_be64(bytes, 0xf1f2f3f4f5f6f7f8);
    for (size_t i = 0; i < 8; i++) assert_int_equal(bytes[i], 0xf1 + i);
}

static void buffer__printf__takes_short_and_long_texts(void **state)
{
    (void)state;
    char wide[600];
    memset(wide, 'x', sizeof(wide) - 1);
    wide[sizeof(wide) - 1] = 0;
    struct buffer b;
    buffer_init(&b, 2000);
    buffer_printf(&b, "%d-%s-", 5, "a");
    buffer_printf(&b, "%s", wide);
    assert_int_equal(b.len, 4 + 599);
    assert_memory_equal(b.data, "5-a-xxx", 7);
    assert_int_equal(b.data[b.len - 1], 'x');
    buffer_deinit(&b);
}

static void buffer__consume__moves_the_rest_down(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b, 100);
    buffer_append_str(&b, "hello world");
    buffer_consume(&b, 6);
    assert_true(slice_is(buffer_slice(&b), "world"));
    buffer_shrink(&b, 200); /* no less than it has */
    assert_int_equal(b.size, 100);
    buffer_shrink(&b, 6);
    assert_int_equal(b.size, 6);
    assert_true(slice_is(buffer_slice(&b), "world"));
    buffer_consume(&b, 0);
    buffer_consume(&b, 5);
    assert_int_equal(b.len, 0);
    buffer_deinit(&b);
}

static void bytes__round_trip__gives_the_same_values(void **state)
{
    (void)state;
    static const uint64_t values[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, 1ull << 63, UINT64_MAX};
    struct buffer b;
    buffer_init(&b, 1000);
    write_u8(&b, 0xab);
    write_u16(&b, 0x0102);
    write_u32(&b, 0x01020304);
    write_u64(&b, 0x0102030405060708);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) write_varint(&b, values[i]);
    write_block(&b, SLICE_LIT("block"));
    buffer_append_str(&b, "tail");

    assert_int_equal(b.data[1], 1);
    assert_int_equal(b.data[2], 2);
    struct reader r = reader_of(buffer_slice(&b));
    assert_int_equal(read_u8(&r), 0xab);
    assert_int_equal(read_u16(&r), 0x0102);
    assert_int_equal(read_u32(&r), 0x01020304);
    assert_true(read_u64(&r) == 0x0102030405060708);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) assert_true(read_varint(&r) == values[i]);
    assert_true(slice_is(read_block(&r, 5), "block"));
    char tail[4];
    assert_false(reader_done(&r));
    read_copy(&r, tail, 4);
    assert_memory_equal(tail, "tail", 4);
    assert_true(reader_done(&r));
    buffer_deinit(&b);
}

static void bytes__read__stays_failed_past_the_end(void **state)
{
    (void)state;
    struct reader r = reader_of(SLICE_LIT("\x01\x02\x03"));
    assert_int_equal(read_u32(&r), 0);
    assert_true(r.failed);
    assert_int_equal(read_u8(&r), 0);
    char out[2] = "x";
    read_copy(&r, out, 2);
    assert_int_equal(out[0], 0);
    assert_false(reader_done(&r));
    struct reader empty = reader_of(slice_of(NULL, 0));
    assert_true(reader_done(&empty));
    assert_int_equal(read_bytes(&empty, 0).len, 0);
    assert_true(reader_done(&empty));
}

static void bytes__read_varint__refuses_long_forms(void **state)
{
    (void)state;
    static const struct slice bad[] = {
        {(const uint8_t *)"\x80\x00", 2},
        {(const uint8_t *)"\xff\x80\x00", 3},
        {(const uint8_t *)"\x80", 1},
        {(const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10},
        {(const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x00", 11},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct reader r = reader_of(bad[i]);
        assert_true(read_varint(&r) == 0);
        assert_true(r.failed);
    }
    struct reader r = reader_of(SLICE_LIT("\x06" "abcdef"));
    assert_int_equal(read_block(&r, 5).len, 0);
    assert_true(r.failed);
}

static void arena__alloc__aligns_and_uses_the_first_block(void **state)
{
    (void)state;
    _Alignas(16) char first[256];
    struct arena a;
    arena_init(&a, first + 1, sizeof(first) - 1, 4096);
    uint8_t *p = arena_alloc(&a, 10);
    uint8_t *q = arena_zalloc(&a, 100);
    assert_true((uint8_t *)first < p && q < (uint8_t *)first + sizeof(first));
    assert_int_equal((uintptr_t)p % 16, 0);
    assert_int_equal((uintptr_t)q % 16, 0);
    for (int i = 0; i < 100; i++) assert_int_equal(q[i], 0);
    assert_int_equal(a.used, 0);
    assert_non_null(arena_alloc(&a, 200));
    assert_true(a.used > 0);
    arena_deinit(&a);
}

static void arena__alloc__returns_null_past_the_cap(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, NULL, 0, 3000);
    size_t got = 0;
    uint8_t *p;
    while ((p = arena_alloc(&a, 100)) != NULL) {
        memset(p, 1, 100);
        got += 100;
    }
    assert_in_range(got, 2000, 3000);
    assert_null(arena_alloc(&a, 4000));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_copy(&a, slice_of(NULL, SIZE_MAX)).data);
    assert_true(a.used <= 3000);
    arena_deinit(&a);
}

static void arena__copy__ends_with_a_nul(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, NULL, 0, 3000);
    struct slice s = arena_copy(&a, SLICE_LIT("text"));
    assert_int_equal(s.len, 4);
    assert_string_equal((const char *)s.data, "text");
    s = arena_copy(&a, slice_of(NULL, 0));
    assert_int_equal(s.len, 0);
    assert_string_equal((const char *)s.data, "");
    arena_deinit(&a);
}

static void error__name__knows_every_value(void **state)
{
    (void)state;
    for (int i = 0; i < SOTTO_ERR_COUNT; i++) assert_string_not_equal(sotto_err_name((enum sotto_err)i), "unknown");
    assert_string_equal(sotto_err_name(SOTTO_ERR_NOT_FOUND), "not_found");
    assert_string_equal(sotto_err_name((enum sotto_err)1000), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffer__append__grows_to_the_cap_and_no_further),
        cmocka_unit_test(buffer__append__drops_everything_after_an_overflow),
        cmocka_unit_test(buffer__append_number__writes_decimal),
        cmocka_unit_test(buffer__append_u64__agrees_with_printf),
        cmocka_unit_test(buffer__reserve__gives_room_for_all_that_the_cap_allows),
        cmocka_unit_test(bytes16__first__finds_the_first_of_any),
        cmocka_unit_test(buffer__printf__takes_short_and_long_texts),
        cmocka_unit_test(buffer__consume__moves_the_rest_down),
        cmocka_unit_test(bytes__round_trip__gives_the_same_values),
        cmocka_unit_test(bytes__read__stays_failed_past_the_end),
        cmocka_unit_test(bytes__read_varint__refuses_long_forms),
        cmocka_unit_test(arena__alloc__aligns_and_uses_the_first_block),
        cmocka_unit_test(arena__alloc__returns_null_past_the_cap),
        cmocka_unit_test(arena__copy__ends_with_a_nul),
        cmocka_unit_test(error__name__knows_every_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
