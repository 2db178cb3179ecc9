/* Injected randomness: the system's in production, a seeded stream in tests. */
#ifndef SOTTO_BASE_RANDOM_H
#define SOTTO_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct random_source {
    void (*fill)(void *ctx, void *out, size_t len); /* thread-safe, never fails */
    void *ctx;
};

/* libsodium's generator. Cryptographically secure. */
const struct random_source *random_system(void);
static inline void random_fill(const struct random_source *r, void *out, size_t len)
{
    r->fill(r->ctx, out, len);
}
uint64_t random_u64(const struct random_source *r);

/* Deterministic stream (ChaCha20 keyed by the seed), for tests and simulation.
 * Not thread-safe. */
struct random_seeded {
    struct random_source source; /* hand out &seeded.source */
    uint64_t seed;
    uint64_t counter;
};
void random_seeded_init(struct random_seeded *r, uint64_t seed);

#endif
