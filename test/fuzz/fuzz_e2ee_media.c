/* Media: arbitrary descriptors, hashes and chunks; and good objects damaged.
 *
 * Input: a descriptor, then up to a few chunks' worth of object. The first
 * byte decides whether the rest is taken as it is or laid over a good object,
 * of which a chunk that opens must be the chunk that was written. */
#include <stdlib.h>
#include <string.h>

#include "e2ee/media.h"
#include "e2ee/unit/plain_env.h"

enum { SIZE = 3000, OBJECT_MAX = 70000 };

static void read_all(struct plain_env *plain, const uint8_t *descriptor, size_t descriptor_len,
                     const uint8_t *object, size_t object_len, bool must_be_ours)
{
    struct e2ee_media_reader *reader = NULL;
    if (e2ee_media_reader_create(&plain->env, descriptor, descriptor_len, &reader) != E2EE_OK) {
        return;
    }
    const struct e2ee_media_layout *layout = e2ee_media_reader_layout(reader);
    uint8_t *data = malloc(E2EE_MEDIA_CHUNK_LEN);
    size_t len, hashes_len = (size_t)layout->chunks * E2EE_MEDIA_HASH_LEN;
    if (layout->object_size == object_len &&
        e2ee_media_reader_hashes(reader, object + layout->hashes_at, hashes_len) == E2EE_OK &&
        e2ee_media_reader_chunk(reader, 0, object, e2ee_media_sealed_len(layout, 0), data, &len) ==
            E2EE_OK &&
        must_be_ours) {
        if (len != SIZE) abort();
        for (size_t i = 0; i < len; i++) {
            if (data[i] != 'm') abort();
        }
    }
    (void)e2ee_media_reader_chunk(reader, 0, object, object_len, data, &len);
    free(data);
    e2ee_media_reader_destroy(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plain_env plain;
    plain_env_init(&plain, 1);
    if (e2ee_init() != E2EE_OK || size < 2 || size > OBJECT_MAX) return 0;
    if (data[0] % 2 == 0) {
        size_t head = size - 1 < E2EE_MEDIA_DESCRIPTOR_LEN ? size - 1 : E2EE_MEDIA_DESCRIPTOR_LEN;
        read_all(&plain, data + 1, head, data + 1 + head, size - 1 - head, false);
    } else {
        static uint8_t medium[SIZE], object[OBJECT_MAX];
        uint8_t descriptor[E2EE_MEDIA_DESCRIPTOR_LEN];
        struct e2ee_media_writer *writer = NULL;
        const uint8_t *hashes;
        size_t hashes_len;
        memset(medium, 'm', SIZE);
        if (e2ee_media_writer_create(&plain.env, SIZE, &writer) != E2EE_OK) return 0;
        struct e2ee_media_layout layout = *e2ee_media_writer_layout(writer);
        if (e2ee_media_writer_chunk(writer, medium, SIZE, object) != E2EE_OK ||
            e2ee_media_writer_finish(writer, &hashes, &hashes_len, descriptor) != E2EE_OK) {
            abort();
        }
        memcpy(object + layout.hashes_at, hashes, hashes_len);
        e2ee_media_writer_destroy(&writer);
        for (size_t i = 1; i + 2 < size; i += 3) { /* place, place, what to change */
            size_t at = ((size_t)data[i] << 8 | data[i + 1]) % (size_t)layout.object_size;
            object[at] ^= data[i + 2];
        }
        read_all(&plain, descriptor, sizeof(descriptor), object, (size_t)layout.object_size, true);
    }
    if (plain.live != 0) abort();
    return 0;
}
