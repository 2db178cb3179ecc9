/* What others may put on the terminal. */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/show.h"

enum { ANY = -1 };

static void check(const char *text, unsigned flags, const char *expected, int columns)
{
    struct buffer b;
    buffer_init(&b, 4096);
    size_t needed = show_append(&b, slice_str(text), flags);
    if (columns != ANY) assert_int_equal(needed, columns);
    buffer_append_byte(&b, 0);
    assert_string_equal((char *)b.data, expected);
    buffer_deinit(&b);
}

static void show__controls__are_escaped(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags <= SHOW_LINES; flags++) {
        check("a\x1b[2Jb", flags, "a\\x1b[2Jb", 9);
        check("\x1b]0;t\x07", flags, "\\x1b]0;t\\x07", 12);
        check("\r\b\x7f", flags, "\\x0d\\x08\\x7f", 12);
        check("\xc2\x9b" "31m\xc2\x85", flags, "\\xc2\\x9b31m\\xc2\\x85", 19);
        check("\x9b" "1m", flags, "\\x9b1m", 6);
    }
}

static void show__broken_utf8__is_escaped(void **state)
{
    (void)state;
    check("a\xff\xe2\x82", 0, "a\\xff\\xe2\\x82", 13);
    check("\xc0\x9b\xed\xa0\x80", SHOW_LINES, "\\xc0\\x9b\\xed\\xa0\\x80", 20);
}

static void show__lines__cannot_be_forged(void **state)
{
    (void)state;
    check("a\n2026 carol: b\tc", SHOW_LINES, "a\n    2026 carol: b\tc", ANY);
    check("a\nb\tc", 0, "a\\x0ab\\x09c", 11);
}

static void show__direction__stays_in_a_name(void **state)
{
    (void)state;
    check("x\xe2\x80\xaey", 0, "x\\xe2\\x80\\xaey", 14);
    check("x\xe2\x81\xa7y\xe2\x80\xa8", 0, "x\\xe2\\x81\\xa7y\\xe2\\x80\\xa8", 26);
    struct buffer b;
    buffer_init(&b, 64);
    (void)show_append(&b, SLICE_LIT("x\xe2\x81\xa6y"), SHOW_LINES);
    assert_true(slice_is(buffer_slice(&b), "x\xe2\x81\xa6y"));
    buffer_deinit(&b);
}

static void show__columns__as_a_terminal_counts(void **state)
{
    (void)state;
    if (!setlocale(LC_CTYPE, "C.UTF-8")) skip();
    check("J\xc3\xbcrgen", 0, "J\xc3\xbcrgen", 6);
    check("e\xcc\x81", 0, "e\xcc\x81", 1);                          /* combining */
    check("\xf0\x9f\x98\x80", 0, "\xf0\x9f\x98\x80", 2);         /* an emoji */
    check("\xd7\xa9\xd7\x9c", 0, "\xd7\xa9\xd7\x9c", 2);         /* right to left */
}

static void show__ascii__for_readers_without_utf8(void **state)
{
    (void)state;
    check("\xc3\x9b" "31m", SHOW_ASCII, "\\xc3\\x9b31m", 11); /* 0x9b alone would be a control */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(show__controls__are_escaped),
        cmocka_unit_test(show__broken_utf8__is_escaped),
        cmocka_unit_test(show__lines__cannot_be_forged),
        cmocka_unit_test(show__direction__stays_in_a_name),
        cmocka_unit_test(show__columns__as_a_terminal_counts),
        cmocka_unit_test(show__ascii__for_readers_without_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
