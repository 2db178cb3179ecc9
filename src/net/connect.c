/* Outgoing connections: every address that the name gave, one after the other.
 *
 * Used by the command-line client, the load generator and between servers. The
 * name is looked up with getaddrinfo, which blocks. A connect that fails is
 * followed by the next address; the owner hears of it only when none is left.
 */
#include "net/stream_private.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { CONNECT_MS = 10 * 1000 };

/* Opens a socket to the next address that does not fail at once. */
static int open_next(struct output *state)
{
    while (state->address != NULL) {
        const struct addrinfo *a = state->address;
        state->address = a->ai_next;
        int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) continue;
        socket_set_options(fd);
        if (connect(fd, a->ai_addr, a->ai_addrlen) == 0 || errno == EINPROGRESS || errno == EINTR) return fd;
        close(fd);
    }
    return -1;
}

static void try_next(struct stream *s)
{
    loop_forget(s->loop, &s->watch);
    close(s->watch.fd);
    s->watch.fd = open_next(stream_attach_output(s));
    if (s->watch.fd < 0 || loop_watch(s->loop, &s->watch, STREAM_EVENTS) != SOTTO_OK)
        stream_end(s, STREAM_END_ERROR);
    else
        stream_timer_start(s, CONNECT_MS);
}

void connect_timeout(struct stream *s)
{
    try_next(s);
}

void connect_event(struct stream *s)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(s->watch.fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) error = errno;
    if (error != 0) {
        try_next(s);
        return;
    }
    struct sockaddr_storage peer;
    len = sizeof(peer);
    /* An event before the answer (none is expected): not connected yet. */
    if (getpeername(s->watch.fd, (struct sockaddr *)&peer, &len) != 0) return;
    s->watch.flags &= ~(uint32_t)STREAM_CONNECTING;
    stream_timer_stop(s);
    freeaddrinfo(s->out->addresses);
    s->out->addresses = NULL;
    s->out->address = NULL;
    loop_defer(s->loop, &s->deferred);
    if (s->tls != NULL) {
        s->watch.flags |= STREAM_SHAKING;
        stream_timer_start(s, STREAM_HANDSHAKE_MS);
        tls_handshake(s);
    } else {
        stream_opened(s);
    }
    /* The peer may have spoken already: the edge that said so is this one. */
    if (s->watch.flags & STREAM_DEAD) return;
    s->watch.flags |= STREAM_READABLE | STREAM_READ_LATER;
}

enum sotto_err stream_connect(struct loop *loop, const char *host, uint16_t port, struct tls_context *tls,
                              const struct stream_owner *owner, void *ctx, struct stream **stream_out)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    char service[8];
    snprintf(service, sizeof(service), "%u", port);
    struct stream *s = stream_create(loop, -1);
    s->watch.flags = STREAM_CONNECTING | STREAM_CLIENT;
    stream_set_owner(s, owner, ctx);
    struct output *out = stream_attach_output(s);
    enum sotto_err err = SOTTO_ERR_NOT_FOUND;
    if (getaddrinfo(host, service, &hints, &out->addresses) != 0) {
        out->addresses = NULL;
        goto fail;
    }
    out->address = out->addresses;
    err = SOTTO_ERR_IO;
    s->watch.fd = open_next(out);
    if (s->watch.fd < 0) goto fail;
    if (tls != NULL && (s->tls = tls_create(s, tls, true)) == NULL) goto fail;
    if (loop_watch(loop, &s->watch, STREAM_EVENTS) != SOTTO_OK) goto fail;
    stream_timer_start(s, CONNECT_MS);
    *stream_out = s;
    return SOTTO_OK;
fail:
    stream_discard(s);
    return err;
}
