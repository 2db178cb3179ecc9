/* The system's clocks, and one that moves by hand for tests and simulation. */
#include "base/clock.h"

#include <time.h>

static uint64_t system_wall_ms(void *ctx)
{
    (void)ctx;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t system_monotonic_us(void *ctx)
{
    (void)ctx;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

const struct clock_source *clock_system(void)
{
    static const struct clock_source source = {system_wall_ms, system_monotonic_us, NULL};
    return &source;
}

static uint64_t manual_wall_ms(void *ctx)
{
    return ((const struct clock_manual *)ctx)->wall_ms;
}

static uint64_t manual_monotonic_us(void *ctx)
{
    return ((const struct clock_manual *)ctx)->monotonic_us;
}

void clock_manual_init(struct clock_manual *c, uint64_t wall_ms)
{
    c->source = (struct clock_source){manual_wall_ms, manual_monotonic_us, c};
    c->wall_ms = wall_ms;
    c->monotonic_us = 0;
}

void clock_manual_advance(struct clock_manual *c, uint64_t ms)
{
    c->wall_ms += ms;
    c->monotonic_us += ms * 1000;
}
