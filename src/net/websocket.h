/* WebSocket frames (RFC 6455) with permessage-deflate (RFC 7692, no context
 * takeover in either direction). No I/O; both roles.
 *
 * The decoder takes bytes as they come and hands out whole messages and control
 * frames. A message that arrives in one piece and in one frame is unmasked in
 * place and borrowed, never copied; otherwise it is collected in a buffer that
 * exists only meanwhile. Text is checked as UTF-8. Between messages a decoder
 * holds no heap, once the caller has called until WS_MORE: that call frees what
 * the message before it borrowed.
 */
#ifndef SOTTO_NET_WEBSOCKET_H
#define SOTTO_NET_WEBSOCKET_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/random.h"
#include "base/slab.h"
#include "net/http.h"

enum ws_opcode { WS_CONT = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

enum { /* close codes of RFC 6455 section 7.4 that we send */
    WS_CLOSE_NORMAL = 1000, WS_CLOSE_GOING_AWAY = 1001, WS_CLOSE_PROTOCOL = 1002,
    WS_CLOSE_UNSUPPORTED = 1003, WS_CLOSE_BAD_DATA = 1007, WS_CLOSE_POLICY = 1008,
    WS_CLOSE_TOO_BIG = 1009, WS_CLOSE_INTERNAL = 1011
};

/* zlib streams shared by all connections of one thread. */
struct ws_deflate;
struct ws_deflate *ws_deflate_create(void);
void ws_deflate_destroy(struct ws_deflate **d);

struct ws_decoder; /* layout in websocket_private.h */
struct ws_message {
    enum ws_opcode opcode;   /* TEXT, BINARY, CLOSE, PING or PONG */
    struct slice payload;    /* borrowed until the next call */
    uint16_t close_code;     /* CLOSE: 1005 when the peer gave none */
    size_t grown_len;        /* bytes that it is longer than it was compressed; 0: it was not, or got no longer */
};
enum ws_result {
    WS_MORE,     /* everything was used */
    WS_MESSAGE,  /* *used_out bytes were taken; call again with the rest */
    WS_BAD       /* close with *close_code_out; all later calls swallow their input */
};

/* A slab for decoders: who has many of them. */
void ws_decoders_init(struct slab *s);
/* slab: of ws_decoders_init, on whose thread the decoder stays; NULL: the heap.
 * server: frames must be masked (and must not be otherwise). deflate: RSV1 is
 * allowed, and ws_decode must be given a ws_deflate. message_max bounds a message
 * before and after inflating. Errors: SOTTO_ERR_INVALID, message_max is 0 or
 * above 2 GiB. */
SOTTO_CHECKED enum sotto_err ws_decoder_create(struct slab *slab, bool server, bool deflate, size_t message_max,
                                               struct ws_decoder **decoder_out);
void ws_decoder_destroy(struct ws_decoder **d);
/* Another message_max (1 to 2 GiB), from the next frame on. */
void ws_decoder_limit(struct ws_decoder *d, size_t message_max);
/* Memory that it holds: of what has arrived in part, and of what was handed out last. */
size_t ws_decoder_held(const struct ws_decoder *d);
/* When what has arrived in part began, by the caller's clock: `now`, which is not 0, if it
 * was not asked for yet. 0: nothing has. To be called after WS_MORE. */
uint32_t ws_decoder_since(struct ws_decoder *d, uint32_t now);
/* Frees what has arrived in part; all later calls swallow their input. */
void ws_decoder_end(struct ws_decoder *d);
SOTTO_CHECKED enum ws_result ws_decode(struct ws_decoder *d, struct ws_deflate *deflate, uint8_t *in,
                                       size_t len, size_t *used_out, struct ws_message *message_out,
                                       uint16_t *close_code_out);

/* Appends one unfragmented frame, or nothing when the buffer's cap is reached
 * (`overflow`). mask: NULL for the server role, else the
 * source of masking keys. */
void ws_write_frame(struct buffer *out, enum ws_opcode opcode, struct slice payload,
                    const struct random_source *mask);
/* Length of the first frame in a run of whole frames, header and payload; that
 * of the run if it is shorter. */
size_t ws_frame_len(struct slice frames);
/* Server role, in place: reserves the longest header, lets the caller append
 * the payload to `out`, then closes the gap. */
size_t ws_frame_begin(struct buffer *out);
void ws_frame_end(struct buffer *out, size_t begin, enum ws_opcode opcode);
/* Compresses and appends one text frame with RSV1; falls back to a plain frame
 * when that is not smaller. */
void ws_write_deflated(struct buffer *out, struct ws_deflate *deflate, struct slice payload,
                       const struct random_source *mask);
void ws_write_close(struct buffer *out, uint16_t code, const char *reason, const struct random_source *mask);

/* Server handshake: checks the request (RFC 6455 section 4.2.1) and writes the
 * 101 answer. offer_deflate: accept permessage-deflate when the peer offers it.
 * Errors: SOTTO_ERR_INVALID with *status_out 400 or 426 (the caller answers; with
 * 426 it adds "Upgrade: websocket" and "Sec-WebSocket-Version: 13"). */
SOTTO_CHECKED enum sotto_err ws_accept(const struct http_message *request, bool offer_deflate,
                                       struct buffer *out, bool *deflate_out, unsigned *status_out);
/* Client handshake: writes the request; key_out is kept for ws_connected. */
void ws_request(struct buffer *out, const char *host, const char *path, bool offer_deflate,
                const struct random_source *random, char key_out[25]);
/* Errors:  SOTTO_ERR_DENIED   the server did not switch protocols
 *          SOTTO_ERR_INVALID  the answer does not fit the request; a client that
 *                             did not offer deflate must also refuse *deflate_out */
SOTTO_CHECKED enum sotto_err ws_connected(const struct http_message *response, const char key[25],
                                          bool *deflate_out);

#endif
