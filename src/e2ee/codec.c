#include "e2ee/codec.h"

#include <string.h>

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* --- writing ---------------------------------------------------------------- */

void write_bytes(struct writer *writer, const void *data, size_t len)
{
    if (writer->out != NULL && len > 0) {
        memcpy(writer->out + writer->len, data, len);
    }
    writer->len += len;
}

void write_u8(struct writer *writer, uint8_t value)
{
    write_bytes(writer, &value, 1);
}

void write_u16(struct writer *writer, uint16_t value)
{
    uint8_t bytes[2] = {(uint8_t)(value >> 8), (uint8_t)value};
    write_bytes(writer, bytes, sizeof bytes);
}

void store_be32(uint8_t out[4], uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        out[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

void store_be64(uint8_t out[8], uint64_t value)
{
    store_be32(out, (uint32_t)(value >> 32));
    store_be32(out + 4, (uint32_t)value);
}

void write_u32(struct writer *writer, uint32_t value)
{
    uint8_t bytes[4];
    store_be32(bytes, value);
    write_bytes(writer, bytes, sizeof bytes);
}

void write_u64(struct writer *writer, uint64_t value)
{
    uint8_t bytes[8];
    store_be64(bytes, value);
    write_bytes(writer, bytes, sizeof bytes);
}

void write_varint(struct writer *writer, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) {
        write_u8(writer, (uint8_t)(value | 0x80));
    }
    write_u8(writer, (uint8_t)value);
}

void write_field_uint(struct writer *writer, uint32_t number, uint64_t value)
{
    write_varint(writer, number << 3 | WIRE_VARINT);
    write_varint(writer, value);
}

void write_field_bytes(struct writer *writer, uint32_t number, const void *data, size_t len)
{
    write_varint(writer, number << 3 | WIRE_BYTES);
    write_varint(writer, len);
    write_bytes(writer, data, len);
}

/* --- reading ---------------------------------------------------------------- */

struct reader reader_of(const uint8_t *data, size_t len)
{
    return (struct reader){.at = data, .left = len};
}

const uint8_t *read_bytes(struct reader *reader, size_t len)
{
    if (reader->bad || len > reader->left) {
        reader->bad = true;
        return NULL;
    }
    const uint8_t *data = reader->at;
    if (len > 0) {
        reader->at += len;
        reader->left -= len;
    }
    return data;
}

void read_into(struct reader *reader, void *out, size_t len)
{
    const uint8_t *data = read_bytes(reader, len);
    if (data != NULL && len > 0) {
        memcpy(out, data, len);
    }
}

static uint64_t read_integer(struct reader *reader, size_t len)
{
    const uint8_t *data = read_bytes(reader, len);
    uint64_t value = 0;
    for (size_t i = 0; data != NULL && i < len; i++) {
        value = value << 8 | data[i];
    }
    return value;
}

uint8_t read_u8(struct reader *reader)
{
    return (uint8_t)read_integer(reader, 1);
}

uint16_t read_u16(struct reader *reader)
{
    return (uint16_t)read_integer(reader, 2);
}

uint32_t read_u32(struct reader *reader)
{
    return (uint32_t)read_integer(reader, 4);
}

uint64_t read_u64(struct reader *reader)
{
    return read_integer(reader, 8);
}

bool read_bool(struct reader *reader)
{
    uint8_t value = read_u8(reader);
    if (value > 1) {
        reader->bad = true;
    }
    return value == 1;
}

uint64_t read_varint(struct reader *reader)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = read_u8(reader);
        if (shift == 63 && byte > 1) {
            break; /* more than 64 bits */
        }
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return reader->bad ? 0 : value;
        }
    }
    reader->bad = true;
    return 0;
}

bool reader_done(const struct reader *reader)
{
    return !reader->bad && reader->left == 0;
}

/* --- protobuf messages -------------------------------------------------------- */

static struct field *field_find(struct field *fields, size_t count, uint64_t number)
{
    for (size_t i = 0; i < count; i++) {
        if (fields[i].number == number) {
            return &fields[i];
        }
    }
    return NULL;
}

static bool field_fill(struct field *field, unsigned wire, uint64_t value, const uint8_t *data,
                       size_t len)
{
    if (field->seen || wire != (field->is_bytes ? (unsigned)WIRE_BYTES : (unsigned)WIRE_VARINT)) {
        return false;
    }
    if (field->is_bytes) {
        if (field->len != 0 && field->len != len) {
            return false;
        }
        field->data = data;
        field->data_len = len;
    } else {
        if (value > UINT32_MAX) {
            return false;
        }
        field->value = (uint32_t)value;
    }
    field->seen = true;
    return true;
}

bool message_parse(const uint8_t *data, size_t len, struct field *fields, size_t field_count)
{
    struct reader reader = reader_of(data, len);
    while (reader.left > 0 && !reader.bad) {
        uint64_t tag = read_varint(&reader);
        unsigned wire = (unsigned)(tag & 7);
        uint64_t number = tag >> 3, value = 0, bytes_len = 0;
        const uint8_t *bytes = NULL;

        if (number == 0 || number >= UINT32_C(1) << 29) {
            return false;
        }
        switch (wire) {
        case WIRE_VARINT:
            value = read_varint(&reader);
            break;
        case WIRE_BYTES:
            bytes_len = read_varint(&reader);
            if (bytes_len > reader.left) {
                return false;
            }
            bytes = read_bytes(&reader, (size_t)bytes_len);
            break;
        case WIRE_FIXED64:
            (void)read_bytes(&reader, 8);
            break;
        case WIRE_FIXED32:
            (void)read_bytes(&reader, 4);
            break;
        default:
            return false;
        }
        struct field *field = field_find(fields, field_count, number);
        if (reader.bad ||
            (field != NULL && !field_fill(field, wire, value, bytes, (size_t)bytes_len))) {
            return false;
        }
    }
    for (size_t i = 0; i < field_count; i++) {
        if (fields[i].required && !fields[i].seen) {
            return false;
        }
    }
    return !reader.bad;
}
