/* A bare relay: the least that any server must do for what `pairs` and `open` measure.
 *
 * Machines differ by half, and one machine from hour to hour. So `pairs` is judged
 * by its ratio to this, and the latencies of `open` beside those of this, taken on the
 * same cores in the same run: frames of the same
 * sizes on plain TCP, one I/O thread, one thread that appends what has arrived to a
 * file and syncs it, then the answer to the sender and the frame to the other. No
 * WebSocket, no JSON, no store, no receipt.
 */
#ifndef SOTTO_BENCH_RELAY_H
#define SOTTO_BENCH_RELAY_H

#include "bench.h"

/* What the frames of `pairs` take on the wire, payload in base64: measured there. */
enum {
    RELAY_SEND_EXTRA = 147, /* message.send, of a client: masked */
    RELAY_NEW_EXTRA = 437,  /* message.new */
    RELAY_SENT_LEN = 261,   /* message.sent */
    RELAY_NUMBER_LEN = 8,   /* every frame begins with its number, big-endian */
    RELAY_SCRATCH = 256 * 1024,   /* what one recv or send moves; more than any frame */
    RELAY_INFLIGHT_MAX = 1 << 29  /* bytes of all pairs together; a batch never holds more */
};
static inline size_t relay_base64_len(uint64_t payload) { return (size_t)((payload + 2) / 3 * 4); }

/* ---- A connection, for both processes (relay_wire.c) --------------------- */

struct relay_end {
    int fd;
    bool due;                /* written to at the end of this turn */
    uint8_t head[RELAY_NUMBER_LEN];
    size_t have;             /* bytes of the frame that is arriving */
    uint64_t first, count;   /* frames to write: first, first + 1, ... */
    size_t gone;             /* bytes of the first that have left */
};
/* Takes bytes up to the end of a frame of frame_len; false: there was no end. */
bool relay_next(struct relay_end *e, size_t frame_len, struct slice *bytes, uint64_t *number_out);
/* Writes what is due with as few calls as it takes, mostly one. What the kernel
 * does not take stays for the next EPOLLOUT. False: the connection is gone. */
bool relay_write(struct relay_end *e, size_t frame_len, uint8_t *scratch);

/* ---- The relay (relay_server.c) ------------------------------------------ */

/* In a process of its own; connections 2n and 2n + 1, in the order accepted, are a
 * pair, and the even one sends. Returns when all are closed: 0, or 1 when it had to
 * stop before (said on stderr). */
int relay_serve(int listener, int log, size_t pairs, uint64_t payload);

/* ---- Its load (relay.c) --------------------------------------------------- */

struct relay_result {
    uint64_t msgs, cpu_us, generator_us, lost, faults;
    double seconds;
    struct histogram_us latency;
};
/* inflight: closed loop, as in `pairs`; 0: `rate` a second at fixed times, as in `open`. */
struct relay_plan {
    uint64_t inflight, rate, warmup_ms, seconds;
};
/* Starts one, loads it and ends it. False: said on stderr. */
bool relay_measure(const struct bench *b, struct relay_plan plan, struct relay_result *out);
/* The same for --relay seconds, to stand beside the server's figures. NULL when it is
 * not wanted, or the server is not ours; otherwise to be freed. */
bool relay_beside(const struct bench *b, uint64_t inflight, uint64_t rate, struct relay_result **result_out);

#endif
