/* Big-endian and varint readers and writers for our own binary formats.
 *
 * `struct reader` walks over borrowed bytes. A read past the end sets `failed`
 * and returns zeros; the caller checks once, at the end. Varints are unsigned
 * LEB128, at most 10 bytes, shortest form required.
 */
#ifndef SOTTO_BASE_BYTES_H
#define SOTTO_BASE_BYTES_H

#include "base/buffer.h"

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

static inline struct reader reader_of(struct slice s)
{
    return (struct reader){s.data, s.len ? s.data + s.len : s.data, false};
}
uint8_t read_u8(struct reader *r);
uint16_t read_u16(struct reader *r);
uint32_t read_u32(struct reader *r);
uint64_t read_u64(struct reader *r);
uint64_t read_varint(struct reader *r);
/* Borrows `len` bytes; an empty slice on failure. */
struct slice read_bytes(struct reader *r, size_t len);
/* A varint length, at most `max`, then that many bytes. */
struct slice read_block(struct reader *r, size_t max);
/* Copies exactly `len` bytes to `out` (zeros on failure). */
void read_copy(struct reader *r, void *out, size_t len);
/* True when nothing failed and every byte was used. */
bool reader_done(const struct reader *r);

void write_u8(struct buffer *b, uint8_t v);
void write_u16(struct buffer *b, uint16_t v);
void write_u32(struct buffer *b, uint32_t v);
void write_u64(struct buffer *b, uint64_t v);
void write_varint(struct buffer *b, uint64_t v);
/* Varint length, then the bytes. */
void write_block(struct buffer *b, struct slice s);

static inline void store_be64(uint8_t out[8], uint64_t v)
{
    for (int i = 7; i >= 0; i--, v >>= 8) out[i] = (uint8_t)v;
}
static inline uint64_t load_be64(const uint8_t in[8])
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++) v = v << 8 | in[i];
    return v;
}

#endif
