#include "support.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- randomness ------------------------------------------------------------------- */

void test_random_seed(struct test_random *random, uint64_t seed)
{
    random->state[0] = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    random->state[1] = ~seed ^ UINT64_C(0xd1b54a32d192ed03);
    random->fails = false;
    for (int i = 0; i < 20; i++) {
        (void)test_random_next(random);
    }
}

uint64_t test_random_next(struct test_random *random)
{
    uint64_t x = random->state[0], y = random->state[1];
    random->state[0] = y;
    x ^= x << 23;
    random->state[1] = x ^ y ^ (x >> 17) ^ (y >> 26);
    return random->state[1] + y;
}

uint32_t test_random_below(struct test_random *random, uint32_t limit)
{
    return (uint32_t)((test_random_next(random) >> 32) * limit >> 32);
}

static int random_fill(void *context, uint8_t *out, size_t len)
{
    struct device *device = context;
    if (device->random.fails) {
        return -1;
    }
    for (size_t i = 0; i < len; i++) {
        out[i] = (uint8_t)(test_random_next(&device->random) >> 32);
    }
    return 0;
}

static uint64_t clock_now(void *context)
{
    return ((struct device *)context)->now_ms;
}

/* --- heap ---------------------------------------------------------------------------- */

struct test_block {
    struct test_block *next, *previous;
    size_t len;
    _Alignas(16) uint8_t data[];
};

static void *heap_alloc(void *context, size_t len)
{
    struct device *device = context;
    assert_true(len > 0);
    if (device->allocations++ == device->fail_at) {
        return NULL;
    }
    struct test_block *block = malloc(sizeof *block + len);
    assert_non_null(block);
    *block = (struct test_block){.next = device->blocks, .len = len};
    if (device->blocks != NULL) {
        device->blocks->previous = block;
    }
    device->blocks = block;
    device->block_count++;
    memset(block->data, 0xa5, len);
    return block->data;
}

static void heap_free(void *context, void *data, size_t len)
{
    struct device *device = context;
    struct test_block *block =
        (struct test_block *)((uint8_t *)data - offsetof(struct test_block, data));
    assert_int_equal(block->len, len);
    for (size_t i = 0; device->check_wiped && i < len; i++) {
        assert_int_equal(block->data[i], 0);
    }
    if (block->previous != NULL) {
        block->previous->next = block->next;
    } else {
        device->blocks = block->next;
    }
    if (block->next != NULL) {
        block->next->previous = block->previous;
    }
    device->block_count--;
    free(block);
}

/* --- store ----------------------------------------------------------------------------- */

struct test_record *device_record(struct device *device, enum e2ee_record kind,
                                  const uint8_t *key, size_t key_len)
{
    for (size_t i = 0; i < device->record_count; i++) {
        struct test_record *record = &device->records[i];
        if (record->kind == kind && record->key_len == key_len &&
            (key_len == 0 || memcmp(record->key, key, key_len) == 0)) {
            return record;
        }
    }
    return NULL;
}

static enum e2ee_err store_load(void *context, const struct e2ee_env *env, enum e2ee_record kind,
                                const uint8_t *key, size_t key_len, struct e2ee_bytes *out)
{
    const struct test_record *record = device_record(context, kind, key, key_len);
    return record == NULL ? E2EE_ERR_NOT_FOUND
                          : e2ee_bytes_copy(env, record->data, record->data_len, out);
}

static bool store_fails(struct device *device)
{
    return device->writes_until_failure >= 0 && device->writes_until_failure-- == 0;
}

static void record_put(struct device *device, enum e2ee_record kind, const uint8_t *key,
                       size_t key_len, const uint8_t *data, size_t data_len)
{
    struct test_record *record = device_record(device, kind, key, key_len);
    if (record == NULL) {
        if (device->record_count == device->record_capacity) {
            device->record_capacity = 2 * device->record_capacity + 32;
            device->records =
                realloc(device->records, device->record_capacity * sizeof *device->records);
            assert_non_null(device->records);
        }
        record = &device->records[device->record_count++];
        *record = (struct test_record){.kind = kind, .key_len = key_len};
        if (key_len > 0) {
            memcpy(record->key, key, key_len);
        }
    }
    if (record->data_len != data_len) {
        record->data = realloc(record->data, data_len);
        assert_non_null(record->data);
    }
    memcpy(record->data, data, data_len);
    record->data_len = data_len;
}

static enum e2ee_err store_save(void *context, enum e2ee_record kind, const uint8_t *key,
                                size_t key_len, const uint8_t *data, size_t data_len)
{
    struct device *device = context;
    assert_true(key_len <= E2EE_STORE_KEY_MAX);
    if (store_fails(device)) {
        return E2EE_ERR_STORE;
    }
    record_put(device, kind, key, key_len, data, data_len);
    return E2EE_OK;
}

static enum e2ee_err store_remove(void *context, enum e2ee_record kind, const uint8_t *key,
                                  size_t key_len)
{
    struct device *device = context;
    if (store_fails(device)) {
        return E2EE_ERR_STORE;
    }
    struct test_record *record = device_record(device, kind, key, key_len);
    if (record != NULL) {
        free(record->data);
        *record = device->records[--device->record_count];
    }
    return E2EE_OK;
}

/* --- devices ------------------------------------------------------------------------------ */

void device_init(struct device *device, uint64_t seed, uint8_t user, uint8_t device_id)
{
    OK(e2ee_init());
    *device = (struct device){.now_ms = UINT64_C(1750000000000),
                              .writes_until_failure = -1,
                              .fail_at = -1,
                              .check_wiped = true};
    test_random_seed(&device->random, seed);
    device->env = (struct e2ee_env){
        .memory = {device, heap_alloc, heap_free},
        .random = {device, random_fill},
        .clock = {device, clock_now},
        .store = {device, store_load, store_save, store_remove},
        .self = {.device_id = device_id},
    };
    memset(device->env.self.service_id + 1, 0x10, 15);
    device->env.self.service_id[16] = user;
}

void device_store_clear(struct device *device)
{
    for (size_t i = 0; i < device->record_count; i++) {
        free(device->records[i].data);
    }
    device->record_count = 0;
}

void device_deinit(struct device *device)
{
    assert_int_equal(device->block_count, 0);
    device_store_clear(device);
    free(device->records);
    device->records = NULL;
    device->record_capacity = 0;
}

void device_store_copy(struct device *device, const struct device *from)
{
    device_store_clear(device);
    for (size_t i = 0; i < from->record_count; i++) {
        const struct test_record *record = &from->records[i];
        record_put(device, record->kind, record->key, record->key_len, record->data,
                   record->data_len);
    }
}

/* FNV-1a per record, added up, so that the order does not matter. */
uint64_t device_store_hash(const struct device *device)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < device->record_count; i++) {
        const struct test_record *record = &device->records[i];
        uint64_t hash = UINT64_C(0xcbf29ce484222325) + (uint64_t)record->kind;
        for (size_t k = 0; k < record->key_len; k++) {
            hash = (hash ^ record->key[k]) * UINT64_C(0x100000001b3);
        }
        for (size_t k = 0; k < record->data_len; k++) {
            hash = (hash ^ record->data[k]) * UINT64_C(0x100000001b3);
        }
        sum += hash;
    }
    return sum;
}

static void publish_keys(struct device *device)
{
    uint8_t public_key[E2EE_KEM_PUBLIC_LEN], signature[E2EE_SIGNATURE_LEN];
    OK(e2ee_signed_prekey_create(&device->env, 1, public_key, signature));
    OK(e2ee_kem_prekey_create(&device->env, 1, false, public_key, signature));
    OK(e2ee_kem_prekey_create(&device->env, 2, true, public_key, signature));
    for (uint32_t id = 1; id <= 9; id++) {
        OK(e2ee_prekey_create(&device->env, id, public_key));
    }
}

void device_publish(struct device *device)
{
    OK(e2ee_identity_create(&device->env, 1000u + device->env.self.device_id));
    publish_keys(device);
}

void device_publish_linked(struct device *device, struct device *other)
{
    uint8_t private_key[E2EE_PRIVATE_LEN];
    OK(e2ee_identity_export(&other->env, private_key));
    OK(e2ee_identity_import(&device->env, private_key, 1000u + device->env.self.device_id));
    publish_keys(device);
}

struct test_record *device_session_record(struct device *device, const struct device *peer)
{
    uint8_t key[E2EE_ADDRESS_LEN];
    memcpy(key, peer->env.self.service_id, E2EE_SERVICE_ID_LEN);
    key[E2EE_SERVICE_ID_LEN] = peer->env.self.device_id;
    return device_record(device, E2EE_RECORD_SESSION, key, sizeof key);
}

void device_start(struct device *from, struct device *to, uint32_t kem_id, uint32_t prekey_id)
{
    struct e2ee_bundle bundle;
    OK(e2ee_bundle_make(&to->env, 1, kem_id, prekey_id == 0 ? NULL : &prekey_id, &bundle));
    OK(e2ee_session_start(&from->env, &to->env.self, &bundle, NULL));
}

struct message device_encrypt(struct device *from, const struct device *to, const char *text)
{
    struct message message = {0};
    struct e2ee_bytes bytes;
    OK(e2ee_session_encrypt(&from->env, &to->env.self, (const uint8_t *)text, strlen(text),
                            &message.type, &bytes));
    message.bytes.data = malloc(bytes.len);
    assert_non_null(message.bytes.data);
    memcpy(message.bytes.data, bytes.data, bytes.len);
    message.bytes.len = bytes.len;
    e2ee_bytes_free(&from->env, &bytes);
    return message;
}

enum e2ee_err device_decrypt(struct device *to, const struct device *from,
                             const struct message *message, const char *text)
{
    struct e2ee_bytes plaintext;
    enum e2ee_err err =
        e2ee_session_decrypt(&to->env, &from->env.self, message->type, message->bytes.data,
                             message->bytes.len, &plaintext, NULL);
    if (err == E2EE_OK) {
        if (text != NULL) {
            assert_int_equal(plaintext.len, strlen(text));
            assert_true(plaintext.len == 0 ||
                        memcmp(plaintext.data, text, plaintext.len) == 0);
        }
        e2ee_bytes_free(&to->env, &plaintext);
    }
    return err;
}

void message_free(struct message *message)
{
    free(message->bytes.data);
    message->bytes = (struct e2ee_bytes){0};
}

void device_say(struct device *from, struct device *to, const char *text)
{
    struct message message = device_encrypt(from, to, text);
    OK(device_decrypt(to, from, &message, text));
    message_free(&message);
}

/* --- hex ------------------------------------------------------------------------------------ */

size_t from_hex(const char *hex, uint8_t *out, size_t out_max)
{
    size_t len = 0;
    while (*hex != '\0') {
        unsigned value;
        if (isspace((unsigned char)*hex)) {
            hex++;
            continue;
        }
        assert_true(len < out_max);
        assert_int_equal(sscanf(hex, "%2x", &value), 1);
        out[len++] = (uint8_t)value;
        hex += 2;
    }
    return len;
}

void assert_hex(const uint8_t *data, size_t len, const char *hex)
{
    uint8_t *expected = malloc(len + 1);
    assert_non_null(expected);
    size_t expected_len = from_hex(hex, expected, len + 1);
    assert_int_equal(expected_len, len);
    assert_memory_equal(data, expected, len);
    free(expected);
}

size_t read_hex_file(const char *path, uint8_t *out, size_t out_max)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        fail_msg("%s: cannot be read", path);
    }
    size_t len = 0;
    unsigned value;
    while (fscanf(file, "%2x", &value) == 1) {
        assert_true(len < out_max);
        out[len++] = (uint8_t)value;
    }
    fclose(file);
    return len;
}
