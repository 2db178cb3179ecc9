/* Damaged stores: the input is the body of a record, framed correctly, so that
 * the checksum does not stop it. First byte: the kind. The operations that
 * read that kind must answer with an error or work; what a session accepts it
 * must also store and load again. */
#include <assert.h>
#include <string.h>

#include "e2ee/ratchet.h"
#include "e2ee/unit/support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct {
    bool ready;
    struct device alice, bob, saved;
    struct message whisper, first;
} scene;

static void prepare(void)
{
    device_init(&scene.alice, 1, 0xa, 1);
    device_init(&scene.bob, 2, 0xb, 1);
    device_init(&scene.saved, 3, 0xa, 1);
    device_publish(&scene.alice);
    device_publish(&scene.bob);
    device_start(&scene.alice, &scene.bob, 2, 1);
    device_say(&scene.alice, &scene.bob, "start");
    device_say(&scene.bob, &scene.alice, "started");
    scene.whisper = device_encrypt(&scene.bob, &scene.alice, "whisper");
    device_start(&scene.bob, &scene.alice, 2, 5);
    scene.first = device_encrypt(&scene.bob, &scene.alice, "first");
    device_store_copy(&scene.saved, &scene.alice);
    scene.ready = true;
}

struct body {
    const uint8_t *data;
    size_t len;
};

static void body_write(struct writer *writer, const void *object)
{
    const struct body *body = object;
    write_bytes(writer, body->data, body->len);
}

static void record_plant(enum e2ee_record kind, const struct record_key *key, struct body body)
{
    struct e2ee_bytes record;
    OK(record_seal(&scene.alice.env, kind, body_write, &body, &record));
    OK(record_save(&scene.alice.env, kind, key, &record));
    e2ee_bytes_free(&scene.alice.env, &record);
}

static void session_round_trip(struct body body)
{
    struct session *session = session_create(&scene.alice.env);
    struct reader reader = reader_of(body.data, body.len);
    if (session_read(&scene.alice.env, &reader, session) == E2EE_OK) {
        struct writer count = {0};
        session_write(&count, session);
        assert(count.len == body.len);
    }
    session_destroy(&scene.alice.env, &session);
}

static void operate(void)
{
    const struct e2ee_env *env = &scene.alice.env;
    const struct e2ee_address *bob = &scene.bob.env.self;
    static const uint8_t group[E2EE_DISTRIBUTION_ID_LEN] = {7};
    struct e2ee_session_info info;
    struct e2ee_bytes bytes = {0};
    struct e2ee_bundle bundle;
    enum e2ee_message_type type;
    uint32_t prekey = 5;

    (void)!e2ee_session_info(env, bob, &info);
    (void)!e2ee_bundle_make(env, 1, 2, &prekey, &bundle);
    if (e2ee_session_encrypt(env, bob, NULL, 0, &type, &bytes) == E2EE_OK) {
        e2ee_bytes_free(env, &bytes);
    }
    (void)!device_decrypt(&scene.alice, &scene.bob, &scene.whisper, NULL);
    (void)!device_decrypt(&scene.alice, &scene.bob, &scene.first, NULL);
    if (e2ee_group_encrypt(env, group, NULL, 0, &bytes) == E2EE_OK) {
        e2ee_bytes_free(env, &bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (!scene.ready) {
        prepare();
    }
    if (len == 0) {
        return 0;
    }
    static const uint8_t group[E2EE_DISTRIBUTION_ID_LEN] = {7};
    enum e2ee_record kind = (enum e2ee_record)(1 + data[0] % 9);
    struct body body = {data + 1, len - 1};
    struct record_key key = record_key_none();
    switch (kind) {
    case E2EE_RECORD_PEER:
        key = record_key_service(scene.bob.env.self.service_id);
        break;
    case E2EE_RECORD_SESSION:
        session_round_trip(body);
        key = record_key_address(&scene.bob.env.self);
        break;
    case E2EE_RECORD_ARCHIVE:
        key = record_key_address(&scene.bob.env.self);
        break;
    case E2EE_RECORD_PREKEY:
        key = record_key_id(5);
        break;
    case E2EE_RECORD_SIGNED_PREKEY:
        key = record_key_id(1);
        break;
    case E2EE_RECORD_KEM_PREKEY:
        key = record_key_id(2);
        break;
    case E2EE_RECORD_SENDER_KEY:
        key = record_key_group(&scene.alice.env.self, group);
        break;
    default:
        break;
    }
    record_plant(kind, &key, body);
    operate();
    assert(scene.alice.block_count == 0);
    device_store_copy(&scene.alice, &scene.saved);
    return 0;
}
