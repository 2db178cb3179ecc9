/* Server addresses. */
#include "cli/url.h"

#include <stdlib.h>

static bool is_local(const char *host)
{
    bool loopback = strncmp(host, "127.", 4) == 0 && host[strspn(host, "0123456789.")] == '\0';
    return loopback || strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0;
}

/* host[:port] or [v6][:port]; returns where it ends. */
static const char *parse_host(const char *at, struct url *u)
{
    const char *end;
    if (*at == '[') {
        end = strchr(++at, ']');
        if (!end) return NULL;
    } else {
        end = at + strcspn(at, ":/?#");
    }
    size_t len = (size_t)(end - at);
    if (len == 0 || len > URL_HOST_MAX) return NULL;
    for (size_t i = 0; i < len; i++)
        if (at[i] <= ' ' || at[i] > '~' || at[i] == '@') return NULL;
    memcpy(u->host, at, len);
    u->host[len] = '\0';
    return *end == ']' ? end + 1 : end;
}

bool url_parse(const char *text, struct url *out, struct buffer *why)
{
    struct url u = {0};
    const char *at = text;
    bool scheme = true;
    if (strncmp(text, "https://", 8) == 0) {
        u.tls = true;
        at += 8;
    } else if (strncmp(text, "http://", 7) == 0) {
        at += 7;
    } else {
        scheme = false;
    }
    at = parse_host(at, &u);
    if (at && !scheme) u.tls = !is_local(u.host);
    u.port = u.tls ? 443 : 80;
    if (at && *at == ':') {
        char *end;
        unsigned long port = strtoul(at + 1, &end, 10);
        if (at[1] < '0' || at[1] > '9' || port == 0 || port > 65535) at = NULL;
        else at = end;
        u.port = (uint16_t)port;
    }
    if (!at || (*at != '\0' && strcmp(at, "/") != 0)) {
        buffer_printf(why, "\"%s\" is not the address of a server; it looks like https://chat.example.org or "
                           "http://localhost:8080", text);
        return false;
    }
    *out = u;
    return true;
}

void url_authority(const struct url *u, struct buffer *out)
{
    bool v6 = strchr(u->host, ':') != NULL;
    if (v6) buffer_append_byte(out, '[');
    buffer_append_str(out, u->host);
    if (v6) buffer_append_byte(out, ']');
    if (u->port != (u->tls ? 443 : 80)) buffer_printf(out, ":%u", (unsigned)u->port);
}

void url_write(const struct url *u, struct buffer *out)
{
    buffer_append_str(out, u->tls ? "https://" : "http://");
    url_authority(u, out);
}

void url_escape(struct buffer *out, struct slice text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
            c == '_' || c == '~') {
            buffer_append_byte(out, c);
            continue;
        }
        buffer_append_byte(out, '%');
        buffer_append_byte(out, (uint8_t)digits[c >> 4]);
        buffer_append_byte(out, (uint8_t)digits[c & 15]);
    }
}
