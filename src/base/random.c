/* Randomness from libsodium, and a seeded stream that tests can repeat.
 *
 * The seeded stream is ChaCha20 under a key made of the seed. Each call to fill
 * is a fresh nonce, so the bytes depend on the sequence of calls; that is what
 * a replay repeats.
 */
#include "base/random.h"
#include "base/error.h"

#include <pthread.h>
#include <sodium.h>
#include <string.h>

static void system_fill(void *ctx, void *out, size_t len)
{
    (void)ctx;
    randombytes_buf(out, len);
}

static void sodium_start(void)
{
    SOTTO_ASSERT(sodium_init() >= 0);
}

const struct random_source *random_system(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static const struct random_source source = {system_fill, NULL};
    pthread_once(&once, sodium_start);
    return &source;
}

uint64_t random_u64(const struct random_source *r)
{
    uint64_t v;
    random_fill(r, &v, sizeof(v));
    return v;
}

static void store_le64(uint8_t out[8], uint64_t v)
{
    for (int i = 0; i < 8; i++, v >>= 8) out[i] = (uint8_t)v;
}

static void seeded_fill(void *ctx, void *out, size_t len)
{
    struct random_seeded *r = ctx;
    uint8_t key[crypto_stream_chacha20_KEYBYTES] = "sotto seeded stream";
    uint8_t nonce[crypto_stream_chacha20_NONCEBYTES];
    store_le64(key + sizeof(key) - 8, r->seed);
    store_le64(nonce, r->counter++);
    crypto_stream_chacha20(out, len, nonce, key);
}

void random_seeded_init(struct random_seeded *r, uint64_t seed)
{
    *r = (struct random_seeded){.source = {seeded_fill, r}, .seed = seed};
}
