/* WebSocket frames, RFC 6455 section 5.
 *
 *    byte 0   FIN(1) RSV1-3(3) opcode(4)
 *    byte 1   MASK(1) length(7); 126: 16 more bits follow, 127: 64 more
 *    then     the masking key, 4 bytes, if MASK; then the payload
 *
 * DECODING. The usual message is one frame that lies whole in the bytes just
 * received: it is unmasked where it is and lent to the caller. Anything else
 * (a frame cut by a read, fragments, compression) is collected. Collected bytes
 * live in `pieces`: in `message` until they are complete, then in `handed` until
 * the next call, which frees them: callers call until WS_MORE. Memory grows with the
 * bytes that arrived, never with a length that was announced.
 *
 * A header is judged when its two first bytes are there, its length when that
 * is complete, text as it comes: what is found depends on the bytes and not on
 * how reads cut them. A fuzzer compares the two.
 *
 * REFUSED, with the code to close with: reserved bits and opcodes, wrong
 * masking, lengths not in their shortest form, fragmented or long control
 * frames, fragments out of order, a close frame with one byte or a code that
 * may not be sent (1002); text that is not UTF-8, data that does not inflate
 * (1007); messages past the maximum, before or after inflating (1009). After
 * that, and after a close frame, everything is swallowed.
 */
#include "net/websocket_private.h"
#include "base/text.h"

#include <stdlib.h>

void ws_decoders_init(struct slab *s) { slab_init(s, sizeof(struct ws_decoder)); }

enum sotto_err ws_decoder_create(struct slab *slab, bool server, bool deflate, size_t message_max,
                                 struct ws_decoder **decoder_out)
{
    if (message_max == 0 || message_max > INT32_MAX) return SOTTO_ERR_INVALID;
    struct ws_decoder *d = slab != NULL ? slab_take(slab) : sotto_zalloc(sizeof(*d));
    d->in_slab = slab != NULL;
    d->server = server;
    d->deflate = deflate;
    d->message_max = (uint32_t)message_max;
    *decoder_out = d;
    return SOTTO_OK;
}

void ws_decoder_limit(struct ws_decoder *d, size_t message_max)
{
    SOTTO_ASSERT(message_max > 0 && message_max <= INT32_MAX);
    d->message_max = (uint32_t)message_max;
}

static struct ws_pieces *pieces_take(struct ws_decoder *d)
{
    if (d->pieces == NULL) d->pieces = sotto_zalloc(sizeof(*d->pieces));
    return d->pieces;
}

static void pieces_free(struct ws_decoder *d)
{
    if (d->pieces == NULL) return;
    buffer_deinit(&d->pieces->message);
    buffer_deinit(&d->pieces->handed);
    free(d->pieces);
    d->pieces = NULL;
}

/* What the last result borrowed is not needed any more. */
static void drop_handed(struct ws_decoder *d)
{
    if (d->pieces == NULL) return;
    if (d->opcode == 0) pieces_free(d);
    else buffer_deinit(&d->pieces->handed);
}

size_t ws_decoder_held(const struct ws_decoder *d)
{
    return d->pieces == NULL ? 0 : d->pieces->message.size + d->pieces->handed.size;
}

uint32_t ws_decoder_since(struct ws_decoder *d, uint32_t now)
{
    if (d->pieces == NULL) return 0;
    if (d->pieces->since == 0) d->pieces->since = now;
    return d->pieces->since;
}

void ws_decoder_end(struct ws_decoder *d)
{
    pieces_free(d);
    d->finished = true;
}

/* Adds to the pieces in `b`; returns all of them. */
static struct slice collect(struct buffer *b, size_t max, struct slice piece)
{
    if (b->len == 0) buffer_init(b, max);
    buffer_append_slice(b, piece);
    return buffer_slice(b);
}

void ws_decoder_destroy(struct ws_decoder **decoder)
{
    if (*decoder == NULL) return;
    pieces_free(*decoder);
    if ((*decoder)->in_slab) slab_give(*decoder);
    else free(*decoder);
    *decoder = NULL;
}

void ws_mask(uint8_t *data, size_t len, const uint8_t key[4], size_t at)
{
    uint8_t turned[8];
    for (size_t i = 0; i < 8; i++) turned[i] = key[(at + i) & 3];
    uint64_t wide, word;
    memcpy(&wide, turned, 8);
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        memcpy(&word, data + i, 8);
        word ^= wide;
        memcpy(data + i, &word, 8);
    }
    for (; i < len; i++) data[i] ^= turned[i & 7];
}

/* --- Headers --- */

static bool is_control(uint8_t opcode)
{
    return opcode >= WS_CLOSE;
}

static uint8_t header_opcode(const struct ws_decoder *d)
{
    return d->header[0] & 0x0f;
}

static bool header_fin(const struct ws_decoder *d)
{
    return d->header[0] & 0x80;
}

/* Judges the first two bytes. 0, or the code to close with. */
static uint16_t check_start(const struct ws_decoder *d)
{
    uint8_t opcode = header_opcode(d);
    bool rsv1 = d->header[0] & 0x40;
    bool masked = d->header[1] & 0x80;
    if ((d->header[0] & 0x30) != 0 || masked != d->server) return WS_CLOSE_PROTOCOL;
    switch (opcode) {
    case WS_CONT:
        return d->opcode != 0 && !rsv1 ? 0 : WS_CLOSE_PROTOCOL;
    case WS_TEXT:
    case WS_BINARY:
        return d->opcode == 0 && (!rsv1 || d->deflate) ? 0 : WS_CLOSE_PROTOCOL;
    case WS_CLOSE:
    case WS_PING:
    case WS_PONG:
        return header_fin(d) && !rsv1 && (d->header[1] & 0x7f) <= WS_CONTROL_MAX ? 0 : WS_CLOSE_PROTOCOL;
    default:
        return WS_CLOSE_PROTOCOL;
    }
}

static size_t header_len(const struct ws_decoder *d)
{
    if (d->header_len < 2) return 2;
    uint8_t len = d->header[1] & 0x7f;
    return 2 + (len == 127 ? 8 : len == 126 ? 2 : 0) + (d->header[1] & 0x80 ? 4 : 0);
}

/* Reads the length and starts the frame. 0, or the code to close with. */
static uint16_t start_frame(struct ws_decoder *d)
{
    uint64_t len = d->header[1] & 0x7f;
    if (len >= 126) {
        size_t bytes = len == 126 ? 2 : 8;
        uint64_t least = len == 126 ? 126 : 0x10000;
        len = 0;
        for (size_t i = 0; i < bytes; i++) len = len << 8 | d->header[2 + i];
        if (len < least || len >> 63 != 0) return WS_CLOSE_PROTOCOL;
    }
    uint8_t opcode = header_opcode(d);
    if (!is_control(opcode)) {
        uint64_t before = d->pieces != NULL ? d->pieces->message.len : 0;
        if (len > d->message_max - before) return WS_CLOSE_TOO_BIG;
        if (opcode != WS_CONT) {
            d->opcode = opcode & 0x0f;
            d->compressed = d->header[0] & 0x40;
            d->utf8 = UTF8_ACCEPT;
        }
    }
    d->frame_len = (uint32_t)len;
    d->frame_at = 0;
    d->in_frame = true;
    return 0;
}

/* Takes header bytes. True when the frame has begun or *code_out is set. */
static bool take_header(struct ws_decoder *d, const uint8_t *in, size_t len, size_t *used, uint16_t *code_out)
{
    while (*used < len) {
        d->header[d->header_len++] = in[(*used)++];
        if (d->header_len == 2 && (*code_out = check_start(d)) != 0) return true;
        if (d->header_len < 2 || d->header_len < header_len(d)) continue;
        *code_out = start_frame(d);
        return true;
    }
    return false;
}

/* --- Payloads --- */

static const uint8_t *mask_key(const struct ws_decoder *d)
{
    return d->header + d->header_len - 4;
}

static bool close_code_valid(uint16_t code)
{
    if (code >= 3000) return code <= 4999;
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}

static uint16_t finish_control(struct ws_decoder *d, struct slice payload, struct ws_message *message_out)
{
    *message_out = (struct ws_message){.opcode = (enum ws_opcode)header_opcode(d), .payload = payload};
    if (message_out->opcode != WS_CLOSE) return 0;
    d->finished = true;
    message_out->close_code = 1005;
    if (payload.len == 0) return 0;
    if (payload.len == 1) return WS_CLOSE_PROTOCOL;
    message_out->close_code = (uint16_t)(payload.data[0] << 8 | payload.data[1]);
    message_out->payload = slice_of(payload.data + 2, payload.len - 2);
    if (!close_code_valid(message_out->close_code)) return WS_CLOSE_PROTOCOL;
    return utf8_valid(message_out->payload) ? 0 : WS_CLOSE_BAD_DATA;
}

static uint16_t finish_compressed(struct ws_decoder *d, struct ws_deflate *deflate, struct slice payload,
                                  struct slice *plain_out)
{
    struct ws_pieces *p = pieces_take(d);
    buffer_init(&p->handed, d->message_max);
    switch (ws_inflate(deflate, payload, &p->handed)) {
    case WS_INFLATE_BAD:
        return WS_CLOSE_BAD_DATA;
    case WS_INFLATE_TOO_BIG:
        return WS_CLOSE_TOO_BIG;
    case WS_INFLATE_OK:
        break;
    }
    *plain_out = buffer_slice(&p->handed);
    if (d->opcode == WS_TEXT && !utf8_valid(*plain_out)) return WS_CLOSE_BAD_DATA;
    buffer_deinit(&p->message);
    return 0;
}

/* The last frame of a data message is complete; `payload` is all of it. */
static uint16_t finish_data(struct ws_decoder *d, struct ws_deflate *deflate, struct slice payload,
                            struct ws_message *message_out)
{
    uint16_t code = 0;
    size_t wire_len = payload.len;
    if (d->compressed) {
        SOTTO_ASSERT(deflate != NULL);
        code = finish_compressed(d, deflate, payload, &payload);
    } else {
        if (d->opcode == WS_TEXT && d->utf8 != UTF8_ACCEPT) code = WS_CLOSE_BAD_DATA;
        if (d->pieces != NULL) {
            d->pieces->handed = d->pieces->message;
            buffer_init(&d->pieces->message, 0);
        }
    }
    *message_out = (struct ws_message){.opcode = (enum ws_opcode)d->opcode, .payload = payload,
                                       .grown_len = payload.len > wire_len ? payload.len - wire_len : 0};
    d->opcode = 0;
    return code;
}

/* Takes payload bytes of a data frame. *done_out: a message is complete. */
static uint16_t take_data(struct ws_decoder *d, struct ws_deflate *deflate, struct slice piece, bool last,
                          struct ws_message *message_out, bool *done_out)
{
    if (d->opcode == WS_TEXT && !d->compressed) {
        d->utf8 = utf8_step(d->utf8, piece);
        if (d->utf8 == UTF8_REJECT) return WS_CLOSE_BAD_DATA;
    }
    bool complete = last && header_fin(d);
    bool collected = d->pieces != NULL && d->pieces->message.len > 0;
    if (collected || !complete) piece = collect(&pieces_take(d)->message, d->message_max, piece);
    if (!complete) return 0;
    *done_out = true;
    return finish_data(d, deflate, piece, message_out);
}

static uint16_t take_control(struct ws_decoder *d, struct slice piece, bool last, struct ws_message *message_out,
                             bool *done_out)
{
    bool collected = d->pieces != NULL && d->pieces->handed.len > 0;
    if (collected || !last) piece = collect(&pieces_take(d)->handed, WS_CONTROL_MAX, piece);
    if (!last) return 0;
    *done_out = true;
    return finish_control(d, piece, message_out);
}

static uint16_t take_payload(struct ws_decoder *d, struct ws_deflate *deflate, uint8_t *in, size_t len,
                             struct ws_message *message_out, bool *done_out)
{
    if (d->server) ws_mask(in, len, mask_key(d), d->frame_at);
    bool last = d->frame_at + len == d->frame_len;
    struct slice piece = slice_of(in, len);
    uint16_t code = is_control(header_opcode(d)) ? take_control(d, piece, last, message_out, done_out)
                                                 : take_data(d, deflate, piece, last, message_out, done_out);
    d->frame_at += (uint32_t)len;
    if (last) {
        d->in_frame = false;
        d->header_len = 0;
    }
    return code;
}

enum ws_result ws_decode(struct ws_decoder *d, struct ws_deflate *deflate, uint8_t *in, size_t len,
                         size_t *used_out, struct ws_message *message_out, uint16_t *close_code_out)
{
    size_t used = 0;
    uint16_t code = 0;
    bool done = false;
    if (!d->in_frame || !is_control(header_opcode(d))) drop_handed(d);
    while (!d->finished && !done && code == 0) {
        if (!d->in_frame && !take_header(d, in, len, &used, &code)) break;
        if (code != 0) break;
        size_t left = d->frame_len - d->frame_at;
        size_t take = left < len - used ? left : len - used;
        if (take == 0 && left != 0) break;
        code = take_payload(d, deflate, in + used, take, message_out, &done);
        used += take;
    }
    if (code != 0) {
        ws_decoder_end(d);
        *used_out = used;
        *close_code_out = code;
        return WS_BAD;
    }
    if (done) {
        *used_out = used;
        return WS_MESSAGE;
    }
    *used_out = len;
    return WS_MORE;
}

/* --- Encoding --- */

size_t ws_put_header(uint8_t *to, uint8_t first, size_t payload_len, bool masked)
{
    uint8_t mask = masked ? 0x80 : 0;
    to[0] = first;
    if (payload_len < 126) {
        to[1] = (uint8_t)(mask | payload_len);
        return 2;
    }
    size_t bytes = payload_len < 0x10000 ? 2 : 8;
    to[1] = mask | (bytes == 2 ? 126 : 127);
    uint64_t len = payload_len;
    for (size_t i = bytes; i > 0; i--, len >>= 8) to[1 + i] = (uint8_t)len;
    return 2 + bytes;
}

void ws_write_raw(struct buffer *out, uint8_t first, struct slice payload, const struct random_source *mask)
{
    /* All or nothing: half a frame would spoil every one after it. */
    uint8_t *to = payload.len < SIZE_MAX - WS_HEADER_MAX ? buffer_reserve(out, payload.len + WS_HEADER_MAX) : NULL;
    if (to == NULL) {
        out->overflow = true;
        return;
    }
    uint8_t key[4];
    size_t at = ws_put_header(to, first, payload.len, mask != NULL);
    if (mask != NULL) {
        random_fill(mask, key, sizeof(key));
        memcpy(to + at, key, sizeof(key));
        at += sizeof(key);
    }
    if (payload.len != 0) memcpy(to + at, payload.data, payload.len);
    if (mask != NULL) ws_mask(to + at, payload.len, key, 0);
    out->len += at + payload.len;
}

void ws_write_frame(struct buffer *out, enum ws_opcode opcode, struct slice payload,
                    const struct random_source *mask)
{
    ws_write_raw(out, (uint8_t)(0x80 | opcode), payload, mask);
}

size_t ws_frame_len(struct slice frames)
{
    if (frames.len < 2) return frames.len;
    uint64_t len = frames.data[1] & 0x7f;
    size_t bytes = len == 127 ? 8 : len == 126 ? 2 : 0;
    size_t header = 2 + bytes + (frames.data[1] & 0x80 ? 4 : 0);
    if (frames.len < header) return frames.len;
    if (bytes > 0) len = 0;
    for (size_t i = 0; i < bytes; i++) len = len << 8 | frames.data[2 + i];
    return len < frames.len - header ? header + (size_t)len : frames.len;
}

enum { WS_SERVER_HEADER_MAX = WS_HEADER_MAX - 4 };

size_t ws_frame_begin(struct buffer *out)
{
    size_t begin = out->len;
    if (buffer_reserve(out, WS_SERVER_HEADER_MAX) != NULL) out->len += WS_SERVER_HEADER_MAX;
    return begin;
}

void ws_frame_end(struct buffer *out, size_t begin, enum ws_opcode opcode)
{
    if (out->overflow) {
        /* The payload is not whole: nothing of it goes out. */
        out->len = begin;
        return;
    }
    uint8_t header[WS_SERVER_HEADER_MAX];
    size_t payload_len = out->len - begin - WS_SERVER_HEADER_MAX;
    size_t len = ws_put_header(header, (uint8_t)(0x80 | opcode), payload_len, false);
    memmove(out->data + begin + len, out->data + begin + WS_SERVER_HEADER_MAX, payload_len);
    memcpy(out->data + begin, header, len);
    out->len = begin + len + payload_len;
}

void ws_write_close(struct buffer *out, uint16_t code, const char *reason, const struct random_source *mask)
{
    uint8_t payload[WS_CONTROL_MAX] = {(uint8_t)(code >> 8), (uint8_t)code};
    size_t len = reason != NULL ? strlen(reason) : 0;
    if (len > WS_CONTROL_MAX - 2) {
        len = WS_CONTROL_MAX - 2;
        while (len > 0 && ((uint8_t)reason[len] & 0xc0) == 0x80) len--;
    }
    if (len != 0) memcpy(payload + 2, reason, len);
    ws_write_frame(out, WS_CLOSE, slice_of(payload, len + 2), mask);
}
