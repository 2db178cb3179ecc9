/* Who is connected where: user -> sessions, each on one loop.
 *
 * The engine's thread asks on which loops a user is; a loop asks for its own
 * sessions of a user; loops add and remove. A session is embedded in its
 * connection and named by (loop, slot, serial), so that another thread can
 * speak of it without touching it. One device has at most one session: adding a
 * second unlinks the first, whose owner is to be told. Which is the second is told by
 * the serial numbers: a connection that broke may have its session added after that
 * of the one which the device opened next, by another loop.
 *
 * Presence (presence.h) lives in the same entries under the same locks.
 * Functions of this header may be called from any thread and never block for
 * longer than a short critical section, unless they say otherwise.
 */
#ifndef SOTTO_SESSION_REGISTRY_H
#define SOTTO_SESSION_REGISTRY_H

#include "base/id.h"

struct registry;
struct session_user; /* one per user who is connected or watched */

struct session_name {
    uint32_t slot;
    uint32_t serial; /* rises from connection to connection, in all loops together */
    uint8_t loop;
};
struct session {
    struct session *next;      /* of the same user; guarded by the registry */
    struct session_user *user; /* from registry_add to registry_remove; owner's thread */
    struct session_name name;  /* set by the owner before registry_add */
    uint8_t device;
    bool linked;               /* guarded: still gets events */
    bool present;              /* guarded: counts as online */
};

enum { REGISTRY_LOOPS_MAX = 64, REGISTRY_SESSIONS_MAX = 32 };

struct registry *registry_create(void);
/* No session may be in it. */
void registry_destroy(struct registry **r);

/* Links the session and counts the user as online. True: another session of the device was
 * there; the older one of the two is unlinked, which may be `s`, and its name is in
 * replaced_out. */
SOTTO_CHECKED bool registry_add(struct registry *r, struct session *s, struct id user, uint8_t device,
                                uint64_t wall_ms, struct session_name *replaced_out);
/* Unlinks if need be; the session's `user` is NULL afterwards. Owner's thread. */
void registry_remove(struct registry *r, struct session *s, uint64_t wall_ms);
/* The user of an added session. Owner's thread. */
struct id session_user_id(const struct session *s);
/* Whether the session's user has read receipts switched off, as registry_receipts_off said
 * last while one of the user's sessions was there; false before. Owner's thread. */
bool session_receipts_off(const struct session *s);
/* For all sessions of the user, which may have a session or not. */
void registry_receipts_off(struct registry *r, struct id user, bool off);

/* One bit for each loop where the user has a session. */
uint64_t registry_loops(struct registry *r, struct id user);
/* The user's sessions on one loop, to be used on that loop's thread only, where
 * they cannot go away meanwhile. out holds REGISTRY_SESSIONS_MAX. */
size_t registry_on_loop(struct registry *r, struct id user, uint8_t loop, struct session **out);
/* Names of the user's sessions everywhere; device 0: of every device. out holds
 * REGISTRY_SESSIONS_MAX. */
size_t registry_names(struct registry *r, struct id user, uint8_t device, struct session_name *out);
/* Users with at least one session. */
size_t registry_users_online(struct registry *r);

#endif
