/* Token buckets; see ratelimit.h for the shape of the table.
 *
 * A key is remembered by 64 bits of a seeded mix, of which clients know neither
 * the seed nor the result; two keys that fall together share a bucket, about
 * once in 2^64 pairs. Tokens are a float, time is milliseconds in 32 bits
 * (differences are taken modulo 2^32: a bucket untouched for 49 days may seem
 * emptier than it is, for one request). The callers' times are not in order: each
 * loop has its own, from the beginning of its turn, and a request that had to be
 * authenticated comes with the time when it arrived. A time from before the last
 * one refills nothing and turns nothing back.
 */
#include "gateway/ratelimit.h"

#include <math.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { LIMITER_WAYS = 8, LIMITER_LOCKS = 64, BEHIND_MAX_MS = 10 * 60 * 1000, REST_MS = 60 * 60 * 1000 };

struct bucket {
    uint64_t key; /* 0: free */
    float tokens;
    uint32_t at_ms;
};
struct bucket_set {
    struct bucket ways[LIMITER_WAYS];
};
struct limiter_lock {
    alignas(64) pthread_mutex_t mutex;
};
struct limiter {
    struct limiter_lock locks[LIMITER_LOCKS];
    uint64_t seed;
    size_t sets_mask;
    size_t bytes;
    struct bucket_set *sets;
};

struct limiter *limiter_create(size_t sets, uint64_t seed)
{
    SOTTO_ASSERT(sets >= 16 && (sets & (sets - 1)) == 0);
    struct limiter *l = aligned_alloc(alignof(struct limiter), sizeof(*l));
    SOTTO_ASSERT(l != NULL);
    for (size_t i = 0; i < LIMITER_LOCKS; i++) pthread_mutex_init(&l->locks[i].mutex, NULL);
    l->seed = seed;
    l->sets_mask = sets - 1;
    l->bytes = sets * sizeof(*l->sets);
    /* Zero pages that come when they are touched. */
    l->sets = mmap(NULL, l->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SOTTO_ASSERT(l->sets != MAP_FAILED);
    return l;
}

void limiter_destroy(struct limiter **limiter)
{
    struct limiter *l = *limiter;
    if (l == NULL) return;
    *limiter = NULL;
    munmap(l->sets, l->bytes);
    for (size_t i = 0; i < LIMITER_LOCKS; i++) pthread_mutex_destroy(&l->locks[i].mutex);
    free(l);
}

static uint64_t mix(uint64_t v)
{
    v = (v ^ v >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    v = (v ^ v >> 27) * UINT64_C(0x94d049bb133111eb);
    return v ^ v >> 31;
}

static uint64_t bucket_key(const struct limiter *l, enum bucket_kind kind, struct id key, uint8_t sub)
{
    uint64_t halves[2];
    memcpy(halves, key.bytes, sizeof(halves));
    uint64_t h = mix(l->seed + halves[0]);
    h = mix(h + halves[1] + ((uint64_t)kind << 8 | sub));
    return h != 0 ? h : 1;
}

/* The time of this draw: not before the last one. */
static uint32_t bucket_now(const struct bucket *b, uint32_t now_ms)
{
    return b->at_ms - now_ms <= BEHIND_MAX_MS ? b->at_ms : now_ms;
}

static float bucket_level(const struct bucket *b, const struct rate *rate, uint32_t now_ms)
{
    double tokens = (double)b->tokens + (double)(now_ms - b->at_ms) * rate->per_second / 1000.0;
    return (float)(tokens < rate->burst ? tokens : rate->burst);
}

/* How little the bucket would be missed: what nobody has drawn from for REST_MS has
 * filled up since, whatever it held then (but for rates of a few an hour). */
static float bucket_spare(const struct bucket *b, uint32_t now_ms)
{
    return bucket_now(b, now_ms) - b->at_ms >= REST_MS ? INFINITY : b->tokens;
}

/* The bucket of the key, or the place for it: a free one, else the fullest. */
static struct bucket *bucket_place(struct bucket_set *set, uint64_t key, uint32_t now_ms)
{
    struct bucket *best = &set->ways[0];
    for (size_t i = 0; i < LIMITER_WAYS; i++) {
        struct bucket *b = &set->ways[i];
        if (b->key == key) return b;
        if (best->key == 0) continue;
        if (b->key == 0 || bucket_spare(b, now_ms) > bucket_spare(best, now_ms)) best = b;
    }
    return best;
}

bool limiter_take(struct limiter *l, enum bucket_kind kind, struct id key, uint8_t sub,
                  const struct rate *rate, uint64_t now_ms, uint64_t *retry_ms_out)
{
    if (rate->per_second <= 0) return true;
    uint64_t hash = bucket_key(l, kind, key, sub);
    size_t at = hash & l->sets_mask;
    pthread_mutex_t *mutex = &l->locks[at % LIMITER_LOCKS].mutex;
    uint32_t now = (uint32_t)now_ms;
    pthread_mutex_lock(mutex);
    struct bucket *b = bucket_place(&l->sets[at], hash, now);
    if (b->key != hash) *b = (struct bucket){hash, (float)rate->burst, now};
    now = bucket_now(b, now);
    float level = bucket_level(b, rate, now);
    bool given = level >= 1.0F;
    b->tokens = given ? level - 1.0F : level;
    b->at_ms = now;
    pthread_mutex_unlock(mutex);
    if (!given) *retry_ms_out = (uint64_t)ceil((1.0 - (double)level) / rate->per_second * 1000.0);
    return given;
}

void limiter_give_back(struct limiter *l, enum bucket_kind kind, struct id key, uint8_t sub,
                       const struct rate *rate)
{
    if (rate->per_second <= 0) return;
    uint64_t hash = bucket_key(l, kind, key, sub);
    size_t at = hash & l->sets_mask;
    pthread_mutex_t *mutex = &l->locks[at % LIMITER_LOCKS].mutex;
    pthread_mutex_lock(mutex);
    struct bucket *b = bucket_place(&l->sets[at], hash, 0);
    if (b->key == hash && b->tokens + 1.0F <= (float)rate->burst) b->tokens += 1.0F;
    pthread_mutex_unlock(mutex);
}
