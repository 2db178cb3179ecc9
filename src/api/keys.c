/* Public keys. The server keeps them and hands them out; it can read none of
 * the messages they lead to. Worker threads.
 *
 * An upload is taken whole or not at all. One-time keys come in arrays, which
 * are decoded element by element; an element's mistake is told with its index.
 */
#include "api/api.h"

enum { KEY_ID_MAX = 0xffffff, REGISTRATION_ID_MAX = 16380 };

struct key_in {
    uint64_t id;
    struct slice key, signature;
};
struct upload_in {
    struct slice identity_key;
    uint64_t registration_id;
    struct json signed_prekey, last_resort_kem, kem_prekeys, ec_prekeys;
    bool replace;
};

/* One key of `key_len` bytes; signed or not. */
static enum problem decode_key(struct call *c, const char *name, struct json v, size_t key_len, bool is_signed,
                               struct signed_key *out)
{
    const struct json_field fields[] = {
        {.name = "keyId", .kind = JF_U64, .required = true, .offset = offsetof(struct key_in, id),
         .max = KEY_ID_MAX, .present_offset = SIZE_MAX},
        {.name = "key", .kind = JF_BASE64, .required = true, .offset = offsetof(struct key_in, key),
         .min = key_len, .max = key_len, .present_offset = SIZE_MAX},
        {.name = "signature", .kind = JF_BASE64, .required = true, .offset = offsetof(struct key_in, signature),
         .min = SIGNATURE_LEN, .max = SIGNATURE_LEN, .present_offset = SIZE_MAX},
    };
    struct key_in in = {0};
    c->field = name;
    if (json_type(v) != JSON_OBJECT) {
        buffer_printf(&c->why, "\"%s\" must be an object, or a list of objects.", name);
        return PROBLEM_BAD_FIELD;
    }
    size_t before = c->why.len;
    buffer_printf(&c->why, "%s: ", name);
    if (json_decode(&c->arena, v, fields, is_signed ? 3 : 2, &in, &c->why, NULL) != SOTTO_OK) return PROBLEM_BAD_FIELD;
    c->why.len = before;
    c->field = NULL;
    *out = (struct signed_key){(uint32_t)in.id, in.key, in.signature};
    return PROBLEM_NONE;
}

static enum problem decode_keys(struct call *c, const char *name, struct json array, size_t key_len, bool is_signed,
                                const struct signed_key **out, size_t *count_out)
{
    size_t count = json_count(array), i = 0;
    if (json_type(array) == JSON_ABSENT) return PROBLEM_NONE;
    if (json_type(array) != JSON_ARRAY) {
        c->field = name;
        buffer_printf(&c->why, "\"%s\" must be a list of objects.", name);
        return PROBLEM_BAD_FIELD;
    }
    if (count == 0) return PROBLEM_NONE;
    struct signed_key *keys = arena_zalloc(&c->arena, count * sizeof(*keys));
    if (keys == NULL) return PROBLEM_TOO_LARGE;
    for (struct json e = json_first(array); json_type(e) != JSON_ABSENT; e = json_next(array, e), i++) {
        enum problem p = decode_key(c, name, e, key_len, is_signed, &keys[i]);
        if (p != PROBLEM_NONE) return p;
    }
    *out = keys;
    *count_out = count;
    return PROBLEM_NONE;
}

static enum problem write_counts(struct call *c)
{
    uint32_t ec, kem;
    enum problem p = directory_key_counts(c->services->directory, c->user, c->device, &ec, &kem);
    if (p != PROBLEM_NONE) return p;
    json_put_u64(&c->answer, "ecPrekeys", ec);
    json_put_u64(&c->answer, "kemPrekeys", kem);
    return PROBLEM_NONE;
}

#define UPLOAD_FIELD(kind_, name_, member, min_, max_)                                                       \
    {.name = (name_), .kind = (kind_), .required = false, .offset = offsetof(struct upload_in, member),      \
     .min = (min_), .max = (max_), .present_offset = SIZE_MAX}

enum problem api_keys_upload(struct call *c)
{
    static const struct json_field fields[] = {
        UPLOAD_FIELD(JF_BASE64, "identityKey", identity_key, EC_KEY_LEN, EC_KEY_LEN),
        UPLOAD_FIELD(JF_U64, "registrationId", registration_id, 1, REGISTRATION_ID_MAX),
        UPLOAD_FIELD(JF_JSON, "signedPrekey", signed_prekey, 0, 8),
        UPLOAD_FIELD(JF_JSON, "lastResortKemPrekey", last_resort_kem, 0, 8),
        UPLOAD_FIELD(JF_JSON, "kemPrekeys", kem_prekeys, 0, SOTTO_ONE_TIME_PREKEYS_MAX),
        UPLOAD_FIELD(JF_JSON, "ecPrekeys", ec_prekeys, 0, SOTTO_ONE_TIME_PREKEYS_MAX),
        UPLOAD_FIELD(JF_BOOL, "replace", replace, 0, 0),
    };
    struct upload_in in = {0};
    struct key_upload upload = {0};
    enum problem p = call_decode(c, fields, sizeof(fields) / sizeof(fields[0]), &in);
    if (p != PROBLEM_NONE) return p;
    if ((in.identity_key.data == NULL) != (in.registration_id == 0)) {
        c->field = in.identity_key.data == NULL ? "identityKey" : "registrationId";
        buffer_append_str(&c->why, "identityKey and registrationId belong together.");
        return PROBLEM_BAD_FIELD;
    }
    upload.identity_key = in.identity_key;
    upload.registration_id = (uint16_t)in.registration_id;
    upload.replace = in.replace;
    if (json_type(in.signed_prekey) != JSON_ABSENT) {
        p = decode_key(c, "signedPrekey", in.signed_prekey, EC_KEY_LEN, true, &upload.signed_prekey);
    }
    if (p == PROBLEM_NONE && json_type(in.last_resort_kem) != JSON_ABSENT) {
        p = decode_key(c, "lastResortKemPrekey", in.last_resort_kem, KEM_KEY_LEN, true, &upload.last_resort_kem);
    }
    if (p == PROBLEM_NONE) {
        p = decode_keys(c, "kemPrekeys", in.kem_prekeys, KEM_KEY_LEN, true, &upload.kem_prekeys,
                        &upload.kem_prekeys_count);
    }
    if (p == PROBLEM_NONE) {
        p = decode_keys(c, "ecPrekeys", in.ec_prekeys, EC_KEY_LEN, false, &upload.ec_prekeys,
                        &upload.ec_prekeys_count);
    }
    if (p == PROBLEM_NONE) {
        p = directory_upload_keys(c->services->directory, c->user, c->device, &upload, &c->why);
    }
    return p == PROBLEM_NONE ? write_counts(c) : p;
}

enum problem api_keys_counts(struct call *c)
{
    return write_counts(c);
}

static void write_key(struct json_writer *w, const char *name, uint32_t id, const uint8_t *key, size_t key_len,
                      const uint8_t *signature)
{
    json_key(w, name);
    json_begin_object(w);
    json_put_u64(w, "keyId", id);
    json_put_base64(w, "key", slice_of(key, key_len));
    if (signature != NULL) json_put_base64(w, "signature", slice_of(signature, SIGNATURE_LEN));
    json_end_object(w);
}

static void write_bundle(struct json_writer *w, const struct key_bundle *b)
{
    json_begin_object(w);
    json_put_u64(w, "deviceId", b->device);
    json_put_u64(w, "registrationId", b->registration_id);
    json_put_base64(w, "identityKey", slice_of(b->identity_key, EC_KEY_LEN));
    write_key(w, "signedPrekey", b->signed_prekey_id, b->signed_prekey, EC_KEY_LEN, b->signed_prekey_signature);
    write_key(w, "kemPrekey", b->kem_prekey_id, b->kem_prekey, KEM_KEY_LEN, b->kem_prekey_signature);
    json_put_bool(w, "kemIsLastResort", b->kem_is_last_resort);
    if (b->has_ec_prekey) write_key(w, "ecPrekey", b->ec_prekey_id, b->ec_prekey, EC_KEY_LEN, NULL);
    json_end_object(w);
}

enum problem api_keys_take(struct call *c)
{
    struct take {
        struct id user;
        uint64_t device;
    } in = {0};
    static const struct json_field fields[] = {
        {.name = "userId", .kind = JF_ID, .required = true, .offset = offsetof(struct take, user),
         .present_offset = SIZE_MAX},
        {.name = "deviceId", .kind = JF_U64, .required = false, .offset = offsetof(struct take, device), .min = 1,
         .max = SOTTO_DEVICE_ID_MAX, .present_offset = SIZE_MAX},
    };
    enum problem p = call_decode(c, fields, sizeof(fields) / sizeof(fields[0]), &in);
    if (p != PROBLEM_NONE) return p;
    size_t count = 0;
    struct key_bundle *bundles = arena_zalloc(&c->arena, SOTTO_DEVICES_PER_USER_MAX * sizeof(*bundles));
    if (bundles == NULL) return PROBLEM_TOO_LARGE;
    p = directory_take_bundles(c->services->directory, in.user, (uint8_t)in.device, bundles, &count);
    if (p != PROBLEM_NONE) return p;
    json_put_id(&c->answer, "userId", in.user);
    json_key(&c->answer, "bundles");
    json_begin_array(&c->answer);
    for (size_t i = 0; i < count; i++) write_bundle(&c->answer, &bundles[i]);
    json_end_array(&c->answer);
    return PROBLEM_NONE;
}
