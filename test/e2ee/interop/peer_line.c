#include "e2ee/interop/peer_line.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool line_parse(struct line *line, char *text)
{
    line->count = 0;
    char *at = text;
    if (*at++ != '{') return false;
    while (*at != '}') {
        if (line->count == LINE_FIELDS_MAX || *at++ != '"') return false;
        const char *name = at;
        at += strcspn(at, "\"\\");
        if (*at != '"') return false;
        *at++ = '\0';
        if (*at++ != ':') return false;
        char *value = at;
        if (*at == '"') {
            value = ++at;
            at += strcspn(at, "\"\\");
            if (*at != '"') return false;
            *at++ = '\0';
            if (*at != ',' && *at != '}') return false;
        } else {
            at += strcspn(at, ",}");
            if (*at == '\0') return false;
        }
        bool end = *at == '}';
        *at++ = '\0';
        line->fields[line->count].name = name;
        line->fields[line->count++].value = value;
        if (end) return true;
    }
    return true;
}

static const char *find(const struct line *line, const char *name)
{
    for (size_t i = 0; i < line->count; i++) {
        if (strcmp(line->fields[i].name, name) == 0) return line->fields[i].value;
    }
    return NULL;
}

const char *line_text(const struct line *line, const char *name)
{
    const char *value = find(line, name);
    return value == NULL ? "" : value;
}

bool line_has(const struct line *line, const char *name)
{
    return find(line, name) != NULL;
}

uint64_t line_number(const struct line *line, const char *name)
{
    return strtoull(line_text(line, name), NULL, 10);
}

bool line_true(const struct line *line, const char *name)
{
    return strcmp(line_text(line, name), "true") == 0;
}

uint8_t *line_bytes(const struct line *line, const char *name, size_t *len_out)
{
    const char *hex = find(line, name);
    if (hex == NULL) return NULL;
    size_t hex_len = strlen(hex);
    uint8_t *bytes = malloc(hex_len / 2 + 1);
    if (bytes == NULL) abort();
    if (sodium_hex2bin(bytes, hex_len / 2 + 1, hex, hex_len, NULL, len_out, NULL) != 0) {
        free(bytes);
        return NULL;
    }
    return bytes;
}

bool line_fixed(const struct line *line, const char *name, uint8_t *out, size_t len)
{
    size_t got = 0;
    uint8_t *bytes = line_bytes(line, name, &got);
    bool fits = bytes != NULL && got == len;
    if (fits) memcpy(out, bytes, len);
    free(bytes);
    return fits;
}

bool line_uuid(const struct line *line, const char *name, uint8_t out[16])
{
    size_t len = 0;
    const char *text = line_text(line, name);
    return sodium_hex2bin(out, 16, text, strlen(text), "-", &len, NULL) == 0 && len == 16;
}

static bool first;

void answer_begin(void)
{
    first = true;
    putchar('{');
}

static void answer_name(const char *name)
{
    printf("%s\"%s\":", first ? "" : ",", name);
    first = false;
}

void answer_number(const char *name, uint64_t value)
{
    answer_name(name);
    printf("%llu", (unsigned long long)value);
}

void answer_text(const char *name, const char *text)
{
    answer_name(name);
    printf("\"%s\"", text);
}

void answer_bytes(const char *name, const uint8_t *data, size_t len)
{
    char *hex = malloc(2 * len + 1);
    if (hex == NULL) abort();
    sodium_bin2hex(hex, 2 * len + 1, data, len);
    answer_text(name, hex);
    free(hex);
}

void answer_end(void)
{
    puts("}");
    fflush(stdout);
}
