/* Growable bytes with a cap.
 *
 * Invariants: len <= size <= max; data is NULL exactly when size is 0. Once
 * `overflow` is set every further append is dropped too, so that a writer never
 * sends a text with a hole in it.
 */
#include "base/buffer.h"
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUFFER_MIN = 256 };

void buffer_init(struct buffer *b, size_t max)
{
    *b = (struct buffer){.max = max};
}

void buffer_deinit(struct buffer *b)
{
    free(b->data);
    *b = (struct buffer){.max = b->max};
}

uint8_t *buffer_reserve_growing(struct buffer *b, size_t more)
{
    if (b->overflow || more > b->max - b->len) {
        b->overflow = true;
        return NULL;
    }
    size_t need = b->len + more;
    if (need > b->size || b->data == NULL) {
        size_t size = b->size != 0 ? b->size : BUFFER_MIN;
        while (size < need) size = size > SIZE_MAX / 2 ? need : size * 2;
        if (size > b->max) size = b->max;
        b->data = sotto_realloc(b->data, size);
        b->size = size;
    }
    return b->data + b->len;
}

void buffer_append_growing(struct buffer *b, const void *data, size_t len)
{
    if (len == 0) return;
    uint8_t *to = buffer_reserve(b, len);
    if (to == NULL) return;
    memcpy(to, data, len);
    b->len += len;
}

/* 00 to 99, as text. */
#define TENS(d) d "0" d "1" d "2" d "3" d "4" d "5" d "6" d "7" d "8" d "9"
static const char two_digits[] = TENS("0") TENS("1") TENS("2") TENS("3") TENS("4")
                                 TENS("5") TENS("6") TENS("7") TENS("8") TENS("9");
#undef TENS

void buffer_append_u64(struct buffer *b, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);
    for (; value >= 10; value /= 100) {
        at -= 2;
        memcpy(digits + at, two_digits + value % 100 * 2, 2);
    }
    /* What is left is one digit, or none: then a 0 if there is nothing else. */
    if (value != 0 || at == sizeof(digits)) digits[--at] = (char)('0' + value);
    buffer_append(b, digits + at, sizeof(digits) - at);
}

void buffer_append_i64(struct buffer *b, int64_t value)
{
    if (value >= 0) {
        buffer_append_u64(b, (uint64_t)value);
        return;
    }
    /* One reservation, so that a cap cannot leave a lone minus sign. */
    if (buffer_reserve(b, 20) == NULL) return;
    b->data[b->len++] = '-';
    buffer_append_u64(b, -(uint64_t)value);
}

void buffer_printf(struct buffer *b, const char *format, ...)
{
    char small[256];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(small, sizeof(small), format, args);
    va_end(args);
    SOTTO_ASSERT(len >= 0);
    if ((size_t)len < sizeof(small)) {
        buffer_append(b, small, (size_t)len);
        return;
    }
    /* vsnprintf ends with a NUL, which needs room that len does not count. */
    char *large = sotto_alloc((size_t)len + 1);
    va_start(args, format);
    vsnprintf(large, (size_t)len + 1, format, args);
    va_end(args);
    buffer_append(b, large, (size_t)len);
    free(large);
}

void buffer_consume(struct buffer *b, size_t len)
{
    SOTTO_ASSERT(len <= b->len);
    b->len -= len;
    if (b->len != 0 && len != 0) memmove(b->data, b->data + len, b->len);
}

void buffer_shrink(struct buffer *b, size_t size)
{
    SOTTO_ASSERT(size > 0 && size >= b->len);
    if (size >= b->size) return;
    b->data = sotto_realloc(b->data, size);
    b->size = size;
}
