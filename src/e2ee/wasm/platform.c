/* What a WebAssembly module has instead of an operating system.
 *
 * Imports, module "sotto" (web/e2ee/loader.js gives them):
 *
 *   random(out, len)                       cryptographic; fills all of out
 *   now_ms() -> f64                        Unix milliseconds
 *   store_load(store, kind, key, key_len, out) -> error
 *   store_save(store, kind, key, key_len, data, data_len) -> error
 *   store_remove(store, kind, key, key_len) -> error
 *   panic(text, len)                       a bug; the module is dead after it
 *
 * store_load allocates with sotto_alloc and writes address and length (two
 * little-endian 32-bit words) at `out`. Errors are values of enum e2ee_err.
 * A host function must not call back into anything but sotto_alloc.
 *
 * libsodium's own generator is replaced, so that no WASI call is left in the
 * module, and the two families of ciphers that its set-up knows but we do not
 * use are left out.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "e2ee/crypto.h"
#include "e2ee/wasm/platform.h"

#define IMPORT(name) __attribute__((import_module("sotto"), import_name(name)))

IMPORT("random") void host_random(uint8_t *out, size_t len);
IMPORT("now_ms") double host_now_ms(void);
IMPORT("store_load")
int host_store_load(uint32_t store, int kind, const uint8_t *key, size_t key_len,
                    struct e2ee_bytes *out);
IMPORT("store_save")
int host_store_save(uint32_t store, int kind, const uint8_t *key, size_t key_len,
                    const uint8_t *data, size_t data_len);
IMPORT("store_remove")
int host_store_remove(uint32_t store, int kind, const uint8_t *key, size_t key_len);
IMPORT("panic") void host_panic(const char *text, size_t len);

/* --- libsodium's generator and set-up ---------------------------------------- */

static const char *random_name(void)
{
    return "host";
}

static uint32_t random_u32(void)
{
    uint32_t value;
    host_random((uint8_t *)&value, sizeof(value));
    return value;
}

static void random_buffer(void *const out, const size_t len)
{
    host_random(out, len);
}

static struct randombytes_implementation host_generator = {
    .implementation_name = random_name,
    .random = random_u32,
    .buf = random_buffer,
};

__attribute__((constructor)) static void set_generator(void)
{
    randombytes_set_implementation(&host_generator);
}

int _crypto_aead_aegis128l_pick_best_implementation(void);
int _crypto_aead_aegis256_pick_best_implementation(void);
int _crypto_aead_aegis128l_pick_best_implementation(void)
{
    return 0;
}
int _crypto_aead_aegis256_pick_best_implementation(void)
{
    return 0;
}

/* assert() of wasi-libc would bring in stdio. */
_Noreturn void __assert_fail(const char *what, const char *file, int line, const char *function);
_Noreturn void __assert_fail(const char *what, const char *file, int line, const char *function)
{
    (void)file;
    (void)line;
    (void)function;
    host_panic(what, strlen(what));
    __builtin_trap();
}

/* --- the environment of the core ------------------------------------------------ */

static void *memory_alloc(void *context, size_t len)
{
    (void)context;
    return malloc(len);
}

static void memory_free(void *context, void *block, size_t len)
{
    (void)context;
    (void)len;
    free(block);
}

static int random_fill(void *context, uint8_t *out, size_t len)
{
    (void)context;
    host_random(out, len);
    return 0;
}

static uint64_t clock_now_ms(void *context)
{
    (void)context;
    return (uint64_t)host_now_ms();
}

static uint32_t store_number(void *context)
{
    return (uint32_t)(uintptr_t)context;
}

static enum e2ee_err known_error(int answer)
{
    return answer >= 0 && answer < E2EE_ERR_COUNT ? (enum e2ee_err)answer : E2EE_ERR_STORE;
}

static enum e2ee_err store_load(void *context, const struct e2ee_env *env, enum e2ee_record kind,
                                const uint8_t *key, size_t key_len, struct e2ee_bytes *out)
{
    (void)env;
    struct e2ee_bytes loaded = {NULL, 0};
    enum e2ee_err err =
        known_error(host_store_load(store_number(context), (int)kind, key, key_len, &loaded));
    if (err == E2EE_OK) *out = loaded;
    return err;
}

static enum e2ee_err store_save(void *context, enum e2ee_record kind, const uint8_t *key,
                                size_t key_len, const uint8_t *data, size_t data_len)
{
    return known_error(
        host_store_save(store_number(context), (int)kind, key, key_len, data, data_len));
}

static enum e2ee_err store_remove(void *context, enum e2ee_record kind, const uint8_t *key,
                                  size_t key_len)
{
    return known_error(host_store_remove(store_number(context), (int)kind, key, key_len));
}

void *sotto_alloc(size_t len)
{
    return len == 0 ? NULL : malloc(len);
}

void sotto_free(void *block, size_t len)
{
    if (block == NULL) return;
    secret_wipe(block, len);
    free(block);
}

struct e2ee_env *sotto_env_create(uint32_t store, const uint8_t *service_id, uint32_t device_id)
{
    struct e2ee_env *env = calloc(1, sizeof(*env));
    if (env == NULL) return NULL;
    void *context = (void *)(uintptr_t)store;
    env->memory = (struct e2ee_memory){NULL, memory_alloc, memory_free};
    env->random = (struct e2ee_random){NULL, random_fill};
    env->clock = (struct e2ee_clock){NULL, clock_now_ms};
    env->store = (struct e2ee_store){context, store_load, store_save, store_remove};
    memcpy(env->self.service_id, service_id, E2EE_SERVICE_ID_LEN);
    env->self.device_id = (uint8_t)device_id;
    return env;
}

void sotto_env_destroy(struct e2ee_env *env)
{
    free(env);
}
