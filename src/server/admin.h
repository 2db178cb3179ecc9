/* What another sottod process may ask of a running server: only what needs the
 * message store, which one process can have open. Everything else goes straight
 * to the directory's database.
 *
 * admin.sock in the data directory (0600, and the peer must be the server's
 * user or root). One line in, one line out, then the connection is closed:
 *
 *   "backup /absolute/path\n"   ->  "ok\n" or "failed what is wrong\n"
 */
#ifndef SOTTO_SERVER_ADMIN_H
#define SOTTO_SERVER_ADMIN_H

#include "base/workers.h"
#include "server/backup.h"

struct admin;
struct admin_options {
    const struct backup_sources *sources; /* not owned; outlives the admin */
    struct workers *workers;
    struct log *log;
};
SOTTO_CHECKED enum sotto_err admin_listen(const struct admin_options *options, struct buffer *why_out,
                                          struct admin **admin_out);
/* Readable when a request has come. */
int admin_fd(const struct admin *a);
/* Accepts what has come and hands it to the workers. Main thread; does not block. */
void admin_accept(struct admin *a);
/* Stops listening. The workers must have ended, so that no request is under way. */
void admin_close(struct admin **a);

/* Asks the server that owns `dir`. NOT_FOUND: none listens. Blocks until done. */
SOTTO_CHECKED enum sotto_err admin_ask_backup(const struct datadir *dir, const char *target, struct buffer *why_out);

#endif
