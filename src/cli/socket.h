/* One WebSocket connection to the server, for the client engine to talk through. */
#ifndef SOTTO_CLI_SOCKET_H
#define SOTTO_CLI_SOCKET_H

#include "cli/url.h"
#include "net/stream.h"

struct socket;
struct socket_owner {
    void (*opened)(void *ctx);
    void (*text)(void *ctx, struct slice text);  /* one message, borrowed */
    void (*heard)(void *ctx);                    /* any other sign of life */
    /* Last callback; the socket is gone. code: of the close frame, else 1006. */
    void (*closed)(void *ctx, unsigned code);
};

/* Starts connecting. tls: NULL for http. Errors: CLOSED at once refused. */
SOTTO_CHECKED enum sotto_err socket_open(struct loop *loop, const struct url *url, struct tls_context *tls,
                                         const struct socket_owner *owner, void *ctx, struct socket **socket_out);
void socket_send(struct socket *s, struct slice text);
/* Says goodbye with `code` and closes; the owner's `closed` is not called. */
void socket_close(struct socket *s, unsigned code);

#endif
