/* The settings of sottod: one table, from which the file, the environment, the
 * flags, `config show`, the help text and the reference in docs/operations.md
 * are all derived.
 */
#ifndef SOTTO_SERVER_OPTIONS_H
#define SOTTO_SERVER_OPTIONS_H

#include "gateway/services.h"

enum log_form { LOG_FORM_TEXT, LOG_FORM_JSON };
enum metrics_for { METRICS_OFF, METRICS_LOCAL, METRICS_ON };

struct config {
    char *listen;               /* addresses, separated by commas */
    uint64_t port;              /* 0: any free one */
    char *server_name;
    char *tls_cert, *tls_key;   /* both or neither; "" is none */
    char *data_dir;
    unsigned registration;      /* enum registration_policy */
    uint64_t retention_days;    /* 0: for ever */
    uint64_t housekeeping_ms;
    uint64_t disk_reserve_bytes;
    uint64_t store_cache_bytes, store_write_buffer_bytes;
    uint64_t conversation_cache;
    uint64_t directory_cache_bytes;
    uint64_t argon2_memory_bytes, argon2_passes; /* 0: libsodium's interactive */
    uint64_t prekeys_low;
    uint64_t io_threads, worker_threads;         /* 0: as many as there are cores */
    struct gateway_limits limits;
    uint64_t drain_timeout_ms;
    unsigned log_level;         /* enum log_level */
    unsigned log_form;          /* enum log_form */
    unsigned metrics;           /* enum metrics_for */
};

enum option_kind {
    OPTION_TEXT,     /* char *; at most max bytes */
    OPTION_NUMBER,   /* uint64_t or size_t */
    OPTION_BYTES,    /* uint64_t or size_t */
    OPTION_DURATION, /* uint64_t, milliseconds */
    OPTION_RATE,     /* struct rate */
    OPTION_CHOICE,   /* unsigned, index in choices */
    OPTION_RANGES,   /* struct address_ranges */
};
struct option {
    const char *group;          /* heading in the help and the reference */
    const char *key;            /* "tls-cert": --tls-cert, SOTTO_TLS_CERT, tls-cert = */
    enum option_kind kind;
    size_t offset;              /* in struct config */
    uint64_t min, max;
    const char *initial;        /* NULL: what gateway_limits_default says */
    const char *const *choices; /* CHOICE, ended by NULL */
    bool reloads;               /* SIGHUP takes a new value */
    const char *help;           /* one sentence or two */
};
extern const struct option option_table[];
extern const size_t option_table_count;

enum { OPTIONS_MAX = 64, OPTION_KEY_MAX = 40, OPTION_TEXT_MAX = 1024 };

/* The option of that name, or NULL. */
const struct option *option_find(struct slice key);
/* SOTTO_TLS_CERT for tls-cert. */
void option_variable(const struct option *o, char out[OPTION_KEY_MAX + 8]);
/* Sets the value in `c`. On SOTTO_ERR_INVALID why_out says what is wrong. */
SOTTO_CHECKED enum sotto_err option_set(const struct option *o, struct config *c, struct slice text,
                                        struct buffer *why_out);
/* The value of `from`, which is one that option_set accepts. */
void option_copy(const struct option *o, struct config *to, const struct config *from);
/* The value as option_set reads it. */
void option_format(const struct option *o, const struct config *c, struct buffer *out);

/* Every option at its default. */
void config_init(struct config *c);
void config_deinit(struct config *c);

#endif
