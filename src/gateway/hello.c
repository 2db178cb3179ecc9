/* Signing in on a channel of events: hello, and the same for SSE and long-poll.
 *
 * Who the token belongs to, how many prekeys are left and the user's settings
 * are found out in one job on a worker; the rest happens on the loop. The
 * session is in the registry before the first look into the store, so that
 * whatever is committed afterwards is noted (see sync_pump.c): between the two
 * nothing can be missed. A device that is revoked in between is found by the
 * first job of the pump, which looks at the device list again.
 */
#include "gateway/call_private.h"

#include <stdlib.h>

struct hello {
    struct slice token, resume_token, cursor_text;
    bool has_token, has_resume, has_cursor;
    struct cursor cursor;
    struct sign_in sign_in;
};

static const struct operation hello_operation = {
    .type = "hello", .answer_type = "hello", .flags = OP_ALWAYS_ANSWER};

static const struct json_field hello_fields[] = {
    {"token", JF_STRING, false, offsetof(struct hello, token), 1, TOKEN_TEXT_MAX, offsetof(struct hello, has_token)},
    {"resumeToken", JF_STRING, false, offsetof(struct hello, resume_token), 1, TOKEN_TEXT_MAX,
     offsetof(struct hello, has_resume)},
    {"cursor", JF_STRING, false, offsetof(struct hello, cursor_text), 1, CURSOR_TEXT_MAX,
     offsetof(struct hello, has_cursor)},
};

/* ---- Who ---------------------------------------------------------------- */

void sign_in_work(struct call *c, struct sign_in *s)
{
    struct directory *d = c->services->directory;
    s->problem = s->resume ? directory_resume(d, s->token, &s->user, &s->device)
                           : directory_authenticate(d, s->token, &s->user, &s->device);
    if (s->problem != PROBLEM_NONE) return;
    if (directory_key_counts(d, s->user, s->device, &s->ec_prekeys, &s->kem_prekeys) != PROBLEM_NONE)
        s->ec_prekeys = s->kem_prekeys = 0;
    directory_resume_token(d, s->user, s->device, c->limits->resume_ttl_ms, s->resume_token);
}

void sign_in_join(struct conn *c, const struct sign_in *s)
{
    struct gateway *g = conn_loop(c)->gateway;
    struct session_name replaced;
    c->mode = MODE_SYNC;
    memset(&conn_extra(c)->sync, 0, sizeof(c->extra->sync));
    c->extra->sync.first = true;
    gauge_add(g->metrics.sessions, 1);
    if (registry_add(g->registry, &c->session, s->user, s->device, gateway_wall_ms(g), &replaced))
        gateway_close_session(g, replaced, CLOSE_REPLACED);
}

/* ---- Hello -------------------------------------------------------------- */

static void hello_work(struct call *c)
{
    struct hello *h = c->context;
    sign_in_work(c, &h->sign_in);
}

static void hello_answer(struct call *c, const struct hello *h)
{
    const struct gateway_limits *l = c->limits;
    struct json_writer *w = &c->answer;
    json_put_id(w, "userId", h->sign_in.user);
    json_put_u64(w, "deviceId", h->sign_in.device);
    json_put_u64(w, "serverTime", clock_wall_ms(c->services->clock));
    json_put_cstr(w, "version", c->services->version);
    json_put_cstr(w, "resumeToken", h->sign_in.resume_token);
    json_put_u64(w, "heartbeatMs", l->heartbeat_ms);
    json_put_u64(w, "idleTimeoutMs", l->idle_timeout_ms);
    json_key(w, "limits");
    limits_json(w, l);
    json_key(w, "keys");
    json_begin_object(w);
    json_put_u64(w, "ecPrekeys", h->sign_in.ec_prekeys);
    json_put_u64(w, "kemPrekeys", h->sign_in.kem_prekeys);
    json_end_object(w);
}

void limits_json(struct json_writer *w, const struct gateway_limits *l)
{
    json_begin_object(w);
    json_put_u64(w, "frameBytes", SOTTO_FRAME_MAX);
    json_put_u64(w, "payloadBytes", SOTTO_PAYLOAD_MAX);
    json_put_u64(w, "historyLimit", SOTTO_HISTORY_LIMIT_MAX);
    json_put_u64(w, "windowBytes", l->window_bytes);
    json_put_u64(w, "windowEvents", l->window_events);
    json_put_u64(w, "messagesPerSecond", (uint64_t)l->device.per_second);
    json_end_object(w);
}

static void hello_refuse(struct call *c, enum problem p, uint16_t code)
{
    struct conn *conn = ((struct call_state *)c)->conn;
    conn_hold(conn);
    call_finish(c, p);
    if (code != 0) conn_close(conn, code);
    conn_release(conn);
}

static void hello_done(struct call *c)
{
    struct call_state *cs = (struct call_state *)c;
    struct hello *h = c->context;
    struct conn *conn = cs->conn;
    struct gateway *g = c->gateway;
    enum problem p = h->sign_in.problem;
    if (p != PROBLEM_NONE) {
        if (p == PROBLEM_TOKEN) counter_add(g->metrics.auth_failures, 1);
        hello_refuse(c, p, p == PROBLEM_TOKEN ? CLOSE_SIGN_IN : 0);
        return;
    }
    if (!conn_alive(conn)) { /* it went away meanwhile */
        call_destroy(cs);
        return;
    }
    bool has_cursor = h->has_cursor;
    struct cursor cursor = h->cursor;
    ws_decoder_limit(conn->ws, SOTTO_FRAME_MAX);
    sign_in_join(conn, &h->sign_in);
    hello_answer(c, h);
    conn_hold(conn);
    call_finish(c, PROBLEM_NONE);
    /* What came behind the hello has been handled meanwhile: it may have ended the
     * connection, or the connection waits for a deadline already. */
    if (conn_alive(conn) && !(conn->flags & CONN_INFLATED)) socket_due(conn); /* sets that of the heartbeat */
    bool began = conn->extra != NULL && conn->extra->sync.begun; /* with a sync.start */
    if (conn_alive(conn) && !began) sync_begin(conn, has_cursor ? &cursor : NULL);
    conn_release(conn);
}

static enum problem hello_read(struct call_state *cs, struct slice text, struct hello *h)
{
    struct call *c = &cs->call;
    struct slice kept = arena_copy(&c->arena, text), type;
    if (kept.data == NULL || json_parse(&c->arena, kept, &c->fields) != SOTTO_OK) return PROBLEM_BAD_JSON;
    struct json t = json_get(c->fields, "type"), id = json_get(c->fields, "id");
    if (json_type(t) != JSON_STRING || json_string(&c->arena, t, &type) != SOTTO_OK || !slice_is(type, "hello"))
        return PROBLEM_UNAUTHENTICATED;
    if (json_type(id) == JSON_STRING && json_string(&c->arena, id, &cs->re) != SOTTO_OK) return PROBLEM_BAD_JSON;
    if (cs->re.len > REQUEST_ID_MAX) {
        cs->re = (struct slice){0};
        c->field = "id";
        return PROBLEM_BAD_FIELD;
    }
    enum problem p = call_decode(c, hello_fields, sizeof(hello_fields) / sizeof(hello_fields[0]), h);
    if (p != PROBLEM_NONE) return p;
    if (h->has_token == h->has_resume) {
        c->field = "token";
        buffer_append_str(&c->why, "Give either token or resumeToken.");
        return PROBLEM_BAD_FIELD;
    }
    h->sign_in.resume = h->has_resume;
    h->sign_in.token = h->has_resume ? h->resume_token : h->token;
    if (h->has_cursor && cursor_parse(h->cursor_text, &h->cursor) != SOTTO_OK) return PROBLEM_BAD_CURSOR;
    return PROBLEM_NONE;
}

void hello_received(struct conn *c, struct slice text)
{
    struct call_state *cs = call_create(c, &hello_operation);
    struct hello *h = arena_zalloc(&cs->call.arena, sizeof(*h));
    SOTTO_ASSERT(h != NULL); /* the arena is fresh */
    cs->call.context = h;
    enum problem p = hello_read(cs, text, h);
    if (p == PROBLEM_NONE && atomic_load_explicit(&cs->call.gateway->draining, memory_order_relaxed))
        hello_refuse(&cs->call, PROBLEM_DRAINING, CLOSE_RECONNECT);
    else if (p != PROBLEM_NONE && p != PROBLEM_BAD_CURSOR) hello_refuse(&cs->call, p, CLOSE_HELLO);
    else if (!http_charge_address(c, &cs->call.retry_after_ms))
        hello_refuse(&cs->call, PROBLEM_RATE_LIMITED, CLOSE_LIMITED);
    else if (p == PROBLEM_BAD_CURSOR) /* another may follow, but not without end */
        hello_refuse(&cs->call, p, ++c->mistakes < GATEWAY_MISTAKES_MAX ? 0 : WS_CLOSE_POLICY);
    else {
        conn_block(c);
        if (!call_work(&cs->call, hello_work, hello_done)) hello_refuse(&cs->call, PROBLEM_BUSY, 0);
    }
}
