/* Zeros ahead of the write-ahead log; see wal_ahead.h. */
#include "store/wal_ahead.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "store/wal_note.h"
#include "store/wal_tail.h"

enum { PAGE_LEN = 4096, PIECE_BYTES = 128 * 1024 };

struct wal_ahead {
    char *directory;
    uint8_t *zeros; /* never written to */
    int watch;      /* tells of new files; -1: nobody does */
    uint64_t number; /* of the newest log, when it was looked at last; 0: never */
    uint64_t synced; /* of it, at least, counting the commits since */
    uint64_t noted;  /* of that, in the note; 0: it is of another log */
    uint64_t used;  /* of it, by RocksDB, at least about so */
    uint64_t end;   /* of the zeros behind that */
    pthread_mutex_t lock; /* held while zeros are appended */
    unsigned pauses;      /* under way; locked */
};

struct wal_ahead *wal_ahead_create(const char *directory)
{
    struct wal_ahead *w = sotto_zalloc(sizeof(*w));
    w->directory = strdup(directory);
    SOTTO_ASSERT(w->directory != NULL);
    w->zeros = sotto_zalloc(PIECE_BYTES);
    SOTTO_ASSERT(pthread_mutex_init(&w->lock, NULL) == 0);
    w->watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->watch >= 0 && inotify_add_watch(w->watch, directory, IN_CREATE) < 0) {
        close(w->watch);
        w->watch = -1;
    }
    return w;
}

void wal_ahead_destroy(struct wal_ahead **ahead)
{
    struct wal_ahead *w = *ahead;
    if (w == NULL) return;
    if (w->watch >= 0) close(w->watch);
    pthread_mutex_destroy(&w->lock);
    free(w->zeros);
    free(w->directory);
    free(w);
    *ahead = NULL;
}

static bool has_news(const struct wal_ahead *w)
{
    uint8_t events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool news = false;
    while (read(w->watch, events, sizeof(events)) > 0) news = true;
    return news;
}

/* False: it cannot be said where the log ends. */
static bool find_end(struct wal_ahead *w, int log, uint64_t number)
{
    struct stat status;
    if (number < w->number || fstat(log, &status) != 0) return false; /* the folder was not read to its end */
    uint64_t end = (uint64_t)status.st_size;
    /* Another log, or RocksDB has gone past the zeros. */
    if (number != w->number || end != w->end) w->used = end;
    if (number != w->number) w->synced = end, w->noted = 0;
    w->number = number;
    w->end = end;
    return true;
}

/* Where there is no room RocksDB will meet that, too, and say so. What was appended begins
 * its way to the disk at once: the next commit's sync finds it there. */
static void append_zeros(struct wal_ahead *w, int log, uint64_t len)
{
    uint64_t from = w->end;
    while (len != 0) {
        ssize_t n = write(log, w->zeros, len < PIECE_BYTES ? len : PIECE_BYTES);
        if (n <= 0) break;
        w->end += (uint64_t)n;
        len -= (uint64_t)n;
    }
    (void)sync_file_range(log, (off_t)from, (off_t)(w->end - from), SYNC_FILE_RANGE_WRITE);
}

void wal_ahead_used(struct wal_ahead *w, size_t len)
{
    w->used += len + WAL_HEADER_LEN * (len / WAL_BLOCK_LEN + 2);
    w->synced += len + WAL_HEADER_LEN;
}

/* A log that is still empty may not even have its name on the disk. */
static void note(struct wal_ahead *w)
{
    if (w->synced == 0 || (w->noted != 0 && w->synced < w->noted + PIECE_BYTES)) return;
    wal_note_running(w->directory, w->number, w->synced);
    w->noted = w->synced;
}

bool wal_ahead_pause(struct wal_ahead *w)
{
    pthread_mutex_lock(&w->lock);
    w->pauses++;
    bool zeros = w->end != 0;
    pthread_mutex_unlock(&w->lock);
    return zeros;
}

void wal_ahead_resume(struct wal_ahead *w)
{
    pthread_mutex_lock(&w->lock);
    w->pauses--;
    pthread_mutex_unlock(&w->lock);
}

/* The log is not kept open: one that RocksDB has deleted shall leave the disk. */
static void look(struct wal_ahead *w)
{
    uint64_t number;
    int log = wal_open_newest(w->directory, O_WRONLY | O_APPEND, &number);
    if (log < 0) return;
    if (find_end(w, log, number) && w->used + WAL_AHEAD_BYTES > w->end)
        append_zeros(w, log, (w->used + WAL_AHEAD_BYTES + PIECE_BYTES) / PAGE_LEN * PAGE_LEN - w->end);
    close(log);
}

/* Where there is no news, the commits went to the log that was the newest. */
static void fill(struct wal_ahead *w)
{
    if (w->watch < 0) return;
    if (has_news(w) || w->used + WAL_AHEAD_BYTES > w->end) look(w);
    note(w);
}

void wal_ahead_fill(struct wal_ahead *w)
{
    pthread_mutex_lock(&w->lock);
    if (w->pauses == 0) fill(w);
    pthread_mutex_unlock(&w->lock);
}
