/* The local state: one directory with mode 0700, in it state.db with mode 0600
 * (client/local_store.h). Settings: server, ca, token, user, device, username,
 * name:<id> and user:<name> for names already looked up, warned. */
#include "cli/cli_private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

static bool home_path(const struct cli *cli, char *out, size_t size)
{
    const char *dir = args_get(&cli->args, "home");
    int n;
    if (dir || ((dir = getenv("SOTTO_HOME")) && *dir)) {
        n = snprintf(out, size, "%s", dir);
    } else if ((dir = getenv("XDG_CONFIG_HOME")) && *dir) {
        n = snprintf(out, size, "%s/sotto", dir);
    } else if ((dir = getenv("HOME")) && *dir) {
        n = snprintf(out, size, "%s/.config/sotto", dir);
    } else {
        return false;
    }
    return n > 0 && (size_t)n < size;
}

/* Like mkdir -p; parents with the usual mode, the last one private. */
static bool make_directory(const char *path)
{
    char part[CLI_TEXT_MAX];
    for (size_t i = 1; path[i]; i++) {
        if (path[i] != '/') continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0755) < 0 && errno != EEXIST) return false;
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

void home_get(struct cli *cli, const char *name, char *out, size_t size)
{
    struct buffer value;
    buffer_init(&value, size);
    out[0] = '\0';
    if (local_setting_get(cli->store, name, &value) == SOTTO_OK && value.len < size && !value.overflow) {
        if (value.len) memcpy(out, value.data, value.len);
        out[value.len] = '\0';
    }
    buffer_deinit(&value);
}

bool home_put(struct cli *cli, const char *name, const char *value)
{
    return local_setting_put(cli->store, name, slice_str(value)) == SOTTO_OK;
}

bool home_put_account(struct cli *cli, const struct account *a)
{
    char user[ID_TEXT_LEN + 1], device[24];
    id_format(a->user, user);
    (void)snprintf(device, sizeof device, "%llu", (unsigned long long)a->device);
    cli->account = *a;
    return home_put(cli, "server", a->server) && home_put(cli, "ca", a->ca_file) &&
           home_put(cli, "username", a->username) && home_put(cli, "user", user) &&
           home_put(cli, "device", device) && home_put(cli, "token", a->token);
}

/* Damage must not pass for nobody being signed in. */
static bool is_readable(struct cli *cli)
{
    struct buffer value;
    buffer_init(&value, CLI_TEXT_MAX);
    enum sotto_err err = local_setting_get(cli->store, "token", &value);
    buffer_deinit(&value);
    return err == SOTTO_OK || err == SOTTO_ERR_NOT_FOUND;
}

static void load_account(struct cli *cli)
{
    struct account *a = &cli->account;
    char text[64];
    home_get(cli, "server", a->server, sizeof a->server);
    home_get(cli, "ca", a->ca_file, sizeof a->ca_file);
    home_get(cli, "token", a->token, sizeof a->token);
    home_get(cli, "username", a->username, sizeof a->username);
    home_get(cli, "device", text, sizeof text);
    a->device = strtoull(text, NULL, 10);
    home_get(cli, "user", text, sizeof text);
    a->signed_in = a->token[0] && id_parse(slice_str(text), &a->user) == SOTTO_OK;
}

enum cli_exit home_open(struct cli *cli)
{
    char file[CLI_TEXT_MAX + 16];
    if (!home_path(cli, cli->home, sizeof cli->home))
        return cli_fail(cli, CLI_EXIT_STATE, "there is no home directory; name one with --home DIR");
    if (!make_directory(cli->home))
        return cli_fail(cli, CLI_EXIT_STATE, "%s cannot be made: %s", cli->home, strerror(errno));
    struct stat info;
    if (stat(cli->home, &info) == 0 && S_ISDIR(info.st_mode) && (info.st_mode & S_IWOTH))
        return cli_fail(cli, CLI_EXIT_STATE, "everybody on this machine can change %s. \"chmod 700\" it, or use another "
                        "--home.", cli->home);
    (void)snprintf(file, sizeof file, "%s/state.db", cli->home);
    enum sotto_err err = local_store_open(file, &cli->why, &cli->store);
    if (err) {
        buffer_append_byte(&cli->why, 0);
        return cli_fail(cli, CLI_EXIT_STATE, "%s. %s", cli->why.len > 1 ? (char *)cli->why.data : "out of memory",
                        err == SOTTO_ERR_CORRUPT ? "Move it away, or use another --home."
                                                 : "Is the disk full, or somebody else's?");
    }
    if (!is_readable(cli))
        return cli_fail(cli, CLI_EXIT_STATE, "%s is damaged. Move it away, or use another --home.", file);
    load_account(cli);
    return CLI_EXIT_OK;
}
