/* HTTP/1.1 requests and responses over llhttp.
 *
 * The parser collects one message at a time: head and body bounded by
 * SOTTO_HTTP_HEAD_MAX and SOTTO_HTTP_BODY_MAX, at most HTTP_HEADERS_MAX
 * headers; chunked bodies, keep-alive and pipelining are handled. Strict: both
 * Content-Length and Transfer-Encoding, obsolete folding, a missing Host and
 * the like are refused. A request target in absolute form loses its scheme and
 * host; "OPTIONS *" has the path "/". Trailers and chunk extensions are dropped.
 * Responses need a length or chunks: one that ends with the connection is never
 * complete. No I/O. RFC 9110, RFC 9112.
 */
#ifndef SOTTO_NET_HTTP_H
#define SOTTO_NET_HTTP_H

#include "base/buffer.h"
#include "base/error.h"

enum { HTTP_HEADERS_MAX = 64 };
enum http_method {
    HTTP_M_GET, HTTP_M_HEAD, HTTP_M_POST, HTTP_M_PUT, HTTP_M_PATCH, HTTP_M_DELETE, HTTP_M_OPTIONS,
    HTTP_M_OTHER
};

struct http_header {
    struct slice name; /* as sent; compare without case */
    struct slice value; /* trimmed */
};
struct http_message {
    enum http_method method; /* requests only */
    unsigned status;      /* responses only */
    struct slice path;    /* raw, before '?'; starts with '/' */
    struct slice query;   /* raw, after '?', may be empty */
    struct http_header headers[HTTP_HEADERS_MAX];
    size_t headers_count;
    struct slice body;
    bool keep_alive;
    bool upgrade;         /* Connection: upgrade with an Upgrade header */
    bool expect_continue;
};

struct http_parser;
enum http_result {
    HTTP_MORE,        /* everything was used; feed more */
    HTTP_HEAD,        /* head complete with Expect: 100-continue: answer it, feed again */
    HTTP_COMPLETE,    /* one message; `used` bytes were taken, the rest is next */
    HTTP_BAD,         /* answer `status_out`, close */
};

/* response: parse responses instead of requests. NULL when out of memory. */
struct http_parser *http_parser_create(bool response);
void http_parser_destroy(struct http_parser **p);
/* status_out: 400, 413, 414, 431, 501 or 505 with HTTP_BAD. The message is
 * borrowed from the parser until the next call. After a message without
 * keep_alive everything is swallowed. */
SOTTO_CHECKED enum http_result http_parser_feed(struct http_parser *p, struct slice in, size_t *used_out,
                                                const struct http_message **message_out,
                                                unsigned *status_out);
/* True between messages: the parser holds nothing and may be freed. */
bool http_parser_idle(const struct http_parser *p);
/* The message under way once its head is complete, as yet without a body; borrowed until the
 * next call. NULL before that, and between messages. */
const struct http_message *http_parser_head(const struct http_parser *p);
/* Memory that the body takes, of the message under way or the one handed out. */
size_t http_parser_body_size(const struct http_parser *p);
/* Gives it back: the body handed out is gone; of one under way, what came. */
void http_parser_drop_body(struct http_parser *p);

/* Value of the first header of that name (compared without case), or an empty
 * slice with data NULL. */
struct slice http_header_get(const struct http_message *m, const char *name);
/* Whether a comma-separated header holds the token (without case). */
bool http_header_has(const struct http_message *m, const char *name, const char *token);
/* Decodes %XX and, in queries, '+'. out holds text.len bytes. False when the
 * escapes are bad or a NUL appears. */
bool http_unescape(struct slice text, bool query, uint8_t *out, size_t *len_out);
/* Finds `name` in a query string; the value still escaped; data NULL if absent. */
struct slice http_query_get(struct slice query, const char *name);

/* Writes "HTTP/1.1 200 OK\r\n", then the caller's headers, then http_end. */
void http_write_status(struct buffer *out, unsigned status);
void http_write_header(struct buffer *out, const char *name, struct slice value);
/* Content-Length, the empty line and the body. */
void http_write_body(struct buffer *out, struct slice body);
const char *http_reason(unsigned status);

#endif
