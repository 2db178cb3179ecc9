/* A non-blocking byte stream over TCP, in the clear or under TLS 1.3.
 *
 * The owner embeds nothing: it gives a const table of callbacks and a pointer.
 * Bytes arrive in memory of the loop's (not its scratch) and are gone when the
 * callback returns; the owner keeps what it needs. Output is queued and written at the
 * end of the turn. An idle plain stream costs its struct (at most 96 bytes) and
 * no buffers. Loop thread only.
 */
#ifndef SOTTO_NET_STREAM_H
#define SOTTO_NET_STREAM_H

#include "base/slice.h"
#include "net/loop.h"

#include <sys/socket.h>

struct stream;
struct tls_context;

enum stream_end {
    STREAM_END_EOF,    /* the peer closed its side */
    STREAM_END_ERROR,  /* reset, timeout, TLS alert */
    STREAM_END_LOCAL,  /* stream_close was called and the output is gone */
};

enum { STREAM_LOW_MARK = 16 * 1024 }; /* bytes */

struct stream_owner {
    /* Connected and, under TLS, shaken hands. May be NULL. */
    void (*opened)(struct stream *s, void *ctx);
    /* Bytes from the peer, mutable, valid during the call. The owner may close
     * the stream inside. */
    void (*received)(struct stream *s, void *ctx, uint8_t *data, size_t len);
    /* The queue went empty after it had reached STREAM_LOW_MARK at a flush, or
     * after the kernel took only a part of it. May be NULL. */
    void (*drained)(struct stream *s, void *ctx);
    /* Last callback; the stream is freed after it. Called once, never from
     * inside a stream_* call: always from the loop. */
    void (*closed)(struct stream *s, void *ctx, enum stream_end why);
    /* Length of the first unit (a frame, an event) of what the owner has queued;
     * `queued` begins where one begins and is not empty. Up to all of it. NULL:
     * stream_cut leaves the queue alone. */
    size_t (*unit)(struct stream *s, void *ctx, struct slice queued);
};

struct listener;
/* Accepts a connection: gives the owner and ctx for it, or refuses (false). Then
 * *refusal_out, if set, is said before it is closed, as far as one send goes, but
 * not under TLS; borrowed until the accept_fn is called again. */
typedef bool (*accept_fn)(void *ctx, struct stream *s, const struct sockaddr_storage *peer,
                          const struct stream_owner **owner_out, void **owner_ctx_out, struct slice *refusal_out);

/* Listens on host:port with SO_REUSEPORT; one listener per loop. An empty host,
 * NULL or "*" is every address. port 0 picks one. tls: NULL for plain; not
 * owned. The descriptor limit is handled: when it is hit, accepting pauses for
 * a second and listener_refused counts it.
 *
 * Errors:  SOTTO_ERR_INVALID  the host does not name an address
 *          SOTTO_ERR_EXISTS   the port is taken (by another user, or by a
 *                             socket without SO_REUSEPORT)
 *          SOTTO_ERR_DENIED   the port is a privileged one
 *          SOTTO_ERR_IO       the system said no */
SOTTO_CHECKED enum sotto_err listener_create(struct loop *loop, const char *host, uint16_t port,
                                             struct tls_context *tls, accept_fn accept, void *ctx,
                                             struct listener **listener_out);
uint16_t listener_port(const struct listener *l);
/* How often accepting had to pause because descriptors or memory ran out. */
uint64_t listener_refused(const struct listener *l);
/* From now on new connections use this context (not owned). */
void listener_set_tls(struct listener *l, struct tls_context *tls);
/* Stops accepting; open streams go on. Not from inside the accept_fn. */
void listener_destroy(struct listener **l);

/* Connects to host:port (numeric address or name; names are resolved blocking).
 * tls may be NULL. `opened` or `closed` follows. What is written before is sent
 * then.
 *
 * Errors:  SOTTO_ERR_NOT_FOUND  the name has no address
 *          SOTTO_ERR_IO         the system said no */
SOTTO_CHECKED enum sotto_err stream_connect(struct loop *loop, const char *host, uint16_t port,
                                            struct tls_context *tls, const struct stream_owner *owner,
                                            void *ctx, struct stream **stream_out);

/* Queues a copy. Returns the bytes now queued (including these). A stream that
 * is closing drops it. A queue past 32 MiB ends the stream in an error. */
size_t stream_write(struct stream *s, struct slice bytes);
/* The stream's output queue, to append to in place; call stream_flush_later
 * afterwards. The pointer is good until the callback returns. */
struct buffer *stream_output(struct stream *s);
void stream_flush_later(struct stream *s);
/* Bytes queued and not yet taken by the kernel. */
size_t stream_queued(const struct stream *s);
/* The memory that the queue takes, at least what is queued. */
size_t stream_held(const struct stream *s);
/* What is queued, and what the kernel holds that the peer has not acknowledged: gets smaller as
 * long as the peer reads, however little. A system call. */
size_t stream_unread(const struct stream *s);
/* Stops or resumes reading (back-pressure towards the peer). */
void stream_pause(struct stream *s, bool paused);
/* Closes once the output is written and the peer has closed too, or after
 * linger_ms at the latest (a minute at most). What still arrives is dropped. */
void stream_close(struct stream *s, uint64_t linger_ms);
/* Drops what is queued and gives its memory back, but for the rest of a unit
 * that has begun to go out (and, under TLS, what is encrypted already). What is
 * appended next follows that. */
void stream_cut(struct stream *s);
/* What was queued up to here goes out whole; units begin here. To be called
 * when the owner changes what it speaks. */
void stream_units_begin(struct stream *s);
/* Closes now; what is queued is dropped. */
void stream_abort(struct stream *s);
void stream_set_owner(struct stream *s, const struct stream_owner *owner, void *ctx);
struct loop *stream_loop(const struct stream *s);
bool stream_is_tls(const struct stream *s);

/* TLS 1.3 contexts (OpenSSL). Shared by all loops, reference counted inside. */
SOTTO_CHECKED enum sotto_err tls_server_create(const char *cert_file, const char *key_file,
                                               struct buffer *why_out, struct tls_context **tls_out);
/* When the server's certificate ends, Unix time in seconds; 0: unknown. */
uint64_t tls_not_after_s(const struct tls_context *tls);
/* verify: check the certificate and `server_name` against the system's roots,
 * or against ca_file when that is not NULL. */
SOTTO_CHECKED enum sotto_err tls_client_create(const char *server_name, const char *ca_file, bool verify,
                                               struct buffer *why_out, struct tls_context **tls_out);
void tls_unref(struct tls_context **tls);

#endif
