/* Sender keys: the ordinary course, order, limits, rotation, refusals. */
#include <stdlib.h>
#include <string.h>

#include "support.h"

static const uint8_t group[E2EE_DISTRIBUTION_ID_LEN] = {0xd1, 0xd1, 0x70, 0x11, 1, 2, 3, 4,
                                                        5,    6,    7,    8,    9, 10, 11, 12};

struct members {
    struct device alice, bob, carol;
};

static int setup(void **state)
{
    struct members *members = malloc(sizeof *members);
    assert_non_null(members);
    device_init(&members->alice, 1, 0xa, 1);
    device_init(&members->bob, 2, 0xb, 1);
    device_init(&members->carol, 3, 0xc, 1);
    *state = members;
    return 0;
}

static int teardown(void **state)
{
    struct members *members = *state;
    device_deinit(&members->alice);
    device_deinit(&members->bob);
    device_deinit(&members->carol);
    free(members);
    return 0;
}

/* Copies out of the library's heap, so that a test may keep it. */
static struct e2ee_bytes keep(struct device *device, struct e2ee_bytes bytes)
{
    struct e2ee_bytes copy = {malloc(bytes.len), bytes.len};
    assert_non_null(copy.data);
    memcpy(copy.data, bytes.data, bytes.len);
    e2ee_bytes_free(&device->env, &bytes);
    return copy;
}

static struct e2ee_bytes distribution_of(struct device *device)
{
    struct e2ee_bytes bytes;
    OK(e2ee_group_distribute(&device->env, group, &bytes));
    return keep(device, bytes);
}

static void distribute(struct device *from, struct device *to)
{
    struct e2ee_bytes bytes = distribution_of(from);
    OK(e2ee_group_process(&to->env, &from->env.self, bytes.data, bytes.len));
    free(bytes.data);
}

static struct e2ee_bytes encrypt(struct device *device, const char *text)
{
    struct e2ee_bytes bytes;
    OK(e2ee_group_encrypt(&device->env, group, (const uint8_t *)text, strlen(text), &bytes));
    return keep(device, bytes);
}

static enum e2ee_err decrypt(struct device *to, struct device *from, struct e2ee_bytes message,
                             const char *text)
{
    struct e2ee_bytes plaintext;
    uint8_t id[E2EE_DISTRIBUTION_ID_LEN];
    uint64_t before = device_store_hash(to);
    enum e2ee_err err = e2ee_group_decrypt(&to->env, &from->env.self, message.data, message.len,
                                           id, &plaintext);
    if (err == E2EE_OK) {
        assert_memory_equal(id, group, sizeof id);
        assert_int_equal(plaintext.len, strlen(text));
        assert_true(plaintext.len == 0 || memcmp(plaintext.data, text, plaintext.len) == 0);
        e2ee_bytes_free(&to->env, &plaintext);
    } else {
        assert_int_equal(device_store_hash(to), before);
    }
    return err;
}

static void group__delivers__to_all_members(void **state)
{
    struct members *m = *state;
    distribute(&m->alice, &m->bob);
    distribute(&m->alice, &m->carol);
    distribute(&m->bob, &m->alice);
    for (int i = 0; i < 20; i++) {
        struct e2ee_bytes message = encrypt(&m->alice, i == 0 ? "" : "hello, all");
        OK(decrypt(&m->bob, &m->alice, message, i == 0 ? "" : "hello, all"));
        OK(decrypt(&m->carol, &m->alice, message, i == 0 ? "" : "hello, all"));
        assert_int_equal(decrypt(&m->bob, &m->alice, message, ""), E2EE_ERR_DUPLICATE);
        free(message.data);
        message = encrypt(&m->bob, "hello, alice");
        OK(decrypt(&m->alice, &m->bob, message, "hello, alice"));
        assert_int_equal(decrypt(&m->carol, &m->bob, message, ""), E2EE_ERR_NO_SENDER_KEY);
        free(message.data);
    }
}

static void group__late_member__reads_only_later_messages(void **state)
{
    struct members *m = *state;
    distribute(&m->alice, &m->bob);
    struct e2ee_bytes before = encrypt(&m->alice, "before");
    distribute(&m->alice, &m->carol);
    struct e2ee_bytes after = encrypt(&m->alice, "after");
    assert_int_equal(decrypt(&m->carol, &m->alice, before, ""), E2EE_ERR_DUPLICATE);
    OK(decrypt(&m->carol, &m->alice, after, "after"));
    OK(decrypt(&m->bob, &m->alice, after, "after"));
    OK(decrypt(&m->bob, &m->alice, before, "before"));
    free(before.data);
    free(after.data);
}

static void group__opens__out_of_order_within_limits(void **state)
{
    struct members *m = *state;
    enum { JUMP = E2EE_FORWARD_JUMP_MAX, KEPT = E2EE_SKIPPED_KEYS_MAX };
    struct e2ee_bytes kept[5] = {{0}};
    static const int wanted[5] = {0, JUMP - KEPT - 1, JUMP - KEPT, JUMP, JUMP + 1};
    distribute(&m->alice, &m->bob);
    for (int i = 0; i <= JUMP + 1; i++) {
        struct e2ee_bytes message = encrypt(&m->alice, "x");
        for (int k = 0; k < 5; k++) {
            if (i == wanted[k]) {
                kept[k] = message;
                message.data = NULL;
            }
        }
        free(message.data);
    }
    assert_int_equal(decrypt(&m->bob, &m->alice, kept[4], "x"), E2EE_ERR_TOO_FAR);
    OK(decrypt(&m->bob, &m->alice, kept[3], "x"));
    assert_int_equal(decrypt(&m->bob, &m->alice, kept[0], "x"), E2EE_ERR_DUPLICATE);
    assert_int_equal(decrypt(&m->bob, &m->alice, kept[1], "x"), E2EE_ERR_DUPLICATE);
    OK(decrypt(&m->bob, &m->alice, kept[2], "x"));
    assert_int_equal(decrypt(&m->bob, &m->alice, kept[2], "x"), E2EE_ERR_DUPLICATE);
    OK(decrypt(&m->bob, &m->alice, kept[4], "x"));
    for (int i = 0; i < 5; i++) {
        free(kept[i].data);
    }
}

static void group__keeps__five_chains_of_a_sender(void **state)
{
    struct members *m = *state;
    struct e2ee_bytes late[7];
    for (int i = 0; i < 7; i++) {
        distribute(&m->alice, &m->bob);
        late[i] = encrypt(&m->alice, "late");
        OK(e2ee_group_rotate(&m->alice.env, group));
    }
    for (int i = 0; i < 7; i++) {
        if (i < 2) {
            assert_int_equal(decrypt(&m->bob, &m->alice, late[i], ""), E2EE_ERR_NO_SENDER_KEY);
        } else {
            OK(decrypt(&m->bob, &m->alice, late[i], "late"));
        }
        free(late[i].data);
    }
}

static void group__rotation__shuts_a_removed_member_out(void **state)
{
    struct members *m = *state;
    struct e2ee_bytes bytes;
    distribute(&m->alice, &m->bob);
    distribute(&m->alice, &m->carol);
    OK(e2ee_group_rotate(&m->alice.env, group));
    assert_int_equal(e2ee_group_encrypt(&m->alice.env, group, NULL, 0, &bytes),
                     E2EE_ERR_NO_SENDER_KEY);
    distribute(&m->alice, &m->bob);
    struct e2ee_bytes message = encrypt(&m->alice, "without carol");
    OK(decrypt(&m->bob, &m->alice, message, "without carol"));
    assert_int_equal(decrypt(&m->carol, &m->alice, message, ""), E2EE_ERR_NO_SENDER_KEY);
    OK(e2ee_group_forget(&m->bob.env, &m->alice.env.self, group));
    assert_int_equal(decrypt(&m->bob, &m->alice, message, ""), E2EE_ERR_NO_SENDER_KEY);
    free(message.data);
}

/* An old distribution message must not turn a chain back. */
static void group__repeated_distribution__changes_nothing(void **state)
{
    struct members *m = *state;
    struct e2ee_bytes first = distribution_of(&m->alice);
    OK(e2ee_group_process(&m->bob.env, &m->alice.env.self, first.data, first.len));
    struct e2ee_bytes message = encrypt(&m->alice, "once");
    OK(decrypt(&m->bob, &m->alice, message, "once"));
    uint64_t before = device_store_hash(&m->bob);
    OK(e2ee_group_process(&m->bob.env, &m->alice.env.self, first.data, first.len));
    assert_int_equal(device_store_hash(&m->bob), before);
    assert_int_equal(decrypt(&m->bob, &m->alice, message, ""), E2EE_ERR_DUPLICATE);
    free(first.data);
    free(message.data);
}

static void group__refuses__messages_in_a_wrong_name(void **state)
{
    struct members *m = *state;
    struct e2ee_bytes distribution = distribution_of(&m->alice);
    distribute(&m->alice, &m->bob);
    distribute(&m->carol, &m->bob);
    struct e2ee_bytes message = encrypt(&m->alice, "by alice");
    assert_int_equal(decrypt(&m->bob, &m->carol, message, ""), E2EE_ERR_NO_SENDER_KEY);
    /* carol knows alice's chain, but cannot sign for it */
    assert_int_equal(e2ee_group_process(&m->alice.env, &m->alice.env.self, distribution.data,
                                        distribution.len),
                     E2EE_ERR_ADDRESS);
    struct e2ee_bytes plaintext;
    assert_int_equal(e2ee_group_decrypt(&m->alice.env, &m->alice.env.self, message.data,
                                        message.len, NULL, &plaintext),
                     E2EE_ERR_ADDRESS);
    free(distribution.data);
    free(message.data);
}

static void group__damaged_messages__are_refused(void **state)
{
    struct members *m = *state;
    distribute(&m->alice, &m->bob);
    struct e2ee_bytes message = encrypt(&m->alice, "hello");
    for (size_t len = 0; len < message.len; len++) {
        struct e2ee_bytes part = {message.data, len};
        assert_int_not_equal(decrypt(&m->bob, &m->alice, part, ""), E2EE_OK);
    }
    for (size_t bit = 0; bit < 8 * message.len; bit++) {
        message.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(decrypt(&m->bob, &m->alice, message, ""), E2EE_OK);
        message.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    OK(decrypt(&m->bob, &m->alice, message, "hello"));
    free(message.data);
}

static void group__damaged_distribution__is_refused_or_harmless(void **state)
{
    struct members *m = *state;
    struct e2ee_bytes distribution = distribution_of(&m->alice);
    for (size_t len = 0; len < distribution.len; len++) {
        assert_int_not_equal(
            e2ee_group_process(&m->bob.env, &m->alice.env.self, distribution.data, len), E2EE_OK);
    }
    uint8_t id[E2EE_DISTRIBUTION_ID_LEN];
    OK(e2ee_group_distribution_id(distribution.data, distribution.len, id));
    assert_memory_equal(id, group, sizeof id);
    distribution.data[0] = 0x32;
    assert_int_equal(e2ee_group_process(&m->bob.env, &m->alice.env.self, distribution.data,
                                        distribution.len),
                     E2EE_ERR_VERSION);
    distribution.data[0] = 0x33;
    /* the signing key: made non-canonical */
    memset(distribution.data + distribution.len - 32, 0xff, 32);
    assert_int_equal(e2ee_group_process(&m->bob.env, &m->alice.env.self, distribution.data,
                                        distribution.len),
                     E2EE_ERR_KEY);
    assert_int_equal(m->bob.record_count, 0);
    free(distribution.data);
}

/* A sender may come back with the chain id of an earlier chain, but with
 * another signing key: the earlier chain goes. */
static void group__chain_id__is_taken_over_by_a_new_key(void **state)
{
    struct members *m = *state;
    struct e2ee_bytes distribution = distribution_of(&m->alice);
    uint8_t other[E2EE_PUBLIC_LEN];
    uint8_t id[E2EE_DISTRIBUTION_ID_LEN];
    OK(e2ee_group_process(&m->bob.env, &m->alice.env.self, distribution.data,
                          distribution.len));
    struct e2ee_bytes old = encrypt(&m->alice, "old");
    OK(e2ee_group_message_id(old.data, old.len, id));
    assert_memory_equal(id, group, sizeof id);
    assert_int_equal(e2ee_group_message_id(old.data, 20, id), E2EE_ERR_MALFORMED);
    OK(e2ee_prekey_create(&m->carol.env, 1, other)); /* any good public key */
    memcpy(distribution.data + distribution.len - sizeof other, other, sizeof other);
    OK(e2ee_group_process(&m->bob.env, &m->alice.env.self, distribution.data,
                          distribution.len));
    assert_int_equal(decrypt(&m->bob, &m->alice, old, ""), E2EE_ERR_SIGNATURE);
    free(distribution.data);
    free(old.data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(group__delivers__to_all_members),
        TEST(group__late_member__reads_only_later_messages),
        TEST(group__opens__out_of_order_within_limits),
        TEST(group__keeps__five_chains_of_a_sender),
        TEST(group__rotation__shuts_a_removed_member_out),
        TEST(group__repeated_distribution__changes_nothing),
        TEST(group__chain_id__is_taken_over_by_a_new_key),
        TEST(group__refuses__messages_in_a_wrong_name),
        TEST(group__damaged_messages__are_refused),
        TEST(group__damaged_distribution__is_refused_or_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
