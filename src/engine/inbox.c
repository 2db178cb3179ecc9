/* Reading: everything a device can be told is derived from the rows.
 *
 * SYNC. The position of the last commit is read first: it is the target, and
 * whatever is read after it is at least as new. The user's conversations are
 * walked in id order; one whose lastPosition is not beyond the cursor has
 * nothing. In the others positions rise with sequences, so the first new
 * message is found by bisection and the rest by walking. What lies beyond the
 * target is left for the next round, or for the live events, so that nothing
 * comes twice and nothing is left out.
 *
 * DAMAGE. Messages that cannot be read keep nobody from other conversations. Theirs is told
 * with its last sequence: its members ask for what they miss, and get an error until it can
 * be read again, or a backup was restored. A state that is damaged tells nothing. An error
 * of the disk is another thing, and may pass: the round fails, and the cursor stays.
 *
 * A round that stops in the middle leaves a partial cursor: (position, target,
 * conversation, sequence). All before that conversation is up to the target;
 * in it, messages up to that sequence have been given.
 */
#include "engine/inbox.h"

#include <time.h>

#include "base/limits.h"
#include "store/keys.h"

enum { LAST_VISIBLE_ROWS_MAX = 64, UNDELIVERED_ROWS_MAX = 1024 };

/* A second, for what takes microseconds. */
enum { VISIBLE_TRIES = 10000, VISIBLE_PAUSE_US = 100 };

struct reading {
    struct store *store;
    uint64_t position;          /* all up to here can be seen; 0: not looked at yet */
    struct id user;
    uint64_t now_ms;
    const struct inbox_sink *sink;
    struct store_iter *members, *messages;
    uint64_t messages_position; /* that `messages` sees all up to */
    struct buffer value;
    struct conversation c;      /* the one at hand */
    bool has_conversation;
    struct member *me;
};

static void reading_init(struct reading *r, struct store *store, struct id user, uint64_t now_ms,
                         const struct inbox_sink *sink)
{
    *r = (struct reading){.store = store, .user = user, .now_ms = now_ms, .sink = sink};
    buffer_init(&r->value, ROW_BYTES_MAX);
}

static void drop_conversation(struct reading *r)
{
    if (r->has_conversation) conversation_deinit(&r->c);
    r->has_conversation = false;
}

static void reading_deinit(struct reading *r)
{
    drop_conversation(r);
    store_iter_destroy(&r->members);
    store_iter_destroy(&r->messages);
    buffer_deinit(&r->value);
}

static enum sotto_err read_position(struct reading *r, uint64_t *position_out)
{
    enum sotto_err err = store_get(r->store, STORE_META, SLICE_LIT("position"), &r->value);
    if (err == SOTTO_ERR_NOT_FOUND) {
        *position_out = 0;
        return SOTTO_OK;
    }
    if (err == SOTTO_OK && r->value.len != 8) err = SOTTO_ERR_CORRUPT;
    if (err == SOTTO_OK) *position_out = load_be64(r->value.data);
    return err;
}

/* A state may be that of the commit under way (store.h). Who is told of its last
 * message asks for it next, and must find it: so wait until it can be seen. */
static enum sotto_err wait_until_visible(struct reading *r)
{
    for (int tries = 0; r->c.last_position > r->position; tries++) {
        enum sotto_err err = read_position(r, &r->position);
        if (err != SOTTO_OK) return err;
        if (r->c.last_position <= r->position) break;
        if (tries == VISIBLE_TRIES) return SOTTO_ERR_IO;
        (void)nanosleep(&(struct timespec){.tv_nsec = VISIBLE_PAUSE_US * 1000}, NULL);
    }
    return SOTTO_OK;
}

static enum sotto_err load_conversation(struct reading *r, struct id id)
{
    drop_conversation(r);
    struct key key = key_conversation(id);
    enum sotto_err err = store_get(r->store, STORE_CONVERSATION, key_slice(&key), &r->value);
    if (err == SOTTO_OK) err = conversation_decode(id, buffer_slice(&r->value), &r->c);
    if (err != SOTTO_OK) return err;
    r->has_conversation = true;
    err = wait_until_visible(r);
    if (err != SOTTO_OK) return err;
    r->me = conversation_member(&r->c, r->user);
    return r->me != NULL ? SOTTO_OK : SOTTO_ERR_NOT_FOUND;
}

/* The messages that the member may see: [*from_out, *to_out], empty when
 * from > to. */
static void bounds(const struct reading *r, uint64_t *from_out, uint64_t *to_out)
{
    const struct conversation *c = &r->c;
    *from_out = r->me->joined_sequence + 1 > c->first_sequence ? r->me->joined_sequence + 1 : c->first_sequence;
    *to_out = r->me->left_sequence != 0 ? r->me->left_sequence : c->last_sequence;
}

static struct store_iter *messages(struct reading *r)
{
    if (r->messages == NULL) {
        r->messages_position = r->position;
        r->messages = store_iter_create(r->store, STORE_MESSAGE);
    }
    return r->messages;
}

/* Decodes the row under the iterator. NOT_FOUND: it is of another conversation. */
static enum sotto_err row_here(const struct reading *r, const struct store_iter *it, struct message *m_out)
{
    if (!store_iter_valid(it)) {
        enum sotto_err err = store_iter_error(it);
        return err != SOTTO_OK ? err : SOTTO_ERR_NOT_FOUND;
    }
    struct slice key = store_iter_key(it);
    if (key.len != MESSAGE_KEY_LEN) return SOTTO_ERR_CORRUPT;
    if (memcmp(key.data, r->c.id.bytes, ID_LEN) != 0) return SOTTO_ERR_NOT_FOUND;
    return message_row_decode(r->c.id, load_be64(key.data + ID_LEN), store_iter_value(it), m_out);
}

static void seek(struct reading *r, uint64_t sequence, bool last)
{
    struct key key = key_message(r->c.id, sequence);
    if (last)
        store_iter_seek_last(messages(r), key_slice(&key));
    else
        store_iter_seek(messages(r), key_slice(&key));
}

bool message_visible(const struct message *m, struct id viewer, uint64_t now_ms)
{
    if (m->state != MESSAGE_WHOLE) return false;
    if (m->record.expires_ms != 0 && m->record.expires_ms <= now_ms) return false;
    return !(m->record.flags & MESSAGE_WITHHELD) || id_eq(m->record.sender, viewer);
}

/* ---- Sync ------------------------------------------------------------------- */

/* About what they are in the text. */
enum { CONVERSATION_BYTES = 250, MEMBER_BYTES = 100 };

struct budget {
    size_t items, bytes; /* left */
};

static bool spend(struct budget *b, size_t bytes)
{
    b->items -= b->items != 0;
    b->bytes -= bytes < b->bytes ? bytes : b->bytes;
    return b->items != 0 && b->bytes != 0;
}

/* A conversation is told: it counts for what it holds, but never so that nothing of it
 * could follow. */
static void give_conversation(struct reading *r, struct budget *b)
{
    r->sink->conversation(r->sink->ctx, &r->c, r->me);
    size_t bytes = CONVERSATION_BYTES + r->c.members_count * MEMBER_BYTES;
    b->items -= b->items > 1;
    b->bytes = bytes < b->bytes ? b->bytes - bytes : b->bytes != 0;
}

/* First sequence in [from, to] whose row is beyond `position`; to + 1 if none. */
static enum sotto_err first_beyond(struct reading *r, uint64_t from, uint64_t to, uint64_t position,
                                   uint64_t *sequence_out)
{
    uint64_t low = from, high = to + 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct message m;
        seek(r, middle, false);
        enum sotto_err err = row_here(r, r->messages, &m);
        if (err == SOTTO_ERR_NOT_FOUND || (err == SOTTO_OK && m.sequence >= high)) {
            high = middle;
            continue;
        }
        if (err != SOTTO_OK) return err;
        if (m.position > position)
            high = middle;
        else
            low = m.sequence + 1;
    }
    *sequence_out = low;
    return SOTTO_OK;
}

/* Whether it happened in this round, and before the member left. */
static bool changed_between(const struct reading *r, uint64_t position, const struct cursor *cursor)
{
    if (!member_present(r->me) && position > r->me->left_position) return false;
    return position > cursor->position && position <= cursor->target;
}

static bool membership_changed(const struct reading *r, const struct cursor *cursor)
{
    const struct conversation *c = &r->c;
    if (changed_between(r, c->created_position, cursor)) return true;
    for (size_t i = 0; i < c->members_count; i++)
        if (changed_between(r, c->members[i].joined_position, cursor) ||
            changed_between(r, c->members[i].left_position, cursor))
            return true;
    return false;
}

/* Roles keep no position of their own: their rows tell. */
static bool changes_role(const struct message *m)
{
    return m->kind == RECORD_MEMBER && m->change.member.change == MEMBER_SET_ROLE;
}

static void give_marks(struct reading *r, const struct cursor *cursor, struct budget *budget)
{
    for (size_t i = 0; i < r->c.members_count; i++) {
        const struct member *who = &r->c.members[i];
        uint64_t read_position = who == r->me ? who->read.position : who->public_read_position;
        bool delivered = changed_between(r, who->delivered.position, cursor);
        bool read = changed_between(r, read_position, cursor);
        if (!delivered && !read) continue;
        r->sink->marks(r->sink->ctx, &r->c, r->me, who, delivered, read);
        (void)spend(budget, 64);
    }
}

/* Whether retention may have taken what the member had not been given yet. */
static bool purged_unseen(const struct reading *r, const struct cursor *cursor)
{
    if (!member_present(r->me) && cursor->position >= r->me->left_position) return false;
    return r->c.purged_position > cursor->position && r->c.purged_position >= r->me->joined_position;
}

/* What is new in the conversation at hand. *sequence: given so far; false in
 * *whole_out when the budget ended before the messages did. */
static enum sotto_err sync_conversation(struct reading *r, struct cursor *cursor, struct budget *budget,
                                        uint64_t *sequence, bool *whole_out)
{
    *whole_out = true;
    if (r->c.created_position > cursor->target || r->me->joined_position > cursor->target) return SOTTO_OK;
    if (purged_unseen(r, cursor)) return SOTTO_ERR_NOT_FOUND;
    if (*sequence == 0 && membership_changed(r, cursor)) give_conversation(r, budget);
    uint64_t from, to, next;
    bounds(r, &from, &to);
    enum sotto_err err = first_beyond(r, from, to, cursor->position, &next);
    if (err != SOTTO_OK) return err;
    /* The sequence came from outside: it may only narrow what is given. */
    if (next <= *sequence) next = *sequence < to ? *sequence + 1 : to + 1;
    for (seek(r, next, false);; store_iter_next(r->messages)) {
        struct message m;
        err = row_here(r, r->messages, &m);
        if (err == SOTTO_ERR_NOT_FOUND || (err == SOTTO_OK && (m.sequence > to || m.position > cursor->target))) break;
        if (err != SOTTO_OK) return err;
        if (budget->items == 0 || budget->bytes == 0) {
            *whole_out = false;
            return SOTTO_OK;
        }
        if (changes_role(&m)) give_conversation(r, budget);
        r->sink->message(r->sink->ctx, &r->c, r->me, &m);
        *sequence = m.sequence;
        (void)spend(budget, store_iter_value(r->messages).len);
    }
    give_marks(r, cursor, budget);
    return SOTTO_OK;
}

/* The conversation id in the member row under the iterator; false past the
 * user's last. */
static bool member_here(const struct reading *r, struct id *conversation_out)
{
    if (!store_iter_valid(r->members)) return false;
    struct slice key = store_iter_key(r->members);
    if (key.len != MEMBER_KEY_LEN || memcmp(key.data, r->user.bytes, ID_LEN) != 0) return false;
    memcpy(conversation_out->bytes, key.data + ID_LEN, ID_LEN);
    return true;
}

static void tell_unreadable(const struct reading *r, struct id conversation)
{
    if (r->sink->unreadable != NULL) r->sink->unreadable(r->sink->ctx, conversation);
}

static enum sotto_err sync_all(struct reading *r, struct cursor *cursor, struct budget *budget, bool *done_out)
{
    struct id id;
    *done_out = false;
    struct key key = key_member(r->user, cursor->conversation);
    r->members = store_iter_create(r->store, STORE_MEMBER);
    /* Before any state is read: of rows that retention takes meanwhile, either
     * the rows are seen or the state that says so. */
    (void)messages(r);
    for (store_iter_seek(r->members, key_slice(&key)); member_here(r, &id); store_iter_next(r->members)) {
        uint64_t sequence = id_eq(id, cursor->conversation) ? cursor->sequence : 0;
        enum sotto_err err = load_conversation(r, id);
        if (err == SOTTO_ERR_CORRUPT || err == SOTTO_ERR_NOT_FOUND) {
            tell_unreadable(r, id);
            continue;
        }
        if (err != SOTTO_OK) return err;
        bool whole = true;
        cursor->conversation = id;
        cursor->sequence = sequence;
        if (budget->items == 0 || budget->bytes == 0) return SOTTO_OK;
        if (r->c.last_position > cursor->position)
            err = sync_conversation(r, cursor, budget, &cursor->sequence, &whole);
        if (err == SOTTO_ERR_CORRUPT) {
            store_iter_destroy(&r->messages); /* RocksDB's may go on to fail where nothing is wrong */
            (void)messages(r);
            tell_unreadable(r, id);
            give_conversation(r, budget);
        } else if (err != SOTTO_OK) {
            return err;
        }
        if (!whole) return SOTTO_OK;
    }
    *done_out = store_iter_valid(r->members) || store_iter_error(r->members) == SOTTO_OK;
    return *done_out ? SOTTO_OK : store_iter_error(r->members);
}

enum sotto_err inbox_sync(struct store *store, struct id user, uint64_t now_ms, size_t max_items,
                          size_t max_bytes, const struct inbox_sink *sink, struct cursor *cursor, bool *done_out)
{
    struct reading r;
    reading_init(&r, store, user, now_ms, sink);
    struct budget budget = {max_items, max_bytes};
    struct cursor at = *cursor;
    bool done = false;
    uint64_t position = 0;
    enum sotto_err err = read_position(&r, &position);
    r.position = position;
    if (err == SOTTO_OK && (at.position > position || (at.partial && at.target > position)))
        err = SOTTO_ERR_NOT_FOUND;
    if (err == SOTTO_OK && !at.partial)
        at = (struct cursor){.epoch = at.epoch, .position = at.position, .partial = true, .target = position};
    if (err == SOTTO_OK && at.target == at.position)
        done = true;
    else if (err == SOTTO_OK)
        err = sync_all(&r, &at, &budget, &done);
    reading_deinit(&r);
    if (err != SOTTO_OK) return err;
    if (done) at = (struct cursor){.epoch = at.epoch, .position = at.target};
    *cursor = at;
    *done_out = done;
    return SOTTO_OK;
}

/* ---- Where a new device begins ------------------------------------------------- */

/* Moves *position back to before the first message from somebody else that no device
 * of the member has got. Who has written UNDELIVERED_ROWS_MAX since has a device that
 * would have got it. */
static enum sotto_err start_before_undelivered(struct reading *r, uint64_t *position)
{
    uint64_t from, to;
    bounds(r, &from, &to);
    if (from <= r->me->delivered.sequence) from = r->me->delivered.sequence + 1;
    if (from > to) return SOTTO_OK;
    seek(r, from, false);
    for (size_t rows = 0; rows < UNDELIVERED_ROWS_MAX; rows++, store_iter_next(r->messages)) {
        struct message m;
        enum sotto_err err = row_here(r, r->messages, &m);
        if (err == SOTTO_ERR_NOT_FOUND || (err == SOTTO_OK && m.sequence > to)) return SOTTO_OK;
        if (err != SOTTO_OK) return err;
        bool others = m.kind == RECORD_MESSAGE && !id_eq(m.record.sender, r->user);
        if (!others || !message_visible(&m, r->user, r->now_ms)) continue;
        if (m.position <= *position) *position = m.position - 1;
        break;
    }
    return SOTTO_OK;
}

enum sotto_err inbox_start(struct store *store, struct id user, uint64_t now_ms, uint64_t *position)
{
    struct reading r;
    struct id id;
    struct key key = key_member(user, (struct id){{0}});
    enum sotto_err err = SOTTO_OK;
    uint64_t start = *position;
    reading_init(&r, store, user, now_ms, NULL);
    r.members = store_iter_create(store, STORE_MEMBER);
    for (store_iter_seek(r.members, key_slice(&key)); err == SOTTO_OK && member_here(&r, &id);
         store_iter_next(r.members)) {
        err = load_conversation(&r, id);
        if (err == SOTTO_ERR_NOT_FOUND) err = SOTTO_ERR_CORRUPT;
        if (err == SOTTO_OK) err = start_before_undelivered(&r, &start);
    }
    if (err == SOTTO_OK && !store_iter_valid(r.members)) err = store_iter_error(r.members);
    reading_deinit(&r);
    if (err == SOTTO_OK) *position = start;
    return err;
}

/* ---- History ----------------------------------------------------------------- */

enum sotto_err inbox_history(struct store *store, struct id user, struct id conversation, uint64_t now_ms,
                             const struct inbox_page *page, const struct inbox_sink *sink, bool *has_more_out)
{
    struct reading r;
    reading_init(&r, store, user, now_ms, sink);
    enum sotto_err err = load_conversation(&r, conversation);
    bool more = false;
    if (err == SOTTO_OK) {
        uint64_t from, to;
        bounds(&r, &from, &to);
        if (!page->backwards && page->since >= from) from = page->since < to ? page->since + 1 : to + 1;
        if (page->backwards && page->before != 0 && page->before <= to) to = page->before - 1;
        seek(&r, page->backwards ? to : from, page->backwards);
        for (size_t given = 0; from <= to; given++) {
            struct message m;
            err = row_here(&r, r.messages, &m);
            if (err == SOTTO_ERR_NOT_FOUND || (err == SOTTO_OK && (m.sequence < from || m.sequence > to))) {
                err = SOTTO_OK;
                break;
            }
            if (err != SOTTO_OK) break;
            more = given == page->limit;
            if (more) break;
            sink->message(sink->ctx, &r.c, r.me, &m);
            if (page->backwards)
                store_iter_prev(r.messages);
            else
                store_iter_next(r.messages);
        }
    }
    reading_deinit(&r);
    if (err == SOTTO_OK) *has_more_out = more;
    return err;
}

enum sotto_err inbox_message(struct store *store, struct id user, struct id conversation, uint64_t sequence,
                             const struct inbox_sink *sink)
{
    struct reading r;
    struct message m;
    reading_init(&r, store, user, 0, sink);
    enum sotto_err err = load_conversation(&r, conversation);
    if (err == SOTTO_OK && (!member_sees(r.me, sequence) || sequence > r.c.last_sequence)) err = SOTTO_ERR_NOT_FOUND;
    if (err == SOTTO_OK) {
        struct key key = key_message(conversation, sequence);
        err = store_get(store, STORE_MESSAGE, key_slice(&key), &r.value);
    }
    if (err == SOTTO_OK) err = message_row_decode(conversation, sequence, buffer_slice(&r.value), &m);
    if (err == SOTTO_OK) sink->message(sink->ctx, &r.c, r.me, &m);
    reading_deinit(&r);
    return err;
}

/* ---- Lists -------------------------------------------------------------------- */

/* Leaves the iterator on the newest visible message. */
static enum sotto_err last_visible(struct reading *r, uint64_t from, uint64_t to, struct message *m, bool *found)
{
    *found = false;
    seek(r, to, true);
    for (int rows = 0; rows < LAST_VISIBLE_ROWS_MAX; rows++, store_iter_prev(r->messages)) {
        enum sotto_err err = row_here(r, r->messages, m);
        if (err == SOTTO_ERR_NOT_FOUND || (err == SOTTO_OK && (m->sequence < from || m->sequence > to))) return SOTTO_OK;
        if (err != SOTTO_OK) return err;
        *found = m->kind == RECORD_MESSAGE && message_visible(m, r->user, r->now_ms);
        if (*found) return SOTTO_OK;
    }
    return SOTTO_OK;
}

static enum sotto_err count_unread(struct reading *r, uint64_t from, uint64_t to, uint64_t *unread_out)
{
    uint64_t unread = 0;
    if (r->me->read.sequence >= from) from = r->me->read.sequence + 1;
    if (from <= to) seek(r, from, false);
    for (int rows = 0; from <= to && rows < INBOX_UNREAD_MAX; rows++, store_iter_next(r->messages)) {
        struct message m;
        enum sotto_err err = row_here(r, r->messages, &m);
        if (err == SOTTO_ERR_NOT_FOUND || (err == SOTTO_OK && m.sequence > to)) break;
        if (err != SOTTO_OK) return err;
        unread += m.kind == RECORD_MESSAGE && !id_eq(m.record.sender, r->user) &&
                  message_visible(&m, r->user, r->now_ms);
    }
    *unread_out = unread;
    return SOTTO_OK;
}

static enum sotto_err list_one(struct reading *r, struct id conversation, inbox_list_fn fn, void *ctx)
{
    struct message last;
    bool found = false;
    uint64_t from, to, unread = 0;
    enum sotto_err err = load_conversation(r, conversation);
    if (err != SOTTO_OK) return err;
    /* The state tells of rows that came after those seen here. */
    if (r->c.last_position > r->messages_position) store_iter_destroy(&r->messages);
    bounds(r, &from, &to);
    err = count_unread(r, from, to, &unread);
    if (err == SOTTO_OK) err = last_visible(r, from, to, &last, &found);
    if (err == SOTTO_ERR_CORRUPT) {
        store_iter_destroy(&r->messages);
        found = false;
        err = SOTTO_OK;
    }
    if (err == SOTTO_OK) fn(ctx, &r->c, r->me, found ? &last : NULL, unread);
    return err;
}

enum sotto_err inbox_list(struct store *store, struct id user, uint64_t now_ms, const struct id *after,
                          size_t limit, inbox_list_fn fn, void *ctx, bool *has_more_out)
{
    struct reading r;
    reading_init(&r, store, user, now_ms, NULL);
    enum sotto_err err = SOTTO_OK;
    size_t given = 0;
    bool more = false;
    struct id id;
    struct key key = key_member(user, after != NULL ? *after : (struct id){{0}});
    r.members = store_iter_create(store, STORE_MEMBER);
    for (store_iter_seek(r.members, key_slice(&key)); err == SOTTO_OK && member_here(&r, &id);
         store_iter_next(r.members)) {
        if (after != NULL && id_eq(id, *after)) continue;
        more = given == limit;
        if (more) break;
        err = list_one(&r, id, fn, ctx);
        if (err == SOTTO_ERR_NOT_FOUND || err == SOTTO_ERR_CORRUPT) err = SOTTO_OK; /* its state: the others go on */
        given++;
    }
    if (err == SOTTO_OK && !store_iter_valid(r.members)) err = store_iter_error(r.members);
    reading_deinit(&r);
    if (err == SOTTO_OK) *has_more_out = more;
    return err;
}

enum sotto_err inbox_conversation(struct store *store, struct id user, uint64_t now_ms, struct id conversation,
                                  inbox_list_fn fn, void *ctx)
{
    struct reading r;
    reading_init(&r, store, user, now_ms, NULL);
    enum sotto_err err = list_one(&r, conversation, fn, ctx);
    reading_deinit(&r);
    return err;
}
