/* What the commands of the terminal client share. */
#ifndef SOTTO_CLI_CLI_PRIVATE_H
#define SOTTO_CLI_CLI_PRIVATE_H

#include "base/limits.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/rest.h"
#include "client/local_store.h"
#include "wire/json.h"

#include <stdio.h>

#define CLI_VERSION "0.1.0"
#define CLI_AGENT "sotto/" CLI_VERSION
enum { CLI_TEXT_MAX = 512, CLI_LINE_MAX = 1 << 20 };

struct account {
    char server[CLI_TEXT_MAX], ca_file[CLI_TEXT_MAX], token[CLI_TEXT_MAX];
    char username[SOTTO_USERNAME_MAX + 1];
    struct id user;
    uint64_t device;
    bool signed_in;
};

struct cli {
    struct args args;
    bool json;
    char home[CLI_TEXT_MAX];
    struct local_store *store;
    struct account account;
    struct rest *rest;
    uint64_t deadline_ms; /* monotonic, for calls; 0: none */
    struct buffer why;   /* scratch for sentences */
    struct buffer line;  /* the JSON line or text being written */
};

struct command {
    const char *name;
    const char *usage;   /* after "sotto NAME" */
    const char *summary;
    const struct args_option *options; /* its own; the common ones come in addition */
    int words_min, words_max;          /* -1: any number */
    bool account;        /* needs somebody signed in */
    enum cli_exit (*run)(struct cli *cli);
};
extern const struct command cli_commands[];

/* cli.c: messages for people, on stderr. */
void cli_note(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "sotto: …" with what to do; with --json also an object of type "error" on stdout. */
enum cli_exit cli_fail(struct cli *cli, enum cli_exit code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* home.c: the local state. */
enum cli_exit home_open(struct cli *cli);
void home_get(struct cli *cli, const char *name, char *out, size_t size);
bool home_put(struct cli *cli, const char *name, const char *value);
bool home_put_account(struct cli *cli, const struct account *a);

/* session.c: calls with the account's token. */
/* Connects lazily: makes cli->rest from the account or --server. */
enum cli_exit session_open(struct cli *cli);
/* Calls and turns what went wrong into a sentence and an exit code. The reply is
 * to be deinitialised by the caller whatever comes back. */
enum cli_exit session_call(struct cli *cli, const char *method, const char *path, struct slice body,
                           struct rest_reply *reply_out);
/* The same, but the problem with the code `fine` is no mistake. */
enum cli_exit session_call_or(struct cli *cli, const char *method, const char *path, struct slice body,
                              const char *fine, struct rest_reply *reply_out);
enum cli_exit session_problem(struct cli *cli, const struct rest_reply *reply);
/* Says that the token is not valid any more and what to do. */
enum cli_exit session_signed_out(struct cli *cli);

/* people.c */
enum cli_exit people_find(struct cli *cli, const char *username, struct id *user_out);
/* The user name of an id; the id itself when it cannot be found. */
void people_name(struct cli *cli, struct id user, char out[SOTTO_USERNAME_MAX + 8]);

/* password.c: from --password-file, a terminal without echo, or stdin's first line. */
enum cli_exit password_read(struct cli *cli, bool twice, char out[SOTTO_PASSWORD_MAX + 1]);

/* print.c */
struct json_writer print_json_begin(struct cli *cli);
void print_json_end(struct cli *cli, struct json_writer *w);
void print_json_line(struct cli *cli); /* cli->line, which is one object */
/* Text from others, never obeyed: within a line, as lines of its own, as a column
 * on stdout. */
void print_text(FILE *out, struct slice text);
void print_lines(FILE *out, struct slice text);
void print_cell(struct slice text, size_t width);
void print_time(uint64_t ts_ms, char out[32]);
/* One received or sent message, as text or as JSON. */
struct printed_message {
    const char *event;       /* "message.new", "message.sent", "message" */
    struct id conversation, message_id, sender;
    uint64_t sequence, ts_ms, expires_ms;
    struct slice type, payload, withheld, client_msg_id;
    bool urgent;
};
void print_message(struct cli *cli, const struct printed_message *m);
/* --json only: a message of the outbox that the server will not take. */
void print_failed(struct cli *cli, struct slice client_msg_id, struct slice code, struct slice text);

/* outbox.c (of the CLI): sends what waits, over REST. */
struct outbox_result {
    bool sent;           /* the wanted one */
    struct id conversation, message_id;
    uint64_t sequence, ts_ms;
    bool repeated;
    size_t delivered, failed; /* how many the server took, refused for good */
    bool stopped;        /* one could not be delivered now; it and those behind it are kept */
};
/* deadline_ms: monotonic. */
enum cli_exit deliver_outbox(struct cli *cli, struct slice wanted_id, uint64_t deadline_ms,
                             struct outbox_result *result_out);

enum cli_exit cmd_register(struct cli *cli);
enum cli_exit cmd_login(struct cli *cli);
enum cli_exit cmd_logout(struct cli *cli);
enum cli_exit cmd_status(struct cli *cli);
enum cli_exit cmd_send(struct cli *cli);
enum cli_exit cmd_listen(struct cli *cli);
enum cli_exit cmd_history(struct cli *cli);
enum cli_exit cmd_contacts(struct cli *cli);
enum cli_exit cmd_devices(struct cli *cli);
enum cli_exit cmd_conversations(struct cli *cli);

#endif
