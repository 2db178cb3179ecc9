/* The engine on its own thread, with submitters, readers and housekeeping at
 * the same time. Worth most under the thread sanitizer. */
#include "unit/engine/fixture.h"

#include <pthread.h>

enum { SUBMITTERS = 3, MESSAGES = 400, MARK_EVERY = 8 };

struct submitter {
    struct fixture *f;
    unsigned user;
    struct mailbox replies;
    uint64_t last_sequence; /* answers come in order */
    unsigned answered, repeated;
};
struct counts {
    atomic_uint messages, marks;
    uint64_t position; /* engine thread only */
    bool ordered;
};

static void count_events(void *ctx, struct event *const *events, size_t count)
{
    struct counts *c = ctx;
    for (size_t i = 0; i < count; i++) {
        if (events[i]->position < c->position) c->ordered = false;
        c->position = events[i]->position;
        if (events[i]->kind == EVENT_MESSAGE) atomic_fetch_add(&c->messages, 1);
        if (events[i]->kind == EVENT_DELIVERED) atomic_fetch_add(&c->marks, 1);
    }
}

static void deliver(struct mail *mail, void *receiver)
{
    struct submission *s = (struct submission *)(void *)mail;
    struct submitter *t = receiver;
    SOTTO_ASSERT(s->answer.problem == PROBLEM_NONE);
    if (s->record.kind == RECORD_MESSAGE && !s->answer.repeated) {
        SOTTO_ASSERT(s->answer.sequence > t->last_sequence);
        t->last_sequence = s->answer.sequence;
    }
    t->repeated += s->answer.repeated;
    t->answered++;
    submission_destroy(s, NULL);
}

static void post(struct submitter *t, const struct record *r)
{
    struct buffer bytes;
    buffer_init(&bytes, SOTTO_RECORD_MAX);
    record_encode(r, &bytes);
    struct submission *s = submission_create(buffer_slice(&bytes), NULL);
    buffer_deinit(&bytes);
    s->mail.deliver = deliver;
    s->reply_to = &t->replies;
    while (!engine_submit(t->f->engine, s)) mailbox_wait(&t->replies, 1);
}

/* All write to user 1, so that states and rows are shared. */
static void *submit_many(void *arg)
{
    struct submitter *t = arg;
    struct random_seeded random;
    random_seeded_init(&random, t->user);
    for (unsigned i = 0; i < MESSAGES; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%u", i);
        struct record r = {.kind = RECORD_MESSAGE, .conversation = id_direct_conversation(user_id(1), user_id(t->user))};
        r.message = (struct record_message){
            .message_id = id_time_ordered(&random.source, START_MS), .sender = user_id(t->user), .sender_device = 1,
            .has_peer = true, .peer = user_id(1), .body_kind = BODY_PAYLOAD, .ts_ms = START_MS,
            .expires_ms = i % 16 == 0 ? START_MS + 1 : 0, /* at once, by the housekeeping */
            .client_msg_id = slice_str(key), .type = SLICE_LIT("text"), .body = SLICE_LIT("payload")};
        body_hash(BODY_PAYLOAD, r.message.body, r.message.payload_hash);
        post(t, &r);
        if (i % 10 == 0) post(t, &r); /* again */
        if (i % MARK_EVERY == MARK_EVERY - 1) {
            /* Wait for what is to be marked; then as the other side would. */
            while (t->answered < i) {
                mailbox_wait(&t->replies, 100);
                (void)mailbox_deliver(&t->replies, t);
            }
            r = marks_of(t->f, r.conversation, 1, t->last_sequence, 0, 0);
            r.watermark.ts_ms = START_MS;
            post(t, &r);
        }
        (void)mailbox_deliver(&t->replies, t);
    }
    while (t->answered < MESSAGES + MESSAGES / 10 + MESSAGES / MARK_EVERY) {
        mailbox_wait(&t->replies, 100);
        (void)mailbox_deliver(&t->replies, t);
    }
    return NULL;
}

struct follower {
    struct fixture *f;
    atomic_bool stop;
    struct cursor cursor;
    unsigned given;
};

static void reader_message(void *ctx, const struct conversation *c, const struct member *me, const struct message *m)
{
    struct follower *r = ctx;
    SOTTO_ASSERT(m->sequence <= c->last_sequence && me->left_sequence == 0);
    r->given++;
}
static void reader_conversation(void *ctx, const struct conversation *c, const struct member *me)
{
    (void)ctx, (void)c, (void)me;
}
static void reader_marks(void *ctx, const struct conversation *c, const struct member *me, const struct member *who,
                         bool delivered, bool read)
{
    (void)ctx, (void)c, (void)me, (void)who, (void)delivered, (void)read;
}

static void *read_along(void *arg)
{
    struct follower *r = arg;
    struct inbox_sink sink = {r, reader_conversation, reader_message, reader_marks, NULL};
    /* A round goes up to the position that it began with: the last must begin when
     * all has been written. */
    for (bool done = false, last = false; !done || !last;) {
        if (!r->cursor.partial) last = atomic_load(&r->stop);
        SOTTO_ASSERT(inbox_sync(r->f->store, user_id(1), START_MS, 7, 100000, &sink, &r->cursor, &done) == SOTTO_OK);
    }
    return NULL;
}

static void engine__threads__submitters_readers_and_housekeeping(void **state)
{
    struct fixture *f = *state;
    struct counts counts = {.ordered = true};
    struct submitter submitters[SUBMITTERS];
    struct follower reader = {.f = f};
    struct buffer why;
    pthread_t threads[SUBMITTERS], reading;
    engine_destroy(&f->engine);
    struct engine_options options = {
        .store = f->store, .clock = clock_system(), .random = &f->random.source, .metrics = f->metrics,
        .publish = count_events, .publish_ctx = &counts, .cache_conversations = 2, .housekeeping_ms = 1};
    buffer_init(&why, 1024);
    assert_int_equal(engine_create(&options, &why, &f->engine), SOTTO_OK);
    buffer_deinit(&why);
    engine_start(f->engine);
    assert_int_equal(pthread_create(&reading, NULL, read_along, &reader), 0);
    for (unsigned i = 0; i < SUBMITTERS; i++) {
        submitters[i] = (struct submitter){.f = f, .user = i + 2};
        assert_int_equal(mailbox_init(&submitters[i].replies, 1 << 16), SOTTO_OK);
        assert_int_equal(pthread_create(&threads[i], NULL, submit_many, &submitters[i]), 0);
    }
    for (unsigned i = 0; i < SUBMITTERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(submitters[i].last_sequence, MESSAGES);
        assert_int_equal(submitters[i].repeated, MESSAGES / 10);
        mailbox_deinit(&submitters[i].replies);
    }
    engine_stop(f->engine);
    atomic_store(&reader.stop, true);
    pthread_join(reading, NULL);
    assert_int_equal(atomic_load(&counts.messages), SUBMITTERS * MESSAGES);
    /* A mark that finds nothing new moves nothing. */
    assert_in_range(atomic_load(&counts.marks), SUBMITTERS, SUBMITTERS * (MESSAGES / MARK_EVERY));
    assert_true(counts.ordered);
    assert_int_equal(reader.given, SUBMITTERS * MESSAGES);
    assert_store_clean(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(engine__threads__submitters_readers_and_housekeeping, fixture_setup,
                                        fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
