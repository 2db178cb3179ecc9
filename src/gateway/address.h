/* Whose connection it is, for what one address may do.
 *
 * An address is 16 bytes; IPv4 as mapped IPv6. Limits go by its key: of IPv6 the
 * first 64 bits, which one customer has. A proxy that the configuration trusts
 * says in X-Forwarded-For whom it speaks for: each proxy appends the address that
 * it saw, so the client is the last one that is no proxy of ours. What stands
 * before it is hearsay.
 */
#ifndef SOTTO_GATEWAY_ADDRESS_H
#define SOTTO_GATEWAY_ADDRESS_H

#include "gateway/services.h"
#include "net/http.h"

#include <sys/socket.h>

enum { ADDRESS_TEXT_MAX = 48 };

/* All zero for what is neither IPv4 nor IPv6. */
struct id address_of_peer(const struct sockaddr_storage *peer);
struct id address_key(struct id address);
void address_key_text(struct id key, char out[ADDRESS_TEXT_MAX]);
/* Of this machine: 127.0.0.0/8 and ::1, as a key. */
bool address_key_local(struct id key);

bool address_in(const struct address_ranges *ranges, struct id address);
/* The client on whose behalf `peer`, which is trusted, sends the request; `peer` itself
 * without the header, or when what it says cannot be read. */
struct id address_of_client(const struct address_ranges *trusted, struct id peer, const struct http_message *m);

#endif
