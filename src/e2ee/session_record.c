/* The stored form of a session, version 1. In order:
 *
 *   local identity (33) || remote identity (33) || base key (33) ||
 *   local registration id (4) || remote registration id (4) || created ms (8) ||
 *   pending (1) [ || has prekey (1) || prekey id (4) || signed id (4) ||
 *                    KEM id (4) || KEM ciphertext (1569) ] ||
 *   root (32) || sender private (32) || sender public (33) ||
 *   sender chain (32) || sender index (4) || previous counter (4) ||
 *   chains (1) || per chain: ratchet key (33) || chain (32) || index (4) || seeds ||
 *   braid || SPQR chain
 *
 * Lists of keys: count (4), then index (4) || key (32) each, ascending. The
 * braid: state (1), epoch (8), authenticator (64), then the fields that its
 * state has (see the table in braid.c). The SPQR chain: next root (32),
 * initiator (1), send epoch (8), first epoch (8), epochs (1), and per epoch
 * two halves of live (1), counter (4), key (32 if live), and a list of keys.
 */
#include <string.h>

#include "e2ee/ratchet.h"

bool session_stored_is(const uint8_t *body, size_t len, const uint8_t base_key[E2EE_PUBLIC_LEN])
{
    size_t offset = 2 * E2EE_PUBLIC_LEN;
    return len >= offset + E2EE_PUBLIC_LEN &&
           memcmp(body + offset, base_key, E2EE_PUBLIC_LEN) == 0;
}

void session_write(struct writer *writer, const void *object)
{
    const struct session *session = object;
    write_bytes(writer, session->local_identity, E2EE_PUBLIC_LEN);
    write_bytes(writer, session->remote_identity, E2EE_PUBLIC_LEN);
    write_bytes(writer, session->base_key, E2EE_PUBLIC_LEN);
    write_u32(writer, session->local_registration_id);
    write_u32(writer, session->remote_registration_id);
    write_u64(writer, session->created_ms);
    write_u8(writer, session->pending);
    if (session->pending) {
        write_u8(writer, session->prekey.has_prekey);
        write_u32(writer, session->prekey.prekey_id);
        write_u32(writer, session->prekey.signed_prekey_id);
        write_u32(writer, session->prekey.kem_prekey_id);
        write_bytes(writer, session->prekey.kem_ciphertext, E2EE_KEM_CIPHERTEXT_LEN);
    }
    write_bytes(writer, session->root.bytes, 32);
    write_bytes(writer, session->sender.private_key.bytes, 32);
    write_bytes(writer, session->sender.public_key, E2EE_PUBLIC_LEN);
    write_bytes(writer, session->sender_chain.bytes, 32);
    write_u32(writer, session->sender_index);
    write_u32(writer, session->previous_counter);
    write_u8(writer, (uint8_t)session->chain_count);
    for (uint32_t i = 0; i < session->chain_count; i++) {
        const struct receiver_chain *chain = &session->chains[i];
        write_bytes(writer, chain->ratchet_key, E2EE_PUBLIC_LEN);
        write_bytes(writer, chain->chain.bytes, 32);
        write_u32(writer, chain->index);
        keylist_write(writer, &chain->skipped);
    }
    spqr_write(writer, &session->spqr);
}

static enum e2ee_err chains_read(const struct e2ee_env *env, struct reader *reader,
                                 struct session *session)
{
    uint32_t count = read_u8(reader);
    if (reader->bad || count > E2EE_RECEIVER_CHAINS_MAX) {
        return E2EE_ERR_CORRUPT;
    }
    enum e2ee_err err = E2EE_OK;
    for (uint32_t i = 0; i < count && err == E2EE_OK; i++) {
        struct receiver_chain *chain = &session->chains[i];
        session->chain_count = i + 1;
        read_into(reader, chain->ratchet_key, E2EE_PUBLIC_LEN);
        read_into(reader, chain->chain.bytes, 32);
        chain->index = read_u32(reader);
        err = keylist_read(env, reader, &chain->skipped);
        if (err == E2EE_OK && chain->skipped.count > 0 &&
            chain->skipped.items[chain->skipped.count - 1].index >= chain->index) {
            err = E2EE_ERR_CORRUPT;
        }
    }
    return err;
}

enum e2ee_err session_read(const struct e2ee_env *env, struct reader *reader,
                           struct session *session)
{
    read_into(reader, session->local_identity, E2EE_PUBLIC_LEN);
    read_into(reader, session->remote_identity, E2EE_PUBLIC_LEN);
    read_into(reader, session->base_key, E2EE_PUBLIC_LEN);
    session->local_registration_id = read_u32(reader);
    session->remote_registration_id = read_u32(reader);
    session->created_ms = read_u64(reader);
    session->pending = read_bool(reader);
    if (session->pending) {
        session->prekey.has_prekey = read_bool(reader);
        session->prekey.prekey_id = read_u32(reader);
        session->prekey.signed_prekey_id = read_u32(reader);
        session->prekey.kem_prekey_id = read_u32(reader);
        read_into(reader, session->prekey.kem_ciphertext, E2EE_KEM_CIPHERTEXT_LEN);
    }
    read_into(reader, session->root.bytes, 32);
    read_into(reader, session->sender.private_key.bytes, 32);
    read_into(reader, session->sender.public_key, E2EE_PUBLIC_LEN);
    read_into(reader, session->sender_chain.bytes, 32);
    session->sender_index = read_u32(reader);
    session->previous_counter = read_u32(reader);
    enum e2ee_err err = chains_read(env, reader, session);
    if (err == E2EE_OK) {
        err = spqr_read(env, reader, &session->spqr);
    }
    if (err == E2EE_OK && !reader_done(reader)) {
        err = E2EE_ERR_CORRUPT;
    }
    return err;
}
