/* What a TLS context holds; for tls.c and tls_context.c. */
#ifndef SOTTO_NET_TLS_PRIVATE_H
#define SOTTO_NET_TLS_PRIVATE_H

#include "base/refcount.h"
#include "net/stream.h"

#include <openssl/bio.h>
#include <openssl/ssl.h>

struct tls_context {
    struct refcount refs;
    SSL_CTX *ssl;
    BIO_METHOD *bio;   /* set up by tls_bio_method */
    char *server_name; /* clients: what the certificate must name; NULL unchecked */
    bool verify;
};

struct tls_context *tls_ref(struct tls_context *context);
BIO_METHOD *tls_bio_method(void);

#endif
