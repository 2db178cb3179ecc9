/* The client engine's connection: phases, timers, reconnecting, inputs.
 *
 *   IDLE -> CONNECTING -> GREETING -> SYNCING -> LIVE
 *              ^   any loss of the connection |
 *              +-------- WAITING <------------+----> ENDED
 *
 * Each input runs between input_begin and input_end. Durable changes open the
 * store's transaction on first use; input_end commits it and lets the outputs
 * out, or on any failure rolls it back, drops the outputs, forgets what is in
 * memory and disconnects: the next connection starts from what the store holds.
 *
 * Close codes are those of docs/protocol.md. A wait grows with each failure in a
 * row and has a random part, so that a restarted server is not met by everybody
 * at once; it is forgotten when the backlog is through.
 */
#include "client/client_private.h"

#include <string.h>

/* ---- State in memory --------------------------------------------------- */

static bool load_mark(void *arg, const struct client_mark *m)
{
    struct client *c = arg;
    struct conversation *v;
    if (conversation_get(c, m->conversation, &v) != SOTTO_OK) return false;
    v->mark = *m;
    v->head = m->sequence;
    return true;
}

static bool load_queued(void *arg, const struct client_queued *q)
{
    return outbox_add(arg, q) == SOTTO_OK;
}

static bool load_cursor(void *arg, struct slice cursor)
{
    struct client *c = arg;
    if (cursor.len > CURSOR_TEXT_MAX) cursor.len = 0;
    if (cursor.len) memcpy(c->cursor, cursor.data, cursor.len);
    c->cursor[cursor.len] = '\0';
    return true;
}

static void state_forget(struct client *c)
{
    conversations_clear(c);
    outbox_clear(c);
    c->cursor[0] = c->pending_cursor[0] = '\0';
    c->loaded = false;
}

static enum sotto_err state_load(struct client *c)
{
    if (c->loaded) return SOTTO_OK;
    void *ctx = c->store->ctx;
    enum sotto_err err = c->store->load_cursor(ctx, load_cursor, c);
    if (!err) err = c->store->load_marks(ctx, load_mark, c);
    if (!err) err = c->store->load_queued(ctx, load_queued, c);
    if (err) {
        state_forget(c);
        return err;
    }
    c->loaded = true;
    marks_rewind(c);
    return SOTTO_OK;
}

enum sotto_err store_open(struct client *c)
{
    if (c->in_transaction) return SOTTO_OK;
    enum sotto_err err = c->store->begin(c->store->ctx);
    c->in_transaction = err == SOTTO_OK;
    return err;
}

static bool copy_text(char *to, size_t size, struct slice from)
{
    if (from.len >= size) return false;
    if (from.len) memcpy(to, from.data, from.len);
    to[from.len] = '\0';
    return true;
}

enum sotto_err client_create(const struct client_options *options, struct client **client_out)
{
    const struct client_memory *memory = options->memory ? options->memory : client_memory_system();
    struct client *c = client_alloc(memory, sizeof *c);
    if (!c) return SOTTO_ERR_FULL;
    c->memory = memory;
    c->store = options->store;
    c->random = options->random;
    c->user = options->user;
    c->outbox_last = &c->outbox;
    c->deadline_ms = c->accept_left = UINT64_MAX;
    output_queue_init(&c->staged);
    output_queue_init(&c->ready);
    enum sotto_err err = SOTTO_ERR_INVALID;
    if (copy_text(c->token, sizeof c->token, options->token) &&
        copy_text(c->agent, sizeof c->agent, options->agent))
        err = state_load(c);
    if (err) {
        client_destroy(&c);
        return err;
    }
    *client_out = c;
    return SOTTO_OK;
}

void client_destroy(struct client **client)
{
    struct client *c = *client;
    if (!c) return;
    *client = NULL;
    outputs_drop(c, &c->staged);
    outputs_drop(c, &c->ready);
    output_free(c, c->taken);
    state_forget(c);
    client_free(c->memory, c->scratch);
    memset(c->token, 0, sizeof c->token);
    memset(c->resume_token, 0, sizeof c->resume_token);
    client_free(c->memory, c);
}

/* ---- Phases ------------------------------------------------------------ */

uint64_t client_jitter_ms(struct client *c, uint64_t max_ms)
{
    return max_ms ? random_u64(c->random) % (max_ms + 1) : 0;
}

static void phase_event(struct client *c, unsigned code, uint64_t wait_ms)
{
    struct output_node *n = output_small(c, CLIENT_OUT_EVENT);
    if (!n) return;
    n->out.event = (struct client_event){.kind = CLIENT_EVENT_PHASE, .phase = c->phase, .end = c->end,
                                         .close_code = code, .wait_ms = wait_ms};
    output_stage(c, n);
}

void client_enter(struct client *c, enum client_phase phase, uint64_t deadline_ms)
{
    c->phase = phase;
    c->deadline_ms = deadline_ms;
    phase_event(c, 0, 0);
}

static void client_finish(struct client *c, enum client_end end, unsigned code)
{
    c->phase = CLIENT_ENDED;
    c->end = end;
    c->deadline_ms = UINT64_MAX;
    phase_event(c, code, 0);
}

static void connect_now(struct client *c)
{
    client_enter(c, CLIENT_CONNECTING, c->now_ms + CLIENT_CONNECT_TIMEOUT_MS);
    struct output_node *n = output_small(c, CLIENT_OUT_CONNECT);
    if (!n) c->deadline_ms = c->now_ms; /* tried again at the next tick */
    output_stage(c, n);
}

static uint64_t backoff_ms(struct client *c)
{
    unsigned shift = c->failures < 7 ? c->failures : 7;
    uint64_t wait = (uint64_t)CLIENT_BACKOFF_FIRST_MS << shift;
    if (wait > CLIENT_BACKOFF_MAX_MS) wait = CLIENT_BACKOFF_MAX_MS;
    return wait / 2 + client_jitter_ms(c, wait / 2);
}

static uint64_t wait_for(struct client *c, unsigned code)
{
    switch (code) {
    case 1001: case 4000: return c->failures ? backoff_ms(c) : client_jitter_ms(c, 5000);
    case 4001: return c->failures ? backoff_ms(c) : client_jitter_ms(c, 200);
    case 4006: return 60000 + client_jitter_ms(c, 10000);
    case 1002: case 1003: case 1007: case 1009: return CLIENT_BACKOFF_MAX_MS + client_jitter_ms(c, 5000);
    default: return backoff_ms(c);
    }
}

static void connection_forget(struct client *c)
{
    outbox_rewind(c);
    for (size_t i = 0; i < c->conversations_count; i++) {
        struct conversation *v = c->conversations[i];
        if (v->pulling) { /* asked again on the next connection */
            v->pulling = false;
            v->pull_wanted = true;
            c->pulls_wanted++;
        }
    }
    c->pulls = 0;
    c->pulls_ms = 0;
    marks_rewind(c);
    c->pinged = false;
}

/* The hello of a connection that broke may reach the server after that of the next,
 * and then it is the new one that is said to be replaced. Tried again, once: another
 * program with the same device would win the next time. */
static bool replaced_by_itself(struct client *c)
{
    bool so = c->broke_ms != 0 && c->now_ms < c->broke_ms + CLIENT_ECHO_MS;
    c->broke_ms = 0;
    return so;
}

void client_lost(struct client *c, unsigned code)
{
    bool resumed = c->resumed;
    c->resumed = false;
    connection_forget(c);
    switch (code) {
    case 4002:
        if (!replaced_by_itself(c)) {
            client_finish(c, CLIENT_END_REPLACED, code);
            return;
        }
        break;
    case 4004: client_finish(c, CLIENT_END_GONE, code); return;
    case 4003:
        c->resume_token[0] = '\0';
        if (!resumed) {
            client_finish(c, CLIENT_END_SIGN_IN, code);
            return;
        }
        break; /* the resumption may be over while the token still holds */
    default:
        if (c->phase != CLIENT_CONNECTING) c->broke_ms = c->now_ms;
        break;
    }
    uint64_t wait = wait_for(c, code);
    c->failures++;
    c->phase = CLIENT_WAITING;
    c->deadline_ms = c->now_ms + wait;
    phase_event(c, code, wait);
}

void client_disconnect(struct client *c, unsigned code)
{
    struct output_node *n = output_small(c, CLIENT_OUT_DISCONNECT);
    if (n) n->out.close_code = code;
    output_stage(c, n);
    client_lost(c, code);
}

/* ---- Inputs ------------------------------------------------------------ */

static void input_begin(struct client *c, uint64_t now_ms)
{
    if (now_ms > c->now_ms) c->now_ms = now_ms;
}

static bool connected(const struct client *c)
{
    return c->phase == CLIENT_CONNECTING || c->phase == CLIENT_GREETING || c->phase == CLIENT_SYNCING ||
           c->phase == CLIENT_LIVE;
}

static void input_fail(struct client *c, enum sotto_err err)
{
    bool was_connected = connected(c);
    if (c->in_transaction) c->store->rollback(c->store->ctx);
    c->in_transaction = false;
    outputs_drop(c, &c->staged);
    state_forget(c);
    if (err == SOTTO_ERR_FULL) {
        if (was_connected) client_disconnect(c, 1000);
    } else {
        if (was_connected) client_disconnect(c, 1000);
        client_finish(c, CLIENT_END_STORE, 0);
    }
    outputs_release(c);
}

static enum sotto_err input_end(struct client *c, enum sotto_err err)
{
    if (!err && c->loaded) err = conversations_pump(c);
    if (!err && c->loaded) err = marks_send(c);
    if (!err && c->loaded) err = outbox_pump(c);
    if (!err && c->in_transaction) {
        err = c->store->commit(c->store->ctx);
        if (!err) c->in_transaction = false;
    }
    if (err) {
        input_fail(c, err);
        return err;
    }
    outputs_release(c);
    return SOTTO_OK;
}

void client_start(struct client *c, uint64_t now_ms)
{
    input_begin(c, now_ms);
    if (c->phase != CLIENT_IDLE && c->phase != CLIENT_ENDED && c->phase != CLIENT_WAITING) return;
    c->end = CLIENT_END_NONE;
    enum sotto_err err = state_load(c);
    if (!err) connect_now(c);
    (void)input_end(c, err);
}

void client_stop(struct client *c, uint64_t now_ms)
{
    input_begin(c, now_ms);
    if (connected(c)) {
        struct output_node *n = output_small(c, CLIENT_OUT_DISCONNECT);
        if (n) n->out.close_code = 1000;
        output_stage(c, n);
        connection_forget(c);
    }
    client_finish(c, CLIENT_END_STOPPED, 0);
    (void)input_end(c, SOTTO_OK);
}

enum sotto_err hello_send(struct client *c)
{
    struct output_node *n = output_new(c, CLIENT_OUT_FRAME, 1024 + 6 * (CLIENT_TOKEN_MAX + CLIENT_AGENT_MAX));
    if (!n) return SOTTO_ERR_FULL;
    struct buffer b = frame_begin(n);
    struct json_writer w = json_writer_of(&b);
    json_begin_object(&w);
    json_put_cstr(&w, "type", "hello");
    c->resumed = c->resume_token[0] != '\0';
    if (c->resumed)
        json_put_cstr(&w, "resumeToken", c->resume_token);
    else
        json_put_cstr(&w, "token", c->token);
    if (c->cursor[0]) json_put_cstr(&w, "cursor", c->cursor);
    json_put_cstr(&w, "client", c->agent);
    json_end_object(&w);
    return frame_end(c, n, &b) ? SOTTO_OK : SOTTO_ERR_FULL;
}

void client_opened(struct client *c, uint64_t now_ms)
{
    input_begin(c, now_ms);
    if (c->phase != CLIENT_CONNECTING) return;
    c->heard_ms = c->now_ms;
    client_enter(c, CLIENT_GREETING, c->now_ms + CLIENT_HELLO_TIMEOUT_MS);
    enum sotto_err err = state_load(c);
    (void)input_end(c, err ? err : hello_send(c));
}

void client_frame(struct client *c, struct slice text, uint64_t now_ms)
{
    input_begin(c, now_ms);
    if (c->phase != CLIENT_GREETING && c->phase != CLIENT_SYNCING && c->phase != CLIENT_LIVE) return;
    c->heard_ms = c->now_ms;
    c->pinged = false;
    (void)input_end(c, incoming_frame(c, text));
}

void client_heard(struct client *c, uint64_t now_ms)
{
    input_begin(c, now_ms);
    c->heard_ms = c->now_ms;
    c->pinged = false;
}

void client_closed(struct client *c, unsigned code, uint64_t now_ms)
{
    input_begin(c, now_ms);
    if (!connected(c)) return;
    client_lost(c, code);
    (void)input_end(c, SOTTO_OK);
}

/* A connection that went silent: ask, then give it up. */
static enum sotto_err check_silence(struct client *c)
{
    if (c->phase != CLIENT_LIVE && c->phase != CLIENT_SYNCING) return SOTTO_OK;
    for (const struct queued *q = c->outbox; q; q = q->next) {
        if (!q->under_way || c->now_ms < q->sent_ms + CLIENT_ANSWER_TIMEOUT_MS) continue;
        client_disconnect(c, 4001);
        return SOTTO_OK;
    }
    if (c->idle_timeout_ms && c->now_ms >= c->heard_ms + c->idle_timeout_ms) {
        client_disconnect(c, 4001);
        return SOTTO_OK;
    }
    if (!c->heartbeat_ms || c->pinged || c->now_ms < c->heard_ms + c->heartbeat_ms + c->heartbeat_ms / 2)
        return SOTTO_OK;
    struct output_node *n = output_new(c, CLIENT_OUT_FRAME, 64);
    if (!n) return SOTTO_ERR_FULL;
    struct buffer b = frame_begin(n);
    buffer_append_str(&b, "{\"type\":\"ping\",\"id\":\"ping\"}");
    c->pinged = true;
    return frame_end(c, n, &b) ? SOTTO_OK : SOTTO_ERR_FULL;
}

void client_tick(struct client *c, uint64_t now_ms)
{
    input_begin(c, now_ms);
    enum sotto_err err = SOTTO_OK;
    if (c->now_ms >= c->deadline_ms) {
        if (c->phase == CLIENT_WAITING) {
            err = state_load(c);
            if (!err) {
                connect_now(c);
            } else if (err == SOTTO_ERR_FULL) { /* no memory yet: later */
                c->deadline_ms = c->now_ms + CLIENT_BACKOFF_MAX_MS;
                err = SOTTO_OK;
            }
        } else if (c->phase == CLIENT_CONNECTING || c->phase == CLIENT_GREETING) {
            client_disconnect(c, 1006);
        }
    } else {
        err = check_silence(c);
    }
    (void)input_end(c, err);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t client_wake_ms(const struct client *c)
{
    uint64_t wake = c->deadline_ms;
    if (c->phase != CLIENT_LIVE && c->phase != CLIENT_SYNCING) return wake;
    wake = least(wake, outbox_wake_ms(c));
    if (c->pulls_wanted && c->pulls < CLIENT_PULLS_MAX) wake = least(wake, c->pulls_ms);
    if (c->marks_dirty && c->phase == CLIENT_LIVE) wake = least(wake, c->marks_ms);
    if (c->idle_timeout_ms) wake = least(wake, c->heard_ms + c->idle_timeout_ms);
    if (c->heartbeat_ms && !c->pinged) wake = least(wake, c->heard_ms + c->heartbeat_ms + c->heartbeat_ms / 2);
    return wake;
}

/* ---- What the user does ------------------------------------------------- */

static enum sotto_err send_check(const struct client_send *send)
{
    bool to = !id_is_zero(send->to), conversation = !id_is_zero(send->conversation);
    if (to == conversation) return SOTTO_ERR_INVALID;
    if (send->client_msg_id.len > SOTTO_CLIENT_MSG_ID_MAX) return SOTTO_ERR_INVALID;
    if (send->type.len == 0 || send->type.len > SOTTO_MESSAGE_TYPE_MAX) return SOTTO_ERR_INVALID;
    if (send->payload.len > SOTTO_PAYLOAD_MAX || send->ttl_s > SOTTO_TTL_MAX_S) return SOTTO_ERR_INVALID;
    return SOTTO_OK;
}

static enum sotto_err queue_message(struct client *c, const struct client_queued *q)
{
    enum sotto_err err = store_open(c);
    if (!err) err = c->store->put_queued(c->store->ctx, q);
    return err ? err : outbox_add(c, q);
}

enum sotto_err client_send(struct client *c, const struct client_send *send, uint64_t now_ms,
                           char id_out[SOTTO_CLIENT_MSG_ID_MAX + 1])
{
    input_begin(c, now_ms);
    enum sotto_err err = send_check(send);
    if (err) return err;
    if ((err = state_load(c))) return err;
    if (c->outbox_count >= CLIENT_OUTBOX_MAX) return SOTTO_ERR_FULL;
    char made[ID_TEXT_LEN + 1];
    struct slice id = send->client_msg_id;
    if (id.len == 0) {
        struct id fresh = send->wall_ms ? id_time_ordered(c->random, send->wall_ms) : id_random(c->random);
        id_format(fresh, made);
        id = slice_str(made);
    }
    if (outbox_find(c, id)) return SOTTO_ERR_EXISTS;
    struct client_queued q = {.order = c->order + 1, .client_msg_id = id, .to = send->to,
                              .conversation = send->conversation, .type = send->type,
                              .payload = send->payload, .ttl_s = send->ttl_s, .urgent = send->urgent};
    err = input_end(c, queue_message(c, &q));
    if (err) return err;
    if (id_out) {
        memcpy(id_out, id.data, id.len);
        id_out[id.len] = '\0';
    }
    return SOTTO_OK;
}

enum sotto_err client_mark_read(struct client *c, struct id conversation, uint64_t sequence, uint64_t now_ms)
{
    input_begin(c, now_ms);
    enum sotto_err err = state_load(c);
    if (err) return err;
    struct conversation *v = conversation_find(c, conversation);
    if (!v) return SOTTO_ERR_NOT_FOUND;
    if (sequence > v->mark.sequence) sequence = v->mark.sequence;
    if (sequence <= v->mark.read) return SOTTO_OK;
    v->mark.read = sequence;
    marks_want(c);
    err = store_open(c);
    if (!err) err = c->store->save_mark(c->store->ctx, &v->mark);
    return input_end(c, err);
}

void client_accept_max(struct client *c, uint64_t count)
{
    c->accept_left = count;
}

enum client_phase client_phase(const struct client *c)
{
    return c->phase;
}

size_t client_outbox_count(const struct client *c)
{
    return c->outbox_count;
}
