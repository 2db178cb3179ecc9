/* Calls: one request from its bytes to its answer.
 *
 * A call and the desk that it is handled on come from the loop's free lists, so that
 * the busy path touches the heap only for what is larger than a few kilobytes. The desk
 * can go back while the call waits for the engine (call_forget). A call
 * holds its connection's memory until it is answered. On the way it may leave
 * the loop twice: to a worker (handlers that block, caches that missed) and to
 * the engine (records); both come back through the loop's mailbox. Nobody but
 * the loop touches the connection.
 *
 * Order of the checks before a handler runs: token, buckets, then the handler's
 * own. A request that is refused for its rate is still answered, but reading
 * from a socket that sends too fast is not slowed further: its calls in flight
 * are bounded anyway.
 */
#include "gateway/call_private.h"
#include "gateway/peers.h"

#include "base/sanitize.h"
#include "core/conversation.h"

#include <stdio.h>
#include <stdlib.h>

enum { CALL_ARENA_MAX = 8 * 1024 * 1024, CALL_ANSWER_MAX = 8 * 1024 * 1024, CALL_HEAD_MAX = 4096, CALL_WHY_MAX = 512,
       THROTTLED_EVERY_MS = 1000, RETRY_AFTER_MS = 1000 };

/* ---- Memory ------------------------------------------------------------- */

static uint64_t mix(uint64_t v)
{
    v = (v ^ v >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    v = (v ^ v >> 27) * UINT64_C(0x94d049bb133111eb);
    return v ^ v >> 31;
}

static void request_id_make(struct gateway_loop *gl, char out[CALL_REQUEST_ID_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint64_t v = mix(gl->request_seed + ++gl->request_count);
    for (size_t i = 0; i < CALL_REQUEST_ID_LEN; i++, v >>= 4) out[i] = digits[v & 15];
    out[CALL_REQUEST_ID_LEN] = '\0';
}

static struct desk *desk_create(void)
{
    struct desk *d = sotto_alloc(sizeof(*d));
    buffer_init(&d->answer, CALL_ANSWER_MAX);
    buffer_init(&d->why, CALL_WHY_MAX);
    return d;
}

static size_t desk_destroy(struct desk *d)
{
    size_t bytes = sizeof(*d) + d->answer.size + d->why.size;
    buffer_deinit(&d->answer);
    buffer_deinit(&d->why);
    ASAN_UNPOISON_MEMORY_REGION(d->memory, sizeof(d->memory));
    free(d);
    return bytes;
}

static size_t desks_free(struct gateway_loop *gl, size_t count)
{
    size_t bytes = 0;
    while (count-- > 0 && gl->desks != NULL) {
        struct desk *d = gl->desks;
        gl->desks = d->next;
        gl->desks_count--;
        bytes += desk_destroy(d);
    }
    return bytes;
}

static void desk_begin(struct call_state *cs)
{
    struct gateway_loop *gl = cs->loop;
    struct desk *d = gl->desks;
    if (d != NULL) {
        gl->desks = d->next;
        gl->desks_count--;
        if (gl->desks_count < gl->desks_low) gl->desks_low = gl->desks_count;
    } else {
        d = desk_create();
    }
    cs->desk = d;
    ASAN_UNPOISON_MEMORY_REGION(d->memory, sizeof(d->memory));
    cs->call.answer_bytes = d->answer;
    cs->call.answer_bytes.max = CALL_ANSWER_MAX;
    cs->call.why = d->why;
    cs->call.answer = json_writer_of(&cs->call.answer_bytes);
    arena_init(&cs->call.arena, d->memory, sizeof(d->memory), CALL_ARENA_MAX);
}

static void desk_end(struct call_state *cs)
{
    struct gateway_loop *gl = cs->loop;
    struct desk *d = cs->desk;
    if (d == NULL) return;
    cs->desk = NULL;
    arena_deinit(&cs->call.arena);
    d->answer = cs->call.answer_bytes;
    d->why = cs->call.why;
    buffer_clear(&d->why);
    if (d->answer.size > GATEWAY_ANSWER_KEEP) buffer_deinit(&d->answer);
    else buffer_clear(&d->answer);
    d->next = gl->desks;
    gl->desks = d;
    gl->desks_count++;
    ASAN_POISON_MEMORY_REGION(d->memory, sizeof(d->memory));
}

struct call_state *call_create(struct conn *c, const struct operation *op)
{
    struct gateway_loop *gl = conn_loop(c);
    struct gateway *g = gl->gateway;
    struct call_state *cs = pool_take(&gl->calls, sizeof(*cs));
    memset(cs, 0, sizeof(*cs));
    cs->loop = gl;
    cs->conn = c;
    cs->call.op = op;
    cs->call.services = g->services;
    cs->call.limits = gateway_limits(g);
    cs->call.gateway = g;
    cs->call.received_us = clock_monotonic_us(g->services->clock);
    desk_begin(cs);
    request_id_make(gl, cs->call.request_id);
    if (c->session.user != NULL) {
        cs->call.user = session_user_id(&c->session);
        cs->call.device = c->session.device;
    }
    conn_hold(c);
    return cs;
}

void call_forget(struct call *c)
{
    struct call_state *cs = (struct call_state *)c;
    if (cs->re.data != NULL) {
        memcpy(cs->re_kept, cs->re.data, cs->re.len); /* at most REQUEST_ID_MAX */
        cs->re.data = cs->re_kept;
    }
    c->fields = (struct json){0};
    c->context = NULL;
    desk_end(cs);
}

void call_destroy(struct call_state *cs)
{
    struct conn *c = cs->conn;
    desk_end(cs);
    pool_give(&cs->loop->calls, cs, sizeof(*cs));
    conn_release(c);
}

void calls_init(struct gateway_loop *gl)
{
    pool_init(&gl->calls, sizeof(struct call_state), sizeof(struct call_state), GATEWAY_CALLS_FREE_MAX);
}

size_t calls_trim(struct gateway_loop *gl)
{
    size_t bytes = desks_free(gl, gl->desks_low);
    gl->desks_low = gl->desks_count;
    return bytes + pool_trim(&gl->calls);
}

void calls_deinit(struct gateway_loop *gl)
{
    desks_free(gl, SIZE_MAX);
    pool_deinit(&gl->calls);
}

/* ---- For handlers ------------------------------------------------------- */

enum problem call_decode(struct call *c, const struct json_field *fields, size_t count, void *out)
{
    if (json_decode(&c->arena, c->fields, fields, count, out, &c->why, &c->field) == SOTTO_OK) return PROBLEM_NONE;
    return PROBLEM_BAD_FIELD;
}

void call_error_details(struct call *c)
{
    buffer_clear(&c->answer_bytes);
    c->answer = json_writer_of(&c->answer_bytes);
    c->details = true;
}

/* Enough has been answered, and read by the client, to ask for more. */
static bool conn_may_read(const struct conn *c)
{
    return conn_alive(c) && c->holds <= GATEWAY_CALLS_PER_CONN_MAX / 2 && !conn_queue_full(c);
}

void conn_resume(struct conn *c)
{
    bool closing = c->extra != NULL && c->extra->close_code != 0;
    if (closing && conn_calls(c) <= 1) conn_close(c, c->extra->close_code);
    else if (!closing && c->flags & CONN_BLOCKED && conn_may_read(c)) conn_unblock(c);
}

static void job_run(struct job *job)
{
    struct call_state *cs = (struct call_state *)(void *)((uint8_t *)job - offsetof(struct call_state, job));
    cs->work(&cs->call);
}

static void job_done(struct mail *mail, void *receiver)
{
    struct call_state *cs =
        (struct call_state *)(void *)((uint8_t *)mail - offsetof(struct call_state, job.mail));
    struct conn *conn = cs->conn;
    (void)receiver;
    if (!cs->loading) {
        cs->done(&cs->call);
        return;
    }
    conn_hold(conn); /* the call may end in `done` */
    conn->flags &= (uint16_t)~CONN_LOADING;
    cs->done(&cs->call);
    conn_resume(conn);
    conn_release(conn);
}

static bool call_work_on(struct call *c, struct workers *workers, void (*work)(struct call *c),
                         void (*done)(struct call *c))
{
    struct call_state *cs = (struct call_state *)c;
    cs->work = work;
    cs->done = done;
    cs->job.mail.deliver = job_done;
    cs->job.run = job_run;
    cs->job.reply_to = loop_mailbox(cs->loop->loop);
    return workers_submit(workers, &cs->job);
}

/* What comes behind this request on a socket waits for it: it would find in the
 * caches what this one goes to load, and overtake it. */
bool call_work(struct call *c, void (*work)(struct call *c), void (*done)(struct call *c))
{
    struct call_state *cs = (struct call_state *)c;
    if (!call_work_on(c, c->services->workers, work, done)) return false;
    cs->loading = !cs->over_http && cs->conn->kind == CONN_SOCKET && cs->conn->session.user != NULL;
    if (cs->loading) {
        cs->conn->flags |= CONN_LOADING;
        conn_block(cs->conn);
    }
    return true;
}

static void submission_answered(struct mail *mail, void *receiver)
{
    struct submission *s = (struct submission *)(void *)((uint8_t *)mail - offsetof(struct submission, mail));
    struct call_state *cs = s->ctx;
    (void)receiver;
    struct pool *pool = &cs->loop->submissions; /* the call may end */
    if (cs->desk == NULL) desk_begin(cs);
    cs->submitted(&cs->call, s);
    submission_destroy(s, pool);
}

struct buffer *call_record(struct call *c)
{
    struct buffer *record = &((struct call_state *)c)->loop->record;
    if (record->size > GATEWAY_ANSWER_KEEP) buffer_deinit(record);
    buffer_clear(record);
    return record;
}

bool call_submit(struct call *c, const struct buffer *record,
                 void (*done)(struct call *c, const struct submission *s))
{
    struct call_state *cs = (struct call_state *)c;
    struct submission *s = submission_create(buffer_slice(record), &cs->loop->submissions);
    SOTTO_ASSERT(s != NULL); /* we encoded it */
    cs->submitted = done;
    s->mail.deliver = submission_answered;
    s->reply_to = loop_mailbox(cs->loop->loop);
    s->ctx = cs;
    s->received_us = c->received_us;
    bool asleep = false;
    if (engine_submit_quietly(c->services->engine, s, &asleep)) {
        if (asleep) loop_defer(cs->loop->loop, &cs->loop->wake_engine);
        return true;
    }
    submission_destroy(s, &cs->loop->submissions);
    return false;
}

const struct random_source *call_random(struct call *c)
{
    return &((struct call_state *)c)->loop->random;
}

bool call_limit(struct call *c, enum bucket_kind kind, struct id key, uint8_t sub, const struct rate *rate)
{
    if (limiter_take(c->gateway->limiter, kind, key, sub, rate, c->received_us / 1000, &c->retry_after_ms))
        return true;
    counter_add(c->gateway->metrics.limited[kind], 1);
    return false;
}

bool call_limit_pair(struct call *c, struct id conversation)
{
    struct id key = conversation;
    for (size_t i = 0; i < ID_LEN; i++) key.bytes[i] ^= c->user.bytes[i];
    return call_limit(c, BUCKET_PAIR, key, 0, &c->limits->pair);
}

enum call_peer call_find_peer(struct call *c, struct id conversation, struct id *peer_out)
{
    switch (peers_find(c->gateway->peers, conversation, c->user, peer_out)) {
    case PEERS_DIRECT: return CALL_PEER_DIRECT;
    case PEERS_STRANGER: return CALL_PEER_STRANGER;
    case PEERS_OTHER: return CALL_PEER_NONE;
    default: return CALL_PEER_UNKNOWN;
    }
}

void call_put_peer(struct call *c, struct id conversation, struct id a, struct id b)
{
    peers_put(c->gateway->peers, conversation, a, b);
}

enum problem call_learn_peer(struct call *c, struct id conversation)
{
    struct buffer row;
    struct conversation state;
    struct id none = {0};
    buffer_init(&row, SOTTO_RECORD_MAX);
    enum sotto_err err = store_get(engine_store(c->services->engine), STORE_CONVERSATION,
                                   slice_of(conversation.bytes, ID_LEN), &row);
    if (err == SOTTO_OK) err = conversation_decode(conversation, buffer_slice(&row), &state);
    buffer_deinit(&row);
    if (err == SOTTO_ERR_NOT_FOUND) return PROBLEM_NOT_FOUND;
    if (err != SOTTO_OK) return PROBLEM_INTERNAL;
    if (state.kind == CONVERSATION_DIRECT && state.members_count == 2)
        call_put_peer(c, conversation, state.members[0].user, state.members[1].user);
    else call_put_peer(c, conversation, none, none);
    conversation_deinit(&state);
    return PROBLEM_NONE;
}

void call_count(struct call *c, enum call_stage stage)
{
    struct gateway_metrics *m = &c->gateway->metrics;
    if (stage == STAGE_ACCEPTED) {
        counter_add(m->accepted, 1);
        return;
    }
    counter_add(stage == STAGE_DURABLE ? m->durable : m->repeated, 1);
    uint64_t now = clock_monotonic_us(c->services->clock);
    if (now >= c->received_us) histogram_observe(m->sent, now - c->received_us);
}

/* ---- The end ------------------------------------------------------------ */

void problem_write(struct json_writer *w, enum problem p, struct slice re, const struct call *c)
{
    json_put_cstr(w, "type", "error");
    if (re.data != NULL) json_put_string(w, "re", re);
    json_put_cstr(w, "code", problem_code(p));
    if (c->why.len > 0) json_put_string(w, "message", buffer_slice(&c->why));
    else json_put_cstr(w, "message", problem_text(p));
    json_put_cstr(w, "requestId", c->request_id);
    if (c->field != NULL) json_put_cstr(w, "field", c->field);
    if (c->retry_after_ms > 0) json_put_u64(w, "retryAfterMs", c->retry_after_ms);
}

static void members_append(struct buffer *out, struct json_writer *w, const struct buffer *members)
{
    if (members->len > 0) {
        if (w->comma) buffer_append_byte(out, ',');
        buffer_append_slice(out, buffer_slice(members));
    }
    json_end_object(w);
}

/* The whole object of the answer, appended to `out`. */
static void answer_write(struct call_state *cs, enum problem p, struct buffer *out)
{
    struct call *c = &cs->call;
    struct json_writer w = json_writer_of(out);
    json_begin_object(&w);
    if (p == PROBLEM_NONE) {
        json_put_cstr(&w, "type", c->op->answer_type);
        if (cs->re.data != NULL) json_put_string(&w, "re", cs->re);
    } else {
        problem_write(&w, p, cs->re, c);
    }
    members_append(out, &w, &c->answer_bytes);
}

static void throttled_say(struct conn *c, uint64_t retry_ms)
{
    struct gateway_loop *gl = conn_loop(c);
    struct conn_extra *x = conn_extra(c);
    uint64_t now = loop_now_ms(gl->loop);
    if (x->throttled_ms != 0 && now - x->throttled_ms < THROTTLED_EVERY_MS) return;
    x->throttled_ms = now;
    char text[96];
    int len = snprintf(text, sizeof(text),
                       "{\"type\":\"flow_control\",\"state\":\"throttled\",\"retryAfterMs\":%llu}",
                       (unsigned long long)retry_ms);
    conn_send(c, "flow_control", slice_of(text, (size_t)len), (struct slice){0}, false);
}

static void finish_socket(struct call_state *cs, enum problem p)
{
    struct conn *c = cs->conn;
    bool wanted = p != PROBLEM_NONE || cs->re.data != NULL || cs->call.op->flags & OP_ALWAYS_ANSWER;
    if (!wanted) return;
    struct buffer *out = stream_output(c->stream);
    size_t begin = ws_frame_begin(out);
    answer_write(cs, p, out);
    ws_frame_end(out, begin, WS_TEXT);
    conn_written(c);
    if (p == PROBLEM_RATE_LIMITED) throttled_say(c, cs->call.retry_after_ms);
}

static void finish_http(struct call_state *cs, enum problem p)
{
    struct conn *c = cs->conn;
    struct buffer body;
    /* A long-poll may answer more than others. */
    buffer_init(&body, cs->call.answer_bytes.max + CALL_HEAD_MAX);
    answer_write(cs, p, &body);
    http_answer(c, &(struct http_answer){
        .status = p == PROBLEM_NONE ? 200 : problem_status(p),
        .content_type = "application/json",
        .body = buffer_slice(&body),
        .retry_after_ms = cs->call.retry_after_ms,
    });
    buffer_deinit(&body);
}

void call_finish(struct call *c, enum problem p)
{
    struct call_state *cs = (struct call_state *)c;
    struct conn *conn = cs->conn;
    struct gateway *g = c->gateway;
    if (p == PROBLEM_NONE && c->answer_bytes.overflow) p = PROBLEM_INTERNAL;
    if (p != PROBLEM_NONE) {
        counter_add(g->metrics.problems, 1);
        if (c->answer_bytes.overflow || !c->details) call_error_details(c);
        if (problem_status(p) == 503 && c->retry_after_ms == 0) c->retry_after_ms = RETRY_AFTER_MS;
        if (problem_status(p) == 500)
            LOG(g->services->log, LOG_ERROR, "gateway.internal", LOG_S("op", c->op->type),
                LOG_S("request", c->request_id));
    }
    bool over_http = cs->over_http;
    if (conn_alive(conn)) {
        if (over_http) finish_http(cs, p);
        else finish_socket(cs, p);
    }
    conn_hold(conn); /* the call's own hold goes with it */
    call_destroy(cs);
    if (over_http) http_done(conn);
    else conn_resume(conn);
    conn_release(conn);
}

/* ---- The beginning ------------------------------------------------------ */

static void run_work(struct call *c)
{
    ((struct call_state *)c)->problem = c->op->run(c);
}

static void run_done(struct call *c)
{
    call_finish(c, ((struct call_state *)c)->problem);
}

static bool charge(struct call_state *cs)
{
    struct call *c = &cs->call;
    const struct gateway_limits *l = c->limits;
    bool known = !id_is_zero(c->user);
    if (known && !call_limit(c, BUCKET_USER, c->user, 0, &l->user)) return false;
    unsigned flags = c->op->flags;
    if (flags & OP_LIMIT_SEND) return call_limit(c, BUCKET_DEVICE, c->user, c->device, &l->device);
    if (flags & OP_LIMIT_TYPING) return call_limit(c, BUCKET_TYPING, c->user, c->device, &l->typing);
    if (flags & OP_LIMIT_BUNDLES) return call_limit(c, BUCKET_BUNDLES, c->user, 0, &l->bundles);
    return true;
}

static void call_run(struct call_state *cs)
{
    struct call *c = &cs->call;
    struct gateway *g = c->gateway;
    counter_add(g->metrics.requests[cs->over_http], 1);
    if (!charge(cs)) {
        call_finish(c, PROBLEM_RATE_LIMITED);
        return;
    }
    if (atomic_load_explicit(&g->draining, memory_order_relaxed)) {
        call_finish(c, PROBLEM_DRAINING);
        return;
    }
    if (c->op->start != NULL) {
        c->op->start(c);
        return;
    }
    char text[ADDRESS_TEXT_MAX];
    address_key_text(cs->conn->address->key, text);
    c->address = arena_copy(&c->arena, slice_str(text));
    struct workers *workers = c->services->workers;
    if (c->op->flags & OP_PASSWORD && c->services->hashers != NULL) workers = c->services->hashers;
    if (!call_work_on(c, workers, run_work, run_done)) call_finish(c, PROBLEM_BUSY);
}

static void authenticate_work(struct call *c)
{
    struct call_state *cs = (struct call_state *)c;
    cs->problem = directory_authenticate(c->services->directory, cs->token, &c->user, &c->device);
}

static void authenticate_done(struct call *c)
{
    struct call_state *cs = (struct call_state *)c;
    if (cs->problem == PROBLEM_TOKEN) counter_add(c->gateway->metrics.auth_failures, 1);
    if (cs->problem != PROBLEM_NONE) call_finish(c, cs->problem);
    else call_run(cs);
}

void call_begin(struct call_state *cs)
{
    struct call *c = &cs->call;
    if (!cs->needs_token) {
        call_run(cs);
        return;
    }
    if (cs->token.len == 0) {
        call_finish(c, PROBLEM_UNAUTHENTICATED);
        return;
    }
    if (directory_authenticate_peek(c->services->directory, cs->token, &c->user, &c->device)) call_run(cs);
    else if (!call_work(c, authenticate_work, authenticate_done)) call_finish(c, PROBLEM_BUSY);
}

void conn_problem(struct conn *c, enum problem p, struct slice re, const char *why, uint64_t retry_ms)
{
    struct gateway_loop *gl = conn_loop(c);
    struct call call = {.retry_after_ms = retry_ms};
    buffer_init(&call.why, CALL_WHY_MAX);
    if (why != NULL) buffer_append_str(&call.why, why);
    request_id_make(gl, call.request_id);
    struct buffer text;
    buffer_init(&text, 4096);
    struct json_writer w = json_writer_of(&text);
    json_begin_object(&w);
    problem_write(&w, p, re, &call);
    json_end_object(&w);
    counter_add(gl->gateway->metrics.problems, 1);
    if (c->kind == CONN_SOCKET || c->kind == CONN_STREAM)
        conn_send(c, "error", buffer_slice(&text), (struct slice){0}, false);
    else
        http_answer(c, &(struct http_answer){.status = problem_status(p), .content_type = "application/json",
                                             .body = buffer_slice(&text), .retry_after_ms = retry_ms});
    buffer_deinit(&text);
    buffer_deinit(&call.why);
}
