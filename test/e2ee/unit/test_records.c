/* Stored records: version 1 stays readable.
 *
 * test/e2ee/golden/records_v1.txt is the store of a device, one record per
 * line, and messages that it must still open. sessions_v1.txt has a session in
 * each state of the post-quantum ratchet. SOTTO_GOLDEN_WRITE=1 writes a file
 * that is missing; a file that exists is never rewritten, because the point is
 * that what was stored years ago opens today.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "e2ee/ratchet.h"
#include "support.h"

#define RECORDS_PATH "test/e2ee/golden/records_v1.txt"
#define SESSIONS_PATH "test/e2ee/golden/sessions_v1.txt"

enum { LINE_MAX_LEN = 1 << 18 };
static const uint8_t group[E2EE_DISTRIBUTION_ID_LEN] = {0x60, 0x1d};

/* --- the files ------------------------------------------------------------------------ */

static void hex_print(FILE *file, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        fprintf(file, "%02x", data[i]);
    }
}

static void line_write(FILE *file, const char *word, unsigned number, const uint8_t *key,
                       size_t key_len, const uint8_t *data, size_t data_len)
{
    fprintf(file, "%s %u ", word, number);
    hex_print(file, key, key_len);
    fprintf(file, "%s ", key_len == 0 ? "-" : "");
    hex_print(file, data, data_len);
    fprintf(file, "\n");
}

struct line {
    char word[16];
    unsigned number;
    uint8_t key[64];
    size_t key_len;
    uint8_t data[LINE_MAX_LEN / 2];
    size_t data_len;
};

static bool line_read(FILE *file, struct line *line)
{
    static char text[LINE_MAX_LEN], key[256], data[LINE_MAX_LEN];
    if (fgets(text, sizeof text, file) == NULL) {
        return false;
    }
    assert_int_equal(sscanf(text, "%15s %u %255s %262143s", line->word, &line->number, key, data),
                     4);
    line->key_len = strcmp(key, "-") == 0 ? 0 : from_hex(key, line->key, sizeof line->key);
    line->data_len = from_hex(data, line->data, sizeof line->data);
    return true;
}

static bool must_write(const char *path)
{
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        fclose(file);
        return false;
    }
    assert_int_equal(errno, ENOENT);
    return getenv("SOTTO_GOLDEN_WRITE") != NULL;
}

static void message_write(FILE *file, const struct message *message, const char *text)
{
    line_write(file, "message", message->type, (const uint8_t *)text, strlen(text),
               message->bytes.data, message->bytes.len);
}

/* A store with every kind of record, and messages of bob that are under way. */
static void records_write(void)
{
    struct device alice, bob;
    struct e2ee_bytes bytes;
    device_init(&alice, 101, 0xa, 1);
    device_init(&bob, 102, 0xb, 1);
    device_publish(&alice);
    device_publish(&bob);
    device_start(&bob, &alice, 2, 1);
    device_say(&bob, &alice, "start");
    device_say(&alice, &bob, "started");
    struct message archived = device_encrypt(&bob, &alice, "archived");
    device_start(&bob, &alice, 1, 2);
    for (int i = 0; i < 20; i++) {
        device_say(&bob, &alice, "talk");
        device_say(&alice, &bob, "talk");
    }
    struct message late = device_encrypt(&bob, &alice, "late");
    device_say(&bob, &alice, "on time");
    struct message next = device_encrypt(&bob, &alice, "next");
    OK(e2ee_group_distribute(&alice.env, group, &bytes));
    e2ee_bytes_free(&alice.env, &bytes);
    OK(e2ee_group_distribute(&bob.env, group, &bytes));
    OK(e2ee_group_process(&alice.env, &bob.env.self, bytes.data, bytes.len));
    e2ee_bytes_free(&bob.env, &bytes);
    OK(e2ee_group_encrypt(&bob.env, group, (const uint8_t *)"group", 5, &bytes));

    FILE *file = fopen(RECORDS_PATH, "w");
    assert_non_null(file);
    for (size_t i = 0; i < alice.record_count; i++) {
        const struct test_record *record = &alice.records[i];
        bool spare = record->kind == E2EE_RECORD_PREKEY && record->key[3] > 3;
        if (!spare) {
            line_write(file, "record", record->kind, record->key, record->key_len, record->data,
                       record->data_len);
        }
    }
    message_write(file, &next, "next");
    message_write(file, &late, "late");
    message_write(file, &archived, "archived");
    struct message group_message = {E2EE_MESSAGE_SENDER_KEY, bytes};
    message_write(file, &group_message, "group");
    assert_int_equal(fclose(file), 0);
    e2ee_bytes_free(&bob.env, &bytes);
    message_free(&archived);
    message_free(&late);
    message_free(&next);
    device_deinit(&alice);
    device_deinit(&bob);
}

static void open_golden_message(struct device *alice, const struct e2ee_address *bob,
                                const struct line *line)
{
    struct e2ee_bytes plaintext;
    enum e2ee_err err =
        line->number == E2EE_MESSAGE_SENDER_KEY
            ? e2ee_group_decrypt(&alice->env, bob, line->data, line->data_len, NULL, &plaintext)
            : e2ee_session_decrypt(&alice->env, bob, (enum e2ee_message_type)line->number,
                                   line->data, line->data_len, &plaintext, NULL);
    assert_string_equal(e2ee_err_name(err), "ok");
    assert_int_equal(plaintext.len, line->key_len);
    assert_memory_equal(plaintext.data, line->key, line->key_len);
    e2ee_bytes_free(&alice->env, &plaintext);
}

static void records_of_version_1__still_work(void **state)
{
    static struct line line;
    struct device alice;
    unsigned kinds = 0;
    (void)state;
    if (must_write(RECORDS_PATH)) {
        records_write();
    }
    device_init(&alice, 1, 0xa, 1);
    struct e2ee_address bob = alice.env.self;
    bob.service_id[16] = 0xb;
    FILE *file = fopen(RECORDS_PATH, "r");
    assert_non_null(file);
    while (line_read(file, &line)) {
        if (strcmp(line.word, "record") == 0) {
            OK(alice.env.store.save(&alice, (enum e2ee_record)line.number, line.key,
                                    line.key_len, line.data, line.data_len));
            kinds |= 1u << line.number;
        } else {
            open_golden_message(&alice, &bob, &line);
        }
    }
    fclose(file);
    assert_int_equal(kinds, 0x3fe); /* 1..9 */

    struct e2ee_peer peer;
    struct e2ee_prekey_info info;
    struct e2ee_bundle bundle;
    struct e2ee_bytes bytes;
    uint32_t registration, prekey_id = 3;
    OK(e2ee_identity_get(&alice.env, NULL, &registration));
    assert_int_equal(registration, 1001);
    OK(e2ee_peer_get(&alice.env, bob.service_id, &peer));
    assert_int_equal(peer.since_ms, 1750000000000);
    OK(e2ee_prekey_info(&alice.env, E2EE_RECORD_KEM_PREKEY, 2, &info));
    assert_true(info.last_resort);
    OK(e2ee_bundle_make(&alice.env, 1, 2, &prekey_id, &bundle));
    OK(e2ee_bundle_check(&bundle));
    OK(e2ee_group_encrypt(&alice.env, group, NULL, 0, &bytes));
    e2ee_bytes_free(&alice.env, &bytes);
    device_deinit(&alice);
}

/* --- sessions ----------------------------------------------------------------------------- */

static struct session *session_load(struct device *device, const uint8_t *data, size_t len)
{
    struct e2ee_bytes bytes = {(uint8_t *)data, len};
    struct session *session = session_create(&device->env);
    struct reader reader;
    assert_non_null(session);
    OK(record_open(E2EE_RECORD_SESSION, &bytes, &reader));
    OK(session_read(&device->env, &reader, session));
    return session;
}

static void sessions_write(void)
{
    struct device devices[2];
    unsigned seen = 0;
    FILE *file = fopen(SESSIONS_PATH, "w");
    assert_non_null(file);
    device_init(&devices[0], 201, 0xa, 1);
    device_init(&devices[1], 202, 0xb, 1);
    device_publish(&devices[0]);
    device_publish(&devices[1]);
    device_start(&devices[0], &devices[1], 1, 1);
    struct test_random random;
    test_random_seed(&random, 5);
    for (unsigned i = 0; seen != (1u << BRAID_STATE_COUNT) - 1; i++) {
        struct device *from = &devices[i % 2], *to = &devices[1 - i % 2];
        assert_true(i < 3000);
        struct message message = device_encrypt(from, to, "x");
        if (i < 2 || test_random_below(&random, 4) > 0) {
            OK(device_decrypt(to, from, &message, "x"));
        }
        message_free(&message);
        for (unsigned side = 0; side < 2; side++) {
            struct test_record *record =
                device_session_record(&devices[side], &devices[1 - side]);
            struct session *session =
                session_load(&devices[side], record->data, record->data_len);
            unsigned braid_state = session->spqr.braid.state;
            session_destroy(&devices[side].env, &session);
            if ((seen & 1u << braid_state) == 0) {
                seen |= 1u << braid_state;
                line_write(file, "session", braid_state, NULL, 0, record->data,
                           record->data_len);
            }
        }
    }
    assert_int_equal(fclose(file), 0);
    device_deinit(&devices[0]);
    device_deinit(&devices[1]);
}

/* Each state loads, and stores as the same bytes. */
static void sessions_of_version_1__keep_their_bytes(void **state)
{
    static struct line line;
    struct device device;
    unsigned seen = 0;
    (void)state;
    if (must_write(SESSIONS_PATH)) {
        sessions_write();
    }
    device_init(&device, 1, 0xa, 1);
    FILE *file = fopen(SESSIONS_PATH, "r");
    assert_non_null(file);
    while (line_read(file, &line)) {
        struct e2ee_bytes again;
        struct session *session = session_load(&device, line.data, line.data_len);
        assert_int_equal(session->spqr.braid.state, line.number);
        seen |= 1u << line.number;
        OK(record_seal(&device.env, E2EE_RECORD_SESSION, session_write, session, &again));
        assert_int_equal(again.len, line.data_len);
        assert_memory_equal(again.data, line.data, line.data_len);
        e2ee_bytes_free(&device.env, &again);
        session_destroy(&device.env, &session);
    }
    fclose(file);
    assert_int_equal(seen, (1u << BRAID_STATE_COUNT) - 1);
    device_deinit(&device);
}

/* Every prefix of a body, framed correctly, is an error; so is a longer one. */
static void session_body__truncated_or_longer__is_corrupt(void **state)
{
    static struct line line;
    struct device device;
    (void)state;
    device_init(&device, 1, 0xa, 1);
    FILE *file = fopen(SESSIONS_PATH, "r");
    assert_non_null(file);
    while (line_read(file, &line)) {
        const uint8_t *body = line.data + 4;
        size_t body_len = line.data_len - RECORD_OVERHEAD;
        for (size_t len = 0; len <= body_len + 1; len += len < 300 || len + 300 > body_len ? 1 : 37) {
            if (len == body_len) {
                continue;
            }
            struct session *session = session_create(&device.env);
            struct reader reader = reader_of(body, len);
            assert_int_equal(session_read(&device.env, &reader, session), E2EE_ERR_CORRUPT);
            session_destroy(&device.env, &session);
        }
    }
    fclose(file);
    device_deinit(&device);
}

static void record__of_another_kind_or_version__is_corrupt(void **state)
{
    struct device device;
    struct e2ee_bytes record;
    struct reader reader;
    struct e2ee_peer peer = {0};
    (void)state;
    device_init(&device, 1, 0xa, 1);
    OK(peer_seal(&device.env, &peer, &record));
    OK(record_open(E2EE_RECORD_PEER, &record, &reader));
    assert_int_equal(record_open(E2EE_RECORD_SELF, &record, &reader), E2EE_ERR_CORRUPT);
    for (size_t bit = 0; bit < 8 * record.len; bit++) {
        record.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(record_open(E2EE_RECORD_PEER, &record, &reader), E2EE_ERR_CORRUPT);
        record.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    e2ee_bytes_free(&device.env, &record);
    device_deinit(&device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_of_version_1__still_work),
        cmocka_unit_test(sessions_of_version_1__keep_their_bytes),
        cmocka_unit_test(session_body__truncated_or_longer__is_corrupt),
        cmocka_unit_test(record__of_another_kind_or_version__is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
