/* Addresses of clients, and of those behind a proxy: see address.h. */
#include "gateway/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

static bool is_mapped(struct id a) { return memcmp(a.bytes, mapped, sizeof(mapped)) == 0; }

static struct id of_v4(const struct in_addr *in)
{
    struct id a;
    memcpy(a.bytes, mapped, sizeof(mapped));
    memcpy(a.bytes + sizeof(mapped), in, 4);
    return a;
}

struct id address_of_peer(const struct sockaddr_storage *peer)
{
    struct id a = {0};
    if (peer->ss_family == AF_INET) return of_v4(&((const struct sockaddr_in *)(const void *)peer)->sin_addr);
    if (peer->ss_family == AF_INET6)
        memcpy(a.bytes, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr, sizeof(a.bytes));
    return a;
}

struct id address_key(struct id address)
{
    if (!is_mapped(address)) memset(address.bytes + 8, 0, 8);
    return address;
}

void address_key_text(struct id key, char out[ADDRESS_TEXT_MAX])
{
    if (is_mapped(key)) inet_ntop(AF_INET, key.bytes + sizeof(mapped), out, ADDRESS_TEXT_MAX);
    else inet_ntop(AF_INET6, key.bytes, out, ADDRESS_TEXT_MAX);
}

bool address_key_local(struct id key)
{
    static const struct id zero;
    return is_mapped(key) ? key.bytes[sizeof(mapped)] == 127 : id_eq(key, zero);
}

bool address_in(const struct address_ranges *ranges, struct id address)
{
    for (size_t i = 0; i < ranges->count; i++) {
        const struct address_range *r = &ranges->at[i];
        size_t whole = r->bits / 8, rest = r->bits % 8;
        if (memcmp(r->base.bytes, address.bytes, whole) != 0) continue;
        if (rest == 0 || ((r->base.bytes[whole] ^ address.bytes[whole]) >> (8 - rest)) == 0) return true;
    }
    return false;
}

static struct slice trimmed(struct slice s)
{
    while (s.len > 0 && (s.data[0] == ' ' || s.data[0] == '\t')) s.data++, s.len--;
    while (s.len > 0 && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t')) s.len--;
    return s;
}

/* 192.0.2.1, 192.0.2.1:4711, 2001:db8::1, [2001:db8::1], [2001:db8::1]:4711. */
static bool read_address(struct slice s, struct id *out)
{
    char text[ADDRESS_TEXT_MAX];
    const uint8_t *colon = s.len > 0 ? memchr(s.data, ':', s.len) : NULL;
    if (s.len > 0 && s.data[0] == '[') {
        const uint8_t *end = memchr(s.data, ']', s.len);
        if (end == NULL) return false;
        s = slice_of(s.data + 1, (size_t)(end - s.data) - 1);
    } else if (colon != NULL && memchr(colon + 1, ':', s.len - (size_t)(colon + 1 - s.data)) == NULL) {
        s.len = (size_t)(colon - s.data);
    }
    struct in_addr v4;
    if (s.len == 0 || s.len >= sizeof(text)) return false;
    memcpy(text, s.data, s.len);
    text[s.len] = '\0';
    if (inet_pton(AF_INET, text, &v4) == 1) {
        *out = of_v4(&v4);
        return true;
    }
    return inet_pton(AF_INET6, text, out->bytes) == 1;
}

/* Walks one header from its end. False: the client has been found. */
static bool walk(const struct address_ranges *trusted, struct slice value, struct id *client)
{
    for (;;) {
        size_t begin = value.len;
        while (begin > 0 && value.data[begin - 1] != ',') begin--;
        struct id said;
        if (!read_address(trimmed(slice_of(value.data + begin, value.len - begin)), &said)) return false;
        *client = said;
        if (!address_in(trusted, said)) return false;
        if (begin == 0) return true;
        value.len = begin - 1;
    }
}

struct id address_of_client(const struct address_ranges *trusted, struct id peer, const struct http_message *m)
{
    static const char name[] = "X-Forwarded-For";
    struct id client = peer;
    for (size_t i = m->headers_count; i-- > 0;) {
        const struct http_header *h = &m->headers[i];
        if (h->name.len != sizeof(name) - 1 || strncasecmp((const char *)h->name.data, name, sizeof(name) - 1) != 0)
            continue;
        if (!walk(trusted, h->value, &client)) break;
    }
    return client;
}
