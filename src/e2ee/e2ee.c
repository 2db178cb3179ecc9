/* Set-up, names of errors, and what is drawn from the environment. */
#include "e2ee/e2ee.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "e2ee/crypto.h"

enum e2ee_err e2ee_init(void)
{
    return sodium_init() >= 0 ? E2EE_OK : E2EE_ERR_RANDOM;
}

const char *e2ee_err_name(enum e2ee_err err)
{
    static const char *const names[E2EE_ERR_COUNT] = {
        [E2EE_OK] = "ok",
        [E2EE_ERR_MEMORY] = "memory",
        [E2EE_ERR_RANDOM] = "random",
        [E2EE_ERR_STORE] = "store",
        [E2EE_ERR_NOT_FOUND] = "not_found",
        [E2EE_ERR_EXISTS] = "exists",
        [E2EE_ERR_ARGUMENT] = "argument",
        [E2EE_ERR_CORRUPT] = "corrupt",
        [E2EE_ERR_MALFORMED] = "malformed",
        [E2EE_ERR_VERSION] = "version",
        [E2EE_ERR_KEY] = "key",
        [E2EE_ERR_SIGNATURE] = "signature",
        [E2EE_ERR_IDENTITY] = "identity",
        [E2EE_ERR_NO_SESSION] = "no_session",
        [E2EE_ERR_NO_PREKEY] = "no_prekey",
        [E2EE_ERR_NO_SENDER_KEY] = "no_sender_key",
        [E2EE_ERR_DECRYPT] = "decrypt",
        [E2EE_ERR_DUPLICATE] = "duplicate",
        [E2EE_ERR_REPLAY] = "replay",
        [E2EE_ERR_TOO_FAR] = "too_far",
        [E2EE_ERR_ADDRESS] = "address",
        [E2EE_ERR_EXHAUSTED] = "exhausted",
    };
    return (unsigned)err < E2EE_ERR_COUNT && names[err] != NULL ? names[err] : "unknown";
}

void secret_wipe(void *memory, size_t len)
{
    sodium_memzero(memory, len);
}

bool secret_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
    return sodium_memcmp(a, b, len) == 0;
}

bool env_random(const struct e2ee_env *env, uint8_t *out, size_t len)
{
    return env->random.fill(env->random.context, out, len) == 0;
}

void *env_alloc(const struct e2ee_env *env, size_t len)
{
    return len == 0 ? NULL : env->memory.alloc(env->memory.context, len);
}

void *env_zalloc(const struct e2ee_env *env, size_t len)
{
    void *block = env_alloc(env, len);
    if (block != NULL) {
        memset(block, 0, len);
    }
    return block;
}

void env_free(const struct e2ee_env *env, void *block, size_t len)
{
    if (block != NULL) {
        secret_wipe(block, len);
        env->memory.free(env->memory.context, block, len);
    }
}

enum e2ee_err e2ee_bytes_copy(const struct e2ee_env *env, const uint8_t *data, size_t len,
                              struct e2ee_bytes *out)
{
    uint8_t *copy = NULL;
    if (len > 0) {
        copy = env_alloc(env, len);
        if (copy == NULL) {
            return E2EE_ERR_MEMORY;
        }
        memcpy(copy, data, len);
    }
    *out = (struct e2ee_bytes){.data = copy, .len = len};
    return E2EE_OK;
}

void e2ee_bytes_free(const struct e2ee_env *env, struct e2ee_bytes *bytes)
{
    assert((bytes->data == NULL) == (bytes->len == 0));
    env_free(env, bytes->data, bytes->len);
    *bytes = (struct e2ee_bytes){0};
}
