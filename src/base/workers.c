/* A queue and a few threads.
 *
 * DESIGN. One mutex, one condition, an intrusive first-in-first-out list linked
 * by the mail's own `next`. What runs here takes tens of microseconds at least
 * (a password hash takes 50 ms), so a lock is not what limits it. Answers go
 * back through the asker's mailbox past its bound: the queue's bound and the
 * number of threads already limit them.
 *
 * Stopping runs what was accepted; a caller who must not wait submits nothing.
 */
#include "base/workers.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct mail *first;
    struct mail **last;
    size_t queue_max;
    atomic_size_t depth; /* written under the lock, read by anyone */
    bool stopping;
    unsigned count;
    pthread_t threads[];
};

static void run_job(struct job *job)
{
    /* Read before: without reply_to, run may free the job. */
    struct mailbox *reply_to = job->reply_to;
    job->run(job);
    if (reply_to != NULL) mailbox_post_always(reply_to, &job->mail);
}

static void *worker_main(void *arg)
{
    struct workers *w = arg;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (w->first == NULL && !w->stopping) pthread_cond_wait(&w->work, &w->lock);
        struct mail *mail = w->first;
        if (mail == NULL) break;
        w->first = mail->next;
        if (w->first == NULL) w->last = &w->first;
        atomic_fetch_sub_explicit(&w->depth, 1, memory_order_relaxed);
        pthread_mutex_unlock(&w->lock);
        run_job((struct job *)(void *)mail);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

struct workers *workers_create(unsigned threads, size_t queue_max)
{
    SOTTO_ASSERT(threads > 0);
    struct workers *w = sotto_zalloc(sizeof(*w) + threads * sizeof(w->threads[0]));
    SOTTO_ASSERT(pthread_mutex_init(&w->lock, NULL) == 0);
    SOTTO_ASSERT(pthread_cond_init(&w->work, NULL) == 0);
    w->last = &w->first;
    w->queue_max = queue_max;
    w->count = threads;
    /* Signals are for the main thread; a worker inherits the mask. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 0; i < threads; i++)
        SOTTO_ASSERT(pthread_create(&w->threads[i], NULL, worker_main, w) == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return w;
}

void workers_stop(struct workers *w)
{
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_broadcast(&w->work);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->count; i++) pthread_join(w->threads[i], NULL);
    w->count = 0;
}

void workers_destroy(struct workers **workers)
{
    struct workers *w = *workers;
    if (w == NULL) return;
    *workers = NULL;
    workers_stop(w);
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

bool workers_submit(struct workers *w, struct job *job)
{
    pthread_mutex_lock(&w->lock);
    bool taken = !w->stopping && workers_depth(w) < w->queue_max;
    if (taken) {
        job->mail.next = NULL;
        *w->last = &job->mail;
        w->last = &job->mail.next;
        atomic_fetch_add_explicit(&w->depth, 1, memory_order_relaxed);
        pthread_cond_signal(&w->work);
    }
    pthread_mutex_unlock(&w->lock);
    return taken;
}

size_t workers_depth(const struct workers *w)
{
    return atomic_load_explicit(&w->depth, memory_order_relaxed);
}
