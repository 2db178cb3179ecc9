/* Encoded records for the engine's tests, and a mailbox that gets the answers. */
#ifndef SOTTO_TEST_ENGINE_RECORDS_H
#define SOTTO_TEST_ENGINE_RECORDS_H

#include <string.h>

#include "base/limits.h"
#include "engine/engine.h"

static inline struct id test_id(uint8_t kind, uint32_t number)
{
    struct id id = {{kind, 0xa5}};
    for (int i = 0; i < 4; i++) id.bytes[12 + i] = (uint8_t)(number >> (24 - 8 * i));
    return id;
}

struct test_message {
    struct id conversation, sender, peer; /* peer zero: none */
    uint8_t device, flags;
    uint32_t message_number;
    const char *client_msg_id;
    const char *payload;
    uint64_t ts_ms, expires_ms;
};

/* Submits nothing by itself: the caller sets reply_to, deliver and ctx. */
static inline struct submission *submission_of(const struct record *r)
{
    struct buffer bytes;
    buffer_init(&bytes, SOTTO_RECORD_MAX);
    record_encode(r, &bytes);
    struct submission *s = submission_create(buffer_slice(&bytes), NULL);
    buffer_deinit(&bytes);
    SOTTO_ASSERT(s != NULL);
    return s;
}

static inline struct record record_of_message(const struct test_message *t)
{
    struct record r = {.kind = RECORD_MESSAGE, .conversation = t->conversation};
    struct record_message *m = &r.message;
    m->message_id = test_id('m', t->message_number);
    m->sender = t->sender;
    m->sender_device = t->device;
    m->has_peer = !id_is_zero(t->peer);
    m->peer = t->peer;
    m->flags = t->flags;
    m->ts_ms = t->ts_ms;
    m->expires_ms = t->expires_ms;
    m->client_msg_id = slice_str(t->client_msg_id);
    m->type = SLICE_LIT("text");
    m->body_kind = BODY_PAYLOAD;
    m->body = slice_str(t->payload);
    body_hash(BODY_PAYLOAD, m->body, m->payload_hash);
    return r;
}

static inline struct record record_of_marks(struct id conversation, struct id user, uint8_t flags,
                                            uint64_t delivered, uint64_t read)
{
    struct record r = {.kind = RECORD_WATERMARK, .conversation = conversation};
    r.watermark = (struct record_watermark){
        .user = user, .device = 1, .flags = flags, .ts_ms = 5, .delivered = delivered, .read = read};
    return r;
}

static inline struct record record_of_change(struct id conversation, struct id actor, struct id user,
                                             uint8_t change, uint8_t role)
{
    struct record r = {.kind = RECORD_MEMBER, .conversation = conversation};
    r.member = (struct record_member){.actor = actor, .user = user, .ts_ms = 7, .change = change, .role = role};
    return r;
}

/* `entries` takes count * 17 bytes and must live as long as the record. */
static inline struct record record_of_group(struct id conversation, struct id creator, const struct id *members,
                                            size_t count, uint8_t *entries)
{
    struct record r = {.kind = RECORD_CREATE, .conversation = conversation};
    for (size_t i = 0; i < count; i++) {
        memcpy(entries + i * 17, members[i].bytes, ID_LEN);
        entries[i * 17 + ID_LEN] = ROLE_MEMBER;
    }
    r.create = (struct record_create){.creator = creator, .ts_ms = 6, .kind = CONVERSATION_GROUP,
                                      .members_count = count, .members = slice_of(entries, count * 17)};
    return r;
}

#endif
