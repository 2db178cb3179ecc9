/* A bare relay: the least that any server must do for what `pairs` measures.
 *
 * Machines differ by half, and one machine from hour to hour. So `pairs` is judged
 * by its ratio to this, taken on the same cores in the same run: frames of the same
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
    RELAY_NUMBER_LEN = 8    /* every frame begins with its number, big-endian */
};
static inline size_t relay_base64_len(uint64_t payload) { return (size_t)((payload + 2) / 3 * 4); }

/* In a process of its own; connections 2n and 2n + 1, in the order accepted, are a
 * pair, and the even one sends. Returns when all are closed; 0 or 1. */
int relay_serve(int listener, int log, size_t pairs, uint64_t payload);

struct relay_result {
    uint64_t msgs, cpu_us, generator_us, lost, faults;
    double seconds;
    struct histogram_us latency;
};
/* Starts one, loads it and ends it. False: said on stderr. */
bool relay_measure(const struct bench *b, uint64_t inflight, uint64_t warmup_ms, uint64_t seconds,
                   struct relay_result *out);
/* The same, short: its processor time a message, for a ratio in the line of `pairs`. */
bool relay_beside(const struct bench *b, uint64_t inflight, double *cpu_us_per_msg_out);

#endif
