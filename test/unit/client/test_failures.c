/* Fault sweeps: every allocation and every store operation of a session fails
 * once. Whatever fails, the engine ends up with everything, once and in order,
 * or says that its store is broken. */
#include "client_fixture.h"

/* A server that holds ten messages and answers as the protocol says. */
enum { MESSAGES = 10 };

static void answer_history(struct fixture *f, const struct script *start, uint64_t since)
{
    struct buffer b;
    struct script s = *start;
    buffer_init(&b, 1 << 18);
    buffer_append_str(&b, "{\"type\":\"history\",\"re\":\"history:");
    buffer_append_id(&b, s.conversation);
    buffer_append_str(&b, "\",\"messages\":[");
    bool comma = false;
    while (s.sequence < MESSAGES) {
        struct buffer one;
        buffer_init(&one, 1 << 16);
        script_message(&s, f, "hello", 0, NULL, NULL, &one);
        if (s.sequence > since) {
            if (comma) buffer_append_str(&b, ",");
            buffer_append_slice(&b, buffer_slice(&one));
            comma = true;
        }
        buffer_deinit(&one);
    }
    buffer_append_str(&b, "],\"hasMore\":false}");
    client_frame(f->client, buffer_slice(&b), f->now_ms);
    buffer_deinit(&b);
}

/* Plays the server for one connection. */
static void serve(struct fixture *f, const struct script *start)
{
    client_opened(f->client, f->now_ms);
    drain(f);
    hello(f);
    struct script s = *start;
    for (uint64_t i = 0; i < MESSAGES && client_phase(f->client) >= CLIENT_SYNCING; i++) {
        if (i == 1) feed(f, "{\"type\":\"sync.done\",\"cursor\":\"c\"}");
        if (i == 3) { /* skipped: a gap */
            struct buffer lost;
            buffer_init(&lost, 1 << 16);
            script_message(&s, f, "hello", 0, NULL, NULL, &lost);
            buffer_deinit(&lost);
            continue;
        }
        arrive(f, &s, "hello", "c");
        if (saw(&f->frames, "history.get")) {
            const char *at = memmem(f->frames.data, f->frames.len, "\"since\":", 8);
            uint64_t since = strtoull(at + 8, NULL, 10);
            forget(f);
            answer_history(f, start, since);
            drain(f);
        }
    }
    pass_time(f, CLIENT_DELIVERED_DELAY_MS);
    feed(f, "{\"type\":\"ok\",\"re\":\"marks:delivered\"}");
}

static bool complete(struct fixture *f, const struct script *s)
{
    for (size_t i = 0; i < f->store.committed.marks_count; i++) {
        const struct client_mark *m = &f->store.committed.marks[i];
        if (id_eq(m->conversation, s->conversation)) return m->sequence == MESSAGES;
    }
    return false;
}

/* Connects again and again until everything is there. */
static void live_through(struct fixture *f, const struct script *s)
{
    for (int round = 0; round < 6 && !complete(f, s); round++) {
        for (int i = 0; i < 200 && client_phase(f->client) != CLIENT_CONNECTING; i++) pass_time(f, 1000);
        if (client_phase(f->client) == CLIENT_ENDED) return;
        serve(f, s);
    }
}

static void failures__allocations__everything_arrives_in_the_end(void **state)
{
    struct fixture *f = *state;
    for (int k = 0;; k++) {
        struct script s;
        client_destroy(&f->client);
        memset(&f->store.committed, 0, sizeof f->store.committed);
        script_init(&s, f, 1);
        forget(f);
        f->messages = 0;
        f->memory.fail_after = k;
        f->memory.failed = false;
        if (make_client(f) != SOTTO_OK) {
            assert_true(f->memory.failed);
            continue;
        }
        client_start(f->client, f->now_ms);
        drain(f);
        live_through(f, &s);
        assert_true(complete(f, &s));
        assert_int_equal(f->messages, MESSAGES); /* each was shown, once */
        assert_false(saw(&f->events, "broken"));
        if (!f->memory.failed) break;
        assert_true(k < 500);
    }
}

static void failures__store__ended_and_whole_after_reopening(void **state)
{
    struct fixture *f = *state;
    for (int k = 0;; k++) {
        struct script s;
        client_destroy(&f->client);
        memset(&f->store.committed, 0, sizeof f->store.committed);
        script_init(&s, f, 1);
        forget(f);
        f->messages = 0;
        f->store.fail_after = k;
        if (make_client(f) != SOTTO_OK) continue; /* the load failed and was told */
        client_start(f->client, f->now_ms);
        drain(f);
        live_through(f, &s);
        bool failed = f->store.fail_after < 0;
        if (failed && !complete(f, &s)) {
            assert_int_equal(client_phase(f->client), CLIENT_ENDED);
            client_destroy(&f->client);
            assert_int_equal(make_client(f), SOTTO_OK);
            client_start(f->client, f->now_ms);
            drain(f);
            live_through(f, &s);
        }
        assert_true(complete(f, &s));
        assert_int_equal(f->messages, MESSAGES); /* each was shown, once */
        assert_false(saw(&f->events, "broken"));
        if (!failed) break;
        assert_true(k < 500);
    }
}

/* A message is in the outbox exactly when client_send said so. */
static void failures__send__kept_or_refused(void **state)
{
    struct fixture *f = *state;
    struct script s;
    script_init(&s, f, 1);
    struct client_send send = {.to = s.peer, .client_msg_id = SLICE_LIT("a"), .type = SLICE_LIT("text"),
                               .payload = SLICE_LIT("x")};
    for (int k = 0;; k++) {
        client_destroy(&f->client);
        memset(&f->store.committed, 0, sizeof f->store.committed);
        f->store.fail_after = f->memory.fail_after = -1;
        assert_int_equal(make_client(f), SOTTO_OK);
        if (k % 2) f->store.fail_after = k / 2;
        else f->memory.fail_after = k / 2;
        f->memory.failed = false;
        enum sotto_err err = client_send(f->client, &send, f->now_ms, NULL);
        drain(f);
        assert_int_equal(f->store.committed.queue_count, err ? 0 : 1);
        if (!err && k > 20) break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(failures__allocations__everything_arrives_in_the_end, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(failures__store__ended_and_whole_after_reopening, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(failures__send__kept_or_refused, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
