/* Hashed timer wheel.
 *
 * Slot i holds the timers whose due tick is i modulo WHEEL_SLOTS; those of a
 * later round stay when the hand passes. Idle timeouts of a minute thus cost a
 * look or two in their life, and heartbeats none, since most are restarted
 * before they are due.
 *
 * `next` is a lower bound of the earliest due tick. Starting lowers it; it is
 * found anew when the hand reaches it. Thanks to it an idle loop sleeps until
 * something can be due, and a clock that jumps an hour costs one scan and not
 * 36,000 steps.
 *
 * Firing takes the due timers of a slot out into a list of their own, linked by
 * the same fields, before the first callback: a callback may stop, restart or
 * free any timer, in the list or not.
 *
 * Rejected: a heap (O(log n) and a pointer array to grow), hierarchical wheels
 * (cascading for precision that nobody here needs).
 */
#include "base/wheel.h"
#include "base/error.h"

void wheel_init(struct wheel *w, uint64_t now_ms)
{
    *w = (struct wheel){.tick = now_ms / WHEEL_TICK_MS, .now_ms = now_ms, .next = UINT64_MAX};
}

void wheel_set_now(struct wheel *w, uint64_t now_ms)
{
    if (now_ms > w->now_ms) w->now_ms = now_ms;
}

static void list_add(struct timer **head, struct timer *t)
{
    t->next = *head;
    t->prev_next = head;
    if (*head != NULL) (*head)->prev_next = &t->next;
    *head = t;
}

static void list_remove(struct timer *t)
{
    *t->prev_next = t->next;
    if (t->next != NULL) t->next->prev_next = t->prev_next;
    t->next = NULL;
    t->prev_next = NULL;
}

void timer_start(struct wheel *w, struct timer *t, uint64_t delay_ms)
{
    timer_stop(w, t);
    uint64_t due_ms = delay_ms > UINT64_MAX / 2 ? UINT64_MAX / 2 : w->now_ms + delay_ms;
    t->due_tick = (due_ms + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS;
    if (t->due_tick <= w->tick) t->due_tick = w->tick + 1;
    list_add(&w->slots[t->due_tick % WHEEL_SLOTS], t);
    if (t->due_tick < w->next) w->next = t->due_tick;
    w->count++;
}

void timer_stop(struct wheel *w, struct timer *t)
{
    if (!timer_running(t)) return;
    list_remove(t);
    w->count--;
}

static void fire_slot(struct wheel *w, timer_fn fn, void *ctx)
{
    struct timer *due = NULL;
    struct timer **tail = &due;
    struct timer *t = w->slots[w->tick % WHEEL_SLOTS];
    while (t != NULL) {
        struct timer *next = t->next;
        if (t->due_tick <= w->tick) {
            list_remove(t);
            list_add(tail, t);
            tail = &t->next;
        }
        t = next;
    }
    while ((t = due) != NULL) {
        list_remove(t);
        w->count--;
        fn(ctx, t);
    }
}

/* Exact when the earliest timer is within one round. Otherwise the end of the
 * round, so that the scan stays within 512 slots. */
static uint64_t find_next(const struct wheel *w)
{
    if (w->count == 0) return UINT64_MAX;
    for (uint64_t tick = w->tick + 1; tick <= w->tick + WHEEL_SLOTS; tick++)
        for (const struct timer *t = w->slots[tick % WHEEL_SLOTS]; t != NULL; t = t->next)
            if (t->due_tick <= tick) return tick;
    return w->tick + WHEEL_SLOTS;
}

/* As find_next, but exact at any distance and at the cost of every timer. */
static uint64_t find_far(const struct wheel *w)
{
    uint64_t earliest = UINT64_MAX;
    for (size_t i = 0; i < WHEEL_SLOTS; i++)
        for (const struct timer *t = w->slots[i]; t != NULL; t = t->next)
            if (t->due_tick < earliest) earliest = t->due_tick;
    return earliest;
}

void wheel_advance(struct wheel *w, uint64_t now_ms, timer_fn fn, void *ctx)
{
    wheel_set_now(w, now_ms);
    uint64_t now_tick = w->now_ms / WHEEL_TICK_MS;
    while (w->next <= now_tick) {
        w->tick = w->next;
        /* Before firing: a callback that starts a timer lowers it again. */
        w->next = UINT64_MAX;
        fire_slot(w, fn, ctx);
        uint64_t found = now_tick - w->tick > WHEEL_SLOTS ? find_far(w) : find_next(w);
        if (found < w->next) w->next = found;
    }
    if (w->tick < now_tick) w->tick = now_tick;
}

uint64_t wheel_wait_ms(const struct wheel *w, uint64_t now_ms)
{
    if (w->count == 0) return UINT64_MAX;
    uint64_t due_ms = w->next * WHEEL_TICK_MS;
    return due_ms > now_ms ? due_ms - now_ms : 0;
}
