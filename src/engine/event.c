/* Events and submissions: what travels between the gateway and the engine. */
#include "engine/engine.h"

#include <stdlib.h>

struct event *event_ref(struct event *e)
{
    refcount_ref(&e->refs);
    return e;
}

/* A whole block at least, so that any pool may have it. */
static size_t room_for(size_t encoded_len)
{
    size_t len = sizeof(struct submission) + encoded_len;
    return len < SUBMISSION_BLOCK ? SUBMISSION_BLOCK : len;
}

void event_unref(struct event *e, struct pool *pool)
{
    if (e == NULL || !refcount_unref(&e->refs)) return;
    if (e->recipients != e->near) free(e->recipients);
    if (e->in_submission) {
        struct submission *s = (struct submission *)(void *)((uint8_t *)e - offsetof(struct submission, event));
        pool_give(pool, s, room_for(s->encoded.len));
        return;
    }
    free((void *)(uintptr_t)e->bytes.data);
    free(e);
}

struct submission *submission_create(struct slice encoded, struct pool *pool)
{
    struct submission *s = pool_take(pool, room_for(encoded.len));
    uint8_t *bytes = (uint8_t *)(s + 1);
    memset(s, 0, offsetof(struct submission, event));
    if (encoded.len != 0) memcpy(bytes, encoded.data, encoded.len);
    s->encoded = slice_of(bytes, encoded.len);
    refcount_init(&s->event.refs);
    s->event.in_submission = true;
    s->event.recipients = s->event.near;
    if (record_decode(s->encoded, &s->record) == SOTTO_OK) return s;
    submission_destroy(s, pool);
    return NULL;
}

void submission_destroy(struct submission *s, struct pool *pool)
{
    if (s != NULL) event_unref(&s->event, pool);
}
