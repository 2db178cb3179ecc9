/* WebSocket frames, whole and cut: what is found must not depend on the cuts.
 *
 * Input: one byte of flags (bit 0: server role, bit 1: deflate), two of a seed
 * for the cuts, then the bytes from the peer. What was decoded is encoded again
 * and must decode to itself.
 */
#include "base/random.h"
#include "base/text.h"
#include "net/websocket.h"

#include <stdlib.h>

enum { MESSAGE_MAX = 5000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct ws_deflate *deflate_of(void)
{
    static struct ws_deflate *deflate;
    if (deflate == NULL) deflate = ws_deflate_create();
    return deflate;
}

static void check(const struct ws_message *m)
{
    SOTTO_ASSERT(m->payload.len <= MESSAGE_MAX);
    if (m->opcode == WS_TEXT || m->opcode == WS_CLOSE) SOTTO_ASSERT(utf8_valid(m->payload));
    if (m->opcode >= WS_CLOSE) SOTTO_ASSERT(m->payload.len <= 125);
}

/* True when the decoder goes on. */
static bool feed(struct ws_decoder *d, const uint8_t *data, size_t len, struct buffer *out)
{
    uint8_t *piece = malloc(len);
    size_t at = 0;
    if (len != 0) memcpy(piece, data, len);
    for (;;) {
        struct ws_message m;
        size_t used = 0;
        uint16_t code = 0;
        enum ws_result result = ws_decode(d, deflate_of(), piece + at, len - at, &used, &m, &code);
        SOTTO_ASSERT(used <= len - at);
        at += used;
        if (result == WS_MESSAGE) {
            check(&m);
            buffer_printf(out, "%d %u %zu ", (int)m.opcode, m.close_code, m.payload.len);
            buffer_append_slice(out, m.payload);
            continue;
        }
        free(piece);
        if (result == WS_BAD) {
            SOTTO_ASSERT(code == WS_CLOSE_PROTOCOL || code == WS_CLOSE_BAD_DATA || code == WS_CLOSE_TOO_BIG);
            buffer_printf(out, "bad %u", code);
            return false;
        }
        SOTTO_ASSERT(at == len);
        return true;
    }
}

/* Our own encoder's frames of the same bytes. */
static void check_encoder(const uint8_t *data, size_t len, struct random_seeded *random)
{
    if (len > MESSAGE_MAX) len = MESSAGE_MAX;
    struct buffer frames, out;
    struct ws_decoder *d;
    buffer_init(&frames, 1 << 20);
    buffer_init(&out, 1 << 20);
    struct slice bytes = slice_of(data, len);
    bool text = utf8_valid(bytes);
    ws_write_frame(&frames, WS_BINARY, bytes, &random->source);
    if (text) ws_write_deflated(&frames, deflate_of(), bytes, &random->source);
    SOTTO_ASSERT(ws_decoder_create(NULL, true, true, MESSAGE_MAX, &d) == SOTTO_OK);
    size_t at = 0, used;
    for (int i = 0; i < (text ? 2 : 1); i++) {
        struct ws_message m;
        uint16_t code;
        SOTTO_ASSERT(ws_decode(d, deflate_of(), frames.data + at, frames.len - at, &used, &m, &code) == WS_MESSAGE);
        SOTTO_ASSERT(slice_eq(m.payload, bytes));
        at += used;
    }
    SOTTO_ASSERT(at == frames.len);
    ws_decoder_destroy(&d);
    buffer_deinit(&frames);
    buffer_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 3) return 0;
    bool server = data[0] & 1, deflate = data[0] & 2;
    struct random_seeded random;
    random_seeded_init(&random, (uint64_t)(data[1] << 8 | data[2]));
    data += 3;
    len -= 3;
    check_encoder(data, len, &random);
    struct buffer whole, cut;
    buffer_init(&whole, 64 << 20);
    buffer_init(&cut, 64 << 20);
    struct ws_decoder *d;
    SOTTO_ASSERT(ws_decoder_create(NULL, server, deflate, MESSAGE_MAX, &d) == SOTTO_OK);
    feed(d, data, len, &whole);
    ws_decoder_destroy(&d);

    SOTTO_ASSERT(ws_decoder_create(NULL, server, deflate, MESSAGE_MAX, &d) == SOTTO_OK);
    bool more = true;
    while (more && len != 0) {
        uint64_t r = random_u64(&random.source);
        size_t piece = (r & 3) == 0 ? 1 : (r >> 3) % ((r & 4) ? 8 : 300);
        if (piece > len) piece = len;
        more = feed(d, data, piece, &cut);
        data += piece;
        len -= piece;
    }
    ws_decoder_destroy(&d);
    SOTTO_ASSERT(slice_eq(buffer_slice(&whole), buffer_slice(&cut)));
    buffer_deinit(&whole);
    buffer_deinit(&cut);
    return 0;
}
