/* Cursors: see cursor.h for the format. */
#include "wire/cursor.h"

#include "base/bytes.h"
#include "base/text.h"

enum { CURSOR_VERSION = 1, CURSOR_BYTES_MAX = 1 + 4 + 10 + 10 + ID_LEN + 10 };

void cursor_write(const struct cursor *c, struct buffer *out)
{
    uint8_t memory[CURSOR_BYTES_MAX];
    struct buffer bytes;
    buffer_init_fixed(&bytes, memory, sizeof(memory));
    write_u8(&bytes, CURSOR_VERSION);
    write_u32(&bytes, c->epoch);
    write_varint(&bytes, c->position);
    if (c->partial) {
        write_varint(&bytes, c->target);
        buffer_append(&bytes, c->conversation.bytes, ID_LEN);
        write_varint(&bytes, c->sequence);
    }
    buffer_append_base64url(out, buffer_slice(&bytes));
}

enum sotto_err cursor_parse(struct slice text, struct cursor *cursor_out)
{
    if (text.len == 0 || text.len > CURSOR_TEXT_MAX) return SOTTO_ERR_INVALID;
    uint8_t bytes[CURSOR_TEXT_MAX];
    size_t len;
    if (base64_decode(text, bytes, &len) != SOTTO_OK) return SOTTO_ERR_INVALID;
    struct reader r = reader_of(slice_of(bytes, len));
    struct cursor c = {0};
    if (read_u8(&r) != CURSOR_VERSION) return SOTTO_ERR_INVALID;
    c.epoch = read_u32(&r);
    c.position = read_varint(&r);
    if (!r.failed && r.at != r.end) {
        c.partial = true;
        c.target = read_varint(&r);
        read_copy(&r, c.conversation.bytes, ID_LEN);
        c.sequence = read_varint(&r);
    }
    if (!reader_done(&r)) return SOTTO_ERR_INVALID;
    if (c.partial && c.target < c.position) return SOTTO_ERR_INVALID;
    *cursor_out = c;
    return SOTTO_OK;
}
