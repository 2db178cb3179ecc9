/* Golden files: the exact bytes of each version of each format.
 *
 * A file has lines of `name hex`; lines that begin with # are comments. What a
 * released version has written must be readable for ever: a line is never
 * changed, a new version gets a new file. A test that finds other bytes than
 * the file prints the line that it would have written.
 */
#ifndef SOTTO_TEST_GOLDEN_H
#define SOTTO_TEST_GOLDEN_H

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads the bytes called `name` from test/golden/`file`. False: not there. */
static inline bool golden_read(const char *file, const char *name, struct buffer *out)
{
    char path[256];
    snprintf(path, sizeof(path), "test/golden/%s", file);
    FILE *f = fopen(path, "r");
    if (f == NULL) return false;
    char *line = NULL;
    size_t size = 0, name_len = strlen(name);
    ssize_t len;
    bool found = false;
    while (!found && (len = getline(&line, &size, f)) > 0) {
        if (line[len - 1] == '\n') len--;
        if ((size_t)len <= name_len || strncmp(line, name, name_len) != 0 || line[name_len] != ' ') continue;
        struct slice hex = slice_of(line + name_len + 1, (size_t)len - name_len - 1);
        buffer_clear(out);
        uint8_t *to = buffer_reserve(out, hex.len / 2 + 1);
        found = to != NULL && hex_decode(hex, to, hex.len / 2) == SOTTO_OK;
        if (found) out->len = hex.len / 2;
    }
    free(line);
    fclose(f);
    return found;
}

/* Whether `bytes` are what the file has under that name. */
static inline bool golden_matches(const char *file, const char *name, struct slice bytes)
{
    struct buffer golden;
    buffer_init(&golden, 1 << 20);
    bool same = golden_read(file, name, &golden) && slice_eq(buffer_slice(&golden), bytes);
    if (!same) {
        buffer_clear(&golden);
        buffer_append_hex(&golden, bytes);
        fprintf(stderr, "GOLDEN %s: %s %.*s\n", file, name, (int)golden.len, (const char *)golden.data);
    }
    buffer_deinit(&golden);
    return same;
}

#endif
