/* A client engine with a store in memory and a scripted server beside it. */
#ifndef SOTTO_TEST_CLIENT_FIXTURE_H
#define SOTTO_TEST_CLIENT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/text.h"
#include "client/client_private.h"
#include "unit/client/fake_store.h"

/* Memory that fails at the k-th allocation. */
struct fake_memory {
    struct client_memory port;
    int fail_after; /* negative: never */
    bool failed;
};

static inline void *fake_resize(void *ctx, void *old, size_t size)
{
    struct fake_memory *m = ctx;
    if (size == 0) {
        free(old);
        return NULL;
    }
    if (m->fail_after >= 0 && m->fail_after-- == 0) {
        m->failed = true;
        return NULL;
    }
    return realloc(old, size);
}

/* A conversation as the server has it. */
struct script {
    struct id conversation, peer;
    uint64_t sequence;
    uint8_t chain[HASH_LEN];
};

struct fixture {
    struct fake_store store;
    struct fake_memory memory;
    struct random_seeded random;
    struct client *client;
    struct id user;
    uint64_t now_ms;
    struct buffer frames;   /* what the client sent, one per line */
    struct buffer events;   /* names of events, space after each */
    struct client_event last; /* of the last event; its slices are gone */
    char last_text[256];
    bool connected;
    unsigned disconnect_code;
    size_t messages;
    uint64_t last_sequence;
};

/* Takes all outputs. */
static inline void drain(struct fixture *f)
{
    const struct client_output *o;
    while ((o = client_poll(f->client))) {
        switch (o->kind) {
        case CLIENT_OUT_CONNECT: f->connected = true; break;
        case CLIENT_OUT_DISCONNECT:
            f->connected = false;
            f->disconnect_code = o->close_code;
            break;
        case CLIENT_OUT_FRAME:
            buffer_append_slice(&f->frames, o->frame);
            buffer_append_byte(&f->frames, '\n');
            break;
        case CLIENT_OUT_EVENT:
            buffer_append_str(&f->events, event_name(&o->event));
            buffer_append_byte(&f->events, ' ');
            f->last = o->event;
            if (o->event.kind == CLIENT_EVENT_MESSAGE) {
                f->messages++;
                f->last_sequence = o->event.sequence;
                size_t len = o->event.message.payload.len < 255 ? o->event.message.payload.len : 255;
                memcpy(f->last_text, o->event.message.payload.data, len);
                f->last_text[len] = '\0';
            }
            break;
        }
    }
}

static inline bool saw(struct buffer *b, const char *text)
{
    bool found = b->len && memmem(b->data, b->len, text, strlen(text));
    return found;
}

static inline void forget(struct fixture *f)
{
    buffer_clear(&f->frames);
    buffer_clear(&f->events);
}

static inline void feed(struct fixture *f, const char *text)
{
    client_frame(f->client, slice_str(text), f->now_ms);
    drain(f);
}

static inline void pass_time(struct fixture *f, uint64_t ms)
{
    f->now_ms += ms;
    client_tick(f->client, f->now_ms);
    drain(f);
}

static inline enum sotto_err make_client(struct fixture *f)
{
    struct client_options options = {.token = SLICE_LIT("sot_token"), .user = f->user, .agent = SLICE_LIT("test/1"),
                                     .store = &f->store.port, .random = &f->random.source,
                                     .memory = &f->memory.port};
    return client_create(&options, &f->client);
}

static inline int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    if (!f) return -1;
    fake_store_init(&f->store);
    f->memory.fail_after = -1;
    f->memory.port = (struct client_memory){fake_resize, &f->memory};
    random_seeded_init(&f->random, 7);
    memset(f->user.bytes, 0xaa, ID_LEN);
    buffer_init(&f->frames, 1 << 20);
    buffer_init(&f->events, 1 << 20);
    f->now_ms = 1000;
    *state = f;
    return make_client(f) == SOTTO_OK ? 0 : -1;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    client_destroy(&f->client);
    buffer_deinit(&f->frames);
    buffer_deinit(&f->events);
    free(f);
    return 0;
}

static inline void script_init(struct script *s, const struct fixture *f, uint8_t peer)
{
    *s = (struct script){0};
    memset(s->peer.bytes, peer, ID_LEN);
    s->conversation = id_direct_conversation(f->user, s->peer);
}

static inline void put_hash(struct buffer *b, const char *name, const uint8_t hash[HASH_LEN])
{
    buffer_printf(b, ",\"%s\":\"", name);
    buffer_append_base64(b, slice_of(hash, HASH_LEN));
    buffer_append_str(b, "\"");
}

/* The next message of the conversation as the server would send it, appended to
 * `out`. own: 0 from the peer, else from that device of ours. */
static inline void script_message(struct script *s, const struct fixture *f, const char *text, unsigned own,
                           const char *client_msg_id, const char *cursor, struct buffer *out)
{
    struct id message = {{0}}, sender = own ? f->user : s->peer;
    uint8_t hash[HASH_LEN];
    s->sequence++;
    message.bytes[0] = s->peer.bytes[0];
    message.bytes[15] = (uint8_t)s->sequence;
    body_hash(BODY_PAYLOAD, slice_str(text), hash);
    chain_next(s->chain, s->sequence, message, sender, hash, s->chain);
    buffer_append_str(out, "{\"type\":\"message.new\",\"conversationId\":\"");
    buffer_append_id(out, s->conversation);
    buffer_append_str(out, "\",\"conversationKind\":\"direct\",\"messageId\":\"");
    buffer_append_id(out, message);
    buffer_printf(out, "\",\"sequence\":%llu", (unsigned long long)s->sequence);
    put_hash(out, "chain", s->chain);
    put_hash(out, "payloadHash", hash);
    buffer_append_str(out, ",\"senderId\":\"");
    buffer_append_id(out, sender);
    buffer_printf(out, "\",\"senderDeviceId\":%u,\"messageType\":\"text\",\"payload\":\"", own ? own : 9);
    buffer_append_base64(out, slice_str(text));
    buffer_append_str(out, "\",\"ts\":1790000000000");
    if (client_msg_id) buffer_printf(out, ",\"clientMsgId\":\"%s\"", client_msg_id);
    if (cursor) buffer_printf(out, ",\"cursor\":\"%s\"", cursor);
    buffer_append_str(out, "}");
}

/* Feeds the next message at once. */
static inline void arrive(struct fixture *f, struct script *s, const char *text, const char *cursor)
{
    struct buffer b;
    buffer_init(&b, 1 << 16);
    script_message(s, f, text, 0, NULL, cursor, &b);
    client_frame(f->client, buffer_slice(&b), f->now_ms);
    buffer_deinit(&b);
    drain(f);
}

static inline void hello(struct fixture *f)
{
    char id[ID_TEXT_LEN + 1], text[512];
    id_format(f->user, id);
    (void)snprintf(text, sizeof text,
                   "{\"type\":\"hello\",\"userId\":\"%s\",\"deviceId\":3,\"serverTime\":1,\"version\":\"x\","
                   "\"resumeToken\":\"res_1\",\"heartbeatMs\":30000,\"idleTimeoutMs\":90000}", id);
    feed(f, text);
}

/* From nothing to live. */
static inline void go_live(struct fixture *f)
{
    client_start(f->client, f->now_ms);
    drain(f);
    assert_true(f->connected);
    client_opened(f->client, f->now_ms);
    drain(f);
    hello(f);
    feed(f, "{\"type\":\"sync.done\",\"cursor\":\"c0\"}");
    assert_int_equal(client_phase(f->client), CLIENT_LIVE);
    forget(f);
}

/* conversation.updated: `delivered` to the own user, on another device. */
static inline void announce(struct fixture *f, const struct script *s, unsigned delivered, unsigned last)
{
    struct buffer b;
    buffer_init(&b, 1 << 16);
    buffer_append_str(&b, "{\"type\":\"conversation.updated\",\"conversationId\":\"");
    buffer_append_id(&b, s->conversation);
    buffer_printf(&b, "\",\"kind\":\"direct\",\"lastSequence\":%u,\"members\":[{\"userId\":\"", last);
    buffer_append_id(&b, f->user);
    buffer_printf(&b, "\",\"role\":\"member\",\"delivered\":%u,\"read\":%u}]}", delivered, delivered);
    client_frame(f->client, buffer_slice(&b), f->now_ms);
    drain(f);
    buffer_deinit(&b);
}

/* The answer to a pull: the next messages of the script. own: NULL, else the clientMsgId under
 * which our device 3 has sent the last of them. */
static inline void answer_pull(struct fixture *f, struct script *s, const char *const *texts, size_t count,
                               const char *own)
{
    struct buffer b;
    buffer_init(&b, 1 << 16);
    buffer_append_str(&b, "{\"type\":\"history\",\"re\":\"history:");
    buffer_append_id(&b, s->conversation);
    buffer_append_str(&b, "\",\"messages\":[");
    for (size_t i = 0; i < count; i++) {
        bool ours = own != NULL && i + 1 == count;
        if (i) buffer_append_str(&b, ",");
        script_message(s, f, texts[i], ours ? 3 : 0, ours ? own : NULL, NULL, &b);
    }
    buffer_append_str(&b, "],\"hasMore\":false}");
    client_frame(f->client, buffer_slice(&b), f->now_ms);
    buffer_deinit(&b);
    drain(f);
}

static inline void refuse_pull(struct fixture *f, const struct script *s, const char *code, unsigned retry_ms)
{
    char id[ID_TEXT_LEN + 1], text[256];
    id_format(s->conversation, id);
    (void)snprintf(text, sizeof text,
                   "{\"type\":\"error\",\"re\":\"history:%s\",\"code\":\"%s\",\"message\":\"x\",\"retryAfterMs\":%u}",
                   id, code, retry_ms);
    feed(f, text);
}

#endif
