/* Everything that parses bytes from a peer. The first byte picks the parser. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "e2ee/fingerprint.h"
#include "e2ee/group.h"
#include "e2ee/identity.h"
#include "e2ee/prekey.h"
#include "e2ee/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void parse_prekey(const uint8_t *data, size_t len)
{
    struct prekey_message message;
    struct whisper_message inner;
    if (prekey_parse(data, len, &message) != E2EE_OK) {
        return;
    }
    if (whisper_parse(message.inner, message.inner_len, &inner) == E2EE_OK) {
        assert(inner.authenticated_len + WIRE_MAC_LEN == message.inner_len);
    }
    /* What parses can be written, and means the same. */
    struct writer count = {0};
    prekey_message_write(&count, &message);
    struct writer writer = {.out = malloc(count.len)};
    assert(writer.out != NULL);
    prekey_message_write(&writer, &message);
    struct prekey_message again;
    assert(prekey_parse(writer.out, writer.len, &again) == E2EE_OK);
    assert(again.has_prekey == message.has_prekey && again.prekey_id == message.prekey_id &&
           again.inner_len == message.inner_len);
    free(writer.out);
}

static void parse_keys(const uint8_t *data, size_t len)
{
    struct e2ee_bundle bundle = {.registration_id = 1, .device_id = 1};
    uint8_t *at = bundle.identity;
    size_t room = sizeof bundle - offsetof(struct e2ee_bundle, identity);
    memcpy(at, data, len < room ? len : room);
    bundle.has_prekey = len % 2 == 0;
    (void)!e2ee_bundle_check(&bundle);
    if (len >= E2EE_PUBLIC_LEN) {
        (void)!e2ee_public_key_check(data);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct whisper_message whisper;
    struct distribution_message distribution;
    struct sender_key_message sender_key;
    uint8_t id[E2EE_DISTRIBUTION_ID_LEN];
    bool equal;

    if (len == 0 || e2ee_init() != E2EE_OK) {
        return 0;
    }
    uint8_t choice = data[0];
    data++;
    len--;
    switch (choice % 6) {
    case 0:
        (void)!whisper_parse(data, len, &whisper);
        break;
    case 1:
        parse_prekey(data, len);
        break;
    case 2:
        (void)!distribution_parse(data, len, &distribution);
        (void)!e2ee_group_distribution_id(data, len, id);
        break;
    case 3:
        (void)!sender_key_parse(data, len, &sender_key);
        (void)!e2ee_group_message_id(data, len, id);
        break;
    case 4: {
        static struct e2ee_fingerprint local;
        (void)!e2ee_fingerprint_compare(&local, data, len, &equal);
        break;
    }
    default:
        parse_keys(data, len);
        break;
    }
    return 0;
}
