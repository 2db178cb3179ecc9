/* The client engine against a scripted server. */
#include "client_fixture.h"

static void engine__start__hello_with_token_then_resume(void **state)
{
    struct fixture *f = *state;
    client_start(f->client, f->now_ms);
    drain(f);
    client_opened(f->client, f->now_ms);
    drain(f);
    assert_true(saw(&f->frames, "\"type\":\"hello\",\"token\":\"sot_token\""));
    assert_false(saw(&f->frames, "cursor"));
    hello(f);
    feed(f, "{\"type\":\"sync.done\",\"cursor\":\"c7\"}");
    assert_true(saw(&f->events, "connecting greeting syncing live caught-up "));
    assert_string_equal(f->store.committed.cursor, "c7");
    forget(f);
    client_closed(f->client, 4001, f->now_ms);
    drain(f);
    assert_int_equal(client_phase(f->client), CLIENT_WAITING);
    pass_time(f, 300);
    assert_int_equal(client_phase(f->client), CLIENT_CONNECTING);
    client_opened(f->client, f->now_ms);
    drain(f);
    assert_true(saw(&f->frames, "\"resumeToken\":\"res_1\",\"cursor\":\"c7\""));
}

static void engine__message__accepted_in_order_and_once(void **state)
{
    struct fixture *f = *state;
    struct script s;
    go_live(f);
    script_init(&s, f, 1);
    arrive(f, &s, "one", "c1");
    arrive(f, &s, "two", "c2");
    assert_int_equal(f->messages, 2);
    assert_string_equal(f->last_text, "two");
    assert_string_equal(f->store.committed.cursor, "c2");
    s.sequence = 0;
    memset(s.chain, 0, sizeof s.chain);
    arrive(f, &s, "one", "c2");
    assert_int_equal(f->messages, 2);
    assert_false(saw(&f->events, "broken"));
}

static void engine__message__changed_history_is_reported(void **state)
{
    struct fixture *f = *state;
    struct script s;
    go_live(f);
    script_init(&s, f, 1);
    arrive(f, &s, "one", NULL);
    s.chain[0] ^= 1;
    arrive(f, &s, "two", NULL);
    assert_true(saw(&f->events, "broken-chain message "));
    forget(f);
    arrive(f, &s, "three", NULL); /* follows from what the server now says */
    assert_false(saw(&f->events, "broken"));
}

/* While this device was away another of the same person has read it all. */
static void engine__new_conversation__is_shown_from_its_beginning(void **state)
{
    struct fixture *f = *state;
    struct script s;
    go_live(f);
    script_init(&s, f, 1);
    announce(f, &s, 2, 2);
    arrive(f, &s, "one", NULL);
    assert_string_equal(f->last_text, "one");
    arrive(f, &s, "two", "c2");
    assert_int_equal(f->messages, 2);
    assert_false(saw(&f->events, "hole"));
    assert_false(saw(&f->events, "broken"));
}

/* Nobody announced it, so it began before this device did. */
static void engine__old_conversation__begins_with_the_first_message_that_comes(void **state)
{
    struct fixture *f = *state;
    struct script s;
    go_live(f);
    script_init(&s, f, 1);
    s.sequence = 40;
    memset(s.chain, 5, sizeof s.chain);
    arrive(f, &s, "far", "c9");
    assert_string_equal(f->last_text, "far");
    assert_string_equal(f->store.committed.cursor, "c9");
    arrive(f, &s, "next", "c10");
    assert_int_equal(f->messages, 2);
    assert_false(saw(&f->frames, "history.get"));
    assert_false(saw(&f->events, "hole"));
    s.chain[0] ^= 1;
    arrive(f, &s, "bad", "c11");
    assert_true(saw(&f->events, "broken-chain"));
}

static void engine__gap__pulled_and_cursor_held(void **state)
{
    struct fixture *f = *state;
    struct script s;
    struct buffer two;
    go_live(f);
    script_init(&s, f, 1);
    arrive(f, &s, "one", "c1");
    buffer_init(&two, 1 << 16);
    script_message(&s, f, "two", 0, NULL, NULL, &two);
    struct script ahead = s;
    arrive(f, &ahead, "three", "c3");
    assert_int_equal(f->messages, 1);
    assert_true(saw(&f->frames, "\"type\":\"history.get\""));
    assert_true(saw(&f->frames, "\"since\":1"));
    assert_string_equal(f->store.committed.cursor, "c1");
    struct buffer answer;
    buffer_init(&answer, 1 << 16);
    buffer_append_str(&answer, "{\"type\":\"history\",\"re\":\"history:");
    buffer_append_id(&answer, s.conversation);
    buffer_append_str(&answer, "\",\"messages\":[");
    buffer_append_slice(&answer, buffer_slice(&two));
    buffer_append_str(&answer, ",");
    script_message(&s, f, "three", 0, NULL, NULL, &answer);
    buffer_append_str(&answer, "],\"hasMore\":false}");
    client_frame(f->client, buffer_slice(&answer), f->now_ms);
    drain(f);
    assert_int_equal(f->messages, 3);
    assert_string_equal(f->last_text, "three");
    assert_false(saw(&f->events, "broken"));
    assert_string_equal(f->store.committed.cursor, "c3");
    buffer_deinit(&two);
    buffer_deinit(&answer);
}

static void engine__gap__gone_on_the_server_is_a_hole(void **state)
{
    struct fixture *f = *state;
    struct script s;
    go_live(f);
    script_init(&s, f, 1);
    announce(f, &s, 0, 0);
    s.sequence = 40;
    memset(s.chain, 5, sizeof s.chain);
    arrive(f, &s, "far", "c9");
    char id[ID_TEXT_LEN + 1], text[256];
    id_format(s.conversation, id);
    (void)snprintf(text, sizeof text, "{\"type\":\"history\",\"re\":\"history:%s\",\"messages\":[],\"hasMore\":false}", id);
    feed(f, text);
    assert_true(saw(&f->events, "hole "));
    assert_string_equal(f->store.committed.cursor, "c9");
    forget(f);
    arrive(f, &s, "next", "c10");
    assert_true(saw(&f->events, "message "));
    assert_false(saw(&f->events, "broken"));
}

static void engine__gap__pulled_again_when_refused_for_now(void **state)
{
    struct fixture *f = *state;
    struct script s, ahead;
    go_live(f);
    script_init(&s, f, 1);
    arrive(f, &s, "one", "c1");
    ahead = s;
    ahead.sequence++;
    arrive(f, &ahead, "three", "c3");
    pass_time(f, CLIENT_DELIVERED_DELAY_MS);
    feed(f, "{\"type\":\"ok\",\"re\":\"marks:delivered\"}");
    forget(f);
    refuse_pull(f, &s, "rate_limited", 4000);
    assert_string_equal(f->store.committed.cursor, "c1"); /* a crash now leads back to before the gap */
    assert_false(saw(&f->frames, "history.get"));
    uint64_t wake = client_wake_ms(f->client);
    assert_true(wake >= f->now_ms + 4000 && wake <= f->now_ms + 5000);
    pass_time(f, 3999);
    assert_false(saw(&f->frames, "history.get"));
    pass_time(f, 1001);
    assert_true(saw(&f->frames, "history.get"));
    const char *const texts[] = {"two", "three"};
    answer_pull(f, &s, texts, 2, NULL);
    assert_int_equal(f->messages, 3);
    assert_string_equal(f->store.committed.cursor, "c3");
}

static void engine__gap__given_up_when_refused_for_good(void **state)
{
    struct fixture *f = *state;
    struct script s, ahead;
    go_live(f);
    script_init(&s, f, 1);
    announce(f, &s, 0, 0);
    ahead = s;
    ahead.sequence++;
    arrive(f, &ahead, "two", "c2");
    forget(f);
    refuse_pull(f, &s, "not_a_member", 0);
    pass_time(f, 10000);
    assert_false(saw(&f->frames, "history.get"));
    assert_string_equal(f->store.committed.cursor, "c2");
}

/* Several in one frame: what is one too many is left to the next client. */
static void engine__accept_max__leaves_the_rest_to_the_next_client(void **state)
{
    struct fixture *f = *state;
    struct script s, t;
    struct buffer b;
    go_live(f);
    client_accept_max(f->client, 2);
    script_init(&s, f, 1);
    script_init(&t, f, 2);
    buffer_init(&b, 1 << 16);
    buffer_append_str(&b, "{\"type\":\"sync.batch\",\"cursor\":\"c4\",\"events\":[");
    script_message(&s, f, "one", 0, NULL, NULL, &b);
    buffer_append_str(&b, ",");
    script_message(&s, f, "two", 0, NULL, NULL, &b);
    buffer_append_str(&b, ",");
    script_message(&s, f, "three", 0, NULL, NULL, &b);
    buffer_append_str(&b, ",");
    script_message(&t, f, "four", 0, NULL, NULL, &b);
    buffer_append_str(&b, "]}");
    client_frame(f->client, buffer_slice(&b), f->now_ms);
    drain(f);
    assert_int_equal(f->messages, 2);
    assert_string_equal(f->store.committed.cursor, "c0");
    assert_false(saw(&f->frames, "history.get"));
    pass_time(f, CLIENT_DELIVERED_DELAY_MS);
    assert_true(saw(&f->frames, "\"sequence\":2"));
    assert_false(saw(&f->frames, "\"sequence\":3"));

    client_destroy(&f->client);
    assert_int_equal(make_client(f), SOTTO_OK);
    go_live(f);
    client_frame(f->client, buffer_slice(&b), f->now_ms);
    buffer_deinit(&b);
    drain(f);
    assert_int_equal(f->messages, 4);
    assert_string_equal(f->last_text, "four");
    assert_false(saw(&f->events, "broken"));
    assert_string_equal(f->store.committed.cursor, "c4");
}

static void engine__accept_max__makes_no_hole_of_what_it_left(void **state)
{
    struct fixture *f = *state;
    struct script s, ahead;
    const char *const texts[] = {"one", "two", "three"};
    go_live(f);
    client_accept_max(f->client, 1);
    script_init(&s, f, 1);
    announce(f, &s, 0, 0);
    ahead = s;
    ahead.sequence = 2;
    arrive(f, &ahead, "three", "c3");
    forget(f);
    answer_pull(f, &s, texts, 3, NULL);
    assert_int_equal(f->messages, 1);
    assert_false(saw(&f->events, "hole"));
    assert_false(saw(&f->frames, "history.get"));
    assert_int_equal(f->store.committed.marks[0].sequence, 1);
    assert_string_equal(f->store.committed.cursor, "c0");
}

static void engine__marks__coalesced_and_told_until_confirmed(void **state)
{
    struct fixture *f = *state;
    struct script s;
    go_live(f);
    script_init(&s, f, 1);
    for (int i = 0; i < 5; i++) arrive(f, &s, "x", NULL);
    assert_false(saw(&f->frames, "message.delivered"));
    pass_time(f, CLIENT_DELIVERED_DELAY_MS);
    assert_true(saw(&f->frames, "\"sequence\":5"));
    assert_false(saw(&f->frames, "\"sequence\":4"));
    forget(f);
    client_closed(f->client, 1006, f->now_ms);
    drain(f);
    pass_time(f, 60000);
    client_opened(f->client, f->now_ms);
    drain(f);
    hello(f);
    feed(f, "{\"type\":\"sync.done\",\"cursor\":\"c0\"}");
    pass_time(f, CLIENT_DELIVERED_DELAY_MS);
    assert_true(saw(&f->frames, "\"sequence\":5"));
    /* What passes is asked for again, whether a time is named or not. */
    forget(f);
    feed(f, "{\"type\":\"error\",\"re\":\"marks:delivered\",\"code\":\"storage_full\",\"message\":\"x\"}");
    assert_int_equal(f->store.committed.marks[0].confirmed[MARK_DELIVERED], 0);
    pass_time(f, CLIENT_BACKOFF_MAX_MS);
    assert_true(saw(&f->frames, "\"sequence\":5"));
    feed(f, "{\"type\":\"ok\",\"re\":\"marks:delivered\"}");
    assert_int_equal(f->store.committed.marks[0].confirmed[MARK_DELIVERED], 5);
    forget(f);
    pass_time(f, 1000);
    assert_false(saw(&f->frames, "message.delivered"));
    assert_int_equal(client_mark_read(f->client, s.conversation, 9, f->now_ms), SOTTO_OK);
    pass_time(f, CLIENT_DELIVERED_DELAY_MS);
    assert_true(saw(&f->frames, "\"type\":\"message.read\""));
    assert_true(saw(&f->frames, "\"sequence\":5"));
}

static void break_and_return(struct fixture *f, unsigned code)
{
    client_closed(f->client, code, f->now_ms);
    drain(f);
    pass_time(f, 1000);
    client_opened(f->client, f->now_ms);
    drain(f);
    hello(f);
    feed(f, "{\"type\":\"sync.done\",\"cursor\":\"c0\"}");
}

static void engine__backoff__short_while_the_backlog_comes_forward(void **state)
{
    struct fixture *f = *state;
    go_live(f);
    for (int i = 0; i < 10; i++) {
        client_closed(f->client, 1006, f->now_ms);
        drain(f);
        assert_true(client_wake_ms(f->client) <= f->now_ms + 2 * CLIENT_BACKOFF_FIRST_MS);
        pass_time(f, 2 * CLIENT_BACKOFF_FIRST_MS);
        client_opened(f->client, f->now_ms);
        drain(f);
        hello(f);
        feed(f, "{\"type\":\"sync.batch\",\"cursor\":\"c1\",\"events\":[]}");
    }
}

/* The server heard of the broken connection after the new one. */
static void engine__replaced__by_its_own_broken_connection__comes_back_once(void **state)
{
    struct fixture *f = *state;
    go_live(f);
    break_and_return(f, 1006);
    break_and_return(f, 4002);
    assert_int_equal(client_phase(f->client), CLIENT_LIVE);
    client_closed(f->client, 4002, f->now_ms);
    drain(f);
    assert_int_equal(client_phase(f->client), CLIENT_ENDED);
}

static void engine__replaced__long_after_it_broke__ends(void **state)
{
    struct fixture *f = *state;
    go_live(f);
    break_and_return(f, 1006);
    f->now_ms += CLIENT_ECHO_MS;
    client_closed(f->client, 4002, f->now_ms);
    drain(f);
    assert_int_equal(client_phase(f->client), CLIENT_ENDED);
}

static void engine__send__makes_an_id_in_order_of_time_if_it_knows_the_time(void **state)
{
    struct fixture *f = *state;
    struct script s;
    char text[SOTTO_CLIENT_MSG_ID_MAX + 1];
    struct id id;
    go_live(f);
    script_init(&s, f, 1);
    struct client_send send = {.to = s.peer, .wall_ms = 0x017f22e279b0, .type = SLICE_LIT("text"),
                               .payload = SLICE_LIT("x")};
    assert_int_equal(client_send(f->client, &send, f->now_ms, text), SOTTO_OK);
    assert_int_equal(id_parse(slice_str(text), &id), SOTTO_OK);
    assert_int_equal(id_version(id), 7);
    assert_memory_equal(text, "017f22e2-79b0-7", 15);
    send.wall_ms = 0;
    assert_int_equal(client_send(f->client, &send, f->now_ms, text), SOTTO_OK);
    assert_int_equal(id_parse(slice_str(text), &id), SOTTO_OK);
    assert_int_equal(id_version(id), 4);
    drain(f);
}

static void close_with(struct fixture *f, unsigned code)
{
    forget(f);
    client_closed(f->client, code, f->now_ms);
    drain(f);
}

static void engine__close_codes__tell_what_to_do(void **state)
{
    struct fixture *f = *state;
    go_live(f);
    close_with(f, 4000);
    assert_int_equal(client_phase(f->client), CLIENT_WAITING);
    assert_true(f->last.wait_ms <= 5000);
    pass_time(f, 5000);
    assert_int_equal(client_phase(f->client), CLIENT_CONNECTING);
    uint64_t before = 0;
    for (int i = 0; i < 12; i++) { /* waits grow, and stay bounded */
        close_with(f, 1006);
        assert_true(f->last.wait_ms <= CLIENT_BACKOFF_MAX_MS);
        if (i > 8) assert_true(f->last.wait_ms >= CLIENT_BACKOFF_MAX_MS / 2);
        before = f->last.wait_ms;
        pass_time(f, before);
    }
    close_with(f, 4006);
    assert_true(f->last.wait_ms >= 60000);
    pass_time(f, 80000);
    close_with(f, 4002);
    assert_int_equal(client_phase(f->client), CLIENT_ENDED);
    assert_int_equal(f->last.end, CLIENT_END_REPLACED);
    pass_time(f, 1000000);
    assert_int_equal(client_phase(f->client), CLIENT_ENDED);
}

static void engine__close_codes__resume_token_over_is_not_signed_out(void **state)
{
    struct fixture *f = *state;
    go_live(f);
    close_with(f, 4001);
    pass_time(f, 1000);
    client_opened(f->client, f->now_ms);
    drain(f);
    assert_true(saw(&f->frames, "resumeToken"));
    close_with(f, 4003);
    assert_int_equal(client_phase(f->client), CLIENT_WAITING);
    pass_time(f, 60000);
    client_opened(f->client, f->now_ms);
    drain(f);
    assert_true(saw(&f->frames, "\"token\":\"sot_token\""));
    close_with(f, 4003);
    assert_int_equal(f->last.end, CLIENT_END_SIGN_IN);
}

static void engine__silence__asks_then_gives_up(void **state)
{
    struct fixture *f = *state;
    go_live(f);
    pass_time(f, 45000);
    assert_true(saw(&f->frames, "\"type\":\"ping\""));
    forget(f);
    client_heard(f->client, f->now_ms);
    pass_time(f, 45000);
    assert_true(saw(&f->frames, "\"type\":\"ping\""));
    pass_time(f, 45000);
    assert_int_equal(f->disconnect_code, 4001);
    assert_int_equal(client_phase(f->client), CLIENT_WAITING);
}

static void engine__cursor__unreadable_starts_over(void **state)
{
    struct fixture *f = *state;
    (void)snprintf(f->store.committed.cursor, sizeof f->store.committed.cursor, "broken");
    client_destroy(&f->client);
    assert_int_equal(make_client(f), SOTTO_OK);
    client_start(f->client, f->now_ms);
    client_opened(f->client, f->now_ms);
    drain(f);
    assert_true(saw(&f->frames, "\"cursor\":\"broken\""));
    forget(f);
    feed(f, "{\"type\":\"error\",\"code\":\"bad_cursor\",\"message\":\"m\",\"requestId\":\"r\"}");
    assert_true(saw(&f->frames, "\"type\":\"hello\""));
    assert_false(saw(&f->frames, "cursor"));
}

static void engine__snapshot__fetches_what_was_never_delivered(void **state)
{
    struct fixture *f = *state;
    struct script s;
    script_init(&s, f, 1);
    client_start(f->client, f->now_ms);
    client_opened(f->client, f->now_ms);
    drain(f);
    hello(f);
    forget(f);
    char conversation[ID_TEXT_LEN + 1], user[ID_TEXT_LEN + 1], text[768];
    id_format(s.conversation, conversation);
    id_format(f->user, user);
    (void)snprintf(text, sizeof text,
                   "{\"type\":\"sync.snapshot\",\"conversations\":[{\"conversationId\":\"%s\",\"kind\":\"direct\","
                   "\"lastSequence\":4,\"members\":[{\"userId\":\"%s\",\"delivered\":2,\"read\":1}]}]}",
                   conversation, user);
    feed(f, text);
    assert_true(saw(&f->frames, "\"since\":2"));
    feed(f, "{\"type\":\"sync.done\",\"cursor\":\"c4\"}");
    assert_string_equal(f->store.committed.cursor, ""); /* not before the rest is there */
    assert_int_equal(client_phase(f->client), CLIENT_LIVE);
}

/* Up to a snapshot's one conversation after a reset without a known cursor. */
static void come_back(struct fixture *f, const struct script *s, unsigned head, unsigned delivered)
{
    char conversation[ID_TEXT_LEN + 1], user[ID_TEXT_LEN + 1], text[768];
    id_format(s->conversation, conversation);
    id_format(f->user, user);
    client_closed(f->client, 1006, f->now_ms);
    drain(f);
    pass_time(f, 60000);
    client_opened(f->client, f->now_ms);
    drain(f);
    hello(f);
    forget(f);
    feed(f, "{\"type\":\"sync.reset\",\"reason\":\"unknown\"}");
    if (!head) return;
    (void)snprintf(text, sizeof text,
                   "{\"type\":\"sync.snapshot\",\"conversations\":[{\"conversationId\":\"%s\",\"kind\":\"direct\","
                   "\"lastSequence\":%u,\"members\":[{\"userId\":\"%s\",\"delivered\":%u,\"read\":0}]}]}",
                   conversation, head, user, delivered);
    feed(f, text);
}

/* It had five messages, its backup two; since then it has numbered a new third. */
static void engine__restored_server__nothing_new_is_missed(void **state)
{
    struct fixture *f = *state;
    struct script s, backup = {0};
    const char *const texts[] = {"new three"};
    go_live(f);
    script_init(&s, f, 1);
    for (int i = 0; i < 5; i++) {
        if (i == 2) backup = s;
        arrive(f, &s, "old", NULL);
    }
    come_back(f, &backup, 3, 2);
    assert_true(saw(&f->events, "broken-chain "));
    assert_true(saw(&f->frames, "\"since\":2"));
    answer_pull(f, &backup, texts, 1, NULL);
    feed(f, "{\"type\":\"sync.done\",\"cursor\":\"r1\"}");
    assert_int_equal(f->messages, 6);
    assert_string_equal(f->last_text, "new three");
    arrive(f, &backup, "new four", "r2");
    assert_int_equal(f->messages, 7);
    assert_string_equal(f->store.committed.cursor, "r2");
}

/* By now it is further than we were: only the chain tells. */
static void engine__restored_server__is_found_out_by_the_chain(void **state)
{
    struct fixture *f = *state;
    struct script s, backup;
    const char *const texts[] = {"new two", "new three"};
    go_live(f);
    script_init(&s, f, 1);
    arrive(f, &s, "one", NULL);
    backup = s;
    arrive(f, &s, "two", NULL);
    come_back(f, &backup, 3, 1);
    assert_false(saw(&f->events, "broken-chain "));
    answer_pull(f, &backup, texts, 2, NULL);
    assert_true(saw(&f->events, "broken-chain message message "));
    assert_int_equal(f->messages, 4);
}

static void engine__restored_server__same_history_is_not_reported(void **state)
{
    struct fixture *f = *state;
    struct script s, first;
    const char *const texts[] = {"two", "three"};
    go_live(f);
    script_init(&s, f, 1);
    arrive(f, &s, "one", NULL);
    first = s;
    arrive(f, &s, "two", NULL);
    come_back(f, &s, 3, 1);
    answer_pull(f, &first, texts, 2, NULL);
    assert_false(saw(&f->events, "broken"));
    assert_string_equal(f->last_text, "three");
}

static void engine__restored_server__forgotten_conversation_begins_anew(void **state)
{
    struct fixture *f = *state;
    struct script s, fresh;
    go_live(f);
    script_init(&s, f, 1);
    script_init(&fresh, f, 1);
    arrive(f, &s, "one", NULL);
    arrive(f, &s, "two", NULL);
    come_back(f, &s, 0, 0);
    feed(f, "{\"type\":\"sync.done\",\"cursor\":\"r1\"}");
    assert_true(saw(&f->events, "broken-chain "));
    forget(f);
    arrive(f, &fresh, "first again", "r2");
    assert_string_equal(f->last_text, "first again");
    assert_false(saw(&f->events, "broken"));
}

static void engine__input__garbage_is_survived(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {
        "{}", "[]", "{\"type\":5}", "{\"type\":\"message.new\"}", "{\"type\":\"message.sent\",\"clientMsgId\":\"a\"}",
        "{\"type\":\"history\",\"re\":\"history:zz\"}", "{\"type\":\"sync.batch\",\"events\":5}",
        "{\"type\":\"sync.batch\",\"events\":[1,{\"type\":\"message.new\"},null]}",
        "{\"type\":\"presence\",\"users\":[{}]}", "{\"type\":\"message.delivered\",\"sequence\":-1}",
        "{\"type\":\"error\"}", "{\"type\":\"typing\"}", "{\"type\":\"unheard.of\",\"x\":[[[1]]]}"};
    go_live(f);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        feed(f, bad[i]);
        if (strcmp(bad[i], "[]") == 0) { /* no object: a broken peer */
            assert_int_equal(f->disconnect_code, 1007);
            pass_time(f, 60000);
            client_opened(f->client, f->now_ms);
            drain(f);
            hello(f);
            feed(f, "{\"type\":\"sync.done\",\"cursor\":\"c0\"}");
        }
        assert_int_equal(client_phase(f->client), CLIENT_LIVE);
    }
    feed(f, "{nonsense");
    assert_int_equal(client_phase(f->client), CLIENT_WAITING);
}

/* Many conversations begun while the device was away: of the smallest events a batch that
 * is bounded by its bytes holds very many. */
static void engine__batch__of_very_many_small_events(void **state)
{
    struct fixture *f = *state;
    struct buffer b;
    go_live(f);
    buffer_init(&b, 1 << 20);
    buffer_append_str(&b, "{\"type\":\"sync.batch\",\"cursor\":\"c9\",\"events\":[");
    for (unsigned n = 0; n < SOTTO_JSON_TOKENS_MAX / 4; n++)
        buffer_printf(&b, "%s{\"type\":\"typing\",\"x\":%u}", n == 0 ? "" : ",", n);
    buffer_append_str(&b, "]}");
    client_frame(f->client, buffer_slice(&b), f->now_ms);
    drain(f);
    buffer_deinit(&b);
    assert_int_equal(client_phase(f->client), CLIENT_LIVE);
    assert_string_equal(f->store.committed.cursor, "c9");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(engine__start__hello_with_token_then_resume),
        T(engine__message__accepted_in_order_and_once),
        T(engine__message__changed_history_is_reported),
        T(engine__new_conversation__is_shown_from_its_beginning),
        T(engine__old_conversation__begins_with_the_first_message_that_comes),
        T(engine__gap__pulled_and_cursor_held),
        T(engine__gap__gone_on_the_server_is_a_hole),
        T(engine__gap__pulled_again_when_refused_for_now),
        T(engine__gap__given_up_when_refused_for_good),
        T(engine__accept_max__leaves_the_rest_to_the_next_client),
        T(engine__accept_max__makes_no_hole_of_what_it_left),
        T(engine__marks__coalesced_and_told_until_confirmed),
        T(engine__backoff__short_while_the_backlog_comes_forward),
        T(engine__replaced__by_its_own_broken_connection__comes_back_once),
        T(engine__replaced__long_after_it_broke__ends),
        T(engine__send__makes_an_id_in_order_of_time_if_it_knows_the_time),
        T(engine__close_codes__tell_what_to_do),
        T(engine__close_codes__resume_token_over_is_not_signed_out),
        T(engine__silence__asks_then_gives_up),
        T(engine__cursor__unreadable_starts_over),
        T(engine__snapshot__fetches_what_was_never_delivered),
        T(engine__restored_server__nothing_new_is_missed),
        T(engine__restored_server__is_found_out_by_the_chain),
        T(engine__restored_server__same_history_is_not_reported),
        T(engine__restored_server__forgotten_conversation_begins_anew),
        T(engine__batch__of_very_many_small_events),
        T(engine__input__garbage_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
