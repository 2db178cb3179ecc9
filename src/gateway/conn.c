/* The life of a connection, whatever it speaks: accepted, counted per address,
 * fed, held back, closed.
 *
 * WHAT WAITS. A connection handles one thing at a time where order matters: an
 * HTTP request, a hello. Meanwhile it is BLOCKED: its stream is paused and the
 * rest of the bytes that came with the request wait in `stash`. A WebSocket
 * with too many calls in flight, and any connection whose answers fill its
 * window, is blocked in the same way: who asks and does not read is not heard.
 *
 * ACCOUNTING. `counted` is what the gateway's sum knows of the memory that this
 * connection's queue holds, which is more than is queued. It is brought up to date
 * when something is queued, when the queue is empty again and before anybody is
 * cut; the few bytes that one turn queues and sends in between are not worth a
 * counter. Past memory_max_bytes the loop that has
 * most queued, whoever noticed, cuts its longest queues; one that has no more than an
 * equal part of the maximum cuts nobody, as the slow readers are another's.
 *
 * REQUESTS IN PART: bodies of HTTP requests and messages of a WebSocket that have
 * not arrived whole. A body comes from anybody, before it is known who asks, and a
 * message may take as many frames as its sender likes. Those that are not small are
 * counted for all connections together and for those of each address; past
 * GATEWAY_PARTIAL_MAX, or the share of it that one address may have, the one that grows
 * is refused. None has longer than the request timeout.
 *
 * CUTTING. What a reader has not read is in the store, and it knows its cursor:
 * its queue is dropped, but for the rest of a frame that has begun to go out, and
 * the close frame says to resume. For GATEWAY_CUT_LINGER_MS the peer may read up
 * to there. Those rests are memory, too, and no longer than a frame each: past
 * their share of the maximum the longest of them go without a word.
 */
#include "gateway/call_private.h"
#include "gateway/conn_slab.h"

#include <stdlib.h>

enum { STASH_MAX = 2 * LOOP_SCRATCH_LEN + SOTTO_FRAME_MAX };

/* ---- Addresses ---------------------------------------------------------- */

static bool address_eq(const void *entry, const void *key)
{
    return id_eq(((const struct address_entry *)entry)->key, *(const struct id *)key);
}

/* NULL: too many connections from there. */
static struct address_entry *address_enter(struct gateway *g, struct id key, size_t max)
{
    pthread_mutex_lock(&g->mutex);
    struct address_entry *a = map_find(&g->addresses, id_hash(key), &key, address_eq);
    if (a == NULL) {
        a = sotto_zalloc(sizeof(*a));
        a->key = key;
        map_insert(&g->addresses, id_hash(key), a);
    }
    if (max != 0 && a->connections >= max) a = NULL;
    else a->connections++;
    pthread_mutex_unlock(&g->mutex);
    return a;
}

static void address_leave(struct gateway *g, struct address_entry *a)
{
    pthread_mutex_lock(&g->mutex);
    if (--a->connections == 0) {
        SOTTO_ASSERT(atomic_load(&a->partial_bytes) == 0);
        map_remove(&g->addresses, id_hash(a->key), &a->key, address_eq);
        free(a);
    }
    pthread_mutex_unlock(&g->mutex);
}

bool conn_find_client(struct conn *c, struct id proxy, const struct http_message *m)
{
    struct gateway *g = conn_loop(c)->gateway;
    const struct gateway_limits *limits = gateway_limits(g);
    bool trusted = address_in(&limits->proxies, proxy); /* still: the limits may be others now */
    struct id client = trusted ? address_of_client(&limits->proxies, proxy, m) : proxy;
    struct id key = address_key(client);
    if (id_eq(key, c->address->key)) return true;
    size_t max = id_eq(client, proxy) ? 0 : limits->connections_per_address_max;
    struct address_entry *entered = address_enter(g, key, max);
    if (entered == NULL) return false;
    address_leave(g, c->address);
    c->address = entered;
    return true;
}

/* ---- Life --------------------------------------------------------------- */

static void conn_received(struct stream *s, void *ctx, uint8_t *data, size_t len);
static void conn_drained(struct stream *s, void *ctx);
static void conn_closed(struct stream *s, void *ctx, enum stream_end why);
static size_t conn_unit(struct stream *s, void *ctx, struct slice queued);
static size_t conn_count(struct conn *c, size_t held);
static const struct stream_owner conn_owner = {
    .received = conn_received, .drained = conn_drained, .closed = conn_closed, .unit = conn_unit};

bool conn_accept(void *ctx, struct stream *s, const struct sockaddr_storage *peer,
                 const struct stream_owner **owner_out, void **owner_ctx_out, struct slice *refusal_out)
{
    struct gateway_loop *gl = ctx;
    struct gateway *g = gl->gateway;
    const struct gateway_limits *limits = gateway_limits(g);
    struct address_entry *address = NULL;
    struct id from = address_of_peer(peer);
    bool proxy = address_in(&limits->proxies, from);
    enum refusal why = REFUSAL_ADDRESS;
    if (atomic_load(&g->draining)) why = REFUSAL_DRAINING;
    else if (limits->connections_max != 0 && atomic_load(&g->connections) >= limits->connections_max) why = REFUSAL_FULL;
    else address = address_enter(g, address_key(from), proxy ? 0 : limits->connections_per_address_max);
    if (address == NULL) {
        *refusal_out = buffer_slice(&g->refusals[why]);
        counter_add(g->metrics.refused_connections, 1);
        return false;
    }
    atomic_fetch_add(&g->connections, 1);
    counter_add(g->metrics.accepted_connections, 1);
    gauge_add(g->metrics.connections[CONN_HTTP], 1);
    struct conn *c = conn_take(gl);
    c->stream = s;
    c->address = address;
    c->heard_tick = conn_tick(gl);
    http_state_create(c, proxy ? &from : NULL);
    conn_arm(c, limits->request_timeout_ms);
    *owner_out = &conn_owner;
    *owner_ctx_out = c;
    return true;
}

static void conn_free(struct conn *c)
{
    struct gateway *g = conn_loop(c)->gateway;
    SOTTO_ASSERT(c->stream == NULL && c->holds == 0 && c->session.user == NULL);
    if (c->extra != NULL) {
        buffer_deinit(&c->extra->stash);
        free(c->extra);
    }
    if (c->kind == CONN_SOCKET) socket_state_destroy(c);
    else http_state_destroy(c);
    gauge_add(g->metrics.connections[c->kind], -1);
    address_leave(g, c->address);
    atomic_fetch_sub(&g->connections, 1);
    conn_give_back(c);
}

void conn_hold(struct conn *c)
{
    SOTTO_ASSERT(c->holds < UINT8_MAX); /* GATEWAY_CALLS_PER_CONN_MAX and a few jobs */
    c->holds++;
    atomic_fetch_add_explicit(&conn_loop(c)->gateway->work, 1, memory_order_relaxed);
}

void conn_release(struct conn *c)
{
    SOTTO_ASSERT(c->holds > 0);
    atomic_fetch_sub_explicit(&conn_loop(c)->gateway->work, 1, memory_order_relaxed);
    if (--c->holds == 0 && c->stream == NULL) conn_free(c);
}

void conn_set_kind(struct conn *c, enum conn_kind kind)
{
    struct gateway *g = conn_loop(c)->gateway;
    gauge_add(g->metrics.connections[c->kind], -1);
    gauge_add(g->metrics.connections[kind], 1);
    c->kind = (uint8_t)kind;
    if (kind == CONN_SOCKET) conn_renumber(c);
}

struct conn_extra *conn_extra(struct conn *c)
{
    if (c->extra == NULL) {
        c->extra = sotto_zalloc(sizeof(*c->extra));
        buffer_init(&c->extra->stash, STASH_MAX);
    }
    return c->extra;
}

void conn_extra_trim(struct conn *c)
{
    struct conn_extra *x = c->extra;
    if (x == NULL || x->stash.len > 0 || x->links != NULL || x->poll.call != NULL || x->close_code != 0) return;
    if (c->mode == MODE_SYNC || c->mode == MODE_LAGGING || x->sync.running) return;
    buffer_deinit(&x->stash);
    free(x);
    c->extra = NULL;
}

void conn_leave(struct conn *c)
{
    struct gateway_loop *gl = conn_loop(c);
    struct conn_extra *x = c->extra;
    c->mode = MODE_NONE;
    if (x != NULL && x->links != NULL) {
        for (size_t i = 0; i < x->links_count; i++) presence_unwatch(gl->gateway->registry, &x->links[i]);
        free(x->links);
        x->links = NULL;
        x->links_count = 0;
    }
    if (c->session.user == NULL) return;
    registry_remove(gl->gateway->registry, &c->session, gateway_wall_ms(gl->gateway));
    gauge_add(gl->gateway->metrics.sessions, -1);
}

static void conn_closed(struct stream *s, void *ctx, enum stream_end why)
{
    struct conn *c = ctx;
    (void)s;
    (void)why;
    c->flags |= CONN_CLOSING;
    conn_arm(c, 0);
    conn_leave(c);
    (void)conn_count(c, 0);
    conn_hold(c); /* the poll's call may have been the last to hold it */
    c->stream = NULL;
    if (c->kind == CONN_POLL) poll_abandon(c);
    conn_release(c);
}

/* ---- Input -------------------------------------------------------------- */

bool conn_partial(struct conn *c, struct address_entry *from, size_t before, size_t now)
{
    struct gateway *g = conn_loop(c)->gateway;
    if (before <= GATEWAY_PARTIAL_SMALL) before = 0;
    if (now <= GATEWAY_PARTIAL_SMALL) now = 0;
    if (now == before) return true;
    size_t more = now - before; /* or less, modulo 2^64 */
    size_t sum = atomic_fetch_add_explicit(&g->partial_bytes, more, memory_order_relaxed) + more;
    size_t theirs = 0;
    if (from != NULL) theirs = atomic_fetch_add_explicit(&from->partial_bytes, more, memory_order_relaxed) + more;
    return now < before || (sum <= GATEWAY_PARTIAL_MAX && theirs <= GATEWAY_PARTIAL_MAX / GATEWAY_PARTIAL_SHARE);
}

static void stash(struct conn *c, const uint8_t *data, size_t len)
{
    struct buffer *b = &conn_extra(c)->stash;
    buffer_append(b, data, len);
    /* The stream is paused; more than its last chunk cannot come. */
    if (b->overflow) conn_close(c, WS_CLOSE_TOO_BIG);
}

/* Handles bytes until they are used or the connection must wait. */
static size_t conn_consume(struct conn *c, uint8_t *data, size_t len)
{
    size_t used = 0;
    c->flags |= CONN_CONSUMING;
    conn_loop(c)->inflated = 0;
    while (used < len && !(c->flags & (CONN_BLOCKED | CONN_CLOSING))) {
        if (c->kind == CONN_SOCKET) used += socket_consume(c, data + used, len - used);
        else if (c->kind == CONN_STREAM) used = len; /* nothing is expected */
        else used += http_consume(c, data + used, len - used);
    }
    c->flags &= (uint16_t)~CONN_CONSUMING;
    return c->flags & CONN_CLOSING ? len : used;
}

static void conn_received(struct stream *s, void *ctx, uint8_t *data, size_t len)
{
    struct conn *c = ctx;
    (void)s;
    if (c->flags & CONN_CLOSING) return;
    c->heard_tick = conn_tick(conn_loop(c));
    if (c->flags & CONN_ABSENT) {
        c->flags &= (uint16_t)~CONN_ABSENT;
        if (c->session.user != NULL)
            presence_session_alive(conn_loop(c)->gateway->registry, &c->session, true,
                                   gateway_wall_ms(conn_loop(c)->gateway));
    }
    if (c->flags & CONN_BLOCKED || (c->extra != NULL && c->extra->stash.len > 0)) {
        stash(c, data, len);
        return;
    }
    size_t used = conn_consume(c, data, len);
    if (used < len) stash(c, data + used, len - used);
}

void conn_block(struct conn *c)
{
    c->flags |= CONN_BLOCKED;
    if (conn_alive(c) && !(c->flags & CONN_READ_PAUSED)) {
        c->flags |= CONN_READ_PAUSED;
        stream_pause(c->stream, true);
    }
}

void conn_unblock(struct conn *c)
{
    if (c->flags & (CONN_LOADING | CONN_INFLATED)) return;
    c->flags &= (uint16_t)~CONN_BLOCKED;
    if (c->flags & CONN_CONSUMING || !conn_alive(c)) {
        if (conn_alive(c) && c->flags & CONN_READ_PAUSED) {
            c->flags &= (uint16_t)~CONN_READ_PAUSED;
            stream_pause(c->stream, false);
        }
        return;
    }
    while (c->extra != NULL && c->extra->stash.len > 0 && conn_alive(c) && !(c->flags & CONN_BLOCKED)) {
        struct buffer waiting = c->extra->stash;
        buffer_init(&c->extra->stash, waiting.max);
        size_t used = conn_consume(c, waiting.data, waiting.len);
        if (conn_alive(c) && used < waiting.len) stash(c, waiting.data + used, waiting.len - used);
        buffer_deinit(&waiting);
    }
    if (!conn_alive(c) || c->flags & CONN_BLOCKED) return;
    if (c->flags & CONN_READ_PAUSED) {
        c->flags &= (uint16_t)~CONN_READ_PAUSED;
        stream_pause(c->stream, false);
    }
    conn_extra_trim(c);
}

/* ---- Output ------------------------------------------------------------- */

bool conn_queue_full(const struct conn *c)
{
    size_t window = gateway_limits(conn_loop(c)->gateway)->window_bytes;
    /* Not less than what the stream tells us about when it is gone. */
    if (window < CONN_COUNTED_MIN) window = window == 0 ? SIZE_MAX : CONN_COUNTED_MIN;
    return stream_queued(c->stream) >= window;
}

static size_t conn_unit(struct stream *s, void *ctx, struct slice queued)
{
    const struct conn *c = ctx;
    (void)s;
    if (c->kind == CONN_SOCKET) return ws_frame_len(queued);
    return c->kind == CONN_STREAM ? sse_event_len(queued) : queued.len;
}

/* Tells the sums how much the queue holds, and returns that of the gateway. */
static size_t conn_count(struct conn *c, size_t held)
{
    struct gateway_loop *gl = conn_loop(c);
    uint32_t now = held > UINT32_MAX ? UINT32_MAX : (uint32_t)held;
    size_t more = (size_t)now - c->counted; /* or less, modulo 2^64 */
    c->counted = now;
    atomic_fetch_add_explicit(&gl->queued_bytes, more, memory_order_relaxed);
    return atomic_fetch_add_explicit(&gl->gateway->queued_bytes, more, memory_order_relaxed) + more;
}

static size_t loop_queued(const struct gateway_loop *gl)
{
    return atomic_load_explicit(&gl->queued_bytes, memory_order_relaxed);
}

/* Has the loop relieved that has most queued. */
static void relieve_most(struct gateway_loop *gl)
{
    struct gateway *g = gl->gateway;
    struct gateway_loop *most = gl;
    for (size_t i = 0; i < g->loops_count; i++)
        if (loop_queued(&g->loops[i]) > loop_queued(most)) most = &g->loops[i];
    if (most == gl) loop_defer(gl->loop, &gl->relieve);
    else if (!atomic_exchange(&most->relieve_posted, true)) gateway_post(most, &most->relieve_mail);
}

void conn_written(struct conn *c)
{
    if (c->stream == NULL) return;
    struct gateway_loop *gl = conn_loop(c);
    size_t queued = stream_queued(c->stream);
    stream_flush_later(c->stream);
    /* A frame or two leave with this turn; only a queue is worth counting. */
    if (queued < CONN_COUNTED_MIN && c->counted == 0) return;
    size_t sum = conn_count(c, stream_held(c->stream));
    size_t max = gateway_limits(gl->gateway)->memory_max_bytes;
    if (max != 0 && sum > max) relieve_most(gl);
}

static void conn_drained(struct stream *s, void *ctx)
{
    struct conn *c = ctx;
    (void)s;
    (void)conn_count(c, 0);
    c->events = 0;
    if (!conn_alive(c)) return;
    if (c->mode != MODE_NONE) sync_continue(c);
    if (!conn_alive(c) || !(c->flags & CONN_BLOCKED)) return;
    /* Blocked for what was queued, not for a hello or a request being served. */
    bool closing = c->extra != NULL && c->extra->close_code != 0;
    bool socket = c->kind == CONN_SOCKET && c->session.user != NULL && !closing;
    if (socket && conn_calls(c) <= GATEWAY_CALLS_PER_CONN_MAX / 2) conn_unblock(c);
    else if (c->kind == CONN_HTTP) http_drained(c);
}

struct relief {
    struct conn *longest, *leaving; /* of those that are open, and of those that close */
    size_t longest_held, leaving_held, leaving_sum;
};
static void relief_look(struct conn *c, void *ctx)
{
    struct relief *r = ctx;
    if (c->counted == 0 || c->stream == NULL) return;
    size_t held = stream_held(c->stream);
    (void)conn_count(c, held);
    bool leaving = c->flags & CONN_CLOSING;
    size_t *most = leaving ? &r->leaving_held : &r->longest_held;
    if (leaving) r->leaving_sum += held;
    if (held <= *most) return;
    *most = held;
    *(leaving ? &r->leaving : &r->longest) = c;
}

static void relief_abort(struct conn *c)
{
    (void)conn_count(c, 0);
    conn_abort(c);
}

static bool relief_due(const struct gateway_loop *gl, size_t max)
{
    const struct gateway *g = gl->gateway;
    return max != 0 && atomic_load_explicit(&g->queued_bytes, memory_order_relaxed) > max &&
           loop_queued(gl) > max / g->loops_count;
}

void conn_relieve(struct gateway_loop *gl)
{
    struct gateway *g = gl->gateway;
    size_t max = gateway_limits(g)->memory_max_bytes;
    size_t leaving_max = max / GATEWAY_LEAVING_SHARE / g->loops_count;
    while (relief_due(gl, max)) {
        struct relief r = {0};
        conn_each(gl, relief_look, &r);
        if (!relief_due(gl, max)) return;
        if (r.leaving_sum > leaving_max) {
            relief_abort(r.leaving);
            continue;
        }
        if (r.longest == NULL) return;
        LOG(g->services->log, LOG_WARN, "gateway.memory", LOG_U("queued", stream_queued(r.longest->stream)),
            LOG_U("held", r.longest_held));
        if (r.longest->kind == CONN_SOCKET || r.longest->kind == CONN_STREAM) {
            conn_cut(r.longest);
        } else { /* HTTP has no word for it in the middle of an answer */
            gateway_count_close(g, CLOSE_RESUME);
            relief_abort(r.longest);
        }
    }
}

/* ---- Ends --------------------------------------------------------------- */

void conn_abort(struct conn *c)
{
    if (c->stream == NULL) return;
    c->flags |= CONN_CLOSING;
    conn_leave(c);
    stream_abort(c->stream);
}

static const char *close_reason(uint16_t code)
{
    switch (code) {
    case WS_CLOSE_GOING_AWAY:
    case CLOSE_RECONNECT: return "the server goes away; reconnect";
    case CLOSE_RESUME: return "too slow or silent; resume from your cursor";
    case CLOSE_REPLACED: return "another connection of this device has taken over";
    case CLOSE_SIGN_IN: return "sign in again; keep your keys";
    case CLOSE_GONE: return "the account is gone";
    case CLOSE_HELLO: return "no hello";
    case CLOSE_LIMITED: return "too many requests; wait a minute";
    case WS_CLOSE_POLICY: return "too many mistakes";
    case WS_CLOSE_TOO_BIG: return "too large";
    case WS_CLOSE_BAD_DATA: return "not UTF-8";
    case WS_CLOSE_UNSUPPORTED: return "text only";
    default: return "";
    }
}

void conn_close(struct conn *c, uint16_t code)
{
    if (!conn_alive(c)) return;
    struct gateway *g = conn_loop(c)->gateway;
    if (code != 0) gateway_count_close(g, code);
    if (c->kind == CONN_SOCKET) {
        ws_write_close(stream_output(c->stream), code != 0 ? code : WS_CLOSE_NORMAL, close_reason(code), NULL);
    } else if (c->kind == CONN_STREAM) {
        struct buffer *out = stream_output(c->stream);
        buffer_printf(out, "event: close\ndata: {\"type\":\"close\",\"code\":%u,\"reason\":\"%s\"}\n\n",
                      (unsigned)code, close_reason(code));
    } else if (c->kind == CONN_POLL) {
        poll_closed(c, code);
        if (!conn_alive(c)) return;
    }
    conn_written(c);
    c->flags |= CONN_CLOSING;
    conn_arm(c, 0);
    conn_leave(c);
    bool draining = atomic_load_explicit(&g->draining, memory_order_relaxed);
    stream_close(c->stream, draining               ? GATEWAY_DRAIN_LINGER_MS
                            : code == CLOSE_RESUME ? GATEWAY_CUT_LINGER_MS
                                                   : GATEWAY_CLOSE_LINGER_MS);
}

void conn_cut(struct conn *c)
{
    if (!conn_alive(c)) return;
    uint16_t code = c->extra != NULL ? c->extra->close_code : 0; /* what it was to hear anyway */
    if (c->extra != NULL) buffer_deinit(&c->extra->stash);
    stream_cut(c->stream);
    conn_close(c, code != 0 ? code : CLOSE_RESUME);
}

size_t conn_calls(const struct conn *c)
{
    size_t others = 0;
    if (c->extra != NULL) others = (size_t)c->extra->sync.running + (c->extra->poll.call != NULL);
    return c->holds - others;
}

void conn_close_after_calls(struct conn *c, uint16_t code)
{
    if (!conn_alive(c)) return;
    if (c->kind != CONN_SOCKET || conn_calls(c) == 0) {
        conn_close(c, code);
        return;
    }
    conn_extra(c)->close_code = code;
    conn_block(c);
    conn_leave(c);
}

void conn_send(struct conn *c, const char *type, struct slice json, struct slice cursor, bool deflatable)
{
    if (!conn_alive(c)) return;
    struct buffer *out = stream_output(c->stream);
    if (c->kind == CONN_SOCKET) {
        if (deflatable && c->flags & CONN_DEFLATE && json.len >= DEFLATE_MIN)
            ws_write_deflated(out, conn_loop(c)->deflate, json, NULL);
        else ws_write_frame(out, WS_TEXT, json, NULL);
    } else if (c->kind == CONN_STREAM) {
        if (cursor.len > 0) {
            buffer_append_str(out, "id: ");
            buffer_append_slice(out, cursor);
            buffer_append_byte(out, '\n');
        }
        buffer_append_str(out, "event: ");
        buffer_append_str(out, type);
        buffer_append_str(out, "\ndata: ");
        buffer_append_slice(out, json);
        buffer_append_str(out, "\n\n");
    } else {
        return;
    }
    conn_written(c);
}

void conn_due(struct conn *c)
{
    if (!conn_alive(c)) return;
    switch (c->kind) {
    case CONN_SOCKET: socket_due(c); break;
    case CONN_STREAM: sse_due(c); break;
    case CONN_POLL: poll_due(c); break;
    default: http_due(c); break;
    }
}
