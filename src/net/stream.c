/* Streams: non-blocking sockets between the loop and their owners.
 *
 * READING. Descriptors are watched edge-triggered for everything, once, when
 * the stream starts; no epoll_ctl follows. A read that returns less than it
 * asked for has emptied the socket, and the next byte brings a new edge, so one
 * message costs one recv and never one that fails with EAGAIN. The exceptions:
 * after EPOLLRDHUP the end of the stream is read too, and a paused stream
 * remembers in STREAM_READABLE that it owes a read. A peer that sends faster
 * than READS_PER_TURN buffers a turn waits for the others.
 *
 * WRITING. Bytes collect in the output queue; the first of a turn defers a
 * flush, which makes one send. When the kernel takes less, STREAM_BLOCKED stands
 * until EPOLLOUT, which needs no registering either. A long queue gives memory back
 * while it is read, whenever it is compacted: a few bytes that nobody reads do not
 * keep what was once queued before them.
 *
 * ENDING. A stream ends in two steps: stream_end closes the descriptor at once
 * and marks it dead; `closed` and the freeing come from deferred work, so the
 * owner is never called from inside its own call and no callback on the stack
 * loses its stream. stream_close is gentle: the queue goes out, then our side
 * is shut (with close_notify under TLS), and the descriptor stays until the
 * peer's end has been read or the linger time is over; closing earlier, with
 * bytes from the peer unread, would make the kernel send a reset that can eat
 * the last answer on its way.
 *
 * CUTTING a reader that is too slow: stream_cut drops the queue and leaves the
 * rest of the unit (a frame) that the kernel has in part, so that what the owner
 * says last still reaches a peer that reads on. Where units begin is told by the
 * bytes: from a mark (`unit` in the queue) that is known to be such a place, the
 * owner measures one after the other. The mark moves along only when the queue is
 * compacted or cut, so nobody pays for it who is not slow.
 *
 * Under TLS the same functions move ciphertext, and tls.c stands between them
 * and the owner.
 */
#include "net/stream_private.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    READS_PER_TURN = 2,
    LINGER_MS_MAX = 60 * 1000,
    QUEUE_KEEP = 16 * 1024, /* memory that a queue which is not empty keeps in any case */
    QUEUE_SPARE = 4,        /* past that, at most so many times what is left after compacting */
};

static void deferred_run(struct deferred *d, struct loop *loop);
static void stream_ready(struct watch *w, struct loop *loop, uint32_t events);

void streams_init(struct slab *s) { slab_init(s, sizeof(struct stream)); }

struct stream *stream_create(struct loop *loop, int fd)
{
    struct stream *s = slab_take(loop_streams(loop));
    s->watch.ready = stream_ready;
    s->watch.fd = fd;
    s->loop = loop;
    s->deferred.run = deferred_run;
    return s;
}

void stream_discard(struct stream *s)
{
    loop_defer_cancel(s->loop, &s->deferred);
    stream_timer_stop(s);
    tls_destroy(s->tls, s->loop);
    output_give_back(s->loop, s->out);
    if (s->watch.fd >= 0) close(s->watch.fd);
    slab_give(s);
}

void stream_opened(struct stream *s)
{
    if (s->owner->opened != NULL && !(s->watch.flags & (STREAM_CLOSING | STREAM_DEAD))) s->owner->opened(s, s->ctx);
}

void stream_start(struct stream *s)
{
    if (loop_watch(s->loop, &s->watch, STREAM_EVENTS) != SOTTO_OK) {
        stream_end(s, STREAM_END_ERROR);
    } else if (s->tls != NULL) {
        s->watch.flags |= STREAM_SHAKING;
        stream_timer_start(s, STREAM_HANDSHAKE_MS);
    } else {
        stream_opened(s);
    }
}

static void set_why(struct stream *s, enum stream_end why)
{
    s->watch.flags = (s->watch.flags & ((1u << STREAM_WHY_SHIFT) - 1)) | (uint32_t)why << STREAM_WHY_SHIFT;
}

static enum stream_end get_why(const struct stream *s)
{
    return (enum stream_end)(s->watch.flags >> STREAM_WHY_SHIFT);
}

void stream_end(struct stream *s, enum stream_end why)
{
    if (s->watch.flags & STREAM_DEAD) return;
    set_why(s, why);
    s->watch.flags |= STREAM_DEAD;
    stream_timer_stop(s);
    if (s->watch.fd >= 0) {
        loop_forget(s->loop, &s->watch);
        close(s->watch.fd);
        s->watch.fd = -1;
    }
    loop_defer(s->loop, &s->deferred);
}

/* --- Timer: handshake, connecting, lingering; never two at once. --- */

static void timer_fired(struct loop_timer *t, struct loop *loop)
{
    (void)loop;
    struct output *out = (struct output *)(void *)((uint8_t *)t - offsetof(struct output, timer));
    struct stream *s = out->stream;
    if (s->watch.flags & STREAM_CLOSING)
        stream_end(s, get_why(s));
    else if (s->watch.flags & STREAM_CONNECTING)
        connect_timeout(s);
    else
        stream_end(s, STREAM_END_ERROR);
}

struct output *stream_attach_output(struct stream *s)
{
    if (s->out == NULL) {
        s->out = output_take(s->loop);
        s->out->stream = s;
        s->out->timer.fired = timer_fired;
    }
    return s->out;
}

void stream_timer_start(struct stream *s, uint64_t delay_ms)
{
    loop_timer_start(s->loop, &stream_attach_output(s)->timer, delay_ms);
}

void stream_timer_stop(struct stream *s)
{
    if (s->out != NULL) loop_timer_stop(s->loop, &s->out->timer);
}

/* --- Reading --- */

void stream_peer_done(struct stream *s)
{
    if (s->watch.flags & STREAM_DEAD) return;
    s->watch.flags |= STREAM_PEER_DONE;
    if (s->watch.flags & STREAM_CLOSING) {
        if (s->watch.flags & STREAM_SHUT) stream_end(s, get_why(s));
    } else if (stream_queued(s) == 0 || (s->watch.flags & STREAM_SHAKING)) {
        stream_end(s, STREAM_END_EOF);
    } else {
        set_why(s, STREAM_END_EOF);
        s->watch.flags |= STREAM_CLOSING;
        stream_timer_start(s, STREAM_EOF_LINGER_MS);
        loop_defer(s->loop, &s->deferred);
    }
}

static void deliver(struct stream *s, uint8_t *data, size_t len)
{
    if (s->tls != NULL)
        tls_received(s, data, len);
    else if (!(s->watch.flags & STREAM_CLOSING))
        s->owner->received(s, s->ctx, data, len);
}

/* A stream that is paused: it may never be read again, and epoll says it only once. */
static void end_if_broken(struct stream *s)
{
    if (s->watch.flags & STREAM_BROKEN) stream_end(s, STREAM_END_ERROR);
}

static void stream_read(struct stream *s)
{
    uint8_t *memory = s->tls != NULL ? loop_cipher_memory(s->loop) : loop_receive_memory(s->loop);
    size_t size = s->tls != NULL ? LOOP_CIPHER_LEN : LOOP_SCRATCH_LEN;
    for (int reads = 0; reads < READS_PER_TURN;) {
        ssize_t n = recv(s->watch.fd, memory, size, 0);
        if (n > 0) {
            reads++;
            bool drained = (size_t)n < size && !(s->watch.flags & STREAM_HUNG);
            if (drained) s->watch.flags &= ~(uint32_t)STREAM_READABLE;
            deliver(s, memory, (size_t)n);
            if (s->watch.flags & STREAM_PAUSED) end_if_broken(s);
            if (drained || (s->watch.flags & (STREAM_DEAD | STREAM_PAUSED))) return;
        } else if (n == 0) {
            s->watch.flags &= ~(uint32_t)STREAM_READABLE;
            stream_peer_done(s);
            return;
        } else if (errno == EAGAIN) {
            s->watch.flags &= ~(uint32_t)STREAM_READABLE;
            return;
        } else if (errno != EINTR) {
            stream_end(s, STREAM_END_ERROR);
            return;
        }
    }
    s->watch.flags |= STREAM_READ_LATER;
    loop_defer(s->loop, &s->deferred);
}

static void stream_ready(struct watch *w, struct loop *loop, uint32_t events)
{
    struct stream *s = (struct stream *)(void *)((uint8_t *)w - offsetof(struct stream, watch));
    if (s->watch.flags & STREAM_CONNECTING) {
        connect_event(s);
        return;
    }
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) s->watch.flags |= STREAM_HUNG;
    if (events & (EPOLLHUP | EPOLLERR)) s->watch.flags |= STREAM_BROKEN;
    if ((events & EPOLLOUT) && (s->watch.flags & STREAM_BLOCKED)) {
        s->watch.flags &= ~(uint32_t)STREAM_BLOCKED;
        loop_defer(loop, &s->deferred);
    }
    if (!(events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))) return;
    s->watch.flags |= STREAM_READABLE;
    if (!(s->watch.flags & STREAM_PAUSED)) stream_read(s);
    else end_if_broken(s);
}

/* --- Writing --- */

/* Gives the memory of an emptied queue back, unless its timer runs. */
static void release_output(struct stream *s, struct output **queue)
{
    struct output *out = *queue;
    if (out == NULL) return;
    out->sent = 0;
    out->unit = 0;
    if (timer_running(&out->timer.timer)) {
        if (out->bytes.size > QUEUE_KEEP) buffer_deinit(&out->bytes);
        buffer_clear(&out->bytes);
        return;
    }
    *queue = NULL;
    output_give_back(s->loop, out);
}

/* Everything queued is with the kernel. */
static void all_sent(struct stream *s)
{
    if (!(s->watch.flags & STREAM_CLOSING)) {
        if (!(s->watch.flags & STREAM_OVER_LOW) || (s->watch.flags & STREAM_SHAKING)) return;
        s->watch.flags &= ~(uint32_t)STREAM_OVER_LOW;
        if (s->owner->drained != NULL) s->owner->drained(s, s->ctx);
        return;
    }
    if (!(s->watch.flags & STREAM_SHUT)) {
        s->watch.flags |= STREAM_SHUT;
        if (s->tls != NULL) {
            tls_shut(s);
            loop_defer(s->loop, &s->deferred);
            return;
        }
    }
    shutdown(s->watch.fd, SHUT_WR);
    if (s->watch.flags & STREAM_PEER_DONE) stream_end(s, get_why(s));
}

/* Moves the mark to the first unit that has not begun to go out. */
static void unit_advance(struct stream *s, struct output *out)
{
    if (s->owner->unit == NULL) return;
    while (out->unit < out->sent) {
        size_t left = out->bytes.len - out->unit;
        size_t len = s->owner->unit(s, s->ctx, slice_of(out->bytes.data + out->unit, left));
        SOTTO_ASSERT(len > 0 && len <= left);
        out->unit += len;
    }
}

/* Forgets what was sent, and gives back what it took if that is much. Moving costs at
 * most as much as was sent. */
static void compact(struct stream *s, struct output *out)
{
    if (out->sent == 0 || out->sent < output_left(out)) return;
    if (out == s->out) unit_advance(s, out);
    buffer_consume(&out->bytes, out->sent);
    out->unit = out->unit > out->sent ? out->unit - out->sent : 0;
    out->sent = 0;
    size_t twice = 2 * out->bytes.len;
    if (out->bytes.size > QUEUE_KEEP && out->bytes.size / QUEUE_SPARE > out->bytes.len)
        buffer_shrink(&out->bytes, twice > QUEUE_KEEP ? twice : QUEUE_KEEP);
}

/* One send of the whole queue. True when the kernel took all of it. */
static bool send_queue(struct stream *s, struct output *out)
{
    size_t left = output_left(out);
    ssize_t n;
    do
        n = send(s->watch.fd, out->bytes.data + out->sent, left, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN) {
        stream_end(s, STREAM_END_ERROR);
        return false;
    }
    if (n > 0) out->sent += (size_t)n;
    if (n == (ssize_t)left) return true;
    s->watch.flags |= STREAM_BLOCKED | STREAM_OVER_LOW;
    compact(s, out);
    return false;
}

static void flush(struct stream *s)
{
    if (s->watch.flags & (STREAM_CONNECTING | STREAM_BLOCKED | STREAM_DEAD)) return;
    if (s->out != NULL && s->out->bytes.overflow) {
        stream_end(s, STREAM_END_ERROR);
        return;
    }
    if ((s->watch.flags & STREAM_SHUT) && s->out != NULL) {
        /* Appended after the end: nobody can receive it. */
        buffer_clear(&s->out->bytes);
        s->out->sent = s->out->unit = 0;
    }
    if (stream_queued(s) >= STREAM_LOW_MARK) s->watch.flags |= STREAM_OVER_LOW;
    for (;;) {
        struct output **queue = &s->out;
        if (s->tls != NULL) {
            if (!(s->watch.flags & STREAM_SHAKING)) {
                tls_encrypt(s);
                if (s->watch.flags & STREAM_DEAD) return;
                if (output_left(s->out) == 0) release_output(s, &s->out);
                else compact(s, s->out);
            }
            queue = tls_cipher(s->tls);
        }
        if (output_left(*queue) == 0) {
            release_output(s, queue);
            break;
        }
        if (!send_queue(s, *queue)) return;
        release_output(s, queue);
    }
    if (stream_queued(s) == 0) all_sent(s);
}

static void deferred_run(struct deferred *d, struct loop *loop)
{
    struct stream *s = (struct stream *)(void *)((uint8_t *)d - offsetof(struct stream, deferred));
    (void)loop;
    if (s->watch.flags & STREAM_DEAD) {
        if (s->owner->closed != NULL) s->owner->closed(s, s->ctx, get_why(s));
        stream_discard(s);
        return;
    }
    if (s->watch.flags & STREAM_READ_LATER) {
        s->watch.flags &= ~(uint32_t)STREAM_READ_LATER;
        if (!(s->watch.flags & STREAM_PAUSED)) stream_read(s);
    }
    flush(s);
}

/* --- What owners call --- */

size_t stream_queued(const struct stream *s)
{
    size_t queued = output_left(s->out);
    if (s->tls != NULL) queued += output_left(*tls_cipher(s->tls));
    return queued;
}

size_t stream_held(const struct stream *s)
{
    size_t held = output_held(s->out);
    if (s->tls != NULL) held += output_held(*tls_cipher(s->tls));
    return held;
}

size_t stream_unread(const struct stream *s)
{
    int held = 0;
    if (s->watch.fd < 0 || ioctl(s->watch.fd, SIOCOUTQ, &held) != 0 || held < 0) held = 0;
    return stream_queued(s) + (size_t)held;
}

struct buffer *stream_output(struct stream *s)
{
    return &stream_attach_output(s)->bytes;
}

void stream_flush_later(struct stream *s)
{
    loop_defer(s->loop, &s->deferred);
}

size_t stream_write(struct stream *s, struct slice bytes)
{
    if (s->watch.flags & (STREAM_CLOSING | STREAM_DEAD)) return stream_queued(s);
    buffer_append_slice(stream_output(s), bytes);
    loop_defer(s->loop, &s->deferred);
    return stream_queued(s);
}

void stream_pause(struct stream *s, bool paused)
{
    if (paused) {
        s->watch.flags |= STREAM_PAUSED;
        return;
    }
    s->watch.flags &= ~(uint32_t)STREAM_PAUSED;
    if (!(s->watch.flags & STREAM_READABLE) || (s->watch.flags & STREAM_DEAD)) return;
    s->watch.flags |= STREAM_READ_LATER;
    loop_defer(s->loop, &s->deferred);
}

void stream_close(struct stream *s, uint64_t linger_ms)
{
    if (s->watch.flags & (STREAM_CLOSING | STREAM_DEAD)) return;
    if (s->watch.flags & STREAM_CONNECTING) {
        stream_end(s, STREAM_END_LOCAL);
        return;
    }
    set_why(s, STREAM_END_LOCAL);
    s->watch.flags |= STREAM_CLOSING;
    stream_timer_start(s, linger_ms < LINGER_MS_MAX ? linger_ms : LINGER_MS_MAX);
    stream_pause(s, false); /* to see the peer's end */
    loop_defer(s->loop, &s->deferred);
}

void stream_cut(struct stream *s)
{
    struct output *out = s->out;
    if (out == NULL || out->bytes.overflow || s->owner->unit == NULL) return;
    unit_advance(s, out);
    struct buffer rest;
    buffer_init(&rest, out->bytes.max);
    buffer_append(&rest, out->bytes.data + out->sent, out->unit - out->sent);
    buffer_deinit(&out->bytes);
    out->bytes = rest;
    out->sent = 0;
    out->unit = rest.len;
}

void stream_units_begin(struct stream *s)
{
    if (s->out != NULL) s->out->unit = s->out->bytes.len;
}

void stream_abort(struct stream *s)
{
    stream_end(s, STREAM_END_LOCAL);
}

void stream_set_owner(struct stream *s, const struct stream_owner *owner, void *ctx)
{
    s->owner = owner;
    s->ctx = ctx;
}

struct loop *stream_loop(const struct stream *s)
{
    return s->loop;
}

bool stream_is_tls(const struct stream *s)
{
    return s->tls != NULL;
}
