/* Base64, hex and UTF-8.
 *
 * Base64 and hex are for ciphertext and public values in JSON, so they are
 * table-driven and not constant-time; secrets go through libsodium's codecs.
 *
 * The UTF-8 state between bytes is `missing << 16 | low << 8 | high`: how many
 * continuation bytes are still due and the range of the next one. The range
 * carries every rule of RFC 3629 section 4 (overlong forms after E0 and F0,
 * surrogates after ED, the end of Unicode after F4) past the lead byte, so a
 * text may be cut anywhere. 0 is between characters; 1 is rejected for good.
 */
#include "base/text.h"

#include "base/bytes.h"

struct alphabet {
    char digits[65];
    int8_t step62, step63; /* from '0' - 52 on to the last two, see digits16 */
};
static const struct alphabet alphabet_standard = {
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", -15, 3};
static const struct alphabet alphabet_url = {
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", -13, 49};

/* The upper 48 bits, in eight bytes of six. */
static uint64_t spread(uint64_t v)
{
    v = (v >> 40) << 32 | (v << 24) >> 40;
    v = (v & 0x00fff00000fff000) << 4 | (v & 0x00000fff00000fff);
    return (v & 0x0fc00fc00fc00fc0) << 2 | (v & 0x003f003f003f003f);
}

/* The digits of sixteen values below 64 by arithmetic: each run of neighbours
 * in the alphabet has its own distance between value and character. */
static bytes16 digits16(const struct alphabet *a, bytes16 values)
{
    typedef int8_t signed16 __attribute__((vector_size(16)));
    signed16 v = (signed16)values;
    return (bytes16)(v + 'A' + ((v > 25) & ('a' - 'Z' - 1)) + ((v > 51) & ('0' - 'z' - 1)) +
                     ((v > 61) & a->step62) + ((v > 62) & a->step63));
}

static void append_base64(struct buffer *b, struct slice bytes, const struct alphabet *alphabet, bool pad)
{
    if (bytes.len > SIZE_MAX / 4 * 3 - 3) {
        b->overflow = true;
        return;
    }
    size_t tail = bytes.len % 3;
    size_t text_len = bytes.len / 3 * 4 + (tail == 0 ? 0 : pad ? 4 : tail + 1);
    uint8_t *out = buffer_reserve(b, text_len);
    if (out == NULL) return;
    const uint8_t *in = bytes.data;
    const char *digits = alphabet->digits;
    size_t left = bytes.len;
    /* Twelve at a time, in two words that read two bytes too many. */
    for (; left >= 14; left -= 12, in += 12, out += 16)
        bytes16_store(out, digits16(alphabet, bytes16_of(spread(load_be64(in)), spread(load_be64(in + 6)))));
    for (; left >= 3; left -= 3, in += 3) {
        uint32_t v = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
        *out++ = (uint8_t)digits[v >> 18];
        *out++ = (uint8_t)digits[v >> 12 & 63];
        *out++ = (uint8_t)digits[v >> 6 & 63];
        *out++ = (uint8_t)digits[v & 63];
    }
    if (tail != 0) {
        uint32_t v = (uint32_t)in[0] << 16 | (tail == 2 ? (uint32_t)in[1] << 8 : 0);
        *out++ = (uint8_t)digits[v >> 18];
        *out++ = (uint8_t)digits[v >> 12 & 63];
        if (tail == 2) *out++ = (uint8_t)digits[v >> 6 & 63];
        if (pad) *out++ = '=';
        if (pad && tail == 1) *out = '=';
    }
    b->len += text_len;
}

void buffer_append_base64(struct buffer *b, struct slice bytes)
{
    append_base64(b, bytes, &alphabet_standard, true);
}

void buffer_append_base64url(struct buffer *b, struct slice bytes)
{
    append_base64(b, bytes, &alphabet_url, false);
}

/* Value plus one of each character of either alphabet; 0: not in one. */
#define V(c, v) [c] = (v) + 1
static const uint8_t base64_values[256] = {
    V('A', 0), V('B', 1), V('C', 2), V('D', 3), V('E', 4), V('F', 5), V('G', 6), V('H', 7), V('I', 8),
    V('J', 9), V('K', 10), V('L', 11), V('M', 12), V('N', 13), V('O', 14), V('P', 15), V('Q', 16),
    V('R', 17), V('S', 18), V('T', 19), V('U', 20), V('V', 21), V('W', 22), V('X', 23), V('Y', 24),
    V('Z', 25), V('a', 26), V('b', 27), V('c', 28), V('d', 29), V('e', 30), V('f', 31), V('g', 32),
    V('h', 33), V('i', 34), V('j', 35), V('k', 36), V('l', 37), V('m', 38), V('n', 39), V('o', 40),
    V('p', 41), V('q', 42), V('r', 43), V('s', 44), V('t', 45), V('u', 46), V('v', 47), V('w', 48),
    V('x', 49), V('y', 50), V('z', 51), V('0', 52), V('1', 53), V('2', 54), V('3', 55), V('4', 56),
    V('5', 57), V('6', 58), V('7', 59), V('8', 60), V('9', 61), V('+', 62), V('/', 63), V('-', 62),
    V('_', 63),
};
#undef V

enum sotto_err base64_decode(struct slice text, uint8_t *out, size_t *len_out)
{
    size_t len = text.len;
    if (len != 0 && len % 4 == 0) {
        if (text.data[len - 1] == '=') len--;
        if (text.data[len - 1] == '=') len--;
    }
    if (len % 4 == 1) return SOTTO_ERR_INVALID;
    const uint8_t *in = text.data;
    size_t done = 0;
    for (size_t i = 0; i < len / 4; i++, in += 4) {
        uint32_t a = base64_values[in[0]], b = base64_values[in[1]];
        uint32_t c = base64_values[in[2]], d = base64_values[in[3]];
        if (a == 0 || b == 0 || c == 0 || d == 0) return SOTTO_ERR_INVALID;
        uint32_t v = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (d - 1);
        out[done++] = (uint8_t)(v >> 16);
        out[done++] = (uint8_t)(v >> 8);
        out[done++] = (uint8_t)v;
    }
    size_t tail = len % 4;
    if (tail != 0) {
        uint32_t v = 0;
        for (size_t i = 0; i < tail; i++) {
            uint32_t value = base64_values[in[i]];
            if (value == 0) return SOTTO_ERR_INVALID;
            v = v << 6 | (value - 1);
        }
        /* Twelve bits hold one byte, eighteen two. The rest must be zero, or
         * two texts would mean the same bytes. */
        unsigned spare = tail == 2 ? 4 : 2;
        if ((v & ((1u << spare) - 1)) != 0) return SOTTO_ERR_INVALID;
        v >>= spare;
        if (tail == 3) out[done++] = (uint8_t)(v >> 8);
        out[done++] = (uint8_t)v;
    }
    *len_out = done;
    return SOTTO_OK;
}

void buffer_append_hex(struct buffer *b, struct slice bytes)
{
    static const char digits[] = "0123456789abcdef";
    if (bytes.len > SIZE_MAX / 2) {
        b->overflow = true;
        return;
    }
    uint8_t *out = buffer_reserve(b, bytes.len * 2);
    if (out == NULL) return;
    for (size_t i = 0; i < bytes.len; i++) {
        out[2 * i] = (uint8_t)digits[bytes.data[i] >> 4];
        out[2 * i + 1] = (uint8_t)digits[bytes.data[i] & 15];
    }
    b->len += bytes.len * 2;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum sotto_err hex_decode(struct slice text, uint8_t *out, size_t out_len)
{
    if (text.len % 2 != 0 || text.len / 2 != out_len) return SOTTO_ERR_INVALID;
    for (size_t i = 0; i < out_len; i++) {
        int high = hex_value(text.data[2 * i]), low = hex_value(text.data[2 * i + 1]);
        if (high < 0 || low < 0) return SOTTO_ERR_INVALID;
        out[i] = (uint8_t)(high * 16 + low);
    }
    return SOTTO_OK;
}

static uint32_t utf8_expect(uint32_t missing, uint32_t low, uint32_t high)
{
    return missing << 16 | low << 8 | high;
}

static uint32_t utf8_lead(uint8_t c)
{
    if (c < 0x80) return UTF8_ACCEPT;
    if (c < 0xc2) return UTF8_REJECT; /* a continuation, or overlong */
    if (c < 0xe0) return utf8_expect(1, 0x80, 0xbf);
    if (c == 0xe0) return utf8_expect(2, 0xa0, 0xbf);
    if (c == 0xed) return utf8_expect(2, 0x80, 0x9f);
    if (c < 0xf0) return utf8_expect(2, 0x80, 0xbf);
    if (c == 0xf0) return utf8_expect(3, 0x90, 0xbf);
    if (c < 0xf4) return utf8_expect(3, 0x80, 0xbf);
    if (c == 0xf4) return utf8_expect(3, 0x80, 0x8f);
    return UTF8_REJECT;
}

static uint64_t load(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return word;
}

static bool has_high(uint64_t bytes)
{
    return (bytes & 0x8080808080808080u) != 0;
}

uint32_t utf8_step(uint32_t state, struct slice chunk)
{
    const uint8_t *at = chunk.data;
    size_t left = chunk.len;
    if (state == UTF8_REJECT) return state;
    while (left != 0) {
        if (state == UTF8_ACCEPT) {
            /* Nearly everything is ASCII: 32 bytes at a time, then eight. */
            while (left >= 32 && !has_high(load(at) | load(at + 8) | load(at + 16) | load(at + 24))) {
                at += 32;
                left -= 32;
            }
            while (left >= 8 && !has_high(load(at))) {
                at += 8;
                left -= 8;
            }
            while (left != 0 && *at < 0x80) {
                at++;
                left--;
            }
            if (left == 0) break;
            state = utf8_lead(*at);
        } else {
            uint32_t missing = state >> 16;
            if (*at < (state >> 8 & 0xff) || *at > (state & 0xff)) return UTF8_REJECT;
            state = missing == 1 ? UTF8_ACCEPT : utf8_expect(missing - 1, 0x80, 0xbf);
        }
        if (state == UTF8_REJECT) return state;
        at++;
        left--;
    }
    return state;
}

bool utf8_valid(struct slice text)
{
    return utf8_step(UTF8_ACCEPT, text) == UTF8_ACCEPT;
}
