/* The notes of a clean stop and of a running store; see wal_note.h.
 *
 * FORMAT of the file `stopped` in the store's folder: text; for each log a line
 * "<number> <bytes> <crc32c of them>", the last line is "end". A file without that line is
 * no note. The sum may be missing, as in the notes of older versions.
 *
 * The file `running` has such a line, without a sum, of the newest log, and is written over
 * now and then, without a sync. It has the line twice, always of the same length: where the
 * disk got some of the new and some of the old they differ, and it is no note.
 *
 * WHY IT NEVER REFUSES A WHOLE STORE. RocksDB numbers its files upwards, keeps at least
 * one log, and makes the next one, when it opens, before it deletes any. So
 *   - where the newest log has a higher number than the note's newest, somebody has
 *     opened the store since: the note is out of date, and says nothing;
 *   - where the numbers are the same nobody has, and the logs are what they were, byte by
 *     byte: no write was under way when they were closed, so that none can be torn;
 *   - where the newest is older, or there is none, a log was taken away, whoever has
 *     opened the store in the meantime.
 * The same holds for `running`, which a crash leaves: a log is in it when something in it was
 * synced, and with the first such sync goes its name. Its length only grows, but for zeros,
 * which are not counted. That nothing is torn is said by the note of a stop only.
 * A crash leaves the note of an earlier stop, too. The logs are synced before the note is, and
 * it takes the old one's place at once. A backup has none, and what is restored
 * is a store of its own. The sum is needed because RocksDB passes over zeros, wherever
 * they are, without a word: that every record is whole does not say that none is missing.
 * Rejected: noting the position and comparing it after opening. Opening removes what it
 * has read, so that a log that was put back came too late.
 */
#include "store/wal_note.h"

#include "store/wal_tail.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOTE "stopped"
#define NOTE_NEW NOTE ".new"
#define NOTE_RUNNING "running"
static const char end_line[] = "end\n";
enum { NOTE_BYTES_MAX = 64 * 1024, NOTE_RUNNING_BYTES = 128, RUNNING_LINE_BYTES = 42 };

/* ---- Writing -------------------------------------------------------------- */

struct listing {
    struct buffer text;
    bool failed;
};

static void list_log(void *ctx, int folder, const char *name, uint64_t number)
{
    struct listing *l = ctx;
    struct stat status;
    uint32_t sum;
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0 || fstat(fd, &status) != 0 || !wal_checksum(fd, (uint64_t)status.st_size, &sum))
        l->failed = true;
    else
        buffer_printf(&l->text, "%" PRIu64 " %" PRIu64 " %" PRIu32 "\n", number, (uint64_t)status.st_size, sum);
    if (fd >= 0) close(fd);
}

static bool replace(int folder, struct slice text)
{
    int fd = openat(folder, NOTE_NEW, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return false;
    bool done = write(fd, text.data, text.len) == (ssize_t)text.len && fsync(fd) == 0;
    close(fd);
    if (done) done = renameat(folder, NOTE_NEW, folder, NOTE) == 0 && fsync(folder) == 0;
    return done;
}

void wal_note_write(const char *directory)
{
    struct listing l = {.failed = false};
    int folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return;
    buffer_init(&l.text, NOTE_BYTES_MAX);
    if (!wal_each(directory, list_log, &l)) l.failed = true;
    if (l.text.len == 0 || fsync(folder) != 0) l.failed = true;
    buffer_append_str(&l.text, end_line);
    if (!l.failed && !l.text.overflow && !replace(folder, buffer_slice(&l.text))) (void)unlinkat(folder, NOTE_NEW, 0);
    buffer_deinit(&l.text);
    close(folder);
}

void wal_note_running(const char *directory, uint64_t number, uint64_t bytes)
{
    char path[PATH_MAX], line[RUNNING_LINE_BYTES + 1], text[NOTE_RUNNING_BYTES];
    int len = snprintf(path, sizeof(path), "%s/" NOTE_RUNNING, directory);
    if (len < 0 || (size_t)len >= sizeof(path)) return;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return;
    snprintf(line, sizeof(line), "%020" PRIu64 " %020" PRIu64 "\n", number, bytes);
    len = snprintf(text, sizeof(text), "%s%s%s", line, line, end_line);
    (void)!pwrite(fd, text, (size_t)len, 0); /* else the old one stays, or none */
    close(fd);
}

/* ---- Checking ------------------------------------------------------------- */

/* The whole note as a text; false: there is none. */
static bool read_note(int folder, const char *name, char text[NOTE_BYTES_MAX + 1])
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    size_t len = 0;
    ssize_t got = 0;
    while (len < NOTE_BYTES_MAX && (got = read(fd, text + len, NOTE_BYTES_MAX - len)) > 0) len += (size_t)got;
    close(fd);
    text[len] = 0;
    size_t end = sizeof(end_line) - 1;
    return got == 0 && len > end && strcmp(text + len - end, end_line) == 0;
}

struct line {
    uint64_t number, bytes;
    uint64_t sum;
    bool has_sum;
};

/* False: there is no number, followed by that. */
static bool next_number(const char **at, char after, uint64_t *out)
{
    char *end;
    uint64_t number = strtoull(*at, &end, 10);
    if (end == *at || *end != after) return false;
    *at = end + 1;
    *out = number;
    return true;
}

/* False at the end. */
static bool next_line(const char **at, struct line *line)
{
    if (!next_number(at, ' ', &line->number)) return false;
    line->has_sum = next_number(at, ' ', &line->bytes);
    return next_number(at, '\n', line->has_sum ? &line->sum : &line->bytes);
}

static bool read_running(int folder, char text[NOTE_BYTES_MAX + 1])
{
    return read_note(folder, NOTE_RUNNING, text) && strlen(text) == 2 * RUNNING_LINE_BYTES + strlen(end_line) &&
           memcmp(text, text + RUNNING_LINE_BYTES, RUNNING_LINE_BYTES) == 0;
}

static void find_newest(void *ctx, int folder, const char *name, uint64_t number)
{
    uint64_t *newest = ctx;
    (void)folder;
    (void)name;
    if (number > *newest) *newest = number;
}

static enum sotto_err check_log(int folder, const struct line *line, struct buffer *why)
{
    char name[32];
    struct stat status;
    uint32_t sum = 0;
    enum sotto_err err = SOTTO_ERR_CORRUPT;
    snprintf(name, sizeof(name), "%06" PRIu64 ".log", line->number);
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        buffer_printf(why, "the file %s, which holds messages, is missing; if it is somewhere, put it back", name);
    } else if (fd < 0 || fstat(fd, &status) != 0) {
        buffer_printf(why, "the file %s cannot be read", name);
        err = SOTTO_ERR_IO;
    } else if ((uint64_t)status.st_size < line->bytes) {
        buffer_printf(why, "of the file %s, which holds messages, only %" PRIu64 " of %" PRIu64 " bytes are left", name,
                      (uint64_t)status.st_size, line->bytes);
    } else if (line->has_sum && !wal_checksum(fd, line->bytes, &sum)) {
        buffer_printf(why, "the file %s cannot be read", name);
        err = SOTTO_ERR_IO;
    } else if (line->has_sum && sum != line->sum) {
        buffer_printf(why, "the file %s, which holds messages, is not what it was when the store was closed", name);
    } else {
        err = SOTTO_OK;
    }
    if (fd >= 0) close(fd);
    return err;
}

static enum sotto_err compare(int folder, const char *text, uint64_t newest, bool *current_out, struct buffer *why)
{
    struct line line, noted = {.number = 0};
    enum sotto_err err = SOTTO_OK;
    for (const char *at = text; next_line(&at, &line);)
        if (line.number >= noted.number) noted = line;
    if (newest > noted.number) return SOTTO_OK;
    if (newest < noted.number) return check_log(folder, &noted, why);
    *current_out = true;
    for (const char *at = text; err == SOTTO_OK && next_line(&at, &line);) err = check_log(folder, &line, why);
    return err;
}

enum sotto_err wal_note_check(const char *directory, bool *current_out, struct buffer *why_out)
{
    enum sotto_err err = SOTTO_OK;
    uint64_t newest = 0;
    bool same;
    int folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *current_out = false;
    if (folder < 0) return SOTTO_OK;
    buffer_clear(why_out);
    char *text = sotto_alloc(NOTE_BYTES_MAX + 1);
    bool known = wal_each(directory, find_newest, &newest);
    if (known && read_note(folder, NOTE, text)) err = compare(folder, text, newest, current_out, why_out);
    if (known && err == SOTTO_OK && read_running(folder, text))
        err = compare(folder, text, newest, &same, why_out);
    free(text);
    close(folder);
    return err;
}
