/* Messages to a thread: many senders, one receiver, intrusive, bounded.
 *
 * Lock-free stack of pending nodes that the receiver takes whole and reverses,
 * so that it sees each sender's messages in the order sent. A sender pays for a
 * wake-up (a write to the eventfd) only when the receiver sleeps: between
 * mailbox_sleep and the first message, no more. mailbox_wait does it all; a
 * receiver that polls the eventfd among other descriptors calls mailbox_sleep
 * before it waits and mailbox_awake after. A node belongs to the mailbox from a
 * successful post until it is taken.
 */
#ifndef SOTTO_BASE_MAILBOX_H
#define SOTTO_BASE_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct mail {
    struct mail *next;
    /* Called by the receiver (see mailbox_deliver); may free the mail. */
    void (*deliver)(struct mail *mail, void *receiver);
};

struct mailbox {
    _Atomic(struct mail *) head; /* newest first; see mailbox.c for the empty states */
    atomic_size_t count;  /* messages inside, never more than max + senders */
    size_t max;
    int eventfd;          /* for poll; owned */
};

SOTTO_CHECKED enum sotto_err mailbox_init(struct mailbox *m, size_t max);
/* Closes the eventfd. The box must be empty. */
void mailbox_deinit(struct mailbox *m);
/* False when full: nothing was posted. Any thread; never blocks. */
SOTTO_CHECKED bool mailbox_post(struct mailbox *m, struct mail *mail);
/* Posts past the bound: for answers whose number another bound already limits. */
void mailbox_post_always(struct mailbox *m, struct mail *mail);
/* The same two for who posts several: *asleep_out, or the result, is true when the
 * receiver sleeps. Then the caller must mailbox_wake it when all is posted, and soon:
 * others who post meanwhile rely on that. A receiver on the same processor would else
 * run at once, for the first mail alone. */
SOTTO_CHECKED bool mailbox_post_quietly(struct mailbox *m, struct mail *mail, bool *asleep_out);
SOTTO_CHECKED bool mailbox_post_always_quietly(struct mailbox *m, struct mail *mail);
/* Takes everything, oldest first, linked by next; NULL when empty. Receiver only. */
struct mail *mailbox_take(struct mailbox *m);
/* Takes everything and calls each mail's deliver in order; returns how many.
 * Receiver only. */
size_t mailbox_deliver(struct mailbox *m, void *receiver);
/* Waits until something arrives or timeout_ms passes (-1: for ever). May return
 * early; the box may then be empty. Receiver only. */
void mailbox_wait(struct mailbox *m, int timeout_ms);

/* Announces that the receiver is about to wait for the eventfd. When it is
 * false there is mail, and the receiver must not wait. Receiver only. */
SOTTO_CHECKED bool mailbox_sleep(struct mailbox *m);
/* Takes the announcement back, after the wait. Receiver only. */
void mailbox_awake(struct mailbox *m);
/* Clears the eventfd, after the wait; not needed with edge-triggered epoll. */
void mailbox_drain_eventfd(struct mailbox *m);

/* True when nothing waits. Any thread; stale at once for all but the receiver. */
bool mailbox_empty(struct mailbox *m);
/* Makes the eventfd readable without mail. Any thread, signal handlers too. */
void mailbox_wake(struct mailbox *m);

#endif
