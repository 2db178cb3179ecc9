/* The engine, the inbox and the core under a simulated bad day, from one seed.
 *
 * People on several devices talk in direct conversations and groups through the
 * real engine on a store in memory. Commits fail, stay uncertain (kept or lost),
 * reads fail, the process crashes and comes back, the clock jumps, messages
 * expire, old ones are purged; clients send again what was not answered, and
 * sometimes what was. Devices follow live events while they are online and
 * synchronise by cursor, in small rounds, when they come back.
 *
 * What must hold, all the time: an answered message is there, once, under the
 * number and chain value that were answered; every device gets each
 * conversation's messages in order, none missing and none twice, however events
 * and rounds of synchronising interleave; the store's own check finds nothing.
 *
 * SOTTO_SIM_SEEDS (how many), SOTTO_SIM_SEED (the first), SOTTO_SIM_STEPS.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "engine/inbox.h"
#include "store/check.h"
#include "store/keys.h"
#include "store/store_memory.h"
#include "unit/engine/records.h"

enum { USERS = 5, DEVICES_PER_USER = 2, DEVICES = USERS * DEVICES_PER_USER, DIRECT = USERS * (USERS - 1) / 2,
       GROUPS = 3, CONVERSATIONS = DIRECT + GROUPS, MESSAGES_MAX = 4000, SAVED = 12, STAGED_MAX = 256 };

/* What a device knows of a conversation. */
struct view {
    uint64_t joined, last; /* the next message is the one after both */
    uint64_t delivered[USERS], read[USERS];
};
struct device {
    int user;
    uint8_t number;
    struct cursor cursor;
    bool from_sync;        /* the cursor covers all of its position */
    enum { OFFLINE, SYNCING, LIVE } mode;
    struct view views[CONVERSATIONS];
};
struct outgoing {
    int device, conversation;
    char client_msg_id[24], payload[24];
    uint64_t expires_ms;
    uint8_t flags;
    bool answered, refused;
    uint64_t sequence;
    struct id message_id;
    uint8_t chain[HASH_LEN];
};
struct attempt { /* one submission under way */
    struct world *world;
    struct outgoing *message; /* NULL: something else */
    bool conflicting;
};
struct saved {
    bool used;
    struct device device;
};
struct world {
    uint64_t seed, steps;
    struct random_seeded random;
    struct clock_manual clock;
    struct metrics *metrics;
    struct store *store;
    struct engine *engine;
    struct mailbox replies;
    bool write_faults, read_faults, crashing;
    unsigned crashes, permille;
    uint64_t retention_days;
    uint32_t next_number;
    struct id users[USERS], conversations[CONVERSATIONS];
    int peers[DIRECT][2];
    struct device devices[DEVICES];
    struct outgoing *messages;
    size_t messages_count;
    struct saved saved[SAVED];
    size_t repeated, uncertain, resets;
};

static uint64_t below(struct world *w, uint64_t bound) { return random_u64(&w->random.source) % bound; }

#define CHECK(w, condition)                                                                            \
    do {                                                                                               \
        if (!(condition)) {                                                                            \
            fprintf(stderr, "seed %llu, step %llu: %s (line %d)\n", (unsigned long long)(w)->seed,     \
                    (unsigned long long)(w)->steps, #condition, __LINE__);                             \
            fail();                                                                                    \
        }                                                                                              \
    } while (0)

/* ---- Faults ---------------------------------------------------------------- */

static enum store_fault fault(void *ctx, bool write)
{
    struct world *w = ctx;
    if (!write) return w->read_faults && below(w, 1000) < w->permille / 4 ? STORE_FAULT_IO : STORE_FAULT_NONE;
    if (!w->crashing && (!w->write_faults || below(w, 1000) >= w->permille)) return STORE_FAULT_NONE;
    return (enum store_fault)(STORE_FAULT_FULL + (int)below(w, 4));
}

/* ---- What devices see --------------------------------------------------------- */

static int user_of(struct world *w, struct id id)
{
    for (int i = 0; i < USERS; i++)
        if (id_eq(w->users[i], id)) return i;
    CHECK(w, false);
    return -1;
}

static int conversation_of(struct world *w, struct id id)
{
    for (int i = 0; i < CONVERSATIONS; i++)
        if (id_eq(w->conversations[i], id)) return i;
    CHECK(w, false);
    return -1;
}

static void see_state(struct world *w, struct device *d, const struct conversation *c)
{
    struct view *v = &d->views[conversation_of(w, c->id)];
    const struct member *me = conversation_member(c, w->users[d->user]);
    CHECK(w, me != NULL);
    v->joined = me->joined_sequence;
    for (size_t i = 0; i < c->members_count; i++) {
        const struct member *m = &c->members[i];
        int user = user_of(w, m->user);
        v->delivered[user] = m->delivered.sequence;
        v->read[user] = m == me ? m->read.sequence : m->public_read;
    }
}

static void see_sequence(struct world *w, struct device *d, int conversation, uint64_t sequence)
{
    struct view *v = &d->views[conversation];
    uint64_t before = v->last > v->joined ? v->last : v->joined;
    if (sequence != before + 1)
        fprintf(stderr, "user %d device %d conversation %d: message %llu after %llu\n", d->user, d->number,
                conversation, (unsigned long long)sequence, (unsigned long long)before);
    CHECK(w, sequence == before + 1);
    v->last = sequence;
}

static void see_live(struct world *w, struct device *d, const struct event *e)
{
    int conversation = conversation_of(w, e->conversation);
    struct view *v = &d->views[conversation];
    int actor = e->kind == EVENT_DELIVERED || e->kind == EVENT_READ ? user_of(w, e->actor) : -1;
    switch (e->kind) {
    case EVENT_CONVERSATION: {
        struct conversation c;
        CHECK(w, conversation_decode(e->conversation, e->bytes, &c) == SOTTO_OK);
        see_state(w, d, &c);
        conversation_deinit(&c);
        if (e->conversation_kind == CONVERSATION_GROUP) see_sequence(w, d, conversation, e->sequence);
        break;
    }
    case EVENT_MESSAGE:
        see_sequence(w, d, conversation, e->sequence);
        break;
    case EVENT_DELIVERED:
        CHECK(w, e->sequence > v->delivered[actor]);
        v->delivered[actor] = e->sequence;
        break;
    case EVENT_READ:
        if (e->is_private && actor != d->user) break;
        CHECK(w, e->sequence > v->read[actor] || actor == d->user);
        if (e->sequence > v->read[actor]) v->read[actor] = e->sequence;
        break;
    default:
        break;
    }
}

/* As a connection does: what the cursor covers was given by synchronising. */
static void publish(void *ctx, struct event *const *events, size_t count)
{
    struct world *w = ctx;
    if (w->crashing) return;
    for (size_t i = 0; i < count; i++) {
        const struct event *e = events[i];
        for (int k = 0; k < DEVICES; k++) {
            struct device *d = &w->devices[k];
            bool mine = false;
            for (size_t j = 0; j < e->recipients_count; j++) mine |= id_eq(e->recipients[j], w->users[d->user]);
            if (d->mode != LIVE || !mine || e->position == 0) continue;
            if (e->position < d->cursor.position || (e->position == d->cursor.position && d->from_sync)) continue;
            see_live(w, d, e);
            d->cursor.position = e->position;
            d->from_sync = false;
        }
    }
}

/* Rounds of synchronising are staged: one that fails gave nothing. */
struct round {
    struct world *w;
    struct device device;
};

static void on_conversation(void *ctx, const struct conversation *c, const struct member *me)
{
    struct round *r = ctx;
    (void)me;
    see_state(r->w, &r->device, c);
}

static void on_message(void *ctx, const struct conversation *c, const struct member *me, const struct message *m)
{
    struct round *r = ctx;
    int conversation = conversation_of(r->w, c->id);
    struct view *v = &r->device.views[conversation];
    CHECK(r->w, member_sees(me, m->sequence));
    v->joined = me->joined_sequence;
    see_sequence(r->w, &r->device, conversation, m->sequence);
    if (m->state == MESSAGE_EXPIRED) CHECK(r->w, m->record.body.len == 0);
}

static void on_marks(void *ctx, const struct conversation *c, const struct member *me, const struct member *who,
                     bool delivered, bool read)
{
    struct round *r = ctx;
    struct view *v = &r->device.views[conversation_of(r->w, c->id)];
    int user = user_of(r->w, who->user);
    if (delivered) v->delivered[user] = who->delivered.sequence;
    if (read) v->read[user] = who == me ? who->read.sequence : who->public_read;
}

static void on_listed(void *ctx, const struct conversation *c, const struct member *me, const struct message *last,
                      uint64_t unread)
{
    struct round *r = ctx;
    struct view *v = &r->device.views[conversation_of(r->w, c->id)];
    uint64_t newest = me->left_sequence != 0 ? me->left_sequence : c->last_sequence;
    CHECK(r->w, unread <= newest && (last == NULL || last->sequence <= newest));
    see_state(r->w, &r->device, c);
    if (newest > v->last) v->last = newest;
}

static bool stored_position(struct world *w, uint64_t *position)
{
    struct buffer value;
    buffer_init(&value, 64);
    enum sotto_err err = store_get(w->store, STORE_META, SLICE_LIT("position"), &value);
    if (err == SOTTO_OK) *position = load_be64(value.data);
    buffer_deinit(&value);
    return err == SOTTO_OK;
}

/* From the conversation list, as after a cursor that is too old. */
static bool take_snapshot(struct world *w, struct device *d)
{
    struct round r = {w, *d};
    /* Not the engine's: that one is behind while it does not know what an
     * uncertain commit did, and the list would be ahead of the cursor. */
    r.device.cursor = (struct cursor){.epoch = engine_epoch(w->engine)};
    if (!stored_position(w, &r.device.cursor.position)) return false;
    uint64_t now = clock_wall_ms(&w->clock.source);
    struct id after = {{0}};
    bool more = true;
    if (inbox_list(w->store, w->users[d->user], now, &after, CONVERSATIONS + 1, on_listed, &r, &more) != SOTTO_OK)
        return false;
    CHECK(w, !more);
    r.device.from_sync = true;
    *d = r.device;
    w->resets++;
    return true;
}

/* One round. False: it failed, or the device had to start from a snapshot. */
static bool sync_round(struct world *w, struct device *d, size_t items, size_t bytes, bool *done)
{
    struct round r = {w, *d};
    struct inbox_sink sink = {&r, on_conversation, on_message, on_marks, NULL};
    uint64_t now = clock_wall_ms(&w->clock.source);
    enum sotto_err err =
        inbox_sync(w->store, w->users[d->user], now, items, bytes, &sink, &r.device.cursor, done);
    if (err == SOTTO_ERR_NOT_FOUND) {
        CHECK(w, w->retention_days != 0);
        *done = false;
        (void)take_snapshot(w, d);
        return false;
    }
    if (err != SOTTO_OK) {
        CHECK(w, err == SOTTO_ERR_IO && w->read_faults);
        *done = false;
        return false;
    }
    r.device.from_sync = true;
    *d = r.device;
    return true;
}

static void sync_some(struct world *w, struct device *d)
{
    bool done;
    if (!sync_round(w, d, 1 + below(w, 12), 1 + below(w, 3000), &done) || !done) return;
    if (d->cursor.position >= engine_position(w->engine)) d->mode = LIVE;
}

static void sync_fully(struct world *w, struct device *d)
{
    for (int rounds = 0; rounds < 100000; rounds++) {
        bool done;
        (void)sync_round(w, d, 1 + below(w, 40), 200 + below(w, 10000), &done);
        if (done && d->cursor.position == engine_position(w->engine)) return;
    }
    CHECK(w, false);
}

/* ---- Requests ------------------------------------------------------------------ */

static void on_message_answer(struct world *w, struct attempt *a, const struct applied *answer)
{
    struct outgoing *o = a->message;
    if (a->conflicting) {
        CHECK(w, answer->problem != PROBLEM_NONE);
        return;
    }
    switch (answer->problem) {
    case PROBLEM_NONE:
        if (answer->repeated) w->repeated++;
        if (o->answered) {
            CHECK(w, answer->repeated && answer->sequence == o->sequence);
            CHECK(w, id_eq(answer->message_id, o->message_id) && memcmp(answer->chain, o->chain, HASH_LEN) == 0);
        }
        o->answered = true;
        o->sequence = answer->sequence;
        o->message_id = answer->message_id;
        memcpy(o->chain, answer->chain, HASH_LEN);
        break;
    case PROBLEM_UNCERTAIN:
        w->uncertain++;
        break;
    case PROBLEM_STORAGE_FULL:
    case PROBLEM_BUSY:
        break;
    case PROBLEM_NOT_MEMBER:
    case PROBLEM_NOT_FOUND:
        CHECK(w, !o->answered);
        o->refused = true;
        break;
    default:
        fprintf(stderr, "unexpected answer %s\n", problem_code(answer->problem));
        CHECK(w, false);
    }
}

static void deliver(struct mail *mail, void *receiver)
{
    struct submission *s = (struct submission *)(void *)mail;
    struct attempt *a = s->ctx;
    (void)receiver;
    /* The answer to a client of before the crash is lost. */
    if (a->message != NULL && !a->world->crashing) on_message_answer(a->world, a, &s->answer);
    free(a);
    submission_destroy(s, NULL);
}

static void submit(struct world *w, const struct record *r, struct outgoing *message, bool conflicting)
{
    struct attempt *a = sotto_zalloc(sizeof(*a));
    *a = (struct attempt){.world = w, .message = message, .conflicting = conflicting};
    struct submission *s = submission_of(r);
    s->reply_to = &w->replies;
    s->mail.deliver = deliver;
    s->ctx = a;
    CHECK(w, engine_submit(w->engine, s));
}

/* Each attempt gets a new id and time from the gateway, as in life. */
static void send(struct world *w, struct outgoing *o, bool conflicting)
{
    const struct device *d = &w->devices[o->device];
    struct test_message t = {.conversation = w->conversations[o->conversation],
                             .sender = w->users[d->user],
                             .device = d->number,
                             .flags = o->flags,
                             .message_number = w->next_number++,
                             .client_msg_id = o->client_msg_id,
                             .payload = conflicting ? "another payload" : o->payload,
                             .ts_ms = clock_wall_ms(&w->clock.source),
                             .expires_ms = o->expires_ms};
    if (o->conversation < DIRECT) {
        const int *pair = w->peers[o->conversation];
        t.peer = w->users[pair[0] == d->user ? pair[1] : pair[0]];
    }
    struct record r = record_of_message(&t);
    submit(w, &r, o, conflicting);
}

static void send_new(struct world *w)
{
    if (w->messages_count == MESSAGES_MAX) return;
    struct outgoing *o = &w->messages[w->messages_count];
    *o = (struct outgoing){.conversation = (int)below(w, CONVERSATIONS), .device = (int)below(w, DEVICES)};
    if (o->conversation < DIRECT)
        o->device = w->peers[o->conversation][below(w, 2)] * DEVICES_PER_USER + (int)below(w, DEVICES_PER_USER);
    snprintf(o->client_msg_id, sizeof(o->client_msg_id), "c%zu", w->messages_count);
    snprintf(o->payload, sizeof(o->payload), "payload %zu", w->messages_count);
    if (below(w, 5) == 0) o->expires_ms = clock_wall_ms(&w->clock.source) + 1 + below(w, 20000);
    if (o->conversation < DIRECT && below(w, 20) == 0) o->flags = MESSAGE_WITHHELD;
    w->messages_count++;
    send(w, o, false);
    if (below(w, 10) == 0) send(w, o, false);
}

static void send_again(struct world *w)
{
    if (w->messages_count == 0) return;
    struct outgoing *o = &w->messages[below(w, w->messages_count)];
    /* A purge forgets the keys too: what old clients repeat then is new. */
    if (o->refused || (w->retention_days != 0 && o->answered)) return;
    send(w, o, o->answered && below(w, 3) == 0);
}

static void retry_unanswered(struct world *w, size_t most)
{
    for (size_t i = 0; i < w->messages_count && most != 0; i++) {
        struct outgoing *o = &w->messages[i];
        if (o->answered || o->refused) continue;
        send(w, o, false);
        most--;
    }
}

static void send_marks(struct world *w)
{
    int conversation = (int)below(w, CONVERSATIONS);
    struct device *d = &w->devices[below(w, DEVICES)];
    uint64_t last = d->views[conversation].last;
    struct record r = record_of_marks(w->conversations[conversation], w->users[d->user],
                                      below(w, 3) == 0 ? WATERMARK_PRIVATE : 0, below(w, last + 2),
                                      below(w, 2) ? below(w, last + 2) : 0);
    submit(w, &r, NULL, false);
}

static void change_group(struct world *w)
{
    uint8_t entries[USERS * 17];
    struct id group = w->conversations[DIRECT + (int)below(w, GROUPS)];
    struct id actor = w->users[below(w, USERS)], user = w->users[below(w, USERS)];
    struct record r;
    if (below(w, 4) == 0)
        r = record_of_group(group, w->users[0], w->users, 1 + below(w, USERS), entries);
    else
        r = record_of_change(group, below(w, 2) ? w->users[0] : actor, user, (uint8_t)(MEMBER_ADD + below(w, 3)),
                             (uint8_t)(ROLE_MEMBER + below(w, 2)));
    submit(w, &r, NULL, false);
}

static void send_typing(struct world *w)
{
    struct record r = {.kind = RECORD_TYPING, .conversation = w->conversations[below(w, CONVERSATIONS)]};
    r.typing.user = w->users[below(w, USERS)];
    r.typing.device = 1;
    r.typing.started = true;
    submit(w, &r, NULL, false);
}

/* ---- Crash and check -------------------------------------------------------------- */

static void turn(struct world *w)
{
    while (engine_turn(w->engine) != 0) {}
    (void)mailbox_deliver(&w->replies, w);
}

static void start_engine(struct world *w)
{
    struct engine_options options = {.store = w->store,
                                     .clock = &w->clock.source,
                                     .random = &w->random.source,
                                     .metrics = w->metrics,
                                     .publish = publish,
                                     .publish_ctx = w,
                                     .retention_days = w->retention_days,
                                     .cache_conversations = 4};
    struct buffer why;
    buffer_init(&why, 256);
    bool writes = w->write_faults, reads = w->read_faults;
    w->write_faults = w->read_faults = false;
    CHECK(w, engine_create(&options, &why, &w->engine) == SOTTO_OK);
    w->write_faults = writes;
    w->read_faults = reads;
    buffer_deinit(&why);
}

static void print_problem(void *ctx, const char *sentence)
{
    (void)ctx;
    fprintf(stderr, "store_check: %s\n", sentence);
}

static void check_answered(struct world *w)
{
    struct buffer value;
    buffer_init(&value, ROW_BYTES_MAX);
    for (size_t i = 0; i < w->messages_count; i++) {
        const struct outgoing *o = &w->messages[i];
        if (!o->answered) continue;
        struct id id = w->conversations[o->conversation];
        struct key key = key_message(id, o->sequence);
        enum sotto_err err = store_get(w->store, STORE_MESSAGE, key_slice(&key), &value);
        if (err == SOTTO_ERR_NOT_FOUND && w->retention_days != 0) continue;
        struct message m;
        CHECK(w, err == SOTTO_OK && message_row_decode(id, o->sequence, buffer_slice(&value), &m) == SOTTO_OK);
        CHECK(w, id_eq(m.record.message_id, o->message_id) && memcmp(m.chain, o->chain, HASH_LEN) == 0);
        CHECK(w, m.state == MESSAGE_EXPIRED ? m.record.expires_ms != 0 : slice_is(m.record.body, o->payload));
    }
    buffer_deinit(&value);
}

static void check_store(struct world *w)
{
    bool reads = w->read_faults;
    struct store_report report;
    w->read_faults = false;
    CHECK(w, store_check(w->store, print_problem, NULL, &report) == SOTTO_OK);
    CHECK(w, report.problems == 0);
    check_answered(w);
    w->read_faults = reads;
}

static void crash(struct world *w)
{
    w->crashing = true;
    engine_destroy(&w->engine);
    (void)mailbox_deliver(&w->replies, w);
    w->crashing = false;
    w->crashes++;
    w->store = store_memory_reopen(&w->store, fault, w);
    for (int i = 0; i < DEVICES; i++) w->devices[i].mode = OFFLINE;
    start_engine(w);
    check_store(w);
}

static void save_device(struct world *w)
{
    struct saved *s = &w->saved[below(w, SAVED)];
    s->used = true;
    s->device = w->devices[below(w, DEVICES)];
}

static void jump_clock(struct world *w)
{
    switch (below(w, 4)) {
    case 0: w->clock.wall_ms -= below(w, 3600 * 1000); break;
    case 1: w->clock.wall_ms += below(w, 6 * 3600 * 1000); break;
    default: clock_manual_advance(&w->clock, below(w, 5000)); break;
    }
}

static void step(struct world *w)
{
    uint64_t dice = below(w, 1000);
    struct device *d = &w->devices[below(w, DEVICES)];
    if (dice < 330) send_new(w);
    else if (dice < 380) send_again(w);
    else if (dice < 400) retry_unanswered(w, 5);
    else if (dice < 500) send_marks(w);
    else if (dice < 530) change_group(w);
    else if (dice < 540) send_typing(w);
    else if (dice < 720) turn(w);
    else if (dice < 920) {
        if (d->mode == OFFLINE) d->mode = SYNCING;
        if (d->mode == SYNCING) sync_some(w, d);
    } else if (dice < 940) d->mode = OFFLINE;
    else if (dice < 960) save_device(w);
    else if (dice < 975) jump_clock(w);
    else if (dice < 993) {
        turn(w);
        engine_housekeep(w->engine);
    } else crash(w);
}

/* ---- The end: everything comes together -------------------------------------------- */

static void check_view(struct world *w, const struct device *d, int conversation)
{
    struct buffer value;
    struct conversation c;
    struct key key = key_conversation(w->conversations[conversation]);
    buffer_init(&value, ROW_BYTES_MAX);
    if (store_get(w->store, STORE_CONVERSATION, key_slice(&key), &value) == SOTTO_OK) {
        CHECK(w, conversation_decode(w->conversations[conversation], buffer_slice(&value), &c) == SOTTO_OK);
        const struct member *me = conversation_member(&c, w->users[d->user]);
        const struct view *v = &d->views[conversation];
        if (me != NULL) {
            uint64_t last = v->last > me->joined_sequence ? v->last : me->joined_sequence;
            CHECK(w, last == (me->left_sequence != 0 ? me->left_sequence : c.last_sequence));
        }
        for (size_t i = 0; me != NULL && member_present(me) && i < c.members_count; i++) {
            const struct member *m = &c.members[i];
            int user = user_of(w, m->user);
            CHECK(w, v->delivered[user] == m->delivered.sequence);
            CHECK(w, v->read[user] == (m == me ? m->read.sequence : m->public_read));
        }
        conversation_deinit(&c);
    }
    buffer_deinit(&value);
}

static void check_device(struct world *w, struct device *d)
{
    sync_fully(w, d);
    for (int i = 0; i < CONVERSATIONS; i++) check_view(w, d, i);
}

static void settle(struct world *w)
{
    w->write_faults = w->read_faults = false;
    turn(w);
    for (int i = 0; i < DEVICES; i++) check_device(w, &w->devices[i]);
    retry_unanswered(w, SIZE_MAX);
    turn(w);
    for (size_t i = 0; i < w->messages_count; i++)
        CHECK(w, w->messages[i].answered || w->messages[i].refused);
    engine_housekeep(w->engine); /* a clock that had jumped ahead pauses it */
    clock_manual_advance(&w->clock, 24 * 3600 * 1000);
    for (int i = 0; i < 40; i++) engine_housekeep(w->engine);
    struct store_iter *it = store_iter_create(w->store, STORE_EXPIRY);
    store_iter_seek(it, slice_of("", 0));
    CHECK(w, !store_iter_valid(it));
    store_iter_destroy(&it);
    check_store(w);
    for (int i = 0; i < DEVICES; i++) check_device(w, &w->devices[i]);
    for (int i = 0; i < SAVED; i++)
        if (w->saved[i].used) check_device(w, &w->saved[i].device);
}

static void build(struct world *w, uint64_t seed)
{
    *w = (struct world){.seed = seed};
    random_seeded_init(&w->random, seed);
    clock_manual_init(&w->clock, 1700000000000);
    w->metrics = metrics_create();
    w->permille = (unsigned)below(w, 120);
    w->write_faults = w->read_faults = true;
    w->retention_days = below(w, 3) == 0;
    w->messages = sotto_zalloc(MESSAGES_MAX * sizeof(*w->messages));
    CHECK(w, mailbox_init(&w->replies, 1 << 20) == SOTTO_OK);
    w->store = store_memory_create(fault, w);
    int direct = 0;
    for (uint32_t i = 0; i < USERS; i++) w->users[i] = test_id('u', i);
    for (int i = 0; i < USERS; i++)
        for (int j = 0; j < i; j++, direct++) {
            w->peers[direct][0] = i;
            w->peers[direct][1] = j;
            w->conversations[direct] = id_direct_conversation(w->users[i], w->users[j]);
        }
    for (uint32_t i = 0; i < GROUPS; i++) w->conversations[DIRECT + i] = test_id('g', i);
    start_engine(w);
    for (int i = 0; i < DEVICES; i++) {
        w->devices[i].user = i / DEVICES_PER_USER;
        w->devices[i].number = (uint8_t)(1 + i % DEVICES_PER_USER);
        w->devices[i].cursor.epoch = engine_epoch(w->engine);
    }
}

static void tear_down(struct world *w)
{
    engine_destroy(&w->engine);
    (void)mailbox_deliver(&w->replies, w);
    mailbox_deinit(&w->replies);
    store_close(&w->store);
    metrics_destroy(&w->metrics);
    free(w->messages);
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void simulation__bad_days__lose_nothing(void **state)
{
    (void)state;
    uint64_t first = setting("SOTTO_SIM_SEED", 1), seeds = setting("SOTTO_SIM_SEEDS", 32);
    uint64_t steps = setting("SOTTO_SIM_STEPS", 2500);
    size_t crashes = 0, repeated = 0, uncertain = 0, resets = 0, messages = 0;
    struct world *w = sotto_zalloc(sizeof(*w));
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        build(w, seed);
        for (w->steps = 0; w->steps < steps; w->steps++) step(w);
        settle(w);
        crashes += w->crashes, repeated += w->repeated, uncertain += w->uncertain, resets += w->resets;
        messages += w->messages_count;
        tear_down(w);
    }
    free(w);
    print_message("%zu messages, %zu crashes, %zu repeated, %zu uncertain, %zu snapshots\n", messages, crashes,
                  repeated, uncertain, resets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(simulation__bad_days__lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
