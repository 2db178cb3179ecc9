/* Shared by the files that make up the running server. */
#ifndef SOTTO_SERVER_SERVER_PRIVATE_H
#define SOTTO_SERVER_SERVER_PRIVATE_H

#include "gateway/gateway.h"
#include "net/stream.h"
#include "server/admin.h"
#include "server/command_line.h"
#include "server/notify.h"

struct server;
struct poll_job {
    struct job job;
    struct server *server;
    atomic_bool busy;
};

struct server {
    const struct command_line *line;  /* read again by SIGHUP */
    struct loaded_config loaded;
    struct datadir dir;
    struct log *log;
    struct metrics *metrics;
    struct workers *workers, *hashers;
    struct directory *directory;
    struct store *store;
    struct engine *engine;
    struct tls_context *tls;          /* NULL: plain */
    struct gateway *gateway;
    struct admin *admin;
    struct services services;
    struct backup_sources backup;
    struct poll_job poll_job;
    struct notify notify;
    int signal_fd;
    bool serving;                     /* the threads run */
    bool nobody_registered;           /* at the start */
    char first_invite[INVITE_TEXT_MAX]; /* empty: none was made */
    /* Read by pages on the loops. */
    atomic_bool draining, disk_full;
    atomic_uint metrics_for; /* enum metrics_for */
    atomic_uint_fast64_t disk_free_bytes, open_files;
    atomic_uint_fast64_t certificate_until_s; /* Unix time; 0: no TLS */
    uint64_t started_s;               /* Unix time */
};

/* server_start.c: opens everything and starts the threads; on failure says why
 * on stderr. server_stop takes down what is there, in reverse. */
SOTTO_CHECKED enum exit_code server_start(struct server *s);
void server_stop(struct server *s);

/* reload.c: SIGHUP. Takes a new configuration if all of it is right. */
void server_reload(struct server *s);

/* Notes how long the certificate in use is good, and says so when that is not long. */
void server_note_certificate(struct server *s);

/* pages.c: /healthz, /readyz, /metrics; the gateway's page hook, ctx is the
 * server. */
bool server_page(void *ctx, const struct http_message *request, bool local, unsigned *status_out,
                 const char **content_type_out, struct buffer *body);
/* Looks at the disk and the open files; once a second, main thread. */
void server_observe(struct server *s);

/* welcome.c: makes the invite for the first account while nobody is registered.
 * Before the threads run: it writes to the directory, and the main thread must
 * not wait for others there. */
void server_prepare_welcome(struct server *s);
/* Says on stdout where the server is and, with that invite, what to do first. */
void server_welcome(struct server *s);

#endif
