/* JSON: whatever parses can be walked, and written again it means the same.
 *
 * The text is copied into memory of its own size, so that a sanitizer sees
 * reads past its end. What was accepted is written out by our writer, parsed
 * again and written again: both outputs must be equal. The same text goes
 * through the decoder by table with a field of every kind. jsmn is the second
 * opinion on what stands where: it takes what we accept, and for each of its
 * names json_get gives the value that jsmn gives. */
#include "base/limits.h"
#include "base/text.h"
#include "wire/json.h"

#define JSMN_STATIC
#define JSMN_PARENT_LINKS
#include <jsmn.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct fields {
    struct slice name, data;
    struct id id;
    uint64_t count;
    bool urgent, has_count;
    struct json list;
};
static const struct json_field table[] = {
    {"name", JF_STRING, false, offsetof(struct fields, name), 1, 64, SIZE_MAX},
    {"data", JF_BASE64, false, offsetof(struct fields, data), 0, 128, SIZE_MAX},
    {"id", JF_ID, false, offsetof(struct fields, id), 0, 0, SIZE_MAX},
    {"count", JF_U64, false, offsetof(struct fields, count), 0, 1000, offsetof(struct fields, has_count)},
    {"urgent", JF_BOOL, false, offsetof(struct fields, urgent), 0, 0, SIZE_MAX},
    {"list", JF_JSON, false, offsetof(struct fields, list), 0, 8, SIZE_MAX},
};

static void rewrite(struct arena *arena, struct json v, struct json_writer *w)
{
    struct slice s;
    bool b;
    switch (json_type(v)) {
    case JSON_ABSENT: abort();
    case JSON_NULL: json_write_null(w); break;
    case JSON_BOOL:
        SOTTO_ASSERT(json_bool(v, &b) == SOTTO_OK);
        json_write_bool(w, b);
        break;
    case JSON_NUMBER: {
        uint64_t n;
        if (json_u64(v, &n) == SOTTO_OK)
            json_write_u64(w, n);
        else
            json_write_raw(w, json_raw(v));
        break;
    }
    case JSON_STRING:
        if (json_string(arena, v, &s) == SOTTO_OK) {
            SOTTO_ASSERT(utf8_valid(s));
            json_write_string(w, s);
        } else {
            json_write_raw(w, json_raw(v)); /* a NUL inside */
        }
        break;
    case JSON_ARRAY: {
        size_t count = 0;
        json_begin_array(w);
        for (struct json e = json_first(v); json_type(e) != JSON_ABSENT; e = json_next(v, e), count++)
            rewrite(arena, e, w);
        json_end_array(w);
        SOTTO_ASSERT(count == json_count(v));
        break;
    }
    case JSON_OBJECT:
        /* Members can be had by name only: as they stood. */
        json_write_raw(w, json_raw(v));
        break;
    }
}

static struct slice jsmn_raw(const char *text, const jsmntok_t *t)
{
    int quote = t->type == JSMN_STRING;
    return slice_of(text + t->start - quote, (size_t)(t->end - t->start + 2 * quote));
}

static int jsmn_after(const jsmntok_t *tokens, int count, int index)
{
    int end = tokens[index].end;
    do index++;
    while (index < count && tokens[index].start < end);
    return index;
}

/* The value v stands in `tokens` at `index`, and so does all in it. */
static void compare(struct json v, const char *text, const jsmntok_t *tokens, int count, int index)
{
    const jsmntok_t *t = &tokens[index];
    SOTTO_ASSERT(slice_eq(json_raw(v), jsmn_raw(text, t)) && json_raw(v).data == jsmn_raw(text, t).data);
    if (t->type != JSMN_OBJECT && t->type != JSMN_ARRAY) return;
    SOTTO_ASSERT(json_count(v) == (size_t)t->size);
    SOTTO_ASSERT((json_type(v) == JSON_OBJECT) == (t->type == JSMN_OBJECT));
    struct json e = json_first(v);
    for (int at = index + 1, left = t->size; left > 0; left--) {
        if (t->type == JSMN_ARRAY) {
            compare(e, text, tokens, count, at);
            e = json_next(v, e);
            at = jsmn_after(tokens, count, at);
            continue;
        }
        char name[64];
        int len = tokens[at].end - tokens[at].start;
        if (len < (int)sizeof(name)) {
            memcpy(name, text + tokens[at].start, (size_t)len);
            name[len] = 0;
            /* The first of those with that name, which is this one or before it. */
            struct slice raw = json_raw(json_get(v, name));
            SOTTO_ASSERT(raw.data != NULL && raw.data <= jsmn_raw(text, &tokens[at + 1]).data);
            if (raw.data == jsmn_raw(text, &tokens[at + 1]).data)
                compare(json_get(v, name), text, tokens, count, at + 1);
        }
        at = jsmn_after(tokens, count, at + 1);
    }
    if (t->type == JSMN_ARRAY) SOTTO_ASSERT(json_type(e) == JSON_ABSENT);
}

static void compare_with_jsmn(struct json root, struct slice text)
{
    jsmntok_t *tokens = malloc(SOTTO_JSON_TOKENS_MAX * sizeof(*tokens));
    if (tokens == NULL) abort();
    jsmn_parser parser;
    jsmn_init(&parser);
    int count = jsmn_parse(&parser, (const char *)text.data, text.len, tokens, SOTTO_JSON_TOKENS_MAX);
    SOTTO_ASSERT(count > 0);
    compare(root, (const char *)text.data, tokens, count, 0);
    free(tokens);
}

static bool pass(struct slice text, struct buffer *out)
{
    struct arena arena;
    struct json root;
    arena_init(&arena, NULL, 0, 4u << 20);
    bool ok = json_parse(&arena, text, &root) == SOTTO_OK;
    if (ok) {
        struct json_writer w = json_writer_of(out);
        rewrite(&arena, root, &w);
        compare_with_jsmn(root, text);
        struct fields f = {.count = 0};
        struct buffer why;
        buffer_init(&why, 1024);
        if (json_decode(&arena, root, table, sizeof(table) / sizeof(table[0]), &f, &why) == SOTTO_OK) {
            SOTTO_ASSERT(f.name.len <= 64 && f.data.len <= 128 && f.count <= 1000);
            SOTTO_ASSERT(f.list.doc == NULL || json_count(f.list) <= 8);
            SOTTO_ASSERT(f.has_count == (json_type(json_get(root, "count")) == JSON_NUMBER));
        } else {
            SOTTO_ASSERT(why.len != 0 && utf8_valid(buffer_slice(&why)));
        }
        buffer_deinit(&why);
    }
    arena_deinit(&arena);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct buffer first, second;
    uint8_t *text = malloc(len == 0 ? 1 : len);
    if (text == NULL) abort();
    if (len != 0) memcpy(text, data, len);
    buffer_init(&first, 8u << 20);
    buffer_init(&second, 8u << 20);
    if (pass(slice_of(text, len), &first)) {
        SOTTO_ASSERT(pass(buffer_slice(&first), &second));
        SOTTO_ASSERT(slice_eq(buffer_slice(&first), buffer_slice(&second)));
    }
    buffer_deinit(&first);
    buffer_deinit(&second);
    free(text);
    return 0;
}
