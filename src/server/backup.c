/* See backup.h for the format. A backup is made under its final name, because
 * RocksDB writes into a directory of its own; the file `backup` makes it whole.
 */
#include "server/backup.h"
#include "engine/engine.h"
#include "store/store_rocksdb.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char mark[] = "sotto-backup 1\n";

static bool directory_is_empty(const char *path)
{
    DIR *d = opendir(path);
    if (d == NULL) return false;
    bool empty = true;
    for (struct dirent *e; empty && (e = readdir(d)) != NULL;) {
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    }
    closedir(d);
    return empty;
}

static enum sotto_err prepare_target(const char *target, struct buffer *why)
{
    if (mkdir(target, 0700) == 0) return SOTTO_OK;
    if (errno != EEXIST) {
        bool denied = errno == EACCES || errno == EPERM || errno == EROFS;
        buffer_printf(why, "Cannot make %s: %s.%s", target, strerror(errno),
                      denied ? " A running server writes the backup itself: name a place that its user may write to "
                               "(under the systemd unit, /var/lib/sotto-backups/…)." : "");
        return SOTTO_ERR_IO;
    }
    if (!directory_is_empty(target)) {
        buffer_printf(why, "%s is there already and is not an empty directory. Name a new one.", target);
        return SOTTO_ERR_EXISTS;
    }
    if (chmod(target, 0700) == 0) return SOTTO_OK;
    buffer_printf(why, "Cannot take away the rights of others on %s: %s.", target, strerror(errno));
    return SOTTO_ERR_DENIED;
}

static enum sotto_err write_mark(const struct backup_sources *s, const struct datadir *target, struct buffer *why)
{
    char text[256], when[32];
    time_t seconds = (time_t)(clock_wall_ms(s->clock) / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
    snprintf(text, sizeof(text), "%stime %s\nversion %s\n", mark, when, s->version);
    if (datadir_write(target, "backup", slice_str(text)) == SOTTO_OK && directory_sync(target->path) == SOTTO_OK) {
        return SOTTO_OK;
    }
    buffer_printf(why, "Cannot finish the backup in %s: %s.", target->path, strerror(errno));
    return SOTTO_ERR_IO;
}

enum sotto_err backup_write(const struct backup_sources *s, const char *target, struct buffer *why_out)
{
    struct datadir dir;
    char path[PATH_MAX_LEN + 64], from[PATH_MAX_LEN + 64];
    enum sotto_err err = prepare_target(target, why_out);
    if (err == SOTTO_OK) err = datadir_open(target, false, NULL, why_out, &dir);
    if (err != SOTTO_OK) return err;

    if (!datadir_path(&dir, "store", path)) err = SOTTO_ERR_INVALID;
    if (err == SOTTO_OK) err = store_backup(s->store, path, why_out);
    if (err == SOTTO_OK && !datadir_path(&dir, "directory.db", path)) err = SOTTO_ERR_INVALID;
    if (err == SOTTO_OK) err = directory_backup(s->directory, path, why_out);
    if (err == SOTTO_OK && chmod(path, 0600) != 0) err = SOTTO_ERR_IO;
    if (err == SOTTO_OK && datadir_has(s->datadir, "sottod.conf") && datadir_path(&dir, "sottod.conf", path) &&
        datadir_path(s->datadir, "sottod.conf", from)) {
        err = file_copy(from, path, why_out);
    }
    if (err == SOTTO_OK) err = write_mark(s, &dir, why_out);
    if (err != SOTTO_OK && why_out->len == 0) {
        buffer_printf(why_out, "The backup in %s could not be finished (%s).", target, sotto_err_name(err));
    }
    datadir_close(&dir);
    return err;
}

static enum sotto_err check_backup(const struct datadir *backup, struct buffer *why)
{
    struct buffer text;
    buffer_init(&text, 1024);
    enum sotto_err err = datadir_read(backup, "backup", &text);
    size_t mark_len = sizeof(mark) - 1;
    if (err != SOTTO_OK) {
        buffer_printf(why, "%s is not a finished backup: it has no file `backup`.", backup->path);
    } else if (text.len < mark_len || memcmp(text.data, mark, mark_len) != 0) {
        buffer_printf(why, "%s was written by another version; use that version of sottod to restore it.",
                      backup->path);
        err = SOTTO_ERR_INVALID;
    }
    buffer_deinit(&text);
    return err;
}

/* A new epoch for what stands in `path`. */
static enum sotto_err renew_epoch(const char *path, struct buffer *why)
{
    struct store_rocksdb_options options = {
        .directory = path, .block_cache_bytes = 1 << 20, .write_buffer_bytes = 1 << 20};
    struct store *store;
    enum sotto_err err = store_rocksdb_open(&options, why, &store);
    if (err != SOTTO_OK) return err;
    err = engine_renew_epoch(store, random_system());
    if (err != SOTTO_OK) buffer_printf(why, "Cannot write to %s (%s).", path, sotto_err_name(err));
    store_close(&store);
    return err;
}

/* The directory's copy until it may be used. */
static const char directory_part[] = "directory.part";

static void remove_part(const struct datadir *datadir)
{
    datadir_remove(datadir, directory_part);
    datadir_remove(datadir, "directory.part-wal");
    datadir_remove(datadir, "directory.part-shm");
}

static enum sotto_err restore_part(const struct datadir *backup, const struct datadir *datadir, struct buffer *why)
{
    char from[PATH_MAX_LEN + 64], to[PATH_MAX_LEN + 64];
    if (!datadir_path(backup, "directory.db", from) || !datadir_path(datadir, directory_part, to))
        return SOTTO_ERR_INVALID;
    remove_part(datadir);
    enum sotto_err err = file_copy(from, to, why);
    if (err == SOTTO_OK) err = directory_restored(to, clock_system(), why);
    /* Only the file itself gets its name: all must be in it. */
    if (err == SOTTO_OK && datadir_has(datadir, "directory.part-wal")) err = SOTTO_ERR_IO;
    return err;
}

static enum sotto_err rename_part(const struct datadir *datadir, struct buffer *why)
{
    char from[PATH_MAX_LEN + 64], to[PATH_MAX_LEN + 64];
    if (!datadir_path(datadir, directory_part, from) || !datadir_path(datadir, "directory.db", to))
        return SOTTO_ERR_INVALID;
    if (rename(from, to) == 0) return SOTTO_OK;
    buffer_printf(why, "Cannot write %s: %s.", to, strerror(errno));
    return SOTTO_ERR_IO;
}

enum sotto_err backup_restore(const char *source, const struct datadir *datadir, struct buffer *why_out)
{
    struct datadir backup;
    char from[PATH_MAX_LEN + 64], to[PATH_MAX_LEN + 64];
    if (datadir_has(datadir, "directory.db") || datadir_has(datadir, "store")) {
        buffer_printf(why_out,
                      "%s holds data already. Restore into an empty data directory, and move the old one away first.",
                      datadir->path);
        return SOTTO_ERR_EXISTS;
    }
    enum sotto_err err = datadir_look(source, why_out, &backup);
    if (err != SOTTO_OK) return err;
    err = check_backup(&backup, why_out);
    if (err == SOTTO_OK) err = restore_part(&backup, datadir, why_out);
    if (err == SOTTO_OK && datadir_path(&backup, "store", from) && datadir_path(datadir, "store", to)) {
        err = store_rocksdb_restore(from, to, why_out);
        if (err == SOTTO_OK) err = renew_epoch(to, why_out);
    }
    bool has_conf = datadir_has(&backup, "sottod.conf") && !datadir_has(datadir, "sottod.conf");
    if (err == SOTTO_OK && has_conf && datadir_path(&backup, "sottod.conf", from) &&
        datadir_path(datadir, "sottod.conf", to)) {
        err = file_copy(from, to, why_out);
    }
    /* Leftovers of another database would be read as part of this one. */
    datadir_remove(datadir, "directory.db-wal");
    datadir_remove(datadir, "directory.db-shm");
    /* Last: a data directory without it is not taken for a whole one. */
    if (err == SOTTO_OK) err = rename_part(datadir, why_out);
    else remove_part(datadir);
    if (err == SOTTO_OK) err = directory_sync(datadir->path);
    if (err != SOTTO_OK && why_out->len == 0) {
        buffer_printf(why_out, "The backup could not be put back (%s).", sotto_err_name(err));
    }
    datadir_close(&backup);
    return err;
}
