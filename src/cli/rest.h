/* REST calls, one after the other, blocking: a small HTTP client over net/.
 *
 * It has a loop of its own, so that a call may be made while another loop waits
 * for events. The connection is kept for the next call.
 */
#ifndef SOTTO_CLI_REST_H
#define SOTTO_CLI_REST_H

#include "base/arena.h"
#include "base/limits.h"
#include "cli/url.h"
#include "net/stream.h"
#include "wire/json.h"

enum { REST_TIMEOUT_MS = 30000, REST_TIMEOUT_LEAST_MS = 2000 };

struct rest_options {
    struct url url;
    const char *ca_file;   /* NULL: the system's roots */
    const char *token;     /* NULL: none */
    const char *agent;
};
struct rest;

/* The answer of one call. */
struct rest_reply {
    unsigned status;       /* 0: there was no answer */
    struct json body;      /* absent when it is not JSON */
    struct slice code, message; /* of an error; empty when there is none */
    uint64_t retry_after_ms;
    struct arena arena;
    struct buffer bytes;
};

/* Errors: INVALID with a sentence (the certificates cannot be read), IO. */
SOTTO_CHECKED enum sotto_err rest_create(const struct rest_options *options, struct buffer *why_out,
                                         struct rest **rest_out);
void rest_destroy(struct rest **r);
/* From now on calls end at that time (monotonic milliseconds; UINT64_MAX: when
 * REST_TIMEOUT_MS are over), though each has REST_TIMEOUT_LEAST_MS. */
void rest_set_deadline(struct rest *r, uint64_t deadline_ms);
/* method: "GET" …; path with its query; body: JSON or empty. reply_out is always
 * initialised. Errors: CLOSED, TIMEOUT (a sentence in why_out). */
SOTTO_CHECKED enum sotto_err rest_call(struct rest *r, const char *method, struct slice path, struct slice body,
                                       struct rest_reply *reply_out, struct buffer *why_out);
void rest_reply_deinit(struct rest_reply *reply);
/* Members of the answer; empty, 0 or false when absent. */
struct slice reply_text(struct rest_reply *reply, struct json object, const char *name);
uint64_t reply_u64(struct json object, const char *name);
bool reply_bool(struct json object, const char *name);
bool reply_id(struct rest_reply *reply, struct json object, const char *name, struct id *out);

#endif
