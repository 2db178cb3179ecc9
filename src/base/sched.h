/* How the kernel shares the processor between a process's own threads.
 *
 * A request is about the calling thread and those that it creates afterwards, and
 * asks for less than the thread has, or for the same in smaller pieces: no
 * privilege is needed. Where the kernel does not know the request nothing changes.
 */
#ifndef SOTTO_BASE_SCHED_H
#define SOTTO_BASE_SCHED_H

#include <stdint.h>

/* For threads that somebody waits for: when one wakes, it runs at once, and gives
 * way again soon (sched_setattr(2): the slice of a fair thread, Linux 6.12). */
void sched_prompt(void);
/* For work that nobody waits for yet: a tenth of the share of the others when the
 * processor is short. Not none at all (SCHED_IDLE): sooner or later somebody does
 * wait for it, perhaps on a machine that never rests. */
void sched_background(void);

/* How busy this process keeps the processors that it may run on. */
struct sched_load {
    uint64_t wall_us, cpu_us; /* when it was last looked at */
    unsigned cores;
};
void sched_load_start(struct sched_load *l);
/* Percent of what all of them could have done since the last call, 0 to about 100. */
unsigned sched_load_percent(struct sched_load *l);

#endif
