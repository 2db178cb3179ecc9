/* Token buckets, shared by all loops, in memory of a fixed size.
 *
 * A bucket that nobody has drawn from is full and need not be remembered; so
 * the table is a cache of those that are not. 8 buckets share a set; when a set
 * has no free place the fullest bucket gives way, the one whose loss matters
 * least; before it those that nobody has drawn from for an hour. Under a flood of distinct keys a few of them may so draw more than
 * they should; memory does not grow, and no key draws less.
 */
#ifndef SOTTO_GATEWAY_RATELIMIT_H
#define SOTTO_GATEWAY_RATELIMIT_H

#include "base/id.h"
#include "gateway/services.h"

enum bucket_kind { BUCKET_ADDRESS, BUCKET_USER, BUCKET_DEVICE, BUCKET_PAIR, BUCKET_BUNDLES, BUCKET_TYPING };

struct limiter;
/* sets: a power of two, at least 16; 128 bytes each, touched when used. */
struct limiter *limiter_create(size_t sets, uint64_t seed);
void limiter_destroy(struct limiter **l);
/* Takes one token from the bucket of (kind, key, sub). False: there is none;
 * retry_ms_out says when there will be. A rate of 0 always gives. Any thread. */
SOTTO_CHECKED bool limiter_take(struct limiter *l, enum bucket_kind kind, struct id key, uint8_t sub,
                                const struct rate *rate, uint64_t now_ms, uint64_t *retry_ms_out);
/* Gives one back, for what was refused afterwards on other grounds. */
void limiter_give_back(struct limiter *l, enum bucket_kind kind, struct id key, uint8_t sub,
                       const struct rate *rate);

#endif
