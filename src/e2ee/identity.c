/* Identity keys: ours, and the peers' with trust on first use.
 *
 * Bodies of the records (see record.h for the frame):
 *   SELF  registration id (4) || private (32) || public (33)
 *   PEER  identity (33) || verified (1) || blocked (1) || since ms (8) || changes (4)
 */
#include "e2ee/identity.h"

#include <string.h>

#include "e2ee/keys_private.h"

static void self_body(struct writer *writer, const void *object)
{
    const struct self *self = object;
    write_u32(writer, self->registration_id);
    write_bytes(writer, self->pair.private_key.bytes, E2EE_PRIVATE_LEN);
    write_bytes(writer, self->pair.public_key, E2EE_PUBLIC_LEN);
}

enum e2ee_err self_load(const struct e2ee_env *env, struct self *self_out)
{
    struct e2ee_bytes bytes;
    struct reader reader;
    struct record_key key = record_key_none();
    struct self self;
    enum e2ee_err err = record_load(env, E2EE_RECORD_SELF, &key, &bytes, &reader);
    if (err != E2EE_OK) {
        return err;
    }
    self.registration_id = read_u32(&reader);
    read_into(&reader, self.pair.private_key.bytes, E2EE_PRIVATE_LEN);
    read_into(&reader, self.pair.public_key, E2EE_PUBLIC_LEN);
    if (reader_done(&reader)) {
        *self_out = self;
    } else {
        err = E2EE_ERR_CORRUPT;
    }
    SECRET_WIPE(self);
    e2ee_bytes_free(env, &bytes);
    return err;
}

static enum e2ee_err self_save(const struct e2ee_env *env, const struct self *self)
{
    struct record_key key = record_key_none();
    struct e2ee_bytes record;
    bool exists;
    enum e2ee_err err = record_exists(env, E2EE_RECORD_SELF, &key, &exists);
    if (err != E2EE_OK) {
        return err;
    }
    if (exists) {
        return E2EE_ERR_EXISTS;
    }
    err = record_seal(env, E2EE_RECORD_SELF, self_body, self, &record);
    if (err == E2EE_OK) {
        err = record_save(env, E2EE_RECORD_SELF, &key, &record);
        e2ee_bytes_free(env, &record);
    }
    return err;
}

enum e2ee_err e2ee_identity_import(const struct e2ee_env *env,
                                   const uint8_t private_key[E2EE_PRIVATE_LEN],
                                   uint32_t registration_id)
{
    struct self self = {.registration_id = registration_id};
    if (registration_id < 1 || registration_id > E2EE_REGISTRATION_ID_MAX) {
        return E2EE_ERR_ARGUMENT;
    }
    curve_pair_from_private(private_key, &self.pair);
    enum e2ee_err err = self_save(env, &self);
    SECRET_WIPE(self);
    return err;
}

enum e2ee_err e2ee_identity_create(const struct e2ee_env *env, uint32_t registration_id)
{
    uint8_t seed[E2EE_PRIVATE_LEN];
    if (!env_random(env, seed, sizeof seed)) {
        return E2EE_ERR_RANDOM;
    }
    enum e2ee_err err = e2ee_identity_import(env, seed, registration_id);
    SECRET_WIPE(seed);
    return err;
}

enum e2ee_err e2ee_identity_get(const struct e2ee_env *env, uint8_t public_out[E2EE_PUBLIC_LEN],
                                uint32_t *registration_id_out)
{
    struct self self;
    enum e2ee_err err = self_load(env, &self);
    if (err != E2EE_OK) {
        return err;
    }
    if (public_out != NULL) {
        memcpy(public_out, self.pair.public_key, E2EE_PUBLIC_LEN);
    }
    if (registration_id_out != NULL) {
        *registration_id_out = self.registration_id;
    }
    SECRET_WIPE(self);
    return E2EE_OK;
}

enum e2ee_err e2ee_identity_export(const struct e2ee_env *env,
                                   uint8_t private_out[E2EE_PRIVATE_LEN])
{
    struct self self;
    enum e2ee_err err = self_load(env, &self);
    if (err == E2EE_OK) {
        memcpy(private_out, self.pair.private_key.bytes, E2EE_PRIVATE_LEN);
        SECRET_WIPE(self);
    }
    return err;
}

enum e2ee_err e2ee_identity_sign(const struct e2ee_env *env, const uint8_t *message,
                                 size_t message_len, uint8_t signature_out[E2EE_SIGNATURE_LEN])
{
    struct self self;
    enum e2ee_err err = self_load(env, &self);
    if (err != E2EE_OK) {
        return err;
    }
    if (!xeddsa_sign(env, &self.pair.private_key, message, message_len, signature_out)) {
        err = E2EE_ERR_RANDOM;
    }
    SECRET_WIPE(self);
    return err;
}

enum e2ee_err e2ee_public_key_check(const uint8_t public_key[E2EE_PUBLIC_LEN])
{
    return curve_public_check(public_key) ? E2EE_OK : E2EE_ERR_KEY;
}

enum e2ee_err e2ee_signature_check(const uint8_t public_key[E2EE_PUBLIC_LEN],
                                   const uint8_t *message, size_t message_len,
                                   const uint8_t signature[E2EE_SIGNATURE_LEN])
{
    if (!curve_public_check(public_key)) {
        return E2EE_ERR_KEY;
    }
    return xeddsa_verify(public_key, message, message_len, signature) ? E2EE_OK
                                                                      : E2EE_ERR_SIGNATURE;
}

/* --- peers ----------------------------------------------------------------------- */

static void peer_body(struct writer *writer, const void *object)
{
    const struct e2ee_peer *peer = object;
    write_bytes(writer, peer->identity, E2EE_PUBLIC_LEN);
    write_u8(writer, peer->verified);
    write_u8(writer, peer->blocked);
    write_u64(writer, peer->since_ms);
    write_u32(writer, peer->changes);
}

enum e2ee_err peer_seal(const struct e2ee_env *env, const struct e2ee_peer *peer,
                        struct e2ee_bytes *record_out)
{
    return record_seal(env, E2EE_RECORD_PEER, peer_body, peer, record_out);
}

enum e2ee_err e2ee_peer_get(const struct e2ee_env *env,
                            const uint8_t service_id[E2EE_SERVICE_ID_LEN],
                            struct e2ee_peer *peer_out)
{
    struct record_key key = record_key_service(service_id);
    struct e2ee_bytes bytes;
    struct reader reader;
    struct e2ee_peer peer = {0};
    enum e2ee_err err = record_load(env, E2EE_RECORD_PEER, &key, &bytes, &reader);
    if (err != E2EE_OK) {
        return err;
    }
    read_into(&reader, peer.identity, E2EE_PUBLIC_LEN);
    peer.verified = read_bool(&reader);
    peer.blocked = read_bool(&reader);
    peer.since_ms = read_u64(&reader);
    peer.changes = read_u32(&reader);
    if (reader_done(&reader)) {
        *peer_out = peer;
    } else {
        err = E2EE_ERR_CORRUPT;
    }
    e2ee_bytes_free(env, &bytes);
    return err;
}

static enum e2ee_err peer_save(const struct e2ee_env *env,
                               const uint8_t service_id[E2EE_SERVICE_ID_LEN],
                               const struct e2ee_peer *peer)
{
    struct record_key key = record_key_service(service_id);
    struct e2ee_bytes record;
    enum e2ee_err err = peer_seal(env, peer, &record);
    if (err == E2EE_OK) {
        err = record_save(env, E2EE_RECORD_PEER, &key, &record);
        e2ee_bytes_free(env, &record);
    }
    return err;
}

enum e2ee_err e2ee_peer_accept(const struct e2ee_env *env,
                               const uint8_t service_id[E2EE_SERVICE_ID_LEN],
                               const uint8_t identity[E2EE_PUBLIC_LEN], bool verified)
{
    struct e2ee_peer peer;
    enum e2ee_err err = e2ee_peer_get(env, service_id, &peer);
    if (err != E2EE_OK) {
        return err;
    }
    if (!secret_equal(peer.identity, identity, E2EE_PUBLIC_LEN)) {
        return E2EE_ERR_IDENTITY;
    }
    peer.verified = verified;
    peer.blocked = false;
    return peer_save(env, service_id, &peer);
}

enum e2ee_err peer_observe(const struct e2ee_env *env,
                           const uint8_t service_id[E2EE_SERVICE_ID_LEN],
                           const uint8_t identity[E2EE_PUBLIC_LEN],
                           const uint8_t own_identity[E2EE_PUBLIC_LEN],
                           struct e2ee_peer *peer_out, enum e2ee_identity_seen *seen_out)
{
    struct e2ee_peer peer = {0};
    bool own = memcmp(service_id, env->self.service_id, E2EE_SERVICE_ID_LEN) == 0;
    if (own && memcmp(identity, own_identity, E2EE_PUBLIC_LEN) != 0) {
        return E2EE_ERR_IDENTITY;
    }
    enum e2ee_err err = e2ee_peer_get(env, service_id, &peer);
    if (err != E2EE_OK && err != E2EE_ERR_NOT_FOUND) {
        return err;
    }
    if (err == E2EE_OK && memcmp(peer.identity, identity, E2EE_PUBLIC_LEN) == 0) {
        *seen_out = E2EE_IDENTITY_SAME;
    } else {
        *seen_out = err == E2EE_OK ? E2EE_IDENTITY_CHANGED : E2EE_IDENTITY_NEW;
        peer.blocked = peer.blocked || peer.verified;
        peer.verified = false;
        peer.since_ms = env->clock.now_ms(env->clock.context);
        peer.changes += err == E2EE_OK ? 1 : 0;
        memcpy(peer.identity, identity, E2EE_PUBLIC_LEN);
    }
    *peer_out = peer;
    return E2EE_OK;
}
