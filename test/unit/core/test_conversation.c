/* The conversation state machine: who may do what, numbers, marks, chain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "base/limits.h"
#include "base/random.h"
#include "core/conversation.h"
#include "golden/golden.h"

struct world {
    struct conversation c;
    uint64_t position;
    struct applied last;
};

static struct id user(uint8_t n)
{
    struct id id = {{0x55, n}};
    return id;
}

static struct id group_id(void)
{
    struct id id = {{0x99}};
    return id;
}

static void begin(struct world *w, struct id id)
{
    memset(w, 0, sizeof(*w));
    conversation_init(&w->c, id);
}

/* Applies at the next position; a record that changes nothing must leave the
 * state's bytes as they were. */
static struct applied apply_after(struct world *w, struct record r, const struct prior *prior)
{
    struct buffer before, after;
    buffer_init(&before, 1 << 20);
    buffer_init(&after, 1 << 20);
    conversation_encode(&w->c, &before);
    r.conversation = w->c.id;
    conversation_apply(&w->c, &r, ++w->position, prior, &w->last);
    conversation_encode(&w->c, &after);
    bool same = slice_eq(buffer_slice(&before), buffer_slice(&after));
    if (w->last.problem != PROBLEM_NONE || w->last.repeated || w->last.events == 0 || w->last.events == APPLY_TYPING)
        assert_true(same);
    else
        assert_int_equal(w->c.last_position, w->position);
    buffer_deinit(&before);
    buffer_deinit(&after);
    return w->last;
}

static struct applied apply(struct world *w, struct record r)
{
    return apply_after(w, r, &(struct prior){.found = false});
}

static struct record message(uint8_t sender, uint8_t peer, const char *key, const char *payload)
{
    struct record r = {.kind = RECORD_MESSAGE};
    r.message = (struct record_message){
        .message_id = {{0x77, (uint8_t)key[0]}}, .sender = user(sender), .sender_device = 1, .has_peer = peer != 0,
        .peer = user(peer), .ts_ms = 1000, .body_kind = BODY_PAYLOAD, .client_msg_id = slice_str(key),
        .body = slice_str(payload)};
    body_hash(BODY_PAYLOAD, r.message.body, r.message.payload_hash);
    return r;
}

static struct record marks(uint8_t who, uint8_t flags, uint64_t delivered, uint64_t read)
{
    struct record r = {.kind = RECORD_WATERMARK};
    r.watermark = (struct record_watermark){user(who), 1, flags, 2000, delivered, read};
    return r;
}

static struct record change(uint8_t actor, uint8_t what, uint8_t who, uint8_t role)
{
    struct record r = {.kind = RECORD_MEMBER};
    r.member = (struct record_member){user(actor), user(who), 3000, what, role};
    return r;
}

static struct record typing(uint8_t who)
{
    struct record r = {.kind = RECORD_TYPING};
    r.typing.user = user(who);
    return r;
}

/* A group of 1..count, made by 1. */
static void make_group(struct world *w, uint8_t count)
{
    static uint8_t entries[32 * 17];
    for (uint8_t i = 0; i < count; i++) {
        struct id id = user((uint8_t)(i + 1));
        memcpy(entries + i * 17, id.bytes, ID_LEN);
        entries[i * 17 + ID_LEN] = ROLE_MEMBER;
    }
    struct record r = {.kind = RECORD_CREATE};
    r.create = (struct record_create){user(1), 500, CONVERSATION_GROUP, count, slice_of(entries, count * 17u)};
    begin(w, group_id());
    struct applied a = apply(w, r);
    assert_int_equal(a.problem, PROBLEM_NONE);
    assert_int_equal(a.events, APPLY_CREATED | APPLY_MEMBERS);
    assert_int_equal(a.sequence, 1);
}

static void expect(struct applied a, enum problem problem) { assert_int_equal(a.problem, problem); }

/* ---- Direct conversations ----------------------------------------------------- */

static void conversation__first_message__makes_both_members(void **state)
{
    (void)state;
    struct world w;
    begin(&w, id_direct_conversation(user(1), user(2)));
    struct applied a = apply(&w, message(1, 2, "a", "hello"));
    expect(a, PROBLEM_NONE);
    assert_int_equal(a.events, APPLY_CREATED | APPLY_MESSAGE);
    assert_int_equal(a.sequence, 1);
    assert_int_equal(w.c.kind, CONVERSATION_DIRECT);
    assert_int_equal(w.c.members_count, 2);
    assert_int_equal(w.c.created_ms, 1000);
    assert_int_equal(w.c.created_position, 1);
    assert_true(member_sees(conversation_member(&w.c, user(2)), 1));
    a = apply(&w, message(2, 1, "b", "hello you"));
    assert_int_equal(a.events, APPLY_MESSAGE);
    assert_int_equal(a.sequence, 2);
    conversation_deinit(&w.c);
}

static void conversation__first_message__wrong_id_or_no_peer_is_refused(void **state)
{
    (void)state;
    struct world w;
    begin(&w, id_direct_conversation(user(1), user(2)));
    expect(apply(&w, message(1, 0, "a", "x")), PROBLEM_NOT_FOUND);
    expect(apply(&w, message(1, 3, "a", "x")), PROBLEM_BAD_REQUEST);
    expect(apply(&w, message(3, 2, "a", "x")), PROBLEM_BAD_REQUEST);
    expect(apply(&w, message(1, 1, "a", "x")), PROBLEM_BAD_REQUEST);
    assert_int_equal(w.c.kind, 0);
    begin(&w, id_direct_conversation(user(1), user(1)));
    expect(apply(&w, message(1, 1, "a", "x")), PROBLEM_BAD_REQUEST);
    conversation_deinit(&w.c);
}

static void conversation__message__from_a_stranger_is_refused(void **state)
{
    (void)state;
    struct world w;
    begin(&w, id_direct_conversation(user(1), user(2)));
    expect(apply(&w, message(1, 2, "a", "x")), PROBLEM_NONE);
    expect(apply(&w, message(3, 0, "b", "x")), PROBLEM_NOT_MEMBER);
    expect(apply(&w, message(3, 1, "b", "x")), PROBLEM_NOT_MEMBER);
    expect(apply(&w, marks(3, 0, 1, 0)), PROBLEM_NOT_MEMBER);
    expect(apply(&w, typing(3)), PROBLEM_NOT_MEMBER);
    conversation_deinit(&w.c);
}

static void conversation__chain__follows_from_what_was_said(void **state)
{
    (void)state;
    struct world w;
    uint8_t chain[HASH_LEN] = {0};
    begin(&w, id_direct_conversation(user(1), user(2)));
    for (uint8_t n = 1; n <= 5; n++) {
        struct record r = message(n % 2 + 1, (uint8_t)(2 - n % 2), "k", "payload");
        r.message.message_id.bytes[5] = n;
        struct applied a = apply(&w, r);
        chain_next(chain, n, r.message.message_id, r.message.sender, r.message.payload_hash, chain);
        assert_int_equal(a.sequence, n);
        assert_memory_equal(a.chain, chain, HASH_LEN);
        assert_memory_equal(w.c.chain, chain, HASH_LEN);
    }
    conversation_deinit(&w.c);
}

static void conversation__repeat__first_answer_or_conflict(void **state)
{
    (void)state;
    struct world w;
    begin(&w, id_direct_conversation(user(1), user(2)));
    struct record r = message(1, 2, "a", "said once");
    struct applied first = apply(&w, r);
    struct prior prior = {.found = true, .sequence = first.sequence, .ts_ms = first.ts_ms,
                          .message_id = first.message_id};
    memcpy(prior.chain, first.chain, HASH_LEN);
    memcpy(prior.payload_hash, r.message.payload_hash, HASH_LEN);
    r.message.message_id = user(200); /* the gateway draws a new one each time */
    r.message.ts_ms = 9999;
    struct applied again = apply_after(&w, r, &prior);
    assert_true(again.repeated && again.problem == PROBLEM_NONE && again.events == 0);
    assert_true(again.sequence == first.sequence && again.ts_ms == first.ts_ms);
    assert_true(id_eq(again.message_id, first.message_id));
    assert_memory_equal(again.chain, first.chain, HASH_LEN);
    expect(apply_after(&w, message(1, 2, "a", "something else"), &prior), PROBLEM_ID_CONFLICT);
    conversation_deinit(&w.c);
}

static void dedupe_key__differs_by_conversation_user_device_and_id(void **state)
{
    (void)state;
    uint8_t keys[6][DEDUPE_KEY_LEN];
    dedupe_key(user(9), user(1), 1, SLICE_LIT("a"), keys[0]);
    dedupe_key(user(9), user(2), 1, SLICE_LIT("a"), keys[1]);
    dedupe_key(user(9), user(1), 2, SLICE_LIT("a"), keys[2]);
    dedupe_key(user(9), user(1), 1, SLICE_LIT("b"), keys[3]);
    dedupe_key(user(9), user(1), 1, slice_of(NULL, 0), keys[4]);
    dedupe_key(user(8), user(1), 1, SLICE_LIT("a"), keys[5]);
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < i; j++) assert_memory_not_equal(keys[i], keys[j], DEDUPE_KEY_LEN);
}

static void dedupe_key__begins_with_the_time_of_the_id(void **state)
{
    (void)state;
    static const uint8_t none[DEDUPE_TIME_LEN] = {0}, time[DEDUPE_TIME_LEN] = {0x01, 0x7f, 0x22, 0xe2, 0x79, 0xb0};
    uint8_t key[DEDUPE_KEY_LEN], upper[DEDUPE_KEY_LEN];
    dedupe_key(user(9), user(1), 1, SLICE_LIT("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"), key); /* RFC 9562, A.6 */
    assert_memory_equal(key, time, sizeof(time));
    dedupe_key(user(9), user(1), 1, SLICE_LIT("017F22E2-79B0-7CC3-98C4-DC0C0C07398F"), upper);
    assert_memory_equal(upper, time, sizeof(time));
    assert_memory_not_equal(key, upper, sizeof(key)); /* another text is another key */
    dedupe_key(user(9), user(1), 1, SLICE_LIT("919108f7-52d1-4320-9bac-f847db4148a8"), key); /* version 4 */
    assert_memory_equal(key, none, sizeof(none));
    dedupe_key(user(9), user(1), 1, SLICE_LIT("017f22e2-79b0-7cc3-98c4-dc0c0c07398"), key);
    assert_memory_equal(key, none, sizeof(none));
}

/* ---- Marks ------------------------------------------------------------------------ */

static void make_talk(struct world *w, uint64_t messages)
{
    begin(w, id_direct_conversation(user(1), user(2)));
    for (uint64_t n = 0; n < messages; n++) expect(apply(w, message(1, 2, "k", "x")), PROBLEM_NONE);
}

static void watermark__moves__forward_only(void **state)
{
    (void)state;
    struct world w;
    make_talk(&w, 5);
    struct applied a = apply(&w, marks(2, 0, 3, 0));
    assert_int_equal(a.events, APPLY_DELIVERED);
    assert_int_equal(w.c.members[a.member].delivered.sequence, 3);
    assert_int_equal(w.c.members[a.member].delivered.ts_ms, 2000);
    a = apply(&w, marks(2, 0, 2, 0));
    assert_true(a.problem == PROBLEM_NONE && a.events == 0);
    a = apply(&w, marks(2, 0, 3, 0));
    assert_int_equal(a.events, 0);
    expect(apply(&w, marks(2, 0, 6, 0)), PROBLEM_BAD_FIELD);
    expect(apply(&w, marks(2, 0, 0, 6)), PROBLEM_BAD_FIELD);
    expect(apply(&w, marks(2, 0, UINT64_MAX, 0)), PROBLEM_BAD_FIELD);
    a = apply(&w, marks(2, 0, 5, 0));
    assert_int_equal(a.events, APPLY_DELIVERED);
    conversation_deinit(&w.c);
}

static void watermark__read__implies_delivered(void **state)
{
    (void)state;
    struct world w;
    make_talk(&w, 5);
    struct applied a = apply(&w, marks(2, 0, 0, 4));
    assert_int_equal(a.events, APPLY_DELIVERED | APPLY_READ | APPLY_READ_PUBLIC);
    const struct member *m = &w.c.members[a.member];
    assert_int_equal(m->delivered.sequence, 4);
    assert_int_equal(m->read.sequence, 4);
    assert_int_equal(m->public_read, 4);
    conversation_deinit(&w.c);
}

static void watermark__private_read__tells_nobody_else(void **state)
{
    (void)state;
    struct world w;
    make_talk(&w, 5);
    struct applied a = apply(&w, marks(2, WATERMARK_PRIVATE, 0, 4));
    assert_int_equal(a.events, APPLY_READ);
    const struct member *m = conversation_member(&w.c, user(2));
    assert_int_equal(m->read.sequence, 4);
    assert_int_equal(m->public_read, 0);
    assert_int_equal(m->delivered.sequence, 0);
    /* Later in public: what was read in private before it is told with it. */
    a = apply(&w, marks(2, 0, 0, 3));
    assert_int_equal(a.events, APPLY_DELIVERED | APPLY_READ_PUBLIC);
    m = conversation_member(&w.c, user(2));
    assert_int_equal(m->read.sequence, 4);
    assert_int_equal(m->public_read, 3);
    conversation_deinit(&w.c);
}

static void watermark__nothing_there__not_found(void **state)
{
    (void)state;
    struct world w;
    begin(&w, id_direct_conversation(user(1), user(2)));
    expect(apply(&w, marks(1, 0, 1, 0)), PROBLEM_NOT_FOUND);
    expect(apply(&w, typing(1)), PROBLEM_NOT_FOUND);
    expect(apply(&w, change(1, MEMBER_ADD, 2, ROLE_MEMBER)), PROBLEM_NOT_FOUND);
    conversation_deinit(&w.c);
}

/* ---- Groups --------------------------------------------------------------------- */

static void group__create__creator_owns_it(void **state)
{
    (void)state;
    struct world w;
    make_group(&w, 4);
    assert_int_equal(w.c.kind, CONVERSATION_GROUP);
    assert_int_equal(conversation_member(&w.c, user(1))->role, ROLE_OWNER);
    assert_int_equal(conversation_member(&w.c, user(2))->role, ROLE_MEMBER);
    assert_true(member_sees(conversation_member(&w.c, user(4)), 1));
    assert_int_equal(apply(&w, message(3, 0, "a", "x")).sequence, 2);
    assert_int_equal(apply(&w, typing(2)).events, APPLY_TYPING);
    conversation_deinit(&w.c);
}

static void group__create__twice_or_without_its_creator_is_refused(void **state)
{
    (void)state;
    struct world w;
    uint8_t entries[3 * 17];
    for (uint8_t i = 0; i < 3; i++) {
        struct id id = user((uint8_t)(i + 2));
        memcpy(entries + i * 17, id.bytes, ID_LEN);
        entries[i * 17 + ID_LEN] = ROLE_MEMBER;
    }
    struct record r = {.kind = RECORD_CREATE};
    r.create = (struct record_create){user(1), 500, CONVERSATION_GROUP, 3, slice_of(entries, sizeof(entries))};
    begin(&w, group_id());
    expect(apply(&w, r), PROBLEM_BAD_REQUEST); /* 1 is not in it */
    r.create.creator = user(2);
    memcpy(entries + 34, entries + 17, 17);
    expect(apply(&w, r), PROBLEM_BAD_REQUEST); /* 3 is twice */
    r.create.members_count = 2;
    r.create.members.len = 34;
    r.create.kind = CONVERSATION_DIRECT;
    expect(apply(&w, r), PROBLEM_CONFLICT);
    r.create.kind = CONVERSATION_GROUP;
    expect(apply(&w, r), PROBLEM_NONE);
    expect(apply(&w, r), PROBLEM_CONFLICT);
    conversation_deinit(&w.c);
}

static void group__add__sees_from_the_joining_on(void **state)
{
    (void)state;
    struct world w;
    make_group(&w, 2);
    expect(apply(&w, message(1, 0, "a", "before")), PROBLEM_NONE);
    struct applied a = apply(&w, change(1, MEMBER_ADD, 5, ROLE_MEMBER));
    assert_int_equal(a.events, APPLY_MEMBERS);
    assert_int_equal(a.sequence, 3);
    const struct member *m = conversation_member(&w.c, user(5));
    assert_false(member_sees(m, 2));
    assert_true(member_sees(m, 3));
    assert_true(member_sees(m, 4));
    expect(apply(&w, change(1, MEMBER_ADD, 5, ROLE_MEMBER)), PROBLEM_CONFLICT);
    expect(apply(&w, message(5, 0, "b", "thanks")), PROBLEM_NONE);
    conversation_deinit(&w.c);
}

static void group__remove__sees_nothing_after_it(void **state)
{
    (void)state;
    struct world w;
    make_group(&w, 3);
    struct applied a = apply(&w, change(1, MEMBER_REMOVE, 3, ROLE_MEMBER));
    assert_int_equal(a.sequence, 2);
    expect(apply(&w, message(1, 0, "a", "without 3")), PROBLEM_NONE);
    struct member *m = conversation_member(&w.c, user(3));
    assert_false(member_present(m));
    assert_true(member_sees(m, 2));
    assert_false(member_sees(m, 3));
    expect(apply(&w, message(3, 0, "b", "x")), PROBLEM_NOT_MEMBER);
    expect(apply(&w, marks(3, 0, 1, 0)), PROBLEM_NOT_MEMBER);
    expect(apply(&w, change(1, MEMBER_REMOVE, 3, ROLE_MEMBER)), PROBLEM_CONFLICT);
    expect(apply(&w, change(1, MEMBER_SET_ROLE, 3, ROLE_ADMIN)), PROBLEM_CONFLICT);
    /* Back again: from now on, with marks of now. */
    a = apply(&w, change(1, MEMBER_ADD, 3, ROLE_ADMIN));
    assert_int_equal(a.sequence, 4);
    m = conversation_member(&w.c, user(3));
    assert_true(member_present(m) && m->role == ROLE_ADMIN);
    assert_false(member_sees(m, 3));
    assert_true(member_sees(m, 4));
    assert_int_equal(w.c.members_count, 3);
    conversation_deinit(&w.c);
}

static void group__rights__owner_admin_member(void **state)
{
    (void)state;
    struct world w;
    make_group(&w, 6);
    expect(apply(&w, change(2, MEMBER_ADD, 9, ROLE_MEMBER)), PROBLEM_FORBIDDEN);
    expect(apply(&w, change(2, MEMBER_REMOVE, 3, ROLE_MEMBER)), PROBLEM_FORBIDDEN);
    expect(apply(&w, change(2, MEMBER_SET_ROLE, 2, ROLE_OWNER)), PROBLEM_FORBIDDEN);
    expect(apply(&w, change(9, MEMBER_ADD, 9, ROLE_OWNER)), PROBLEM_NOT_MEMBER);
    expect(apply(&w, change(1, MEMBER_SET_ROLE, 2, ROLE_ADMIN)), PROBLEM_NONE);
    expect(apply(&w, change(1, MEMBER_SET_ROLE, 2, ROLE_ADMIN)), PROBLEM_CONFLICT);
    expect(apply(&w, change(1, MEMBER_SET_ROLE, 6, ROLE_ADMIN)), PROBLEM_NONE);
    /* An admin adds and removes members, and touches nobody above them. */
    expect(apply(&w, change(2, MEMBER_ADD, 9, ROLE_MEMBER)), PROBLEM_NONE);
    expect(apply(&w, change(2, MEMBER_ADD, 10, ROLE_ADMIN)), PROBLEM_FORBIDDEN);
    expect(apply(&w, change(2, MEMBER_REMOVE, 3, ROLE_MEMBER)), PROBLEM_NONE);
    expect(apply(&w, change(2, MEMBER_REMOVE, 6, ROLE_MEMBER)), PROBLEM_FORBIDDEN);
    expect(apply(&w, change(2, MEMBER_REMOVE, 1, ROLE_MEMBER)), PROBLEM_FORBIDDEN);
    expect(apply(&w, change(2, MEMBER_SET_ROLE, 4, ROLE_ADMIN)), PROBLEM_FORBIDDEN);
    /* Everybody may leave; a last owner only as the last one. */
    expect(apply(&w, change(4, MEMBER_REMOVE, 4, ROLE_MEMBER)), PROBLEM_NONE);
    expect(apply(&w, change(2, MEMBER_REMOVE, 2, ROLE_MEMBER)), PROBLEM_NONE);
    expect(apply(&w, change(1, MEMBER_REMOVE, 1, ROLE_MEMBER)), PROBLEM_FORBIDDEN);
    expect(apply(&w, change(1, MEMBER_SET_ROLE, 5, ROLE_OWNER)), PROBLEM_NONE);
    expect(apply(&w, change(1, MEMBER_REMOVE, 1, ROLE_MEMBER)), PROBLEM_NONE);
    expect(apply(&w, change(5, MEMBER_REMOVE, 6, ROLE_MEMBER)), PROBLEM_NONE);
    expect(apply(&w, change(5, MEMBER_REMOVE, 9, ROLE_MEMBER)), PROBLEM_NONE);
    expect(apply(&w, change(5, MEMBER_REMOVE, 5, ROLE_MEMBER)), PROBLEM_NONE);
    expect(apply(&w, message(5, 0, "a", "alone")), PROBLEM_NOT_MEMBER);
    conversation_deinit(&w.c);
}

static void group__direct__takes_no_members(void **state)
{
    (void)state;
    struct world w;
    make_talk(&w, 1);
    expect(apply(&w, change(1, MEMBER_ADD, 3, ROLE_MEMBER)), PROBLEM_CONFLICT);
    expect(apply(&w, change(1, MEMBER_REMOVE, 1, ROLE_MEMBER)), PROBLEM_CONFLICT);
    conversation_deinit(&w.c);
}

static void group__full__takes_no_more(void **state)
{
    (void)state;
    struct world w;
    make_group(&w, 1);
    for (unsigned n = 1; n < SOTTO_MEMBERS_MAX; n++) {
        struct record r = change(1, MEMBER_ADD, 0, ROLE_MEMBER);
        r.member.user.bytes[8] = (uint8_t)(n >> 8);
        r.member.user.bytes[9] = (uint8_t)n;
        r.member.user.bytes[10] = 1;
        expect(apply(&w, r), PROBLEM_NONE);
    }
    expect(apply(&w, change(1, MEMBER_ADD, 250, ROLE_MEMBER)), PROBLEM_CONFLICT);
    conversation_deinit(&w.c);
}

/* ---- Expiry and retention ---------------------------------------------------------- */

static void purge__bounds__first_sequence_rises(void **state)
{
    (void)state;
    struct world w;
    make_talk(&w, 5);
    struct record r = {.kind = RECORD_PURGE, .sequence = 3};
    assert_int_equal(apply(&w, r).events, APPLY_PURGED);
    assert_int_equal(w.c.first_sequence, 3);
    expect(apply(&w, r), PROBLEM_CONFLICT);
    r.sequence = 7;
    expect(apply(&w, r), PROBLEM_CONFLICT);
    r.kind = RECORD_EXPIRE;
    r.sequence = 2;
    expect(apply(&w, r), PROBLEM_NOT_FOUND);
    r.sequence = 6;
    expect(apply(&w, r), PROBLEM_NOT_FOUND);
    r.sequence = 5;
    assert_int_equal(apply(&w, r).events, APPLY_EXPIRED);
    r.kind = RECORD_PURGE;
    r.sequence = 6; /* all of them; the numbers go on */
    assert_int_equal(apply(&w, r).events, APPLY_PURGED);
    assert_int_equal(apply(&w, message(1, 2, "n", "x")).sequence, 6);
    conversation_deinit(&w.c);
}

/* ---- The state row ------------------------------------------------------------------- */

static void state__golden__stays_readable(void **state)
{
    (void)state;
    struct world w;
    struct buffer row, again;
    struct conversation c;
    buffer_init(&row, 1 << 20);
    buffer_init(&again, 1 << 20);
    make_group(&w, 3);
    expect(apply(&w, message(2, 0, "a", "hello")), PROBLEM_NONE);
    expect(apply(&w, marks(3, 0, 2, 1)), PROBLEM_NONE);
    expect(apply(&w, marks(1, WATERMARK_PRIVATE, 0, 2)), PROBLEM_NONE);
    expect(apply(&w, change(1, MEMBER_REMOVE, 2, ROLE_MEMBER)), PROBLEM_NONE);
    expect(apply(&w, change(1, MEMBER_SET_ROLE, 3, ROLE_ADMIN)), PROBLEM_NONE);
    expect(apply(&w, (struct record){.kind = RECORD_PURGE, .sequence = 2}), PROBLEM_NONE);
    w.c.purged_position = 1;
    conversation_encode(&w.c, &row);
    assert_true(golden_matches("conversation_v1", "group", buffer_slice(&row)));
    assert_true(golden_read("conversation_v1", "group", &row));
    assert_int_equal(conversation_decode(group_id(), buffer_slice(&row), &c), SOTTO_OK);
    conversation_encode(&c, &again);
    assert_true(slice_eq(buffer_slice(&row), buffer_slice(&again)));
    /* Cut anywhere, or with a byte more that is no padding, it is no row. */
    for (size_t len = 0; len < row.len; len++)
        assert_int_equal(conversation_decode(group_id(), slice_of(row.data, len), &c), SOTTO_ERR_CORRUPT);
    conversation_deinit(&c);
    write_u8(&again, 0);
    write_u8(&again, 0);
    assert_int_equal(conversation_decode(group_id(), buffer_slice(&again), &c), SOTTO_OK);
    again.data[again.len - 1] = 1;
    assert_int_equal(conversation_decode(group_id(), buffer_slice(&again), &(struct conversation){0}), SOTTO_ERR_CORRUPT);
    again.data[0] = 2;
    assert_int_equal(conversation_decode(group_id(), slice_of(again.data, row.len), &(struct conversation){0}),
                     SOTTO_ERR_CORRUPT);
    conversation_deinit(&c);
    conversation_deinit(&w.c);
    buffer_deinit(&row);
    buffer_deinit(&again);
}

/* ---- Anything in any order -------------------------------------------------------------- */

static struct record any_record(const struct random_source *random, const struct conversation *c)
{
    uint64_t r = random_u64(random);
    uint8_t a = (uint8_t)(1 + r % 6), b = (uint8_t)(1 + r / 8 % 6);
    uint64_t sequence = c->last_sequence == 0 ? 0 : r / 64 % (c->last_sequence + 2);
    switch (r >> 60) {
    case 0: return (struct record){.kind = RECORD_EXPIRE, .sequence = sequence};
    case 1: return (struct record){.kind = RECORD_PURGE, .sequence = sequence / 4};
    case 2: return typing(a);
    case 3:
    case 4: return change(r >> 59 & 1 ? 1 : a, (uint8_t)(1 + r / 64 % 3), b, (uint8_t)(1 + r / 256 % 3));
    case 5:
    case 6:
    case 7: return marks(a, (uint8_t)(r >> 58 & 1), sequence, r / 4096 % (c->last_sequence + 2));
    default: return message(a, 0, "k", "x");
    }
}

static void conversation__any_records__keep_the_invariants(void **state)
{
    (void)state;
    struct random_seeded random;
    random_seeded_init(&random, 77);
    for (int run = 0; run < 20; run++) {
        struct world w;
        make_group(&w, 3);
        for (int step = 0; step < 400; step++) {
            struct conversation before = w.c;
            uint64_t last = w.c.last_sequence;
            struct applied a = apply(&w, any_record(&random.source, &w.c));
            bool numbered = a.problem == PROBLEM_NONE && (a.events & (APPLY_MESSAGE | APPLY_MEMBERS)) != 0;
            assert_int_equal(w.c.last_sequence, last + numbered);
            assert_true(w.c.first_sequence >= before.first_sequence && w.c.first_sequence <= w.c.last_sequence + 1);
            for (size_t i = 0; i < w.c.members_count; i++) {
                const struct member *m = &w.c.members[i];
                assert_true(m->delivered.sequence <= w.c.last_sequence && m->read.sequence <= w.c.last_sequence);
                assert_true(m->public_read <= m->read.sequence && m->public_read <= m->delivered.sequence);
                assert_true(m->joined_sequence < w.c.last_sequence && m->left_sequence <= w.c.last_sequence);
            }
        }
        conversation_deinit(&w.c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conversation__first_message__makes_both_members),
        cmocka_unit_test(conversation__first_message__wrong_id_or_no_peer_is_refused),
        cmocka_unit_test(conversation__message__from_a_stranger_is_refused),
        cmocka_unit_test(conversation__chain__follows_from_what_was_said),
        cmocka_unit_test(conversation__repeat__first_answer_or_conflict),
        cmocka_unit_test(dedupe_key__differs_by_conversation_user_device_and_id),
        cmocka_unit_test(dedupe_key__begins_with_the_time_of_the_id),
        cmocka_unit_test(watermark__moves__forward_only),
        cmocka_unit_test(watermark__read__implies_delivered),
        cmocka_unit_test(watermark__private_read__tells_nobody_else),
        cmocka_unit_test(watermark__nothing_there__not_found),
        cmocka_unit_test(group__create__creator_owns_it),
        cmocka_unit_test(group__create__twice_or_without_its_creator_is_refused),
        cmocka_unit_test(group__add__sees_from_the_joining_on),
        cmocka_unit_test(group__remove__sees_nothing_after_it),
        cmocka_unit_test(group__rights__owner_admin_member),
        cmocka_unit_test(group__direct__takes_no_members),
        cmocka_unit_test(group__full__takes_no_more),
        cmocka_unit_test(purge__bounds__first_sequence_rises),
        cmocka_unit_test(state__golden__stays_readable),
        cmocka_unit_test(conversation__any_records__keep_the_invariants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
