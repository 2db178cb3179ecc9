/* Frames of the bare relay in and out of a connection; see relay.h. */
#include "relay.h"

#include "base/bytes.h"

#include <errno.h>
#include <sys/socket.h>

bool relay_next(struct relay_end *e, size_t frame_len, struct slice *bytes, uint64_t *number_out)
{
    const uint8_t *at = bytes->data, *end = bytes->data + bytes->len;
    while (e->have < RELAY_NUMBER_LEN && at < end) e->head[e->have++] = *at++;
    size_t rest = frame_len - e->have, some = (size_t)(end - at) < rest ? (size_t)(end - at) : rest;
    e->have += some;
    at += some;
    *bytes = slice_of(at, (size_t)(end - at));
    if (e->have < frame_len) return false;
    e->have = 0;
    *number_out = load_be64(e->head);
    return true;
}

bool relay_write(struct relay_end *e, size_t frame_len, uint8_t *scratch)
{
    while (e->count > 0) {
        size_t frames = RELAY_SCRATCH / frame_len;
        if (e->count < frames) frames = (size_t)e->count;
        for (size_t i = 0; i < frames; i++) store_be64(scratch + i * frame_len, e->first + i);
        ssize_t n = send(e->fd, scratch + e->gone, frames * frame_len - e->gone, MSG_NOSIGNAL);
        if (n < 0) return errno == EAGAIN;
        size_t gone = e->gone + (size_t)n;
        e->first += gone / frame_len;
        e->count -= gone / frame_len;
        e->gone = gone % frame_len;
    }
    return true;
}
