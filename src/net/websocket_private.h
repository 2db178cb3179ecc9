/* The decoder's layout and what the codec's files share. */
#ifndef SOTTO_NET_WEBSOCKET_PRIVATE_H
#define SOTTO_NET_WEBSOCKET_PRIVATE_H

#include "net/websocket.h"

enum { WS_HEADER_MAX = 14, WS_CONTROL_MAX = 125 };

struct ws_pieces {
    struct buffer message; /* of the data message under way */
    struct buffer handed;  /* what the last result borrowed, freed by the next call;
                            * or the pieces of the control frame under way */
    uint32_t since;        /* see ws_decoder_since */
};
struct ws_decoder {
    struct ws_pieces *pieces; /* NULL when there are none */
    uint32_t message_max;
    uint32_t frame_len;     /* payload of the current frame; at most message_max or 125 */
    uint32_t frame_at;      /* of frame_len, bytes taken */
    uint32_t utf8;          /* state of the text so far */
    uint8_t header[WS_HEADER_MAX];
    uint8_t header_len : 4; /* bytes of the header so far */
    uint8_t opcode : 4;     /* of the data message that is under way, or 0 */
    bool in_frame : 1;      /* the header is complete */
    bool server : 1;
    bool deflate : 1;
    bool compressed : 1;    /* the message under way */
    bool finished : 1;      /* a close frame or an error ended everything */
    bool in_slab : 1;
};
_Static_assert(sizeof(struct ws_decoder) <= 40, "of every idle connection");

/* XORs with the key, beginning at byte `at` of the frame's payload. */
void ws_mask(uint8_t *data, size_t len, const uint8_t key[4], size_t at);
/* Header of a final frame; at most WS_HEADER_MAX - 4 bytes (no key). */
size_t ws_put_header(uint8_t *to, uint8_t first, size_t payload_len, bool masked);
void ws_write_raw(struct buffer *out, uint8_t first, struct slice payload, const struct random_source *mask);

enum ws_inflate_result { WS_INFLATE_OK, WS_INFLATE_BAD, WS_INFLATE_TOO_BIG };
/* Appends what `in` (a whole message, without the tail) inflates to. */
enum ws_inflate_result ws_inflate(struct ws_deflate *d, struct slice in, struct buffer *out);

#endif
