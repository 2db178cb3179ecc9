/* Cursors: golden texts, round trips, and texts that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "golden/golden.h"
#include "unit/wire/samples.h"
#include "wire/cursor.h"

static const struct cursor whole = {.epoch = 0xdeadbeef, .position = 300};

static struct cursor partial(void)
{
    return (struct cursor){.epoch = 1, .position = 5, .partial = true, .target = UINT64_MAX,
                           .conversation = sample_id(9), .sequence = UINT64_MAX};
}

static struct slice write(const struct cursor *c, struct buffer *text)
{
    buffer_clear(text);
    cursor_write(c, text);
    assert_false(text->overflow);
    return buffer_slice(text);
}

static void assert_same(const struct cursor *a, const struct cursor *b)
{
    assert_int_equal(a->epoch, b->epoch);
    assert_int_equal(a->position, b->position);
    assert_int_equal(a->partial, b->partial);
    assert_int_equal(a->target, b->target);
    assert_int_equal(a->sequence, b->sequence);
    assert_true(id_eq(a->conversation, b->conversation));
}

static void cursor__write__golden_texts(void **state)
{
    struct buffer text;
    struct cursor c = partial();
    (void)state;
    buffer_init(&text, CURSOR_TEXT_MAX);
    assert_true(golden_matches("cursor_v1", "whole", write(&whole, &text)));
    assert_true(golden_matches("cursor_v1", "partial", write(&c, &text)));
    buffer_deinit(&text);
}

static void cursor__parse__what_was_written(void **state)
{
    struct buffer text;
    struct cursor c = partial(), out;
    (void)state;
    buffer_init(&text, CURSOR_TEXT_MAX);
    assert_int_equal(cursor_parse(write(&whole, &text), &out), SOTTO_OK);
    assert_same(&whole, &out);
    assert_int_equal(cursor_parse(write(&c, &text), &out), SOTTO_OK);
    assert_same(&c, &out);
    c.target = c.position = c.sequence = 0;
    assert_int_equal(cursor_parse(write(&c, &text), &out), SOTTO_OK);
    assert_same(&c, &out);
    buffer_deinit(&text);
}

static void cursor__write__the_longest_fits(void **state)
{
    struct buffer text;
    struct cursor c = partial();
    (void)state;
    buffer_init(&text, CURSOR_TEXT_MAX);
    c.position = UINT64_MAX;
    assert_true(write(&c, &text).len <= CURSOR_TEXT_MAX);
    buffer_deinit(&text);
}

static void cursor__parse__no_cursor(void **state)
{
    struct buffer text;
    struct cursor c = partial(), out;
    (void)state;
    buffer_init(&text, 4 * CURSOR_TEXT_MAX);
    assert_int_equal(cursor_parse(slice_of(NULL, 0), &out), SOTTO_ERR_INVALID);
    assert_int_equal(cursor_parse(SLICE_LIT("not base64!"), &out), SOTTO_ERR_INVALID);
    assert_int_equal(cursor_parse(SLICE_LIT("AAAA"), &out), SOTTO_ERR_INVALID);
    write(&c, &text);
    for (size_t len = 0; len < text.len; len++)
        if (cursor_parse(slice_of(text.data, len), &out) == SOTTO_OK) assert_false(out.partial);
    buffer_append_str(&text, "AAAA");
    assert_int_equal(cursor_parse(buffer_slice(&text), &out), SOTTO_ERR_INVALID);
    while (text.len <= CURSOR_TEXT_MAX) buffer_append_byte(&text, 'A');
    assert_int_equal(cursor_parse(buffer_slice(&text), &out), SOTTO_ERR_INVALID);
    /* A target before the position is nothing that we wrote. */
    c.position = 10;
    c.target = 9;
    assert_int_equal(cursor_parse(write(&c, &text), &out), SOTTO_ERR_INVALID);
    buffer_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cursor__write__golden_texts),
        cmocka_unit_test(cursor__parse__what_was_written),
        cmocka_unit_test(cursor__write__the_longest_fits),
        cmocka_unit_test(cursor__parse__no_cursor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
