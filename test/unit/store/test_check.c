/* The check finds each way in which rows can disagree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "core/conversation.h"
#include "store/check.h"
#include "store/keys.h"
#include "store/store_memory.h"

enum { MESSAGES = 4 };

struct world {
    struct store *s;
    struct conversation c;
    struct id a, b;
    struct buffer value;
    struct store_report report;
    char sentence[400]; /* the last finding */
};

static void put(struct world *w, enum store_family f, const struct key *key, struct slice value)
{
    struct store_batch *b = store_batch_create(w->s);
    store_put(b, f, key_slice(key), value);
    assert_int_equal(store_commit(w->s, b), SOTTO_OK);
    store_batch_destroy(&b);
}

static void remove_row(struct world *w, enum store_family f, struct key key)
{
    struct store_batch *b = store_batch_create(w->s);
    store_delete(b, f, key_slice(&key));
    assert_int_equal(store_commit(w->s, b), SOTTO_OK);
    store_batch_destroy(&b);
}

/* The old one goes first: a state may not get shorter (store.h). */
static void put_state(struct world *w)
{
    struct key key = key_conversation(w->c.id);
    struct buffer row;
    buffer_init(&row, 1 << 16);
    conversation_encode(&w->c, &row);
    remove_row(w, STORE_CONVERSATION, key);
    put(w, STORE_CONVERSATION, &key, buffer_slice(&row));
    buffer_deinit(&row);
}

static void put_message(struct world *w, uint64_t n, struct record_message *m)
{
    struct applied a;
    struct record r = {.kind = RECORD_MESSAGE, .conversation = w->c.id};
    struct buffer row;
    char text[16];
    uint8_t at[DEDUPE_ROW_LEN];
    snprintf(text, sizeof(text), "c%u", (unsigned)n);
    buffer_init(&row, 1 << 16);
    *m = (struct record_message){.message_id = {{7, (uint8_t)n}}, .sender = w->a, .sender_device = 1,
                                 .has_peer = true, .peer = w->b, .ts_ms = n, .expires_ms = n == 2 ? 500 : 0,
                                 .client_msg_id = slice_str(text), .body_kind = BODY_PAYLOAD,
                                 .body = SLICE_LIT("payload")};
    body_hash(BODY_PAYLOAD, m->body, m->payload_hash);
    r.message = *m;
    conversation_apply(&w->c, &r, n, &(struct prior){.found = false}, &a);
    assert_int_equal(a.sequence, n);
    struct message stored = {.conversation = w->c.id, .sequence = n, .position = n, .record = *m};
    memcpy(stored.chain, a.chain, HASH_LEN);
    message_row_encode(&stored, &row);
    struct key key = key_message(w->c.id, n);
    put(w, STORE_MESSAGE, &key, buffer_slice(&row));
    key = key_dedupe(w->c.id, m->sender, 1, m->client_msg_id);
    dedupe_row(w->c.id, n, at);
    put(w, STORE_DEDUPE, &key, slice_of(at, sizeof(at)));
    key = key_expiry(500, w->c.id, n);
    if (n == 2) put(w, STORE_EXPIRY, &key, slice_of(NULL, 0));
    buffer_deinit(&row);
}

static int set_up(void **state)
{
    static struct world world;
    struct world *w = &world;
    struct record_message m;
    uint8_t position[8];
    struct key key;
    memset(w, 0, sizeof(*w));
    w->s = store_memory_create(NULL, NULL);
    w->a.bytes[0] = 1;
    w->b.bytes[0] = 2;
    buffer_init(&w->value, 1 << 16);
    conversation_init(&w->c, id_direct_conversation(w->a, w->b));
    for (uint64_t n = 1; n <= MESSAGES; n++) put_message(w, n, &m);
    put_state(w);
    key = key_member(w->a, w->c.id);
    put(w, STORE_MEMBER, &key, slice_of(NULL, 0));
    key = key_member(w->b, w->c.id);
    put(w, STORE_MEMBER, &key, slice_of(NULL, 0));
    struct store_batch *b = store_batch_create(w->s);
    store_be64(position, MESSAGES);
    store_put(b, STORE_META, SLICE_LIT("position"), slice_of(position, 8));
    assert_int_equal(store_commit(w->s, b), SOTTO_OK);
    store_batch_destroy(&b);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    conversation_deinit(&w->c);
    buffer_deinit(&w->value);
    store_close(&w->s);
    return 0;
}

static void note(void *ctx, const char *sentence)
{
    struct world *w = ctx;
    snprintf(w->sentence, sizeof(w->sentence), "%s", sentence);
}

static void expect(struct world *w, uint64_t problems, const char *words)
{
    w->sentence[0] = 0;
    assert_int_equal(store_check(w->s, note, w, &w->report), SOTTO_OK);
    if (w->report.problems != problems || strstr(w->sentence, words) == NULL) print_message("%s\n", w->sentence);
    assert_int_equal(w->report.problems, problems);
    assert_non_null(strstr(w->sentence, words));
}

/* The row of a message, for changing. */
static uint8_t *read_row(struct world *w, uint64_t sequence, struct key *key)
{
    *key = key_message(w->c.id, sequence);
    assert_int_equal(store_get(w->s, STORE_MESSAGE, key_slice(key), &w->value), SOTTO_OK);
    return w->value.data;
}

static void check__sound_store__has_no_problems(void **state)
{
    struct world *w = *state;
    expect(w, 0, "");
    assert_int_equal(w->report.conversations, 1);
    assert_int_equal(w->report.messages, MESSAGES);
    assert_int_equal(w->report.tombstones, 0);
}

static void check__empty_store__has_no_problems(void **state)
{
    struct world *w = *state;
    store_close(&w->s);
    w->s = store_memory_create(NULL, NULL);
    expect(w, 0, "");
}

static void check__missing_message__is_a_hole(void **state)
{
    struct world *w = *state;
    remove_row(w, STORE_MESSAGE, key_message(w->c.id, 3));
    expect(w, 2, "idempotency key names no message"); /* the hole, and its key */
}

static void check__missing_last_message__ends_early(void **state)
{
    struct world *w = *state;
    remove_row(w, STORE_MESSAGE, key_message(w->c.id, MESSAGES));
    remove_row(w, STORE_MESSAGE, key_message(w->c.id, MESSAGES - 1));
    expect(w, 3, ""); /* the end, and two keys */
}

static void check__changed_chain__breaks(void **state)
{
    struct world *w = *state;
    struct key key;
    uint8_t *row = read_row(w, 2, &key);
    row[10] ^= 1;
    put(w, STORE_MESSAGE, &key, buffer_slice(&w->value));
    expect(w, 2, "the chain breaks at message 3");
}

static void check__changed_payload__is_not_what_was_hashed(void **state)
{
    struct world *w = *state;
    struct key key;
    uint8_t *row = read_row(w, 2, &key);
    row[w->value.len - 1] ^= 1;
    put(w, STORE_MESSAGE, &key, buffer_slice(&w->value));
    expect(w, 1, "the payload of message 2 is not what was hashed");
}

static void check__undecodable_message__is_told(void **state)
{
    struct world *w = *state;
    struct key key = key_message(w->c.id, 2);
    put(w, STORE_MESSAGE, &key, SLICE_LIT("what?"));
    expect(w, 2, "idempotency key names no message"); /* the row, and its key */
}

static void check__positions__must_rise(void **state)
{
    struct world *w = *state;
    struct key key;
    uint8_t *row = read_row(w, 3, &key);
    row[9] = 1;
    put(w, STORE_MESSAGE, &key, buffer_slice(&w->value));
    expect(w, 1, "message 3 has a position out of order");
}

static void check__expired_with_payload__is_told(void **state)
{
    struct world *w = *state;
    struct key key;
    uint8_t *row = read_row(w, 2, &key);
    row[1] = MESSAGE_EXPIRED;
    put(w, STORE_MESSAGE, &key, buffer_slice(&w->value));
    expect(w, 1, "message 2 has expired but still has its payload");
    assert_int_equal(w->report.tombstones, 1);
}

static void check__side_rows__missing_and_surplus(void **state)
{
    struct world *w = *state;
    uint8_t at[DEDUPE_ROW_LEN];
    remove_row(w, STORE_EXPIRY, key_expiry(500, w->c.id, 2));
    expect(w, 1, "message 2 will not expire");
    remove_row(w, STORE_DEDUPE, key_dedupe(w->c.id, w->a, 1, SLICE_LIT("c3")));
    expect(w, 2, "");
    struct key key = key_dedupe(w->c.id, w->a, 1, SLICE_LIT("c9"));
    dedupe_row(w->c.id, 1, at);
    put(w, STORE_DEDUPE, &key, slice_of(at, sizeof(at)));
    expect(w, 3, "an idempotency key names no message of that key");
    put(w, STORE_DEDUPE, &key, slice_of(at, 8));
    expect(w, 3, "an idempotency key names no message of that key");
    key = key_dedupe(w->c.id, w->a, 1, SLICE_LIT("c1"));
    dedupe_row(w->a, 1, at); /* of another conversation */
    put(w, STORE_DEDUPE, &key, slice_of(at, sizeof(at)));
    expect(w, 5, "an idempotency key names no message of that key"); /* and message 1 has none */
}

static void check__members__both_ways(void **state)
{
    struct world *w = *state;
    struct id stranger = {{9}};
    remove_row(w, STORE_MEMBER, key_member(w->b, w->c.id));
    expect(w, 1, "member 2 has no row of its own");
    struct key key = key_member(stranger, w->c.id);
    put(w, STORE_MEMBER, &key, slice_of(NULL, 0));
    expect(w, 2, "names somebody who is no member");
}

static void check__state__must_fit_the_messages(void **state)
{
    struct world *w = *state;
    struct key key = key_conversation(w->c.id);
    w->c.chain[0] ^= 1;
    put_state(w);
    expect(w, 1, "the last chain value");
    w->c.chain[0] ^= 1;
    w->c.members[0].delivered.sequence = MESSAGES + 1;
    put_state(w);
    expect(w, 1, "member 1 has a mark beyond");
    w->c.members[0].delivered.sequence = 0;
    w->c.last_position = 99;
    put_state(w);
    expect(w, 1, "beyond that of the last commit");
    remove_row(w, STORE_CONVERSATION, key);
    put(w, STORE_CONVERSATION, &key, SLICE_LIT("what?"));
    expect(w, 3, "no member"); /* the row, and two member rows */
    remove_row(w, STORE_CONVERSATION, key);
    expect(w, 3, "no member"); /* messages without it, and two member rows */
}

static void check__retention__first_number_need_not_be_one(void **state)
{
    struct world *w = *state;
    w->c.first_sequence = 2;
    put_state(w);
    remove_row(w, STORE_MESSAGE, key_message(w->c.id, 1));
    remove_row(w, STORE_DEDUPE, key_dedupe(w->c.id, w->a, 1, SLICE_LIT("c1")));
    expect(w, 0, "");
}

static enum store_fault fail_reads(void *ctx, bool write)
{
    unsigned *calls = ctx;
    if (write || *calls == 0) return STORE_FAULT_NONE;
    return --*calls == 0 ? STORE_FAULT_IO : STORE_FAULT_NONE;
}

static void check__read_error__stops_and_is_returned(void **state)
{
    struct world *w = *state;
    for (unsigned k = 1; k < 100; k++) {
        unsigned calls = k;
        w->s = store_memory_reopen(&w->s, fail_reads, &calls);
        enum sotto_err err = store_check(w->s, note, w, &w->report);
        if (calls != 0) { /* there were fewer reads than that */
            assert_int_equal(err, SOTTO_OK);
            assert_true(k > 15);
            return;
        }
        assert_int_equal(err, SOTTO_ERR_IO);
    }
    fail();
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(check__sound_store__has_no_problems),
        IN_WORLD(check__empty_store__has_no_problems),
        IN_WORLD(check__missing_message__is_a_hole),
        IN_WORLD(check__missing_last_message__ends_early),
        IN_WORLD(check__changed_chain__breaks),
        IN_WORLD(check__changed_payload__is_not_what_was_hashed),
        IN_WORLD(check__undecodable_message__is_told),
        IN_WORLD(check__positions__must_rise),
        IN_WORLD(check__expired_with_payload__is_told),
        IN_WORLD(check__side_rows__missing_and_surplus),
        IN_WORLD(check__members__both_ways),
        IN_WORLD(check__state__must_fit_the_messages),
        IN_WORLD(check__retention__first_number_need_not_be_one),
        IN_WORLD(check__read_error__stops_and_is_returned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
