/* What RocksDB does in the background, flushing and merging: on which threads, and how
 * fast.
 *
 * It shares processor and disk with the commits that people wait for. So it writes in
 * small pieces, at a low rate, as long as it keeps up with what is committed, and the
 * faster the more it falls behind: well before RocksDB would hold up the writer.
 */
#ifndef SOTTO_STORE_BACKGROUND_H
#define SOTTO_STORE_BACKGROUND_H

#include <stddef.h>
#include <stdint.h>

#include <rocksdb/c.h>

enum {
    BACKGROUND_WRITE_BUFFERS = 3, /* of a family: one that is filled and two that wait for the disk */
    BACKGROUND_LEVEL0_FILES = 8   /* merged when so many; a lookup passes by most by their filters */
};

/* How much one family has waiting. */
struct background_debt {
    unsigned level0_files;   /* to be merged */
    unsigned buffers;        /* full write buffers that are to be flushed, or are */
    unsigned filled_percent; /* of the one that is being filled */
};
/* How fast to write in the background then, and when so much is committed a second. Bytes a
 * second. */
uint64_t background_rate(const struct background_debt *d, uint64_t committed_per_s);

struct background;
struct background *background_create(void);
void background_destroy(struct background **b);
/* Before a database is opened with them. */
void background_set_options(struct background *b, rocksdb_options_t *database);
void background_set_family_options(rocksdb_options_t *family);
/* So many bytes were. Of the same thread as the next. */
void background_committed(struct background *b, size_t len);
/* Looks at the families, if it is time to; while the database is open, one thread at a time.
 * buffer_bytes   the size of each family's write buffers */
void background_adjust(struct background *b, rocksdb_t *db, rocksdb_column_family_handle_t *const *families,
                       const size_t *buffer_bytes, size_t count, uint64_t now_ms);

#endif
