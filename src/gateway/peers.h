/* Who is in a direct conversation: a bounded cache, shared by all loops.
 *
 * A direct conversation's id is a hash of its two members, so what is known
 * once is true for ever and never needs to be forgotten for being wrong; it is
 * only forgotten for room. Conversations of other kinds are remembered as such.
 */
#ifndef SOTTO_GATEWAY_PEERS_H
#define SOTTO_GATEWAY_PEERS_H

#include "base/id.h"

enum peers_answer { PEERS_UNKNOWN, PEERS_DIRECT, PEERS_STRANGER, PEERS_OTHER };
struct peers;
/* entries: a power of two; 48 bytes each, touched when used. */
struct peers *peers_create(size_t entries);
void peers_destroy(struct peers **p);
/* Any thread. peer_out: set with PEERS_DIRECT, the member who is not `me`.
 * PEERS_STRANGER: a direct conversation that `me` is not in. */
enum peers_answer peers_find(struct peers *p, struct id conversation, struct id me, struct id *peer_out);
/* b zero: not a direct conversation. Any thread. */
void peers_put(struct peers *p, struct id conversation, struct id a, struct id b);

#endif
