/* JSON reading: a strict check of the text, then jsmn's tokens over it.
 *
 * jsmn finds the tokens and is lenient about what stands between them and
 * inside primitives. So the text first passes `check`, a recursive descent
 * over the grammar of RFC 8259 that builds nothing; after it, whatever jsmn
 * reports is well formed (jsmn's own strict mode would only add a refusal of
 * numbers and words at the root). Both passes together cost less than half a
 * microsecond for a message of a few hundred bytes.
 *
 * Member names are compared as they stand in the text: a name written with
 * escapes matches none of ours and is ignored like any other unknown member.
 */
#include "wire/json.h"

#include "base/limits.h"
#include "base/text.h"

#define JSMN_STATIC
#define JSMN_PARENT_LINKS
#include <jsmn.h>

#include <stdio.h>

struct json_doc {
    const char *text;
    jsmntok_t *tokens;
    int count;
};

enum { TOKENS_FIRST = 48 };
#define INTEGER_MAX ((uint64_t)1 << 53)

/* ---- Grammar ------------------------------------------------------------ */

struct scan {
    const uint8_t *at, *end;
};

static void skip_space(struct scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r')) s->at++;
}

static bool take(struct scan *s, uint8_t c)
{
    if (s->at == s->end || *s->at != c) return false;
    s->at++;
    return true;
}

static bool hex4(struct scan *s, unsigned *out)
{
    unsigned v = 0;
    if (s->end - s->at < 4) return false;
    for (int i = 0; i < 4; i++) {
        uint8_t c = *s->at++;
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? c - 'a' + 10u
                         : c >= 'A' && c <= 'F' ? c - 'A' + 10u
                                                : 16u;
        if (digit == 16) return false;
        v = v << 4 | digit;
    }
    *out = v;
    return true;
}

/* After a backslash. A surrogate must be one half of a pair. */
static bool check_escape(struct scan *s, unsigned *code_out)
{
    if (s->at == s->end) return false;
    uint8_t c = *s->at++;
    switch (c) {
    case '"': case '\\': case '/': *code_out = c; return true;
    case 'b': *code_out = '\b'; return true;
    case 'f': *code_out = '\f'; return true;
    case 'n': *code_out = '\n'; return true;
    case 'r': *code_out = '\r'; return true;
    case 't': *code_out = '\t'; return true;
    case 'u': break;
    default: return false;
    }
    unsigned high, low;
    if (!hex4(s, &high) || (high >= 0xdc00 && high <= 0xdfff)) return false;
    if (high < 0xd800 || high > 0xdbff) {
        *code_out = high;
        return true;
    }
    if (!take(s, '\\') || !take(s, 'u') || !hex4(s, &low) || low < 0xdc00 || low > 0xdfff) return false;
    *code_out = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

static bool check_string(struct scan *s)
{
    if (!take(s, '"')) return false;
    while (s->at < s->end) {
        uint8_t c = *s->at++;
        if (c == '"') return true;
        unsigned code;
        if (c < 0x20 || (c == '\\' && !check_escape(s, &code))) return false;
    }
    return false;
}

static bool check_digits(struct scan *s)
{
    const uint8_t *from = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9') s->at++;
    return s->at != from;
}

static bool check_number(struct scan *s)
{
    (void)take(s, '-');
    if (!take(s, '0') && !check_digits(s)) return false;
    if (take(s, '.') && !check_digits(s)) return false;
    if (take(s, 'e') || take(s, 'E')) {
        if (!take(s, '+')) (void)take(s, '-');
        if (!check_digits(s)) return false;
    }
    return true;
}

static bool check_word(struct scan *s, const char *word)
{
    for (; *word; word++)
        if (!take(s, (uint8_t)*word)) return false;
    return true;
}

static bool check_value(struct scan *s, unsigned depth);

static bool check_members(struct scan *s, unsigned depth, bool object)
{
    uint8_t close = object ? '}' : ']';
    if (depth == SOTTO_JSON_DEPTH_MAX) return false;
    s->at++;
    skip_space(s);
    if (take(s, close)) return true;
    for (;;) {
        if (object) {
            skip_space(s);
            if (!check_string(s)) return false;
            skip_space(s);
            if (!take(s, ':')) return false;
        }
        if (!check_value(s, depth + 1)) return false;
        skip_space(s);
        if (take(s, close)) return true;
        if (!take(s, ',')) return false;
    }
}

static bool check_value(struct scan *s, unsigned depth)
{
    skip_space(s);
    if (s->at == s->end) return false;
    switch (*s->at) {
    case '{': return check_members(s, depth, true);
    case '[': return check_members(s, depth, false);
    case '"': return check_string(s);
    case 't': return check_word(s, "true");
    case 'f': return check_word(s, "false");
    case 'n': return check_word(s, "null");
    default: return check_number(s);
    }
}

static bool check(struct slice text)
{
    struct scan s = {text.data, text.data + text.len};
    if (!utf8_valid(text) || !check_value(&s, 0)) return false;
    skip_space(&s);
    return s.at == s.end;
}

/* ---- Documents ---------------------------------------------------------- */

enum sotto_err json_parse(struct arena *arena, struct slice text, struct json *root_out)
{
    if (text.len == 0 || text.len > SOTTO_RECORD_MAX * 2 || !check(text)) return SOTTO_ERR_INVALID;
    struct json_doc *doc = arena_alloc(arena, sizeof(*doc));
    if (doc == NULL) return SOTTO_ERR_FULL;
    doc->text = (const char *)text.data;
    for (unsigned size = TOKENS_FIRST;; size *= 4) {
        if (size > SOTTO_JSON_TOKENS_MAX) size = SOTTO_JSON_TOKENS_MAX;
        doc->tokens = arena_alloc(arena, size * sizeof(jsmntok_t));
        if (doc->tokens == NULL) return SOTTO_ERR_FULL;
        jsmn_parser parser;
        jsmn_init(&parser);
        doc->count = jsmn_parse(&parser, doc->text, text.len, doc->tokens, size);
        if (doc->count > 0) break;
        if (doc->count != JSMN_ERROR_NOMEM || size == SOTTO_JSON_TOKENS_MAX) return SOTTO_ERR_INVALID;
    }
    *root_out = (struct json){doc, 0};
    return SOTTO_OK;
}

static const jsmntok_t *token(struct json v)
{
    return &v.doc->tokens[v.token];
}

static const struct json absent = {NULL, 0};

enum json_type json_type(struct json v)
{
    if (v.doc == NULL) return JSON_ABSENT;
    const jsmntok_t *t = token(v);
    switch (t->type) {
    case JSMN_OBJECT: return JSON_OBJECT;
    case JSMN_ARRAY: return JSON_ARRAY;
    case JSMN_STRING: return JSON_STRING;
    default: break;
    }
    char c = v.doc->text[t->start];
    return c == 'n' ? JSON_NULL : c == 't' || c == 'f' ? JSON_BOOL : JSON_NUMBER;
}

/* Index of the first token behind the value at `index`. */
static int after(const struct json_doc *doc, int index)
{
    int end = doc->tokens[index].end;
    if (doc->tokens[index].type == JSMN_STRING || doc->tokens[index].type == JSMN_PRIMITIVE) return index + 1;
    do
        index++;
    while (index < doc->count && doc->tokens[index].start < end);
    return index;
}

static struct slice token_text(const struct json_doc *doc, int index)
{
    const jsmntok_t *t = &doc->tokens[index];
    return slice_of(doc->text + t->start, (size_t)(t->end - t->start));
}

struct json json_get(struct json v, const char *name)
{
    if (json_type(v) != JSON_OBJECT) return absent;
    struct slice wanted = slice_str(name);
    int key = v.token + 1;
    for (int left = token(v)->size; left > 0; left--) {
        if (slice_eq(token_text(v.doc, key), wanted)) return (struct json){v.doc, key + 1};
        key = after(v.doc, key + 1);
    }
    return absent;
}

size_t json_count(struct json v)
{
    enum json_type type = json_type(v);
    return type == JSON_OBJECT || type == JSON_ARRAY ? (size_t)token(v)->size : 0;
}

struct json json_first(struct json array)
{
    if (json_type(array) != JSON_ARRAY || token(array)->size == 0) return absent;
    return (struct json){array.doc, array.token + 1};
}

struct json json_next(struct json array, struct json element)
{
    int next = after(array.doc, element.token);
    if (next >= array.doc->count || array.doc->tokens[next].start >= token(array)->end) return absent;
    return (struct json){array.doc, next};
}

struct slice json_raw(struct json v)
{
    if (v.doc == NULL) return slice_of(NULL, 0);
    struct slice raw = token_text(v.doc, v.token);
    if (token(v)->type == JSMN_STRING) return slice_of(raw.data - 1, raw.len + 2);
    return raw;
}

static size_t put_utf8(uint8_t *out, unsigned code)
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (uint8_t)(0xc0 | code >> 6);
        out[1] = (uint8_t)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (uint8_t)(0xe0 | code >> 12);
        out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | code >> 18);
    out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (code & 0x3f));
    return 4;
}

enum sotto_err json_string(struct arena *arena, struct json v, struct slice *out)
{
    if (json_type(v) != JSON_STRING) return SOTTO_ERR_INVALID;
    struct slice raw = token_text(v.doc, v.token);
    if (raw.len == 0 || memchr(raw.data, '\\', raw.len) == NULL) {
        *out = raw;
        return SOTTO_OK;
    }
    uint8_t *text = arena_alloc(arena, raw.len);
    if (text == NULL) return SOTTO_ERR_FULL;
    struct scan s = {raw.data, raw.data + raw.len};
    size_t len = 0;
    while (s.at < s.end) {
        uint8_t c = *s.at++;
        unsigned code = c;
        if (c != '\\') {
            text[len++] = c;
            continue;
        }
        /* A NUL inside a text helps nobody and hurts C. */
        if (!check_escape(&s, &code) || code == 0) return SOTTO_ERR_INVALID;
        len += put_utf8(text + len, code);
    }
    *out = slice_of(text, len);
    return SOTTO_OK;
}

enum sotto_err json_u64(struct json v, uint64_t *out)
{
    if (json_type(v) != JSON_NUMBER) return SOTTO_ERR_INVALID;
    struct slice raw = token_text(v.doc, v.token);
    uint64_t value = 0;
    if (raw.len > 16) return SOTTO_ERR_INVALID;
    for (size_t i = 0; i < raw.len; i++) {
        if (raw.data[i] < '0' || raw.data[i] > '9') return SOTTO_ERR_INVALID;
        value = value * 10 + (raw.data[i] - '0');
    }
    if (value > INTEGER_MAX) return SOTTO_ERR_INVALID;
    *out = value;
    return SOTTO_OK;
}

enum sotto_err json_bool(struct json v, bool *out)
{
    if (json_type(v) != JSON_BOOL) return SOTTO_ERR_INVALID;
    *out = v.doc->text[token(v)->start] == 't';
    return SOTTO_OK;
}

/* ---- Decoding by table --------------------------------------------------- */

static enum sotto_err wrong(struct buffer *why, const struct json_field *f, const char *what)
{
    buffer_clear(why);
    buffer_printf(why, "\"%s\" %s.", f->name, what);
    return SOTTO_ERR_INVALID;
}

static enum sotto_err check_length(const struct json_field *f, size_t len, const char *unit, struct buffer *why)
{
    if (len >= f->min && len <= f->max) return SOTTO_OK;
    char what[96];
    if (f->min == f->max)
        snprintf(what, sizeof(what), "must have %zu %s", (size_t)f->min, unit);
    else
        snprintf(what, sizeof(what), "must have %zu to %zu %s", (size_t)f->min, (size_t)f->max, unit);
    return wrong(why, f, what);
}

static enum sotto_err decode_base64(struct arena *arena, const struct json_field *f, struct slice text,
                                    struct slice *out, struct buffer *why)
{
    if (text.len > (f->max + 2) / 3 * 4) return check_length(f, f->max + 1, "bytes", why);
    uint8_t *bytes = arena_alloc(arena, base64_decoded_max(text.len));
    if (bytes == NULL) return SOTTO_ERR_FULL;
    size_t len;
    if (base64_decode(text, bytes, &len) != SOTTO_OK) return wrong(why, f, "is not base64");
    *out = slice_of(bytes, len);
    return check_length(f, len, "bytes", why);
}

static enum sotto_err decode_text(struct arena *arena, const struct json_field *f, struct json v, void *to,
                                  struct buffer *why)
{
    struct slice text;
    enum sotto_err err = json_string(arena, v, &text);
    if (err == SOTTO_ERR_FULL) return err;
    if (err != SOTTO_OK) return wrong(why, f, "must be a string without NUL");
    if (f->kind == JF_BASE64) return decode_base64(arena, f, text, to, why);
    if (f->kind == JF_ID)
        return id_parse(text, to) == SOTTO_OK ? SOTTO_OK : wrong(why, f, "must be a UUID");
    err = check_length(f, text.len, "bytes", why);
    if (err == SOTTO_OK) *(struct slice *)to = text;
    return err;
}

static enum sotto_err decode_number(const struct json_field *f, struct json v, uint64_t *to, struct buffer *why)
{
    uint64_t value;
    if (json_u64(v, &value) != SOTTO_OK) return wrong(why, f, "must be a whole number");
    if (value < f->min || value > f->max) {
        char what[96];
        snprintf(what, sizeof(what), "must be from %llu to %llu", (unsigned long long)f->min,
                 (unsigned long long)f->max);
        return wrong(why, f, what);
    }
    *to = value;
    return SOTTO_OK;
}

static enum sotto_err decode_field(struct arena *arena, const struct json_field *f, struct json v, uint8_t *out,
                                   struct buffer *why)
{
    void *to = out + f->offset;
    enum json_type type = json_type(v);
    switch (f->kind) {
    case JF_STRING:
    case JF_BASE64:
    case JF_ID:
        return decode_text(arena, f, v, to, why);
    case JF_U64:
        return decode_number(f, v, to, why);
    case JF_BOOL:
        return json_bool(v, to) == SOTTO_OK ? SOTTO_OK : wrong(why, f, "must be true or false");
    case JF_JSON:
        if (type != JSON_ARRAY && type != JSON_OBJECT) return wrong(why, f, "must be a list or an object");
        if (json_count(v) > f->max) return wrong(why, f, "has too many elements");
        *(struct json *)to = v;
        return SOTTO_OK;
    }
    return SOTTO_ERR_INVALID;
}

enum sotto_err json_decode(struct arena *arena, struct json object, const struct json_field *fields,
                           size_t count, void *out, struct buffer *why_out)
{
    SOTTO_ASSERT(count <= 64);
    if (json_type(object) != JSON_OBJECT) {
        buffer_clear(why_out);
        buffer_append_str(why_out, "An object was expected.");
        return SOTTO_ERR_INVALID;
    }
    uint64_t seen = 0, given = 0;
    int key = object.token + 1;
    for (int left = token(object)->size; left > 0; left--, key = after(object.doc, key + 1)) {
        struct slice name = token_text(object.doc, key);
        size_t i = 0;
        while (i < count && !slice_is(name, fields[i].name)) i++;
        if (i == count) continue;
        if (seen & (uint64_t)1 << i) return wrong(why_out, &fields[i], "is there twice");
        seen |= (uint64_t)1 << i;
        struct json v = {object.doc, key + 1};
        if (json_type(v) == JSON_NULL) continue;
        given |= (uint64_t)1 << i;
        enum sotto_err err = decode_field(arena, &fields[i], v, out, why_out);
        if (err != SOTTO_OK) return err;
        if (fields[i].present_offset != SIZE_MAX) *(bool *)((uint8_t *)out + fields[i].present_offset) = true;
    }
    for (size_t i = 0; i < count; i++)
        if (fields[i].required && !(given & (uint64_t)1 << i)) return wrong(why_out, &fields[i], "is missing");
    return SOTTO_OK;
}
