/* Command lines and addresses: what people type. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/args.h"
#include "cli/url.h"

static const struct args_option options[] = {
    {"json", NULL, "h"}, {"limit", "N", "h"}, {"home", "DIR", "h"}, {0}};

static void args__parse__options_anywhere(void **state)
{
    (void)state;
    struct args a;
    struct buffer why;
    buffer_init(&why, 512);
    char *argv[] = {(char *)"bob", (char *)"--json", (char *)"--limit=5", (char *)"hello", (char *)"--home",
                    (char *)"/x", (char *)"--", (char *)"--not-an-option", (char *)"-"};
    assert_true(args_parse(&a, options, 9, argv, &why));
    assert_int_equal(a.words_count, 4);
    assert_string_equal(a.words[2], "--not-an-option");
    assert_string_equal(a.words[3], "-");
    assert_non_null(args_get(&a, "json"));
    assert_string_equal(args_get(&a, "home"), "/x");
    uint64_t limit = 20;
    assert_true(args_u64(&a, "limit", 100, &limit, &why));
    assert_int_equal(limit, 5);
    assert_false(args_u64(&a, "limit", 4, &limit, &why));
    buffer_deinit(&why);
}

static void args__parse__mistakes_are_named(void **state)
{
    (void)state;
    struct args a;
    struct buffer why;
    buffer_init(&why, 512);
    char *unknown[] = {(char *)"--limt", (char *)"5"};
    assert_false(args_parse(&a, options, 2, unknown, &why));
    buffer_append_byte(&why, 0);
    assert_non_null(strstr((char *)why.data, "did you mean --limit"));
    buffer_clear(&why);
    char *missing[] = {(char *)"--limit"};
    assert_false(args_parse(&a, options, 1, missing, &why));
    char *extra[] = {(char *)"--json=yes"};
    assert_false(args_parse(&a, options, 1, extra, &why));
    buffer_deinit(&why);
}

static void args__nearest__only_when_near(void **state)
{
    (void)state;
    const char *names[] = {"send", "listen", "history", "contacts"};
    assert_string_equal(args_nearest("sned", names, 4), "send");
    assert_string_equal(args_nearest("lisen", names, 4), "listen");
    assert_string_equal(args_nearest("hist", names, 4), "history");
    assert_null(args_nearest("quit", names, 4));
    assert_null(args_nearest("a-name-that-is-much-too-long-for-any-command", names, 4));
}

struct address {
    const char *text, *host;
    bool tls;
    unsigned port;
};

static void url__parse__what_people_type(void **state)
{
    (void)state;
    static const struct address good[] = {
        {"http://localhost:8080", "localhost", false, 8080}, {"https://chat.example.org", "chat.example.org", true, 443},
        {"https://chat.example.org/", "chat.example.org", true, 443}, {"localhost:8080", "localhost", false, 8080},
        {"chat.example.org", "chat.example.org", true, 443}, {"http://[::1]:9", "::1", false, 9},
        {"127.0.0.1", "127.0.0.1", false, 80}, {"127.0.0.1.example.org", "127.0.0.1.example.org", true, 443}};
    static const char *const bad[] = {"", "http://", "ftp://x", "http://x:0", "http://x:99999", "http://x:y",
                                      "http://a b", "http://x/path", "http://user@x", "http://[::1", "http://x:80x"};
    struct buffer why;
    buffer_init(&why, 4096);
    struct url u;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(url_parse(good[i].text, &u, &why));
        assert_string_equal(u.host, good[i].host);
        assert_int_equal(u.tls, good[i].tls);
        assert_int_equal(u.port, good[i].port);
    }
    assert_int_equal(why.len, 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) assert_false(url_parse(bad[i], &u, &why));
    buffer_clear(&why);
    url_escape(&why, SLICE_LIT("a b&c/\xc3\xa4"));
    assert_true(slice_is(buffer_slice(&why), "a%20b%26c%2F%C3%A4"));
    buffer_deinit(&why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(args__parse__options_anywhere),
        cmocka_unit_test(args__parse__mistakes_are_named),
        cmocka_unit_test(args__nearest__only_when_near),
        cmocka_unit_test(url__parse__what_people_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
