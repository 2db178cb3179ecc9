/* Linking a new device. provisioning.h has the exchange and the formats.
 *
 * The key of the envelope is used once: both the ephemeral key and the secret
 * of the code are fresh, so its nonce may come from the same derivation.
 *
 * Rejected: signing the envelope with the identity key (the new device does
 * not know it yet; the secret of the code proves more: who saw the screen).
 */
#include "e2ee/provisioning.h"

#include <string.h>

#include "e2ee/crypto.h"
#include "e2ee/padding.h"

enum {
    LINK_VERSION = 1,
    HEAD_LEN = 1 + 32,
    CONTENTS_FIXED_LEN = 1 + E2EE_SERVICE_ID_LEN + E2EE_PRIVATE_LEN + 1 + 32 + 2,
    LABEL_LEN = 21,
};
static const char label[] = "Sotto provisioning v1";
static const char url_head[] = "sotto:link?v=1&m=";
static const char url_key[] = "&k=";
static const char url_secret[] = "&s=";

/* --- base64url without padding, in constant time ---------------------------- */

/* All ones if low <= value <= high, for values below 2^15. */
static unsigned between(unsigned value, unsigned low, unsigned high)
{
    return (((value - low) | (high - value)) >> 31) - 1;
}

static unsigned char digit_to_char(unsigned v)
{
    return (unsigned char)((between(v, 0, 25) & ('A' + v)) | (between(v, 26, 51) & ('a' + v - 26)) |
                           (between(v, 52, 61) & ('0' + v - 52)) | (between(v, 62, 62) & '-') |
                           (between(v, 63, 63) & '_'));
}

/* Value of a character, with bit 8 set if it is none. */
static unsigned char_to_digit(unsigned char byte)
{
    unsigned c = byte;
    unsigned upper = between(c, 'A', 'Z'), lower = between(c, 'a', 'z');
    unsigned number = between(c, '0', '9'), dash = between(c, '-', '-'), low = between(c, '_', '_');
    unsigned value = (upper & (c - 'A')) | (lower & (c - 'a' + 26)) | (number & (c - '0' + 52)) |
                     (dash & 62) | (low & 63);
    return value | (~(upper | lower | number | dash | low) & 256);
}

static char *encode(char *out, const uint8_t *in, size_t len)
{
    unsigned held = 0, bits = 0;
    for (size_t i = 0; i < len; i++) {
        held = held << 8 | in[i];
        for (bits += 8; bits >= 6; bits -= 6) *out++ = (char)digit_to_char(held >> (bits - 6) & 63);
    }
    if (bits > 0) *out++ = (char)digit_to_char(held << (6 - bits) & 63);
    return out;
}

/* Decodes exactly the characters that `len` bytes take; moves *text on. */
static bool decode(const char **text, uint8_t *out, size_t len)
{
    unsigned held = 0, bits = 0, bad = 0;
    for (size_t done = 0; done < len;) {
        unsigned value = char_to_digit((unsigned char)*(*text)++);
        bad |= value & 256;
        held = (held & 0xff) << 6 | (value & 63);
        bits += 6;
        if (bits < 8) continue;
        bits -= 8;
        out[done++] = (uint8_t)(held >> bits);
    }
    bad |= held & ((1u << bits) - 1); /* unused bits are zero: one text per code */
    return bad == 0;
}

static bool expect(const char **text, const char *literal, size_t len)
{
    if (memcmp(*text, literal, len) != 0) return false;
    *text += len;
    return true;
}

/* --- the code ----------------------------------------------------------------- */

enum e2ee_err e2ee_link_begin(const struct e2ee_env *env, struct e2ee_link *link_out)
{
    struct curve_pair pair;
    struct e2ee_link link;
    enum e2ee_err err = E2EE_OK;
    if (!curve_pair_generate(env, &pair) ||
        !env_random(env, link.code.mailbox, sizeof(link.code.mailbox)) ||
        !env_random(env, link.code.secret, sizeof(link.code.secret))) {
        err = E2EE_ERR_RANDOM;
    } else {
        memcpy(link.code.key, pair.public_key + 1, 32);
        memcpy(link.private_key, pair.private_key.bytes, 32);
        *link_out = link;
    }
    SECRET_WIPE(pair);
    SECRET_WIPE(link);
    return err;
}

void e2ee_link_url(const struct e2ee_link_code *code, char url_out[E2EE_LINK_URL_LEN + 1])
{
    char *out = url_out;
    memcpy(out, url_head, sizeof(url_head) - 1);
    out = encode(out + sizeof(url_head) - 1, code->mailbox, sizeof(code->mailbox));
    memcpy(out, url_key, sizeof(url_key) - 1);
    out = encode(out + sizeof(url_key) - 1, code->key, sizeof(code->key));
    memcpy(out, url_secret, sizeof(url_secret) - 1);
    out = encode(out + sizeof(url_secret) - 1, code->secret, sizeof(code->secret));
    *out = '\0';
}

static void public_from_u(const uint8_t u[32], uint8_t public_out[E2EE_PUBLIC_LEN])
{
    public_out[0] = 0x05;
    memcpy(public_out + 1, u, 32);
}

enum e2ee_err e2ee_link_parse(const char *url, size_t url_len, struct e2ee_link_code *code_out)
{
    static const char any_version[] = "sotto:link?v=";
    const char *text = url;
    if (url_len < sizeof(url_head) - 1 || !expect(&text, any_version, sizeof(any_version) - 1)) {
        return E2EE_ERR_MALFORMED;
    }
    if (memcmp(text, "1&", 2) != 0) return E2EE_ERR_VERSION;
    text = url;
    struct e2ee_link_code code;
    if (url_len != E2EE_LINK_URL_LEN || !expect(&text, url_head, sizeof(url_head) - 1) ||
        !decode(&text, code.mailbox, sizeof(code.mailbox)) ||
        !expect(&text, url_key, sizeof(url_key) - 1) ||
        !decode(&text, code.key, sizeof(code.key)) ||
        !expect(&text, url_secret, sizeof(url_secret) - 1) ||
        !decode(&text, code.secret, sizeof(code.secret))) {
        SECRET_WIPE(code);
        return E2EE_ERR_MALFORMED;
    }
    uint8_t public_key[E2EE_PUBLIC_LEN];
    public_from_u(code.key, public_key);
    enum e2ee_err err = curve_public_check(public_key) ? E2EE_OK : E2EE_ERR_KEY;
    if (err == E2EE_OK) *code_out = code;
    SECRET_WIPE(code);
    return err;
}

/* --- the envelope --------------------------------------------------------------- */

struct envelope_keys {
    uint8_t key[AEAD_KEY_LEN];
    uint8_t nonce[AEAD_NONCE_LEN];
};

static bool envelope_keys(const struct secret32 *private_key, const uint8_t peer[32],
                          const struct e2ee_link_code *code, const uint8_t ephemeral[32],
                          struct envelope_keys *keys_out)
{
    uint8_t public_key[E2EE_PUBLIC_LEN];
    uint8_t info[LABEL_LEN + E2EE_LINK_MAILBOX_LEN + 32 + 32];
    struct secret32 shared;
    public_from_u(peer, public_key);
    if (!curve_agree(private_key, public_key, &shared)) return false;
    memcpy(info, label, LABEL_LEN);
    memcpy(info + LABEL_LEN, code->mailbox, E2EE_LINK_MAILBOX_LEN);
    memcpy(info + LABEL_LEN + E2EE_LINK_MAILBOX_LEN, code->key, 32);
    memcpy(info + LABEL_LEN + E2EE_LINK_MAILBOX_LEN + 32, ephemeral, 32);
    hkdf_sha256(code->secret, sizeof(code->secret), shared.bytes, sizeof(shared.bytes), info,
                sizeof(info), (uint8_t *)keys_out, sizeof(*keys_out));
    SECRET_WIPE(shared);
    return true;
}

static size_t contents_write(const struct e2ee_link_contents *contents, uint8_t *out)
{
    uint8_t *at = out;
    *at++ = LINK_VERSION;
    memcpy(at, contents->service_id, E2EE_SERVICE_ID_LEN);
    at += E2EE_SERVICE_ID_LEN;
    memcpy(at, contents->identity_private, E2EE_PRIVATE_LEN);
    at += E2EE_PRIVATE_LEN;
    *at++ = contents->has_recovery_key ? 1 : 0;
    if (contents->has_recovery_key) memcpy(at, contents->recovery_key, 32);
    else memset(at, 0, 32);
    at += 32;
    *at++ = (uint8_t)(contents->more_len >> 8);
    *at++ = (uint8_t)contents->more_len;
    if (contents->more_len > 0) memcpy(at, contents->more, contents->more_len);
    return (size_t)(at - out) + contents->more_len;
}

static enum e2ee_err contents_read(const uint8_t *in, size_t len,
                                   struct e2ee_link_contents *contents)
{
    if (len < 1) return E2EE_ERR_MALFORMED;
    if (in[0] != LINK_VERSION) return E2EE_ERR_VERSION;
    if (len < CONTENTS_FIXED_LEN) return E2EE_ERR_MALFORMED;
    const uint8_t *flag = in + 1 + E2EE_SERVICE_ID_LEN + E2EE_PRIVATE_LEN;
    const uint8_t *length = flag + 1 + 32;
    size_t more_len = (size_t)length[0] << 8 | length[1];
    if (*flag > 1 || more_len > E2EE_LINK_MORE_MAX || len != CONTENTS_FIXED_LEN + more_len) {
        return E2EE_ERR_MALFORMED;
    }
    memset(contents, 0, sizeof(*contents));
    memcpy(contents->service_id, in + 1, E2EE_SERVICE_ID_LEN);
    memcpy(contents->identity_private, in + 1 + E2EE_SERVICE_ID_LEN, E2EE_PRIVATE_LEN);
    contents->has_recovery_key = *flag == 1;
    if (contents->has_recovery_key) memcpy(contents->recovery_key, flag + 1, 32);
    contents->more_len = more_len;
    if (more_len > 0) memcpy(contents->more, length + 2, more_len);
    return E2EE_OK;
}

enum e2ee_err e2ee_link_seal(const struct e2ee_env *env, const struct e2ee_link_code *code,
                             const struct e2ee_link_contents *contents,
                             struct e2ee_bytes *envelope_out)
{
    if (contents->more_len > E2EE_LINK_MORE_MAX) return E2EE_ERR_ARGUMENT;
    struct curve_pair ephemeral;
    if (!curve_pair_generate(env, &ephemeral)) return E2EE_ERR_RANDOM;

    struct envelope_keys keys;
    enum e2ee_err err = E2EE_ERR_KEY;
    uint8_t *plain = NULL, *envelope = NULL;
    size_t plain_len = e2ee_padded_len(CONTENTS_FIXED_LEN + contents->more_len);
    size_t envelope_len = HEAD_LEN + plain_len + AEAD_TAG_LEN;
    if (!envelope_keys(&ephemeral.private_key, code->key, code, ephemeral.public_key + 1, &keys)) {
        goto out;
    }
    err = E2EE_ERR_MEMORY;
    plain = env_alloc(env, plain_len);
    envelope = env_alloc(env, envelope_len);
    if (plain == NULL || envelope == NULL) goto out;

    e2ee_pad(plain, contents_write(contents, plain));
    envelope[0] = LINK_VERSION;
    memcpy(envelope + 1, ephemeral.public_key + 1, 32);
    aead_seal(keys.key, keys.nonce, envelope, HEAD_LEN, plain, plain_len, envelope + HEAD_LEN);
    *envelope_out = (struct e2ee_bytes){envelope, envelope_len};
    envelope = NULL;
    err = E2EE_OK;
out:
    env_free(env, plain, plain_len);
    env_free(env, envelope, envelope_len);
    SECRET_WIPE(ephemeral);
    SECRET_WIPE(keys);
    return err;
}

enum e2ee_err e2ee_link_open(const struct e2ee_env *env, const struct e2ee_link *link,
                             const uint8_t *envelope, size_t envelope_len,
                             struct e2ee_link_contents *contents_out)
{
    if (envelope_len == 0) return E2EE_ERR_MALFORMED;
    if (envelope[0] != LINK_VERSION) return E2EE_ERR_VERSION;
    if (envelope_len <= HEAD_LEN + AEAD_TAG_LEN || envelope_len > E2EE_LINK_ENVELOPE_MAX) {
        return E2EE_ERR_MALFORMED;
    }
    struct secret32 private_key;
    struct envelope_keys keys;
    memcpy(private_key.bytes, link->private_key, 32);
    bool agreed = envelope_keys(&private_key, envelope + 1, &link->code, envelope + 1, &keys);
    SECRET_WIPE(private_key);
    if (!agreed) return E2EE_ERR_KEY;

    size_t plain_len = envelope_len - HEAD_LEN - AEAD_TAG_LEN, len = 0;
    uint8_t *plain = env_alloc(env, plain_len);
    enum e2ee_err err = E2EE_ERR_MEMORY;
    if (plain == NULL) goto out;
    err = E2EE_ERR_DECRYPT;
    if (!aead_open(keys.key, keys.nonce, envelope, HEAD_LEN, envelope + HEAD_LEN,
                   envelope_len - HEAD_LEN, plain)) {
        goto out;
    }
    err = e2ee_unpad(plain, plain_len, &len);
    if (err == E2EE_OK) err = contents_read(plain, len, contents_out);
out:
    env_free(env, plain, plain_len);
    SECRET_WIPE(keys);
    return err;
}

void e2ee_link_wipe(struct e2ee_link *link)
{
    secret_wipe(link, sizeof(*link));
}

void e2ee_link_contents_wipe(struct e2ee_link_contents *contents)
{
    secret_wipe(contents, sizeof(*contents));
}
