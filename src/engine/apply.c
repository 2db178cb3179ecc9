/* One record: the core decides, here its decision becomes rows and events.
 *
 * Rows go into the batch in progress; the state row of a conversation is
 * written once, at the commit (engine_embedded.c). Events wait with the batch.
 */
#include "engine/engine_private.h"

#include <stdlib.h>

#include "base/limits.h"

/* ---- Events --------------------------------------------------------------- */

/* `home`: the submission that the event lies in if there is none yet; NULL: it gets
 * memory of its own. */
static struct event *add_event(struct engine *e, enum event_kind kind, const struct conversation *c,
                               uint64_t position, struct submission *home)
{
    if (e->events_count == e->events_size) {
        e->events_size = e->events_size == 0 ? 1024 : 2 * e->events_size;
        e->events = sotto_realloc(e->events, e->events_size * sizeof(struct event *));
    }
    struct event *event;
    bool near = home != NULL && !home->has_event;
    if (near) {
        event = event_ref(&home->event);
        home->has_event = true;
    } else {
        event = sotto_alloc(sizeof(*event));
        refcount_init(&event->refs);
    }
    memset(&event->kind, 0, offsetof(struct event, message) - offsetof(struct event, kind));
    event->in_submission = near;
    event->kind = kind;
    event->conversation = c->id;
    event->conversation_kind = c->kind;
    event->position = position;
    event->recipients = event->near;
    if (c->members_count > EVENT_RECIPIENTS_NEAR)
        event->recipients = sotto_alloc(c->members_count * sizeof(struct id));
    for (size_t i = 0; i < c->members_count; i++) {
        const struct member *m = &c->members[i];
        if (member_present(m) || (position != 0 && m->left_position == position))
            event->recipients[event->recipients_count++] = m->user;
    }
    e->events[e->events_count++] = event;
    return event;
}

static void add_conversation_event(struct engine *e, const struct conversation *c, uint64_t position,
                                   const struct applied *a)
{
    struct event *event = add_event(e, EVENT_CONVERSATION, c, position, NULL);
    struct buffer state;
    buffer_init(&state, ROW_BYTES_MAX);
    conversation_encode(c, &state);
    event->bytes = buffer_slice(&state);
    event->ts_ms = a->ts_ms;
    event->actor = c->members[a->member].user;
    event->sequence = a->sequence;
}

/* Borrows the submission's bytes: it lies in it. */
static void add_message_event(struct engine *e, const struct conversation *c, uint64_t position,
                              struct submission *s)
{
    struct event *event = add_event(e, EVENT_MESSAGE, c, position, s);
    SOTTO_ASSERT(event->in_submission);
    const struct record_message *m = &s->record.message;
    event->bytes = s->encoded;
    event->ts_ms = m->ts_ms;
    event->received_us = s->received_us;
    event->actor = m->sender;
    event->actor_device = m->sender_device;
    event->sequence = s->answer.sequence;
    event->message = (struct message){.conversation = c->id,
                                      .sequence = s->answer.sequence,
                                      .position = position,
                                      .state = MESSAGE_WHOLE,
                                      .kind = RECORD_MESSAGE,
                                      .record = *m};
    memcpy(event->message.chain, s->answer.chain, HASH_LEN);
}

static void add_mark_event(struct engine *e, enum event_kind kind, const struct conversation *c,
                           struct submission *s, uint64_t sequence, bool is_private)
{
    const struct record_watermark *w = &s->record.watermark;
    struct event *event = add_event(e, kind, c, s->position, s);
    event->ts_ms = w->ts_ms;
    event->actor = w->user;
    event->actor_device = w->device;
    event->sequence = sequence;
    event->is_private = is_private;
}

/* ---- Idempotency ---------------------------------------------------------- */

static bool is_key(const void *entry, const void *key)
{
    return memcmp(((const struct fresh_key *)entry)->key, key, DEDUPE_KEY_LEN) == 0;
}

static uint64_t key_hash(const struct key *k) { return load_be64(k->bytes + DEDUPE_TIME_LEN); }

static enum sotto_err prior_from_row(struct engine *e, struct id conversation, uint64_t sequence,
                                     struct prior *prior)
{
    struct key key = key_message(conversation, sequence);
    struct message m;
    enum sotto_err err = store_get(e->options.store, STORE_MESSAGE, key_slice(&key), &e->value);
    if (err != SOTTO_OK) return err;
    err = message_row_decode(conversation, sequence, buffer_slice(&e->value), &m);
    if (err != SOTTO_OK) return err;
    *prior = (struct prior){.found = true, .sequence = sequence, .ts_ms = m.record.ts_ms,
                            .message_id = m.record.message_id};
    memcpy(prior->chain, m.chain, HASH_LEN);
    memcpy(prior->payload_hash, m.record.payload_hash, HASH_LEN);
    return SOTTO_OK;
}

static enum sotto_err find_prior(struct engine *e, struct id conversation, const struct key *key,
                                 struct prior *prior)
{
    struct fresh_key *fresh = map_find(&e->fresh, key_hash(key), key->bytes, is_key);
    if (fresh != NULL) {
        *prior = fresh->prior;
        return SOTTO_OK;
    }
    enum sotto_err err = store_get(e->options.store, STORE_DEDUPE, key_slice(key), &e->value);
    if (err == SOTTO_ERR_NOT_FOUND) return SOTTO_OK;
    if (err != SOTTO_OK) return err;
    if (e->value.len != DEDUPE_ROW_LEN || memcmp(e->value.data, conversation.bytes, ID_LEN) != 0)
        return SOTTO_ERR_CORRUPT;
    return prior_from_row(e, conversation, load_be64(e->value.data + ID_LEN), prior);
}

static void remember_key(struct engine *e, const struct key *key, const struct submission *s)
{
    struct fresh_key *fresh = &e->fresh_keys[e->fresh_count++];
    const struct applied *a = &s->answer;
    memcpy(fresh->key, key->bytes, DEDUPE_KEY_LEN);
    fresh->prior = (struct prior){.found = true, .sequence = a->sequence, .ts_ms = a->ts_ms,
                                  .message_id = a->message_id};
    memcpy(fresh->prior.chain, a->chain, HASH_LEN);
    memcpy(fresh->prior.payload_hash, s->record.message.payload_hash, HASH_LEN);
    map_insert(&e->fresh, key_hash(key), fresh);
}

/* ---- Rows ----------------------------------------------------------------- */

static void put_row(struct engine *e, const struct record *r, struct slice encoded, const struct applied *a,
                    uint64_t position)
{
    struct key key = key_message(r->conversation, a->sequence);
    buffer_clear(&e->row);
    message_row_prefix(MESSAGE_WHOLE, position, a->chain, &e->row);
    store_put2(e->batch, STORE_MESSAGE, key_slice(&key), buffer_slice(&e->row), encoded);
}

static void put_message(struct engine *e, struct submission *s, const struct key *dedupe, uint64_t position)
{
    const struct record_message *m = &s->record.message;
    uint8_t row[DEDUPE_ROW_LEN];
    dedupe_row(s->record.conversation, s->answer.sequence, row);
    put_row(e, &s->record, s->encoded, &s->answer, position);
    store_put(e->batch, STORE_DEDUPE, key_slice(dedupe), slice_of(row, sizeof(row)));
    if (m->expires_ms != 0) {
        struct key expiry = key_expiry(m->expires_ms, s->record.conversation, s->answer.sequence);
        store_put(e->batch, STORE_EXPIRY, key_slice(&expiry), slice_of(NULL, 0));
    }
    remember_key(e, dedupe, s);
    counter_add(e->stored, 1);
}

static void put_member_row(struct engine *e, const struct conversation *c, const struct member *m)
{
    struct key key = key_member(m->user, c->id);
    store_put(e->batch, STORE_MEMBER, key_slice(&key), slice_of(NULL, 0));
}

/* Of all when it is new, else of who came, went or changed: the others have theirs. */
static void put_member_rows(struct engine *e, const struct conversation *c, const struct applied *a)
{
    if ((a->events & APPLY_CREATED) == 0) {
        put_member_row(e, c, &c->members[a->member]);
        return;
    }
    for (size_t i = 0; i < c->members_count; i++) put_member_row(e, c, &c->members[i]);
}

/* The payload goes, the number, hash and chain stay. */
static enum sotto_err put_tombstone(struct engine *e, struct id conversation, uint64_t sequence)
{
    struct key key = key_message(conversation, sequence);
    struct message m;
    enum sotto_err err = store_get(e->options.store, STORE_MESSAGE, key_slice(&key), &e->value);
    if (err == SOTTO_OK) err = message_row_decode(conversation, sequence, buffer_slice(&e->value), &m);
    if (err != SOTTO_OK) return err;
    m.state = MESSAGE_EXPIRED;
    m.record.body = m.record.media = slice_of(NULL, 0);
    buffer_clear(&e->row);
    message_row_encode(&m, &e->row);
    store_put(e->batch, STORE_MESSAGE, key_slice(&key), buffer_slice(&e->row));
    counter_add(e->keep.expired, 1);
    e->keep.erased = true;
    return SOTTO_OK;
}

/* Rows before first_kept, their keys and times; *newest_out is the position of
 * the newest. After an error the batch holds a part of that. */
static enum sotto_err delete_rows(struct engine *e, struct id conversation, uint64_t from, uint64_t first_kept,
                                  uint64_t *newest_out)
{
    struct key key = key_message(conversation, from), end = key_message(conversation, first_kept);
    struct store_iter *it = store_iter_create(e->options.store, STORE_MESSAGE);
    for (store_iter_seek(it, key_slice(&key)); store_iter_valid(it); store_iter_next(it)) {
        struct slice at = store_iter_key(it);
        if (at.len != MESSAGE_KEY_LEN || memcmp(at.data, end.bytes, MESSAGE_KEY_LEN) >= 0) break;
        uint64_t sequence = load_be64(at.data + ID_LEN);
        struct message m;
        if (message_row_decode(conversation, sequence, store_iter_value(it), &m) != SOTTO_OK) continue;
        *newest_out = m.position;
        if (m.kind == RECORD_MESSAGE) {
            struct key dedupe =
                key_dedupe(conversation, m.record.sender, m.record.sender_device, m.record.client_msg_id);
            store_delete(e->batch, STORE_DEDUPE, key_slice(&dedupe));
        }
        if (m.record.expires_ms != 0) {
            struct key expiry = key_expiry(m.record.expires_ms, conversation, sequence);
            store_delete(e->batch, STORE_EXPIRY, key_slice(&expiry));
        }
        counter_add(e->keep.purged, 1);
        if (sequence + 1 == first_kept) break; /* what follows may be damaged */
    }
    enum sotto_err err = store_iter_valid(it) ? SOTTO_OK : store_iter_error(it);
    store_iter_destroy(&it);
    struct key first = key_conversation(conversation); /* before `from` there is nothing */
    store_delete_range(e->batch, STORE_MESSAGE, key_slice(&first), key_slice(&end));
    e->keep.erased = true;
    return err;
}

/* ---- Records -------------------------------------------------------------- */

static void count_outcome(struct engine *e, const struct record *r, const struct applied *a)
{
    if (a->problem != PROBLEM_NONE)
        counter_add(e->refused, 1);
    else if (a->repeated)
        counter_add(e->repeated, 1);
    else if (r->kind == RECORD_WATERMARK)
        counter_add(e->watermarks, 1);
}

static enum problem problem_of_read(enum sotto_err err)
{
    return err == SOTTO_ERR_IO ? PROBLEM_BUSY : PROBLEM_INTERNAL;
}

static void apply_marks(struct engine *e, struct submission *s, const struct conversation *c)
{
    unsigned events = s->answer.events;
    const struct member *m = &c->members[s->answer.member];
    if (events & APPLY_DELIVERED) add_mark_event(e, EVENT_DELIVERED, c, s, m->delivered.sequence, false);
    if (events & (APPLY_READ | APPLY_READ_PUBLIC))
        add_mark_event(e, EVENT_READ, c, s, events & APPLY_READ ? m->read.sequence : m->public_read,
                       !(events & APPLY_READ_PUBLIC));
}

static void apply_typing(struct engine *e, struct submission *s, const struct conversation *c)
{
    const struct record *r = &s->record;
    struct event *event = add_event(e, EVENT_TYPING, c, 0, s);
    event->actor = r->typing.user;
    event->actor_device = r->typing.device;
    event->started = r->typing.started;
}

void engine_apply(struct engine *e, struct submission *s)
{
    const struct record *r = &s->record;
    struct prior prior = {.found = false};
    struct key dedupe = {.len = 0};
    enum sotto_err err = SOTTO_OK;
    struct cached *cached = cache_load(e, r->conversation, &err);
    if (cached != NULL && r->kind == RECORD_MESSAGE) {
        const struct record_message *m = &r->message;
        dedupe = key_dedupe(r->conversation, m->sender, m->sender_device, m->client_msg_id);
        err = find_prior(e, r->conversation, &dedupe, &prior);
    }
    if (cached == NULL || err != SOTTO_OK) {
        LOG(e->options.log, LOG_ERROR, "engine.read", LOG_ID("conversation", r->conversation),
            LOG_S("error", sotto_err_name(err)));
        s->answer = (struct applied){.problem = problem_of_read(err)};
        return;
    }
    struct conversation *c = &cached->state;
    uint64_t position = e->next_position;
    conversation_apply(c, r, position, &prior, &s->answer);
    count_outcome(e, r, &s->answer);
    unsigned events = s->answer.events;
    if (events == 0) return;
    if (events == APPLY_TYPING) {
        apply_typing(e, s, c);
        return;
    }
    e->next_position++;
    s->position = position;
    cache_mark_dirty(e, cached);
    if (events & (APPLY_CREATED | APPLY_MEMBERS)) {
        put_member_rows(e, c, &s->answer);
        add_conversation_event(e, c, position, &s->answer);
    }
    if (events & APPLY_MEMBERS) put_row(e, r, s->encoded, &s->answer, position);
    if (events & APPLY_MESSAGE) {
        put_message(e, s, &dedupe, position);
        add_message_event(e, c, position, s);
    }
    if (events & (APPLY_DELIVERED | APPLY_READ | APPLY_READ_PUBLIC)) apply_marks(e, s, c);
}

enum sotto_err engine_apply_own(struct engine *e, const struct record *r)
{
    enum sotto_err err = SOTTO_OK;
    struct cached *cached = cache_load(e, r->conversation, &err);
    struct applied a;
    if (cached == NULL) return err;
    struct conversation *c = &cached->state;
    uint64_t from = c->first_sequence, position = e->next_position;
    if (r->kind == RECORD_EXPIRE) err = put_tombstone(e, r->conversation, r->sequence);
    if (err != SOTTO_OK) return err;
    conversation_apply(c, r, position, &(struct prior){.found = false}, &a);
    if (a.events == 0) return SOTTO_OK;
    e->next_position++;
    cache_mark_dirty(e, cached);
    if (a.events & APPLY_EXPIRED) {
        struct event *event = add_event(e, EVENT_EXPIRED, c, position, NULL);
        event->sequence = r->sequence;
    }
    if (a.events & APPLY_PURGED) {
        uint64_t newest = 0;
        err = delete_rows(e, r->conversation, from, r->sequence, &newest);
        if (newest > c->purged_position) c->purged_position = newest;
    }
    return err;
}
