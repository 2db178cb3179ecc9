/* What a peer can be told that went wrong: one stable code each.
 *
 * The same table serves REST (status and JSON body) and the event channel
 * (an `error` event). Codes never change meaning; new ones may be added.
 */
#ifndef SOTTO_WIRE_PROBLEM_H
#define SOTTO_WIRE_PROBLEM_H

#include "base/buffer.h"
#include "base/error.h"

/* X(enumerator, code, HTTP status, sentence for a person) */
#define PROBLEM_TABLE(X)                                                                              \
    X(PROBLEM_NONE, "ok", 200, "")                                                                    \
    X(PROBLEM_BAD_REQUEST, "bad_request", 400, "The request could not be understood.")                \
    X(PROBLEM_BAD_JSON, "bad_json", 400, "What was sent is not one object of valid JSON.")              \
    X(PROBLEM_BAD_FIELD, "bad_field", 400, "A field is missing or has a wrong value.")                \
    X(PROBLEM_UNKNOWN_TYPE, "unknown_type", 400, "This server does not know that kind of request.")   \
    X(PROBLEM_BAD_CURSOR, "bad_cursor", 400, "The cursor is not one that this server gave out. Begin without one.") \
    X(PROBLEM_TOO_LARGE, "too_large", 413, "The request is larger than the server accepts.")          \
    X(PROBLEM_NOT_FOUND, "not_found", 404, "There is nothing here.")                                  \
    X(PROBLEM_METHOD, "method_not_allowed", 405, "This address does not take that method.")           \
    X(PROBLEM_UNAUTHENTICATED, "unauthenticated", 401, "Sign in first.")                              \
    X(PROBLEM_TOKEN, "bad_token", 401, "The token is not valid any more. Sign in again; keep your keys.") \
    X(PROBLEM_CREDENTIALS, "bad_credentials", 401, "The user name or the password is wrong.")         \
    X(PROBLEM_FORBIDDEN, "forbidden", 403, "You may not do that.")                                    \
    X(PROBLEM_NOT_MEMBER, "not_a_member", 403, "You are not in this conversation.")                   \
    X(PROBLEM_REGISTRATION_CLOSED, "registration_closed", 403, "This server takes no new accounts.")  \
    X(PROBLEM_INVITE, "bad_invite", 403, "This server needs an invite, and this one is not valid.")   \
    X(PROBLEM_USERNAME_TAKEN, "username_taken", 409, "That user name is taken.")                      \
    X(PROBLEM_PHONE_TAKEN, "phone_taken", 409, "That phone number belongs to another account.")       \
    X(PROBLEM_NO_SUCH_USER, "no_such_user", 404, "There is no such user.")                            \
    X(PROBLEM_TOO_MANY_DEVICES, "too_many_devices", 409, "This account has as many devices as the server allows. Remove one first.") \
    X(PROBLEM_DEVICES_STALE, "devices_stale", 409, "The list of devices has changed. Fetch it and send again.") \
    X(PROBLEM_ID_CONFLICT, "client_msg_id_conflict", 409, "This clientMsgId was used for another message.") \
    X(PROBLEM_CONFLICT, "conflict", 409, "The request does not fit what the server knows.")           \
    X(PROBLEM_NO_PREKEYS, "no_prekeys", 404, "That device has not published its keys yet.")           \
    X(PROBLEM_RATE_LIMITED, "rate_limited", 429, "Too many requests. Wait, then try again.")          \
    X(PROBLEM_BUSY, "busy", 503, "The server is busy. Try again in a moment.")                        \
    X(PROBLEM_STORAGE_FULL, "storage_full", 507, "The server's disk is full. Reading goes on; nothing new can be stored.") \
    X(PROBLEM_DRAINING, "draining", 503, "The server is restarting. Try again in a moment.")          \
    X(PROBLEM_UNCERTAIN, "uncertain", 503, "It may or may not have been stored. Send it again with the same clientMsgId.") \
    X(PROBLEM_INTERNAL, "internal", 500, "The server failed. The request id is in its log.")

enum problem {
#define X(name, code, status, text) name,
    PROBLEM_TABLE(X)
#undef X
    PROBLEM_COUNT
};

const char *problem_code(enum problem p);
unsigned problem_status(enum problem p);
const char *problem_text(enum problem p);

#endif
