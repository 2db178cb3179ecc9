/* The mailbox and the workers with real threads; meant for ThreadSanitizer too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/workers.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

enum { SENDERS = 4, EACH = 5000 };

struct letter {
    struct mail mail;
    int sender;
    int number;
};
struct sender {
    struct mailbox *box;
    int index;
};
struct receiver {
    int next[SENDERS];
    int total;
};

static void deliver_letter(struct mail *mail, void *ctx)
{
    struct receiver *r = ctx;
    struct letter *letter = (struct letter *)(void *)mail;
    assert_int_equal(letter->number, r->next[letter->sender]);
    r->next[letter->sender]++;
    r->total++;
    free(letter);
}

static struct letter *letter_create(int sender, int number)
{
    struct letter *letter = sotto_zalloc(sizeof(*letter));
    letter->mail.deliver = deliver_letter;
    letter->sender = sender;
    letter->number = number;
    return letter;
}

static void *send_letters(void *arg)
{
    struct sender *s = arg;
    for (int i = 0; i < EACH; i++) {
        struct letter *letter = letter_create(s->index, i);
        while (!mailbox_post(s->box, &letter->mail)) sched_yield();
    }
    return NULL;
}

/* Several at a time, and one wake-up for them. */
static void *send_letters_quietly(void *arg)
{
    struct sender *s = arg;
    bool wake = false;
    for (int i = 0; i < EACH; i++) {
        struct letter *letter = letter_create(s->index, i);
        wake |= mailbox_post_always_quietly(s->box, &letter->mail);
        if (wake && (i % 5 == 0 || i == EACH - 1)) {
            mailbox_wake(s->box);
            wake = false;
        }
    }
    return NULL;
}

/* Every second one quietly. */
static void start_senders(struct mailbox *box, struct sender *senders, pthread_t *threads)
{
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){box, i};
        assert_int_equal(
            pthread_create(&threads[i], NULL, i % 2 ? send_letters_quietly : send_letters, &senders[i]), 0);
    }
}

static void mailbox__many_senders__keep_each_ones_order(void **state)
{
    (void)state;
    struct mailbox box;
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    struct receiver receiver = {0};
    assert_int_equal(mailbox_init(&box, 64), SOTTO_OK);
    start_senders(&box, senders, threads);
    while (receiver.total < SENDERS * EACH) {
        mailbox_wait(&box, -1);
        mailbox_deliver(&box, &receiver);
    }
    for (int i = 0; i < SENDERS; i++) pthread_join(threads[i], NULL);
    assert_true(mailbox_empty(&box));
    assert_int_equal(atomic_load(&box.count), 0);
    mailbox_deinit(&box);
}

/* The event loop's way: no wake-ups while awake, none lost when asleep. */
static void mailbox__awake_receiver__loses_no_wake_up(void **state)
{
    (void)state;
    struct mailbox box;
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    struct receiver receiver = {0};
    assert_int_equal(mailbox_init(&box, 64), SOTTO_OK);
    start_senders(&box, senders, threads);
    while (receiver.total < SENDERS * EACH) {
        if (mailbox_sleep(&box)) {
            struct pollfd p = {.fd = box.eventfd, .events = POLLIN};
            assert_int_equal(poll(&p, 1, 20000), 1);
            mailbox_drain_eventfd(&box);
        }
        mailbox_awake(&box);
        mailbox_deliver(&box, &receiver);
        mailbox_deliver(&box, &receiver);
    }
    for (int i = 0; i < SENDERS; i++) pthread_join(threads[i], NULL);
    mailbox_deinit(&box);
}

static bool readable(struct mailbox *box)
{
    struct pollfd p = {.fd = box->eventfd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void mailbox__eventfd__is_written_only_when_the_receiver_sleeps(void **state)
{
    (void)state;
    struct mailbox box;
    struct receiver receiver = {0};
    assert_int_equal(mailbox_init(&box, 3), SOTTO_OK);
    assert_true(mailbox_post(&box, &letter_create(0, 0)->mail));
    assert_false(readable(&box));
    assert_false(mailbox_sleep(&box));
    assert_int_equal(mailbox_deliver(&box, &receiver), 1);
    assert_int_equal(mailbox_deliver(&box, &receiver), 0);
    assert_true(mailbox_sleep(&box));
    assert_true(mailbox_sleep(&box));
    assert_true(mailbox_post(&box, &letter_create(0, 1)->mail));
    assert_true(readable(&box));
    mailbox_drain_eventfd(&box);
    mailbox_awake(&box);
    assert_true(mailbox_post(&box, &letter_create(0, 2)->mail));
    assert_false(readable(&box));
    assert_int_equal(mailbox_deliver(&box, &receiver), 2);
    assert_true(mailbox_sleep(&box));
    mailbox_awake(&box);
    assert_true(mailbox_post(&box, &letter_create(0, 3)->mail));
    assert_false(readable(&box));
    mailbox_wait(&box, -1);
    assert_int_equal(mailbox_deliver(&box, &receiver), 1);
    mailbox_wait(&box, 1);
    mailbox_deinit(&box);
}

static void mailbox__quiet_post__leaves_the_waking_to_the_sender(void **state)
{
    (void)state;
    struct mailbox box;
    struct receiver receiver = {0};
    bool asleep = true;
    assert_int_equal(mailbox_init(&box, 3), SOTTO_OK);
    assert_true(mailbox_post_quietly(&box, &letter_create(0, 0)->mail, &asleep));
    assert_false(asleep);
    assert_int_equal(mailbox_deliver(&box, &receiver), 1);
    assert_true(mailbox_sleep(&box));
    assert_true(mailbox_post_quietly(&box, &letter_create(0, 1)->mail, &asleep));
    assert_true(asleep);
    /* Nobody else wakes it: it was asleep for the first one only. */
    assert_true(mailbox_post(&box, &letter_create(0, 2)->mail));
    assert_false(mailbox_post_always_quietly(&box, &letter_create(0, 3)->mail));
    assert_false(readable(&box));
    mailbox_wake(&box);
    assert_true(readable(&box));
    assert_int_equal(mailbox_deliver(&box, &receiver), 3);
    mailbox_deinit(&box);
}

static void mailbox__full__refuses_until_taken(void **state)
{
    (void)state;
    struct mailbox box;
    struct receiver receiver = {0};
    assert_int_equal(mailbox_init(&box, 2), SOTTO_OK);
    assert_true(mailbox_post(&box, &letter_create(0, 0)->mail));
    assert_true(mailbox_post(&box, &letter_create(0, 1)->mail));
    struct letter *third = letter_create(0, 2);
    assert_false(mailbox_post(&box, &third->mail));
    mailbox_post_always(&box, &third->mail);
    assert_int_equal(mailbox_deliver(&box, &receiver), 3);
    assert_null(mailbox_take(&box));
    assert_true(mailbox_post(&box, &letter_create(0, 3)->mail));
    assert_int_equal(mailbox_deliver(&box, &receiver), 1);
    mailbox_deinit(&box);
}

struct sum_job {
    struct job job;
    uint64_t in;
    uint64_t out;
};

static void square(struct job *job)
{
    struct sum_job *s = (struct sum_job *)(void *)job;
    s->out = s->in * s->in;
}

static void collect(struct mail *mail, void *ctx)
{
    struct sum_job *s = (struct sum_job *)(void *)mail;
    *(uint64_t *)ctx += s->out;
    free(s);
}

static void workers__jobs__come_back_with_results(void **state)
{
    (void)state;
    enum { JOBS = 2000 };
    struct mailbox box;
    assert_int_equal(mailbox_init(&box, 1), SOTTO_OK);
    struct workers *w = workers_create(3, 100);
    uint64_t sum = 0, expected = 0;
    size_t back = 0;
    for (uint64_t i = 1; i <= JOBS; i++) {
        struct sum_job *s = sotto_zalloc(sizeof(*s));
        s->job.run = square;
        s->job.mail.deliver = collect;
        s->job.reply_to = &box;
        s->in = i;
        expected += i * i;
        while (!workers_submit(w, &s->job)) {
            mailbox_wait(&box, 10);
            back += mailbox_deliver(&box, &sum);
        }
        assert_true(workers_depth(w) <= 100);
    }
    while (back < JOBS) {
        mailbox_wait(&box, -1);
        back += mailbox_deliver(&box, &sum);
    }
    assert_true(sum == expected);
    workers_destroy(&w);
    assert_null(w);
    mailbox_deinit(&box);
}

static atomic_int runs;

static void count_and_free(struct job *job)
{
    atomic_fetch_add(&runs, 1);
    free(job);
}

static void workers__destroy__runs_what_is_queued(void **state)
{
    (void)state;
    atomic_store(&runs, 0);
    struct workers *w = workers_create(1, 1000);
    for (int i = 0; i < 1000; i++) {
        struct job *job = sotto_zalloc(sizeof(*job));
        job->run = count_and_free;
        assert_true(workers_submit(w, job));
    }
    workers_destroy(&w);
    assert_int_equal(atomic_load(&runs), 1000);
}

static void workers__stop__runs_what_is_queued_and_refuses_the_rest(void **state)
{
    (void)state;
    atomic_store(&runs, 0);
    struct workers *w = workers_create(2, 1000);
    for (int i = 0; i < 100; i++) {
        struct job *job = sotto_zalloc(sizeof(*job));
        job->run = count_and_free;
        assert_true(workers_submit(w, job));
    }
    workers_stop(w);
    assert_int_equal(atomic_load(&runs), 100);
    struct job late = {.run = count_and_free};
    assert_false(workers_submit(w, &late));
    assert_int_equal(workers_depth(w), 0);
    workers_destroy(&w);
    assert_null(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mailbox__many_senders__keep_each_ones_order),
        cmocka_unit_test(mailbox__awake_receiver__loses_no_wake_up),
        cmocka_unit_test(mailbox__eventfd__is_written_only_when_the_receiver_sleeps),
        cmocka_unit_test(mailbox__quiet_post__leaves_the_waking_to_the_sender),
        cmocka_unit_test(mailbox__full__refuses_until_taken),
        cmocka_unit_test(workers__jobs__come_back_with_results),
        cmocka_unit_test(workers__destroy__runs_what_is_queued),
        cmocka_unit_test(workers__stop__runs_what_is_queued_and_refuses_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
