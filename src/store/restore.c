/* Putting a backup back.
 *
 * A backup is a folder of RocksDB files. They are copied to a folder beside the
 * target, synced, opened once, so that a damaged backup is found out now, and
 * only then given the target's name: a restore that is cut short leaves
 * something that nobody takes for a store, and can simply be run again.
 */
#include "store/store_rocksdb.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COPY_CHUNK = 1 << 20 };

static enum sotto_err failed(struct buffer *why, const char *what, const char *path)
{
    int cause = errno;
    buffer_clear(why);
    buffer_printf(why, "%s %s: %s.", what, path, strerror(cause));
    return cause == ENOSPC || cause == EDQUOT ? SOTTO_ERR_FULL : SOTTO_ERR_IO;
}

static bool copy_bytes(int from, int to)
{
    uint8_t *chunk = sotto_alloc(COPY_CHUNK);
    ssize_t got;
    bool ok = true;
    while (ok && (got = read(from, chunk, COPY_CHUNK)) != 0) {
        if (got < 0) {
            ok = errno == EINTR;
            continue;
        }
        for (ssize_t done = 0; ok && done < got;) {
            ssize_t put = write(to, chunk + done, (size_t)(got - done));
            if (put >= 0) done += put;
            else ok = errno == EINTR;
        }
    }
    free(chunk);
    return ok && fsync(to) == 0;
}

static enum sotto_err copy_file(int from_dir, int to_dir, const char *name, struct buffer *why)
{
    enum sotto_err err = SOTTO_OK;
    int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (from < 0) return failed(why, "The backup cannot be read at", name);
    int to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (to < 0 || !copy_bytes(from, to)) err = failed(why, "The backup cannot be copied at", name);
    if (to >= 0) close(to);
    close(from);
    return err;
}

/* The lock and the notes of the process that wrote the files are not data. */
static bool is_data(const char *name)
{
    return name[0] != '.' && strcmp(name, "LOCK") != 0 && strncmp(name, "LOG", 3) != 0;
}

static enum sotto_err copy_all(const char *backup, const char *to, struct buffer *why)
{
    DIR *dir = opendir(backup);
    if (dir == NULL) return failed(why, "There is no backup to read in", backup);
    enum sotto_err err = SOTTO_OK;
    int target = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (target < 0) err = failed(why, "Cannot write to", to);
    bool has_current = false;
    for (struct dirent *entry; err == SOTTO_OK && (entry = readdir(dir)) != NULL;) {
        if (!is_data(entry->d_name)) continue;
        has_current |= strcmp(entry->d_name, "CURRENT") == 0;
        err = copy_file(dirfd(dir), target, entry->d_name, why);
    }
    if (err == SOTTO_OK && !has_current) {
        buffer_clear(why);
        buffer_printf(why, "The folder %s holds no backup of a message store.", backup);
        err = SOTTO_ERR_INVALID;
    }
    if (err == SOTTO_OK && fsync(target) != 0) err = failed(why, "Cannot sync", to);
    if (target >= 0) close(target);
    closedir(dir);
    return err;
}

/* Removes the folder and the files in it; there are no folders in it. */
static void remove_flat(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL) return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    rmdir(path);
}

static enum sotto_err open_once(const char *backup, const char *copy, struct buffer *why)
{
    struct store *store = NULL;
    struct store_rocksdb_options options = {
        .directory = copy, .block_cache_bytes = 1 << 20, .write_buffer_bytes = 1 << 20};
    enum sotto_err err = store_rocksdb_open(&options, why, &store);
    store_close(&store);
    if (err != SOTTO_ERR_CORRUPT) return err;
    buffer_clear(why);
    buffer_printf(why, "The backup in %s is damaged, or of another version of sottod. Nothing has been restored; "
                       "take another backup.", backup);
    return err;
}

static enum sotto_err sync_parent(const char *path, struct buffer *why)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (slash == NULL) snprintf(parent, sizeof(parent), ".");
    else snprintf(parent, sizeof(parent), "%.*s", (int)(slash == path ? 1 : slash - path), path);
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum sotto_err err = fd < 0 || fsync(fd) != 0 ? failed(why, "Cannot sync", parent) : SOTTO_OK;
    if (fd >= 0) close(fd);
    return err;
}

enum sotto_err store_rocksdb_restore(const char *backup, const char *directory, struct buffer *why_out)
{
    char target[PATH_MAX], copy[PATH_MAX + 16];
    size_t len = strlen(directory);
    while (len > 1 && directory[len - 1] == '/') len--;
    if (len == 0 || len >= sizeof(target)) {
        buffer_clear(why_out);
        buffer_append_str(why_out, "The name of the folder to restore to is empty or too long.");
        return SOTTO_ERR_INVALID;
    }
    snprintf(target, sizeof(target), "%.*s", (int)len, directory);
    snprintf(copy, sizeof(copy), "%s.restoring", target);
    if (rmdir(target) != 0 && errno != ENOENT) return failed(why_out, "A backup is only restored to an empty folder, not to", target);
    remove_flat(copy);
    if (mkdir(copy, 0700) != 0) return failed(why_out, "Cannot make the folder", copy);
    enum sotto_err err = copy_all(backup, copy, why_out);
    if (err == SOTTO_OK) err = open_once(backup, copy, why_out);
    if (err == SOTTO_OK && rename(copy, target) != 0) err = failed(why_out, "Cannot make the folder", target);
    if (err == SOTTO_OK) err = sync_parent(target, why_out);
    else remove_flat(copy);
    return err;
}
