/* Sizes, durations, rates and suggestions: what is read, what is refused, and
 * that what is written is read back as the same value. */
#include "server/suggest.h"
#include "server/values.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct scratch {
    struct buffer why;
    char text[512];
};
static struct scratch scratch;

static const char *why(void)
{
    size_t n = scratch.why.len < sizeof(scratch.text) - 1 ? scratch.why.len : sizeof(scratch.text) - 1;
    memcpy(scratch.text, scratch.why.data, n);
    scratch.text[n] = '\0';
    return scratch.text;
}

static int set_up(void **state)
{
    (void)state;
    buffer_init(&scratch.why, 4096);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buffer_deinit(&scratch.why);
    return 0;
}

static void values__bytes__units(void **state)
{
    (void)state;
    static const struct { const char *text; uint64_t value; } good[] = {
        {"0", 0}, {"4096B", 4096}, {"64KiB", 65536}, {"64k", 65536}, {"64 KiB", 65536}, {"1MiB", 1 << 20},
        {"2GB", 2ull << 30}, {"1T", 1ull << 40}, {"17", 17},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        uint64_t v = 99;
        assert_int_equal(value_parse_bytes(slice_str(good[i].text), 0, UINT64_MAX, &scratch.why, &v), SOTTO_OK);
        assert_int_equal(v, good[i].value);
    }
}

static void values__bytes__mistakes(void **state)
{
    (void)state;
    static const struct { const char *text, *says; } bad[] = {
        {"", "is not a number with a unit"}, {"MiB", "is not a number with a unit"}, {"12XB", "\"XB\" is not a unit"},
        {"-1", "is not a number"}, {"99999999999999999999", "is not a number"}, {"99999999999TiB", "is too large"},
        {"1KiB", "1KiB is not between 4KiB and 1MiB"}, {"2MiB", "2MiB is not between"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint64_t v = 99;
        buffer_clear(&scratch.why);
        assert_int_equal(value_parse_bytes(slice_str(bad[i].text), 4096, 1 << 20, &scratch.why, &v), SOTTO_ERR_INVALID);
        assert_int_equal(v, 99);
        assert_non_null(strstr(why(), bad[i].says));
    }
}

static void values__duration__units(void **state)
{
    (void)state;
    static const struct { const char *text; uint64_t ms; } good[] = {
        {"0", 0}, {"250ms", 250}, {"10s", 10000}, {"5m", 300000}, {"5 min", 300000}, {"2h", 7200000}, {"7d", 604800000},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        uint64_t v = 99;
        assert_int_equal(value_parse_duration(slice_str(good[i].text), 0, UINT64_MAX, &scratch.why, &v), SOTTO_OK);
        assert_int_equal(v, good[i].ms);
    }
    uint64_t v = 99;
    assert_int_equal(value_parse_duration(SLICE_LIT("10"), 0, UINT64_MAX, &scratch.why, &v), SOTTO_ERR_INVALID);
    assert_non_null(strstr(why(), "has no unit"));
    assert_int_equal(v, 99);
}

static void values__rate__forms(void **state)
{
    (void)state;
    static const struct { const char *text; double per_second, burst; } good[] = {
        {"off", 0, 0}, {"20/s burst 100", 20, 100}, {"20/s", 20, 20}, {"30/m", 0.5, 1}, {"0.5/s burst 3", 0.5, 3},
        {"36/h burst 5", 0.01, 5},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct rate r = {-1, -1};
        assert_int_equal(value_parse_rate(slice_str(good[i].text), &scratch.why, &r), SOTTO_OK);
        assert_true(r.per_second > good[i].per_second - 1e-9 && r.per_second < good[i].per_second + 1e-9);
        assert_true(r.burst > good[i].burst - 1e-9 && r.burst < good[i].burst + 1e-9);
    }
    static const char *const bad[] = {"", "20", "/s", "20/x", "20/s burst", "20/s burst 0", "0/s", "20/s boost 3",
                                      "20/s burst 3x", "-1/s"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct rate r = {-1, -1};
        buffer_clear(&scratch.why);
        assert_int_equal(value_parse_rate(slice_str(bad[i]), &scratch.why, &r), SOTTO_ERR_INVALID);
        assert_true(r.per_second < 0);
        assert_non_null(strstr(why(), "is not a rate"));
    }
}

static void values__number__range(void **state)
{
    (void)state;
    uint64_t v = 99;
    assert_int_equal(value_parse_number(SLICE_LIT("8080"), 0, 65535, &scratch.why, &v), SOTTO_OK);
    assert_int_equal(v, 8080);
    assert_int_equal(value_parse_number(SLICE_LIT("65536"), 0, 65535, &scratch.why, &v), SOTTO_ERR_INVALID);
    assert_non_null(strstr(why(), "65536 is not between 0 and 65535"));
    assert_int_equal(value_parse_number(SLICE_LIT("80 80"), 0, 65535, &scratch.why, &v), SOTTO_ERR_INVALID);
    assert_int_equal(v, 8080);
}

/* What is written is what is read. */
static void values__formats__read_back(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {0, 1, 999, 1000, 1024, 1500, 60000, 65536, 90000, 3600000, 86400000, 1ull << 41};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct buffer out;
        uint64_t v = 99;
        buffer_init(&out, 64);
        value_format_bytes(numbers[i], &out);
        assert_int_equal(value_parse_bytes(buffer_slice(&out), 0, UINT64_MAX, &scratch.why, &v), SOTTO_OK);
        assert_int_equal(v, numbers[i]);
        buffer_clear(&out);
        value_format_duration(numbers[i], &out);
        assert_int_equal(value_parse_duration(buffer_slice(&out), 0, UINT64_MAX, &scratch.why, &v), SOTTO_OK);
        assert_int_equal(v, numbers[i]);
        buffer_deinit(&out);
    }
    static const struct rate rates[] = {{0, 0}, {20, 100}, {0.5, 5}, {1.0 / 60, 1}, {0.01, 3}, {1000, 1000},
                                        {100.0 / 60, 100.0 / 60}, {70.0 / 60, 3}, {1000.0 / 3600, 1}, {100.0 / 3600, 2.5},
                                        {1e10, 1e10}, {0.001 / 3600, 1}};
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        struct buffer out;
        struct rate r = {-1, -1};
        buffer_init(&out, 64);
        value_format_rate(rates[i], &out);
        assert_int_equal(value_parse_rate(buffer_slice(&out), &scratch.why, &r), SOTTO_OK);
        double near = rates[i].per_second * 1e-9;
        assert_true(r.per_second >= rates[i].per_second - near && r.per_second <= rates[i].per_second + near);
        assert_true(r.burst >= rates[i].burst * 0.999999 && r.burst <= rates[i].burst * 1.000001);
        buffer_deinit(&out);
    }
}

static void values__ranges__read_and_written(void **state)
{
    (void)state;
    static const struct { const char *text, *written; } good[] = {
        {"", ""},
        {"127.0.0.1", "127.0.0.1"},
        {" 127.0.0.1 , ::1", "127.0.0.1, ::1"},
        {"10.1.2.3/8,fd12::5/8", "10.0.0.0/8, fd00::/8"},
        {"0.0.0.0/0,::/0", "0.0.0.0/0, ::/0"},
        {"192.0.2.77/25", "192.0.2.0/25"},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct address_ranges r = {.count = 99};
        struct buffer out;
        buffer_init(&out, 256);
        assert_int_equal(value_parse_ranges(slice_str(good[i].text), &scratch.why, &r), SOTTO_OK);
        value_format_ranges(&r, &out);
        assert_int_equal(out.len, strlen(good[i].written));
        assert_memory_equal(out.data, good[i].written, out.len);
        buffer_deinit(&out);
    }
    static const char *const bad[] = {
        ",", "127.0.0.1,,::1", "127.0.0.1/33", "::1/129", "127.0.0.1/", "127.0.0.1/8x", "127.0.0.1/-1", "localhost",
        "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "1234567890123456789012345678901234567890123456789",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct address_ranges r = {.count = 99};
        buffer_clear(&scratch.why);
        assert_int_equal(value_parse_ranges(slice_str(bad[i]), &scratch.why, &r), SOTTO_ERR_INVALID);
        assert_non_null(strstr(why(), "neither an address nor a network"));
        assert_int_equal(r.count, 99);
    }
    static const char many[] = "::1,::2,::3,::4,::5,::6,::7,::8,::9,::a,::b,::c,::d,::e,::f,::10,::11";
    struct address_ranges r;
    buffer_clear(&scratch.why);
    assert_int_equal(value_parse_ranges(slice_str(many), &scratch.why, &r), SOTTO_ERR_INVALID);
    assert_string_equal(why(), "there are more than 16");
}

static void suggest__near_names(void **state)
{
    (void)state;
    static const char *const names[] = {"port", "listen", "data-dir", "registration", "log-level"};
    static const struct { const char *typed, *meant; } cases[] = {
        {"prot", "port"}, {"lisen", "listen"}, {"datadir", "data-dir"}, {"data_dir", "data-dir"},
        {"registartion", "registration"}, {"regist", "registration"}, {"loglevel", "log-level"},
        {"xyz", NULL}, {"", NULL}, {"q", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct suggestion s = {cases[i].typed, NULL, 0};
        for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) suggestion_consider(&s, names[n]);
        if (cases[i].meant == NULL) assert_null(s.best);
        else assert_string_equal(s.best != NULL ? s.best : "nothing", cases[i].meant);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values__bytes__units, set_up, tear_down),
        cmocka_unit_test_setup_teardown(values__bytes__mistakes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(values__duration__units, set_up, tear_down),
        cmocka_unit_test_setup_teardown(values__rate__forms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(values__number__range, set_up, tear_down),
        cmocka_unit_test_setup_teardown(values__formats__read_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(values__ranges__read_and_written, set_up, tear_down),
        cmocka_unit_test(suggest__near_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
