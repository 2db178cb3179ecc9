/* HTTP messages: what is accepted, what is refused, and that cuts do not matter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "net/http.h"

#include <stdio.h>
#include <stdlib.h>

#define HOST "Host: a\r\n"

/* What came out of a run of bytes, as text that can be compared. */
struct outcome {
    struct buffer text;
    size_t used; /* up to the first complete message */
    enum http_result result;
    unsigned status;
};

static void describe(struct buffer *out, const struct http_message *m)
{
    buffer_printf(out, "%d %u [", (int)m->method, m->status);
    buffer_append_slice(out, m->path);
    buffer_append_str(out, "][");
    buffer_append_slice(out, m->query);
    buffer_printf(out, "] %d%d%d", m->keep_alive, m->upgrade, m->expect_continue);
    for (size_t i = 0; i < m->headers_count; i++) {
        buffer_append_str(out, " ");
        buffer_append_slice(out, m->headers[i].name);
        buffer_append_str(out, "=");
        buffer_append_slice(out, m->headers[i].value);
    }
    buffer_append_str(out, " {");
    buffer_append_slice(out, m->body);
    buffer_append_str(out, "}\n");
}

/* Parses everything, `step` bytes at a time. */
static struct outcome parse(struct slice in, size_t step, bool response)
{
    struct outcome o = {.result = HTTP_MORE};
    struct http_parser *p = http_parser_create(response);
    buffer_init(&o.text, 16 << 20);
    assert_true(http_parser_idle(p));
    size_t at = 0;
    bool more = true;
    while (more) {
        size_t len = in.len - at < step ? in.len - at : step;
        /* A copy of its own, so that a sanitizer sees reads past the piece. */
        uint8_t *piece = malloc(len + 1);
        memcpy(piece, in.data + at, len);
        size_t used = 12345;
        const struct http_message *m = NULL;
        enum http_result result = http_parser_feed(p, slice_of(piece, len), &used, &m, &o.status);
        assert_true(used <= len);
        at += used;
        if (result == HTTP_COMPLETE || result == HTTP_HEAD) {
            describe(&o.text, m);
            if (result == HTTP_COMPLETE) assert_true(http_parser_idle(p));
            if (o.result != HTTP_COMPLETE) o.used = at;
            o.result = result;
        } else {
            if (result == HTTP_MORE) assert_int_equal(used, len);
            if (result == HTTP_BAD) o.result = result;
        }
        more = result != HTTP_BAD && (result != HTTP_MORE || at < in.len);
        free(piece);
    }
    http_parser_destroy(&p);
    assert_null(p);
    buffer_append_byte(&o.text, 0);
    return o;
}

static void check_cuts(struct slice in, bool response, const struct outcome *whole)
{
    static const size_t steps[] = {1, 2, 3, 5, 7, 16, 61, 1000};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (in.len > 20000 && steps[i] < 16) continue;
        struct outcome o = parse(in, steps[i], response);
        assert_int_equal(o.result, whole->result);
        if (o.result == HTTP_BAD) assert_int_equal(o.status, whole->status);
        assert_string_equal((char *)o.text.data, (char *)whole->text.data);
        buffer_deinit(&o.text);
    }
}

static void expect_messages(const char *in, const char *text)
{
    struct outcome o = parse(slice_str(in), SIZE_MAX, false);
    if (o.result == HTTP_BAD) fail_msg("%s: refused with %u", in, o.status);
    assert_string_equal((char *)o.text.data, text);
    check_cuts(slice_str(in), false, &o);
    buffer_deinit(&o.text);
}

static void expect_bad(struct slice in, unsigned status)
{
    struct outcome o = parse(in, SIZE_MAX, false);
    if (o.result != HTTP_BAD || o.status != status)
        fail_msg("%.200s: result %d status %u, not %u", (const char *)in.data, (int)o.result, o.status, status);
    check_cuts(in, false, &o);
    buffer_deinit(&o.text);
}

static void http__requests__are_understood(void **state)
{
    (void)state;
    expect_messages("GET / HTTP/1.1\r\n" HOST "\r\n", "0 0 [/][] 100 Host=a {}\n");
    expect_messages("\r\n\r\nGET /a?b=c?d HTTP/1.1\r\nhost:  a \t\r\nX:\r\n\r\n", "0 0 [/a][b=c?d] 100 host=a X= {}\n");
    expect_messages("HEAD /a? HTTP/1.1\r\n" HOST "\r\n", "1 0 [/a][] 100 Host=a {}\n");
    expect_messages("GET / HTTP/1.0\r\n\r\n", "0 0 [/][] 000 {}\n");
    expect_messages("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "0 0 [/][] 100 Connection=keep-alive {}\n");
    expect_messages("OPTIONS * HTTP/1.1\r\n" HOST "\r\n", "6 0 [/][] 100 Host=a {}\n");
    expect_messages("GET http://h:1/p?q HTTP/1.1\r\n" HOST "\r\n", "0 0 [/p][q] 100 Host=a {}\n");
    expect_messages("GET http://h?q HTTP/1.1\r\n" HOST "\r\n", "0 0 [/][q] 100 Host=a {}\n");
    expect_messages("DELETE /x HTTP/1.1\r\n" HOST "\r\n", "5 0 [/x][] 100 Host=a {}\n");
    expect_messages("PROPFIND /x HTTP/1.1\r\n" HOST "\r\n", "7 0 [/x][] 100 Host=a {}\n");
    expect_messages("POST /m HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello",
                    "2 0 [/m][] 100 Host=a Content-Length=5 {hello}\n");
    expect_messages("PUT /m HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n"
                    "5;ext=\"v\"\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\nTrailer: x\r\n\r\n",
                    "3 0 [/m][] 100 Host=a Transfer-Encoding=Chunked {hello world}\n");
    expect_messages("PATCH /m HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n",
                    "4 0 [/m][] 100 Host=a Content-Length=0 {}\n");
}

static void http__pipelining__gives_one_message_at_a_time(void **state)
{
    (void)state;
    const char *in = "POST /1 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\n" HOST "\r\n"
                     "POST /3 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\n\r\n"
                     "GET /4 HTTP/1.1\r\n" HOST "Connection: close\r\n\r\nGET /5 HTTP/1.1\r\n" HOST "\r\n";
    expect_messages(in, "2 0 [/1][] 100 Host=a Content-Length=3 {abc}\n"
                        "0 0 [/2][] 100 Host=a {}\n"
                        "2 0 [/3][] 100 Host=a Transfer-Encoding=chunked {xy}\n"
                        "0 0 [/4][] 000 Host=a Connection=close {}\n");
    struct outcome o = parse(slice_str(in), SIZE_MAX, false);
    assert_int_equal(o.used, strlen("POST /1 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc"));
    buffer_deinit(&o.text);
}

static void http__upgrade__leaves_the_rest_alone(void **state)
{
    (void)state;
    const char *head = "GET /ws HTTP/1.1\r\n" HOST "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    char in[300];
    snprintf(in, sizeof(in), "%s\x81\x05hello", head);
    struct http_parser *p = http_parser_create(false);
    const struct http_message *m;
    size_t used;
    unsigned status;
    assert_int_equal(http_parser_feed(p, slice_str(in), &used, &m, &status), HTTP_COMPLETE);
    assert_int_equal(used, strlen(head));
    assert_true(m->upgrade);
    assert_true(m->keep_alive);
    assert_true(http_header_has(m, "connection", "UPGRADE"));
    assert_true(http_header_has(m, "Connection", "keep-alive"));
    assert_false(http_header_has(m, "Connection", "up"));
    assert_false(http_header_has(m, "Nothing", "up"));
    http_parser_destroy(&p);
    /* An upgrade that nobody takes up: the connection goes on with HTTP. */
    snprintf(in, sizeof(in), "%sGET /2 HTTP/1.1\r\n" HOST "\r\n", head);
    expect_messages(in, "0 0 [/ws][] 110 Host=a Connection=keep-alive, Upgrade Upgrade=websocket {}\n"
                        "0 0 [/2][] 100 Host=a {}\n");
}

static void http__expect__stops_after_the_head(void **state)
{
    (void)state;
    expect_messages("POST /m HTTP/1.1\r\n" HOST "Content-Length: 2\r\nExpect: 100-Continue\r\n\r\nab",
                    "2 0 [/m][] 101 Host=a Content-Length=2 Expect=100-Continue {}\n"
                    "2 0 [/m][] 101 Host=a Content-Length=2 Expect=100-Continue {ab}\n");
    expect_messages("GET /m HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n\r\n",
                    "0 0 [/m][] 100 Host=a Expect=100-continue {}\n");
}

static void http__malformed__is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        unsigned status;
    } bad[] = {
        {"\x16\x03\x01\x02\x05\x01", 400},
        {"hello\r\n\r\n", 400},
        {"NONSENSE / HTTP/1.1\r\n\r\n", 501},
        {"GET / HTTP/2.0\r\n" HOST "\r\n", 505},
        {"GET / HTTP/0.9\r\n" HOST "\r\n", 505},
        {"GET / HTTP/1.2\r\n" HOST "\r\n", 505},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        {"GET /\r\n\r\n", 505},
        {"GET / XTTP/1.1\r\n\r\n", 400},
        {"GET x HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET * HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /# HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /\x7f HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET ftp://h/ HTTP/1.1\r\n" HOST "\r\n", 400},
        {"CONNECT h:1 HTTP/1.1\r\n" HOST "\r\n", 501},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400},
        {"GET / HTTP/1.1\n" HOST "\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "X : a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "X Y: a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST ": a\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "no colon\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "X: a\x01\r\n\r\n", 400},
        {"DELETE /m HTTP/1.1\r\n" HOST "\xc3\xa9: 1\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\na", 400},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 1 1\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 1048577\r\n\r\n", 413},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
        {"POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nx\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloxy0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\rxhello\r\n0\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) expect_bad(slice_str(bad[i].in), bad[i].status);
    expect_bad(SLICE_LIT("GET / HTTP/1.1\r\n" HOST "X: a\0b\r\n\r\n"), 400);
    expect_bad(SLICE_LIT("GET /\0 HTTP/1.1\r\n" HOST "\r\n"), 400);
}

static void fill(struct buffer *b, const char *text, size_t times)
{
    for (size_t i = 0; i < times; i++) buffer_append_str(b, text);
}

static void http__oversize__is_refused(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b, 16 << 20);
    buffer_append_str(&b, "GET /");
    fill(&b, "a", SOTTO_HTTP_HEAD_MAX);
    expect_bad(buffer_slice(&b), 414);
    buffer_clear(&b);
    buffer_append_str(&b, "GET / HTTP/1.1\r\nX: ");
    fill(&b, " ", SOTTO_HTTP_HEAD_MAX);
    expect_bad(buffer_slice(&b), 431);
    buffer_clear(&b);
    fill(&b, "\r\n", SOTTO_HTTP_HEAD_MAX);
    expect_bad(buffer_slice(&b), 414);
    buffer_clear(&b);
    buffer_append_str(&b, "GET / HTTP/1.1\r\n" HOST);
    fill(&b, "X: y\r\n", HTTP_HEADERS_MAX);
    buffer_append_str(&b, "\r\n");
    expect_bad(buffer_slice(&b), 431);
    /* Chunks that add up, extensions and trailers without end. */
    const char *chunked = "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n";
    buffer_clear(&b);
    buffer_append_str(&b, chunked);
    for (int i = 0; i < 17; i++) {
        buffer_append_str(&b, "10000\r\n");
        fill(&b, "x", 0x10000);
        buffer_append_str(&b, "\r\n");
    }
    expect_bad(buffer_slice(&b), 413);
    buffer_clear(&b);
    buffer_append_str(&b, chunked);
    buffer_append_str(&b, "1;");
    fill(&b, "e", SOTTO_HTTP_HEAD_MAX + 1);
    expect_bad(buffer_slice(&b), 400);
    buffer_clear(&b);
    buffer_append_str(&b, chunked);
    buffer_append_str(&b, "0\r\n");
    fill(&b, "Trailer: value\r\n", SOTTO_HTTP_HEAD_MAX / 10);
    expect_bad(buffer_slice(&b), 400);
    buffer_deinit(&b);
}

static void http__largest_body__is_taken(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b, 16 << 20);
    buffer_printf(&b, "POST / HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n", SOTTO_HTTP_BODY_MAX);
    size_t head = b.len;
    fill(&b, "x", SOTTO_HTTP_BODY_MAX);
    buffer_append_str(&b, "rest");
    struct http_parser *p = http_parser_create(false);
    const struct http_message *m;
    size_t used;
    unsigned status;
    assert_int_equal(http_parser_feed(p, buffer_slice(&b), &used, &m, &status), HTTP_COMPLETE);
    assert_int_equal(used, head + SOTTO_HTTP_BODY_MAX);
    assert_int_equal(m->body.len, SOTTO_HTTP_BODY_MAX);
    http_parser_destroy(&p);
    buffer_deinit(&b);
}

static void http__head__is_known_before_its_body(void **state)
{
    (void)state;
    struct slice line = SLICE_LIT("POST /a HTTP/1.1\r\n"), rest = SLICE_LIT(HOST "Content-Length: 2\r\n\r\n");
    struct http_parser *p = http_parser_create(false);
    const struct http_message *m, *head;
    size_t used;
    unsigned status;
    assert_null(http_parser_head(p));
    assert_int_equal(http_parser_feed(p, line, &used, &m, &status), HTTP_MORE);
    assert_null(http_parser_head(p));
    assert_int_equal(http_parser_feed(p, rest, &used, &m, &status), HTTP_MORE);
    assert_non_null(head = http_parser_head(p));
    assert_true(slice_is(head->path, "/a") && slice_is(http_header_get(head, "Host"), "a"));
    assert_int_equal(http_parser_feed(p, SLICE_LIT("x"), &used, &m, &status), HTTP_MORE);
    assert_non_null(head = http_parser_head(p));
    assert_true(slice_is(http_header_get(head, "Host"), "a") && head->body.len == 0);
    assert_int_equal(http_parser_feed(p, SLICE_LIT("y"), &used, &m, &status), HTTP_COMPLETE);
    assert_null(http_parser_head(p));
    assert_int_equal(http_parser_feed(p, line, &used, &m, &status), HTTP_MORE);
    assert_null(http_parser_head(p));
    http_parser_destroy(&p);
}

static void http__responses__are_understood(void **state)
{
    (void)state;
    struct slice in = SLICE_LIT("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"
                                "HTTP/1.1 429 Too Many\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
                                "HTTP/1.1 204 No Content\r\n\r\n");
    struct outcome o = parse(in, SIZE_MAX, true);
    assert_string_equal((char *)o.text.data, "7 200 [][] 100 Content-Length=2 {ab}\n"
                                             "7 429 [][] 100 Transfer-Encoding=chunked {x}\n"
                                             "7 204 [][] 100 {}\n");
    check_cuts(in, true, &o);
    buffer_deinit(&o.text);
}

static void http__unescape__decodes_or_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
        bool query;
    } cases[] = {
        {"", "", false},         {"a%20b", "a b", false}, {"a+b", "a+b", false}, {"a+b", "a b", true},
        {"%41%5a%5A", "AZZ", true}, {"%", NULL, true},    {"%4", NULL, true},    {"%4g", NULL, true},
        {"%00", NULL, true},     {"a%", NULL, false},     {"%C3%A9", "\xc3\xa9", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t out[32];
        size_t len = 0;
        bool ok = http_unescape(slice_str(cases[i].in), cases[i].query, out, &len);
        assert_int_equal(ok, cases[i].out != NULL);
        if (ok) assert_true(slice_is(slice_of(out, len), cases[i].out));
    }
}

static void http__query_get__finds_whole_names(void **state)
{
    (void)state;
    struct slice q = SLICE_LIT("since=5&limit=&flag&ab=1&a=2&a=3");
    assert_true(slice_is(http_query_get(q, "since"), "5"));
    assert_true(slice_is(http_query_get(q, "limit"), ""));
    assert_non_null(http_query_get(q, "limit").data);
    assert_non_null(http_query_get(q, "flag").data);
    assert_true(slice_is(http_query_get(q, "a"), "2"));
    assert_null(http_query_get(q, "sinc").data);
    assert_null(http_query_get(q, "b").data);
    assert_null(http_query_get(slice_of(NULL, 0), "b").data);
}

static void http__write__makes_a_response(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b, 1000);
    http_write_status(&b, 429);
    http_write_header(&b, "X-Name", SLICE_LIT("a\r\nInjected: b"));
    http_write_body(&b, SLICE_LIT("{}"));
    assert_true(slice_is(buffer_slice(&b),
                         "HTTP/1.1 429 Too Many Requests\r\nX-Name: a  Injected: b\r\nContent-Length: 2\r\n\r\n{}"));
    assert_string_equal(http_reason(404), "Not Found");
    assert_string_equal(http_reason(299), "Unknown");
    buffer_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(http__requests__are_understood),
        cmocka_unit_test(http__pipelining__gives_one_message_at_a_time),
        cmocka_unit_test(http__upgrade__leaves_the_rest_alone),
        cmocka_unit_test(http__expect__stops_after_the_head),
        cmocka_unit_test(http__malformed__is_refused),
        cmocka_unit_test(http__oversize__is_refused),
        cmocka_unit_test(http__largest_body__is_taken),
        cmocka_unit_test(http__head__is_known_before_its_body),
        cmocka_unit_test(http__responses__are_understood),
        cmocka_unit_test(http__unescape__decodes_or_refuses),
        cmocka_unit_test(http__query_get__finds_whole_names),
        cmocka_unit_test(http__write__makes_a_response),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
