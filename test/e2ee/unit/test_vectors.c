/* Derivations, the erasure code and message layouts against static vectors of
 * the official protocol. */
#include <string.h>

#include "e2ee/fingerprint.h"
#include "e2ee/ratchet.h"
#include "support.h"

static struct device device;

static int setup(void **state)
{
    (void)state;
    device_init(&device, 1, 1, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    device_deinit(&device);
    return 0;
}

static void fill(uint8_t *out, uint8_t value)
{
    memset(out, value, 32);
}

static void pqxdh__derives__root_chain_and_message_keys(void **state)
{
    uint8_t secret[6 * 32];
    struct secret32 root, chain, pq, seed, key;
    struct message_keys keys;
    (void)state;
    fill(secret, 0xff);
    for (unsigned i = 1; i < 6; i++) {
        fill(secret + i * 32, (uint8_t)i);
    }
    pqxdh_derive(secret, sizeof secret, &root, &chain, &pq);
    assert_hex(root.bytes, 32,
               "f8db7484c285311aba34ed2fcee24c80ab75b9e27b99c44be4e2222c29af1ced");
    assert_hex(chain.bytes, 32,
               "33b73335338c0dcfc2b22dba3b295cf7a4188c8d9e964fd9643eca3fee9e862f");
    assert_hex(pq.bytes, 32,
               "849222556b99fd51fe9ed71842124cddef3e15e531a1f67c8b542a569dd2308f");
    chain_step(&chain, &seed);
    assert_hex(seed.bytes, 32,
               "bc1d7301d62810ca18e102fe669cbf91bf7e5776fe4485492e3a880e1524ed7e");
    assert_hex(chain.bytes, 32,
               "86c353034fdcf874099dba8474538c972a7d6e5df852ef759139ae141e40a30d");
    fill(key.bytes, 9);
    message_keys_derive(&seed, &key, &keys);
    assert_hex(keys.cipher, 32,
               "29914c4e6422f864243c00edf83fd1d9b8a166660741610fbf7924fc6650080f");
    assert_hex(keys.mac, 32, "fa0337c468bad4161b84eef857915cb8306e091ee2e4a6669a0eeff10bdc621d");
    assert_hex(keys.iv, 16, "c0fac000c2c11f92208791d3b43200b1");
    uint8_t group[48];
    hkdf_sha256(NULL, 0, seed.bytes, 32, (const uint8_t *)"WhisperGroup", 12, group, 48);
    assert_hex(group, 16, "1aa787d96da632bf102fd77697fccd9e");
    assert_hex(group + 16, 32,
               "02f5ab67c6948c12b7e6984eb1535364d74644357b0b9a86f69f26b34b15b689");
}

static void pqchain__derives__start_and_first_key(void **state)
{
    struct secret32 auth, key;
    struct pqchain chain;
    uint32_t index;
    (void)state;
    fill(auth.bytes, 0x29);
    pqchain_init(&chain, &auth, true);
    assert_hex(chain.next_root.bytes, 32,
               "c6f396ad3b038d7bb7eedbabd7c45c83eef0c9c42fca9f44d6f056e4b68be30c");
    assert_hex(chain.epochs[0].send.next.bytes, 32,
               "d45d5d9ebca8f45f591019cfe4231f37663b50de7c9d419e8eb4dd50f3726384");
    assert_hex(chain.epochs[0].receive.next.bytes, 32,
               "598c199754146d732fe1bf89926833f0ed44b8a5220b662bdf0398c28c4f49ab");
    OK(pqchain_send(&device.env, &chain, 0, &index, &key));
    assert_int_equal(index, 1);
    assert_hex(key.bytes, 32,
               "9bcdfae095d09aa8ab367dd231d1d271fe580b555bcc6f64ff079d53d9a9db5d");
    pqchain_deinit(&device.env, &chain);
}

/* Three epochs at most: the one in use for sending, one before, one after. */
static void pqchain__keeps__three_epochs(void **state)
{
    struct secret32 auth, secret, key, first_key;
    struct pqchain alice, bob;
    uint32_t index;
    (void)state;
    fill(auth.bytes, 0x29);
    pqchain_init(&alice, &auth, true);
    pqchain_init(&bob, &auth, false);
    OK(pqchain_send(&device.env, &alice, 0, &index, &first_key));
    for (uint64_t epoch = 1; epoch <= 5; epoch++) {
        fill(secret.bytes, (uint8_t)epoch);
        OK(pqchain_add(&device.env, &alice, epoch, &secret));
        OK(pqchain_add(&device.env, &bob, epoch, &secret));
        assert_true(alice.count <= PQCHAIN_EPOCHS_MAX);
        if (epoch < 3) {
            OK(pqchain_send(&device.env, &bob, epoch, &index, &key));
        }
    }
    assert_int_equal(pqchain_add(&device.env, &alice, 9, &secret), E2EE_ERR_DECRYPT);
    assert_int_equal(pqchain_add(&device.env, &alice, 5, &secret), E2EE_ERR_DECRYPT);
    /* an epoch that is gone, one that was left, one that is not there yet */
    assert_int_equal(pqchain_receive(&device.env, &bob, 0, 1, 10, &key), E2EE_ERR_DECRYPT);
    assert_int_equal(pqchain_send(&device.env, &bob, 1, &index, &key), E2EE_ERR_CORRUPT);
    assert_int_equal(pqchain_receive(&device.env, &bob, 6, 1, 10, &key), E2EE_ERR_DECRYPT);
    OK(pqchain_send(&device.env, &alice, 4, &index, &first_key));
    OK(pqchain_receive(&device.env, &bob, 4, 1, 10, &key));
    assert_memory_equal(key.bytes, first_key.bytes, 32);
    assert_int_equal(pqchain_receive(&device.env, &bob, 4, 1, 10, &key), E2EE_ERR_DUPLICATE);
    assert_int_equal(pqchain_receive(&device.env, &bob, 4, 12, 10, &key), E2EE_ERR_TOO_FAR);
    alice.epochs[alice.count - 1].send.counter = UINT32_MAX;
    assert_int_equal(pqchain_send(&device.env, &alice, 5, &index, &key), E2EE_ERR_EXHAUSTED);
    pqchain_deinit(&device.env, &alice);
    pqchain_deinit(&device.env, &bob);
}

static void reader__never_passes__its_end(void **state)
{
    (void)state;
    static const uint8_t long_varint[] = {0xff, 0xff, 0xff, 0xff, 0xff,
                                          0xff, 0xff, 0xff, 0xff, 0x01};
    struct reader reader = reader_of(long_varint, 10);
    assert_int_equal(read_varint(&reader), UINT64_MAX);
    assert_true(reader_done(&reader));
    uint8_t too_long[11];
    memset(too_long, 0xff, sizeof too_long);
    reader = reader_of(too_long, sizeof too_long);
    assert_int_equal(read_varint(&reader), 0);
    assert_true(reader.bad);
    reader = reader_of((const uint8_t[]){2}, 1);
    assert_false(read_bool(&reader));
    assert_true(reader.bad);
    reader = reader_of(long_varint, 3);
    assert_int_equal(read_u32(&reader), 0);
    assert_null(read_bytes(&reader, 1)); /* once bad, always bad */
    uint8_t out = 7;
    read_into(&reader, &out, 1);
    assert_int_equal(out, 7);
    assert_false(reader_done(&reader));
}

static void braid__derives__authenticator_and_epoch_secret(void **state)
{
    struct secret32 auth, shared, secret;
    static struct braid braid;
    uint8_t header[MLKEM768_HEADER_LEN], mac[32];
    (void)state;
    fill(auth.bytes, 0x29);
    braid_init(&braid, &auth, true);
    assert_hex(braid.auth_root.bytes, 32,
               "486eb283e739a2b7baea016d6a70df801616dfbf3f022b77a27cfaa3360348a0");
    assert_hex(braid.auth_mac.bytes, 32,
               "5a368111ae4f8d5d407e4b9a369e67af9e01d9449cf2b5e50cede3f7ab525a1e");
    memset(header, 7, sizeof header);
    braid_mac_header(&braid, header, mac);
    assert_hex(mac, 32, "e0691af008d1ad2327cd6cae8fba3e14bac42962b088ae0cad4969e8b09c0a56");
    fill(shared.bytes, 8);
    braid_epoch_secret(1, &shared, &secret);
    assert_hex(secret.bytes, 32,
               "8bc818f1ff29112baad760f0258c2009395621f96bc79758867b0fc9d1cf3ce3");
}

static void gf__multiplies_and_divides__vectors(void **state)
{
    (void)state;
    assert_int_equal(gf_multiply(0x1234, 0xabcd), 0x4792);
    assert_int_equal(gf_divide(1, 0x1234), 0x2ce9);
    for (uint32_t a = 1; a < 0x10000; a += 97) {
        assert_int_equal(gf_multiply((uint16_t)a, gf_divide(1, (uint16_t)a)), 1);
        assert_int_equal(gf_multiply((uint16_t)a, 0), 0);
    }
}

static void erasure__encodes__vectors(void **state)
{
    uint8_t message[96], chunk[32];
    (void)state;
    for (unsigned i = 0; i < sizeof message; i++) {
        message[i] = (uint8_t)i;
    }
    erasure_encode(message, 3, 1, chunk);
    assert_memory_equal(chunk, message + 32, 32);
    erasure_encode(message, 3, 3, chunk);
    assert_hex(chunk, 32, "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f");
    erasure_encode(message, 3, 1000, chunk);
    assert_hex(chunk, 32, "de5fdc5dda5bd859d657d455d253d051ce4fcc4dca4bc849c647c445c243c041");
}

/* Any n different chunks, in any order, with repeats. */
static void erasure__decodes__any_chunks(void **state)
{
    static const unsigned sizes[] = {1, 3, 5, 30, 36};
    uint8_t message[ERASURE_BLOCKS_MAX * 32], back[sizeof message], chunk[32];
    struct erasure_decoder decoder;
    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        unsigned blocks = sizes[round % 5];
        uint32_t range = round < 20 ? blocks + 3 : round < 40 ? 200 : 65536;
        assert_true(env_random(&device.env, message, sizeof message));
        erasure_decoder_init(&decoder, blocks);
        for (bool complete = false; !complete;) {
            uint16_t x = (uint16_t)test_random_below(&device.random, range);
            erasure_encode(message, blocks, x, chunk);
            complete = erasure_accept(&decoder, x, chunk);
        }
        erasure_decode(&decoder, back);
        assert_memory_equal(back, message, blocks * 32);
        assert_true(erasure_accept(&decoder, 7, chunk)); /* full: ignored */
    }
}

static void whisper__writes__official_bytes(void **state)
{
    struct curve_pair ratchet, sender, receiver;
    uint8_t key[32], out[200], mac[32], pq[] = {1, 1, 2, 1};
    (void)state;
    fill(key, 0x33);
    curve_pair_from_private(key, &ratchet);
    fill(key, 0x11);
    curve_pair_from_private(key, &sender);
    fill(key, 0x22);
    curve_pair_from_private(key, &receiver);
    struct whisper_message message = {.ratchet_key = ratchet.public_key,
                                      .counter = 7,
                                      .previous_counter = 3,
                                      .ciphertext = (const uint8_t *)"ciphertext-bytes",
                                      .ciphertext_len = 16,
                                      .pq_ratchet = pq,
                                      .pq_ratchet_len = sizeof pq};
    struct writer writer = {.out = out};
    whisper_write(&writer, &message);
    fill(key, 0x44);
    struct piece pieces[] = {PIECE(sender.public_key, 33), PIECE(receiver.public_key, 33),
                             PIECE(out, writer.len)};
    hmac_sha256(key, 32, pieces, 3, mac);
    write_bytes(&writer, mac, WIRE_MAC_LEN);
    assert_hex(out, writer.len,
               "440a21057b0d47d93427f8311160781c7c733fd89f88970aef490d8aa0ee19a4cb8a1b14"
               "100718032210636970686572746578742d62797465732a0401010201e074b61198c7fb8f");

    struct whisper_message parsed;
    OK(whisper_parse(out, writer.len, &parsed));
    assert_int_equal(parsed.counter, 7);
    assert_int_equal(parsed.previous_counter, 3);
    assert_int_equal(parsed.ciphertext_len, 16);
    assert_int_equal(parsed.pq_ratchet_len, 4);
    assert_null(parsed.addresses);
}

static void distribution__writes__official_bytes(void **state)
{
    static const uint8_t id[16] = {0xd1, 0xd1, 0xd1, 0xd1, 0x70, 0x00, 0x11, 0xeb,
                                   0xb3, 0x2a, 0x33, 0xb8, 0xa8, 0xa4, 0x87, 0xa6};
    uint8_t key[32], chain[32], out[200];
    struct curve_pair signing;
    (void)state;
    fill(key, 0x11);
    fill(chain, 0x55);
    curve_pair_from_private(key, &signing);
    struct distribution_message message = {
        .id = id, .chain_id = 31, .chain_key = chain, .signing_key = signing.public_key};
    struct writer writer = {.out = out};
    distribution_write(&writer, &message);
    assert_hex(out, writer.len,
               "330a10d1d1d1d1700011ebb32a33b8a8a487a6101f180022205555555555555555555555"
               "5555555555555555555555555555555555555555552a21057b4e909bbe7ffe44c465a220"
               "037d608ee35897d31ef972f07f74892cb0f73f13");
}

static void fingerprint__makes__official_digits(void **state)
{
    uint8_t alice[33], bob[33];
    struct e2ee_fingerprint one, two;
    bool equal;
    (void)state;
    from_hex("0506863bc66d02b40d27b8d49ca7c09e9239236f9d7d25d6fcca5ce13c7064d868", alice, 33);
    from_hex("05f781b6fb32fed9ba1cf2de978d4d5da28dc34046ae814402b5c0dbd96fda907b", bob, 33);
    const uint8_t *alice_id = (const uint8_t *)"+14152222222";
    const uint8_t *bob_id = (const uint8_t *)"+14153333333";
    OK(e2ee_fingerprint_make(alice_id, 12, alice, bob_id, 12, bob, &one));
    OK(e2ee_fingerprint_make(bob_id, 12, bob, alice_id, 12, alice, &two));
    assert_string_equal(one.digits,
                        "300354477692869396892869876765458257569162576843440918079131");
    assert_string_equal(two.digits, one.digits);
    OK(e2ee_fingerprint_compare(&one, two.qr, sizeof two.qr, &equal));
    assert_true(equal);
    OK(e2ee_fingerprint_compare(&one, one.qr, sizeof one.qr, &equal));
    assert_false(equal);
}

static void fingerprint__tells__damage_from_difference(void **state)
{
    struct curve_pair alice, bob, eve;
    struct e2ee_fingerprint ours, theirs, forged;
    bool equal;
    (void)state;
    assert_true(curve_pair_generate(&device.env, &alice));
    assert_true(curve_pair_generate(&device.env, &bob));
    assert_true(curve_pair_generate(&device.env, &eve));
    const uint8_t *a = (const uint8_t *)"a", *b = (const uint8_t *)"b";
    OK(e2ee_fingerprint_make(a, 1, alice.public_key, b, 1, bob.public_key, &ours));
    OK(e2ee_fingerprint_make(b, 1, bob.public_key, a, 1, alice.public_key, &theirs));
    OK(e2ee_fingerprint_make(b, 1, bob.public_key, a, 1, eve.public_key, &forged));
    assert_string_not_equal(ours.digits, forged.digits);
    OK(e2ee_fingerprint_compare(&ours, forged.qr, sizeof forged.qr, &equal));
    assert_false(equal);
    for (size_t len = 0; len < sizeof theirs.qr; len++) {
        assert_int_not_equal(e2ee_fingerprint_compare(&ours, theirs.qr, len, &equal), E2EE_OK);
    }
    for (size_t i = 0; i < sizeof theirs.qr; i++) {
        theirs.qr[i] ^= 0x10;
        equal = false;
        enum e2ee_err err = e2ee_fingerprint_compare(&ours, theirs.qr, sizeof theirs.qr, &equal);
        assert_true(err == E2EE_ERR_MALFORMED || err == E2EE_ERR_VERSION ||
                    (err == E2EE_OK && !equal));
        theirs.qr[i] ^= 0x10;
    }
    theirs.qr[1] = 3;
    assert_int_equal(e2ee_fingerprint_compare(&ours, theirs.qr, sizeof theirs.qr, &equal),
                     E2EE_ERR_VERSION);
    uint8_t wrong_type[33] = {6};
    assert_int_equal(e2ee_fingerprint_make(a, 1, wrong_type, b, 1, bob.public_key, &ours),
                     E2EE_ERR_KEY);
    assert_int_equal(e2ee_fingerprint_make(a, 0, alice.public_key, b, 1, bob.public_key, &ours),
                     E2EE_ERR_ARGUMENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pqxdh__derives__root_chain_and_message_keys),
        TEST(pqchain__derives__start_and_first_key),
        TEST(pqchain__keeps__three_epochs),
        TEST(reader__never_passes__its_end),
        TEST(braid__derives__authenticator_and_epoch_secret),
        TEST(gf__multiplies_and_divides__vectors),
        TEST(erasure__encodes__vectors),
        TEST(erasure__decodes__any_chunks),
        TEST(whisper__writes__official_bytes),
        TEST(distribution__writes__official_bytes),
        TEST(fingerprint__makes__official_digits),
        TEST(fingerprint__tells__damage_from_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
