/* Streams, listeners and outgoing connections over loopback; what plain and TLS
 * streams have in common is tested for both. */
#include "net/stream_private.h"
#include "unit/net/fixture.h"

#include <malloc.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

static void check_echo(bool tls)
{
    struct net *n = net_create(tls);
    n->server.echo = true;
    net_connect(n);
    /* Written before it is connected: sent then. */
    assert_int_equal(stream_write(n->client.stream, SLICE_LIT("hello")), 5);
    TURN_UNTIL(n, n->client.received.len == 5);
    assert_true(slice_is(buffer_slice(&n->client.received), "hello"));
    assert_true(stream_is_tls(n->client.stream) == tls);
    assert_ptr_equal(stream_loop(n->server.stream), n->loop);
    assert_int_equal(((struct sockaddr_in *)(void *)&n->peer)->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    /* Many small writes of one turn arrive together. */
    n->server.echo = false;
    int calls = n->server.calls;
    for (int i = 0; i < 100; i++) stream_write(n->client.stream, SLICE_LIT("0123456789"));
    assert_int_equal(stream_queued(n->client.stream), 1000);
    TURN_UNTIL(n, n->server.received.len == 1005);
    assert_int_equal(n->server.calls, calls + 1);
    assert_int_equal(stream_queued(n->client.stream), 0);
    net_destroy(n);
}

static void stream__echo__plain(void **state) { (void)state; check_echo(false); }
static void stream__echo__tls(void **state) { (void)state; check_echo(true); }

static void check_large(bool tls)
{
    enum { LEN = 20 << 20 };
    struct net *n = net_create(tls);
    open_both(n);
    uint8_t *data = sotto_alloc(LEN);
    for (size_t i = 0; i < LEN; i++) data[i] = (uint8_t)(i * 2654435761u >> 13);
    stream_write(n->server.stream, slice_of(data, LEN));
    stream_write(n->client.stream, slice_of(data, LEN / 2));
    TURN_UNTIL(n, n->client.received.len == LEN && n->server.received.len == LEN / 2);
    assert_memory_equal(n->client.received.data, data, LEN);
    assert_memory_equal(n->server.received.data, data, LEN / 2);
    TURN_UNTIL(n, n->server.drained == 1 && n->client.drained == 1);
    /* Over the low mark, though the kernel takes it at once: told too. */
    stream_write(n->server.stream, slice_of(data, STREAM_LOW_MARK));
    TURN_UNTIL(n, n->server.drained == 2);
    stream_write(n->server.stream, SLICE_LIT("small"));
    TURN_UNTIL(n, n->client.received.len == LEN + STREAM_LOW_MARK + 5);
    assert_int_equal(n->server.drained, 2);
    free(data);
    net_destroy(n);
}

static void stream__large_transfer__both_ways_plain(void **state) { (void)state; check_large(false); }
static void stream__large_transfer__both_ways_tls(void **state) { (void)state; check_large(true); }

static void check_close(bool tls)
{
    struct net *n = net_create(tls);
    n->server.close_on_data = true;
    open_both(n);
    stream_write(n->client.stream, SLICE_LIT("x"));
    TURN_UNTIL(n, n->client.closed && n->server.closed);
    assert_true(slice_is(buffer_slice(&n->client.received), "bye"));
    assert_int_equal(n->client.why, STREAM_END_EOF);
    assert_int_equal(n->server.why, STREAM_END_LOCAL);
    net_destroy(n);
}

static void stream__close__sends_what_is_queued_plain(void **state) { (void)state; check_close(false); }
static void stream__close__sends_what_is_queued_tls(void **state) { (void)state; check_close(true); }

static void check_unread_close(bool tls)
{
    /* The peer keeps sending: closing at once would reset the connection and
     * could destroy the answer. */
    enum { LEN = 4 << 20 };
    struct net *n = net_create(tls);
    n->server.close_on_data = true;
    open_both(n);
    uint8_t *data = sotto_zalloc(LEN);
    stream_write(n->client.stream, slice_of(data, LEN));
    TURN_UNTIL(n, n->client.closed && n->server.closed);
    assert_true(slice_is(buffer_slice(&n->client.received), "bye"));
    assert_true(n->server.received.len < LEN);
    free(data);
    net_destroy(n);
}

static void stream__close__survives_a_sending_peer_plain(void **state) { (void)state; check_unread_close(false); }
static void stream__close__survives_a_sending_peer_tls(void **state) { (void)state; check_unread_close(true); }

static void check_abort(bool tls)
{
    struct net *n = net_create(tls);
    n->server.abort_on_data = true;
    open_both(n);
    stream_write(n->client.stream, SLICE_LIT("x"));
    TURN_UNTIL(n, n->client.closed && n->server.closed);
    assert_int_equal(n->server.why, STREAM_END_LOCAL);
    net_destroy(n);
}

static void stream__abort__inside_received_plain(void **state) { (void)state; check_abort(false); }
static void stream__abort__inside_received_tls(void **state) { (void)state; check_abort(true); }

static void check_pause(bool tls)
{
    enum { LEN = 8 << 20 };
    struct net *n = net_create(tls);
    open_both(n);
    uint8_t *data = sotto_zalloc(LEN);
    n->server.pause_on_data = true;
    stream_write(n->client.stream, slice_of(data, LEN));
    TURN_UNTIL(n, n->server.calls == 1);
    for (int i = 0; i < 20; i++) loop_turn(n->loop, 1);
    assert_int_equal(n->server.calls, 1);
    assert_true(stream_queued(n->client.stream) > 0);
    n->server.pause_on_data = false;
    stream_pause(n->server.stream, false);
    TURN_UNTIL(n, n->server.received.len == LEN);
    free(data);
    net_destroy(n);
}

static void stream__pause__holds_the_peer_back_plain(void **state) { (void)state; check_pause(false); }
static void stream__pause__holds_the_peer_back_tls(void **state) { (void)state; check_pause(true); }

static void stream__half_close__answers_before_it_ends(void **state)
{
    (void)state;
    struct net *n = net_create(false);
    n->server.echo = true;
    int fd = raw_connect(n);
    assert_int_equal(send(fd, "request", 7, 0), 7);
    shutdown(fd, SHUT_WR);
    TURN_UNTIL(n, n->server.closed);
    assert_int_equal(n->server.why, STREAM_END_EOF);
    char answer[16];
    assert_int_equal(recv(fd, answer, sizeof(answer), 0), 7);
    assert_int_equal(recv(fd, answer, sizeof(answer), 0), 0);
    close(fd);
    net_destroy(n);
}

static void stream__reset__is_an_error(void **state)
{
    (void)state;
    struct net *n = net_create(false);
    int fd = raw_connect(n);
    TURN_UNTIL(n, n->server.opened);
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
    TURN_UNTIL(n, n->server.closed);
    assert_int_equal(n->server.why, STREAM_END_ERROR);
    net_destroy(n);
}

static void stream__reset__while_paused_is_an_error(void **state)
{
    (void)state;
    struct net *n = net_create(false);
    n->server.pause_on_data = true;
    int fd = raw_connect(n);
    assert_int_equal(send(fd, "x", 1, 0), 1);
    TURN_UNTIL(n, n->server.calls == 1);
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
    TURN_UNTIL(n, n->server.closed);
    assert_int_equal(n->server.why, STREAM_END_ERROR);
    net_destroy(n);
}

/* Data and the reset come in one event, and the data makes the owner pause. */
static void stream__reset__with_what_pauses_is_an_error(void **state)
{
    (void)state;
    struct net *n = net_create(false);
    n->server.pause_on_data = true;
    int fd = raw_connect(n);
    TURN_UNTIL(n, n->server.opened);
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    assert_int_equal(send(fd, "x", 1, 0), 1);
    close(fd);
    TURN_UNTIL(n, n->server.closed);
    assert_int_equal(n->server.calls, 1);
    assert_int_equal(n->server.why, STREAM_END_ERROR);
    net_destroy(n);
}

static void stream__close__gives_up_on_a_peer_that_never_reads(void **state)
{
    (void)state;
    enum { LEN = 16 << 20 };
    struct clock_manual clock;
    struct net *n = net_create(false);
    net_use_clock(n, &clock);
    int fd = raw_connect(n);
    TURN_UNTIL(n, n->server.opened);
    uint8_t *data = sotto_zalloc(LEN);
    stream_write(n->server.stream, slice_of(data, LEN));
    stream_close(n->server.stream, 5000);
    clock_manual_advance(&clock, 4900);
    for (int i = 0; i < 5; i++) loop_turn(n->loop, 0);
    assert_false(n->server.closed);
    clock_manual_advance(&clock, 200);
    TURN_UNTIL(n, n->server.closed);
    assert_int_equal(n->server.why, STREAM_END_LOCAL);
    close(fd);
    free(data);
    net_destroy(n);
}

static void stream__close__keeps_no_memory_while_it_lingers(void **state)
{
    (void)state;
    enum { LEN = 4 << 20, KEPT_MAX = 16 * 1024 };
    struct net *n = net_create(false);
    int fd = raw_connect(n);
    TURN_UNTIL(n, n->server.opened);
    uint8_t *data = sotto_zalloc(LEN);
    stream_write(n->server.stream, slice_of(data, LEN));
    stream_close(n->server.stream, 60000);
    assert_true(stream_held(n->server.stream) >= LEN);
    ssize_t got;
    do {
        loop_turn(n->loop, 0);
        got = recv(fd, data, LEN, MSG_DONTWAIT);
    } while (got != 0); /* all of it and the end, but ours is still open */
    assert_false(n->server.closed);
    assert_true(stream_held(n->server.stream) <= KEPT_MAX);
    close(fd);
    TURN_UNTIL(n, n->server.closed);
    free(data);
    net_destroy(n);
}

static void stream__queue__past_its_cap_ends_the_stream(void **state)
{
    (void)state;
    enum { LEN = 1 << 20 };
    struct net *n = net_create(false);
    int fd = raw_connect(n);
    TURN_UNTIL(n, n->server.opened);
    uint8_t *data = sotto_zalloc(LEN);
    for (int i = 0; i < 40; i++) stream_write(n->server.stream, slice_of(data, LEN));
    TURN_UNTIL(n, n->server.closed);
    assert_int_equal(n->server.why, STREAM_END_ERROR);
    close(fd);
    free(data);
    net_destroy(n);
}

static void check_shrinking(bool tls)
{
    enum { LEN = 20 << 20, KEPT_MAX = 64 * 1024, TIMES_MAX = 8 };
    struct net *n = net_create(tls);
    open_both(n);
    /* The kernel takes little at a time. */
    assert_int_equal(setsockopt(n->server.stream->watch.fd, SOL_SOCKET, SO_SNDBUF, &(int){64 * 1024}, sizeof(int)), 0);
    uint8_t *data = sotto_zalloc(LEN);
    stream_write(n->server.stream, slice_of(data, LEN));
    size_t queued = LEN, least = LEN;
    for (; queued > 0; queued = stream_queued(n->server.stream)) {
        size_t most = queued * TIMES_MAX > KEPT_MAX ? queued * TIMES_MAX : KEPT_MAX;
        size_t held = stream_held(n->server.stream);
        assert_true(held >= queued && held >= stream_output(n->server.stream)->size && held <= most);
        least = queued;
        loop_turn(n->loop, 20);
    }
    assert_true(least < LEN / 40); /* it was looked at when there was little left */
    TURN_UNTIL(n, n->client.received.len == LEN);
    assert_true(stream_held(n->server.stream) <= KEPT_MAX);
    free(data);
    net_destroy(n);
}
static void stream__queue__gives_memory_back_while_it_is_read_plain(void **state) { (void)state; check_shrinking(false); }
static void stream__queue__gives_memory_back_while_it_is_read_tls(void **state) { (void)state; check_shrinking(true); }

/* Lines of another length each, so many that the kernel cannot have them all. */
static void queue_lines(struct stream *s, unsigned *next, size_t bytes)
{
    for (size_t sum = 0; sum < bytes;) {
        char line[1024];
        unsigned number = (*next)++;
        int len = snprintf(line, sizeof(line), "%u %*s\n", number, (int)(number * 37 % 900), "x");
        sum += (size_t)len;
        stream_write(s, slice_of(line, (size_t)len));
    }
}

static void check_cut(bool tls)
{
    struct net *n = net_create(tls);
    unsigned next = 0;
    open_both(n);
    stream_pause(n->client.stream, true);
    /* Blocked twice, and compacted on the way. */
    queue_lines(n->server.stream, &next, 20 << 20);
    for (int turn = 0; turn < 20; turn++) loop_turn(n->loop, 1);
    stream_pause(n->client.stream, false);
    size_t before = stream_queued(n->server.stream);
    TURN_UNTIL(n, stream_queued(n->server.stream) < before / 4);
    stream_pause(n->client.stream, true);
    queue_lines(n->server.stream, &next, 18 << 20);
    for (int turn = 0; turn < 20; turn++) loop_turn(n->loop, 1);
    assert_true(stream_queued(n->server.stream) > 1 << 20);
    stream_cut(n->server.stream);
    assert_true(stream_queued(n->server.stream) < (tls ? 100 * 1024 : 1024));
    stream_cut(n->server.stream); /* again: nothing more to drop */
    stream_write(n->server.stream, SLICE_LIT("cut\n"));
    stream_close(n->server.stream, 5000);
    stream_pause(n->client.stream, false);
    TURN_UNTIL(n, n->client.closed && n->server.closed);
    assert_int_equal(n->client.why, STREAM_END_EOF);
    /* Whole lines in order, fewer than were queued, then the last word. */
    buffer_append_byte(&n->client.received, 0);
    const char *at = (const char *)n->client.received.data;
    unsigned lines = 0;
    for (char line[1024]; memcmp(at, "cut\n", 5) != 0; lines++) {
        int len = snprintf(line, sizeof(line), "%u %*s\n", lines, (int)(lines * 37 % 900), "x");
        assert_memory_equal(at, line, (size_t)len);
        at += len;
    }
    assert_true(lines > 0 && lines < next);
    net_destroy(n);
}
static void stream__cut__leaves_whole_units_plain(void **state) { (void)state; check_cut(false); }
static void stream__cut__leaves_whole_units_tls(void **state) { (void)state; check_cut(true); }

static void stream__cut__of_what_has_not_begun_drops_all(void **state)
{
    (void)state;
    struct net *n = net_create(false);
    open_both(n);
    stream_write(n->server.stream, SLICE_LIT("one\ntwo\n"));
    stream_cut(n->server.stream);
    assert_int_equal(stream_queued(n->server.stream), 0);
    /* What was said in another language goes out whole. */
    stream_write(n->server.stream, SLICE_LIT("head\nhead\n"));
    stream_units_begin(n->server.stream);
    stream_write(n->server.stream, SLICE_LIT("three\n"));
    stream_cut(n->server.stream);
    stream_write(n->server.stream, SLICE_LIT("four\n"));
    stream_close(n->server.stream, 5000);
    TURN_UNTIL(n, n->client.closed && n->server.closed);
    assert_int_equal(n->client.received.len, 15);
    assert_memory_equal(n->client.received.data, "head\nhead\nfour\n", 15);
    net_destroy(n);
}

static void stream__idle__costs_96_bytes_of_heap(void **state)
{
    (void)state;
    struct net *n = net_create(false);
    n->server.echo = true;
    open_both(n);
    stream_write(n->client.stream, SLICE_LIT("warm"));
    TURN_UNTIL(n, n->client.received.len == 4);
    enum { COUNT = 100 };
    int fds[COUNT];
    struct stream *streams[COUNT];
    struct stream *first = n->server.stream;
    for (int i = 0; i < COUNT; i++) {
        n->server.opened = false;
        fds[i] = raw_connect(n);
        TURN_UNTIL(n, n->server.opened);
        streams[i] = n->server.stream;
    }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    struct mallinfo2 before = mallinfo2();
    for (int i = 0; i < COUNT; i++) stream_write(streams[i], SLICE_LIT("output that comes and goes"));
    loop_turn(n->loop, 0);
    /* The first finds all of them used since the start, the second none. */
    loop_trim(n->loop);
    loop_trim(n->loop);
    struct mallinfo2 after = mallinfo2();
    assert_true(after.uordblks < before.uordblks + 4096);
    assert_true(malloc_usable_size(streams[0]) + sizeof(size_t) <= 96);
#endif
    for (int i = 0; i < COUNT; i++) {
        n->server.stream = streams[i];
        n->server.closed = false;
        stream_abort(streams[i]);
        loop_turn(n->loop, 0);
        assert_true(n->server.closed);
        close(fds[i]);
    }
    n->server.stream = first;
    n->server.closed = false;
    net_destroy(n);
}

static void check_refusing(bool tls)
{
    struct net *n = net_create(tls);
    n->refuse = true;
    net_connect(n);
    stream_write(n->client.stream, SLICE_LIT("a request"));
    TURN_UNTIL(n, n->client.closed);
    assert_int_equal(n->accepted, 1);
    assert_false(tls && n->client.opened);
    assert_int_equal(n->client.received.len, tls ? 0 : 7);
    if (!tls) assert_memory_equal(n->client.received.data, "no room", 7);
    net_destroy(n);
}
static void listener__refusing__says_why_plain(void **state) { (void)state; check_refusing(false); }
static void listener__refusing__closes_the_connection_tls(void **state) { (void)state; check_refusing(true); }

static void listener__no_descriptors__pauses_and_recovers(void **state)
{
    (void)state;
    struct clock_manual clock;
    struct net *n = net_create(false);
    net_use_clock(n, &clock);
    int fd = raw_connect(n);
    struct rlimit limit, low;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = limit;
    low.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    for (int i = 0; i < 5; i++) loop_turn(n->loop, 5);
    assert_int_equal(n->accepted, 0);
    assert_int_equal(listener_refused(n->listener), 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    clock_manual_advance(&clock, 900);
    for (int i = 0; i < 5; i++) loop_turn(n->loop, 0);
    assert_int_equal(n->accepted, 0);
    clock_manual_advance(&clock, 200);
    TURN_UNTIL(n, n->server.opened);
    close(fd);
    net_destroy(n);
}

static void listener__options__are_inherited(void **state)
{
    (void)state;
    struct net *n = net_create(false);
    open_both(n);
    /* The accepted descriptor is the one whose peer is the client: find it by
     * number, the highest open one but the client's. */
    int found = 0;
    for (int fd = 3; fd < 64; fd++) {
        struct sockaddr_in name;
        socklen_t len = sizeof(name);
        if (getpeername(fd, (struct sockaddr *)&name, &len) != 0) continue;
        int no_delay = 0, keep_alive = 0, timeout = 0;
        len = sizeof(int);
        getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, &len);
        getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &keep_alive, &len);
        getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, &len);
        assert_true(no_delay && keep_alive && timeout == 60000);
        found++;
    }
    assert_int_equal(found, 2);
    net_destroy(n);
}

static void listener__host__forms(void **state)
{
    (void)state;
    struct net *n = net_create(false);
    struct listener *l;
    assert_int_equal(listener_create(n->loop, "::1%none", 0, NULL, on_accept, n, &l), SOTTO_ERR_INVALID);
    assert_int_equal(listener_create(n->loop, "*", 0, NULL, on_accept, n, &l), SOTTO_OK);
    assert_true(listener_port(l) != 0);
    listener_destroy(&l);
    assert_null(l);
    /* A socket that does not share its port. */
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    assert_int_equal(listener_create(n->loop, "127.0.0.1", ntohs(a.sin_port), NULL, on_accept, n, &l),
                     SOTTO_ERR_EXISTS);
    close(fd);
    net_destroy(n);
}

static void connect__refused__is_closed_with_an_error(void **state)
{
    (void)state;
    struct net *n = net_create(false);
    uint16_t port = listener_port(n->listener);
    listener_destroy(&n->listener);
    assert_int_equal(stream_connect(n->loop, "localhost", port, NULL, &end_owner, &n->client, &n->client.stream),
                     SOTTO_OK);
    TURN_UNTIL(n, n->client.closed);
    assert_int_equal(n->client.why, STREAM_END_ERROR);
    assert_false(n->client.opened);
    assert_int_equal(stream_connect(n->loop, "::1%none", port, NULL, &end_owner, &n->client, &n->client.stream),
                     SOTTO_ERR_NOT_FOUND);
    net_destroy(n);
}

static void connect__closed_at_once__is_local(void **state)
{
    (void)state;
    struct net *n = net_create(false);
    net_connect(n);
    stream_close(n->client.stream, 1000);
    assert_false(n->client.closed);
    TURN_UNTIL(n, n->client.closed);
    assert_int_equal(n->client.why, STREAM_END_LOCAL);
    assert_false(n->client.opened);
    net_destroy(n);
}

static void stream__output__is_appended_to_in_place(void **state)
{
    (void)state;
    struct net *n = net_create(false);
    open_both(n);
    buffer_append_str(stream_output(n->server.stream), "one ");
    buffer_append_str(stream_output(n->server.stream), "two");
    stream_flush_later(n->server.stream);
    assert_int_equal(stream_queued(n->server.stream), 7);
    TURN_UNTIL(n, n->client.received.len == 7);
    assert_true(slice_is(buffer_slice(&n->client.received), "one two"));
    /* After the end too, though nobody will read it. */
    stream_close(n->server.stream, 1000);
    loop_turn(n->loop, 0);
    if (n->server.stream != NULL) {
        buffer_append_str(stream_output(n->server.stream), "late");
        stream_flush_later(n->server.stream);
    }
    TURN_UNTIL(n, n->client.closed && n->server.closed);
    assert_int_equal(n->client.received.len, 7);
    assert_int_equal(n->server.why, STREAM_END_LOCAL);
    net_destroy(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream__echo__plain),
        cmocka_unit_test(stream__echo__tls),
        cmocka_unit_test(stream__large_transfer__both_ways_plain),
        cmocka_unit_test(stream__large_transfer__both_ways_tls),
        cmocka_unit_test(stream__close__sends_what_is_queued_plain),
        cmocka_unit_test(stream__close__sends_what_is_queued_tls),
        cmocka_unit_test(stream__close__survives_a_sending_peer_plain),
        cmocka_unit_test(stream__close__survives_a_sending_peer_tls),
        cmocka_unit_test(stream__abort__inside_received_plain),
        cmocka_unit_test(stream__abort__inside_received_tls),
        cmocka_unit_test(stream__pause__holds_the_peer_back_plain),
        cmocka_unit_test(stream__pause__holds_the_peer_back_tls),
        cmocka_unit_test(stream__half_close__answers_before_it_ends),
        cmocka_unit_test(stream__reset__is_an_error),
        cmocka_unit_test(stream__reset__while_paused_is_an_error),
        cmocka_unit_test(stream__reset__with_what_pauses_is_an_error),
        cmocka_unit_test(stream__close__gives_up_on_a_peer_that_never_reads),
        cmocka_unit_test(stream__close__keeps_no_memory_while_it_lingers),
        cmocka_unit_test(stream__queue__past_its_cap_ends_the_stream),
        cmocka_unit_test(stream__queue__gives_memory_back_while_it_is_read_plain),
        cmocka_unit_test(stream__queue__gives_memory_back_while_it_is_read_tls),
        cmocka_unit_test(stream__cut__leaves_whole_units_plain),
        cmocka_unit_test(stream__cut__leaves_whole_units_tls),
        cmocka_unit_test(stream__cut__of_what_has_not_begun_drops_all),
        cmocka_unit_test(stream__idle__costs_96_bytes_of_heap),
        cmocka_unit_test(listener__refusing__says_why_plain),
        cmocka_unit_test(listener__refusing__closes_the_connection_tls),
        cmocka_unit_test(listener__no_descriptors__pauses_and_recovers),
        cmocka_unit_test(listener__options__are_inherited),
        cmocka_unit_test(listener__host__forms),
        cmocka_unit_test(connect__refused__is_closed_with_an_error),
        cmocka_unit_test(connect__closed_at_once__is_local),
        cmocka_unit_test(stream__output__is_appended_to_in_place),
    };
    return cmocka_run_group_tests(tests, make_certificate, remove_certificate);
}
