/* The small text forms of HTTP: escapes, query strings, responses. */
#include "net/http.h"

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool http_unescape(struct slice text, bool query, uint8_t *out, size_t *len_out)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '%') {
            if (text.len - i < 3) return false;
            int high = hex_value(text.data[i + 1]);
            int low = hex_value(text.data[i + 2]);
            if (high < 0 || low < 0) return false;
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (c == '+' && query) {
            c = ' ';
        }
        if (c == 0) return false;
        out[len++] = c;
    }
    *len_out = len;
    return true;
}

struct slice http_query_get(struct slice query, const char *name)
{
    size_t name_len = strlen(name);
    while (query.len != 0) {
        const uint8_t *end = memchr(query.data, '&', query.len);
        size_t len = end != NULL ? (size_t)(end - query.data) : query.len;
        if (len >= name_len && memcmp(query.data, name, name_len) == 0) {
            if (len == name_len) return slice_of(query.data + len, 0);
            if (query.data[name_len] == '=') return slice_of(query.data + name_len + 1, len - name_len - 1);
        }
        if (end != NULL) len++;
        query = slice_of(query.data + len, query.len - len);
    }
    return slice_of(NULL, 0);
}

const char *http_reason(unsigned status)
{
    static const struct {
        unsigned status;
        const char *reason;
    } reasons[] = {
        {100, "Continue"}, {101, "Switching Protocols"}, {200, "OK"}, {201, "Created"}, {202, "Accepted"},
        {204, "No Content"}, {206, "Partial Content"}, {301, "Moved Permanently"}, {302, "Found"},
        {303, "See Other"}, {304, "Not Modified"}, {307, "Temporary Redirect"}, {308, "Permanent Redirect"},
        {400, "Bad Request"}, {401, "Unauthorized"}, {403, "Forbidden"}, {404, "Not Found"},
        {405, "Method Not Allowed"}, {406, "Not Acceptable"}, {408, "Request Timeout"}, {409, "Conflict"},
        {410, "Gone"}, {411, "Length Required"}, {412, "Precondition Failed"}, {413, "Content Too Large"},
        {414, "URI Too Long"}, {415, "Unsupported Media Type"}, {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"}, {421, "Misdirected Request"}, {422, "Unprocessable Content"},
        {425, "Too Early"}, {426, "Upgrade Required"}, {428, "Precondition Required"},
        {429, "Too Many Requests"}, {431, "Request Header Fields Too Large"}, {500, "Internal Server Error"},
        {501, "Not Implemented"}, {502, "Bad Gateway"}, {503, "Service Unavailable"},
        {504, "Gateway Timeout"}, {505, "HTTP Version Not Supported"}, {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].status == status) return reasons[i].reason;
    return "Unknown";
}

void http_write_status(struct buffer *out, unsigned status)
{
    buffer_append_str(out, "HTTP/1.1 ");
    buffer_append_u64(out, status);
    buffer_append_byte(out, ' ');
    buffer_append_str(out, http_reason(status));
    buffer_append_str(out, "\r\n");
}

void http_write_header(struct buffer *out, const char *name, struct slice value)
{
    buffer_append_str(out, name);
    buffer_append_str(out, ": ");
    uint8_t *to = buffer_reserve(out, value.len);
    if (to == NULL) return;
    /* A value may come from a peer: it must not begin another header. */
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.data[i];
        to[i] = (c < 0x20 && c != '\t') || c == 0x7f ? ' ' : c;
    }
    out->len += value.len;
    buffer_append_str(out, "\r\n");
}

void http_write_body(struct buffer *out, struct slice body)
{
    buffer_append_str(out, "Content-Length: ");
    buffer_append_u64(out, body.len);
    buffer_append_str(out, "\r\n\r\n");
    buffer_append_slice(out, body);
}
