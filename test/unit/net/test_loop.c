/* The loop: order of a turn, removal inside callbacks, mail, timers, deferral. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/loop.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct fixture {
    struct clock_manual clock;
    struct loop *loop;
    char trace[256];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    clock_manual_init(&f->clock, 1000);
    assert_int_equal(loop_create(&f->clock.source, 100, &f->loop), SOTTO_OK);
    loop_set_owner(f->loop, f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    loop_destroy(&f->loop);
    assert_null(f->loop);
    free(f);
    return 0;
}

static void trace(struct loop *loop, const char *what)
{
    struct fixture *f = loop_owner(loop);
    strcat(f->trace, what);
}

struct probe {
    struct watch watch;
    const char *name;
    struct probe *remove; /* unwatch and free when ready */
};

static void probe_ready(struct watch *w, struct loop *loop, uint32_t events)
{
    struct probe *p = (struct probe *)(void *)w;
    uint64_t count;
    assert_true(events & EPOLLIN);
    assert_int_equal(read(w->fd, &count, sizeof(count)), sizeof(count));
    trace(loop, p->name);
    if (p->remove == NULL) return;
    struct probe *victim = p->remove;
    p->remove = NULL;
    if (victim->remove == p) victim->remove = NULL;
    loop_unwatch(loop, &victim->watch);
    close(victim->watch.fd);
    free(victim);
}

static struct probe *probe_create(struct loop *loop, const char *name)
{
    struct probe *p = calloc(1, sizeof(*p));
    p->watch = (struct watch){.ready = probe_ready, .fd = eventfd(1, EFD_NONBLOCK)};
    p->name = name;
    assert_int_equal(loop_watch(loop, &p->watch, EPOLLIN), SOTTO_OK);
    return p;
}

static void probe_destroy(struct loop *loop, struct probe *p)
{
    loop_unwatch(loop, &p->watch);
    close(p->watch.fd);
    free(p);
}

static void loop__callback__may_remove_another_ready_watch(void **state)
{
    struct fixture *f = *state;
    struct probe *a = probe_create(f->loop, "a"), *b = probe_create(f->loop, "b");
    a->remove = b;
    b->remove = a;
    loop_turn(f->loop, 0);
    assert_int_equal(strlen(f->trace), 1);
    loop_turn(f->loop, 0);
    assert_int_equal(strlen(f->trace), 1);
    probe_destroy(f->loop, f->trace[0] == 'a' ? a : b);
}

static void on_mail(struct mail *mail, void *receiver)
{
    (void)mail;
    trace(receiver, "m");
}

static void on_timer(struct loop_timer *t, struct loop *loop)
{
    (void)t;
    trace(loop, "t");
}

static struct deferred second;

static void on_second(struct deferred *d, struct loop *loop)
{
    assert_false(deferred_queued(d));
    trace(loop, "e");
}

static void on_deferred(struct deferred *d, struct loop *loop)
{
    assert_false(deferred_queued(d));
    trace(loop, "d");
    loop_defer(loop, &second);
}

static void loop__turn__runs_descriptors_mail_timers_deferred(void **state)
{
    struct fixture *f = *state;
    struct probe *p = probe_create(f->loop, "f");
    struct mail mail = {.deliver = on_mail};
    struct loop_timer timer = {.fired = on_timer};
    struct deferred deferred = {.run = on_deferred};
    second = (struct deferred){.run = on_second};
    loop_timer_start(f->loop, &timer, 100);
    loop_defer(f->loop, &deferred);
    loop_defer(f->loop, &deferred);
    assert_true(mailbox_post(loop_mailbox(f->loop), &mail));
    clock_manual_advance(&f->clock, 200);
    loop_turn(f->loop, -1);
    assert_string_equal(f->trace, "fmtde");
    assert_int_equal(loop_now_ms(f->loop), 200);
    loop_turn(f->loop, 0);
    assert_string_equal(f->trace, "fmtde");
    probe_destroy(f->loop, p);
}

static void loop__timer__never_fires_early_after_a_long_wait(void **state)
{
    struct fixture *f = *state;
    struct loop_timer timer = {.fired = on_timer};
    clock_manual_advance(&f->clock, 50);
    loop_turn(f->loop, 0);
    loop_timer_start(f->loop, &timer, 1000);
    clock_manual_advance(&f->clock, 999);
    loop_turn(f->loop, 0);
    assert_string_equal(f->trace, "");
    clock_manual_advance(&f->clock, 101);
    loop_turn(f->loop, 0);
    assert_string_equal(f->trace, "t");
    loop_timer_start(f->loop, &timer, 1000);
    loop_timer_stop(f->loop, &timer);
    clock_manual_advance(&f->clock, 5000);
    loop_turn(f->loop, 0);
    assert_string_equal(f->trace, "t");
}

static void on_never(struct deferred *d, struct loop *loop)
{
    (void)d;
    (void)loop;
    fail();
}

static struct deferred cancelled = {.run = on_never};

static void on_cancel(struct deferred *d, struct loop *loop)
{
    (void)d;
    loop_defer_cancel(loop, &cancelled);
    trace(loop, "c");
}

static void loop__defer_cancel__works_in_either_list(void **state)
{
    struct fixture *f = *state;
    struct deferred canceller = {.run = on_cancel}, last = {.run = on_second};
    loop_defer(f->loop, &cancelled);
    loop_defer_cancel(f->loop, &cancelled);
    loop_defer(f->loop, &canceller);
    loop_defer(f->loop, &cancelled);
    loop_turn(f->loop, -1);
    assert_string_equal(f->trace, "c");
    /* The tail pointer survives the removal of the last. */
    loop_defer(f->loop, &cancelled);
    loop_defer_cancel(f->loop, &cancelled);
    loop_defer(f->loop, &last);
    loop_turn(f->loop, -1);
    assert_string_equal(f->trace, "ce");
}

enum { MAILS = 20000 };

struct counted {
    struct mail mail;
    struct loop *loop;
};

static void on_counted(struct mail *mail, void *receiver)
{
    struct fixture *f = loop_owner(receiver);
    free(mail);
    if (++f->clock.wall_ms == MAILS) loop_stop(receiver);
}

static void *post_all(void *arg)
{
    struct loop *loop = arg;
    for (int i = 0; i < MAILS; i++) {
        struct mail *mail = sotto_zalloc(sizeof(*mail));
        mail->deliver = on_counted;
        while (!mailbox_post(loop_mailbox(loop), mail)) sched_yield();
        if (i % 64 == 0) usleep(1);
    }
    return NULL;
}

static void loop__run__receives_from_another_thread_until_stopped(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    f->clock.wall_ms = 0; /* counts the mails here */
    assert_int_equal(pthread_create(&thread, NULL, post_all, f->loop), 0);
    loop_run(f->loop);
    pthread_join(thread, NULL);
    assert_int_equal(f->clock.wall_ms, MAILS);
    /* Stopped before it runs: returns at once. */
    loop_stop(f->loop);
    loop_run(f->loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(loop__callback__may_remove_another_ready_watch, setup, teardown),
        cmocka_unit_test_setup_teardown(loop__turn__runs_descriptors_mail_timers_deferred, setup, teardown),
        cmocka_unit_test_setup_teardown(loop__timer__never_fires_early_after_a_long_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(loop__defer_cancel__works_in_either_list, setup, teardown),
        cmocka_unit_test_setup_teardown(loop__run__receives_from_another_thread_until_stopped, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
