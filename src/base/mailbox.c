/* Messages to one thread.
 *
 * DESIGN. `head` is a stack of posted nodes, newest first. Senders push with a
 * compare-and-swap; the receiver takes the whole stack with one exchange and
 * reverses it, so there is no ABA problem and no node is touched by two sides.
 *
 * An empty box is in one of two states. AWAKE (NULL): the receiver will look
 * again before it sleeps, and senders save the system call; a box begins so and
 * every take leaves it so. ASLEEP: the receiver waits for the eventfd, and the
 * sender that fills the box writes it, at once or when it has posted all it
 * has. The receiver falls asleep by a compare-and-swap from NULL, which fails
 * when mail came in between, so no wake-up is lost.
 *
 * Ordering: the push releases, the exchange acquires; everything a sender wrote
 * before posting is seen by the receiver.
 *
 * Rejected: a ring with sequence numbers (needs its memory up front for every
 * loop, and a full ring blocks), a mutex with a list (the receiver's long
 * batches would hold senders up).
 */
#include "base/mailbox.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bytes.h"

enum { MAIL_WARM_BYTES = 512 }; /* of what a node begins */

/* No node has this address. */
#define ASLEEP ((struct mail *)1)

enum sotto_err mailbox_init(struct mailbox *m, size_t max)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) return SOTTO_ERR_IO;
    atomic_init(&m->head, NULL);
    atomic_init(&m->count, 0);
    m->max = max;
    m->eventfd = fd;
    return SOTTO_OK;
}

void mailbox_deinit(struct mailbox *m)
{
    SOTTO_ASSERT(mailbox_empty(m));
    close(m->eventfd);
    m->eventfd = -1;
}

void mailbox_wake(struct mailbox *m)
{
    uint64_t one = 1;
    ssize_t n;
    do
        n = write(m->eventfd, &one, sizeof(one));
    while (n < 0 && errno == EINTR);
    /* EAGAIN: the counter is at its end, hence readable already. */
}

/* True: the receiver sleeps, and nobody else will wake it. */
static bool push(struct mailbox *m, struct mail *mail)
{
    struct mail *head = atomic_load_explicit(&m->head, memory_order_relaxed);
    do
        mail->next = head == ASLEEP ? NULL : head;
    while (!atomic_compare_exchange_weak_explicit(&m->head, &head, mail, memory_order_release,
                                                  memory_order_relaxed));
    return head == ASLEEP;
}

bool mailbox_post_quietly(struct mailbox *m, struct mail *mail, bool *asleep_out)
{
    if (atomic_fetch_add_explicit(&m->count, 1, memory_order_relaxed) >= m->max) {
        atomic_fetch_sub_explicit(&m->count, 1, memory_order_relaxed);
        return false;
    }
    *asleep_out = push(m, mail);
    return true;
}

bool mailbox_post_always_quietly(struct mailbox *m, struct mail *mail)
{
    atomic_fetch_add_explicit(&m->count, 1, memory_order_relaxed);
    return push(m, mail);
}

bool mailbox_post(struct mailbox *m, struct mail *mail)
{
    bool asleep;
    if (!mailbox_post_quietly(m, mail, &asleep)) return false;
    if (asleep) mailbox_wake(m);
    return true;
}

void mailbox_post_always(struct mailbox *m, struct mail *mail)
{
    if (mailbox_post_always_quietly(m, mail)) mailbox_wake(m);
}

struct mail *mailbox_take(struct mailbox *m)
{
    /* Looking first spares the exchange when there is no mail. */
    if (mailbox_empty(m)) return NULL;
    struct mail *head = atomic_exchange_explicit(&m->head, NULL, memory_order_acquire);
    struct mail *oldest = NULL;
    size_t count = 0;
    while (head != NULL) {
        struct mail *next = head->next;
        head->next = oldest;
        oldest = head;
        head = next;
        count++;
    }
    atomic_fetch_sub_explicit(&m->count, count, memory_order_relaxed);
    return oldest;
}

size_t mailbox_deliver(struct mailbox *m, void *receiver)
{
    struct mail *mail = mailbox_take(m);
    size_t count = 0;
    while (mail != NULL) {
        struct mail *next = mail->next;
        prefetch(next, MAIL_WARM_BYTES);
        mail->deliver(mail, receiver);
        mail = next;
        count++;
    }
    return count;
}

void mailbox_awake(struct mailbox *m)
{
    struct mail *head = ASLEEP;
    atomic_compare_exchange_strong_explicit(&m->head, &head, NULL, memory_order_relaxed,
                                            memory_order_relaxed);
}

bool mailbox_sleep(struct mailbox *m)
{
    struct mail *head = NULL;
    return atomic_compare_exchange_strong_explicit(&m->head, &head, ASLEEP, memory_order_relaxed,
                                                   memory_order_relaxed) ||
           head == ASLEEP;
}

bool mailbox_empty(struct mailbox *m)
{
    struct mail *head = atomic_load_explicit(&m->head, memory_order_relaxed);
    return head == NULL || head == ASLEEP;
}

void mailbox_drain_eventfd(struct mailbox *m)
{
    uint64_t count;
    ssize_t n;
    do
        n = read(m->eventfd, &count, sizeof(count));
    while (n < 0 && errno == EINTR);
}

void mailbox_wait(struct mailbox *m, int timeout_ms)
{
    if (!mailbox_sleep(m)) return;
    struct pollfd p = {.fd = m->eventfd, .events = POLLIN};
    if (poll(&p, 1, timeout_ms) > 0) mailbox_drain_eventfd(m);
    mailbox_awake(m);
}
