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
    free((void *)(uintptr_t)e->bytes.data);
    free(e);
}

struct submission *submission_create(struct buffer *encoded)
{
    struct submission *s = sotto_zalloc(sizeof(*s));
    s->encoded = buffer_slice(encoded);
    buffer_init(encoded, encoded->max);
    if (record_decode(s->encoded, &s->record) == SOTTO_OK) return s;
    submission_destroy(s);
    return NULL;
}

void submission_destroy(struct submission *s)
{
    if (s == NULL) return;
    if (s->event != NULL)
        event_unref(s->event);
    else
        free((void *)(uintptr_t)s->encoded.data);
    free(s);
}
