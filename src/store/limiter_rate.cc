/* The one thing that we need of RocksDB and that its C interface lacks; see limiter_rate.h.
 * The struct is that of RocksDB's own db/c.cc, word for word the same in 7.8 to 9.10. */
#include "store/limiter_rate.h"

#include <memory>

#include <rocksdb/rate_limiter.h>

struct rocksdb_ratelimiter_t {
    std::shared_ptr<rocksdb::RateLimiter> rep;
};

void limiter_rate_set(rocksdb_ratelimiter_t *limiter, uint64_t bytes_per_s)
{
    limiter->rep->SetBytesPerSecond(static_cast<int64_t>(bytes_per_s));
}
