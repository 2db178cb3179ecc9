/* sottod: finds the command and runs it. */
#include "server/commands.h"
#include "server/server.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define JSON_FLAG {"json", NULL, "one JSON object for each line of output"}
#define PASSWORD_FLAG {"password-stdin", NULL, "read the password from the first line of standard input"}

static const struct command commands[] = {
    {"serve", "", 0, "Runs the server; this is what happens without a command.", {{0}}, server_run},
    {"config show", "", 0, "Shows every setting, its value and where that came from.", {{0}}, command_config_show},
    {"user list", "", 0, "Lists the accounts.", {JSON_FLAG}, command_user_list},
    {"user add", "NAME", 1, "Makes an account.",
     {PASSWORD_FLAG, {"admin", NULL, "the account may administer"}}, command_user_add},
    {"user password", "NAME", 1, "Sets a new password and signs all devices of the account out.",
     {PASSWORD_FLAG}, command_user_password},
    {"user remove", "NAME", 1, "Deletes an account.", {{"yes", NULL, "do not ask"}}, command_user_remove},
    {"invite create", "", 0, "Makes a one-time invite and prints it.",
     {{"valid", "DURATION", "how long it is good for (default: 7d)"}, {"admin", NULL, "the account may administer"}},
     command_invite_create},
    {"invite list", "", 0, "Lists the invites (not their text: only a hash of it is stored).", {JSON_FLAG},
     command_invite_list},
    {"invite revoke", "ID", 1, "Makes an invite useless.", {{0}}, command_invite_revoke},
    {"device list", "NAME", 1, "Lists the devices of an account.", {JSON_FLAG}, command_device_list},
    {"device revoke", "NAME DEVICE", 2, "Signs one device out.", {{0}}, command_device_revoke},
    {"backup", "DIR", 1, "Writes a consistent copy of all data to DIR, while the server runs or not.", {{0}},
     command_backup},
    {"restore", "DIR", 1, "Puts a backup into an empty data directory.", {{0}}, command_restore},
    {"check", "", 0, "Checks all stored data; the server must be stopped.", {{0}}, command_check},
    {"version", "", 0, "Prints the version.", {{0}}, command_version},
    {"help", "[COMMAND]", 0, "Prints this overview, or explains a command.", {{0}}, command_help},
    {"help settings", "", 0, "Lists the settings with their defaults.",
     {{"markdown", NULL, "as the tables of docs/operations.md"}}, command_help_settings},
    {0},
};

int main(int argc, char *argv[])
{
    static char version[] = "version", help[] = "help", help_flag[] = "--help";
    struct command_line line;
    struct buffer why;
    buffer_init(&why, 64 * 1024);
    if (argc == 2 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)) argv[1] = version;
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) argv[1] = help;
    /* "help user add" is "user add --help". */
    if (argc > 2 && strcmp(argv[1], "help") == 0 && argv[2][0] != '-' && strcmp(argv[2], "settings") != 0) {
        memmove(argv + 1, argv + 2, (size_t)(argc - 2) * sizeof(*argv));
        argv[argc - 1] = help_flag;
    }
    if (command_line_parse(commands, argc, argv, (const char *const *)environ, &why, &line) != SOTTO_OK) {
        fprintf(stderr, "sottod: %.*sTry \"sottod help\".\n", (int)why.len, (const char *)why.data);
        buffer_deinit(&why);
        return EXIT_CODE_USAGE;
    }
    if (line.help) {
        command_line_explain(line.command, &why);
        fwrite(why.data, 1, why.len, stdout);
    }
    buffer_deinit(&why);
    return line.help ? EXIT_CODE_OK : line.command->run(&line);
}
