/* A whole server in the process, but for main: real loops, engine, RocksDB,
 * SQLite; and a small blocking client of it. */
#ifndef SOTTO_TEST_UNIT_API_WORLD_H
#define SOTTO_TEST_UNIT_API_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/api.h"
#include "base/text.h"
#include "gateway/gateway.h"
#include "net/websocket.h"
#include "store/store_rocksdb.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct world {
    char folder[64];
    struct store *store;
    struct directory *directory;
    struct engine *engine;
    struct workers *workers;
    struct metrics *metrics;
    struct log *log;
    struct services services;
    struct gateway_limits limits;
    struct gateway *gateway;
    uint64_t retention_days;
    struct clock_source clock; /* the system's, the wall's later_ms ahead */
    struct clock_source engine_clock; /* both of them: for the engine the time has passed */
    _Atomic uint64_t later_ms;
};

static inline uint64_t world_wall_ms(void *ctx)
{
    struct world *w = ctx;
    return clock_wall_ms(clock_system()) + atomic_load(&w->later_ms);
}

static inline uint64_t world_monotonic_us(void *ctx)
{
    (void)ctx;
    return clock_monotonic_us(clock_system());
}

static inline uint64_t world_engine_us(void *ctx)
{
    struct world *w = ctx;
    return clock_monotonic_us(clock_system()) + atomic_load(&w->later_ms) * 1000;
}

static inline void world_publish(void *ctx, struct event *const *events, size_t count)
{
    struct world *w = ctx;
    gateway_publish(w->gateway, events, count);
}

/* On the data in w->folder, which world_close leaves. */
static inline void world_open(struct world *w, void (*tune)(struct gateway_limits *))
{
    char path[128];
    struct buffer why;
    buffer_init(&why, 4096);
    w->clock = (struct clock_source){.wall_ms = world_wall_ms, .monotonic_us = world_monotonic_us, .ctx = w};
    w->engine_clock = (struct clock_source){.wall_ms = world_wall_ms, .monotonic_us = world_engine_us, .ctx = w};
    w->metrics = metrics_create();
    w->log = log_create(STDERR_FILENO, LOG_WARN, false, clock_system());
    snprintf(path, sizeof(path), "%s/store", w->folder);
    assert_int_equal(store_rocksdb_open(&(struct store_rocksdb_options){
        .directory = path, .block_cache_bytes = 1 << 20, .write_buffer_bytes = 1 << 20}, &why, &w->store), SOTTO_OK);
    snprintf(path, sizeof(path), "%s/directory.db", w->folder);
    assert_int_equal(directory_open(&(struct directory_options){
        .file = path, .clock = &w->clock, .random = random_system(), .metrics = w->metrics,
        .registration = REGISTRATION_OPEN, .cache_bytes = 1 << 20, .argon2_ops = 1, .argon2_mem_bytes = 8192,
    }, &why, &w->directory), SOTTO_OK);
    assert_int_equal(engine_create(&(struct engine_options){
        .store = w->store, .clock = &w->engine_clock, .random = random_system(), .log = w->log, .metrics = w->metrics,
        .publish = world_publish, .publish_ctx = w, .cache_conversations = 1000, .housekeeping_ms = 1000,
        .retention_days = w->retention_days,
    }, &why, &w->engine), SOTTO_OK);
    w->workers = workers_create(2, SOTTO_WORK_QUEUE_MAX);
    w->services = (struct services){.directory = w->directory, .engine = w->engine, .workers = w->workers,
                                    .clock = &w->clock, .random = random_system(), .log = w->log,
                                    .metrics = w->metrics, .registration = REGISTRATION_OPEN,
                                    .server_name = "test", .version = "0"};
    gateway_limits_default(&w->limits);
    w->limits.address = w->limits.user = w->limits.device = w->limits.pair = (struct rate){0};
    if (tune != NULL) tune(&w->limits);
    assert_int_equal(gateway_create(&(struct gateway_options){
        .services = &w->services, .limits = &w->limits, .operations = api_operations, .loops_count = 2}, &w->gateway),
        SOTTO_OK);
    directory_on_change(w->directory, gateway_directory_change, w->gateway);
    assert_int_equal(gateway_listen(w->gateway, "127.0.0.1", 0, NULL, &why), SOTTO_OK);
    engine_start(w->engine);
    gateway_start(w->gateway);
    buffer_deinit(&why);
}

static inline void world_start_keeping(struct world *w, uint64_t days, void (*tune)(struct gateway_limits *))
{
    memset(w, 0, sizeof(*w));
    w->retention_days = days;
    strcpy(w->folder, "/tmp/sotto-world-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    world_open(w, tune);
}

static inline void world_start(struct world *w, void (*tune)(struct gateway_limits *)) { world_start_keeping(w, 0, tune); }

static inline void world_close(struct world *w, uint64_t drain_ms)
{
    gateway_drain(w->gateway, drain_ms);
    engine_stop(w->engine);
    workers_destroy(&w->workers);
    gateway_stop(w->gateway);
    gateway_destroy(&w->gateway);
    engine_destroy(&w->engine);
    directory_close(&w->directory);
    store_close(&w->store);
    log_destroy(&w->log);
    metrics_destroy(&w->metrics);
}

static inline void world_stop(struct world *w)
{
    char command[128];
    world_close(w, 3000);
    snprintf(command, sizeof(command), "rm -rf '%s'", w->folder);
    assert_int_equal(system(command), 0);
}

/* ---- A client ------------------------------------------------------------ */

enum { PEER_MEMORY = 1 << 20, PEER_WAIT_MS = 20000 };
struct peer {
    int fd;
    struct ws_decoder *decoder;
    uint8_t bytes[PEER_MEMORY];
    size_t at, len;
    char text[PEER_MEMORY]; /* the last event */
    uint16_t closed;          /* close code once the server said one */
};

static inline void peer_open(struct peer *c, struct world *w, int receive_buffer)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(gateway_port(w->gateway)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    c->at = c->len = 0;
    c->closed = 0;
    c->decoder = NULL;
    if (receive_buffer != 0) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    assert_int_equal(connect(c->fd, (struct sockaddr *)&to, sizeof(to)), 0);
}

static inline void peer_write(struct peer *c, struct slice s)
{
    while (s.len > 0) {
        ssize_t n = send(c->fd, s.data, s.len, MSG_NOSIGNAL);
        assert_true(n > 0);
        s.data += n;
        s.len -= (size_t)n;
    }
}

/* False: the server has ended the connection. */
static inline bool peer_fill(struct peer *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    if (c->at == c->len) c->at = c->len = 0;
    if (poll(&p, 1, PEER_WAIT_MS) != 1) fail_msg("nothing came in %d ms", PEER_WAIT_MS);
    assert_true(c->len < sizeof(c->bytes));
    ssize_t n = recv(c->fd, c->bytes + c->len, sizeof(c->bytes) - c->len, 0);
    if (n <= 0) return false;
    c->len += (size_t)n;
    return true;
}

/* One REST request on a connection of its own; the body is in c->text. */
static inline unsigned peer_rest(struct peer *c, struct world *w, const char *method, const char *path, const char *token,
                            const char *body)
{
    char head[512];
    unsigned status = 0;
    peer_open(c, w, 0);
    int len = snprintf(head, sizeof(head), "%s /api/v1%s HTTP/1.1\r\nHost: t\r\nConnection: close\r\n%s%s%s"
                       "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n", method, path,
                       token != NULL ? "Authorization: Bearer " : "", token != NULL ? token : "",
                       token != NULL ? "\r\n" : "", strlen(body));
    peer_write(c, slice_of(head, (size_t)len));
    peer_write(c, slice_str(body));
    while (peer_fill(c)) {}
    c->bytes[c->len] = '\0';
    close(c->fd);
    assert_int_equal(sscanf((char *)c->bytes, "HTTP/1.1 %u", &status), 1);
    const char *content = strstr((char *)c->bytes, "\r\n\r\n");
    assert_non_null(content);
    strcpy(c->text, content + 4);
    return status;
}

static inline void peer_send(struct peer *c, const char *text)
{
    struct buffer b;
    buffer_init(&b, PEER_MEMORY);
    ws_write_frame(&b, WS_TEXT, slice_str(text), random_system());
    peer_write(c, buffer_slice(&b));
    buffer_deinit(&b);
}

/* The next event into c->text. False: closed, with c->closed. */
static inline bool peer_read(struct peer *c)
{
    for (;;) {
        struct ws_message m;
        size_t used = 0;
        uint16_t code = 0;
        enum ws_result r = WS_MORE;
        if (c->at < c->len) r = ws_decode(c->decoder, NULL, c->bytes + c->at, c->len - c->at, &used, &m, &code);
        assert_int_not_equal(r, WS_BAD);
        if (r == WS_MORE) {
            c->at = c->len;
            if (!peer_fill(c)) return false;
            continue;
        }
        c->at += used;
        if (m.opcode == WS_CLOSE) {
            c->closed = m.close_code;
            return false;
        }
        if (m.opcode != WS_TEXT) continue;
        memcpy(c->text, m.payload.data, m.payload.len);
        c->text[m.payload.len] = '\0';
        return true;
    }
}

/* Value of a member, found anywhere in the last event. */
static inline const char *peer_value(const struct peer *c, const char *name, char *out, size_t size)
{
    char key[64];
    snprintf(key, sizeof(key), "\"%s\":", name);
    const char *at = strstr(c->text, key);
    if (at == NULL) fail_msg("no %s in %s", name, c->text);
    at += strlen(key);
    if (*at == '"') at++;
    size_t len = strcspn(at, "\",}]");
    assert_true(len < size);
    memcpy(out, at, len);
    out[len] = '\0';
    return out;
}

static inline bool peer_is(const struct peer *c, const char *type)
{
    char want[64];
    snprintf(want, sizeof(want), "{\"type\":\"%s\"", type);
    return strncmp(c->text, want, strlen(want)) == 0;
}

static inline void peer_expect(struct peer *c, const char *type)
{
    do {
        if (!peer_read(c)) fail_msg("closed %u while waiting for %s", c->closed, type);
    } while (!peer_is(c, type));
}

static inline void peer_upgrade(struct peer *c, struct world *w, int receive_buffer)
{
    struct buffer b;
    char key[25];
    buffer_init(&b, 4096);
    peer_open(c, w, receive_buffer);
    ws_request(&b, "test", "/api/v1/ws", false, random_system(), key);
    peer_write(c, buffer_slice(&b));
    buffer_deinit(&b);
    char *end = NULL;
    do {
        assert_true(peer_fill(c));
        end = memmem(c->bytes, c->len, "\r\n\r\n", 4);
    } while (end == NULL);
    assert_memory_equal(c->bytes, "HTTP/1.1 101", 12);
    c->at = (size_t)((uint8_t *)end + 4 - c->bytes);
    assert_int_equal(ws_decoder_create(NULL, false, false, PEER_MEMORY, &c->decoder), SOTTO_OK);
}

/* cursor NULL: none. Returns when the client is up to date. */
static inline void peer_hello(struct peer *c, const char *token, const char *cursor)
{
    char text[512];
    snprintf(text, sizeof(text), "{\"type\":\"hello\",\"token\":\"%s\"%s%s%s}", token,
             cursor != NULL ? ",\"cursor\":\"" : "", cursor != NULL ? cursor : "", cursor != NULL ? "\"" : "");
    peer_send(c, text);
    peer_expect(c, "hello");
}

static inline void peer_close(struct peer *c)
{
    ws_decoder_destroy(&c->decoder);
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
}

struct person {
    char user[40], token[128];
};
static inline struct person person_of(struct peer *c, struct world *w, const char *path, const char *name)
{
    char body[256];
    struct person p;
    snprintf(body, sizeof(body), "{\"username\":\"%s\",\"password\":\"correct horse\",\"deviceName\":\"d\",\"platform\":\"t\"}", name);
    assert_int_equal(peer_rest(c, w, "POST", path, NULL, body), 200);
    peer_value(c, "userId", p.user, sizeof(p.user));
    peer_value(c, "token", p.token, sizeof(p.token));
    return p;
}

static inline void peer_message(struct peer *c, const char *to, int number, size_t payload_len)
{
    char *text = malloc(payload_len + 512);
    int len = sprintf(text, "{\"type\":\"message.send\",\"to\":\"%s\",\"clientMsgId\":\"m%d\",\"messageType\":\"t\",\"payload\":\"",
                      to, number);
    memset(text + len, 'A', payload_len / 4 * 4);
    strcpy(text + len + payload_len / 4 * 4, "\"}");
    peer_send(c, text);
    free(text);
}

#endif
