/* Structures of the core taken apart for the WebAssembly host. flat.h has the
 * layouts. Nothing is decided here. */
#include "e2ee/wasm/flat.h"

#include <string.h>

#include "e2ee/crypto.h"

/* --- prekeys and sessions ------------------------------------------------------- */

struct cursor {
    uint8_t *write;
    const uint8_t *read;
};

static void put(struct cursor *at, const void *bytes, size_t len)
{
    memcpy(at->write, bytes, len);
    at->write += len;
}

static void put_u32(struct cursor *at, uint32_t value)
{
    for (int shift = 24; shift >= 0; shift -= 8) *at->write++ = (uint8_t)(value >> shift);
}

static void get(struct cursor *at, void *out, size_t len)
{
    memcpy(out, at->read, len);
    at->read += len;
}

static uint32_t get_u32(struct cursor *at)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) value = value << 8 | *at->read++;
    return value;
}

static void bundle_pack(const struct e2ee_bundle *bundle, uint8_t *packed)
{
    struct cursor at = {.write = packed};
    put_u32(&at, bundle->registration_id);
    *at.write++ = bundle->device_id;
    put(&at, bundle->identity, sizeof(bundle->identity));
    put_u32(&at, bundle->signed_prekey_id);
    put(&at, bundle->signed_prekey, sizeof(bundle->signed_prekey));
    put(&at, bundle->signed_prekey_signature, sizeof(bundle->signed_prekey_signature));
    put_u32(&at, bundle->kem_prekey_id);
    put(&at, bundle->kem_prekey, sizeof(bundle->kem_prekey));
    put(&at, bundle->kem_prekey_signature, sizeof(bundle->kem_prekey_signature));
    *at.write++ = bundle->has_prekey;
    put_u32(&at, bundle->prekey_id);
    put(&at, bundle->prekey, sizeof(bundle->prekey));
}

static void bundle_unpack(const uint8_t *packed, struct e2ee_bundle *bundle)
{
    struct cursor at = {.read = packed};
    bundle->registration_id = get_u32(&at);
    bundle->device_id = *at.read++;
    get(&at, bundle->identity, sizeof(bundle->identity));
    bundle->signed_prekey_id = get_u32(&at);
    get(&at, bundle->signed_prekey, sizeof(bundle->signed_prekey));
    get(&at, bundle->signed_prekey_signature, sizeof(bundle->signed_prekey_signature));
    bundle->kem_prekey_id = get_u32(&at);
    get(&at, bundle->kem_prekey, sizeof(bundle->kem_prekey));
    get(&at, bundle->kem_prekey_signature, sizeof(bundle->kem_prekey_signature));
    bundle->has_prekey = *at.read++ == 1;
    bundle->prekey_id = get_u32(&at);
    get(&at, bundle->prekey, sizeof(bundle->prekey));
}

int sotto_bundle_make(const struct e2ee_env *env, uint32_t signed_id, uint32_t kem_id,
                      const uint32_t *prekey_id, uint8_t *packed_out)
{
    struct e2ee_bundle bundle = {0};
    enum e2ee_err err = e2ee_bundle_make(env, signed_id, kem_id, prekey_id, &bundle);
    if (err == E2EE_OK) bundle_pack(&bundle, packed_out);
    return (int)err;
}

int sotto_session_start(const struct e2ee_env *env, const struct e2ee_address *peer,
                        const uint8_t *packed, size_t packed_len, uint32_t *seen_out)
{
    if (packed_len != FLAT_BUNDLE_LEN) return E2EE_ERR_MALFORMED;
    struct e2ee_bundle bundle;
    enum e2ee_identity_seen seen;
    bundle_unpack(packed, &bundle);
    enum e2ee_err err = e2ee_session_start(env, peer, &bundle, &seen);
    if (err == E2EE_OK) *seen_out = (uint32_t)seen;
    return (int)err;
}

int sotto_session_decrypt(const struct e2ee_env *env, const struct e2ee_address *peer,
                          uint32_t type, const uint8_t *message, size_t message_len,
                          struct e2ee_bytes *plaintext_out, uint32_t words_out[7])
{
    struct e2ee_received received = {0};
    enum e2ee_err err = e2ee_session_decrypt(env, peer, (enum e2ee_message_type)type, message,
                                             message_len, plaintext_out, &received);
    if (err == E2EE_OK) {
        words_out[0] = (uint32_t)received.seen;
        words_out[1] = received.session_started;
        words_out[2] = received.used_prekey;
        words_out[3] = received.prekey_id;
        words_out[4] = received.used_kem_prekey;
        words_out[5] = received.kem_prekey_id;
        words_out[6] = received.registration_id;
    }
    return (int)err;
}

int sotto_session_info(const struct e2ee_env *env, const struct e2ee_address *peer,
                       double doubles_out[6])
{
    struct e2ee_session_info info;
    enum e2ee_err err = e2ee_session_info(env, peer, &info);
    if (err == E2EE_OK) {
        doubles_out[0] = info.can_send;
        doubles_out[1] = info.acknowledged;
        doubles_out[2] = (double)info.created_ms;
        doubles_out[3] = info.registration_id;
        doubles_out[4] = (double)info.pq_epoch;
        doubles_out[5] = info.archived_count;
    }
    return (int)err;
}

int sotto_peer_get(const struct e2ee_env *env, const uint8_t *service_id, uint8_t *identity_out,
                   double doubles_out[4])
{
    struct e2ee_peer peer;
    enum e2ee_err err = e2ee_peer_get(env, service_id, &peer);
    if (err == E2EE_OK) {
        memcpy(identity_out, peer.identity, sizeof(peer.identity));
        doubles_out[0] = peer.verified;
        doubles_out[1] = peer.blocked;
        doubles_out[2] = (double)peer.since_ms;
        doubles_out[3] = peer.changes;
    }
    return (int)err;
}

int sotto_prekey_info(const struct e2ee_env *env, uint32_t kind, uint32_t id,
                      double doubles_out[2])
{
    struct e2ee_prekey_info info;
    enum e2ee_err err = e2ee_prekey_info(env, (enum e2ee_record)kind, id, &info);
    if (err == E2EE_OK) {
        doubles_out[0] = (double)info.created_ms;
        doubles_out[1] = info.last_resort;
    }
    return (int)err;
}

/* --- fingerprints ---------------------------------------------------------------- */

int sotto_fingerprint(const uint8_t *local_id, size_t local_id_len, const uint8_t *local_key,
                      const uint8_t *remote_id, size_t remote_id_len, const uint8_t *remote_key,
                      char *digits_out, uint8_t *qr_out)
{
    struct e2ee_fingerprint made;
    enum e2ee_err err = e2ee_fingerprint_make(local_id, local_id_len, local_key, remote_id,
                                              remote_id_len, remote_key, &made);
    if (err == E2EE_OK) {
        memcpy(digits_out, made.digits, E2EE_FINGERPRINT_DIGITS);
        memcpy(qr_out, made.qr, sizeof(made.qr));
    }
    return (int)err;
}

int sotto_fingerprint_compare(const uint8_t *local_qr, const uint8_t *scanned, size_t scanned_len,
                              uint32_t *equal_out)
{
    struct e2ee_fingerprint local = {0};
    bool equal;
    memcpy(local.qr, local_qr, sizeof(local.qr));
    enum e2ee_err err = e2ee_fingerprint_compare(&local, scanned, scanned_len, &equal);
    if (err == E2EE_OK) *equal_out = equal;
    return (int)err;
}

/* --- media and backups ------------------------------------------------------------- */

static bool whole_number(double value)
{
    return value >= 0 && value <= (double)E2EE_MEDIA_SIZE_MAX && value == (double)(uint64_t)value;
}

int sotto_media_layout(double size, double doubles_out[4])
{
    struct e2ee_media_layout layout;
    enum e2ee_err err = E2EE_ERR_ARGUMENT;
    if (whole_number(size)) err = e2ee_media_layout((uint64_t)size, &layout);
    if (err == E2EE_OK) {
        doubles_out[0] = (double)layout.padded;
        doubles_out[1] = layout.chunks;
        doubles_out[2] = (double)layout.hashes_at;
        doubles_out[3] = (double)layout.object_size;
    }
    return (int)err;
}

int sotto_media_range(double size, double offset, double len, double doubles_out[5])
{
    struct e2ee_media_layout layout;
    struct e2ee_media_range range;
    if (!whole_number(size) || !whole_number(offset) || !whole_number(len)) {
        return E2EE_ERR_ARGUMENT;
    }
    enum e2ee_err err = e2ee_media_layout((uint64_t)size, &layout);
    if (err == E2EE_OK) err = e2ee_media_range(&layout, (uint64_t)offset, (uint64_t)len, &range);
    if (err == E2EE_OK) {
        doubles_out[0] = range.first_chunk;
        doubles_out[1] = range.chunk_count;
        doubles_out[2] = (double)range.object_offset;
        doubles_out[3] = (double)range.object_len;
        doubles_out[4] = range.skip;
    }
    return (int)err;
}

int sotto_media_writer_create(const struct e2ee_env *env, double size,
                              struct e2ee_media_writer **writer_out)
{
    if (!whole_number(size)) return E2EE_ERR_ARGUMENT;
    return (int)e2ee_media_writer_create(env, (uint64_t)size, writer_out);
}

void sotto_media_writer_destroy(struct e2ee_media_writer *writer)
{
    e2ee_media_writer_destroy(&writer);
}

double sotto_media_reader_size(const struct e2ee_media_reader *reader)
{
    return (double)e2ee_media_reader_layout(reader)->size;
}

void sotto_media_reader_destroy(struct e2ee_media_reader *reader)
{
    e2ee_media_reader_destroy(&reader);
}

size_t sotto_backup_size(void)
{
    return sizeof(struct e2ee_backup);
}

/* --- provisioning ------------------------------------------------------------------ */

int sotto_link_seal(const struct e2ee_env *env, const char *url, size_t url_len,
                    const uint8_t *service_id, const uint8_t *identity_private,
                    const uint8_t *recovery_key, const uint8_t *more, size_t more_len,
                    struct e2ee_bytes *envelope_out)
{
    if (more_len > E2EE_LINK_MORE_MAX) return E2EE_ERR_ARGUMENT;
    struct e2ee_link_code code;
    enum e2ee_err err = e2ee_link_parse(url, url_len, &code);
    if (err != E2EE_OK) return (int)err;
    struct e2ee_link_contents contents = {.has_recovery_key = recovery_key != NULL,
                                          .more_len = more_len};
    memcpy(contents.service_id, service_id, sizeof(contents.service_id));
    memcpy(contents.identity_private, identity_private, sizeof(contents.identity_private));
    if (recovery_key != NULL) memcpy(contents.recovery_key, recovery_key, 32);
    if (more_len > 0) memcpy(contents.more, more, more_len);
    err = e2ee_link_seal(env, &code, &contents, envelope_out);
    SECRET_WIPE(code);
    e2ee_link_contents_wipe(&contents);
    return (int)err;
}

int sotto_link_open(const struct e2ee_env *env, const struct e2ee_link *link,
                    const uint8_t *envelope, size_t envelope_len, uint8_t secrets_out[82],
                    struct e2ee_bytes *more_out)
{
    struct e2ee_link_contents contents;
    enum e2ee_err err = e2ee_link_open(env, link, envelope, envelope_len, &contents);
    if (err != E2EE_OK) return (int)err;
    err = e2ee_bytes_copy(env, contents.more, contents.more_len, more_out);
    if (err == E2EE_OK) {
        struct cursor at = {.write = secrets_out};
        put(&at, contents.service_id, sizeof(contents.service_id));
        put(&at, contents.identity_private, sizeof(contents.identity_private));
        *at.write++ = contents.has_recovery_key;
        put(&at, contents.recovery_key, sizeof(contents.recovery_key));
    }
    e2ee_link_contents_wipe(&contents);
    return (int)err;
}
