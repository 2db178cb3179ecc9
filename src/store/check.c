/* The check of a whole store: every row against every other.
 *
 * Conversations and messages are walked together, both sorted by conversation
 * id, so that one pass finds missing, surplus and wrong messages; member and
 * dedupe rows are looked up from the message side and walked from their own.
 * Nothing is repaired: what is wrong is told, and a backup is the remedy.
 *
 * The iterators are not of one snapshot: no engine may write meanwhile.
 */
#include "store/check.h"

#include "core/conversation.h"
#include "store/keys.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

struct check {
    struct store *store;
    void (*found)(void *ctx, const char *sentence);
    void *ctx;
    struct store_report report;
    struct store_iter *messages;
    struct buffer value;
    uint64_t position;   /* of the last commit */
    enum sotto_err err;  /* the first that stops the check */
};

static void problem(struct check *k, struct id conversation, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void problem(struct check *k, struct id conversation, const char *format, ...)
{
    char text[ID_TEXT_LEN + 1], what[256], sentence[320];
    id_format(conversation, text);
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    snprintf(sentence, sizeof(sentence), "Conversation %s: %s.", text, what);
    k->report.problems++;
    k->found(k->ctx, sentence);
}

/* Damage in one family ends the walk over that family only. */
static void check_iter_end(struct check *k, const struct store_iter *it, const char *family)
{
    enum sotto_err err = store_iter_error(it);
    if (err == SOTTO_OK) return;
    char sentence[160];
    snprintf(sentence, sizeof(sentence), "The rows of family \"%s\" cannot all be read: %s.", family,
             sotto_err_name(err));
    k->report.problems++;
    k->found(k->ctx, sentence);
    if (err != SOTTO_ERR_CORRUPT && k->err == SOTTO_OK) k->err = err;
}

/* True when the row is there; its bytes are in k->value. */
static bool look_up(struct check *k, enum store_family f, const struct key *key)
{
    enum sotto_err err = store_get(k->store, f, key_slice(key), &k->value);
    if (err != SOTTO_OK && err != SOTTO_ERR_NOT_FOUND && err != SOTTO_ERR_CORRUPT && k->err == SOTTO_OK) k->err = err;
    return err == SOTTO_OK;
}

static struct id id_at(const uint8_t *bytes)
{
    struct id id;
    memcpy(id.bytes, bytes, ID_LEN);
    return id;
}

/* ---- Messages ----------------------------------------------------------- */

static void check_side_rows(struct check *k, const struct message *m)
{
    if (m->kind != RECORD_MESSAGE) return;
    struct key key =
        key_dedupe(m->conversation, m->record.sender, m->record.sender_device, m->record.client_msg_id);
    uint8_t row[DEDUPE_ROW_LEN];
    dedupe_row(m->conversation, m->sequence, row);
    if (!look_up(k, STORE_DEDUPE, &key) || !slice_eq(buffer_slice(&k->value), slice_of(row, sizeof(row))))
        problem(k, m->conversation, "message %" PRIu64 " has no row under its idempotency key", m->sequence);
    if (m->record.expires_ms == 0 || m->state == MESSAGE_EXPIRED) return;
    key = key_expiry(m->record.expires_ms, m->conversation, m->sequence);
    if (!look_up(k, STORE_EXPIRY, &key))
        problem(k, m->conversation, "message %" PRIu64 " will not expire: its row for that is missing", m->sequence);
}

static void check_body(struct check *k, const struct message *m)
{
    if (m->state == MESSAGE_EXPIRED) {
        k->report.tombstones++;
        if (m->record.body.len != 0)
            problem(k, m->conversation, "message %" PRIu64 " has expired but still has its payload", m->sequence);
        return;
    }
    uint8_t hash[HASH_LEN];
    if (m->kind != RECORD_MESSAGE) return;
    body_hash((enum body_kind)m->record.body_kind, m->record.body, hash);
    if (memcmp(hash, m->record.payload_hash, HASH_LEN) != 0)
        problem(k, m->conversation, "the payload of message %" PRIu64 " is not what was hashed", m->sequence);
}

/* What one conversation's messages must continue from. */
struct thread {
    uint64_t sequence; /* the last one seen */
    uint64_t position;
    uint8_t chain[HASH_LEN];
    bool chain_known;
};

static void check_message(struct check *k, const struct conversation *c, struct thread *t, uint64_t sequence)
{
    struct message m;
    k->report.messages++;
    if (sequence != t->sequence + 1)
        problem(k, c->id, "after message %" PRIu64 " comes message %" PRIu64, t->sequence, sequence);
    if (message_row_decode(c->id, sequence, store_iter_value(k->messages), &m) != SOTTO_OK) {
        problem(k, c->id, "message %" PRIu64 " cannot be decoded", sequence);
        t->chain_known = false;
        t->sequence = sequence;
        return;
    }
    if (m.position <= t->position || m.position > c->last_position)
        problem(k, c->id, "message %" PRIu64 " has a position out of order", sequence);
    uint8_t chain[HASH_LEN];
    chain_next(t->chain, sequence, m.record.message_id, m.record.sender, m.record.payload_hash, chain);
    if (t->chain_known && sequence == t->sequence + 1 && memcmp(chain, m.chain, HASH_LEN) != 0)
        problem(k, c->id, "the chain breaks at message %" PRIu64, sequence);
    check_body(k, &m);
    check_side_rows(k, &m);
    memcpy(t->chain, m.chain, HASH_LEN);
    t->chain_known = true;
    t->sequence = sequence;
    t->position = m.position;
}

/* Messages of conversations before `id` have no state row. */
static void check_orphans(struct check *k, const struct id *id)
{
    struct id last = {{0}};
    bool told = false;
    for (; store_iter_valid(k->messages); store_iter_next(k->messages)) {
        struct slice key = store_iter_key(k->messages);
        struct id of = {{0}};
        if (key.len >= ID_LEN) of = id_at(key.data);
        if (key.len == MESSAGE_KEY_LEN && id != NULL && id_cmp(of, *id) >= 0) return;
        if (!told || !id_eq(of, last)) problem(k, of, "there are messages, but no conversation row");
        last = of;
        told = true;
    }
}

static void check_thread(struct check *k, const struct conversation *c)
{
    struct thread t = {.sequence = c->first_sequence - 1, .chain_known = c->first_sequence == 1};
    for (; store_iter_valid(k->messages) && k->err == SOTTO_OK; store_iter_next(k->messages)) {
        struct slice key = store_iter_key(k->messages);
        if (key.len != MESSAGE_KEY_LEN || memcmp(key.data, c->id.bytes, ID_LEN) != 0) break;
        check_message(k, c, &t, load_be64(key.data + ID_LEN));
    }
    if (t.sequence != c->last_sequence)
        problem(k, c->id, "messages end at %" PRIu64 " and not at %" PRIu64, t.sequence, c->last_sequence);
    else if (t.chain_known && c->first_sequence <= c->last_sequence && memcmp(t.chain, c->chain, HASH_LEN) != 0)
        problem(k, c->id, "the last chain value is not that of the last message");
}

/* ---- Conversations, members, keys ---------------------------------------- */

static void check_members(struct check *k, const struct conversation *c)
{
    for (size_t i = 0; i < c->members_count; i++) {
        const struct member *m = &c->members[i];
        struct key key = key_member(m->user, c->id);
        if (!look_up(k, STORE_MEMBER, &key)) problem(k, c->id, "member %zu has no row of its own", i + 1);
        if (m->delivered.sequence > c->last_sequence || m->read.sequence > c->last_sequence ||
            m->public_read > m->read.sequence || m->joined_sequence > c->last_sequence ||
            m->left_sequence > c->last_sequence)
            problem(k, c->id, "member %zu has a mark beyond the last message", i + 1);
        for (size_t j = 0; j < i; j++)
            if (id_eq(c->members[j].user, m->user)) problem(k, c->id, "member %zu is there twice", i + 1);
    }
}

static void check_conversations(struct check *k)
{
    struct store_iter *it = store_iter_create(k->store, STORE_CONVERSATION);
    k->messages = store_iter_create(k->store, STORE_MESSAGE);
    store_iter_seek(k->messages, slice_of("", 0));
    for (store_iter_seek(it, slice_of("", 0)); store_iter_valid(it) && k->err == SOTTO_OK; store_iter_next(it)) {
        struct slice key = store_iter_key(it);
        struct id id = {{0}};
        struct conversation c;
        k->report.conversations++;
        if (key.len == ID_LEN) id = id_at(key.data);
        check_orphans(k, &id);
        if (key.len != ID_LEN || conversation_decode(id, store_iter_value(it), &c) != SOTTO_OK) {
            problem(k, id, "the state row cannot be decoded");
            struct key next = key_message(id, UINT64_MAX);
            store_iter_seek(k->messages, key_slice(&next));
            continue;
        }
        if (c.last_position > k->position) problem(k, id, "its position is beyond that of the last commit");
        check_members(k, &c);
        check_thread(k, &c);
        conversation_deinit(&c);
    }
    if (k->err == SOTTO_OK && !store_iter_valid(it) && store_iter_error(it) == SOTTO_OK) check_orphans(k, NULL);
    check_iter_end(k, it, "conversation");
    check_iter_end(k, k->messages, "message");
    store_iter_destroy(&it);
    store_iter_destroy(&k->messages);
}

static void check_member_rows(struct check *k)
{
    struct store_iter *it = store_iter_create(k->store, STORE_MEMBER);
    for (store_iter_seek(it, slice_of("", 0)); store_iter_valid(it) && k->err == SOTTO_OK; store_iter_next(it)) {
        struct slice row = store_iter_key(it);
        struct id id = {{0}};
        struct conversation c;
        bool is_member = false;
        if (row.len == MEMBER_KEY_LEN) {
            id = id_at(row.data + ID_LEN);
            struct key key = key_conversation(id);
            if (look_up(k, STORE_CONVERSATION, &key) &&
                conversation_decode(id, buffer_slice(&k->value), &c) == SOTTO_OK) {
                is_member = conversation_member(&c, id_at(row.data)) != NULL;
                conversation_deinit(&c);
            }
        }
        if (!is_member) problem(k, id, "a member row names somebody who is no member");
    }
    check_iter_end(k, it, "member");
    store_iter_destroy(&it);
}

static bool names_its_message(struct check *k, struct slice dedupe, struct id conversation, uint64_t sequence)
{
    struct key key = key_message(conversation, sequence);
    struct message m;
    if (!look_up(k, STORE_MESSAGE, &key) ||
        message_row_decode(conversation, sequence, buffer_slice(&k->value), &m) != SOTTO_OK ||
        m.kind != RECORD_MESSAGE)
        return false;
    key = key_dedupe(conversation, m.record.sender, m.record.sender_device, m.record.client_msg_id);
    return slice_eq(dedupe, key_slice(&key));
}

static void check_dedupe_rows(struct check *k)
{
    struct store_iter *it = store_iter_create(k->store, STORE_DEDUPE);
    for (store_iter_seek(it, slice_of("", 0)); store_iter_valid(it) && k->err == SOTTO_OK; store_iter_next(it)) {
        struct slice row = store_iter_value(it);
        bool whole = row.len == DEDUPE_ROW_LEN;
        struct id conversation = whole ? id_at(row.data) : (struct id){{0}};
        if (!whole || !names_its_message(k, store_iter_key(it), conversation, load_be64(row.data + ID_LEN)))
            problem(k, conversation, "an idempotency key names no message of that key");
    }
    check_iter_end(k, it, "dedupe");
    store_iter_destroy(&it);
}

enum sotto_err store_check(struct store *s, void (*found)(void *ctx, const char *sentence), void *ctx,
                           struct store_report *report_out)
{
    struct check k = {.store = s, .found = found, .ctx = ctx};
    buffer_init(&k.value, ROW_BYTES_MAX);
    enum sotto_err err = store_get(s, STORE_META, SLICE_LIT("position"), &k.value);
    if (err == SOTTO_OK && k.value.len == 8) k.position = load_be64(k.value.data);
    if (err == SOTTO_ERR_IO) k.err = err;
    if (k.err == SOTTO_OK) check_conversations(&k);
    if (k.err == SOTTO_OK) check_member_rows(&k);
    if (k.err == SOTTO_OK) check_dedupe_rows(&k);
    buffer_deinit(&k.value);
    *report_out = k.report;
    return k.err;
}
