/* SPQR messages, field 5 of every message:
 *
 *   version (1) || varint epoch || varint index || type (1)
 *   [ || varint chunk number || chunk (32) ]
 *
 * Only version 1 with a key is spoken: an empty field (version 0) or key 0 of
 * epoch 1 would be a downgrade, a higher version would leave the message keys
 * without a post-quantum part. Both are refused.
 */
#include "e2ee/spqr.h"

#include <assert.h>
#include <string.h>

void spqr_init(struct spqr *spqr, const struct secret32 *auth_key, bool initiator)
{
    braid_init(&spqr->braid, auth_key, initiator);
    pqchain_init(&spqr->chain, auth_key, initiator);
}

void spqr_deinit(const struct e2ee_env *env, struct spqr *spqr)
{
    SECRET_WIPE(spqr->braid);
    pqchain_deinit(env, &spqr->chain);
}

enum e2ee_err spqr_send(const struct e2ee_env *env, struct spqr *spqr,
                        uint8_t message_out[SPQR_MESSAGE_MAX], size_t *len_out,
                        struct secret32 *key_out)
{
    struct braid_message message;
    struct secret32 secret;
    bool fresh;
    uint32_t index;
    enum e2ee_err err = braid_send(env, &spqr->braid, &message, &fresh, &secret);
    if (err == E2EE_OK && fresh) {
        err = pqchain_add(env, &spqr->chain, message.epoch, &secret);
    }
    SECRET_WIPE(secret);
    if (err == E2EE_OK) {
        err = pqchain_send(env, &spqr->chain, message.epoch - 1, &index, key_out);
    }
    if (err != E2EE_OK) {
        return err;
    }
    struct writer writer = {.out = message_out};
    write_u8(&writer, SPQR_VERSION);
    write_varint(&writer, message.epoch);
    write_varint(&writer, index);
    write_u8(&writer, (uint8_t)message.type);
    if (braid_type_has_chunk(message.type)) {
        write_varint(&writer, message.chunk_number);
        write_bytes(&writer, message.chunk, sizeof message.chunk);
    }
    assert(writer.len <= SPQR_MESSAGE_MAX);
    *len_out = writer.len;
    return E2EE_OK;
}

/* Trailing bytes are ignored, as the protocol wants; the message's MAC covers
 * them. */
static enum e2ee_err spqr_parse(const uint8_t *bytes, size_t len,
                                struct braid_message *message_out, uint32_t *index_out)
{
    struct reader reader = reader_of(bytes, len);
    if (len == 0 || read_u8(&reader) != SPQR_VERSION) {
        return E2EE_ERR_VERSION;
    }
    uint64_t epoch = read_varint(&reader);
    uint64_t index = read_varint(&reader);
    unsigned type = read_u8(&reader);
    if (reader.bad || epoch == 0 || index > UINT32_MAX || type >= BRAID_TYPE_COUNT) {
        return E2EE_ERR_MALFORMED;
    }
    if (index == 0) {
        return E2EE_ERR_VERSION;
    }
    message_out->epoch = epoch;
    message_out->type = (enum braid_type)type;
    message_out->chunk_number = 0;
    if (braid_type_has_chunk(message_out->type)) {
        uint64_t number = read_varint(&reader);
        read_into(&reader, message_out->chunk, sizeof message_out->chunk);
        if (reader.bad || number > UINT16_MAX) {
            return E2EE_ERR_MALFORMED;
        }
        message_out->chunk_number = (uint16_t)number;
    }
    *index_out = (uint32_t)index;
    return E2EE_OK;
}

enum e2ee_err spqr_receive(const struct e2ee_env *env, struct spqr *spqr, const uint8_t *bytes,
                           size_t len, uint32_t jump_max, struct secret32 *key_out)
{
    struct braid_message message;
    struct secret32 secret;
    bool fresh = false;
    uint32_t index;
    enum e2ee_err err = spqr_parse(bytes, len, &message, &index);
    if (err == E2EE_OK) {
        err = braid_receive(&spqr->braid, &message, &fresh, &secret);
    }
    if (err == E2EE_OK && fresh) {
        err = pqchain_add(env, &spqr->chain, message.epoch, &secret);
        SECRET_WIPE(secret);
    }
    if (err == E2EE_OK) {
        err = pqchain_receive(env, &spqr->chain, message.epoch - 1, index, jump_max, key_out);
    }
    return err;
}

void spqr_write(struct writer *writer, const struct spqr *spqr)
{
    braid_write(writer, &spqr->braid);
    pqchain_write(writer, &spqr->chain);
}

enum e2ee_err spqr_read(const struct e2ee_env *env, struct reader *reader, struct spqr *spqr)
{
    braid_read(reader, &spqr->braid);
    return reader->bad ? E2EE_ERR_CORRUPT : pqchain_read(env, reader, &spqr->chain);
}
