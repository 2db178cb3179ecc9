/* Passwords: never on the command line, where other users of the machine could
 * read them. */
#include "cli/cli_private.h"

#include "base/prompt.h"

#include <errno.h>
#include <sodium.h>
#include <unistd.h>

/* First line without its end. False: unreadable, empty or too long. */
static bool read_line(FILE *in, char out[SOTTO_PASSWORD_MAX + 1])
{
    size_t len = 0;
    int c;
    while ((c = fgetc(in)) != EOF && c != '\n') {
        if (len == SOTTO_PASSWORD_MAX || c == '\0') return false;
        out[len++] = (char)c;
    }
    if (len && out[len - 1] == '\r') len--;
    out[len] = '\0';
    return len > 0;
}

enum cli_exit password_read(struct cli *cli, bool twice, char out[SOTTO_PASSWORD_MAX + 1])
{
    const char *file = args_get(&cli->args, "password-file");
    bool read;
    if (file) {
        FILE *in = fopen(file, "re");
        if (!in) return cli_fail(cli, CLI_EXIT_USAGE, "--password-file %s: %s", file, strerror(errno));
        read = read_line(in, out);
        (void)fclose(in);
    } else if (isatty(STDIN_FILENO)) {
        read = prompt_hidden("Password: ", out, SOTTO_PASSWORD_MAX + 1);
        char again[SOTTO_PASSWORD_MAX + 1] = "";
        if (read && twice && (!prompt_hidden("Once more: ", again, sizeof again) || strcmp(again, out) != 0)) {
            sodium_memzero(out, SOTTO_PASSWORD_MAX + 1);
            sodium_memzero(again, sizeof again);
            return cli_fail(cli, CLI_EXIT_FAILED, "the two are not the same; nothing was done");
        }
        sodium_memzero(again, sizeof again);
    } else {
        read = read_line(stdin, out);
    }
    if (!read)
        return cli_fail(cli, CLI_EXIT_USAGE, "a password is needed (up to %d bytes): type it, pipe it in, or use "
                        "--password-file FILE", SOTTO_PASSWORD_MAX);
    return CLI_EXIT_OK;
}
