/* The post-quantum ratchet (SPQR version 1) of a session. Internal.
 *
 * Two machines run beside the Double Ratchet. The braid (braid.c) exchanges an
 * ML-KEM-768 key and ciphertext per epoch, in erasure-coded chunks that ride
 * on ordinary messages, and yields one secret per epoch on both sides. The
 * chain (pqchain.c) turns those secrets into one key per message, which salts
 * the message keys of the Double Ratchet. spqr.c puts them on the wire.
 *
 * Specification: ML-KEM Braid; Double Ratchet 5 (SPQR).
 */
#ifndef SOTTO_E2EE_SPQR_H
#define SOTTO_E2EE_SPQR_H

#include "e2ee/crypto.h"
#include "e2ee/erasure.h"
#include "e2ee/keylist.h"

/* --- braid --------------------------------------------------------------------- */

enum braid_state {
    BRAID_KEYS_UNSAMPLED = 0,
    BRAID_KEYS_SAMPLED = 1,
    BRAID_HEADER_SENT = 2,
    BRAID_CT1_RECEIVED = 3,
    BRAID_EK_SENT_CT1_RECEIVED = 4,
    BRAID_NO_HEADER_RECEIVED = 5,
    BRAID_HEADER_RECEIVED = 6,
    BRAID_CT1_SAMPLED = 7,
    BRAID_EK_RECEIVED_CT1_SAMPLED = 8,
    BRAID_CT1_ACKNOWLEDGED = 9,
    BRAID_CT2_SAMPLED = 10,
    BRAID_STATE_COUNT
};

enum braid_type {
    BRAID_NONE = 0,
    BRAID_HDR = 1,
    BRAID_EK = 2,
    BRAID_EK_CT1_ACK = 3,
    BRAID_CT1_ACK = 4,
    BRAID_CT1 = 5,
    BRAID_CT2 = 6,
    BRAID_TYPE_COUNT
};

/* Blocks of 32 bytes in each coded message. */
enum { HDR_BLOCKS = 3, CT1_BLOCKS = 30, EK_BLOCKS = 36, CT2_BLOCKS = 5 };

struct braid_message {
    uint64_t epoch;
    enum braid_type type;
    uint16_t chunk_number; /* with HDR, EK, EK_CT1_ACK, CT1, CT2 */
    uint8_t chunk[ERASURE_CHUNK_LEN];
};
bool braid_type_has_chunk(enum braid_type type);

/* Which fields are live depends on the state; braid_write lists them. */
struct braid {
    enum braid_state state;
    uint64_t epoch; /* from 1 */
    struct secret32 auth_root;
    struct secret32 auth_mac;
    uint8_t dk[MLKEM768_DK_LEN];
    uint8_t header[MLKEM768_HEADER_LEN];
    struct mlkem768_coins coins;
    uint8_t ct1[MLKEM768_CT1_LEN];
    uint8_t t[MLKEM768_T_LEN];
    uint8_t outgoing[CT2_BLOCKS * ERASURE_CHUNK_LEN]; /* header||mac or ct2||mac */
    uint16_t next_chunk;
    struct erasure_decoder decoder;
};

/* initiator: the one who sends the first key (A, the session's starter). */
void braid_init(struct braid *braid, const struct secret32 *auth_key, bool initiator);

/* What an outgoing message carries. *fresh_out tells whether the epoch secret
 * of message_out->epoch came out of it, in secret_out. Errors: RANDOM. */
E2EE_CHECKED enum e2ee_err braid_send(const struct e2ee_env *env, struct braid *braid,
                                      struct braid_message *message_out, bool *fresh_out,
                                      struct secret32 *secret_out);

/* Takes a message in; outputs as above. Errors: DECRYPT for what an honest
 * peer cannot have sent; the braid is not usable afterwards. */
E2EE_CHECKED enum e2ee_err braid_receive(struct braid *braid, const struct braid_message *message,
                                         bool *fresh_out, struct secret32 *secret_out);

void braid_write(struct writer *writer, const struct braid *braid);
void braid_read(struct reader *reader, struct braid *braid); /* sets bad on failure */

/* The authenticator, for tests against vectors. */
void braid_auth_update(struct braid *braid, uint64_t epoch, const uint8_t key[32]);
void braid_mac_header(const struct braid *braid, const uint8_t header[MLKEM768_HEADER_LEN],
                      uint8_t mac_out[32]);
void braid_epoch_secret(uint64_t epoch, const struct secret32 *shared, struct secret32 *out);

/* --- chain --------------------------------------------------------------------- */

struct pqchain_half {
    struct secret32 next;
    uint32_t counter; /* of the last key given */
    bool live;        /* sending halves are erased when the epoch moves on */
};

struct pqchain_epoch {
    struct pqchain_half send;
    struct pqchain_half receive;
    struct keylist skipped;
};

/* The sending epoch, one before, one after. */
enum { PQCHAIN_EPOCHS_MAX = 3 };

struct pqchain {
    struct secret32 next_root;
    bool initiator;      /* sends on A2B */
    uint64_t send_epoch; /* of the last key for sending */
    uint64_t first;      /* number of epochs[0] */
    uint32_t count;
    struct pqchain_epoch epochs[PQCHAIN_EPOCHS_MAX];
};

void pqchain_init(struct pqchain *chain, const struct secret32 *auth_key, bool initiator);
void pqchain_deinit(const struct e2ee_env *env, struct pqchain *chain);
/* Adds the epoch after the last one. Errors: DECRYPT if it does not follow. */
E2EE_CHECKED enum e2ee_err pqchain_add(const struct e2ee_env *env, struct pqchain *chain,
                                       uint64_t epoch, const struct secret32 *secret);
/* Errors: EXHAUSTED, CORRUPT. */
E2EE_CHECKED enum e2ee_err pqchain_send(const struct e2ee_env *env, struct pqchain *chain,
                                        uint64_t epoch, uint32_t *index_out,
                                        struct secret32 *key_out);
/* jump_max: steps ahead at most. Errors: DUPLICATE, TOO_FAR, DECRYPT, MEMORY. */
E2EE_CHECKED enum e2ee_err pqchain_receive(const struct e2ee_env *env, struct pqchain *chain,
                                           uint64_t epoch, uint32_t index, uint32_t jump_max,
                                           struct secret32 *key_out);
void pqchain_write(struct writer *writer, const struct pqchain *chain);
E2EE_CHECKED enum e2ee_err pqchain_read(const struct e2ee_env *env, struct reader *reader,
                                        struct pqchain *chain);

/* --- both, on the wire ------------------------------------------------------------ */

enum { SPQR_VERSION = 1, SPQR_MESSAGE_MAX = 1 + 10 + 5 + 1 + 3 + ERASURE_CHUNK_LEN };

struct spqr {
    struct braid braid;
    struct pqchain chain;
};

void spqr_init(struct spqr *spqr, const struct secret32 *auth_key, bool initiator);
void spqr_deinit(const struct e2ee_env *env, struct spqr *spqr);

/* Bytes for field 5 of the next message, and the key for its message keys. */
E2EE_CHECKED enum e2ee_err spqr_send(const struct e2ee_env *env, struct spqr *spqr,
                                     uint8_t message_out[SPQR_MESSAGE_MAX], size_t *len_out,
                                     struct secret32 *key_out);
/* The key for a received message. Errors: VERSION for anything but version 1
 * with a key; MALFORMED; DUPLICATE, TOO_FAR, DECRYPT, MEMORY. */
E2EE_CHECKED enum e2ee_err spqr_receive(const struct e2ee_env *env, struct spqr *spqr,
                                        const uint8_t *message, size_t len, uint32_t jump_max,
                                        struct secret32 *key_out);

void spqr_write(struct writer *writer, const struct spqr *spqr);
E2EE_CHECKED enum e2ee_err spqr_read(const struct e2ee_env *env, struct reader *reader,
                                     struct spqr *spqr);

#endif
