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
 * A torn write in an older log is one that an earlier crash tore: it was dropped then, and
 * the numbers of the rows go on in the next log as if it had never been. If they do not go
 * on, what is missing was acknowledged. RocksDB's "point in time" would drop the whole next
 * log with it.
 *
 * FORMAT (RocksDB's log_format.h): blocks of 32 KiB; in them fragments
 *   u32 masked crc32c of type and payload | u16 length | u8 type | payload
 * little-endian; type 0 (zeros) means the rest of the block is empty, 1 is a
 * whole record, 2 the first, 3 a middle, 4 the last part of one. A record begins with
 *   u64 number of its first row | u32 count of rows
 */
#include "store/wal_tail.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
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
enum { RECORD_HEADER_LEN = 12, LOGS_MAX = 1024 };

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

struct scan {
    size_t bad;           /* start of the first record that is not whole; log->len if all are */
    uint64_t first, next; /* number of the first row, and of the one after the last; 0: no record is whole */
    uint8_t header[RECORD_HEADER_LEN]; /* of the record under way */
    size_t header_len;
};

static void scan_fragment(struct scan *scan, const uint8_t *payload, size_t len)
{
    size_t missing = RECORD_HEADER_LEN - scan->header_len;
    if (len > missing) len = missing;
    memcpy(scan->header + scan->header_len, payload, len);
    scan->header_len += len;
}

static void scan_record_end(struct scan *scan)
{
    if (scan->header_len == RECORD_HEADER_LEN) {
        uint64_t number = load_le32(scan->header) | (uint64_t)load_le32(scan->header + 4) << 32;
        if (scan->first == 0) scan->first = number;
        scan->next = number + load_le32(scan->header + 8);
    }
    scan->header_len = 0;
}

static void scan_log(const struct log *log, struct scan *scan)
{
    size_t at = 0, record = 0;
    *scan = (struct scan){.bad = 0};
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
        if (len == 0 || inside != (type == FRAGMENT_MIDDLE || type == FRAGMENT_LAST)) break;
        scan_fragment(scan, log->data + at + WAL_HEADER_LEN, len - WAL_HEADER_LEN);
        at += len;
        if (type != FRAGMENT_FULL && type != FRAGMENT_LAST) continue;
        scan_record_end(scan);
        record = at;
    }
    scan->bad = record;
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

int wal_open_newest(const char *directory, int flags, uint64_t *number_out)
{
    struct newest newest = {.number = 0};
    char path[PATH_MAX];
    (void)wal_each(directory, keep_newest, &newest);
    int len = snprintf(path, sizeof(path), "%s/%s", directory, newest.name);
    if (newest.name[0] == '\0' || len < 0 || (size_t)len >= sizeof(path)) return -1;
    *number_out = newest.number;
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

struct logs {
    uint64_t numbers[LOGS_MAX];
    size_t count;
    bool too_many;
};

static void collect(void *ctx, int folder, const char *name, uint64_t number)
{
    struct logs *logs = ctx;
    (void)folder;
    (void)name;
    if (logs->count < LOGS_MAX) logs->numbers[logs->count++] = number;
    else logs->too_many = true;
}

static int by_number(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* What is known of the logs so far, from the oldest on. */
struct judgement {
    struct log log;
    uint64_t next;    /* number of the next row, as far as is known */
    bool torn;        /* the last log's end is */
    bool interrupted; /* a torn end, and no whole record since */
};

/* False: what is wrong here is not that a write was torn. */
static bool judge(struct judgement *j)
{
    struct scan scan;
    scan_log(&j->log, &scan);
    if (j->interrupted && scan.first != 0 && scan.first != j->next) return false;
    j->torn = scan.bad < j->log.len;
    j->interrupted = j->torn || (j->interrupted && scan.first == 0);
    if (scan.first != 0) j->next = scan.next;
    return !j->torn || (j->log.len - scan.bad <= TAIL_MAX && !begins_later(&j->log, scan.bad));
}

static bool judge_file(struct judgement *j, const char *directory, uint64_t number)
{
    char path[PATH_MAX];
    struct stat status;
    int len = snprintf(path, sizeof(path), "%s/%06" PRIu64 ".log", directory, number);
    int fd = len > 0 && (size_t)len < sizeof(path) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    bool good = fd >= 0 && fstat(fd, &status) == 0;
    if (good && status.st_size > 0) {
        j->log.len = (size_t)status.st_size;
        void *mapped = mmap(NULL, j->log.len, PROT_READ, MAP_PRIVATE, fd, 0);
        j->log.data = mapped;
        good = mapped != MAP_FAILED && judge(j);
        if (mapped != MAP_FAILED) munmap(mapped, j->log.len);
    } else {
        j->torn = false;
    }
    if (fd >= 0) close(fd);
    return good;
}

bool wal_tail_is_torn(const char *directory)
{
    struct logs logs = {.count = 0};
    struct judgement j = {.next = 0};
    if (!wal_each(directory, collect, &logs) || logs.too_many) return false;
    qsort(logs.numbers, logs.count, sizeof(logs.numbers[0]), by_number);
    fill_crc_table(&j.log.table);
    for (size_t i = 0; i < logs.count; i++)
        if (!judge_file(&j, directory, logs.numbers[i])) return false;
    return j.torn;
}
