/* The store port in memory, which can fail; and the names of events. */
#ifndef SOTTO_TEST_CLIENT_FAKE_STORE_H
#define SOTTO_TEST_CLIENT_FAKE_STORE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/client.h"

enum { FAKE_MARKS_MAX = 64, FAKE_QUEUE_MAX = 64 };

/* The store port over arrays; a transaction works on a copy. */
struct fake_queued {
    struct client_queued item;
    uint8_t bytes[512];
};
struct fake_state {
    struct client_mark marks[FAKE_MARKS_MAX];
    size_t marks_count;
    struct fake_queued queue[FAKE_QUEUE_MAX];
    size_t queue_count;
    char cursor[128];
    uint64_t order;
};
struct fake_store {
    struct fake_state committed, working;
    bool open;
    int fail_after; /* operations until one fails; negative: never */
    size_t commits;
    struct client_store port;
};

static inline struct fake_state *fake_now(struct fake_store *s)
{
    return s->open ? &s->working : &s->committed;
}

static inline bool fake_fails(struct fake_store *s)
{
    return s->fail_after >= 0 && s->fail_after-- == 0;
}

static inline enum sotto_err fake_begin(void *ctx)
{
    struct fake_store *s = ctx;
    assert_false(s->open);
    if (fake_fails(s)) return SOTTO_ERR_IO;
    s->working = s->committed;
    /* Slices point into the item itself: make them point into the copy. */
    for (size_t i = 0; i < s->working.queue_count; i++) {
        struct fake_queued *q = &s->working.queue[i];
        q->item.client_msg_id.data = q->bytes;
        q->item.type.data = q->bytes + q->item.client_msg_id.len;
        q->item.payload.data = q->item.type.data + q->item.type.len;
    }
    s->open = true;
    return SOTTO_OK;
}

static inline void fake_take(struct fake_store *s)
{
    s->committed = s->working;
    for (size_t i = 0; i < s->committed.queue_count; i++) {
        struct fake_queued *q = &s->committed.queue[i];
        q->item.client_msg_id.data = q->bytes;
        q->item.type.data = q->bytes + q->item.client_msg_id.len;
        q->item.payload.data = q->item.type.data + q->item.type.len;
    }
}

static inline enum sotto_err fake_commit(void *ctx)
{
    struct fake_store *s = ctx;
    assert_true(s->open);
    if (fake_fails(s)) return SOTTO_ERR_IO;
    fake_take(s);
    s->open = false;
    s->commits++;
    return SOTTO_OK;
}

static inline void fake_rollback(void *ctx)
{
    ((struct fake_store *)ctx)->open = false;
}

static inline enum sotto_err fake_load_marks(void *ctx, bool (*each)(void *arg, const struct client_mark *m), void *arg)
{
    struct fake_state *f = fake_now(ctx);
    if (fake_fails(ctx)) return SOTTO_ERR_IO;
    for (size_t i = 0; i < f->marks_count; i++)
        if (!each(arg, &f->marks[i])) return SOTTO_ERR_FULL;
    return SOTTO_OK;
}

static inline enum sotto_err fake_load_queued(void *ctx, bool (*each)(void *arg, const struct client_queued *q), void *arg)
{
    struct fake_state *f = fake_now(ctx);
    if (fake_fails(ctx)) return SOTTO_ERR_IO;
    for (size_t i = 0; i < f->queue_count; i++)
        if (!each(arg, &f->queue[i].item)) return SOTTO_ERR_FULL;
    return SOTTO_OK;
}

static inline enum sotto_err fake_load_cursor(void *ctx, bool (*each)(void *arg, struct slice cursor), void *arg)
{
    if (fake_fails(ctx)) return SOTTO_ERR_IO;
    return each(arg, slice_str(fake_now(ctx)->cursor)) ? SOTTO_OK : SOTTO_ERR_FULL;
}

static inline enum sotto_err fake_save_cursor(void *ctx, struct slice cursor)
{
    struct fake_state *f = fake_now(ctx);
    assert_true(((struct fake_store *)ctx)->open);
    if (fake_fails(ctx)) return SOTTO_ERR_IO;
    assert_true(cursor.len < sizeof f->cursor);
    if (cursor.len) memcpy(f->cursor, cursor.data, cursor.len);
    f->cursor[cursor.len] = '\0';
    return SOTTO_OK;
}

static inline enum sotto_err fake_save_mark(void *ctx, const struct client_mark *m)
{
    struct fake_state *f = fake_now(ctx);
    assert_true(((struct fake_store *)ctx)->open);
    if (fake_fails(ctx)) return SOTTO_ERR_IO;
    size_t i = 0;
    while (i < f->marks_count && !id_eq(f->marks[i].conversation, m->conversation)) i++;
    assert_true(i < FAKE_MARKS_MAX);
    if (i == f->marks_count) f->marks_count++;
    f->marks[i] = *m;
    return SOTTO_OK;
}

static inline enum sotto_err fake_put_queued(void *ctx, const struct client_queued *q)
{
    struct fake_state *f = fake_now(ctx);
    assert_true(((struct fake_store *)ctx)->open);
    if (fake_fails(ctx)) return SOTTO_ERR_IO;
    assert_true(f->queue_count < FAKE_QUEUE_MAX);
    struct fake_queued *e = &f->queue[f->queue_count++];
    uint8_t *at = e->bytes;
    e->item = *q;
    e->item.order = ++f->order;
    struct slice *parts[] = {&e->item.client_msg_id, &e->item.type, &e->item.payload};
    for (size_t i = 0; i < 3; i++) {
        assert_true(at + parts[i]->len <= e->bytes + sizeof e->bytes);
        memcpy(at, parts[i]->data, parts[i]->len);
        parts[i]->data = at;
        at += parts[i]->len;
    }
    return SOTTO_OK;
}

static inline enum sotto_err fake_remove_queued(void *ctx, struct slice id)
{
    struct fake_state *f = fake_now(ctx);
    assert_true(((struct fake_store *)ctx)->open);
    if (fake_fails(ctx)) return SOTTO_ERR_IO;
    for (size_t i = 0; i < f->queue_count; i++) {
        if (!slice_eq(f->queue[i].item.client_msg_id, id)) continue;
        f->queue_count--;
        for (size_t j = i; j < f->queue_count; j++) {
            f->queue[j] = f->queue[j + 1];
            f->queue[j].item.client_msg_id.data = f->queue[j].bytes;
            f->queue[j].item.type.data = f->queue[j].bytes + f->queue[j].item.client_msg_id.len;
            f->queue[j].item.payload.data = f->queue[j].item.type.data + f->queue[j].item.type.len;
        }
        return SOTTO_OK;
    }
    return SOTTO_OK;
}

static inline void fake_store_init(struct fake_store *s)
{
    *s = (struct fake_store){.fail_after = -1};
    s->port = (struct client_store){fake_begin, fake_commit, fake_rollback, fake_load_marks, fake_load_queued,
                                    fake_load_cursor, fake_save_cursor, fake_save_mark, fake_put_queued,
                                    fake_remove_queued, s};
}

static inline const char *event_name(const struct client_event *e)
{
    static const char *const phases[] = {"idle", "connecting", "greeting", "syncing", "live", "waiting", "ended"};
    switch (e->kind) {
    case CLIENT_EVENT_PHASE: return phases[e->phase];
    case CLIENT_EVENT_MESSAGE: return "message";
    case CLIENT_EVENT_SENT: return "sent";
    case CLIENT_EVENT_FAILED: return "failed";
    case CLIENT_EVENT_DELIVERED: return "delivered";
    case CLIENT_EVENT_READ: return "read";
    case CLIENT_EVENT_EXPIRED: return "expired";
    case CLIENT_EVENT_CONVERSATION: return "conversation";
    case CLIENT_EVENT_TYPING: return "typing";
    case CLIENT_EVENT_PRESENCE: return "presence";
    case CLIENT_EVENT_CAUGHT_UP: return "caught-up";
    case CLIENT_EVENT_HOLE: return "hole";
    case CLIENT_EVENT_BROKEN_CHAIN: return "broken-chain";
    case CLIENT_EVENT_DEVICES: return "devices";
    case CLIENT_EVENT_ACCOUNT: return "account";
    case CLIENT_EVENT_PREKEYS_LOW: return "prekeys-low";
    case CLIENT_EVENT_FLOW: return "flow";
    case CLIENT_EVENT_PROBLEM: return "problem";
    }
    return "?";
}

#endif
