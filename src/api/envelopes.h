/* The envelopes of a message: one per device of both people but the sender's. */
#ifndef SOTTO_API_ENVELOPES_H
#define SOTTO_API_ENVELOPES_H

#include "gateway/call.h"

/* Decodes the list, compares it with the devices there are, and writes the body
 * of a record. PROBLEM_DEVICES_STALE with the differences as details (the body is
 * whole); BAD_FIELD; TOO_LARGE. other: NULL when the account is gone. */
enum problem envelopes_build(struct call *c, struct json list, const struct user_view *me,
                             const struct user_view *other, struct buffer *body);

#endif
