/* A growable run of bytes with a cap that is set once.
 *
 * Appending past the cap sets `overflow` and drops the bytes; the writer looks
 * at it once, at the end. Memory grows by doubling from 256 bytes.
 */
#ifndef SOTTO_BASE_BUFFER_H
#define SOTTO_BASE_BUFFER_H

#include "base/slice.h"

struct buffer {
    uint8_t *data;
    size_t len;      /* bytes in use */
    size_t size;     /* bytes allocated */
    size_t max;      /* cap */
    bool overflow;   /* something did not fit */
};

/* Prepares an empty buffer; allocates nothing. */
void buffer_init(struct buffer *b, size_t max);
/* The same over the caller's memory: it never grows, and there is nothing to
 * deinit. */
static inline void buffer_init_fixed(struct buffer *b, void *memory, size_t size)
{
    *b = (struct buffer){.data = memory, .size = size, .max = size};
}
/* Frees the bytes; the buffer is empty and usable again with the same cap. */
void buffer_deinit(struct buffer *b);
/* Forgets the content, keeps the memory, clears `overflow`. */
static inline void buffer_clear(struct buffer *b) { b->len = 0; b->overflow = false; }

/* Makes room for `more` bytes and returns where they go (the caller then adds
 * to len), or NULL with `overflow` set when the cap forbids it. */
uint8_t *buffer_reserve_growing(struct buffer *b, size_t more); /* the slow half of: */
static inline uint8_t *buffer_reserve(struct buffer *b, size_t more)
{
    if (more < b->size - b->len && !b->overflow) return b->data + b->len;
    return buffer_reserve_growing(b, more);
}
void buffer_append_growing(struct buffer *b, const void *data, size_t len); /* the slow half of: */
static inline void buffer_append(struct buffer *b, const void *data, size_t len)
{
    if (len == 0 || len > b->size - b->len || b->overflow) {
        buffer_append_growing(b, data, len);
        return;
    }
    memcpy(b->data + b->len, data, len);
    b->len += len;
}
static inline void buffer_append_slice(struct buffer *b, struct slice s) { buffer_append(b, s.data, s.len); }
static inline void buffer_append_str(struct buffer *b, const char *text) { buffer_append(b, text, strlen(text)); }
static inline void buffer_append_byte(struct buffer *b, uint8_t byte) { buffer_append(b, &byte, 1); }
/* Decimal digits of the number. */
void buffer_append_u64(struct buffer *b, uint64_t value);
void buffer_append_i64(struct buffer *b, int64_t value);
void buffer_printf(struct buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Removes the first `len` bytes (len <= b->len), moving the rest down. */
void buffer_consume(struct buffer *b, size_t len);
/* Gives memory back, down to `size` bytes (at least len, not 0). */
void buffer_shrink(struct buffer *b, size_t size);
static inline struct slice buffer_slice(const struct buffer *b) { return slice_of(b->data, b->len); }

#endif
