/* Prekeys and bundles.
 *
 * Bodies of the records (see record.h for the frame):
 *   PREKEY         created ms (8) || private (32) || public (33)
 *   SIGNED_PREKEY  the same || signature (64)
 *   KEM_PREKEY     created ms (8) || last resort (1) || secret (3168) || signature (64)
 *
 * Kyber keys are large (3 kB) but pass through the stack of the calls here only;
 * they are wiped before each returns.
 */
#include "e2ee/prekey.h"

#include <string.h>

#include "e2ee/keys_private.h"

enum { KEM_TYPE = 0x08 };

/* --- records ---------------------------------------------------------------------- */

static void prekey_body(struct writer *writer, const void *object)
{
    const struct curve_prekey *prekey = object;
    write_u64(writer, prekey->created_ms);
    write_bytes(writer, prekey->pair.private_key.bytes, E2EE_PRIVATE_LEN);
    write_bytes(writer, prekey->pair.public_key, E2EE_PUBLIC_LEN);
}

static void signed_prekey_body(struct writer *writer, const void *object)
{
    const struct curve_prekey *prekey = object;
    prekey_body(writer, object);
    write_bytes(writer, prekey->signature, E2EE_SIGNATURE_LEN);
}

static void kem_prekey_body(struct writer *writer, const void *object)
{
    const struct kem_prekey *prekey = object;
    write_u64(writer, prekey->created_ms);
    write_u8(writer, prekey->last_resort);
    write_bytes(writer, prekey->secret, KYBER1024_SECRET_LEN);
    write_bytes(writer, prekey->signature, E2EE_SIGNATURE_LEN);
}

enum e2ee_err curve_prekey_load(const struct e2ee_env *env, enum e2ee_record kind, uint32_t id,
                                struct curve_prekey *prekey_out)
{
    struct record_key key = record_key_id(id);
    struct curve_prekey prekey = {0};
    struct e2ee_bytes bytes;
    struct reader reader;
    enum e2ee_err err = record_load(env, kind, &key, &bytes, &reader);
    if (err != E2EE_OK) {
        return err;
    }
    prekey.created_ms = read_u64(&reader);
    read_into(&reader, prekey.pair.private_key.bytes, E2EE_PRIVATE_LEN);
    read_into(&reader, prekey.pair.public_key, E2EE_PUBLIC_LEN);
    if (kind == E2EE_RECORD_SIGNED_PREKEY) {
        read_into(&reader, prekey.signature, E2EE_SIGNATURE_LEN);
    }
    if (reader_done(&reader)) {
        *prekey_out = prekey;
    } else {
        err = E2EE_ERR_CORRUPT;
    }
    SECRET_WIPE(prekey);
    e2ee_bytes_free(env, &bytes);
    return err;
}

enum e2ee_err kem_prekey_load(const struct e2ee_env *env, uint32_t id,
                              struct kem_prekey *prekey_out)
{
    struct record_key key = record_key_id(id);
    struct e2ee_bytes bytes;
    struct reader reader;
    enum e2ee_err err = record_load(env, E2EE_RECORD_KEM_PREKEY, &key, &bytes, &reader);
    if (err != E2EE_OK) {
        return err;
    }
    prekey_out->created_ms = read_u64(&reader);
    prekey_out->last_resort = read_bool(&reader);
    read_into(&reader, prekey_out->secret, KYBER1024_SECRET_LEN);
    read_into(&reader, prekey_out->signature, E2EE_SIGNATURE_LEN);
    if (!reader_done(&reader)) {
        SECRET_WIPE(*prekey_out);
        err = E2EE_ERR_CORRUPT;
    }
    e2ee_bytes_free(env, &bytes);
    return err;
}

/* --- making prekeys ------------------------------------------------------------------ */

/* Saves a new record; refuses to replace one. */
static enum e2ee_err prekey_save(const struct e2ee_env *env, enum e2ee_record kind, uint32_t id,
                                 record_body *body, const void *prekey)
{
    struct record_key key = record_key_id(id);
    struct e2ee_bytes record;
    bool exists;
    enum e2ee_err err = record_exists(env, kind, &key, &exists);
    if (err != E2EE_OK) {
        return err;
    }
    if (exists) {
        return E2EE_ERR_EXISTS;
    }
    err = record_seal(env, kind, body, prekey, &record);
    if (err == E2EE_OK) {
        err = record_save(env, kind, &key, &record);
        e2ee_bytes_free(env, &record);
    }
    return err;
}

enum e2ee_err e2ee_prekey_create(const struct e2ee_env *env, uint32_t id,
                                 uint8_t public_out[E2EE_PUBLIC_LEN])
{
    struct curve_prekey prekey = {.created_ms = env->clock.now_ms(env->clock.context)};
    if (!curve_pair_generate(env, &prekey.pair)) {
        return E2EE_ERR_RANDOM;
    }
    enum e2ee_err err = prekey_save(env, E2EE_RECORD_PREKEY, id, prekey_body, &prekey);
    if (err == E2EE_OK) {
        memcpy(public_out, prekey.pair.public_key, E2EE_PUBLIC_LEN);
    }
    SECRET_WIPE(prekey);
    return err;
}

enum e2ee_err e2ee_signed_prekey_create(const struct e2ee_env *env, uint32_t id,
                                        uint8_t public_out[E2EE_PUBLIC_LEN],
                                        uint8_t signature_out[E2EE_SIGNATURE_LEN])
{
    struct curve_prekey prekey = {.created_ms = env->clock.now_ms(env->clock.context)};
    enum e2ee_err err = E2EE_ERR_RANDOM;
    if (curve_pair_generate(env, &prekey.pair)) {
        err = e2ee_identity_sign(env, prekey.pair.public_key, E2EE_PUBLIC_LEN, prekey.signature);
    }
    if (err == E2EE_OK) {
        err = prekey_save(env, E2EE_RECORD_SIGNED_PREKEY, id, signed_prekey_body, &prekey);
    }
    if (err == E2EE_OK) {
        memcpy(public_out, prekey.pair.public_key, E2EE_PUBLIC_LEN);
        memcpy(signature_out, prekey.signature, E2EE_SIGNATURE_LEN);
    }
    SECRET_WIPE(prekey);
    return err;
}

enum e2ee_err e2ee_kem_prekey_create(const struct e2ee_env *env, uint32_t id, bool last_resort,
                                     uint8_t public_out[E2EE_KEM_PUBLIC_LEN],
                                     uint8_t signature_out[E2EE_SIGNATURE_LEN])
{
    struct kem_prekey prekey = {.created_ms = env->clock.now_ms(env->clock.context),
                                .last_resort = last_resort};
    uint8_t public_key[E2EE_KEM_PUBLIC_LEN] = {KEM_TYPE};
    enum e2ee_err err = E2EE_ERR_RANDOM;
    if (kyber1024_keypair(env, public_key + 1, prekey.secret)) {
        err = e2ee_identity_sign(env, public_key, sizeof public_key, prekey.signature);
    }
    if (err == E2EE_OK) {
        err = prekey_save(env, E2EE_RECORD_KEM_PREKEY, id, kem_prekey_body, &prekey);
    }
    if (err == E2EE_OK) {
        memcpy(public_out, public_key, E2EE_KEM_PUBLIC_LEN);
        memcpy(signature_out, prekey.signature, E2EE_SIGNATURE_LEN);
    }
    SECRET_WIPE(prekey);
    return err;
}

static bool is_prekey(enum e2ee_record kind)
{
    return kind == E2EE_RECORD_PREKEY || kind == E2EE_RECORD_SIGNED_PREKEY ||
           kind == E2EE_RECORD_KEM_PREKEY;
}

enum e2ee_err e2ee_prekey_info(const struct e2ee_env *env, enum e2ee_record kind, uint32_t id,
                               struct e2ee_prekey_info *info_out)
{
    struct record_key key = record_key_id(id);
    struct e2ee_bytes bytes;
    struct reader reader;
    struct e2ee_prekey_info info = {0};
    if (!is_prekey(kind)) {
        return E2EE_ERR_ARGUMENT;
    }
    enum e2ee_err err = record_load(env, kind, &key, &bytes, &reader);
    if (err != E2EE_OK) {
        return err;
    }
    info.created_ms = read_u64(&reader);
    info.last_resort = kind == E2EE_RECORD_KEM_PREKEY && read_bool(&reader);
    if (reader.bad) {
        err = E2EE_ERR_CORRUPT;
    } else {
        *info_out = info;
    }
    e2ee_bytes_free(env, &bytes);
    return err;
}

enum e2ee_err e2ee_prekey_remove(const struct e2ee_env *env, enum e2ee_record kind, uint32_t id)
{
    struct record_key key = record_key_id(id);
    return is_prekey(kind) ? record_remove(env, kind, &key) : E2EE_ERR_ARGUMENT;
}

/* --- bundles ------------------------------------------------------------------------- */

enum e2ee_err e2ee_bundle_make(const struct e2ee_env *env, uint32_t signed_prekey_id,
                               uint32_t kem_prekey_id, const uint32_t *prekey_id,
                               struct e2ee_bundle *bundle_out)
{
    struct e2ee_bundle bundle = {.device_id = env->self.device_id,
                                 .signed_prekey_id = signed_prekey_id,
                                 .kem_prekey_id = kem_prekey_id,
                                 .has_prekey = prekey_id != NULL};
    struct curve_prekey prekey;
    struct kem_prekey kem;
    enum e2ee_err err = e2ee_identity_get(env, bundle.identity, &bundle.registration_id);
    if (err != E2EE_OK) {
        return err;
    }
    err = curve_prekey_load(env, E2EE_RECORD_SIGNED_PREKEY, signed_prekey_id, &prekey);
    if (err != E2EE_OK) {
        return err;
    }
    memcpy(bundle.signed_prekey, prekey.pair.public_key, E2EE_PUBLIC_LEN);
    memcpy(bundle.signed_prekey_signature, prekey.signature, E2EE_SIGNATURE_LEN);
    SECRET_WIPE(prekey);
    err = kem_prekey_load(env, kem_prekey_id, &kem);
    if (err != E2EE_OK) {
        return err;
    }
    bundle.kem_prekey[0] = KEM_TYPE;
    memcpy(bundle.kem_prekey + 1, kem.secret + KYBER1024_PUBLIC_OFFSET, KYBER1024_PUBLIC_LEN);
    memcpy(bundle.kem_prekey_signature, kem.signature, E2EE_SIGNATURE_LEN);
    SECRET_WIPE(kem);
    if (prekey_id != NULL) {
        bundle.prekey_id = *prekey_id;
        err = curve_prekey_load(env, E2EE_RECORD_PREKEY, *prekey_id, &prekey);
        if (err != E2EE_OK) {
            return err;
        }
        memcpy(bundle.prekey, prekey.pair.public_key, E2EE_PUBLIC_LEN);
        SECRET_WIPE(prekey);
    }
    *bundle_out = bundle;
    return E2EE_OK;
}

enum e2ee_err e2ee_bundle_check(const struct e2ee_bundle *bundle)
{
    if (bundle->registration_id < 1 || bundle->registration_id > E2EE_REGISTRATION_ID_MAX ||
        bundle->device_id < 1 || bundle->device_id > E2EE_DEVICE_ID_MAX) {
        return E2EE_ERR_MALFORMED;
    }
    if (!curve_public_check(bundle->identity) || !curve_public_check(bundle->signed_prekey) ||
        (bundle->has_prekey && !curve_public_check(bundle->prekey)) ||
        bundle->kem_prekey[0] != KEM_TYPE || !kyber1024_public_check(bundle->kem_prekey + 1)) {
        return E2EE_ERR_KEY;
    }
    if (!xeddsa_verify(bundle->identity, bundle->signed_prekey, E2EE_PUBLIC_LEN,
                       bundle->signed_prekey_signature) ||
        !xeddsa_verify(bundle->identity, bundle->kem_prekey, E2EE_KEM_PUBLIC_LEN,
                       bundle->kem_prekey_signature)) {
        return E2EE_ERR_SIGNATURE;
    }
    return E2EE_OK;
}
