/* The WebSocket handshake: the RFC's example, refusals, extension offers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/websocket.h"

#include <stdio.h>

#define REQUEST                                                                                     \
    "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"

struct accepted {
    enum sotto_err err;
    unsigned status;
    bool deflate;
    struct buffer out;
};

static const struct http_message *parse(struct http_parser *p, struct slice in)
{
    const struct http_message *m = NULL;
    size_t used;
    unsigned status;
    assert_int_equal(http_parser_feed(p, in, &used, &m, &status), HTTP_COMPLETE);
    assert_int_equal(used, in.len);
    return m;
}

static struct accepted accept_request(const char *request, bool offer)
{
    struct accepted a = {0};
    struct http_parser *p = http_parser_create(false);
    buffer_init(&a.out, 1000);
    a.err = ws_accept(parse(p, slice_str(request)), offer, &a.out, &a.deflate, &a.status);
    http_parser_destroy(&p);
    return a;
}

static void handshake__accept__rfc6455_example(void **state)
{
    (void)state;
    struct accepted a = accept_request(REQUEST "\r\n", true);
    assert_int_equal(a.err, SOTTO_OK);
    assert_false(a.deflate);
    assert_true(slice_is(buffer_slice(&a.out), "HTTP/1.1 101 Switching Protocols\r\n"
                                               "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                                               "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"));
    buffer_deinit(&a.out);
}

static void handshake__accept__refuses_what_is_not_one(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        unsigned status;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 426},
        {"POST / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n", 426},
        {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
         "Sec-WebSocket-Version: 13\r\n\r\n", 426},
        {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n\r\n", 426},
        {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
         "Sec-WebSocket-Version: 13\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTE3\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBs*SBub25jZQ==\r\n\r\n", 400},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct accepted a = accept_request(cases[i].request, true);
        assert_int_equal(a.err, SOTTO_ERR_INVALID);
        assert_int_equal(a.status, cases[i].status);
        assert_int_equal(a.out.len, 0);
        buffer_deinit(&a.out);
    }
}

static void handshake__extensions__are_negotiated(void **state)
{
    (void)state;
    static const struct {
        const char *offer;
        bool deflate;
    } cases[] = {
        {"permessage-deflate", true},
        {"permessage-deflate; client_max_window_bits", true},
        {"permessage-deflate; client_max_window_bits=10", true},
        {"permessage-deflate; client_max_window_bits=\"10\"", true},
        {"Permessage-Deflate;server_no_context_takeover;client_no_context_takeover", true},
        {"x-other, permessage-deflate", true},
        {"permessage-deflate; server_max_window_bits=10", false},
        {"permessage-deflate; server_max_window_bits=10, permessage-deflate", true},
        {"permessage-deflate; server_max_window_bits", false},
        {"permessage-deflate; client_max_window_bits=7", false},
        {"permessage-deflate; client_max_window_bits=16", false},
        {"permessage-deflate; client_max_window_bits=08", false},
        {"permessage-deflate; client_no_context_takeover=1", false},
        {"permessage-deflate; client_no_context_takeover; client_no_context_takeover", false},
        {"permessage-deflate; unknown", false},
        {"x-webkit-deflate-frame", false},
        {"", false},
        {",;=,", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char request[1000];
        snprintf(request, sizeof(request), REQUEST "Sec-WebSocket-Extensions: %s\r\n\r\n", cases[i].offer);
        struct accepted a = accept_request(request, true);
        assert_int_equal(a.err, SOTTO_OK);
        if (a.deflate != cases[i].deflate) fail_msg("%s", cases[i].offer);
        buffer_append_byte(&a.out, 0);
        assert_int_equal(strstr((char *)a.out.data, "Extensions: permessage-deflate; server_no_context_takeover; "
                                                    "client_no_context_takeover\r\n\r\n") != NULL,
                         cases[i].deflate);
        buffer_deinit(&a.out);
        a = accept_request(request, false);
        assert_false(a.deflate);
        buffer_deinit(&a.out);
    }
}

static void handshake__both_sides__agree(void **state)
{
    (void)state;
    struct random_seeded random;
    random_seeded_init(&random, 2);
    for (int deflate = 0; deflate < 2; deflate++) {
        struct buffer request;
        char key[25];
        buffer_init(&request, 1000);
        ws_request(&request, "example.org:8080", "/api/v1/ws", deflate, &random.source, key);
        buffer_append_byte(&request, 0);
        struct accepted a = accept_request((char *)request.data, true);
        assert_int_equal(a.err, SOTTO_OK);
        assert_int_equal(a.deflate, deflate);
        struct http_parser *p = http_parser_create(true);
        const struct http_message *response = parse(p, buffer_slice(&a.out));
        bool agreed = !deflate;
        assert_int_equal(ws_connected(response, key, &agreed), SOTTO_OK);
        assert_int_equal(agreed, deflate);
        key[0] ^= 1;
        assert_int_equal(ws_connected(response, key, &agreed), SOTTO_ERR_INVALID);
        http_parser_destroy(&p);
        buffer_deinit(&request);
        buffer_deinit(&a.out);
    }
}

static void handshake__connected__refuses_other_answers(void **state)
{
    (void)state;
#define ANSWER                                                                             \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
    static const struct {
        const char *answer;
        enum sotto_err err;
    } cases[] = {
        {ANSWER "\r\n", SOTTO_OK},
        {ANSWER "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n", SOTTO_OK},
        {ANSWER "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", SOTTO_ERR_INVALID},
        {ANSWER "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
                "client_max_window_bits=9\r\n\r\n",
         SOTTO_ERR_INVALID},
        {ANSWER "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
                "server_max_window_bits=9\r\n\r\n",
         SOTTO_OK},
        {ANSWER "Sec-WebSocket-Extensions: other\r\n\r\n", SOTTO_ERR_INVALID},
        {ANSWER "Sec-WebSocket-Protocol: chat\r\n\r\n", SOTTO_ERR_INVALID},
        {"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", SOTTO_ERR_DENIED},
        {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", SOTTO_ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http_parser *p = http_parser_create(true);
        bool deflate = false;
        if (ws_connected(parse(p, slice_str(cases[i].answer)), "dGhlIHNhbXBsZSBub25jZQ==", &deflate) != cases[i].err)
            fail_msg("%s", cases[i].answer);
        http_parser_destroy(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshake__accept__rfc6455_example),
        cmocka_unit_test(handshake__accept__refuses_what_is_not_one),
        cmocka_unit_test(handshake__extensions__are_negotiated),
        cmocka_unit_test(handshake__both_sides__agree),
        cmocka_unit_test(handshake__connected__refuses_other_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
