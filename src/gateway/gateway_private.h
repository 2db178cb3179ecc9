/* The gateway's own state, for its files only. */
#ifndef SOTTO_GATEWAY_GATEWAY_PRIVATE_H
#define SOTTO_GATEWAY_GATEWAY_PRIVATE_H

#include "base/map.h"
#include "gateway/gateway.h"
#include "gateway/ratelimit.h"
#include "net/stream.h"
#include "net/websocket.h"
#include "session/presence.h"
#include "session/registry.h"

#include <pthread.h>

/* Maxima of the gateway; those of the protocol are in base/limits.h. */
enum {
    GATEWAY_LISTENERS_MAX = 16,
    GATEWAY_CALLS_FREE_MAX = 4096,     /* calls kept for reuse, per loop */
    GATEWAY_SUBMISSIONS_KEEP = 4096,   /* the same for memory of submissions */
    GATEWAY_CALLS_PER_CONN_MAX = 64,   /* in flight; then reading stops */
    GATEWAY_READS_PER_CONN_MAX = 8,    /* the same for requests that workers serve: answers are large */
    GATEWAY_MISTAKES_MAX = 32,         /* frames that are no requests; then 1008 */
    GATEWAY_HELLO_MAX = 16 * 1024,     /* bytes of a frame before it is known who speaks */
    GATEWAY_PARTIAL_SMALL = 16 * 1024, /* requests that have arrived in part are not counted up to here */
    GATEWAY_PARTIAL_MAX = 64 * 1024 * 1024, /* bytes of the others together */
    GATEWAY_PARTIAL_SHARE = 4,         /* of those, a part of 1 / this may be of one address */
    GATEWAY_PENDING_EVENTS_MAX = 65536,/* published and not yet delivered, per loop */
    GATEWAY_PEERS_MAX = 16384,         /* direct conversations whose members are remembered */
    GATEWAY_ANSWER_KEEP = 8 * 1024,    /* answer memory that a free call keeps */
    GATEWAY_CLOSE_LINGER_MS = 2000,    /* for the peer to end the connection too */
    GATEWAY_CUT_LINGER_MS = 5000,      /* the same for a slow reader: it has to read up to the code first */
    GATEWAY_DRAIN_LINGER_MS = 500,
    GATEWAY_LEAVING_SHARE = 4,         /* of the memory for queues: a part of 1 / this may be of connections that close */
    GATEWAY_TICK_MS = 100,
    GATEWAY_INFLATED_MAX = 256 * 1024, /* bytes that the compressed frames of one read may be longer inflated */
};

enum drop_cause { DROP_LAGGING, DROP_LOOP_FULL, DROP_CAUSES };
enum { CLOSE_CODES = 15 };
struct gateway_metrics {
    struct gauge *connections[4]; /* by enum conn_kind */
    struct gauge *sessions;
    struct counter *accepted_connections, *refused_connections;
    struct counter *accepted, *durable, *repeated, *delivered, *read, *pushed;
    struct histogram *sent, *delivered_after, *push;
    struct counter *dropped[DROP_CAUSES];
    struct counter *closes[CLOSE_CODES], *closes_other;
    struct gauge *queued_bytes;
    struct counter *limited[6]; /* by enum bucket_kind */
    struct counter *auth_failures;
    struct counter *lagging;
    struct counter *sync_messages, *sync_batches;
    struct counter *requests[2], *problems; /* socket, REST */
};

struct conn;
struct conn_page;
struct call_state;
/* JSON texts of the event that is being delivered, each made when first asked for. */
struct event_texts {
    struct buffer own, other, single;
};
struct gateway_loop {
    struct gateway *gateway;
    struct loop *loop;
    pthread_t thread;
    bool started;
    uint8_t index;
    struct listener *listeners[GATEWAY_LISTENERS_MAX];
    struct ws_deflate *deflate;
    size_t inflated;         /* what compressed frames have grown by in the read at hand */
    struct slab decoders;

    struct conn_page **pages;
    size_t pages_count;
    struct conn *free_conns; /* linked through `stream` */
    struct loop_timer due_timer;
    uint32_t next_due;       /* tick; 0: nothing armed */

    struct pool calls;       /* memory for the next ones */
    struct desk *desks;      /* free ones, the last used first */
    size_t desks_count, desks_low; /* low: fewest since the last trim */
    uint64_t request_seed, request_count;

    struct event_texts texts;
    struct buffer record;    /* see call_record */
    struct pool submissions; /* memory for the next ones */
    size_t trimmed;          /* bytes given to the heap since it was trimmed */
    atomic_size_t pending_events;
    struct mail overflow_mail;
    atomic_bool overflow_posted;
    _Atomic(uint64_t) overflow_position;

    atomic_size_t queued_bytes; /* this loop's part of the gateway's */
    struct deferred relieve, wake_engine;
    struct mail relieve_mail;   /* from a loop that has less queued */
    atomic_bool relieve_posted;
    struct loop_timer tick;  /* loop 0: presence, directory changes */
    struct loop_timer trim;

    /* Randomness in blocks, so that an id costs no system call. */
    struct random_source random;
    uint8_t random_bytes[512];
    size_t random_left;
};

/* Why a connection is not let in: see refusal.c. */
enum refusal { REFUSAL_ADDRESS, REFUSAL_FULL, REFUSAL_DRAINING, REFUSALS };

struct gateway {
    const struct services *services;
    const struct operation *operations;
    struct gateway_options options;
    _Atomic(const struct gateway_limits *) limits;
    struct limits_version *limits_versions; /* all there ever were */
    pthread_mutex_t mutex;                  /* limits_versions, addresses */
    struct map addresses;
    pthread_mutex_t settings_mutex;         /* see gateway_settings_load */
    struct registry *registry;
    struct limiter *limiter;
    struct peers *peers;
    struct op_index *op_index;
    struct gateway_metrics metrics;
    atomic_size_t connections;
    atomic_uint serials;      /* given to connections so far */
    atomic_size_t queued_bytes;
    atomic_size_t partial_bytes; /* see conn.c */
    atomic_size_t work;       /* calls and jobs in flight */
    atomic_bool draining;
    atomic_bool presence_busy;
    uint64_t presence_last_ms;
    size_t listeners_count;
    bool listener_tls[GATEWAY_LISTENERS_MAX];
    size_t loops_count;
    struct gateway_loop *loops;
    struct latency_slot *latencies; /* engine thread: see publish.c */
    struct buffer refusals[REFUSALS]; /* never change */
};

static inline const struct gateway_limits *gateway_limits(const struct gateway *g)
{
    return atomic_load_explicit(&((struct gateway *)(uintptr_t)g)->limits, memory_order_acquire);
}
static inline uint64_t gateway_wall_ms(const struct gateway *g) { return clock_wall_ms(g->services->clock); }

/* notices.c: what delivery looks at is read again and put into the registry, for a user
 * who has a session there, or gets none. False: the user or the device is no more. Workers'
 * threads: blocks for SQL. */
SOTTO_CHECKED bool gateway_settings_load(struct gateway *g, struct id user, uint8_t device, bool *receipts_off_out);

/* metrics.c */
void gateway_metrics_init(struct gateway_metrics *m, struct metrics *registry);
void gateway_count_close(struct gateway *g, uint16_t code);

/* Posts to the loop whatever its bound: for what another bound limits. */
static inline void gateway_post(struct gateway_loop *gl, struct mail *mail)
{
    mailbox_post_always(loop_mailbox(gl->loop), mail);
}
/* Where a session is. */
static inline struct gateway_loop *gateway_loop_at(struct gateway *g, struct session_name name)
{
    return &g->loops[name.loop];
}
/* notices.c: closes one session from any thread. */
void gateway_close_session(struct gateway *g, struct session_name name, uint16_t code);
/* publish.c */
void publish_init(struct gateway_loop *gl);
void publish_gateway_init(struct gateway *g);
void publish_gateway_deinit(struct gateway *g);
/* refusal.c */
void refusals_init(struct gateway *g);
void refusals_deinit(struct gateway *g);
/* presence.c: a turn of presence on a worker, if none runs. */
void presence_turn(struct gateway *g);
/* The same on this thread, when the workers are idle or gone. */
void presence_turn_now(struct gateway *g);

#endif
