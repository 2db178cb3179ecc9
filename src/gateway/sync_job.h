/* One piece of synchronising, done on a worker. */
#ifndef SOTTO_GATEWAY_SYNC_JOB_H
#define SOTTO_GATEWAY_SYNC_JOB_H

#include "gateway/call_private.h"
#include "gateway/event_json.h"
#include "gateway/conn_slab.h"

enum {
    SYNC_ITEMS_MAX = 512,             /* events in one batch */
    SYNC_BYTES_MAX = 96 * 1024,       /* of rows in one batch */
    SYNC_PAGE_CONVERSATIONS = 100,
    SYNC_PAGE_BYTES = 256 * 1024,     /* a page of a snapshot ends past this */
    SYNC_TEXT_MAX = 8 * 1024 * 1024,
    SYNC_POLL_BODIES = 4 * 1024 * 1024, /* a poll's snapshot is one answer: past this, the rest is bare */
};

struct sync_job {
    struct job job;
    struct conn *conn;                /* held; the loop's */
    struct gateway *gateway;
    struct viewer viewer;
    bool first;                       /* of the connection: see sync_state */
    bool snapshot;                    /* a page of conversations instead of events */
    bool poll;                        /* the answer of a long-poll */
    bool bare;                        /* conversations without their last messages */
    size_t items_max;
    struct id after;                  /* in and out: conversations up to here */
    struct cursor cursor;             /* in and out */

    enum sotto_err err;
    bool gone;                        /* the device is no more */
    bool done;                        /* end of the backlog, or of the list */
    size_t count, messages;           /* events written */
    struct buffer text;               /* one JSON object; for a poll, bare events */
    struct json_writer w;
    uint64_t now_ms;
    bool full, more;                  /* the page has enough; something was left out */
};
struct sync_job *sync_job_create(struct conn *c);
void sync_job_destroy(struct sync_job *j);

/* sync_pump.c, for poll.c: another look; a snapshot from now. */
void sync_again(struct conn *c);
void sync_snapshot(struct conn *c, const char *reset_reason);
/* poll.c: says in the answer that the cursor is of no use. */
void poll_reset(struct conn *c, const char *reason);
void poll_finished(struct conn *c, struct sync_job *j);

#endif
