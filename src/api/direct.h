/* What the message path must know of a conversation before it can act: who the
 * other one is in a direct conversation, and what each has set. */
#ifndef SOTTO_API_DIRECT_H
#define SOTTO_API_DIRECT_H

#include "gateway/call.h"

struct direct {
    struct id conversation;
    bool is_direct;           /* peer, views and `blocked` are set */
    struct id peer;
    struct user_view *me;     /* referenced */
    struct user_view *other;  /* referenced; NULL: not direct, or the account is gone */
    bool blocked;             /* either has blocked the other */
    enum problem problem;     /* of direct_load */
};
/* From the caches only; true: all of it is set. Loop thread, never blocks.
 * `conversation` is set by the caller; has_peer: `peer` too. */
bool direct_peek(struct call *c, struct direct *d, bool has_peer);
/* The same, loading what is missing; sets d->problem. Worker thread. */
void direct_load(struct call *c, struct direct *d, bool has_peer);
void direct_deinit(struct direct *d);

#endif
