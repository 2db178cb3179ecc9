/* Consistency check of a whole store (`sottod check`).
 *
 * For every conversation: the state row decodes; sequences are dense from
 * firstSequence to lastSequence; every chain value follows from the one before
 * (from zero when firstSequence is 1); positions rise; every member has its
 * member row and every member row its member; every dedupe row names a message
 * with that key; every message that expires has its expiry row; payloads hash
 * to what the chain covers. No engine may write meanwhile.
 */
#ifndef SOTTO_STORE_CHECK_H
#define SOTTO_STORE_CHECK_H

#include "store/store.h"

struct store_report {
    uint64_t conversations, messages, tombstones, problems;
};
/* Calls `found` with one sentence per problem. Blocks for as long as it takes.
 * Errors: IO when reading fails otherwise than by damage; damage is a problem
 * and SOTTO_OK. */
SOTTO_CHECKED enum sotto_err store_check(struct store *s, void (*found)(void *ctx, const char *sentence),
                                         void *ctx, struct store_report *report_out);
#endif
