/* JSON reading: a strict check of the text, then jsmn's tokens over it.
 *
 * jsmn finds the tokens and is lenient about what stands between them and
 * inside primitives. So the text first passes `check`, a recursive descent
 * over the grammar of RFC 8259 that builds nothing; after it, whatever jsmn
 * reports is well formed (jsmn's own strict mode would only add a refusal of
 * numbers and words at the root).
 *
 * A text is mostly strings: the check passes their plain characters sixteen at
 * a time (json_plain.h). UTF-8 is judged before, over the whole text, as that is
 * the faster of the two when it is ASCII.
 *
 * Member names are compared as they stand in the text: a name written with
 * escapes matches none of ours and is ignored like any other unknown member.
 */
#include "wire/json.h"

#include "base/limits.h"
#include "base/text.h"
#include "wire/json_plain.h"

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

/* ---- Grammar -------------------------------------------------------------
 * Each pass_ function takes the place where something begins and the end of the
 * text, and returns the place behind it, or NULL if it is not there. */

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static const uint8_t *pass_space(const uint8_t *at, const uint8_t *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    return at;
}

static const uint8_t *pass_hex4(const uint8_t *at, const uint8_t *end, unsigned *out)
{
    unsigned v = 0;
    if (end - at < 4) return NULL;
    for (int i = 0; i < 4; i++) {
        uint8_t c = *at++;
        unsigned digit = is_digit(c)            ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? c - 'a' + 10u
                         : c >= 'A' && c <= 'F' ? c - 'A' + 10u
                                                : 16u;
        if (digit == 16) return NULL;
        v = v << 4 | digit;
    }
    *out = v;
    return at;
}

/* After a backslash. A surrogate must be one half of a pair. */
static const uint8_t *pass_escape(const uint8_t *at, const uint8_t *end, unsigned *code_out)
{
    if (at == end) return NULL;
    uint8_t c = *at++;
    switch (c) {
    case '"': case '\\': case '/': *code_out = c; return at;
    case 'b': *code_out = '\b'; return at;
    case 'f': *code_out = '\f'; return at;
    case 'n': *code_out = '\n'; return at;
    case 'r': *code_out = '\r'; return at;
    case 't': *code_out = '\t'; return at;
    case 'u': break;
    default: return NULL;
    }
    unsigned high, low;
    at = pass_hex4(at, end, &high);
    if (at == NULL || (high >= 0xdc00 && high <= 0xdfff)) return NULL;
    if (high < 0xd800 || high > 0xdbff) {
        *code_out = high;
        return at;
    }
    if (end - at < 2 || at[0] != '\\' || at[1] != 'u') return NULL;
    at = pass_hex4(at + 2, end, &low);
    if (at == NULL || low < 0xdc00 || low > 0xdfff) return NULL;
    *code_out = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    return at;
}

static const uint8_t *pass_string(const uint8_t *at, const uint8_t *end)
{
    if (at == end || *at++ != '"') return NULL;
    for (;;) {
        unsigned code;
        at += json_plain_len(at, (size_t)(end - at));
        if (at == end) return NULL;
        uint8_t c = *at++;
        if (c == '"') return at;
        if (c != '\\' || (at = pass_escape(at, end, &code)) == NULL) return NULL;
    }
}

static const uint8_t *pass_digits(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *from = at;
    while (at < end && is_digit(*at)) at++;
    return at != from ? at : NULL;
}

static const uint8_t *pass_number(const uint8_t *at, const uint8_t *end)
{
    if (at < end && *at == '-') at++;
    if (at < end && *at == '0') at++;
    else if ((at = pass_digits(at, end)) == NULL) return NULL;
    if (at < end && *at == '.' && (at = pass_digits(at + 1, end)) == NULL) return NULL;
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        at = pass_digits(at, end);
    }
    return at;
}

static const uint8_t *pass_word(const uint8_t *at, const uint8_t *end, struct slice word)
{
    if ((size_t)(end - at) < word.len || memcmp(at, word.data, word.len) != 0) return NULL;
    return at + word.len;
}

static const uint8_t *pass_value(const uint8_t *at, const uint8_t *end, unsigned depth);

static const uint8_t *pass_name(const uint8_t *at, const uint8_t *end)
{
    at = pass_string(pass_space(at, end), end);
    if (at == NULL) return NULL;
    at = pass_space(at, end);
    return at < end && *at == ':' ? at + 1 : NULL;
}

static const uint8_t *pass_container(const uint8_t *at, const uint8_t *end, unsigned depth)
{
    bool object = *at == '{';
    uint8_t close = object ? '}' : ']';
    if (depth == SOTTO_JSON_DEPTH_MAX) return NULL;
    at = pass_space(at + 1, end);
    if (at < end && *at == close) return at + 1;
    for (;;) {
        if (object && (at = pass_name(at, end)) == NULL) return NULL;
        at = pass_value(at, end, depth + 1);
        if (at == NULL) return NULL;
        at = pass_space(at, end);
        if (at == end) return NULL;
        if (*at == close) return at + 1;
        if (*at++ != ',') return NULL;
    }
}

static const uint8_t *pass_value(const uint8_t *at, const uint8_t *end, unsigned depth)
{
    at = pass_space(at, end);
    if (at == end) return NULL;
    switch (*at) {
    case '{':
    case '[': return pass_container(at, end, depth);
    case '"': return pass_string(at, end);
    case 't': return pass_word(at, end, SLICE_LIT("true"));
    case 'f': return pass_word(at, end, SLICE_LIT("false"));
    case 'n': return pass_word(at, end, SLICE_LIT("null"));
    default: return pass_number(at, end);
    }
}

static bool check(struct slice text)
{
    const uint8_t *end = text.data + text.len;
    if (!utf8_valid(text)) return false;
    const uint8_t *at = pass_value(text.data, end, 0);
    return at != NULL && pass_space(at, end) == end;
}

/* ---- Documents ---------------------------------------------------------- */

unsigned json_tokens_bound(struct slice text)
{
    unsigned bound = 1; /* before each of the others there is one of these */
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        bound += c == ',' || c == ':' || c == '[' || c == '{';
    }
    return bound;
}

enum sotto_err json_parse(struct arena *arena, struct slice text, struct json *root_out)
{
    return json_parse_up_to(arena, text, SOTTO_JSON_TOKENS_MAX, root_out);
}

enum sotto_err json_parse_up_to(struct arena *arena, struct slice text, unsigned tokens_max, struct json *root_out)
{
    if (text.len == 0 || text.len > SOTTO_RECORD_MAX * 2 || !check(text)) return SOTTO_ERR_INVALID;
    struct json_doc *doc = arena_alloc(arena, sizeof(*doc));
    if (doc == NULL) return SOTTO_ERR_FULL;
    doc->text = (const char *)text.data;
    for (unsigned size = TOKENS_FIRST;; size *= 4) {
        if (size > tokens_max) size = tokens_max;
        doc->tokens = arena_alloc(arena, size * sizeof(jsmntok_t));
        if (doc->tokens == NULL) return SOTTO_ERR_FULL;
        jsmn_parser parser;
        jsmn_init(&parser);
        doc->count = jsmn_parse(&parser, doc->text, text.len, doc->tokens, size);
        if (doc->count > 0) break;
        if (doc->count != JSMN_ERROR_NOMEM || size == tokens_max) return SOTTO_ERR_INVALID;
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

/* The name that stands at `index`. Most differ from `wanted` in their first
 * character; there is no NUL in a text. */
static bool name_is(const struct json_doc *doc, int index, const char *wanted)
{
    struct slice name = token_text(doc, index);
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] != (uint8_t)wanted[i]) return false;
    return wanted[name.len] == 0;
}

struct json json_get(struct json v, const char *name)
{
    if (json_type(v) != JSON_OBJECT) return absent;
    int key = v.token + 1;
    for (int left = token(v)->size; left > 0; left--) {
        if (name_is(v.doc, key, name)) return (struct json){v.doc, key + 1};
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
    return token(v)->type == JSMN_STRING ? slice_of(raw.data - 1, raw.len + 2) : raw;
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
    const uint8_t *at = raw.data, *end = at + raw.len;
    size_t len = 0;
    while (at < end) {
        uint8_t c = *at++;
        unsigned code;
        if (c != '\\') {
            text[len++] = c;
            continue;
        }
        at = pass_escape(at, end, &code);
        /* A NUL inside a text helps nobody and hurts C. */
        if (at == NULL || code == 0) return SOTTO_ERR_INVALID;
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
        if (!is_digit(raw.data[i])) return SOTTO_ERR_INVALID;
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
                           size_t count, void *out, struct buffer *why_out, const char **field_out)
{
    SOTTO_ASSERT(count <= 64);
    const char *ignored;
    if (field_out == NULL) field_out = &ignored;
    *field_out = NULL;
    if (json_type(object) != JSON_OBJECT) {
        buffer_clear(why_out);
        buffer_append_str(why_out, "An object was expected.");
        return SOTTO_ERR_INVALID;
    }
    uint64_t seen = 0, given = 0;
    int key = object.token + 1;
    for (int left = token(object)->size; left > 0; left--, key = after(object.doc, key + 1)) {
        size_t i = 0;
        while (i < count && !name_is(object.doc, key, fields[i].name)) i++;
        if (i == count) continue;
        *field_out = fields[i].name;
        if (seen & (uint64_t)1 << i) return wrong(why_out, &fields[i], "is there twice");
        seen |= (uint64_t)1 << i;
        struct json v = {object.doc, key + 1};
        if (json_type(v) == JSON_NULL) continue;
        given |= (uint64_t)1 << i;
        enum sotto_err err = decode_field(arena, &fields[i], v, out, why_out);
        if (err != SOTTO_OK) return err;
        if (fields[i].present_offset != SIZE_MAX) *(bool *)((uint8_t *)out + fields[i].present_offset) = true;
    }
    for (size_t i = 0; i < count; i++) {
        *field_out = fields[i].name;
        if (fields[i].required && !(given & (uint64_t)1 << i)) return wrong(why_out, &fields[i], "is missing");
    }
    *field_out = NULL;
    return SOTTO_OK;
}
