/* Inside of the slab, for conn.c and conn_slab.c. */
#ifndef SOTTO_GATEWAY_CONN_SLAB_H
#define SOTTO_GATEWAY_CONN_SLAB_H

#include "gateway/conn.h"

/* Zeroed but for its name. */
struct conn *conn_take(struct gateway_loop *gl);
void conn_give_back(struct conn *c);
/* Ticks of GATEWAY_TICK_MS on the loop's clock. */
uint32_t conn_tick(const struct gateway_loop *gl);
/* conn.c: the deadline has come; the connection has none now. */
void conn_due(struct conn *c);

#endif
