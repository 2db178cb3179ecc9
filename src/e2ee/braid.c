/* ML-KEM Braid: one ML-KEM-768 exchange per epoch, in chunks.
 *
 * One side, the key side, starts an epoch in KEYS_UNSAMPLED and sends header,
 * then key; the other, the ciphertext side, starts in NO_HEADER_RECEIVED and
 * sends ct1 as soon as it has the header, and ct2 once it has the key and
 * knows that ct1 has arrived. Then they swap roles.
 *
 *   key side                            ciphertext side
 *   KEYS_UNSAMPLED                      NO_HEADER_RECEIVED
 *   KEYS_SAMPLED          Hdr     ->    HEADER_RECEIVED     (secret known here
 *   HEADER_SENT           <-      Ct1   CT1_SAMPLED          when ct1 is made)
 *   CT1_RECEIVED          Ek      ->    EK_RECEIVED_CT1_SAMPLED, or
 *                         EkCt1Ack ->   CT1_ACKNOWLEDGED
 *   EK_SENT_CT1_RECEIVED  <-      Ct2   CT2_SAMPLED
 *   NO_HEADER_RECEIVED of epoch + 1     KEYS_UNSAMPLED of epoch + 1
 *
 * Header and ciphertext are authenticated by keys that come from all earlier
 * epochs and, at first, from the handshake, so that a chunk forged with broken
 * elliptic curves does not help. All chunks are public data; secret are dk,
 * the coins and the authenticator.
 *
 * A repeated or late chunk changes nothing, and so does a message of an
 * earlier epoch. A message of a later epoch, other than the one step that
 * CT2_SAMPLED waits for, cannot come from an honest peer.
 *
 * Specification: ML-KEM Braid 2.
 */
#include <assert.h>
#include <string.h>

#include "e2ee/spqr.h"

#define LABEL "Signal_PQCKA_V1_MLKEM768:"

bool braid_type_has_chunk(enum braid_type type)
{
    return type != BRAID_NONE && type != BRAID_CT1_ACK;
}

/* --- authenticator ----------------------------------------------------------------- */

/* Label and epoch as HKDF info; the label's length without its NUL. */
static size_t epoch_info(uint8_t out[64], const char *label, uint64_t epoch)
{
    size_t len = strlen(label);
    memcpy(out, label, len);
    store_be64(out + len, epoch);
    return len + 8;
}

void braid_auth_update(struct braid *braid, uint64_t epoch, const uint8_t key[32])
{
    uint8_t input[64], output[64], info[64];
    size_t info_len = epoch_info(info, LABEL "Authenticator Update", epoch);
    memcpy(input, braid->auth_root.bytes, 32);
    memcpy(input + 32, key, 32);
    hkdf_sha256(NULL, 0, input, sizeof input, info, info_len, output, sizeof output);
    memcpy(braid->auth_root.bytes, output, 32);
    memcpy(braid->auth_mac.bytes, output + 32, 32);
    SECRET_WIPE(input);
    SECRET_WIPE(output);
}

void braid_mac_header(const struct braid *braid, const uint8_t header[MLKEM768_HEADER_LEN],
                      uint8_t mac_out[32])
{
    uint8_t info[64];
    size_t info_len = epoch_info(info, LABEL "ekheader", braid->epoch);
    struct piece pieces[] = {PIECE(info, info_len), PIECE(header, MLKEM768_HEADER_LEN)};
    hmac_sha256(braid->auth_mac.bytes, 32, pieces, 2, mac_out);
}

static void mac_ciphertext(const struct braid *braid, const uint8_t ct2[MLKEM768_CT2_LEN],
                           uint8_t mac_out[32])
{
    uint8_t info[64];
    size_t info_len = epoch_info(info, LABEL "ciphertext", braid->epoch);
    struct piece pieces[] = {PIECE(info, info_len), PIECE(braid->ct1, MLKEM768_CT1_LEN),
                             PIECE(ct2, MLKEM768_CT2_LEN)};
    hmac_sha256(braid->auth_mac.bytes, 32, pieces, 3, mac_out);
}

void braid_epoch_secret(uint64_t epoch, const struct secret32 *shared, struct secret32 *out)
{
    uint8_t info[64];
    size_t info_len = epoch_info(info, LABEL "SCKA Key", epoch);
    hkdf_sha256(NULL, 0, shared->bytes, 32, info, info_len, out->bytes, 32);
}

void braid_init(struct braid *braid, const struct secret32 *auth_key, bool initiator)
{
    memset(braid, 0, sizeof *braid);
    braid->state = initiator ? BRAID_KEYS_UNSAMPLED : BRAID_NO_HEADER_RECEIVED;
    braid->epoch = 1;
    braid_auth_update(braid, 1, auth_key->bytes);
    if (!initiator) {
        erasure_decoder_init(&braid->decoder, HDR_BLOCKS);
    }
}

/* Starts `state`, in which nothing has been sent yet. */
static void braid_enter(struct braid *braid, enum braid_state state)
{
    braid->state = state;
    braid->next_chunk = 0;
}

/* --- sending ------------------------------------------------------------------------ */

static enum e2ee_err sample_keys(const struct e2ee_env *env, struct braid *braid)
{
    uint8_t coins[64], ek[MLKEM768_EK_LEN];
    bool ok = env_random(env, coins, sizeof coins) &&
              mlkem768_keypair_derand(coins, ek, braid->dk);
    SECRET_WIPE(coins);
    if (!ok) {
        return E2EE_ERR_RANDOM;
    }
    memcpy(braid->outgoing, ek + MLKEM768_T_LEN, 32);
    sha3_256(ek, sizeof ek, braid->outgoing + 32);
    braid_mac_header(braid, braid->outgoing, braid->outgoing + MLKEM768_HEADER_LEN);
    braid_enter(braid, BRAID_KEYS_SAMPLED);
    return E2EE_OK;
}

static enum e2ee_err sample_ct1(const struct e2ee_env *env, struct braid *braid,
                                struct secret32 *secret_out)
{
    uint8_t m[32];
    struct secret32 shared;
    bool ok = env_random(env, m, sizeof m) &&
              mlkem768_encaps1(braid->header, m, &braid->coins, braid->ct1, &shared);
    SECRET_WIPE(m);
    if (!ok) {
        return E2EE_ERR_RANDOM;
    }
    braid_epoch_secret(braid->epoch, &shared, secret_out);
    SECRET_WIPE(shared);
    braid_auth_update(braid, braid->epoch, secret_out->bytes);
    braid_enter(braid, BRAID_CT1_SAMPLED);
    erasure_decoder_init(&braid->decoder, EK_BLOCKS);
    return E2EE_OK;
}

/* What each state sends: the type, and the message that its chunks are of. */
static enum braid_type braid_outgoing(const struct braid *braid, const uint8_t **message_out,
                                      unsigned *blocks_out)
{
    const uint8_t *t = braid->dk + MLKEM768_T_LEN; /* dk = s || t || rho || ... */
    switch (braid->state) {
    case BRAID_KEYS_SAMPLED:
        *message_out = braid->outgoing;
        *blocks_out = HDR_BLOCKS;
        return BRAID_HDR;
    case BRAID_HEADER_SENT:
        *message_out = t;
        *blocks_out = EK_BLOCKS;
        return BRAID_EK;
    case BRAID_CT1_RECEIVED:
        *message_out = t;
        *blocks_out = EK_BLOCKS;
        return BRAID_EK_CT1_ACK;
    case BRAID_EK_SENT_CT1_RECEIVED:
        return BRAID_CT1_ACK;
    case BRAID_CT1_SAMPLED:
    case BRAID_EK_RECEIVED_CT1_SAMPLED:
        *message_out = braid->ct1;
        *blocks_out = CT1_BLOCKS;
        return BRAID_CT1;
    case BRAID_CT2_SAMPLED:
        *message_out = braid->outgoing;
        *blocks_out = CT2_BLOCKS;
        return BRAID_CT2;
    default:
        return BRAID_NONE;
    }
}

enum e2ee_err braid_send(const struct e2ee_env *env, struct braid *braid,
                         struct braid_message *message_out, bool *fresh_out,
                         struct secret32 *secret_out)
{
    enum e2ee_err err = E2EE_OK;
    *fresh_out = false;
    if (braid->state == BRAID_KEYS_UNSAMPLED) {
        err = sample_keys(env, braid);
    } else if (braid->state == BRAID_HEADER_RECEIVED) {
        err = sample_ct1(env, braid, secret_out);
        *fresh_out = err == E2EE_OK;
    }
    if (err != E2EE_OK) {
        return err;
    }
    const uint8_t *message = NULL;
    unsigned blocks = 0;
    message_out->epoch = braid->epoch;
    message_out->type = braid_outgoing(braid, &message, &blocks);
    message_out->chunk_number = 0;
    if (braid_type_has_chunk(message_out->type)) {
        message_out->chunk_number = braid->next_chunk;
        erasure_encode(message, blocks, braid->next_chunk, message_out->chunk);
        braid->next_chunk++;
    }
    return E2EE_OK;
}

/* --- receiving ------------------------------------------------------------------------ */

static bool accept_chunk(struct braid *braid, const struct braid_message *message)
{
    return erasure_accept(&braid->decoder, message->chunk_number, message->chunk);
}

static enum e2ee_err receive_header(struct braid *braid, const struct braid_message *message)
{
    uint8_t header[HDR_BLOCKS * ERASURE_CHUNK_LEN], mac[32];
    if (message->type != BRAID_HDR || !accept_chunk(braid, message)) {
        return E2EE_OK;
    }
    erasure_decode(&braid->decoder, header);
    braid_mac_header(braid, header, mac);
    if (!secret_equal(mac, header + MLKEM768_HEADER_LEN, sizeof mac)) {
        return E2EE_ERR_DECRYPT;
    }
    memcpy(braid->header, header, sizeof braid->header);
    braid_enter(braid, BRAID_HEADER_RECEIVED);
    return E2EE_OK;
}

static void receive_ct1(struct braid *braid, const struct braid_message *message)
{
    if (message->type != BRAID_CT1) {
        return;
    }
    if (braid->state == BRAID_KEYS_SAMPLED) {
        erasure_decoder_init(&braid->decoder, CT1_BLOCKS);
        braid_enter(braid, BRAID_HEADER_SENT);
    }
    if (accept_chunk(braid, message)) {
        erasure_decode(&braid->decoder, braid->ct1);
        braid->state = BRAID_CT1_RECEIVED; /* the key's chunks go on counting */
    }
}

/* ct1 has arrived and the key is here: the second half of the ciphertext. */
static enum e2ee_err make_ct2(struct braid *braid)
{
    if (!mlkem768_encaps2(braid->header, braid->t, &braid->coins, braid->outgoing)) {
        return E2EE_ERR_DECRYPT;
    }
    mac_ciphertext(braid, braid->outgoing, braid->outgoing + MLKEM768_CT2_LEN);
    SECRET_WIPE(braid->coins);
    braid_enter(braid, BRAID_CT2_SAMPLED);
    return E2EE_OK;
}

static enum e2ee_err receive_key(struct braid *braid, const struct braid_message *message)
{
    bool has_key = message->type == BRAID_EK || message->type == BRAID_EK_CT1_ACK;
    bool acknowledged = braid->state == BRAID_CT1_ACKNOWLEDGED ||
                        message->type == BRAID_EK_CT1_ACK;
    if (!has_key) {
        return E2EE_OK;
    }
    bool complete = accept_chunk(braid, message);
    if (complete) {
        erasure_decode(&braid->decoder, braid->t);
    }
    if (complete && acknowledged) {
        return make_ct2(braid);
    }
    if (complete) {
        braid->state = BRAID_EK_RECEIVED_CT1_SAMPLED; /* ct1's chunks go on counting */
    } else if (acknowledged) {
        braid->state = BRAID_CT1_ACKNOWLEDGED;
    }
    return E2EE_OK;
}

static enum e2ee_err receive_ct2(struct braid *braid, const struct braid_message *message,
                                 bool *fresh_out, struct secret32 *secret_out)
{
    if (message->type != BRAID_CT2) {
        return E2EE_OK;
    }
    if (braid->state == BRAID_CT1_RECEIVED) {
        erasure_decoder_init(&braid->decoder, CT2_BLOCKS);
        braid_enter(braid, BRAID_EK_SENT_CT1_RECEIVED);
    }
    if (!accept_chunk(braid, message)) {
        return E2EE_OK;
    }
    uint8_t ciphertext[MLKEM768_CT1_LEN + CT2_BLOCKS * ERASURE_CHUNK_LEN], mac[32];
    uint8_t *ct2 = ciphertext + MLKEM768_CT1_LEN;
    struct secret32 shared, secret;
    memcpy(ciphertext, braid->ct1, MLKEM768_CT1_LEN);
    erasure_decode(&braid->decoder, ct2);
    if (!mlkem768_decaps(braid->dk, ciphertext, &shared)) {
        return E2EE_ERR_CORRUPT;
    }
    braid_epoch_secret(braid->epoch, &shared, &secret);
    SECRET_WIPE(shared);
    braid_auth_update(braid, braid->epoch, secret.bytes);
    mac_ciphertext(braid, ct2, mac);
    bool ok = secret_equal(mac, ct2 + MLKEM768_CT2_LEN, sizeof mac);
    if (ok) {
        *secret_out = secret;
        *fresh_out = true;
        SECRET_WIPE(braid->dk);
        braid->epoch++;
        braid_enter(braid, BRAID_NO_HEADER_RECEIVED);
        erasure_decoder_init(&braid->decoder, HDR_BLOCKS);
    }
    SECRET_WIPE(secret);
    return ok ? E2EE_OK : E2EE_ERR_DECRYPT;
}

enum e2ee_err braid_receive(struct braid *braid, const struct braid_message *message,
                            bool *fresh_out, struct secret32 *secret_out)
{
    *fresh_out = false;
    if (message->epoch < braid->epoch) {
        return E2EE_OK;
    }
    if (message->epoch > braid->epoch) {
        if (braid->state != BRAID_CT2_SAMPLED || message->epoch - braid->epoch != 1) {
            return E2EE_ERR_DECRYPT;
        }
        braid->epoch++;
        braid_enter(braid, BRAID_KEYS_UNSAMPLED);
        return E2EE_OK;
    }
    switch (braid->state) {
    case BRAID_KEYS_SAMPLED:
    case BRAID_HEADER_SENT:
        receive_ct1(braid, message);
        return E2EE_OK;
    case BRAID_CT1_RECEIVED:
    case BRAID_EK_SENT_CT1_RECEIVED:
        return receive_ct2(braid, message, fresh_out, secret_out);
    case BRAID_NO_HEADER_RECEIVED:
        return receive_header(braid, message);
    case BRAID_CT1_SAMPLED:
    case BRAID_CT1_ACKNOWLEDGED:
        return receive_key(braid, message);
    case BRAID_EK_RECEIVED_CT1_SAMPLED:
        return message->type == BRAID_CT1_ACK || message->type == BRAID_EK_CT1_ACK
                   ? make_ct2(braid)
                   : E2EE_OK;
    default:
        return E2EE_OK;
    }
}

/* --- stored form -------------------------------------------------------------------- */

/* One row per field of a state: what is stored, in order. */
enum {
    HAS_DK = 1,
    HAS_HEADER = 2, /* and the coins, once ct1 was made */
    HAS_COINS = 4,
    HAS_CT1 = 8,
    HAS_T = 16,
    HAS_NEXT = 32,
};

static const struct {
    uint8_t has;
    uint8_t outgoing_len;   /* bytes of braid.outgoing */
    uint8_t decoder_blocks; /* 0: no decoder */
} stored[BRAID_STATE_COUNT] = {
    [BRAID_KEYS_UNSAMPLED] = {0, 0, 0},
    [BRAID_KEYS_SAMPLED] = {HAS_DK | HAS_NEXT, HDR_BLOCKS * ERASURE_CHUNK_LEN, 0},
    [BRAID_HEADER_SENT] = {HAS_DK | HAS_NEXT, 0, CT1_BLOCKS},
    [BRAID_CT1_RECEIVED] = {HAS_DK | HAS_CT1 | HAS_NEXT, 0, 0},
    [BRAID_EK_SENT_CT1_RECEIVED] = {HAS_DK | HAS_CT1, 0, CT2_BLOCKS},
    [BRAID_NO_HEADER_RECEIVED] = {0, 0, HDR_BLOCKS},
    [BRAID_HEADER_RECEIVED] = {HAS_HEADER, 0, 0},
    [BRAID_CT1_SAMPLED] = {HAS_HEADER | HAS_COINS | HAS_CT1 | HAS_NEXT, 0, EK_BLOCKS},
    [BRAID_EK_RECEIVED_CT1_SAMPLED] = {HAS_HEADER | HAS_COINS | HAS_CT1 | HAS_T | HAS_NEXT, 0,
                                       0},
    [BRAID_CT1_ACKNOWLEDGED] = {HAS_HEADER | HAS_COINS | HAS_CT1, 0, EK_BLOCKS},
    [BRAID_CT2_SAMPLED] = {HAS_NEXT, CT2_BLOCKS * ERASURE_CHUNK_LEN, 0},
};

void braid_write(struct writer *writer, const struct braid *braid)
{
    unsigned has = stored[braid->state].has;
    write_u8(writer, (uint8_t)braid->state);
    write_u64(writer, braid->epoch);
    write_bytes(writer, braid->auth_root.bytes, 32);
    write_bytes(writer, braid->auth_mac.bytes, 32);
    write_bytes(writer, braid->dk, has & HAS_DK ? sizeof braid->dk : 0);
    write_bytes(writer, braid->header, has & HAS_HEADER ? sizeof braid->header : 0);
    write_bytes(writer, &braid->coins, has & HAS_COINS ? sizeof braid->coins : 0);
    write_bytes(writer, braid->ct1, has & HAS_CT1 ? sizeof braid->ct1 : 0);
    write_bytes(writer, braid->t, has & HAS_T ? sizeof braid->t : 0);
    write_bytes(writer, braid->outgoing, stored[braid->state].outgoing_len);
    if (has & HAS_NEXT) {
        write_u16(writer, braid->next_chunk);
    }
    if (stored[braid->state].decoder_blocks > 0) {
        erasure_decoder_write(writer, &braid->decoder);
    }
}

void braid_read(struct reader *reader, struct braid *braid)
{
    unsigned state = read_u8(reader);
    braid->epoch = read_u64(reader);
    if (reader->bad || state >= BRAID_STATE_COUNT || braid->epoch == 0) {
        reader->bad = true;
        return;
    }
    unsigned has = stored[state].has;
    braid->state = (enum braid_state)state;
    read_into(reader, braid->auth_root.bytes, 32);
    read_into(reader, braid->auth_mac.bytes, 32);
    read_into(reader, braid->dk, has & HAS_DK ? sizeof braid->dk : 0);
    read_into(reader, braid->header, has & HAS_HEADER ? sizeof braid->header : 0);
    read_into(reader, &braid->coins, has & HAS_COINS ? sizeof braid->coins : 0);
    read_into(reader, braid->ct1, has & HAS_CT1 ? sizeof braid->ct1 : 0);
    read_into(reader, braid->t, has & HAS_T ? sizeof braid->t : 0);
    read_into(reader, braid->outgoing, stored[state].outgoing_len);
    if (has & HAS_NEXT) {
        braid->next_chunk = read_u16(reader);
    }
    if (stored[state].decoder_blocks > 0) {
        erasure_decoder_read(reader, stored[state].decoder_blocks, &braid->decoder);
    }
}
