/* What anyone may know of this server before signing in. */
#include "api/api.h"

enum problem api_server_info(struct call *c)
{
    static const char *const policies[] = {"open", "invite", "closed"};
    const struct services *s = c->services;
    /* SIGHUP may change it meanwhile. */
    enum registration_policy policy = __atomic_load_n(&s->registration, __ATOMIC_RELAXED);
    json_put_cstr(&c->answer, "name", s->server_name);
    json_put_cstr(&c->answer, "version", s->version);
    json_put_cstr(&c->answer, "registration", policies[policy]);
    json_key(&c->answer, "limits");
    json_begin_object(&c->answer);
    json_put_u64(&c->answer, "frameBytes", SOTTO_FRAME_MAX);
    json_put_u64(&c->answer, "payloadBytes", SOTTO_PAYLOAD_MAX);
    json_put_u64(&c->answer, "historyLimit", SOTTO_HISTORY_LIMIT_MAX);
    json_put_u64(&c->answer, "windowBytes", c->limits->window_bytes);
    json_put_u64(&c->answer, "windowEvents", c->limits->window_events);
    json_put_u64(&c->answer, "messagesPerSecond", (uint64_t)c->limits->device.per_second);
    json_end_object(&c->answer);
    return PROBLEM_NONE;
}
