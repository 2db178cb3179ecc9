#include "base/sched.h"

#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    PROMPT_SLICE_NS = 100 * 1000, /* the shortest that Linux gives */
    BACKGROUND_NICE = 10          /* a weight of 110, that of others is 1,024 */
};

/* struct sched_attr of Linux, as of its first version; glibc 2.36 has none. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

void sched_prompt(void)
{
    if (sched_getscheduler(0) != SCHED_OTHER) return; /* somebody has decided otherwise */
    struct attributes a = {.size = sizeof(a), .policy = SCHED_OTHER, .runtime = PROMPT_SLICE_NS};
    a.nice = getpriority(PRIO_PROCESS, 0); /* on Linux that of the thread */
    (void)syscall(SYS_sched_setattr, 0, &a, 0);
}

void sched_background(void)
{
    /* On Linux both are about the thread alone. */
    if (getpriority(PRIO_PROCESS, 0) < BACKGROUND_NICE) (void)setpriority(PRIO_PROCESS, 0, BACKGROUND_NICE);
}

static uint64_t read_us(clockid_t id)
{
    struct timespec t;
    if (clock_gettime(id, &t) != 0) return 0;
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void sched_load_start(struct sched_load *l)
{
    cpu_set_t set;
    l->cores = sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
    l->wall_us = read_us(CLOCK_MONOTONIC);
    l->cpu_us = read_us(CLOCK_PROCESS_CPUTIME_ID);
}

unsigned sched_load_percent(struct sched_load *l)
{
    uint64_t wall_us = read_us(CLOCK_MONOTONIC), cpu_us = read_us(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t could = (wall_us - l->wall_us) * l->cores, did = cpu_us - l->cpu_us;
    l->wall_us = wall_us;
    l->cpu_us = cpu_us;
    return could == 0 ? 0 : (unsigned)(did * 100 / could);
}
