/* PQXDH: the secrets with which a session begins.
 *
 * secret = FF x 32 || DH(IK_A, SPK_B) || DH(EK_A, IK_B) || DH(EK_A, SPK_B)
 *          [ || DH(EK_A, OPK_B) ] || Kyber secret
 *
 * The initiator sends first: its root key has made one step with a fresh
 * ratchet key and the signed prekey, which serves as the responder's first
 * ratchet key. The responder starts with the signed prekey as its own ratchet
 * pair; the first message that it receives turns its ratchet.
 *
 * Specification: PQXDH 3.3, 3.4; Double Ratchet 3.3.
 */
#include <string.h>

#include "e2ee/ratchet.h"

enum { KEM_TYPE = 0x08, SECRET_MAX = 32 * 6 };

void pqxdh_derive(const uint8_t *secret, size_t secret_len, struct secret32 *root_out,
                  struct secret32 *chain_out, struct secret32 *pq_out)
{
    static const char label[] = "WhisperText_X25519_SHA-256_CRYSTALS-KYBER-1024";
    uint8_t output[96];
    hkdf_sha256(NULL, 0, secret, secret_len, (const uint8_t *)label, sizeof label - 1, output,
                sizeof output);
    memcpy(root_out->bytes, output, 32);
    memcpy(chain_out->bytes, output + 32, 32);
    memcpy(pq_out->bytes, output + 64, 32);
    SECRET_WIPE(output);
}

/* The secrets in their order; `ok` falls with the first bad agreement. */
struct secrets {
    uint8_t bytes[SECRET_MAX];
    size_t len;
    bool ok;
};

static void secrets_init(struct secrets *secrets)
{
    memset(secrets->bytes, 0xff, 32);
    secrets->len = 32;
    secrets->ok = true;
}

static void secrets_add(struct secrets *secrets, const struct secret32 *secret)
{
    memcpy(secrets->bytes + secrets->len, secret->bytes, 32);
    secrets->len += 32;
}

static void secrets_agree(struct secrets *secrets, const struct curve_pair *ours,
                          const uint8_t theirs[E2EE_PUBLIC_LEN])
{
    struct secret32 shared;
    if (!curve_agree(&ours->private_key, theirs, &shared)) {
        secrets->ok = false;
        return;
    }
    secrets_add(secrets, &shared);
    SECRET_WIPE(shared);
}

enum e2ee_err session_initiate(const struct e2ee_env *env, const struct self *self,
                               const struct e2ee_bundle *bundle, struct session *session)
{
    struct curve_pair base;
    struct secrets secrets;
    struct secret32 kem_secret, pq_key, shared;
    struct pending_prekey *prekey = &session->prekey;

    prekey->kem_ciphertext[0] = KEM_TYPE;
    if (!curve_pair_generate(env, &base) || !curve_pair_generate(env, &session->sender) ||
        !kyber1024_encaps(env, bundle->kem_prekey + 1, prekey->kem_ciphertext + 1,
                          &kem_secret)) {
        SECRET_WIPE(base);
        return E2EE_ERR_RANDOM;
    }
    secrets_init(&secrets);
    secrets_agree(&secrets, &self->pair, bundle->signed_prekey);
    secrets_agree(&secrets, &base, bundle->identity);
    secrets_agree(&secrets, &base, bundle->signed_prekey);
    if (bundle->has_prekey) {
        secrets_agree(&secrets, &base, bundle->prekey);
    }
    secrets_add(&secrets, &kem_secret);
    bool ok = secrets.ok &&
              curve_agree(&session->sender.private_key, bundle->signed_prekey, &shared);
    if (ok) {
        /* The chain out of the handshake is the responder's first one. */
        struct receiver_chain *chain = &session->chains[0];
        pqxdh_derive(secrets.bytes, secrets.len, &session->root, &chain->chain, &pq_key);
        memcpy(chain->ratchet_key, bundle->signed_prekey, E2EE_PUBLIC_LEN);
        session->chain_count = 1;
        root_step(&session->root, &shared, &session->sender_chain);
        spqr_init(&session->spqr, &pq_key, true);

        memcpy(session->local_identity, self->pair.public_key, E2EE_PUBLIC_LEN);
        memcpy(session->remote_identity, bundle->identity, E2EE_PUBLIC_LEN);
        memcpy(session->base_key, base.public_key, E2EE_PUBLIC_LEN);
        session->local_registration_id = self->registration_id;
        session->remote_registration_id = bundle->registration_id;
        session->created_ms = env->clock.now_ms(env->clock.context);
        session->pending = true;
        prekey->has_prekey = bundle->has_prekey;
        prekey->prekey_id = bundle->has_prekey ? bundle->prekey_id : 0;
        prekey->signed_prekey_id = bundle->signed_prekey_id;
        prekey->kem_prekey_id = bundle->kem_prekey_id;
    }
    SECRET_WIPE(base);
    SECRET_WIPE(secrets);
    SECRET_WIPE(kem_secret);
    SECRET_WIPE(pq_key);
    SECRET_WIPE(shared);
    return ok ? E2EE_OK : E2EE_ERR_KEY;
}

enum e2ee_err session_respond(const struct self *self, const struct prekey_message *message,
                              const struct named_prekeys *prekeys, uint64_t now_ms,
                              struct session *session)
{
    struct secrets secrets;
    struct secret32 kem_secret, pq_key;
    const struct curve_pair *signed_pair = &prekeys->signed_prekey->pair;

    if (message->kem_ciphertext[0] != KEM_TYPE || !curve_public_check(message->base_key) ||
        !curve_public_check(message->identity)) {
        return E2EE_ERR_KEY;
    }
    if (!kyber1024_decaps(prekeys->kem->secret, message->kem_ciphertext + 1, &kem_secret)) {
        return E2EE_ERR_CORRUPT;
    }
    secrets_init(&secrets);
    secrets_agree(&secrets, signed_pair, message->identity);
    secrets_agree(&secrets, &self->pair, message->base_key);
    secrets_agree(&secrets, signed_pair, message->base_key);
    if (prekeys->prekey != NULL) {
        secrets_agree(&secrets, &prekeys->prekey->pair, message->base_key);
    }
    secrets_add(&secrets, &kem_secret);
    bool ok = secrets.ok;
    if (ok) {
        pqxdh_derive(secrets.bytes, secrets.len, &session->root, &session->sender_chain,
                     &pq_key);
        spqr_init(&session->spqr, &pq_key, false);
        session->sender = *signed_pair;
        memcpy(session->local_identity, self->pair.public_key, E2EE_PUBLIC_LEN);
        memcpy(session->remote_identity, message->identity, E2EE_PUBLIC_LEN);
        memcpy(session->base_key, message->base_key, E2EE_PUBLIC_LEN);
        session->local_registration_id = self->registration_id;
        session->remote_registration_id = message->registration_id;
        session->created_ms = now_ms;
        SECRET_WIPE(pq_key);
    }
    SECRET_WIPE(secrets);
    SECRET_WIPE(kem_secret);
    return ok ? E2EE_OK : E2EE_ERR_KEY;
}
