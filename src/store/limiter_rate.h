/* Another rate for a limiter of RocksDB that is in use: its C interface can set one only
 * when it makes the limiter. */
#ifndef SOTTO_STORE_LIMITER_RATE_H
#define SOTTO_STORE_LIMITER_RATE_H

#include <stdint.h>

#include <rocksdb/c.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes a second. Any thread. */
uint64_t limiter_rate(const rocksdb_ratelimiter_t *limiter);
/* bytes_per_s: more than 0. Any thread. */
void limiter_rate_set(rocksdb_ratelimiter_t *limiter, uint64_t bytes_per_s);

#ifdef __cplusplus
}
#endif
#endif
