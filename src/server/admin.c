/* A path of a Unix socket is limited to 107 bytes, so both sides go through
 * /proc/self/fd/N of the open data directory.
 */
#include "server/admin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* One at a time: a backup keeps a worker busy for as long as it takes. */
enum { REQUEST_MAX = PATH_MAX_LEN + 64, AT_ONCE_MAX = 1, WAITING_MAX = 4, REQUEST_TIMEOUT_S = 5 };
static const char socket_name[] = "admin.sock";

struct admin {
    struct admin_options options;
    int fd;
    atomic_int under_way;
};
struct admin_job {
    struct job job;
    struct admin *admin;
    int fd;
};

static struct sockaddr_un address_in(const struct datadir *dir)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", dir->fd, socket_name);
    return a;
}

enum sotto_err admin_listen(const struct admin_options *options, struct buffer *why_out, struct admin **admin_out)
{
    const struct datadir *dir = options->sources->datadir;
    struct sockaddr_un a = address_in(dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    datadir_remove(dir, socket_name); /* left by a server that was killed; we hold the lock */
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || chmod(a.sun_path, 0600) != 0 ||
        listen(fd, WAITING_MAX) != 0) {
        buffer_printf(why_out, "Cannot make the socket %s/%s: %s.", dir->path, socket_name, strerror(errno));
        if (fd >= 0) close(fd);
        return SOTTO_ERR_IO;
    }
    struct admin *admin = sotto_zalloc(sizeof(*admin));
    admin->options = *options;
    admin->fd = fd;
    *admin_out = admin;
    return SOTTO_OK;
}

int admin_fd(const struct admin *a)
{
    return a->fd;
}

static bool peer_may(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0) return false;
    return peer.uid == 0 || peer.uid == geteuid();
}

/* One line without its end; false when it does not come in time. */
static bool read_line(int fd, char *line, size_t size)
{
    size_t len = 0;
    while (len + 1 < size) {
        ssize_t n = recv(fd, line + len, size - 1 - len, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        len += (size_t)n;
        line[len] = '\0';
        char *end = strchr(line, '\n');
        if (end == NULL) continue;
        *end = '\0';
        return true;
    }
    return false;
}

static void answer(struct admin_job *j, const char *request, struct buffer *out)
{
    struct log *log = j->admin->options.log;
    static const char verb[] = "backup ";
    if (strncmp(request, verb, sizeof(verb) - 1) != 0 || request[sizeof(verb) - 1] != '/') {
        buffer_append_str(out, "failed The server does not know that request.\n");
        return;
    }
    const char *target = request + sizeof(verb) - 1;
    struct buffer why;
    buffer_init(&why, 2048);
    enum sotto_err err = backup_write(j->admin->options.sources, target, &why);
    if (err == SOTTO_OK) {
        LOG(log, LOG_INFO, "backup.done", LOG_S("directory", target));
        buffer_append_str(out, "ok\n");
    } else {
        LOG(log, LOG_ERROR, "backup.failed", LOG_S("directory", target), LOG_SLICE("why", buffer_slice(&why)));
        buffer_append_str(out, "failed ");
        buffer_append_slice(out, buffer_slice(&why));
        buffer_append_byte(out, '\n');
    }
    buffer_deinit(&why);
}

static void serve_request(struct job *job)
{
    struct admin_job *j = (struct admin_job *)(void *)job;
    char request[REQUEST_MAX];
    struct buffer out;
    buffer_init(&out, 4096);
    if (!peer_may(j->fd)) {
        buffer_append_str(&out, "failed Only the server's own user and root may ask.\n");
    } else if (read_line(j->fd, request, sizeof(request))) {
        answer(j, request, &out);
    }
    if (out.len > 0 && send(j->fd, out.data, out.len, MSG_NOSIGNAL) != (ssize_t)out.len) {
        LOG(j->admin->options.log, LOG_WARN, "admin.answer_lost", LOG_I("errno", errno));
    }
    buffer_deinit(&out);
    close(j->fd);
    atomic_fetch_sub(&j->admin->under_way, 1);
    free(j);
}

static void refuse(int fd)
{
    static const char busy[] = "failed The server is busy with another backup. Try again when it is done.\n";
    if (send(fd, busy, sizeof(busy) - 1, MSG_NOSIGNAL) < 0) {
        /* Nobody is left to tell. */
    }
    close(fd);
}

void admin_accept(struct admin *a)
{
    for (;;) {
        int fd = accept4(a->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) return;
        struct timeval patience = {.tv_sec = REQUEST_TIMEOUT_S};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        struct admin_job *j = sotto_zalloc(sizeof(*j));
        j->job.run = serve_request;
        j->admin = a;
        j->fd = fd;
        if (atomic_fetch_add(&a->under_way, 1) < AT_ONCE_MAX && workers_submit(a->options.workers, &j->job)) continue;
        atomic_fetch_sub(&a->under_way, 1);
        free(j);
        refuse(fd);
    }
}

void admin_close(struct admin **a)
{
    if (*a == NULL) return;
    SOTTO_ASSERT(atomic_load(&(*a)->under_way) == 0);
    datadir_remove((*a)->options.sources->datadir, socket_name);
    close((*a)->fd);
    free(*a);
    *a = NULL;
}

enum sotto_err admin_ask_backup(const struct datadir *dir, const char *target, struct buffer *why_out)
{
    struct sockaddr_un a = address_in(dir);
    char line[4096];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return SOTTO_ERR_IO;
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
        bool denied = errno == EACCES || errno == EPERM;
        if (denied) buffer_append_str(why_out, "Only the server's own user and root may ask for a backup.");
        close(fd);
        return denied ? SOTTO_ERR_DENIED : SOTTO_ERR_NOT_FOUND;
    }
    int len = snprintf(line, sizeof(line), "backup %s\n", target);
    enum sotto_err err = SOTTO_ERR_IO;
    if (send(fd, line, (size_t)len, MSG_NOSIGNAL) != len || !read_line(fd, line, sizeof(line))) {
        buffer_append_str(why_out, "The server went away before it answered; the backup is not finished.");
    } else if (strcmp(line, "ok") == 0) {
        err = SOTTO_OK;
    } else {
        buffer_append_str(why_out, strncmp(line, "failed ", 7) == 0 ? line + 7 : line);
    }
    close(fd);
    return err;
}
