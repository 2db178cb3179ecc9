/* A backup: a directory that holds a consistent copy of both databases.
 *
 *   store/         as store_backup writes it
 *   directory.db   as directory_backup writes it
 *   sottod.conf    a copy, when the data directory has one
 *   backup         written last: "sotto-backup 1", the time, the version
 *
 * The store is copied before the directory: so everyone who wrote a message in
 * the copy is in the copied directory. A backup without the file `backup` was
 * not finished and is not restored.
 */
#ifndef SOTTO_SERVER_BACKUP_H
#define SOTTO_SERVER_BACKUP_H

#include "directory/directory.h"
#include "server/datadir.h"
#include "store/store.h"

struct backup_sources {
    struct store *store;
    struct directory *directory;
    const struct datadir *datadir;
    const struct clock_source *clock;
    const char *version;
};
/* Writes a backup to `target`, an absolute path that does not exist or is an
 * empty directory. Blocks for as long as it takes; the server may go on
 * meanwhile. */
SOTTO_CHECKED enum sotto_err backup_write(const struct backup_sources *sources, const char *target,
                                          struct buffer *why_out);
/* Puts a backup into a data directory that holds neither database yet. The
 * store gets a new epoch, so that devices which had seen more than the backup
 * notice and take a snapshot; the directory loses its one-time prekeys, as they
 * may have been handed out since. */
SOTTO_CHECKED enum sotto_err backup_restore(const char *source, const struct datadir *datadir,
                                            struct buffer *why_out);

#endif
