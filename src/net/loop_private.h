/* What streams and listeners share with the loop. */
#ifndef SOTTO_NET_LOOP_PRIVATE_H
#define SOTTO_NET_LOOP_PRIVATE_H

#include "base/slab.h"
#include "net/loop.h"

/* Forgets the events fetched for `w`, whose descriptor is about to be closed:
 * closing takes it out of the epoll set without a further call. */
void loop_forget(struct loop *loop, const struct watch *w);

/* Memory that streams receive into, apart from the scratch, so that the owner
 * may use loop_scratch while it looks at the bytes. */
uint8_t *loop_receive_memory(struct loop *loop);
/* For ciphertext on its way into TLS; allocated at the first use. */
enum { LOOP_CIPHER_LEN = 32 * 1024 };
uint8_t *loop_cipher_memory(struct loop *loop);

/* Where stream.c keeps its pool of output queues. */
struct output_pool {
    struct output *free;
    size_t count, low; /* low: fewest since the last trim */
};
struct output_pool *loop_output_pool(struct loop *loop);
void output_pool_deinit(struct output_pool *pool);

/* The loop's streams lie here; stream.c knows their size. */
void streams_init(struct slab *s);
struct slab *loop_streams(struct loop *loop);

#endif
