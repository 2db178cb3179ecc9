/* JSON: whatever parses can be walked, and written again it means the same.
 *
 * The text is copied into memory of its own size, so that a sanitizer sees
 * reads past its end. What was accepted is written out by our writer, parsed
 * again and written again: both outputs must be equal. The same text goes
 * through the decoder by table with a field of every kind. */
#include "base/limits.h"
#include "base/text.h"
#include "wire/json.h"

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

static bool pass(struct slice text, struct buffer *out)
{
    struct arena arena;
    struct json root;
    arena_init(&arena, NULL, 0, 4u << 20);
    bool ok = json_parse(&arena, text, &root) == SOTTO_OK;
    if (ok) {
        struct json_writer w = json_writer_of(out);
        rewrite(&arena, root, &w);
        struct fields f = {.count = 0};
        struct buffer why;
        buffer_init(&why, 1024);
        if (json_decode(&arena, root, table, sizeof(table) / sizeof(table[0]), &f, &why, NULL) == SOTTO_OK) {
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
