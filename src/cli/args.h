/* Command lines: options anywhere after the command, `--name value` or
 * `--name=value`, `--` ends them, the rest are words. */
#ifndef SOTTO_CLI_ARGS_H
#define SOTTO_CLI_ARGS_H

#include "base/buffer.h"

enum { ARGS_OPTIONS_MAX = 24 };
struct args_option {
    const char *name;       /* without the dashes */
    const char *value_name; /* NULL: a switch */
    const char *help;
};
struct args {
    const struct args_option *options; /* ended by a NULL name */
    const char *values[ARGS_OPTIONS_MAX]; /* "" for a switch that is on, NULL if absent */
    char **words;
    int words_count;
};

/* Sorts argv in place. False: a mistake, said in `why`. */
bool args_parse(struct args *a, const struct args_option *options, int argc, char **argv, struct buffer *why);
/* NULL when it was not given. */
const char *args_get(const struct args *a, const char *name);
/* A decimal number of at most `max`. False with a sentence in `why` when the
 * option was given and is not one; *out stays when it was not given. */
bool args_u64(const struct args *a, const char *name, uint64_t max, uint64_t *out, struct buffer *why);
/* The nearest of `count` names to what was typed, or NULL when none is near. */
const char *args_nearest(const char *typed, const char *const *names, size_t count);

#endif
