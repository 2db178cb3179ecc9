/* From the engine to the connections.
 *
 * On the engine's thread, per commit: which loops have a session of a recipient
 * (the registry says), one list of shared events per loop, one post each. On
 * the loop: its own sessions of each recipient, and for each connection one of
 * three things: send it, skip it (already given by synchronising, or not meant
 * for this device), or note it as missed (see sync_pump.c).
 *
 * The text of an event is written once per kind of viewer on a loop (sender's
 * own devices, everybody else) and appended to each queue; only envelopes are
 * written for each device.
 *
 * BOUNDS. A loop that does not keep up has at most GATEWAY_PENDING_EVENTS_MAX
 * events waiting; past that they are dropped and one mail, embedded in the
 * loop, makes all its live connections synchronise from where they are.
 *
 * A commit may publish several events with one position (a conversation and its
 * first message): only the last of them carries the cursor.
 */
#include "gateway/call_private.h"
#include "gateway/event_json.h"

#include <stdlib.h>

struct delivery {
    struct mail mail;
    size_t count;
    struct event *events[]; /* one reference each; bit 0 set: ends its position */
};

/* ---- Latency from sent to delivered (engine thread only) ------------------ */

enum { LATENCY_SLOTS = 4096 };
struct latency_slot {
    uint64_t key; /* of conversation and sequence */
    uint64_t committed_us;
};

static struct latency_slot *latency_slot(struct gateway *g, struct id conversation, uint64_t sequence, uint64_t *key_out)
{
    *key_out = id_hash(conversation) + sequence * UINT64_C(0x9e3779b97f4a7c15);
    return &g->latencies[(*key_out >> 20) % LATENCY_SLOTS];
}

static void measure(struct gateway *g, const struct event *e)
{
    struct gateway_metrics *m = &g->metrics;
    uint64_t key;
    if (e->kind == EVENT_MESSAGE) {
        struct latency_slot *slot = latency_slot(g, e->conversation, e->sequence, &key);
        *slot = (struct latency_slot){key, e->committed_us};
    } else if (e->kind == EVENT_DELIVERED) {
        struct latency_slot *slot = latency_slot(g, e->conversation, e->sequence, &key);
        counter_add(m->delivered, 1);
        if (slot->key == key && e->committed_us >= slot->committed_us)
            histogram_observe(m->delivered_after, e->committed_us - slot->committed_us);
        slot->key = 0;
    } else if (e->kind == EVENT_READ) {
        counter_add(m->read, 1);
    }
}

void publish_gateway_init(struct gateway *g)
{
    g->latencies = sotto_zalloc(LATENCY_SLOTS * sizeof(*g->latencies));
}

void publish_gateway_deinit(struct gateway *g)
{
    free(g->latencies);
}

/* ---- The loop's side ------------------------------------------------------ */

static void text_for(struct gateway_loop *gl, const struct event *e, const struct viewer *v, struct slice cursor,
                     struct buffer *out)
{
    struct gateway *g = gl->gateway;
    event_json_live(out, e, v, cursor, gateway_wall_ms(g), gateway_limits(g)->typing_ttl_ms);
}

/* The text for this viewer: written now, or before for one who sees the same. */
static struct slice event_text(struct gateway_loop *gl, const struct event *e, const struct viewer *v,
                               struct slice cursor)
{
    struct event_texts *t = &gl->texts;
    bool own = id_eq(e->actor, v->user);
    bool each = (e->kind == EVENT_MESSAGE && e->message.record.body_kind == BODY_ENVELOPES) ||
                e->kind == EVENT_CONVERSATION;
    struct buffer *text = each ? &t->single : own ? &t->own : &t->other;
    if (each) buffer_clear(text);
    if (text->len == 0) text_for(gl, e, v, cursor, text);
    return buffer_slice(text);
}

static void drop(struct gateway *g, struct conn *c, const struct event *e, enum drop_cause cause)
{
    counter_add(g->metrics.dropped[cause], 1);
    if (e->position != 0) sync_missed(c, e->position);
}

static bool window_full(const struct gateway *g, const struct conn *c)
{
    const struct gateway_limits *l = gateway_limits(g);
    if (l->window_bytes != 0 && stream_queued(c->stream) >= l->window_bytes) return true;
    return l->window_events != 0 && c->events >= l->window_events;
}

static void deliver(struct gateway_loop *gl, struct conn *c, const struct event *e, struct slice cursor)
{
    struct gateway *g = gl->gateway;
    if (!conn_alive(c)) return;
    if (c->mode != MODE_LIVE) {
        if (c->mode == MODE_SYNC || c->mode == MODE_LAGGING) drop(g, c, e, DROP_LAGGING);
        return;
    }
    bool given = e->position != 0 && (e->position < c->position ||
                                      (e->position == c->position && c->flags & CONN_SYNCED));
    if (given) return;
    struct viewer v = {session_user_id(&c->session), c->session.device, session_receipts_off(&c->session)};
    bool concerns = event_concerns(e, &v);
    if (concerns && stream_queued(c->stream) == 0) c->events = 0;
    if (concerns && window_full(g, c)) {
        counter_add(g->metrics.dropped[DROP_LAGGING], 1);
        if (e->position != 0) sync_lag(c, e->position);
        return;
    }
    if (e->position != 0) {
        c->position = e->position;
        c->flags &= (uint16_t)~CONN_SYNCED;
    }
    if (!concerns) return;
    conn_send(c, event_type(e), event_text(gl, e, &v, cursor), cursor, false);
    c->events++;
    counter_add(g->metrics.pushed, 1);
}

static void deliver_event(struct gateway_loop *gl, const struct event *e, bool last_at_position)
{
    struct gateway *g = gl->gateway;
    struct session *sessions[REGISTRY_SESSIONS_MAX];
    uint8_t memory[CURSOR_TEXT_MAX];
    struct buffer cursor;
    buffer_init_fixed(&cursor, memory, sizeof(memory));
    if (e->position != 0 && last_at_position) {
        struct cursor at = {.epoch = engine_epoch(g->services->engine), .position = e->position};
        cursor_write(&at, &cursor);
    }
    buffer_clear(&gl->texts.own);
    buffer_clear(&gl->texts.other);
    for (size_t r = 0; r < e->recipients_count; r++) {
        size_t count = registry_on_loop(g->registry, e->recipients[r], gl->index, sessions);
        for (size_t i = 0; i < count; i++)
            deliver(gl, conn_of_session(sessions[i]), e, buffer_slice(&cursor));
    }
}

static void delivery_received(struct mail *mail, void *receiver)
{
    struct gateway_loop *gl = loop_owner(receiver);
    struct delivery *d = (struct delivery *)(void *)mail;
    for (size_t i = 0; i < d->count; i++) {
        uintptr_t tagged = (uintptr_t)d->events[i];
        if (i + 1 < d->count) prefetch(d->events[i + 1], offsetof(struct event, message));
        struct event *e = (struct event *)(tagged & ~(uintptr_t)1);
        SOTTO_ASSERT(e != NULL);
        deliver_event(gl, e, tagged & 1);
        if (e->kind == EVENT_MESSAGE && e->received_us != 0 && i == 0) {
            uint64_t now = clock_monotonic_us(gl->gateway->services->clock);
            if (now > e->committed_us) histogram_observe(gl->gateway->metrics.push, now - e->committed_us);
        }
        event_unref(e, &gl->submissions);
    }
    atomic_fetch_sub_explicit(&gl->pending_events, d->count, memory_order_relaxed);
    /* Big texts are not kept for the next burst. */
    if (gl->texts.own.size > GATEWAY_ANSWER_KEEP) buffer_deinit(&gl->texts.own);
    if (gl->texts.other.size > GATEWAY_ANSWER_KEEP) buffer_deinit(&gl->texts.other);
    if (gl->texts.single.size > GATEWAY_ANSWER_KEEP) buffer_deinit(&gl->texts.single);
    free(d);
}

static void overflow_each(struct conn *c, void *ctx)
{
    uint64_t position = *(const uint64_t *)ctx;
    if (!conn_alive(c) || c->position >= position) return;
    if (c->mode == MODE_LIVE) sync_lag(c, position);
    else if (c->mode == MODE_SYNC || c->mode == MODE_LAGGING) sync_missed(c, position);
}

static void overflow_received(struct mail *mail, void *receiver)
{
    struct gateway_loop *gl = loop_owner(receiver);
    (void)mail;
    atomic_store(&gl->overflow_posted, false);
    uint64_t position = atomic_load(&gl->overflow_position);
    conn_each(gl, overflow_each, &position);
}

void publish_init(struct gateway_loop *gl)
{
    gl->overflow_mail.deliver = overflow_received;
    buffer_init(&gl->texts.own, SOTTO_FRAME_MAX * 2);
    buffer_init(&gl->texts.other, SOTTO_FRAME_MAX * 2);
    buffer_init(&gl->texts.single, SOTTO_FRAME_MAX * 2);
    buffer_init(&gl->record, SOTTO_RECORD_MAX);
    pool_init(&gl->submissions, SUBMISSION_BLOCK, sizeof(struct submission), GATEWAY_SUBMISSIONS_KEEP);
}

/* ---- The engine's side ---------------------------------------------------- */

static void post(struct gateway_loop *gl, struct event *const *events, size_t count, const uint64_t *masks)
{
    uint64_t bit = UINT64_C(1) << gl->index;
    size_t mine = 0;
    for (size_t i = 0; i < count; i++) mine += (masks[i] & bit) != 0;
    if (mine == 0) return;
    if (atomic_load_explicit(&gl->pending_events, memory_order_relaxed) + mine > GATEWAY_PENDING_EVENTS_MAX) {
        counter_add(gl->gateway->metrics.dropped[DROP_LOOP_FULL], mine);
        uint64_t position = 0;
        for (size_t i = 0; i < count; i++)
            if (events[i]->position > position) position = events[i]->position;
        atomic_store(&gl->overflow_position, position);
        if (!atomic_exchange(&gl->overflow_posted, true)) gateway_post(gl, &gl->overflow_mail);
        return;
    }
    struct delivery *d = sotto_alloc(sizeof(*d) + mine * sizeof(struct event *));
    d->mail.deliver = delivery_received;
    d->count = 0;
    for (size_t i = 0; i < count; i++) {
        if (!(masks[i] & bit)) continue;
        bool last = i + 1 == count || events[i + 1]->position != events[i]->position;
        d->events[d->count++] = (struct event *)((uintptr_t)event_ref(events[i]) | (uintptr_t)last);
    }
    atomic_fetch_add_explicit(&gl->pending_events, mine, memory_order_relaxed);
    gateway_post(gl, &d->mail);
}

/* The loops with a session of a recipient, a bit each. A single loop finds out by
 * itself, and has to in any case. */
static uint64_t loops_of(const struct gateway *g, const struct event *e)
{
    if (g->loops_count == 1) return 1;
    uint64_t mask = 0;
    for (size_t r = 0; r < e->recipients_count; r++) mask |= registry_loops(g->registry, e->recipients[r]);
    return mask;
}

void gateway_publish(void *ctx, struct event *const *events, size_t count)
{
    struct gateway *g = ctx;
    enum { CHUNK = 512 };
    uint64_t masks[CHUNK];
    while (count > 0) {
        size_t n = count < CHUNK ? count : CHUNK;
        /* Events of one position stay together. */
        while (n < count && n > 1 && events[n]->position == events[n - 1]->position) n--;
        uint64_t all = 0;
        for (size_t i = 0; i < n; i++) {
            masks[i] = loops_of(g, events[i]);
            all |= masks[i];
            measure(g, events[i]);
        }
        for (size_t l = 0; l < g->loops_count; l++)
            if (all >> l & 1) post(&g->loops[l], events, n, masks);
        events += n;
        count -= n;
    }
}
