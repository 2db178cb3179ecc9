/* The whole path in one process: register, hello, send, deliver, come back with
 * a cursor, be replaced, read slowly. Loops, engine and workers are threads, so
 * that the thread sanitizer sees what production does. */
#include "gateway/gateway_private.h"
#include "unit/api/world.h"

static struct peer a, b, rest;

static void live__send__reaches_the_other_and_is_confirmed(void **state)
{
    (void)state;
    struct world w;
    char value[128], cursor[128], text[512], talk[64];
    world_start(&w, NULL);
    struct person anna = person_of(&rest, &w, "/accounts", "anna"), ben = person_of(&rest, &w, "/accounts", "benno");
    peer_upgrade(&a, &w, 0);
    peer_hello(&a, anna.token, NULL);
    peer_expect(&a, "sync.done");
    peer_upgrade(&b, &w, 0);
    peer_hello(&b, ben.token, NULL);
    peer_expect(&b, "sync.done");
    peer_message(&a, ben.user, 1, 200);
    peer_expect(&a, "message.sent");
    assert_string_equal(peer_value(&a, "sequence", value, sizeof(value)), "1");
    peer_expect(&b, "message.new");
    assert_string_equal(peer_value(&b, "senderId", value, sizeof(value)), anna.user);
    peer_value(&b, "conversationId", talk, sizeof(talk));
    snprintf(text, sizeof(text), "{\"type\":\"message.read\",\"conversationId\":\"%s\",\"sequence\":1}", talk);
    peer_send(&b, text);
    peer_expect(&a, "message.delivered");
    peer_expect(&a, "message.read");
    peer_value(&a, "cursor", cursor, sizeof(cursor));
    snprintf(text, sizeof(text), "/conversations/%s/messages/1", talk);
    assert_int_equal(peer_rest(&rest, &w, "GET", text, anna.token, ""), 200);
    assert_non_null(strstr(rest.text, "\"delivered\":true,\"read\":true"));

    /* Away, then back with the cursor: exactly what came meanwhile. */
    peer_close(&a);
    for (int i = 2; i < 12; i++) peer_message(&b, anna.user, i, 200);
    for (int i = 2; i < 12; i++) peer_expect(&b, "message.sent");
    peer_upgrade(&a, &w, 0);
    peer_hello(&a, anna.token, cursor);
    peer_expect(&a, "sync.batch");
    for (int i = 1; i < 13; i++) {
        snprintf(value, sizeof(value), "\"sequence\":%d,\"chain\"", i);
        assert_int_equal(strstr(a.text, value) != NULL, i >= 2 && i < 12);
    }
    peer_expect(&a, "sync.done");
    peer_message(&b, anna.user, 12, 200);
    peer_expect(&a, "message.new");
    assert_string_equal(peer_value(&a, "sequence", value, sizeof(value)), "12");
    peer_close(&a);
    peer_close(&b);
    world_stop(&w);
}

static void live__second_connection_of_the_device__replaces_the_first(void **state)
{
    (void)state;
    struct world w;
    world_start(&w, NULL);
    struct person anna = person_of(&rest, &w, "/accounts", "anna");
    /* Often enough that both loops and both orders come up. */
    peer_upgrade(&a, &w, 0);
    peer_hello(&a, anna.token, NULL);
    for (int i = 0; i < 20; i++) {
        struct peer *old = i % 2 == 0 ? &a : &b, *new = i % 2 == 0 ? &b : &a;
        peer_upgrade(new, &w, 0);
        peer_hello(new, anna.token, NULL);
        while (peer_read(old)) {}
        assert_int_equal(old->closed, 4002);
        peer_close(old);
    }
    peer_close(&a);
    world_stop(&w);
}

static void small_window(struct gateway_limits *l)
{
    l->window_bytes = 32 * 1024;
    l->window_events = 20;
}

/* Counts the messages of the last event and checks that they follow. */
static size_t take_numbers(const char *text, size_t next)
{
    static const char key[] = "\"sequence\":";
    for (const char *at = strstr(text, "\"messageId\""); at != NULL; at = strstr(at + 1, "\"messageId\"")) {
        const char *sequence = strstr(at, key);
        assert_non_null(sequence);
        assert_int_equal(strtoul(sequence + strlen(key), NULL, 10), next);
        next++;
    }
    return next;
}

static void live__slow_reader__loses_nothing(void **state)
{
    (void)state;
    enum { MESSAGES = 400 };
    struct world w;
    char value[64];
    world_start(&w, small_window);
    struct person anna = person_of(&rest, &w, "/accounts", "anna"), ben = person_of(&rest, &w, "/accounts", "benno");
    peer_upgrade(&a, &w, 0);
    peer_hello(&a, anna.token, NULL);
    peer_expect(&a, "sync.done");
    peer_upgrade(&b, &w, 32 * 1024);
    peer_hello(&b, ben.token, NULL);
    peer_expect(&b, "sync.done");
    /* One side writes, the other does not read. */
    for (int i = 0; i < MESSAGES; i++) peer_message(&a, ben.user, i, 4000);
    for (int i = 0; i < MESSAGES; i++) peer_expect(&a, "message.sent");
    size_t next = 1, lagging = 0, live = 0;
    while (next <= MESSAGES) {
        assert_true(peer_read(&b));
        if (peer_is(&b, "message.new") || peer_is(&b, "sync.batch")) next = take_numbers(b.text, next);
        if (!peer_is(&b, "flow_control")) continue;
        peer_value(&b, "state", value, sizeof(value));
        lagging += strcmp(value, "lagging") == 0;
        live += strcmp(value, "live") == 0;
    }
    assert_true(lagging > 0 && lagging - live <= 1);
    if (lagging > live) peer_expect(&b, "flow_control");
    peer_message(&a, ben.user, MESSAGES, 4);
    peer_expect(&b, "message.new");
    (void)take_numbers(b.text, MESSAGES + 1);
    peer_close(&a);
    peer_close(&b);
    world_stop(&w);
}

enum { MEMORY_MAX = 4 << 20 };
static void little_memory(struct gateway_limits *l)
{
    l->memory_max_bytes = MEMORY_MAX;
    l->window_bytes = 64 << 20;
}

/* The loop of the person's one session; -1: there is none. */
static int loop_of(struct world *w, const struct person *p)
{
    struct session_name names[REGISTRY_SESSIONS_MAX];
    struct id user;
    assert_int_equal(id_parse(slice_str(p->user), &user), SOTTO_OK);
    size_t count = registry_names(w->gateway->registry, user, 0, names);
    assert_true(count <= 1);
    return count == 1 ? names[0].loop : -1;
}

static void live__memory_past_the_maximum__cuts_the_slowest_wherever_it_is(void **state)
{
    (void)state;
    enum { MESSAGES_MAX = 1000, LEN = 48000 };
    struct world w;
    world_start(&w, little_memory);
    struct person anna = person_of(&rest, &w, "/accounts", "anna"), ben = person_of(&rest, &w, "/accounts", "benno"),
                  cleo = person_of(&rest, &w, "/accounts", "cleo");
    peer_upgrade(&a, &w, 4096);
    peer_hello(&a, anna.token, NULL);
    peer_expect(&a, "sync.done");
    for (;;) { /* until they are on different loops */
        peer_upgrade(&b, &w, 4096);
        peer_hello(&b, ben.token, NULL);
        peer_expect(&b, "sync.done");
        if (loop_of(&w, &ben) != loop_of(&w, &anna)) break;
        peer_close(&b);
    }
    peer_upgrade(&rest, &w, 0);
    peer_hello(&rest, cleo.token, NULL);
    /* Neither reads. Most is queued for one; what goes past the maximum, for the other. */
    int sent = 0;
    while (atomic_load(&w.gateway->queued_bytes) < MEMORY_MAX * 3 / 4 && sent < MESSAGES_MAX) {
        peer_message(&rest, anna.user, sent++, LEN);
        peer_expect(&rest, "message.sent");
    }
    while (loop_of(&w, &anna) >= 0 && loop_of(&w, &ben) >= 0 && sent < MESSAGES_MAX) {
        peer_message(&rest, ben.user, sent++, LEN);
        peer_expect(&rest, "message.sent");
    }
    assert_true(loop_of(&w, &ben) >= 0);
    assert_int_equal(loop_of(&w, &anna), -1);
    while (peer_read(&a)) {}
    assert_int_equal(a.closed, 4001);
    peer_expect(&b, "message.new");
    peer_close(&a);
    peer_close(&b);
    peer_close(&rest);
    world_stop(&w);
}

static void live__revoked_device__is_told_to_sign_in(void **state)
{
    (void)state;
    struct world w;
    world_start(&w, NULL);
    struct person first = person_of(&rest, &w, "/accounts", "anna"), second = person_of(&rest, &w, "/login", "anna");
    peer_upgrade(&b, &w, 0);
    peer_hello(&b, second.token, NULL);
    assert_int_equal(peer_rest(&rest, &w, "DELETE", "/devices/2", first.token, ""), 200);
    while (peer_read(&b)) {}
    assert_int_equal(b.closed, 4003);
    peer_close(&b);
    assert_int_equal(peer_rest(&rest, &w, "GET", "/account", second.token, ""), 401);
    world_stop(&w);
}

static void live__cursor_older_than_retention__is_told_and_gets_a_snapshot(void **state)
{
    (void)state;
    enum { DAY_MS = 24 * 60 * 60 * 1000 };
    struct world w;
    char cursor[128], reason[32], first[32], path[192], conversation[40];
    world_start_keeping(&w, 1, NULL);
    struct person anna = person_of(&rest, &w, "/accounts", "anna"), ben = person_of(&rest, &w, "/accounts", "ben");
    peer_upgrade(&b, &w, 0);
    peer_hello(&b, ben.token, NULL);
    peer_expect(&b, "sync.done");
    peer_value(&b, "cursor", cursor, sizeof(cursor));
    peer_close(&b);
    peer_upgrade(&a, &w, 0);
    peer_hello(&a, anna.token, NULL);
    for (int i = 1; i <= 3; i++) {
        if (i == 3) atomic_fetch_add(&w.later_ms, (uint64_t)2 * DAY_MS);
        peer_message(&a, ben.user, i, 16);
        peer_expect(&a, "message.sent");
    }
    peer_value(&a, "conversationId", conversation, sizeof(conversation));
    snprintf(path, sizeof(path), "/conversations/%s/messages?since=0", conversation);
    for (int tries = 0;; tries++) { /* housekeeping comes once a second */
        assert_int_equal(peer_rest(&rest, &w, "GET", path, ben.token, ""), 200);
        if (strcmp(peer_value(&rest, "sequence", first, sizeof(first)), "3") == 0) break;
        assert_true(tries < 200);
        poll(NULL, 0, 100);
    }
    /* By long-poll, too. */
    snprintf(path, sizeof(path), "/events/poll?timeoutMs=1&cursor=%s", cursor);
    assert_int_equal(peer_rest(&rest, &w, "GET", path, ben.token, ""), 200);
    assert_non_null(strstr(rest.text, "\"sync.reset\",\"reason\":\"expired\"},{\"type\":\"sync.snapshot\""));
    peer_upgrade(&b, &w, 0);
    peer_hello(&b, ben.token, cursor);
    assert_true(peer_read(&b) && peer_is(&b, "sync.reset"));
    assert_string_equal(peer_value(&b, "reason", reason, sizeof(reason)), "expired");
    assert_true(peer_read(&b) && peer_is(&b, "sync.snapshot"));
    assert_string_equal(peer_value(&b, "lastSequence", first, sizeof(first)), "3");
    assert_true(peer_read(&b) && peer_is(&b, "sync.done"));
    peer_value(&b, "cursor", cursor, sizeof(cursor));
    peer_close(&b);
    /* And from there on as always. */
    peer_message(&a, ben.user, 4, 16);
    peer_expect(&a, "message.sent");
    peer_upgrade(&b, &w, 0);
    peer_hello(&b, ben.token, cursor);
    assert_true(peer_read(&b) && peer_is(&b, "sync.batch"));
    assert_int_equal(take_numbers(b.text, 4), 5);
    snprintf(path, sizeof(path), "/events/poll?timeoutMs=1&cursor=%s", cursor);
    assert_int_equal(peer_rest(&rest, &w, "GET", path, ben.token, ""), 200);
    assert_null(strstr(rest.text, "sync.reset"));
    assert_int_equal(take_numbers(rest.text, 4), 5);
    peer_close(&a);
    peer_close(&b);
    world_stop(&w);
}

static void three_requests(struct gateway_limits *l) { l->address = (struct rate){.per_second = 0.01, .burst = 3}; }

static void live__hello_beyond_the_rate__is_told_to_wait(void **state)
{
    (void)state;
    struct world w;
    char hello[256], text[32];
    world_start(&w, three_requests);
    struct person anna = person_of(&rest, &w, "/accounts", "anna");
    for (int i = 0; i < 2; i++) {
        peer_upgrade(&a, &w, 0);
        peer_hello(&a, anna.token, NULL);
        peer_close(&a);
    }
    peer_upgrade(&a, &w, 0);
    snprintf(hello, sizeof(hello), "{\"type\":\"hello\",\"token\":\"%s\"}", anna.token);
    peer_send(&a, hello);
    assert_true(peer_read(&a) && peer_is(&a, "error"));
    assert_string_equal(peer_value(&a, "code", text, sizeof(text)), "rate_limited");
    assert_in_range(strtoul(peer_value(&a, "retryAfterMs", text, sizeof(text)), NULL, 10), 1000, 100000);
    while (peer_read(&a)) assert_true(peer_is(&a, "flow_control"));
    assert_int_equal(a.closed, 4006);
    peer_close(&a);
    world_stop(&w);
}

static void live__drain__tells_clients_to_come_back(void **state)
{
    (void)state;
    struct world w;
    world_start(&w, NULL);
    struct person anna = person_of(&rest, &w, "/accounts", "anna");
    peer_upgrade(&a, &w, 0);
    peer_hello(&a, anna.token, NULL);
    peer_expect(&a, "sync.done");
    world_stop(&w);
    while (peer_read(&a)) {}
    assert_int_equal(a.closed, 4000);
    peer_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(live__send__reaches_the_other_and_is_confirmed),
        cmocka_unit_test(live__second_connection_of_the_device__replaces_the_first),
        cmocka_unit_test(live__slow_reader__loses_nothing),
        cmocka_unit_test(live__memory_past_the_maximum__cuts_the_slowest_wherever_it_is),
        cmocka_unit_test(live__revoked_device__is_told_to_sign_in),
        cmocka_unit_test(live__cursor_older_than_retention__is_told_and_gets_a_snapshot),
        cmocka_unit_test(live__hello_beyond_the_rate__is_told_to_wait),
        cmocka_unit_test(live__drain__tells_clients_to_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
