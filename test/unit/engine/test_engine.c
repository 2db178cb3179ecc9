/* The engine, turn by turn: what is answered, told and stored, and what a
 * failing store makes of it. */
#include "store/keys.h"
#include "unit/engine/fixture.h"

static void engine__first_message__creates_and_tells_in_order(void **state)
{
    struct fixture *f = *state;
    struct record r = message_to(f, 1, 2, "k1", "hello");
    struct applied a = ask(f, &r);
    assert_int_equal(a.problem, PROBLEM_NONE);
    assert_int_equal(a.sequence, 1);
    assert_int_equal(a.ts_ms, START_MS);
    assert_true(id_eq(a.message_id, r.message.message_id));
    assert_int_equal(engine_position(f->engine), 1);
    assert_int_equal(f->events_count, 2);
    assert_int_equal(f->events[0]->kind, EVENT_CONVERSATION);
    const struct event *e = f->events[1];
    assert_int_equal(e->kind, EVENT_MESSAGE);
    assert_int_equal(e->sequence, 1);
    assert_int_equal(e->position, 1);
    assert_int_equal(e->recipients_count, 2);
    assert_true(slice_is(e->message.record.body, "hello"));
    assert_memory_equal(e->message.chain, a.chain, HASH_LEN);
    struct conversation c;
    assert_int_equal(conversation_decode(e->conversation, f->events[0]->bytes, &c), SOTTO_OK);
    assert_int_equal(c.last_sequence, 1);
    conversation_deinit(&c);
    assert_store_clean(f);
}

static void check_retry(struct fixture *f, const char *id)
{
    struct record first = message_to(f, 1, 2, id, "hello");
    clock_manual_advance(&f->clock, 5);
    struct record again = message_to(f, 1, 2, id, "hello");
    struct applied a[2], later;
    submit(f, &first);
    submit(f, &again);
    turn(f);
    assert_int_equal(take_answers(f, a, 2), 2);
    assert_false(a[0].repeated);
    assert_true(a[1].repeated);
    for (int i = 0; i < 2; i++) {
        later = i == 0 ? a[1] : ask(f, &again);
        if (i == 1) assert_true(later.repeated);
        assert_int_equal(later.sequence, 1);
        assert_int_equal(later.ts_ms, START_MS);
        assert_true(id_eq(later.message_id, first.message.message_id));
        assert_memory_equal(later.chain, a[0].chain, HASH_LEN);
        fixture_crash(f);
    }
    assert_true(ask(f, &again).repeated);
    assert_int_equal(rows_of(f, STORE_MESSAGE), 1);
    assert_store_clean(f);
}

static void engine__retry__same_answer_in_the_batch_after_it_and_after_a_crash(void **state)
{
    check_retry(*state, "k1");
}

/* Their keys lie elsewhere, see dedupe_key. */
static void engine__retry__with_an_id_in_order_of_time(void **state)
{
    check_retry(*state, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
}

/* What is to be refused by now, behind the first in the queue or long after it. */
static void engine__only_repeated__knows_what_was_stored_and_stores_nothing(void **state)
{
    struct fixture *f = *state;
    struct record first = message_to(f, 1, 2, "k1", "hello"), asked = first;
    asked.message.flags |= MESSAGE_ONLY_REPEATED;
    asked.message.body = slice_of(NULL, 0);
    struct applied a[3];
    assert_int_equal(ask(f, &asked).problem, PROBLEM_NOT_FOUND);
    submit(f, &first);
    submit(f, &asked);
    turn(f);
    assert_int_equal(take_answers(f, a, 3), 2);
    assert_true(a[1].repeated && id_eq(a[1].message_id, a[0].message_id));
    fixture_crash(f);
    struct applied later = ask(f, &asked);
    assert_true(later.repeated && later.sequence == 1);
    asked = message_to(f, 1, 2, "k1", "HELLO");
    asked.message.flags |= MESSAGE_ONLY_REPEATED;
    assert_int_equal(ask(f, &asked).problem, PROBLEM_ID_CONFLICT);
    asked = message_to(f, 1, 2, "k2", "hello");
    asked.message.flags |= MESSAGE_ONLY_REPEATED;
    assert_int_equal(ask(f, &asked).problem, PROBLEM_NOT_FOUND);
    assert_int_equal(rows_of(f, STORE_MESSAGE), 1);
    assert_int_equal(engine_position(f->engine), 1);
    assert_store_clean(f);
}

static void engine__retry__another_payload_is_a_conflict(void **state)
{
    struct fixture *f = *state;
    struct record first = message_to(f, 1, 2, "k1", "hello"), other = message_to(f, 1, 2, "k1", "HELLO");
    struct applied a[2];
    submit(f, &first);
    submit(f, &other);
    turn(f);
    assert_int_equal(take_answers(f, a, 2), 2);
    assert_int_equal(a[0].problem, PROBLEM_NONE);
    assert_int_equal(a[1].problem, PROBLEM_ID_CONFLICT);
    fixture_crash(f);
    assert_int_equal(ask(f, &other).problem, PROBLEM_ID_CONFLICT);
    /* The key belongs to the device and the conversation. */
    other.message.sender_device = 2;
    assert_int_equal(ask(f, &other).sequence, 2);
    other = message_to(f, 1, 3, "k1", "HELLO");
    assert_int_equal(ask(f, &other).sequence, 1);
    assert_store_clean(f);
}

static void engine__full__nothing_is_stored_and_it_recovers(void **state)
{
    struct fixture *f = *state;
    (void)send(f, 1, 2, "before");
    fixture_forget_events(f);
    struct record a = message_to(f, 1, 2, "a", "A"), b = message_to(f, 1, 3, "b", "B");
    struct applied answers[2];
    f->write_faults[0] = STORE_FAULT_FULL;
    f->write_faults_count = 1;
    submit(f, &a);
    submit(f, &b);
    turn(f);
    assert_int_equal(take_answers(f, answers, 2), 2);
    assert_int_equal(answers[0].problem, PROBLEM_STORAGE_FULL);
    assert_int_equal(answers[1].problem, PROBLEM_STORAGE_FULL);
    assert_int_equal(answers[0].sequence, 0);
    assert_int_equal(f->events_count, 0);
    assert_int_equal(engine_position(f->engine), 1);
    assert_int_equal(ask(f, &a).sequence, 2);
    assert_int_equal(ask(f, &b).sequence, 1);
    assert_int_equal(engine_position(f->engine), 3);
    assert_store_clean(f);
}

/* A refusal that rests on what the failed batch would have written says
 * nothing: it must not be told as one. */
static void engine__failed_batch__refusals_in_it_are_not_told(void **state)
{
    struct fixture *f = *state;
    struct record first = message_to(f, 1, 2, "k1", "hello"), other = message_to(f, 1, 2, "k1", "HELLO");
    struct applied a[2];
    f->write_faults[0] = STORE_FAULT_IO;
    f->write_faults_count = 1;
    submit(f, &first);
    submit(f, &other);
    turn(f);
    assert_int_equal(take_answers(f, a, 2), 2);
    assert_int_equal(a[0].problem, PROBLEM_BUSY);
    assert_int_equal(a[1].problem, PROBLEM_BUSY);
    assert_false(ask(f, &other).repeated);
    assert_int_equal(ask(f, &first).problem, PROBLEM_ID_CONFLICT);
}

static void uncertain(struct fixture *f, enum store_fault fault)
{
    struct record r = message_to(f, 1, 2, "k1", "hello");
    (void)send(f, 1, 2, "before");
    fixture_forget_events(f);
    f->write_faults[0] = fault;
    f->write_faults_count = 1;
    assert_int_equal(ask(f, &r).problem, PROBLEM_UNCERTAIN);
    struct applied a = ask(f, &r);
    assert_int_equal(a.problem, PROBLEM_NONE);
    assert_int_equal(a.sequence, 2);
    assert_int_equal(a.repeated, fault == STORE_FAULT_UNCERTAIN_KEPT);
    assert_int_equal(engine_position(f->engine), 2);
    assert_int_equal(rows_of(f, STORE_MESSAGE), 2);
    /* Told once, whichever way it went. */
    assert_int_equal(f->events_count, 1);
    assert_int_equal(f->events[0]->sequence, 2);
    assert_store_clean(f);
}

static void engine__uncertain__lost_is_stored_by_the_retry(void **state) { uncertain(*state, STORE_FAULT_UNCERTAIN_LOST); }
static void engine__uncertain__kept_is_found_by_the_retry(void **state) { uncertain(*state, STORE_FAULT_UNCERTAIN_KEPT); }

/* The position cannot be read back at once: nothing is taken until it can. */
static void engine__uncertain__store_unreadable_for_a_while(void **state)
{
    struct fixture *f = *state;
    struct record r = message_to(f, 1, 2, "k1", "hello");
    f->write_faults[0] = STORE_FAULT_UNCERTAIN_KEPT;
    f->write_faults_count = 1;
    f->read_faults[0] = f->read_faults[1] = STORE_FAULT_NONE; /* state and key */
    f->read_faults[2] = f->read_faults[3] = STORE_FAULT_IO;
    f->read_faults_count = 4;
    assert_int_equal(ask(f, &r).problem, PROBLEM_UNCERTAIN);
    assert_int_equal(f->events_count, 0);
    assert_int_equal(ask(f, &r).problem, PROBLEM_BUSY);
    f->read_faults_count = 0;
    assert_true(ask(f, &r).repeated);
    assert_int_equal(f->events_count, 2);
    assert_store_clean(f);
}

/* A position that the disk may not have would end up in cursors, which then
 * skip what is stored under it later. */
static void engine__uncertain__position_is_never_ahead_of_the_store(void **state)
{
    struct fixture *f = *state;
    struct record r = message_to(f, 1, 2, "k1", "hello");
    f->write_faults[0] = STORE_FAULT_UNCERTAIN_LOST;
    f->write_faults_count = 1;
    memset(f->read_faults, 0, sizeof(f->read_faults)); /* NONE: state and key */
    f->read_faults[2] = f->read_faults[3] = STORE_FAULT_IO;
    f->read_faults_count = 4;
    assert_int_equal(ask(f, &r).problem, PROBLEM_UNCERTAIN);
    assert_int_equal(engine_position(f->engine), 0);
    assert_int_equal(ask(f, &r).problem, PROBLEM_BUSY);
    assert_int_equal(engine_position(f->engine), 0);
    assert_int_equal(ask(f, &r).problem, PROBLEM_NONE);
    assert_int_equal(engine_position(f->engine), 1);
}

/* A disk that stands still must not fill the memory with what waits for it. */
static void engine__queue__is_bounded_in_bytes(void **state)
{
    struct fixture *f = *state;
    size_t count = 0, bytes = 0;
    char *payload = calloc(1, SOTTO_PAYLOAD_MAX + 1);
    assert_non_null(payload);
    memset(payload, 'x', SOTTO_PAYLOAD_MAX);
    struct record r = message_to(f, 1, 2, "k1", payload);
    for (int rounds = 0; rounds < 2; rounds++) {
        for (count = bytes = 0;; count++) {
            struct buffer encoded;
            buffer_init(&encoded, SOTTO_RECORD_MAX);
            record_encode(&r, &encoded);
            size_t len = encoded.len;
            struct submission *s = submission_create(buffer_slice(&encoded), NULL);
            buffer_deinit(&encoded);
            if (!engine_submit(f->engine, s)) {
                submission_destroy(s, NULL);
                break;
            }
            bytes += len;
        }
        assert_in_range(bytes, 63 << 20, 64 << 20);
        assert_true(count < SOTTO_ENGINE_QUEUE_MAX);
        turn(f); /* nobody waits for the answers */
    }
    assert_true(ask(f, &r).repeated);
    free(payload);
}

static void engine__read_error__busy_and_nothing_changes(void **state)
{
    struct fixture *f = *state;
    (void)send(f, 1, 2, "before");
    fixture_crash(f); /* an empty cache */
    struct record r = message_to(f, 1, 2, "k1", "hello");
    for (size_t k = 0; k < 2; k++) {
        memset(f->read_faults, 0, sizeof(f->read_faults));
        f->read_faults[k] = STORE_FAULT_IO;
        f->read_faults_count = k + 1;
        assert_int_equal(ask(f, &r).problem, PROBLEM_BUSY);
        fixture_crash(f);
    }
    assert_int_equal(ask(f, &r).sequence, 2);
    assert_store_clean(f);
}

static void engine__marks__move_forward_only_and_tell(void **state)
{
    struct fixture *f = *state;
    struct id c = id_direct_conversation(user_id(1), user_id(2));
    for (int i = 0; i < 5; i++) (void)send(f, 1, 2, "m");
    fixture_forget_events(f);
    struct record r = marks_of(f, c, 2, 3, 0, 0);
    assert_int_equal(ask(f, &r).problem, PROBLEM_NONE);
    assert_int_equal(f->events_count, 1);
    assert_int_equal(f->events[0]->kind, EVENT_DELIVERED);
    assert_int_equal(f->events[0]->sequence, 3);
    uint64_t position = engine_position(f->engine);
    assert_int_equal(ask(f, &r).problem, PROBLEM_NONE); /* again: nothing */
    assert_int_equal(f->events_count, 1);
    assert_int_equal(engine_position(f->engine), position);
    r = marks_of(f, c, 2, 0, 4, 0);
    assert_int_equal(ask(f, &r).problem, PROBLEM_NONE); /* read is delivered too */
    assert_int_equal(f->events_count, 3);
    assert_int_equal(f->events[1]->kind, EVENT_DELIVERED);
    assert_int_equal(f->events[2]->kind, EVENT_READ);
    assert_false(f->events[2]->is_private);
    r = marks_of(f, c, 2, 0, 5, WATERMARK_PRIVATE);
    assert_int_equal(ask(f, &r).problem, PROBLEM_NONE);
    assert_int_equal(f->events_count, 4);
    assert_true(f->events[3]->is_private);
    r = marks_of(f, c, 2, 6, 0, 0);
    assert_int_equal(ask(f, &r).problem, PROBLEM_BAD_FIELD);
    r = marks_of(f, c, 3, 1, 0, 0);
    assert_int_equal(ask(f, &r).problem, PROBLEM_NOT_MEMBER);
    r = marks_of(f, user_id(99), 3, 1, 0, 0);
    assert_int_equal(ask(f, &r).problem, PROBLEM_NOT_FOUND);
    assert_store_clean(f);
}

static void engine__typing__is_told_and_never_stored(void **state)
{
    struct fixture *f = *state;
    (void)send(f, 1, 2, "m");
    fixture_forget_events(f);
    struct record r = {.kind = RECORD_TYPING, .conversation = id_direct_conversation(user_id(1), user_id(2))};
    r.typing.user = user_id(2);
    r.typing.device = 3;
    r.typing.started = true;
    assert_int_equal(ask(f, &r).problem, PROBLEM_NONE);
    assert_int_equal(f->events_count, 1);
    assert_int_equal(f->events[0]->kind, EVENT_TYPING);
    assert_int_equal(f->events[0]->position, 0);
    assert_int_equal(engine_position(f->engine), 1);
    r.typing.user = user_id(3);
    assert_int_equal(ask(f, &r).problem, PROBLEM_NOT_MEMBER);
}

static void engine__expiry__leaves_a_tombstone(void **state)
{
    struct fixture *f = *state;
    struct record r = message_to(f, 1, 2, "k1", "burn after reading");
    r.message.expires_ms = START_MS + 1000;
    r.message.media = SLICE_LIT("handle");
    assert_int_equal(ask(f, &r).sequence, 1);
    (void)send(f, 1, 2, "stays");
    fixture_forget_events(f);
    engine_housekeep(f->engine);
    assert_int_equal(rows_of(f, STORE_EXPIRY), 1);
    clock_manual_advance(&f->clock, 1000);
    engine_housekeep(f->engine);
    assert_int_equal(rows_of(f, STORE_EXPIRY), 0);
    assert_int_equal(rows_of(f, STORE_MESSAGE), 2);
    assert_int_equal(f->events_count, 1);
    assert_int_equal(f->events[0]->kind, EVENT_EXPIRED);
    assert_int_equal(f->events[0]->sequence, 1);
    assert_store_clean(f);
    /* The key still answers, and nothing expires twice. */
    assert_true(ask(f, &r).repeated);
    engine_housekeep(f->engine);
    assert_int_equal(f->events_count, 1);
    struct store_iter *it = store_iter_create(f->store, STORE_MESSAGE);
    for (store_iter_seek(it, slice_of("", 0)); store_iter_valid(it); store_iter_next(it)) {
        struct slice v = store_iter_value(it);
        assert_null(memmem(v.data, v.len, "burn", 4));
        assert_null(memmem(v.data, v.len, "handle", 6));
    }
    store_iter_destroy(&it);
}

static void engine__expiry__more_than_one_turn_of_them(void **state)
{
    struct fixture *f = *state;
    struct applied a[1500];
    for (unsigned i = 0; i < 1500; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%u", i);
        struct record r = message_to(f, 1, 2 + i % 3, key, "x");
        r.message.expires_ms = START_MS + 1 + i % 7;
        submit(f, &r);
    }
    turn(f);
    assert_int_equal(take_answers(f, a, 1500), 1500);
    fixture_forget_events(f);
    clock_manual_advance(&f->clock, 100);
    for (int i = 0; i < 4; i++) engine_housekeep(f->engine);
    assert_int_equal(f->events_count, 1500);
    assert_int_equal(rows_of(f, STORE_EXPIRY), 0);
    assert_store_clean(f);
}

static void engine__expiry__a_failed_commit_is_done_again(void **state)
{
    struct fixture *f = *state;
    struct record r = message_to(f, 1, 2, "k1", "x");
    static const enum store_fault faults[] = {STORE_FAULT_FULL, STORE_FAULT_IO, STORE_FAULT_UNCERTAIN_LOST};
    r.message.expires_ms = START_MS + 1;
    assert_int_equal(ask(f, &r).sequence, 1);
    fixture_forget_events(f);
    clock_manual_advance(&f->clock, 100);
    for (size_t i = 0; i < 3; i++) {
        f->write_faults[0] = faults[i];
        f->write_faults_count = 1;
        engine_housekeep(f->engine);
        assert_int_equal(f->events_count, 0);
        assert_int_equal(rows_of(f, STORE_EXPIRY), 1);
    }
    f->write_faults[0] = STORE_FAULT_UNCERTAIN_KEPT;
    f->write_faults_count = 1;
    engine_housekeep(f->engine);
    engine_housekeep(f->engine);
    assert_int_equal(f->events_count, 1);
    assert_int_equal(rows_of(f, STORE_EXPIRY), 0);
    assert_store_clean(f);
}

/* An unreadable conversation with more of them than a turn looks at. */
static void engine__expiry__damage_keeps_nobody_elses(void **state)
{
    enum { DAMAGED = 1500, OTHERS = 5 };
    struct fixture *f = *state;
    struct applied a[DAMAGED + OTHERS];
    for (unsigned i = 0; i < DAMAGED + OTHERS; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%u", i);
        struct record r = message_to(f, 1, i < DAMAGED ? 2 : 3, key, "x");
        r.message.expires_ms = START_MS + 1 + i;
        submit(f, &r);
    }
    turn(f);
    assert_int_equal(take_answers(f, a, DAMAGED + OTHERS), DAMAGED + OTHERS);
    fixture_crash(f);
    struct key damaged = key_conversation(id_direct_conversation(user_id(1), user_id(2)));
    store_memory_damage(f->store, STORE_CONVERSATION, key_slice(&damaged));
    clock_manual_advance(&f->clock, DAMAGED + OTHERS);
    for (int i = 0; i < 4; i++) engine_housekeep(f->engine);
    assert_int_equal(f->events_count, OTHERS);
    assert_int_equal(rows_of(f, STORE_EXPIRY), DAMAGED);
    /* Who sends now is not kept waiting either. */
    struct record late = message_to(f, 1, 3, "late", "x");
    late.message.expires_ms = f->clock.wall_ms + 1;
    assert_int_equal(ask(f, &late).sequence, OTHERS + 1);
    clock_manual_advance(&f->clock, 1);
    engine_housekeep(f->engine);
    assert_int_equal(rows_of(f, STORE_EXPIRY), DAMAGED);
}

static void engine__expiry__a_row_that_can_be_read_again_expires(void **state)
{
    struct fixture *f = *state;
    struct record r = message_to(f, 1, 2, "k1", "x");
    r.message.expires_ms = START_MS + 1;
    assert_int_equal(ask(f, &r).sequence, 1);
    clock_manual_advance(&f->clock, 1);
    f->read_faults[0] = STORE_FAULT_NONE; /* the iterator */
    f->read_faults[1] = STORE_FAULT_IO;
    f->read_faults_count = 2;
    engine_housekeep(f->engine);
    assert_int_equal(rows_of(f, STORE_EXPIRY), 1);
    clock_manual_advance(&f->clock, 60 * 1000);
    engine_housekeep(f->engine);
    assert_int_equal(rows_of(f, STORE_EXPIRY), 0);
    assert_store_clean(f);
}

/* A message that cannot be read keeps neither what is older than it, nor other
 * conversations, nor what expires. */
static void engine__retention__damage_keeps_nothing_else(void **state)
{
    struct fixture *f = *state;
    f->retention_days = 10;
    fixture_crash(f);
    for (unsigned i = 0; i < 3; i++) (void)send(f, 1, 2, "old");
    for (unsigned i = 0; i < 3; i++) (void)send(f, 1, 3, "old");
    clock_manual_advance(&f->clock, 11ull * 24 * 3600 * 1000);
    (void)send(f, 1, 2, "young");
    struct record r = message_to(f, 1, 3, "k1", "x");
    r.message.expires_ms = f->clock.wall_ms + 1;
    assert_int_equal(ask(f, &r).sequence, 4);
    struct key damaged = key_message(id_direct_conversation(user_id(1), user_id(2)), 4);
    store_memory_damage(f->store, STORE_MESSAGE, key_slice(&damaged));
    clock_manual_advance(&f->clock, 1);
    engine_housekeep(f->engine);
    assert_int_equal(rows_of(f, STORE_EXPIRY), 0);
    assert_int_equal(rows_of(f, STORE_DEDUPE), 2);
}

/* A purge that fails takes neither the expiry of that turn along nor the other
 * conversations of the next. */
static void engine__retention__a_failed_purge_keeps_nobody_elses(void **state)
{
    struct fixture *f = *state;
    f->retention_days = 10;
    fixture_crash(f);
    (void)send(f, 1, 2, "old");
    (void)send(f, 1, 3, "old");
    struct record r = message_to(f, 1, 2, "k1", "x");
    r.message.expires_ms = f->clock.wall_ms + 1;
    assert_int_equal(ask(f, &r).sequence, 2);
    clock_manual_advance(&f->clock, 11ull * 24 * 3600 * 1000);
    /* Expiry: its rows, the message. Retention: the conversations, what is old in the first, its rows. */
    memset(f->read_faults, 0, sizeof(f->read_faults));
    f->read_faults[4] = STORE_FAULT_IO;
    f->read_faults_count = 5;
    engine_housekeep(f->engine);
    assert_int_equal(rows_of(f, STORE_EXPIRY), 0);
    assert_int_equal(rows_of(f, STORE_MESSAGE), 3);
    engine_housekeep(f->engine);
    assert_true(rows_of(f, STORE_MESSAGE) < 3);
    engine_housekeep(f->engine);
    assert_int_equal(rows_of(f, STORE_MESSAGE), 0);
    assert_store_clean(f);
}

static void engine__retention__old_rows_and_their_keys_go(void **state)
{
    struct fixture *f = *state;
    f->retention_days = 10;
    fixture_crash(f);
    struct record old = message_to(f, 1, 2, "old", "x");
    old.message.expires_ms = START_MS + 365ull * 24 * 3600 * 1000;
    assert_int_equal(ask(f, &old).sequence, 1);
    struct record ordered = message_to(f, 2, 1, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "old too");
    assert_int_equal(ask(f, &ordered).sequence, 2);
    clock_manual_advance(&f->clock, 6ull * 24 * 3600 * 1000);
    (void)send(f, 1, 2, "young");
    engine_housekeep(f->engine);
    assert_int_equal(rows_of(f, STORE_MESSAGE), 3);
    clock_manual_advance(&f->clock, 5ull * 24 * 3600 * 1000);
    engine_housekeep(f->engine);
    assert_int_equal(rows_of(f, STORE_MESSAGE), 1);
    assert_int_equal(rows_of(f, STORE_DEDUPE), 1);
    assert_int_equal(rows_of(f, STORE_EXPIRY), 0);
    assert_store_clean(f);
    assert_int_equal(send(f, 1, 2, "goes on"), 4);
    clock_manual_advance(&f->clock, 20ull * 24 * 3600 * 1000);
    engine_housekeep(f->engine);
    engine_housekeep(f->engine);
    assert_int_equal(rows_of(f, STORE_MESSAGE), 0);
    assert_int_equal(send(f, 1, 2, "numbers go on"), 5);
    assert_store_clean(f);
}

/* A clock that ran ahead for a while keeps nothing for ever. */
static void engine__retention__times_to_come_keep_nothing(void **state)
{
    enum { DAY_MS = 24 * 3600 * 1000 };
    struct fixture *f = *state;
    f->retention_days = 10;
    fixture_crash(f);
    struct record r = message_to(f, 1, 2, "k1", "x");
    r.message.ts_ms = START_MS + 3650ull * DAY_MS;
    assert_int_equal(ask(f, &r).sequence, 1);
    assert_int_equal(send(f, 1, 2, "old"), 2);
    clock_manual_advance(&f->clock, 11ull * DAY_MS);
    assert_int_equal(send(f, 1, 2, "young"), 3);
    r = message_to(f, 1, 2, "k2", "x");
    r.message.ts_ms = START_MS + 3650ull * DAY_MS;
    assert_int_equal(ask(f, &r).sequence, 4);
    engine_housekeep(f->engine);
    assert_int_equal(rows_of(f, STORE_MESSAGE), 2);
    assert_store_clean(f);
}

/* A large group, as a row of its own: its members' rows are of no use here. */
static void put_group(struct fixture *f, struct id id, struct member *members, size_t count)
{
    struct conversation c;
    struct buffer row;
    buffer_init(&row, ROW_BYTES_MAX);
    conversation_init(&c, id);
    c.kind = CONVERSATION_GROUP;
    c.last_sequence = 1;
    c.members = members;
    c.members_count = count;
    conversation_encode(&c, &row);
    struct store_batch *b = store_batch_create(f->store);
    struct key key = key_conversation(id);
    store_put(b, STORE_CONVERSATION, key_slice(&key), buffer_slice(&row));
    assert_int_equal(store_commit(f->store, b), SOTTO_OK);
    store_batch_destroy(&b);
    buffer_deinit(&row);
}

/* The states of large groups are much more than the marks that change them. */
static void engine__batch__is_bounded_by_what_it_writes(void **state)
{
    enum { GROUPS = 100 };
    struct fixture *f = *state;
    static struct member members[SOTTO_MEMBERS_MAX];
    struct applied a[GROUPS];
    for (unsigned i = 0; i < SOTTO_MEMBERS_MAX; i++)
        members[i] = (struct member){.user = user_id(i + 1), .role = ROLE_MEMBER};
    for (unsigned i = 0; i < GROUPS; i++) put_group(f, user_id(2000 + i), members, SOTTO_MEMBERS_MAX);
    for (unsigned i = 0; i < GROUPS; i++) {
        struct record r = marks_of(f, user_id(2000 + i), 1, 1, 1, 0);
        submit(f, &r);
    }
    size_t first = engine_turn(f->engine);
    assert_true(first > 0 && first < GROUPS);
    turn(f);
    assert_int_equal(take_answers(f, a, GROUPS), GROUPS);
    for (unsigned i = 0; i < GROUPS; i++) assert_int_equal(a[i].problem, PROBLEM_NONE);
}

/* Whether a state has to be read again. */
static bool is_kept(struct fixture *f, struct id group, uint64_t delivered)
{
    struct record r = marks_of(f, group, 1, delivered, 0, 0);
    f->read_faults[0] = STORE_FAULT_IO;
    f->read_faults_count = 1;
    struct applied a = ask(f, &r);
    f->read_faults_count = 0;
    return a.problem == PROBLEM_NONE;
}

static void engine__cache__is_bounded_by_members_too(void **state)
{
    enum { GROUPS = 10 };
    struct fixture *f = *state;
    static struct member members[SOTTO_MEMBERS_MAX];
    f->cache_conversations = 400;
    fixture_crash(f);
    for (unsigned i = 0; i < SOTTO_MEMBERS_MAX; i++)
        members[i] = (struct member){.user = user_id(i + 1), .role = ROLE_MEMBER};
    for (unsigned i = 0; i < GROUPS; i++) {
        put_group(f, user_id(2000 + i), members, SOTTO_MEMBERS_MAX);
        put_group(f, user_id(3000 + i), members, 2);
    }
    struct record r;
    for (unsigned i = 0; i < GROUPS; i++) {
        r = marks_of(f, user_id(2000 + i), 2, 1, 1, 0);
        assert_int_equal(ask(f, &r).problem, PROBLEM_NONE);
    }
    assert_true(is_kept(f, user_id(2000 + GROUPS - 1), 1));
    assert_false(is_kept(f, user_id(2000), 1));
    for (unsigned i = 0; i < GROUPS; i++) {
        r = marks_of(f, user_id(3000 + i), 2, 1, 1, 0);
        assert_int_equal(ask(f, &r).problem, PROBLEM_NONE);
    }
    assert_true(is_kept(f, user_id(3000), 1));
}

static void engine__group__a_change_writes_the_row_of_one(void **state)
{
    struct fixture *f = *state;
    uint8_t entries[3 * (ID_LEN + 1)];
    struct id group = user_id(1000);
    struct record r = group_of(f, group, 3, entries);
    assert_int_equal(ask(f, &r).problem, PROBLEM_NONE);
    assert_int_equal(rows_of(f, STORE_MEMBER), 3);
    struct store_batch *b = store_batch_create(f->store);
    struct key second = key_member(user_id(2), group);
    store_delete(b, STORE_MEMBER, key_slice(&second));
    assert_int_equal(store_commit(f->store, b), SOTTO_OK);
    store_batch_destroy(&b);
    r = member_change(f, group, 1, 4, MEMBER_ADD, ROLE_MEMBER);
    assert_int_equal(ask(f, &r).problem, PROBLEM_NONE);
    assert_int_equal(rows_of(f, STORE_MEMBER), 3);
}

static void engine__group__membership_has_numbers_and_the_removed_is_told(void **state)
{
    struct fixture *f = *state;
    uint8_t entries[3 * (ID_LEN + 1)];
    struct id g = user_id(500);
    struct record r = group_of(f, g, 3, entries);
    assert_int_equal(ask(f, &r).sequence, 1);
    assert_int_equal(ask(f, &r).problem, PROBLEM_CONFLICT);
    r = message_to(f, 2, 3, "k", "to all");
    r.conversation = g;
    r.message.has_peer = false;
    assert_int_equal(ask(f, &r).sequence, 2);
    fixture_forget_events(f);
    r = member_change(f, g, 1, 3, MEMBER_REMOVE, ROLE_MEMBER);
    assert_int_equal(ask(f, &r).sequence, 3);
    assert_int_equal(f->events_count, 1);
    assert_int_equal(f->events[0]->kind, EVENT_CONVERSATION);
    assert_int_equal(f->events[0]->recipients_count, 3);
    fixture_forget_events(f);
    r = message_to(f, 2, 3, "k2", "without three");
    r.conversation = g;
    r.message.has_peer = false;
    assert_int_equal(ask(f, &r).sequence, 4);
    assert_int_equal(f->events[0]->recipients_count, 2);
    r.message.sender = user_id(3);
    assert_int_equal(ask(f, &r).problem, PROBLEM_NOT_MEMBER);
    assert_store_clean(f);
}

static void engine__cache__one_state_is_enough(void **state)
{
    struct fixture *f = *state;
    f->cache_conversations = 1;
    fixture_crash(f);
    for (unsigned round = 0; round < 5; round++)
        for (unsigned peer = 2; peer < 12; peer++) assert_int_equal(send(f, 1, peer, "m"), round + 1);
    assert_int_equal(engine_position(f->engine), 50);
    assert_store_clean(f);
}

static void engine__epoch__stays_until_renewed(void **state)
{
    struct fixture *f = *state;
    uint32_t epoch = engine_epoch(f->engine);
    fixture_crash(f);
    assert_int_equal(engine_epoch(f->engine), epoch);
    engine_destroy(&f->engine);
    assert_int_equal(engine_renew_epoch(f->store, &f->random.source), SOTTO_OK);
    fixture_start(f);
    assert_int_not_equal(engine_epoch(f->engine), epoch);
}

static void engine__stop__refuses_new_and_answers_what_is_queued(void **state)
{
    struct fixture *f = *state;
    struct applied a;
    struct record r = message_to(f, 1, 2, "k", "x");
    submit(f, &r);
    engine_start(f->engine);
    engine_stop(f->engine);
    assert_int_equal(take_answers(f, &a, 1), 1);
    assert_int_equal(a.sequence, 1);
    assert_true(engine_draining(f->engine));
    struct buffer bytes;
    buffer_init(&bytes, SOTTO_RECORD_MAX);
    record_encode(&r, &bytes);
    struct submission *s = submission_create(buffer_slice(&bytes), NULL);
    buffer_deinit(&bytes);
    assert_false(engine_submit(f->engine, s));
    submission_destroy(s, NULL);
}

static void engine__a_batch__wakes_who_waits_at_its_end(void **state)
{
    struct fixture *f = *state;
    struct applied answers[5];
    for (unsigned n = 0; n < 5; n++) {
        char key[16];
        snprintf(key, sizeof(key), "k%u", n);
        struct record r = message_to(f, 1, 2, key, "x");
        submit(f, &r);
    }
    assert_true(mailbox_sleep(&f->replies));
    turn(f);
    assert_int_equal(f->events_count, 6);
    assert_false(f->woken_early);
    struct pollfd replies = {.fd = f->replies.eventfd, .events = POLLIN};
    assert_int_equal(poll(&replies, 1, 0), 1);
    assert_int_equal(take_answers(f, answers, 5), 5);
}

static void submission__create__refuses_what_is_no_record(void **state)
{
    (void)state;
    assert_null(submission_create(SLICE_LIT("no record"), NULL));
    assert_null(submission_create(slice_of(NULL, 0), NULL));
}

static void engine__nobody_waits__the_engine_frees(void **state)
{
    struct fixture *f = *state;
    struct record r = message_to(f, 1, 2, "k", "x");
    struct buffer bytes;
    buffer_init(&bytes, SOTTO_RECORD_MAX);
    record_encode(&r, &bytes);
    assert_true(engine_submit(f->engine, submission_create(buffer_slice(&bytes), NULL)));
    buffer_deinit(&bytes);
    turn(f);
    assert_int_equal(engine_position(f->engine), 1);
    assert_true(slice_is(f->events[1]->message.record.body, "x"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(engine__first_message__creates_and_tells_in_order),
        TEST(engine__a_batch__wakes_who_waits_at_its_end),
        TEST(engine__retry__same_answer_in_the_batch_after_it_and_after_a_crash),
        TEST(engine__retry__with_an_id_in_order_of_time),
        TEST(engine__only_repeated__knows_what_was_stored_and_stores_nothing),
        TEST(engine__retry__another_payload_is_a_conflict),
        TEST(engine__full__nothing_is_stored_and_it_recovers),
        TEST(engine__failed_batch__refusals_in_it_are_not_told),
        TEST(engine__uncertain__lost_is_stored_by_the_retry),
        TEST(engine__uncertain__kept_is_found_by_the_retry),
        TEST(engine__uncertain__store_unreadable_for_a_while),
        TEST(engine__uncertain__position_is_never_ahead_of_the_store),
        TEST(engine__queue__is_bounded_in_bytes),
        TEST(engine__read_error__busy_and_nothing_changes),
        TEST(engine__marks__move_forward_only_and_tell),
        TEST(engine__typing__is_told_and_never_stored),
        TEST(engine__expiry__leaves_a_tombstone),
        TEST(engine__expiry__more_than_one_turn_of_them),
        TEST(engine__expiry__a_failed_commit_is_done_again),
        TEST(engine__retention__times_to_come_keep_nothing),
        TEST(engine__batch__is_bounded_by_what_it_writes),
        TEST(engine__group__a_change_writes_the_row_of_one),
        TEST(engine__expiry__damage_keeps_nobody_elses),
        TEST(engine__expiry__a_row_that_can_be_read_again_expires),
        TEST(engine__retention__damage_keeps_nothing_else),
        TEST(engine__retention__a_failed_purge_keeps_nobody_elses),
        TEST(engine__retention__old_rows_and_their_keys_go),
        TEST(engine__group__membership_has_numbers_and_the_removed_is_told),
        TEST(engine__cache__one_state_is_enough),
        TEST(engine__cache__is_bounded_by_members_too),
        TEST(engine__epoch__stays_until_renewed),
        TEST(engine__stop__refuses_new_and_answers_what_is_queued),
        TEST(engine__nobody_waits__the_engine_frees),
        cmocka_unit_test(submission__create__refuses_what_is_no_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
