/* The outbox of the client engine against a scripted server. */
#include "client_fixture.h"

static void send_text(struct fixture *f, const struct script *s, const char *id, const char *text)
{
    struct client_send send = {.to = s->peer, .client_msg_id = slice_str(id), .type = SLICE_LIT("text"),
                               .payload = slice_str(text)};
    assert_int_equal(client_send(f->client, &send, f->now_ms, NULL), SOTTO_OK);
    drain(f);
}

/* message.sent as the server answers the next message of the conversation. */
static void answer_sent(struct fixture *f, struct script *s, const char *id, const char *text)
{
    struct buffer whole, b;
    buffer_init(&whole, 1 << 16);
    buffer_init(&b, 1 << 16);
    script_message(s, f, text, 3, id, NULL, &whole);
    struct id message = {{0}};
    message.bytes[0] = s->peer.bytes[0];
    message.bytes[15] = (uint8_t)s->sequence;
    buffer_printf(&b, "{\"type\":\"message.sent\",\"re\":\"%s\",\"clientMsgId\":\"%s\",\"conversationId\":\"", id, id);
    buffer_append_id(&b, s->conversation);
    buffer_append_str(&b, "\",\"messageId\":\"");
    buffer_append_id(&b, message);
    buffer_printf(&b, "\",\"sequence\":%llu", (unsigned long long)s->sequence);
    put_hash(&b, "chain", s->chain);
    buffer_append_str(&b, ",\"ts\":1790000000000}");
    client_frame(f->client, buffer_slice(&b), f->now_ms);
    drain(f);
    buffer_deinit(&whole);
    buffer_deinit(&b);
}

static void outbox__one_at_a_time_per_conversation(void **state)
{
    struct fixture *f = *state;
    struct script s, other;
    go_live(f);
    script_init(&s, f, 1);
    script_init(&other, f, 2);
    send_text(f, &s, "a", "one");
    send_text(f, &s, "b", "two");
    send_text(f, &other, "c", "three");
    assert_true(saw(&f->frames, "\"clientMsgId\":\"a\""));
    assert_false(saw(&f->frames, "\"clientMsgId\":\"b\""));
    assert_true(saw(&f->frames, "\"clientMsgId\":\"c\""));
    answer_sent(f, &s, "a", "one");
    assert_true(saw(&f->events, "sent "));
    assert_true(saw(&f->frames, "\"clientMsgId\":\"b\""));
    assert_int_equal(client_outbox_count(f->client), 2);
    assert_int_equal(f->store.committed.queue_count, 2);
    assert_false(saw(&f->events, "broken"));
}

/* Our message has number 3, and numbers 1 and 2 have not come yet: it is shown in its
 * turn, once, and not sent again meanwhile. */
static void outbox__answered_ahead_is_shown_in_its_turn(void **state)
{
    static const char *const texts[] = {"one", "two", "three"};
    struct fixture *f = *state;
    struct script s, ahead;
    go_live(f);
    script_init(&s, f, 1);
    announce(f, &s, 0, 0);
    send_text(f, &s, "a", "three");
    ahead = s;
    ahead.sequence = 2;
    forget(f);
    answer_sent(f, &ahead, "a", "three");
    assert_int_equal(f->events.len, 0);
    assert_true(saw(&f->frames, "\"since\":0"));
    forget(f);
    pass_time(f, CLIENT_ANSWER_TIMEOUT_MS + 1);
    assert_false(saw(&f->frames, "clientMsgId"));
    assert_true(f->connected);
    answer_pull(f, &s, texts, 3, "a");
    buffer_append_byte(&f->events, '\0');
    assert_string_equal((char *)f->events.data, "message message sent ");
    assert_int_equal(f->last.message.sequence, 3);
    assert_int_equal(client_outbox_count(f->client), 0);
    assert_int_equal(f->store.committed.queue_count, 0);
}

static void outbox__answered_ahead_of_what_is_gone(void **state)
{
    struct fixture *f = *state;
    struct script s;
    char id[ID_TEXT_LEN + 1], text[256];
    go_live(f);
    script_init(&s, f, 1);
    announce(f, &s, 0, 0);
    send_text(f, &s, "a", "far");
    s.sequence = 40;
    forget(f);
    answer_sent(f, &s, "a", "far");
    id_format(s.conversation, id);
    (void)snprintf(text, sizeof text, "{\"type\":\"history\",\"re\":\"history:%s\",\"messages\":[],\"hasMore\":false}", id);
    feed(f, text);
    buffer_append_byte(&f->events, '\0');
    assert_string_equal((char *)f->events.data, "hole sent ");
    assert_int_equal(f->last.sequence, 41);
    assert_int_equal(client_outbox_count(f->client), 0);
    /* The pull is refused for good: it is with the server all the same. */
    send_text(f, &s, "b", "farther");
    s.sequence += 5;
    forget(f);
    answer_sent(f, &s, "b", "farther");
    refuse_pull(f, &s, "not_a_member", 0);
    assert_true(saw(&f->events, "sent "));
    assert_int_equal(client_outbox_count(f->client), 0);
}

/* The answer to conversation.get: so much was delivered to our user. */
static void answer_conversation(struct fixture *f, const struct script *s, unsigned delivered)
{
    char id[ID_TEXT_LEN + 1], user[ID_TEXT_LEN + 1], text[512];
    id_format(s->conversation, id);
    id_format(f->user, user);
    (void)snprintf(text, sizeof text,
                   "{\"type\":\"conversation\",\"re\":\"conversation:%s\",\"conversationId\":\"%s\",\"lastSequence\":99,"
                   "\"members\":[{\"userId\":\"%s\",\"role\":\"member\",\"delivered\":%u,\"read\":7}]}",
                   id, id, user, delivered);
    feed(f, text);
}

static void send_into_old(struct fixture *f, struct script *s, uint64_t sequence)
{
    go_live(f);
    script_init(s, f, 1);
    send_text(f, s, "a", "ours");
    s->sequence = sequence - 1;
    struct script ours = *s;
    forget(f);
    answer_sent(f, &ours, "a", "ours");
    assert_int_equal(f->events.len, 0);
    assert_true(saw(&f->frames, "\"conversation.get\""));
    assert_false(saw(&f->frames, "history.get"));
    forget(f);
}

/* A device that knows nothing of a conversation with forty messages: it begins behind what
 * the person's other devices have had. */
static void outbox__into_an_old_conversation__begins_there(void **state)
{
    static const char *const missed[] = {"forty", "ours"};
    struct fixture *f = *state;
    struct script s;
    send_into_old(f, &s, 41);
    answer_conversation(f, &s, 39);
    assert_true(saw(&f->frames, "\"since\":39"));
    s.sequence = 39;
    answer_pull(f, &s, missed, 2, "a");
    arrive(f, &s, "long time", "c1");
    buffer_append_byte(&f->events, '\0');
    assert_string_equal((char *)f->events.data, "message sent message ");
    assert_string_equal(f->store.committed.cursor, "c1");
    assert_int_equal(client_outbox_count(f->client), 0);
}

static void outbox__into_an_old_conversation__that_nobody_tells_of(void **state)
{
    static const char *const ours[] = {"ours"};
    struct fixture *f = *state;
    struct script s;
    char id[ID_TEXT_LEN + 1], text[256];
    send_into_old(f, &s, 41);
    id_format(s.conversation, id);
    (void)snprintf(text, sizeof text,
                   "{\"type\":\"error\",\"re\":\"conversation:%s\",\"code\":\"busy\",\"message\":\"x\"}", id);
    feed(f, text);
    assert_true(saw(&f->frames, "\"since\":40"));
    answer_pull(f, &s, ours, 1, "a");
    assert_true(saw(&f->events, "sent "));
}

/* An event comes before the answer, and begins the conversation. */
static void outbox__into_an_old_conversation__an_event_is_first(void **state)
{
    static const char *const ours[] = {"ours"};
    struct fixture *f = *state;
    struct script s;
    send_into_old(f, &s, 41);
    s.sequence = 39;
    arrive(f, &s, "forty", NULL);
    answer_conversation(f, &s, 0);
    assert_true(saw(&f->frames, "\"since\":40"));
    answer_pull(f, &s, ours, 1, "a");
    buffer_append_byte(&f->events, '\0');
    assert_string_equal((char *)f->events.data, "message sent ");
}

/* What another device of ours has had already comes late to this one: it is not taken for
 * old, not even by a client that was started again in between; what is between is fetched. */
static void outbox__into_an_old_conversation__what_comes_late_is_not_lost(void **state)
{
    static const char *const ours[] = {"ours"}, *const again[] = {"forty-two", "ours"};
    struct fixture *f = *state;
    struct script s, before;
    send_into_old(f, &s, 43);
    answer_conversation(f, &s, 42);
    answer_pull(f, &s, ours, 1, "a");
    assert_int_equal(client_outbox_count(f->client), 0);
    client_destroy(&f->client);
    assert_int_equal(make_client(f), SOTTO_OK);
    go_live(f);
    before = s;
    before.sequence = 40;
    arrive(f, &before, "forty-one", "c1");
    assert_string_equal(f->last_text, "forty-one");
    assert_true(saw(&f->frames, "\"since\":41"));
    assert_string_equal(f->store.committed.cursor, "c0"); /* a crash would lead back to before it */
    answer_pull(f, &before, again, 2, "a");
    assert_int_equal(f->last_sequence, 43);
    assert_string_equal(f->store.committed.cursor, "c1");
    before.sequence = 40; /* and once is enough */
    forget(f);
    arrive(f, &before, "forty-one", NULL);
    assert_int_equal(f->events.len, 0);
}

static void outbox__sent_again_after_the_connection_broke(void **state)
{
    struct fixture *f = *state;
    struct script s;
    go_live(f);
    script_init(&s, f, 1);
    send_text(f, &s, "a", "one");
    client_closed(f->client, 1006, f->now_ms);
    drain(f);
    client_destroy(&f->client); /* a crash: only the store is left */
    assert_int_equal(make_client(f), SOTTO_OK);
    forget(f);
    go_live(f);
    pass_time(f, 0);
    send_text(f, &s, "b", "two");
    client_closed(f->client, 1006, f->now_ms);
    drain(f);
    forget(f);
    pass_time(f, 60000);
    client_opened(f->client, f->now_ms);
    drain(f);
    hello(f);
    feed(f, "{\"type\":\"sync.done\",\"cursor\":\"c0\"}");
    assert_true(saw(&f->frames, "\"clientMsgId\":\"a\""));
    assert_false(saw(&f->frames, "\"clientMsgId\":\"b\""));
    /* The first one had arrived: it comes back in the conversation as ours. */
    struct buffer b;
    buffer_init(&b, 1 << 16);
    script_message(&s, f, "one", 3, "a", "c1", &b);
    client_frame(f->client, buffer_slice(&b), f->now_ms);
    drain(f);
    assert_true(saw(&f->events, "sent "));
    assert_true(saw(&f->frames, "\"clientMsgId\":\"b\""));
    buffer_deinit(&b);
}

static void outbox__refusals(void **state)
{
    struct fixture *f = *state;
    struct script s;
    go_live(f);
    script_init(&s, f, 1);
    send_text(f, &s, "a", "one");
    send_text(f, &s, "b", "two");
    feed(f, "{\"type\":\"error\",\"re\":\"a\",\"code\":\"rate_limited\",\"message\":\"m\",\"requestId\":\"r\","
            "\"retryAfterMs\":2000}");
    assert_int_equal(client_outbox_count(f->client), 2);
    forget(f);
    pass_time(f, 1900);
    assert_int_equal(f->frames.len, 0);
    pass_time(f, 700);
    assert_true(saw(&f->frames, "\"clientMsgId\":\"a\""));
    assert_false(saw(&f->frames, "\"clientMsgId\":\"b\"")); /* no overtaking */
    feed(f, "{\"type\":\"error\",\"re\":\"a\",\"code\":\"no_such_user\",\"message\":\"m\",\"requestId\":\"r\"}");
    assert_true(saw(&f->events, "failed "));
    assert_true(saw(&f->frames, "\"clientMsgId\":\"b\""));
    assert_int_equal(f->store.committed.queue_count, 1);
}

static void outbox__bounds(void **state)
{
    struct fixture *f = *state;
    struct script s;
    go_live(f);
    script_init(&s, f, 1);
    struct client_send send = {.to = s.peer, .client_msg_id = SLICE_LIT("a"), .type = SLICE_LIT("text"),
                               .payload = SLICE_LIT("x")};
    assert_int_equal(client_send(f->client, &send, f->now_ms, NULL), SOTTO_OK);
    assert_int_equal(client_send(f->client, &send, f->now_ms, NULL), SOTTO_ERR_EXISTS);
    send.conversation = s.conversation;
    assert_int_equal(client_send(f->client, &send, f->now_ms, NULL), SOTTO_ERR_INVALID);
    send.conversation = (struct id){{0}};
    send.type = SLICE_LIT("");
    assert_int_equal(client_send(f->client, &send, f->now_ms, NULL), SOTTO_ERR_INVALID);
    drain(f);
}

static void outbox__another_message_under_the_key_is_not_taken_for_it(void **state)
{
    struct fixture *f = *state;
    struct script s;
    struct buffer b;
    go_live(f);
    script_init(&s, f, 1);
    struct client_send send = {.to = s.peer, .client_msg_id = SLICE_LIT("k"), .type = SLICE_LIT("text"),
                               .payload = SLICE_LIT("two")};
    assert_int_equal(client_send(f->client, &send, f->now_ms, NULL), SOTTO_OK);
    drain(f);
    buffer_init(&b, 1 << 16);
    script_message(&s, f, "one", 3, "k", "c1", &b);
    client_frame(f->client, buffer_slice(&b), f->now_ms);
    buffer_deinit(&b);
    drain(f);
    assert_int_equal(client_outbox_count(f->client), 1);
    assert_string_equal(f->last_text, "one");
    feed(f, "{\"type\":\"error\",\"re\":\"k\",\"code\":\"client_msg_id_conflict\",\"message\":\"x\"}");
    assert_true(saw(&f->events, "failed "));
    assert_int_equal(client_outbox_count(f->client), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(outbox__one_at_a_time_per_conversation),
        T(outbox__answered_ahead_is_shown_in_its_turn),
        T(outbox__answered_ahead_of_what_is_gone),
        T(outbox__into_an_old_conversation__begins_there),
        T(outbox__into_an_old_conversation__that_nobody_tells_of),
        T(outbox__into_an_old_conversation__an_event_is_first),
        T(outbox__into_an_old_conversation__what_comes_late_is_not_lost),
        T(outbox__sent_again_after_the_connection_broke),
        T(outbox__refusals),
        T(outbox__bounds),
        T(outbox__another_message_under_the_key_is_not_taken_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
