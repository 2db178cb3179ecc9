/* What comes out of the engine: one queue for orders to the transport and
 * events for the screen, so that their order is the order in which they arose.
 *
 * Outputs are staged while an input is worked on and become ready when its
 * transaction is committed: nobody sees what is not durable. Those that carry no
 * bytes (connect, disconnect, a change of phase) never fail: when the heap is
 * empty they come from a small reserve, so that running out of memory can still
 * be told to the owner. The owner drains the queue after each input.
 */
#include "client/client_private.h"

#include <string.h>

void output_queue_init(struct output_queue *q)
{
    q->first = NULL;
    q->last = &q->first;
}

struct output_node *output_new(struct client *c, enum client_output_kind kind, size_t extra)
{
    struct output_node *n = client_alloc(c->memory, sizeof *n + extra);
    if (!n) return NULL;
    n->out.kind = kind;
    n->at = (uint8_t *)(n + 1);
    n->end = n->at + extra;
    return n;
}

struct output_node *output_small(struct client *c, enum client_output_kind kind)
{
    struct output_node *n = output_new(c, kind, 0);
    if (n) return n;
    for (size_t i = 0; i < CLIENT_RESERVED_OUTPUTS; i++) {
        if (c->reserve_used[i]) continue;
        c->reserve_used[i] = true;
        n = &c->reserve[i];
        *n = (struct output_node){.reserved = true};
        n->out.kind = kind;
        return n;
    }
    return NULL; /* the owner has not drained; it will see the last ones */
}

struct output_node *event_new(struct client *c, enum client_event_kind kind, size_t extra)
{
    struct output_node *n = output_new(c, CLIENT_OUT_EVENT, extra);
    if (n) n->out.event.kind = kind;
    return n;
}

struct slice output_copy(struct output_node *n, struct slice bytes)
{
    SOTTO_ASSERT((size_t)(n->end - n->at) >= bytes.len);
    struct slice copy = slice_of(n->at, bytes.len);
    if (bytes.len) memcpy(n->at, bytes.data, bytes.len);
    n->at += bytes.len;
    return copy;
}

void output_stage(struct client *c, struct output_node *n)
{
    if (!n) return;
    n->next = NULL;
    *c->staged.last = n;
    c->staged.last = &n->next;
}

void outputs_release(struct client *c)
{
    if (!c->staged.first) return;
    *c->ready.last = c->staged.first;
    c->ready.last = c->staged.last;
    output_queue_init(&c->staged);
}

void output_free(struct client *c, struct output_node *n)
{
    if (!n) return;
    if (n->reserved)
        c->reserve_used[n - c->reserve] = false;
    else
        client_free(c->memory, n);
}

void outputs_drop(struct client *c, struct output_queue *q)
{
    for (struct output_node *n = q->first, *next; n; n = next) {
        next = n->next;
        output_free(c, n);
    }
    output_queue_init(q);
}

struct buffer frame_begin(struct output_node *n)
{
    size_t room = (size_t)(n->end - n->at);
    return (struct buffer){.data = n->at, .size = room, .max = room};
}

bool frame_end(struct client *c, struct output_node *n, const struct buffer *b)
{
    if (b->overflow) {
        output_free(c, n);
        return false;
    }
    n->out.frame = buffer_slice(b);
    output_stage(c, n);
    return true;
}

const struct client_output *client_poll(struct client *c)
{
    output_free(c, c->taken);
    c->taken = c->ready.first;
    if (!c->taken) return NULL;
    c->ready.first = c->taken->next;
    if (!c->ready.first) c->ready.last = &c->ready.first;
    return &c->taken->out;
}
