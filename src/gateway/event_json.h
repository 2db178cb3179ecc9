/* Events and stored things as JSON, as one viewer may see them.
 *
 * Everything that decides what a device is shown of a message, a mark or a
 * conversation is here, whether it comes live, by synchronising, or in an
 * answer of the REST API: there is one place to look for a leak.
 */
#ifndef SOTTO_GATEWAY_EVENT_JSON_H
#define SOTTO_GATEWAY_EVENT_JSON_H

#include "core/conversation.h"
#include "engine/engine.h"
#include "wire/cursor.h"
#include "wire/json.h"

struct viewer {
    struct id user;
    uint8_t device;
    bool receipts_off; /* sees no `read` of others */
};

const char *conversation_kind_name(uint8_t kind);

/* The members of `message.new`, without type and cursor. me: NULL when nothing
 * is known of the membership. now_ms decides what is past its time. */
void event_json_message(struct json_writer *w, const struct message *m, uint8_t conversation_kind,
                        const struct viewer *v, uint64_t now_ms);
/* The members of `conversation.updated`, without type and cursor. */
void event_json_conversation(struct json_writer *w, const struct conversation *c, const struct viewer *v);
/* Whole objects, one event each, with the type; no cursor inside a batch. */
void event_json_batch_message(struct json_writer *w, const struct message *m, uint8_t conversation_kind,
                              const struct viewer *v, uint64_t now_ms);
void event_json_batch_conversation(struct json_writer *w, const struct conversation *c, const struct viewer *v);
/* Marks of `who` that moved; writes one or two events, or none that v may see. */
size_t event_json_batch_marks(struct json_writer *w, const struct conversation *c, const struct member *who,
                              bool delivered, bool read, const struct viewer *v);
/* One conversation of a list: as in conversation.updated, and the last message
 * and the number of unread ones. */
void event_json_listed(struct json_writer *w, const struct conversation *c, const struct message *last,
                       uint64_t unread, const struct viewer *v, uint64_t now_ms);
/* A live event as a whole object. cursor: empty for none. typing_ttl_ms: for
 * EVENT_TYPING. */
void event_json_live(struct buffer *out, const struct event *e, const struct viewer *v, struct slice cursor,
                     uint64_t now_ms, uint64_t typing_ttl_ms);
const char *event_type(const struct event *e);
/* Whether the viewer's device is told of the event at all. */
bool event_concerns(const struct event *e, const struct viewer *v);

#endif
