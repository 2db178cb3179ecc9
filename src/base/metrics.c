/* Metrics and their text form, Prometheus exposition format 0.0.4.
 *
 * A family is one name with its kind and help; its series differ in labels and
 * are written together, as the format demands. Both are lists in the order of
 * registration: there are a few dozen, looked up only at start. Updating is one
 * relaxed atomic addition. A histogram counts each value in one bucket, and the
 * sums that the format wants are made when it is written; sum and buckets are
 * read one after the other, so a scrape may be one observation apart in them.
 */
#include "base/metrics.h"
#include "base/error.h"

#include <pthread.h>
#include <stdlib.h>

enum kind { KIND_COUNTER, KIND_GAUGE, KIND_HISTOGRAM };

struct series {
    struct series *next;
    const char *labels;
    union {
        struct counter counter;
        struct gauge gauge;
        struct histogram histogram;
    };
};

struct family {
    struct family *next;
    const char *name;
    const char *help;
    enum kind kind;
    struct series *first;
    struct series **last;
};

struct metrics {
    pthread_mutex_t lock; /* the lists, not the values */
    struct family *first;
    struct family **last;
};

struct metrics *metrics_create(void)
{
    struct metrics *m = sotto_zalloc(sizeof(*m));
    SOTTO_ASSERT(pthread_mutex_init(&m->lock, NULL) == 0);
    m->last = &m->first;
    return m;
}

void metrics_destroy(struct metrics **metrics)
{
    struct metrics *m = *metrics;
    if (m == NULL) return;
    *metrics = NULL;
    struct family *family = m->first;
    while (family != NULL) {
        struct family *next_family = family->next;
        struct series *series = family->first;
        while (series != NULL) {
            struct series *next = series->next;
            free(series);
            series = next;
        }
        free(family);
        family = next_family;
    }
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static struct family *family_of(struct metrics *m, const char *name, const char *help, enum kind kind)
{
    for (struct family *family = m->first; family != NULL; family = family->next) {
        if (strcmp(family->name, name) != 0) continue;
        SOTTO_ASSERT(family->kind == kind);
        return family;
    }
    struct family *family = sotto_zalloc(sizeof(*family));
    *family = (struct family){.name = name, .help = help, .kind = kind, .last = &family->first};
    *m->last = family;
    m->last = &family->next;
    return family;
}

static void add(struct metrics *m, const char *name, const char *help, enum kind kind, struct series *series)
{
    pthread_mutex_lock(&m->lock);
    struct family *family = family_of(m, name, help, kind);
    *family->last = series;
    family->last = &series->next;
    pthread_mutex_unlock(&m->lock);
}

static struct series *series_create(const char *labels)
{
    /* Zeroed atomics are valid zeros. */
    struct series *series = sotto_zalloc(sizeof(*series));
    series->labels = labels;
    return series;
}

struct counter *metrics_counter(struct metrics *m, const char *name, const char *labels, const char *help)
{
    struct series *series = series_create(labels);
    add(m, name, help, KIND_COUNTER, series);
    return &series->counter;
}

struct gauge *metrics_gauge(struct metrics *m, const char *name, const char *labels, const char *help)
{
    struct series *series = series_create(labels);
    add(m, name, help, KIND_GAUGE, series);
    return &series->gauge;
}

struct histogram *metrics_histogram(struct metrics *m, const char *name, const char *labels,
                                    const char *help, const uint64_t *bounds, size_t count, double scale)
{
    SOTTO_ASSERT(count <= METRIC_BUCKETS_MAX);
    for (size_t i = 1; i < count; i++) SOTTO_ASSERT(bounds[i - 1] < bounds[i]);
    struct series *series = series_create(labels);
    struct histogram *h = &series->histogram;
    memcpy(h->bounds, bounds, count * sizeof(*bounds));
    h->bounds_count = count;
    h->scale = scale;
    add(m, name, help, KIND_HISTOGRAM, series);
    return h;
}

struct histogram *metrics_latency(struct metrics *m, const char *name, const char *labels, const char *help)
{
    static const uint64_t bounds_us[] = {50,    100,   200,   300,    500,    750,    1000,    1500,   2000,
                                         3000,  5000,  7500,  10000,  20000,  50000,  100000,  200000, 500000,
                                         1000000, 2000000, 5000000, 10000000};
    return metrics_histogram(m, name, labels, help, bounds_us, sizeof(bounds_us) / sizeof(bounds_us[0]), 1e6);
}

void histogram_observe(struct histogram *h, uint64_t value)
{
    size_t low = 0, high = h->bounds_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (value <= h->bounds[middle])
            high = middle;
        else
            low = middle + 1;
    }
    atomic_fetch_add_explicit(&h->buckets[low], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum, value, memory_order_relaxed);
}

/* name suffix{labels,extra} and a space. */
static void write_name(struct buffer *out, const char *name, const char *suffix, const char *labels)
{
    buffer_append_str(out, name);
    buffer_append_str(out, suffix);
    if (labels[0] != 0) buffer_printf(out, "{%s}", labels);
    buffer_append_byte(out, ' ');
}

static void write_histogram(struct buffer *out, const char *name, const struct series *series)
{
    const struct histogram *h = &series->histogram;
    const char *comma = series->labels[0] != 0 ? "," : "";
    uint64_t total = 0;
    for (size_t i = 0; i <= h->bounds_count; i++) {
        total += atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
        buffer_printf(out, "%s_bucket{%s%sle=\"", name, series->labels, comma);
        if (i == h->bounds_count)
            buffer_append_str(out, "+Inf");
        else
            buffer_printf(out, "%.10g", (double)h->bounds[i] / h->scale);
        buffer_printf(out, "\"} %llu\n", (unsigned long long)total);
    }
    uint64_t sum = atomic_load_explicit(&h->sum, memory_order_relaxed);
    write_name(out, name, "_sum", series->labels);
    buffer_printf(out, "%.15g\n", (double)sum / h->scale);
    write_name(out, name, "_count", series->labels);
    buffer_printf(out, "%llu\n", (unsigned long long)total);
}

static void write_series(struct buffer *out, const struct family *family, const struct series *series)
{
    switch (family->kind) {
    case KIND_COUNTER:
        write_name(out, family->name, "", series->labels);
        buffer_append_u64(out, atomic_load_explicit(&series->counter.value, memory_order_relaxed));
        buffer_append_byte(out, '\n');
        break;
    case KIND_GAUGE:
        write_name(out, family->name, "", series->labels);
        buffer_append_i64(out, atomic_load_explicit(&series->gauge.value, memory_order_relaxed));
        buffer_append_byte(out, '\n');
        break;
    case KIND_HISTOGRAM:
        write_histogram(out, family->name, series);
        break;
    }
}

void metrics_write(struct metrics *m, struct buffer *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    pthread_mutex_lock(&m->lock);
    for (const struct family *family = m->first; family != NULL; family = family->next) {
        buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
                      kinds[family->kind]);
        for (const struct series *series = family->first; series != NULL; series = series->next)
            write_series(out, family, series);
    }
    pthread_mutex_unlock(&m->lock);
}
