/* Log lines, metrics text and clocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/metrics.h"

#include <stdio.h>
#include <unistd.h>

struct capture {
    int fds[2];
    struct clock_manual clock;
    struct log *log;
    char text[65536];
};

static void capture_start(struct capture *c, bool json)
{
    assert_int_equal(pipe(c->fds), 0);
    clock_manual_init(&c->clock, 1767323045678); /* 2026-01-02T03:04:05.678Z */
    c->log = log_create(c->fds[1], LOG_INFO, json, &c->clock.source);
}

static const char *capture_end(struct capture *c)
{
    log_destroy(&c->log);
    close(c->fds[1]);
    size_t len = 0;
    ssize_t n;
    while ((n = read(c->fds[0], c->text + len, sizeof(c->text) - 1 - len)) > 0) len += (size_t)n;
    close(c->fds[0]);
    c->text[len] = 0;
    return c->text;
}

static void log__text__quotes_what_could_break_a_line(void **state)
{
    (void)state;
    static struct capture c;
    struct id id = {{0x12}};
    capture_start(&c, false);
    LOG(c.log, LOG_INFO, "gateway.accept", LOG_U("conn", 12), LOG_S("addr", "::1"), LOG_I("delta", -3));
    LOG(c.log, LOG_DEBUG, "gateway.quiet", LOG_U("conn", 12));
    LOG(c.log, LOG_ERROR, "x.y", LOG_S("a", "two words\n\"q\""), LOG_S("b", ""), LOG_S("c", "\xff"),
        LOG_ID("id", id));
    log_set_level(c.log, LOG_DEBUG);
    log_write(c.log, LOG_DEBUG, "bare", NULL, 0);
    LOG(NULL, LOG_ERROR, "nobody", LOG_U("conn", 1));
    assert_string_equal(capture_end(&c),
                        "2026-01-02T03:04:05.678Z info gateway.accept conn=12 addr=::1 delta=-3\n"
                        "2026-01-02T03:04:05.678Z error x.y a=\"two words\\u000a\\\"q\\\"\" b=\"\" c=\"\\u00ff\" "
                        "id=12000000-0000-0000-0000-000000000000\n"
                        "2026-01-02T03:04:05.678Z debug bare\n");
}

static void log__json__is_one_object_per_line(void **state)
{
    (void)state;
    static struct capture c;
    capture_start(&c, true);
    LOG(c.log, LOG_WARN, "store.open", LOG_S("path", "/a b"), LOG_U("n", UINT64_MAX),
        LOG_SLICE("s", SLICE_LIT("\xc3\xa9")));
    assert_string_equal(capture_end(&c),
                        "{\"ts\":\"2026-01-02T03:04:05.678Z\",\"level\":\"warn\",\"event\":\"store.open\","
                        "\"path\":\"/a b\",\"n\":18446744073709551615,\"s\":\"\xc3\xa9\"}\n");
}

static void log__long_value__is_cut_between_characters(void **state)
{
    (void)state;
    static struct capture c;
    char value[600];
    memset(value, 'v', 511);
    memcpy(value + 511, "\xe2\x82\xac tail", 9);
    capture_start(&c, true);
    LOG(c.log, LOG_WARN, "e", LOG_S("v", value));
    const char *text = capture_end(&c);
    const char *v = strstr(text, "vvv");
    assert_non_null(v);
    assert_int_equal(strspn(v, "v"), 511);
    assert_string_equal(v + 511, "\"}\n");
}

static void log__flood__is_limited_and_told(void **state)
{
    (void)state;
    static struct capture c;
    capture_start(&c, false);
    for (int i = 0; i < 100; i++) LOG(c.log, LOG_INFO, "flood", LOG_I("i", i));
    LOG(c.log, LOG_INFO, "other", LOG_I("i", 0));
    clock_manual_advance(&c.clock, 1000);
    LOG(c.log, LOG_INFO, "flood", LOG_I("i", 100));
    LOG(c.log, LOG_INFO, "flood", LOG_I("i", 101));
    const char *text = capture_end(&c);
    int lines = 0;
    for (const char *p = text; *p; p++) lines += *p == '\n';
    assert_int_equal(lines, LOG_BURST + 1 + 2);
    assert_non_null(strstr(text, "flood i=100 suppressed=80\n"));
    assert_non_null(strstr(text, "flood i=101\n"));
}

static void metrics__write__groups_families(void **state)
{
    (void)state;
    static const uint64_t bounds[] = {1000, 10000};
    struct metrics *m = metrics_create();
    struct counter *sent = metrics_counter(m, "sotto_messages_total", "stage=\"sent\"", "Messages.");
    struct gauge *open_now = metrics_gauge(m, "sotto_connections", "", "Open connections.");
    struct counter *read = metrics_counter(m, "sotto_messages_total", "stage=\"read\"", "ignored");
    struct histogram *h = metrics_histogram(m, "sotto_time_seconds", "op=\"x\"", "Time.", bounds, 2, 1e6);
    counter_add(sent, 3);
    counter_add(read, 1);
    gauge_set(open_now, 5);
    gauge_add(open_now, -7);
    histogram_observe(h, 0);
    histogram_observe(h, 1000);
    histogram_observe(h, 1001);
    histogram_observe(h, 5000000);
    struct buffer out;
    buffer_init(&out, 10000);
    metrics_write(m, &out);
    assert_true(slice_is(buffer_slice(&out),
                         "# HELP sotto_messages_total Messages.\n# TYPE sotto_messages_total counter\n"
                         "sotto_messages_total{stage=\"sent\"} 3\nsotto_messages_total{stage=\"read\"} 1\n"
                         "# HELP sotto_connections Open connections.\n# TYPE sotto_connections gauge\n"
                         "sotto_connections -2\n"
                         "# HELP sotto_time_seconds Time.\n# TYPE sotto_time_seconds histogram\n"
                         "sotto_time_seconds_bucket{op=\"x\",le=\"0.001\"} 2\n"
                         "sotto_time_seconds_bucket{op=\"x\",le=\"0.01\"} 3\n"
                         "sotto_time_seconds_bucket{op=\"x\",le=\"+Inf\"} 4\n"
                         "sotto_time_seconds_sum{op=\"x\"} 5.002001\nsotto_time_seconds_count{op=\"x\"} 4\n"));
    buffer_clear(&out);
    histogram_observe(metrics_latency(m, "sotto_latency_seconds", "", "Latency."), 50);
    metrics_write(m, &out);
    buffer_append_byte(&out, 0);
    assert_non_null(strstr((char *)out.data, "sotto_latency_seconds_bucket{le=\"5e-05\"} 1\n"));
    buffer_deinit(&out);
    metrics_destroy(&m);
    assert_null(m);
}

static void clock__system_and_manual__move_forward(void **state)
{
    (void)state;
    const struct clock_source *c = clock_system();
    uint64_t before = clock_monotonic_us(c);
    assert_true(clock_wall_ms(c) > 1600000000000);
    assert_true(clock_monotonic_us(c) >= before);
    struct clock_manual manual;
    clock_manual_init(&manual, 77);
    clock_manual_advance(&manual, 5);
    assert_int_equal(clock_wall_ms(&manual.source), 82);
    assert_int_equal(clock_monotonic_ms(&manual.source), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log__text__quotes_what_could_break_a_line),
        cmocka_unit_test(log__json__is_one_object_per_line),
        cmocka_unit_test(log__long_value__is_cut_between_characters),
        cmocka_unit_test(log__flood__is_limited_and_told),
        cmocka_unit_test(metrics__write__groups_families),
        cmocka_unit_test(clock__system_and_manual__move_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
