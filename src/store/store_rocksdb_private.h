/* Inside the RocksDB backend: the handle, and the thread that compacts. */
#ifndef SOTTO_STORE_ROCKSDB_PRIVATE_H
#define SOTTO_STORE_ROCKSDB_PRIVATE_H

#include "store/store_rocksdb.h"

#include <pthread.h>
#include <stdatomic.h>
#include <rocksdb/c.h>

enum { STORE_FORMAT_VERSION = 2 };

struct store {
    struct store_head head;
};
struct store_rocksdb {
    struct store base;
    char *directory;
    size_t write_buffer;
    size_t buffer_bytes[STORE_FAMILIES]; /* of each one's write buffers */
    uint64_t reserve;
    struct log *log;
    rocksdb_t *db;                /* NULL only after a failed reopening */
    bool read_only;               /* there was no room to open it for writing */
    bool unsettled;               /* what a failed commit left may be in memory only */
    bool tail_dropped;            /* when it was opened last */
    uint64_t opened_ms;           /* monotonic, when opening was tried last */
    rocksdb_column_family_handle_t *families[STORE_FAMILIES];
    rocksdb_cache_t *cache;
    rocksdb_writeoptions_t *sync_write;
    rocksdb_readoptions_t *read;
    pthread_rwlock_t gate;        /* of the seven above */
    struct wal_ahead *ahead;      /* the writer's, like the next */
    struct background *background;

    pthread_t compactor;
    pthread_mutex_t compactor_lock;
    pthread_cond_t compactor_wake;
    unsigned compact_wanted;      /* bit per family */
    unsigned compact_running;     /* likewise */
    atomic_bool compact_cut;      /* a commit failed: none is whole until it is opened again */
    bool compactor_stopping;
};
static inline struct store_rocksdb *rocksdb_of(struct store *s) { return (struct store_rocksdb *)s; }

/* Takes the gate shared with the database open, opening it again if an earlier
 * attempt failed. False: it is closed, and the gate is not held. The caller may
 * hold the gate shared already. */
bool gate_enter(struct store_rocksdb *s);
void gate_leave(struct store_rocksdb *s);

void compactor_start(struct store_rocksdb *s);
void compactor_stop(struct store_rocksdb *s);
void compactor_request(struct store *s, enum store_family f);
bool compactor_busy(struct store *s, enum store_family f);

#endif
