/* Readers and writers of our binary formats: fixed-width big-endian numbers,
 * unsigned LEB128 varints and length-prefixed blocks.
 *
 * A reader that failed stays failed and at its end, so that a decoder can read
 * a whole structure and check once. The shortest form of a varint is required:
 * equal values have equal bytes, which hashes and comparisons rely on.
 */
#include "base/bytes.h"

static struct slice take(struct reader *r, size_t len)
{
    if (r->failed || (size_t)(r->end - r->at) < len) {
        r->failed = true;
        r->at = r->end;
        return (struct slice){NULL, 0};
    }
    struct slice s = slice_of(r->at, len);
    if (len != 0) r->at += len;
    return s;
}

static uint64_t read_be(struct reader *r, size_t len)
{
    struct slice s = take(r, len);
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++) v = v << 8 | s.data[i];
    return v;
}

uint8_t read_u8(struct reader *r) { return (uint8_t)read_be(r, 1); }
uint16_t read_u16(struct reader *r) { return (uint16_t)read_be(r, 2); }
uint32_t read_u32(struct reader *r) { return (uint32_t)read_be(r, 4); }
uint64_t read_u64(struct reader *r) { return read_be(r, 8); }

uint64_t read_varint(struct reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        struct slice s = take(r, 1);
        if (s.len == 0) return 0;
        uint8_t byte = s.data[0];
        /* The tenth byte holds the 64th bit and nothing else. */
        if (shift == 63 && byte > 1) break;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte & 0x80) continue;
        if (byte == 0 && shift != 0) break;
        return v;
    }
    r->failed = true;
    r->at = r->end;
    return 0;
}

struct slice read_bytes(struct reader *r, size_t len)
{
    return take(r, len);
}

struct slice read_block(struct reader *r, size_t max)
{
    uint64_t len = read_varint(r);
    if (len > max) {
        r->failed = true;
        r->at = r->end;
        return (struct slice){NULL, 0};
    }
    return take(r, (size_t)len);
}

void read_copy(struct reader *r, void *out, size_t len)
{
    struct slice s = take(r, len);
    if (r->failed)
        memset(out, 0, len);
    else if (len != 0)
        memcpy(out, s.data, len);
}

bool reader_done(const struct reader *r)
{
    return !r->failed && r->at == r->end;
}

static void write_be(struct buffer *b, uint64_t v, size_t len)
{
    uint8_t bytes[8];
    store_be64(bytes, v);
    buffer_append(b, bytes + 8 - len, len);
}

void write_u16(struct buffer *b, uint16_t v) { write_be(b, v, 2); }
void write_u32(struct buffer *b, uint32_t v) { write_be(b, v, 4); }
void write_u64(struct buffer *b, uint64_t v) { write_be(b, v, 8); }

void write_varint(struct buffer *b, uint64_t v)
{
    uint8_t bytes[10];
    size_t len = 0;
    while (v >= 0x80) {
        bytes[len++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    bytes[len++] = (uint8_t)v;
    buffer_append(b, bytes, len);
}

void write_block(struct buffer *b, struct slice s)
{
    write_varint(b, s.len);
    buffer_append_slice(b, s);
}
