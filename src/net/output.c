/* Output queues, pooled per loop.
 *
 * Most queues live for one turn: filled by a callback, emptied by the flush at
 * its end; a turn under load fills hundreds. The pool keeps OUTPUT_POOL_MAX of
 * them with up to OUTPUT_KEEP_BYTES of memory each, so that a message costs no
 * allocation and an idle connection holds nothing. loop_trim gives back those
 * that were not needed of late.
 */
#include "net/stream_private.h"

#include <stdlib.h>

#include "base/bytes.h"

enum { OUTPUT_POOL_MAX = 1024, OUTPUT_KEEP_BYTES = 4096, OUTPUT_FIRST_BYTES = 1024 };

struct output *output_take(struct loop *loop)
{
    struct output_pool *pool = loop_output_pool(loop);
    struct output *out = pool->free;
    if (out != NULL) {
        pool->free = out->next_free;
        pool->count--;
        if (pool->free != NULL) {
            prefetch(pool->free->bytes.data, OUTPUT_FIRST_BYTES / 2);
            prefetch(pool->free->next_free, sizeof(*out));
        }
        if (pool->count < pool->low) pool->low = pool->count;
        out->next_free = NULL;
        return out;
    }
    out = sotto_zalloc(sizeof(*out));
    buffer_init(&out->bytes, STREAM_QUEUE_MAX);
    (void)buffer_reserve(&out->bytes, OUTPUT_FIRST_BYTES);
    return out;
}

static void output_destroy(struct output *out)
{
    buffer_deinit(&out->bytes);
    free(out);
}

void output_give_back(struct loop *loop, struct output *out)
{
    if (out == NULL) return;
    SOTTO_ASSERT(!timer_running(&out->timer.timer));
    if (out->addresses != NULL) freeaddrinfo(out->addresses);
    out->addresses = NULL;
    out->address = NULL;
    out->stream = NULL;
    out->sent = 0;
    out->unit = 0;
    struct output_pool *pool = loop_output_pool(loop);
    if (pool->count == OUTPUT_POOL_MAX) {
        output_destroy(out);
        return;
    }
    if (out->bytes.size > OUTPUT_KEEP_BYTES) buffer_deinit(&out->bytes);
    buffer_clear(&out->bytes);
    out->next_free = pool->free;
    pool->free = out;
    pool->count++;
}

static size_t pool_free(struct output_pool *pool, size_t count)
{
    size_t bytes = 0;
    while (count-- > 0 && pool->free != NULL) {
        struct output *out = pool->free;
        pool->free = out->next_free;
        pool->count--;
        bytes += sizeof(*out) + out->bytes.size;
        output_destroy(out);
    }
    return bytes;
}

size_t loop_trim(struct loop *loop)
{
    struct output_pool *pool = loop_output_pool(loop);
    size_t bytes = pool_free(pool, pool->low);
    pool->low = pool->count;
    return bytes;
}

void output_pool_deinit(struct output_pool *pool)
{
    pool_free(pool, SIZE_MAX);
}
