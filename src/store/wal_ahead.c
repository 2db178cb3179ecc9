/* Zeros ahead of the write-ahead log; see wal_ahead.h. */
#include "store/wal_ahead.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "store/wal_tail.h"

/* A block of RocksDB's log, and what each piece of a record in it takes besides. */
enum { LOG_BLOCK_LEN = 32768, LOG_HEADER_LEN = 7, PAGE_LEN = 4096 };

struct wal_ahead {
    char *directory;
    uint8_t *zeros; /* never written to */
    int watch;      /* tells of new files; -1: nobody does */
    int log;        /* the newest, for appending; -1: none */
    ino_t inode;    /* its */
    uint64_t used;  /* of it, by RocksDB, at least about so */
    uint64_t end;   /* of the zeros behind that */
};

struct wal_ahead *wal_ahead_create(const char *directory)
{
    struct wal_ahead *w = sotto_zalloc(sizeof(*w));
    w->directory = strdup(directory);
    SOTTO_ASSERT(w->directory != NULL);
    w->zeros = sotto_zalloc(WAL_AHEAD_BYTES);
    w->log = -1;
    w->watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->watch >= 0 && inotify_add_watch(w->watch, directory, IN_CREATE) < 0) {
        close(w->watch);
        w->watch = -1;
    }
    return w;
}

static void leave_log(struct wal_ahead *w)
{
    if (w->log >= 0) close(w->log);
    w->log = -1;
}

void wal_ahead_destroy(struct wal_ahead **ahead)
{
    struct wal_ahead *w = *ahead;
    if (w == NULL) return;
    leave_log(w);
    if (w->watch >= 0) close(w->watch);
    free(w->zeros);
    free(w->directory);
    free(w);
    *ahead = NULL;
}

static bool has_news(const struct wal_ahead *w)
{
    uint8_t events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool news = false;
    while (w->watch >= 0 && read(w->watch, events, sizeof(events)) > 0) news = true;
    return news;
}

/* Where the log ends; false: it cannot be used any more. */
static bool find_end(struct wal_ahead *w)
{
    struct stat status;
    if (fstat(w->log, &status) != 0) return false;
    uint64_t end = (uint64_t)status.st_size;
    if (end != w->end) w->used = end; /* RocksDB has gone past the zeros */
    w->end = end;
    return true;
}

static void take_newest_log(struct wal_ahead *w)
{
    struct stat status;
    int log = wal_open_newest(w->directory, O_WRONLY | O_APPEND);
    bool usable = log >= 0 && fstat(log, &status) == 0;
    if (usable && w->log >= 0 && status.st_ino == w->inode) {
        close(log); /* the new file was another one */
        return;
    }
    leave_log(w);
    if (usable) {
        w->log = log;
        w->inode = status.st_ino;
        w->used = w->end = (uint64_t)status.st_size;
    } else if (log >= 0) {
        close(log);
    }
}

static bool append_zeros(struct wal_ahead *w, uint64_t len)
{
    while (len != 0) {
        ssize_t n = write(w->log, w->zeros, len < WAL_AHEAD_BYTES ? len : WAL_AHEAD_BYTES);
        if (n <= 0) return false; /* no room: RocksDB will meet that, too, and say so */
        w->end += (uint64_t)n;
        len -= (uint64_t)n;
    }
    return true;
}

void wal_ahead_fill(struct wal_ahead *w, size_t len)
{
    len += LOG_HEADER_LEN * (len / LOG_BLOCK_LEN + 2);
    if (has_news(w)) take_newest_log(w);
    if (w->log < 0) return;
    if (w->used + len > w->end) {
        bool usable = find_end(w);
        uint64_t want = (w->used + len + WAL_AHEAD_BYTES) / PAGE_LEN * PAGE_LEN;
        if (!usable || !append_zeros(w, want - w->end)) {
            leave_log(w);
            return;
        }
    }
    w->used += len;
}
