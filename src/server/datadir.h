/* The data directory: one owner at a time, readable by that owner only.
 *
 *   lock           held (flock) by whoever uses the directory; holds its pid
 *   port           the port that the running server listens on
 *   admin.sock     where a running server takes backup requests
 *   directory.db   users, devices, keys, contacts (SQLite)
 *   store/         messages and conversations (RocksDB)
 *   sottod.conf    configuration, optional
 */
#ifndef SOTTO_SERVER_DATADIR_H
#define SOTTO_SERVER_DATADIR_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/log.h"

enum { PATH_MAX_LEN = 1024 };
struct datadir {
    char path[PATH_MAX_LEN];
    int fd;      /* the directory; -1: not open */
    int lock_fd; /* -1: not ours */
};

/* Opens a directory of another's, to read in it: nothing of it is changed, and it may be on
 * a medium that cannot be written to. Errors: NOT_FOUND, IO, INVALID; why_out has a sentence. */
SOTTO_CHECKED enum sotto_err datadir_look(const char *path, struct buffer *why_out, struct datadir *dir_out);
/* Opens the directory. create: makes it (and only it, not its parents).
 * Rights of group and others are taken away; where there are such, a directory for everybody
 * (/tmp), or one with files of which none is Sotto's (/etc), is refused and stays as it is.
 * Errors: NOT_FOUND, IO, INVALID; why_out has a sentence. */
SOTTO_CHECKED enum sotto_err datadir_open(const char *path, bool create, struct log *log, struct buffer *why_out,
                                          struct datadir *dir_out);
/* Takes the lock. CONFLICT: another process has it. */
SOTTO_CHECKED enum sotto_err datadir_lock(struct datadir *dir, struct buffer *why_out);
/* After work that root did: what became root's in the directory and in store/
 * goes to the directory's owner, who could not open it otherwise. Does nothing
 * for others than root, and nothing with files that have a second name. */
void datadir_give_back(const struct datadir *dir);
/* IO when a file of the directory or of store/ may not be read and written;
 * why_out names it. */
SOTTO_CHECKED enum sotto_err datadir_check_rights(const struct datadir *dir, struct buffer *why_out);
/* CORRUPT when a part is missing: the accounts, or a store that was here once
 * (datadir_mark_store); why_out says what to do. */
SOTTO_CHECKED enum sotto_err datadir_check_whole(const struct datadir *dir, struct buffer *why_out);
/* Notes that there is a store now, so that it is missed when it is gone. */
SOTTO_CHECKED enum sotto_err datadir_mark_store(const struct datadir *dir, struct buffer *why_out);
/* Releases and closes; removes nothing. */
void datadir_close(struct datadir *dir);
/* path/name; false when it does not fit. */
SOTTO_CHECKED bool datadir_path(const struct datadir *dir, const char *name, char out[PATH_MAX_LEN + 64]);
bool datadir_has(const struct datadir *dir, const char *name);
/* Replaces a small file, atomically. */
SOTTO_CHECKED enum sotto_err datadir_write(const struct datadir *dir, const char *name, struct slice content);
/* Reads one of at most `max` bytes into `out`. NOT_FOUND, IO. */
SOTTO_CHECKED enum sotto_err datadir_read(const struct datadir *dir, const char *name, struct buffer *out);
void datadir_remove(const struct datadir *dir, const char *name);
/* Copies a file (0600) and syncs it. */
SOTTO_CHECKED enum sotto_err file_copy(const char *from, const char *to, struct buffer *why_out);
/* Syncs a directory, so that names in it survive power loss. */
SOTTO_CHECKED enum sotto_err directory_sync(const char *path);

#endif
