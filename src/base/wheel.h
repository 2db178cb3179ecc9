/* Hashed timer wheel with intrusive timers.
 *
 * One tick is 100 ms, 512 slots; a timer further away goes round. Starting and
 * stopping are O(1), so that a timer per connection costs 24 bytes and no heap.
 * A timer is zeroed before its first start.
 * Not thread-safe: one wheel per loop.
 */
#ifndef SOTTO_BASE_WHEEL_H
#define SOTTO_BASE_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WHEEL_TICK_MS = 100, WHEEL_SLOTS = 512 };

struct timer {
    struct timer *next;
    struct timer **prev_next; /* NULL when not running */
    uint64_t due_tick;
};
/* What to do when `t` is due; it is no longer running and may be restarted
 * or freed, as may any other timer. */
typedef void (*timer_fn)(void *ctx, struct timer *t);

struct wheel {
    struct timer *slots[WHEEL_SLOTS];
    uint64_t tick;   /* last tick handled */
    uint64_t now_ms; /* what delays count from */
    uint64_t next;   /* no timer is due before this tick */
    size_t count;    /* timers running */
};

void wheel_init(struct wheel *w, uint64_t now_ms);
/* Tells the time without firing: delays of timers started from now on count
 * from here. Goes forward only. */
void wheel_set_now(struct wheel *w, uint64_t now_ms);
/* (Re)starts t to fire in delay_ms, rounded up to a tick, never early as seen
 * from the latest wheel_set_now or wheel_advance. */
void timer_start(struct wheel *w, struct timer *t, uint64_t delay_ms);
void timer_stop(struct wheel *w, struct timer *t);
static inline bool timer_running(const struct timer *t) { return t->prev_next != NULL; }
/* Fires all that is due at now_ms (monotonic), in tick order. */
void wheel_advance(struct wheel *w, uint64_t now_ms, timer_fn fn, void *ctx);
/* Milliseconds from now_ms until wheel_advance may have something to do, 0 when
 * it has, UINT64_MAX when no timer runs. May be too short, never too long. */
uint64_t wheel_wait_ms(const struct wheel *w, uint64_t now_ms);

#endif
