/* listen: the client engine between a WebSocket and the terminal.
 *
 * The loop's callbacks only feed the engine; what comes out of it is worked off
 * between two turns, where calls that take time (looking up a name) do no harm.
 */
#include "cli/cli_private.h"
#include "cli/socket.h"
#include "client/client.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct listener_state {
    struct cli *cli;
    struct loop *loop;
    struct tls_context *tls;
    struct url url;
    struct client *client;
    struct socket *socket; /* NULL: none */
    struct watch signals, output; /* output: stdout, for the end of its reader */
    bool show_receipts, mark_read, stop;
    bool greeted;          /* a Sotto server has answered once */
    uint64_t count, count_max; /* messages from others; 0: no end */
    enum cli_exit code;
};

static uint64_t now_ms(void)
{
    return clock_monotonic_ms(clock_system());
}

static void on_opened(void *ctx)
{
    client_opened(((struct listener_state *)ctx)->client, now_ms());
}

static void on_text(void *ctx, struct slice text)
{
    client_frame(((struct listener_state *)ctx)->client, text, now_ms());
}

static void on_heard(void *ctx)
{
    client_heard(((struct listener_state *)ctx)->client, now_ms());
}

static void on_closed(void *ctx, unsigned code)
{
    struct listener_state *l = ctx;
    l->socket = NULL;
    client_closed(l->client, code, now_ms());
}

static const struct socket_owner socket_callbacks = {on_opened, on_text, on_heard, on_closed};

static void on_signal(struct watch *w, struct loop *loop, uint32_t events)
{
    (void)loop;
    (void)events;
    struct signalfd_siginfo info;
    while (read(w->fd, &info, sizeof info) == sizeof info) continue;
    struct listener_state *l = (struct listener_state *)((char *)w - offsetof(struct listener_state, signals));
    l->stop = true;
}

/* What can no longer be shown is left to the next listen. */
static void output_gone(struct listener_state *l)
{
    l->stop = true;
    client_accept_max(l->client, 0);
}

static void on_output(struct watch *w, struct loop *loop, uint32_t events)
{
    (void)events;
    struct listener_state *l = (struct listener_state *)((char *)w - offsetof(struct listener_state, output));
    loop_unwatch(loop, w);
    w->fd = -1;
    l->code = l->code ? l->code : CLI_EXIT_FAILED;
    output_gone(l);
}

/* ---- Events to the terminal --------------------------------------------- */

static void show_receipt(struct listener_state *l, const struct client_event *e)
{
    struct cli *cli = l->cli;
    const char *what = e->kind == CLIENT_EVENT_READ ? "message.read" : "message.delivered";
    if (!l->show_receipts || id_eq(e->user, cli->account.user)) return;
    char name[SOTTO_USERNAME_MAX + 8];
    people_name(cli, e->user, name);
    if (cli->json) {
        struct json_writer w = print_json_begin(cli);
        json_put_cstr(&w, "type", what);
        json_put_id(&w, "conversationId", e->conversation);
        json_put_id(&w, "userId", e->user);
        json_put_cstr(&w, "user", name);
        json_put_u64(&w, "sequence", e->sequence);
        json_put_u64(&w, "ts", e->ts_ms);
        print_json_end(cli, &w);
        return;
    }
    printf("  ");
    print_text(stdout, slice_str(name));
    printf(" has %s everything up to #%llu\n", e->kind == CLIENT_EVENT_READ ? "read" : "received",
           (unsigned long long)e->sequence);
    (void)fflush(stdout);
}

static void show_message(struct listener_state *l, const struct client_event *e)
{
    const struct client_message *m = &e->message;
    struct printed_message p = {
        .event = e->kind == CLIENT_EVENT_SENT ? "message.sent" : "message.new",
        .conversation = m->conversation, .message_id = m->message_id, .sender = m->sender,
        .sequence = m->sequence, .ts_ms = m->ts_ms, .expires_ms = m->expires_ms, .type = m->type,
        .payload = m->payload, .withheld = m->withheld, .client_msg_id = m->client_msg_id, .urgent = m->urgent};
    print_message(l->cli, &p);
    if (!id_eq(m->sender, l->cli->account.user) && ++l->count == l->count_max) l->stop = true;
}

static void show_phase(struct listener_state *l, const struct client_event *e)
{
    struct cli *cli = l->cli;
    l->greeted = l->greeted || e->phase == CLIENT_SYNCING;
    if (e->phase == CLIENT_WAITING && e->close_code == 1006 && !l->greeted)
        cli_note(cli, "No connection to %s; is it running there%s? The next try is in %.1f s.", cli->account.server,
                 l->tls ? ", and is its certificate valid" : "", (double)e->wait_ms / 1000);
    else if (e->phase == CLIENT_WAITING && e->close_code != 1000)
        cli_note(cli, "Connection lost (%u); the next try is in %.1f s.", e->close_code, (double)e->wait_ms / 1000);
    if (e->phase != CLIENT_ENDED) return;
    l->stop = true;
    switch (e->end) {
    case CLIENT_END_REPLACED:
        l->code = cli_fail(cli, CLI_EXIT_FAILED, "another \"sotto listen\" of this device has taken over");
        break;
    case CLIENT_END_SIGN_IN:
        l->code = session_signed_out(cli);
        break;
    case CLIENT_END_GONE:
        l->code = cli_fail(cli, CLI_EXIT_SIGNED_OUT, "this account does not exist any more");
        break;
    case CLIENT_END_STORE:
        l->code = cli_fail(cli, CLI_EXIT_STATE, "the state in %s cannot be read or written", cli->home);
        break;
    case CLIENT_END_NONE:
    case CLIENT_END_STOPPED: break;
    }
}

static void show_event(struct listener_state *l, const struct client_event *e)
{
    struct cli *cli = l->cli;
    switch (e->kind) {
    case CLIENT_EVENT_PHASE: show_phase(l, e); break;
    case CLIENT_EVENT_MESSAGE:
    case CLIENT_EVENT_SENT: show_message(l, e); break;
    case CLIENT_EVENT_DELIVERED:
    case CLIENT_EVENT_READ: show_receipt(l, e); break;
    case CLIENT_EVENT_CAUGHT_UP:
        if (!cli->json) cli_note(cli, "Listening; Ctrl-C stops.");
        break;
    case CLIENT_EVENT_FAILED:
        print_failed(cli, e->client_msg_id, e->code, e->text);
        cli_note(cli, "A message was refused: %.*s", (int)e->text.len, (const char *)e->text.data);
        break;
    case CLIENT_EVENT_BROKEN_CHAIN:
        l->code = cli_fail(cli, CLI_EXIT_FAILED, "message #%llu does not follow from the one before it: the server has "
                           "changed this conversation", (unsigned long long)e->sequence);
        break;
    case CLIENT_EVENT_HOLE:
        cli_note(cli, "The server no longer has what came before #%llu here.", (unsigned long long)e->sequence);
        break;
    case CLIENT_EVENT_PROBLEM:
        cli_note(cli, "The server says: %.*s", (int)e->text.len, (const char *)e->text.data);
        break;
    case CLIENT_EVENT_EXPIRED:
    case CLIENT_EVENT_CONVERSATION:
    case CLIENT_EVENT_TYPING:
    case CLIENT_EVENT_PRESENCE:
    case CLIENT_EVENT_DEVICES:
    case CLIENT_EVENT_ACCOUNT:
    case CLIENT_EVENT_PREKEYS_LOW:
    case CLIENT_EVENT_FLOW: break;
    }
}

/* ---- Running ------------------------------------------------------------- */

static sigset_t stop_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    return set;
}

/* A name server that does not answer holds this up for many seconds: meanwhile Ctrl-C ends
 * the process at once. The state on disk is whole at any moment. */
static void connect_socket(struct listener_state *l)
{
    sigset_t set = stop_signals();
    (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
    enum sotto_err err = socket_open(l->loop, &l->url, l->tls, &socket_callbacks, l, &l->socket);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    if (err != SOTTO_OK) {
        l->socket = NULL;
        client_closed(l->client, 1006, now_ms());
    }
}

static void work_off(struct listener_state *l)
{
    const struct client_output *o;
    while ((o = client_poll(l->client))) {
        switch (o->kind) {
        case CLIENT_OUT_CONNECT: connect_socket(l); break;
        case CLIENT_OUT_DISCONNECT:
            if (l->socket) socket_close(l->socket, o->close_code);
            l->socket = NULL;
            break;
        case CLIENT_OUT_FRAME:
            if (l->socket) socket_send(l->socket, o->frame);
            break;
        case CLIENT_OUT_EVENT: {
            struct client_event e = o->event;
            show_event(l, &e);
            if (ferror(stdout)) output_gone(l);
            if (l->mark_read && e.kind == CLIENT_EVENT_MESSAGE && !id_eq(e.message.sender, l->cli->account.user) &&
                client_mark_read(l->client, e.conversation, e.sequence, now_ms()) != SOTTO_OK)
                cli_note(l->cli, "The read mark could not be kept.");
            break;
        }
        }
    }
}

static int turn_timeout(const struct listener_state *l, uint64_t until_ms)
{
    uint64_t wake = client_wake_ms(l->client), now = now_ms();
    if (until_ms < wake) wake = until_ms;
    if (wake <= now) return 0;
    return wake - now > 1000 ? 1000 : (int)(wake - now);
}

static void run(struct listener_state *l, uint64_t until_ms)
{
    if (l->count_max) client_accept_max(l->client, l->count_max);
    client_start(l->client, now_ms());
    work_off(l);
    while (!l->stop && now_ms() < until_ms) {
        loop_turn(l->loop, turn_timeout(l, until_ms));
        client_tick(l->client, now_ms());
        work_off(l);
    }
    /* Marks that still wait go out before the goodbye; what comes now is for the next listen. */
    client_accept_max(l->client, 0);
    uint64_t grace = now_ms() + 2 * CLIENT_DELIVERED_DELAY_MS;
    while (client_phase(l->client) == CLIENT_LIVE && now_ms() < grace) {
        loop_turn(l->loop, 10);
        client_tick(l->client, now_ms());
        work_off(l);
    }
    if (l->socket) socket_close(l->socket, 1000);
    l->socket = NULL;
    for (int i = 0; i < 20; i++) loop_turn(l->loop, 5);
}

static bool watch_signals(struct listener_state *l)
{
    sigset_t set = stop_signals();
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) return false;
    l->signals.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    l->signals.ready = on_signal;
    return l->signals.fd >= 0 && loop_watch(l->loop, &l->signals, 1 /* EPOLLIN */) == SOTTO_OK;
}

/* Files do not end by themselves and cannot be watched. */
static void watch_output(struct listener_state *l)
{
    l->output.fd = STDOUT_FILENO;
    l->output.ready = on_output;
    if (loop_watch(l->loop, &l->output, 0) != SOTTO_OK) l->output.fd = -1;
}

static enum cli_exit set_up(struct cli *cli, struct listener_state *l)
{
    cli->deadline_ms = 1; /* long past: looking up a name must not keep the events waiting */
    enum cli_exit code = session_open(cli);
    if (code) return code;
    buffer_clear(&cli->why);
    if (!url_parse(cli->account.server, &l->url, &cli->why)) return cli_fail(cli, CLI_EXIT_STATE, "bad server address");
    const char *ca = cli->account.ca_file[0] ? cli->account.ca_file : NULL;
    if (l->url.tls && tls_client_create(l->url.host, ca, true, &cli->why, &l->tls) != SOTTO_OK) {
        buffer_append_byte(&cli->why, 0);
        return cli_fail(cli, CLI_EXIT_USAGE, "TLS cannot be set up: %s", (char *)cli->why.data);
    }
    struct client_options options = {.token = slice_str(cli->account.token), .user = cli->account.user,
                                     .agent = slice_str(CLI_AGENT), .store = local_store_port(cli->store),
                                     .random = random_system()};
    if (loop_create(clock_system(), 64, &l->loop) != SOTTO_OK || !watch_signals(l))
        return cli_fail(cli, CLI_EXIT_FAILED, "the system gives no event loop");
    watch_output(l);
    if (client_create(&options, &l->client) != SOTTO_OK)
        return cli_fail(cli, CLI_EXIT_STATE, "the state in %s cannot be read", cli->home);
    return CLI_EXIT_OK;
}

enum cli_exit cmd_listen(struct cli *cli)
{
    uint64_t seconds = 0;
    struct listener_state l = {.cli = cli, .signals.fd = -1, .output.fd = -1};
    buffer_clear(&cli->why);
    if (!args_u64(&cli->args, "for", 86400 * 366, &seconds, &cli->why) ||
        !args_u64(&cli->args, "count", UINT32_MAX, &l.count_max, &cli->why)) {
        buffer_append_byte(&cli->why, 0);
        return cli_fail(cli, CLI_EXIT_USAGE, "%s", (char *)cli->why.data);
    }
    if (args_get(&cli->args, "count") && l.count_max == 0)
        return cli_fail(cli, CLI_EXIT_USAGE, "--count takes a number from 1, not 0");
    l.mark_read = args_get(&cli->args, "read") != NULL;
    l.show_receipts = args_get(&cli->args, "receipts") != NULL;
    l.code = set_up(cli, &l);
    if (!l.code) run(&l, args_get(&cli->args, "for") ? now_ms() + seconds * 1000 : UINT64_MAX);
    if (!l.code && l.count_max && l.count < l.count_max && args_get(&cli->args, "for"))
        l.code = cli_fail(cli, CLI_EXIT_TIMEOUT, "%llu of %llu messages came", (unsigned long long)l.count,
                          (unsigned long long)l.count_max);
    client_destroy(&l.client);
    if (l.output.fd >= 0) loop_unwatch(l.loop, &l.output);
    if (l.signals.fd >= 0) {
        loop_unwatch(l.loop, &l.signals);
        close(l.signals.fd);
    }
    if (l.tls) tls_unref(&l.tls);
    if (l.loop) loop_destroy(&l.loop);
    return l.code;
}
