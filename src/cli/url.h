/* The address of a server: http[s]://host[:port] */
#ifndef SOTTO_CLI_URL_H
#define SOTTO_CLI_URL_H

#include "base/buffer.h"

enum { URL_HOST_MAX = 255 };
struct url {
    bool tls;
    char host[URL_HOST_MAX + 1]; /* without brackets */
    uint16_t port;
};
/* Without a scheme, http for this machine and https for others. False with a
 * sentence in `why`. */
bool url_parse(const char *text, struct url *out, struct buffer *why);
/* "host:port" as the Host header wants it. */
void url_authority(const struct url *u, struct buffer *out);
void url_write(const struct url *u, struct buffer *out);
/* Appends `text`, escaped for a path segment or a query value. */
void url_escape(struct buffer *out, struct slice text);

#endif
