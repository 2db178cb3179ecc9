/* One HTTP/1.1 message at a time, over llhttp.
 *
 * DESIGN. llhttp finds the structure; this file keeps what it finds. The head is
 * copied into one buffer and described by offsets until it is complete (the
 * buffer moves while it grows), the body into another. Parsing stops twice per
 * message: after the head, where everything is checked that needs all of it,
 * and at the end, so that pipelined bytes are left to the next call.
 *
 * STRICTNESS. Debian's llhttp 8.1 is lenient where request smuggling begins, so
 * the raw head is looked at as well: every line ends in CR LF, no bare CR, no
 * line begins with white space (obsolete folding), header names are tokens and
 * values hold no control characters. A message has one Host, not both
 * Content-Length and Transfer-Encoding, and no transfer coding but chunked.
 *
 * BOUNDS. The bytes fed before the head ends are counted, so nothing in a head
 * is unbounded. In a body, the wire bytes are, which bounds chunk framing;
 * extensions and trailers are dropped and together no longer than a head.
 *
 * The outcome depends on the bytes only, never on how they were cut; a fuzzer
 * holds it to that. RFC 9110, RFC 9112.
 */
/* llhttp's HTTP_HEAD is a method, ours a result. */
#define HTTP_HEAD LLHTTP_HEAD
#include <llhttp.h>
#undef HTTP_HEAD

#include "base/limits.h"
#include "net/http.h"

#include <stdlib.h>
#include <strings.h>

enum http_state {
    STATE_IDLE,     /* nothing of the next message was seen */
    STATE_HEAD,
    STATE_HEAD_END, /* head checked, llhttp is to be resumed */
    STATE_BODY,
    STATE_COMPLETE, /* the message was handed out */
    STATE_LAST,     /* the same, and the connection is not to go on */
    STATE_BAD,
};
enum { BODY_WIRE_MAX = 8 * SOTTO_HTTP_BODY_MAX }; /* with chunk framing */

struct http_span {
    uint16_t name_at, name_len;
    uint16_t value_at, value_len;
};

struct http_parser {
    llhttp_t llhttp;
    enum http_state state;
    bool response;
    bool in_name;       /* the last piece belonged to a header name */
    bool paused;        /* llhttp was paused by a callback of ours */
    uint8_t first_byte; /* of the message */
    uint8_t last_byte;  /* of the head so far; 0 at its beginning */
    unsigned status;    /* why a callback refused; 0 if none did */
    size_t wire_len;    /* bytes of the head, then of the body */
    size_t url_len;
    size_t ignored_len; /* chunk extensions and trailers */
    size_t spans_count;
    struct http_span spans[HTTP_HEADERS_MAX + 1]; /* one more, to be refused */
    struct buffer head; /* the target, then names and values */
    struct buffer body;
    struct http_message message;
};

/* --- What llhttp calls --- */

static int refuse(struct http_parser *p, unsigned status)
{
    p->status = status;
    return HPE_USER;
}

static int on_url(llhttp_t *l, const char *at, size_t len)
{
    struct http_parser *p = l->data;
    buffer_append(&p->head, at, len);
    p->url_len += len;
    return 0;
}

/* Chunk extensions and trailers. */
static int on_ignored(llhttp_t *l, const char *at, size_t len)
{
    struct http_parser *p = l->data;
    (void)at;
    p->ignored_len += len;
    return p->ignored_len > SOTTO_HTTP_HEAD_MAX ? refuse(p, 400) : 0;
}

static int on_header_field(llhttp_t *l, const char *at, size_t len)
{
    struct http_parser *p = l->data;
    if (p->state == STATE_BODY) return on_ignored(l, at, len);
    if (!p->in_name) {
        p->spans[p->spans_count++] = (struct http_span){.name_at = (uint16_t)p->head.len};
        p->in_name = true;
    }
    struct http_span *span = &p->spans[p->spans_count - 1];
    buffer_append(&p->head, at, len);
    span->name_len = (uint16_t)(span->name_len + len);
    span->value_at = (uint16_t)p->head.len;
    return 0;
}

/* Refused here and not above: whether a name is one at all shows at its end,
 * and pieces of it come earlier when the input is cut. */
static int on_header_field_complete(llhttp_t *l)
{
    struct http_parser *p = l->data;
    return p->state != STATE_BODY && p->spans_count > HTTP_HEADERS_MAX ? refuse(p, 431) : 0;
}

static int on_header_value(llhttp_t *l, const char *at, size_t len)
{
    struct http_parser *p = l->data;
    if (p->state == STATE_BODY) return on_ignored(l, at, len);
    p->in_name = false;
    struct http_span *span = &p->spans[p->spans_count - 1];
    buffer_append(&p->head, at, len);
    span->value_len = (uint16_t)(span->value_len + len);
    return 0;
}

static int on_header_value_complete(llhttp_t *l)
{
    struct http_parser *p = l->data;
    p->in_name = false;
    return 0;
}

static int on_headers_complete(llhttp_t *l)
{
    struct http_parser *p = l->data;
    p->paused = true;
    return HPE_PAUSED;
}

static int on_body(llhttp_t *l, const char *at, size_t len)
{
    struct http_parser *p = l->data;
    buffer_append(&p->body, at, len);
    return p->body.overflow ? refuse(p, 413) : 0;
}

static int on_message_complete(llhttp_t *l)
{
    struct http_parser *p = l->data;
    p->paused = true;
    p->state = STATE_COMPLETE;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_field_complete = on_header_field_complete,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_chunk_extension_name = on_ignored,
    .on_chunk_extension_value = on_ignored,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

struct http_parser *http_parser_create(bool response)
{
    struct http_parser *p = calloc(1, sizeof(*p));
    if (p == NULL) return NULL;
    llhttp_init(&p->llhttp, response ? HTTP_RESPONSE : HTTP_REQUEST, &settings);
    p->llhttp.data = p;
    p->response = response;
    buffer_init(&p->head, SOTTO_HTTP_HEAD_MAX);
    buffer_init(&p->body, SOTTO_HTTP_BODY_MAX);
    return p;
}

void http_parser_destroy(struct http_parser **parser)
{
    struct http_parser *p = *parser;
    if (p == NULL) return;
    *parser = NULL;
    buffer_deinit(&p->head);
    buffer_deinit(&p->body);
    free(p);
}

bool http_parser_idle(const struct http_parser *p)
{
    return p->state == STATE_IDLE || p->state == STATE_COMPLETE || p->state == STATE_LAST;
}

const struct http_message *http_parser_head(const struct http_parser *p)
{
    return p->state == STATE_HEAD_END || p->state == STATE_BODY ? &p->message : NULL;
}

size_t http_parser_body_size(const struct http_parser *p)
{
    return p->body.size;
}

void http_parser_drop_body(struct http_parser *p)
{
    buffer_deinit(&p->body);
    p->message.body = slice_of(NULL, 0);
}

/* --- Checks of a complete head --- */

static bool is_token(struct slice s)
{
    static const char extra[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        bool alpha = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (!alpha && !(c >= '0' && c <= '9') && memchr(extra, c, sizeof(extra) - 1) == NULL) return false;
    }
    return s.len != 0;
}

static bool is_value(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((s.data[i] < 0x20 && s.data[i] != '\t') || s.data[i] == 0x7f) return false;
    return true;
}

static bool same_name(struct slice name, const char *other, size_t other_len)
{
    return name.len == other_len && strncasecmp((const char *)name.data, other, other_len) == 0;
}

/* "http://host" and the like before the path, which servers must accept. */
static struct slice skip_authority(struct slice url)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < 2; i++) {
        size_t len = strlen(schemes[i]);
        if (url.len < len || strncasecmp((const char *)url.data, schemes[i], len) != 0) continue;
        while (len < url.len && url.data[len] != '/' && url.data[len] != '?') len++;
        return slice_of(url.data + len, url.len - len);
    }
    return url;
}

/* Splits the request target. False when it is not one that a server answers. */
static bool parse_target(struct http_message *m, struct slice url)
{
    for (size_t i = 0; i < url.len; i++)
        if (url.data[i] <= ' ' || url.data[i] >= 0x7f || url.data[i] == '#') return false;
    struct slice target = skip_authority(url);
    const uint8_t *mark = target.len != 0 ? memchr(target.data, '?', target.len) : NULL;
    size_t path_len = mark != NULL ? (size_t)(mark - target.data) : target.len;
    m->path = slice_of(target.data, path_len);
    m->query = mark != NULL ? slice_of(mark + 1, target.len - path_len - 1) : slice_of(NULL, 0);
    bool whole_server = m->method == HTTP_M_OPTIONS && slice_is(url, "*");
    if (whole_server || (path_len == 0 && target.data != url.data)) m->path = SLICE_LIT("/");
    return m->path.len != 0 && m->path.data[0] == '/';
}

static enum http_method method_of(const llhttp_t *l)
{
    switch (l->method) {
    case HTTP_GET: return HTTP_M_GET;
    case LLHTTP_HEAD: return HTTP_M_HEAD;
    case HTTP_POST: return HTTP_M_POST;
    case HTTP_PUT: return HTTP_M_PUT;
    case HTTP_PATCH: return HTTP_M_PATCH;
    case HTTP_DELETE: return HTTP_M_DELETE;
    case HTTP_OPTIONS: return HTTP_M_OPTIONS;
    default: return HTTP_M_OTHER;
    }
}

static size_t count_headers(const struct http_message *m, const char *name)
{
    size_t count = 0, len = strlen(name);
    for (size_t i = 0; i < m->headers_count; i++) count += same_name(m->headers[i].name, name, len);
    return count;
}

/* 0, or the status that refuses what the headers say about each other. */
static unsigned check_headers(const struct http_parser *p, const struct http_message *m)
{
    for (size_t i = 0; i < m->headers_count; i++)
        if (!is_token(m->headers[i].name) || !is_value(m->headers[i].value)) return 400;
    bool newer = p->llhttp.http_minor == 1;
    size_t hosts = count_headers(m, "Host");
    if (!p->response && (hosts > 1 || (hosts == 0 && newer))) return 400;
    size_t codings = count_headers(m, "Transfer-Encoding");
    size_t lengths = count_headers(m, "Content-Length");
    if (lengths > 1 || (codings != 0 && (lengths != 0 || !newer))) return 400;
    if (codings != 0) {
        struct slice coding = http_header_get(m, "Transfer-Encoding");
        if (codings != 1 || !same_name(coding, "chunked", 7)) return 501;
    }
    if (lengths != 0 && p->llhttp.content_length > SOTTO_HTTP_BODY_MAX) return 413;
    return 0;
}

/* Never NULL: an empty value is not an absent one. */
static struct slice head_slice(const struct http_parser *p, size_t at, size_t len)
{
    return p->head.data != NULL ? slice_of(p->head.data + at, len) : SLICE_LIT("");
}

/* Builds the message from the spans. 0, or the status that refuses it. */
static unsigned finish_head(struct http_parser *p)
{
    struct http_message *m = &p->message;
    *m = (struct http_message){.method = p->response ? HTTP_M_OTHER : method_of(&p->llhttp),
                               .status = p->response ? p->llhttp.status_code : 0};
    if (p->llhttp.http_major != 1 || p->llhttp.http_minor > 1) return 505;
    for (size_t i = 0; i < p->spans_count; i++) {
        const struct http_span *span = &p->spans[i];
        m->headers[i].name = head_slice(p, span->name_at, span->name_len);
        m->headers[i].value = slice_trim(head_slice(p, span->value_at, span->value_len));
    }
    m->headers_count = p->spans_count;
    if (!p->response) {
        if (p->llhttp.method == HTTP_CONNECT) return 501;
        if (!parse_target(m, head_slice(p, 0, p->url_len))) return 400;
    }
    unsigned status = check_headers(p, m);
    if (status != 0) return status;
    m->upgrade = http_header_has(m, "Connection", "upgrade") && http_header_get(m, "Upgrade").data != NULL;
    bool body = p->llhttp.content_length != 0 || http_header_get(m, "Transfer-Encoding").data != NULL;
    m->expect_continue = !p->response && body && http_header_has(m, "Expect", "100-continue");
    m->keep_alive = llhttp_should_keep_alive(&p->llhttp) != 0;
    return 0;
}

/* --- Feeding --- */

/* Looks at the raw bytes of the head for line ends that llhttp would pass. */
static bool scan_head(struct http_parser *p, const uint8_t *data, size_t len)
{
    uint8_t last = p->last_byte;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = data[i];
        if ((c == '\n') != (last == '\r')) return false;
        if (last == '\n' && (c == ' ' || c == '\t')) return false;
        last = c;
    }
    p->last_byte = last;
    return true;
}

static unsigned status_of_error(const struct http_parser *p, llhttp_errno_t error)
{
    if (p->status != 0) return p->status;
    switch (error) {
    case HPE_INVALID_VERSION:
    case HPE_PAUSED_H2_UPGRADE:
        return 505;
    case HPE_INVALID_METHOD:
        return p->first_byte >= 'A' && p->first_byte <= 'Z' ? 501 : 400;
    default:
        return 400;
    }
}

static void begin_message(struct http_parser *p)
{
    buffer_clear(&p->head);
    /* A large body is not kept for the small ones that follow. */
    buffer_deinit(&p->body);
    p->state = STATE_IDLE;
    p->in_name = false;
    p->first_byte = p->last_byte = 0;
    p->wire_len = p->url_len = p->ignored_len = p->spans_count = 0;
}

/* Runs llhttp over at most `len` bytes; how many were taken. */
static size_t execute(struct http_parser *p, const uint8_t *data, size_t len, llhttp_errno_t *error_out)
{
    static const char nothing[1];
    const char *at = len != 0 ? (const char *)data : nothing;
    if (p->paused) {
        p->paused = false;
        if (llhttp_get_errno(&p->llhttp) == HPE_PAUSED) llhttp_resume(&p->llhttp);
    }
    llhttp_errno_t error = llhttp_execute(&p->llhttp, at, len);
    if (error == HPE_PAUSED_UPGRADE) {
        /* What comes next is ours to decide; HTTP until somebody says otherwise. */
        size_t before = (size_t)(llhttp_get_error_pos(&p->llhttp) - at);
        llhttp_resume_after_upgrade(&p->llhttp);
        error = llhttp_execute(&p->llhttp, at + before, len - before);
    }
    *error_out = error;
    return error == HPE_OK ? len : (size_t)(llhttp_get_error_pos(&p->llhttp) - at);
}

/* One step within the head. 0, or the status that refuses it. */
static unsigned feed_head(struct http_parser *p, struct slice in, size_t *used_out)
{
    size_t room = SOTTO_HTTP_HEAD_MAX - p->wire_len;
    if (room == 0) return p->spans_count == 0 && !p->response ? 414 : 431;
    if (p->state == STATE_IDLE) {
        p->state = STATE_HEAD;
        p->first_byte = in.data[0];
    }
    llhttp_errno_t error;
    size_t used = execute(p, in.data, in.len < room ? in.len : room, &error);
    /* Before the error: what stands first in the bytes decides. */
    if (!scan_head(p, in.data, used)) return 400;
    p->wire_len += used;
    *used_out = used;
    if (error == HPE_OK) return 0;
    if (error != HPE_PAUSED) return status_of_error(p, error);
    unsigned status = finish_head(p);
    p->state = STATE_HEAD_END;
    p->wire_len = 0;
    return status;
}

static unsigned feed_body(struct http_parser *p, struct slice in, size_t *used_out)
{
    size_t room = BODY_WIRE_MAX - p->wire_len;
    if (room == 0 && in.len != 0) return 413;
    p->state = STATE_BODY;
    llhttp_errno_t error;
    size_t used = execute(p, in.data, in.len < room ? in.len : room, &error);
    p->wire_len += used;
    *used_out = used;
    return error == HPE_OK || error == HPE_PAUSED ? 0 : status_of_error(p, error);
}

enum http_result http_parser_feed(struct http_parser *p, struct slice in, size_t *used_out,
                                  const struct http_message **message_out, unsigned *status_out)
{
    *used_out = 0;
    if (p->state == STATE_COMPLETE) begin_message(p);
    if (p->state == STATE_LAST) {
        *used_out = in.len;
        return HTTP_MORE;
    }
    unsigned status = p->state == STATE_BAD ? 400 : 0;
    while (status == 0) {
        struct slice rest = slice_of(in.data + *used_out, in.len - *used_out);
        /* After the head, llhttp may have something to say without input. */
        if (rest.len == 0 && p->state != STATE_HEAD_END) return HTTP_MORE;
        size_t used = 0;
        if (p->state == STATE_IDLE || p->state == STATE_HEAD) {
            status = feed_head(p, rest, &used);
            *used_out += used;
            if (status != 0 || p->state != STATE_HEAD_END) continue;
            if (!p->message.expect_continue) continue;
            *message_out = &p->message;
            return HTTP_HEAD;
        }
        status = feed_body(p, rest, &used);
        *used_out += used;
        if (status != 0 || p->state != STATE_COMPLETE) continue;
        p->message.body = buffer_slice(&p->body);
        if (!p->message.keep_alive) p->state = STATE_LAST;
        *message_out = &p->message;
        return HTTP_COMPLETE;
    }
    p->state = STATE_BAD;
    *status_out = status;
    return HTTP_BAD;
}

/* --- Headers --- */

struct slice http_header_get(const struct http_message *m, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < m->headers_count; i++)
        if (same_name(m->headers[i].name, name, len)) return m->headers[i].value;
    return slice_of(NULL, 0);
}

bool http_header_has(const struct http_message *m, const char *name, const char *token)
{
    size_t name_len = strlen(name), token_len = strlen(token);
    for (size_t i = 0; i < m->headers_count; i++) {
        if (!same_name(m->headers[i].name, name, name_len)) continue;
        struct slice rest = m->headers[i].value;
        while (rest.len != 0) {
            const uint8_t *comma = memchr(rest.data, ',', rest.len);
            size_t len = comma != NULL ? (size_t)(comma - rest.data) : rest.len;
            if (same_name(slice_trim(slice_of(rest.data, len)), token, token_len)) return true;
            if (comma != NULL) len++;
            rest = slice_of(rest.data + len, rest.len - len);
        }
    }
    return false;
}
