/* Sessions between simulated devices: the ordinary course of things, limits,
 * and what the specification says about each odd case. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

struct devices {
    struct device alice, bob, carol;
};

static int setup(void **state)
{
    struct devices *devices = malloc(sizeof *devices);
    assert_non_null(devices);
    device_init(&devices->alice, 1, 0xa, 1);
    device_init(&devices->bob, 2, 0xb, 1);
    device_init(&devices->carol, 3, 0xc, 1);
    device_publish(&devices->alice);
    device_publish(&devices->bob);
    device_publish(&devices->carol);
    *state = devices;
    return 0;
}

static int teardown(void **state)
{
    struct devices *devices = *state;
    device_deinit(&devices->alice);
    device_deinit(&devices->bob);
    device_deinit(&devices->carol);
    free(devices);
    return 0;
}

static struct e2ee_session_info info_of(struct device *device, struct device *peer)
{
    struct e2ee_session_info info;
    OK(e2ee_session_info(&device->env, &peer->env.self, &info));
    return info;
}

static enum e2ee_err encrypt_err(struct device *from, struct device *to)
{
    enum e2ee_message_type type;
    struct e2ee_bytes bytes;
    uint64_t before = device_store_hash(from);
    enum e2ee_err err =
        e2ee_session_encrypt(&from->env, &to->env.self, (const uint8_t *)"x", 1, &type, &bytes);
    assert_int_not_equal(err, E2EE_OK);
    assert_int_equal(device_store_hash(from), before);
    return err;
}

/* Decrypting fails, and nothing changes. */
static void assert_refused(struct device *to, struct device *from, const struct message *message,
                           enum e2ee_err expected)
{
    uint64_t before = device_store_hash(to);
    assert_string_equal(e2ee_err_name(device_decrypt(to, from, message, NULL)),
                        e2ee_err_name(expected));
    assert_int_equal(device_store_hash(to), before);
}

static void session__converses__both_ways(void **state)
{
    struct devices *d = *state;
    device_start(&d->alice, &d->bob, 1, 1);
    for (int i = 0; i < 300; i++) {
        device_say(&d->alice, &d->bob, "hello, bob");
        device_say(&d->bob, &d->alice, "hello, alice");
    }
    struct e2ee_session_info info = info_of(&d->alice, &d->bob);
    assert_true(info.acknowledged);
    assert_true(info.can_send);
    assert_int_equal(info.registration_id, 1001);
    assert_true(info.pq_epoch >= 4);
}

static void session__carries__any_plaintext_length(void **state)
{
    struct devices *d = *state;
    static char text[70000];
    memset(text, 'x', sizeof text);
    device_start(&d->alice, &d->bob, 1, 1);
    for (size_t len = 0; len < 70; len++) {
        text[len] = '\0';
        device_say(&d->alice, &d->bob, text);
        text[len] = 'x';
    }
    text[sizeof text - 1] = '\0';
    device_say(&d->bob, &d->alice, text);
    enum e2ee_message_type type;
    struct e2ee_bytes bytes;
    assert_int_equal(e2ee_session_encrypt(&d->alice.env, &d->bob.env.self, (uint8_t *)text,
                                          E2EE_PLAINTEXT_MAX + 1, &type, &bytes),
                     E2EE_ERR_ARGUMENT);
}

static void session__sends__prekey_messages_until_answered(void **state)
{
    struct devices *d = *state;
    device_start(&d->alice, &d->bob, 1, 1);
    struct message first = device_encrypt(&d->alice, &d->bob, "one");
    struct message second = device_encrypt(&d->alice, &d->bob, "two");
    struct message third = device_encrypt(&d->alice, &d->bob, "three");
    assert_int_equal(first.type, E2EE_MESSAGE_PREKEY);
    assert_int_equal(third.type, E2EE_MESSAGE_PREKEY);
    assert_false(info_of(&d->alice, &d->bob).acknowledged);
    /* out of order, all before any answer */
    OK(device_decrypt(&d->bob, &d->alice, &third, "three"));
    OK(device_decrypt(&d->bob, &d->alice, &first, "one"));
    device_say(&d->bob, &d->alice, "answer");
    assert_true(info_of(&d->alice, &d->bob).acknowledged);
    struct message fourth = device_encrypt(&d->alice, &d->bob, "four");
    assert_int_equal(fourth.type, E2EE_MESSAGE_WHISPER);
    OK(device_decrypt(&d->bob, &d->alice, &fourth, "four"));
    OK(device_decrypt(&d->bob, &d->alice, &second, "two"));
    assert_refused(&d->bob, &d->alice, &second, E2EE_ERR_DUPLICATE);
    assert_refused(&d->bob, &d->alice, &fourth, E2EE_ERR_DUPLICATE);
    message_free(&first);
    message_free(&second);
    message_free(&third);
    message_free(&fourth);
}

static void session__reports__what_a_first_message_used(void **state)
{
    struct devices *d = *state;
    struct e2ee_prekey_info info;
    struct e2ee_received received;
    struct e2ee_bytes plaintext;
    device_start(&d->alice, &d->bob, 1, 3);
    struct message message = device_encrypt(&d->alice, &d->bob, "hi");
    OK(e2ee_session_decrypt(&d->bob.env, &d->alice.env.self, message.type, message.bytes.data,
                            message.bytes.len, &plaintext, &received));
    e2ee_bytes_free(&d->bob.env, &plaintext);
    assert_int_equal(received.seen, E2EE_IDENTITY_NEW);
    assert_true(received.session_started);
    assert_true(received.used_prekey);
    assert_int_equal(received.prekey_id, 3);
    assert_true(received.used_kem_prekey);
    assert_int_equal(received.kem_prekey_id, 1);
    assert_int_equal(received.registration_id, 1001);
    assert_int_equal(e2ee_prekey_info(&d->bob.env, E2EE_RECORD_PREKEY, 3, &info),
                     E2EE_ERR_NOT_FOUND);
    assert_int_equal(e2ee_prekey_info(&d->bob.env, E2EE_RECORD_KEM_PREKEY, 1, &info),
                     E2EE_ERR_NOT_FOUND);
    OK(e2ee_prekey_info(&d->bob.env, E2EE_RECORD_SIGNED_PREKEY, 1, &info));
    message_free(&message);
    message = device_encrypt(&d->alice, &d->bob, "again");
    OK(e2ee_session_decrypt(&d->bob.env, &d->alice.env.self, message.type, message.bytes.data,
                            message.bytes.len, &plaintext, &received));
    e2ee_bytes_free(&d->bob.env, &plaintext);
    assert_int_equal(received.seen, E2EE_IDENTITY_SAME);
    assert_false(received.session_started);
    message_free(&message);
}

static void session__keeps__last_resort_key_and_refuses_replay(void **state)
{
    struct devices *d = *state;
    struct e2ee_prekey_info info;
    device_start(&d->alice, &d->bob, 2, 0);
    struct message message = device_encrypt(&d->alice, &d->bob, "hi");
    OK(device_decrypt(&d->bob, &d->alice, &message, "hi"));
    OK(e2ee_prekey_info(&d->bob.env, E2EE_RECORD_KEM_PREKEY, 2, &info));
    assert_true(info.last_resort);
    assert_refused(&d->bob, &d->alice, &message, E2EE_ERR_DUPLICATE);
    /* Without the session, only the guard is left to notice. */
    OK(e2ee_session_remove(&d->bob.env, &d->alice.env.self));
    assert_refused(&d->bob, &d->alice, &message, E2EE_ERR_REPLAY);
    /* Another base key on the same prekey is fine. */
    device_start(&d->alice, &d->bob, 2, 0);
    device_say(&d->alice, &d->bob, "new start");
    message_free(&message);
}

static void session__refuses__missing_prekeys(void **state)
{
    struct devices *d = *state;
    struct message messages[3];
    device_start(&d->alice, &d->bob, 1, 1);
    messages[0] = device_encrypt(&d->alice, &d->bob, "a");
    device_start(&d->carol, &d->bob, 1, 2);
    messages[1] = device_encrypt(&d->carol, &d->bob, "b");
    OK(device_decrypt(&d->bob, &d->alice, &messages[0], "a"));
    /* the one-time KEM prekey is used up */
    assert_refused(&d->bob, &d->carol, &messages[1], E2EE_ERR_NO_PREKEY);
    device_start(&d->carol, &d->bob, 2, 2);
    messages[2] = device_encrypt(&d->carol, &d->bob, "c");
    OK(e2ee_prekey_remove(&d->bob.env, E2EE_RECORD_PREKEY, 2));
    assert_refused(&d->bob, &d->carol, &messages[2], E2EE_ERR_NO_PREKEY);
    OK(e2ee_prekey_remove(&d->bob.env, E2EE_RECORD_SIGNED_PREKEY, 1));
    assert_refused(&d->bob, &d->carol, &messages[2], E2EE_ERR_NO_PREKEY);
    for (int i = 0; i < 3; i++) {
        message_free(&messages[i]);
    }
}

static void session__settles__after_simultaneous_starts(void **state)
{
    struct devices *d = *state;
    device_start(&d->alice, &d->bob, 1, 1);
    device_start(&d->bob, &d->alice, 1, 1);
    struct message from_alice = device_encrypt(&d->alice, &d->bob, "from alice");
    struct message from_bob = device_encrypt(&d->bob, &d->alice, "from bob");
    OK(device_decrypt(&d->bob, &d->alice, &from_alice, "from alice"));
    OK(device_decrypt(&d->alice, &d->bob, &from_bob, "from bob"));
    assert_int_equal(info_of(&d->alice, &d->bob).archived_count, 1);
    for (int i = 0; i < 20; i++) {
        /* crossing each time */
        struct message one = device_encrypt(&d->alice, &d->bob, "one");
        struct message two = device_encrypt(&d->bob, &d->alice, "two");
        OK(device_decrypt(&d->bob, &d->alice, &one, "one"));
        OK(device_decrypt(&d->alice, &d->bob, &two, "two"));
        message_free(&one);
        message_free(&two);
    }
    device_say(&d->alice, &d->bob, "last");
    device_say(&d->bob, &d->alice, "word");
    device_say(&d->alice, &d->bob, "!");
    assert_true(info_of(&d->alice, &d->bob).acknowledged);
    assert_true(info_of(&d->bob, &d->alice).acknowledged);
    message_free(&from_alice);
    message_free(&from_bob);
}

static void session__opens__late_messages_of_archived_sessions(void **state)
{
    struct devices *d = *state;
    device_start(&d->alice, &d->bob, 1, 1);
    device_say(&d->alice, &d->bob, "start");
    device_say(&d->bob, &d->alice, "started");
    struct message late = device_encrypt(&d->bob, &d->alice, "late");
    struct message later = device_encrypt(&d->bob, &d->alice, "later");
    OK(e2ee_session_archive(&d->alice.env, &d->bob.env.self));
    assert_int_equal(encrypt_err(&d->alice, &d->bob), E2EE_ERR_NO_SESSION);
    struct e2ee_session_info info;
    assert_int_equal(e2ee_session_info(&d->alice.env, &d->bob.env.self, &info),
                     E2EE_ERR_NO_SESSION);
    device_start(&d->alice, &d->bob, 2, 2);
    assert_int_equal(info_of(&d->alice, &d->bob).archived_count, 1);
    assert_false(info_of(&d->alice, &d->bob).acknowledged);
    OK(device_decrypt(&d->alice, &d->bob, &late, "late"));
    /* promoted: the new one went to the archive */
    assert_true(info_of(&d->alice, &d->bob).acknowledged);
    assert_int_equal(info_of(&d->alice, &d->bob).archived_count, 1);
    OK(device_decrypt(&d->alice, &d->bob, &later, "later"));
    assert_refused(&d->alice, &d->bob, &late, E2EE_ERR_DUPLICATE);
    message_free(&late);
    message_free(&later);
}

/* The message is of the oldest of three sessions, and the current one is gone. */
static void session__searches__the_whole_archive(void **state)
{
    struct devices *d = *state;
    struct message late = {0};
    for (uint32_t i = 0; i < 3; i++) {
        device_start(&d->alice, &d->bob, 2, i + 1);
        device_say(&d->alice, &d->bob, "start");
        device_say(&d->bob, &d->alice, "started");
        if (i == 0) {
            late = device_encrypt(&d->bob, &d->alice, "late");
        }
    }
    OK(e2ee_session_archive(&d->alice.env, &d->bob.env.self));
    late.bytes.data[late.bytes.len - 1] ^= 1;
    assert_refused(&d->alice, &d->bob, &late, E2EE_ERR_DECRYPT);
    late.bytes.data[late.bytes.len - 1] ^= 1;
    OK(device_decrypt(&d->alice, &d->bob, &late, "late"));
    assert_int_equal(info_of(&d->alice, &d->bob).archived_count, 2);
    OK(e2ee_session_remove(&d->alice.env, &d->bob.env.self));
    assert_refused(&d->alice, &d->bob, &late, E2EE_ERR_NO_SESSION);
    message_free(&late);
}

/* Several jumps together skip more than is kept: the oldest give way. */
static void session__drops__oldest_skipped_keys_first(void **state)
{
    struct devices *d = *state;
    enum { COUNT = 2500 };
    struct message messages[COUNT];
    device_start(&d->alice, &d->bob, 1, 1);
    device_say(&d->alice, &d->bob, "start");
    device_say(&d->bob, &d->alice, "started");
    for (int i = 0; i < COUNT; i++) {
        messages[i] = device_encrypt(&d->alice, &d->bob, "x");
    }
    OK(device_decrypt(&d->bob, &d->alice, &messages[1200], "x"));
    OK(device_decrypt(&d->bob, &d->alice, &messages[COUNT - 1], "x"));
    assert_refused(&d->bob, &d->alice, &messages[0], E2EE_ERR_DUPLICATE);
    assert_refused(&d->bob, &d->alice, &messages[400], E2EE_ERR_DUPLICATE);
    OK(device_decrypt(&d->bob, &d->alice, &messages[600], "x"));
    OK(device_decrypt(&d->bob, &d->alice, &messages[COUNT - 2], "x"));
    for (int i = 0; i < COUNT; i++) {
        message_free(&messages[i]);
    }
}

static void session__keeps__forty_archived_sessions(void **state)
{
    struct devices *d = *state;
    struct message oldest, second;
    device_start(&d->bob, &d->alice, 2, 0);
    oldest = device_encrypt(&d->bob, &d->alice, "oldest");
    OK(device_decrypt(&d->alice, &d->bob, &oldest, "oldest"));
    message_free(&oldest);
    oldest = device_encrypt(&d->bob, &d->alice, "oldest, late");
    device_start(&d->bob, &d->alice, 2, 0);
    second = device_encrypt(&d->bob, &d->alice, "second");
    OK(device_decrypt(&d->alice, &d->bob, &second, "second"));
    message_free(&second);
    second = device_encrypt(&d->bob, &d->alice, "second, late");
    for (int i = 0; i < 40; i++) {
        device_start(&d->bob, &d->alice, 2, 0);
        device_say(&d->bob, &d->alice, "next");
    }
    assert_int_equal(info_of(&d->alice, &d->bob).archived_count, 40);
    /* 42 sessions so far: the oldest fell out, the second is the 40th. A prekey
     * message of a forgotten session is one of a new one, seen before. */
    assert_refused(&d->alice, &d->bob, &oldest, E2EE_ERR_REPLAY);
    OK(device_decrypt(&d->alice, &d->bob, &second, "second, late"));
    assert_int_equal(info_of(&d->alice, &d->bob).archived_count, 40);
    message_free(&oldest);
    message_free(&second);
}

static void session__stops__sending_after_thirty_days_unanswered(void **state)
{
    struct devices *d = *state;
    device_start(&d->alice, &d->bob, 1, 1);
    d->alice.now_ms += E2EE_UNACKNOWLEDGED_MAX_MS;
    struct message message = device_encrypt(&d->alice, &d->bob, "just in time");
    d->alice.now_ms += 1;
    assert_int_equal(encrypt_err(&d->alice, &d->bob), E2EE_ERR_NO_SESSION);
    assert_false(info_of(&d->alice, &d->bob).can_send);
    /* an answer makes it good for ever */
    OK(device_decrypt(&d->bob, &d->alice, &message, "just in time"));
    device_say(&d->bob, &d->alice, "answer");
    d->alice.now_ms += 100 * E2EE_UNACKNOWLEDGED_MAX_MS;
    device_say(&d->alice, &d->bob, "still there");
    message_free(&message);
}

/* The jump limit, and the number of skipped keys that are kept. A message
 * 25,000 after the last one, so 24,999 skipped, is the furthest. */
static void session__limits__jumps_and_skipped_keys(void **state)
{
    struct devices *d = *state;
    enum { JUMP = E2EE_FORWARD_JUMP_MAX - 1, KEPT = E2EE_SKIPPED_KEYS_MAX };
    device_start(&d->alice, &d->bob, 1, 1);
    device_say(&d->alice, &d->bob, "start");
    device_say(&d->bob, &d->alice, "started");
    struct message first = device_encrypt(&d->alice, &d->bob, "first");
    struct message edge[3];
    for (int i = 1; i <= JUMP + 1; i++) {
        struct message message = device_encrypt(&d->alice, &d->bob, "x");
        if (i == JUMP - KEPT - 1 || i == JUMP - KEPT) {
            edge[i - (JUMP - KEPT - 1)] = message;
        } else if (i == JUMP) {
            edge[2] = message;
        } else if (i == JUMP + 1) {
            assert_refused(&d->bob, &d->alice, &message, E2EE_ERR_TOO_FAR);
            message_free(&message);
        } else {
            message_free(&message);
        }
    }
    OK(device_decrypt(&d->bob, &d->alice, &edge[2], "x"));
    assert_refused(&d->bob, &d->alice, &first, E2EE_ERR_DUPLICATE);
    assert_refused(&d->bob, &d->alice, &edge[0], E2EE_ERR_DUPLICATE);
    OK(device_decrypt(&d->bob, &d->alice, &edge[1], "x")); /* the 2,000th skipped */
    message_free(&first);
    for (int i = 0; i < 3; i++) {
        message_free(&edge[i]);
    }
}

static void session__allows__any_jump_within_an_account(void **state)
{
    struct devices *d = *state;
    struct device phone, desktop;
    (void)d;
    device_init(&phone, 11, 0x1, 1);
    device_init(&desktop, 12, 0x1, 2);
    device_publish(&phone);
    device_publish_linked(&desktop, &phone);
    device_start(&phone, &desktop, 1, 1);
    device_say(&phone, &desktop, "start");
    device_say(&desktop, &phone, "started");
    for (int i = 0; i < E2EE_FORWARD_JUMP_MAX + 500; i++) {
        struct message message = device_encrypt(&phone, &desktop, "lost");
        message_free(&message);
    }
    device_say(&phone, &desktop, "found");
    device_say(&desktop, &phone, "again");
    device_deinit(&phone);
    device_deinit(&desktop);
}

/* Messages of the last five receiver chains open late; older ones do not. */
static void session__keeps__five_receiver_chains(void **state)
{
    struct devices *d = *state;
    struct message late[7];
    device_start(&d->alice, &d->bob, 1, 1);
    device_say(&d->alice, &d->bob, "start");
    for (int i = 0; i < 7; i++) {
        late[i] = device_encrypt(&d->bob, &d->alice, "late");
        device_say(&d->bob, &d->alice, "turn");
        device_say(&d->alice, &d->bob, "turn");
    }
    /* seven chains of bob so far: the first two are gone */
    for (int i = 6; i >= 2; i--) {
        OK(device_decrypt(&d->alice, &d->bob, &late[i], "late"));
    }
    assert_refused(&d->alice, &d->bob, &late[1], E2EE_ERR_DECRYPT);
    assert_refused(&d->alice, &d->bob, &late[0], E2EE_ERR_DECRYPT);
    for (int i = 0; i < 7; i++) {
        message_free(&late[i]);
    }
}

static void session__refuses__wrong_addresses(void **state)
{
    struct devices *d = *state;
    struct device second;
    device_init(&second, 9, 0xa, 2);
    device_publish_linked(&second, &d->alice);
    device_start(&d->alice, &d->bob, 1, 1);
    struct message message = device_encrypt(&d->alice, &d->bob, "hi");
    /* alice's other device has the same identity key, but not the address */
    assert_refused(&d->bob, &second, &message, E2EE_ERR_ADDRESS);
    assert_refused(&d->bob, &d->carol, &message, E2EE_ERR_ADDRESS);
    struct e2ee_address self = d->bob.env.self;
    d->bob.env.self.device_id = 5;
    assert_refused(&d->bob, &d->alice, &message, E2EE_ERR_ADDRESS);
    d->bob.env.self = self;
    /* a message to oneself is none */
    assert_refused(&d->alice, &d->alice, &message, E2EE_ERR_ADDRESS);
    struct e2ee_bundle bundle;
    OK(e2ee_bundle_make(&d->bob.env, 1, 2, NULL, &bundle));
    struct e2ee_address other = d->bob.env.self;
    other.device_id = 2;
    assert_int_equal(e2ee_session_start(&d->alice.env, &other, &bundle, NULL), E2EE_ERR_ADDRESS);
    other.device_id = 0;
    assert_int_equal(e2ee_session_start(&d->alice.env, &other, &bundle, NULL), E2EE_ERR_ADDRESS);
    OK(device_decrypt(&d->bob, &d->alice, &message, "hi"));
    message_free(&message);
    device_deinit(&second);
}

static void session__works__between_three_devices_a_user(void **state)
{
    struct devices *d = *state;
    struct device alice[3], bob[3];
    (void)d;
    for (uint8_t i = 0; i < 3; i++) {
        device_init(&alice[i], 20u + i, 0x1a, (uint8_t)(i + 1));
        device_init(&bob[i], 30u + i, 0x1b, (uint8_t)(i + 1));
        if (i == 0) {
            device_publish(&alice[0]);
            device_publish(&bob[0]);
        } else {
            device_publish_linked(&alice[i], &alice[0]);
            device_publish_linked(&bob[i], &bob[0]);
        }
    }
    for (uint32_t a = 0; a < 3; a++) {
        for (uint32_t b = 0; b < 3; b++) {
            device_start(&alice[a], &bob[b], 2, a + 1);
        }
        for (uint32_t own = a + 1; own < 3; own++) {
            device_start(&alice[a], &alice[own], 2, a + 1);
        }
    }
    for (int round = 0; round < 10; round++) {
        for (int a = 0; a < 3; a++) {
            for (int b = 0; b < 3; b++) {
                device_say(&alice[a], &bob[b], "ping");
                device_say(&bob[b], &alice[a], "pong");
            }
            for (int own = a + 1; own < 3; own++) {
                device_say(&alice[a], &alice[own], "sync");
                device_say(&alice[own], &alice[a], "synced");
            }
        }
    }
    for (int i = 0; i < 3; i++) {
        device_deinit(&alice[i]);
        device_deinit(&bob[i]);
    }
}

/* --- identity changes ------------------------------------------------------------------ */

static void device_reinstall(struct device *device)
{
    device_store_clear(device);
    device_publish(device);
}

static void identity__changes__by_first_message(void **state)
{
    struct devices *d = *state;
    struct e2ee_peer peer;
    device_start(&d->alice, &d->bob, 1, 1);
    device_say(&d->alice, &d->bob, "start");
    device_say(&d->bob, &d->alice, "started");
    struct message old = device_encrypt(&d->bob, &d->alice, "from the old phone");
    device_reinstall(&d->bob);
    device_start(&d->bob, &d->alice, 1, 1);
    struct message message = device_encrypt(&d->bob, &d->alice, "new phone");
    struct e2ee_bytes plaintext;
    struct e2ee_received received;
    OK(e2ee_session_decrypt(&d->alice.env, &d->bob.env.self, message.type, message.bytes.data,
                            message.bytes.len, &plaintext, &received));
    e2ee_bytes_free(&d->alice.env, &plaintext);
    assert_int_equal(received.seen, E2EE_IDENTITY_CHANGED);
    OK(e2ee_peer_get(&d->alice.env, d->bob.env.self.service_id, &peer));
    assert_int_equal(peer.changes, 1);
    assert_false(peer.blocked);
    assert_refused(&d->alice, &d->bob, &old, E2EE_ERR_IDENTITY);
    device_say(&d->alice, &d->bob, "welcome");
    message_free(&message);
    message_free(&old);
}

/* The same identity key on a fresh installation: no warning, new sessions. */
static void device__relinked__starts_anew_quietly(void **state)
{
    struct devices *d = *state;
    struct e2ee_bytes plaintext;
    struct e2ee_received received;
    uint8_t private_key[E2EE_PRIVATE_LEN];
    OK(e2ee_identity_export(&d->bob.env, private_key));
    device_start(&d->alice, &d->bob, 1, 1);
    device_say(&d->alice, &d->bob, "start");
    device_say(&d->bob, &d->alice, "started");
    device_store_clear(&d->bob);
    OK(e2ee_identity_import(&d->bob.env, private_key, 777));
    struct message lost = device_encrypt(&d->alice, &d->bob, "to the old installation");
    assert_refused(&d->bob, &d->alice, &lost, E2EE_ERR_NO_SESSION);
    device_start(&d->bob, &d->alice, 2, 2);
    struct message message = device_encrypt(&d->bob, &d->alice, "back");
    OK(e2ee_session_decrypt(&d->alice.env, &d->bob.env.self, message.type, message.bytes.data,
                            message.bytes.len, &plaintext, &received));
    e2ee_bytes_free(&d->alice.env, &plaintext);
    assert_int_equal(received.seen, E2EE_IDENTITY_SAME);
    assert_int_equal(received.registration_id, 777);
    assert_int_equal(info_of(&d->alice, &d->bob).registration_id, 777);
    device_say(&d->alice, &d->bob, "welcome back");
    message_free(&lost);
    message_free(&message);
}

static void identity__changes__by_bundle(void **state)
{
    struct devices *d = *state;
    struct e2ee_bundle bundle;
    enum e2ee_identity_seen seen;
    device_start(&d->alice, &d->bob, 1, 1);
    device_say(&d->alice, &d->bob, "start");
    device_say(&d->bob, &d->alice, "started");
    device_reinstall(&d->bob);
    OK(e2ee_bundle_make(&d->bob.env, 1, 1, NULL, &bundle));
    OK(e2ee_session_start(&d->alice.env, &d->bob.env.self, &bundle, &seen));
    assert_int_equal(seen, E2EE_IDENTITY_CHANGED);
    device_say(&d->alice, &d->bob, "welcome");
    device_say(&d->bob, &d->alice, "thanks");
    OK(e2ee_session_start(&d->alice.env, &d->bob.env.self, &bundle, &seen));
    assert_int_equal(seen, E2EE_IDENTITY_SAME);
}

/* Another device of the user shows the new key: sessions with the first one
 * are not used for sending any more. */
static void identity__replaced__ends_sessions_of_other_devices(void **state)
{
    struct devices *d = *state;
    struct device second;
    device_init(&second, 40, 0xb, 2);
    device_start(&d->alice, &d->bob, 1, 1);
    device_say(&d->alice, &d->bob, "start");
    device_publish(&second); /* a key pair of its own: bob has moved */
    device_start(&d->alice, &second, 1, 1);
    assert_int_equal(encrypt_err(&d->alice, &d->bob), E2EE_ERR_NO_SESSION);
    assert_false(info_of(&d->alice, &d->bob).can_send);
    device_deinit(&second);
}

static void identity__verified__blocks_sending_until_accepted(void **state)
{
    struct devices *d = *state;
    struct e2ee_peer peer;
    const uint8_t *bob = d->bob.env.self.service_id;
    uint8_t old_identity[E2EE_PUBLIC_LEN];
    device_start(&d->alice, &d->bob, 1, 1);
    OK(e2ee_peer_get(&d->alice.env, bob, &peer));
    memcpy(old_identity, peer.identity, sizeof old_identity);
    OK(e2ee_peer_accept(&d->alice.env, bob, peer.identity, true));
    device_say(&d->alice, &d->bob, "start");
    device_reinstall(&d->bob);
    device_start(&d->alice, &d->bob, 1, 1);
    OK(e2ee_peer_get(&d->alice.env, bob, &peer));
    assert_true(peer.blocked);
    assert_false(peer.verified);
    assert_int_equal(encrypt_err(&d->alice, &d->bob), E2EE_ERR_IDENTITY);
    /* the person must have seen the key that is held now */
    assert_int_equal(e2ee_peer_accept(&d->alice.env, bob, old_identity, true),
                     E2EE_ERR_IDENTITY);
    OK(e2ee_peer_accept(&d->alice.env, bob, peer.identity, false));
    device_say(&d->alice, &d->bob, "hello again");
    assert_int_equal(
        e2ee_peer_accept(&d->alice.env, d->carol.env.self.service_id, peer.identity, true),
        E2EE_ERR_NOT_FOUND);
}

static void identity__of_own_account__is_never_replaced(void **state)
{
    struct devices *d = *state;
    struct device stranger;
    struct e2ee_bundle bundle;
    device_init(&stranger, 50, 0xa, 2); /* claims to be a device of alice */
    device_publish(&stranger);
    OK(e2ee_bundle_make(&stranger.env, 1, 1, NULL, &bundle));
    assert_int_equal(e2ee_session_start(&d->alice.env, &stranger.env.self, &bundle, NULL),
                     E2EE_ERR_IDENTITY);
    device_deinit(&stranger);
}

static void identity__is_made__once(void **state)
{
    struct devices *d = *state;
    uint8_t key[E2EE_PRIVATE_LEN] = {1}, public_key[E2EE_PUBLIC_LEN];
    uint32_t registration;
    assert_int_equal(e2ee_identity_create(&d->alice.env, 5), E2EE_ERR_EXISTS);
    assert_int_equal(e2ee_identity_import(&d->alice.env, key, 5), E2EE_ERR_EXISTS);
    assert_int_equal(e2ee_identity_import(&d->alice.env, key, 0), E2EE_ERR_ARGUMENT);
    assert_int_equal(e2ee_identity_import(&d->alice.env, key, 16381), E2EE_ERR_ARGUMENT);
    OK(e2ee_identity_get(&d->alice.env, public_key, &registration));
    assert_int_equal(registration, 1001);
    OK(e2ee_public_key_check(public_key));
    device_store_clear(&d->alice);
    assert_int_equal(e2ee_identity_get(&d->alice.env, NULL, NULL), E2EE_ERR_NOT_FOUND);
}

static void bundle__with_any_bad_field__is_refused(void **state)
{
    struct devices *d = *state;
    struct e2ee_bundle good, bad;
    uint32_t prekey_id = 1;
    OK(e2ee_bundle_make(&d->bob.env, 1, 1, &prekey_id, &good));
    OK(e2ee_bundle_check(&good));
    uint64_t before = device_store_hash(&d->alice);
#define REFUSED(change, expected)                                                         \
    do {                                                                                  \
        bad = good;                                                                       \
        change;                                                                           \
        assert_int_equal(e2ee_bundle_check(&bad), expected);                              \
        assert_int_not_equal(                                                             \
            e2ee_session_start(&d->alice.env, &d->bob.env.self, &bad, NULL), E2EE_OK);    \
        assert_int_equal(device_store_hash(&d->alice), before);                           \
    } while (0)
    REFUSED(bad.registration_id = 0, E2EE_ERR_MALFORMED);
    REFUSED(bad.registration_id = 16381, E2EE_ERR_MALFORMED);
    REFUSED(bad.device_id = 0, E2EE_ERR_MALFORMED);
    REFUSED(bad.device_id = 128, E2EE_ERR_MALFORMED);
    REFUSED(bad.identity[0] = 6, E2EE_ERR_KEY);
    REFUSED(memset(bad.identity + 1, 0, 32), E2EE_ERR_KEY);
    REFUSED(memset(bad.signed_prekey + 1, 0, 32), E2EE_ERR_KEY);
    REFUSED(memset(bad.prekey + 1, 0xff, 32), E2EE_ERR_KEY);
    REFUSED(bad.kem_prekey[0] = 0x07, E2EE_ERR_KEY);
    REFUSED(bad.kem_prekey[0] = 0x0a, E2EE_ERR_KEY);
    REFUSED(memset(bad.kem_prekey + 1, 0xff, 3), E2EE_ERR_KEY);
    REFUSED(bad.signed_prekey_signature[5] ^= 1, E2EE_ERR_SIGNATURE);
    REFUSED(bad.kem_prekey_signature[63] ^= 0x80, E2EE_ERR_SIGNATURE);
    REFUSED(bad.kem_prekey[700] ^= 1, E2EE_ERR_SIGNATURE);
    REFUSED(memcpy(bad.signed_prekey, bad.prekey, 33), E2EE_ERR_SIGNATURE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(session__converses__both_ways),
        TEST(session__carries__any_plaintext_length),
        TEST(session__sends__prekey_messages_until_answered),
        TEST(session__reports__what_a_first_message_used),
        TEST(session__keeps__last_resort_key_and_refuses_replay),
        TEST(session__refuses__missing_prekeys),
        TEST(session__settles__after_simultaneous_starts),
        TEST(session__opens__late_messages_of_archived_sessions),
        TEST(session__searches__the_whole_archive),
        TEST(session__drops__oldest_skipped_keys_first),
        TEST(session__keeps__forty_archived_sessions),
        TEST(session__stops__sending_after_thirty_days_unanswered),
        TEST(session__limits__jumps_and_skipped_keys),
        TEST(session__allows__any_jump_within_an_account),
        TEST(session__keeps__five_receiver_chains),
        TEST(session__refuses__wrong_addresses),
        TEST(session__works__between_three_devices_a_user),
        TEST(identity__changes__by_first_message),
        TEST(device__relinked__starts_anew_quietly),
        TEST(identity__changes__by_bundle),
        TEST(identity__replaced__ends_sessions_of_other_devices),
        TEST(identity__verified__blocks_sending_until_accepted),
        TEST(identity__of_own_account__is_never_replaced),
        TEST(identity__is_made__once),
        TEST(bundle__with_any_bad_field__is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
