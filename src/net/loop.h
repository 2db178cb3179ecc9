/* Event loop: one thread, one epoll instance, one timer wheel, one mailbox.
 *
 * DESIGN. Each turn: wait for descriptors, run their callbacks, deliver the
 * mailbox, fire timers, then run what was deferred (flushing output, so that
 * everything said to a connection in one turn leaves in one write). Nothing
 * else wakes the loop. All functions but loop_stop and the mailbox's post are
 * for the loop's own thread (or before it runs).
 */
#ifndef SOTTO_NET_LOOP_H
#define SOTTO_NET_LOOP_H

#include "base/clock.h"
#include "base/mailbox.h"
#include "base/wheel.h"

struct loop;

/* A descriptor that the loop watches; embedded in its owner. */
struct watch {
    /* events: EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR bits. The watch may be
     * removed and its owner freed inside the callback. */
    void (*ready)(struct watch *w, struct loop *loop, uint32_t events);
    int fd;
    uint32_t flags; /* the owner's; the loop does not look at them */
};
/* A timer on the loop's wheel, embedded in its owner. */
struct loop_timer {
    struct timer timer;
    void (*fired)(struct loop_timer *t, struct loop *loop);
};
/* Runs once at the end of this turn (or of the next wait); embedded. */
struct deferred {
    struct deferred *next; /* NULL: not queued */
    void (*run)(struct deferred *d, struct loop *loop);
};

SOTTO_CHECKED enum sotto_err loop_create(const struct clock_source *clock, size_t mailbox_max,
                                         struct loop **loop_out);
/* Frees; nothing may be watched any more. */
void loop_destroy(struct loop **loop);
/* Runs until loop_stop. */
void loop_run(struct loop *loop);
/* One turn, waiting at most timeout_ms (0: not at all, -1: until something). */
void loop_turn(struct loop *loop, int timeout_ms);
/* Any thread, signal handlers too. */
void loop_stop(struct loop *loop);

/* events: EPOLLIN | EPOLLOUT | EPOLLET as epoll takes them. */
SOTTO_CHECKED enum sotto_err loop_watch(struct loop *loop, struct watch *w, uint32_t events);
SOTTO_CHECKED enum sotto_err loop_watch_change(struct loop *loop, struct watch *w, uint32_t events);
/* Stops watching; does not close the descriptor. Events already fetched in
 * this turn are not delivered any more. */
void loop_unwatch(struct loop *loop, struct watch *w);

void loop_timer_start(struct loop *loop, struct loop_timer *t, uint64_t delay_ms);
void loop_timer_stop(struct loop *loop, struct loop_timer *t);
/* Nothing, if it is queued already. */
void loop_defer(struct loop *loop, struct deferred *d);
void loop_defer_cancel(struct loop *loop, struct deferred *d);
static inline bool deferred_queued(const struct deferred *d)
{
    return d->next != NULL;
}

struct mailbox *loop_mailbox(struct loop *loop); /* mail->deliver gets the loop */
const struct clock_source *loop_clock(const struct loop *loop);
/* Monotonic milliseconds at the start of this turn. */
uint64_t loop_now_ms(const struct loop *loop);
/* 64 KiB of scratch that any callback may use until it returns. */
enum { LOOP_SCRATCH_LEN = 64 * 1024 };
uint8_t *loop_scratch(struct loop *loop);
/* Frees memory that was kept for reuse and not needed since the last call, and says
 * how many bytes. To be called every second or so. */
size_t loop_trim(struct loop *loop);
/* What the owner of the loop hangs on it (the gateway's per-loop state). */
void loop_set_owner(struct loop *loop, void *owner);
void *loop_owner(const struct loop *loop);

#endif
