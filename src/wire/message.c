/* Message rows: see message.h for the format. */
#include "wire/message.h"

enum { MESSAGE_ROW_VERSION = 1 };

void message_row_prefix(uint8_t state, uint64_t position, const uint8_t chain[HASH_LEN], struct buffer *out)
{
    write_u8(out, MESSAGE_ROW_VERSION);
    write_u8(out, state);
    write_u64(out, position);
    buffer_append(out, chain, HASH_LEN);
}

void message_row_encode(const struct message *m, struct buffer *out)
{
    message_row_prefix(m->state, m->position, m->chain, out);
    struct record r = {.kind = RECORD_MESSAGE, .conversation = m->conversation, .message = m->record};
    record_encode(&r, out);
}

enum sotto_err message_row_decode(struct id conversation, uint64_t sequence, struct slice row,
                                  struct message *message_out)
{
    struct reader reader = reader_of(row);
    struct message m = {.conversation = conversation, .sequence = sequence};
    if (read_u8(&reader) != MESSAGE_ROW_VERSION) return SOTTO_ERR_CORRUPT;
    m.state = read_u8(&reader);
    m.position = read_u64(&reader);
    read_copy(&reader, m.chain, HASH_LEN);
    if (reader.failed || m.state > MESSAGE_EXPIRED) return SOTTO_ERR_CORRUPT;
    struct record record;
    struct slice rest = slice_of(reader.at, (size_t)(reader.end - reader.at));
    if (record_decode(rest, &record) != SOTTO_OK || !id_eq(record.conversation, conversation))
        return SOTTO_ERR_CORRUPT;
    m.kind = (uint8_t)record.kind;
    switch (record.kind) {
    case RECORD_MESSAGE:
        m.record = record.message;
        break;
    case RECORD_CREATE:
        m.change.create = record.create;
        m.record.sender = record.create.creator;
        m.record.ts_ms = record.create.ts_ms;
        record_hash(&record, m.record.payload_hash);
        break;
    case RECORD_MEMBER:
        m.change.member = record.member;
        m.record.sender = record.member.actor;
        m.record.ts_ms = record.member.ts_ms;
        record_hash(&record, m.record.payload_hash);
        break;
    default:
        return SOTTO_ERR_CORRUPT;
    }
    *message_out = m;
    return SOTTO_OK;
}
