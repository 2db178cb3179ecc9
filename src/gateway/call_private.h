/* The gateway's half of a call. */
#ifndef SOTTO_GATEWAY_CALL_PRIVATE_H
#define SOTTO_GATEWAY_CALL_PRIVATE_H

#include "gateway/conn.h"

/* What a request is handled on: memory for its arena, its answer and its complaint.
 * Few are at work at a time, however many calls wait. */
struct desk {
    struct desk *next; /* free ones */
    struct buffer answer, why;
    _Alignas(16) uint8_t memory[CALL_DESK_ARENA];
};
struct call_state {
    struct call call; /* first: a handler's pointer is ours */
    struct gateway_loop *loop;
    struct conn *conn;
    struct job job;
    void (*work)(struct call *c);
    void (*done)(struct call *c);
    void (*submitted)(struct call *c, const struct submission *s);
    enum problem problem;  /* of `run`, on its way back from the worker */
    struct slice re;       /* the request's `id`; data NULL: none */
    struct slice token;    /* REST: until it is checked */
    bool over_http;
    bool loading;          /* CONN_LOADING is ours */
    bool needs_token;      /* REST: the user is not known yet */
    uint64_t poll_timeout_ms, poll_limit; /* long-poll */
    struct desk *desk;     /* NULL: call_forget has given it back */
    uint8_t re_kept[REQUEST_ID_MAX];
};

/* A fresh call on this connection; holds it. op may be NULL (hello). */
struct call_state *call_create(struct conn *c, const struct operation *op);
SOTTO_CHECKED bool call_limit(struct call *c, enum bucket_kind kind, struct id key, uint8_t sub,
                              const struct rate *rate);
/* Without an answer. */
void call_destroy(struct call_state *cs);
/* After a request of a socket, or a pause of its own, held by the caller: ends the
 * connection that waited for it, or goes on with what waited behind it. */
void conn_resume(struct conn *c);
/* Authenticates (REST), charges the buckets, runs the handler. */
void call_begin(struct call_state *cs);
void calls_init(struct gateway_loop *gl);
/* Frees what was kept of calls and not needed since the last time; its bytes. */
size_t calls_trim(struct gateway_loop *gl);
void calls_deinit(struct gateway_loop *gl);
/* The members of an error object, without braces. re: may be empty. */
void problem_write(struct json_writer *w, enum problem p, struct slice re, const struct call *c);
/* Sends an error event that belongs to no call of a handler. */
void conn_problem(struct conn *c, enum problem p, struct slice re, const char *why, uint64_t retry_ms);

/* sse.c: the beginning that SSE and long-poll share. The call's context is a
 * struct event_request. NULL: it has been answered. */
struct event_request {
    struct cursor cursor;
    bool has_cursor;
    struct sign_in sign_in;
};
struct call_state *events_call(struct conn *c, const struct http_message *request, const struct operation *op,
                               void (*work)(struct call *c), void (*done)(struct call *c));
/* To be called first in `done`. False: signing in failed and was answered, or the
 * connection is gone; the call no longer exists. */
SOTTO_CHECKED bool events_signed_in(struct call *c);

/* route.c */
struct op_index;
struct op_index *op_index_create(const struct operation *operations);
void op_index_destroy(struct op_index **i);
const struct operation *op_by_type(const struct op_index *i, struct slice type);
enum { ROUTE_PARAMS_MAX = 4, ROUTE_ALLOW_MAX = 64 };
struct route {
    const struct operation *op; /* NULL: see below */
    bool path_known;            /* the path is one of ours, the method is not: 405 */
    char allow[ROUTE_ALLOW_MAX];/* methods of the path */
    size_t params_count;
    struct {
        struct slice name;  /* without ":n" */
        struct slice value; /* still escaped */
        bool number;
    } params[ROUTE_PARAMS_MAX];
};
void route_find(const struct op_index *i, enum http_method method, struct slice path, struct route *route_out);
/* One JSON object of path parameters, query parameters and the body's members,
 * into `out`. PROBLEM_BAD_FIELD with *field_out, PROBLEM_BAD_JSON or
 * PROBLEM_TOO_LARGE. */
enum problem route_merge(const struct route *r, struct slice query, struct slice body, struct arena *arena,
                         struct buffer *out, const char **field_out);

#endif
