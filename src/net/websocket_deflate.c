/* permessage-deflate, RFC 7692, without context takeover.
 *
 * Because no message refers to an earlier one, one pair of zlib streams serves
 * every connection of a thread: it is reset per message, and a connection costs
 * nothing. Compression is level 1; a chat event of 400 bytes has little for
 * higher levels to find.
 *
 * A message on the wire is what deflate wrote up to a sync flush, without the
 * flush's last four bytes 00 00 ff ff. The sender may also use final blocks
 * (section 7.2.3.5), after which a new stream begins in the same message.
 *
 * Inflating stops at the caller's cap, so that a small frame cannot grow large.
 */
#include "net/websocket_private.h"

#include <stdlib.h>
#include <zlib.h>

enum { DEFLATE_LEVEL = 1, DEFLATE_LEAST = 32, INFLATE_STEP = 4096, WS_RSV1 = 0x40 };

static const uint8_t tail[4] = {0x00, 0x00, 0xff, 0xff};

struct ws_deflate {
    z_stream deflater;
    z_stream inflater;
    struct buffer scratch;
};

struct ws_deflate *ws_deflate_create(void)
{
    struct ws_deflate *d = sotto_zalloc(sizeof(*d));
    /* Negative window bits: raw deflate. Only memory can be missing here. */
    SOTTO_ASSERT(deflateInit2(&d->deflater, DEFLATE_LEVEL, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    SOTTO_ASSERT(inflateInit2(&d->inflater, -MAX_WBITS) == Z_OK);
    buffer_init(&d->scratch, SIZE_MAX);
    return d;
}

void ws_deflate_destroy(struct ws_deflate **deflate)
{
    struct ws_deflate *d = *deflate;
    if (d == NULL) return;
    *deflate = NULL;
    deflateEnd(&d->deflater);
    inflateEnd(&d->inflater);
    buffer_deinit(&d->scratch);
    free(d);
}

/* Inflates one run of input, as far as it goes. */
static enum ws_inflate_result inflate_run(z_stream *z, struct slice in, struct buffer *out)
{
    z->next_in = (Bytef *)(uintptr_t)in.data;
    z->avail_in = (uInt)in.len;
    for (;;) {
        size_t room = out->max - out->len;
        if (room > INFLATE_STEP) room = INFLATE_STEP;
        /* At the cap one more byte is asked for, to see whether there is one. */
        uint8_t beyond;
        uint8_t *to = room != 0 ? buffer_reserve(out, room) : &beyond;
        z->next_out = to;
        z->avail_out = room != 0 ? (uInt)room : 1;
        uInt asked = z->avail_out;
        int result = inflate(z, Z_SYNC_FLUSH);
        size_t got = asked - z->avail_out;
        if (room == 0 && got != 0) return WS_INFLATE_TOO_BIG;
        out->len += got;
        if (result == Z_STREAM_END) {
            inflateReset(z);
            if (z->avail_in == 0) return WS_INFLATE_OK;
        } else if (result == Z_BUF_ERROR) {
            return WS_INFLATE_OK; /* nothing more comes of this input */
        } else if (result != Z_OK) {
            return WS_INFLATE_BAD;
        } else if (z->avail_in == 0 && z->avail_out != 0) {
            return WS_INFLATE_OK; /* and data_type tells where; another call would lose it */
        }
    }
}

enum ws_inflate_result ws_inflate(struct ws_deflate *d, struct slice in, struct buffer *out)
{
    z_stream *z = &d->inflater;
    /* An empty message should be one zero byte; none at all means the same. */
    if (in.len == 0) return WS_INFLATE_OK;
    inflateReset(z);
    enum ws_inflate_result result = inflate_run(z, in, out);
    if (result == WS_INFLATE_OK) result = inflate_run(z, slice_of(tail, sizeof(tail)), out);
    /* Bit 7 of data_type: between two blocks, which is where the tail leads
     * unless the data broke off. */
    if (result == WS_INFLATE_OK && (z->data_type & 128) == 0) result = WS_INFLATE_BAD;
    return result;
}

void ws_write_deflated(struct buffer *out, struct ws_deflate *d, struct slice payload,
                       const struct random_source *mask)
{
    if (payload.len >= DEFLATE_LEAST && payload.len < UINT32_MAX / 2) {
        z_stream *z = &d->deflater;
        deflateReset(z);
        buffer_clear(&d->scratch);
        /* Room for the payload only: what does not become smaller is not wanted. */
        uint8_t *to = buffer_reserve(&d->scratch, payload.len);
        z->next_in = (Bytef *)(uintptr_t)payload.data;
        z->avail_in = (uInt)payload.len;
        z->next_out = to;
        z->avail_out = (uInt)payload.len;
        int result = deflate(z, Z_SYNC_FLUSH);
        size_t len = payload.len - z->avail_out;
        if (result == Z_OK && z->avail_in == 0 && z->avail_out != 0 && len > sizeof(tail)) {
            ws_write_raw(out, 0x80 | WS_RSV1 | WS_TEXT, slice_of(to, len - sizeof(tail)), mask);
            return;
        }
    }
    ws_write_frame(out, WS_TEXT, payload, mask);
}
