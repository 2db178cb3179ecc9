/* The limits of a server that nobody has configured: generous to a person with
 * several devices, tight for a program gone wild. */
#include "gateway/services.h"

void gateway_limits_default(struct gateway_limits *l)
{
    enum { SECOND_MS = 1000, MINUTE_MS = 60 * SECOND_MS, HOUR_MS = 60 * MINUTE_MS, MIB = 1024 * 1024 };
    *l = (struct gateway_limits){
        .address = {.per_second = 20, .burst = 100},
        .user = {.per_second = 50, .burst = 200},
        .device = {.per_second = 20, .burst = 100},
        .pair = {.per_second = 20, .burst = 100},
        .bundles = {.per_second = 1, .burst = 30},
        .typing = {.per_second = 1, .burst = 10},
        .connections_max = 100000,
        .connections_per_address_max = 1000,
        .window_bytes = 256 * 1024,
        .window_events = 1000,
        .lag_timeout_ms = 30 * SECOND_MS,
        .memory_max_bytes = (size_t)256 * MIB,
        .heartbeat_ms = 30 * SECOND_MS,
        .idle_timeout_ms = 90 * SECOND_MS,
        .hello_timeout_ms = 10 * SECOND_MS,
        .request_timeout_ms = 20 * SECOND_MS,
        .keepalive_timeout_ms = 60 * SECOND_MS,
        .presence_ttl_ms = 60 * SECOND_MS,
        .typing_ttl_ms = 6 * SECOND_MS,
        .resume_ttl_ms = 24 * HOUR_MS,
    };
}
