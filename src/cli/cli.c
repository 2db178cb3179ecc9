/* The command table, the common options, help, and who runs what. */
#include "cli/cli_private.h"
#include "cli/show.h"

#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

static const struct args_option common_options[] = {
    {"home", "DIR", "where the state is kept (default: $SOTTO_HOME, else ~/.config/sotto)"},
    {"json", NULL, "one JSON object per line on stdout, for scripts"},
    {"server", "URL", "another server than the one that was signed in to"},
    {"ca", "FILE", "trust the certificates in this file (PEM) instead of the system's"},
    {"help", NULL, "explain the command"},
    {0},
};
static const struct args_option sign_in_options[] = {
    {"password-file", "FILE", "read the password from the first line of FILE"},
    {"device", "NAME", "what this device is called (default: the name of this machine)"},
    {0},
};
static const struct args_option register_options[] = {
    {"password-file", "FILE", "read the password from the first line of FILE"},
    {"device", "NAME", "what this device is called (default: the name of this machine)"},
    {"invite", "CODE", "the invite, where the server asks for one"},
    {"name", "TEXT", "your name as others see it (default: the user name)"},
    {"phone", "NUMBER", "a phone number, as +491701234567"},
    {0},
};
static const struct args_option logout_options[] = {
    {"force", NULL, "forget the account here even if the server cannot be told"},
    {0},
};
static const struct args_option send_options[] = {
    {"wait", "STAGE", "wait until the message is sent (default), delivered or read"},
    {"timeout", "SECONDS", "how long to try and to wait (default 30)"},
    {"ttl", "SECONDS", "the message disappears after this time"},
    {"urgent", NULL, "mark it as urgent"},
    {"id", "TEXT", "the idempotency key (default: random); the same key never makes a second message"},
    {"type", "TEXT", "the type of message (default: text)"},
    {"flush", NULL, "only send what still waits in the outbox"},
    {0},
};
static const struct args_option listen_options[] = {
    {"read", NULL, "mark what is shown as read"},
    {"receipts", NULL, "show delivered and read receipts as well"},
    {"count", "N", "stop after N messages from others"},
    {"for", "SECONDS", "stop after this time"},
    {0},
};
static const struct args_option history_options[] = {
    {"since", "N", "messages after number N, oldest first"},
    {"before", "N", "messages before number N"},
    {"limit", "N", "how many at most (default 20)"},
    {0},
};
static const struct args_option contacts_options[] = {
    {"alias", "TEXT", "with add: what you call them"},
    {0},
};
static const struct args_option no_options[] = {{0}};

const struct command cli_commands[] = {
    {"register", "USER [--invite CODE] [--name TEXT]", "make an account and sign in", register_options, 1, 1, false,
     cmd_register},
    {"login", "USER", "sign in with this device", sign_in_options, 1, 1, false, cmd_login},
    {"logout", "", "sign out; the server forgets this device", logout_options, 0, 0, true, cmd_logout},
    {"send", "USER TEXT... | USER -", "send a message (- reads it from stdin)", send_options, 0, -1, true, cmd_send},
    {"listen", "", "show messages as they come", listen_options, 0, 0, true, cmd_listen},
    {"history", "USER", "show earlier messages", history_options, 1, 1, true, cmd_history},
    {"conversations", "", "list conversations", no_options, 0, 0, true, cmd_conversations},
    {"contacts", "[add|remove|block|unblock USER]", "list or change contacts", contacts_options, 0, 2, true,
     cmd_contacts},
    {"devices", "[rename ID NAME | revoke ID]", "list or change your devices", no_options, 0, 3, true, cmd_devices},
    {"status", "", "who is signed in where, and what waits", no_options, 0, 0, false, cmd_status},
    {0},
};

void cli_note(const struct cli *cli, const char *format, ...)
{
    (void)cli;
    char text[2048];
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    print_text(stderr, slice_str(text));
    (void)fputc('\n', stderr);
}

static const char *exit_name(enum cli_exit code)
{
    switch (code) {
    case CLI_EXIT_OK: return "ok";
    case CLI_EXIT_FAILED: return "failed";
    case CLI_EXIT_USAGE: return "usage";
    case CLI_EXIT_SIGNED_OUT: return "signed_out";
    case CLI_EXIT_UNREACHABLE: return "unreachable";
    case CLI_EXIT_STATE: return "state";
    case CLI_EXIT_TIMEOUT: return "timeout";
    }
    return "failed";
}

enum cli_exit cli_fail(struct cli *cli, enum cli_exit code, const char *format, ...)
{
    char text[2048];
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (cli->json) {
        struct buffer shown; /* what was typed need not be UTF-8 */
        buffer_init(&shown, 4 * sizeof text);
        (void)show_append(&shown, slice_str(text), 0);
        struct json_writer w = print_json_begin(cli);
        json_put_cstr(&w, "type", "error");
        json_put_cstr(&w, "code", exit_name(code));
        json_put_string(&w, "message", buffer_slice(&shown));
        print_json_end(cli, &w);
        buffer_deinit(&shown);
    }
    (void)fputs("sotto: ", stderr);
    print_text(stderr, slice_str(text));
    (void)fputc('\n', stderr);
    return code;
}

/* ---- Help -------------------------------------------------------------- */

static void help_options(const struct args_option *options)
{
    for (size_t i = 0; options[i].name; i++) {
        char left[48];
        (void)snprintf(left, sizeof left, "--%s%s%s", options[i].name, options[i].value_name ? " " : "",
                       options[i].value_name ? options[i].value_name : "");
        printf("  %-22s %s\n", left, options[i].help);
    }
}

static void help_all(void)
{
    printf("sotto, the terminal client of Sotto, a messenger that people run themselves.\n\n"
           "usage: sotto COMMAND [OPTIONS] ...\n\n");
    for (const struct command *c = cli_commands; c->name; c++) printf("  %-14s %s\n", c->name, c->summary);
    printf("  %-14s explain a command, or print this\n  %-14s print the version\n\n", "help [COMMAND]", "version");
    printf("Options for every command:\n");
    help_options(common_options);
    printf("\nA first conversation:\n"
           "  sotto register alice --server http://localhost:8080 --invite CODE\n"
           "  sotto send bob \"Hello, Bob\"\n"
           "  sotto listen\n"
           "\nMessages are not encrypted end to end yet: the server can read them.\n");
}

static void help_command(const struct command *c)
{
    printf("usage: sotto %s %s\n%s\n", c->name, c->usage, c->summary);
    if (c->options[0].name) printf("\n");
    help_options(c->options);
    printf("\nFor every command:\n");
    help_options(common_options);
}

static const struct command *command_named(const char *name)
{
    for (const struct command *c = cli_commands; c->name; c++)
        if (strcmp(c->name, name) == 0) return c;
    return NULL;
}

static enum cli_exit unknown_command(struct cli *cli, const char *name)
{
    const char *names[32];
    size_t count = 0;
    for (const struct command *c = cli_commands; c->name; c++) names[count++] = c->name;
    names[count++] = "help";
    names[count++] = "version";
    const char *near = args_nearest(name, names, count);
    if (near) return cli_fail(cli, CLI_EXIT_USAGE, "there is no command \"%s\"; did you mean \"%s\"?", name, near);
    return cli_fail(cli, CLI_EXIT_USAGE, "there is no command \"%s\"; \"sotto help\" lists them", name);
}

static enum cli_exit run_help(struct cli *cli, int argc, char **argv)
{
    if (!args_parse(&cli->args, common_options, argc, argv, &cli->why)) {
        buffer_append_byte(&cli->why, 0);
        return cli_fail(cli, CLI_EXIT_USAGE, "%s", (char *)cli->why.data);
    }
    if (cli->args.words_count == 0) {
        help_all();
        return CLI_EXIT_OK;
    }
    const struct command *c = command_named(cli->args.words[0]);
    if (!c) return unknown_command(cli, cli->args.words[0]);
    help_command(c);
    return CLI_EXIT_OK;
}

static enum cli_exit run_version(struct cli *cli)
{
    if (cli->json) {
        struct json_writer w = print_json_begin(cli);
        json_put_cstr(&w, "type", "version");
        json_put_cstr(&w, "version", CLI_VERSION);
        print_json_end(cli, &w);
    } else {
        printf("sotto " CLI_VERSION "\n");
    }
    return CLI_EXIT_OK;
}

/* ---- Running ----------------------------------------------------------- */

static enum cli_exit run_command(struct cli *cli, const struct command *c, int argc, char **argv)
{
    struct args_option options[ARGS_OPTIONS_MAX];
    size_t count = 0;
    for (; c->options[count].name; count++) options[count] = c->options[count];
    for (size_t i = 0; common_options[i].name; i++) options[count++] = common_options[i];
    SOTTO_ASSERT(count < ARGS_OPTIONS_MAX);
    options[count] = (struct args_option){0};

    if (!args_parse(&cli->args, options, argc, argv, &cli->why)) {
        buffer_append_byte(&cli->why, 0);
        return cli_fail(cli, CLI_EXIT_USAGE, "%s (\"sotto help %s\" explains)", (char *)cli->why.data, c->name);
    }
    cli->json = args_get(&cli->args, "json") != NULL;
    if (args_get(&cli->args, "help")) {
        help_command(c);
        return CLI_EXIT_OK;
    }
    int words = cli->args.words_count;
    if (words < c->words_min || (c->words_max >= 0 && words > c->words_max))
        return cli_fail(cli, CLI_EXIT_USAGE, "%s. Usage: sotto %s %s",
                        words < c->words_min ? "something is missing" : "there is a word too many", c->name, c->usage);
    enum cli_exit code = home_open(cli);
    if (code) return code;
    if (c->account && !cli->account.signed_in)
        return cli_fail(cli, CLI_EXIT_SIGNED_OUT,
                        "nobody is signed in here (%s). Use \"sotto login USER --server URL\" or \"sotto register\".",
                        cli->home);
    code = c->run(cli);
    cli->args = (struct args){0};
    return code;
}

/* Brings the command to the front: options may stand before it. */
static const char *take_command(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-') {
            char *name = argv[i];
            memmove(argv + 2, argv + 1, (size_t)(i - 1) * sizeof *argv);
            argv[1] = name;
            return name;
        }
        if (strcmp(argv[i], "--") == 0) break;
        const struct args_option *o = common_options;
        while (o->name && strcmp(o->name, argv[i] + (argv[i][1] == '-' ? 2 : 1)) != 0) o++;
        if (o->name && o->value_name) i++; /* its value is not the command */
    }
    return argc > 1 ? argv[1] : "help";
}

/* Whether --json is meant also for what cannot be parsed. */
static bool wants_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0) return true;
    return false;
}

/* A file or socket opened later must not take the place of a closed stdin, stdout
 * or stderr. The stand-ins fail when they are used. */
static void hold_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0) (void)open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

/* True when all that was printed has arrived; else says so, unless it is the
 * reader who went away. */
static bool finish_output(void)
{
    bool broken = fflush(stdout) != 0;
    if (!ferror(stdout) && !broken) return true;
    struct pollfd reader = {.fd = STDOUT_FILENO, .events = POLLOUT};
    if (poll(&reader, 1, 0) != 1 || !(reader.revents & POLLERR))
        (void)fputs("sotto: the output could not be written in full\n", stderr);
    return false;
}

int cli_main(int argc, char **argv)
{
    hold_standard_descriptors();
    (void)signal(SIGPIPE, SIG_IGN);
    (void)setlocale(LC_CTYPE, "");
    struct cli cli = {.json = wants_json(argc, argv)};
    buffer_init(&cli.why, 4096);
    buffer_init(&cli.line, (size_t)8 * CLI_LINE_MAX);
    enum cli_exit code;
    const char *name = take_command(argc, argv);
    const struct command *c = command_named(name);
    if (c)
        code = run_command(&cli, c, argc - 2, argv + 2);
    else if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        code = run_help(&cli, argc > 2 ? argc - 2 : 0, argv + 2);
    else if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0)
        code = run_version(&cli);
    else if (name[0] == '-')
        code = cli_fail(&cli, CLI_EXIT_USAGE, "which command? \"sotto help\" lists them");
    else
        code = unknown_command(&cli, name);
    rest_destroy(&cli.rest);
    local_store_close(&cli.store);
    memset(&cli.account, 0, sizeof cli.account);
    buffer_deinit(&cli.why);
    buffer_deinit(&cli.line);
    if (!finish_output() && code == CLI_EXIT_OK) code = CLI_EXIT_FAILED;
    return (int)code;
}
