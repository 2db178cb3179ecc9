/* Histograms and the one line of JSON per run. */
#include "bench.h"

static size_t bucket_of(uint64_t us)
{
    if (us < HISTOGRAM_STEPS) return (size_t)us;
    unsigned shift = 63u - (unsigned)__builtin_clzll(us) - 6; /* 6: log2 of the steps */
    size_t at = (size_t)(shift + 1) * HISTOGRAM_STEPS + (size_t)((us >> shift) - HISTOGRAM_STEPS);
    return at < HISTOGRAM_SIZE ? at : HISTOGRAM_SIZE - 1;
}

static uint64_t bucket_end_us(size_t at)
{
    if (at < HISTOGRAM_STEPS) return at + 1;
    size_t shift = at / HISTOGRAM_STEPS - 1;
    return (uint64_t)(HISTOGRAM_STEPS + at % HISTOGRAM_STEPS + 1) << shift;
}

void histogram_us_add(struct histogram_us *h, uint64_t us)
{
    h->counts[bucket_of(us)]++;
    h->total++;
}

double histogram_us_ms(const struct histogram_us *h, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)h->total), seen = 0;
    for (size_t i = 0; i < HISTOGRAM_SIZE; i++) {
        seen += h->counts[i];
        if (seen > wanted || (seen == h->total && seen)) return (double)bucket_end_us(i) / 1000;
    }
    return 0;
}

void report_init(struct report *r, const char *scenario)
{
    *r = (struct report){.scenario = scenario, .user_bytes_per_conn = -1, .lost = -1};
    buffer_init(&r->extra, 4096);
}

void report_u64(struct report *r, const char *name, uint64_t v)
{
    buffer_printf(&r->extra, ",\"%s\":%llu", name, (unsigned long long)v);
}

void report_double(struct report *r, const char *name, double v)
{
    buffer_printf(&r->extra, ",\"%s\":%.3f", name, v);
}

void report_print(struct bench *b, struct report *r)
{
    printf("{\"scenario\":\"%s\"%.*s", r->scenario, (int)r->extra.len, (const char *)r->extra.data);
    printf(",\"msgs\":%llu,\"seconds\":%.3f", (unsigned long long)r->msgs, r->seconds);
    if (r->msgs && r->seconds > 0) printf(",\"msgs_per_s\":%.1f", (double)r->msgs / r->seconds);
    if (r->msgs && r->cpu_us) printf(",\"server_cpu_us_per_msg\":%.2f", (double)r->cpu_us / (double)r->msgs);
    if (r->latency && r->latency->total)
        printf(",\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f", histogram_us_ms(r->latency, 0.5),
               histogram_us_ms(r->latency, 0.99), histogram_us_ms(r->latency, 0.999));
    if (r->user_bytes_per_conn >= 0) printf(",\"user_bytes_per_conn\":%lld", (long long)r->user_bytes_per_conn);
    if (r->lost >= 0) printf(",\"lost\":%lld", (long long)r->lost);
    if (b->errors) printf(",\"errors\":%llu", (unsigned long long)b->errors);
    if (b->protocol_faults) printf(",\"faults\":%llu", (unsigned long long)b->protocol_faults);
    printf("}\n");
    (void)fflush(stdout);
    if (b->errors) (void)fprintf(stderr, "%s: first error: %s\n", r->scenario, b->first_error);
    buffer_deinit(&r->extra);
}
