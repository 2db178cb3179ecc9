/* The command line: a command of one or two words, its arguments, its own
 * flags, and any setting as --key VALUE or --key=VALUE, in any order.
 */
#ifndef SOTTO_SERVER_COMMAND_LINE_H
#define SOTTO_SERVER_COMMAND_LINE_H

#include "server/config.h"
#include "server/exit_codes.h"

struct command_line;
struct command_flag {
    const char *name;       /* without the dashes */
    const char *value_name; /* NULL: takes no value */
    const char *help;
};
enum { COMMAND_ARGS_MAX = 3, COMMAND_FLAGS_MAX = 4 };
struct command {
    const char *name;       /* "serve", "user add"; NULL ends the table */
    const char *args;       /* for the help: "NAME DEVICE" */
    size_t args_count;      /* exactly so many */
    const char *help;       /* one sentence */
    struct command_flag flags[COMMAND_FLAGS_MAX]; /* ended by name NULL, or full */
    enum exit_code (*run)(const struct command_line *line);
};

struct command_line {
    const struct command *commands; /* the whole table */
    const struct command *command;
    const char *args[COMMAND_ARGS_MAX];
    const char *flag_values[COMMAND_FLAGS_MAX]; /* by index in command->flags; "" without a value; NULL: absent */
    struct config_flag settings[OPTIONS_MAX];
    size_t settings_count;
    const char *program;            /* argv[0] */
    const char *config_file;        /* NULL: not given */
    const char *const *environment;
    bool help;                      /* --help: explain the command */
};

/* Parses argv[1..]; no command means the table's first. On SOTTO_ERR_INVALID
 * why_out has one line per mistake. Borrows argv. */
SOTTO_CHECKED enum sotto_err command_line_parse(const struct command *commands, int argc, char *const argv[],
                                                const char *const *environment, struct buffer *why_out,
                                                struct command_line *out);
/* Value of a flag of the command; NULL when it was not given. */
const char *command_line_flag(const struct command_line *line, const char *name);
/* Overview of all commands, or one command with its flags. */
void command_line_overview(const struct command *commands, struct buffer *out);
void command_line_explain(const struct command *command, struct buffer *out);
/* Every setting: flag, default, meaning. */
void command_line_settings(struct buffer *out);
/* The same as tables for docs/operations.md. */
void command_line_settings_markdown(struct buffer *out);

#endif
