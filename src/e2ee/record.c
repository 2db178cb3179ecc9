#include "e2ee/record.h"

#include <sodium.h>
#include <string.h>

#include "e2ee/crypto.h"

enum { HEADER_LEN = 4, CHECKSUM_LEN = 8 };
_Static_assert(HEADER_LEN + CHECKSUM_LEN == RECORD_OVERHEAD, "layout");
_Static_assert(CHECKSUM_LEN == crypto_shorthash_BYTES, "SipHash-2-4");

static void record_checksum(const uint8_t *data, size_t len, uint8_t out[CHECKSUM_LEN])
{
    static const uint8_t key[crypto_shorthash_KEYBYTES] = {0};
    crypto_shorthash(out, data, len, key);
}

enum e2ee_err record_seal(const struct e2ee_env *env, enum e2ee_record kind, record_body *body,
                          const void *object, struct e2ee_bytes *out)
{
    struct writer count = {0};
    body(&count, object);
    size_t len = count.len + RECORD_OVERHEAD;
    uint8_t *data = env_alloc(env, len);
    if (data == NULL) {
        return E2EE_ERR_MEMORY;
    }
    struct writer writer = {.out = data};
    uint8_t header[HEADER_LEN] = {'S', 'E', (uint8_t)kind, RECORD_VERSION};
    write_bytes(&writer, header, sizeof header);
    body(&writer, object);
    record_checksum(data, writer.len, data + writer.len);
    *out = (struct e2ee_bytes){.data = data, .len = len};
    return E2EE_OK;
}

enum e2ee_err record_open(enum e2ee_record kind, const struct e2ee_bytes *bytes,
                          struct reader *body_out)
{
    uint8_t checksum[CHECKSUM_LEN];
    if (bytes->len < RECORD_OVERHEAD || bytes->len > E2EE_RECORD_MAX) {
        return E2EE_ERR_CORRUPT;
    }
    size_t checked = bytes->len - CHECKSUM_LEN;
    record_checksum(bytes->data, checked, checksum);
    if (memcmp(checksum, bytes->data + checked, CHECKSUM_LEN) != 0 || bytes->data[0] != 'S' ||
        bytes->data[1] != 'E' || bytes->data[2] != (uint8_t)kind ||
        bytes->data[3] != RECORD_VERSION) {
        return E2EE_ERR_CORRUPT;
    }
    *body_out = reader_of(bytes->data + HEADER_LEN, checked - HEADER_LEN);
    return E2EE_OK;
}

/* --- keys --------------------------------------------------------------------- */

static void key_add(struct record_key *key, const void *data, size_t len)
{
    memcpy(key->bytes + key->len, data, len);
    key->len += len;
}

static void key_add_u32(struct record_key *key, uint32_t value)
{
    uint8_t bytes[4];
    store_be32(bytes, value);
    key_add(key, bytes, sizeof bytes);
}

struct record_key record_key_none(void)
{
    return (struct record_key){0};
}

struct record_key record_key_service(const uint8_t service_id[E2EE_SERVICE_ID_LEN])
{
    struct record_key key = {0};
    key_add(&key, service_id, E2EE_SERVICE_ID_LEN);
    return key;
}

struct record_key record_key_address(const struct e2ee_address *address)
{
    struct record_key key = record_key_service(address->service_id);
    key_add(&key, &address->device_id, 1);
    return key;
}

struct record_key record_key_id(uint32_t id)
{
    struct record_key key = {0};
    key_add_u32(&key, id);
    return key;
}

struct record_key record_key_used(uint32_t kem_id, uint32_t signed_id,
                                  const uint8_t base_key[E2EE_PUBLIC_LEN])
{
    struct record_key key = record_key_id(kem_id);
    key_add_u32(&key, signed_id);
    key_add(&key, base_key, E2EE_PUBLIC_LEN);
    return key;
}

struct record_key record_key_group(const struct e2ee_address *sender,
                                   const uint8_t id[E2EE_DISTRIBUTION_ID_LEN])
{
    struct record_key key = record_key_address(sender);
    key_add(&key, id, E2EE_DISTRIBUTION_ID_LEN);
    return key;
}

/* --- the store ------------------------------------------------------------------ */

/* A store that answers something else than it may is a failing store. */
static enum e2ee_err load_error(enum e2ee_err err)
{
    return err == E2EE_OK || err == E2EE_ERR_NOT_FOUND || err == E2EE_ERR_MEMORY ? err
                                                                                 : E2EE_ERR_STORE;
}

enum e2ee_err record_load(const struct e2ee_env *env, enum e2ee_record kind,
                          const struct record_key *key, struct e2ee_bytes *bytes_out,
                          struct reader *body_out)
{
    struct e2ee_bytes bytes = {0};
    enum e2ee_err err = load_error(env->store.load(env->store.context, env, kind, key->bytes,
                                                   key->len, &bytes));
    if (err != E2EE_OK) {
        return err;
    }
    err = record_open(kind, &bytes, body_out);
    if (err != E2EE_OK) {
        e2ee_bytes_free(env, &bytes);
        return err;
    }
    *bytes_out = bytes;
    return E2EE_OK;
}

enum e2ee_err record_exists(const struct e2ee_env *env, enum e2ee_record kind,
                            const struct record_key *key, bool *exists_out)
{
    struct e2ee_bytes bytes = {0};
    enum e2ee_err err = load_error(env->store.load(env->store.context, env, kind, key->bytes,
                                                   key->len, &bytes));
    if (err != E2EE_OK && err != E2EE_ERR_NOT_FOUND) {
        return err;
    }
    *exists_out = err == E2EE_OK;
    e2ee_bytes_free(env, &bytes);
    return E2EE_OK;
}

enum e2ee_err record_save(const struct e2ee_env *env, enum e2ee_record kind,
                          const struct record_key *key, const struct e2ee_bytes *bytes)
{
    return env->store.save(env->store.context, kind, key->bytes, key->len, bytes->data,
                           bytes->len) == E2EE_OK
               ? E2EE_OK
               : E2EE_ERR_STORE;
}

enum e2ee_err record_remove(const struct e2ee_env *env, enum e2ee_record kind,
                            const struct record_key *key)
{
    return env->store.remove(env->store.context, kind, key->bytes, key->len) == E2EE_OK
               ? E2EE_OK
               : E2EE_ERR_STORE;
}

bool address_valid(const struct e2ee_address *address)
{
    return address->service_id[0] <= 1 && address->device_id >= 1 &&
           address->device_id <= E2EE_DEVICE_ID_MAX;
}

bool address_equal(const struct e2ee_address *a, const struct e2ee_address *b)
{
    return a->device_id == b->device_id &&
           memcmp(a->service_id, b->service_id, E2EE_SERVICE_ID_LEN) == 0;
}
