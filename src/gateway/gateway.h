/* The gateway: every connection of the server, on one loop per core.
 *
 * One port speaks HTTP/1.1 (REST, server-sent events, long-poll) and WebSocket.
 * The gateway authenticates, limits rates, turns bytes into calls for the
 * operations it was given, delivers what the engine publishes, and brings a
 * device up to date from the store. See gateway.c for how the parts fit.
 *
 * Order of a life: create, listen (as often as there are addresses), start,
 * [set_limits, set_tls], drain, (the engine stops), stop, destroy.
 */
#ifndef SOTTO_GATEWAY_GATEWAY_H
#define SOTTO_GATEWAY_GATEWAY_H

#include "gateway/call.h"

struct tls_context;

struct gateway_options {
    const struct services *services;     /* outlives the gateway */
    const struct gateway_limits *limits; /* copied */
    const struct operation *operations;  /* outlives the gateway; ended by type NULL */
    unsigned loops_count;                /* threads that serve connections; 1..GATEWAY_LOOPS_MAX */
    /* GET or HEAD of a path that is no operation (health, metrics, the web
     * app). Called on a loop, must not block. local: a client on this machine.
     * Fills status, content type and body; false: not mine (404). May be NULL. */
    bool (*page)(void *ctx, const struct http_message *request, bool local, unsigned *status_out,
                 const char **content_type_out, struct buffer *body);
    void *page_ctx;
};
enum { GATEWAY_LOOPS_MAX = 64 };

SOTTO_CHECKED enum sotto_err gateway_create(const struct gateway_options *options, struct gateway **gateway_out);
/* Opens one listener per loop on host:port (numeric host). port 0: the system
 * picks one, see gateway_port. tls: NULL for plain; not owned, stays referenced
 * inside. Before gateway_start. why_out: a sentence for the operator.
 * Errors: EXISTS the address is in use; IO; INVALID. */
SOTTO_CHECKED enum sotto_err gateway_listen(struct gateway *g, const char *host, uint16_t port,
                                            struct tls_context *tls, struct buffer *why_out);
/* Port of the first listener. */
uint16_t gateway_port(const struct gateway *g);
/* Starts the threads. */
void gateway_start(struct gateway *g);

/* Any thread, while the loops run: from the next request on. */
void gateway_set_limits(struct gateway *g, const struct gateway_limits *limits);
/* New connections of listeners that have TLS use this context from now on (not
 * owned; keep the old one until the loops have taken the change: the call
 * returns after that). Main thread. */
void gateway_set_tls(struct gateway *g, struct tls_context *tls);

/* The engine's publish callback; ctx is the gateway. Engine thread. */
void gateway_publish(void *ctx, struct event *const *events, size_t count);
/* The directory's change callback; ctx is the gateway. Any thread. */
void gateway_directory_change(void *ctx, enum directory_change what, struct id user, uint8_t device);

/* Stops accepting, tells every client to come back later (4000; 1001 where no
 * hello was said), waits until calls in flight are answered and output is
 * written, at most timeout_ms. The engine must still run. Main thread; blocks. */
void gateway_drain(struct gateway *g, uint64_t timeout_ms);
/* Ends the loops and joins their threads. Connections still open are cut. The
 * engine and the workers must have nothing in flight for us any more: stop the
 * engine and destroy the workers first; both answer into the loops' mailboxes,
 * which stay until gateway_destroy. Main thread. */
void gateway_stop(struct gateway *g);
void gateway_destroy(struct gateway **g);

/* Handlers that need the gateway's own state; part of the api's table. */
void gateway_op_ping(struct call *c);
enum problem gateway_op_presence_get(struct call *c);
void gateway_op_presence_watch(struct call *c);
void gateway_op_sync_start(struct call *c);

#endif
