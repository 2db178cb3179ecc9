/* TLS 1.3 as a filter between a stream's descriptor and its owner.
 *
 * DESIGN. OpenSSL never touches the socket. Its BIO reads from the ciphertext
 * that stream.c just received (borrowed for the length of one call) and writes
 * into an output queue. So the rules of a plain stream hold under TLS too: one
 * recv per message, no read that only returns EAGAIN, one send per turn however
 * many records were made. Plaintext of one receive reaches the owner in one
 * call.
 *
 * All ciphertext is taken in at once; a partial record stays with OpenSSL. With
 * SSL_MODE_RELEASE_BUFFERS an idle connection keeps about 14 KB, nearly all of
 * it OpenSSL's connection object.
 *
 * A fatal alert is sent, as far as the socket takes it, before the stream ends.
 * An end of file without close_notify counts as an end: the protocols above
 * carry their own lengths.
 *
 * Rejected: dropping the SSL object after the handshake and keeping
 * only the keys (about 135 bytes per connection), since it means an own record
 * layer with key updates and alerts; kernel TLS, which needs a module.
 */
#include "net/tls_private.h"
#include "net/stream_private.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    TLS_CIPHER_AHEAD_MAX = 64 * 1024, /* ciphertext made before the kernel takes some: it cannot be dropped */
    TLS_WRITE_MAX = 16 * 1024,        /* plaintext per call: one record */
};

struct tls {
    SSL *ssl;
    struct tls_context *context;
    struct loop *loop;
    struct output *cipher; /* NULL when empty */
    const uint8_t *in;     /* borrowed, during tls_received */
    size_t in_len;
};

static int bio_read(BIO *bio, char *out, size_t size, size_t *len_out)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (tls->in_len == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    size_t len = size < tls->in_len ? size : tls->in_len;
    memcpy(out, tls->in, len);
    tls->in += len;
    tls->in_len -= len;
    *len_out = len;
    return 1;
}

static int bio_write(BIO *bio, const char *data, size_t len, size_t *len_out)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (tls->cipher == NULL) tls->cipher = output_take(tls->loop);
    buffer_append(&tls->cipher->bytes, data, len);
    if (tls->cipher->bytes.overflow) return 0;
    *len_out = len;
    return 1;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

BIO_METHOD *tls_bio_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sotto stream");
    if (method == NULL) return NULL;
    BIO_meth_set_read_ex(method, bio_read);
    BIO_meth_set_write_ex(method, bio_write);
    BIO_meth_set_ctrl(method, bio_control);
    return method;
}

static bool set_server_name(SSL *ssl, const struct tls_context *context)
{
    const char *name = context->server_name;
    if (name == NULL) return true;
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1) return true;
    return SSL_set_tlsext_host_name(ssl, name) == 1 && SSL_set1_host(ssl, name) == 1;
}

struct tls *tls_create(struct stream *s, struct tls_context *context, bool client)
{
    SSL *ssl = SSL_new(context->ssl);
    BIO *bio = BIO_new(context->bio);
    if (ssl == NULL || bio == NULL || (client && !set_server_name(ssl, context))) {
        SSL_free(ssl);
        BIO_free(bio);
        ERR_clear_error();
        return NULL;
    }
    struct tls *tls = sotto_zalloc(sizeof(*tls));
    tls->ssl = ssl;
    tls->context = tls_ref(context);
    tls->loop = s->loop;
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    if (client)
        SSL_set_connect_state(ssl);
    else
        SSL_set_accept_state(ssl);
    return tls;
}

void tls_destroy(struct tls *tls, struct loop *loop)
{
    if (tls == NULL) return;
    SSL_free(tls->ssl);
    output_give_back(loop, tls->cipher);
    tls_unref(&tls->context);
    free(tls);
}

struct output **tls_cipher(struct tls *tls)
{
    return &tls->cipher;
}

static void fail(struct stream *s)
{
    ERR_clear_error();
    const struct output *alert = s->tls->cipher;
    if (output_left(alert) != 0 && !(s->watch.flags & (STREAM_BLOCKED | STREAM_DEAD))) {
        /* Best effort: the connection is over either way. */
        ssize_t n = send(s->watch.fd, alert->bytes.data + alert->sent, output_left(alert), MSG_NOSIGNAL);
        (void)n;
    }
    stream_end(s, STREAM_END_ERROR);
}

void tls_handshake(struct stream *s)
{
    ERR_clear_error();
    int done = SSL_do_handshake(s->tls->ssl);
    if (done != 1 && SSL_get_error(s->tls->ssl, done) != SSL_ERROR_WANT_READ) {
        fail(s);
        return;
    }
    loop_defer(s->loop, &s->deferred);
    if (done != 1) return;
    s->watch.flags &= ~(uint32_t)STREAM_SHAKING;
    if (s->watch.flags & STREAM_CLOSING) return; /* the timer is the linger's now */
    stream_timer_stop(s);
    stream_opened(s);
}

enum read_end { READ_DRY, READ_CLOSED, READ_FAILED };

/* Decrypts everything at hand. */
static enum read_end decrypt(struct tls *tls, uint8_t *out, size_t size, size_t *len_out)
{
    size_t len = 0;
    for (;;) {
        size_t n;
        ERR_clear_error();
        /* Plaintext is never longer than its ciphertext, of which there is at
         * most one receive and the part of a record that came before. */
        SOTTO_ASSERT(len < size);
        int ok = SSL_read_ex(tls->ssl, out + len, size - len, &n);
        if (ok == 1) {
            len += n;
            continue;
        }
        *len_out = len;
        switch (SSL_get_error(tls->ssl, ok)) {
        case SSL_ERROR_WANT_READ:
            return READ_DRY;
        case SSL_ERROR_ZERO_RETURN:
            return READ_CLOSED;
        default:
            return READ_FAILED;
        }
    }
}

void tls_received(struct stream *s, uint8_t *data, size_t len)
{
    struct tls *tls = s->tls;
    tls->in = data;
    tls->in_len = len;
    if (s->watch.flags & STREAM_SHAKING) tls_handshake(s);
    if (s->watch.flags & (STREAM_SHAKING | STREAM_DEAD)) return;
    uint8_t *plain = loop_receive_memory(s->loop);
    size_t plain_len;
    enum read_end end = decrypt(tls, plain, LOOP_SCRATCH_LEN, &plain_len);
    if (plain_len != 0 && !(s->watch.flags & STREAM_CLOSING)) s->owner->received(s, s->ctx, plain, plain_len);
    if (s->watch.flags & STREAM_DEAD) return;
    if (output_left(tls->cipher) != 0) loop_defer(s->loop, &s->deferred);
    if (end == READ_FAILED)
        fail(s);
    else if (end == READ_CLOSED)
        stream_peer_done(s);
}

void tls_encrypt(struct stream *s)
{
    struct tls *tls = s->tls;
    while (output_left(s->out) != 0 && output_left(tls->cipher) < TLS_CIPHER_AHEAD_MAX) {
        size_t left = output_left(s->out), n;
        if (left > TLS_WRITE_MAX) left = TLS_WRITE_MAX;
        ERR_clear_error();
        if (SSL_write_ex(tls->ssl, s->out->bytes.data + s->out->sent, left, &n) != 1) {
            fail(s);
            return;
        }
        s->out->sent += n;
    }
}

void tls_shut(struct stream *s)
{
    ERR_clear_error();
    if (!(s->watch.flags & STREAM_SHAKING)) SSL_shutdown(s->tls->ssl);
    ERR_clear_error();
}
