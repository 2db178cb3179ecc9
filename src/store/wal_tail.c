/* Telling a torn end from damage.
 *
 * There is one writer, and each of its writes is synced before the next begins.
 * So when power fails, at most the last write in the newest log is torn, and it
 * was never acknowledged. Its pages reach the disk in any order: besides a log
 * that ends early, which RocksDB accepts, there may be a hole in the last write,
 * or zeros, with a checksum that does not fit, which it takes for damage.
 *
 * The two are told apart by what follows: after a torn write nothing begins. If
 * anywhere behind the bad place a record begins whose checksum fits, then a
 * later write was synced, the bad place was once good, and opening without it
 * would lose what was acknowledged. The search goes byte by byte, because the
 * length in a bad header says nothing.
 *
 * FORMAT (RocksDB's log_format.h): blocks of 32 KiB; in them fragments
 *   u32 masked crc32c of type and payload | u16 length | u8 type | payload
 * little-endian; type 0 (zeros) means the rest of the block is empty, 1 is a
 * whole record, 2 the first, 3 a middle, 4 the last part of one.
 */
#include "store/wal_tail.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

enum { FRAGMENT_FULL = 1, FRAGMENT_FIRST = 2, FRAGMENT_MIDDLE = 3, FRAGMENT_LAST = 4 };
/* No write is longer: a batch is bounded, rows and keys included. */
enum { TAIL_MAX = 32 * 1024 * 1024, PIECE_BYTES = 128 * 1024 };

struct crc_table { uint32_t of[256]; };
struct log {
    const uint8_t *data;
    size_t len;
    struct crc_table table;
};

static void fill_crc_table(struct crc_table *table)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
        table->of[byte] = crc;
    }
}

/* crc: of what comes before, 0 at the beginning. */
static uint32_t crc32c(const struct crc_table *table, uint32_t crc, const uint8_t *data, size_t len)
{
    crc = ~crc;
    for (size_t i = 0; i < len; i++) crc = crc >> 8 ^ table->of[(crc ^ data[i]) & 0xff];
    return ~crc;
}

static uint32_t masked(uint32_t crc) { return (crc >> 15 | crc << 17) + 0xa282ead8u; }
static uint32_t load_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Length of the sound fragment at `at` with header, 0 if there is none. */
static size_t fragment_at(const struct log *log, size_t at, uint8_t *type_out)
{
    size_t block_left = WAL_BLOCK_LEN - at % WAL_BLOCK_LEN;
    if (block_left < WAL_HEADER_LEN || log->len - at < WAL_HEADER_LEN) return 0;
    const uint8_t *p = log->data + at;
    size_t len = (size_t)p[4] | (size_t)p[5] << 8;
    if (p[6] < FRAGMENT_FULL || p[6] > FRAGMENT_LAST) return 0;
    if (WAL_HEADER_LEN + len > block_left || WAL_HEADER_LEN + len > log->len - at) return 0;
    if (load_le32(p) != masked(crc32c(&log->table, 0, p + 6, 1 + len))) return 0;
    *type_out = p[6];
    return WAL_HEADER_LEN + len;
}

static bool all_zero(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (p[i] != 0) return false;
    return true;
}

/* Start of the first record that is not whole; log->len if all are. */
static size_t first_bad_record(const struct log *log)
{
    size_t at = 0, record = 0;
    while (at < log->len) {
        size_t left = WAL_BLOCK_LEN - at % WAL_BLOCK_LEN;
        if (left > log->len - at) left = log->len - at;
        if (record == at && all_zero(log->data + at, left)) { /* padding, or allocated and never written */
            at = record = at + left;
            continue;
        }
        if (WAL_BLOCK_LEN - at % WAL_BLOCK_LEN < WAL_HEADER_LEN) { /* padding inside a record */
            at += left;
            continue;
        }
        uint8_t type = 0;
        size_t len = fragment_at(log, at, &type);
        bool inside = record != at;
        if (len == 0 || inside != (type == FRAGMENT_MIDDLE || type == FRAGMENT_LAST)) return record;
        at += len;
        if (type == FRAGMENT_FULL || type == FRAGMENT_LAST) record = at;
    }
    return record;
}

/* Whether a record begins after `bad`, the start of one that is not whole. */
static bool begins_later(const struct log *log, size_t bad)
{
    for (size_t at = bad + 1; at < log->len; at++) {
        uint8_t type = 0;
        if (fragment_at(log, at, &type) != 0 && (type == FRAGMENT_FULL || type == FRAGMENT_FIRST)) return true;
    }
    return false;
}

bool wal_each(const char *directory, void (*visit)(void *ctx, int folder, const char *name, uint64_t number), void *ctx)
{
    DIR *dir = opendir(directory);
    if (dir == NULL) return false;
    errno = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL; errno = 0) {
        char *end;
        uint64_t number = strtoull(entry->d_name, &end, 10);
        if (end != entry->d_name && strcmp(end, ".log") == 0) visit(ctx, dirfd(dir), entry->d_name, number);
    }
    bool whole = errno == 0;
    closedir(dir);
    return whole;
}

struct newest {
    uint64_t number;
    char name[NAME_MAX + 1];
};

static void keep_newest(void *ctx, int folder, const char *name, uint64_t number)
{
    struct newest *n = ctx;
    (void)folder;
    if (number < n->number && n->name[0] != '\0') return;
    n->number = number;
    snprintf(n->name, sizeof(n->name), "%s", name);
}

int wal_open_newest(const char *directory, int flags)
{
    struct newest newest = {.number = 0};
    char path[PATH_MAX];
    (void)wal_each(directory, keep_newest, &newest);
    int len = snprintf(path, sizeof(path), "%s/%s", directory, newest.name);
    if (newest.name[0] == '\0' || len < 0 || (size_t)len >= sizeof(path)) return -1;
    return open(path, flags | O_CLOEXEC);
}

bool wal_checksum(int log, uint64_t len, uint32_t *sum_out)
{
    struct crc_table table;
    uint32_t sum = 0;
    uint8_t *piece = sotto_alloc(PIECE_BYTES);
    ssize_t got = 0;
    fill_crc_table(&table);
    for (uint64_t at = 0; at < len; at += (uint64_t)got) {
        got = pread(log, piece, len - at < PIECE_BYTES ? (size_t)(len - at) : PIECE_BYTES, (off_t)at);
        if (got <= 0) break;
        sum = crc32c(&table, sum, piece, (size_t)got);
    }
    free(piece);
    if (got <= 0 && len != 0) return false;
    *sum_out = sum;
    return true;
}

bool wal_tail_is_torn(const char *directory)
{
    int fd = wal_open_newest(directory, O_RDONLY);
    struct stat status;
    bool torn = false;
    if (fd < 0) return false;
    if (fstat(fd, &status) == 0 && status.st_size > 0) {
        struct log log = {.len = (size_t)status.st_size};
        void *mapped = mmap(NULL, log.len, PROT_READ, MAP_PRIVATE, fd, 0);
        if (mapped != MAP_FAILED) {
            log.data = mapped;
            fill_crc_table(&log.table);
            size_t bad = first_bad_record(&log);
            torn = bad < log.len && log.len - bad <= TAIL_MAX && !begins_later(&log, bad);
            munmap(mapped, log.len);
        }
    }
    close(fd);
    return torn;
}
