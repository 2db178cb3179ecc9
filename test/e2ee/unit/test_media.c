/* Media: every size, every range, every damage; golden object; failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "e2ee/hash_fast.h"
#include "e2ee/media.h"
#include "e2ee/unit/golden.h"
#include "e2ee/unit/plain_env.h"

enum { OBJECT_MAX = 8 * E2EE_MEDIA_SEALED_LEN };

struct object {
    uint8_t *bytes;
    struct e2ee_media_layout layout;
    uint8_t descriptor[E2EE_MEDIA_DESCRIPTOR_LEN];
};

static uint8_t medium_byte(uint64_t at)
{
    return (uint8_t)(at * 31 + (at >> 8) * 7 + 1);
}

static enum e2ee_err write_object(struct plain_env *plain, uint64_t size, struct object *object)
{
    struct e2ee_media_writer *writer = NULL;
    enum e2ee_err err = e2ee_media_writer_create(&plain->env, size, &writer);
    if (err != E2EE_OK) return err;
    object->layout = *e2ee_media_writer_layout(writer);
    assert_true(object->layout.object_size <= OBJECT_MAX);
    object->bytes = calloc(1, OBJECT_MAX);
    uint8_t *data = malloc(E2EE_MEDIA_CHUNK_LEN), *at = object->bytes;
    for (uint32_t i = 0; i < object->layout.chunks; i++) {
        size_t len = e2ee_media_data_len(&object->layout, i);
        for (size_t k = 0; k < len; k++) data[k] = medium_byte((uint64_t)i * 65536 + k);
        assert_int_equal(e2ee_media_writer_chunk(writer, data, len, at), E2EE_OK);
        at += e2ee_media_sealed_len(&object->layout, i);
    }
    const uint8_t *hashes;
    size_t hashes_len;
    assert_int_equal(e2ee_media_writer_finish(writer, &hashes, &hashes_len, object->descriptor),
                     E2EE_OK);
    assert_int_equal(at - object->bytes, object->layout.hashes_at);
    memcpy(at, hashes, hashes_len);
    assert_int_equal(at - object->bytes + (ptrdiff_t)hashes_len, object->layout.object_size);
    free(data);
    e2ee_media_writer_destroy(&writer);
    assert_null(writer);
    return E2EE_OK;
}

static struct e2ee_media_reader *open_object(struct plain_env *plain, const struct object *object)
{
    struct e2ee_media_reader *reader = NULL;
    assert_int_equal(e2ee_media_reader_create(&plain->env, object->descriptor,
                                              E2EE_MEDIA_DESCRIPTOR_LEN, &reader),
                     E2EE_OK);
    assert_int_equal(e2ee_media_reader_hashes(reader, object->bytes + object->layout.hashes_at,
                                              (size_t)object->layout.chunks * 32),
                     E2EE_OK);
    return reader;
}

static void media__object__every_chunk_opens_alone(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {0, 1, 511, 512, 513, 4096, 4097, 65535, 65536, 65537, 131072, 200000, 400001};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        struct plain_env plain;
        plain_env_init(&plain, s);
        struct object object;
        assert_int_equal(write_object(&plain, sizes[s], &object), E2EE_OK);
        assert_true(object.layout.padded >= sizes[s] && object.layout.padded <= sizes[s] + 512 + sizes[s] / 32);
        struct e2ee_media_reader *reader = open_object(&plain, &object);
        uint8_t *data = malloc(E2EE_MEDIA_CHUNK_LEN);
        for (uint32_t i = object.layout.chunks; i-- > 0;) {
            size_t len = 0;
            assert_int_equal(
                e2ee_media_reader_chunk(reader, i, object.bytes + (size_t)i * E2EE_MEDIA_SEALED_LEN,
                                        e2ee_media_sealed_len(&object.layout, i), data, &len),
                E2EE_OK);
            assert_int_equal(len, e2ee_media_data_len(&object.layout, i));
            for (size_t k = 0; k < len; k++) {
                if (data[k] != medium_byte((uint64_t)i * 65536 + k)) fail();
            }
        }
        free(data);
        free(object.bytes);
        e2ee_media_reader_destroy(&reader);
        assert_int_equal(plain.live, 0);
    }
}

static void media__range__covers_exactly_its_chunks(void **state)
{
    (void)state;
    struct e2ee_media_layout layout;
    struct e2ee_media_range range;
    assert_int_equal(e2ee_media_layout(200000, &layout), E2EE_OK);
    assert_int_equal(e2ee_media_range(&layout, 65535, 2, &range), E2EE_OK);
    assert_int_equal(range.first_chunk, 0);
    assert_int_equal(range.chunk_count, 2);
    assert_int_equal(range.object_offset, 0);
    assert_int_equal(range.object_len, 2 * E2EE_MEDIA_SEALED_LEN);
    assert_int_equal(range.skip, 65535);
    assert_int_equal(e2ee_media_range(&layout, 199999, 1, &range), E2EE_OK);
    assert_int_equal(range.first_chunk, 3);
    assert_int_equal(range.object_offset + range.object_len, layout.hashes_at);
    assert_int_equal(e2ee_media_range(&layout, 199999, 2, &range), E2EE_ERR_ARGUMENT);
    assert_int_equal(e2ee_media_range(&layout, 0, 0, &range), E2EE_ERR_ARGUMENT);
    assert_int_equal(e2ee_media_range(&layout, UINT64_MAX, 2, &range), E2EE_ERR_ARGUMENT);
    assert_int_equal(e2ee_media_layout(E2EE_MEDIA_SIZE_MAX + 1, &layout), E2EE_ERR_ARGUMENT);
    assert_int_equal(e2ee_media_layout(E2EE_MEDIA_SIZE_MAX, &layout), E2EE_OK);
    assert_true(layout.padded == E2EE_MEDIA_SIZE_MAX);
}

/* Sizes never shrink as a medium grows, and near sizes look alike. */
static void media__padding__is_monotonic_and_bounded(void **state)
{
    (void)state;
    uint64_t before = 0;
    for (uint64_t size = 0; size < 300000; size += 37) {
        struct e2ee_media_layout layout;
        assert_int_equal(e2ee_media_layout(size, &layout), E2EE_OK);
        assert_true(layout.padded >= before && layout.padded >= size && layout.padded > 0);
        before = layout.padded;
    }
}

static void media__damage__is_refused_everywhere(void **state)
{
    (void)state;
    struct plain_env plain;
    plain_env_init(&plain, 5);
    struct object object;
    assert_int_equal(write_object(&plain, 150000, &object), E2EE_OK);
    struct e2ee_media_reader *reader = open_object(&plain, &object);
    const struct e2ee_media_layout *layout = &object.layout;
    uint8_t *data = malloc(E2EE_MEDIA_CHUNK_LEN);
    size_t len = 7;
    assert_int_equal(layout->chunks, 3);
    uint8_t *second = object.bytes + E2EE_MEDIA_SEALED_LEN;
    for (size_t at = 0; at < E2EE_MEDIA_SEALED_LEN; at += 997) {
        second[at] ^= 1;
        assert_int_equal(e2ee_media_reader_chunk(reader, 1, second, E2EE_MEDIA_SEALED_LEN, data, &len),
                         E2EE_ERR_DECRYPT);
        second[at] ^= 1;
    }
    /* A chunk in another's place, short, long, beyond the end. */
    assert_int_equal(e2ee_media_reader_chunk(reader, 0, second, E2EE_MEDIA_SEALED_LEN, data, &len),
                     E2EE_ERR_DECRYPT);
    assert_int_equal(e2ee_media_reader_chunk(reader, 1, second, E2EE_MEDIA_SEALED_LEN - 1, data, &len),
                     E2EE_ERR_MALFORMED);
    assert_int_equal(e2ee_media_reader_chunk(reader, 2, second, E2EE_MEDIA_SEALED_LEN, data, &len),
                     E2EE_ERR_MALFORMED);
    assert_int_equal(e2ee_media_reader_chunk(reader, 3, second, E2EE_MEDIA_SEALED_LEN, data, &len),
                     E2EE_ERR_ARGUMENT);
    assert_int_equal(len, 7);
    /* Hashes: changed, cut; afterwards nothing opens until good ones come. */
    uint8_t *hashes = object.bytes + layout->hashes_at;
    assert_int_equal(e2ee_media_reader_hashes(reader, hashes, 64), E2EE_ERR_MALFORMED);
    hashes[40] ^= 8;
    assert_int_equal(e2ee_media_reader_hashes(reader, hashes, 96), E2EE_ERR_DECRYPT);
    assert_int_equal(e2ee_media_reader_chunk(reader, 1, second, E2EE_MEDIA_SEALED_LEN, data, &len),
                     E2EE_ERR_ARGUMENT);
    hashes[40] ^= 8;
    assert_int_equal(e2ee_media_reader_hashes(reader, hashes, 96), E2EE_OK);
    e2ee_media_reader_destroy(&reader);

    /* Any byte of the descriptor. */
    for (size_t at = 0; at < E2EE_MEDIA_DESCRIPTOR_LEN; at++) {
        object.descriptor[at] ^= 0x40;
        enum e2ee_err err = e2ee_media_reader_create(&plain.env, object.descriptor,
                                                     E2EE_MEDIA_DESCRIPTOR_LEN, &reader);
        if (err == E2EE_OK) {
            bool right_key = at >= 33 || at == 0;
            err = e2ee_media_reader_hashes(reader, hashes, 96);
            if (err == E2EE_OK) {
                assert_false(right_key);
                err = e2ee_media_reader_chunk(reader, 1, second, E2EE_MEDIA_SEALED_LEN, data, &len);
            }
            e2ee_media_reader_destroy(&reader);
        }
        assert_int_not_equal(err, E2EE_OK);
        object.descriptor[at] ^= 0x40;
    }
    for (size_t cut = 0; cut < E2EE_MEDIA_DESCRIPTOR_LEN; cut++) {
        assert_int_equal(e2ee_media_reader_create(&plain.env, object.descriptor, cut, &reader),
                         E2EE_ERR_MALFORMED);
    }
    free(data);
    free(object.bytes);
    assert_int_equal(plain.live, 0);
}

/* Somebody who has the key makes another chunk with a good tag: the hashes
 * refuse it. */
static void media__insider__cannot_replace_a_chunk(void **state)
{
    (void)state;
    struct plain_env plain;
    plain_env_init(&plain, 6);
    struct object object, other;
    assert_int_equal(write_object(&plain, 1000, &object), E2EE_OK);
    plain_env_init(&plain, 6); /* the same key, another medium */
    struct e2ee_media_writer *writer;
    assert_int_equal(e2ee_media_writer_create(&plain.env, 1000, &writer), E2EE_OK);
    other.bytes = calloc(1, OBJECT_MAX);
    uint8_t forged[1000] = "forged";
    assert_int_equal(e2ee_media_writer_chunk(writer, forged, sizeof(forged), other.bytes), E2EE_OK);
    e2ee_media_writer_destroy(&writer);

    struct e2ee_media_reader *reader = open_object(&plain, &object);
    uint8_t *data = malloc(E2EE_MEDIA_CHUNK_LEN);
    size_t len;
    assert_int_equal(e2ee_media_reader_chunk(reader, 0, other.bytes,
                                             e2ee_media_sealed_len(&object.layout, 0), data, &len),
                     E2EE_ERR_DECRYPT);
    e2ee_media_reader_destroy(&reader);
    free(data);
    free(object.bytes);
    free(other.bytes);
}

static void media__writer__refuses_wrong_order(void **state)
{
    (void)state;
    struct plain_env plain;
    plain_env_init(&plain, 7);
    struct e2ee_media_writer *writer;
    uint8_t data[100] = {0}, sealed[1000], descriptor[E2EE_MEDIA_DESCRIPTOR_LEN];
    const uint8_t *hashes;
    size_t hashes_len;
    assert_int_equal(e2ee_media_writer_create(&plain.env, 100, &writer), E2EE_OK);
    assert_int_equal(e2ee_media_writer_finish(writer, &hashes, &hashes_len, descriptor),
                     E2EE_ERR_ARGUMENT);
    assert_int_equal(e2ee_media_writer_chunk(writer, data, 99, sealed), E2EE_ERR_ARGUMENT);
    assert_int_equal(e2ee_media_writer_chunk(writer, data, 100, sealed), E2EE_OK);
    assert_int_equal(e2ee_media_writer_chunk(writer, data, 0, sealed), E2EE_ERR_ARGUMENT);
    assert_int_equal(e2ee_media_writer_finish(writer, &hashes, &hashes_len, descriptor), E2EE_OK);
    e2ee_media_writer_destroy(&writer);
    e2ee_media_writer_destroy(&writer);
    assert_int_equal(e2ee_media_writer_create(&plain.env, E2EE_MEDIA_SIZE_MAX + 1, &writer),
                     E2EE_ERR_ARGUMENT);
}

static void media__failures__leave_nothing_behind(void **state)
{
    (void)state;
    struct plain_env plain;
    plain_env_init(&plain, 8);
    struct object object;
    assert_int_equal(write_object(&plain, 1000, &object), E2EE_OK);
    for (int allowed = 0; allowed < 2; allowed++) {
        plain.allocs_left = allowed;
        struct e2ee_media_writer *writer = NULL;
        assert_int_equal(e2ee_media_writer_create(&plain.env, 1000, &writer), E2EE_ERR_MEMORY);
        assert_null(writer);
        plain.allocs_left = allowed;
        struct e2ee_media_reader *reader = NULL;
        assert_int_equal(e2ee_media_reader_create(&plain.env, object.descriptor,
                                                  E2EE_MEDIA_DESCRIPTOR_LEN, &reader),
                         E2EE_ERR_MEMORY);
        assert_null(reader);
        assert_int_equal(plain.live, 0);
    }
    plain.allocs_left = -1;
    plain.random_left = 0;
    struct e2ee_media_writer *writer = NULL;
    assert_int_equal(e2ee_media_writer_create(&plain.env, 1000, &writer), E2EE_ERR_RANDOM);
    assert_int_equal(plain.live, 0);
    free(object.bytes);
}

static void media__golden__object_of_version_1(void **state)
{
    (void)state;
    struct plain_env plain;
    plain_env_init(&plain, 9);
    struct object object;
    assert_int_equal(write_object(&plain, 70000, &object), E2EE_OK);
    /* The large parts by their hashes. */
    uint8_t golden[E2EE_MEDIA_DESCRIPTOR_LEN + 64 + 32];
    memcpy(golden, object.descriptor, E2EE_MEDIA_DESCRIPTOR_LEN);
    memcpy(golden + E2EE_MEDIA_DESCRIPTOR_LEN, object.bytes + object.layout.hashes_at, 64);
    sha256(object.bytes, object.layout.object_size, golden + E2EE_MEDIA_DESCRIPTOR_LEN + 64);
    assert_true(golden_matches("media-v1.bin", golden, sizeof(golden)));
    free(object.bytes);
}

static void hash_fast__every_length__equals_libsodium(void **state)
{
    (void)state;
    uint8_t data[1024], fast[32], plain[32];
    for (size_t i = 0; i < sizeof(data); i++) data[i] = medium_byte(i);
    for (size_t len = 0; len <= sizeof(data); len++) {
        hash_fast_sha256(hash_fast_available(), data, len, fast);
        sha256(data, len, plain);
        assert_memory_equal(fast, plain, 32);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(media__object__every_chunk_opens_alone),
        cmocka_unit_test(media__range__covers_exactly_its_chunks),
        cmocka_unit_test(media__padding__is_monotonic_and_bounded),
        cmocka_unit_test(media__damage__is_refused_everywhere),
        cmocka_unit_test(media__insider__cannot_replace_a_chunk),
        cmocka_unit_test(media__writer__refuses_wrong_order),
        cmocka_unit_test(media__failures__leave_nothing_behind),
        cmocka_unit_test(media__golden__object_of_version_1),
        cmocka_unit_test(hash_fast__every_length__equals_libsodium),
    };
    if (e2ee_init() != E2EE_OK) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
