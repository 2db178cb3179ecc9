/* The relay's process; see relay.h. */
#include "relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256 };

/* What goes from one thread to the other. */
struct batch {
    struct buffer bytes;     /* as they came */
    struct frame { uint32_t peer; uint64_t number; } *frames;
    size_t count, size;
};
struct relay {
    size_t send_len, new_len, peers_count, open;
    struct relay_end *peers;
    uint32_t *touched;       /* peers that are due */
    size_t touched_count;
    uint8_t *scratch;
    struct batch arrived, finished; /* the loop's: before the writer, after it */
    bool failed;
    int log, poll, done_fd;
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct batch waiting, done; /* under the lock */
    bool stop, unwritten;
};

static void batch_add(struct batch *b, uint32_t peer, uint64_t number)
{
    if (b->count == b->size) {
        b->size = b->size == 0 ? 1024 : 2 * b->size;
        b->frames = realloc(b->frames, b->size * sizeof *b->frames);
        SOTTO_ASSERT(b->frames != NULL);
    }
    b->frames[b->count++] = (struct frame){peer, number};
}

static void batch_init(struct batch *b)
{
    *b = (struct batch){0};
    buffer_init(&b->bytes, RELAY_INFLIGHT_MAX);
}

static void batch_deinit(struct batch *b)
{
    buffer_deinit(&b->bytes);
    free(b->frames);
}

static void batch_move(struct batch *to, struct batch *from)
{
    if (from->bytes.len > 0) buffer_append(&to->bytes, from->bytes.data, from->bytes.len);
    SOTTO_ASSERT(!to->bytes.overflow); /* the load keeps to RELAY_INFLIGHT_MAX */
    for (size_t i = 0; i < from->count; i++) batch_add(to, from->frames[i].peer, from->frames[i].number);
    buffer_clear(&from->bytes);
    from->count = 0;
}

/* ---- Writer ---------------------------------------------------------------- */

static bool append(int fd, const struct buffer *b)
{
    for (size_t at = 0; at < b->len;) {
        ssize_t n = write(fd, b->data + at, b->len - at);
        if (n < 0) return false;
        at += (size_t)n;
    }
    return fdatasync(fd) == 0;
}

static void *writer(void *arg)
{
    struct relay *r = arg;
    struct batch mine;
    batch_init(&mine);
    pthread_mutex_lock(&r->lock);
    for (;;) {
        while (r->waiting.count == 0 && !r->stop) pthread_cond_wait(&r->filled, &r->lock);
        if (r->waiting.count == 0) break;
        struct batch taken = r->waiting;
        r->waiting = mine;
        mine = taken;
        pthread_mutex_unlock(&r->lock);
        bool ok = append(r->log, &mine.bytes);
        if (!ok) (void)fprintf(stderr, "relay: its file: %s; --data takes another directory\n", strerror(errno));
        buffer_clear(&mine.bytes);
        pthread_mutex_lock(&r->lock);
        r->unwritten = r->unwritten || !ok;
        batch_move(&r->done, &mine);
        (void)eventfd_write(r->done_fd, 1);
    }
    pthread_mutex_unlock(&r->lock);
    batch_deinit(&mine);
    return NULL;
}

/* ---- Loop ------------------------------------------------------------------ */

static void touch(struct relay *r, uint32_t at)
{
    if (r->peers[at].due) return;
    r->peers[at].due = true;
    r->touched[r->touched_count++] = at;
}

static void owe(struct relay *r, uint32_t at, uint64_t number)
{
    struct relay_end *p = &r->peers[at];
    if (p->count == 0) p->first = number;
    if (number != p->first + p->count++ && !r->failed) {
        (void)fprintf(stderr, "relay: frame %llu of a connection out of order\n", (unsigned long long)number);
        r->failed = true;
    }
    touch(r, at);
}

static void on_done(struct relay *r)
{
    eventfd_t value;
    (void)eventfd_read(r->done_fd, &value);
    pthread_mutex_lock(&r->lock);
    struct batch taken = r->done;
    r->done = r->finished;
    r->failed = r->failed || r->unwritten;
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < taken.count && !r->failed; i++) {
        owe(r, taken.frames[i].peer, taken.frames[i].number);
        owe(r, taken.frames[i].peer + 1, taken.frames[i].number);
    }
    taken.count = 0;
    r->finished = taken;
}

static void drop(struct relay *r, struct relay_end *p)
{
    close(p->fd);
    p->fd = -1;
    p->count = 0;
    r->open--;
}

/* One write for each connection and turn. */
static void pay(struct relay *r)
{
    for (size_t i = 0; i < r->touched_count; i++) {
        uint32_t at = r->touched[i];
        struct relay_end *p = &r->peers[at];
        p->due = false;
        if (p->fd >= 0 && !relay_write(p, at % 2 == 0 ? RELAY_SENT_LEN : r->new_len, r->scratch)) drop(r, p);
    }
    r->touched_count = 0;
}

static void on_ready(struct relay *r, uint32_t at, uint32_t events)
{
    struct relay_end *p = &r->peers[at];
    if ((events & EPOLLOUT) && p->count > 0) touch(r, at);
    if (!(events & ~(uint32_t)EPOLLOUT)) return;
    for (ssize_t n = RELAY_SCRATCH; n == RELAY_SCRATCH && p->fd >= 0;) {
        uint64_t number;
        n = recv(p->fd, r->scratch, RELAY_SCRATCH, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) {
            drop(r, p);
            return;
        }
        struct slice bytes = slice_of(r->scratch, (size_t)n);
        buffer_append(&r->arrived.bytes, bytes.data, bytes.len);
        while (relay_next(p, r->send_len, &bytes, &number)) batch_add(&r->arrived, at, number);
    }
}

static void hand_over(struct relay *r)
{
    if (r->arrived.count == 0) return;
    pthread_mutex_lock(&r->lock);
    bool idle = r->waiting.count == 0;
    batch_move(&r->waiting, &r->arrived);
    pthread_mutex_unlock(&r->lock);
    if (idle) pthread_cond_signal(&r->filled);
}

static void turn(struct relay *r)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(r->poll, events, EVENTS, 100);
    for (int i = 0; i < n; i++) {
        if (events[i].data.u32 == UINT32_MAX) on_done(r);
        else on_ready(r, events[i].data.u32, events[i].events);
    }
    hand_over(r);
    pay(r);
}

static bool accept_all(struct relay *r, int listener)
{
    int one = 1;
    for (; r->open < r->peers_count; r->open++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return false;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = (uint32_t)r->open};
        r->peers[r->open].fd = fd;
        if (epoll_ctl(r->poll, EPOLL_CTL_ADD, fd, &e) != 0) return false;
    }
    return true;
}

/* The loop, with the writer beside it, until all connections are closed. */
static bool serve(struct relay *r, int listener)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
    pthread_t thread;
    bool ok = r->poll >= 0 && r->done_fd >= 0 && epoll_ctl(r->poll, EPOLL_CTL_ADD, r->done_fd, &e) == 0 &&
              accept_all(r, listener);
    if (!ok) {
        (void)fprintf(stderr, "relay: accepting %zu connections: %s\n", r->peers_count, strerror(errno));
        return false;
    }
    if ((errno = pthread_create(&thread, NULL, writer, r)) != 0) {
        (void)fprintf(stderr, "relay: its writer: %s\n", strerror(errno));
        return false;
    }
    while (r->open > 0 && !r->failed) turn(r);
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_mutex_unlock(&r->lock);
    pthread_cond_signal(&r->filled);
    pthread_join(thread, NULL);
    return !r->failed;
}

int relay_serve(int listener, int log, size_t pairs, uint64_t payload)
{
    struct relay r = {.send_len = RELAY_SEND_EXTRA + relay_base64_len(payload), .peers_count = 2 * pairs, .log = log,
                      .new_len = RELAY_NEW_EXTRA + relay_base64_len(payload), .scratch = malloc(RELAY_SCRATCH),
                      .lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER,
                      .poll = epoll_create1(EPOLL_CLOEXEC), .done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    struct batch *batches[] = {&r.arrived, &r.waiting, &r.done, &r.finished};
    r.peers = calloc(r.peers_count, sizeof *r.peers);
    r.touched = calloc(r.peers_count, sizeof *r.touched);
    SOTTO_ASSERT(r.peers != NULL && r.touched != NULL && r.scratch != NULL);
    memset(r.scratch, 'x', RELAY_SCRATCH);
    for (size_t i = 0; i < r.peers_count; i++) r.peers[i].fd = -1;
    for (size_t i = 0; i < 4; i++) batch_init(batches[i]);
    bool ok = serve(&r, listener);
    for (size_t i = 0; i < 4; i++) batch_deinit(batches[i]);
    for (size_t i = 0; i < r.peers_count; i++)
        if (r.peers[i].fd >= 0) close(r.peers[i].fd);
    if (r.done_fd >= 0) close(r.done_fd);
    if (r.poll >= 0) close(r.poll);
    free(r.scratch);
    free(r.touched);
    free(r.peers);
    return ok ? 0 : 1;
}
