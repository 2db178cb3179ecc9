/* The engine: puts records in order, applies the core, makes them durable, and
 * only then answers and tells.
 *
 * EMBEDDED DESIGN. One writer thread. Gateways post submissions to its mailbox;
 * it takes whatever has arrived (up to SOTTO_ENGINE_BATCH_MAX records), applies them
 * one by one to conversation states cached in memory, writes one batch (rows,
 * the last state of each touched conversation, the position) with one sync, and
 * then answers the submitters and publishes the events, in order. While it
 * syncs, the next batch gathers: that is the group commit. A batch that fails
 * answers every submission with a problem and drops the touched states from the
 * cache, so that memory never runs ahead of the disk; what an uncertain commit
 * did is read back from the store before the next batch.
 *
 * Housekeeping (expiry, retention) runs on the same thread between batches, a
 * bounded number of conversations at a time, and takes the same path: records.
 */
#ifndef SOTTO_ENGINE_ENGINE_H
#define SOTTO_ENGINE_ENGINE_H

#include "base/clock.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/metrics.h"
#include "base/pool.h"
#include "base/refcount.h"
#include "core/conversation.h"
#include "store/store.h"

/* Something happened and is durable. Immutable, shared between threads. Most lie in
 * the submission that caused them, so that a request costs one piece of memory. */
enum event_kind {
    EVENT_CONVERSATION, /* created, or members changed */
    EVENT_MESSAGE,
    EVENT_DELIVERED,
    EVENT_READ,
    EVENT_EXPIRED,
    EVENT_TYPING,       /* not durable, no position */
};
enum { EVENT_RECIPIENTS_NEAR = 2 };
struct event {
    struct refcount refs;
    bool in_submission;        /* whose memory it keeps */
    enum event_kind kind;
    struct id conversation;
    uint8_t conversation_kind;
    uint64_t position;         /* 0: not part of the log */
    uint64_t ts_ms;
    uint64_t committed_us;     /* monotonic, when the sync had returned */
    uint64_t received_us;      /* monotonic, when the gateway got the request (0: unknown) */
    struct id actor;           /* sender, reader, who types */
    uint8_t actor_device;
    bool started;              /* TYPING */
    bool is_private;           /* READ: the actor's own devices only */
    uint64_t sequence;         /* message, watermark or tombstone */
    struct slice bytes;        /* MESSAGE: the encoded record; CONVERSATION, owned: the state row after it */
    size_t recipients_count;   /* present members, and who was just removed */
    struct id *recipients;     /* owned, or `near` */
    struct id near[EVENT_RECIPIENTS_NEAR];
    struct message message;    /* MESSAGE only, else not set; slices borrow from `bytes` */
};
struct event *event_ref(struct event *e);
/* pool: of the calling thread, for the memory; may be NULL. */
void event_unref(struct event *e, struct pool *pool);

/* A request to the engine and, later, its answer. Made by submission_create,
 * destroyed by whoever gets the answer; its memory stays until the event in it has
 * been given back as well. */
struct submission {
    struct mail mail;          /* mail.deliver: set by the submitter, called with the answer */
    struct mailbox *reply_to;  /* NULL: nobody waits, the engine frees */
    void *ctx;                 /* the submitter's */
    struct slice encoded;      /* the record's bytes, behind this struct */
    struct record record;      /* decoded, borrows from `encoded` */
    uint64_t received_us;
    struct applied answer;     /* problem, sequence, chain, ts, messageId */
    uint64_t position;         /* set when something was stored */
    bool has_event;            /* the engine's: `event` is in use */
    struct event event;        /* its references count the submission's, too */
};
/* Gives the store a new epoch, so that cursors from before are refused: after a
 * backup was put back. The engine is not running. */
SOTTO_CHECKED enum sotto_err engine_renew_epoch(struct store *store, const struct random_source *random);

/* Copies the bytes. NULL when they are no record: a bug of the caller, who encoded
 * them. pool: of the calling thread, all with blocks of SUBMISSION_BLOCK bytes; may be
 * NULL. */
enum { SUBMISSION_BLOCK = 2048 };
struct submission *submission_create(struct slice encoded, struct pool *pool);
void submission_destroy(struct submission *s, struct pool *pool);

struct engine;
struct engine_options {
    struct store *store;       /* not owned */
    const struct clock_source *clock;
    const struct random_source *random;
    struct log *log;           /* may be NULL */
    struct metrics *metrics;
    /* Called on the engine's thread after each commit, events in order. The
     * callee takes references for what it keeps. */
    void (*publish)(void *ctx, struct event *const *events, size_t count);
    void *publish_ctx;
    uint64_t retention_days;   /* 0: for ever */
    size_t cache_conversations;/* states kept in memory; 8 more members count as one more */
    uint64_t housekeeping_ms;  /* how often expiry and retention are looked at */
};
/* Reads the position and epoch (drawing an epoch for a new store). Does not
 * start the thread. */
SOTTO_CHECKED enum sotto_err engine_create(const struct engine_options *options, struct buffer *why_out,
                                           struct engine **engine_out);
void engine_start(struct engine *e);
/* Commits what is queued, answers it, joins the thread. New submissions are
 * refused with PROBLEM_DRAINING. */
void engine_stop(struct engine *e);
void engine_destroy(struct engine **e);
/* One turn on the caller's thread, for simulation: takes what is queued,
 * commits, answers, publishes. Returns how many submissions it handled. */
size_t engine_turn(struct engine *e);
/* Housekeeping now, one bounded piece of it, for simulation and tests. True: there is more
 * to do at once. */
bool engine_housekeep(struct engine *e);

/* False when the queue is full or the engine stops: the submission stays the
 * caller's, who answers PROBLEM_BUSY or PROBLEM_DRAINING. Any thread. */
SOTTO_CHECKED bool engine_submit(struct engine *e, struct submission *s);
/* For who submits several: where *asleep_out is true the caller must engine_wake when all are
 * submitted, and soon (base/mailbox.h). Any thread. */
SOTTO_CHECKED bool engine_submit_quietly(struct engine *e, struct submission *s, bool *asleep_out);
void engine_wake(struct engine *e);
/* Position of the last commit. Any thread. */
uint64_t engine_position(const struct engine *e);
uint32_t engine_epoch(const struct engine *e);
bool engine_draining(const struct engine *e);
size_t engine_queue_depth(const struct engine *e);
struct store *engine_store(const struct engine *e);

#endif
