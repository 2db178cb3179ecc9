/* One line of JSON in, one line out: flat objects of strings, numbers and
 * booleans, with bytes in hex. Only what the drivers send; no escapes. */
#ifndef SOTTO_TEST_E2EE_PEER_LINE_H
#define SOTTO_TEST_E2EE_PEER_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LINE_FIELDS_MAX = 32 };

struct line {
    struct {
        const char *name;  /* NUL-terminated, inside the input */
        const char *value; /* string without quotes, number or literal */
    } fields[LINE_FIELDS_MAX];
    size_t count;
};

/* Cuts `text` up in place. False if it is not such an object. */
bool line_parse(struct line *line, char *text);
/* "" if there is none. */
const char *line_text(const struct line *line, const char *name);
bool line_has(const struct line *line, const char *name);
/* 0 if there is none. */
uint64_t line_number(const struct line *line, const char *name);
bool line_true(const struct line *line, const char *name);
/* Decoded hex; free it. NULL if it is not hex or there is none. At least one
 * byte of room. */
uint8_t *line_bytes(const struct line *line, const char *name, size_t *len_out);
/* Exactly `len` bytes, else false. */
bool line_fixed(const struct line *line, const char *name, uint8_t *out, size_t len);
/* Sixteen bytes of a UUID in text form. */
bool line_uuid(const struct line *line, const char *name, uint8_t out[16]);

/* Pieces of the answer, to stdout. */
void answer_begin(void);
void answer_number(const char *name, uint64_t value);
void answer_text(const char *name, const char *text);
void answer_bytes(const char *name, const uint8_t *data, size_t len);
void answer_end(void);

#endif
