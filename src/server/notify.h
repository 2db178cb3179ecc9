/* Tells the service manager how far we are (sd_notify(3), without its library). */
#ifndef SOTTO_SERVER_NOTIFY_H
#define SOTTO_SERVER_NOTIFY_H

#include <sys/socket.h>
#include <sys/un.h>

struct notify {
    struct sockaddr_un address;
    socklen_t address_len; /* 0: nobody asked */
};
/* path: the value of NOTIFY_SOCKET; NULL when there is none. */
void notify_init(struct notify *n, const char *path);
/* state: "READY=1", "STOPPING=1" … Never blocks, never fails. */
void notify_send(const struct notify *n, const char *state);

#endif
