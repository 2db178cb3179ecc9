/* The terminal client `sotto`. docs/cli.md is its manual.
 *
 * Answers go to stdout, everything else to stderr. With --json each answer is
 * one JSON object per line, with the field names of the protocol.
 */
#ifndef SOTTO_CLI_CLI_H
#define SOTTO_CLI_CLI_H

enum cli_exit {
    CLI_EXIT_OK = 0,
    CLI_EXIT_FAILED = 1,      /* the server refused, or something went wrong */
    CLI_EXIT_USAGE = 2,       /* the command line is wrong */
    CLI_EXIT_SIGNED_OUT = 3,  /* nobody is signed in here, or not any more */
    CLI_EXIT_UNREACHABLE = 4, /* no answer from the server */
    CLI_EXIT_STATE = 5,       /* the local state cannot be used */
    CLI_EXIT_TIMEOUT = 6      /* what was waited for did not come in time */
};

/* Runs one command; returns its exit code. */
int cli_main(int argc, char **argv);

#endif
