/* HTTP messages, whole and cut: what is found must not depend on the cuts.
 *
 * Input: one byte of flags (bit 0: responses), two of a seed for the cuts, then
 * the bytes from the peer. Every piece is copied into memory of its own size,
 * so that a sanitizer sees reads past its end.
 */
#include "net/http.h"
#include "base/random.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void describe(struct buffer *out, const struct http_message *m)
{
    buffer_printf(out, "%d %u %d%d%d ", (int)m->method, m->status, m->keep_alive, m->upgrade, m->expect_continue);
    buffer_append_slice(out, m->path);
    buffer_append_byte(out, '?');
    buffer_append_slice(out, m->query);
    for (size_t i = 0; i < m->headers_count; i++) {
        buffer_append_byte(out, '\n');
        buffer_append_slice(out, m->headers[i].name);
        buffer_append_byte(out, ':');
        buffer_append_slice(out, m->headers[i].value);
        SOTTO_ASSERT(m->headers[i].name.len != 0);
    }
    buffer_append_str(out, "\n\n");
    buffer_append_slice(out, m->body);
}

/* True when the parser goes on. */
static bool feed(struct http_parser *p, const uint8_t *data, size_t len, struct buffer *out)
{
    uint8_t *piece = malloc(len);
    size_t at = 0;
    if (len != 0) memcpy(piece, data, len);
    for (;;) {
        const struct http_message *m = NULL;
        size_t used = 0;
        unsigned status = 0;
        enum http_result result = http_parser_feed(p, slice_of(piece + at, len - at), &used, &m, &status);
        SOTTO_ASSERT(used <= len - at);
        at += used;
        if (result == HTTP_COMPLETE || result == HTTP_HEAD) {
            describe(out, m);
            http_header_has(m, "Connection", "close");
            uint8_t *text = malloc(m->path.len + m->query.len + 1);
            size_t text_len;
            if (http_unescape(m->path, false, text, &text_len)) SOTTO_ASSERT(text_len <= m->path.len);
            if (http_unescape(m->query, true, text, &text_len)) SOTTO_ASSERT(text_len <= m->query.len);
            http_query_get(m->query, "since");
            free(text);
            continue;
        }
        free(piece);
        if (result == HTTP_BAD) {
            SOTTO_ASSERT(status >= 400 && status <= 505);
            buffer_printf(out, "bad %u", status);
            return false;
        }
        SOTTO_ASSERT(at == len);
        return true;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 3) return 0;
    bool response = data[0] & 1;
    struct random_seeded random;
    random_seeded_init(&random, (uint64_t)(data[1] << 8 | data[2]));
    data += 3;
    len -= 3;
    struct buffer whole, cut;
    buffer_init(&whole, 64 << 20);
    buffer_init(&cut, 64 << 20);
    struct http_parser *p = http_parser_create(response);
    feed(p, data, len, &whole);
    http_parser_destroy(&p);

    p = http_parser_create(response);
    bool more = true;
    while (more && len != 0) {
        uint64_t r = random_u64(&random.source);
        size_t piece = (r & 3) == 0 ? 1 : (r >> 2) % ((r & 4) ? 8 : 300);
        if (piece > len) piece = len;
        more = feed(p, data, piece, &cut);
        data += piece;
        len -= piece;
    }
    http_parser_destroy(&p);
    SOTTO_ASSERT(slice_eq(buffer_slice(&whole), buffer_slice(&cut)));
    buffer_deinit(&whole);
    buffer_deinit(&cut);
    return 0;
}
