/* Injected time. */
#ifndef SOTTO_BASE_CLOCK_H
#define SOTTO_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

struct clock_source {
    uint64_t (*wall_ms)(void *ctx);      /* Unix milliseconds; may jump */
    uint64_t (*monotonic_us)(void *ctx); /* never goes back; for durations */
    void *ctx;
};

const struct clock_source *clock_system(void);
static inline uint64_t clock_wall_ms(const struct clock_source *c) { return c->wall_ms(c->ctx); }
static inline uint64_t clock_monotonic_us(const struct clock_source *c) { return c->monotonic_us(c->ctx); }
static inline uint64_t clock_monotonic_ms(const struct clock_source *c) { return c->monotonic_us(c->ctx) / 1000; }

/* A clock that stands still until told. */
struct clock_manual {
    struct clock_source source; /* hand out &manual.source */
    uint64_t wall_ms;
    uint64_t monotonic_us;
};
void clock_manual_init(struct clock_manual *c, uint64_t wall_ms);
/* Moves both clocks forward. */
void clock_manual_advance(struct clock_manual *c, uint64_t ms);

#endif
