/* What may be printed as it is, and what is escaped.
 *
 * Escaped are C0 and C1 controls (they move the cursor, set the title, answer on
 * stdin) and bytes that are not UTF-8. In names also the characters that open an
 * embedding, an override or an isolate of writing direction, and the separators
 * of lines and paragraphs: a name stands in the middle of a line of ours. A
 * message ends its line and can only disorder itself.
 */
#include "cli/show.h"

#include "base/text.h"

#include <wchar.h>

/* The code point at `at` and its length; 0 when it is not UTF-8. */
static size_t decode(struct slice text, size_t at, uint32_t *code_out)
{
    const uint8_t *p = text.data + at;
    size_t len = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (at + len > text.len || !utf8_valid(slice_of(p, len))) return 0;
    uint32_t code = len == 1 ? p[0] : p[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) code = code << 6 | (p[i] & 0x3f);
    *code_out = code;
    return len;
}

static bool is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0);
}

static bool turns_direction(uint32_t code)
{
    return (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

static bool printable(uint32_t code, unsigned flags)
{
    if (is_control(code)) return (flags & SHOW_LINES) && (code == '\n' || code == '\t');
    if (code >= 0x80 && (flags & SHOW_ASCII)) return false;
    return (flags & SHOW_LINES) || !turns_direction(code);
}

size_t show_append(struct buffer *out, struct slice text, unsigned flags)
{
    size_t columns = 0;
    for (size_t at = 0; at < text.len;) {
        uint32_t code = 0;
        size_t len = decode(text, at, &code);
        if (len && printable(code, flags)) {
            buffer_append(out, text.data + at, len);
            if (code == '\n') buffer_append_str(out, "    ");
            int width = wcwidth((wchar_t)code);
            columns += width < 0 ? 1 : (size_t)width;
            at += len;
            continue;
        }
        for (size_t end = at + (len ? len : 1); at < end; at++, columns += 4)
            buffer_printf(out, "\\x%02x", text.data[at]);
    }
    return columns;
}
