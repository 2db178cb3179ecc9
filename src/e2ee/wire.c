#include "e2ee/wire.h"

#include <string.h>

#include "e2ee/crypto.h"

/* One version byte, then fields. An older or newer version is told apart from
 * garbage, because the sender can be asked to update. */
static enum e2ee_err version_check(const uint8_t *bytes, size_t len, size_t len_min,
                                   uint8_t version)
{
    if (len < len_min || len > E2EE_MESSAGE_MAX) {
        return E2EE_ERR_MALFORMED;
    }
    return bytes[0] == version ? E2EE_OK : E2EE_ERR_VERSION;
}

enum e2ee_err whisper_parse(const uint8_t *bytes, size_t len, struct whisper_message *message_out)
{
    enum { RATCHET_KEY, COUNTER, PREVIOUS, CIPHERTEXT, PQ_RATCHET, ADDRESSES, COUNT };
    struct field fields[COUNT] = {
        [RATCHET_KEY] = {.number = 1, .is_bytes = true, .required = true, .len = E2EE_PUBLIC_LEN},
        [COUNTER] = {.number = 2, .required = true},
        [PREVIOUS] = {.number = 3},
        [CIPHERTEXT] = {.number = 4, .is_bytes = true, .required = true},
        [PQ_RATCHET] = {.number = 5, .is_bytes = true},
        [ADDRESSES] = {.number = 6, .is_bytes = true},
    };
    enum e2ee_err err = version_check(bytes, len, 1 + WIRE_MAC_LEN, WIRE_VERSION);
    if (err != E2EE_OK) {
        return err;
    }
    size_t authenticated = len - WIRE_MAC_LEN;
    if (!message_parse(bytes + 1, authenticated - 1, fields, COUNT)) {
        return E2EE_ERR_MALFORMED;
    }
    *message_out = (struct whisper_message){
        .ratchet_key = fields[RATCHET_KEY].data,
        .counter = fields[COUNTER].value,
        .previous_counter = fields[PREVIOUS].value,
        .ciphertext = fields[CIPHERTEXT].data,
        .ciphertext_len = fields[CIPHERTEXT].data_len,
        .pq_ratchet = fields[PQ_RATCHET].data,
        .pq_ratchet_len = fields[PQ_RATCHET].data_len,
        .authenticated = bytes,
        .authenticated_len = authenticated,
        .mac = bytes + authenticated,
    };
    if (fields[ADDRESSES].seen && fields[ADDRESSES].data_len > 0) {
        if (fields[ADDRESSES].data_len != WIRE_ADDRESSES_LEN) {
            return E2EE_ERR_ADDRESS;
        }
        message_out->addresses = fields[ADDRESSES].data;
    }
    return E2EE_OK;
}

enum e2ee_err prekey_parse(const uint8_t *bytes, size_t len, struct prekey_message *message_out)
{
    enum { PREKEY, BASE_KEY, IDENTITY, MESSAGE, REGISTRATION, SIGNED, KEM, CIPHERTEXT, COUNT };
    struct field fields[COUNT] = {
        [PREKEY] = {.number = 1},
        [BASE_KEY] = {.number = 2, .is_bytes = true, .required = true, .len = E2EE_PUBLIC_LEN},
        [IDENTITY] = {.number = 3, .is_bytes = true, .required = true, .len = E2EE_PUBLIC_LEN},
        [MESSAGE] = {.number = 4, .is_bytes = true, .required = true},
        [REGISTRATION] = {.number = 5, .required = true},
        [SIGNED] = {.number = 6, .required = true},
        [KEM] = {.number = 7, .required = true},
        [CIPHERTEXT] = {.number = 8, .is_bytes = true, .required = true,
                        .len = E2EE_KEM_CIPHERTEXT_LEN},
    };
    enum e2ee_err err = version_check(bytes, len, 1, WIRE_VERSION);
    if (err != E2EE_OK) {
        return err;
    }
    if (!message_parse(bytes + 1, len - 1, fields, COUNT)) {
        return E2EE_ERR_MALFORMED;
    }
    *message_out = (struct prekey_message){
        .has_prekey = fields[PREKEY].seen,
        .prekey_id = fields[PREKEY].value,
        .registration_id = fields[REGISTRATION].value,
        .signed_prekey_id = fields[SIGNED].value,
        .kem_prekey_id = fields[KEM].value,
        .kem_ciphertext = fields[CIPHERTEXT].data,
        .base_key = fields[BASE_KEY].data,
        .identity = fields[IDENTITY].data,
        .inner = fields[MESSAGE].data,
        .inner_len = fields[MESSAGE].data_len,
    };
    return E2EE_OK;
}

void whisper_write(struct writer *writer, const struct whisper_message *message)
{
    write_u8(writer, WIRE_VERSION);
    write_field_bytes(writer, 1, message->ratchet_key, E2EE_PUBLIC_LEN);
    write_field_uint(writer, 2, message->counter);
    write_field_uint(writer, 3, message->previous_counter);
    write_field_bytes(writer, 4, message->ciphertext, message->ciphertext_len);
    write_field_bytes(writer, 5, message->pq_ratchet, message->pq_ratchet_len);
    if (message->addresses != NULL) {
        write_field_bytes(writer, 6, message->addresses, WIRE_ADDRESSES_LEN);
    }
}

void prekey_message_write(struct writer *writer, const struct prekey_message *message)
{
    write_u8(writer, WIRE_VERSION);
    if (message->has_prekey) {
        write_field_uint(writer, 1, message->prekey_id);
    }
    write_field_bytes(writer, 2, message->base_key, E2EE_PUBLIC_LEN);
    write_field_bytes(writer, 3, message->identity, E2EE_PUBLIC_LEN);
    write_field_bytes(writer, 4, message->inner, message->inner_len);
    write_field_uint(writer, 5, message->registration_id);
    write_field_uint(writer, 6, message->signed_prekey_id);
    write_field_uint(writer, 7, message->kem_prekey_id);
    write_field_bytes(writer, 8, message->kem_ciphertext, E2EE_KEM_CIPHERTEXT_LEN);
}

static void address_fill(const struct e2ee_address *address, uint8_t out[E2EE_ADDRESS_LEN])
{
    memcpy(out, address->service_id, E2EE_SERVICE_ID_LEN);
    out[E2EE_SERVICE_ID_LEN] = address->device_id;
}

void addresses_fill(const struct e2ee_address *sender, const struct e2ee_address *receiver,
                    uint8_t out[WIRE_ADDRESSES_LEN])
{
    address_fill(sender, out);
    address_fill(receiver, out + E2EE_ADDRESS_LEN);
}

/* --- sender keys ----------------------------------------------------------------- */

enum e2ee_err distribution_parse(const uint8_t *bytes, size_t len,
                                 struct distribution_message *message_out)
{
    enum { ID, CHAIN, ITERATION, CHAIN_KEY, SIGNING_KEY, COUNT };
    struct field fields[COUNT] = {
        [ID] = {.number = 1, .is_bytes = true, .required = true,
                .len = E2EE_DISTRIBUTION_ID_LEN},
        [CHAIN] = {.number = 2, .required = true},
        [ITERATION] = {.number = 3, .required = true},
        [CHAIN_KEY] = {.number = 4, .is_bytes = true, .required = true, .len = 32},
        [SIGNING_KEY] = {.number = 5, .is_bytes = true, .required = true, .len = E2EE_PUBLIC_LEN},
    };
    enum e2ee_err err = version_check(bytes, len, 1, WIRE_GROUP_VERSION);
    if (err != E2EE_OK) {
        return err;
    }
    if (!message_parse(bytes + 1, len - 1, fields, COUNT)) {
        return E2EE_ERR_MALFORMED;
    }
    *message_out = (struct distribution_message){
        .id = fields[ID].data,
        .chain_id = fields[CHAIN].value,
        .iteration = fields[ITERATION].value,
        .chain_key = fields[CHAIN_KEY].data,
        .signing_key = fields[SIGNING_KEY].data,
    };
    return E2EE_OK;
}

enum e2ee_err sender_key_parse(const uint8_t *bytes, size_t len,
                               struct sender_key_message *message_out)
{
    enum { ID, CHAIN, ITERATION, CIPHERTEXT, COUNT };
    struct field fields[COUNT] = {
        [ID] = {.number = 1, .is_bytes = true, .required = true,
                .len = E2EE_DISTRIBUTION_ID_LEN},
        [CHAIN] = {.number = 2, .required = true},
        [ITERATION] = {.number = 3, .required = true},
        [CIPHERTEXT] = {.number = 4, .is_bytes = true, .required = true},
    };
    enum e2ee_err err = version_check(bytes, len, 1 + E2EE_SIGNATURE_LEN, WIRE_GROUP_VERSION);
    if (err != E2EE_OK) {
        return err;
    }
    size_t signed_len = len - E2EE_SIGNATURE_LEN;
    if (!message_parse(bytes + 1, signed_len - 1, fields, COUNT)) {
        return E2EE_ERR_MALFORMED;
    }
    *message_out = (struct sender_key_message){
        .id = fields[ID].data,
        .chain_id = fields[CHAIN].value,
        .iteration = fields[ITERATION].value,
        .ciphertext = fields[CIPHERTEXT].data,
        .ciphertext_len = fields[CIPHERTEXT].data_len,
        .signed_bytes = bytes,
        .signed_len = signed_len,
        .signature = bytes + signed_len,
    };
    return E2EE_OK;
}

void distribution_write(struct writer *writer, const struct distribution_message *message)
{
    write_u8(writer, WIRE_GROUP_VERSION);
    write_field_bytes(writer, 1, message->id, E2EE_DISTRIBUTION_ID_LEN);
    write_field_uint(writer, 2, message->chain_id);
    write_field_uint(writer, 3, message->iteration);
    write_field_bytes(writer, 4, message->chain_key, 32);
    write_field_bytes(writer, 5, message->signing_key, E2EE_PUBLIC_LEN);
}

void sender_key_write(struct writer *writer, const struct sender_key_message *message)
{
    write_u8(writer, WIRE_GROUP_VERSION);
    write_field_bytes(writer, 1, message->id, E2EE_DISTRIBUTION_ID_LEN);
    write_field_uint(writer, 2, message->chain_id);
    write_field_uint(writer, 3, message->iteration);
    write_field_bytes(writer, 4, message->ciphertext, message->ciphertext_len);
}
