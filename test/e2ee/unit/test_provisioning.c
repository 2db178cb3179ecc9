/* Linking: round trip, codes, every byte changed, golden envelope, failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "e2ee/provisioning.h"
#include "e2ee/unit/golden.h"
#include "e2ee/unit/plain_env.h"

static void sample(struct e2ee_link_contents *contents, size_t more_len)
{
    memset(contents, 0, sizeof(*contents));
    for (size_t i = 0; i < E2EE_SERVICE_ID_LEN; i++) contents->service_id[i] = (uint8_t)i;
    memset(contents->identity_private, 0x48, E2EE_PRIVATE_LEN);
    contents->has_recovery_key = true;
    memset(contents->recovery_key, 0x77, 32);
    contents->more_len = more_len;
    memset(contents->more, 'm', more_len);
}

static void provisioning__round_trip__every_size(void **state)
{
    (void)state;
    struct plain_env plain;
    plain_env_init(&plain, 1);
    for (size_t more = 0; more <= E2EE_LINK_MORE_MAX; more += more < 400 ? 13 : 1232) {
        struct e2ee_link link;
        struct e2ee_link_code scanned;
        char url[E2EE_LINK_URL_LEN + 1];
        struct e2ee_link_contents given, got;
        struct e2ee_bytes envelope;
        sample(&given, more);
        given.has_recovery_key = more % 2 == 0;
        if (!given.has_recovery_key) memset(given.recovery_key, 0, 32);
        assert_int_equal(e2ee_link_begin(&plain.env, &link), E2EE_OK);
        e2ee_link_url(&link.code, url);
        assert_int_equal(strlen(url), E2EE_LINK_URL_LEN);
        assert_int_equal(e2ee_link_parse(url, strlen(url), &scanned), E2EE_OK);
        assert_memory_equal(&scanned, &link.code, sizeof(scanned));
        assert_int_equal(e2ee_link_seal(&plain.env, &scanned, &given, &envelope), E2EE_OK);
        assert_true(envelope.len <= E2EE_LINK_ENVELOPE_MAX);
        assert_int_equal(e2ee_link_open(&plain.env, &link, envelope.data, envelope.len, &got),
                         E2EE_OK);
        assert_memory_equal(&got, &given, sizeof(got));
        e2ee_bytes_free(&plain.env, &envelope);
    }
    assert_int_equal(plain.live, 0);
}

static void provisioning__envelope__any_change_is_refused(void **state)
{
    (void)state;
    struct plain_env plain;
    plain_env_init(&plain, 2);
    struct e2ee_link link, other;
    struct e2ee_link_contents given, got;
    struct e2ee_bytes envelope;
    sample(&given, 40);
    memset(&got, 0x5a, sizeof(got));
    assert_int_equal(e2ee_link_begin(&plain.env, &link), E2EE_OK);
    assert_int_equal(e2ee_link_begin(&plain.env, &other), E2EE_OK);
    assert_int_equal(e2ee_link_seal(&plain.env, &link.code, &given, &envelope), E2EE_OK);
    for (size_t at = 0; at < envelope.len; at++) {
        envelope.data[at] ^= 1;
        assert_int_not_equal(
            e2ee_link_open(&plain.env, &link, envelope.data, envelope.len, &got), E2EE_OK);
        envelope.data[at] ^= 1;
        assert_int_not_equal(e2ee_link_open(&plain.env, &link, envelope.data, at, &got), E2EE_OK);
    }
    assert_int_equal(e2ee_link_open(&plain.env, &other, envelope.data, envelope.len, &got),
                     E2EE_ERR_DECRYPT);
    /* The key alone, as a server that learned it would have: not enough. */
    struct e2ee_link guess = link;
    guess.code.secret[0] ^= 1;
    assert_int_equal(e2ee_link_open(&plain.env, &guess, envelope.data, envelope.len, &got),
                     E2EE_ERR_DECRYPT);
    memset(envelope.data + 1, 0, 32); /* a point of small order */
    assert_int_equal(e2ee_link_open(&plain.env, &link, envelope.data, envelope.len, &got),
                     E2EE_ERR_KEY);
    for (size_t i = 0; i < sizeof(got); i++) assert_int_equal(((uint8_t *)&got)[i], 0x5a);
    e2ee_bytes_free(&plain.env, &envelope);
    e2ee_link_wipe(&link);
    for (size_t i = 0; i < sizeof(link); i++) assert_int_equal(((uint8_t *)&link)[i], 0);
}

static void provisioning__url__strange_ones_are_refused(void **state)
{
    (void)state;
    struct plain_env plain;
    plain_env_init(&plain, 3);
    struct e2ee_link link;
    struct e2ee_link_code code;
    char url[E2EE_LINK_URL_LEN + 2];
    assert_int_equal(e2ee_link_begin(&plain.env, &link), E2EE_OK);
    e2ee_link_url(&link.code, url);
    for (size_t len = 0; len < E2EE_LINK_URL_LEN; len++) {
        assert_int_equal(e2ee_link_parse(url, len, &code), E2EE_ERR_MALFORMED);
    }
    url[E2EE_LINK_URL_LEN] = 'A';
    assert_int_equal(e2ee_link_parse(url, E2EE_LINK_URL_LEN + 1, &code), E2EE_ERR_MALFORMED);
    for (size_t at = 0; at < E2EE_LINK_URL_LEN; at++) {
        char kept = url[at];
        url[at] = '!';
        enum e2ee_err err = e2ee_link_parse(url, E2EE_LINK_URL_LEN, &code);
        assert_true(err == E2EE_ERR_MALFORMED || err == E2EE_ERR_VERSION);
        url[at] = kept;
    }
    url[13] = '2';
    assert_int_equal(e2ee_link_parse(url, E2EE_LINK_URL_LEN, &code), E2EE_ERR_VERSION);
    url[13] = '1';
    /* A key that is none. */
    memset(link.code.key, 0, 32);
    e2ee_link_url(&link.code, url);
    assert_int_equal(e2ee_link_parse(url, E2EE_LINK_URL_LEN, &code), E2EE_ERR_KEY);
}

static void provisioning__golden__envelope_of_version_1(void **state)
{
    (void)state;
    struct plain_env plain;
    plain_env_init(&plain, 4);
    struct e2ee_link link;
    struct e2ee_link_contents contents;
    struct e2ee_bytes envelope;
    char url[E2EE_LINK_URL_LEN + 1];
    sample(&contents, 11);
    assert_int_equal(e2ee_link_begin(&plain.env, &link), E2EE_OK);
    e2ee_link_url(&link.code, url);
    assert_true(golden_matches("link-url-v1.txt", (const uint8_t *)url, strlen(url)));
    assert_int_equal(e2ee_link_seal(&plain.env, &link.code, &contents, &envelope), E2EE_OK);
    assert_true(golden_matches("link-envelope-v1.bin", envelope.data, envelope.len));
    e2ee_bytes_free(&plain.env, &envelope);
}

static void provisioning__failures__leave_nothing_behind(void **state)
{
    (void)state;
    struct plain_env plain;
    plain_env_init(&plain, 5);
    struct e2ee_link link;
    struct e2ee_link_contents contents, got;
    struct e2ee_bytes envelope = {0};
    sample(&contents, 5);
    for (int allowed = 0; allowed < 3; allowed++) {
        plain.random_left = allowed;
        assert_int_equal(e2ee_link_begin(&plain.env, &link), E2EE_ERR_RANDOM);
    }
    plain.random_left = -1;
    assert_int_equal(e2ee_link_begin(&plain.env, &link), E2EE_OK);
    plain.random_left = 0;
    assert_int_equal(e2ee_link_seal(&plain.env, &link.code, &contents, &envelope), E2EE_ERR_RANDOM);
    plain.random_left = -1;
    for (plain.allocs_left = 0; plain.allocs_left < 2;) {
        int allowed = plain.allocs_left;
        assert_int_equal(e2ee_link_seal(&plain.env, &link.code, &contents, &envelope),
                         E2EE_ERR_MEMORY);
        assert_null(envelope.data);
        assert_int_equal(plain.live, 0);
        plain.allocs_left = allowed + 1;
    }
    plain.allocs_left = -1;
    contents.more_len = E2EE_LINK_MORE_MAX + 1;
    assert_int_equal(e2ee_link_seal(&plain.env, &link.code, &contents, &envelope),
                     E2EE_ERR_ARGUMENT);
    contents.more_len = 5;
    assert_int_equal(e2ee_link_seal(&plain.env, &link.code, &contents, &envelope), E2EE_OK);
    plain.allocs_left = 0;
    assert_int_equal(e2ee_link_open(&plain.env, &link, envelope.data, envelope.len, &got),
                     E2EE_ERR_MEMORY);
    e2ee_bytes_free(&plain.env, &envelope);
    assert_int_equal(plain.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(provisioning__round_trip__every_size),
        cmocka_unit_test(provisioning__envelope__any_change_is_refused),
        cmocka_unit_test(provisioning__url__strange_ones_are_refused),
        cmocka_unit_test(provisioning__golden__envelope_of_version_1),
        cmocka_unit_test(provisioning__failures__leave_nothing_behind),
    };
    if (e2ee_init() != E2EE_OK) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
