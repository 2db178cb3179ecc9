/* "Did you mean …?" for mistyped commands, options and settings. */
#ifndef SOTTO_SERVER_SUGGEST_H
#define SOTTO_SERVER_SUGGEST_H

#include <stddef.h>

/* The closest so far; start with {typed, NULL, 0}. */
struct suggestion {
    const char *typed;
    const char *best;  /* NULL: nothing is near enough */
    size_t distance;
};
/* Looks at one more name. Near enough is at most a third of the typed length
 * in single-letter changes (swapped neighbours count as one), or a name that
 * begins with what was typed. */
void suggestion_consider(struct suggestion *s, const char *name);

#endif
