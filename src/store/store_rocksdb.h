/* The embedded store: RocksDB, every commit synced to its write-ahead log. */
#ifndef SOTTO_STORE_ROCKSDB_H
#define SOTTO_STORE_ROCKSDB_H

#include "base/log.h"
#include "store/store.h"

struct store_rocksdb_options {
    const char *directory;     /* made when missing */
    size_t block_cache_bytes;
    size_t write_buffer_bytes;
    uint64_t reserve_bytes;    /* commits are refused with FULL when less disk is free; those
                                * that free some go on down to a small rest of it */
    struct log *log;           /* may be NULL */
};
/* Opens or creates. Errors: CORRUPT (damaged, or of a newer version), IO,
 * DENIED (another process has it); why_out says what is wrong and what to do. */
SOTTO_CHECKED enum sotto_err store_rocksdb_open(const struct store_rocksdb_options *options,
                                                struct buffer *why_out, struct store **store_out);
/* Puts a backup back. `directory` must be empty or missing. */
SOTTO_CHECKED enum sotto_err store_rocksdb_restore(const char *backup, const char *directory,
                                                   struct buffer *why_out);
#endif
