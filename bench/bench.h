/* sotto-bench: a load generator for sottod.
 *
 * One thread, one loop (net/loop.h), thousands of connections (net/stream.h,
 * net/websocket.h). Of what the server sends only the few members that a
 * scenario needs are looked for in the text, so that the generator costs less
 * than what it measures.
 *
 * A run starts its own server on an empty data directory, pins it to one core and
 * the generator to another, and takes processor time and memory of the server
 * from the kernel. docs/performance.md says what the figures mean.
 */
#ifndef SOTTO_BENCH_BENCH_H
#define SOTTO_BENCH_BENCH_H

#include "base/id.h"
#include "base/random.h"
#include "net/stream.h"
#include "wire/json.h"

#include <stdio.h>
#include <sys/types.h>

enum {
    BENCH_PATH_MAX = 1024,
    BENCH_TOKEN_MAX = 96,
    BENCH_CURSOR_MAX = 128,
    BENCH_EXTRA_MAX = 64,
    BENCH_TTL_MS = 120000, /* no step of a run may take longer */
    BENCH_STRIDE = 7919    /* at a fixed rate neighbours in time are far apart in memory */
};

struct options {
    const char *url;          /* NULL: own server */
    const char *server_binary;
    const char *data_parent;
    int server_cpu, generator_cpu; /* -1: not pinned */
    uint64_t pairs, inflight, seconds, warmup, payload, relay, rate, connections, devices, messages, readers, runs;
    bool inflight_given;
    char *extra[BENCH_EXTRA_MAX]; /* options for sottod */
    int extra_count;
};

/* Logarithmic histogram of microseconds: 64 steps per doubling, 1.1 % wide. */
enum { HISTOGRAM_STEPS = 64, HISTOGRAM_SIZE = 40 * HISTOGRAM_STEPS };
struct histogram_us {
    uint64_t counts[HISTOGRAM_SIZE];
    uint64_t total;
};
void histogram_us_add(struct histogram_us *h, uint64_t us);
/* Upper end of the bucket that holds the share (0..1), in milliseconds. */
double histogram_us_ms(const struct histogram_us *h, double share);

/* ---- The server (server.c) --------------------------------------------- */

struct server {
    pid_t pid;                /* 0: not ours */
    char data[BENCH_PATH_MAX];
    char log[BENCH_PATH_MAX + 16];
    char host[256];
    uint16_t port;
};
struct usage {
    uint64_t cpu_us;          /* user and system, all threads */
    uint64_t anonymous_bytes;
};

/* args: options for this scenario, ended by NULL. False: said on stderr. */
bool server_start(struct server *s, const struct options *o, const char *const *args);
/* Ends the process (TERM, after ten seconds KILL) and waits for it; keeps the data. */
void server_halt(struct server *s);
/* Starts it again on the same data. */
bool server_again(struct server *s, const struct options *o, const char *const *args);
/* Halts and removes the data directory. */
void server_stop(struct server *s);
bool server_usage(const struct server *s, struct usage *out);
void pin_to_cpu(pid_t pid, int cpu);

/* ---- Accounts over REST (accounts.c) ----------------------------------- */

struct account {
    struct id user;
    uint64_t device;
    char username[40];
    char token[BENCH_TOKEN_MAX];
};
struct bench {
    const struct options *options;
    struct loop *loop;
    struct server server;
    const struct random_source *mask;
    uint64_t errors;          /* answers that were errors */
    uint64_t protocol_faults; /* repeats, holes, wrong order */
    char first_error[512];
};

/* Makes `users` accounts with `devices` devices each, many at a time. out has
 * users * devices entries, the devices of one user side by side. */
bool accounts_make(struct bench *b, size_t users, size_t devices, struct account *out);
/* Signs in (and out) for `seconds`, `parallel` at a time. */
struct login_result {
    uint64_t count;
    double seconds;
    struct histogram_us latency;
};
bool accounts_login_load(struct bench *b, struct account *accounts, size_t count, size_t parallel,
                         uint64_t seconds, struct login_result *out);

/* ---- Connections (conn.c) ---------------------------------------------- */

enum conn_state { CONN_OFF, CONN_OPENING, CONN_SYNCING, CONN_LIVE, CONN_CLOSED };
struct ws_decoder;
struct http_parser;
struct conn {
    struct bench *bench;
    struct stream *stream;
    struct http_parser *parser;
    struct ws_decoder *decoder;
    const struct account *account;
    /* One text message. NULL: ignored. */
    void (*message)(struct conn *c, struct slice text);
    void *owner;
    char *cursor;             /* BENCH_CURSOR_MAX bytes that follow the events; NULL: not kept */
    enum conn_state state;
    unsigned close_code;
    char key[25];
};
/* Connects and says hello (with *cursor when it is not empty). */
bool conn_open(struct bench *b, struct conn *c, const struct account *a);
void conn_send(struct conn *c, struct slice text);
/* Appends to the output of this turn without a copy in between. */
void conn_close(struct conn *c);
/* Turns the loop until `done` or the time is up (said on stderr with `what`). */
bool bench_wait(struct bench *b, bool (*done)(void *ctx), void *ctx, uint64_t timeout_ms, const char *what);
/* Opens all, at most `window` handshakes at a time, and waits until each is live. */
bool conns_open(struct bench *b, struct conn *conns, size_t count, const struct account *accounts, size_t window);
/* Members of a JSON text found by name; good for what our server writes. */
uint64_t text_u64(struct slice text, const char *quoted_name);
struct slice text_string(struct slice text, const char *quoted_name);
bool text_is(struct slice text, const char *type);
void count_error(struct bench *b, struct slice text);
uint64_t bench_now_us(void);

/* ---- Messages (sender.c) ------------------------------------------------ */

/* One message.send frame for `to`, with a fresh clientMsgId and payload each time. */
struct send_template {
    struct buffer text;
    size_t id_at, payload_at; /* in the text */
    size_t payload_len;       /* bytes */
    uint8_t *payload;
    struct random_seeded random;
};
void send_template_init(struct send_template *t, struct id to, size_t payload_len, uint64_t salt);
void send_template_deinit(struct send_template *t);
void send_message(struct conn *c, struct send_template *t);

/* ---- Results (report.c) -------------------------------------------------- */

struct report {
    const char *scenario;
    uint64_t msgs;
    double seconds;
    uint64_t cpu_us;          /* of the server, in the measured time */
    const struct histogram_us *latency; /* NULL: none */
    int64_t user_bytes_per_conn;  /* -1: does not apply */
    int64_t lost;                 /* -1: does not apply */
    /* Parameters and further figures, as JSON members ("\"pairs\":500"). */
    struct buffer extra;
};
void report_init(struct report *r, const char *scenario);
void report_u64(struct report *r, const char *name, uint64_t v);
void report_double(struct report *r, const char *name, double v);
/* One JSON line on stdout. */
void report_print(struct bench *b, struct report *r);

bool scenario_pairs(struct bench *b);
bool scenario_relay(struct bench *b);
bool scenario_open(struct bench *b);
bool scenario_idle(struct bench *b);
bool scenario_login(struct bench *b);
bool scenario_sync(struct bench *b);
bool scenario_burst(struct bench *b);

/* Options that switch limits off and make accounts cheap to set up. */
extern const char *const bench_open_args[];

#endif
