/* What can be said of scheduling without a time that must be met. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sys/resource.h>
#include <time.h>

#include "base/sched.h"

static void *ask_for_less(void *out)
{
    sched_prompt();
    sched_background();
    *(int *)out = getpriority(PRIO_PROCESS, 0);
    return NULL;
}

static void sched_background__lowers_the_calling_thread_only(void **state)
{
    (void)state;
    pthread_t thread;
    int before = getpriority(PRIO_PROCESS, 0), inside = 0;
    assert_int_equal(pthread_create(&thread, NULL, ask_for_less, &inside), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(inside > before || before >= 10);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), before);
}

static uint64_t worked_ms(void)
{
    struct timespec t;
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void sched_load__counts_work_and_not_waiting(void **state)
{
    (void)state;
    struct sched_load l;
    sched_load_start(&l);
    assert_true(l.cores >= 1);
    l.cores = 1;
    for (uint64_t until = worked_ms() + 30; worked_ms() < until;) {}
    unsigned working = sched_load_percent(&l);
    (void)nanosleep(&(struct timespec){.tv_nsec = 30 * 1000 * 1000}, NULL);
    unsigned waiting = sched_load_percent(&l);
    assert_true(working > waiting);
    assert_in_range(working, 1, 110);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sched_background__lowers_the_calling_thread_only),
        cmocka_unit_test(sched_load__counts_work_and_not_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
