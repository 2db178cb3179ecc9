/* Whose request it is, behind proxies that are trusted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static struct id v4(const char *text)
{
    struct sockaddr_storage peer = {.ss_family = AF_INET};
    assert_int_equal(inet_pton(AF_INET, text, &((struct sockaddr_in *)(void *)&peer)->sin_addr), 1);
    return address_of_peer(&peer);
}

static struct id v6(const char *text)
{
    struct sockaddr_storage peer = {.ss_family = AF_INET6};
    assert_int_equal(inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)(void *)&peer)->sin6_addr), 1);
    return address_of_peer(&peer);
}

/* 127.0.0.1, 10.0.0.0/8, 192.0.2.128/25, fd00::/8. */
static struct address_ranges proxies(void)
{
    return (struct address_ranges){4, {{v4("127.0.0.1"), 128}, {v4("10.0.0.0"), 104},
                                       {v4("192.0.2.128"), 121}, {v6("fd00::"), 8}}};
}

static void address__in_ranges(void **state)
{
    (void)state;
    struct address_ranges r = proxies(), none = {0}, all = {2, {{v4("0.0.0.0"), 96}, {v6("::"), 0}}};
    static const struct { const char *text; bool in; } cases[] = {
        {"127.0.0.1", true}, {"127.0.0.2", false}, {"10.255.1.2", true}, {"11.0.0.0", false},
        {"192.0.2.128", true}, {"192.0.2.255", true}, {"192.0.2.127", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(address_in(&r, v4(cases[i].text)), cases[i].in);
        assert_false(address_in(&none, v4(cases[i].text)));
        assert_true(address_in(&all, v4(cases[i].text)));
    }
    assert_true(address_in(&r, v6("fdff::1")));
    assert_false(address_in(&r, v6("fe00::1")));
    assert_true(address_in(&r, v6("::ffff:10.1.1.1")));
}

static void address__keys(void **state)
{
    (void)state;
    char text[ADDRESS_TEXT_MAX];
    address_key_text(address_key(v4("192.0.2.7")), text);
    assert_string_equal(text, "192.0.2.7");
    address_key_text(address_key(v6("2001:db8:1:2:3:4:5:6")), text);
    assert_string_equal(text, "2001:db8:1:2::");
    assert_true(address_key_local(address_key(v4("127.8.8.8"))));
    assert_true(address_key_local(address_key(v6("::1"))));
    assert_false(address_key_local(address_key(v4("128.0.0.1"))));
    assert_false(address_key_local(address_key(v6("2001:db8::1"))));
}

static void address__client__is_the_last_that_is_no_proxy(void **state)
{
    (void)state;
    struct address_ranges r = proxies();
    static const struct { const char *first, *second, *client; } cases[] = {
        {NULL, NULL, "10.0.0.1"},
        {"198.51.100.7", NULL, "198.51.100.7"},
        {" 198.51.100.7:4711\t", NULL, "198.51.100.7"},
        /* What the client wrote itself stands before what the proxy saw. */
        {"127.0.0.1, 203.0.113.9,198.51.100.7", NULL, "198.51.100.7"},
        {"203.0.113.9", "198.51.100.7", "198.51.100.7"},
        /* Through two of ours. */
        {"203.0.113.9, 198.51.100.7, 192.0.2.200", NULL, "198.51.100.7"},
        {"198.51.100.7", "192.0.2.200, 127.0.0.1", "198.51.100.7"},
        {"192.0.2.200", NULL, "192.0.2.200"},
        /* Not to be read: as far as it can be. */
        {"unknown", NULL, "10.0.0.1"},
        {"", NULL, "10.0.0.1"},
        {"198.51.100.7, ", NULL, "10.0.0.1"},
        {"198.51.100.7, unknown, 192.0.2.200", NULL, "192.0.2.200"},
        {"198.51.100.7777", NULL, "10.0.0.1"},
        {"[2001:db8::1", NULL, "10.0.0.1"},
        {"1.1.1.1:", NULL, "1.1.1.1"},
        {"0123456789012345678901234567890123456789012345678901234567890", NULL, "10.0.0.1"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http_message m = {.headers_count = 1, .headers = {{slice_str("Host"), slice_str("h")}}};
        const char *values[] = {cases[i].first, cases[i].second};
        for (size_t k = 0; k < 2; k++)
            if (values[k] != NULL)
                m.headers[m.headers_count++] = (struct http_header){slice_str("x-forwarded-FOR"), slice_str(values[k])};
        struct id client = address_of_client(&r, v4("10.0.0.1"), &m);
        char text[ADDRESS_TEXT_MAX];
        address_key_text(client, text);
        assert_string_equal(text, cases[i].client);
    }
    static const char *const forms[] = {"2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:4711"};
    for (size_t i = 0; i < 3; i++) {
        struct http_message m = {.headers_count = 1,
                                 .headers = {{slice_str("X-Forwarded-For"), slice_str(forms[i])}}};
        assert_true(id_eq(address_of_client(&r, v4("10.0.0.1"), &m), v6("2001:db8::1")));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(address__in_ranges),
        cmocka_unit_test(address__keys),
        cmocka_unit_test(address__client__is_the_last_that_is_no_proxy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
