/* JSON writing: punctuation is ours, commas come by themselves. */
#include "wire/json.h"

#include "base/text.h"
#include "wire/json_plain.h"

static void separate(struct json_writer *w)
{
    if (w->comma) buffer_append_byte(w->out, ',');
    w->comma = true;
}

/* Room for a comma, if one is due, and `more` bytes; where they go, or NULL. */
static uint8_t *value_begin(struct json_writer *w, size_t more)
{
    uint8_t *at = buffer_reserve(w->out, more + w->comma);
    if (at == NULL) return NULL;
    if (w->comma) *at++ = ',';
    w->comma = true;
    return at;
}

static void value_end(struct json_writer *w, const uint8_t *end)
{
    w->out->len = (size_t)(end - w->out->data);
}

static void open(struct json_writer *w, uint8_t c)
{
    separate(w);
    buffer_append_byte(w->out, c);
    w->comma = false;
}

static void close(struct json_writer *w, uint8_t c)
{
    buffer_append_byte(w->out, c);
    w->comma = true;
}

void json_begin_object(struct json_writer *w) { open(w, '{'); }
void json_end_object(struct json_writer *w) { close(w, '}'); }
void json_begin_array(struct json_writer *w) { open(w, '['); }
void json_end_array(struct json_writer *w) { close(w, ']'); }

void json_write_key(struct json_writer *w, struct slice name)
{
    uint8_t *at = value_begin(w, name.len + 3);
    if (at == NULL) return;
    *at++ = '"';
    memcpy(at, name.data, name.len), at += name.len;
    *at++ = '"';
    *at++ = ':';
    value_end(w, at);
    w->comma = false;
}

static void append_escape(struct buffer *out, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    switch (c) {
    case '"': buffer_append_str(out, "\\\""); return;
    case '\\': buffer_append_str(out, "\\\\"); return;
    case '\n': buffer_append_str(out, "\\n"); return;
    case '\r': buffer_append_str(out, "\\r"); return;
    case '\t': buffer_append_str(out, "\\t"); return;
    default: break;
    }
    char text[7] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15], 0};
    buffer_append_str(out, text);
}

void json_write_string(struct json_writer *w, struct slice text)
{
    separate(w);
    buffer_append_byte(w->out, '"');
    while (text.len != 0) {
        size_t plain = json_plain_len(text.data, text.len);
        buffer_append(w->out, text.data, plain);
        if (plain == text.len) break;
        append_escape(w->out, text.data[plain]);
        text = slice_of(text.data + plain + 1, text.len - plain - 1);
    }
    buffer_append_byte(w->out, '"');
}

void json_write_u64(struct json_writer *w, uint64_t v)
{
    separate(w);
    buffer_append_u64(w->out, v);
}

void json_write_bool(struct json_writer *w, bool v)
{
    separate(w);
    buffer_append_str(w->out, v ? "true" : "false");
}

void json_write_null(struct json_writer *w)
{
    separate(w);
    buffer_append_str(w->out, "null");
}

void json_write_id(struct json_writer *w, struct id id)
{
    uint8_t *at = value_begin(w, ID_TEXT_LEN + 2);
    if (at == NULL) return;
    *at++ = '"';
    id_format(id, (char *)at), at += ID_TEXT_LEN;
    *at++ = '"'; /* where id_format left a NUL */
    value_end(w, at);
}

void json_write_base64(struct json_writer *w, struct slice bytes)
{
    separate(w);
    buffer_append_byte(w->out, '"');
    buffer_append_base64(w->out, bytes);
    buffer_append_byte(w->out, '"');
}

void json_write_raw(struct json_writer *w, struct slice json)
{
    separate(w);
    buffer_append_slice(w->out, json);
}
