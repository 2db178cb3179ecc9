/* A connection, and the slab of connections that each loop has.
 *
 * MEMORY. An authenticated, idle WebSocket connection is this struct (88 bytes
 * in a slab, and 4 for its deadline), its stream and its frame decoder (net,
 * slabs too), and an entry of the session registry. Everything that a connection
 * needs only now and then (synchronising, watching presence, bytes that had to
 * wait) hangs on `extra` and goes away again.
 *
 * LIFE. The stream's `closed` callback ends a connection; calls and jobs in
 * flight hold its memory (`holds`) until they come back. All of it belongs to
 * one loop's thread.
 */
#ifndef SOTTO_GATEWAY_CONN_H
#define SOTTO_GATEWAY_CONN_H

#include "gateway/address.h"
#include "gateway/gateway_private.h"
#include "net/stream.h"
#include "net/websocket.h"
#include "session/presence.h"
#include "wire/cursor.h"

enum conn_kind {
    CONN_HTTP,   /* between requests, or serving one */
    CONN_SOCKET, /* WebSocket */
    CONN_STREAM, /* server-sent events */
    CONN_POLL,   /* a long-poll request that waits; HTTP again afterwards */
};
/* What happens to live events. */
enum conn_mode {
    MODE_NONE,    /* no session */
    MODE_SYNC,    /* a backlog is being sent; what comes live is noted as missed */
    MODE_LAGGING, /* too much is queued; the same, until the queue is empty */
    MODE_LIVE,
};
enum conn_flag {
    CONN_CLOSING = 1,     /* nothing more is read or delivered */
    CONN_BLOCKED = 2,     /* what arrives waits: hello or a request is being served */
    CONN_CONSUMING = 4,   /* inside conn_consume */
    CONN_SYNCED = 8,      /* `position` was reached by synchronising: whole */
    CONN_DEFLATE = 16,    /* permessage-deflate agreed */
    CONN_IN_REQUEST = 32, /* part of an HTTP request has arrived */
    CONN_ABSENT = 64,     /* silent for so long that it does not count as online */
    CONN_DIRTY = 128,     /* in the loop's list of connections with queued bytes */
    CONN_READ_PAUSED = 256,
    CONN_LOADING = 512,   /* blocked until a request comes back from a worker, so that requests keep their order */
    CONN_INFLATED = 1024, /* blocked until its deadline: what it sent has grown too much in one go */
};

enum { /* close codes of our own; docs/protocol.md says what a client does */
    CLOSE_RECONNECT = 4000,
    CLOSE_RESUME = 4001,
    CLOSE_REPLACED = 4002,
    CLOSE_SIGN_IN = 4003,
    CLOSE_GONE = 4004,
    CLOSE_HELLO = 4005,
    CLOSE_LIMITED = 4006,
};
enum {
    CONN_COUNTED_MIN = 16 * 1024, /* shorter queues are not counted */
    DEFLATE_MIN = 512,            /* shorter texts are not compressed */
    REQUEST_ID_MAX = 64,          /* bytes of a client's `id` */
    LAG_LOOK_MS = 500,            /* how often a lagging connection is looked at */
};

/* One client address with connections. */
struct address_entry {
    struct id key;      /* never changes */
    size_t connections; /* guarded by the gateway's mutex */
    atomic_size_t partial_bytes; /* see conn_partial */
};

struct conn_extra;
struct http_state;
struct conn {
    struct stream *stream; /* NULL once closed */
    union {
        struct ws_decoder *ws;   /* CONN_SOCKET */
        struct http_state *http; /* otherwise; NULL on an event stream */
    };
    struct session session;
    struct conn_extra *extra; /* NULL when nothing rare is going on */
    struct address_entry *address;
    uint64_t position;   /* of the last event given (see CONN_SYNCED) */
    uint32_t heard_tick; /* when bytes last came */
    uint32_t counted;    /* bytes of the queue's memory that the gateway's sum knows */
    uint16_t flags;      /* enum conn_flag */
    uint16_t events;     /* live events since the queue was last empty */
    uint8_t holds;       /* calls and jobs in flight */
    uint8_t kind;        /* enum conn_kind */
    uint8_t mode;        /* enum conn_mode */
    uint8_t mistakes;    /* frames that were no requests, forgiven with time */
};
_Static_assert(sizeof(struct conn) <= 88, "an idle connection costs at most 88 bytes here");

/* Synchronising: see sync_pump.c. */
struct sync_state {
    struct cursor cursor;    /* everything up to here has been sent */
    struct id snapshot_after;/* conversations of the snapshot up to here were sent */
    uint64_t missed;         /* newest position that was dropped meanwhile */
    bool missed_passing;     /* … or an event without a position (long-poll) */
    bool begun;              /* `cursor` says from where */
    bool running;            /* a job is with the workers */
    bool restart;            /* the client asked to go back to `restart_cursor` */
    bool restart_snapshot;
    bool snapshot;           /* conversations first */
    bool first;              /* the first job also looks for what may have changed since signing in */
    bool say_live;           /* flow_control live at the end */
    struct cursor restart_cursor;
};
struct poll_state {
    struct call_state *call;
    uint64_t limit;
    bool waiting; /* nothing to give yet */
};
struct conn_extra {
    struct buffer stash;     /* bytes that must wait */
    struct sync_state sync;
    struct poll_state poll;
    uint32_t progress_tick;  /* lagging: when the queue last got shorter */
    size_t progress_queued;
    uint64_t throttled_ms;   /* flow_control throttled was last said */
    uint32_t pong_tick;      /* of the last pong behind a long queue */
    uint16_t close_code;     /* not 0: close so when the calls in flight are answered */
    struct presence_link *links; /* presence.watch; one allocation */
    size_t links_count;
};

static inline struct conn *conn_of_session(struct session *s)
{
    return (struct conn *)(void *)((uint8_t *)s - offsetof(struct conn, session));
}
struct gateway_loop *conn_loop(const struct conn *c);
/* A new serial number: the connection becomes an event channel now. Nobody may know its
 * name yet. */
void conn_renumber(struct conn *c);
/* NULL: that connection is gone. */
struct conn *conn_named(struct gateway_loop *gl, uint32_t slot, uint32_t serial);
/* All connections of the loop; fn may close the one it is given. */
void conn_each(struct gateway_loop *gl, void (*fn)(struct conn *c, void *ctx), void *ctx);
void conn_slab_deinit(struct gateway_loop *gl);
void conn_slab_init(struct gateway_loop *gl);

/* The listener's accept callback; ctx is the loop's state. */
bool conn_accept(void *ctx, struct stream *s, const struct sockaddr_storage *peer,
                 const struct stream_owner **owner_out, void **owner_ctx_out, struct slice *refusal_out);
void conn_set_kind(struct conn *c, enum conn_kind kind);
struct conn_extra *conn_extra(struct conn *c);
/* Frees `extra` when nothing in it is in use. */
void conn_extra_trim(struct conn *c);
void conn_hold(struct conn *c);
void conn_release(struct conn *c);
/* Whose request it is that `proxy` sends, from now on the connection's address; nothing
 * may be counted for it (conn_partial). False: too many connections from there. */
SOTTO_CHECKED bool conn_find_client(struct conn *c, struct id proxy, const struct http_message *m);
/* Leaves the registry and stops what a session had running. */
void conn_leave(struct conn *c);
/* The deadline of the connection (0: none); conn_due happens then. */
void conn_arm(struct conn *c, uint64_t delay_ms);
/* The same, unless an earlier one is set. */
void conn_arm_sooner(struct conn *c, uint64_t delay_ms);
/* The memory of a request that has arrived in part was `before` and is `now` bytes. False:
 * it has grown, and all of them, or those from there, take too much. from: NULL while it
 * is not known. */
SOTTO_CHECKED bool conn_partial(struct conn *c, struct address_entry *from, size_t before, size_t now);
/* Stops and continues handling what arrives. */
void conn_block(struct conn *c);
void conn_unblock(struct conn *c);
/* So much is queued that nothing more should be asked for. */
bool conn_queue_full(const struct conn *c);
/* To be called after something was appended to the stream's output. */
void conn_written(struct conn *c);
/* Says why in the way of its kind, and closes. code 0: nothing to say. */
void conn_close(struct conn *c, uint16_t code);
/* The same once the calls in flight are answered; meanwhile nothing is read and
 * no event delivered. */
void conn_close_after_calls(struct conn *c, uint16_t code);
/* Calls in flight, jobs of the connection's own not counted. */
size_t conn_calls(const struct conn *c);
/* Closes a connection that does not read: what is queued is dropped but for a
 * frame that has begun to go out, and CLOSE_RESUME follows it. */
void conn_cut(struct conn *c);
/* Cuts without a word. */
void conn_abort(struct conn *c);
/* Cuts the slowest connections of the loop while the sum is over the maximum, and the
 * loop's own over its part of that. */
void conn_relieve(struct gateway_loop *gl);

/* One JSON object to the client of a session, framed in the way of its kind.
 * type: for server-sent events; cursor: empty where it has none. deflatable:
 * the text holds no ciphertext. */
void conn_send(struct conn *c, const char *type, struct slice json, struct slice cursor, bool deflatable);
static inline bool conn_alive(const struct conn *c)
{
    return c->stream != NULL && !(c->flags & CONN_CLOSING);
}

/* http_conn.c: returns how much was used. */
size_t http_consume(struct conn *c, uint8_t *data, size_t len);
/* proxy: its address, if one sends the requests; else NULL. */
void http_state_create(struct conn *c, const struct id *proxy);
void http_state_destroy(struct conn *c);
/* A call's answer, or an error of the gateway's own. */
struct http_answer {
    unsigned status;
    const char *content_type;
    struct slice body;
    uint64_t retry_after_ms; /* 0: none */
    const char *allow;       /* NULL: none */
};
void http_answer(struct conn *c, const struct http_answer *a);
/* status 0: the problem's own; why NULL: the problem's own. */
void http_problem(struct conn *c, enum problem p, unsigned status, const char *why);
/* The bearer token of a request; data NULL if it has none. */
struct slice http_token(const struct http_message *m);
SOTTO_CHECKED bool http_charge_address(struct conn *c, uint64_t *retry_ms_out);
/* Back between requests. */
void http_done(struct conn *c);
/* What was queued is with the kernel. */
void http_drained(struct conn *c);
void http_due(struct conn *c);

/* socket.c */
size_t socket_consume(struct conn *c, uint8_t *data, size_t len);
void socket_start(struct conn *c, const struct http_message *request);
void socket_state_destroy(struct conn *c);
uint64_t conn_silent_ms(const struct conn *c);
/* No sign of life for so long that it does not count as online. */
void conn_mark_absent(struct conn *c);
/* The connection's deadline has come. */
void socket_due(struct conn *c);
/* hello.c: `text` is the first frame. */
void hello_received(struct conn *c, struct slice text);
/* Who a connection of events is, found out on a worker: for hello, SSE and
 * long-poll. */
struct sign_in {
    struct slice token;
    bool resume;           /* the token is a resumption token */
    enum problem problem;  /* the outcome */
    struct id user;
    uint8_t device;
    uint32_t ec_prekeys, kem_prekeys;
    char resume_token[TOKEN_TEXT_MAX];
};
void sign_in_work(struct call *c, struct sign_in *s);
/* Puts the connection into the registry and ends what it replaces. */
void sign_in_join(struct conn *c, const struct sign_in *s);
/* stream_conn.c: server-sent events. poll.c: long-poll. */
void sse_start(struct conn *c, const struct http_message *request);
void sse_due(struct conn *c);
/* Length of the first of a run of events. */
size_t sse_event_len(struct slice events);
void poll_start(struct conn *c, const struct http_message *request);
void poll_due(struct conn *c);
/* The connection was told to close; it is gone. */
void poll_closed(struct conn *c, uint16_t code);
void poll_abandon(struct conn *c);
/* There may be something to give. */
void poll_wake(struct conn *c);

/* sync_pump.c */
/* Brings the client up to date from the cursor (NULL: a snapshot), then live. */
void sync_begin(struct conn *c, const struct cursor *cursor);
/* Too much is queued: hold live events back until it is gone. */
void sync_lag(struct conn *c, uint64_t missed);
/* An event was dropped. */
void sync_missed(struct conn *c, uint64_t position);
/* The queue has become shorter, or empty. */
void sync_continue(struct conn *c);
void sync_lag_due(struct conn *c);

#endif
