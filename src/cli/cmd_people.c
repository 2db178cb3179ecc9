/* contacts and devices. */
#include "cli/cli_private.h"

#include <stdlib.h>

static enum cli_exit done(struct cli *cli, const char *text)
{
    if (cli->json) {
        struct json_writer w = print_json_begin(cli);
        json_put_cstr(&w, "type", "ok");
        print_json_end(cli, &w);
    } else {
        printf("%s\n", text);
    }
    return CLI_EXIT_OK;
}

/* Members of one listed object, as they came, with a type of our own. */
static void pass_on(struct cli *cli, const char *type, struct json object)
{
    struct slice raw = json_raw(object);
    buffer_clear(&cli->line);
    buffer_append_str(&cli->line, "{\"type\":\"");
    buffer_append_str(&cli->line, type);
    buffer_append_str(&cli->line, raw.len > 2 ? "\"," : "\"");
    buffer_append(&cli->line, raw.data + 1, raw.len - 1);
    print_json_line(cli);
}

static enum cli_exit list_contacts(struct cli *cli)
{
    struct rest_reply reply;
    enum cli_exit code = session_call(cli, "GET", "/api/v1/contacts", (struct slice){0}, &reply);
    struct json list = json_get(reply.body, "contacts");
    for (struct json c = json_first(list); !code && json_type(c) != JSON_ABSENT; c = json_next(list, c)) {
        if (cli->json) {
            pass_on(cli, "contact", c);
            continue;
        }
        print_cell(reply_text(&reply, c, "username"), 20);
        printf("  ");
        struct slice alias = reply_text(&reply, c, "alias");
        print_text(stdout, alias.len ? alias : reply_text(&reply, c, "displayName"));
        printf("%s\n", reply_bool(c, "blocked") ? "  (blocked)" : "");
    }
    if (!code && !cli->json && json_count(list) == 0)
        cli_note(cli, "No contacts yet. \"sotto contacts add USER\" adds one.");
    rest_reply_deinit(&reply);
    return code;
}

static const struct {
    const char *name, *method, *path, *done;
} contact_actions[] = {
    {"add", "PUT", "/api/v1/contacts/", "Added."},
    {"remove", "DELETE", "/api/v1/contacts/", "Removed."},
    {"block", "PUT", "/api/v1/blocks/", "Blocked. They see \"sent\" and nothing more."},
    {"unblock", "DELETE", "/api/v1/blocks/", "Unblocked."},
};

enum cli_exit cmd_contacts(struct cli *cli)
{
    const struct args *a = &cli->args;
    const char *names[] = {"add", "remove", "block", "unblock", "list"};
    if (a->words_count == 0 || strcmp(a->words[0], "list") == 0) return list_contacts(cli);
    size_t which = 0;
    while (which < 4 && strcmp(a->words[0], contact_actions[which].name) != 0) which++;
    if (which == 4) {
        const char *near = args_nearest(a->words[0], names, 5);
        return cli_fail(cli, CLI_EXIT_USAGE, "contacts knows add, remove, block and unblock, not \"%s\"%s%s%s",
                        a->words[0], near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    if (a->words_count < 2)
        return cli_fail(cli, CLI_EXIT_USAGE, "whom? Usage: sotto contacts %s USER", a->words[0]);
    struct id user;
    enum cli_exit code = people_find(cli, a->words[1], &user);
    if (code) return code;
    char path[96], id[ID_TEXT_LEN + 1];
    id_format(user, id);
    (void)snprintf(path, sizeof path, "%s%s", contact_actions[which].path, id);
    struct buffer body;
    buffer_init(&body, 4096);
    const char *alias = args_get(a, "alias");
    if (which == 0 && alias) {
        struct json_writer w = json_writer_of(&body);
        json_begin_object(&w);
        json_put_cstr(&w, "alias", alias);
        json_end_object(&w);
    }
    struct rest_reply reply;
    code = session_call(cli, contact_actions[which].method, path, buffer_slice(&body), &reply);
    rest_reply_deinit(&reply);
    buffer_deinit(&body);
    return code ? code : done(cli, contact_actions[which].done);
}

static enum cli_exit list_devices(struct cli *cli)
{
    struct rest_reply reply;
    enum cli_exit code = session_call(cli, "GET", "/api/v1/devices", (struct slice){0}, &reply);
    struct json list = json_get(reply.body, "devices");
    for (struct json d = json_first(list); !code && json_type(d) != JSON_ABSENT; d = json_next(list, d)) {
        if (cli->json) {
            pass_on(cli, "device", d);
            continue;
        }
        char seen[32] = "never";
        if (reply_u64(d, "lastSeenAt")) print_time(reply_u64(d, "lastSeenAt"), seen);
        printf("%3llu  ", (unsigned long long)reply_u64(d, "deviceId"));
        print_cell(reply_text(&reply, d, "name"), 24);
        printf("  ");
        print_cell(reply_text(&reply, d, "platform"), 8);
        printf("  last seen %s%s\n", seen, reply_bool(d, "current") ? "  (this one)" : "");
    }
    rest_reply_deinit(&reply);
    return code;
}

enum cli_exit cmd_devices(struct cli *cli)
{
    const struct args *a = &cli->args;
    if (a->words_count == 0 || (a->words_count == 1 && strcmp(a->words[0], "list") == 0)) return list_devices(cli);
    bool rename = strcmp(a->words[0], "rename") == 0, revoke = strcmp(a->words[0], "revoke") == 0;
    if (!rename && !revoke) {
        const char *names[] = {"rename", "revoke", "list"};
        const char *near = args_nearest(a->words[0], names, 3);
        return cli_fail(cli, CLI_EXIT_USAGE, "devices knows rename and revoke, not \"%s\"%s%s%s", a->words[0],
                        near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    if (a->words_count != (rename ? 3 : 2))
        return cli_fail(cli, CLI_EXIT_USAGE, "usage: sotto devices %s", rename ? "rename ID NAME" : "revoke ID");
    char *end, path[64];
    unsigned long id = strtoul(a->words[1], &end, 10);
    if (*end || id < 1 || id > SOTTO_DEVICE_ID_MAX)
        return cli_fail(cli, CLI_EXIT_USAGE, "\"%s\" is not the number of a device; \"sotto devices\" lists them",
                        a->words[1]);
    (void)snprintf(path, sizeof path, "/api/v1/devices/%lu", id);
    struct buffer body;
    buffer_init(&body, 4096);
    if (rename) {
        struct json_writer w = json_writer_of(&body);
        json_begin_object(&w);
        json_put_cstr(&w, "name", a->words[2]);
        json_end_object(&w);
    }
    struct rest_reply reply;
    enum cli_exit code = session_call(cli, rename ? "PATCH" : "DELETE", path, buffer_slice(&body), &reply);
    rest_reply_deinit(&reply);
    buffer_deinit(&body);
    return code ? code : done(cli, rename ? "Renamed." : "Revoked; its connections are closed.");
}
