/* `idle` and `login`: what a connection costs that does nothing, and signing in. */
#include "bench.h"

#include "base/limits.h"

#include <stdlib.h>
#include <unistd.h>

static bool all_closed(void *ctx)
{
    struct conn **range = ctx; /* first and one past the last */
    for (const struct conn *c = range[0]; c < range[1]; c++)
        if (c->stream) return false;
    return true;
}

static void settle(struct bench *b, uint64_t ms)
{
    uint64_t until = bench_now_us() + ms * 1000;
    while (bench_now_us() < until) loop_turn(b->loop, 10);
}

/* The devices are made first; then the server is started afresh, so that what
 * making them left in its heap hides nothing. */
bool scenario_idle(struct bench *b)
{
    const struct options *o = b->options;
    size_t count = (size_t)o->connections, devices = (size_t)o->devices;
    size_t users = (count + devices - 1) / devices;
    struct account *accounts = calloc(users * devices, sizeof *accounts);
    struct conn *conns = calloc(count, sizeof *conns);
    SOTTO_ASSERT(accounts && conns);
    struct usage before = {0}, after = {0};
    bool ok = accounts_make(b, users, devices, accounts);
    if (ok && b->server.pid) {
        server_halt(&b->server);
        ok = server_again(&b->server, o, bench_open_args);
    }
    if (ok) {
        struct report r;
        report_init(&r, "idle");
        settle(b, 1000);
        (void)server_usage(&b->server, &before);
        uint64_t begin = bench_now_us();
        ok = conns_open(b, conns, count, accounts, 256);
        r.seconds = (double)(bench_now_us() - begin) / 1e6;
        settle(b, 2000);
        if (server_usage(&b->server, &after)) {
            double grown = (double)after.anonymous_bytes - (double)before.anonymous_bytes;
            r.user_bytes_per_conn = grown > 0 ? (int64_t)(grown / (double)count) : 0;
            report_double(&r, "connect_cpu_us", (double)(after.cpu_us - before.cpu_us) / (double)count);
        }
        report_u64(&r, "connections", count);
        report_u64(&r, "devices", devices);
        report_double(&r, "connects_per_s", (double)count / r.seconds);
        if (ok) report_print(b, &r);
        else buffer_deinit(&r.extra);
    }
    for (size_t i = 0; i < count; i++) conn_close(&conns[i]);
    struct conn *range[2] = {conns, conns + count};
    (void)bench_wait(b, all_closed, range, 30000, "closing connections");
    free(conns);
    free(accounts);
    return ok;
}

bool scenario_login(struct bench *b)
{
    const struct options *o = b->options;
    enum { USERS = 64 };
    struct account accounts[USERS];
    struct login_result result;
    struct usage before = {0}, after = {0};
    bool ok = accounts_make(b, USERS, 1, accounts);
    if (!ok) return false;
    (void)server_usage(&b->server, &before);
    ok = accounts_login_load(b, accounts, USERS, 8, o->seconds, &result);
    struct report r;
    report_init(&r, "login");
    if (server_usage(&b->server, &after)) r.cpu_us = after.cpu_us - before.cpu_us;
    r.msgs = result.count;
    r.seconds = result.seconds;
    r.latency = &result.latency;
    report_u64(&r, "parallel", 8);
    report_print(b, &r);
    return ok;
}
