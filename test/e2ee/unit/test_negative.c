/* What must be refused: every damaged, shortened, replayed, downgraded or
 * misdirected message; and the state is byte for byte as before. */
#include <stdlib.h>
#include <string.h>

#include "e2ee/ratchet.h"
#include "support.h"

struct devices {
    struct device alice, bob;
};

static int setup(void **state)
{
    struct devices *devices = malloc(sizeof *devices);
    assert_non_null(devices);
    device_init(&devices->alice, 1, 0xa, 1);
    device_init(&devices->bob, 2, 0xb, 1);
    device_publish(&devices->alice);
    device_publish(&devices->bob);
    *state = devices;
    return 0;
}

static int teardown(void **state)
{
    struct devices *devices = *state;
    device_deinit(&devices->alice);
    device_deinit(&devices->bob);
    free(devices);
    return 0;
}

static enum e2ee_err refuse(struct device *to, struct device *from,
                            const struct message *message)
{
    uint64_t before = device_store_hash(to);
    enum e2ee_err err = device_decrypt(to, from, message, NULL);
    assert_int_not_equal(err, E2EE_OK);
    assert_int_equal(device_store_hash(to), before);
    return err;
}

/* Where field `number` of a message stands; bytes fields only. */
static uint8_t *field_find(const struct message *message, uint32_t number, size_t *len_out)
{
    struct reader reader = reader_of(message->bytes.data + 1, message->bytes.len - 1);
    while (reader.left > 0 && !reader.bad) {
        uint64_t tag = read_varint(&reader);
        uint64_t value = read_varint(&reader);
        const uint8_t *data = NULL;
        if ((tag & 7) == 2) {
            data = read_bytes(&reader, (size_t)value);
        }
        if (tag >> 3 == number && data != NULL) {
            *len_out = (size_t)value;
            return message->bytes.data + (data - message->bytes.data);
        }
    }
    fail_msg("no field %u", number);
    return NULL;
}

static void whisper__with_any_bit_flipped__is_refused(void **state)
{
    struct devices *d = *state;
    device_start(&d->alice, &d->bob, 1, 1);
    device_say(&d->alice, &d->bob, "start");
    device_say(&d->bob, &d->alice, "started");
    struct message message = device_encrypt(&d->alice, &d->bob, "target");
    for (size_t bit = 0; bit < 8 * message.bytes.len; bit++) {
        message.bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        (void)refuse(&d->bob, &d->alice, &message);
        message.bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    size_t len = message.bytes.len;
    for (message.bytes.len = 0; message.bytes.len < len; message.bytes.len++) {
        (void)refuse(&d->bob, &d->alice, &message);
    }
    message.type = E2EE_MESSAGE_PREKEY;
    (void)refuse(&d->bob, &d->alice, &message);
    message.type = E2EE_MESSAGE_SENDER_KEY;
    assert_int_equal(refuse(&d->bob, &d->alice, &message), E2EE_ERR_ARGUMENT);
    message.type = E2EE_MESSAGE_WHISPER;
    OK(device_decrypt(&d->bob, &d->alice, &message, "target"));
    assert_int_equal(refuse(&d->bob, &d->alice, &message), E2EE_ERR_DUPLICATE);
    message_free(&message);
}

/* The registration id of a first message is the one field that nothing in the
 * protocol authenticates; all others are bound by the key agreement or the MAC. */
static void first_message__with_any_byte_damaged__is_refused(void **state)
{
    struct devices *d = *state;
    device_start(&d->alice, &d->bob, 1, 1);
    struct message message = device_encrypt(&d->alice, &d->bob, "target");
    uint8_t *data = message.bytes.data;
    size_t len = message.bytes.len, inner_len;
    size_t registration = (size_t)(field_find(&message, 4, &inner_len) + inner_len - data);
    for (size_t i = 0; i < len; i++) {
        if (i > registration && i <= registration + 2) {
            continue; /* its two value bytes follow the tag */
        }
        uint8_t mask = (uint8_t)(1u << i % 8);
        data[i] ^= mask;
        (void)refuse(&d->bob, &d->alice, &message);
        data[i] ^= mask;
    }
    for (message.bytes.len = 0; message.bytes.len < len; message.bytes.len += 1 + len / 97) {
        (void)refuse(&d->bob, &d->alice, &message);
    }
    message.bytes.len = len;
    message.type = E2EE_MESSAGE_WHISPER;
    (void)refuse(&d->bob, &d->alice, &message);
    message.type = E2EE_MESSAGE_PREKEY;
    OK(device_decrypt(&d->bob, &d->alice, &message, "target"));
    assert_int_equal(refuse(&d->bob, &d->alice, &message), E2EE_ERR_DUPLICATE);

    /* A later message of the same session must agree on the registration id. */
    message_free(&message);
    message = device_encrypt(&d->alice, &d->bob, "second");
    data = message.bytes.data;
    registration = (size_t)(field_find(&message, 4, &inner_len) + inner_len - data);
    data[registration + 1] ^= 1;
    (void)refuse(&d->bob, &d->alice, &message);
    message_free(&message);
}

static void first_message__with_bad_keys__is_refused(void **state)
{
    struct devices *d = *state;
    size_t len;
    device_start(&d->alice, &d->bob, 1, 1);
    struct message message = device_encrypt(&d->alice, &d->bob, "target");
    uint8_t saved[E2EE_PUBLIC_LEN];
    for (uint32_t field = 2; field <= 3; field++) {
        uint8_t *key = field_find(&message, field, &len);
        memcpy(saved, key, sizeof saved);
        memset(key + 1, 0, 32); /* agrees to zero */
        assert_int_equal(refuse(&d->bob, &d->alice, &message), E2EE_ERR_KEY);
        memset(key + 1, 0xff, 32); /* not canonical */
        assert_int_equal(refuse(&d->bob, &d->alice, &message), E2EE_ERR_KEY);
        memcpy(key, saved, sizeof saved);
        key[32] |= 0x80; /* the same point, another encoding */
        assert_int_equal(refuse(&d->bob, &d->alice, &message), E2EE_ERR_KEY);
        memcpy(key, saved, sizeof saved);
    }
    uint8_t *ciphertext = field_find(&message, 8, &len);
    ciphertext[0] = 0x0a; /* ML-KEM-1024 */
    assert_int_equal(refuse(&d->bob, &d->alice, &message), E2EE_ERR_KEY);
    ciphertext[0] = 0x08;
    OK(device_decrypt(&d->bob, &d->alice, &message, "target"));
    message_free(&message);
}

static void versions__other_than_ours__are_told_apart(void **state)
{
    static const uint8_t versions[] = {0x00, 0x33, 0x34, 0x43, 0x45, 0x54, 0xff};
    struct devices *d = *state;
    device_start(&d->alice, &d->bob, 1, 1);
    struct message message = device_encrypt(&d->alice, &d->bob, "target");
    for (size_t i = 0; i < sizeof versions; i++) {
        message.bytes.data[0] = versions[i];
        assert_int_equal(refuse(&d->bob, &d->alice, &message), E2EE_ERR_VERSION);
    }
    message_free(&message);
}

/* Builds messages as a peer with the right keys but other intentions would:
 * the session is opened up, a message is sealed by hand. */
struct forger {
    struct device *from, *to;
    struct session *session;
};

static void forger_init(struct forger *forger, struct device *from, struct device *to)
{
    struct test_record *record = device_session_record(from, to);
    struct e2ee_bytes bytes = {record->data, record->data_len};
    struct reader reader;
    OK(record_open(E2EE_RECORD_SESSION, &bytes, &reader));
    *forger = (struct forger){from, to, session_create(&from->env)};
    OK(session_read(&from->env, &reader, forger->session));
}

static void forger_deinit(struct forger *forger)
{
    session_destroy(&forger->from->env, &forger->session);
}

/* A whisper message with a chosen field 5, keyed with `pq_key`. */
static struct message forge(struct forger *forger, const uint8_t *pq, size_t pq_len,
                            const struct secret32 *pq_key, const uint8_t *addresses)
{
    struct session *session = forger->session;
    struct secret32 chain = session->sender_chain, seed;
    struct message_keys keys;
    uint8_t ciphertext[16], mac[32];
    chain_step(&chain, &seed);
    message_keys_derive(&seed, pq_key, &keys);
    aes_cbc_encrypt(keys.cipher, keys.iv, (const uint8_t *)"forged", 6, ciphertext);
    struct whisper_message whisper = {.ratchet_key = session->sender.public_key,
                                      .counter = session->sender_index,
                                      .previous_counter = session->previous_counter,
                                      .ciphertext = ciphertext,
                                      .ciphertext_len = sizeof ciphertext,
                                      .pq_ratchet = pq,
                                      .pq_ratchet_len = pq_len,
                                      .addresses = addresses};
    struct writer count = {0};
    whisper_write(&count, &whisper);
    struct writer writer = {.out = malloc(count.len + WIRE_MAC_LEN)};
    assert_non_null(writer.out);
    whisper_write(&writer, &whisper);
    struct piece pieces[] = {PIECE(session->local_identity, 33),
                             PIECE(session->remote_identity, 33),
                             PIECE(writer.out, writer.len)};
    hmac_sha256(keys.mac, 32, pieces, 3, mac);
    write_bytes(&writer, mac, WIRE_MAC_LEN);
    return (struct message){E2EE_MESSAGE_WHISPER, {writer.out, writer.len}};
}

static void spqr__downgraded__is_refused(void **state)
{
    struct devices *d = *state;
    struct forger forger;
    static const struct secret32 no_key = {{0}}; /* HKDF without salt */
    struct secret32 key;
    uint8_t pq[SPQR_MESSAGE_MAX];
    size_t len;
    device_start(&d->alice, &d->bob, 1, 1);
    device_say(&d->alice, &d->bob, "start");
    device_say(&d->bob, &d->alice, "started");
    forger_init(&forger, &d->alice, &d->bob);
    struct { const uint8_t *pq; size_t len; enum e2ee_err err; } cases[] = {
        {(const uint8_t[]){0}, 0, E2EE_ERR_VERSION},                   /* none */
        {(const uint8_t[]){0, 1, 1, 0}, 4, E2EE_ERR_VERSION},          /* version 0 */
        {(const uint8_t[]){2, 1, 1, 0}, 4, E2EE_ERR_VERSION},          /* version 2 */
        {(const uint8_t[]){1, 1, 0, 0}, 4, E2EE_ERR_VERSION},          /* no key */
        {(const uint8_t[]){1, 0, 1, 0}, 4, E2EE_ERR_MALFORMED},        /* epoch 0 */
        {(const uint8_t[]){1, 1, 9, 7}, 4, E2EE_ERR_MALFORMED},        /* unknown type */
        {(const uint8_t[]){1, 1, 9, 1, 0, 0}, 6, E2EE_ERR_MALFORMED},  /* short chunk */
        {(const uint8_t[]){1, 1, 9}, 3, E2EE_ERR_MALFORMED},
        {(const uint8_t[]){1, 2, 9, 0}, 4, E2EE_ERR_DECRYPT},          /* a later epoch */
        {(const uint8_t[]){1, 1, 0xff, 0xff, 3, 0}, 6, E2EE_ERR_TOO_FAR},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct message message = forge(&forger, cases[i].pq, cases[i].len, &no_key, NULL);
        assert_string_equal(e2ee_err_name(refuse(&d->bob, &d->alice, &message)),
                            e2ee_err_name(cases[i].err));
        message_free(&message);
    }
    /* The right field, keyed without it: the MAC is under another key. */
    OK(spqr_send(&d->alice.env, &forger.session->spqr, pq, &len, &key));
    struct message message = forge(&forger, pq, len, &no_key, NULL);
    assert_int_equal(refuse(&d->bob, &d->alice, &message), E2EE_ERR_DECRYPT);
    message_free(&message);
    /* Trailing bytes in the field are part of the protocol. */
    pq[len] = 0x55;
    message = forge(&forger, pq, len + 1, &key, NULL);
    OK(device_decrypt(&d->bob, &d->alice, &message, "forged"));
    message_free(&message);
    forger_deinit(&forger);
}

static void addresses__are_optional__but_must_match(void **state)
{
    struct devices *d = *state;
    struct forger forger;
    struct secret32 key;
    uint8_t pq[SPQR_MESSAGE_MAX], addresses[WIRE_ADDRESSES_LEN];
    size_t len;
    device_start(&d->alice, &d->bob, 1, 1);
    device_say(&d->alice, &d->bob, "start");
    forger_init(&forger, &d->alice, &d->bob);
    OK(spqr_send(&d->alice.env, &forger.session->spqr, pq, &len, &key));
    for (size_t i = 0; i < sizeof addresses; i++) {
        addresses_fill(&d->alice.env.self, &d->bob.env.self, addresses);
        addresses[i] ^= 1;
        struct message message = forge(&forger, pq, len, &key, addresses);
        assert_int_equal(refuse(&d->bob, &d->alice, &message), E2EE_ERR_ADDRESS);
        message_free(&message);
    }
    addresses_fill(&d->alice.env.self, &d->bob.env.self, addresses);
    struct message message = forge(&forger, pq, len, &key, addresses);
    OK(device_decrypt(&d->bob, &d->alice, &message, "forged"));
    message_free(&message);
    forger_deinit(&forger);
}

static void braid__fed_with_garbage__stays_consistent(void **state)
{
    struct devices *d = *state;
    struct secret32 auth = {{7}}, secret;
    static struct braid braid;
    bool fresh;
    /* Chunks of a forged header complete, and do not authenticate. */
    braid_init(&braid, &auth, false);
    struct braid_message message = {.epoch = 1, .type = BRAID_HDR};
    for (uint16_t x = 0; x < HDR_BLOCKS; x++) {
        assert_int_equal(braid.state, BRAID_NO_HEADER_RECEIVED);
        message.chunk_number = x;
        enum e2ee_err err = braid_receive(&braid, &message, &fresh, &secret);
        assert_int_equal(err, x + 1 < HDR_BLOCKS ? E2EE_OK : E2EE_ERR_DECRYPT);
    }
    /* Messages that a state has no use for change nothing. */
    for (int type = 0; type < BRAID_TYPE_COUNT; type++) {
        braid_init(&braid, &auth, true);
        message.type = (enum braid_type)type;
        OK(braid_receive(&braid, &message, &fresh, &secret));
        assert_int_equal(braid.state, BRAID_KEYS_UNSAMPLED);
        assert_false(fresh);
    }
    /* A forged ciphertext is found out by its MAC. */
    braid_init(&braid, &auth, true);
    struct braid_message sent;
    OK(braid_send(&d->alice.env, &braid, &sent, &fresh, &secret));
    message.type = BRAID_CT1;
    for (uint16_t x = 0; x < CT1_BLOCKS; x++) {
        message.chunk_number = x;
        OK(braid_receive(&braid, &message, &fresh, &secret));
    }
    assert_int_equal(braid.state, BRAID_CT1_RECEIVED);
    message.type = BRAID_CT2;
    enum e2ee_err err = E2EE_OK;
    for (uint16_t x = 0; x < CT2_BLOCKS; x++) {
        message.chunk_number = x;
        assert_int_equal(err, E2EE_OK);
        err = braid_receive(&braid, &message, &fresh, &secret);
    }
    assert_int_equal(err, E2EE_ERR_DECRYPT);
    assert_false(fresh);
}

/* A parser must take fields in any order, and unknown ones. */
static void message_parse__accepts__any_order_and_unknown_fields(void **state)
{
    (void)state;
    uint8_t data[] = {0x18, 5, 0x12, 2, 'a', 'b', 0x7a, 1, 'x', 0x81, 1, 1, 2,
                      3,    4, 5,    6, 7,   8,   0x08, 9};
    struct field fields[] = {{.number = 1, .required = true},
                             {.number = 2, .is_bytes = true, .len = 2},
                             {.number = 3},
                             {.number = 4}};
    assert_true(message_parse(data, sizeof data, fields, 4));
    assert_int_equal(fields[0].value, 9);
    assert_memory_equal(fields[1].data, "ab", 2);
    assert_int_equal(fields[2].value, 5);
    assert_false(fields[3].seen);
    const struct { const uint8_t *data; size_t len; } bad[] = {
        {(const uint8_t[]){0x08, 1, 0x08, 1}, 4},          /* twice */
        {(const uint8_t[]){0x0a, 0}, 2},                    /* bytes for a number */
        {(const uint8_t[]){0x10, 0}, 2},                    /* a number for bytes */
        {(const uint8_t[]){0x08, 1, 0x12, 1, 'a'}, 5},      /* another length */
        {(const uint8_t[]){0x08, 1, 0x12, 9, 'a'}, 5},      /* past the end */
        {(const uint8_t[]){0x08, 0xff, 0xff, 0xff, 0xff, 0x1f}, 6}, /* above 32 bits */
        {(const uint8_t[]){0x08}, 1},
        {(const uint8_t[]){0x00, 1}, 2},                    /* field 0 */
        {(const uint8_t[]){0x0b}, 1},                       /* a group */
        {(const uint8_t[]){0x18, 1}, 2},                    /* field 1 is missing */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        for (size_t k = 0; k < 4; k++) {
            fields[k].seen = false;
        }
        assert_false(message_parse(bad[i].data, bad[i].len, fields, 4));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(whisper__with_any_bit_flipped__is_refused),
        TEST(first_message__with_any_byte_damaged__is_refused),
        TEST(first_message__with_bad_keys__is_refused),
        TEST(versions__other_than_ours__are_told_apart),
        TEST(spqr__downgraded__is_refused),
        TEST(addresses__are_optional__but_must_match),
        TEST(braid__fed_with_garbage__stays_consistent),
        TEST(message_parse__accepts__any_order_and_unknown_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
