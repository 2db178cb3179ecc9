/* WebSocket connections: from frames to calls, and the signs of life.
 *
 * After the upgrade the HTTP parser is gone, and an idle connection has no
 * buffer. A text frame is copied into its call's arena and parsed there, since
 * a call may outlive the bytes it came in. The first frame must be a hello, and
 * short, as anybody may send one; until it is answered nothing else is read.
 *
 * MISTAKES. A frame that is no request (bad JSON, unknown type) is answered
 * with an error; a client that sends mostly such frames is cut with 1008: each
 * mistake counts two, each good request takes one back.
 *
 * SILENCE. `heard_tick` is set by each chunk that arrives; the deadline is only
 * moved when it comes, so a busy connection costs no timer work per frame.
 *
 * MESSAGES IN PART are counted (conn.c) and must be whole within the time for a
 * request: signs of life between the pieces do not make it longer. One past the sum
 * is refused with 4006, one past the time with 4001. Neither costs a field here: how
 * much it is and since when, the decoder knows where it has the pieces.
 *
 * INFLATING. What one read brings is bounded, what it inflates to is not: a frame
 * of a kilobyte may be a megabyte of text to be parsed, and everybody else on the
 * loop would wait for all that one read holds of them. Past GATEWAY_INFLATED_MAX
 * the connection waits for the next tick.
 */
#include "gateway/call_private.h"
#include "gateway/conn_slab.h"

/* ---- Frames ------------------------------------------------------------- */

static void mistake(struct conn *c)
{
    c->mistakes = (uint8_t)(c->mistakes + 2);
    if (c->mistakes >= 2 * GATEWAY_MISTAKES_MAX) conn_close(c, WS_CLOSE_POLICY);
}

static void request_refuse(struct call_state *cs, enum problem p, const char *field)
{
    struct conn *c = cs->conn;
    conn_hold(c);
    cs->call.field = field;
    if (field != NULL)
        buffer_append_str(&cs->call.why, "\"type\" must be a string, and \"id\", if it is there, one of at most 64 bytes.");
    call_finish(&cs->call, p);
    mistake(c);
    conn_release(c);
}

/* Finds `type` and `id`. */
static enum problem request_head(struct call_state *cs, struct gateway *g, const char **field_out)
{
    struct call *call = &cs->call;
    struct slice type;
    struct json id = json_get(call->fields, "id");
    if (json_type(id) != JSON_ABSENT && json_type(id) != JSON_NULL) {
        struct slice re;
        *field_out = "id";
        if (json_type(id) != JSON_STRING || json_string(&call->arena, id, &re) != SOTTO_OK || re.len > REQUEST_ID_MAX)
            return PROBLEM_BAD_FIELD;
        cs->re = re;
    }
    *field_out = "type";
    struct json t = json_get(call->fields, "type");
    if (json_type(t) != JSON_STRING || json_string(&call->arena, t, &type) != SOTTO_OK) return PROBLEM_BAD_FIELD;
    *field_out = NULL;
    call->op = op_by_type(g->op_index, type);
    return call->op != NULL ? PROBLEM_NONE : PROBLEM_UNKNOWN_TYPE;
}

static void request_received(struct conn *c, struct slice text)
{
    struct gateway *g = conn_loop(c)->gateway;
    struct call_state *cs = call_create(c, NULL);
    struct call *call = &cs->call;
    const char *field = NULL;
    struct slice kept = arena_copy(&call->arena, text);
    if (kept.data == NULL || json_parse(&call->arena, kept, &call->fields) != SOTTO_OK ||
        json_type(call->fields) != JSON_OBJECT) {
        request_refuse(cs, PROBLEM_BAD_JSON, NULL);
        return;
    }
    enum problem p = request_head(cs, g, &field);
    if (p != PROBLEM_NONE) {
        request_refuse(cs, p, field);
        return;
    }
    if (c->mistakes > 0) c->mistakes--;
    /* Reading stops while this many are being served. */
    size_t max = call->op->run != NULL ? GATEWAY_READS_PER_CONN_MAX : GATEWAY_CALLS_PER_CONN_MAX;
    if (c->holds >= max || conn_queue_full(c)) conn_block(c);
    call_begin(cs);
}

static void pong(struct conn *c, struct slice payload)
{
    struct buffer *out = stream_output(c->stream);
    /* A peer that pings and does not read would fill its queue: behind a long one it gets a
     * pong a tick, and no other (RFC 6455, section 5.5.3). */
    if (stream_queued(c->stream) > CONN_COUNTED_MIN) {
        struct conn_extra *x = conn_extra(c);
        if (x->pong_tick == conn_tick(conn_loop(c))) return;
        x->pong_tick = conn_tick(conn_loop(c));
    }
    ws_write_frame(out, WS_PONG, payload, NULL);
    conn_written(c);
}

static void message_received(struct conn *c, const struct ws_message *m)
{
    switch (m->opcode) {
    case WS_TEXT:
        if (c->session.user == NULL) hello_received(c, m->payload);
        else request_received(c, m->payload);
        break;
    case WS_BINARY: conn_close(c, WS_CLOSE_UNSUPPORTED); break;
    case WS_PING: pong(c, m->payload); break;
    case WS_CLOSE: conn_close(c, WS_CLOSE_NORMAL); break;
    default: break;
    }
}

static void inflated(struct conn *c, size_t grown_len)
{
    struct gateway_loop *gl = conn_loop(c);
    gl->inflated += grown_len;
    if (gl->inflated <= GATEWAY_INFLATED_MAX || c->session.user == NULL || !conn_alive(c)) return;
    c->flags |= CONN_INFLATED;
    conn_block(c);
    conn_arm(c, GATEWAY_TICK_MS);
}

/* How long the message that has arrived in part may still take; UINT64_MAX: there is none. */
static uint64_t part_left_ms(struct conn *c)
{
    uint32_t now = conn_tick(conn_loop(c)), since = ws_decoder_since(c->ws, now);
    if (since == 0) return UINT64_MAX;
    uint64_t taken = (uint64_t)(now - since) * GATEWAY_TICK_MS;
    uint64_t whole = gateway_limits(conn_loop(c)->gateway)->request_timeout_ms;
    return taken < whole ? whole - taken : 0;
}

/* Closes for a message that has arrived in part, which is given back at once. */
static void refuse_part(struct conn *c, uint16_t code)
{
    size_t held = ws_decoder_held(c->ws);
    ws_decoder_end(c->ws);
    (void)!conn_partial(c, c->address, held, 0);
    conn_close(c, code);
}

static void await_part(struct conn *c)
{
    uint64_t left = part_left_ms(c);
    if (left == 0) refuse_part(c, CLOSE_RESUME);
    else if (left != UINT64_MAX) conn_arm_sooner(c, left);
}

size_t socket_consume(struct conn *c, uint8_t *data, size_t len)
{
    struct ws_message m;
    size_t used = 0, held = ws_decoder_held(c->ws);
    uint16_t code = 0;
    enum ws_result result = ws_decode(c->ws, conn_loop(c)->deflate, data, len, &used, &m, &code);
    bool fits = conn_partial(c, c->address, held, ws_decoder_held(c->ws));
    switch (result) {
    case WS_MORE:
        if (!fits) refuse_part(c, CLOSE_LIMITED);
        else if (c->session.user != NULL) await_part(c); /* before it, the time for the hello counts */
        return len;
    case WS_MESSAGE:
        message_received(c, &m);
        if (m.grown_len > 0) inflated(c, m.grown_len);
        /* Lets the decoder free a message that it had to collect, if its turn does not come at once. */
        if (used == len || c->flags & CONN_BLOCKED) {
            held = ws_decoder_held(c->ws);
            (void)!ws_decode(c->ws, conn_loop(c)->deflate, data + used, 0, &(size_t){0}, &m, &code);
            (void)!conn_partial(c, c->address, held, ws_decoder_held(c->ws));
        }
        return used;
    default: conn_close(c, code); return len;
    }
}

void socket_state_destroy(struct conn *c)
{
    (void)!conn_partial(c, c->address, ws_decoder_held(c->ws), 0);
    ws_decoder_destroy(&c->ws);
}

/* ---- Upgrade ------------------------------------------------------------ */

void socket_start(struct conn *c, const struct http_message *request)
{
    struct gateway *g = conn_loop(c)->gateway;
    struct ws_decoder *decoder = NULL;
    bool deflate = false;
    unsigned status = 0;
    if (atomic_load_explicit(&g->draining, memory_order_relaxed)) {
        conn_problem(c, PROBLEM_DRAINING, (struct slice){0}, NULL, 1000);
        http_done(c);
        return;
    }
    if (ws_accept(request, true, stream_output(c->stream), &deflate, &status) != SOTTO_OK) {
        http_problem(c, PROBLEM_BAD_REQUEST, status, NULL);
        http_done(c);
        return;
    }
    conn_written(c);
    enum sotto_err err = ws_decoder_create(&conn_loop(c)->decoders, true, deflate, GATEWAY_HELLO_MAX, &decoder);
    SOTTO_ASSERT(err == SOTTO_OK);
    http_state_destroy(c);
    conn_set_kind(c, CONN_SOCKET);
    stream_units_begin(c->stream);
    c->ws = decoder;
    if (deflate) c->flags |= CONN_DEFLATE;
    conn_arm(c, gateway_limits(g)->hello_timeout_ms);
    conn_unblock(c);
}

/* ---- Silence ------------------------------------------------------------ */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

uint64_t conn_silent_ms(const struct conn *c)
{
    return (uint64_t)(conn_tick(conn_loop(c)) - c->heard_tick) * GATEWAY_TICK_MS;
}

void conn_mark_absent(struct conn *c)
{
    struct gateway *g = conn_loop(c)->gateway;
    if (c->flags & CONN_ABSENT) return;
    c->flags |= CONN_ABSENT;
    presence_session_alive(g->registry, &c->session, false, gateway_wall_ms(g));
}

/* Whether the peer has taken some of its answers since the last look; the first look
 * cannot tell, and believes it. */
static bool answers_read(struct conn *c)
{
    size_t unread = stream_unread(c->stream);
    if (unread == 0 && c->extra == NULL) return false;
    struct conn_extra *x = conn_extra(c);
    bool less = unread != 0 && (x->progress_queued == 0 || unread < x->progress_queued);
    x->progress_queued = unread;
    if (unread == 0) conn_extra_trim(c);
    return less;
}

void socket_due(struct conn *c)
{
    const struct gateway_limits *l = gateway_limits(conn_loop(c)->gateway);
    if (c->extra != NULL && c->extra->close_code != 0) return; /* the calls in flight will end it */
    if (c->session.user == NULL) {
        conn_close(c, CLOSE_HELLO);
        return;
    }
    if (c->flags & CONN_INFLATED) {
        c->flags &= (uint16_t)~CONN_INFLATED;
        conn_hold(c);
        conn_resume(c);
        bool waits_again = c->flags & CONN_INFLATED;
        bool alive = conn_alive(c);
        conn_release(c);
        if (waits_again || !alive) return;
    }
    uint64_t part_left = part_left_ms(c);
    if (part_left == 0) {
        refuse_part(c, CLOSE_RESUME);
        return;
    }
    /* A peer that reads, however slowly, lives: the lag timeout is for those. While live, our
     * ping stands behind the answers that it reads. */
    if (c->mode == MODE_LIVE ? answers_read(c) : stream_queued(c->stream) > 0) c->heard_tick = conn_tick(conn_loop(c));
    uint64_t silent = conn_silent_ms(c);
    if (l->idle_timeout_ms != 0 && silent >= l->idle_timeout_ms) {
        conn_cut(c);
        return;
    }
    if (c->mode == MODE_LAGGING || c->mode == MODE_SYNC) {
        sync_lag_due(c);
        if (!conn_alive(c)) return;
    }
    uint64_t next = part_left != UINT64_MAX ? part_left : 0;
    if (l->idle_timeout_ms != 0) next = sooner(next, l->idle_timeout_ms - silent);
    if (l->heartbeat_ms != 0 && silent >= l->heartbeat_ms) {
        ws_write_frame(stream_output(c->stream), WS_PING, (struct slice){0}, NULL);
        conn_written(c);
        next = sooner(next, l->heartbeat_ms);
    } else if (l->heartbeat_ms != 0) {
        next = sooner(next, l->heartbeat_ms - silent);
    }
    if (l->presence_ttl_ms != 0 && silent >= l->presence_ttl_ms) conn_mark_absent(c);
    else if (l->presence_ttl_ms != 0) next = sooner(next, l->presence_ttl_ms - silent);
    if (c->mode == MODE_LAGGING || c->mode == MODE_SYNC) next = sooner(next, LAG_LOOK_MS);
    conn_arm(c, next);
}

void gateway_op_ping(struct call *c)
{
    json_put_u64(&c->answer, "ts", clock_wall_ms(c->services->clock));
    call_finish(c, PROBLEM_NONE);
}
