/* An environment without a store, for the modules that need none: seeded
 * randomness, and an allocator that counts, checks lengths and can fail. */
#ifndef SOTTO_TEST_E2EE_PLAIN_ENV_H
#define SOTTO_TEST_E2EE_PLAIN_ENV_H

#include <stdlib.h>
#include <string.h>

#include "e2ee/crypto.h"

struct plain_env {
    struct e2ee_env env;
    uint64_t seed, drawn;
    int random_left;  /* calls until randomness fails; negative: never */
    int allocs_left;  /* allocations until memory fails; negative: never */
    size_t live;      /* blocks not freed */
};

static void *plain_alloc(void *context, size_t len)
{
    struct plain_env *plain = context;
    if (plain->allocs_left == 0) return NULL;
    if (plain->allocs_left > 0) plain->allocs_left--;
    plain->live++;
    return malloc(len);
}

static void plain_free(void *context, void *block, size_t len)
{
    struct plain_env *plain = context;
    for (size_t i = 0; i < len; i++) {
        if (((const uint8_t *)block)[i] != 0) abort(); /* not wiped */
    }
    plain->live--;
    free(block);
}

static int plain_random(void *context, uint8_t *out, size_t len)
{
    struct plain_env *plain = context;
    if (plain->random_left == 0) return -1;
    if (plain->random_left > 0) plain->random_left--;
    for (size_t done = 0; done < len; done += 32) {
        uint64_t input[2] = {plain->seed, plain->drawn++};
        uint8_t block[32];
        sha256((const uint8_t *)input, sizeof(input), block);
        memcpy(out + done, block, len - done < 32 ? len - done : 32);
    }
    return 0;
}

static inline void plain_env_init(struct plain_env *plain, uint64_t seed)
{
    *plain = (struct plain_env){.seed = seed, .random_left = -1, .allocs_left = -1};
    plain->env.memory = (struct e2ee_memory){plain, plain_alloc, plain_free};
    plain->env.random = (struct e2ee_random){plain, plain_random};
}

#endif
