#include "base/sched.h"

#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
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
    struct attributes a = {.size = sizeof(a), .policy = SCHED_OTHER, .runtime = PROMPT_SLICE_NS};
    a.nice = getpriority(PRIO_PROCESS, 0); /* on Linux that of the thread */
    (void)syscall(SYS_sched_setattr, 0, &a, 0);
}

void sched_background(void)
{
    (void)setpriority(PRIO_PROCESS, 0, BACKGROUND_NICE); /* on Linux for the thread alone */
}
