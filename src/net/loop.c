/* The event loop.
 *
 * A turn makes one epoll_wait and, beyond what the callbacks do, no other
 * system call: the clock is read through the vDSO, the mailbox's eventfd is
 * edge-triggered and never read, and senders write it only while the loop
 * sleeps (mailbox_awake and mailbox_sleep around the wait).
 *
 * Order within a turn: descriptors, mail, timers, deferred work. Deferred work
 * may defer more (a gateway that answers there makes streams flush); that runs
 * in the same turn, for a few rounds, so that no answer waits for another
 * epoll_wait and no circle of deferrals starves the descriptors.
 *
 * Removing a watch strikes its fetched events out, so a callback may destroy
 * any other connection of the loop. That scan costs at most LOOP_EVENTS_MAX
 * steps and only when something is closed.
 *
 * Rejected: io_uring (a fixed pool of receive buffers, and no gain that was
 * measured for small frames), one-shot or level-triggered streams (a call or a
 * second poll per message).
 */
#include "net/loop_private.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/bytes.h"

enum { LOOP_EVENTS_MAX = 512, LOOP_DEFER_ROUNDS_MAX = 4, WATCH_WARM_BYTES = 128 };

/* Ends a list of deferred work: in `next`, NULL says that it is in none. */
static struct deferred list_end;

struct loop {
    int epoll_fd;
    const struct clock_source *clock;
    uint64_t now_ms;
    struct wheel wheel;
    struct mailbox mailbox;
    atomic_bool stopping;
    struct deferred *deferred_first;
    struct deferred **deferred_last;
    struct deferred *running_first; /* the round that is being run */
    int events_at;                  /* the event being handled */
    int events_count;
    struct output_pool output_pool;
    struct slab streams;
    uint8_t *cipher_memory;
    void *owner;
    struct epoll_event events[LOOP_EVENTS_MAX];
    uint8_t scratch[LOOP_SCRATCH_LEN];
    uint8_t receive_memory[LOOP_SCRATCH_LEN];
};

enum sotto_err loop_create(const struct clock_source *clock, size_t mailbox_max, struct loop **loop_out)
{
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) return SOTTO_ERR_IO;
    /* The scratch is not cleared: its pages come when they are used. */
    struct loop *loop = sotto_alloc(sizeof(*loop));
    memset(loop, 0, offsetof(struct loop, events));
    loop->epoll_fd = epoll_fd;
    loop->clock = clock;
    loop->deferred_first = loop->running_first = &list_end;
    loop->deferred_last = &loop->deferred_first;
    loop->now_ms = clock_monotonic_ms(clock);
    wheel_init(&loop->wheel, loop->now_ms);
    streams_init(&loop->streams);
    atomic_init(&loop->stopping, false);
    if (mailbox_init(&loop->mailbox, mailbox_max) != SOTTO_OK) goto fail;
    /* A NULL pointer marks the mailbox, and events that were struck out. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, loop->mailbox.eventfd, &event) != 0) {
        mailbox_deinit(&loop->mailbox);
        goto fail;
    }
    *loop_out = loop;
    return SOTTO_OK;
fail:
    close(epoll_fd);
    free(loop);
    return SOTTO_ERR_IO;
}

static void run_deferred(struct loop *loop)
{
    for (int round = 0; round < LOOP_DEFER_ROUNDS_MAX && loop->deferred_first != &list_end; round++) {
        loop->running_first = loop->deferred_first;
        loop->deferred_first = &list_end;
        loop->deferred_last = &loop->deferred_first;
        struct deferred *d;
        while ((d = loop->running_first) != &list_end) {
            loop->running_first = d->next;
            prefetch(d->next, sizeof(*d));
            d->next = NULL;
            d->run(d, loop);
        }
    }
}

void loop_destroy(struct loop **loop_ptr)
{
    struct loop *loop = *loop_ptr;
    if (loop == NULL) return;
    *loop_ptr = NULL;
    /* Streams that ended are freed by their deferred callback. */
    while (loop->deferred_first != &list_end) run_deferred(loop);
    mailbox_deliver(&loop->mailbox, loop);
    while (loop->deferred_first != &list_end) run_deferred(loop);
    mailbox_deinit(&loop->mailbox);
    close(loop->epoll_fd);
    output_pool_deinit(&loop->output_pool);
    slab_deinit(&loop->streams);
    free(loop->cipher_memory);
    free(loop);
}

static void timer_fired(void *ctx, struct timer *t)
{
    struct loop_timer *timer = (struct loop_timer *)(void *)((uint8_t *)t - offsetof(struct loop_timer, timer));
    timer->fired(timer, ctx);
}

/* How long epoll may wait: not at all when there is mail or deferred work. */
static int wait_time(struct loop *loop, int timeout_ms)
{
    if (timeout_ms == 0 || loop->deferred_first != &list_end) return 0;
    uint64_t wait_ms = wheel_wait_ms(&loop->wheel, loop->now_ms);
    if (timeout_ms > 0 && (uint64_t)timeout_ms < wait_ms) wait_ms = (uint64_t)timeout_ms;
    if (!mailbox_sleep(&loop->mailbox)) return 0;
    if (wait_ms == UINT64_MAX) return -1;
    return wait_ms < INT_MAX ? (int)wait_ms : INT_MAX;
}

void loop_turn(struct loop *loop, int timeout_ms)
{
    int wait_ms = wait_time(loop, timeout_ms);
    int count = epoll_wait(loop->epoll_fd, loop->events, LOOP_EVENTS_MAX, wait_ms);
    if (wait_ms != 0) mailbox_awake(&loop->mailbox);
    SOTTO_ASSERT(count >= 0 || errno == EINTR);
    loop->now_ms = clock_monotonic_ms(loop->clock);
    wheel_set_now(&loop->wheel, loop->now_ms);
    loop->events_count = count > 0 ? count : 0;
    for (loop->events_at = 0; loop->events_at < loop->events_count; loop->events_at++) {
        const struct epoll_event *event = &loop->events[loop->events_at];
        if (loop->events_at + 1 < loop->events_count) prefetch(event[1].data.ptr, WATCH_WARM_BYTES);
        struct watch *w = event->data.ptr;
        if (w != NULL) w->ready(w, loop, event->events);
    }
    loop->events_count = 0;
    mailbox_deliver(&loop->mailbox, loop);
    wheel_advance(&loop->wheel, loop->now_ms, timer_fired, loop);
    run_deferred(loop);
}

void loop_run(struct loop *loop)
{
    while (!atomic_exchange_explicit(&loop->stopping, false, memory_order_acquire)) loop_turn(loop, -1);
}

void loop_stop(struct loop *loop)
{
    atomic_store_explicit(&loop->stopping, true, memory_order_release);
    mailbox_wake(&loop->mailbox);
}

static enum sotto_err control(struct loop *loop, int operation, struct watch *w, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = w};
    return epoll_ctl(loop->epoll_fd, operation, w->fd, &event) == 0 ? SOTTO_OK : SOTTO_ERR_IO;
}

enum sotto_err loop_watch(struct loop *loop, struct watch *w, uint32_t events)
{
    return control(loop, EPOLL_CTL_ADD, w, events);
}

enum sotto_err loop_watch_change(struct loop *loop, struct watch *w, uint32_t events)
{
    return control(loop, EPOLL_CTL_MOD, w, events);
}

void loop_forget(struct loop *loop, const struct watch *w)
{
    for (int i = loop->events_at + 1; i < loop->events_count; i++)
        if (loop->events[i].data.ptr == w) loop->events[i].data.ptr = NULL;
}

void loop_unwatch(struct loop *loop, struct watch *w)
{
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    loop_forget(loop, w);
}

void loop_timer_start(struct loop *loop, struct loop_timer *t, uint64_t delay_ms)
{
    timer_start(&loop->wheel, &t->timer, delay_ms);
}

void loop_timer_stop(struct loop *loop, struct loop_timer *t)
{
    timer_stop(&loop->wheel, &t->timer);
}

void loop_defer(struct loop *loop, struct deferred *d)
{
    if (deferred_queued(d)) return;
    d->next = &list_end;
    *loop->deferred_last = d;
    loop->deferred_last = &d->next;
}

void loop_defer_cancel(struct loop *loop, struct deferred *d)
{
    if (!deferred_queued(d)) return;
    struct deferred **lists[] = {&loop->running_first, &loop->deferred_first};
    for (size_t i = 0; i < 2; i++) {
        for (struct deferred **at = lists[i]; *at != &list_end; at = &(*at)->next) {
            if (*at != d) continue;
            *at = d->next;
            if (loop->deferred_last == &d->next) loop->deferred_last = at;
            d->next = NULL;
            return;
        }
    }
    SOTTO_ASSERT(!"deferred on another loop");
}

struct mailbox *loop_mailbox(struct loop *loop)
{
    return &loop->mailbox;
}

const struct clock_source *loop_clock(const struct loop *loop)
{
    return loop->clock;
}

uint64_t loop_now_ms(const struct loop *loop)
{
    return loop->now_ms;
}

uint8_t *loop_scratch(struct loop *loop)
{
    return loop->scratch;
}

uint8_t *loop_receive_memory(struct loop *loop)
{
    return loop->receive_memory;
}

uint8_t *loop_cipher_memory(struct loop *loop)
{
    if (loop->cipher_memory == NULL) loop->cipher_memory = sotto_alloc(LOOP_CIPHER_LEN);
    return loop->cipher_memory;
}

struct output_pool *loop_output_pool(struct loop *loop)
{
    return &loop->output_pool;
}

struct slab *loop_streams(struct loop *loop)
{
    return &loop->streams;
}

void loop_set_owner(struct loop *loop, void *owner)
{
    loop->owner = owner;
}

void *loop_owner(const struct loop *loop)
{
    return loop->owner;
}
