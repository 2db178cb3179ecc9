/* Makes room ahead of the end of the write-ahead log, so that syncing it is one
 * visit to the disk.
 *
 * A log that grows with each commit makes each sync write the file system's journal
 * as well: the new length, and that the blocks are in use now. That is a second
 * visit, which in addition waits for whatever else the journal has at hand, such as
 * a file that is being flushed. Over zeros that are there already, a sync writes the
 * bytes and nothing else. So the writer appends some zeros now and then, between two
 * commits, and RocksDB writes over them.
 *
 * SAFETY. Zeros are only ever appended, by the file system's own O_APPEND: behind
 * every byte that RocksDB has written, wherever that is. What is believed here about
 * where it is decides when, not where to. RocksDB takes zeros behind the last record
 * for the end of the log, and cuts them off when it closes it. Who copies a log while it is
 * written takes its length for the end of what was written, and would find zeros there, and
 * behind them what came while it copied: no log that is made during a pause has any.
 *
 * It also notes which log is written, and how much of it is on disk at least (wal_note.h):
 * what RocksDB had put there when it was seen first, and the commits since. There is none
 * under way, and whatever else writes to the log syncs as well.
 */
#ifndef SOTTO_STORE_WAL_AHEAD_H
#define SOTTO_STORE_WAL_AHEAD_H

#include <stdbool.h>
#include <stddef.h>

/* So much at least is ahead after wal_ahead_fill, and at most half as much again. */
enum { WAL_AHEAD_BYTES = 256 * 1024 };

struct wal_ahead;
/* directory: of the logs, exists. Where the system does not tell of new files, the calls
 * below do nothing. */
struct wal_ahead *wal_ahead_create(const char *directory);
/* Both on the thread of the commits: a commit of `len` bytes begins; there is time now,
 * and all commits to the log of now have succeeded. */
void wal_ahead_used(struct wal_ahead *w, size_t len);
void wal_ahead_fill(struct wal_ahead *w);
/* Any thread. Between them wal_ahead_fill does nothing; pauses may overlap. False: no zeros
 * were put ahead yet. */
bool wal_ahead_pause(struct wal_ahead *w);
void wal_ahead_resume(struct wal_ahead *w);
void wal_ahead_destroy(struct wal_ahead **w);

#endif
