/* Cursors: what a device has seen, as an opaque token.
 *
 * Text: base64url of  u8 version (1) | u32 store epoch | varint position |
 * [varint target | id conversation | varint sequence]
 * The bracketed part exists in the middle of a backlog: the device has
 * everything up to `position`; conversations that sort before `conversation`
 * are already up to `target`, and of `conversation` itself the messages up to
 * `sequence`. The backlog can so be resumed without giving anything twice.
 * The epoch is drawn at random when a store is made: a cursor from another
 * server, or from before a restore, is found out.
 * One partition (the embedded engine). A cursor is no secret and no authority:
 * what a device may see is decided by membership, whatever the cursor says.
 */
#ifndef SOTTO_WIRE_CURSOR_H
#define SOTTO_WIRE_CURSOR_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/id.h"

enum { CURSOR_TEXT_MAX = 96 };
struct cursor {
    uint32_t epoch;
    uint64_t position;
    bool partial;
    uint64_t target;
    struct id conversation;
    uint64_t sequence;
};
void cursor_write(const struct cursor *c, struct buffer *out);
SOTTO_CHECKED enum sotto_err cursor_parse(struct slice text, struct cursor *cursor_out);

#endif
