/* JSON in (jsmn, strict) and out (our own writer). RFC 8259.
 *
 * A document is parsed into tokens that live in an arena and borrow the text.
 * The whole text is checked: UTF-8, escapes, numbers, literals, no repeated
 * members among those that are decoded, depth and token count bounded.
 *
 * Requests are decoded by table: one `struct json_field` per member says the
 * name, the kind, the bounds and where the value goes, so that every handler
 * refuses the same mistakes in the same words, naming the field.
 */
#ifndef SOTTO_WIRE_JSON_H
#define SOTTO_WIRE_JSON_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/id.h"

struct json_doc;
struct json {              /* one value; {NULL, 0} is "absent" */
    const struct json_doc *doc;
    int token;
};
enum json_type { JSON_ABSENT, JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* Of no more than SOTTO_JSON_TOKENS_MAX values and keys.
 * Errors: SOTTO_ERR_INVALID not JSON or over the bounds; SOTTO_ERR_FULL arena. */
SOTTO_CHECKED enum sotto_err json_parse(struct arena *arena, struct slice text, struct json *root_out);
/* The same with another bound on values and keys, for text that is trusted to be long. */
SOTTO_CHECKED enum sotto_err json_parse_up_to(struct arena *arena, struct slice text, unsigned tokens_max,
                                              struct json *root_out);
/* At least as many as there are values and keys in the text. */
unsigned json_tokens_bound(struct slice text);
enum json_type json_type(struct json v);
/* Member of an object; absent if there is none or v is no object. */
struct json json_get(struct json v, const char *name);
size_t json_count(struct json v); /* elements or members */
/* Iteration over an array: first element, then next; absent at the end. */
struct json json_first(struct json array);
struct json json_next(struct json array, struct json element);
/* The raw text of the value, as it stood in the document. */
struct slice json_raw(struct json v);
/* Unescaped; borrowed from the text when it had no escapes, else in the arena. */
SOTTO_CHECKED enum sotto_err json_string(struct arena *arena, struct json v, struct slice *out);
/* Integers only, within the type's range (and 2^53 for interoperability). */
SOTTO_CHECKED enum sotto_err json_u64(struct json v, uint64_t *out);
SOTTO_CHECKED enum sotto_err json_bool(struct json v, bool *out);

enum json_field_kind {
    JF_STRING, /* struct slice; min..max bytes */
    JF_BASE64, /* struct slice, decoded, in the arena; min..max bytes */
    JF_ID,     /* struct id */
    JF_U64,    /* uint64_t; min..max */
    JF_BOOL,   /* bool */
    JF_JSON,   /* struct json, an array or object; at most max elements */
};
struct json_field {
    const char *name;
    enum json_field_kind kind;
    bool required;
    size_t offset;           /* of the value in the struct */
    uint64_t min, max;
    size_t present_offset;   /* of a bool set when the member is there; SIZE_MAX: none */
};
/* Decodes `object` into `out` (which the caller cleared). On SOTTO_ERR_INVALID
 * `why_out` says which field and what is wrong, for the person; *field_out is its name
 * in the table, for the program (field_out may be NULL). Members that the table does
 * not name are ignored. null counts as absent. */
SOTTO_CHECKED enum sotto_err json_decode(struct arena *arena, struct json object,
                                         const struct json_field *fields, size_t count, void *out,
                                         struct buffer *why_out, const char **field_out);

/* Writer: the caller writes the punctuation with these, commas are automatic.
 * No nesting limit is checked: it writes what we say. */
struct json_writer {
    struct buffer *out;
    bool comma;
};
static inline struct json_writer json_writer_of(struct buffer *out) { return (struct json_writer){out, false}; }
void json_begin_object(struct json_writer *w);
void json_end_object(struct json_writer *w);
void json_begin_array(struct json_writer *w);
void json_end_array(struct json_writer *w);
void json_write_key(struct json_writer *w, struct slice name); /* needs no escapes */
void json_write_string(struct json_writer *w, struct slice text);
void json_write_u64(struct json_writer *w, uint64_t v);
void json_write_bool(struct json_writer *w, bool v);
void json_write_null(struct json_writer *w);
void json_write_id(struct json_writer *w, struct id id);
void json_write_base64(struct json_writer *w, struct slice bytes);
void json_write_raw(struct json_writer *w, struct slice json);
/* Inline, so that the compiler counts the characters of literals. */
static inline void json_key(struct json_writer *w, const char *name) { json_write_key(w, slice_str(name)); }
/* key and value in one call. */
static inline void json_put_string(struct json_writer *w, const char *key, struct slice text)
{
    json_key(w, key);
    json_write_string(w, text);
}
static inline void json_put_cstr(struct json_writer *w, const char *key, const char *text)
{
    json_key(w, key);
    json_write_string(w, slice_str(text));
}
static inline void json_put_u64(struct json_writer *w, const char *key, uint64_t v)
{
    json_key(w, key);
    json_write_u64(w, v);
}
static inline void json_put_bool(struct json_writer *w, const char *key, bool v)
{
    json_key(w, key);
    json_write_bool(w, v);
}
static inline void json_put_id(struct json_writer *w, const char *key, struct id id)
{
    json_key(w, key);
    json_write_id(w, id);
}
static inline void json_put_base64(struct json_writer *w, const char *key, struct slice bytes)
{
    json_key(w, key);
    json_write_base64(w, bytes);
}

#endif
