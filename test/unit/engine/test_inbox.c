/* Reading: synchronising whole and in pieces, history, lists, and who may see
 * what. */
#include "unit/engine/fixture.h"

#include <pthread.h>
#include <unistd.h>

#include "store/keys.h"

enum { SEEN_MAX = 4096 };
struct seen_message {
    struct id conversation;
    uint64_t sequence;
    uint8_t state, kind;
};
struct seen_marks {
    struct id conversation, who;
    bool delivered, read;
    uint64_t delivered_sequence, read_sequence;
};
struct seen {
    struct seen_message messages[SEEN_MAX];
    size_t messages_count;
    struct seen_marks marks[64];
    size_t marks_count;
    struct id conversations[256];
    size_t conversations_count;
    struct id unreadable[16];
    size_t unreadable_count;
};

static void on_conversation(void *ctx, const struct conversation *c, const struct member *me)
{
    struct seen *s = ctx;
    assert_non_null(me);
    assert_true(s->conversations_count < 256);
    s->conversations[s->conversations_count++] = c->id;
}

static void on_message(void *ctx, const struct conversation *c, const struct member *me, const struct message *m)
{
    struct seen *s = ctx;
    assert_true(member_sees(me, m->sequence));
    assert_true(s->messages_count < SEEN_MAX);
    s->messages[s->messages_count++] = (struct seen_message){c->id, m->sequence, m->state, m->kind};
}

static void on_marks(void *ctx, const struct conversation *c, const struct member *me, const struct member *who,
                     bool delivered, bool read)
{
    struct seen *s = ctx;
    assert_true(s->marks_count < 64);
    s->marks[s->marks_count++] = (struct seen_marks){c->id, who->user, delivered, read, who->delivered.sequence,
                                                     who == me ? who->read.sequence : who->public_read};
}

static void on_unreadable(void *ctx, struct id conversation)
{
    struct seen *s = ctx;
    assert_true(s->unreadable_count < 16);
    s->unreadable[s->unreadable_count++] = conversation;
}

static struct inbox_sink sink_of(struct seen *s)
{
    return (struct inbox_sink){.ctx = s, .conversation = on_conversation, .message = on_message, .marks = on_marks,
                               .unreadable = on_unreadable};
}

static struct seen *seen_clear(void)
{
    static struct seen s;
    memset(&s, 0, sizeof(s));
    return &s;
}

/* One call. */
static enum sotto_err step(struct fixture *f, unsigned user, size_t items, size_t bytes, struct cursor *cursor,
                           struct seen *seen, bool *done)
{
    struct inbox_sink sink = sink_of(seen);
    return inbox_sync(f->store, user_id(user), f->clock.wall_ms, items, bytes, &sink, cursor, done);
}

/* Until it is done; returns the number of calls. */
static size_t sync_all(struct fixture *f, unsigned user, size_t items, struct cursor *cursor, struct seen *seen)
{
    bool done = false;
    size_t calls = 0;
    while (!done) {
        assert_int_equal(step(f, user, items, 1 << 20, cursor, seen, &done), SOTTO_OK);
        assert_int_equal(cursor->partial, !done);
        calls++;
    }
    return calls;
}

static struct id direct(unsigned a, unsigned b) { return id_direct_conversation(user_id(a), user_id(b)); }

static struct id group(struct fixture *f, unsigned members)
{
    uint8_t entries[16 * (ID_LEN + 1)];
    struct id g = user_id(500);
    struct record r = group_of(f, g, members, entries);
    assert_int_equal(ask(f, &r).sequence, 1);
    return g;
}

static struct applied say(struct fixture *f, struct id conversation, unsigned user, const char *key)
{
    struct record r = message_to(f, user, 999, key, "in a group");
    r.conversation = conversation;
    r.message.has_peer = false;
    return ask(f, &r);
}

static void change(struct fixture *f, struct id g, unsigned user, uint8_t what, uint8_t role)
{
    struct record r = member_change(f, g, 1, user, what, role);
    assert_int_equal(ask(f, &r).problem, PROBLEM_NONE);
}

static void mark(struct fixture *f, struct id c, unsigned user, uint64_t delivered, uint64_t read, uint8_t flags)
{
    struct record r = marks_of(f, c, user, delivered, read, flags);
    assert_int_equal(ask(f, &r).problem, PROBLEM_NONE);
}

static void inbox_sync__nobody__is_done_at_once(void **state)
{
    struct fixture *f = *state;
    struct cursor c = {0};
    struct seen *s = seen_clear();
    assert_int_equal(sync_all(f, 1, 10, &c, s), 1);
    (void)send(f, 1, 2, "x");
    assert_int_equal(sync_all(f, 3, 10, &c, s), 1);
    assert_int_equal(c.position, 1);
    assert_int_equal(s->messages_count + s->conversations_count + s->marks_count, 0);
}

static void inbox_sync__from_the_start__then_only_what_is_new(void **state)
{
    struct fixture *f = *state;
    struct cursor c = {0};
    for (int i = 0; i < 3; i++) (void)send(f, 1, 2, "x");
    (void)send(f, 3, 2, "y");
    mark(f, direct(1, 2), 2, 2, 1, 0);
    struct seen *s = seen_clear();
    sync_all(f, 2, 100, &c, s);
    assert_int_equal(s->conversations_count, 2);
    assert_int_equal(s->messages_count, 4);
    assert_int_equal(s->marks_count, 1);
    assert_int_equal(c.position, 5);
    s = seen_clear();
    sync_all(f, 2, 100, &c, s);
    assert_int_equal(s->messages_count + s->conversations_count + s->marks_count, 0);
    (void)send(f, 1, 2, "z");
    mark(f, direct(1, 2), 1, 0, 4, 0);
    sync_all(f, 2, 100, &c, s);
    assert_int_equal(s->messages_count, 1);
    assert_int_equal(s->messages[0].sequence, 4);
    assert_int_equal(s->conversations_count, 0);
    assert_int_equal(s->marks_count, 1);
    assert_true(s->marks[0].delivered && s->marks[0].read);
    assert_int_equal(s->marks[0].read_sequence, 4);
}

/* Pieces of every size give exactly what one large piece gives, in order. */
static void inbox_sync__in_pieces__the_same_once(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 60; i++) (void)send(f, 1, 2 + i % 7, "x");
    for (unsigned i = 2; i < 9; i++) mark(f, direct(1, i), i, 3, i % 3, 0);
    struct seen *s = seen_clear(), whole;
    struct cursor c = {0};
    sync_all(f, 1, 1000, &c, s);
    assert_int_equal(s->messages_count, 60);
    whole = *s;
    for (size_t items = 1; items < 20; items++) {
        s = seen_clear();
        c = (struct cursor){0};
        sync_all(f, 1, items, &c, s);
        assert_memory_equal(s, &whole, sizeof(whole));
        assert_int_equal(c.position, engine_position(f->engine));
    }
    s = seen_clear();
    c = (struct cursor){0};
    for (bool done = false; !done;) assert_int_equal(step(f, 1, 1000, 1, &c, s, &done), SOTTO_OK);
    assert_memory_equal(s, &whole, sizeof(whole));
}

/* What arrives between the pieces comes in the next round, once. */
static void inbox_sync__in_pieces__while_messages_arrive(void **state)
{
    struct fixture *f = *state;
    struct cursor c = {0};
    struct seen *s = seen_clear();
    size_t sent = 0;
    for (; sent < 40; sent++) (void)send(f, 1, 2 + (unsigned)sent % 4, "x");
    for (unsigned round = 0; round < 300; round++) {
        bool done;
        assert_int_equal(step(f, 1, 1 + round % 3, 1 << 20, &c, s, &done), SOTTO_OK);
        if (round < 100) (void)send(f, 1, 2 + (unsigned)sent++ % 6, "new");
        if (round % 10 == 0) mark(f, direct(1, 2), 2, 0, round / 10 % 5, 0);
    }
    sync_all(f, 1, 100, &c, s);
    assert_int_equal(s->messages_count, sent);
    for (unsigned peer = 2; peer < 8; peer++) {
        uint64_t last = 0;
        for (size_t i = 0; i < s->messages_count; i++) {
            if (!id_eq(s->messages[i].conversation, direct(1, peer))) continue;
            assert_int_equal(s->messages[i].sequence, last + 1);
            last++;
        }
        assert_int_not_equal(last, 0);
    }
}

static void inbox_sync__cursor__from_the_future_or_another_time(void **state)
{
    struct fixture *f = *state;
    bool done;
    struct seen *s = seen_clear();
    (void)send(f, 1, 2, "x");
    struct cursor c = {.position = 2};
    assert_int_equal(step(f, 1, 10, 1000, &c, s, &done), SOTTO_ERR_NOT_FOUND);
    c = (struct cursor){.position = 0, .partial = true, .target = 2};
    assert_int_equal(step(f, 1, 10, 1000, &c, s, &done), SOTTO_ERR_NOT_FOUND);
    assert_true(c.partial && c.target == 2);
    assert_int_equal(s->messages_count, 0);
}

static void inbox_sync__retention__an_old_cursor_is_told(void **state)
{
    struct fixture *f = *state;
    bool done;
    f->retention_days = 1;
    fixture_crash(f);
    struct cursor old = {0}, young;
    struct seen *s = seen_clear();
    for (int i = 0; i < 3; i++) (void)send(f, 1, 2, "old");
    sync_all(f, 2, 100, &old, s);
    young = old;
    (void)send(f, 1, 2, "old");
    sync_all(f, 2, 100, &young, s);
    clock_manual_advance(&f->clock, 2ull * 24 * 3600 * 1000);
    (void)send(f, 1, 2, "young");
    engine_housekeep(f->engine);
    s = seen_clear();
    assert_int_equal(step(f, 2, 100, 1000, &old, s, &done), SOTTO_ERR_NOT_FOUND);
    sync_all(f, 2, 100, &young, s);
    assert_int_equal(s->messages_count, 1);
    assert_int_equal(s->messages[0].sequence, 5);
    struct cursor other = {0};
    sync_all(f, 3, 100, &other, s); /* not his conversation */
}

static void inbox_sync__private_read__for_the_readers_own_devices(void **state)
{
    struct fixture *f = *state;
    struct cursor reader = {0}, sender = {0};
    struct seen *s = seen_clear();
    (void)send(f, 1, 2, "x");
    sync_all(f, 1, 100, &sender, s);
    sync_all(f, 2, 100, &reader, s);
    mark(f, direct(1, 2), 2, 0, 1, WATERMARK_PRIVATE);
    s = seen_clear();
    sync_all(f, 1, 100, &sender, s);
    assert_int_equal(s->marks_count, 0);
    sync_all(f, 2, 100, &reader, s);
    assert_int_equal(s->marks_count, 1);
    assert_true(s->marks[0].read && !s->marks[0].delivered);
    assert_int_equal(s->marks[0].read_sequence, 1);
}

static uint64_t start_of(struct fixture *f, unsigned user)
{
    uint64_t position = engine_position(f->engine);
    assert_int_equal(inbox_start(f->store, user_id(user), f->clock.wall_ms, &position), SOTTO_OK);
    return position;
}

static void inbox_start__before_what_no_device_has_got(void **state)
{
    struct fixture *f = *state;
    struct seen *s = seen_clear();
    assert_int_equal(start_of(f, 2), engine_position(f->engine));
    (void)send(f, 1, 2, "a");
    (void)send(f, 3, 2, "b");
    mark(f, direct(2, 3), 2, 1, 0, 0);
    (void)send(f, 2, 1, "own");
    (void)send(f, 1, 2, "c");
    mark(f, direct(1, 2), 2, 3, 0, 0);
    assert_int_equal(start_of(f, 2), engine_position(f->engine));
    (void)send(f, 2, 3, "own again");
    assert_int_equal(start_of(f, 2), engine_position(f->engine)); /* nobody marks one's own */
    (void)send(f, 3, 2, "d");
    (void)send(f, 1, 2, "e");
    struct cursor cursor = {.epoch = engine_epoch(f->engine), .position = start_of(f, 2)};
    sync_all(f, 2, 100, &cursor, s);
    assert_int_equal(s->messages_count, 2);
    assert_int_equal(s->messages[0].sequence + s->messages[1].sequence, 3 + 4);
    assert_true(start_of(f, 1) < engine_position(f->engine)); /* the other has marked nothing */
}

static void inbox_sync__joined_later__sees_from_there(void **state)
{
    struct fixture *f = *state;
    struct cursor c = {0};
    struct id g = group(f, 2);
    (void)say(f, g, 1, "a");
    change(f, g, 7, MEMBER_ADD, ROLE_MEMBER); /* 3 */
    (void)say(f, g, 1, "b");
    struct seen *s = seen_clear();
    sync_all(f, 7, 1, &c, s);
    assert_int_equal(s->conversations_count, 1);
    assert_int_equal(s->messages_count, 2);
    assert_int_equal(s->messages[0].sequence, 3);
    assert_int_equal(s->messages[0].kind, RECORD_MEMBER);
    assert_int_equal(s->messages[1].sequence, 4);
}

/* Nobody receives what was said, read or changed after they were removed. */
static void inbox_sync__removed__sees_up_to_there(void **state)
{
    struct fixture *f = *state;
    struct cursor before = {0}, c;
    struct id g = group(f, 3);
    struct seen *s = seen_clear();
    (void)say(f, g, 1, "a");
    sync_all(f, 3, 100, &before, s);
    (void)say(f, g, 1, "b");
    mark(f, g, 2, 3, 0, 0);
    change(f, g, 3, MEMBER_REMOVE, ROLE_MEMBER); /* 4 */
    s = seen_clear();
    c = before;
    sync_all(f, 3, 100, &c, s);
    assert_int_equal(s->messages_count, 2);
    assert_int_equal(s->messages[1].sequence, 4);
    assert_int_equal(s->conversations_count, 1);
    assert_int_equal(s->marks_count, 1);
    s = seen_clear();
    (void)say(f, g, 1, "c");
    mark(f, g, 2, 5, 5, 0);
    change(f, g, 8, MEMBER_ADD, ROLE_MEMBER);
    sync_all(f, 3, 100, &c, s);
    assert_int_equal(s->messages_count + s->conversations_count + s->marks_count, 0);
}

/* What retention took was said after they had left: they miss nothing. */
static void inbox_sync__retention__who_left_before_is_not_reset(void **state)
{
    struct fixture *f = *state;
    f->retention_days = 1;
    fixture_crash(f);
    struct cursor before = {0}, c;
    bool done;
    struct id g = group(f, 3);
    struct seen *s = seen_clear();
    sync_all(f, 3, 100, &before, s);
    change(f, g, 3, MEMBER_REMOVE, ROLE_MEMBER); /* 2 */
    c = before;
    sync_all(f, 3, 100, &c, s);
    (void)say(f, g, 1, "a");
    clock_manual_advance(&f->clock, 2ull * 24 * 3600 * 1000);
    (void)say(f, g, 1, "b");
    engine_housekeep(f->engine);
    s = seen_clear();
    assert_int_equal(step(f, 3, 100, 1000, &c, s, &done), SOTTO_OK);
    assert_true(done);
    assert_int_equal(s->messages_count + s->conversations_count + s->marks_count, 0);
    assert_int_equal(step(f, 3, 100, 1000, &before, s, &done), SOTTO_ERR_NOT_FOUND);
}

static void inbox_sync__back_again__nothing_from_between(void **state)
{
    struct fixture *f = *state;
    struct cursor c = {0};
    struct id g = group(f, 3);
    (void)say(f, g, 1, "a");
    struct seen *s = seen_clear();
    sync_all(f, 3, 100, &c, s);
    change(f, g, 3, MEMBER_REMOVE, ROLE_MEMBER); /* 3 */
    (void)say(f, g, 1, "between");                /* 4 */
    change(f, g, 3, MEMBER_ADD, ROLE_MEMBER);    /* 5 */
    (void)say(f, g, 1, "b");                      /* 6 */
    s = seen_clear();
    sync_all(f, 3, 100, &c, s);
    assert_int_equal(s->messages_count, 2);
    assert_int_equal(s->messages[0].sequence, 5);
    assert_int_equal(s->messages[1].sequence, 6);
    assert_int_equal(s->conversations_count, 1);
}

static void inbox_sync__role__a_change_tells_the_conversation(void **state)
{
    struct fixture *f = *state;
    struct cursor c = {0};
    struct id g = group(f, 3);
    struct seen *s = seen_clear();
    sync_all(f, 2, 100, &c, s);
    change(f, g, 3, MEMBER_SET_ROLE, ROLE_ADMIN);
    s = seen_clear();
    sync_all(f, 2, 100, &c, s);
    assert_int_equal(s->messages_count, 1);
    assert_int_equal(s->conversations_count, 1);
}

/* A cursor is made up by the client if it likes: it may only narrow. The sink
 * asserts that every message may be seen. */
static void inbox_sync__hostile_cursors__never_widen(void **state)
{
    struct fixture *f = *state;
    struct id g = group(f, 3);
    for (int i = 0; i < 5; i++) {
        char key[8];
        snprintf(key, sizeof(key), "a%d", i);
        (void)say(f, g, 1, key);
        (void)send(f, 1, 2, "direct");
    }
    change(f, g, 3, MEMBER_REMOVE, ROLE_MEMBER);
    (void)say(f, g, 1, "secret");
    const struct id conversations[] = {{{0}}, g, direct(1, 2), user_id(3), {{0xff, 0xff}}};
    const uint64_t sequences[] = {0, 1, 3, 7, 100, UINT64_MAX};
    uint64_t head = engine_position(f->engine);
    for (unsigned user = 1; user <= 4; user++)
        for (uint64_t position = 0; position <= head; position++)
            for (size_t i = 0; i < 5 * 6; i++) {
                struct cursor c = {.position = position, .partial = true, .target = head,
                                   .conversation = conversations[i / 6], .sequence = sequences[i % 6]};
                struct seen *s = seen_clear();
                bool done = false;
                for (int calls = 0; !done && calls < 50; calls++)
                    assert_int_equal(step(f, user, 2, 1 << 20, &c, s, &done), SOTTO_OK);
                assert_true(done);
            }
}

static void inbox_sync__read_errors__are_told_and_the_cursor_stays(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 6; i++) (void)send(f, 1, 2 + i % 2, "x");
    for (size_t k = 0; k < 4; k++) {
        struct cursor c = {0};
        bool done = false;
        struct seen *s = seen_clear();
        memset(f->read_faults, 0, sizeof(f->read_faults));
        f->read_faults[k] = STORE_FAULT_IO;
        f->read_faults_count = k + 1;
        assert_int_equal(step(f, 1, 100, 1 << 20, &c, s, &done), SOTTO_ERR_IO);
        assert_int_equal(c.partial, false);
        assert_int_equal(c.position, 0);
    }
}

static size_t history(struct fixture *f, unsigned user, struct id c, struct inbox_page page, struct seen **seen_out,
                      bool *more)
{
    *seen_out = seen_clear();
    struct inbox_sink sink = sink_of(*seen_out);
    assert_int_equal(inbox_history(f->store, user_id(user), c, f->clock.wall_ms, &page, &sink, more), SOTTO_OK);
    return (*seen_out)->messages_count;
}

static void inbox_history__both_directions(void **state)
{
    struct fixture *f = *state;
    struct seen *s;
    bool more;
    struct id c = direct(1, 2);
    for (int i = 0; i < 10; i++) (void)send(f, 1, 2, "x");
    assert_int_equal(history(f, 2, c, (struct inbox_page){.limit = 4}, &s, &more), 4);
    assert_true(more);
    assert_int_equal(s->messages[0].sequence, 1);
    assert_int_equal(history(f, 2, c, (struct inbox_page){.since = 6, .limit = 4}, &s, &more), 4);
    assert_false(more);
    assert_int_equal(s->messages[0].sequence, 7);
    assert_int_equal(history(f, 2, c, (struct inbox_page){.since = 7, .limit = 4}, &s, &more), 3);
    assert_int_equal(history(f, 2, c, (struct inbox_page){.since = 10, .limit = 4}, &s, &more), 0);
    assert_int_equal(history(f, 2, c, (struct inbox_page){.since = UINT64_MAX, .limit = 4}, &s, &more), 0);
    assert_int_equal(history(f, 2, c, (struct inbox_page){.backwards = true, .limit = 4}, &s, &more), 4);
    assert_true(more);
    assert_int_equal(s->messages[0].sequence, 10);
    assert_int_equal(s->messages[3].sequence, 7);
    assert_int_equal(history(f, 2, c, (struct inbox_page){.backwards = true, .before = 4, .limit = 4}, &s, &more), 3);
    assert_false(more);
    assert_int_equal(s->messages[2].sequence, 1);
    assert_int_equal(history(f, 2, c, (struct inbox_page){.backwards = true, .before = 1, .limit = 4}, &s, &more), 0);
    assert_int_equal(history(f, 2, c, (struct inbox_page){.backwards = true, .before = 99, .limit = 100}, &s, &more), 10);
    struct inbox_sink sink = sink_of(s);
    assert_int_equal(inbox_history(f->store, user_id(3), c, 0, &(struct inbox_page){.limit = 1}, &sink, &more),
                     SOTTO_ERR_NOT_FOUND);
    assert_int_equal(inbox_history(f->store, user_id(3), user_id(77), 0, &(struct inbox_page){.limit = 1}, &sink, &more),
                     SOTTO_ERR_NOT_FOUND);
}

static void inbox_message__only_what_the_member_sees(void **state)
{
    struct fixture *f = *state;
    struct id g = group(f, 2);
    (void)say(f, g, 1, "a");
    change(f, g, 7, MEMBER_ADD, ROLE_MEMBER);
    (void)say(f, g, 1, "b");
    struct inbox_sink sink = sink_of(seen_clear());
    assert_int_equal(inbox_message(f->store, user_id(7), g, 2, &sink), SOTTO_ERR_NOT_FOUND);
    assert_int_equal(inbox_message(f->store, user_id(7), g, 3, &sink), SOTTO_OK);
    assert_int_equal(inbox_message(f->store, user_id(7), g, 5, &sink), SOTTO_ERR_NOT_FOUND);
    assert_int_equal(inbox_message(f->store, user_id(2), g, 0, &sink), SOTTO_ERR_NOT_FOUND);
    assert_int_equal(inbox_message(f->store, user_id(2), g, 2, &sink), SOTTO_OK);
    assert_int_equal(inbox_message(f->store, user_id(9), g, 2, &sink), SOTTO_ERR_NOT_FOUND);
}

struct listed {
    struct id conversation;
    uint64_t last, unread;
};
struct listing {
    struct listed rows[32];
    size_t count;
};

static void on_listed(void *ctx, const struct conversation *c, const struct member *me, const struct message *last,
                      uint64_t unread)
{
    struct listing *l = ctx;
    assert_non_null(me);
    assert_true(l->count < 32);
    l->rows[l->count++] = (struct listed){c->id, last != NULL ? last->sequence : 0, unread};
}

static struct listed one(struct fixture *f, unsigned user, struct id c)
{
    struct listing l = {.count = 0};
    assert_int_equal(inbox_conversation(f->store, user_id(user), f->clock.wall_ms, c, on_listed, &l), SOTTO_OK);
    assert_int_equal(l.count, 1);
    return l.rows[0];
}

static void inbox_list__last_and_unread(void **state)
{
    struct fixture *f = *state;
    struct id c = direct(1, 2);
    for (int i = 0; i < 4; i++) (void)send(f, 1, 2, "x");
    (void)send(f, 2, 1, "own");
    assert_int_equal(one(f, 2, c).unread, 4);
    assert_int_equal(one(f, 2, c).last, 5);
    assert_int_equal(one(f, 1, c).unread, 1);
    mark(f, c, 2, 0, 3, 0);
    assert_int_equal(one(f, 2, c).unread, 1);
    struct record r = message_to(f, 1, 2, "gone", "x");
    r.message.expires_ms = f->clock.wall_ms + 10;
    assert_int_equal(ask(f, &r).sequence, 6);
    assert_int_equal(one(f, 2, c).last, 6);
    r = message_to(f, 1, 2, "withheld", "x");
    r.message.flags = MESSAGE_WITHHELD;
    assert_int_equal(ask(f, &r).sequence, 7);
    assert_int_equal(one(f, 1, c).last, 7);
    assert_int_equal(one(f, 2, c).last, 6);
    assert_int_equal(one(f, 2, c).unread, 2);
    clock_manual_advance(&f->clock, 10); /* past its time, not yet swept */
    assert_int_equal(one(f, 2, c).last, 5);
    assert_int_equal(one(f, 2, c).unread, 1);
    engine_housekeep(f->engine);
    assert_int_equal(one(f, 2, c).last, 5);
    for (int i = 0; i < INBOX_UNREAD_MAX + 5; i++) (void)send(f, 1, 2, "many");
    assert_int_equal(one(f, 2, c).unread, INBOX_UNREAD_MAX - 3); /* rows looked at, own and hidden ones too */
    struct listing none = {.count = 0};
    assert_int_equal(inbox_conversation(f->store, user_id(3), 0, c, on_listed, &none), SOTTO_ERR_NOT_FOUND);
}

struct talking {
    struct fixture *f;
    struct listing listing;
};

/* At the first conversation that is listed something is said in all. */
static void on_listed_say(void *ctx, const struct conversation *c, const struct member *me, const struct message *last,
                          uint64_t unread)
{
    struct talking *t = ctx;
    on_listed(&t->listing, c, me, last, unread);
    if (t->listing.count != 1) return;
    for (unsigned peer = 2; peer < 5; peer++) (void)send(t->f, peer, 1, "meanwhile");
}

static void inbox_list__while_messages_arrive__says_what_the_state_says(void **state)
{
    struct fixture *f = *state;
    struct talking t = {.f = f};
    bool more;
    for (unsigned peer = 2; peer < 5; peer++) (void)send(f, peer, 1, "x");
    assert_int_equal(inbox_list(f->store, user_id(1), f->clock.wall_ms, NULL, 10, on_listed_say, &t, &more), SOTTO_OK);
    assert_int_equal(t.listing.count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(t.listing.rows[i].last, i == 0 ? 1 : 2);
        assert_int_equal(t.listing.rows[i].unread, i == 0 ? 1 : 2);
    }
}

static void inbox_list__pages(void **state)
{
    struct fixture *f = *state;
    struct listing all = {.count = 0};
    for (unsigned peer = 2; peer < 12; peer++) (void)send(f, 1, peer, "x");
    bool more = true;
    for (struct id after, *from = NULL; more; from = &after) {
        size_t before = all.count;
        assert_int_equal(inbox_list(f->store, user_id(1), f->clock.wall_ms, from, 3, on_listed, &all, &more), SOTTO_OK);
        assert_true(all.count > before && all.count <= before + 3);
        after = all.rows[all.count - 1].conversation;
    }
    assert_int_equal(all.count, 10);
    for (size_t i = 1; i < 10; i++) assert_true(id_cmp(all.rows[i - 1].conversation, all.rows[i].conversation) < 0);
    assert_int_equal(inbox_list(f->store, user_id(50), 0, NULL, 3, on_listed, &all, &more), SOTTO_OK);
    assert_int_equal(all.count, 10);
    assert_false(more);
}

/* Messages or a state that cannot be read keep nobody from the other conversations; the one
 * is told with its end, so that its members ask for what they miss. */
static void inbox_sync__damage__keeps_no_other(void **state)
{
    struct fixture *f = *state;
    for (unsigned peer = 2; peer <= 5; peer++)
        for (int i = 0; i < 3; i++) (void)send(f, peer, 1, "x");
    struct id rows = direct(1, 3), whole = direct(1, 4);
    struct key damaged = key_message(rows, 2);
    store_memory_damage(f->store, STORE_MESSAGE, key_slice(&damaged));
    damaged = key_conversation(whole);
    store_memory_damage(f->store, STORE_CONVERSATION, key_slice(&damaged));
    for (size_t items = 1; items <= 100; items += 9) {
        struct cursor cursor = {.epoch = 1};
        struct seen *seen = seen_clear();
        size_t readable = 0, told = 0;
        (void)sync_all(f, 1, items, &cursor, seen);
        assert_int_equal(cursor.position, engine_position(f->engine));
        for (size_t i = 0; i < seen->messages_count; i++) {
            assert_false(id_eq(seen->messages[i].conversation, whole));
            readable += !id_eq(seen->messages[i].conversation, rows);
        }
        for (size_t i = 0; i < seen->conversations_count; i++) told += id_eq(seen->conversations[i], rows);
        assert_int_equal(readable, 6);
        assert_true(told >= 1);
        assert_true(seen->unreadable_count >= 2);
    }
    struct inbox_page page = {.since = 1, .limit = 10};
    struct inbox_sink sink = sink_of(seen_clear());
    bool more;
    assert_int_equal(inbox_history(f->store, user_id(1), rows, f->clock.wall_ms, &page, &sink, &more), SOTTO_ERR_CORRUPT);
    struct listing all = {.count = 0};
    assert_int_equal(inbox_list(f->store, user_id(1), f->clock.wall_ms, NULL, 10, on_listed, &all, &more), SOTTO_OK);
    assert_int_equal(all.count, 3);
}

/* ---- A commit under way ---------------------------------------------------------- */

struct commit {
    struct store *store;
    struct store_batch *rest;
};

static void *commit_rest(void *arg)
{
    struct commit *c = arg;
    usleep(5000);
    SOTTO_ASSERT(store_commit(c->store, c->rest) == SOTTO_OK);
    return NULL;
}

static void on_last(void *ctx, const struct conversation *c, const struct member *me, const struct message *last,
                      uint64_t unread)
{
    (void)me, (void)unread;
    *(bool *)ctx = last != NULL && last->sequence == c->last_sequence;
}

/* The new state can be seen, the new message not yet: nobody is told of it before. */
static void inbox__state_of_a_commit_under_way__waits_for_its_rows(void **state)
{
    struct fixture *f = *state;
    struct record r = message_to(f, 1, 2, "a", "x");
    struct id conversation = r.conversation;
    struct key state_key = key_conversation(conversation), row_key = key_message(conversation, 2);
    struct buffer state_row, row, position;
    assert_int_equal(ask(f, &r).sequence, 1);
    r = message_to(f, 1, 2, "b", "y");
    assert_int_equal(ask(f, &r).sequence, 2);
    buffer_init(&state_row, ROW_BYTES_MAX);
    buffer_init(&row, ROW_BYTES_MAX);
    buffer_init(&position, 64);
    assert_int_equal(store_get(f->store, STORE_CONVERSATION, key_slice(&state_key), &state_row), SOTTO_OK);
    assert_int_equal(store_get(f->store, STORE_MESSAGE, key_slice(&row_key), &row), SOTTO_OK);
    assert_int_equal(store_get(f->store, STORE_META, SLICE_LIT("position"), &position), SOTTO_OK);
    struct store_batch *b = store_batch_create(f->store);
    position.data[7]--;
    store_put(b, STORE_META, SLICE_LIT("position"), buffer_slice(&position));
    store_delete(b, STORE_MESSAGE, key_slice(&row_key));
    assert_int_equal(store_commit(f->store, b), SOTTO_OK);
    position.data[7]++;
    store_batch_clear(b);
    store_put(b, STORE_MESSAGE, key_slice(&row_key), buffer_slice(&row));
    store_put(b, STORE_META, SLICE_LIT("position"), buffer_slice(&position));
    struct commit commit = {f->store, b};
    pthread_t thread;
    bool whole = false;
    assert_int_equal(pthread_create(&thread, NULL, commit_rest, &commit), 0);
    assert_int_equal(inbox_conversation(f->store, user_id(2), START_MS, conversation, on_last, &whole), SOTTO_OK);
    assert_true(whole);
    pthread_join(thread, NULL);
    store_batch_destroy(&b);
    buffer_deinit(&state_row);
    buffer_deinit(&row);
    buffer_deinit(&position);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(inbox__state_of_a_commit_under_way__waits_for_its_rows),
        TEST(inbox_sync__nobody__is_done_at_once),
        TEST(inbox_sync__from_the_start__then_only_what_is_new),
        TEST(inbox_sync__in_pieces__the_same_once),
        TEST(inbox_sync__in_pieces__while_messages_arrive),
        TEST(inbox_sync__cursor__from_the_future_or_another_time),
        TEST(inbox_sync__damage__keeps_no_other),
        TEST(inbox_sync__retention__an_old_cursor_is_told),
        TEST(inbox_sync__private_read__for_the_readers_own_devices),
        TEST(inbox_start__before_what_no_device_has_got),
        TEST(inbox_sync__joined_later__sees_from_there),
        TEST(inbox_sync__removed__sees_up_to_there),
        TEST(inbox_sync__retention__who_left_before_is_not_reset),
        TEST(inbox_sync__back_again__nothing_from_between),
        TEST(inbox_sync__role__a_change_tells_the_conversation),
        TEST(inbox_sync__hostile_cursors__never_widen),
        TEST(inbox_sync__read_errors__are_told_and_the_cursor_stays),
        TEST(inbox_history__both_directions),
        TEST(inbox_message__only_what_the_member_sees),
        TEST(inbox_list__last_and_unread),
        TEST(inbox_list__while_messages_arrive__says_what_the_state_says),
        TEST(inbox_list__pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
