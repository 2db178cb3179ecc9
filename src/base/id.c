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

#include <sodium.h>

static void put_version(struct id *id, unsigned version)
{
    id->bytes[6] = (uint8_t)((id->bytes[6] & 0x0f) | version << 4);
    id->bytes[8] = (uint8_t)((id->bytes[8] & 0x3f) | 0x80);
}

bool id_is_zero(struct id id)
{
    static const struct id zero;
    return id_eq(id, zero);
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

/* Where the dashes of the text form stand: before these bytes. */
static bool dash_before(size_t byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

static size_t format(struct id id, char *out)
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;
    for (size_t i = 0; i < ID_LEN; i++) {
        if (dash_before(i)) out[at++] = '-';
        out[at++] = digits[id.bytes[i] >> 4];
        out[at++] = digits[id.bytes[i] & 15];
    }
    return at;
}

void id_format(struct id id, char out[ID_TEXT_LEN + 1])
{
    out[format(id, out)] = 0;
}

void buffer_append_id(struct buffer *b, struct id id)
{
    uint8_t *to = buffer_reserve(b, ID_TEXT_LEN);
    if (to != NULL) b->len += format(id, (char *)to);
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum sotto_err id_parse(struct slice text, struct id *id_out)
{
    struct id id;
    if (text.len != ID_TEXT_LEN) return SOTTO_ERR_INVALID;
    const uint8_t *at = text.data;
    for (size_t i = 0; i < ID_LEN; i++) {
        if (dash_before(i) && *at++ != '-') return SOTTO_ERR_INVALID;
        int high = hex_value(at[0]);
        int low = hex_value(at[1]);
        if (high < 0 || low < 0) return SOTTO_ERR_INVALID;
        id.bytes[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    *id_out = id;
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
    uint64_t high = 0, low = 0;
    for (int i = 0; i < 8; i++) high = high << 8 | id.bytes[i];
    for (int i = 8; i < 16; i++) low = low << 8 | id.bytes[i];
    return mix(mix(high + 0x9e3779b97f4a7c15u) ^ low);
}
