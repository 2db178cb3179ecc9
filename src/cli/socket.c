/* A WebSocket client: handshake by the HTTP parser, then frames.
 *
 * The socket lives until its stream is closed; after socket_close it only waits
 * for that and tells its owner nothing.
 */
#include "cli/socket.h"

#include "base/limits.h"
#include "net/http.h"
#include "net/websocket.h"

#include <stdlib.h>

struct socket {
    struct stream *stream;
    const struct socket_owner *owner; /* NULL: told to close */
    void *ctx;
    struct http_parser *parser;       /* until the handshake is over */
    struct ws_decoder *decoder;       /* afterwards */
    struct ws_deflate *deflate;
    struct url url;
    char key[25];
    unsigned close_code;
};

static void on_opened(struct stream *stream, void *ctx)
{
    struct socket *s = ctx;
    struct buffer out, host;
    buffer_init(&out, 4096);
    buffer_init(&host, 512);
    url_authority(&s->url, &host);
    buffer_append_byte(&host, 0);
    ws_request(&out, (const char *)host.data, "/api/v1/ws", true, random_system(), s->key);
    stream_write(stream, buffer_slice(&out));
    buffer_deinit(&host);
    buffer_deinit(&out);
}

static void send_frame(struct socket *s, enum ws_opcode opcode, struct slice payload)
{
    struct buffer out;
    buffer_init(&out, payload.len + 16);
    ws_write_frame(&out, opcode, payload, random_system());
    stream_write(s->stream, buffer_slice(&out));
    buffer_deinit(&out);
}

/* The close frame in both directions: answer, then let the stream go. */
static void say_close(struct socket *s, unsigned code)
{
    struct buffer out;
    buffer_init(&out, 256);
    ws_write_close(&out, (uint16_t)code, "", random_system());
    stream_write(s->stream, buffer_slice(&out));
    buffer_deinit(&out);
    stream_close(s->stream, 2000);
}

static bool handshake(struct socket *s, uint8_t **data, size_t *len)
{
    const struct http_message *m;
    size_t used = 0;
    unsigned status;
    bool deflate = false;
    enum http_result result = http_parser_feed(s->parser, slice_of(*data, *len), &used, &m, &status);
    *data += used;
    *len -= used;
    if (result == HTTP_MORE) return true;
    if (result != HTTP_COMPLETE || m->status != 101 || ws_connected(m, s->key, &deflate) != SOTTO_OK ||
        ws_decoder_create(NULL, false, deflate, SOTTO_FRAME_MAX, &s->decoder) != SOTTO_OK)
        return false;
    if (deflate) s->deflate = ws_deflate_create();
    http_parser_destroy(&s->parser);
    s->owner->opened(s->ctx);
    return true;
}

static void on_message(struct socket *s, const struct ws_message *m)
{
    switch (m->opcode) {
    case WS_TEXT: s->owner->text(s->ctx, m->payload); return;
    case WS_PING: send_frame(s, WS_PONG, m->payload); break;
    case WS_CLOSE:
        s->close_code = m->close_code;
        say_close(s, m->close_code == 1005 ? WS_CLOSE_NORMAL : m->close_code);
        return;
    default: break;
    }
    s->owner->heard(s->ctx);
}

static void on_received(struct stream *stream, void *ctx, uint8_t *data, size_t len)
{
    struct socket *s = ctx;
    if (!s->decoder && s->owner && !handshake(s, &data, &len)) {
        stream_abort(stream);
        return;
    }
    while (len && s->decoder && s->owner && s->close_code == 0) {
        struct ws_message m;
        size_t used = 0;
        uint16_t code = WS_CLOSE_PROTOCOL;
        enum ws_result result = ws_decode(s->decoder, s->deflate, data, len, &used, &m, &code);
        data += used;
        len -= used;
        if (result == WS_BAD) {
            s->close_code = 1006;
            say_close(s, code);
            return;
        }
        if (result == WS_MORE) {
            s->owner->heard(s->ctx);
            return;
        }
        on_message(s, &m);
    }
}

static void on_closed(struct stream *stream, void *ctx, enum stream_end why)
{
    (void)stream;
    (void)why;
    struct socket *s = ctx;
    http_parser_destroy(&s->parser);
    ws_decoder_destroy(&s->decoder);
    ws_deflate_destroy(&s->deflate);
    if (s->owner) s->owner->closed(s->ctx, s->close_code ? s->close_code : 1006);
    free(s);
}

static const struct stream_owner stream_callbacks = {
    .opened = on_opened, .received = on_received, .closed = on_closed};

enum sotto_err socket_open(struct loop *loop, const struct url *url, struct tls_context *tls,
                           const struct socket_owner *owner, void *ctx, struct socket **socket_out)
{
    struct socket *s = calloc(1, sizeof *s);
    if (!s) return SOTTO_ERR_FULL;
    s->owner = owner;
    s->ctx = ctx;
    s->url = *url;
    s->parser = http_parser_create(true);
    enum sotto_err err = s->parser ? stream_connect(loop, url->host, url->port, tls, &stream_callbacks, s, &s->stream)
                                   : SOTTO_ERR_FULL;
    if (err) {
        http_parser_destroy(&s->parser);
        free(s);
        return err;
    }
    *socket_out = s;
    return SOTTO_OK;
}

void socket_send(struct socket *s, struct slice text)
{
    if (s->decoder && s->close_code == 0) send_frame(s, WS_TEXT, text);
}

void socket_close(struct socket *s, unsigned code)
{
    s->owner = NULL;
    if (s->decoder)
        say_close(s, code);
    else
        stream_abort(s->stream);
}
