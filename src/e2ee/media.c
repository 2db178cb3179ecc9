/* Media in chunks. media.h has the format and what it protects from.
 *
 * Rejected: secretstream (each chunk depends on the one before, so nothing can
 * be read from the middle); a digest over the whole object only (a range
 * could not be checked against those who hold the key); a tree of hashes (at
 * 32 bytes per 64 KiB a flat list is 1/2000 of the object and one request).
 */
#include "e2ee/media.h"

#include <string.h>

#include "e2ee/codec.h"
#include "e2ee/crypto.h"
#include "e2ee/hash_fast.h"

enum {
    MEDIA_VERSION = 1,
    LABEL_LEN = 14,
    DIGEST_PREFIX_LEN = LABEL_LEN + 8,
    EXTRA_LEN = LABEL_LEN + 8 + 8 + 1,
};
static const char label[] = "Sotto media v1";

struct media_keys {
    struct secret32 key;
    struct e2ee_media_layout layout;
    bool fast_hash;
    uint8_t *hashes; /* DIGEST_PREFIX_LEN bytes, then 32 per chunk */
    size_t hashes_size;
};

struct e2ee_media_writer {
    const struct e2ee_env *env;
    struct media_keys media;
    uint32_t next;
};

struct e2ee_media_reader {
    const struct e2ee_env *env;
    struct media_keys media;
    uint8_t digest[32];
    bool have_hashes;
};

static uint64_t get_u64(const uint8_t *in)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) value = value << 8 | in[i];
    return value;
}

static uint64_t media_padded(uint64_t size)
{
    uint64_t step = 512;
    if (size > 4096) {
        uint64_t power = 4096;
        while (power * 2 < size) power *= 2; /* power < size <= 2*power */
        step = power / 32;
    }
    return size == 0 ? step : (size + step - 1) / step * step;
}

enum e2ee_err e2ee_media_layout(uint64_t size, struct e2ee_media_layout *layout_out)
{
    if (size > E2EE_MEDIA_SIZE_MAX) return E2EE_ERR_ARGUMENT;
    struct e2ee_media_layout layout = {.size = size, .padded = media_padded(size)};
    layout.chunks = (uint32_t)((layout.padded + E2EE_MEDIA_CHUNK_LEN - 1) / E2EE_MEDIA_CHUNK_LEN);
    layout.hashes_at = layout.padded + (uint64_t)layout.chunks * AEAD_TAG_LEN;
    layout.object_size = layout.hashes_at + (uint64_t)layout.chunks * E2EE_MEDIA_HASH_LEN;
    *layout_out = layout;
    return E2EE_OK;
}

/* How many of `total` bytes fall into chunk `index`. */
static size_t share(uint64_t total, uint32_t index)
{
    uint64_t start = (uint64_t)index * E2EE_MEDIA_CHUNK_LEN;
    if (start >= total) return 0;
    uint64_t left = total - start;
    return left < E2EE_MEDIA_CHUNK_LEN ? (size_t)left : E2EE_MEDIA_CHUNK_LEN;
}

size_t e2ee_media_data_len(const struct e2ee_media_layout *layout, uint32_t index)
{
    return share(layout->size, index);
}

size_t e2ee_media_sealed_len(const struct e2ee_media_layout *layout, uint32_t index)
{
    return index < layout->chunks ? share(layout->padded, index) + AEAD_TAG_LEN : 0;
}

enum e2ee_err e2ee_media_range(const struct e2ee_media_layout *layout, uint64_t offset,
                               uint64_t len, struct e2ee_media_range *range_out)
{
    if (len == 0 || offset > layout->size || len > layout->size - offset) {
        return E2EE_ERR_ARGUMENT;
    }
    uint32_t first = (uint32_t)(offset / E2EE_MEDIA_CHUNK_LEN);
    uint32_t last = (uint32_t)((offset + len - 1) / E2EE_MEDIA_CHUNK_LEN);
    uint64_t start = (uint64_t)first * E2EE_MEDIA_SEALED_LEN;
    uint64_t end = (uint64_t)last * E2EE_MEDIA_SEALED_LEN + e2ee_media_sealed_len(layout, last);
    *range_out = (struct e2ee_media_range){
        .first_chunk = first,
        .chunk_count = last - first + 1,
        .object_offset = start,
        .object_len = end - start,
        .skip = (size_t)(offset % E2EE_MEDIA_CHUNK_LEN),
    };
    return E2EE_OK;
}

/* --- what both sides share -------------------------------------------------- */

static enum e2ee_err media_keys_init(const struct e2ee_env *env, uint64_t size,
                                     struct media_keys *media)
{
    enum e2ee_err err = e2ee_media_layout(size, &media->layout);
    if (err != E2EE_OK) return err;
    media->fast_hash = hash_fast_available();
    media->hashes_size =
        DIGEST_PREFIX_LEN + (size_t)media->layout.chunks * E2EE_MEDIA_HASH_LEN;
    media->hashes = env_alloc(env, media->hashes_size);
    if (media->hashes == NULL) return E2EE_ERR_MEMORY;
    memcpy(media->hashes, label, LABEL_LEN);
    store_be64(media->hashes + LABEL_LEN, size);
    return E2EE_OK;
}

static uint8_t *media_hash(const struct media_keys *media, uint32_t index)
{
    return media->hashes + DIGEST_PREFIX_LEN + (size_t)index * E2EE_MEDIA_HASH_LEN;
}

static void chunk_context(const struct media_keys *media, uint32_t index,
                          uint8_t nonce[AEAD_NONCE_LEN], uint8_t extra[EXTRA_LEN])
{
    memset(nonce, 0, AEAD_NONCE_LEN);
    store_be64(nonce + AEAD_NONCE_LEN - 8, index);
    memcpy(extra, label, LABEL_LEN);
    store_be64(extra + LABEL_LEN, media->layout.size);
    store_be64(extra + LABEL_LEN + 8, index);
    extra[EXTRA_LEN - 1] = index + 1 == media->layout.chunks;
}

/* --- writing ----------------------------------------------------------------- */

enum e2ee_err e2ee_media_writer_create(const struct e2ee_env *env, uint64_t size,
                                       struct e2ee_media_writer **writer_out)
{
    if (size > E2EE_MEDIA_SIZE_MAX) return E2EE_ERR_ARGUMENT;
    struct e2ee_media_writer *writer = env_zalloc(env, sizeof(*writer));
    if (writer == NULL) return E2EE_ERR_MEMORY;
    writer->env = env;
    enum e2ee_err err = media_keys_init(env, size, &writer->media);
    if (err == E2EE_OK && !env_random(env, writer->media.key.bytes, 32)) err = E2EE_ERR_RANDOM;
    if (err != E2EE_OK) {
        e2ee_media_writer_destroy(&writer);
        return err;
    }
    *writer_out = writer;
    return E2EE_OK;
}

const struct e2ee_media_layout *e2ee_media_writer_layout(const struct e2ee_media_writer *writer)
{
    return &writer->media.layout;
}

enum e2ee_err e2ee_media_writer_chunk(struct e2ee_media_writer *writer, const uint8_t *data,
                                      size_t data_len, uint8_t *sealed_out)
{
    struct media_keys *media = &writer->media;
    uint32_t index = writer->next;
    if (index >= media->layout.chunks || data_len != share(media->layout.size, index)) {
        return E2EE_ERR_ARGUMENT;
    }
    uint8_t nonce[AEAD_NONCE_LEN], extra[EXTRA_LEN];
    chunk_context(media, index, nonce, extra);
    size_t plain_len = share(media->layout.padded, index);
    if (data_len < plain_len) { /* padding: encrypt in place */
        if (data_len > 0) memcpy(sealed_out, data, data_len);
        memset(sealed_out + data_len, 0, plain_len - data_len);
        data = sealed_out;
    }
    aead_seal(media->key.bytes, nonce, extra, sizeof(extra), data, plain_len, sealed_out);
    hash_fast_sha256(media->fast_hash, sealed_out, plain_len + AEAD_TAG_LEN,
                     media_hash(media, index));
    writer->next++;
    return E2EE_OK;
}

enum e2ee_err e2ee_media_writer_finish(struct e2ee_media_writer *writer,
                                       const uint8_t **hashes_out, size_t *hashes_len_out,
                                       uint8_t descriptor_out[E2EE_MEDIA_DESCRIPTOR_LEN])
{
    const struct media_keys *media = &writer->media;
    if (writer->next != media->layout.chunks) return E2EE_ERR_ARGUMENT;
    descriptor_out[0] = MEDIA_VERSION;
    memcpy(descriptor_out + 1, media->key.bytes, 32);
    store_be64(descriptor_out + 33, media->layout.size);
    hash_fast_sha256(media->fast_hash, media->hashes, media->hashes_size, descriptor_out + 41);
    *hashes_out = media_hash(media, 0);
    *hashes_len_out = media->hashes_size - DIGEST_PREFIX_LEN;
    return E2EE_OK;
}

void e2ee_media_writer_destroy(struct e2ee_media_writer **writer)
{
    if (*writer == NULL) return;
    const struct e2ee_env *env = (*writer)->env;
    env_free(env, (*writer)->media.hashes, (*writer)->media.hashes_size);
    env_free(env, *writer, sizeof(**writer));
    *writer = NULL;
}

/* --- reading ----------------------------------------------------------------- */

enum e2ee_err e2ee_media_reader_create(const struct e2ee_env *env, const uint8_t *descriptor,
                                       size_t descriptor_len,
                                       struct e2ee_media_reader **reader_out)
{
    if (descriptor_len == 0) return E2EE_ERR_MALFORMED;
    if (descriptor[0] != MEDIA_VERSION) return E2EE_ERR_VERSION;
    if (descriptor_len != E2EE_MEDIA_DESCRIPTOR_LEN) return E2EE_ERR_MALFORMED;
    uint64_t size = get_u64(descriptor + 33);
    if (size > E2EE_MEDIA_SIZE_MAX) return E2EE_ERR_MALFORMED;

    struct e2ee_media_reader *reader = env_zalloc(env, sizeof(*reader));
    if (reader == NULL) return E2EE_ERR_MEMORY;
    reader->env = env;
    memcpy(reader->media.key.bytes, descriptor + 1, 32);
    memcpy(reader->digest, descriptor + 41, 32);
    enum e2ee_err err = media_keys_init(env, size, &reader->media);
    if (err != E2EE_OK) {
        e2ee_media_reader_destroy(&reader);
        return err;
    }
    *reader_out = reader;
    return E2EE_OK;
}

const struct e2ee_media_layout *e2ee_media_reader_layout(const struct e2ee_media_reader *reader)
{
    return &reader->media.layout;
}

enum e2ee_err e2ee_media_reader_hashes(struct e2ee_media_reader *reader, const uint8_t *hashes,
                                       size_t hashes_len)
{
    struct media_keys *media = &reader->media;
    if (hashes_len != media->hashes_size - DIGEST_PREFIX_LEN) return E2EE_ERR_MALFORMED;
    reader->have_hashes = false;
    memcpy(media_hash(media, 0), hashes, hashes_len);
    uint8_t digest[32];
    hash_fast_sha256(media->fast_hash, media->hashes, media->hashes_size, digest);
    if (!secret_equal(digest, reader->digest, sizeof(digest))) return E2EE_ERR_DECRYPT;
    reader->have_hashes = true;
    return E2EE_OK;
}

enum e2ee_err e2ee_media_reader_chunk(const struct e2ee_media_reader *reader, uint32_t index,
                                      const uint8_t *sealed, size_t sealed_len, uint8_t *data_out,
                                      size_t *data_len_out)
{
    const struct media_keys *media = &reader->media;
    if (!reader->have_hashes || index >= media->layout.chunks) return E2EE_ERR_ARGUMENT;
    if (sealed_len != e2ee_media_sealed_len(&media->layout, index)) return E2EE_ERR_MALFORMED;

    uint8_t hash[32];
    hash_fast_sha256(media->fast_hash, sealed, sealed_len, hash);
    if (!secret_equal(hash, media_hash(media, index), sizeof(hash))) return E2EE_ERR_DECRYPT;
    uint8_t nonce[AEAD_NONCE_LEN], extra[EXTRA_LEN];
    chunk_context(media, index, nonce, extra);
    if (!aead_open(media->key.bytes, nonce, extra, sizeof(extra), sealed, sealed_len, data_out)) {
        return E2EE_ERR_DECRYPT;
    }
    *data_len_out = share(media->layout.size, index);
    return E2EE_OK;
}

void e2ee_media_reader_destroy(struct e2ee_media_reader **reader)
{
    if (*reader == NULL) return;
    const struct e2ee_env *env = (*reader)->env;
    env_free(env, (*reader)->media.hashes, (*reader)->media.hashes_size);
    env_free(env, *reader, sizeof(**reader));
    *reader = NULL;
}
