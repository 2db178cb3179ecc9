/* Loading the bare relay; see relay.h. */
#include "relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RING = 1024, EVENTS = 256, WARMUP_MS = 500, IDLE_MS = 5000 };

struct end {
    struct relay_end wire;
    uint64_t seen;           /* frames received, in order */
};
struct couple {
    struct end sender, receiver;
    uint64_t started;
    uint64_t at_us[RING];
};
struct relay_load {
    size_t count, send_len, new_len;
    uint64_t inflight;
    bool sending, measuring;
    struct couple *couples;
    struct couple **due;     /* may send at the end of this turn */
    size_t due_count;
    int poll;
    uint8_t *scratch;
    struct relay_result *result;
};

static void couple_due(struct relay_load *l, struct couple *c)
{
    if (c->sender.wire.due) return;
    c->sender.wire.due = true;
    l->due[l->due_count++] = c;
}

static uint64_t couple_done(const struct couple *c)
{
    return c->sender.seen < c->receiver.seen ? c->sender.seen : c->receiver.seen;
}

static void frame_seen(struct relay_load *l, struct couple *c, struct end *e, uint64_t number)
{
    uint64_t done = couple_done(c);
    if (number != e->seen + 1) l->result->faults++;
    e->seen++;
    if (l->measuring && e == &c->sender) histogram_us_add(&l->result->latency, bench_now_us() - c->at_us[e->seen % RING]);
    if (couple_done(c) == done) return;
    if (l->measuring) l->result->msgs++;
    couple_due(l, c);
}

static bool on_ready(struct relay_load *l, struct couple *c, struct end *e, uint32_t events)
{
    size_t frame_len = e == &c->sender ? (size_t)RELAY_SENT_LEN : l->new_len;
    if ((events & EPOLLOUT) && e->wire.count > 0) couple_due(l, c);
    if (!(events & ~(uint32_t)EPOLLOUT)) return true;
    for (ssize_t n = RELAY_SCRATCH; n == RELAY_SCRATCH;) {
        uint64_t number;
        n = recv(e->wire.fd, l->scratch, RELAY_SCRATCH, 0);
        if (n <= 0) return n < 0 && errno == EAGAIN;
        struct slice bytes = slice_of(l->scratch, (size_t)n);
        while (relay_next(&e->wire, frame_len, &bytes, &number)) frame_seen(l, c, e, number);
    }
    return true;
}

static bool send_due(struct relay_load *l)
{
    bool ok = true;
    for (size_t i = 0; i < l->due_count; i++) {
        struct couple *c = l->due[i];
        struct relay_end *wire = &c->sender.wire;
        wire->due = false;
        if (wire->count == 0) wire->first = c->started + 1;
        for (; l->sending && c->started - couple_done(c) < l->inflight; wire->count++)
            c->at_us[++c->started % RING] = bench_now_us();
        ok = relay_write(wire, l->send_len, l->scratch) && ok;
    }
    l->due_count = 0;
    return ok;
}

/* False when the relay is gone, or nothing has happened for IDLE_MS. */
static bool load_turn(struct relay_load *l)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(l->poll, events, EVENTS, IDLE_MS);
    bool ok = n > 0;
    for (int i = 0; i < n && ok; i++) {
        struct couple *c = &l->couples[events[i].data.u32 / 2];
        ok = on_ready(l, c, events[i].data.u32 % 2 == 0 ? &c->sender : &c->receiver, events[i].events);
    }
    return ok && send_due(l);
}

static bool load_connect(struct relay_load *l, const struct sockaddr_in *address)
{
    int one = 1;
    for (uint32_t i = 0; i < 2 * l->count; i++) {
        struct relay_end *e = i % 2 == 0 ? &l->couples[i / 2].sender.wire : &l->couples[i / 2].receiver.wire;
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = i};
        e->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (e->fd < 0 || connect(e->fd, (const struct sockaddr *)address, sizeof *address) != 0 ||
            fcntl(e->fd, F_SETFL, O_NONBLOCK) != 0 || epoll_ctl(l->poll, EPOLL_CTL_ADD, e->fd, &event) != 0) {
            (void)fprintf(stderr, "relay: connection %u: %s\n", (unsigned)i + 1, strerror(errno));
            return false;
        }
        (void)setsockopt(e->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    return true;
}

static uint64_t own_cpu_us(void)
{
    struct timespec t;
    return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0
               ? (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000 : 0;
}

static bool load_run(struct relay_load *l, const struct server *s, uint64_t warmup_ms, uint64_t seconds)
{
    struct usage before = {0}, after = {0};
    bool ok = true;
    l->sending = true;
    for (size_t i = 0; i < l->count; i++) couple_due(l, &l->couples[i]);
    ok = send_due(l);
    for (uint64_t end = bench_now_us() + warmup_ms * 1000; ok && bench_now_us() < end;) ok = load_turn(l);
    uint64_t begin = bench_now_us(), own = own_cpu_us();
    ok = ok && server_usage(s, &before);
    l->measuring = true;
    while (ok && bench_now_us() < begin + seconds * 1000000) ok = load_turn(l);
    l->measuring = l->sending = false;
    l->result->seconds = (double)(bench_now_us() - begin) / 1e6;
    l->result->generator_us = own_cpu_us() - own;
    ok = ok && server_usage(s, &after) && after.cpu_us >= before.cpu_us;
    if (ok) l->result->cpu_us = after.cpu_us - before.cpu_us;
    for (size_t i = 0; i < l->count && ok; i++)
        while (ok && couple_done(&l->couples[i]) < l->couples[i].started) ok = load_turn(l);
    for (size_t i = 0; i < l->count; i++)
        if (l->couples[i].sender.seen > l->couples[i].receiver.seen)
            l->result->lost += l->couples[i].sender.seen - l->couples[i].receiver.seen;
    return ok;
}

static pid_t relay_start(const struct bench *b, int listener)
{
    char path[BENCH_PATH_MAX + 16];
    const struct options *o = b->options;
    const char *parent = b->server.data[0] ? b->server.data : o->data_parent;
    (void)snprintf(path, sizeof path, "%s/relay-XXXXXX", parent);
    pid_t pid = fork();
    if (pid != 0) return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* never outlives the generator */
    pin_to_cpu(0, o->server_cpu);
    int log = mkstemp(path);
    if (log >= 0) (void)unlink(path);
    else (void)fprintf(stderr, "relay: %s: %s; --data takes another directory\n", path, strerror(errno));
    _exit(log >= 0 ? relay_serve(listener, log, (size_t)o->pairs, o->payload) : 1);
}

static int listener_open(struct sockaddr_in *address)
{
    socklen_t len = sizeof *address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd >= 0 && bind(fd, (struct sockaddr *)address, len) == 0 && listen(fd, 4096) == 0 &&
        getsockname(fd, (struct sockaddr *)address, &len) == 0)
        return fd;
    (void)fprintf(stderr, "relay: listening on 127.0.0.1: %s\n", strerror(errno));
    if (fd >= 0) close(fd);
    return -1;
}

static void load_deinit(struct relay_load *l)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->couples[i].sender.wire.fd >= 0) close(l->couples[i].sender.wire.fd);
        if (l->couples[i].receiver.wire.fd >= 0) close(l->couples[i].receiver.wire.fd);
    }
    if (l->poll >= 0) close(l->poll);
    free(l->scratch);
    free(l->couples);
    free(l->due);
}

static void load_init(struct relay_load *l, const struct options *o, uint64_t inflight, struct relay_result *result)
{
    *l = (struct relay_load){.count = (size_t)o->pairs, .inflight = inflight, .result = result,
                             .send_len = RELAY_SEND_EXTRA + relay_base64_len(o->payload),
                             .new_len = RELAY_NEW_EXTRA + relay_base64_len(o->payload),
                             .poll = epoll_create1(EPOLL_CLOEXEC), .scratch = malloc(RELAY_SCRATCH)};
    l->couples = calloc(l->count, sizeof *l->couples);
    l->due = calloc(l->count, sizeof(struct couple *));
    SOTTO_ASSERT(l->couples != NULL && l->due != NULL && l->scratch != NULL);
    memset(l->scratch, 'x', RELAY_SCRATCH);
    for (size_t i = 0; i < l->count; i++) l->couples[i].sender.wire.fd = l->couples[i].receiver.wire.fd = -1;
}

bool relay_measure(const struct bench *b, uint64_t inflight, uint64_t warmup_ms, uint64_t seconds,
                   struct relay_result *out)
{
    const struct options *o = b->options;
    struct sockaddr_in address;
    struct relay_load l;
    *out = (struct relay_result){0};
    if (o->pairs * inflight * (RELAY_SEND_EXTRA + relay_base64_len(o->payload)) > RELAY_INFLIGHT_MAX) {
        (void)fprintf(stderr, "relay: more than %d bytes in flight; lower --pairs, --inflight or --payload, or "
                              "leave it out of `pairs` with --relay 0\n", RELAY_INFLIGHT_MAX);
        return false;
    }
    int listener = listener_open(&address);
    if (listener < 0) return false;
    load_init(&l, o, inflight, out);
    struct server s = {.pid = relay_start(b, listener)};
    bool ok = s.pid > 0 && load_connect(&l, &address) && load_run(&l, &s, warmup_ms, seconds);
    close(listener);
    load_deinit(&l);
    int status = 0;
    if (!ok && s.pid > 0) (void)kill(s.pid, SIGKILL);
    if (s.pid > 0) ok = waitpid(s.pid, &status, 0) == s.pid && status == 0 && ok;
    if (!ok) (void)fprintf(stderr, "relay: it did not run to its end (status %d)\n", status);
    if (out->lost || out->faults)
        (void)fprintf(stderr, "relay: %llu frames lost, %llu out of order\n", (unsigned long long)out->lost,
                      (unsigned long long)out->faults);
    return ok && out->lost == 0 && out->faults == 0;
}

bool scenario_relay(struct bench *b)
{
    const struct options *o = b->options;
    struct relay_result *result = calloc(1, sizeof *result);
    SOTTO_ASSERT(result != NULL);
    bool ok = relay_measure(b, o->inflight, o->warmup * 1000, o->seconds, result);
    struct report r;
    report_init(&r, "relay");
    r.msgs = result->msgs;
    r.seconds = result->seconds;
    r.cpu_us = result->cpu_us;
    r.latency = &result->latency;
    r.lost = (int64_t)result->lost;
    b->protocol_faults = result->faults;
    report_u64(&r, "pairs", o->pairs);
    report_u64(&r, "inflight", o->inflight);
    report_u64(&r, "payload", o->payload);
    if (r.msgs) report_double(&r, "generator_cpu_us_per_msg", (double)result->generator_us / (double)r.msgs);
    report_print(b, &r);
    free(result);
    return ok;
}

bool relay_beside(const struct bench *b, uint64_t inflight, double *cpu_us_per_msg_out)
{
    struct relay_result *result = calloc(1, sizeof *result);
    SOTTO_ASSERT(result != NULL);
    bool ok = relay_measure(b, inflight, WARMUP_MS, b->options->relay, result) && result->msgs > 0;
    if (ok) *cpu_us_per_msg_out = (double)result->cpu_us / (double)result->msgs;
    free(result);
    return ok;
}
