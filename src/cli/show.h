/* Text from others made harmless for a terminal. */
#ifndef SOTTO_CLI_SHOW_H
#define SOTTO_CLI_SHOW_H

#include "base/buffer.h"

enum {
    SHOW_LINES = 1, /* keep tabs and line ends; what follows a line end is indented, so that
                     * it cannot pass for a line of ours */
    SHOW_ASCII = 2  /* the reader does not take UTF-8 */
};
/* Appends `text`. Control characters, broken UTF-8 and, without SHOW_LINES, what turns
 * the direction of the rest of the line become \xNN for each byte. Returns how
 * many columns a terminal needs for it, by the locale's LC_CTYPE; without
 * meaning for more than one line. */
size_t show_append(struct buffer *out, struct slice text, unsigned flags);

#endif
