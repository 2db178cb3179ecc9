/* The table of operations; docs/protocol.md is the same table for people.
 *
 * Order matters only where two paths match the same request: none do, as every
 * segment of a path is either literal or a parameter at the same place.
 */
#include "api/api.h"
#include "gateway/gateway.h"

#define RUN(type, answer, method, path, query, flags, fn) \
    {type, answer, method, path, query, flags, fn, NULL}
#define START(type, answer, method, path, query, flags, fn) \
    {type, answer, method, path, query, flags, NULL, fn}
#define CONVERSATION "/api/v1/conversations/{conversationId}"

const struct operation api_operations[] = {
    /* The busiest first: the socket looks types up in this order. */
    START("message.send", "message.sent", HTTP_M_POST, "/api/v1/messages", NULL,
          OP_ALWAYS_ANSWER | OP_LIMIT_SEND, api_message_send),
    START("message.delivered", "ok", HTTP_M_POST, CONVERSATION "/delivered", NULL, 0, api_message_delivered),
    START("message.read", "ok", HTTP_M_POST, CONVERSATION "/read", NULL, 0, api_message_read),
    START("typing", "ok", HTTP_M_POST, "/api/v1/typing", NULL, OP_LIMIT_TYPING, api_typing),
    START("ping", "pong", HTTP_M_GET, NULL, NULL, OP_SOCKET_ONLY, gateway_op_ping),

    RUN("account.register", "account.registered", HTTP_M_POST, "/api/v1/accounts", NULL, OP_PUBLIC | OP_PASSWORD,
        api_account_register),
    RUN("account.login", "account.loggedIn", HTTP_M_POST, "/api/v1/login", NULL, OP_PUBLIC | OP_PASSWORD,
        api_account_login),
    RUN("account.logout", "ok", HTTP_M_POST, "/api/v1/logout", NULL, 0, api_account_logout),
    RUN("account.get", "account", HTTP_M_GET, "/api/v1/account", NULL, 0, api_account_get),
    RUN("account.update", "account", HTTP_M_PATCH, "/api/v1/account", NULL, 0, api_account_update),
    RUN("account.password", "ok", HTTP_M_POST, "/api/v1/account/password", NULL, OP_PASSWORD, api_account_password),
    RUN("account.delete", "ok", HTTP_M_DELETE, "/api/v1/account", NULL, OP_PASSWORD, api_account_delete),
    RUN("user.get", "user", HTTP_M_GET, "/api/v1/users/{userId}", NULL, 0, api_user_get),
    RUN("user.find", "user", HTTP_M_GET, "/api/v1/users", "username:s", 0, api_user_find),
    RUN("user.devices", "user.devices", HTTP_M_GET, "/api/v1/users/{userId}/devices", NULL, 0, api_user_devices),

    RUN("device.list", "device.list", HTTP_M_GET, "/api/v1/devices", NULL, 0, api_device_list),
    RUN("device.rename", "ok", HTTP_M_PATCH, "/api/v1/devices/{deviceId:n}", NULL, 0, api_device_rename),
    RUN("device.revoke", "ok", HTTP_M_DELETE, "/api/v1/devices/{deviceId:n}", NULL, 0, api_device_revoke),

    RUN("keys.upload", "keys.counts", HTTP_M_PUT, "/api/v1/keys", NULL, 0, api_keys_upload),
    RUN("keys.counts", "keys.counts", HTTP_M_GET, "/api/v1/keys", NULL, 0, api_keys_counts),
    RUN("keys.take", "keys.bundles", HTTP_M_POST, "/api/v1/users/{userId}/bundles", NULL, OP_LIMIT_BUNDLES,
        api_keys_take),

    RUN("contact.list", "contact.list", HTTP_M_GET, "/api/v1/contacts", NULL, 0, api_contact_list),
    RUN("contact.put", "ok", HTTP_M_PUT, "/api/v1/contacts/{userId}", NULL, 0, api_contact_put),
    RUN("contact.remove", "ok", HTTP_M_DELETE, "/api/v1/contacts/{userId}", NULL, 0, api_contact_remove),
    RUN("block.put", "ok", HTTP_M_PUT, "/api/v1/blocks/{userId}", NULL, 0, api_block_put),
    RUN("block.remove", "ok", HTTP_M_DELETE, "/api/v1/blocks/{userId}", NULL, 0, api_block_remove),

    RUN("message.get", "message", HTTP_M_GET, CONVERSATION "/messages/{sequence:n}", NULL, 0, api_message_get),
    RUN("conversation.list", "conversation.list", HTTP_M_GET, "/api/v1/conversations", "after:s limit:n", 0,
        api_conversation_list),
    RUN("conversation.get", "conversation", HTTP_M_GET, CONVERSATION, NULL, 0, api_conversation_get),
    RUN("history.get", "history", HTTP_M_GET, CONVERSATION "/messages", "since:n before:n limit:n", 0,
        api_history_get),

    RUN("presence.get", "presence", HTTP_M_GET, "/api/v1/presence/{userId}", NULL, 0, gateway_op_presence_get),
    START("presence.watch", "presence", HTTP_M_GET, NULL, NULL, OP_SOCKET_ONLY, gateway_op_presence_watch),
    START("sync.start", "ok", HTTP_M_GET, NULL, NULL, OP_SOCKET_ONLY, gateway_op_sync_start),
    RUN("server.info", "server", HTTP_M_GET, "/api/v1/server", NULL, OP_PUBLIC, api_server_info),
    {0},
};
