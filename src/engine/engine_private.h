/* Inside the embedded engine: the batch, the cache of states, the rows. */
#ifndef SOTTO_ENGINE_PRIVATE_H
#define SOTTO_ENGINE_PRIVATE_H

#include "base/map.h"
#include "engine/engine.h"
#include "store/keys.h"

#include <pthread.h>

/* Bytes of the submissions that wait for the writer; see SOTTO_ENGINE_QUEUE_MAX
 * for their number. */
enum { ENGINE_QUEUE_BYTES_MAX = 64 * 1024 * 1024 };
/* What a member adds to a batch that changes the conversation, at least about so. */
enum { ENGINE_MEMBER_BYTES = 128 };
/* So many members take as much memory as a state without. */
enum { ENGINE_MEMBERS_PER_STATE = 8 };
/* Mailboxes that are woken together. */
enum { ENGINE_ASLEEP_MAX = 64 };

/* A conversation state in memory. */
struct cached {
    struct conversation state;
    size_t row_len;                 /* of its row; 0: none yet */
    size_t weight;                  /* counted in cache_weight */
    struct cached *newer, *older;   /* by last use */
    struct cached *next_dirty;
    bool dirty;                     /* changed by the batch in progress */
};

/* An idempotency key written by the batch in progress, not yet in the store. */
struct fresh_key {
    uint8_t key[DEDUPE_KEY_LEN];
    struct prior prior;
};

/* The state of housekeeping.c. */
struct housekeeping {
    bool more_expired;              /* than one turn may take */
    struct key expire_from;         /* behind rows that could not be expired; empty: none */
    uint64_t expire_again_ms;       /* monotonic; then from the first again */
    bool more_outdated;             /* retention is in a round through the conversations */
    struct id sweep_next;           /* where that goes on */
    uint64_t sweep_look;            /* and there from this sequence on; 0: from the first */
    uint64_t sweep_began_ms, sweep_again_ms; /* monotonic; that round, and not before the next */
    bool erased;                    /* something left: ask for compaction */
    bool compacting;                /* that was asked for, and may not be done */
    bool erased_noted;              /* the store says that one of these is so */
    uint64_t compact_at_ms;         /* monotonic; not before */
    uint64_t clock_wall_ms, clock_monotonic_ms; /* that belong together */
    uint64_t clock_tolerance_ms;    /* so far ahead the wall clock is believed */
    uint64_t clock_noted_ms;        /* wall; what the store says; 0: nothing */
    uint64_t clock_paused_until_ms; /* monotonic */
    uint64_t clock_ahead_ms;        /* the least in this pause; 0: there is none */
    struct counter *expired, *purged, *unreadable, *clock_jumps;
};

struct engine {
    struct engine_options options;
    struct mailbox inbox;
    atomic_size_t queued_bytes;     /* of the records in it, and in `pending` */
    pthread_t thread;
    bool started;
    atomic_bool stopping;
    atomic_uint_fast64_t position;  /* of the last commit */
    uint32_t epoch;
    bool reload;                    /* a commit failed: read the position again */

    struct map cache;               /* conversation id -> struct cached */
    struct cached *newest, *oldest;
    size_t cache_weight;            /* of all, in states with few members */

    /* The batch in progress. */
    struct store_batch *batch;
    uint64_t next_position;         /* of the next record that changes something */
    struct cached *dirty;
    size_t dirty_bytes;             /* of their rows, about */
    struct map fresh;               /* dedupe key -> struct fresh_key */
    struct fresh_key *fresh_keys;   /* SOTTO_ENGINE_BATCH_MAX of them */
    size_t fresh_count;
    struct submission **taken;      /* submissions of this batch, in order */
    size_t taken_count;
    struct mailbox *asleep[ENGINE_ASLEEP_MAX]; /* got answers, and wait to be woken */
    size_t asleep_count;
    struct event **events;
    size_t events_count, events_size;
    struct event **held;            /* of an uncertain batch, see engine_embedded.c */
    size_t held_count, held_size;
    uint64_t held_position;         /* that batch's last */
    struct buffer row, value;       /* scratch */

    struct mail *pending;           /* taken from the mailbox, not yet in a batch */
    struct housekeeping keep;

    struct histogram *batch_records, *sync_time;
    struct counter *stored, *repeated, *refused, *watermarks, *failures;
};

/* cache.c */
struct cached *cache_load(struct engine *e, struct id conversation, enum sotto_err *err_out);
void cache_mark_dirty(struct engine *e, struct cached *c);
/* Forgets the states that the batch in progress touched. */
void cache_drop_dirty(struct engine *e);
void cache_trim(struct engine *e);
void cache_clear(struct engine *e);

/* apply.c: one record onto the batch in progress. */
void engine_apply(struct engine *e, struct submission *s);
/* A record of the engine's own (EXPIRE, PURGE). NOT_FOUND: its row is gone.
 * After another error of a PURGE the batch must be dropped. */
SOTTO_CHECKED enum sotto_err engine_apply_own(struct engine *e, const struct record *r);

/* housekeeping.c; what engine_housekeep needs to know from the store. */
SOTTO_CHECKED enum sotto_err housekeeping_start(struct engine *e);

/* engine_embedded.c */
/* Big-endian numbers of STORE_META; `len` bytes long. */
SOTTO_CHECKED enum sotto_err engine_read_number(struct store *store, const char *name, size_t len, uint64_t *out);
/* With the batch in progress; 8 bytes long. */
void engine_put_number(struct engine *e, const char *name, uint64_t number);
/* After a commit that failed: what the store's position is, and what of the events that
 * were held. */
SOTTO_CHECKED enum sotto_err engine_reload_position(struct engine *e);
/* Writes the batch in progress, if a record is in it. False: nothing of it counts, and
 * *problem_out says what to answer. */
bool engine_commit(struct engine *e, enum problem *problem_out);
/* The events of the batch that was just committed, or dropped. */
void engine_publish(struct engine *e, bool committed);
void engine_reset_batch(struct engine *e);
/* Nothing of the batch in progress counts, or nobody knows. */
void engine_drop_batch(struct engine *e, enum sotto_err err);

#endif
