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

/* How fast, decided from what was seen at even intervals; begins as zeros. */
struct background_pace {
    unsigned flushing; /* lately, of 256 looks */
    unsigned steps;    /* doublings that flushing has asked for */
};
/* level0_files   of the family with most of them: they wait to be merged
 * waiting        of the family with most of them: full write buffers that wait to be
 *                flushed, or are
 * Returns bytes a second. */
uint64_t background_rate(struct background_pace *p, unsigned level0_files, unsigned waiting);

struct background;
struct background *background_create(void);
void background_destroy(struct background **b);
/* Before a database is opened with them. */
void background_set_options(struct background *b, rocksdb_options_t *database);
void background_set_family_options(rocksdb_options_t *family);
/* Now and then while the database is open; one thread at a time. */
void background_adjust(struct background *b, rocksdb_t *db, rocksdb_column_family_handle_t *const *families,
                       size_t count, uint64_t now_ms);

#endif
