/* history and conversations. */
#include "base/text.h"
#include "cli/cli_private.h"

#include <stdlib.h>

enum { HISTORY_MAX = 100000 };

struct entry {
    struct printed_message m;
    bool whole;                       /* payload is there */
    uint8_t chain[HASH_LEN], payload_hash[HASH_LEN];
};
struct page {
    struct rest_reply reply;
    struct page *next;
};
struct history {
    struct entry *entries;
    size_t count;
    struct page *pages;               /* own what the entries borrow */
    bool more;
};

static bool hash_member(struct rest_reply *reply, struct json object, const char *name, uint8_t out[HASH_LEN])
{
    uint8_t bytes[48];
    size_t len = 0;
    struct slice text = reply_text(reply, object, name);
    if (text.len > 44 || base64_decode(text, bytes, &len) != SOTTO_OK || len != HASH_LEN) return false;
    memcpy(out, bytes, HASH_LEN);
    return true;
}

static bool read_entry(struct rest_reply *reply, struct json o, struct entry *e)
{
    struct printed_message *m = &e->m;
    *e = (struct entry){0};
    m->event = "message";
    m->sequence = reply_u64(o, "sequence");
    m->ts_ms = reply_u64(o, "ts");
    m->expires_ms = reply_u64(o, "expiresAt");
    m->urgent = reply_bool(o, "urgent");
    m->type = reply_text(reply, o, "messageType");
    m->withheld = reply_text(reply, o, "withheld");
    m->client_msg_id = reply_text(reply, o, "clientMsgId");
    struct slice text = reply_text(reply, o, "payload");
    uint8_t *bytes = arena_alloc(&reply->arena, base64_decoded_max(text.len));
    size_t len = 0;
    if (!bytes || base64_decode(text, bytes, &len) != SOTTO_OK) return false;
    m->payload = slice_of(bytes, len);
    e->whole = json_type(json_get(o, "payload")) == JSON_STRING;
    return reply_id(reply, o, "conversationId", &m->conversation) &&
           reply_id(reply, o, "messageId", &m->message_id) && reply_id(reply, o, "senderId", &m->sender) &&
           hash_member(reply, o, "chain", e->chain) && hash_member(reply, o, "payloadHash", e->payload_hash);
}

static enum cli_exit fetch_page(struct cli *cli, struct history *h, const char *conversation, bool forward,
                                uint64_t from, bool from_given, size_t limit)
{
    char path[200];
    int n = snprintf(path, sizeof path, "/api/v1/conversations/%s/messages?limit=%zu", conversation,
                     limit > SOTTO_HISTORY_LIMIT_MAX ? (size_t)SOTTO_HISTORY_LIMIT_MAX : limit);
    if (from_given)
        (void)snprintf(path + n, sizeof path - (size_t)n, "&%s=%llu", forward ? "since" : "before",
                       (unsigned long long)from);
    struct page *p = calloc(1, sizeof *p);
    if (!p) return cli_fail(cli, CLI_EXIT_FAILED, "out of memory");
    p->next = h->pages;
    h->pages = p;
    /* Not found: nobody has written yet. */
    enum cli_exit code = session_call_or(cli, "GET", path, (struct slice){0}, "not_found", &p->reply);
    if (code) return code;
    struct json list = json_get(p->reply.body, "messages");
    struct entry *grown = realloc(h->entries, (h->count + json_count(list) + 1) * sizeof *grown);
    if (!grown) return cli_fail(cli, CLI_EXIT_FAILED, "out of memory");
    h->entries = grown;
    size_t before = h->count;
    for (struct json e = json_first(list); json_type(e) != JSON_ABSENT; e = json_next(list, e)) {
        if (!read_entry(&p->reply, e, &h->entries[h->count]))
            return cli_fail(cli, CLI_EXIT_FAILED, "%s gave an answer that does not fit", cli->account.server);
        h->count++;
    }
    h->more = reply_bool(p->reply.body, "hasMore") && h->count > before;
    return CLI_EXIT_OK;
}

static int by_sequence(const void *a, const void *b)
{
    uint64_t x = ((const struct entry *)a)->m.sequence, y = ((const struct entry *)b)->m.sequence;
    return x < y ? -1 : x > y;
}

/* Every message must follow from the one before it. Tells the first that does not. */
static bool verify(const struct history *h, uint64_t *broken_out)
{
    for (size_t i = 0; i < h->count; i++) {
        const struct entry *e = &h->entries[i];
        uint8_t hash[HASH_LEN];
        *broken_out = e->m.sequence;
        if (e->whole) {
            body_hash(BODY_PAYLOAD, e->m.payload, hash);
            if (memcmp(hash, e->payload_hash, HASH_LEN) != 0) return false;
        }
        uint8_t first[HASH_LEN] = {0};
        const uint8_t *previous = e->m.sequence == 1 ? first : NULL;
        if (i > 0) {
            if (h->entries[i - 1].m.sequence + 1 != e->m.sequence) continue; /* purged between */
            previous = h->entries[i - 1].chain;
        }
        if (!previous) continue;
        chain_next(previous, e->m.sequence, e->m.message_id, e->m.sender, e->payload_hash, hash);
        if (memcmp(hash, e->chain, HASH_LEN) != 0) return false;
    }
    return true;
}

static enum cli_exit fetch(struct cli *cli, struct history *h, const char *conversation)
{
    const struct args *a = &cli->args;
    uint64_t since = 0, before = 0, limit = 20;
    bool forward = args_get(a, "since") != NULL, back = args_get(a, "before") != NULL;
    buffer_clear(&cli->why);
    if (!args_u64(a, "since", UINT64_MAX >> 11, &since, &cli->why) ||
        !args_u64(a, "before", UINT64_MAX >> 11, &before, &cli->why) ||
        !args_u64(a, "limit", HISTORY_MAX, &limit, &cli->why)) {
        buffer_append_byte(&cli->why, 0);
        return cli_fail(cli, CLI_EXIT_USAGE, "%s", (char *)cli->why.data);
    }
    if (forward && back) return cli_fail(cli, CLI_EXIT_USAGE, "--since and --before exclude each other");
    uint64_t from = forward ? since : before;
    bool given = forward || back;
    do {
        if (h->count >= limit) break;
        enum cli_exit code = fetch_page(cli, h, conversation, forward, from, given, limit - h->count);
        if (code) return code;
        if (h->count) from = h->entries[h->count - 1].m.sequence;
        given = true;
    } while (h->more);
    return CLI_EXIT_OK;
}

enum cli_exit cmd_history(struct cli *cli)
{
    struct id other;
    enum cli_exit code = people_find(cli, cli->args.words[0], &other);
    if (code) return code;
    char conversation[ID_TEXT_LEN + 1];
    id_format(id_direct_conversation(cli->account.user, other), conversation);
    struct history h = {0};
    code = fetch(cli, &h, conversation);
    if (h.count) qsort(h.entries, h.count, sizeof *h.entries, by_sequence);
    for (size_t i = 0; i < h.count && !code; i++) print_message(cli, &h.entries[i].m);
    uint64_t broken;
    if (!code && !verify(&h, &broken))
        code = cli_fail(cli, CLI_EXIT_FAILED, "message #%llu does not follow from the one before it: the server has "
                        "changed this conversation", (unsigned long long)broken);
    else if (!code && h.count == 0 && !cli->json)
        cli_note(cli, "No messages.");
    else if (!code && h.more && !cli->json)
        cli_note(cli, args_get(&cli->args, "since") ? "There are later ones: --since %llu"
                                                    : "There are earlier ones: --before %llu",
                 (unsigned long long)h.entries[args_get(&cli->args, "since") ? h.count - 1 : 0].m.sequence);
    while (h.pages) {
        struct page *p = h.pages;
        h.pages = p->next;
        rest_reply_deinit(&p->reply);
        free(p);
    }
    free(h.entries);
    return code;
}

/* ---- conversations ------------------------------------------------------ */

static void print_conversation(struct cli *cli, struct rest_reply *reply, struct json c)
{
    struct json members = json_get(c, "members");
    char name[SOTTO_USERNAME_MAX + 8] = "?", when[32] = "";
    struct id other = {{0}};
    for (struct json m = json_first(members); json_type(m) != JSON_ABSENT; m = json_next(members, m)) {
        struct id user;
        if (!reply_id(reply, m, "userId", &user) || id_eq(user, cli->account.user)) continue;
        other = user;
        people_name(cli, user, name);
    }
    struct json last = json_get(c, "lastMessage");
    uint64_t ts = reply_u64(last, "ts"), unread = reply_u64(c, "unread"), sequence = reply_u64(c, "lastSequence");
    if (cli->json) {
        struct json_writer w = print_json_begin(cli);
        json_put_cstr(&w, "type", "conversation");
        json_put_string(&w, "conversationId", reply_text(reply, c, "conversationId"));
        json_put_cstr(&w, "with", name);
        json_put_id(&w, "withUserId", other);
        json_put_u64(&w, "lastSequence", sequence);
        json_put_u64(&w, "unread", unread);
        if (ts) json_put_u64(&w, "lastTs", ts);
        print_json_end(cli, &w);
        return;
    }
    if (ts) print_time(ts, when);
    printf("%-19s  ", when);
    print_cell(slice_str(name), 20);
    printf("  %llu message%s", (unsigned long long)sequence, sequence == 1 ? "" : "s");
    if (unread) printf(", %llu unread", (unsigned long long)unread);
    printf("\n");
}

enum cli_exit cmd_conversations(struct cli *cli)
{
    char after[128] = "", path[200];
    size_t count = 0;
    for (bool more = true; more;) {
        struct rest_reply reply;
        (void)snprintf(path, sizeof path, "/api/v1/conversations?limit=100%s%s", after[0] ? "&after=" : "", after);
        enum cli_exit code = session_call(cli, "GET", path, (struct slice){0}, &reply);
        struct json list = json_get(reply.body, "conversations");
        more = false;
        for (struct json c = json_first(list); !code && json_type(c) != JSON_ABSENT; c = json_next(list, c)) {
            struct slice id = reply_text(&reply, c, "conversationId");
            (void)snprintf(after, sizeof after, "%.*s", (int)id.len, (const char *)id.data);
            print_conversation(cli, &reply, c);
            count++;
            more = true;
        }
        more = more && reply_bool(reply.body, "hasMore");
        rest_reply_deinit(&reply);
        if (code) return code;
    }
    if (count == 0 && !cli->json) cli_note(cli, "No conversations yet. \"sotto send USER TEXT\" starts one.");
    return CLI_EXIT_OK;
}
