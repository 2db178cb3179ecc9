/* Events and submissions: what travels between the gateway and the engine. */
#include "engine/engine.h"

#include <stdlib.h>

struct event *event_ref(struct event *e)
{
    refcount_ref(&e->refs);
    return e;
}

void event_unref(struct event *e)
{
    if (e == NULL || !refcount_unref(&e->refs)) return;
    if (e->recipients != e->near) free(e->recipients);
    if (e->in_submission) {
        free((uint8_t *)e - offsetof(struct submission, event));
        return;
    }
    free((void *)(uintptr_t)e->bytes.data);
    free(e);
}

struct submission *submission_create(struct slice encoded)
{
    struct submission *s = sotto_alloc(sizeof(*s) + encoded.len);
    uint8_t *bytes = (uint8_t *)(s + 1);
    memset(s, 0, offsetof(struct submission, event));
    if (encoded.len != 0) memcpy(bytes, encoded.data, encoded.len);
    s->encoded = slice_of(bytes, encoded.len);
    refcount_init(&s->event.refs);
    s->event.in_submission = true;
    s->event.recipients = s->event.near;
    if (record_decode(s->encoded, &s->record) == SOTTO_OK) return s;
    submission_destroy(s);
    return NULL;
}

void submission_destroy(struct submission *s)
{
    if (s != NULL) event_unref(&s->event);
}
