/* One record of every kind, always the same bytes. */
#ifndef SOTTO_TEST_WIRE_SAMPLES_H
#define SOTTO_TEST_WIRE_SAMPLES_H

#include "base/limits.h"
#include "wire/message.h"

#include <sodium.h>

static inline struct id sample_id(uint8_t n)
{
    struct id id;
    for (unsigned i = 0; i < ID_LEN; i++) id.bytes[i] = (uint8_t)(n * 16 + i);
    return id;
}

/* Two envelopes for user 2 and one for user 3. */
static inline void sample_envelopes(struct buffer *body)
{
    static const uint8_t one[] = {1, 2, 3}, two[] = {4}, three[200] = {5};
    struct envelope e[] = {
        {sample_id(2), 1, 2, slice_of(one, sizeof(one))},
        {sample_id(2), 7, 3, slice_of(two, sizeof(two))},
        {sample_id(3), 127, 2, slice_of(three, sizeof(three))},
    };
    write_varint(body, 3);
    for (size_t i = 0; i < 3; i++) envelope_encode(&e[i], body);
}

static inline struct record sample_message(void)
{
    struct record r = {.kind = RECORD_MESSAGE, .conversation = sample_id(9)};
    r.message = (struct record_message){
        .message_id = sample_id(4), .sender = sample_id(1), .sender_device = 5, .ts_ms = 1700000000123,
        .body_kind = BODY_PAYLOAD, .client_msg_id = SLICE_LIT("c-1"), .type = SLICE_LIT("text"),
        .body = SLICE_LIT("a payload"),
    };
    body_hash(BODY_PAYLOAD, r.message.body, r.message.payload_hash);
    return r;
}

/* With everything that a message can have; body: an envelope list that lives
 * as long as the record. */
static inline struct record sample_message_full(struct slice body)
{
    struct record r = sample_message();
    struct record_message *m = &r.message;
    m->expires_ms = 1700000600123;
    m->flags = MESSAGE_URGENT | MESSAGE_WITHHELD;
    m->has_reply_to = m->has_peer = true;
    m->reply_to = sample_id(6);
    m->peer = sample_id(2);
    m->media = SLICE_LIT("media-handle");
    m->body_kind = BODY_ENVELOPES;
    m->body = body;
    body_hash(BODY_ENVELOPES, body, m->payload_hash);
    return r;
}

static inline struct record sample_watermark(void)
{
    struct record r = {.kind = RECORD_WATERMARK, .conversation = sample_id(9)};
    r.watermark = (struct record_watermark){
        .user = sample_id(2), .device = 3, .flags = WATERMARK_PRIVATE, .ts_ms = 1700000000456, .delivered = 300, .read = 5};
    return r;
}

static inline struct record sample_sequence(enum record_kind kind)
{
    return (struct record){.kind = kind, .conversation = sample_id(9), .sequence = UINT64_MAX};
}

/* `entries` holds 3 * (ID_LEN + 1) bytes. */
static inline struct record sample_create(uint8_t *entries)
{
    for (uint8_t i = 0; i < 3; i++) {
        struct id user = sample_id((uint8_t)(i + 1));
        memcpy(entries + i * (ID_LEN + 1), user.bytes, ID_LEN);
        entries[i * (ID_LEN + 1) + ID_LEN] = (uint8_t)(ROLE_OWNER - i);
    }
    struct record r = {.kind = RECORD_CREATE, .conversation = sample_id(9)};
    r.create = (struct record_create){.creator = sample_id(1), .ts_ms = 1700000000000, .kind = CONVERSATION_GROUP,
                                      .members_count = 3, .members = slice_of(entries, 3 * (ID_LEN + 1))};
    return r;
}

static inline struct record sample_member(void)
{
    struct record r = {.kind = RECORD_MEMBER, .conversation = sample_id(9)};
    r.member = (struct record_member){
        .actor = sample_id(1), .user = sample_id(8), .ts_ms = 1700000000789, .change = MEMBER_ADD, .role = ROLE_ADMIN};
    return r;
}

static inline struct record sample_typing(void)
{
    struct record r = {.kind = RECORD_TYPING, .conversation = sample_id(9)};
    r.typing.user = sample_id(2);
    r.typing.device = 3;
    r.typing.started = true;
    return r;
}

#endif
