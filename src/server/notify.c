#include "server/notify.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

void notify_init(struct notify *n, const char *path)
{
    *n = (struct notify){.address.sun_family = AF_UNIX};
    size_t len = path == NULL ? 0 : strlen(path);
    if (len < 2 || len >= sizeof(n->address.sun_path) || (path[0] != '/' && path[0] != '@')) return;
    memcpy(n->address.sun_path, path, len);
    if (path[0] == '@') n->address.sun_path[0] = '\0'; /* abstract */
    n->address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

void notify_send(const struct notify *n, const char *state)
{
    if (n->address_len == 0) return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    ssize_t sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
                          (const struct sockaddr *)&n->address, n->address_len);
    (void)sent; /* best effort: the manager has its own timeout */
    close(fd);
}
