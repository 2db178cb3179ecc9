/* What the files of the client engine share. */
#ifndef SOTTO_CLIENT_CLIENT_PRIVATE_H
#define SOTTO_CLIENT_CLIENT_PRIVATE_H

#include "base/arena.h"
#include "client/client.h"
#include "wire/cursor.h"
#include "wire/json.h"

enum {
    CLIENT_RESERVED_OUTPUTS = 6,
    CLIENT_PULLS_MAX = 8,
    CLIENT_TOKEN_MAX = 256,
    CLIENT_AGENT_MAX = 64,
    CLIENT_PULL_LIMIT = 100,
    CLIENT_BACKOFF_FIRST_MS = 500,
    CLIENT_BACKOFF_MAX_MS = 30000,
    CLIENT_CONNECT_TIMEOUT_MS = 20000,
    CLIENT_HELLO_TIMEOUT_MS = 20000,
    CLIENT_ECHO_MS = 60000 /* a connection that broke may be heard of at the server for so long */
};

struct output_node {
    struct client_output out;
    struct output_node *next;
    bool reserved;       /* one of client.reserve */
    uint8_t *at, *end;   /* free bytes behind the node */
};
struct output_queue {
    struct output_node *first;
    struct output_node **last;
};

struct queued {
    struct queued *next;
    struct client_queued item; /* slices point behind the struct */
    uint64_t try_ms;           /* not before */
    uint64_t sent_ms;          /* when it was sent on this connection */
    bool under_way;
    unsigned tries;
    /* The server has it under this number, and it is not its turn to be shown. */
    struct placed {
        struct id conversation, message_id;
        uint64_t sequence, ts_ms; /* sequence 0: not so */
    } placed;
};

struct conversation {
    struct client_mark mark;
    uint64_t head;             /* highest sequence heard of */
    uint64_t told[MARK_KINDS]; /* marks in the frame that is under way, 0: none */
    bool pull_wanted, pulling;
    bool unsure;               /* the server may be one that was restored */
    uint64_t check_at;         /* 0: none; else what the chain was there before that */
    uint8_t check_chain[HASH_LEN];
};

struct client {
    const struct client_store *store;
    const struct random_source *random;
    const struct client_memory *memory;
    struct id user;
    uint8_t device;            /* 0 until the first hello */
    char token[CLIENT_TOKEN_MAX + 1];
    char resume_token[CLIENT_TOKEN_MAX + 1];
    char agent[CLIENT_AGENT_MAX + 1];
    char cursor[CURSOR_TEXT_MAX + 1];         /* as stored */
    char pending_cursor[CURSOR_TEXT_MAX + 1]; /* to be stored when no pull is open */

    enum client_phase phase;
    enum client_end end;
    uint64_t now_ms;
    uint64_t deadline_ms;      /* of the phase; UINT64_MAX: none */
    uint64_t heard_ms;
    uint64_t heartbeat_ms, idle_timeout_ms;
    bool pinged;
    bool resumed;              /* the hello carried the resume token */
    unsigned failures;         /* in a row, for the backoff */
    uint64_t broke_ms;         /* when a connection last broke that had said hello; 0: never */
    bool in_batch;

    bool loaded;               /* memory mirrors the store */
    bool in_transaction;
    struct conversation **conversations; /* sorted by id */
    size_t conversations_count, conversations_size;
    size_t pulls, pulls_wanted;
    uint64_t pulls_ms;         /* none starts before */
    uint64_t accept_left;      /* messages from others */
    bool held;                 /* one was left to the next client: the cursor stays */
    bool marks_dirty;          /* there may be marks to tell */
    bool marks_under_way[MARK_KINDS];
    uint64_t marks_ms;         /* when to tell them */

    struct queued *outbox;
    struct queued **outbox_last;
    size_t outbox_count, sends;
    uint64_t order;

    struct output_queue staged, ready;
    struct output_node *taken; /* handed out by the last poll */
    struct output_node reserve[CLIENT_RESERVED_OUTPUTS];
    bool reserve_used[CLIENT_RESERVED_OUTPUTS];

    uint8_t *scratch;          /* of one decoded frame */
    size_t scratch_len;
};

/* output.c. The calls that return a node return NULL when out of memory. */
void output_queue_init(struct output_queue *q);
struct output_node *output_new(struct client *c, enum client_output_kind kind, size_t extra);
/* Never fails: taken from the reserve when the heap is empty. */
struct output_node *output_small(struct client *c, enum client_output_kind kind);
struct output_node *event_new(struct client *c, enum client_event_kind kind, size_t extra);
struct slice output_copy(struct output_node *n, struct slice bytes);
void output_stage(struct client *c, struct output_node *n);
void outputs_release(struct client *c);              /* staged become ready */
void outputs_drop(struct client *c, struct output_queue *q);
void output_free(struct client *c, struct output_node *n);
/* A writer over `n`'s own bytes; frame_end sets the frame, false if it did not fit. */
struct buffer frame_begin(struct output_node *n);
bool frame_end(struct client *c, struct output_node *n, const struct buffer *b);

/* conversation.c */
struct conversation *conversation_find(const struct client *c, struct id id);
SOTTO_CHECKED enum sotto_err conversation_get(struct client *c, struct id id, struct conversation **out);
void conversations_clear(struct client *c);
struct incoming_message;
SOTTO_CHECKED enum sotto_err conversation_accept(struct client *c, const struct incoming_message *m, bool history);
/* What answers to such requests begin with in "re"; the conversation's id follows. */
#define ASK_HISTORY "history:"
#define ASK_CONVERSATION "conversation:"
enum { ASK_NAME_MAX = sizeof ASK_CONVERSATION - 1 };
/* Our own message was placed in a conversation that we know nothing of: where does it begin? */
SOTTO_CHECKED enum sotto_err conversation_ask(struct client *c, struct id conversation);
/* The answer: so much was delivered to our user, and read; UINT64_MAX: it cannot be had, it
 * begins with our message. */
SOTTO_CHECKED enum sotto_err conversation_begin(struct client *c, struct id id, uint64_t delivered, uint64_t read);
/* Someone says that there are messages up to `head`. */
void conversation_head(struct client *c, struct conversation *v, uint64_t head);
SOTTO_CHECKED enum sotto_err conversation_history(struct client *c, struct conversation *v, struct arena *arena,
                                                  struct json answer);
/* retry_ms: from the server, 0 when it named none. */
SOTTO_CHECKED enum sotto_err conversation_history_failed(struct client *c, struct conversation *v,
                                                         struct slice code, uint64_t retry_ms);
/* The server does not know our cursor: what it tells of each conversation decides,
 * and those that it does not tell of are new to it. */
void conversations_doubt(struct client *c);
SOTTO_CHECKED enum sotto_err conversation_restart(struct client *c, struct conversation *v, uint64_t delivered,
                                                  uint64_t read, uint64_t head);
SOTTO_CHECKED enum sotto_err conversations_settle(struct client *c);
SOTTO_CHECKED enum sotto_err conversations_pump(struct client *c); /* pulls that wait */
SOTTO_CHECKED enum sotto_err marks_send(struct client *c);         /* when they are due */
SOTTO_CHECKED enum sotto_err marks_answered(struct client *c, enum mark_kind kind);
void marks_want(struct client *c);
void marks_rewind(struct client *c);                /* the connection is gone: tell them again */
SOTTO_CHECKED enum sotto_err cursor_keep(struct client *c, struct slice text);
SOTTO_CHECKED enum sotto_err store_open(struct client *c);         /* begins a transaction once */

/* outbox.c */
SOTTO_CHECKED enum sotto_err outbox_add(struct client *c, const struct client_queued *q);
struct queued *outbox_find(const struct client *c, struct slice client_msg_id);
void outbox_clear(struct client *c);
void outbox_rewind(struct client *c);               /* nothing is under way any more */
SOTTO_CHECKED enum sotto_err outbox_pump(struct client *c);
SOTTO_CHECKED enum sotto_err outbox_done(struct client *c, struct queued *q);
/* The highest number that the server has given to one that waits to be shown; 0: none. */
uint64_t outbox_placed_last(const struct client *c, struct id conversation);
/* The server has it, further ahead than its turn. */
void outbox_placed(struct client *c, struct queued *q, const struct client_message *m);
/* Nothing up to `sequence` will come any more: those placed there are told as sent. */
SOTTO_CHECKED enum sotto_err outbox_passed(struct client *c, struct id conversation, uint64_t sequence);
bool problem_passes(struct slice code);             /* the same request may succeed later */
SOTTO_CHECKED enum sotto_err outbox_refused(struct client *c, struct queued *q, struct slice code,
                                            struct slice text, uint64_t retry_ms);
uint64_t outbox_wake_ms(const struct client *c);

/* incoming.c */
struct incoming_message {
    struct client_message message;
    struct slice chain, payload_hash; /* HASH_LEN bytes each */
    bool has_payload;
};
SOTTO_CHECKED enum sotto_err incoming_message_decode(struct client *c, struct arena *arena, struct json object,
                                                     struct incoming_message *out);
SOTTO_CHECKED enum sotto_err incoming_frame(struct client *c, struct slice text);

/* client.c */
void client_enter(struct client *c, enum client_phase phase, uint64_t deadline_ms);
void client_lost(struct client *c, unsigned code); /* leaves the connection and plans what comes next */
void client_disconnect(struct client *c, unsigned code);
SOTTO_CHECKED enum sotto_err hello_send(struct client *c);
uint64_t client_jitter_ms(struct client *c, uint64_t max_ms);

#endif
