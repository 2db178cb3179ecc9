/* What the gateway and the handlers stand on, passed and never global. */
#ifndef SOTTO_GATEWAY_SERVICES_H
#define SOTTO_GATEWAY_SERVICES_H

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/random.h"
#include "base/workers.h"
#include "directory/directory.h"
#include "engine/engine.h"

/* A token bucket: `burst` at once, `per_second` in the long run. 0: no limit. */
struct rate {
    double per_second;
    double burst;
};

/* Addresses that begin with the first `bits` of base; IPv4 as mapped IPv6. */
enum { ADDRESS_RANGES_MAX = 16 };
struct address_range {
    struct id base;
    uint8_t bits; /* 0..128 */
};
struct address_ranges {
    size_t count;
    struct address_range at[ADDRESS_RANGES_MAX];
};

/* Limits that the configuration sets; SIGHUP may replace them (see
 * gateway_set_limits), so a handler reads them from its call. */
struct gateway_limits {
    struct rate address;            /* requests and connections per client address */
    struct rate user;               /* requests per user */
    struct rate device;             /* message.send per device */
    struct rate pair;               /* message.send from one user to one conversation */
    struct rate bundles;            /* keys.take per user */
    struct rate typing;             /* typing per device */
    size_t connections_max;
    size_t connections_per_address_max;
    struct address_ranges proxies;  /* what they say of their clients is believed */
    size_t window_bytes;            /* queued for one connection before it lags */
    size_t window_events;
    uint64_t lag_timeout_ms;        /* lagging without progress for so long: 4001 */
    size_t memory_max_bytes;        /* queued for all connections together */
    uint64_t heartbeat_ms;
    uint64_t idle_timeout_ms;
    uint64_t hello_timeout_ms;
    uint64_t request_timeout_ms;    /* a whole HTTP request must arrive in this time */
    uint64_t keepalive_timeout_ms;  /* an idle HTTP connection, or one that reads nothing of its answers */
    uint64_t presence_ttl_ms;       /* online without a sign of life for at most this */
    uint64_t typing_ttl_ms;
    uint64_t resume_ttl_ms;
};
void gateway_limits_default(struct gateway_limits *l);

struct services {
    struct directory *directory;
    struct engine *engine;
    struct workers *workers;
    struct workers *hashers;        /* for passwords, so that a flood of them holds up nothing else; NULL: workers */
    const struct clock_source *clock;
    const struct random_source *random;
    struct log *log;
    struct metrics *metrics;
    enum registration_policy registration;
    const char *server_name;        /* for people */
    const char *version;
};

#endif
