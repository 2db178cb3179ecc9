/* libsotto: the client engine.
 *
 * No sockets, no threads, no clock of its own. The owner feeds it what happens
 * (a connection opened, a frame came, time passed, the user wants to send) and
 * takes outputs from a queue: connect, disconnect, a frame to send, or an event
 * for the screen.
 *
 *   client_create -> client_start -> [outputs: CONNECT]
 *     client_opened | client_closed -> [FRAME hello]
 *     client_frame  ...             -> [FRAME ..., EVENT ...]
 *   client_tick at the time that client_wake_ms tells
 *
 * What it takes care of: hello and resumption, the cursor, backlog and live
 * events, the outbox (a message is sent again under its clientMsgId until the
 * server has answered), one message at a time per conversation so that the order
 * of sending is kept, repeats (dropped), gaps (fetched), the chain of every
 * conversation (verified), delivered marks (coalesced), reconnecting as the close
 * code says.
 *
 * A device that is new begins with the cursor that came with its token: the owner
 * puts it into the store. Events of a conversation come in the order of its
 * sequence, the own messages among them as SENT.
 *
 * Durable state goes through the store port (client/store.h). Whatever one input
 * changes is one transaction; events come out only after it is committed.
 *
 * Slices in outputs are valid until the next call on the same client. Out of
 * memory is an error (SOTTO_ERR_FULL): the input had no effect that the store
 * knows of, and the engine disconnects and goes on from its stored cursor.
 *
 * Thread: any, one at a time. Nothing blocks but the store.
 */
#ifndef SOTTO_CLIENT_CLIENT_H
#define SOTTO_CLIENT_CLIENT_H

#include "base/error.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/random.h"
#include "client/memory.h"
#include "client/store.h"
#include "wire/record.h"

enum {
    CLIENT_OUTBOX_MAX = 1000,       /* messages waiting; more is SOTTO_ERR_FULL */
    CLIENT_SENDS_MAX = 32,          /* messages under way at once */
    CLIENT_DELIVERED_DELAY_MS = 50, /* marks are collected for so long */
    CLIENT_ANSWER_TIMEOUT_MS = 30000,
    CLIENT_CONVERSATIONS_MAX = 100000
};

enum client_phase {
    CLIENT_IDLE,        /* not started */
    CLIENT_CONNECTING,  /* the owner was told to connect */
    CLIENT_GREETING,    /* hello is out */
    CLIENT_SYNCING,     /* the backlog comes */
    CLIENT_LIVE,
    CLIENT_WAITING,     /* until the next attempt */
    CLIENT_ENDED        /* will not come back by itself; see enum client_end */
};
enum client_end {
    CLIENT_END_NONE,
    CLIENT_END_REPLACED,  /* another connection of this device took over */
    CLIENT_END_SIGN_IN,   /* the token is not valid any more */
    CLIENT_END_GONE,      /* the account was deleted */
    CLIENT_END_STORE,     /* the local store failed */
    CLIENT_END_STOPPED    /* client_stop */
};

struct client_message {
    struct id conversation, message_id, sender;
    uint8_t sender_device;
    uint64_t sequence, ts_ms, expires_ms; /* expires_ms 0: never */
    bool urgent, backlog;                 /* backlog: came while catching up */
    struct slice type, payload, withheld, client_msg_id; /* withheld empty: whole */
};

enum client_event_kind {
    CLIENT_EVENT_PHASE,        /* phase, end, close_code, wait_ms */
    CLIENT_EVENT_MESSAGE,      /* message */
    CLIENT_EVENT_SENT,         /* message: client_msg_id, conversation, message_id, sequence, ts_ms */
    CLIENT_EVENT_FAILED,       /* client_msg_id, code, text: will not be tried again */
    CLIENT_EVENT_DELIVERED,    /* conversation, user, sequence, ts_ms: everything up to there */
    CLIENT_EVENT_READ,         /* the same */
    CLIENT_EVENT_EXPIRED,      /* conversation, sequence */
    CLIENT_EVENT_CONVERSATION, /* conversation, sequence (its last) */
    CLIENT_EVENT_TYPING,       /* conversation, user, started */
    CLIENT_EVENT_PRESENCE,     /* user, text (the status), ts_ms (last seen, 0 unknown) */
    CLIENT_EVENT_CAUGHT_UP,    /* the backlog is through */
    CLIENT_EVENT_HOLE,         /* conversation, sequence (first there is): the server no longer has what was before */
    CLIENT_EVENT_BROKEN_CHAIN, /* conversation, sequence: the server changed history; show it */
    CLIENT_EVENT_DEVICES,      /* the own devices or keys changed */
    CLIENT_EVENT_ACCOUNT,      /* another device changed profile, settings, contacts or blocks */
    CLIENT_EVENT_PREKEYS_LOW,
    CLIENT_EVENT_FLOW,         /* text: lagging, live, throttled; wait_ms */
    CLIENT_EVENT_PROBLEM       /* code, text, wait_ms: the server refused something */
};
struct client_event {
    enum client_event_kind kind;
    enum client_phase phase;
    enum client_end end;
    unsigned close_code;
    uint64_t wait_ms;
    struct client_message message;
    struct id conversation, user;
    uint64_t sequence, ts_ms;
    bool started;
    struct slice client_msg_id, code, text;
};

enum client_output_kind {
    CLIENT_OUT_CONNECT,     /* open a WebSocket; then client_opened or client_closed */
    CLIENT_OUT_DISCONNECT,  /* close it with `close_code`; client_closed is not expected */
    CLIENT_OUT_FRAME,       /* `frame` is one text message to send */
    CLIENT_OUT_EVENT
};
struct client_output {
    enum client_output_kind kind;
    unsigned close_code;
    struct slice frame;
    struct client_event event;
};

struct client_options {
    struct slice token;                  /* copied */
    struct id user;                      /* the own user */
    struct slice agent;                  /* name and version for the hello; copied */
    const struct client_store *store;    /* outlives the client */
    const struct random_source *random;  /* jitter, ids */
    const struct client_memory *memory;  /* NULL: malloc */
};

struct client;
/* Loads the stored state. Errors: FULL out of memory; IO, CORRUPT from the store. */
SOTTO_CHECKED enum sotto_err client_create(const struct client_options *options, struct client **client_out);
void client_destroy(struct client **client);

/* Inputs. now_ms: monotonic milliseconds of the owner, never going back. */
void client_start(struct client *c, uint64_t now_ms);
/* Says goodbye and ends; the outbox stays in the store. */
void client_stop(struct client *c, uint64_t now_ms);
/* The WebSocket stands. */
void client_opened(struct client *c, uint64_t now_ms);
/* One text message from the server; `text` is borrowed until return. */
void client_frame(struct client *c, struct slice text, uint64_t now_ms);
/* Anything else arrived (a ping, a part of a frame): the server is alive. */
void client_heard(struct client *c, uint64_t now_ms);
/* The connection is gone or never came. code: of the close frame, 1006 without. */
void client_closed(struct client *c, unsigned code, uint64_t now_ms);
void client_tick(struct client *c, uint64_t now_ms);
/* When client_tick wants to be called next; UINT64_MAX: no need. */
uint64_t client_wake_ms(const struct client *c);

struct client_send {
    struct id to;                /* a user; or zero and `conversation` */
    struct id conversation;
    struct slice client_msg_id;  /* empty: one is made */
    uint64_t wall_ms;            /* Unix milliseconds for that one, 0: unknown. With it the
                                  * server finds its place for the key faster. */
    struct slice type;           /* 1..SOTTO_MESSAGE_TYPE_MAX bytes */
    struct slice payload;        /* up to SOTTO_PAYLOAD_MAX bytes */
    uint64_t ttl_s;              /* 0: none */
    bool urgent;
};
/* Puts a message into the outbox (durable on return) and sends it when it can.
 * id_out may be NULL, else it receives the clientMsgId.
 * Errors: INVALID sizes; EXISTS this clientMsgId waits already; FULL outbox or
 * memory; IO store. Nothing is kept on an error. */
SOTTO_CHECKED enum sotto_err client_send(struct client *c, const struct client_send *send, uint64_t now_ms,
                                         char id_out[SOTTO_CLIENT_MSG_ID_MAX + 1]);
/* The user has seen everything up to there. */
SOTTO_CHECKED enum sotto_err client_mark_read(struct client *c, struct id conversation, uint64_t sequence,
                                              uint64_t now_ms);

/* Accepts at most `count` more messages from others, and then no message at all:
 * what comes later is not told, not marked as delivered and not passed by the
 * stored cursor, so that the next client on this store gets it. UINT64_MAX, as at
 * first: no limit. */
void client_accept_max(struct client *c, uint64_t count);

/* The oldest output, removed from the queue; NULL when there is none. Valid until
 * the next call on this client. */
const struct client_output *client_poll(struct client *c);

enum client_phase client_phase(const struct client *c);
size_t client_outbox_count(const struct client *c);

#endif
