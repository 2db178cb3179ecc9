/* The client's state in one SQLite file: the engine's store port, and what the
 * application keeps beside it (whose account, on which server).
 *
 * The file is made with mode 0600: it holds the device's token. Write-ahead
 * logging; each transaction is synced. Several processes of one user may have it
 * open; a writer waits up to ten seconds for another.
 */
#ifndef SOTTO_CLIENT_LOCAL_STORE_H
#define SOTTO_CLIENT_LOCAL_STORE_H

#include "base/buffer.h"
#include "client/store.h"

struct local_store;
/* Opens or creates. Errors: IO, CORRUPT (not ours, or of a later version); a
 * sentence in why_out. */
SOTTO_CHECKED enum sotto_err local_store_open(const char *file, struct buffer *why_out,
                                              struct local_store **store_out);
void local_store_close(struct local_store **s);
/* The port; lives as long as the store. */
const struct client_store *local_store_port(struct local_store *s);

/* Settings by name: "server", "token", … get appends the value to `out`.
 * NOT_FOUND: no such setting. */
SOTTO_CHECKED enum sotto_err local_setting_get(struct local_store *s, const char *name, struct buffer *out);
SOTTO_CHECKED enum sotto_err local_setting_put(struct local_store *s, const char *name, struct slice value);
/* Forgets everything: settings, cursor, marks and outbox. */
SOTTO_CHECKED enum sotto_err local_store_reset(struct local_store *s);
size_t local_outbox_count(struct local_store *s);

#endif
