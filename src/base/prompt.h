/* A question at the terminal whose answer is not shown. */
#ifndef SOTTO_BASE_PROMPT_H
#define SOTTO_BASE_PROMPT_H

#include <stdbool.h>
#include <stddef.h>

/* Asks on stderr, and reads one line from standard input, which must be a terminal,
 * without echo. Signals that end or stop the process act when the echo is on again; one
 * that it survives begins the question anew. out: the line without its end, and a NUL;
 * the caller wipes it. False: there is no terminal, or nothing was typed, or more than
 * size - 1 bytes, or a NUL. Blocks until the line is there; one thread only. */
bool prompt_hidden(const char *question, char *out, size_t size);

#endif
