/* From a type, or a method and a path, to an operation; and from path, query
 * and body to one object of fields.
 *
 * The merging is of text: `{` path and query parameters as JSON, then the
 * members of the body's object as they stand. The parser sees one object, so a
 * member that comes twice is found by the one rule that there is.
 */
#include "gateway/call_private.h"

#include <stdlib.h>

struct op_index {
    const struct operation *operations;
    size_t count;
    size_t mask;
    uint16_t *slots; /* by hash of the type: index + 1 */
};

static uint32_t type_hash(struct slice s)
{
    uint32_t h = 2166136261U;
    for (size_t i = 0; i < s.len; i++) h = (h ^ s.data[i]) * 16777619U;
    return h ^ h >> 15;
}

struct op_index *op_index_create(const struct operation *operations)
{
    struct op_index *i = sotto_zalloc(sizeof(*i));
    i->operations = operations;
    while (operations[i->count].type != NULL) i->count++;
    size_t size = 64;
    while (size < 4 * i->count) size *= 2;
    i->mask = size - 1;
    i->slots = sotto_zalloc(size * sizeof(*i->slots));
    for (size_t n = 0; n < i->count; n++) {
        size_t at = type_hash(slice_str(operations[n].type)) & i->mask;
        while (i->slots[at] != 0) at = (at + 1) & i->mask;
        i->slots[at] = (uint16_t)(n + 1);
    }
    return i;
}

void op_index_destroy(struct op_index **index)
{
    if (*index == NULL) return;
    free((*index)->slots);
    free(*index);
    *index = NULL;
}

const struct operation *op_by_type(const struct op_index *i, struct slice type)
{
    for (size_t at = type_hash(type) & i->mask; i->slots[at] != 0; at = (at + 1) & i->mask) {
        const struct operation *op = &i->operations[i->slots[at] - 1];
        if (slice_is(type, op->type)) return op;
    }
    return NULL;
}

/* The next segment of a path, without its slash. */
static bool segment_next(struct slice *path, struct slice *segment_out)
{
    if (path->len == 0 || path->data[0] != '/') return false;
    const uint8_t *start = path->data + 1;
    const uint8_t *end = path->len > 1 ? memchr(start, '/', path->len - 1) : NULL;
    size_t len = end != NULL ? (size_t)(end - start) : path->len - 1;
    *segment_out = slice_of(start, len);
    *path = slice_of(start + len, path->len - 1 - len);
    return true;
}

static bool path_match(const char *pattern, struct slice path, struct route *r)
{
    struct slice rest = slice_str(pattern), want, have;
    r->params_count = 0;
    while (segment_next(&rest, &want)) {
        if (!segment_next(&path, &have)) return false;
        if (want.len < 2 || want.data[0] != '{') {
            if (!slice_eq(want, have)) return false;
            continue;
        }
        if (have.len == 0) return false;
        SOTTO_ASSERT(r->params_count < ROUTE_PARAMS_MAX);
        struct slice name = slice_of(want.data + 1, want.len - 2);
        bool number = name.len > 2 && memcmp(name.data + name.len - 2, ":n", 2) == 0;
        if (number) name.len -= 2;
        r->params[r->params_count].name = name;
        r->params[r->params_count].value = have;
        r->params[r->params_count++].number = number;
    }
    return path.len == 0;
}

static void allow_add(char allow[ROUTE_ALLOW_MAX], enum http_method method)
{
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    if (allow[0] != '\0') strcat(allow, ", ");
    strcat(allow, names[method]);
    if (method == HTTP_M_GET) strcat(allow, ", HEAD");
}

void route_find(const struct op_index *i, enum http_method method, struct slice path, struct route *route_out)
{
    struct route *r = route_out;
    struct route found;
    memset(r, 0, sizeof(*r));
    if (method == HTTP_M_HEAD) method = HTTP_M_GET;
    for (size_t n = 0; n < i->count; n++) {
        const struct operation *op = &i->operations[n];
        if (op->path == NULL || !path_match(op->path, path, &found)) continue;
        r->path_known = true;
        allow_add(r->allow, op->method);
        if (op->method != method) continue;
        r->op = op;
        r->params_count = found.params_count;
        memcpy(r->params, found.params, sizeof(r->params));
    }
    if (r->path_known) strcat(r->allow, ", OPTIONS");
}

static bool all_digits(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] < '0' || s.data[i] > '9') return false;
    /* JSON knows no leading zeros; neither do our numbers. */
    return s.len > 0 && s.len <= 16 && (s.len == 1 || s.data[0] != '0');
}

static bool param_write(struct json_writer *w, struct arena *arena, struct slice name, struct slice escaped,
                        bool number, bool query)
{
    uint8_t *text = arena_alloc(arena, escaped.len + 1);
    char *key = arena_alloc(arena, name.len + 1);
    size_t len;
    if (text == NULL || key == NULL || !http_unescape(escaped, query, text, &len)) return false;
    memcpy(key, name.data, name.len);
    key[name.len] = '\0';
    struct slice value = slice_of(text, len);
    if (number && !all_digits(value)) return false;
    json_key(w, key);
    if (number) json_write_raw(w, value);
    else json_write_string(w, value);
    return true;
}

static const char *name_copy(struct arena *arena, struct slice name)
{
    return (const char *)arena_copy(arena, name).data;
}

static struct slice trim(struct slice s)
{
    while (s.len > 0 && strchr(" \t\r\n", s.data[0]) != NULL && s.data[0] != '\0') s.data++, s.len--;
    while (s.len > 0 && s.data[s.len - 1] != '\0' && strchr(" \t\r\n", s.data[s.len - 1]) != NULL) s.len--;
    return s;
}

/* "since:n limit:n": takes the next entry off the front. */
static bool spec_next(const char **spec, struct slice *name_out, bool *number_out)
{
    while (**spec == ' ') (*spec)++;
    if (**spec == '\0') return false;
    const char *colon = strchr(*spec, ':');
    SOTTO_ASSERT(colon != NULL);
    *name_out = slice_of(*spec, (size_t)(colon - *spec));
    *number_out = colon[1] == 'n';
    *spec = colon + 2;
    return true;
}

enum problem route_merge(const struct route *r, struct slice query, struct slice body, struct arena *arena,
                         struct buffer *out, const char **field_out)
{
    struct json_writer w = json_writer_of(out);
    json_begin_object(&w);
    for (size_t i = 0; i < r->params_count; i++) {
        if (param_write(&w, arena, r->params[i].name, r->params[i].value, r->params[i].number, false)) continue;
        *field_out = name_copy(arena, r->params[i].name);
        return PROBLEM_BAD_FIELD;
    }
    const char *spec = r->op->query != NULL ? r->op->query : "";
    struct slice name;
    bool number;
    while (spec_next(&spec, &name, &number)) {
        const char *key = name_copy(arena, name);
        if (key == NULL) return PROBLEM_TOO_LARGE;
        struct slice value = http_query_get(query, key);
        if (value.data == NULL) continue;
        if (param_write(&w, arena, name, value, number, true)) continue;
        *field_out = key;
        return PROBLEM_BAD_FIELD;
    }
    body = trim(body);
    if (body.len > 0) {
        if (body.len < 2 || body.data[0] != '{' || body.data[body.len - 1] != '}') return PROBLEM_BAD_JSON;
        struct slice members = trim(slice_of(body.data + 1, body.len - 2));
        if (members.len > 0) {
            if (w.comma) buffer_append_byte(out, ',');
            buffer_append_slice(out, members);
            w.comma = true;
        }
    }
    json_end_object(&w);
    return out->overflow ? PROBLEM_TOO_LARGE : PROBLEM_NONE;
}
