/* User names and ids. What was looked up once is remembered in the local state,
 * so that a message can be kept for somebody while the server is away. A name that
 * can be asked for is asked for: it may have passed to another account. */
#include "base/text.h"
#include "cli/cli_private.h"

static void remember(struct cli *cli, const char *id_text, const char *username)
{
    char key[64];
    (void)snprintf(key, sizeof key, "name:%s", id_text);
    (void)home_put(cli, key, username);
    (void)snprintf(key, sizeof key, "user:%s", username);
    (void)home_put(cli, key, id_text);
}

static bool recall(struct cli *cli, const char *username, struct id *user_out)
{
    char key[64], id_text[ID_TEXT_LEN + 1];
    (void)snprintf(key, sizeof key, "user:%s", username);
    home_get(cli, key, id_text, sizeof id_text);
    return id_parse(slice_str(id_text), user_out) == SOTTO_OK;
}

enum cli_exit people_find(struct cli *cli, const char *username, struct id *user_out)
{
    if (id_parse(slice_str(username), user_out) == SOTTO_OK) return CLI_EXIT_OK;
    enum cli_exit code = session_open(cli);
    if (code) return code;
    char path[1024], id_text[ID_TEXT_LEN + 1];
    struct buffer b;
    buffer_init(&b, sizeof path - 1);
    buffer_append_str(&b, "/api/v1/users?username=");
    url_escape(&b, slice_str(username));
    if (b.overflow || strlen(username) > SOTTO_USERNAME_MAX || !utf8_valid(slice_str(username))) {
        buffer_deinit(&b);
        return cli_fail(cli, CLI_EXIT_FAILED, "\"%.64s\" is not a user name", username);
    }
    memcpy(path, b.data, b.len);
    path[b.len] = '\0';
    buffer_deinit(&b);
    struct rest_reply reply;
    buffer_clear(&cli->why);
    if (rest_call(cli->rest, "GET", slice_str(path), (struct slice){0}, &reply, &cli->why) != SOTTO_OK) {
        buffer_append_byte(&cli->why, 0);
        if (!recall(cli, username, user_out))
            code = cli_fail(cli, CLI_EXIT_UNREACHABLE, "%s", (char *)cli->why.data);
    } else if (reply.status == 200 && reply_id(&reply, reply.body, "userId", user_out)) {
        id_format(*user_out, id_text);
        remember(cli, id_text, username);
    } else if (slice_is(reply.code, "no_such_user")) {
        code = cli_fail(cli, CLI_EXIT_FAILED, "there is no user \"%s\" on %s", username, cli->account.server);
    } else if (reply.status == 401 || !recall(cli, username, user_out)) {
        code = session_problem(cli, &reply);
    }
    rest_reply_deinit(&reply);
    return code;
}

void people_name(struct cli *cli, struct id user, char out[SOTTO_USERNAME_MAX + 8])
{
    char key[64], id_text[ID_TEXT_LEN + 1], path[96];
    id_format(user, id_text);
    if (id_eq(user, cli->account.user)) {
        (void)snprintf(out, SOTTO_USERNAME_MAX + 8, "%s", cli->account.username);
        return;
    }
    (void)snprintf(key, sizeof key, "name:%s", id_text);
    home_get(cli, key, out, SOTTO_USERNAME_MAX + 8);
    if (out[0]) return;
    struct rest_reply reply;
    (void)snprintf(path, sizeof path, "/api/v1/users/%s", id_text);
    buffer_clear(&cli->why);
    if (session_open(cli) == CLI_EXIT_OK &&
        rest_call(cli->rest, "GET", slice_str(path), (struct slice){0}, &reply, &cli->why) == SOTTO_OK) {
        struct slice name = reply_text(&reply, reply.body, "username");
        if (reply.status == 200 && name.len && name.len <= SOTTO_USERNAME_MAX) {
            (void)snprintf(out, SOTTO_USERNAME_MAX + 8, "%.*s", (int)name.len, (const char *)name.data);
            remember(cli, id_text, out);
        }
        rest_reply_deinit(&reply);
    }
    if (!out[0]) (void)snprintf(out, SOTTO_USERNAME_MAX + 8, "%s", id_text);
}
