/* sotto-bench: options and the order of the runs. */
#include "bench.h"

#include "base/limits.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

struct scenario {
    const char *name;
    bool (*run)(struct bench *b);
    const char *help;
};
static const struct scenario scenarios[] = {
    {"pairs", scenario_pairs, "pairs of people, closed loop: sent, received and confirmed"},
    {"relay", scenario_relay, "a bare relay with group commit, to compare with: no store, no receipt"},
    {"open", scenario_open, "the same at a fixed rate; latency from the time a message was due"},
    {"idle", scenario_idle, "memory of connections that do nothing"},
    {"login", scenario_login, "signing in, with the server's real password hashing"},
    {"sync", scenario_sync, "a device that missed many messages"},
    {"burst", scenario_burst, "readers that stop reading"},
    {0},
};

struct number {
    const char *name;
    size_t offset;
    uint64_t min, max, preset;
    const char *help;
};
#define NUMBER(name, min, max, preset, help) {#name, offsetof(struct options, name), min, max, preset, help}
static const struct number numbers[] = {
    NUMBER(pairs, 1, 9000, 500, "pairs in `pairs`, `relay` and `open`"),
    NUMBER(inflight, 1, 512, 1, "messages in flight per pair; without it 1, then 8"),
    NUMBER(seconds, 1, 3600, 10, "measured time"),
    NUMBER(warmup, 0, 600, 2, "time before it"),
    NUMBER(payload, 1, 65536, 200, "bytes of a message"),
    NUMBER(relay, 0, 3600, 2, "seconds of the bare relay beside `pairs` and `open`, to compare; 0: without"),
    NUMBER(rate, 0, 10000000, 0, "messages a second in `open` (0: half of the measured maximum) and `relay`"),
    NUMBER(connections, 1, 1000000, 15000, "connections in `idle`"),
    NUMBER(devices, 1, SOTTO_DEVICES_PER_USER_MAX, 3, "devices of each person in `idle`"),
    NUMBER(messages, 100, 100000000, 200000, "missed messages in `sync`"),
    NUMBER(readers, 1, 1000, 16, "stopped readers in `burst`"),
    NUMBER(runs, 1, 100, 1, "how often each run is repeated"),
};
enum { NUMBERS = sizeof numbers / sizeof numbers[0] };

static const char *const login_args[] = {
    "--registration=open", "--limit-address=off", "--limit-user=off", "--log-level=warn", NULL};

/* Masks need no secrecy here. */
static void cheap_fill(void *ctx, void *out, size_t len)
{
    uint64_t *state = ctx;
    uint8_t *at = out;
    for (size_t i = 0; i < len; i++) {
        if (i % 8 == 0) *state = *state * 6364136223846793005u + 1442695040888963407u;
        at[i] = (uint8_t)(*state >> (i % 8 * 8));
    }
}

static void usage(void)
{
    printf("usage: sotto-bench [SCENARIO...] [OPTIONS] [-- OPTIONS OF sottod]\n\n"
           "Starts a server on an empty data directory, loads it, and prints one line of\n"
           "JSON per run. Without a scenario: all of them.\n\n");
    for (const struct scenario *s = scenarios; s->name; s++) printf("  %-8s %s\n", s->name, s->help);
    printf("\n");
    for (size_t i = 0; i < NUMBERS; i++)
        printf("  --%-14s %s (default %llu)\n", numbers[i].name, numbers[i].help, (unsigned long long)numbers[i].preset);
    printf("  --%-14s %s\n", "url", "load a running server (open registration, no limits) instead");
    printf("  --%-14s %s\n", "server", "path of sottod (default: beside this program)");
    printf("  --%-14s %s\n", "data", "where the data directory is made (default /var/tmp)");
    printf("  --%-14s %s\n", "server-cpu", "core of the server, -1: any (default 0)");
    printf("  --%-14s %s\n", "generator-cpu", "core of the generator, -1: any (default 1)");
}

static bool set_option(struct options *o, const char *name, const char *value)
{
    for (size_t i = 0; i < NUMBERS; i++) {
        if (strcmp(numbers[i].name, name) != 0) continue;
        char *end;
        unsigned long long v = strtoull(value, &end, 10);
        if (value[0] < '0' || value[0] > '9' || *end || v < numbers[i].min || v > numbers[i].max) {
            (void)fprintf(stderr, "sotto-bench: --%s takes a number from %llu to %llu\n", name,
                          (unsigned long long)numbers[i].min, (unsigned long long)numbers[i].max);
            return false;
        }
        *(uint64_t *)(void *)((char *)o + numbers[i].offset) = v;
        if (strcmp(name, "inflight") == 0) o->inflight_given = true;
        return true;
    }
    if (strcmp(name, "url") == 0) o->url = value;
    else if (strcmp(name, "server") == 0) o->server_binary = value;
    else if (strcmp(name, "data") == 0) o->data_parent = value;
    else if (strcmp(name, "server-cpu") == 0) o->server_cpu = atoi(value);
    else if (strcmp(name, "generator-cpu") == 0) o->generator_cpu = atoi(value);
    else {
        (void)fprintf(stderr, "sotto-bench: there is no option --%s; --help lists them\n", name);
        return false;
    }
    return true;
}

/* Readers that stop are to be cut within the run. */
static char burst_option[] = "--lag-timeout=2s";

static bool one_run(const struct options *wanted, const struct scenario *s)
{
    struct options own = *wanted;
    const struct options *o = &own;
    if (s->run == scenario_burst && own.extra_count < BENCH_EXTRA_MAX) own.extra[own.extra_count++] = burst_option;
    uint64_t mask_state = 1;
    struct random_source mask = {cheap_fill, &mask_state};
    struct bench b = {.options = o, .mask = &mask};
    if (loop_create(clock_system(), 64, &b.loop) != SOTTO_OK) return false;
    bool login = s->run == scenario_login;
    bool ok = (s->run == scenario_relay || server_start(&b.server, o, login ? login_args : bench_open_args)) &&
              s->run(&b);
    for (int i = 0; i < 5; i++) loop_turn(b.loop, 0);
    server_stop(&b.server);
    loop_destroy(&b.loop);
    if (!ok) (void)fprintf(stderr, "%s: failed\n", s->name);
    return ok;
}

static bool run_scenario(struct options *o, const struct scenario *s)
{
    bool ok = true;
    for (uint64_t i = 0; i < o->runs; i++) {
        ok = one_run(o, s) && ok;
        bool by_rate = s->run == scenario_relay && o->rate != 0;
        if ((s->run != scenario_pairs && s->run != scenario_relay) || o->inflight_given || by_rate) continue;
        struct options eight = *o;
        eight.inflight = 8;
        ok = one_run(&eight, s) && ok;
    }
    return ok;
}

int main(int argc, char **argv)
{
    struct options o = {.data_parent = "/var/tmp", .server_cpu = 0, .generator_cpu = 1};
    bool wanted[sizeof scenarios / sizeof scenarios[0]] = {false}, any = false, ok = true;
    for (size_t i = 0; i < NUMBERS; i++) *(uint64_t *)(void *)((char *)&o + numbers[i].offset) = numbers[i].preset;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            usage();
            return 0;
        }
        if (strcmp(argv[i], "--") == 0) {
            for (i++; i < argc && o.extra_count < BENCH_EXTRA_MAX; i++) o.extra[o.extra_count++] = argv[i];
            break;
        }
        if (strncmp(argv[i], "--", 2) == 0) {
            if (i + 1 >= argc || !set_option(&o, argv[i] + 2, argv[i + 1])) return 2;
            i++;
            continue;
        }
        size_t at = 0;
        while (scenarios[at].name && strcmp(scenarios[at].name, argv[i]) != 0) at++;
        if (!scenarios[at].name) {
            (void)fprintf(stderr, "sotto-bench: there is no scenario \"%s\"; --help lists them\n", argv[i]);
            return 2;
        }
        wanted[at] = any = true;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2) o.server_cpu = o.generator_cpu = -1;
    pin_to_cpu(0, o.generator_cpu);
    for (size_t i = 0; scenarios[i].name; i++)
        if (!any || wanted[i]) ok = run_scenario(&o, &scenarios[i]) && ok;
    return ok ? 0 : 1;
}
