/* The post-quantum ratchet against a peer who sends anything: a sequence of
 * messages, each a length byte and that many bytes, into a live state that
 * also sends in between; then through its stored form and on. */
#include <assert.h>
#include <string.h>

#include "e2ee/spqr.h"
#include "e2ee/unit/support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_stored_form(struct device *device, struct spqr *spqr)
{
    static uint8_t first[1 << 19], second[1 << 19];
    struct writer count = {0};
    spqr_write(&count, spqr);
    assert(count.len <= sizeof first);
    struct writer writer = {.out = first};
    spqr_write(&writer, spqr);
    static struct spqr loaded;
    memset(&loaded, 0, sizeof loaded);
    struct reader reader = reader_of(first, writer.len);
    enum e2ee_err err = spqr_read(&device->env, &reader, &loaded);
    assert(err == E2EE_OK && reader_done(&reader));
    struct writer again = {.out = second};
    spqr_write(&again, &loaded);
    assert(again.len == writer.len && memcmp(first, second, writer.len) == 0);
    spqr_deinit(&device->env, &loaded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct device device;
    static struct spqr spqr;
    struct secret32 auth = {{1}}, key;
    uint8_t message[SPQR_MESSAGE_MAX];
    size_t message_len;

    if (len == 0) {
        return 0;
    }
    device_init(&device, 1, 1, 1);
    spqr_init(&spqr, &auth, data[0] & 1);
    struct reader reader = reader_of(data + 1, len - 1);
    enum e2ee_err err = E2EE_OK;
    /* After DECRYPT the state is not for further use. */
    while (reader.left > 0 && err != E2EE_ERR_DECRYPT) {
        uint8_t next = read_u8(&reader);
        if (next & 0x80) {
            err = spqr_send(&device.env, &spqr, message, &message_len, &key);
            assert(err == E2EE_OK);
            continue;
        }
        size_t part = next < reader.left ? next : reader.left;
        err = spqr_receive(&device.env, &spqr, read_bytes(&reader, part), part, 300, &key);
    }
    if (err != E2EE_ERR_DECRYPT) {
        check_stored_form(&device, &spqr);
    }
    spqr_deinit(&device.env, &spqr);
    device_deinit(&device);
    return 0;
}
