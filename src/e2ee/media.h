/* Encryption of media in chunks: any range can be fetched and checked alone.
 *
 * The server stores an object of ciphertext and knows its size and nothing
 * else. What opens it, the descriptor, travels inside an encrypted message.
 * Integers are big-endian.
 *
 *   object      chunk 0 || ... || chunk n-1 || hash 0 || ... || hash n-1
 *   chunk i     XChaCha20-Poly1305 over up to 65,536 bytes: 16 bytes longer.
 *               All but the last are full; there is always at least one
 *                 nonce   16 zero bytes || u64 i
 *                 extra   "Sotto media v1" || u64 size || u64 i || u8 last
 *   hash i      SHA-256 of chunk i as stored
 *   descriptor  u8 version = 1 || key[32] || u64 size || digest[32]: 73 bytes
 *   digest      SHA-256("Sotto media v1" || u64 size || hash 0 || ... )
 *
 * `size` is that of the medium. Zeros are added after it, so that the object
 * tells the size only to within 1/32: up to 4,096 bytes the next multiple of
 * 512, above that 32 sizes per doubling.
 *
 * The key is fresh for each object, which is why a counter can be the nonce.
 * The tag of a chunk protects from everyone who does not have the key. The
 * hashes protect from those who do: a member of a group who controls the
 * server as well still cannot replace a single chunk of another's picture.
 * Index, size and the flag of the last chunk are bound in both, so chunks
 * cannot be reordered, dropped, repeated or appended.
 *
 * To read: parse the descriptor (e2ee_media_reader_create), fetch the hashes
 * (the tail of the object) and give them in, then fetch any chunks. Nothing
 * that fails a check is ever given out.
 */
#ifndef SOTTO_E2EE_MEDIA_H
#define SOTTO_E2EE_MEDIA_H

#include "e2ee/e2ee.h"

enum {
    E2EE_MEDIA_CHUNK_LEN = 65536, /* plaintext bytes of a full chunk */
    E2EE_MEDIA_SEALED_LEN = E2EE_MEDIA_CHUNK_LEN + 16,
    E2EE_MEDIA_HASH_LEN = 32,
    E2EE_MEDIA_DESCRIPTOR_LEN = 73,
};
#define E2EE_MEDIA_SIZE_MAX (UINT64_C(1) << 34) /* bytes: 16 GiB */

/* Where things stand in the object of a medium of `size` bytes. */
struct e2ee_media_layout {
    uint64_t size;        /* of the medium, bytes */
    uint64_t padded;      /* plaintext bytes in all chunks together */
    uint32_t chunks;      /* at least 1 */
    uint64_t hashes_at;   /* offset of the hashes = bytes of all chunks */
    uint64_t object_size; /* bytes that the server stores */
};

/* Errors: ARGUMENT if size is above E2EE_MEDIA_SIZE_MAX. */
E2EE_CHECKED enum e2ee_err e2ee_media_layout(uint64_t size, struct e2ee_media_layout *layout_out);

/* Bytes of the medium (without padding) in chunk `index`; may be 0. */
size_t e2ee_media_data_len(const struct e2ee_media_layout *layout, uint32_t index);
/* Bytes of chunk `index` as stored. */
size_t e2ee_media_sealed_len(const struct e2ee_media_layout *layout, uint32_t index);

/* The chunks that hold bytes [offset, offset + len) of the medium, and where
 * they stand in the object. */
struct e2ee_media_range {
    uint32_t first_chunk;
    uint32_t chunk_count;
    uint64_t object_offset;
    uint64_t object_len;
    size_t skip; /* bytes of the first chunk before `offset` */
};
/* Errors: ARGUMENT if len is 0 or the range leaves the medium. */
E2EE_CHECKED enum e2ee_err e2ee_media_range(const struct e2ee_media_layout *layout,
                                            uint64_t offset, uint64_t len,
                                            struct e2ee_media_range *range_out);

/* --- writing --------------------------------------------------------------- */

/* Opaque; holds the key and the hashes. Keeps `env`, which must outlive it. */
struct e2ee_media_writer;

/* Begins an object under a fresh key. Memory: 32 bytes per chunk.
 *
 * size  bytes of the medium, known beforehand
 *
 * Errors: ARGUMENT, MEMORY, RANDOM. */
E2EE_CHECKED enum e2ee_err e2ee_media_writer_create(const struct e2ee_env *env, uint64_t size,
                                                    struct e2ee_media_writer **writer_out);
const struct e2ee_media_layout *e2ee_media_writer_layout(const struct e2ee_media_writer *writer);

/* Encrypts the next chunk, in order.
 *
 * data        exactly e2ee_media_data_len bytes of the medium; may be NULL for 0
 * sealed_out  room for E2EE_MEDIA_SEALED_LEN; gets e2ee_media_sealed_len bytes;
 *             must not overlap `data`
 *
 * Errors: ARGUMENT if data_len is another, or all chunks are done. */
E2EE_CHECKED enum e2ee_err e2ee_media_writer_chunk(struct e2ee_media_writer *writer,
                                                   const uint8_t *data, size_t data_len,
                                                   uint8_t *sealed_out);

/* After the last chunk: the hashes, which end the object, and the descriptor,
 * which is secret.
 *
 * hashes_out  borrowed from the writer: chunks * 32 bytes
 *
 * Errors: ARGUMENT if chunks are missing. */
E2EE_CHECKED enum e2ee_err e2ee_media_writer_finish(
    struct e2ee_media_writer *writer, const uint8_t **hashes_out, size_t *hashes_len_out,
    uint8_t descriptor_out[E2EE_MEDIA_DESCRIPTOR_LEN]);

/* Wipes and frees; sets the pointer to NULL. NULL is fine. */
void e2ee_media_writer_destroy(struct e2ee_media_writer **writer);

/* --- reading --------------------------------------------------------------- */

/* Opaque. Keeps `env`, which must outlive it. */
struct e2ee_media_reader;

/* Errors: MALFORMED, VERSION, MEMORY. */
E2EE_CHECKED enum e2ee_err e2ee_media_reader_create(const struct e2ee_env *env,
                                                    const uint8_t *descriptor,
                                                    size_t descriptor_len,
                                                    struct e2ee_media_reader **reader_out);
const struct e2ee_media_layout *e2ee_media_reader_layout(const struct e2ee_media_reader *reader);

/* Checks and keeps the hashes, the tail of the object from layout->hashes_at.
 * Errors: MALFORMED wrong length; DECRYPT not those of the descriptor. */
E2EE_CHECKED enum e2ee_err e2ee_media_reader_hashes(struct e2ee_media_reader *reader,
                                                    const uint8_t *hashes, size_t hashes_len);

/* Checks and decrypts chunk `index`, any chunk in any order.
 *
 * sealed        the chunk as stored
 * data_out      room for E2EE_MEDIA_CHUNK_LEN, all of which may be written;
 *               must not overlap `sealed`. Holds nothing of use on failure
 * data_len_out  bytes of the medium, without padding
 *
 * Errors: ARGUMENT no such chunk, or the hashes were not given; MALFORMED
 * wrong length; DECRYPT not the chunk that was written. */
E2EE_CHECKED enum e2ee_err e2ee_media_reader_chunk(const struct e2ee_media_reader *reader,
                                                   uint32_t index, const uint8_t *sealed,
                                                   size_t sealed_len, uint8_t *data_out,
                                                   size_t *data_len_out);

void e2ee_media_reader_destroy(struct e2ee_media_reader **reader);

#endif
