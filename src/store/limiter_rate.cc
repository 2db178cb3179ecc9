/* The one thing that we need of RocksDB and that its C interface lacks; see limiter_rate.h.
 * It is C++ because RocksDB's own interface is; nothing else here is.
 *
 * The struct is the one behind rocksdb_ratelimiter_t in RocksDB's db/c.cc (7.8). Were it
 * another one day, limiter_rate would not answer what the limiter was made with: the store
 * looks when it opens, and the test of this file does.
 */
#include "store/limiter_rate.h"

#include <memory>

#include <rocksdb/rate_limiter.h>

struct rocksdb_ratelimiter_t {
    std::shared_ptr<rocksdb::RateLimiter> rep;
};

uint64_t limiter_rate(const rocksdb_ratelimiter_t *limiter)
{
    return static_cast<uint64_t>(limiter->rep->GetBytesPerSecond());
}

void limiter_rate_set(rocksdb_ratelimiter_t *limiter, uint64_t bytes_per_s)
{
    limiter->rep->SetBytesPerSecond(static_cast<int64_t>(bytes_per_s));
}
