/* JSON writing: punctuation is ours, commas come by themselves. */
#include "wire/json.h"

#include "base/text.h"

static void separate(struct json_writer *w)
{
    if (w->comma) buffer_append_byte(w->out, ',');
    w->comma = true;
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

void json_key(struct json_writer *w, const char *name)
{
    size_t len = strlen(name);
    uint8_t *at = buffer_reserve(w->out, len + 4);
    if (at == NULL) return;
    uint8_t *from = at;
    if (w->comma) *at++ = ',';
    *at++ = '"';
    memcpy(at, name, len), at += len;
    *at++ = '"';
    *at++ = ':';
    w->out->len += (size_t)(at - from);
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
    size_t from = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        buffer_append(w->out, text.data + from, i - from);
        append_escape(w->out, c);
        from = i + 1;
    }
    if (text.len != from) buffer_append(w->out, text.data + from, text.len - from);
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
    separate(w);
    buffer_append_byte(w->out, '"');
    buffer_append_id(w->out, id);
    buffer_append_byte(w->out, '"');
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

void json_put_string(struct json_writer *w, const char *key, struct slice text)
{
    json_key(w, key);
    json_write_string(w, text);
}

void json_put_cstr(struct json_writer *w, const char *key, const char *text)
{
    json_put_string(w, key, slice_str(text));
}

void json_put_u64(struct json_writer *w, const char *key, uint64_t v)
{
    json_key(w, key);
    json_write_u64(w, v);
}

void json_put_bool(struct json_writer *w, const char *key, bool v)
{
    json_key(w, key);
    json_write_bool(w, v);
}

void json_put_id(struct json_writer *w, const char *key, struct id id)
{
    json_key(w, key);
    json_write_id(w, id);
}

void json_put_base64(struct json_writer *w, const char *key, struct slice bytes)
{
    json_key(w, key);
    json_write_base64(w, bytes);
}
