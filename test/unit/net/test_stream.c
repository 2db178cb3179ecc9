/* Streams over loopback: plain and TLS 1.3, with a certificate made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "net/stream.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static char cert_file[64], key_file[64], other_key_file[64];

static void write_key(const char *file, EVP_PKEY *key)
{
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
}

/* A self-signed certificate for "localhost" and 127.0.0.1. */
static int make_certificate(void **state)
{
    (void)state;
    snprintf(cert_file, sizeof(cert_file), "/tmp/sotto-test-%d-cert.pem", (int)getpid());
    snprintf(key_file, sizeof(key_file), "/tmp/sotto-test-%d-key.pem", (int)getpid());
    snprintf(other_key_file, sizeof(other_key_file), "/tmp/sotto-test-%d-other.pem", (int)getpid());
    EVP_PKEY *key = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    assert_non_null(key);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME *name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(cert, name);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
    X509_add_ext(cert, names, -1);
    X509_EXTENSION_free(names);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    FILE *f = fopen(cert_file, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, cert), 1);
    fclose(f);
    write_key(key_file, key);
    write_key(other_key_file, other);
    X509_free(cert);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    return 0;
}

static int remove_certificate(void **state)
{
    (void)state;
    unlink(cert_file);
    unlink(key_file);
    unlink(other_key_file);
    return 0;
}

/* One end of a connection and what happened to it. */
struct end {
    struct stream *stream; /* NULL once closed */
    struct buffer received;
    bool opened;
    bool closed;
    enum stream_end why;
    int drained;
    int calls;          /* of received */
    bool echo;          /* send back what comes */
    bool close_on_data; /* answer "bye" and close */
    bool abort_on_data;
    bool pause_on_data;
};

struct net {
    struct loop *loop;
    struct listener *listener;
    struct tls_context *server_tls, *client_tls;
    struct end server, client;
    struct sockaddr_storage peer;
    int accepted;
    bool refuse;
};

static void end_opened(struct stream *s, void *ctx)
{
    struct end *e = ctx;
    assert_ptr_equal(s, e->stream);
    assert_false(e->opened);
    e->opened = true;
}

static void end_received(struct stream *s, void *ctx, uint8_t *data, size_t len)
{
    struct end *e = ctx;
    assert_true(e->opened);
    assert_false(e->closed);
    e->calls++;
    memset(loop_scratch(stream_loop(s)), 0xee, LOOP_SCRATCH_LEN);
    buffer_append(&e->received, data, len);
    if (e->echo) stream_write(s, slice_of(data, len));
    if (e->close_on_data) {
        stream_write(s, SLICE_LIT("bye"));
        stream_close(s, 2000);
        stream_write(s, SLICE_LIT("too late"));
    }
    if (e->abort_on_data) stream_abort(s);
    if (e->pause_on_data) stream_pause(s, true);
}

static void end_drained(struct stream *s, void *ctx)
{
    struct end *e = ctx;
    assert_int_equal(stream_queued(s), 0);
    e->drained++;
}

static void end_closed(struct stream *s, void *ctx, enum stream_end why)
{
    struct end *e = ctx;
    assert_ptr_equal(s, e->stream);
    assert_false(e->closed);
    e->closed = true;
    e->why = why;
    e->stream = NULL;
}

static const struct stream_owner end_owner = {end_opened, end_received, end_drained, end_closed};

static bool on_accept(void *ctx, struct stream *s, const struct sockaddr_storage *peer,
                      const struct stream_owner **owner_out, void **owner_ctx_out)
{
    struct net *n = ctx;
    n->accepted++;
    n->peer = *peer;
    if (n->refuse) return false;
    n->server.stream = s;
    *owner_out = &end_owner;
    *owner_ctx_out = &n->server;
    return true;
}

static struct net *net_create(bool tls)
{
    struct net *n = sotto_zalloc(sizeof(*n));
    struct buffer why;
    buffer_init(&why, 1000);
    buffer_init(&n->server.received, 64 << 20);
    buffer_init(&n->client.received, 64 << 20);
    assert_int_equal(loop_create(clock_system(), 100, &n->loop), SOTTO_OK);
    if (tls) {
        assert_int_equal(tls_server_create(cert_file, key_file, &why, &n->server_tls), SOTTO_OK);
        assert_int_equal(tls_client_create("localhost", cert_file, true, &why, &n->client_tls), SOTTO_OK);
    }
    assert_int_equal(listener_create(n->loop, "127.0.0.1", 0, n->server_tls, on_accept, n, &n->listener), SOTTO_OK);
    buffer_deinit(&why);
    return n;
}

static void net_destroy(struct net *n)
{
    listener_destroy(&n->listener);
    if (n->server.stream != NULL) stream_abort(n->server.stream);
    if (n->client.stream != NULL) stream_abort(n->client.stream);
    loop_destroy(&n->loop);
    assert_null(n->server.stream);
    assert_null(n->client.stream);
    tls_unref(&n->server_tls);
    tls_unref(&n->client_tls);
    buffer_deinit(&n->server.received);
    buffer_deinit(&n->client.received);
    free(n);
}

/* Starts over with a clock that is moved by hand. */
static void net_use_clock(struct net *n, struct clock_manual *clock)
{
    clock_manual_init(clock, 0);
    listener_destroy(&n->listener);
    loop_destroy(&n->loop);
    assert_int_equal(loop_create(&clock->source, 100, &n->loop), SOTTO_OK);
    assert_int_equal(listener_create(n->loop, "127.0.0.1", 0, n->server_tls, on_accept, n, &n->listener), SOTTO_OK);
}

static void net_connect(struct net *n)
{
    assert_int_equal(stream_connect(n->loop, "127.0.0.1", listener_port(n->listener), n->client_tls, &end_owner,
                                    &n->client, &n->client.stream),
                     SOTTO_OK);
}

/* Turns until the condition holds; ten seconds are a failure. */
#define TURN_UNTIL(n, condition)                                                            \
    do {                                                                                    \
        uint64_t give_up = clock_monotonic_ms(clock_system()) + 10000;                      \
        while (!(condition)) {                                                              \
            if (clock_monotonic_ms(clock_system()) > give_up) fail_msg("never: " #condition); \
            loop_turn((n)->loop, 20);                                                       \
        }                                                                                   \
    } while (0)

static void open_both(struct net *n)
{
    net_connect(n);
    TURN_UNTIL(n, n->server.opened && n->client.opened);
}

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

/* A blocking socket of the system's, for what our own streams never do. */
static int raw_connect(struct net *n)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(listener_port(n->listener))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

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
    struct mallinfo2 after = mallinfo2();
    /* The pool may have grown; the streams have not. */
    assert_true(after.uordblks - before.uordblks < 128 * 512);
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

static void listener__refusing__closes_the_connection(void **state)
{
    (void)state;
    struct net *n = net_create(false);
    n->refuse = true;
    net_connect(n);
    TURN_UNTIL(n, n->client.closed);
    assert_int_equal(n->accepted, 1);
    net_destroy(n);
}

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

static void tls__wrong_name__is_refused_by_the_client(void **state)
{
    (void)state;
    struct net *n = net_create(true);
    struct buffer why;
    buffer_init(&why, 1000);
    tls_unref(&n->client_tls);
    assert_int_equal(tls_client_create("example.org", cert_file, true, &why, &n->client_tls), SOTTO_OK);
    net_connect(n);
    TURN_UNTIL(n, n->client.closed && n->server.closed);
    assert_int_equal(n->client.why, STREAM_END_ERROR);
    assert_int_equal(n->server.why, STREAM_END_ERROR);
    assert_false(n->client.opened);
    buffer_deinit(&why);
    net_destroy(n);
}

static void tls__address_name__and_reload(void **state)
{
    (void)state;
    struct net *n = net_create(true);
    struct buffer why;
    buffer_init(&why, 1000);
    tls_unref(&n->client_tls);
    assert_int_equal(tls_client_create("127.0.0.1", cert_file, true, &why, &n->client_tls), SOTTO_OK);
    /* The old context goes while a connection that uses it lives. */
    n->server.echo = true;
    open_both(n);
    tls_unref(&n->server_tls);
    assert_int_equal(tls_server_create(cert_file, key_file, &why, &n->server_tls), SOTTO_OK);
    listener_set_tls(n->listener, n->server_tls);
    stream_write(n->client.stream, SLICE_LIT("still here"));
    TURN_UNTIL(n, n->client.received.len == 10);
    buffer_deinit(&why);
    net_destroy(n);
}

static void tls__bad_files__say_why(void **state)
{
    (void)state;
    struct tls_context *tls = NULL;
    struct buffer why;
    buffer_init(&why, 1000);
    assert_int_equal(tls_server_create("/no/such", key_file, &why, &tls), SOTTO_ERR_INVALID);
    buffer_append_byte(&why, 0);
    assert_non_null(strstr((char *)why.data, "/no/such"));
    buffer_clear(&why);
    assert_int_equal(tls_server_create(cert_file, other_key_file, &why, &tls), SOTTO_ERR_INVALID);
    assert_true(why.len > 10);
    buffer_clear(&why);
    assert_int_equal(tls_client_create("a", "/no/such", true, &why, &tls), SOTTO_ERR_INVALID);
    assert_true(why.len > 10);
    assert_null(tls);
    buffer_deinit(&why);
}

static void tls__plain_bytes__end_the_stream(void **state)
{
    (void)state;
    struct net *n = net_create(true);
    int fd = raw_connect(n);
    assert_int_equal(send(fd, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
    TURN_UNTIL(n, n->server.closed);
    assert_int_equal(n->server.why, STREAM_END_ERROR);
    assert_false(n->server.opened);
    uint8_t rest[16];
    assert_int_equal(recv(fd, rest, sizeof(rest), 0), 0);
    close(fd);
    net_destroy(n);
}

/* OpenSSL's own client on a blocking socket, in the same thread: the loop turns
 * between its steps. Offers what we do not speak. */
static void try_foreign_client(int max_version, const char *alpn, size_t alpn_len, bool expected)
{
    struct net *n = net_create(true);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(ctx, max_version);
    if (alpn != NULL) SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)alpn, (unsigned)alpn_len);
    SSL *ssl = SSL_new(ctx);
    int fd = raw_connect(n);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SSL_set_fd(ssl, fd);
    int done = -1;
    for (int i = 0; i < 1000; i++) {
        done = SSL_connect(ssl);
        if (done == 1 || SSL_get_error(ssl, done) != SSL_ERROR_WANT_READ) break;
        loop_turn(n->loop, 5);
    }
    assert_int_equal(done == 1, expected);
    /* Refused by an alert and not by a mere end. */
    if (!expected) assert_int_equal(SSL_get_error(ssl, done), SSL_ERROR_SSL);
    if (expected) {
        TURN_UNTIL(n, n->server.opened);
        assert_int_equal(SSL_shutdown(ssl), 0);
        TURN_UNTIL(n, n->server.closed);
        assert_int_equal(n->server.why, STREAM_END_EOF);
    } else {
        TURN_UNTIL(n, n->server.closed);
        assert_int_equal(n->server.why, STREAM_END_ERROR);
    }
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
    net_destroy(n);
}

static void tls__foreign_clients__by_version_and_protocol(void **state)
{
    (void)state;
    try_foreign_client(TLS1_3_VERSION, NULL, 0, true);
    try_foreign_client(TLS1_3_VERSION, "\x02h2\x08http/1.1", 12, true);
    try_foreign_client(TLS1_3_VERSION, "\x02h2", 3, false);
    try_foreign_client(TLS1_2_VERSION, NULL, 0, false);
}

static void tls__silent_peer__is_dropped_after_the_handshake_time(void **state)
{
    (void)state;
    struct clock_manual clock;
    struct net *n = net_create(true);
    net_use_clock(n, &clock);
    int fd = raw_connect(n);
    assert_int_equal(send(fd, "\x16\x03\x01", 3, 0), 3);
    for (int i = 0; i < 10; i++) loop_turn(n->loop, 0);
    assert_int_equal(n->accepted, 1);
    clock_manual_advance(&clock, 9900);
    loop_turn(n->loop, 0);
    assert_false(n->server.closed);
    clock_manual_advance(&clock, 300);
    loop_turn(n->loop, 0);
    loop_turn(n->loop, 0);
    assert_true(n->server.closed);
    assert_int_equal(n->server.why, STREAM_END_ERROR);
    close(fd);
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
        cmocka_unit_test(stream__close__gives_up_on_a_peer_that_never_reads),
        cmocka_unit_test(stream__queue__past_its_cap_ends_the_stream),
        cmocka_unit_test(stream__idle__costs_96_bytes_of_heap),
        cmocka_unit_test(listener__refusing__closes_the_connection),
        cmocka_unit_test(listener__no_descriptors__pauses_and_recovers),
        cmocka_unit_test(listener__options__are_inherited),
        cmocka_unit_test(listener__host__forms),
        cmocka_unit_test(connect__refused__is_closed_with_an_error),
        cmocka_unit_test(tls__wrong_name__is_refused_by_the_client),
        cmocka_unit_test(tls__address_name__and_reload),
        cmocka_unit_test(tls__bad_files__say_why),
        cmocka_unit_test(tls__plain_bytes__end_the_stream),
        cmocka_unit_test(tls__foreign_clients__by_version_and_protocol),
        cmocka_unit_test(tls__silent_peer__is_dropped_after_the_handshake_time),
    };
    return cmocka_run_group_tests(tests, make_certificate, remove_certificate);
}
