/* Messages on the wire. Internal.
 *
 * SignalMessage (type 2):        0x44 || protobuf || mac (8)
 * PreKeySignalMessage (type 3):  0x44 || protobuf, a SignalMessage inside
 *
 * Field numbers are those of the official protocol; see docs/e2ee.md. Fields
 * of a message that was parsed point into the bytes it was parsed from.
 */
#ifndef SOTTO_E2EE_WIRE_H
#define SOTTO_E2EE_WIRE_H

#include "e2ee/codec.h"
#include "e2ee/e2ee.h"

enum {
    WIRE_VERSION = 0x44,       /* message version 4, current version 4 */
    WIRE_GROUP_VERSION = 0x33, /* sender keys */
    WIRE_MAC_LEN = 8,
    WIRE_ADDRESSES_LEN = 2 * E2EE_ADDRESS_LEN,
};

struct whisper_message {
    const uint8_t *ratchet_key; /* 33 */
    uint32_t counter;
    uint32_t previous_counter;
    const uint8_t *ciphertext;
    size_t ciphertext_len;
    const uint8_t *pq_ratchet;
    size_t pq_ratchet_len;
    const uint8_t *addresses; /* 36, or NULL */
    const uint8_t *authenticated; /* all before the mac */
    size_t authenticated_len;
    const uint8_t *mac; /* 8 */
};

struct prekey_message {
    bool has_prekey;
    uint32_t prekey_id;
    uint32_t registration_id;
    uint32_t signed_prekey_id;
    uint32_t kem_prekey_id;
    const uint8_t *kem_ciphertext; /* 1569, type byte included */
    const uint8_t *base_key;       /* 33 */
    const uint8_t *identity;       /* 33 */
    const uint8_t *inner;          /* a whole SignalMessage */
    size_t inner_len;
};

/* Errors: MALFORMED, VERSION. */
E2EE_CHECKED enum e2ee_err whisper_parse(const uint8_t *bytes, size_t len,
                                         struct whisper_message *message_out);
E2EE_CHECKED enum e2ee_err prekey_parse(const uint8_t *bytes, size_t len,
                                        struct prekey_message *message_out);

/* Version byte and protobuf; the caller appends the mac. */
void whisper_write(struct writer *writer, const struct whisper_message *message);
void prekey_message_write(struct writer *writer, const struct prekey_message *message);

/* sender || receiver, as in the `addresses` field. */
void addresses_fill(const struct e2ee_address *sender, const struct e2ee_address *receiver,
                    uint8_t out[WIRE_ADDRESSES_LEN]);

struct distribution_message {
    const uint8_t *id; /* 16 */
    uint32_t chain_id;
    uint32_t iteration;
    const uint8_t *chain_key;   /* 32 */
    const uint8_t *signing_key; /* 33 */
};

struct sender_key_message {
    const uint8_t *id; /* 16 */
    uint32_t chain_id;
    uint32_t iteration;
    const uint8_t *ciphertext;
    size_t ciphertext_len;
    const uint8_t *signed_bytes; /* all before the signature */
    size_t signed_len;
    const uint8_t *signature; /* 64 */
};

E2EE_CHECKED enum e2ee_err distribution_parse(const uint8_t *bytes, size_t len,
                                              struct distribution_message *message_out);
E2EE_CHECKED enum e2ee_err sender_key_parse(const uint8_t *bytes, size_t len,
                                            struct sender_key_message *message_out);
void distribution_write(struct writer *writer, const struct distribution_message *message);
void sender_key_write(struct writer *writer, const struct sender_key_message *message);

#endif
