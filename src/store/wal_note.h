/* What a clean stop leaves: which write-ahead logs there were, and what was in them; and what
 * a crash leaves: which was the newest, and how long at least. RocksDB does not miss a log:
 * without its newest one a store opens as it was some time ago, and the messages since, which
 * were acknowledged, are gone without a word. */
#ifndef SOTTO_STORE_WAL_NOTE_H
#define SOTTO_STORE_WAL_NOTE_H

#include "base/buffer.h"
#include "base/error.h"

/* Replaces the note in the folder, whose database has just been closed without an
 * error. What cannot be written is left as it was: an older note refuses nothing that
 * is whole. Syncs. */
void wal_note_write(const char *directory);
/* While the database is open: `bytes` of log `number`, at least one, have been synced.
 * Does not sync. */
void wal_note_running(const char *directory, uint64_t number, uint64_t bytes);
/* CORRUPT when a log of the notes is gone, shorter than it was, or another, IO when it
 * cannot be read; why_out (cleared first) then says which, as a part of a sentence. Else
 * SOTTO_OK: also without a note, or with one that cannot be read. current_out: nothing was
 * written since the stop, so that nothing can be torn. Reads the logs; changes nothing. The
 * database is not open. */
SOTTO_CHECKED enum sotto_err wal_note_check(const char *directory, bool *current_out, struct buffer *why_out);

#endif
