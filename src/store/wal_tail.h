/* What is wrong with a write-ahead log that RocksDB refuses: a torn end, or
 * damage among what was acknowledged? */
#ifndef SOTTO_STORE_WAL_TAIL_H
#define SOTTO_STORE_WAL_TAIL_H

#include <stdbool.h>
#include <stdint.h>

/* Of RocksDB's log: records are cut into pieces at the ends of blocks, and each piece has
 * a header. */
enum { WAL_BLOCK_LEN = 32768, WAL_HEADER_LEN = 7 };

/* True when the newest log in the folder is sound up to a point after which
 * nothing whole begins, and nothing is missing before: only the write that was
 * under way is lost. Reads the logs; changes nothing. False also when they
 * cannot be read. */
bool wal_tail_is_torn(const char *directory);
/* Opens the log with the highest number, flags as of open(2); -1 if there is none. */
int wal_open_newest(const char *directory, int flags, uint64_t *number_out);
/* The crc32c of its first `len` bytes. False: they cannot be read. */
bool wal_checksum(int log, uint64_t len, uint32_t *sum_out);
/* Calls `visit` for each log in the folder, in no order; `folder` and `name` are for
 * openat(2). False: the folder cannot be read, or not to its end. */
bool wal_each(const char *directory, void (*visit)(void *ctx, int folder, const char *name, uint64_t number),
              void *ctx);

#endif
