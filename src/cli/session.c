/* Calls to the server with the account's token, and their mistakes in words. */
#include "base/text.h"
#include "cli/cli_private.h"

#include <limits.h>
#include <stdlib.h>

static const char default_server[] = "http://localhost:8080";

enum cli_exit session_open(struct cli *cli)
{
    if (cli->rest) return CLI_EXIT_OK;
    struct account *a = &cli->account;
    const char *server = args_get(&cli->args, "server"), *ca = args_get(&cli->args, "ca");
    if (!server) server = a->server[0] ? a->server : default_server;
    struct rest_options options = {.agent = CLI_AGENT};
    buffer_clear(&cli->why);
    if (!url_parse(server, &options.url, &cli->why)) {
        buffer_append_byte(&cli->why, 0);
        return cli_fail(cli, CLI_EXIT_USAGE, "%s", (char *)cli->why.data);
    }
    if (ca) {
        char full[PATH_MAX];
        if (!realpath(ca, full) || strlen(full) >= sizeof a->ca_file)
            return cli_fail(cli, CLI_EXIT_USAGE, "--ca %s: there is no such file", ca);
        (void)snprintf(a->ca_file, sizeof a->ca_file, "%s", full);
    }
    options.ca_file = a->ca_file[0] ? a->ca_file : NULL;
    /* Kept in its full form, so that it means the same later. */
    struct buffer url;
    buffer_init(&url, sizeof a->server - 1);
    url_write(&options.url, &url);
    /* The token is for the server that gave it, and for nobody else who is named. */
    if (a->signed_in && slice_is(buffer_slice(&url), a->server)) options.token = a->token;
    memcpy(a->server, url.data, url.len);
    a->server[url.len] = '\0';
    buffer_deinit(&url);
    if (rest_create(&options, &cli->why, &cli->rest) != SOTTO_OK) {
        buffer_append_byte(&cli->why, 0);
        return cli_fail(cli, CLI_EXIT_USAGE, "TLS cannot be set up: %s", (char *)cli->why.data);
    }
    if (cli->deadline_ms) rest_set_deadline(cli->rest, cli->deadline_ms);
    return CLI_EXIT_OK;
}

static const char *advice(struct slice code)
{
    static const struct {
        const char *code, *text;
    } table[] = {
        {"registration_closed", " Ask whoever runs the server for an account."},
        {"bad_invite", " Ask whoever runs the server for an invite, and give it with --invite CODE."},
        {"username_taken", " Choose another, or \"sotto login\" if it is yours."},
        {"too_many_devices", " \"sotto devices revoke ID\" on another device makes room."},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (slice_is(code, table[i].code)) return table[i].text;
    return "";
}

enum cli_exit session_signed_out(struct cli *cli)
{
    size_t waiting = local_outbox_count(cli->store);
    char lost[96] = "";
    if (waiting)
        (void)snprintf(lost, sizeof lost, " (%zu message%s waiting to be sent will be thrown away)", waiting,
                       waiting == 1 ? "" : "s");
    return cli_fail(cli, CLI_EXIT_SIGNED_OUT, "this device was signed out. \"sotto logout --force\"%s, then "
                    "\"sotto login %s\".", lost, cli->account.username[0] ? cli->account.username : "USER");
}

enum cli_exit session_problem(struct cli *cli, const struct rest_reply *reply)
{
    if (slice_is(reply->code, "bad_token") || slice_is(reply->code, "unauthenticated")) return session_signed_out(cli);
    if (reply->status >= 300 && reply->status < 400)
        return cli_fail(cli, CLI_EXIT_FAILED, "%s leads elsewhere (HTTP status %u). Give the address that it leads to "
                        "with --server URL.", cli->account.server, reply->status);
    if (reply->code.len == 0)
        return cli_fail(cli, CLI_EXIT_FAILED, "%s answered with HTTP status %u and nothing that Sotto understands. "
                        "Is that the address of a Sotto server?", cli->account.server, reply->status);
    char wait[64] = "";
    if (reply->retry_after_ms)
        (void)snprintf(wait, sizeof wait, " Try again in %llu s.",
                       (unsigned long long)((reply->retry_after_ms + 999) / 1000));
    return cli_fail(cli, CLI_EXIT_FAILED, "%.*s (%.*s)%s%s", (int)reply->message.len,
                    (const char *)reply->message.data, (int)reply->code.len, (const char *)reply->code.data,
                    advice(reply->code), wait);
}

enum cli_exit session_call(struct cli *cli, const char *method, const char *path, struct slice body,
                           struct rest_reply *reply_out)
{
    return session_call_or(cli, method, path, body, "", reply_out);
}

enum cli_exit session_call_or(struct cli *cli, const char *method, const char *path, struct slice body,
                              const char *fine, struct rest_reply *reply_out)
{
    *reply_out = (struct rest_reply){0};
    enum cli_exit code = session_open(cli);
    if (code) return code;
    if (!utf8_valid(body)) return cli_fail(cli, CLI_EXIT_USAGE, "names and passwords have to be UTF-8");
    buffer_clear(&cli->why);
    if (rest_call(cli->rest, method, slice_str(path), body, reply_out, &cli->why) != SOTTO_OK) {
        buffer_append_byte(&cli->why, 0);
        return cli_fail(cli, CLI_EXIT_UNREACHABLE, "%s", (char *)cli->why.data);
    }
    bool fits = reply_out->status >= 200 && reply_out->status < 300 && json_type(reply_out->body) == JSON_OBJECT;
    if (!fits && !(fine[0] && slice_is(reply_out->code, fine))) return session_problem(cli, reply_out);
    return CLI_EXIT_OK;
}
