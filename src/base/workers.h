/* A few threads for what blocks: password hashing, SQL, reads from disk. */
#ifndef SOTTO_BASE_WORKERS_H
#define SOTTO_BASE_WORKERS_H

#include "base/mailbox.h"

struct workers;
/* Embedded first in a caller's struct. `run` is called on a worker thread;
 * afterwards the job is posted to `reply_to` (or, when that is NULL, `run` owns
 * and may free it). */
struct job {
    struct mail mail;
    void (*run)(struct job *job);
    struct mailbox *reply_to;
};

/* Starts `threads` threads with a queue of `queue_max` jobs. Aborts when the
 * system cannot start a thread. */
struct workers *workers_create(unsigned threads, size_t queue_max);
/* Runs what is queued and joins; submitting is refused from then on. For those
 * who may still try: destroy when they are gone. */
void workers_stop(struct workers *w);
/* The same, then frees and nulls. */
void workers_destroy(struct workers **w);
/* False when the queue is full; nothing was taken. Any thread. */
SOTTO_CHECKED bool workers_submit(struct workers *w, struct job *job);
/* Jobs waiting now. Any thread. */
size_t workers_depth(const struct workers *w);

#endif
