/* Options and words of a command line. Nothing is global: parsing twice works. */
#include "cli/args.h"

#include <errno.h>
#include <stdlib.h>

static const struct args_option *option_named(const struct args *a, const char *name, size_t len, size_t *at_out)
{
    for (size_t i = 0; a->options[i].name; i++) {
        if (strlen(a->options[i].name) != len || memcmp(a->options[i].name, name, len) != 0) continue;
        *at_out = i;
        return &a->options[i];
    }
    return NULL;
}

static void unknown_option(const struct args *a, const char *typed, struct buffer *why)
{
    const char *names[ARGS_OPTIONS_MAX];
    size_t count = 0;
    for (; a->options[count].name; count++) names[count] = a->options[count].name;
    buffer_printf(why, "there is no option --%s here", typed);
    const char *near = args_nearest(typed, names, count);
    if (near) buffer_printf(why, "; did you mean --%s?", near);
}

bool args_parse(struct args *a, const struct args_option *options, int argc, char **argv, struct buffer *why)
{
    *a = (struct args){.options = options, .words = argv};
    bool words_only = false;
    for (int i = 0; i < argc; i++) {
        char *arg = argv[i];
        if (words_only || strncmp(arg, "--", 2) != 0) {
            a->words[a->words_count++] = arg;
            continue;
        }
        if (arg[2] == '\0') {
            words_only = true;
            continue;
        }
        const char *name = arg + 2;
        const char *equals = strchr(name, '=');
        size_t len = equals ? (size_t)(equals - name) : strlen(name), at = 0;
        const struct args_option *o = option_named(a, name, len, &at);
        if (!o) {
            unknown_option(a, name, why);
            return false;
        }
        if (!o->value_name) {
            if (equals) {
                buffer_printf(why, "--%s takes no value", o->name);
                return false;
            }
            a->values[at] = "";
        } else if (equals) {
            a->values[at] = equals + 1;
        } else if (i + 1 < argc) {
            a->values[at] = argv[++i];
        } else {
            buffer_printf(why, "--%s needs a value: --%s %s", o->name, o->name, o->value_name);
            return false;
        }
    }
    return true;
}

const char *args_get(const struct args *a, const char *name)
{
    size_t at = 0;
    return option_named(a, name, strlen(name), &at) ? a->values[at] : NULL;
}

bool args_u64(const struct args *a, const char *name, uint64_t max, uint64_t *out, struct buffer *why)
{
    const char *text = args_get(a, name);
    if (!text) return true;
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno || v > max) {
        buffer_printf(why, "--%s takes a number from 0 to %llu, not \"%s\"", name, (unsigned long long)max, text);
        return false;
    }
    *out = v;
    return true;
}

/* Levenshtein distance with swapped neighbours counting as one mistake. */
static size_t distance(const char *a, const char *b)
{
    enum { LEN_MAX = 31 };
    size_t la = strlen(a), lb = strlen(b);
    if (la > LEN_MAX || lb > LEN_MAX) return SIZE_MAX;
    size_t rows[3][LEN_MAX + 1];
    for (size_t j = 0; j <= lb; j++) rows[0][j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t *row = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t best = up[j - 1] + (a[i - 1] != b[j - 1]);
            if (up[j] + 1 < best) best = up[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && up2[j - 2] + 1 < best)
                best = up2[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[la % 3][lb];
}

const char *args_nearest(const char *typed, const char *const *names, size_t count)
{
    const char *best = NULL;
    size_t best_distance = strlen(typed) > 4 ? 3 : 2; /* at most one less than this */
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(typed, names[i]);
        if (d < best_distance) {
            best_distance = d;
            best = names[i];
        } else if (!best && strlen(typed) >= 3 && strncmp(typed, names[i], strlen(typed)) == 0) {
            best = names[i];
        }
    }
    return best;
}
