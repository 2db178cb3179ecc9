/* Arbitrary bytes against a live device: it has a current and an archived
 * session, prekeys and a sender key. Whatever comes, a refused message leaves
 * the store as it was.
 *
 * First byte: what is attacked. Then either the message itself, or changes to
 * a genuine one: pairs of an offset (2 bytes) and what is xored there. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "e2ee/codec.h"
#include "e2ee/unit/support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { WHISPER, FIRST, LATE, GROUP, DISTRIBUTION, GENUINE_COUNT };

static struct {
    bool ready;
    struct device alice, bob, saved;
    struct message genuine[GENUINE_COUNT];
    uint64_t hash;
} scene;

static struct message keep(struct device *device, struct e2ee_bytes bytes)
{
    struct message message = {E2EE_MESSAGE_SENDER_KEY, {malloc(bytes.len), bytes.len}};
    assert(message.bytes.data != NULL);
    memcpy(message.bytes.data, bytes.data, bytes.len);
    e2ee_bytes_free(&device->env, &bytes);
    return message;
}

static void prepare(void)
{
    static const uint8_t group[E2EE_DISTRIBUTION_ID_LEN] = {7};
    struct device *alice = &scene.alice, *bob = &scene.bob;
    struct e2ee_bytes bytes;
    device_init(alice, 1, 0xa, 1);
    device_init(bob, 2, 0xb, 1);
    device_init(&scene.saved, 3, 0xa, 1);
    device_publish(alice);
    device_publish(bob);
    device_start(alice, bob, 2, 1);
    device_say(alice, bob, "start");
    device_say(bob, alice, "started");
    scene.genuine[LATE] = device_encrypt(bob, alice, "late");
    device_start(alice, bob, 2, 2);
    for (int i = 0; i < 25; i++) {
        device_say(alice, bob, "new start");
        device_say(bob, alice, "started");
    }
    scene.genuine[WHISPER] = device_encrypt(bob, alice, "whisper");
    OK(e2ee_group_distribute(&bob->env, group, &bytes));
    OK(e2ee_group_process(&alice->env, &bob->env.self, bytes.data, bytes.len));
    scene.genuine[DISTRIBUTION] = keep(bob, bytes);
    OK(e2ee_group_encrypt(&bob->env, group, (const uint8_t *)"group", 5, &bytes));
    scene.genuine[GROUP] = keep(bob, bytes);
    device_start(bob, alice, 2, 5);
    scene.genuine[FIRST] = device_encrypt(bob, alice, "first");
    device_store_copy(&scene.saved, alice);
    scene.hash = device_store_hash(alice);
    scene.ready = true;
}

static enum e2ee_err attack(unsigned target, const uint8_t *bytes, size_t len)
{
    struct e2ee_bytes plaintext = {0};
    const struct e2ee_env *env = &scene.alice.env;
    const struct e2ee_address *bob = &scene.bob.env.self;
    enum e2ee_err err;
    switch (target) {
    case GROUP:
        err = e2ee_group_decrypt(env, bob, bytes, len, NULL, &plaintext);
        break;
    case DISTRIBUTION:
        err = e2ee_group_process(env, bob, bytes, len);
        break;
    default:
        err = e2ee_session_decrypt(env, bob,
                                   target == FIRST ? E2EE_MESSAGE_PREKEY : E2EE_MESSAGE_WHISPER,
                                   bytes, len, &plaintext, NULL);
        break;
    }
    e2ee_bytes_free(env, &plaintext);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static uint8_t changed[4096];
    if (!scene.ready) {
        prepare();
    }
    if (len == 0) {
        return 0;
    }
    unsigned target = (data[0] >> 1) % GENUINE_COUNT;
    struct reader reader = reader_of(data + 1, len - 1);
    const uint8_t *message = data + 1;
    size_t message_len = len - 1;
    if (data[0] & 1) {
        const struct e2ee_bytes *genuine = &scene.genuine[target].bytes;
        assert(genuine->len <= sizeof changed);
        memcpy(changed, genuine->data, genuine->len);
        while (reader.left >= 3) {
            uint16_t at = read_u16(&reader);
            changed[at % genuine->len] ^= read_u8(&reader);
        }
        message = changed;
        message_len = genuine->len;
    }
    enum e2ee_err err = attack(target, message, message_len);
    assert(scene.alice.block_count == 0);
    if (err == E2EE_OK) {
        device_store_copy(&scene.alice, &scene.saved);
    } else {
        assert(device_store_hash(&scene.alice) == scene.hash);
    }
    return 0;
}
