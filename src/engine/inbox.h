/* Reading: sync, history, lists. Derived from rows; nothing is kept per
 * recipient. All calls block and belong on a worker thread; each sees one
 * consistent snapshot of the store.
 */
#ifndef SOTTO_ENGINE_INBOX_H
#define SOTTO_ENGINE_INBOX_H

#include "core/conversation.h"
#include "store/store.h"
#include "wire/cursor.h"

/* What sync finds, in the order in which a client can apply it: a conversation
 * before its messages, messages by sequence, then the marks. */
struct inbox_sink {
    void *ctx;
    /* Created or changed since the cursor. `me` is the asking member. */
    void (*conversation)(void *ctx, const struct conversation *c, const struct member *me);
    /* `m` may be expired or withheld: the caller shows a stub. */
    void (*message)(void *ctx, const struct conversation *c, const struct member *me,
                    const struct message *m);
    /* Marks of `who` that moved since. delivered/read false: that one did not. */
    void (*marks)(void *ctx, const struct conversation *c, const struct member *me,
                  const struct member *who, bool delivered, bool read);
    /* Something of it cannot be read: what was given of it is not all. May be NULL. */
    void (*unreadable)(void *ctx, struct id conversation);
};
/* Continues from *cursor and moves it. Stops when about `max_bytes` of rows or
 * `max_items` items have been given; *done_out tells that everything up to the
 * snapshot's position has been given (then the cursor is whole).
 * Errors: SOTTO_ERR_NOT_FOUND the cursor is older than what retention has kept
 * (or partial beyond repair): take a snapshot; IO; CORRUPT, but not for what only one
 * conversation suffers from. */
SOTTO_CHECKED enum sotto_err inbox_sync(struct store *store, struct id user, uint64_t now_ms,
                                        size_t max_items, size_t max_bytes, const struct inbox_sink *sink,
                                        struct cursor *cursor, bool *done_out);

/* Where a device begins that was made at *position: there, or further back, so that
 * it gets what no device of the user has got. Errors: IO; CORRUPT. */
SOTTO_CHECKED enum sotto_err inbox_start(struct store *store, struct id user, uint64_t now_ms,
                                         uint64_t *position);

struct inbox_page {
    uint64_t since;   /* messages after this sequence, oldest first; or */
    uint64_t before;  /* messages before this sequence, newest first; 0: from the newest */
    bool backwards;   /* which of the two */
    size_t limit;
};
/* Errors: NOT_FOUND no such conversation for this user. */
SOTTO_CHECKED enum sotto_err inbox_history(struct store *store, struct id user, struct id conversation,
                                           uint64_t now_ms, const struct inbox_page *page,
                                           const struct inbox_sink *sink, bool *has_more_out);
/* One message and the conversation it is in, for the status per member. */
SOTTO_CHECKED enum sotto_err inbox_message(struct store *store, struct id user, struct id conversation,
                                           uint64_t sequence, const struct inbox_sink *sink);
/* Conversations of the user in id order, after `after` (NULL: from the start),
 * with the last visible message (NULL if none is left, or none can be read) and the number
 * of unread messages from others, counted up to INBOX_UNREAD_MAX. */
enum { INBOX_UNREAD_MAX = 200 };
typedef void (*inbox_list_fn)(void *ctx, const struct conversation *c, const struct member *me,
                              const struct message *last, uint64_t unread);
SOTTO_CHECKED enum sotto_err inbox_list(struct store *store, struct id user, uint64_t now_ms,
                                        const struct id *after, size_t limit, inbox_list_fn fn, void *ctx,
                                        bool *has_more_out);
/* One of them. */
SOTTO_CHECKED enum sotto_err inbox_conversation(struct store *store, struct id user, uint64_t now_ms,
                                                struct id conversation, inbox_list_fn fn, void *ctx);
/* Whether a message may be shown now: whole, not past its time, and not
 * withheld from this user. */
bool message_visible(const struct message *m, struct id viewer, uint64_t now_ms);

#endif
