/* Sender Keys, version 3.
 *
 * A chain gives one seed per message, as in the Double Ratchet, and every
 * message is signed with a key pair of the chain:
 *
 *   seed = HMAC(chain, 01), chain' = HMAC(chain, 02)
 *   HKDF(seed, "WhisperGroup") = iv (16) || key (32);  AES-256-CBC
 *   signature over 0x33 || protobuf, by the chain's signing key
 *
 * The record of a (sender, group) holds up to five chains, newest first. Ours
 * has one, with the private signing key. Body:
 *
 *   chains (1) || per chain: chain id (4) || iteration (4) || chain (32) ||
 *   signing public (33) || ours (1) [ || signing private (32) ] || seeds
 *
 * The signature is checked before anything is derived, so that a member cannot
 * make others run through chains of somebody else. A distribution message for
 * a chain that we hold changes nothing: it must not turn the chain back.
 */
#include "e2ee/group.h"

#include <string.h>

#include "e2ee/ratchet.h"

struct sender_chain {
    uint32_t chain_id;
    uint32_t iteration; /* of the next message */
    struct secret32 chain;
    struct curve_pair signing; /* the private half only in our own chain */
    bool ours;
    struct keylist skipped;
};

struct sender_key {
    struct record_key key;
    uint32_t count;
    struct sender_chain chains[E2EE_SENDER_KEY_STATES_MAX]; /* newest first */
};

/* --- record -------------------------------------------------------------------------- */

static void sender_key_deinit(const struct e2ee_env *env, struct sender_key *sender)
{
    for (uint32_t i = 0; i < E2EE_SENDER_KEY_STATES_MAX; i++) {
        keylist_deinit(env, &sender->chains[i].skipped);
    }
    SECRET_WIPE(*sender);
}

static void sender_key_body(struct writer *writer, const void *object)
{
    const struct sender_key *sender = object;
    write_u8(writer, (uint8_t)sender->count);
    for (uint32_t i = 0; i < sender->count; i++) {
        const struct sender_chain *chain = &sender->chains[i];
        write_u32(writer, chain->chain_id);
        write_u32(writer, chain->iteration);
        write_bytes(writer, chain->chain.bytes, 32);
        write_bytes(writer, chain->signing.public_key, E2EE_PUBLIC_LEN);
        write_u8(writer, chain->ours);
        write_bytes(writer, chain->signing.private_key.bytes, chain->ours ? 32 : 0);
        keylist_write(writer, &chain->skipped);
    }
}

static enum e2ee_err sender_key_read(const struct e2ee_env *env, struct reader *reader,
                                     struct sender_key *sender)
{
    uint32_t count = read_u8(reader);
    if (count < 1 || count > E2EE_SENDER_KEY_STATES_MAX) {
        return E2EE_ERR_CORRUPT;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct sender_chain *chain = &sender->chains[i];
        sender->count = i + 1;
        chain->chain_id = read_u32(reader);
        chain->iteration = read_u32(reader);
        read_into(reader, chain->chain.bytes, 32);
        read_into(reader, chain->signing.public_key, E2EE_PUBLIC_LEN);
        chain->ours = read_bool(reader);
        read_into(reader, chain->signing.private_key.bytes, chain->ours ? 32 : 0);
        enum e2ee_err err = keylist_read(env, reader, &chain->skipped);
        if (err != E2EE_OK) {
            return err;
        }
        if (chain->skipped.count > 0 &&
            chain->skipped.items[chain->skipped.count - 1].index >= chain->iteration) {
            return E2EE_ERR_CORRUPT;
        }
    }
    return reader_done(reader) ? E2EE_OK : E2EE_ERR_CORRUPT;
}

/* `sender` is valid for sender_key_deinit in any case.
 * Errors: NO_SENDER_KEY, CORRUPT, MEMORY, STORE. */
static enum e2ee_err sender_key_load(const struct e2ee_env *env,
                                     const struct e2ee_address *address,
                                     const uint8_t id[E2EE_DISTRIBUTION_ID_LEN],
                                     struct sender_key *sender)
{
    struct e2ee_bytes bytes;
    struct reader reader;
    memset(sender, 0, sizeof *sender);
    sender->key = record_key_group(address, id);
    enum e2ee_err err =
        record_load(env, E2EE_RECORD_SENDER_KEY, &sender->key, &bytes, &reader);
    if (err != E2EE_OK) {
        return err == E2EE_ERR_NOT_FOUND ? E2EE_ERR_NO_SENDER_KEY : err;
    }
    err = sender_key_read(env, &reader, sender);
    e2ee_bytes_free(env, &bytes);
    return err;
}

static enum e2ee_err sender_key_save(const struct e2ee_env *env, const struct sender_key *sender)
{
    struct e2ee_bytes record;
    enum e2ee_err err =
        record_seal(env, E2EE_RECORD_SENDER_KEY, sender_key_body, sender, &record);
    if (err == E2EE_OK) {
        err = record_save(env, E2EE_RECORD_SENDER_KEY, &sender->key, &record);
        e2ee_bytes_free(env, &record);
    }
    return err;
}

/* Takes the chain at `at` out. */
static void chain_remove(const struct e2ee_env *env, struct sender_key *sender, uint32_t at)
{
    keylist_deinit(env, &sender->chains[at].skipped);
    memmove(&sender->chains[at], &sender->chains[at + 1],
            (sender->count - at - 1) * sizeof sender->chains[0]);
    sender->count--;
    SECRET_WIPE(sender->chains[sender->count]);
}

/* An empty chain at the front; the oldest makes room. */
static struct sender_chain *chain_insert(const struct e2ee_env *env, struct sender_key *sender)
{
    if (sender->count == E2EE_SENDER_KEY_STATES_MAX) {
        chain_remove(env, sender, sender->count - 1);
    }
    memmove(&sender->chains[1], &sender->chains[0], sender->count * sizeof sender->chains[0]);
    sender->count++;
    memset(&sender->chains[0], 0, sizeof sender->chains[0]);
    return &sender->chains[0];
}

/* --- distributing ------------------------------------------------------------------------ */

static enum e2ee_err chain_create(const struct e2ee_env *env, struct sender_key *sender)
{
    struct sender_chain *chain = chain_insert(env, sender);
    uint8_t id[4];
    if (!env_random(env, id, sizeof id) ||
        !env_random(env, chain->chain.bytes, sizeof chain->chain.bytes) ||
        !curve_pair_generate(env, &chain->signing)) {
        return E2EE_ERR_RANDOM;
    }
    chain->chain_id = (uint32_t)(id[0] & 0x7f) << 24 | (uint32_t)id[1] << 16 |
                      (uint32_t)id[2] << 8 | id[3];
    chain->ours = true;
    return E2EE_OK;
}

enum e2ee_err e2ee_group_distribute(const struct e2ee_env *env,
                                    const uint8_t id[E2EE_DISTRIBUTION_ID_LEN],
                                    struct e2ee_bytes *message_out)
{
    struct sender_key sender;
    uint8_t *data = NULL;
    size_t len = 0;
    enum e2ee_err err = sender_key_load(env, &env->self, id, &sender);
    bool fresh = err == E2EE_ERR_NO_SENDER_KEY;
    if (fresh) {
        err = chain_create(env, &sender);
    }
    if (err == E2EE_OK) {
        const struct sender_chain *chain = &sender.chains[0];
        struct distribution_message message = {
            .id = id,
            .chain_id = chain->chain_id,
            .iteration = chain->iteration,
            .chain_key = chain->chain.bytes,
            .signing_key = chain->signing.public_key,
        };
        struct writer count = {0};
        distribution_write(&count, &message);
        len = count.len;
        data = env_alloc(env, len);
        struct writer writer = {.out = data};
        if (data != NULL) {
            distribution_write(&writer, &message);
        } else {
            err = E2EE_ERR_MEMORY;
        }
    }
    if (err == E2EE_OK && fresh) {
        err = sender_key_save(env, &sender);
    }
    if (err == E2EE_OK) {
        *message_out = (struct e2ee_bytes){.data = data, .len = len};
    } else {
        env_free(env, data, len);
    }
    sender_key_deinit(env, &sender);
    return err;
}

static bool sender_valid(const struct e2ee_env *env, const struct e2ee_address *sender)
{
    return address_valid(sender) && !address_equal(sender, &env->self);
}

enum e2ee_err e2ee_group_process(const struct e2ee_env *env, const struct e2ee_address *address,
                                 const uint8_t *message, size_t message_len)
{
    struct distribution_message parsed;
    struct sender_key sender;
    if (!sender_valid(env, address)) {
        return E2EE_ERR_ADDRESS;
    }
    enum e2ee_err err = distribution_parse(message, message_len, &parsed);
    if (err != E2EE_OK) {
        return err;
    }
    if (!curve_public_check(parsed.signing_key)) {
        return E2EE_ERR_KEY;
    }
    err = sender_key_load(env, address, parsed.id, &sender);
    if (err == E2EE_ERR_NO_SENDER_KEY) {
        err = E2EE_OK;
    }
    bool known = false;
    for (uint32_t i = 0; err == E2EE_OK && i < sender.count && !known;) {
        struct sender_chain *chain = &sender.chains[i];
        bool same_id = chain->chain_id == parsed.chain_id;
        known = same_id &&
                memcmp(chain->signing.public_key, parsed.signing_key, E2EE_PUBLIC_LEN) == 0;
        if (same_id && !known) {
            chain_remove(env, &sender, i); /* an id taken over by another key */
        } else {
            i++;
        }
    }
    if (err == E2EE_OK && !known) {
        struct sender_chain *chain = chain_insert(env, &sender);
        chain->chain_id = parsed.chain_id;
        chain->iteration = parsed.iteration;
        memcpy(chain->chain.bytes, parsed.chain_key, 32);
        memcpy(chain->signing.public_key, parsed.signing_key, E2EE_PUBLIC_LEN);
        err = sender_key_save(env, &sender);
    }
    sender_key_deinit(env, &sender);
    return err;
}

/* --- messages ------------------------------------------------------------------------------ */

struct group_keys {
    uint8_t iv[16];
    uint8_t cipher[32];
};

static void group_keys_derive(const struct secret32 *seed, struct group_keys *keys_out)
{
    static const char label[] = "WhisperGroup";
    uint8_t output[48];
    hkdf_sha256(NULL, 0, seed->bytes, 32, (const uint8_t *)label, sizeof label - 1, output,
                sizeof output);
    memcpy(keys_out->iv, output, 16);
    memcpy(keys_out->cipher, output + 16, 32);
    SECRET_WIPE(output);
}

/* A signed message in memory of `env`. */
static enum e2ee_err group_seal(const struct e2ee_env *env, const struct sender_chain *chain,
                                const uint8_t *id, const struct group_keys *keys,
                                const uint8_t *plaintext, size_t plaintext_len,
                                struct e2ee_bytes *out)
{
    size_t ciphertext_len = aes_cbc_len(plaintext_len);
    uint8_t *ciphertext = env_alloc(env, ciphertext_len);
    if (ciphertext == NULL) {
        return E2EE_ERR_MEMORY;
    }
    aes_cbc_encrypt(keys->cipher, keys->iv, plaintext, plaintext_len, ciphertext);
    struct sender_key_message message = {
        .id = id,
        .chain_id = chain->chain_id,
        .iteration = chain->iteration,
        .ciphertext = ciphertext,
        .ciphertext_len = ciphertext_len,
    };
    struct writer count = {0};
    sender_key_write(&count, &message);
    size_t len = count.len + E2EE_SIGNATURE_LEN;
    struct writer writer = {.out = env_alloc(env, len)};
    enum e2ee_err err = writer.out != NULL ? E2EE_OK : E2EE_ERR_MEMORY;
    if (err == E2EE_OK) {
        sender_key_write(&writer, &message);
        if (xeddsa_sign(env, &chain->signing.private_key, writer.out, writer.len,
                        writer.out + writer.len)) {
            *out = (struct e2ee_bytes){.data = writer.out, .len = len};
        } else {
            err = E2EE_ERR_RANDOM;
            env_free(env, writer.out, len);
        }
    }
    env_free(env, ciphertext, ciphertext_len);
    return err;
}

enum e2ee_err e2ee_group_encrypt(const struct e2ee_env *env,
                                 const uint8_t id[E2EE_DISTRIBUTION_ID_LEN],
                                 const uint8_t *plaintext, size_t plaintext_len,
                                 struct e2ee_bytes *message_out)
{
    struct sender_key sender;
    struct secret32 seed = {0};
    struct group_keys keys = {0};
    struct e2ee_bytes message = {0};
    if (plaintext_len > E2EE_PLAINTEXT_MAX) {
        return E2EE_ERR_ARGUMENT;
    }
    enum e2ee_err err = sender_key_load(env, &env->self, id, &sender);
    struct sender_chain *chain = &sender.chains[0];
    if (err == E2EE_OK && !chain->ours) {
        err = E2EE_ERR_CORRUPT;
    }
    if (err == E2EE_OK && chain->iteration == UINT32_MAX) {
        err = E2EE_ERR_EXHAUSTED;
    }
    if (err == E2EE_OK) {
        chain_step(&chain->chain, &seed);
        group_keys_derive(&seed, &keys);
        err = group_seal(env, chain, id, &keys, plaintext, plaintext_len, &message);
    }
    if (err == E2EE_OK) {
        chain->iteration++;
        err = sender_key_save(env, &sender);
    }
    if (err == E2EE_OK) {
        *message_out = message;
    } else {
        e2ee_bytes_free(env, &message);
    }
    SECRET_WIPE(seed);
    SECRET_WIPE(keys);
    sender_key_deinit(env, &sender);
    return err;
}

static enum e2ee_err group_open(const struct e2ee_env *env, const struct secret32 *seed,
                                const struct sender_key_message *message,
                                struct e2ee_bytes *plaintext_out)
{
    struct group_keys keys;
    size_t len;
    if (message->ciphertext_len == 0) {
        return E2EE_ERR_DECRYPT;
    }
    uint8_t *plaintext = env_alloc(env, message->ciphertext_len);
    if (plaintext == NULL) {
        return E2EE_ERR_MEMORY;
    }
    group_keys_derive(seed, &keys);
    enum e2ee_err err = E2EE_ERR_DECRYPT;
    if (aes_cbc_decrypt(keys.cipher, keys.iv, message->ciphertext, message->ciphertext_len,
                        plaintext, &len)) {
        err = e2ee_bytes_copy(env, plaintext, len, plaintext_out);
    }
    env_free(env, plaintext, message->ciphertext_len);
    SECRET_WIPE(keys);
    return err;
}

static struct sender_chain *chain_find(struct sender_key *sender, uint32_t chain_id)
{
    for (uint32_t i = 0; i < sender->count; i++) {
        if (sender->chains[i].chain_id == chain_id) {
            return &sender->chains[i];
        }
    }
    return NULL;
}

enum e2ee_err e2ee_group_decrypt(const struct e2ee_env *env, const struct e2ee_address *address,
                                 const uint8_t *bytes, size_t len,
                                 uint8_t id_out[E2EE_DISTRIBUTION_ID_LEN],
                                 struct e2ee_bytes *plaintext_out)
{
    struct sender_key_message message;
    struct sender_key sender;
    struct secret32 seed = {0};
    struct e2ee_bytes plaintext = {0};
    if (!sender_valid(env, address)) {
        return E2EE_ERR_ADDRESS;
    }
    enum e2ee_err err = sender_key_parse(bytes, len, &message);
    if (err != E2EE_OK) {
        return err;
    }
    err = sender_key_load(env, address, message.id, &sender);
    struct sender_chain *chain = chain_find(&sender, message.chain_id);
    if (err == E2EE_OK && chain == NULL) {
        err = E2EE_ERR_NO_SENDER_KEY;
    }
    if (err == E2EE_OK && !xeddsa_verify(chain->signing.public_key, message.signed_bytes,
                                         message.signed_len, message.signature)) {
        err = E2EE_ERR_SIGNATURE;
    }
    if (err == E2EE_OK) {
        err = chain_seed(env, &chain->chain, &chain->iteration, &chain->skipped,
                         message.iteration, E2EE_FORWARD_JUMP_MAX, &seed);
    }
    if (err == E2EE_OK) {
        err = group_open(env, &seed, &message, &plaintext);
    }
    if (err == E2EE_OK) {
        err = sender_key_save(env, &sender);
    }
    if (err == E2EE_OK) {
        if (id_out != NULL) {
            memcpy(id_out, message.id, E2EE_DISTRIBUTION_ID_LEN);
        }
        *plaintext_out = plaintext;
    } else {
        e2ee_bytes_free(env, &plaintext);
    }
    SECRET_WIPE(seed);
    sender_key_deinit(env, &sender);
    return err;
}

/* --- the rest ---------------------------------------------------------------------------------- */

enum e2ee_err e2ee_group_message_id(const uint8_t *message, size_t message_len,
                                    uint8_t id_out[E2EE_DISTRIBUTION_ID_LEN])
{
    struct sender_key_message parsed;
    enum e2ee_err err = sender_key_parse(message, message_len, &parsed);
    if (err == E2EE_OK) {
        memcpy(id_out, parsed.id, E2EE_DISTRIBUTION_ID_LEN);
    }
    return err;
}

enum e2ee_err e2ee_group_distribution_id(const uint8_t *message, size_t message_len,
                                         uint8_t id_out[E2EE_DISTRIBUTION_ID_LEN])
{
    struct distribution_message parsed;
    enum e2ee_err err = distribution_parse(message, message_len, &parsed);
    if (err == E2EE_OK) {
        memcpy(id_out, parsed.id, E2EE_DISTRIBUTION_ID_LEN);
    }
    return err;
}

enum e2ee_err e2ee_group_forget(const struct e2ee_env *env, const struct e2ee_address *sender,
                                const uint8_t id[E2EE_DISTRIBUTION_ID_LEN])
{
    struct record_key key = record_key_group(sender, id);
    return record_remove(env, E2EE_RECORD_SENDER_KEY, &key);
}

enum e2ee_err e2ee_group_rotate(const struct e2ee_env *env,
                                const uint8_t id[E2EE_DISTRIBUTION_ID_LEN])
{
    return e2ee_group_forget(env, &env->self, id);
}
