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
    limits_json(&c->answer, c->limits);
    return PROBLEM_NONE;
}
