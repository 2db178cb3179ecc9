/* One request, whichever way it came, and the table of operations.
 *
 * The gateway finds the operation (by `type`, or by method and path), checks
 * the token and the rate limits, and puts all fields into one JSON object:
 * over REST the path parameters first, then the query parameters, then the
 * members of the body. So one handler with one table of json_field serves every
 * transport.
 *
 * Two kinds of handler. `run` may block: it is called on a worker thread,
 * writes the members of its answer with c->answer and returns a problem.
 * `start` is called on the connection's loop, must not block, and ends the call
 * with call_finish, at once or later from the same loop.
 */
#ifndef SOTTO_GATEWAY_CALL_H
#define SOTTO_GATEWAY_CALL_H

#include "gateway/services.h"
#include "net/http.h"
#include "wire/json.h"

struct gateway;
struct call;

enum operation_flag {
    OP_PUBLIC = 1,        /* no token needed */
    OP_SOCKET_ONLY = 2,   /* not over REST */
    OP_ALWAYS_ANSWER = 4, /* answered even without `id` */
    /* Which bucket the gateway charges before the handler, besides the user's
     * (or, without a token and over REST, the address's). */
    OP_LIMIT_SEND = 8,    /* limits->device */
    OP_LIMIT_TYPING = 16, /* limits->typing */
    OP_LIMIT_BUNDLES = 32,/* limits->bundles */
    OP_PASSWORD = 64      /* `run` hashes a password: it waits with its like */
};
struct operation {
    const char *type;         /* "message.send" */
    const char *answer_type;  /* "message.sent" */
    enum http_method method;
    const char *path;         /* "/api/v1/devices/{deviceId:n}", n: a number; NULL: none */
    const char *query;        /* allowed query parameters: "since:n limit:n username:s"; NULL: none */
    unsigned flags;
    enum problem (*run)(struct call *c);
    void (*start)(struct call *c);
};

enum { CALL_REQUEST_ID_LEN = 16, CALL_DESK_ARENA = 4096 };
struct call {
    const struct operation *op;
    const struct services *services;
    const struct gateway_limits *limits;
    struct gateway *gateway;
    struct id user;            /* zero for public operations without a token */
    uint8_t device;
    struct slice address;      /* client address as text, for throttling */
    struct json fields;        /* the merged object */
    struct arena arena;        /* lives as long as the call, or until call_forget */
    void *context;             /* the handler's own; in the arena, or freed by it */
    char request_id[CALL_REQUEST_ID_LEN + 1];
    uint64_t received_us;      /* monotonic */

    /* The answer: members are written here, inside an object that the gateway
     * opens and closes. On a problem they are members of the error instead
     * (cleared first by call_error_details). */
    struct json_writer answer;
    struct buffer answer_bytes;
    struct buffer why;         /* problem: a sentence more exact than the code's; may stay empty */
    const char *field;         /* problem: which field; NULL if none */
    uint64_t retry_after_ms;   /* problem: 0 if unknown */
    bool details;              /* problem: call_error_details began its members */
    /* The rest belongs to the gateway; see call_private.h. */
};

/* Decodes c->fields by a table; on a mistake fills c->why and returns
 * PROBLEM_BAD_FIELD. */
enum problem call_decode(struct call *c, const struct json_field *fields, size_t count, void *out);
/* Throws away what has been written and starts the error's members. */
void call_error_details(struct call *c);
/* Ends a `start` call. Loop thread; the call is gone afterwards. */
void call_finish(struct call *c, enum problem p);
/* Where to write the record for call_submit: empty, the loop's own, good until the
 * next call of this function. */
struct buffer *call_record(struct call *c);
/* Hands a record to the engine for a `start` call; `done` is called on the
 * call's loop with the answer, frees nothing (the gateway frees the submission
 * afterwards), and must end the call. False: the queue is full or the server
 * drains; the caller ends the call with PROBLEM_BUSY or PROBLEM_DRAINING.
 * The record is copied. If the connection goes away meanwhile,
 * `done` is still called, and call_finish then only frees. */
SOTTO_CHECKED bool call_submit(struct call *c, const struct buffer *record,
                               void (*done)(struct call *c, const struct submission *s));
/* After call_submit: nothing that the request brought is needed any more, nor what the
 * handler made of it. `fields` and `context` are empty from now on, the arena too. So
 * the next request finds that memory in the processor's caches, instead of one for each
 * that waits for the engine. */
void call_forget(struct call *c);
/* Runs `work` on a worker thread, then `done` on the call's loop. False: the
 * queue is full. For `start` calls whose fast path missed a cache. */
SOTTO_CHECKED bool call_work(struct call *c, void (*work)(struct call *c), void (*done)(struct call *c));
/* The other member of a direct conversation that the caller is in. Unknown: it
 * must be looked up in the store (call_learn_peer, on a worker). Stranger: it is
 * between others. */
enum call_peer { CALL_PEER_UNKNOWN, CALL_PEER_DIRECT, CALL_PEER_STRANGER, CALL_PEER_NONE };
enum call_peer call_find_peer(struct call *c, struct id conversation, struct id *peer_out);
/* Remembers the members of a direct conversation; b zero: it is not one. */
void call_put_peer(struct call *c, struct id conversation, struct id a, struct id b);
/* Reads the conversation's members and remembers them. Blocks. NOT_FOUND: there
 * is no such conversation. */
enum problem call_learn_peer(struct call *c, struct id conversation);
/* Stages of messages, for the metrics. */
enum call_stage { STAGE_ACCEPTED, STAGE_DURABLE, STAGE_REPEATED };
void call_count(struct call *c, enum call_stage stage);
/* The limits that clients are told, as an object (hello, server.info). */
void limits_json(struct json_writer *w, const struct gateway_limits *l);
/* Randomness for ids, without a system call. Loop thread. */
const struct random_source *call_random(struct call *c);
/* Takes a token of (user, conversation); false: PROBLEM_RATE_LIMITED, and
 * retry_after_ms is set. */
SOTTO_CHECKED bool call_limit_pair(struct call *c, struct id conversation);

#endif
