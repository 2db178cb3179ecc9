/* An engine on the store in memory, driven turn by turn, with a clock that
 * stands still and faults on demand. */
#ifndef SOTTO_TEST_ENGINE_FIXTURE_H
#define SOTTO_TEST_ENGINE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "engine/engine.h"
#include "engine/inbox.h"
#include "store/check.h"
#include "store/store_memory.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { START_MS = 1000000000 };

struct fixture {
    struct clock_manual clock;
    struct random_seeded random;
    struct metrics *metrics;
    struct store *store;
    struct engine *engine;
    struct mailbox replies;
    uint64_t retention_days;
    size_t cache_conversations;
    /* What the next calls of the store do, in order; NONE after them. */
    enum store_fault write_faults[8], read_faults[8];
    size_t write_faults_count, read_faults_count;
    /* Published and not yet looked at; references are held. */
    struct event *events[4096];
    size_t events_count;
    bool woken_early; /* the replies' eventfd was written before the events were told */
    uint64_t next_message;
    uint64_t problems; /* that store_check found */
};

static inline enum store_fault fixture_fault(void *ctx, bool write)
{
    struct fixture *f = ctx;
    enum store_fault *faults = write ? f->write_faults : f->read_faults;
    size_t *count = write ? &f->write_faults_count : &f->read_faults_count;
    if (*count == 0) return STORE_FAULT_NONE;
    enum store_fault next = faults[0];
    memmove(faults, faults + 1, --*count * sizeof(faults[0]));
    return next;
}

static inline void fixture_publish(void *ctx, struct event *const *events, size_t count)
{
    struct fixture *f = ctx;
    struct pollfd replies = {.fd = f->replies.eventfd, .events = POLLIN};
    f->woken_early |= poll(&replies, 1, 0) == 1;
    for (size_t i = 0; i < count; i++) {
        assert_true(f->events_count < sizeof(f->events) / sizeof(f->events[0]));
        f->events[f->events_count++] = event_ref(events[i]);
    }
}

static inline void fixture_forget_events(struct fixture *f)
{
    for (size_t i = 0; i < f->events_count; i++) event_unref(f->events[i], NULL);
    f->events_count = 0;
}

static inline void fixture_start_with(struct fixture *f, const struct clock_source *clock)
{
    struct engine_options options = {
        .store = f->store, .clock = clock, .random = &f->random.source, .metrics = f->metrics,
        .publish = fixture_publish, .publish_ctx = f, .retention_days = f->retention_days,
        .cache_conversations = f->cache_conversations, .housekeeping_ms = 1000,
    };
    struct buffer why;
    buffer_init(&why, 1024);
    assert_int_equal(engine_create(&options, &why, &f->engine), SOTTO_OK);
    buffer_deinit(&why);
}

static inline void fixture_start(struct fixture *f) { fixture_start_with(f, &f->clock.source); }

/* What a crash leaves: committed rows, no engine, no events. */
static inline void fixture_crash(struct fixture *f)
{
    engine_destroy(&f->engine);
    fixture_forget_events(f);
    f->store = store_memory_reopen(&f->store, fixture_fault, f);
    fixture_start(f);
}

static inline int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    if (f == NULL) return -1;
    clock_manual_init(&f->clock, START_MS);
    random_seeded_init(&f->random, 1);
    f->metrics = metrics_create();
    f->store = store_memory_create(fixture_fault, f);
    if (mailbox_init(&f->replies, 1 << 20) != SOTTO_OK) return -1;
    fixture_start(f);
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    engine_destroy(&f->engine);
    fixture_forget_events(f);
    store_close(&f->store);
    mailbox_deinit(&f->replies);
    metrics_destroy(&f->metrics);
    free(f);
    return 0;
}

static inline struct id user_id(unsigned n)
{
    struct id id = {{0}};
    id.bytes[0] = (uint8_t)(n >> 8);
    id.bytes[1] = (uint8_t)n;
    id.bytes[15] = 1;
    return id;
}

/* ---- Records --------------------------------------------------------------- */

/* To a peer: the direct conversation of both. `key` and `payload` are C texts
 * that live as long as the record. */
static inline struct record message_to(struct fixture *f, unsigned from, unsigned to, const char *key,
                                       const char *payload)
{
    struct record r = {.kind = RECORD_MESSAGE,
                       .conversation = id_direct_conversation(user_id(from), user_id(to))};
    r.message = (struct record_message){
        .message_id = id_time_ordered(&f->random.source, f->clock.wall_ms), .sender = user_id(from), .sender_device = 1,
        .has_peer = true, .peer = user_id(to), .body_kind = BODY_PAYLOAD, .ts_ms = f->clock.wall_ms,
        .client_msg_id = slice_str(key), .type = SLICE_LIT("text"), .body = slice_str(payload)};
    body_hash(BODY_PAYLOAD, r.message.body, r.message.payload_hash);
    return r;
}

static inline struct record marks_of(const struct fixture *f, struct id conversation, unsigned user, uint64_t delivered,
                                     uint64_t read, uint8_t flags)
{
    struct record r = {.kind = RECORD_WATERMARK, .conversation = conversation};
    r.watermark = (struct record_watermark){.user = user_id(user), .device = 1, .flags = flags,
                                            .ts_ms = f->clock.wall_ms, .delivered = delivered, .read = read};
    return r;
}

/* A group of the users 1..count; the first is its owner. */
static inline struct record group_of(const struct fixture *f, struct id conversation, unsigned count, uint8_t *entries)
{
    for (unsigned i = 0; i < count; i++) {
        struct id user = user_id(i + 1);
        memcpy(entries + i * (ID_LEN + 1), user.bytes, ID_LEN);
        entries[i * (ID_LEN + 1) + ID_LEN] = ROLE_MEMBER;
    }
    struct record r = {.kind = RECORD_CREATE, .conversation = conversation};
    r.create = (struct record_create){.creator = user_id(1), .ts_ms = f->clock.wall_ms, .kind = CONVERSATION_GROUP,
                                      .members_count = count, .members = slice_of(entries, count * (ID_LEN + 1))};
    return r;
}

static inline struct record member_change(const struct fixture *f, struct id conversation, unsigned actor,
                                          unsigned user, uint8_t change, uint8_t role)
{
    struct record r = {.kind = RECORD_MEMBER, .conversation = conversation};
    r.member = (struct record_member){
        .actor = user_id(actor), .user = user_id(user), .ts_ms = f->clock.wall_ms, .change = change, .role = role};
    return r;
}

/* ---- Submitting --------------------------------------------------------------- */

static inline void submit(struct fixture *f, const struct record *r)
{
    struct buffer bytes;
    buffer_init(&bytes, SOTTO_RECORD_MAX);
    record_encode(r, &bytes);
    struct submission *s = submission_create(buffer_slice(&bytes), NULL);
    buffer_deinit(&bytes);
    assert_non_null(s);
    s->reply_to = &f->replies;
    assert_true(engine_submit(f->engine, s));
}

static inline void turn(struct fixture *f)
{
    while (engine_turn(f->engine) != 0) {}
}

/* The answer to the oldest submission that has one. */
static inline size_t take_answers(struct fixture *f, struct applied *answers, size_t max)
{
    size_t count = 0;
    for (struct mail *m = mailbox_take(&f->replies), *next; m != NULL; m = next) {
        struct submission *s = (struct submission *)(void *)m;
        next = m->next;
        assert_true(count < max);
        answers[count++] = s->answer;
        submission_destroy(s, NULL);
    }
    return count;
}

/* Submits one record, lets the engine work, returns the answer. */
static inline struct applied ask(struct fixture *f, const struct record *r)
{
    struct applied answer;
    submit(f, r);
    turn(f);
    assert_int_equal(take_answers(f, &answer, 1), 1);
    return answer;
}

/* One message that must be stored; returns its sequence. */
static inline uint64_t send(struct fixture *f, unsigned from, unsigned to, const char *payload)
{
    char key[32];
    snprintf(key, sizeof(key), "auto-%" PRIu64, f->next_message++);
    struct record r = message_to(f, from, to, key, payload);
    struct applied a = ask(f, &r);
    assert_int_equal(a.problem, PROBLEM_NONE);
    assert_false(a.repeated);
    return a.sequence;
}

/* ---- Looking --------------------------------------------------------------- */

static inline void fixture_found(void *ctx, const char *sentence)
{
    struct fixture *f = ctx;
    f->problems++;
    fprintf(stderr, "store_check: %s\n", sentence);
}

static inline void assert_store_clean(struct fixture *f)
{
    struct store_report report;
    assert_int_equal(store_check(f->store, fixture_found, f, &report), SOTTO_OK);
    assert_int_equal(report.problems, 0);
}

static inline size_t rows_of(struct fixture *f, enum store_family family)
{
    size_t count = 0;
    struct store_iter *it = store_iter_create(f->store, family);
    for (store_iter_seek(it, slice_of("", 0)); store_iter_valid(it); store_iter_next(it)) count++;
    store_iter_destroy(&it);
    return count;
}

/* The sum of all engines that there were; the counter has no labels. */
static inline uint64_t counter_of(struct fixture *f, const char *name)
{
    char line[96];
    struct buffer text;
    uint64_t sum = 0;
    int len = snprintf(line, sizeof(line), "\n%s ", name);
    buffer_init(&text, 1 << 20);
    metrics_write(f->metrics, &text);
    buffer_append_byte(&text, 0);
    for (const char *at = (const char *)text.data; (at = strstr(at, line)) != NULL; at += len)
        sum += strtoull(at + len, NULL, 10);
    buffer_deinit(&text);
    return sum;
}

#endif
