/* Listening sockets, one per loop, sharing a port by SO_REUSEPORT.
 *
 * Options that every connection wants (no delay, keep-alive, user timeout) are
 * set once on the listening socket; Linux copies them to what it accepts. A
 * peer that vanished is noticed within two minutes by keep-alive when nothing
 * is being sent, and within one by the user timeout when something is.
 *
 * The listener is level-triggered and takes a bounded number per turn, so that
 * a storm of connections does not starve those that are open. When descriptors
 * or memory run out the backlog is left alone for a second: closing them as
 * they come would need a descriptor too, and a busy loop helps nobody.
 */
#include "net/stream_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    LISTEN_BACKLOG = 4096,
    ACCEPTS_PER_TURN = 64,
    ACCEPT_PAUSE_MS = 1000,
    REFUSED_READS = 2,
    KEEPALIVE_IDLE_S = 60,
    KEEPALIVE_INTERVAL_S = 15,
    KEEPALIVE_PROBES = 4,
    USER_TIMEOUT_MS = 60 * 1000,
};

struct listener {
    struct watch watch;
    struct loop_timer timer;
    struct loop *loop;
    struct tls_context *tls;
    accept_fn accept;
    void *ctx;
    uint64_t refused;
    uint16_t port;
};

void socket_set_options(int fd)
{
    static const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS},
    };
    /* Each is a refinement; a kernel without one still carries messages. */
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(options[i].value));
}

/* The last word to who is not let in; the caller closes. A request that is there
 * already is read, as closing over it would make the kernel send a reset, which
 * can eat the answer. What comes later still can: waiting for it would be state. */
static void refuse(struct loop *loop, int fd, struct slice refusal)
{
    ssize_t n = send(fd, refusal.data, refusal.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)n; /* best effort */
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < REFUSED_READS && n > 0; i++)
        n = recv(fd, loop_scratch(loop), LOOP_SCRATCH_LEN, MSG_DONTWAIT);
}

/* Gives an accepted descriptor to a stream and its owner, or closes it. */
static void admit(struct listener *l, int fd, const struct sockaddr_storage *peer)
{
    struct stream *s = stream_create(l->loop, fd);
    struct slice refusal = {0};
    if (!l->accept(l->ctx, s, peer, &s->owner, &s->ctx, &refusal)) {
        if (l->tls == NULL && refusal.len > 0) refuse(l->loop, fd, refusal);
        stream_discard(s);
        return;
    }
    SOTTO_ASSERT(s->owner != NULL);
    if (l->tls != NULL && (s->tls = tls_create(s, l->tls, false)) == NULL) stream_end(s, STREAM_END_ERROR);
    else stream_start(s);
}

static void resume(struct loop_timer *t, struct loop *loop)
{
    struct listener *l = (struct listener *)(void *)((uint8_t *)t - offsetof(struct listener, timer));
    if (loop_watch_change(loop, &l->watch, EPOLLIN) != SOTTO_OK) loop_timer_start(loop, t, ACCEPT_PAUSE_MS);
}

static void pause_accepting(struct listener *l)
{
    l->refused++;
    if (loop_watch_change(l->loop, &l->watch, 0) == SOTTO_OK)
        loop_timer_start(l->loop, &l->timer, ACCEPT_PAUSE_MS);
}

static void listener_ready(struct watch *w, struct loop *loop, uint32_t events)
{
    struct listener *l = (struct listener *)(void *)((uint8_t *)w - offsetof(struct listener, watch));
    (void)loop;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t peer_len = sizeof(peer);
        int fd = accept4(w->fd, (struct sockaddr *)&peer, &peer_len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            admit(l, fd, &peer);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_accepting(l);
            return;
        } else if (errno == EAGAIN) {
            return;
        }
        /* Anything else concerns one connection that died in the backlog. */
    }
}

static int open_socket(const struct addrinfo *a)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    int on = 1, off = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (a->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    socket_set_options(fd);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0 ||
        bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
        int kept = errno;
        close(fd);
        errno = kept;
        return -1;
    }
    return fd;
}

static uint16_t port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } name = {.v6 = {0}};
    socklen_t len = sizeof(name);
    if (getsockname(fd, &name.any, &len) != 0) return 0;
    return ntohs(name.any.sa_family == AF_INET6 ? name.v6.sin6_port : name.v4.sin_port);
}

static enum sotto_err error_of(int error)
{
    if (error == EADDRINUSE) return SOTTO_ERR_EXISTS;
    return error == EACCES ? SOTTO_ERR_DENIED : SOTTO_ERR_IO;
}

/* An empty host or "*" is every address, IPv6 with IPv4 inside where it exists. */
static int open_host(const char *host, uint16_t port, enum sotto_err *err_out)
{
    static const char *const everywhere[] = {"::", "0.0.0.0"};
    bool any = host == NULL || host[0] == 0 || strcmp(host, "*") == 0;
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    char service[8];
    snprintf(service, sizeof(service), "%u", port);
    int fd = -1;
    *err_out = SOTTO_ERR_INVALID;
    for (size_t i = 0; i < (any ? 2 : 1) && fd < 0; i++) {
        struct addrinfo *list;
        if (getaddrinfo(any ? everywhere[i] : host, service, &hints, &list) != 0) continue;
        for (const struct addrinfo *a = list; a != NULL && fd < 0; a = a->ai_next) {
            fd = open_socket(a);
            if (fd < 0) *err_out = error_of(errno);
        }
        freeaddrinfo(list);
    }
    return fd;
}

enum sotto_err listener_create(struct loop *loop, const char *host, uint16_t port, struct tls_context *tls,
                               accept_fn accept, void *ctx, struct listener **listener_out)
{
    enum sotto_err err;
    int fd = open_host(host, port, &err);
    if (fd < 0) return err;
    struct listener *l = sotto_zalloc(sizeof(*l));
    l->watch = (struct watch){.ready = listener_ready, .fd = fd};
    l->timer.fired = resume;
    l->loop = loop;
    l->tls = tls;
    l->accept = accept;
    l->ctx = ctx;
    l->port = port_of(fd);
    if (loop_watch(loop, &l->watch, EPOLLIN) != SOTTO_OK) {
        close(fd);
        free(l);
        return SOTTO_ERR_IO;
    }
    *listener_out = l;
    return SOTTO_OK;
}

uint16_t listener_port(const struct listener *l)
{
    return l->port;
}

uint64_t listener_refused(const struct listener *l)
{
    return l->refused;
}

void listener_set_tls(struct listener *l, struct tls_context *tls)
{
    l->tls = tls;
}

void listener_destroy(struct listener **listener)
{
    struct listener *l = *listener;
    if (l == NULL) return;
    *listener = NULL;
    loop_timer_stop(l->loop, &l->timer);
    loop_forget(l->loop, &l->watch);
    close(l->watch.fd);
    free(l);
}
