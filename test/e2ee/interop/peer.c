/* Our side of the interoperability tests: the native core behind the peer
 * protocol that README.md lists. Every request loads what it needs from
 * serialised records and saves it again; a refused one leaves them as they
 * were. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "e2ee/crypto.h"
#include "e2ee/fingerprint.h"
#include "e2ee/group.h"
#include "e2ee/interop/peer_line.h"
#include "e2ee/interop/peer_store.h"
#include "e2ee/session.h"

enum { PEERS_MAX = 256 };

struct peer {
    struct e2ee_env env;
    struct peer_store store;
    uint32_t next_id;
};

static struct peer *peers[PEERS_MAX];
static size_t peer_count;
static int64_t clock_shift_ms;

/* --- the environment ---------------------------------------------------------------- */

static void *heap_alloc(void *context, size_t len)
{
    (void)context;
    return malloc(len);
}

static void heap_free(void *context, void *block, size_t len)
{
    (void)context;
    (void)len;
    free(block);
}

static int system_random(void *context, uint8_t *out, size_t len)
{
    (void)context;
    randombytes_buf(out, len);
    return 0;
}

static uint64_t system_now_ms(void *context)
{
    (void)context;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + clock_shift_ms);
}

/* --- requests ------------------------------------------------------------------------- */

typedef enum e2ee_err operation(const struct line *line, struct peer *me);

static bool read_address(const struct line *line, struct e2ee_address *out)
{
    memset(out, 0, sizeof(*out));
    out->device_id = (uint8_t)line_number(line, "device");
    return line_uuid(line, "uuid", out->service_id + 1);
}

static void answer_and_free(const struct e2ee_env *env, const char *name, struct e2ee_bytes *bytes)
{
    answer_bytes(name, bytes->data, bytes->len);
    e2ee_bytes_free(env, bytes);
}

static enum e2ee_err op_new(const struct line *line, struct peer *unused)
{
    (void)unused;
    if (peer_count == PEERS_MAX) return E2EE_ERR_ARGUMENT;
    struct peer *me = calloc(1, sizeof(*me));
    if (me == NULL) abort();
    me->next_id = 1;
    me->env.memory = (struct e2ee_memory){NULL, heap_alloc, heap_free};
    me->env.random = (struct e2ee_random){NULL, system_random};
    me->env.clock = (struct e2ee_clock){NULL, system_now_ms};
    me->env.store = peer_store_table(&me->store);
    if (!read_address(line, &me->env.self)) {
        free(me);
        return E2EE_ERR_ARGUMENT;
    }
    uint32_t registration = (uint32_t)line_number(line, "registration");
    if (registration == 0) registration = 1 + randombytes_uniform(E2EE_REGISTRATION_ID_MAX);
    uint8_t private_key[E2EE_PRIVATE_LEN], public_key[E2EE_PUBLIC_LEN];
    enum e2ee_err err = line_fixed(line, "identity", private_key, sizeof(private_key))
                            ? e2ee_identity_import(&me->env, private_key, registration)
                            : e2ee_identity_create(&me->env, registration);
    if (err == E2EE_OK) err = e2ee_identity_get(&me->env, public_key, NULL);
    if (err == E2EE_OK) err = e2ee_identity_export(&me->env, private_key);
    if (err != E2EE_OK) {
        free(me);
        return err;
    }
    peer_store_end(&me->store, true);
    answer_number("peer", peer_count);
    answer_bytes("identity", public_key, sizeof(public_key));
    answer_bytes("identityPrivate", private_key, sizeof(private_key));
    peers[peer_count++] = me;
    return E2EE_OK;
}

static enum e2ee_err op_publish(const struct line *line, struct peer *me)
{
    static struct e2ee_bundle bundle;
    static uint8_t kem_public[E2EE_KEM_PUBLIC_LEN];
    uint8_t public_key[E2EE_PUBLIC_LEN], signature[E2EE_SIGNATURE_LEN];
    uint32_t id = me->next_id++;
    bool once = line_true(line, "oneTime");
    enum e2ee_err err = e2ee_signed_prekey_create(&me->env, id, public_key, signature);
    if (err == E2EE_OK) {
        err = e2ee_kem_prekey_create(&me->env, id, line_true(line, "lastResort"), kem_public,
                                     signature);
    }
    if (err == E2EE_OK && once) err = e2ee_prekey_create(&me->env, id, public_key);
    if (err == E2EE_OK) err = e2ee_bundle_make(&me->env, id, id, once ? &id : NULL, &bundle);
    if (err != E2EE_OK) return err;
    answer_number("registration", bundle.registration_id);
    answer_number("device", bundle.device_id);
    answer_bytes("identity", bundle.identity, sizeof(bundle.identity));
    answer_number("signedId", bundle.signed_prekey_id);
    answer_bytes("signedKey", bundle.signed_prekey, sizeof(bundle.signed_prekey));
    answer_bytes("signedSig", bundle.signed_prekey_signature, sizeof(bundle.signed_prekey_signature));
    answer_number("kemId", bundle.kem_prekey_id);
    answer_bytes("kemKey", bundle.kem_prekey, sizeof(bundle.kem_prekey));
    answer_bytes("kemSig", bundle.kem_prekey_signature, sizeof(bundle.kem_prekey_signature));
    if (bundle.has_prekey) {
        answer_number("oneTimeId", bundle.prekey_id);
        answer_bytes("oneTimeKey", bundle.prekey, sizeof(bundle.prekey));
    }
    return E2EE_OK;
}

static enum e2ee_err op_start(const struct line *line, struct peer *me)
{
    static struct e2ee_bundle bundle;
    struct e2ee_address peer;
    if (!read_address(line, &peer)) return E2EE_ERR_ARGUMENT;
    memset(&bundle, 0, sizeof(bundle));
    bundle.registration_id = (uint32_t)line_number(line, "registration");
    bundle.device_id = (uint8_t)line_number(line, "device");
    bundle.signed_prekey_id = (uint32_t)line_number(line, "signedId");
    bundle.kem_prekey_id = (uint32_t)line_number(line, "kemId");
    bundle.prekey_id = (uint32_t)line_number(line, "oneTimeId");
    bundle.has_prekey = line_has(line, "oneTimeKey");
    if (!line_fixed(line, "identity", bundle.identity, sizeof(bundle.identity)) ||
        !line_fixed(line, "signedKey", bundle.signed_prekey, sizeof(bundle.signed_prekey)) ||
        !line_fixed(line, "signedSig", bundle.signed_prekey_signature, E2EE_SIGNATURE_LEN) ||
        !line_fixed(line, "kemKey", bundle.kem_prekey, sizeof(bundle.kem_prekey)) ||
        !line_fixed(line, "kemSig", bundle.kem_prekey_signature, E2EE_SIGNATURE_LEN) ||
        (bundle.has_prekey &&
         !line_fixed(line, "oneTimeKey", bundle.prekey, sizeof(bundle.prekey)))) {
        return E2EE_ERR_MALFORMED;
    }
    enum e2ee_identity_seen seen;
    enum e2ee_err err = e2ee_session_start(&me->env, &peer, &bundle, &seen);
    if (err == E2EE_OK) answer_number("seen", (uint64_t)seen);
    return err;
}

static enum e2ee_err op_enc(const struct line *line, struct peer *me)
{
    struct e2ee_address peer;
    struct e2ee_bytes message = {0};
    enum e2ee_message_type type;
    size_t len = 0;
    uint8_t *plaintext = line_bytes(line, "pt", &len);
    enum e2ee_err err = E2EE_ERR_ARGUMENT;
    if (plaintext != NULL && read_address(line, &peer)) {
        err = e2ee_session_encrypt(&me->env, &peer, plaintext, len, &type, &message);
    }
    if (err == E2EE_OK) {
        answer_number("type", (uint64_t)type);
        answer_and_free(&me->env, "bytes", &message);
    }
    free(plaintext);
    return err;
}

static enum e2ee_err op_dec(const struct line *line, struct peer *me)
{
    struct e2ee_address peer;
    struct e2ee_bytes plaintext = {0};
    struct e2ee_received received;
    size_t len = 0;
    uint8_t *message = line_bytes(line, "bytes", &len);
    enum e2ee_err err = E2EE_ERR_ARGUMENT;
    if (message != NULL && read_address(line, &peer)) {
        err = e2ee_session_decrypt(&me->env, &peer,
                                   (enum e2ee_message_type)line_number(line, "type"), message, len,
                                   &plaintext, &received);
    }
    if (err == E2EE_OK) {
        answer_and_free(&me->env, "pt", &plaintext);
        answer_number("seen", (uint64_t)received.seen);
        answer_number("started", received.session_started);
    }
    free(message);
    return err;
}

static enum e2ee_err op_skdm(const struct line *line, struct peer *me)
{
    uint8_t id[E2EE_DISTRIBUTION_ID_LEN];
    struct e2ee_bytes message;
    if (!line_uuid(line, "distribution", id)) return E2EE_ERR_ARGUMENT;
    enum e2ee_err err = e2ee_group_distribute(&me->env, id, &message);
    if (err == E2EE_OK) answer_and_free(&me->env, "bytes", &message);
    return err;
}

static enum e2ee_err op_skin(const struct line *line, struct peer *me)
{
    struct e2ee_address sender;
    size_t len = 0;
    uint8_t *message = line_bytes(line, "bytes", &len);
    enum e2ee_err err = E2EE_ERR_ARGUMENT;
    if (message != NULL && read_address(line, &sender)) {
        err = e2ee_group_process(&me->env, &sender, message, len);
    }
    free(message);
    return err;
}

static enum e2ee_err op_genc(const struct line *line, struct peer *me)
{
    uint8_t id[E2EE_DISTRIBUTION_ID_LEN];
    struct e2ee_bytes message;
    size_t len = 0;
    uint8_t *plaintext = line_bytes(line, "pt", &len);
    enum e2ee_err err = E2EE_ERR_ARGUMENT;
    if (plaintext != NULL && line_uuid(line, "distribution", id)) {
        err = e2ee_group_encrypt(&me->env, id, plaintext, len, &message);
    }
    if (err == E2EE_OK) answer_and_free(&me->env, "bytes", &message);
    free(plaintext);
    return err;
}

static enum e2ee_err op_gdec(const struct line *line, struct peer *me)
{
    struct e2ee_address sender;
    struct e2ee_bytes plaintext;
    size_t len = 0;
    uint8_t *message = line_bytes(line, "bytes", &len);
    enum e2ee_err err = E2EE_ERR_ARGUMENT;
    if (message != NULL && read_address(line, &sender)) {
        err = e2ee_group_decrypt(&me->env, &sender, message, len, NULL, &plaintext);
    }
    if (err == E2EE_OK) answer_and_free(&me->env, "pt", &plaintext);
    free(message);
    return err;
}

static enum e2ee_err op_rotate(const struct line *line, struct peer *me)
{
    uint8_t id[E2EE_DISTRIBUTION_ID_LEN];
    if (!line_uuid(line, "distribution", id)) return E2EE_ERR_ARGUMENT;
    return e2ee_group_rotate(&me->env, id);
}

static enum e2ee_err op_fp(const struct line *line, struct peer *me)
{
    uint8_t mine[E2EE_PUBLIC_LEN], remote[E2EE_PUBLIC_LEN];
    size_t local_len = 0, remote_len = 0, scanned_len = 0;
    uint8_t *local_id = line_bytes(line, "localId", &local_len);
    uint8_t *remote_id = line_bytes(line, "remoteId", &remote_len);
    uint8_t *scanned = line_bytes(line, "scanned", &scanned_len);
    struct e2ee_fingerprint made;
    bool match = false;
    enum e2ee_err err = E2EE_ERR_ARGUMENT;
    if (local_id != NULL && remote_id != NULL &&
        line_fixed(line, "remoteKey", remote, sizeof(remote))) {
        err = e2ee_identity_get(&me->env, mine, NULL);
    }
    if (err == E2EE_OK) {
        err = e2ee_fingerprint_make(local_id, local_len, mine, remote_id, remote_len, remote, &made);
    }
    if (err == E2EE_OK && scanned != NULL) {
        err = e2ee_fingerprint_compare(&made, scanned, scanned_len, &match);
    }
    if (err == E2EE_OK) {
        answer_text("digits", made.digits);
        answer_bytes("qr", made.qr, sizeof(made.qr));
        if (scanned != NULL) answer_number("match", match);
    }
    free(local_id);
    free(remote_id);
    free(scanned);
    return err;
}

static enum e2ee_err op_archive(const struct line *line, struct peer *me)
{
    struct e2ee_address peer;
    return read_address(line, &peer) ? e2ee_session_archive(&me->env, &peer) : E2EE_ERR_ARGUMENT;
}

static enum e2ee_err op_approve(const struct line *line, struct peer *me)
{
    struct e2ee_address peer;
    uint8_t identity[E2EE_PUBLIC_LEN];
    if (!read_address(line, &peer) || !line_fixed(line, "identity", identity, sizeof(identity))) {
        return E2EE_ERR_ARGUMENT;
    }
    return e2ee_peer_accept(&me->env, peer.service_id, identity, line_true(line, "verified"));
}

static enum e2ee_err op_info(const struct line *line, struct peer *me)
{
    struct e2ee_address peer;
    struct e2ee_session_info info;
    if (!read_address(line, &peer)) return E2EE_ERR_ARGUMENT;
    enum e2ee_err err = e2ee_session_info(&me->env, &peer, &info);
    if (err == E2EE_OK) {
        answer_number("canSend", info.can_send);
        answer_number("acknowledged", info.acknowledged);
        answer_number("epoch", info.pq_epoch);
        answer_number("archived", info.archived_count);
    }
    return err;
}

static enum e2ee_err op_state(const struct line *line, struct peer *me)
{
    (void)line;
    uint8_t digest[32];
    peer_store_digest(&me->store, digest);
    answer_bytes("digest", digest, sizeof(digest));
    return E2EE_OK;
}

/* Moves the clock on, for the 30-day rule. */
static enum e2ee_err op_clock(const struct line *line, struct peer *me)
{
    (void)me;
    clock_shift_ms += (int64_t)line_number(line, "ms");
    return E2EE_OK;
}

/* Raw ML-KEM with given coins: keys, a ciphertext and both secrets. */
static enum e2ee_err op_mlkem1024(const struct line *line, struct peer *me)
{
    (void)me;
    static uint8_t public_key[KYBER1024_PUBLIC_LEN], secret_key[KYBER1024_SECRET_LEN];
    static uint8_t ciphertext[KYBER1024_CIPHERTEXT_LEN];
    uint8_t seed[64], coins[32], sent[32], got[32], foreign[32];
    if (!line_fixed(line, "seed", seed, 64) || !line_fixed(line, "coins", coins, 32) ||
        !mlkem1024_keypair_derand(seed, public_key, secret_key) ||
        !mlkem1024_encaps_derand(public_key, coins, ciphertext, sent) ||
        !mlkem1024_decaps(secret_key, ciphertext, got)) {
        return E2EE_ERR_ARGUMENT;
    }
    answer_bytes("publicKey", public_key, sizeof(public_key));
    answer_bytes("secretKey", secret_key, sizeof(secret_key));
    answer_bytes("ciphertext", ciphertext, sizeof(ciphertext));
    answer_bytes("sent", sent, 32);
    answer_bytes("got", got, 32);
    if (line_fixed(line, "foreign", ciphertext, sizeof(ciphertext))) {
        if (!mlkem1024_decaps(secret_key, ciphertext, foreign)) return E2EE_ERR_ARGUMENT;
        answer_bytes("foreign", foreign, 32);
    }
    return E2EE_OK;
}

/* The same for ML-KEM-768, whose encapsulation is in two halves. */
static enum e2ee_err op_mlkem768(const struct line *line, struct peer *me)
{
    (void)me;
    static uint8_t ek[MLKEM768_EK_LEN], dk[MLKEM768_DK_LEN];
    static uint8_t ciphertext[MLKEM768_CT1_LEN + MLKEM768_CT2_LEN];
    uint8_t seed[64], m[32], header[MLKEM768_HEADER_LEN];
    struct mlkem768_coins coins;
    struct secret32 sent, got, foreign;
    if (!line_fixed(line, "seed", seed, 64) || !line_fixed(line, "coins", m, 32) ||
        !mlkem768_keypair_derand(seed, ek, dk)) {
        return E2EE_ERR_ARGUMENT;
    }
    memcpy(header, ek + MLKEM768_T_LEN, 32);
    sha3_256(ek, MLKEM768_EK_LEN, header + 32);
    if (!mlkem768_encaps1(header, m, &coins, ciphertext, &sent) ||
        !mlkem768_encaps2(header, ek, &coins, ciphertext + MLKEM768_CT1_LEN) ||
        !mlkem768_decaps(dk, ciphertext, &got)) {
        return E2EE_ERR_ARGUMENT;
    }
    answer_bytes("publicKey", ek, sizeof(ek));
    answer_bytes("secretKey", dk, sizeof(dk));
    answer_bytes("ciphertext", ciphertext, sizeof(ciphertext));
    answer_bytes("sent", sent.bytes, 32);
    answer_bytes("got", got.bytes, 32);
    if (line_fixed(line, "foreign", ciphertext, sizeof(ciphertext))) {
        if (!mlkem768_decaps(dk, ciphertext, &foreign)) return E2EE_ERR_ARGUMENT;
        answer_bytes("foreign", foreign.bytes, 32);
    }
    return E2EE_OK;
}

static const struct {
    const char *name;
    operation *run;
    bool needs_peer;
} operations[] = {
    {"new", op_new, false},           {"publish", op_publish, true},
    {"start", op_start, true},        {"enc", op_enc, true},
    {"dec", op_dec, true},            {"skdm", op_skdm, true},
    {"skin", op_skin, true},          {"genc", op_genc, true},
    {"gdec", op_gdec, true},          {"rotate", op_rotate, true},
    {"fp", op_fp, true},              {"archive", op_archive, true},
    {"approve", op_approve, true},    {"info", op_info, true},
    {"state", op_state, true},        {"clock", op_clock, false},
    {"mlkem1024", op_mlkem1024, false}, {"mlkem768", op_mlkem768, false},
};

static void serve(char *text)
{
    struct line line;
    enum e2ee_err err = E2EE_ERR_ARGUMENT;
    answer_begin();
    if (line_parse(&line, text)) {
        const char *name = line_text(&line, "op");
        uint64_t number = line_number(&line, "peer");
        struct peer *me = line_has(&line, "peer") && number < peer_count ? peers[number] : NULL;
        for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
            if (strcmp(operations[i].name, name) != 0) continue;
            if (me == NULL && operations[i].needs_peer) break;
            err = operations[i].run(&line, me);
            if (me != NULL) peer_store_end(&me->store, err == E2EE_OK);
            break;
        }
    }
    if (err != E2EE_OK) answer_text("error", e2ee_err_name(err));
    answer_end();
}

int main(void)
{
    char *text = NULL;
    size_t size = 0;
    if (e2ee_init() != E2EE_OK) return 1;
    for (ssize_t len; (len = getline(&text, &size, stdin)) > 0;) {
        if (text[len - 1] == '\n') text[len - 1] = '\0';
        serve(text);
    }
    free(text);
    for (size_t i = 0; i < peer_count; i++) {
        peer_store_deinit(&peers[i]->store);
        free(peers[i]);
    }
    return 0;
}
