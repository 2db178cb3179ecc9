/* The inside of a stream, for stream.c, listener.c, connect.c and tls.c.
 *
 * An idle plain stream is this struct and nothing else. The output queue is
 * attached when there is something to send, or a timer to run, and goes back
 * to the loop's pool when both are over.
 */
#ifndef SOTTO_NET_STREAM_PRIVATE_H
#define SOTTO_NET_STREAM_PRIVATE_H

#include "base/buffer.h"
#include "net/loop_private.h"
#include "net/stream.h"

#include <netdb.h>
#include <sys/epoll.h>

enum {
    STREAM_READABLE = 1 << 0,   /* the kernel may hold bytes: epoll will not say it again */
    STREAM_HUNG = 1 << 1,       /* the peer's side is closed: read up to the end */
    STREAM_BLOCKED = 1 << 2,    /* the kernel took less than was given */
    STREAM_PAUSED = 1 << 3,     /* by the owner */
    STREAM_OVER_LOW = 1 << 4,   /* `drained` is owed */
    STREAM_CONNECTING = 1 << 5,
    STREAM_SHAKING = 1 << 6,    /* TLS handshake going on */
    STREAM_CLOSING = 1 << 7,    /* nothing more is accepted from the owner */
    STREAM_SHUT = 1 << 8,       /* our side of the connection is closed */
    STREAM_PEER_DONE = 1 << 9,  /* the peer's end was read */
    STREAM_DEAD = 1 << 10,      /* descriptor closed; `closed` is owed */
    STREAM_READ_LATER = 1 << 11,/* reading goes on in deferred work */
    STREAM_CLIENT = 1 << 12,
    STREAM_BROKEN = 1 << 13,    /* reset: nobody is left to answer */
};
/* Registered once; edges tell the rest. */
#define STREAM_EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)
enum { STREAM_WHY_SHIFT = 16 }; /* enum stream_end, once closing or dead */

enum {
    STREAM_QUEUE_MAX = 32 * 1024 * 1024, /* bytes; past it the stream ends in an error */
    STREAM_HANDSHAKE_MS = 10 * 1000,
    STREAM_EOF_LINGER_MS = 2 * 1000,     /* for what was queued when the peer ended */
};

/* An output queue with a timer: handshake, connecting or lingering. */
struct output {
    struct buffer bytes;
    size_t sent; /* of bytes, already taken by the kernel or by TLS */
    size_t unit; /* of bytes: here a unit of the owner's begins; see stream_cut */
    struct stream *stream;
    struct loop_timer timer;
    struct addrinfo *addresses; /* connecting: all that the name gave, owned */
    struct addrinfo *address;   /* the next one to try, of `addresses` */
    struct output *next_free;   /* in the pool */
};

struct tls;
struct stream {
    struct watch watch; /* its flags: enum stream_flag */
    struct loop *loop;
    const struct stream_owner *owner;
    void *ctx;
    struct deferred deferred;
    struct output *out; /* NULL when idle */
    struct tls *tls;    /* NULL when plain */
};
_Static_assert(sizeof(struct stream) <= 72, "of every idle connection");

/* --- stream.c --- */
struct stream *stream_create(struct loop *loop, int fd);
/* Frees a stream that was never given to an owner; closes its descriptor. */
void stream_discard(struct stream *s);
/* Watches an accepted stream: `opened` when plain, a handshake under TLS. */
void stream_start(struct stream *s);
void stream_opened(struct stream *s);
/* Closes the descriptor; `closed` follows from the loop. */
void stream_end(struct stream *s, enum stream_end why);
/* The peer ended: what is queued still goes out, for a short while. */
void stream_peer_done(struct stream *s);
struct output *stream_attach_output(struct stream *s);
void stream_timer_start(struct stream *s, uint64_t delay_ms);
void stream_timer_stop(struct stream *s);

struct output *output_take(struct loop *loop);
void output_give_back(struct loop *loop, struct output *out);
static inline size_t output_left(const struct output *out)
{
    return out == NULL ? 0 : out->bytes.len - out->sent;
}
static inline size_t output_held(const struct output *out)
{
    return out == NULL ? 0 : out->bytes.size;
}

/* --- listener.c --- */
/* No delay, keep-alive and user timeout. */
void socket_set_options(int fd);

/* --- connect.c --- */
/* The socket says how connecting went; or it took too long. */
void connect_event(struct stream *s);
void connect_timeout(struct stream *s);

/* --- tls.c: one per stream, filters between the descriptor and the owner --- */
struct tls *tls_create(struct stream *s, struct tls_context *context, bool client);
void tls_destroy(struct tls *tls, struct loop *loop);
/* Takes ciphertext from the peer and hands plaintext to the owner. */
void tls_received(struct stream *s, uint8_t *data, size_t len);
/* Continues the handshake; for a client, begins it. */
void tls_handshake(struct stream *s);
/* Turns queued plaintext into ciphertext; the result is tls_cipher. */
void tls_encrypt(struct stream *s);
/* Queues the close_notify alert. */
void tls_shut(struct stream *s);
struct output **tls_cipher(struct tls *tls);

#endif
