/* The gateway: how its parts fit, and its life.
 *
 *   listener -> conn ---- http_conn ---- route --\
 *                  \----- socket ---- hello       +-> call -> handler (api)
 *                   \---- sse, poll              /      |-> engine: submission
 *                                                       '-> workers: job
 *   engine -> publish -> loop -> conn (live), or note what was missed
 *   sync_pump: store -> client, until nothing is missed
 *   registry (session): user -> sessions; presence
 *
 * THREADS. One per loop; each has its own listeners (SO_REUSEPORT), connections
 * and free lists, and no lock is taken on the way of a frame but those of the
 * registry's shards, the buckets and the directory's view cache. The engine's
 * thread only looks users up and posts. Workers do what blocks.
 *
 * WHAT IS SHARED and changes: the registry, the buckets, the limits (replaced
 * whole; old versions stay until the end, as a handler may be reading them),
 * the counts of queued bytes and of requests in part.
 *
 * DRAINING. Nothing new is accepted and new requests are answered `draining`.
 * A connection is told to go as soon as its calls in flight are answered, so
 * nobody is left in doubt about a message that was on its way to the disk.
 */
#include "gateway/call_private.h"
#include "gateway/conn_slab.h"
#include "gateway/peers.h"

#include <malloc.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/sched.h"

enum { TICK_MS = 1000, DRAIN_TICK_MS = 100, LIMITER_SETS = 8192, STOP_TURNS_MAX = 16 };
enum { TRIM_MS = 400, HEAP_TRIM_BYTES = 128 * 1024 };

struct limits_version {
    struct gateway_limits limits;
    struct limits_version *older;
};

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* ---- Creation ------------------------------------------------------------ */

void gateway_set_limits(struct gateway *g, const struct gateway_limits *limits)
{
    struct limits_version *v = sotto_zalloc(sizeof(*v));
    v->limits = *limits;
    pthread_mutex_lock(&g->mutex);
    v->older = g->limits_versions;
    g->limits_versions = v;
    pthread_mutex_unlock(&g->mutex);
    atomic_store_explicit(&g->limits, &v->limits, memory_order_release);
}

/* Randomness in blocks: for ids, on the loop's own thread. */
static void random_buffered(void *ctx, void *out, size_t len)
{
    struct gateway_loop *gl = ctx;
    const struct random_source *source = gl->gateway->services->random;
    if (len > sizeof(gl->random_bytes)) {
        random_fill(source, out, len);
        return;
    }
    if (gl->random_left < len) {
        random_fill(source, gl->random_bytes, sizeof(gl->random_bytes));
        gl->random_left = sizeof(gl->random_bytes);
    }
    gl->random_left -= len;
    memcpy(out, gl->random_bytes + gl->random_left, len);
    /* What was given out is not kept. */
    memset(gl->random_bytes + gl->random_left, 0, len);
}

static void relieve_run(struct deferred *d, struct loop *loop)
{
    (void)d;
    conn_relieve(loop_owner(loop));
}

static void relieve_received(struct mail *mail, void *receiver)
{
    struct gateway_loop *gl = loop_owner(receiver);
    (void)mail;
    atomic_store(&gl->relieve_posted, false);
    conn_relieve(gl);
}

static void wake_engine_run(struct deferred *d, struct loop *loop)
{
    const struct gateway_loop *gl = loop_owner(loop);
    (void)d;
    engine_wake(gl->gateway->services->engine);
}

/* What was kept for reuse and not needed since the last time; after a burst the
 * system gets its memory back. */
static void trim_fired(struct loop_timer *t, struct loop *loop)
{
    struct gateway_loop *gl = loop_owner(loop);
    loop_timer_start(loop, t, TRIM_MS);
    gl->trimmed += loop_trim(gl->loop) + calls_trim(gl) + pool_trim(&gl->submissions);
    if (gl->trimmed < HEAP_TRIM_BYTES) return;
    gl->trimmed = 0;
    malloc_trim(0);
}

static void tick_fired(struct loop_timer *t, struct loop *loop)
{
    struct gateway_loop *gl = loop_owner(loop);
    struct gateway *g = gl->gateway;
    if (gl->index == 0) {
        gauge_set(g->metrics.queued_bytes, (int64_t)atomic_load_explicit(&g->queued_bytes, memory_order_relaxed));
        presence_turn(g);
    }
    conn_relieve(gl);
    loop_timer_start(loop, t, TICK_MS);
}

static enum sotto_err loop_state_init(struct gateway *g, struct gateway_loop *gl, uint8_t index)
{
    gl->gateway = g;
    gl->index = index;
    enum sotto_err err = loop_create(g->services->clock, SOTTO_LOOP_QUEUE_MAX, &gl->loop);
    if (err != SOTTO_OK) return err;
    loop_set_owner(gl->loop, gl);
    gl->deflate = ws_deflate_create();
    ws_decoders_init(&gl->decoders);
    gl->random = (struct random_source){random_buffered, gl};
    gl->request_seed = random_u64(g->services->random);
    gl->relieve.run = relieve_run;
    gl->relieve_mail.deliver = relieve_received;
    gl->wake_engine.run = wake_engine_run;
    calls_init(gl);
    gl->tick.fired = tick_fired;
    gl->trim.fired = trim_fired;
    conn_slab_init(gl);
    publish_init(gl);
    loop_timer_start(gl->loop, &gl->tick, TICK_MS);
    loop_timer_start(gl->loop, &gl->trim, TRIM_MS);
    return SOTTO_OK;
}

enum sotto_err gateway_create(const struct gateway_options *options, struct gateway **gateway_out)
{
    SOTTO_ASSERT(options->loops_count >= 1 && options->loops_count <= GATEWAY_LOOPS_MAX);
    struct gateway *g = sotto_zalloc(sizeof(*g));
    g->services = options->services;
    g->operations = options->operations;
    g->options = *options;
    pthread_mutex_init(&g->mutex, NULL);
    pthread_mutex_init(&g->settings_mutex, NULL);
    map_init(&g->addresses);
    gateway_set_limits(g, options->limits);
    g->registry = registry_create();
    g->limiter = limiter_create(LIMITER_SETS, random_u64(g->services->random));
    g->peers = peers_create(GATEWAY_PEERS_MAX);
    g->op_index = op_index_create(options->operations);
    gateway_metrics_init(&g->metrics, g->services->metrics);
    publish_gateway_init(g);
    refusals_init(g);
    g->loops = sotto_zalloc(options->loops_count * sizeof(*g->loops));
    enum sotto_err err = SOTTO_OK;
    for (unsigned i = 0; i < options->loops_count && err == SOTTO_OK; i++) {
        err = loop_state_init(g, &g->loops[i], (uint8_t)i);
        if (err == SOTTO_OK) g->loops_count++;
    }
    if (err != SOTTO_OK) {
        gateway_destroy(&g);
        return err;
    }
    *gateway_out = g;
    return SOTTO_OK;
}

enum sotto_err gateway_listen(struct gateway *g, const char *host, uint16_t port, struct tls_context *tls,
                              struct buffer *why_out)
{
    size_t at = g->listeners_count;
    if (at == GATEWAY_LISTENERS_MAX) {
        buffer_printf(why_out, "at most %d addresses can be listened on", GATEWAY_LISTENERS_MAX);
        return SOTTO_ERR_FULL;
    }
    g->listener_tls[at] = tls != NULL;
    for (size_t i = 0; i < g->loops_count; i++) {
        struct gateway_loop *gl = &g->loops[i];
        enum sotto_err err = listener_create(gl->loop, host, port, tls, conn_accept, gl, &gl->listeners[at]);
        if (err != SOTTO_OK) {
            const char *what = err == SOTTO_ERR_EXISTS    ? "the address is in use"
                               : err == SOTTO_ERR_INVALID ? "that is no address of this machine"
                                                          : "the system refused";
            buffer_printf(why_out, "cannot listen on %s port %u: %s", host, (unsigned)port, what);
            for (size_t k = 0; k < i; k++) listener_destroy(&g->loops[k].listeners[at]);
            return err;
        }
        port = listener_port(gl->listeners[at]);
    }
    g->listeners_count++;
    return SOTTO_OK;
}

uint16_t gateway_port(const struct gateway *g)
{
    return g->listeners_count > 0 ? listener_port(g->loops[0].listeners[0]) : 0;
}

static void *loop_thread(void *arg)
{
    struct gateway_loop *gl = arg;
    sched_prompt();
    loop_run(gl->loop);
    return NULL;
}

void gateway_start(struct gateway *g)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
    for (size_t i = 0; i < g->loops_count; i++) {
        struct gateway_loop *gl = &g->loops[i];
        char name[16];
        snprintf(name, sizeof(name), "loop-%u", (unsigned)i);
        int err = pthread_create(&gl->thread, NULL, loop_thread, gl);
        SOTTO_ASSERT(err == 0);
        pthread_setname_np(gl->thread, name);
        gl->started = true;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- Orders to the loops ------------------------------------------------- */

struct order {
    struct mail mail;
    struct tls_context *tls;
    atomic_size_t *left;
};

static void order_all(struct gateway *g, void (*deliver)(struct mail *mail, void *receiver), struct tls_context *tls)
{
    struct order orders[GATEWAY_LOOPS_MAX];
    atomic_size_t left;
    atomic_init(&left, 0);
    for (size_t i = 0; i < g->loops_count; i++) {
        orders[i] = (struct order){.mail.deliver = deliver, .tls = tls, .left = &left};
        if (!g->loops[i].started) {
            deliver(&orders[i].mail, g->loops[i].loop);
            continue;
        }
        atomic_fetch_add(&left, 1);
        gateway_post(&g->loops[i], &orders[i].mail);
    }
    while (atomic_load(&left) > 0) sleep_ms(1);
}

static void order_done(struct order *o, struct gateway_loop *gl)
{
    if (gl->started) atomic_fetch_sub(o->left, 1);
}

static void tls_ordered(struct mail *mail, void *receiver)
{
    struct order *o = (struct order *)(void *)mail;
    struct gateway_loop *gl = loop_owner(receiver);
    for (size_t i = 0; i < gl->gateway->listeners_count; i++)
        if (gl->gateway->listener_tls[i] && gl->listeners[i] != NULL) listener_set_tls(gl->listeners[i], o->tls);
    order_done(o, gl);
}

void gateway_set_tls(struct gateway *g, struct tls_context *tls)
{
    if (tls != NULL) order_all(g, tls_ordered, tls);
}

/* ---- Draining ------------------------------------------------------------ */

static void drain_conn(struct conn *c, void *ctx)
{
    (void)ctx;
    if (!conn_alive(c)) return;
    if (conn_calls(c) > 0) return; /* an answer is on its way */
    conn_close(c, c->session.user != NULL ? CLOSE_RECONNECT : c->kind == CONN_HTTP ? 0 : WS_CLOSE_GOING_AWAY);
}

static void drain_fired(struct loop_timer *t, struct loop *loop)
{
    struct gateway_loop *gl = loop_owner(loop);
    conn_each(gl, drain_conn, NULL);
    loop_timer_start(loop, t, DRAIN_TICK_MS);
}

static void drain_ordered(struct mail *mail, void *receiver)
{
    struct gateway_loop *gl = loop_owner(receiver);
    for (size_t i = 0; i < GATEWAY_LISTENERS_MAX; i++) listener_destroy(&gl->listeners[i]);
    loop_timer_stop(gl->loop, &gl->tick);
    gl->tick.fired = drain_fired;
    drain_fired(&gl->tick, gl->loop);
    order_done((struct order *)(void *)mail, gl);
}

void gateway_drain(struct gateway *g, uint64_t timeout_ms)
{
    uint64_t start = clock_monotonic_ms(g->services->clock);
    atomic_store(&g->draining, true);
    order_all(g, drain_ordered, NULL);
    while (atomic_load(&g->connections) > 0 && clock_monotonic_ms(g->services->clock) - start < timeout_ms) {
        sleep_ms(5);
        if (!g->loops[0].started) break;
    }
    presence_turn_now(g);
}

/* ---- The end ------------------------------------------------------------- */

static void abort_conn(struct conn *c, void *ctx)
{
    (void)ctx;
    if (c->stream != NULL) conn_abort(c);
}

void gateway_stop(struct gateway *g)
{
    for (size_t i = 0; i < g->loops_count; i++)
        if (g->loops[i].started) loop_stop(g->loops[i].loop);
    for (size_t i = 0; i < g->loops_count; i++) {
        struct gateway_loop *gl = &g->loops[i];
        if (!gl->started) continue;
        pthread_join(gl->thread, NULL);
        gl->started = false;
    }
    /* What is left is ended on this thread: connections, and the answers that
     * the engine and the workers gave before they stopped. */
    for (size_t i = 0; i < g->loops_count; i++) {
        struct gateway_loop *gl = &g->loops[i];
        for (size_t k = 0; k < GATEWAY_LISTENERS_MAX; k++) listener_destroy(&gl->listeners[k]);
        loop_timer_stop(gl->loop, &gl->tick);
        for (int turn = 0; turn < STOP_TURNS_MAX; turn++) {
            conn_each(gl, abort_conn, NULL);
            loop_turn(gl->loop, 0);
        }
        loop_timer_stop(gl->loop, &gl->trim);
        loop_timer_stop(gl->loop, &gl->due_timer);
    }
}

void gateway_destroy(struct gateway **gateway)
{
    struct gateway *g = *gateway;
    if (g == NULL) return;
    *gateway = NULL;
    gateway_stop(g);
    for (size_t i = 0; i < g->loops_count; i++) {
        struct gateway_loop *gl = &g->loops[i];
        loop_destroy(&gl->loop);
        calls_deinit(gl);
        pool_deinit(&gl->submissions);
        conn_slab_deinit(gl);
        slab_deinit(&gl->decoders);
        ws_deflate_destroy(&gl->deflate);
        buffer_deinit(&gl->texts.own);
        buffer_deinit(&gl->texts.other);
        buffer_deinit(&gl->texts.single);
        buffer_deinit(&gl->record);
    }
    free(g->loops);
    registry_destroy(&g->registry);
    limiter_destroy(&g->limiter);
    peers_destroy(&g->peers);
    op_index_destroy(&g->op_index);
    publish_gateway_deinit(g);
    refusals_deinit(g);
    map_deinit(&g->addresses);
    while (g->limits_versions != NULL) {
        struct limits_version *v = g->limits_versions;
        g->limits_versions = v->older;
        free(v);
    }
    pthread_mutex_destroy(&g->settings_mutex);
    pthread_mutex_destroy(&g->mutex);
    free(g);
}
