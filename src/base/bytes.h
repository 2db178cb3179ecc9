/* Big-endian and varint readers and writers for our own binary formats.
 *
 * `struct reader` walks over borrowed bytes. A read past the end sets `failed`
 * and returns zeros; the caller checks once, at the end. Varints are unsigned
 * LEB128, at most 10 bytes, shortest form required.
 *
 * At the end, for code that passes over many bytes: words and blocks of 16.
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

static inline void write_u8(struct buffer *b, uint8_t v) { buffer_append_byte(b, v); }
void write_u16(struct buffer *b, uint16_t v);
void write_u32(struct buffer *b, uint32_t v);
void write_u64(struct buffer *b, uint64_t v);
void write_varint(struct buffer *b, uint64_t v);
/* Varint length, then the bytes. */
void write_block(struct buffer *b, struct slice s);

static inline uint64_t be64(uint64_t v)
{
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap64(v) : v;
}
static inline void store_be64(uint8_t out[8], uint64_t v)
{
    v = be64(v);
    memcpy(out, &v, sizeof(v));
}
static inline uint64_t load_be64(const uint8_t in[8])
{
    uint64_t v;
    memcpy(&v, in, sizeof(v));
    return be64(v);
}

/* Begins to load memory that is used a few microseconds from now, so that nobody waits
 * for it then: things that lie in a queue are out of the processor's caches when their
 * turn comes. NULL does nothing. */
static inline void prefetch(const void *memory, size_t len)
{
    enum { LINE_LEN = 64 };
    if (memory == NULL) return;
    for (size_t i = 0; i < len; i += LINE_LEN) __builtin_prefetch((const uint8_t *)memory + i, 1);
}

/* Sixteen bytes at once, by the vector extension that GCC and Clang share: it
 * becomes SSE2, NEON or plain registers, whatever the target has. A comparison
 * gives 0xff where it holds and 0 elsewhere. */
typedef uint8_t bytes16 __attribute__((vector_size(16)));

static inline bytes16 bytes16_load(const void *from)
{
    bytes16 v;
    memcpy(&v, from, sizeof(v));
    return v;
}
static inline void bytes16_store(void *to, bytes16 v)
{
    memcpy(to, &v, sizeof(v));
}
static inline bytes16 bytes16_of(uint64_t first, uint64_t second)
{
    typedef uint64_t words __attribute__((vector_size(16)));
    return (bytes16)(words){be64(first), be64(second)};
}
/* Index of the first byte that is not zero, 16 if there is none. */
static inline size_t bytes16_first(bytes16 v)
{
    uint8_t bytes[16];
    bytes16_store(bytes, v);
    uint64_t first = load_be64(bytes), second = load_be64(bytes + 8);
    if (first != 0) return (size_t)__builtin_clzll(first) / 8;
    return second != 0 ? 8 + (size_t)__builtin_clzll(second) / 8 : 16;
}

#endif
