/* send: put into the outbox, deliver, wait for as much as was asked. */
#include "base/text.h"
#include "cli/cli_private.h"

#include <errno.h>
#include <unistd.h>

/* The text of the message: the words, or stdin. */
static enum cli_exit read_text(struct cli *cli, struct buffer *text)
{
    const struct args *a = &cli->args;
    if (a->words_count == 2 && strcmp(a->words[1], "-") == 0) {
        uint8_t chunk[4096];
        size_t n;
        while (!text->overflow && (n = fread(chunk, 1, sizeof chunk, stdin)) > 0) buffer_append(text, chunk, n);
        if (ferror(stdin)) return cli_fail(cli, CLI_EXIT_FAILED, "stdin cannot be read: %s", strerror(errno));
        if (text->len && text->data[text->len - 1] == '\n') text->len--;
    } else {
        for (int i = 1; i < a->words_count; i++) {
            if (i > 1) buffer_append_byte(text, ' ');
            buffer_append_str(text, a->words[i]);
        }
    }
    if (text->overflow || text->len > SOTTO_PAYLOAD_MAX)
        return cli_fail(cli, CLI_EXIT_FAILED, "a message has at most %d bytes", SOTTO_PAYLOAD_MAX);
    if (text->len == 0) return cli_fail(cli, CLI_EXIT_USAGE, "there is nothing to send: sotto send USER TEXT");
    return CLI_EXIT_OK;
}

enum stage { STAGE_SENT, STAGE_DELIVERED, STAGE_READ };
static const char *const stage_names[] = {"sent", "delivered", "read"};

static enum cli_exit parse_stage(struct cli *cli, enum stage *out)
{
    const char *text = args_get(&cli->args, "wait");
    *out = STAGE_SENT;
    if (!text) return CLI_EXIT_OK;
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, stage_names[i]) != 0) continue;
        *out = (enum stage)i;
        return CLI_EXIT_OK;
    }
    const char *near = args_nearest(text, stage_names, 3);
    return cli_fail(cli, CLI_EXIT_USAGE, "--wait takes sent, delivered or read, not \"%s\"%s%s%s", text,
                    near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

/* Asks for the message's status until the other side is that far; a server that is
 * away meanwhile is asked again. */
static enum cli_exit wait_for(struct cli *cli, const struct outbox_result *sent, enum stage stage,
                              uint64_t deadline_ms)
{
    char conversation[ID_TEXT_LEN + 1], path[160];
    id_format(sent->conversation, conversation);
    (void)snprintf(path, sizeof path, "/api/v1/conversations/%s/messages/%llu", conversation,
                   (unsigned long long)sent->sequence);
    for (uint64_t wait = 50;; wait = wait < 1000 ? wait * 2 : wait) {
        struct rest_reply reply;
        enum cli_exit code = CLI_EXIT_OK;
        bool reached = false;
        buffer_clear(&cli->why);
        bool answered = rest_call(cli->rest, "GET", slice_str(path), (struct slice){0}, &reply, &cli->why) == SOTTO_OK;
        uint64_t pause = reply.retry_after_ms > wait ? reply.retry_after_ms : wait;
        if (answered && reply.code.len && reply.status < 500 && reply.status != 429) {
            code = session_problem(cli, &reply);
        } else if (answered && reply.status == 200) {
            struct json list = json_get(reply.body, "status");
            for (struct json s = json_first(list); json_type(s) != JSON_ABSENT; s = json_next(list, s)) {
                struct id user;
                if (!reply_id(&reply, s, "userId", &user) || id_eq(user, cli->account.user)) continue;
                reached = reached || reply_bool(s, stage_names[stage]);
            }
        }
        rest_reply_deinit(&reply);
        if (code || reached) return code;
        if (clock_monotonic_ms(clock_system()) + pause >= deadline_ms)
            return cli_fail(cli, CLI_EXIT_TIMEOUT, "the message is sent, but not yet %s", stage_names[stage]);
        (void)usleep((useconds_t)(pause * 1000));
    }
}

static void print_sent(struct cli *cli, const struct outbox_result *r, const char *id, enum stage stage)
{
    if (!cli->json) {
        printf("%s #%llu%s\n", stage_names[stage], (unsigned long long)r->sequence,
               r->repeated ? " (it was there already)" : "");
        return;
    }
    struct json_writer w = print_json_begin(cli);
    json_put_cstr(&w, "type", "message.sent");
    json_put_cstr(&w, "clientMsgId", id);
    json_put_id(&w, "conversationId", r->conversation);
    json_put_id(&w, "messageId", r->message_id);
    json_put_u64(&w, "sequence", r->sequence);
    json_put_u64(&w, "ts", r->ts_ms);
    json_put_cstr(&w, "stage", stage_names[stage]);
    if (r->repeated) json_put_bool(&w, "repeated", true);
    print_json_end(cli, &w);
}

static enum cli_exit flush(struct cli *cli)
{
    struct outbox_result result;
    enum cli_exit code = deliver_outbox(cli, SLICE_LIT(""), cli->deadline_ms, &result);
    size_t after = local_outbox_count(cli->store);
    if (cli->json) {
        struct json_writer w = print_json_begin(cli);
        json_put_cstr(&w, "type", "outbox.flushed");
        json_put_u64(&w, "sent", result.delivered);
        json_put_u64(&w, "failed", result.failed);
        json_put_u64(&w, "waiting", after);
        print_json_end(cli, &w);
    } else {
        printf("%zu sent, %zu refused, %zu waiting\n", result.delivered, result.failed, after);
    }
    return code;
}

/* Whether its key waits already, and with the same message. */
struct waiting_search {
    const struct client_queued *q;
    bool found, same;
};

static bool compare_waiting(void *arg, const struct client_queued *w)
{
    struct waiting_search *s = arg;
    const struct client_queued *q = s->q;
    if (!slice_eq(w->client_msg_id, q->client_msg_id)) return true;
    s->found = true;
    s->same = id_eq(w->to, q->to) && slice_eq(w->type, q->type) && slice_eq(w->payload, q->payload) &&
              w->ttl_s == q->ttl_s && w->urgent == q->urgent;
    return true;
}

static enum cli_exit queue(struct cli *cli, const char *id, struct slice payload, struct id to, uint64_t ttl_s)
{
    const struct client_store *store = local_store_port(cli->store);
    const char *type = args_get(&cli->args, "type");
    struct client_queued q = {.client_msg_id = slice_str(id), .to = to, .type = slice_str(type ? type : "text"),
                              .payload = payload, .ttl_s = ttl_s, .urgent = args_get(&cli->args, "urgent") != NULL};
    if (q.type.len == 0 || q.type.len > SOTTO_MESSAGE_TYPE_MAX || !utf8_valid(q.type))
        return cli_fail(cli, CLI_EXIT_USAGE, "--type has 1 to %d bytes of UTF-8", SOTTO_MESSAGE_TYPE_MAX);
    struct waiting_search waiting = {.q = &q};
    if (store->load_queued(store->ctx, compare_waiting, &waiting) != SOTTO_OK)
        return cli_fail(cli, CLI_EXIT_STATE, "the outbox in %s cannot be read", cli->home);
    if (waiting.same) return CLI_EXIT_OK;
    if (waiting.found) return cli_fail(cli, CLI_EXIT_FAILED, "another message waits already under the key \"%s\"", id);
    if (local_outbox_count(cli->store) >= 1000)
        return cli_fail(cli, CLI_EXIT_FAILED, "1000 messages wait already; \"sotto send --flush\" sends them");
    if (store->put_queued(store->ctx, &q) != SOTTO_OK)
        return cli_fail(cli, CLI_EXIT_STATE, "the outbox in %s cannot be written; the message is not kept", cli->home);
    return CLI_EXIT_OK;
}

enum cli_exit cmd_send(struct cli *cli)
{
    const struct args *a = &cli->args;
    uint64_t timeout_s = 30, ttl_s = 0;
    buffer_clear(&cli->why);
    if (!args_u64(a, "timeout", 86400, &timeout_s, &cli->why) || !args_u64(a, "ttl", SOTTO_TTL_MAX_S, &ttl_s, &cli->why)) {
        buffer_append_byte(&cli->why, 0);
        return cli_fail(cli, CLI_EXIT_USAGE, "%s", (char *)cli->why.data);
    }
    uint64_t timeout_ms = timeout_s * 1000;
    cli->deadline_ms = clock_monotonic_ms(clock_system()) + timeout_ms;
    if (args_get(a, "flush") && a->words_count == 0) return flush(cli);
    enum stage stage;
    enum cli_exit code = parse_stage(cli, &stage);
    if (code) return code;
    if (a->words_count < 2) return cli_fail(cli, CLI_EXIT_USAGE, "something is missing. Usage: sotto send USER TEXT...");

    struct buffer text;
    buffer_init(&text, SOTTO_PAYLOAD_MAX + 1); /* a last newline is not part of it */
    struct id to;
    char made[ID_TEXT_LEN + 1];
    const char *id = args_get(a, "id");
    if (!id) {
        id_format(id_time_ordered(random_system(), clock_wall_ms(clock_system())), made);
        id = made;
    }
    code = read_text(cli, &text);
    cli->deadline_ms = clock_monotonic_ms(clock_system()) + timeout_ms; /* typing is not counted */
    if (!code && (strlen(id) == 0 || strlen(id) > SOTTO_CLIENT_MSG_ID_MAX || !utf8_valid(slice_str(id))))
        code = cli_fail(cli, CLI_EXIT_USAGE, "--id has 1 to %d bytes of UTF-8", SOTTO_CLIENT_MSG_ID_MAX);
    if (!code) code = people_find(cli, a->words[0], &to);
    if (!code && id_eq(to, cli->account.user)) code = cli_fail(cli, CLI_EXIT_FAILED, "that is you");
    if (!code) code = queue(cli, id, buffer_slice(&text), to, ttl_s);
    buffer_deinit(&text);
    if (code) return code;

    struct outbox_result result;
    code = deliver_outbox(cli, slice_str(id), cli->deadline_ms, &result);
    if (!result.sent) return code ? code : CLI_EXIT_FAILED;
    if (stage != STAGE_SENT) {
        enum cli_exit waited = wait_for(cli, &result, stage, cli->deadline_ms);
        if (waited) stage = STAGE_SENT;
        if (!code) code = waited;
    }
    print_sent(cli, &result, id, stage);
    return code;
}
