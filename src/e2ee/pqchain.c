/* The key chains of SPQR: from one secret per epoch to one key per message.
 *
 * Every epoch has a chain per direction. A message of braid epoch E takes its
 * key from chain epoch E - 1, since the secret of E is still on its way. Three
 * epochs are held: the one in use for sending, the one before it for late
 * messages (its sending half is erased), and the next one when its secret is
 * there already.
 *
 * Specification: Double Ratchet 5 (SPQR); the labels are those of the
 * official protocol.
 */
#include <assert.h>
#include <string.h>

#include "e2ee/spqr.h"

static void epoch_fill(struct pqchain *chain, struct pqchain_epoch *epoch,
                       const uint8_t secrets[96])
{
    const uint8_t *a2b = secrets + 32, *b2a = secrets + 64;
    memcpy(chain->next_root.bytes, secrets, 32);
    memcpy(epoch->send.next.bytes, chain->initiator ? a2b : b2a, 32);
    memcpy(epoch->receive.next.bytes, chain->initiator ? b2a : a2b, 32);
    epoch->send.live = epoch->receive.live = true;
}

void pqchain_init(struct pqchain *chain, const struct secret32 *auth_key, bool initiator)
{
    static const char label[] = "Signal PQ Ratchet V1 Chain  Start"; /* two spaces */
    uint8_t secrets[96];
    memset(chain, 0, sizeof *chain);
    chain->initiator = initiator;
    chain->count = 1;
    hkdf_sha256(NULL, 0, auth_key->bytes, 32, (const uint8_t *)label, sizeof label - 1, secrets,
                sizeof secrets);
    epoch_fill(chain, &chain->epochs[0], secrets);
    SECRET_WIPE(secrets);
}

static void epoch_deinit(const struct e2ee_env *env, struct pqchain_epoch *epoch)
{
    keylist_deinit(env, &epoch->skipped);
    SECRET_WIPE(*epoch);
}

void pqchain_deinit(const struct e2ee_env *env, struct pqchain *chain)
{
    for (uint32_t i = 0; i < PQCHAIN_EPOCHS_MAX; i++) {
        epoch_deinit(env, &chain->epochs[i]);
    }
    SECRET_WIPE(*chain);
}

static void drop_first(const struct e2ee_env *env, struct pqchain *chain)
{
    assert(chain->count > 1);
    epoch_deinit(env, &chain->epochs[0]);
    memmove(chain->epochs, chain->epochs + 1, (chain->count - 1) * sizeof chain->epochs[0]);
    chain->count--;
    chain->first++;
    /* The last slot was moved, not copied: no second copy of its secrets. */
    SECRET_WIPE(chain->epochs[chain->count]);
}

enum e2ee_err pqchain_add(const struct e2ee_env *env, struct pqchain *chain, uint64_t epoch,
                          const struct secret32 *secret)
{
    static const char label[] = "Signal PQ Ratchet V1 Chain Add Epoch";
    uint8_t secrets[96];
    if (epoch != chain->first + chain->count) {
        return E2EE_ERR_DECRYPT;
    }
    if (chain->count == PQCHAIN_EPOCHS_MAX) {
        drop_first(env, chain);
    }
    hkdf_sha256(chain->next_root.bytes, 32, secret->bytes, 32, (const uint8_t *)label,
                sizeof label - 1, secrets, sizeof secrets);
    epoch_fill(chain, &chain->epochs[chain->count++], secrets);
    SECRET_WIPE(secrets);
    return E2EE_OK;
}

static struct pqchain_epoch *epoch_find(struct pqchain *chain, uint64_t epoch)
{
    return epoch >= chain->first && epoch - chain->first < chain->count
               ? &chain->epochs[epoch - chain->first]
               : NULL;
}

static void half_step(struct pqchain_half *half, struct secret32 *key_out)
{
    static const char label[] = "Signal PQ Ratchet V1 Chain Next";
    uint8_t info[4 + sizeof label - 1], output[64];
    half->counter++;
    store_be32(info, half->counter);
    memcpy(info + 4, label, sizeof label - 1);
    hkdf_sha256(NULL, 0, half->next.bytes, 32, info, sizeof info, output, sizeof output);
    memcpy(half->next.bytes, output, 32);
    memcpy(key_out->bytes, output + 32, 32);
    SECRET_WIPE(output);
}

enum e2ee_err pqchain_send(const struct e2ee_env *env, struct pqchain *chain, uint64_t epoch,
                           uint32_t *index_out, struct secret32 *key_out)
{
    if (epoch < chain->send_epoch) {
        return E2EE_ERR_CORRUPT;
    }
    while (chain->first + 1 < epoch && chain->count > 1) {
        drop_first(env, chain);
    }
    if (epoch > chain->send_epoch) {
        chain->send_epoch = epoch;
        for (uint32_t i = 0; i < chain->count && chain->first + i < epoch; i++) {
            SECRET_WIPE(chain->epochs[i].send);
        }
    }
    struct pqchain_epoch *found = epoch_find(chain, epoch);
    if (found == NULL || !found->send.live) {
        return E2EE_ERR_CORRUPT;
    }
    if (found->send.counter == UINT32_MAX) {
        return E2EE_ERR_EXHAUSTED;
    }
    half_step(&found->send, key_out);
    *index_out = found->send.counter;
    return E2EE_OK;
}

enum e2ee_err pqchain_receive(const struct e2ee_env *env, struct pqchain *chain, uint64_t epoch,
                              uint32_t index, uint32_t jump_max, struct secret32 *key_out)
{
    struct pqchain_epoch *found = epoch_find(chain, epoch);
    if (found == NULL) {
        return E2EE_ERR_DECRYPT;
    }
    struct pqchain_half *half = &found->receive;
    if (index <= half->counter) {
        return keylist_take(&found->skipped, index, key_out) ? E2EE_OK : E2EE_ERR_DUPLICATE;
    }
    uint32_t jump = index - half->counter; /* 1 for the next message in order */
    if (jump > jump_max) {
        return E2EE_ERR_TOO_FAR;
    }
    /* Keep what is at most 2000 behind `index` afterwards. */
    uint32_t oldest = index > E2EE_SKIPPED_KEYS_MAX ? index - E2EE_SKIPPED_KEYS_MAX : 0;
    uint32_t skipped = jump - 1 < E2EE_SKIPPED_KEYS_MAX ? jump - 1 : E2EE_SKIPPED_KEYS_MAX;
    keylist_drop_below(&found->skipped, oldest);
    enum e2ee_err err = keylist_reserve(env, &found->skipped, skipped);
    if (err != E2EE_OK) {
        return err;
    }
    while (half->counter + 1 < index) {
        struct secret32 key;
        half_step(half, &key);
        if (half->counter >= oldest) {
            keylist_push(&found->skipped, half->counter, &key);
        }
        SECRET_WIPE(key);
    }
    half_step(half, key_out);
    return E2EE_OK;
}

/* --- stored form -------------------------------------------------------------------- */

static void half_write(struct writer *writer, const struct pqchain_half *half)
{
    write_u8(writer, half->live);
    write_u32(writer, half->counter);
    write_bytes(writer, half->next.bytes, half->live ? 32 : 0);
}

static void half_read(struct reader *reader, struct pqchain_half *half)
{
    half->live = read_bool(reader);
    half->counter = read_u32(reader);
    read_into(reader, half->next.bytes, half->live ? 32 : 0);
}

void pqchain_write(struct writer *writer, const struct pqchain *chain)
{
    write_bytes(writer, chain->next_root.bytes, 32);
    write_u8(writer, chain->initiator);
    write_u64(writer, chain->send_epoch);
    write_u64(writer, chain->first);
    write_u8(writer, (uint8_t)chain->count);
    for (uint32_t i = 0; i < chain->count; i++) {
        half_write(writer, &chain->epochs[i].send);
        half_write(writer, &chain->epochs[i].receive);
        keylist_write(writer, &chain->epochs[i].skipped);
    }
}

enum e2ee_err pqchain_read(const struct e2ee_env *env, struct reader *reader,
                           struct pqchain *chain)
{
    read_into(reader, chain->next_root.bytes, 32);
    chain->initiator = read_bool(reader);
    chain->send_epoch = read_u64(reader);
    chain->first = read_u64(reader);
    uint32_t count = read_u8(reader);
    if (reader->bad || count < 1 || count > PQCHAIN_EPOCHS_MAX ||
        chain->first > UINT64_MAX - PQCHAIN_EPOCHS_MAX) {
        return E2EE_ERR_CORRUPT;
    }
    enum e2ee_err err = E2EE_OK;
    for (uint32_t i = 0; i < count && err == E2EE_OK; i++) {
        struct pqchain_epoch *epoch = &chain->epochs[i];
        chain->count = i + 1;
        half_read(reader, &epoch->send);
        half_read(reader, &epoch->receive);
        err = keylist_read(env, reader, &epoch->skipped);
        if (err == E2EE_OK && epoch->skipped.count > 0 &&
            epoch->skipped.items[epoch->skipped.count - 1].index > epoch->receive.counter) {
            err = E2EE_ERR_CORRUPT;
        }
    }
    return err;
}
