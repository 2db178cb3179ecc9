/* Reading and writing of bytes: big-endian integers, and the part of protobuf
 * that the protocol uses. Internal.
 *
 * A writer without `out` only counts, so one function both sizes and writes a
 * message. A reader never runs past its end: after the first failure `bad`
 * stays set, integers read as 0 and bytes as NULL, and callers check once.
 */
#ifndef SOTTO_E2EE_CODEC_H
#define SOTTO_E2EE_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "e2ee/e2ee.h"

struct writer {
    uint8_t *out; /* NULL: count only */
    size_t len;
};

void write_bytes(struct writer *writer, const void *data, size_t len);
void write_u8(struct writer *writer, uint8_t value);
void write_u16(struct writer *writer, uint16_t value);
void write_u32(struct writer *writer, uint32_t value);
void write_u64(struct writer *writer, uint64_t value);
void write_varint(struct writer *writer, uint64_t value); /* protobuf: base 128 */
void write_field_uint(struct writer *writer, uint32_t number, uint64_t value);
void write_field_bytes(struct writer *writer, uint32_t number, const void *data, size_t len);

void store_be32(uint8_t out[4], uint32_t value);
void store_be64(uint8_t out[8], uint64_t value);

struct reader {
    const uint8_t *at;
    size_t left;
    bool bad;
};

struct reader reader_of(const uint8_t *data, size_t len);
/* Borrowed from the input; NULL after failure. */
const uint8_t *read_bytes(struct reader *reader, size_t len);
/* Copies exactly `len` bytes, or leaves `out` alone and fails. */
void read_into(struct reader *reader, void *out, size_t len);
uint8_t read_u8(struct reader *reader);
uint16_t read_u16(struct reader *reader);
uint32_t read_u32(struct reader *reader);
uint64_t read_u64(struct reader *reader);
bool read_bool(struct reader *reader); /* a byte, 0 or 1 */
/* At most ten bytes, below 2^64. */
uint64_t read_varint(struct reader *reader);
/* True if all was read and nothing failed. */
bool reader_done(const struct reader *reader);

/* What a field of a message should be. A table of these describes a message;
 * `seen` and the values are filled by message_parse. */
struct field {
    uint32_t number;
    bool is_bytes;        /* else an unsigned varint that fits 32 bits */
    bool required;
    size_t len;           /* bytes: exact length, 0 for any */
    bool seen;
    uint32_t value;       /* of a varint */
    const uint8_t *data;  /* of bytes: borrowed; never NULL when seen */
    size_t data_len;
};

/* Parses a protobuf message into `fields`. Fields in any order; unknown ones
 * are skipped; a known one that comes twice, has another wire type or length,
 * or is required and missing, is an error. Returns false on any error. */
E2EE_CHECKED bool message_parse(const uint8_t *data, size_t len, struct field *fields,
                                size_t field_count);

#endif
