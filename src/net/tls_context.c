/* Certificates, keys and settings of TLS, shared by all loops.
 *
 * TLS 1.3 only: one round trip, forward secrecy always, encrypted certificates,
 * and no choice of weak parameters to get wrong. Session tickets stay on (one
 * per handshake), under keys that OpenSSL makes for the context and that
 * disappear with it, at the next reload at the latest. Early data stays off: it
 * can be replayed. ALPN names http/1.1; a peer that offers protocols, but not
 * this one, is refused.
 *
 * OpenSSL counts references to its own context atomically; streams hold ours,
 * because of the BIO method, for as long as they live.
 */
#include "base/buffer.h"
#include "net/tls_private.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <time.h>

static const uint8_t alpn[] = "\x08http/1.1";
enum { ALPN_LEN = sizeof(alpn) - 1 };

static void explain(struct buffer *why, const char *what, const char *file)
{
    unsigned long code = ERR_peek_error();
    buffer_append_str(why, what);
    if (file != NULL) buffer_printf(why, " %s", file);
    if (code != 0) {
        const char *reason = ERR_reason_error_string(code);
        buffer_printf(why, ": %s", reason != NULL ? reason : "unknown error");
    }
    ERR_clear_error();
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *offered, unsigned int offered_len, void *ctx)
{
    (void)ssl;
    (void)ctx;
    unsigned char *chosen;
    int found = SSL_select_next_proto(&chosen, out_len, alpn, ALPN_LEN, offered, offered_len);
    if (found != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static struct tls_context *context_create(const SSL_METHOD *method)
{
    ERR_clear_error();
    SSL_CTX *ssl = SSL_CTX_new(method);
    BIO_METHOD *bio = tls_bio_method();
    if (ssl == NULL || bio == NULL || SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) != 1) {
        SSL_CTX_free(ssl);
        BIO_meth_free(bio);
        return NULL;
    }
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    struct tls_context *context = sotto_zalloc(sizeof(*context));
    refcount_init(&context->refs);
    context->ssl = ssl;
    context->bio = bio;
    return context;
}

/* Instead of OpenSSL's own, which asks on the terminal and waits. */
static int refuse_passphrase(char *out, int size, int writing, void *asked)
{
    (void)out, (void)size, (void)writing;
    *(bool *)asked = true;
    return 0;
}

enum sotto_err tls_server_create(const char *cert_file, const char *key_file, struct buffer *why_out,
                                 struct tls_context **tls_out)
{
    struct tls_context *context = context_create(TLS_server_method());
    if (context == NULL) {
        explain(why_out, "cannot set up TLS", NULL);
        return SOTTO_ERR_IO;
    }
    const char *what = NULL, *file = NULL;
    bool encrypted = false;
    SSL_CTX_set_default_passwd_cb(context->ssl, refuse_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(context->ssl, &encrypted);
    if (SSL_CTX_use_certificate_chain_file(context->ssl, cert_file) != 1) {
        what = "cannot use the certificate";
        file = cert_file;
    } else if (SSL_CTX_use_PrivateKey_file(context->ssl, key_file, SSL_FILETYPE_PEM) != 1) {
        what = encrypted ? "the private key is encrypted; take the passphrase off with `openssl pkey`:"
                         : "cannot use the private key";
        file = key_file;
    } else if (SSL_CTX_check_private_key(context->ssl) != 1) {
        what = "the private key is not that of the certificate";
    }
    SSL_CTX_set_default_passwd_cb_userdata(context->ssl, NULL);
    if (what != NULL) {
        explain(why_out, what, file);
        tls_unref(&context);
        return SOTTO_ERR_INVALID;
    }
    SSL_CTX_set_num_tickets(context->ssl, 1);
    SSL_CTX_set_alpn_select_cb(context->ssl, choose_protocol, NULL);
    *tls_out = context;
    return SOTTO_OK;
}

uint64_t tls_not_after_s(const struct tls_context *tls)
{
    const X509 *certificate = SSL_CTX_get0_certificate(tls->ssl);
    struct tm tm;
    if (certificate == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) != 1) return 0;
    time_t end = timegm(&tm);
    return end > 0 ? (uint64_t)end : 0;
}

enum sotto_err tls_client_create(const char *server_name, const char *ca_file, bool verify,
                                 struct buffer *why_out, struct tls_context **tls_out)
{
    struct tls_context *context = context_create(TLS_client_method());
    if (context == NULL) {
        explain(why_out, "cannot set up TLS", NULL);
        return SOTTO_ERR_IO;
    }
    if (verify) {
        int ok = ca_file != NULL ? SSL_CTX_load_verify_locations(context->ssl, ca_file, NULL)
                                 : SSL_CTX_set_default_verify_paths(context->ssl);
        if (ok != 1) {
            explain(why_out, "cannot read the trusted certificates", ca_file);
            tls_unref(&context);
            return SOTTO_ERR_INVALID;
        }
        SSL_CTX_set_verify(context->ssl, SSL_VERIFY_PEER, NULL);
    }
    SSL_CTX_set_alpn_protos(context->ssl, alpn, ALPN_LEN);
    context->verify = verify;
    if (server_name != NULL) {
        size_t len = strlen(server_name) + 1;
        context->server_name = memcpy(sotto_alloc(len), server_name, len);
    }
    *tls_out = context;
    return SOTTO_OK;
}

struct tls_context *tls_ref(struct tls_context *context)
{
    refcount_ref(&context->refs);
    return context;
}

void tls_unref(struct tls_context **tls)
{
    struct tls_context *context = *tls;
    *tls = NULL;
    if (context == NULL || !refcount_unref(&context->refs)) return;
    SSL_CTX_free(context->ssl);
    BIO_meth_free(context->bio);
    free(context->server_name);
    free(context);
}
