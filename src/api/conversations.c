/* Reading what is stored: one message, a page of history, conversations.
 *
 * All of it runs on workers. Pages end at a number of entries or a number of
 * bytes, whichever comes first, and say `hasMore`; a page is never empty while
 * there is more.
 */
#include "api/api.h"
#include "engine/inbox.h"
#include "gateway/event_json.h"

enum { PAGE_BYTES_MAX = 512 * 1024, LIST_LIMIT_DEFAULT = 50, HISTORY_LIMIT_DEFAULT = 50 };

/* Who asks, and what has been written. */
struct page {
    struct call *call;
    struct viewer viewer;
    uint64_t now_ms;
    size_t count;
    bool full;    /* no more in this page */
    bool more;    /* something was left for the next one */
};

static enum problem page_init(struct page *p, struct call *c)
{
    struct user_view *me = NULL;
    if (directory_view(c->services->directory, c->user, &me) != SOTTO_OK) return PROBLEM_TOKEN;
    *p = (struct page){.call = c, .viewer = {c->user, c->device, me->receipts_off},
                       .now_ms = clock_wall_ms(c->services->clock)};
    user_view_unref(me);
    return PROBLEM_NONE;
}

static struct store *store_of(const struct call *c)
{
    return engine_store(c->services->engine);
}

static enum problem problem_of(enum sotto_err err)
{
    switch (err) {
    case SOTTO_OK: return PROBLEM_NONE;
    case SOTTO_ERR_NOT_FOUND: return PROBLEM_NOT_FOUND;
    default: return PROBLEM_INTERNAL;
    }
}

static void count_entry(struct page *p)
{
    p->count++;
    if (p->call->answer_bytes.len >= PAGE_BYTES_MAX) p->full = true;
}

/* ---- One message --------------------------------------------------------- */

static void on_one_message(void *ctx, const struct conversation *c, const struct member *me, const struct message *m)
{
    struct page *p = ctx;
    struct json_writer *w = &p->call->answer;
    const struct record_message *r = &m->record;
    (void)me;
    p->count++;
    event_json_message(w, m, c->kind, &p->viewer, p->now_ms);
    json_key(w, "status");
    json_begin_array(w);
    for (size_t i = 0; i < c->members_count; i++) {
        const struct member *who = &c->members[i];
        if (id_eq(who->user, r->sender) || !member_sees(who, m->sequence)) continue;
        /* A withheld message has reached nobody, whatever the marks say. */
        bool reached = !(r->flags & MESSAGE_WITHHELD);
        uint64_t read = id_eq(who->user, p->viewer.user) ? who->read.sequence
                        : p->viewer.receipts_off         ? 0
                                                         : who->public_read;
        json_begin_object(w);
        json_put_id(w, "userId", who->user);
        json_put_bool(w, "delivered", reached && who->delivered.sequence >= m->sequence);
        json_put_bool(w, "read", reached && read >= m->sequence);
        json_end_object(w);
    }
    json_end_array(w);
}

struct message_request {
    struct id conversation;
    uint64_t sequence;
};

enum problem api_message_get(struct call *c)
{
    static const struct json_field fields[] = {
        {"conversationId", JF_ID, true, offsetof(struct message_request, conversation), 0, 0, SIZE_MAX},
        {"sequence", JF_U64, true, offsetof(struct message_request, sequence), 1, SEQUENCE_MAX, SIZE_MAX},
    };
    struct message_request r = {0};
    struct page page;
    enum problem p = call_decode(c, fields, 2, &r);
    if (p == PROBLEM_NONE) p = page_init(&page, c);
    if (p != PROBLEM_NONE) return p;
    struct inbox_sink sink = {.ctx = &page, .message = on_one_message};
    p = problem_of(inbox_message(store_of(c), c->user, r.conversation, r.sequence, &sink));
    return p == PROBLEM_NONE && page.count == 0 ? PROBLEM_NOT_FOUND : p;
}

/* ---- History ------------------------------------------------------------- */

static void on_history_message(void *ctx, const struct conversation *c, const struct member *me,
                               const struct message *m)
{
    struct page *p = ctx;
    (void)me;
    if (p->full) {
        p->more = true;
        return;
    }
    event_json_batch_message(&p->call->answer, m, c->kind, &p->viewer, p->now_ms);
    count_entry(p);
}

struct history_request {
    struct id conversation;
    uint64_t since, before, limit;
    bool has_since, has_before, has_limit;
};

static enum problem history_decode(struct call *c, struct history_request *r)
{
#define AT(member) offsetof(struct history_request, member)
    static const struct json_field fields[] = {
        {"conversationId", JF_ID, true, AT(conversation), 0, 0, SIZE_MAX},
        {"since", JF_U64, false, AT(since), 0, SEQUENCE_MAX, AT(has_since)},
        {"before", JF_U64, false, AT(before), 1, SEQUENCE_MAX, AT(has_before)},
        {"limit", JF_U64, false, AT(limit), 1, SOTTO_HISTORY_LIMIT_MAX, AT(has_limit)},
    };
#undef AT
    enum problem p = call_decode(c, fields, sizeof(fields) / sizeof(fields[0]), r);
    if (p == PROBLEM_NONE && r->has_since && r->has_before) {
        c->field = "before";
        buffer_append_str(&c->why, "Give since or before, not both.");
        p = PROBLEM_BAD_FIELD;
    }
    if (!r->has_limit) r->limit = HISTORY_LIMIT_DEFAULT;
    return p;
}

enum problem api_history_get(struct call *c)
{
    struct history_request r = {0};
    struct page page;
    bool more = false;
    enum problem p = history_decode(c, &r);
    if (p == PROBLEM_NONE) p = page_init(&page, c);
    if (p != PROBLEM_NONE) return p;
    struct inbox_page wanted = {.since = r.since, .before = r.before, .backwards = !r.has_since,
                                .limit = (size_t)r.limit};
    struct inbox_sink sink = {.ctx = &page, .message = on_history_message};
    json_key(&c->answer, "messages");
    json_begin_array(&c->answer);
    p = problem_of(inbox_history(store_of(c), c->user, r.conversation, page.now_ms, &wanted, &sink, &more));
    json_end_array(&c->answer);
    json_put_bool(&c->answer, "hasMore", more || page.more);
    return p;
}

/* ---- Conversations ------------------------------------------------------- */

static void on_listed(void *ctx, const struct conversation *c, const struct member *me, const struct message *last,
                      uint64_t unread)
{
    struct page *p = ctx;
    (void)me;
    if (p->full) {
        p->more = true;
        return;
    }
    event_json_listed(&p->call->answer, c, last, unread, &p->viewer, p->now_ms);
    count_entry(p);
}

struct list_request {
    struct id after;
    uint64_t limit;
    bool has_after, has_limit;
};

enum problem api_conversation_list(struct call *c)
{
#define AT(member) offsetof(struct list_request, member)
    static const struct json_field fields[] = {
        {"after", JF_ID, false, AT(after), 0, 0, AT(has_after)},
        {"limit", JF_U64, false, AT(limit), 1, SOTTO_HISTORY_LIMIT_MAX, AT(has_limit)},
    };
#undef AT
    struct list_request r = {0};
    struct page page;
    bool more = false;
    enum problem p = call_decode(c, fields, 2, &r);
    if (p == PROBLEM_NONE) p = page_init(&page, c);
    if (p != PROBLEM_NONE) return p;
    size_t limit = r.has_limit ? (size_t)r.limit : LIST_LIMIT_DEFAULT;
    json_key(&c->answer, "conversations");
    json_begin_array(&c->answer);
    p = problem_of(inbox_list(store_of(c), c->user, page.now_ms, r.has_after ? &r.after : NULL, limit, on_listed,
                              &page, &more));
    json_end_array(&c->answer);
    json_put_bool(&c->answer, "hasMore", more || page.more);
    return p;
}

/* Members of the answer itself, not an object in a list. */
static void on_single(void *ctx, const struct conversation *c, const struct member *me, const struct message *last,
                      uint64_t unread)
{
    struct page *p = ctx;
    struct json_writer *w = &p->call->answer;
    (void)me;
    p->count++;
    event_json_conversation(w, c, &p->viewer);
    json_put_u64(w, "unread", unread);
    if (last == NULL) return;
    json_key(w, "lastMessage");
    json_begin_object(w);
    event_json_message(w, last, c->kind, &p->viewer, p->now_ms);
    json_end_object(w);
}

enum problem api_conversation_get(struct call *c)
{
    static const struct json_field fields[] = {
        {"conversationId", JF_ID, true, offsetof(struct message_request, conversation), 0, 0, SIZE_MAX},
    };
    struct message_request r = {0};
    struct page page;
    enum problem p = call_decode(c, fields, 1, &r);
    if (p == PROBLEM_NONE) p = page_init(&page, c);
    if (p != PROBLEM_NONE) return p;
    p = problem_of(inbox_conversation(store_of(c), c->user, page.now_ms, r.conversation, on_single, &page));
    return p == PROBLEM_NONE && page.count == 0 ? PROBLEM_NOT_FOUND : p;
}
