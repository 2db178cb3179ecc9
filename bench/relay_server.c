/* The relay's process; see relay.h. */
#include "relay.h"

#include "base/bytes.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, SCRATCH = 256 * 1024 };

struct peer {
    int fd;
    uint8_t head[RELAY_NUMBER_LEN];
    size_t have;             /* of the frame that is arriving */
    uint64_t first, count;   /* frames to write at the end of this turn: first, first + 1, ... */
};
/* What goes from one thread to the other. */
struct batch {
    struct buffer bytes;     /* as they came */
    struct frame { uint32_t peer; uint64_t number; } *frames;
    size_t count, size;
};
struct relay {
    size_t send_len, new_len, peers_count, open;
    struct peer *peers;
    uint32_t *touched;
    size_t touched_count;
    uint8_t *scratch;
    struct batch arrived;    /* the loop's, until it hands over */
    int log, done_fd;
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct batch waiting, done; /* under the lock */
    bool stop, failed;
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
    buffer_init(&b->bytes, (size_t)1 << 30);
}

static void batch_deinit(struct batch *b)
{
    buffer_deinit(&b->bytes);
    free(b->frames);
}

static void batch_move(struct batch *to, struct batch *from)
{
    if (from->bytes.len > 0) buffer_append(&to->bytes, from->bytes.data, from->bytes.len);
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
        buffer_clear(&mine.bytes);
        pthread_mutex_lock(&r->lock);
        r->failed = r->failed || !ok;
        batch_move(&r->done, &mine);
        (void)eventfd_write(r->done_fd, 1);
    }
    pthread_mutex_unlock(&r->lock);
    batch_deinit(&mine);
    return NULL;
}

/* ---- Loop ------------------------------------------------------------------ */

static void owe(struct relay *r, uint32_t at, uint64_t number)
{
    struct peer *p = &r->peers[at];
    if (p->count++ != 0) return;
    p->first = number;
    r->touched[r->touched_count++] = at;
}

static void on_done(struct relay *r)
{
    eventfd_t value;
    (void)eventfd_read(r->done_fd, &value);
    struct batch done;
    batch_init(&done);
    pthread_mutex_lock(&r->lock);
    struct batch taken = r->done;
    r->done = done;
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < taken.count; i++) {
        owe(r, taken.frames[i].peer, taken.frames[i].number);
        owe(r, taken.frames[i].peer + 1, taken.frames[i].number);
    }
    batch_deinit(&taken);
}

/* One write for each connection and turn. */
static void pay(struct relay *r)
{
    for (size_t i = 0; i < r->touched_count; i++) {
        struct peer *p = &r->peers[r->touched[i]];
        size_t each = r->touched[i] % 2 == 0 ? RELAY_SENT_LEN : r->new_len, len = 0;
        for (; p->count > 0 && len + each <= SCRATCH; p->count--, len += each)
            store_be64(r->scratch + len, p->first++);
        if (p->fd >= 0 && (p->count > 0 || send(p->fd, r->scratch, len, MSG_NOSIGNAL) != (ssize_t)len))
            r->failed = true; /* nobody is slow here */
    }
    r->touched_count = 0;
}

static void on_bytes(struct relay *r, uint32_t at)
{
    struct peer *p = &r->peers[at];
    ssize_t n = recv(p->fd, r->scratch, SCRATCH, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        close(p->fd);
        p->fd = -1;
        r->open--;
        return;
    }
    buffer_append(&r->arrived.bytes, r->scratch, (size_t)n);
    for (ssize_t i = 0; i < n;) {
        while (p->have < RELAY_NUMBER_LEN && i < n) p->head[p->have++] = r->scratch[i++];
        size_t rest = r->send_len - p->have, some = (size_t)(n - i) < rest ? (size_t)(n - i) : rest;
        p->have += some;
        i += (ssize_t)some;
        if (p->have < r->send_len) break;
        batch_add(&r->arrived, at, load_be64(p->head));
        p->have = 0;
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

static void turn(struct relay *r, int poll)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(poll, events, EVENTS, 100);
    for (int i = 0; i < n; i++) {
        if (events[i].data.u32 == UINT32_MAX) on_done(r);
        else on_bytes(r, events[i].data.u32);
    }
    hand_over(r);
    pay(r);
}

static bool accept_all(struct relay *r, int listener, int poll)
{
    int one = 1;
    for (; r->open < r->peers_count; r->open++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return false;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.u32 = (uint32_t)r->open};
        r->peers[r->open].fd = fd;
        if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e) != 0) return false;
    }
    return true;
}

int relay_serve(int listener, int log, size_t pairs, uint64_t payload)
{
    struct relay r = {.send_len = RELAY_SEND_EXTRA + relay_base64_len(payload), .peers_count = 2 * pairs, .log = log,
                      .new_len = RELAY_NEW_EXTRA + relay_base64_len(payload), .scratch = malloc(SCRATCH),
                      .lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER,
                      .done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    r.peers = calloc(r.peers_count, sizeof *r.peers);
    r.touched = calloc(r.peers_count, sizeof *r.touched);
    int poll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
    pthread_t thread;
    SOTTO_ASSERT(r.peers != NULL && r.touched != NULL && r.scratch != NULL && r.done_fd >= 0 && poll >= 0);
    memset(r.scratch, 'x', SCRATCH);
    batch_init(&r.arrived);
    batch_init(&r.waiting);
    batch_init(&r.done);
    SOTTO_ASSERT(epoll_ctl(poll, EPOLL_CTL_ADD, r.done_fd, &e) == 0);
    SOTTO_ASSERT(pthread_create(&thread, NULL, writer, &r) == 0);
    bool ok = accept_all(&r, listener, poll);
    while (ok && r.open > 0 && !r.failed) turn(&r, poll);
    pthread_mutex_lock(&r.lock);
    r.stop = true;
    pthread_mutex_unlock(&r.lock);
    pthread_cond_signal(&r.filled);
    pthread_join(thread, NULL);
    return ok && !r.failed ? 0 : 1;
}
