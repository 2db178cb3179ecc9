/* Records, message rows, conversation states and cursors: whatever decodes
 * encodes to the same bytes, and the core takes any record without a fault.
 *
 * Input: one byte that chooses, then the bytes to decode, in memory of their
 * own size, so that a sanitizer sees reads past their end. */
#include "core/conversation.h"
#include "wire/cursor.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Applies the record to a conversation that does not exist, and again to what
 * it has become. */
static void apply(const struct record *r)
{
    struct conversation c;
    struct prior none = {.found = false};
    struct applied first, second;
    conversation_init(&c, r->conversation);
    conversation_apply(&c, r, 1, &none, &first);
    SOTTO_ASSERT(first.problem == PROBLEM_NONE || (first.events == 0 && c.last_position == 0 && c.kind == 0));
    conversation_apply(&c, r, 2, &none, &second);
    SOTTO_ASSERT(c.first_sequence <= c.last_sequence + 1);
    if (c.kind != 0) {
        struct buffer state;
        struct conversation again;
        buffer_init(&state, 2u << 20);
        conversation_encode(&c, &state);
        SOTTO_ASSERT(conversation_decode(c.id, buffer_slice(&state), &again) == SOTTO_OK);
        conversation_deinit(&again);
        buffer_deinit(&state);
    }
    conversation_deinit(&c);
}

static void fuzz_record(struct slice bytes, struct buffer *again)
{
    struct record r;
    if (record_decode(bytes, &r) != SOTTO_OK) return;
    record_encode(&r, again);
    SOTTO_ASSERT(slice_eq(bytes, buffer_slice(again)));
    if (r.kind == RECORD_MESSAGE && r.message.body_kind == BODY_ENVELOPES) {
        uint8_t hash[HASH_LEN];
        struct envelope e;
        body_hash(BODY_ENVELOPES, r.message.body, hash);
        envelope_find(r.message.body, r.message.sender, r.message.sender_device, &e);
    }
    apply(&r);
}

static void fuzz_row(struct slice bytes, struct buffer *again)
{
    struct id id = {{0}};
    struct message m;
    /* The id stands in the record too: read it from there. */
    if (bytes.len < MESSAGE_ROW_PREFIX_LEN + 2 + ID_LEN) return;
    memcpy(id.bytes, bytes.data + MESSAGE_ROW_PREFIX_LEN + 2, ID_LEN);
    if (message_row_decode(id, 1, bytes, &m) != SOTTO_OK || m.kind != RECORD_MESSAGE) return;
    message_row_encode(&m, again);
    SOTTO_ASSERT(slice_eq(bytes, buffer_slice(again)));
}

static void fuzz_state(struct slice bytes, struct buffer *again)
{
    struct conversation c;
    if (conversation_decode((struct id){{1}}, bytes, &c) != SOTTO_OK) return;
    conversation_encode(&c, again);
    SOTTO_ASSERT(again->len <= bytes.len);
    SOTTO_ASSERT(slice_eq(slice_of(bytes.data, again->len), buffer_slice(again)));
    for (size_t i = again->len; i < bytes.len; i++) SOTTO_ASSERT(bytes.data[i] == 0);
    conversation_deinit(&c);
}

static void fuzz_cursor(struct slice bytes, struct buffer *again)
{
    struct cursor c, d;
    if (cursor_parse(bytes, &c) != SOTTO_OK) return;
    cursor_write(&c, again);
    SOTTO_ASSERT(again->len <= CURSOR_TEXT_MAX && cursor_parse(buffer_slice(again), &d) == SOTTO_OK);
    SOTTO_ASSERT(c.epoch == d.epoch && c.position == d.position && c.partial == d.partial && c.target == d.target &&
                 c.sequence == d.sequence && id_eq(c.conversation, d.conversation));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0) return 0;
    uint8_t *copy = malloc(len);
    struct buffer again;
    if (copy == NULL) abort();
    memcpy(copy, data + 1, len - 1);
    struct slice bytes = slice_of(copy, len - 1);
    buffer_init(&again, 4u << 20);
    switch (data[0] % 4) {
    case 0: fuzz_record(bytes, &again); break;
    case 1: fuzz_row(bytes, &again); break;
    case 2: fuzz_state(bytes, &again); break;
    default: fuzz_cursor(bytes, &again); break;
    }
    buffer_deinit(&again);
    free(copy);
    return 0;
}
