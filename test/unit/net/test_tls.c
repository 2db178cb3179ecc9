/* TLS 1.3: names, versions, protocols, alerts, key updates, reload, timeouts. */
#include "unit/net/fixture.h"

#include <fcntl.h>
#include <openssl/ssl.h>

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

/* OpenSSL's own client on a socket of its own; the loop turns between its steps. */
struct foreign {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
};

static struct foreign foreign_create(struct net *n, int max_version, const char *alpn, size_t alpn_len)
{
    struct foreign f = {.ctx = SSL_CTX_new(TLS_client_method())};
    SSL_CTX_set_max_proto_version(f.ctx, max_version);
    if (alpn != NULL) SSL_CTX_set_alpn_protos(f.ctx, (const unsigned char *)alpn, (unsigned)alpn_len);
    f.ssl = SSL_new(f.ctx);
    f.fd = raw_connect(n);
    fcntl(f.fd, F_SETFL, O_NONBLOCK);
    SSL_set_fd(f.ssl, f.fd);
    return f;
}

static void foreign_destroy(struct foreign *f)
{
    SSL_free(f->ssl);
    SSL_CTX_free(f->ctx);
    close(f->fd);
}

/* 1 when connected, else what SSL_connect gave. */
static int foreign_connect(struct net *n, struct foreign *f)
{
    int done = -1;
    for (int i = 0; i < 1000; i++) {
        done = SSL_connect(f->ssl);
        if (done == 1 || SSL_get_error(f->ssl, done) != SSL_ERROR_WANT_READ) break;
        loop_turn(n->loop, 5);
    }
    return done;
}

static void try_foreign_client(int max_version, const char *alpn, size_t alpn_len, bool expected)
{
    struct net *n = net_create(true);
    struct foreign f = foreign_create(n, max_version, alpn, alpn_len);
    int done = foreign_connect(n, &f);
    assert_int_equal(done == 1, expected);
    if (expected) {
        TURN_UNTIL(n, n->server.opened);
        assert_int_equal(SSL_shutdown(f.ssl), 0);
        TURN_UNTIL(n, n->server.closed);
        assert_int_equal(n->server.why, STREAM_END_EOF);
    } else {
        /* Refused by an alert and not by a mere end. */
        assert_int_equal(SSL_get_error(f.ssl, done), SSL_ERROR_SSL);
        TURN_UNTIL(n, n->server.closed);
        assert_int_equal(n->server.why, STREAM_END_ERROR);
    }
    foreign_destroy(&f);
    net_destroy(n);
}

static void tls__forged_record__is_answered_with_an_alert(void **state)
{
    (void)state;
    static const char forged[5 + 40] = "\x17\x03\x03\x00\x28";
    struct net *n = net_create(true);
    struct foreign f = foreign_create(n, TLS1_3_VERSION, NULL, 0);
    assert_int_equal(foreign_connect(n, &f), 1);
    TURN_UNTIL(n, n->server.opened);
    assert_int_equal(SSL_write(f.ssl, "good", 4), 4);
    assert_int_equal(send(f.fd, forged, sizeof(forged), 0), sizeof(forged));
    TURN_UNTIL(n, n->server.closed);
    assert_int_equal(n->server.why, STREAM_END_ERROR);
    assert_true(slice_is(buffer_slice(&n->server.received), "good"));
    char byte;
    int got = SSL_read(f.ssl, &byte, 1);
    assert_int_equal(SSL_get_error(f.ssl, got), SSL_ERROR_SSL);
    foreign_destroy(&f);
    net_destroy(n);
}

static void tls__key_update__goes_unnoticed(void **state)
{
    (void)state;
    struct net *n = net_create(true);
    struct foreign f = foreign_create(n, TLS1_3_VERSION, NULL, 0);
    n->server.echo = true;
    assert_int_equal(foreign_connect(n, &f), 1);
    for (int i = 0; i < 5; i++) {
        char back[8];
        int got = -1;
        assert_int_equal(SSL_key_update(f.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_write(f.ssl, "ping", 4), 4);
        for (int k = 0; k < 100 && got < 0; k++) {
            loop_turn(n->loop, 5);
            got = SSL_read(f.ssl, back, sizeof(back));
        }
        assert_int_equal(got, 4);
    }
    foreign_destroy(&f);
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
        cmocka_unit_test(tls__wrong_name__is_refused_by_the_client),
        cmocka_unit_test(tls__address_name__and_reload),
        cmocka_unit_test(tls__bad_files__say_why),
        cmocka_unit_test(tls__plain_bytes__end_the_stream),
        cmocka_unit_test(tls__foreign_clients__by_version_and_protocol),
        cmocka_unit_test(tls__forged_record__is_answered_with_an_alert),
        cmocka_unit_test(tls__key_update__goes_unnoticed),
        cmocka_unit_test(tls__silent_peer__is_dropped_after_the_handshake_time),
    };
    return cmocka_run_group_tests(tests, make_certificate, remove_certificate);
}
