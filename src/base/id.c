/* 128-bit identifiers in the shape of UUIDs, RFC 9562.
 *
 *   version 4   122 random bits                                  users
 *   version 7   48-bit Unix milliseconds, 74 random bits         messages
 *   version 8   BLAKE2b-128("sotto direct conversation", smaller
 *               id, larger id), version and variant put over it  conversations
 *
 * The id of a direct conversation needs no lookup and cannot be made twice:
 * whoever writes first, both sides name the same conversation.
 */
#include "base/id.h"

#include "base/bytes.h"

#include <sodium.h>

static void put_version(struct id *id, unsigned version)
{
    id->bytes[6] = (uint8_t)((id->bytes[6] & 0x0f) | version << 4);
    id->bytes[8] = (uint8_t)((id->bytes[8] & 0x3f) | 0x80);
}

struct id id_random(const struct random_source *random)
{
    struct id id;
    random_fill(random, id.bytes, sizeof(id.bytes));
    put_version(&id, 4);
    return id;
}

struct id id_time_ordered(const struct random_source *random, uint64_t ts_ms)
{
    struct id id;
    random_fill(random, id.bytes, sizeof(id.bytes));
    for (int i = 5; i >= 0; i--, ts_ms >>= 8) id.bytes[i] = (uint8_t)ts_ms;
    put_version(&id, 7);
    return id;
}

struct id id_direct_conversation(struct id a, struct id b)
{
    static const char label[] = "sotto direct conversation";
    if (id_cmp(a, b) > 0) {
        struct id swap = a;
        a = b;
        b = swap;
    }
    uint8_t in[sizeof(label) - 1 + 2 * ID_LEN];
    memcpy(in, label, sizeof(label) - 1);
    memcpy(in + sizeof(label) - 1, a.bytes, ID_LEN);
    memcpy(in + sizeof(label) - 1 + ID_LEN, b.bytes, ID_LEN);
    struct id id;
    crypto_generichash(id.bytes, sizeof(id.bytes), in, sizeof(in), NULL, 0);
    put_version(&id, 8);
    return id;
}

/* Eight hexadecimal digits of four bytes, in a word whose first byte is the
 * highest. Without branches: ids are random, nothing could be predicted. */
static uint64_t hex8(const uint8_t bytes[4])
{
    uint64_t v = (uint64_t)bytes[0] << 24 | (uint64_t)bytes[1] << 16 | (uint64_t)bytes[2] << 8 | bytes[3];
    v = (v | v << 16) & 0x0000ffff0000ffff;
    v = (v | v << 8) & 0x00ff00ff00ff00ff;
    v = (v | v << 4) & 0x0f0f0f0f0f0f0f0f;
    uint64_t above_nine = (v + 0x0606060606060606) >> 4 & 0x0101010101010101;
    return v + 0x3030303030303030 + above_nine * ('a' - '9' - 1);
}

static void format(struct id id, uint8_t *out)
{
    uint8_t middle[16];
    store_be64(out, hex8(id.bytes));
    store_be64(middle, hex8(id.bytes + 4));
    store_be64(middle + 8, hex8(id.bytes + 8));
    store_be64(out + 28, hex8(id.bytes + 12));
    memcpy(out + 9, middle, 4);
    memcpy(out + 14, middle + 4, 4);
    memcpy(out + 19, middle + 8, 4);
    memcpy(out + 24, middle + 12, 4);
    out[8] = out[13] = out[18] = out[23] = '-';
}

void id_format(struct id id, char out[ID_TEXT_LEN + 1])
{
    format(id, (uint8_t *)out);
    out[ID_TEXT_LEN] = 0;
}

void buffer_append_id(struct buffer *b, struct id id)
{
    uint8_t *to = buffer_reserve(b, ID_TEXT_LEN);
    if (to == NULL) return;
    format(id, to);
    b->len += ID_TEXT_LEN;
}

/* The values of sixteen hexadecimal digits; *bad collects what is none. */
static bytes16 hex_values(bytes16 text, bytes16 *bad)
{
    bytes16 digit = text - '0', letter = (text | 0x20) - 'a';
    bytes16 is_digit = (bytes16)(digit < 10), is_letter = (bytes16)(letter < 6);
    *bad |= ~(is_digit | is_letter);
    return (digit & is_digit) | ((letter + 10) & is_letter);
}

enum sotto_err id_parse(struct slice text, struct id *id_out)
{
    uint8_t digits[2 * ID_LEN];
    const uint8_t *in = text.data;
    if (text.len != ID_TEXT_LEN) return SOTTO_ERR_INVALID;
    if (in[8] != '-' || in[13] != '-' || in[18] != '-' || in[23] != '-') return SOTTO_ERR_INVALID;
    memcpy(digits, in, 8);
    memcpy(digits + 8, in + 9, 4);
    memcpy(digits + 12, in + 14, 4);
    memcpy(digits + 16, in + 19, 4);
    memcpy(digits + 20, in + 24, 12);
    bytes16 bad = {0};
    bytes16 a = hex_values(bytes16_load(digits), &bad), b = hex_values(bytes16_load(digits + ID_LEN), &bad);
    bytes16 high = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    bytes16 low = __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    if (bytes16_first(bad) != sizeof(bad)) return SOTTO_ERR_INVALID;
    bytes16_store(id_out->bytes, high << 4 | low);
    return SOTTO_OK;
}

/* Ids are made by the server from randomness or a cryptographic hash, never
 * chosen by a peer, so an unkeyed mix is enough: two multiply-xorshift rounds
 * (the finalizer of splitmix64). Partitions depend on it; it never changes. */
static uint64_t mix(uint64_t v)
{
    v ^= v >> 30;
    v *= 0xbf58476d1ce4e5b9u;
    v ^= v >> 27;
    v *= 0x94d049bb133111ebu;
    return v ^ v >> 31;
}

uint64_t id_hash(struct id id)
{
    return mix(mix(load_be64(id.bytes) + 0x9e3779b97f4a7c15u) ^ load_be64(id.bytes + 8));
}
