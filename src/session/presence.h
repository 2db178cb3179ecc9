/* Online, recently, offline: who is, and who wants to know.
 *
 * A user is online while a session is linked and has shown a sign of life
 * within the time that its owner allows (presence_session_alive). A connection
 * watches up to SOTTO_PRESENCE_VIEW_MAX users. What changes is queued; about
 * once a second the gateway takes the queue, decides who may see what (that
 * needs the directory and so does not belong here), and tells the watchers: a
 * connection that comes and goes within a turn costs one line.
 *
 * Status of somebody who is not online follows from the time last seen:
 * `recently` up to PRESENCE_RECENT_MS, then `offline`. That passage is not
 * announced; whoever shows it has the time.
 */
#ifndef SOTTO_SESSION_PRESENCE_H
#define SOTTO_SESSION_PRESENCE_H

#include "session/registry.h"

enum { PRESENCE_RECENT_MS = 15 * 60 * 1000 };
enum presence_status { PRESENCE_ONLINE, PRESENCE_RECENTLY, PRESENCE_OFFLINE, PRESENCE_HIDDEN };
const char *presence_name(enum presence_status s);

/* One watched user of one connection; memory of the connection. */
struct presence_link {
    struct session_user *target; /* NULL: not linked */
    struct session *watcher;
    struct id watcher_user;
    bool hidden;                 /* what was last said; the shard's, like the next two */
    struct presence_link *next;
    struct presence_link **prev_next;
};
/* Any thread for the registry; the links belong to the watcher's thread. */
void presence_watch(struct registry *r, struct presence_link *link, struct session *watcher, struct id target);
void presence_unwatch(struct registry *r, struct presence_link *link);
/* The watcher was told whether the target is hidden from it. Nothing when the link is
 * another's by now. */
void presence_said(struct registry *r, struct presence_link *link, struct id target, bool hidden);

/* The session was silent for too long (false), or spoke again (true). */
void presence_session_alive(struct registry *r, struct session *s, bool alive, uint64_t wall_ms);
/* Status as the registry knows it. last_seen_ms_out: 0 when it knows nothing
 * (then the directory may). */
enum presence_status presence_get(struct registry *r, struct id user, uint64_t wall_ms,
                                  uint64_t *last_seen_ms_out);
/* The status of somebody not online who was last seen then. */
enum presence_status presence_of_last_seen(uint64_t last_seen_ms, uint64_t wall_ms);
/* Queues the user although nothing changed (who may see them did). */
void presence_touch(struct registry *r, struct id user);

struct presence_watcher {
    struct id user;
    struct session_name name;
    bool hidden; /* in: what was last said to it; out: what is said now */
};
/* Takes the queue: one call per user that changed, without locks held; the
 * watchers are borrowed, but for `hidden`. last_seen_ms is 0 for somebody who is online.
 * settings: presence_touch was called; else they only came or went. */
typedef void (*presence_changed_fn)(void *ctx, struct id user, bool online, bool settings, uint64_t last_seen_ms,
                                    struct presence_watcher *watchers, size_t count);
void presence_take_changes(struct registry *r, presence_changed_fn fn, void *ctx);
/* From within that call, of somebody who came or went: not now, in the next turn. False:
 * nobody watches them any more. */
SOTTO_CHECKED bool presence_later(struct registry *r, struct id user);

#endif
