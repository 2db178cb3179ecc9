/* The Double Ratchet with header keys in the clear, as the official protocol
 * has it, and the post-quantum key of SPQR as salt of every message key.
 *
 *   root step      HKDF(salt root, DH, "WhisperRatchet") = root' || chain
 *   chain step     seed = HMAC(chain, 01), chain' = HMAC(chain, 02)
 *   message keys   HKDF(salt SPQR key, seed, "WhisperMessageKeys")
 *                  = cipher key || mac key || iv
 *   mac            HMAC(mac key, sender identity || receiver identity ||
 *                  message without mac), first 8 bytes
 *
 * A new ratchet key of the peer makes one root step for its chain; our own
 * next pair and chain follow only after the MAC has been found good, so that
 * junk costs neither randomness nor a second agreement.
 *
 * Skipped messages leave their seeds behind, at most 2000 per chain. A message
 * more than 25000 ahead is refused before any work; between devices of one
 * account the jump is not limited, since they trust each other and a device
 * may miss a lot.
 *
 * Specification: Double Ratchet 2.6, 3.4, 3.5, 6, 7.
 */
#include "e2ee/ratchet.h"

#include <assert.h>
#include <string.h>

struct session *session_create(const struct e2ee_env *env)
{
    return env_zalloc(env, sizeof(struct session));
}

void session_destroy(const struct e2ee_env *env, struct session **session)
{
    if (*session == NULL) {
        return;
    }
    for (uint32_t i = 0; i < E2EE_RECEIVER_CHAINS_MAX; i++) {
        keylist_deinit(env, &(*session)->chains[i].skipped);
    }
    spqr_deinit(env, &(*session)->spqr);
    env_free(env, *session, sizeof **session);
    *session = NULL;
}

/* --- key derivation --------------------------------------------------------------------- */

void root_step(struct secret32 *root, const struct secret32 *shared, struct secret32 *chain_out)
{
    static const char label[] = "WhisperRatchet";
    uint8_t output[64];
    hkdf_sha256(root->bytes, 32, shared->bytes, 32, (const uint8_t *)label, sizeof label - 1,
                output, sizeof output);
    memcpy(root->bytes, output, 32);
    memcpy(chain_out->bytes, output + 32, 32);
    SECRET_WIPE(output);
}

void chain_step(struct secret32 *chain, struct secret32 *seed_out)
{
    static const uint8_t one = 1, two = 2;
    struct piece seed_input = PIECE(&one, 1), next_input = PIECE(&two, 1);
    hmac_sha256(chain->bytes, 32, &seed_input, 1, seed_out->bytes);
    hmac_sha256(chain->bytes, 32, &next_input, 1, chain->bytes);
}

void message_keys_derive(const struct secret32 *seed, const struct secret32 *pq_key,
                         struct message_keys *keys_out)
{
    static const char label[] = "WhisperMessageKeys";
    uint8_t output[80];
    hkdf_sha256(pq_key->bytes, 32, seed->bytes, 32, (const uint8_t *)label, sizeof label - 1,
                output, sizeof output);
    memcpy(keys_out->cipher, output, 32);
    memcpy(keys_out->mac, output + 32, 32);
    memcpy(keys_out->iv, output + 64, 16);
    SECRET_WIPE(output);
}

static void message_mac(const struct message_keys *keys, const uint8_t *sender_identity,
                        const uint8_t *receiver_identity, const uint8_t *bytes, size_t len,
                        uint8_t mac_out[WIRE_MAC_LEN])
{
    uint8_t mac[32];
    struct piece pieces[] = {PIECE(sender_identity, E2EE_PUBLIC_LEN),
                             PIECE(receiver_identity, E2EE_PUBLIC_LEN), PIECE(bytes, len)};
    hmac_sha256(keys->mac, 32, pieces, 3, mac);
    memcpy(mac_out, mac, WIRE_MAC_LEN);
}

/* --- encrypting ----------------------------------------------------------------------------- */

/* A SignalMessage around a ciphertext, in memory of `env`. */
static enum e2ee_err whisper_make(const struct e2ee_env *env, const struct session *session,
                                  const struct message_keys *keys,
                                  const struct whisper_message *message,
                                  struct e2ee_bytes *out)
{
    struct writer count = {0};
    whisper_write(&count, message);
    size_t len = count.len + WIRE_MAC_LEN;
    struct writer writer = {.out = env_alloc(env, len)};
    if (writer.out == NULL) {
        return E2EE_ERR_MEMORY;
    }
    whisper_write(&writer, message);
    message_mac(keys, session->local_identity, session->remote_identity, writer.out, writer.len,
                writer.out + writer.len);
    *out = (struct e2ee_bytes){.data = writer.out, .len = len};
    return E2EE_OK;
}

/* Wraps `inner` into a PreKeySignalMessage. */
static enum e2ee_err prekey_make(const struct e2ee_env *env, const struct session *session,
                                 const struct e2ee_bytes *inner, struct e2ee_bytes *out)
{
    const struct pending_prekey *prekey = &session->prekey;
    struct prekey_message message = {
        .has_prekey = prekey->has_prekey,
        .prekey_id = prekey->prekey_id,
        .registration_id = session->local_registration_id,
        .signed_prekey_id = prekey->signed_prekey_id,
        .kem_prekey_id = prekey->kem_prekey_id,
        .kem_ciphertext = prekey->kem_ciphertext,
        .base_key = session->base_key,
        .identity = session->local_identity,
        .inner = inner->data,
        .inner_len = inner->len,
    };
    struct writer count = {0};
    prekey_message_write(&count, &message);
    struct writer writer = {.out = env_alloc(env, count.len)};
    if (writer.out == NULL) {
        return E2EE_ERR_MEMORY;
    }
    prekey_message_write(&writer, &message);
    *out = (struct e2ee_bytes){.data = writer.out, .len = writer.len};
    return E2EE_OK;
}

enum e2ee_err session_seal(const struct e2ee_env *env, struct session *session,
                           const struct e2ee_address *peer, const uint8_t *plaintext,
                           size_t plaintext_len, struct e2ee_bytes *message_out)
{
    struct secret32 seed, pq_key;
    struct message_keys keys;
    struct e2ee_bytes inner = {0};
    uint8_t pq_message[SPQR_MESSAGE_MAX], addresses[WIRE_ADDRESSES_LEN];
    size_t pq_len, ciphertext_len = aes_cbc_len(plaintext_len);

    if (session->sender_index == UINT32_MAX) {
        return E2EE_ERR_EXHAUSTED;
    }
    enum e2ee_err err = spqr_send(env, &session->spqr, pq_message, &pq_len, &pq_key);
    if (err != E2EE_OK) {
        return err;
    }
    chain_step(&session->sender_chain, &seed);
    message_keys_derive(&seed, &pq_key, &keys);
    SECRET_WIPE(seed);
    SECRET_WIPE(pq_key);

    uint8_t *ciphertext = env_alloc(env, ciphertext_len);
    if (ciphertext == NULL) {
        err = E2EE_ERR_MEMORY;
        goto out;
    }
    aes_cbc_encrypt(keys.cipher, keys.iv, plaintext, plaintext_len, ciphertext);
    addresses_fill(&env->self, peer, addresses);
    struct whisper_message message = {
        .ratchet_key = session->sender.public_key,
        .counter = session->sender_index,
        .previous_counter = session->previous_counter,
        .ciphertext = ciphertext,
        .ciphertext_len = ciphertext_len,
        .pq_ratchet = pq_message,
        .pq_ratchet_len = pq_len,
        .addresses = session->pending ? addresses : NULL,
    };
    err = whisper_make(env, session, &keys, &message, &inner);
    if (err == E2EE_OK && session->pending) {
        struct e2ee_bytes outer;
        err = prekey_make(env, session, &inner, &outer);
        e2ee_bytes_free(env, &inner);
        inner = err == E2EE_OK ? outer : inner;
    }
    if (err == E2EE_OK) {
        session->sender_index++;
        *message_out = inner;
    }
out:
    env_free(env, ciphertext, ciphertext_len);
    SECRET_WIPE(keys);
    return err;
}

/* --- decrypting ----------------------------------------------------------------------------- */

static struct receiver_chain *chain_find(struct session *session, const uint8_t *ratchet_key)
{
    for (uint32_t i = 0; i < session->chain_count; i++) {
        if (memcmp(session->chains[i].ratchet_key, ratchet_key, E2EE_PUBLIC_LEN) == 0) {
            return &session->chains[i];
        }
    }
    return NULL;
}

/* A chain for a new ratchet key of the peer; the oldest makes room. */
static struct receiver_chain *chain_add(const struct e2ee_env *env, struct session *session,
                                        const uint8_t *ratchet_key, const struct secret32 *key)
{
    if (session->chain_count == E2EE_RECEIVER_CHAINS_MAX) {
        keylist_deinit(env, &session->chains[0].skipped);
        memmove(session->chains, session->chains + 1,
                (E2EE_RECEIVER_CHAINS_MAX - 1) * sizeof session->chains[0]);
        session->chain_count--;
    }
    struct receiver_chain *chain = &session->chains[session->chain_count++];
    *chain = (struct receiver_chain){.chain = *key};
    memcpy(chain->ratchet_key, ratchet_key, E2EE_PUBLIC_LEN);
    return chain;
}

enum e2ee_err chain_seed(const struct e2ee_env *env, struct secret32 *chain, uint32_t *index,
                         struct keylist *skipped, uint32_t counter, uint32_t jump_max,
                         struct secret32 *seed_out)
{
    if (counter < *index) {
        return keylist_take(skipped, counter, seed_out) ? E2EE_OK : E2EE_ERR_DUPLICATE;
    }
    uint32_t jump = counter - *index;
    if (jump > jump_max || counter == UINT32_MAX) {
        return E2EE_ERR_TOO_FAR;
    }
    uint32_t kept = jump < E2EE_SKIPPED_KEYS_MAX ? jump : E2EE_SKIPPED_KEYS_MAX;
    if (skipped->count + kept > E2EE_SKIPPED_KEYS_MAX) {
        keylist_drop(skipped, skipped->count + kept - E2EE_SKIPPED_KEYS_MAX);
    }
    enum e2ee_err err = keylist_reserve(env, skipped, kept);
    if (err != E2EE_OK) {
        return err;
    }
    for (; *index < counter; ++*index) {
        struct secret32 seed;
        chain_step(chain, &seed);
        if (counter - *index <= kept) {
            keylist_push(skipped, *index, &seed);
        }
        SECRET_WIPE(seed);
    }
    chain_step(chain, seed_out);
    ++*index;
    return E2EE_OK;
}

/* Our half of a turn of the ratchet: a new pair, and a chain to send with. */
static enum e2ee_err sender_turn(const struct e2ee_env *env, struct session *session,
                                 const uint8_t *ratchet_key)
{
    struct secret32 shared;
    if (!curve_pair_generate(env, &session->sender)) {
        return E2EE_ERR_RANDOM;
    }
    if (!curve_agree(&session->sender.private_key, ratchet_key, &shared)) {
        return E2EE_ERR_KEY;
    }
    root_step(&session->root, &shared, &session->sender_chain);
    SECRET_WIPE(shared);
    session->previous_counter = session->sender_index > 0 ? session->sender_index - 1 : 0;
    session->sender_index = 0;
    return E2EE_OK;
}

/* Checks the MAC and decrypts. */
static enum e2ee_err message_open(const struct e2ee_env *env, const struct session *session,
                                  const struct whisper_message *message,
                                  const struct message_keys *keys,
                                  struct e2ee_bytes *plaintext_out)
{
    uint8_t mac[WIRE_MAC_LEN];
    message_mac(keys, session->remote_identity, session->local_identity, message->authenticated,
                message->authenticated_len, mac);
    if (!secret_equal(mac, message->mac, WIRE_MAC_LEN) || message->ciphertext_len == 0) {
        return E2EE_ERR_DECRYPT;
    }
    size_t len;
    uint8_t *plaintext = env_alloc(env, message->ciphertext_len);
    if (plaintext == NULL) {
        return E2EE_ERR_MEMORY;
    }
    enum e2ee_err err = E2EE_ERR_DECRYPT;
    if (aes_cbc_decrypt(keys->cipher, keys->iv, message->ciphertext, message->ciphertext_len,
                        plaintext, &len)) {
        err = e2ee_bytes_copy(env, plaintext, len, plaintext_out);
    }
    env_free(env, plaintext, message->ciphertext_len);
    return err;
}

static bool addresses_match(const struct e2ee_env *env, const struct e2ee_address *peer,
                            const struct whisper_message *message)
{
    uint8_t addresses[WIRE_ADDRESSES_LEN];
    addresses_fill(peer, &env->self, addresses);
    return message->addresses == NULL ||
           secret_equal(message->addresses, addresses, sizeof addresses);
}

enum e2ee_err session_open(const struct e2ee_env *env, struct session *session,
                           const struct e2ee_address *peer,
                           const struct whisper_message *message,
                           struct e2ee_bytes *plaintext_out)
{
    struct secret32 seed = {0}, pq_key = {0};
    struct message_keys keys = {0};
    struct e2ee_bytes plaintext = {0};
    bool own = memcmp(session->local_identity, session->remote_identity, E2EE_PUBLIC_LEN) == 0;
    uint32_t jump_max = own ? UINT32_MAX : E2EE_FORWARD_JUMP_MAX;

    if (!addresses_match(env, peer, message)) {
        return E2EE_ERR_ADDRESS;
    }
    struct receiver_chain *chain = chain_find(session, message->ratchet_key);
    bool turned = chain == NULL;
    if (turned) {
        struct secret32 shared, key;
        if (!curve_agree(&session->sender.private_key, message->ratchet_key, &shared)) {
            return E2EE_ERR_KEY;
        }
        root_step(&session->root, &shared, &key);
        chain = chain_add(env, session, message->ratchet_key, &key);
        SECRET_WIPE(shared);
        SECRET_WIPE(key);
    }
    enum e2ee_err err = chain_seed(env, &chain->chain, &chain->index, &chain->skipped,
                                   message->counter, jump_max, &seed);
    if (err == E2EE_OK) {
        err = spqr_receive(env, &session->spqr, message->pq_ratchet, message->pq_ratchet_len,
                           jump_max, &pq_key);
    }
    if (err == E2EE_ERR_DUPLICATE && turned) {
        /* Nothing of this message has been authenticated: it may as well
         * belong to another session. */
        err = E2EE_ERR_DECRYPT;
    }
    if (err == E2EE_OK) {
        message_keys_derive(&seed, &pq_key, &keys);
        err = message_open(env, session, message, &keys, &plaintext);
    }
    if (err == E2EE_OK && turned) {
        err = sender_turn(env, session, message->ratchet_key);
    }
    if (err == E2EE_OK) {
        session->pending = false;
        SECRET_WIPE(session->prekey);
        *plaintext_out = plaintext;
    } else {
        e2ee_bytes_free(env, &plaintext);
    }
    SECRET_WIPE(seed);
    SECRET_WIPE(pq_key);
    SECRET_WIPE(keys);
    return err;
}
