/* flock, not a pid file: the kernel drops it however the process ends. */
#include "server/datadir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORE_MARK "store-created"

static enum sotto_err fail(struct buffer *why, const char *what, const char *path)
{
    int code = errno;
    buffer_printf(why, "%s %s: %s.", what, path, strerror(code));
    return code == ENOENT ? SOTTO_ERR_NOT_FOUND : SOTTO_ERR_IO;
}

/* Calls visit for each regular file and directory, until it says no. */
typedef bool visit_fn(void *ctx, int parent, const char *parent_path, const char *name, const struct stat *st);

static bool visit_folder(int parent, const char *path, visit_fn *visit, void *ctx)
{
    int fd = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (d == NULL) {
        if (fd >= 0) close(fd);
        return true;
    }
    bool go_on = true;
    for (struct dirent *e; go_on && (e = readdir(d)) != NULL;) {
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (fstatat(parent, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
        if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) go_on = visit(ctx, parent, path, e->d_name, &st);
    }
    closedir(d);
    return go_on;
}

/* What is in a directory besides what every file system may put there. */
struct contents {
    bool ours, others;
};

static bool note_contents(void *ctx, int parent, const char *parent_path, const char *name, const struct stat *st)
{
    /* Not those that others use, too: /run has a `lock`. */
    static const char *const names[] = {STORE_MARK, "directory.db", "directory.part", "sottod.conf"};
    struct contents *c = ctx;
    (void)parent, (void)parent_path, (void)st;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) c->ours |= strcmp(name, names[i]) == 0;
    c->others |= strcmp(name, "lost+found") != 0;
    return !c->ours;
}

/* Whose rights may not be taken away: a directory for everybody, or with files of others. */
static bool is_foreign(const struct datadir *dir, const struct stat *st)
{
    struct contents c = {false, false};
    if (st->st_mode & S_ISVTX) return true;
    visit_folder(dir->fd, "", note_contents, &c);
    return c.others && !c.ours;
}

enum sotto_err datadir_look(const char *path, struct buffer *why_out, struct datadir *dir_out)
{
    struct datadir dir = {.fd = -1, .lock_fd = -1};
    if (strlen(path) >= PATH_MAX_LEN) {
        buffer_append_str(why_out, "The path of the directory is too long.");
        return SOTTO_ERR_INVALID;
    }
    memcpy(dir.path, path, strlen(path) + 1);
    dir.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir.fd < 0) return fail(why_out, "Cannot open the directory", path);
    *dir_out = dir;
    return SOTTO_OK;
}

enum sotto_err datadir_open(const char *path, bool create, struct log *log, struct buffer *why_out,
                            struct datadir *dir_out)
{
    struct datadir dir;
    struct stat st;
    if (create && mkdir(path, 0700) != 0 && errno != EEXIST) {
        return fail(why_out, "Cannot make the data directory", path);
    }
    enum sotto_err looked = datadir_look(path, why_out, &dir);
    if (looked != SOTTO_OK) return looked;
    if (fstat(dir.fd, &st) == 0 && (st.st_mode & 077) != 0) {
        if (is_foreign(&dir, &st)) {
            buffer_printf(why_out, "%s is open to others and holds nothing of Sotto's. Name a directory of its own, "
                                   "for instance %s/sotto.", path, path);
            close(dir.fd);
            return SOTTO_ERR_INVALID;
        }
        if (fchmod(dir.fd, st.st_mode & 0700) != 0) {
            enum sotto_err err = fail(why_out, "Others can read the data directory, and that cannot be changed for", path);
            close(dir.fd);
            return err;
        }
        LOG(log, LOG_WARN, "datadir.rights", LOG_S("path", path),
            LOG_S("done", "taken away from group and others"));
    }
    *dir_out = dir;
    return SOTTO_OK;
}

enum sotto_err datadir_lock(struct datadir *dir, struct buffer *why_out)
{
    int fd = openat(dir->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return fail(why_out, "Cannot open the lock file in", dir->path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        char pid[24] = "";
        ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);
        if (n > 0) pid[strcspn(pid, "\n")] = '\0';
        buffer_printf(why_out, "The data directory %s is in use by another process%s%s.", dir->path,
                      pid[0] != '\0' ? ", pid " : "", pid);
        close(fd);
        return SOTTO_ERR_CONFLICT;
    }
    char pid[24];
    int len = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)len, 0) != len) {
        /* The number is only for the sentence above; a full disk must not stop a start. */
    }
    dir->lock_fd = fd;
    return SOTTO_OK;
}

/* The same for the files of ours in it, and in the store. */
static void visit_files(const struct datadir *dir, visit_fn *visit, void *ctx)
{
    if (!visit_folder(dir->fd, "", visit, ctx)) return;
    int fd = openat(dir->fd, "store", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return;
    visit_folder(fd, "store/", visit, ctx);
    close(fd);
}

static bool give_back(void *ctx, int parent, const char *parent_path, const char *name, const struct stat *st)
{
    const struct stat *owner = ctx;
    (void)parent_path;
    bool other_names = S_ISREG(st->st_mode) && st->st_nlink != 1;
    if (st->st_uid == 0 && !other_names &&
        fchownat(parent, name, owner->st_uid, owner->st_gid, AT_SYMLINK_NOFOLLOW) != 0) {
        /* The next start names the file. */
    }
    return true;
}

void datadir_give_back(const struct datadir *dir)
{
    struct stat owner;
    if (geteuid() != 0 || dir->fd < 0 || fstat(dir->fd, &owner) != 0 || owner.st_uid == 0) return;
    visit_files(dir, give_back, &owner);
}

struct rights {
    const struct datadir *dir;
    struct buffer *why;
    enum sotto_err err;
};

static bool check_rights(void *ctx, int parent, const char *parent_path, const char *name, const struct stat *st)
{
    struct rights *r = ctx;
    bool folder = S_ISDIR(st->st_mode);
    if (folder && strcmp(name, "store") != 0) return true;
    /* Configuration may be somebody else's; the reader of it has its own words. */
    if (strcmp(name, "sottod.conf") == 0) return true;
    if (faccessat(parent, name, R_OK | W_OK | (folder ? X_OK : 0), AT_EACCESS) == 0 || errno != EACCES) return true;
    buffer_printf(r->why,
                  "%s/%s%s belongs to another user (%lu) and cannot be used. As root, give all files to the "
                  "server's user: chown -R --reference=%s/directory.db %s/.",
                  r->dir->path, parent_path, name, (unsigned long)st->st_uid, r->dir->path, r->dir->path);
    r->err = SOTTO_ERR_IO;
    return false;
}

enum sotto_err datadir_check_rights(const struct datadir *dir, struct buffer *why_out)
{
    struct rights r = {dir, why_out, SOTTO_OK};
    visit_files(dir, check_rights, &r);
    return r.err;
}

/* Half of a directory, from a restore that did not end or from files that got lost.
 * To go on with a fresh other half would make strangers of everybody, or silently
 * begin every conversation again. */
enum sotto_err datadir_check_whole(const struct datadir *dir, struct buffer *why_out)
{
    struct stat st;
    bool has_store = datadir_has(dir, "store/CURRENT");
    bool has_accounts = fstatat(dir->fd, "directory.db", &st, 0) == 0 ? st.st_size > 0 : errno != ENOENT;
    if (has_store && !has_accounts) {
        buffer_printf(why_out,
                      "%s holds messages in store, but directory.db with the accounts is missing or empty. If a restore "
                      "was interrupted, empty the data directory and restore again; else put back a backup with "
                      "`sottod restore`.",
                      dir->path);
        return SOTTO_ERR_CORRUPT;
    }
    if (!has_store && datadir_has(dir, STORE_MARK)) {
        buffer_printf(why_out,
                      "The messages of %s are gone: store is missing or empty. Put it back, or put back a backup with "
                      "`sottod restore` into an empty directory. To begin again without the messages, remove %s/%s.",
                      dir->path, dir->path, STORE_MARK);
        return SOTTO_ERR_CORRUPT;
    }
    return SOTTO_OK;
}

enum sotto_err datadir_mark_store(const struct datadir *dir, struct buffer *why_out)
{
    static const char text[] = "There is a message store beside this file. sottod misses it when it is gone.\n";
    if (datadir_has(dir, STORE_MARK) || datadir_write(dir, STORE_MARK, slice_str(text)) == SOTTO_OK) return SOTTO_OK;
    buffer_printf(why_out, "The file %s/%s cannot be written: %s.", dir->path, STORE_MARK, strerror(errno));
    return SOTTO_ERR_IO;
}

void datadir_close(struct datadir *dir)
{
    if (dir->lock_fd >= 0) close(dir->lock_fd);
    if (dir->fd >= 0) close(dir->fd);
    dir->lock_fd = dir->fd = -1;
}

bool datadir_path(const struct datadir *dir, const char *name, char out[PATH_MAX_LEN + 64])
{
    int n = snprintf(out, PATH_MAX_LEN + 64, "%s/%s", dir->path, name);
    return n > 0 && n < PATH_MAX_LEN + 64;
}

bool datadir_has(const struct datadir *dir, const char *name)
{
    return faccessat(dir->fd, name, F_OK, 0) == 0;
}

enum sotto_err datadir_write(const struct datadir *dir, const char *name, struct slice content)
{
    char fresh[80];
    snprintf(fresh, sizeof(fresh), "%s.new", name);
    int fd = openat(dir->fd, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return SOTTO_ERR_IO;
    bool done = write(fd, content.data, content.len) == (ssize_t)content.len && fsync(fd) == 0;
    close(fd);
    if (done && renameat(dir->fd, fresh, dir->fd, name) == 0) return SOTTO_OK;
    unlinkat(dir->fd, fresh, 0);
    return SOTTO_ERR_IO;
}

enum sotto_err datadir_read(const struct datadir *dir, const char *name, struct buffer *out)
{
    int fd = openat(dir->fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? SOTTO_ERR_NOT_FOUND : SOTTO_ERR_IO;
    uint8_t chunk[1024];
    ssize_t n;
    while ((n = read(fd, chunk, sizeof(chunk))) > 0 && !out->overflow) buffer_append(out, chunk, (size_t)n);
    close(fd);
    return n < 0 || out->overflow ? SOTTO_ERR_IO : SOTTO_OK;
}

void datadir_remove(const struct datadir *dir, const char *name)
{
    unlinkat(dir->fd, name, 0);
}

static bool copy_bytes(int from, int to)
{
    uint8_t chunk[64 * 1024];
    ssize_t n;
    while ((n = read(from, chunk, sizeof(chunk))) > 0) {
        for (ssize_t at = 0; at < n;) {
            ssize_t written = write(to, chunk + at, (size_t)(n - at));
            if (written <= 0) return false;
            at += written;
        }
    }
    return n == 0 && fsync(to) == 0;
}

enum sotto_err file_copy(const char *from, const char *to, struct buffer *why_out)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0) return fail(why_out, "Cannot read", from);
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    enum sotto_err err = SOTTO_OK;
    if (out < 0 || !copy_bytes(in, out)) err = fail(why_out, "Cannot write", to);
    if (out >= 0) close(out);
    close(in);
    return err;
}

enum sotto_err directory_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return SOTTO_ERR_IO;
    bool done = fsync(fd) == 0;
    close(fd);
    return done ? SOTTO_OK : SOTTO_ERR_IO;
}
