/* The keys of store/store.h, built in the caller's memory. */
#ifndef SOTTO_STORE_KEYS_H
#define SOTTO_STORE_KEYS_H

#include "base/bytes.h"
#include "base/id.h"
#include "core/conversation.h"

enum {
    MESSAGE_KEY_LEN = ID_LEN + 8,
    DEDUPE_ROW_LEN = ID_LEN + 8,
    MEMBER_KEY_LEN = 2 * ID_LEN,
    EXPIRY_KEY_LEN = 8 + ID_LEN + 8,
    ROW_BYTES_MAX = 2 * 1024 * 1024 /* no row is larger */
};
struct key {
    uint8_t bytes[EXPIRY_KEY_LEN];
    size_t len;
};
static inline struct slice key_slice(const struct key *k) { return slice_of(k->bytes, k->len); }
static inline struct key key_conversation(struct id conversation)
{
    struct key k = {.len = ID_LEN};
    memcpy(k.bytes, conversation.bytes, ID_LEN);
    return k;
}
static inline struct key key_message(struct id conversation, uint64_t sequence)
{
    struct key k = {.len = MESSAGE_KEY_LEN};
    memcpy(k.bytes, conversation.bytes, ID_LEN);
    store_be64(k.bytes + ID_LEN, sequence);
    return k;
}
static inline struct key key_dedupe(struct id conversation, struct id sender, uint8_t device, struct slice client_msg_id)
{
    struct key k = {.len = DEDUPE_KEY_LEN};
    dedupe_key(conversation, sender, device, client_msg_id, k.bytes);
    return k;
}
/* Where the message is that came under the key. */
static inline void dedupe_row(struct id conversation, uint64_t sequence, uint8_t row_out[DEDUPE_ROW_LEN])
{
    memcpy(row_out, conversation.bytes, ID_LEN);
    store_be64(row_out + ID_LEN, sequence);
}
static inline struct key key_member(struct id user, struct id conversation)
{
    struct key k = {.len = MEMBER_KEY_LEN};
    memcpy(k.bytes, user.bytes, ID_LEN);
    memcpy(k.bytes + ID_LEN, conversation.bytes, ID_LEN);
    return k;
}
static inline struct key key_expiry(uint64_t expires_ms, struct id conversation, uint64_t sequence)
{
    struct key k = {.len = EXPIRY_KEY_LEN};
    store_be64(k.bytes, expires_ms);
    memcpy(k.bytes + 8, conversation.bytes, ID_LEN);
    store_be64(k.bytes + 8 + ID_LEN, sequence);
    return k;
}

#endif
