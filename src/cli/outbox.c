/* Sending over REST what waits in the outbox.
 *
 * `sotto send` does not open an event channel: that would take the place of a
 * running `sotto listen` of the same device. A message is first put into the
 * local outbox, then posted under its clientMsgId until there is an answer; what
 * a crash or a lost network leaves there is sent by the next send or listen, and
 * the server makes one message of it however often it comes.
 */
#include "cli/cli_private.h"

#include <stdlib.h>
#include <unistd.h>

enum { WAITING_MAX = 1000 };

struct waiting {
    struct client_queued item;
    uint8_t *bytes;
};
struct waiting_list {
    struct waiting *items;
    size_t count;
};

static bool collect(void *arg, const struct client_queued *q)
{
    struct waiting_list *l = arg;
    if (l->count == WAITING_MAX) return true;
    struct waiting *grown = realloc(l->items, (l->count + 1) * sizeof *grown);
    if (!grown) return false;
    l->items = grown;
    struct waiting *e = &grown[l->count];
    e->item = *q;
    e->bytes = malloc(q->client_msg_id.len + q->type.len + q->payload.len + 1);
    if (!e->bytes) return false;
    l->count++;
    uint8_t *at = e->bytes;
    struct slice *parts[] = {&e->item.client_msg_id, &e->item.type, &e->item.payload};
    for (size_t i = 0; i < 3; i++) {
        if (parts[i]->len) memcpy(at, parts[i]->data, parts[i]->len);
        parts[i]->data = at;
        at += parts[i]->len;
    }
    return true;
}

static void waiting_free(struct waiting_list *l)
{
    for (size_t i = 0; i < l->count; i++) free(l->items[i].bytes);
    free(l->items);
}

static void write_body(const struct client_queued *q, struct buffer *body)
{
    struct json_writer w = json_writer_of(body);
    json_begin_object(&w);
    client_queued_write(q, &w);
    json_end_object(&w);
}

static uint64_t now_ms(void)
{
    return clock_monotonic_ms(clock_system());
}

/* Waits before the next try; false when the time is up. */
static bool pause_before_retry(uint64_t wait_ms, uint64_t deadline_ms)
{
    uint64_t now = now_ms();
    if (now + wait_ms >= deadline_ms) return false;
    (void)usleep((useconds_t)(wait_ms * 1000));
    return true;
}

enum post { POST_SENT, POST_REFUSED, POST_LATER };

static enum post post_once(struct cli *cli, struct slice body, struct rest_reply *reply)
{
    buffer_clear(&cli->why);
    if (rest_call(cli->rest, "POST", SLICE_LIT("/api/v1/messages"), body, reply, &cli->why) != SOTTO_OK)
        return POST_LATER;
    struct id id;
    if (reply->status == 200 && reply_id(reply, reply->body, "conversationId", &id) &&
        reply_id(reply, reply->body, "messageId", &id))
        return POST_SENT;
    if (reply->status == 408 || reply->status == 429 || reply->status >= 500 || reply->code.len == 0) return POST_LATER;
    return POST_REFUSED;
}

static enum cli_exit give_up(struct cli *cli, const struct rest_reply *reply)
{
    if (reply->status && reply->code.len == 0) {
        (void)session_problem(cli, reply);
        cli_note(cli, "The message is kept and goes with the next \"sotto send\" or \"sotto listen\".");
        return CLI_EXIT_FAILED;
    }
    if (reply->status)
        return cli_fail(cli, CLI_EXIT_FAILED, "the server cannot take it now: %.*s It is kept and goes with the next "
                        "\"sotto send\" or \"sotto listen\".", (int)reply->message.len,
                        (const char *)reply->message.data);
    buffer_append_byte(&cli->why, 0);
    return cli_fail(cli, CLI_EXIT_UNREACHABLE, "%s. The message is kept and goes with the next \"sotto send\" or "
                    "\"sotto listen\".", (char *)cli->why.data);
}

static void take_answer(struct rest_reply *reply, bool wanted, struct outbox_result *result)
{
    result->delivered++;
    if (!wanted) return;
    result->sent = reply_id(reply, reply->body, "conversationId", &result->conversation) &&
                   reply_id(reply, reply->body, "messageId", &result->message_id);
    result->sequence = reply_u64(reply->body, "sequence");
    result->ts_ms = reply_u64(reply->body, "ts");
    result->repeated = reply_bool(reply->body, "repeated");
}

/* Posts one message until it is answered or the time is up. */
static enum cli_exit deliver_one(struct cli *cli, const struct client_queued *q, uint64_t deadline_ms, bool wanted,
                                 struct outbox_result *result)
{
    const struct client_store *store = local_store_port(cli->store);
    struct buffer body;
    buffer_init(&body, SOTTO_HTTP_BODY_MAX);
    write_body(q, &body);
    enum cli_exit code = CLI_EXIT_OK;
    for (uint64_t wait = 250;; wait = wait < 8000 ? wait * 2 : wait) {
        struct rest_reply reply;
        enum post post = post_once(cli, buffer_slice(&body), &reply);
        uint64_t pause = reply.retry_after_ms > wait ? reply.retry_after_ms : wait;
        bool again = post == POST_LATER && pause_before_retry(pause, deadline_ms);
        if (post == POST_SENT) take_answer(&reply, wanted, result);
        if (post == POST_REFUSED) {
            code = session_problem(cli, &reply);
            if (code == CLI_EXIT_SIGNED_OUT) post = POST_LATER; /* its token is the reason, not the message */
            else result->failed++;
            if (code != CLI_EXIT_SIGNED_OUT && !wanted) print_failed(cli, q->client_msg_id, reply.code, reply.message);
        } else if (post == POST_LATER && !again) {
            code = give_up(cli, &reply);
        }
        result->stopped = post == POST_LATER && !again;
        rest_reply_deinit(&reply);
        if (post != POST_LATER && store->remove_queued(store->ctx, q->client_msg_id) != SOTTO_OK && !code)
            code = cli_fail(cli, CLI_EXIT_STATE, "%s cannot be written", cli->home);
        if (!again) break;
    }
    buffer_deinit(&body);
    return code;
}

enum cli_exit deliver_outbox(struct cli *cli, struct slice wanted_id, uint64_t deadline_ms,
                             struct outbox_result *result_out)
{
    *result_out = (struct outbox_result){0};
    enum cli_exit code = session_open(cli);
    if (code) return code;
    const struct client_store *store = local_store_port(cli->store);
    struct waiting_list list = {0};
    if (store->load_queued(store->ctx, collect, &list) != SOTTO_OK)
        code = cli_fail(cli, CLI_EXIT_STATE, "the outbox in %s cannot be read", cli->home);
    /* What comes after one that is kept is kept, too: it must not overtake. */
    for (size_t i = 0; i < list.count && code != CLI_EXIT_STATE && !result_out->stopped; i++) {
        bool wanted = slice_eq(list.items[i].item.client_msg_id, wanted_id);
        enum cli_exit one = deliver_one(cli, &list.items[i].item, deadline_ms, wanted, result_out);
        if (one) code = one;
    }
    waiting_free(&list);
    return code;
}
