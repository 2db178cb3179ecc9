/* Counters, gauges and histograms, and their text form for Prometheus
 * (exposition format 0.0.4).
 *
 * A metric is registered once at start, by name, and then updated from any
 * thread with relaxed atomics. The registry is passed; there is no global one.
 */
#ifndef SOTTO_BASE_METRICS_H
#define SOTTO_BASE_METRICS_H

#include "base/buffer.h"

#include <stdatomic.h>

enum { METRIC_BUCKETS_MAX = 24 };

struct counter { atomic_uint_fast64_t value; };
struct gauge { atomic_int_fast64_t value; };
/* Buckets are fixed when registered; values are in `unit` of the caller and
 * are shown divided by `scale` (1e6 for microseconds shown as seconds). */
struct histogram {
    uint64_t bounds[METRIC_BUCKETS_MAX];
    size_t bounds_count;
    double scale;
    atomic_uint_fast64_t buckets[METRIC_BUCKETS_MAX + 1];
    atomic_uint_fast64_t sum;
};

struct metrics;
struct metrics *metrics_create(void);
void metrics_destroy(struct metrics **m);

/* name: e.g. "sotto_messages_total"; labels: "" or e.g. "stage=\"sent\"". Both
 * are literals. The same name may come again with other labels; help is taken
 * from the first. The result lives as long as the registry. */
struct counter *metrics_counter(struct metrics *m, const char *name, const char *labels, const char *help);
struct gauge *metrics_gauge(struct metrics *m, const char *name, const char *labels, const char *help);
struct histogram *metrics_histogram(struct metrics *m, const char *name, const char *labels,
                                    const char *help, const uint64_t *bounds, size_t count, double scale);
/* Bounds from 50 microseconds to 10 seconds, shown in seconds. */
struct histogram *metrics_latency(struct metrics *m, const char *name, const char *labels, const char *help);

static inline void counter_add(struct counter *c, uint64_t n)
{
    atomic_fetch_add_explicit(&c->value, n, memory_order_relaxed);
}
static inline void gauge_set(struct gauge *g, int64_t v)
{
    atomic_store_explicit(&g->value, v, memory_order_relaxed);
}
static inline void gauge_add(struct gauge *g, int64_t v)
{
    atomic_fetch_add_explicit(&g->value, v, memory_order_relaxed);
}
void histogram_observe(struct histogram *h, uint64_t value);

/* Writes every metric. Any thread. */
void metrics_write(struct metrics *m, struct buffer *out);

#endif
