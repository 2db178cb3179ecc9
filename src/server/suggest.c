/* Optimal string alignment distance (Damerau-Levenshtein without repeated
 * edits), in three rows. Names are short; longer ones are not compared. */
#include "server/suggest.h"

#include <stdbool.h>
#include <string.h>

enum { NAME_MAX_LEN = 64 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t rows[3][NAME_MAX_LEN + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= b_len; j++) last[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        now[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
            now[j] = least(least(last[j] + 1, now[j - 1] + 1), last[j - 1] + cost);
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped) now[j] = least(now[j], before[j - 2] + 1);
        }
        size_t *recycled = before;
        before = last;
        last = now;
        now = recycled;
    }
    return last[b_len];
}

void suggestion_consider(struct suggestion *s, const char *name)
{
    size_t typed_len = strlen(s->typed), name_len = strlen(name);
    if (typed_len == 0 || typed_len > NAME_MAX_LEN || name_len > NAME_MAX_LEN) return;
    size_t d = distance(s->typed, typed_len, name, name_len);
    bool begins = typed_len >= 3 && strncmp(s->typed, name, typed_len) == 0;
    size_t allowed = typed_len < 3 ? 1 : (typed_len + 2) / 3;
    if (begins && d > allowed) d = allowed;
    if (d > allowed || d >= name_len) return;
    if (s->best != NULL && d >= s->distance) return;
    s->best = name;
    s->distance = d;
}
