#include "server/terminal.h"

#include "base/prompt.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* A line without its end. Reads byte by byte: nothing of it stays in stdio. */
static bool read_line(int fd, char *out, size_t size)
{
    size_t len = 0;
    char c;
    while (read(fd, &c, 1) == 1 && c != '\n') {
        if (len + 1 >= size) return false;
        out[len++] = c;
    }
    if (len > 0 && out[len - 1] == '\r') len--;
    out[len] = '\0';
    return len > 0;
}

bool terminal_read_password(bool from_stdin, char *out, size_t size)
{
    char again[512];
    if (from_stdin) {
        if (read_line(STDIN_FILENO, out, size)) return true;
        fputs("sottod: there is no password on standard input.\n", stderr);
        return false;
    }
    if (!isatty(STDIN_FILENO)) {
        fputs("sottod: there is no terminal to ask for the password; use --password-stdin.\n", stderr);
        return false;
    }
    bool got = prompt_hidden("New password: ", out, size) &&
               prompt_hidden("The same again: ", again, sizeof(again));
    bool same = got && strcmp(out, again) == 0;
    sodium_memzero(again, sizeof(again));
    if (!got) fputs("sottod: no password was given.\n", stderr);
    else if (!same) fputs("sottod: the two differ. Nothing was changed.\n", stderr);
    return same;
}

bool terminal_confirm(const char *question)
{
    char answer[16];
    if (!isatty(STDIN_FILENO)) return false;
    fprintf(stderr, "%s [y/N] ", question);
    if (!read_line(STDIN_FILENO, answer, sizeof(answer))) return false;
    return strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0;
}
