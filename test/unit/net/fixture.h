/* A server's and a client's end of connections in one loop, over loopback, in
 * the clear or under TLS with a certificate made here. For the stream tests.
 */
#ifndef SOTTO_TEST_NET_FIXTURE_H
#define SOTTO_TEST_NET_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "net/stream.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char cert_file[64], key_file[64], other_key_file[64];

static inline void write_key(const char *file, EVP_PKEY *key)
{
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
}

/* A self-signed certificate for "localhost" and 127.0.0.1. */
static inline int make_certificate(void **state)
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

static inline int remove_certificate(void **state)
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

static inline void end_opened(struct stream *s, void *ctx)
{
    struct end *e = ctx;
    assert_ptr_equal(s, e->stream);
    assert_false(e->opened);
    e->opened = true;
}

static inline void end_received(struct stream *s, void *ctx, uint8_t *data, size_t len)
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

static inline void end_drained(struct stream *s, void *ctx)
{
    struct end *e = ctx;
    assert_int_equal(stream_queued(s), 0);
    e->drained++;
}

static inline void end_closed(struct stream *s, void *ctx, enum stream_end why)
{
    struct end *e = ctx;
    assert_ptr_equal(s, e->stream);
    assert_false(e->closed);
    e->closed = true;
    e->why = why;
    e->stream = NULL;
}

/* A line, or what is left. */
static inline size_t end_unit(struct stream *s, void *ctx, struct slice queued)
{
    struct end *e = ctx;
    assert_ptr_equal(s, e->stream);
    assert_true(queued.len > 0);
    const uint8_t *end = memchr(queued.data, '\n', queued.len);
    return end != NULL ? (size_t)(end - queued.data) + 1 : queued.len;
}

static const struct stream_owner end_owner = {end_opened, end_received, end_drained, end_closed, end_unit};

static inline bool on_accept(void *ctx, struct stream *s, const struct sockaddr_storage *peer,
                      const struct stream_owner **owner_out, void **owner_ctx_out, struct slice *refusal_out)
{
    struct net *n = ctx;
    n->accepted++;
    n->peer = *peer;
    if (n->refuse) {
        *refusal_out = SLICE_LIT("no room");
        return false;
    }
    n->server.stream = s;
    *owner_out = &end_owner;
    *owner_ctx_out = &n->server;
    return true;
}

static inline struct net *net_create(bool tls)
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

static inline void net_destroy(struct net *n)
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
static inline void net_use_clock(struct net *n, struct clock_manual *clock)
{
    clock_manual_init(clock, 0);
    listener_destroy(&n->listener);
    loop_destroy(&n->loop);
    assert_int_equal(loop_create(&clock->source, 100, &n->loop), SOTTO_OK);
    assert_int_equal(listener_create(n->loop, "127.0.0.1", 0, n->server_tls, on_accept, n, &n->listener), SOTTO_OK);
}

static inline void net_connect(struct net *n)
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

static inline void open_both(struct net *n)
{
    net_connect(n);
    TURN_UNTIL(n, n->server.opened && n->client.opened);
}

/* A blocking socket of the system's, for what our own streams never do. */
static inline int raw_connect(struct net *n)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(listener_port(n->listener))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

#endif
