/* See direct.h. Groups need neither the peer nor the other's settings: their
 * rules are membership and roles, which the core checks. */
#include "api/direct.h"

static void settle(struct direct *d)
{
    if (d->other == NULL) return;
    d->blocked = user_view_blocks(d->me, d->peer) || user_view_blocks(d->other, d->me->id);
}

bool direct_peek(struct call *c, struct direct *d, bool has_peer)
{
    struct directory *directory = c->services->directory;
    if (has_peer) {
        d->is_direct = true;
    } else {
        enum call_peer found = call_find_peer(c, d->conversation, &d->peer);
        if (found == CALL_PEER_UNKNOWN || found == CALL_PEER_STRANGER) return false;
        d->is_direct = found == CALL_PEER_DIRECT;
    }
    d->me = directory_peek(directory, c->user);
    if (d->me == NULL) return false;
    if (!d->is_direct) return true;
    d->other = directory_peek(directory, d->peer);
    if (d->other == NULL) return false;
    settle(d);
    return true;
}

void direct_load(struct call *c, struct direct *d, bool has_peer)
{
    struct directory *directory = c->services->directory;
    direct_deinit(d);
    d->problem = PROBLEM_NONE;
    d->is_direct = has_peer;
    if (!has_peer) {
        enum call_peer found = call_find_peer(c, d->conversation, &d->peer);
        if (found == CALL_PEER_UNKNOWN) {
            d->problem = call_learn_peer(c, d->conversation);
            if (d->problem != PROBLEM_NONE) return;
            found = call_find_peer(c, d->conversation, &d->peer);
        }
        /* Forgotten for room at once: who has blocked whom would go unseen. */
        if (found == CALL_PEER_UNKNOWN) d->problem = PROBLEM_BUSY;
        /* Its id follows from its members: that it exists is theirs to know. */
        if (found == CALL_PEER_STRANGER) d->problem = PROBLEM_NOT_FOUND;
        if (d->problem != PROBLEM_NONE) return;
        d->is_direct = found == CALL_PEER_DIRECT;
    }
    if (directory_view(directory, c->user, &d->me) != SOTTO_OK) {
        d->problem = PROBLEM_TOKEN;
        return;
    }
    if (!d->is_direct) return;
    enum sotto_err err = directory_view(directory, d->peer, &d->other);
    if (err != SOTTO_OK && err != SOTTO_ERR_NOT_FOUND) d->problem = PROBLEM_INTERNAL;
    settle(d);
}

void direct_deinit(struct direct *d)
{
    if (d->me != NULL) user_view_unref(d->me);
    if (d->other != NULL) user_view_unref(d->other);
    d->me = d->other = NULL;
}
