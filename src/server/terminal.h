/* Questions to the person at the terminal. */
#ifndef SOTTO_SERVER_TERMINAL_H
#define SOTTO_SERVER_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

/* Reads a password: twice and without echo from a terminal, or, from_stdin, the
 * first line of standard input. False, with the reason on stderr, when there is
 * none. The caller wipes `out`. */
bool terminal_read_password(bool from_stdin, char *out, size_t size);
/* True for "y" or "yes". False when nobody can be asked. */
bool terminal_confirm(const char *question);

#endif
