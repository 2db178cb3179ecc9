/* register, login, logout, status. */
#include "cli/cli_private.h"

#include <sodium.h>
#include <unistd.h>

static void warn_once(struct cli *cli)
{
    char told[8];
    home_get(cli, "warned", told, sizeof told);
    if (told[0]) return;
    cli_note(cli, "Note: messages are not encrypted end to end yet. Whoever runs %s can read them.",
             cli->account.server);
    (void)home_put(cli, "warned", "1");
}

static void write_device(struct cli *cli, struct json_writer *w)
{
    char host[SOTTO_DEVICE_NAME_MAX + 1] = "";
    const char *name = args_get(&cli->args, "device");
    if (!name) {
        if (gethostname(host, sizeof host - 1) != 0 || !host[0]) (void)snprintf(host, sizeof host, "terminal");
        name = host;
    }
    json_put_cstr(w, "deviceName", name);
    json_put_cstr(w, "platform", "cli");
}

/* Stores the account that the answer of register or login describes. */
static enum cli_exit adopt(struct cli *cli, struct rest_reply *reply, const char *username)
{
    struct account a = cli->account;
    struct slice token = reply_text(reply, reply->body, "token");
    a.device = reply_u64(reply->body, "deviceId");
    a.signed_in = true;
    if (!reply_id(reply, reply->body, "userId", &a.user) || token.len == 0 || token.len >= sizeof a.token)
        return cli_fail(cli, CLI_EXIT_FAILED, "%s gave an answer that does not fit", a.server);
    memcpy(a.token, token.data, token.len);
    a.token[token.len] = '\0';
    size_t len = strlen(username);
    for (size_t i = 0; i <= len && i < sizeof a.username; i++)
        a.username[i] = username[i] >= 'A' && username[i] <= 'Z' ? (char)(username[i] + 32) : username[i];
    a.username[sizeof a.username - 1] = '\0';
    /* Before the token: from there on everything is for this device, too. */
    const struct client_store *store = local_store_port(cli->store);
    struct slice cursor = reply_text(reply, reply->body, "cursor");
    bool kept = cursor.len == 0 || store->save_cursor(store->ctx, cursor) == SOTTO_OK;
    if (!kept || !home_put_account(cli, &a))
        return cli_fail(cli, CLI_EXIT_STATE, "the account was opened, but %s cannot be written; mend that and log in",
                        cli->home);
    return CLI_EXIT_OK;
}

static enum cli_exit sign_in(struct cli *cli, bool fresh)
{
    const char *username = cli->args.words[0];
    if (cli->account.signed_in)
        return cli_fail(cli, CLI_EXIT_FAILED, "%s is signed in here already. \"sotto logout\" first, or use another "
                        "--home DIR.", cli->account.username);
    enum cli_exit code = session_open(cli);
    if (code) return code;
    char password[SOTTO_PASSWORD_MAX + 1];
    if ((code = password_read(cli, fresh, password))) return code;

    struct buffer body;
    buffer_init(&body, 64 * 1024);
    struct json_writer w = json_writer_of(&body);
    json_begin_object(&w);
    json_put_cstr(&w, "username", username);
    json_put_cstr(&w, "password", password);
    if (fresh) {
        const char *invite = args_get(&cli->args, "invite"), *name = args_get(&cli->args, "name");
        const char *phone = args_get(&cli->args, "phone");
        if (invite) json_put_cstr(&w, "invite", invite);
        if (name) json_put_cstr(&w, "displayName", name);
        if (phone) json_put_cstr(&w, "phone", phone);
    }
    write_device(cli, &w);
    json_end_object(&w);
    struct rest_reply reply;
    code = session_call(cli, "POST", fresh ? "/api/v1/accounts" : "/api/v1/login", buffer_slice(&body), &reply);
    sodium_memzero(password, sizeof password);
    sodium_memzero(body.data, body.len);
    buffer_deinit(&body);
    if (!code) code = adopt(cli, &reply, username);
    rest_reply_deinit(&reply);
    if (code) return code;
    if (cli->json) {
        w = print_json_begin(cli);
        json_put_cstr(&w, "type", fresh ? "account.registered" : "account.loggedIn");
        json_put_id(&w, "userId", cli->account.user);
        json_put_cstr(&w, "username", cli->account.username);
        json_put_u64(&w, "deviceId", cli->account.device);
        json_put_cstr(&w, "server", cli->account.server);
        print_json_end(cli, &w);
    } else {
        printf("%s %s on %s, device %llu.\n", fresh ? "Welcome," : "Signed in as", cli->account.username,
               cli->account.server, (unsigned long long)cli->account.device);
    }
    warn_once(cli);
    return CLI_EXIT_OK;
}

enum cli_exit cmd_register(struct cli *cli)
{
    return sign_in(cli, true);
}

enum cli_exit cmd_login(struct cli *cli)
{
    return sign_in(cli, false);
}

enum cli_exit cmd_logout(struct cli *cli)
{
    struct rest_reply reply;
    bool force = args_get(&cli->args, "force") != NULL;
    size_t waiting = local_outbox_count(cli->store);
    if (waiting && !force)
        return cli_fail(cli, CLI_EXIT_FAILED, "%zu message%s still wait%s to be sent. \"sotto send --flush\" sends "
                        "them; \"sotto logout --force\" throws them away.", waiting, waiting == 1 ? "" : "s",
                        waiting == 1 ? "s" : "");
    enum cli_exit code = session_call(cli, "POST", "/api/v1/logout", (struct slice){0}, &reply);
    rest_reply_deinit(&reply);
    if (code && !force) return code;
    if (code) cli_note(cli, "The server was not told; revoke this device from another one.");
    if (local_store_reset(cli->store) != SOTTO_OK)
        return cli_fail(cli, CLI_EXIT_STATE, "%s cannot be written", cli->home);
    if (cli->json) {
        struct json_writer w = print_json_begin(cli);
        json_put_cstr(&w, "type", "account.loggedOut");
        print_json_end(cli, &w);
    } else {
        printf("Signed out.\n");
    }
    return CLI_EXIT_OK;
}

static void status_json(struct cli *cli, bool reached, struct slice name, struct slice version, size_t waiting)
{
    struct json_writer w = print_json_begin(cli);
    json_put_cstr(&w, "type", "status");
    json_put_bool(&w, "signedIn", cli->account.signed_in);
    json_put_cstr(&w, "home", cli->home);
    json_put_cstr(&w, "server", cli->account.server);
    json_put_bool(&w, "reachable", reached);
    if (name.len) json_put_string(&w, "serverName", name);
    if (version.len) json_put_string(&w, "serverVersion", version);
    if (cli->account.signed_in) {
        json_put_id(&w, "userId", cli->account.user);
        json_put_cstr(&w, "username", cli->account.username);
        json_put_u64(&w, "deviceId", cli->account.device);
    }
    json_put_u64(&w, "outbox", waiting);
    print_json_end(cli, &w);
}

enum cli_exit cmd_status(struct cli *cli)
{
    struct rest_reply reply;
    enum cli_exit code = session_call(cli, "GET", "/api/v1/server", (struct slice){0}, &reply);
    bool reached = code == CLI_EXIT_OK;
    struct slice name = reached ? reply_text(&reply, reply.body, "name") : (struct slice){0};
    struct slice version = reached ? reply_text(&reply, reply.body, "version") : (struct slice){0};
    size_t waiting = local_outbox_count(cli->store);
    if (cli->json) {
        status_json(cli, reached, name, version, waiting);
    } else {
        if (cli->account.signed_in)
            printf("Account   %s, device %llu\n", cli->account.username, (unsigned long long)cli->account.device);
        else
            printf("Account   nobody is signed in\n");
        printf("Server    %s", cli->account.server);
        if (reached) {
            printf(" (");
            print_text(stdout, name);
            printf(", version ");
            print_text(stdout, version);
            printf(")");
        }
        printf("\nState     %s\nOutbox    %zu waiting\n", cli->home, waiting);
        printf("Privacy   messages are not encrypted end to end yet: the server can read them\n");
    }
    rest_reply_deinit(&reply);
    return code;
}
