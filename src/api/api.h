/* The operations of docs/protocol.md: one table, one handler each.
 *
 * The table goes to gateway_create. A handler of the form `run` may block (a
 * worker calls it); one of the form `start` may not (a loop calls it). See
 * gateway/call.h for what a handler finds in its call and how it answers.
 */
#ifndef SOTTO_API_API_H
#define SOTTO_API_API_H

#include "gateway/call.h"

/* What a double holds exactly, as that is what numbers are to some clients. */
#define SEQUENCE_MAX ((UINT64_C(1) << 53) - 1)

/* Ended by an operation whose type is NULL. Defined in operations.c. */
extern const struct operation api_operations[];

/* accounts.c */
enum problem api_account_register(struct call *c);
enum problem api_account_login(struct call *c);
enum problem api_account_logout(struct call *c);
enum problem api_account_get(struct call *c);
enum problem api_account_update(struct call *c);
enum problem api_account_password(struct call *c);
enum problem api_account_delete(struct call *c);
enum problem api_user_get(struct call *c);
enum problem api_user_find(struct call *c);
enum problem api_user_devices(struct call *c);

/* devices.c */
enum problem api_device_list(struct call *c);
enum problem api_device_rename(struct call *c);
enum problem api_device_revoke(struct call *c);

/* keys.c */
enum problem api_keys_upload(struct call *c);
enum problem api_keys_counts(struct call *c);
enum problem api_keys_take(struct call *c);

/* contacts.c */
enum problem api_contact_list(struct call *c);
enum problem api_contact_put(struct call *c);
enum problem api_contact_remove(struct call *c);
enum problem api_block_put(struct call *c);
enum problem api_block_remove(struct call *c);

/* server_info.c */
enum problem api_server_info(struct call *c);

/* messages.c, receipts.c */
void api_message_send(struct call *c);
void api_message_delivered(struct call *c);
void api_message_read(struct call *c);
void api_typing(struct call *c);
enum problem api_message_get(struct call *c);

/* conversations.c */
enum problem api_conversation_list(struct call *c);
enum problem api_conversation_get(struct call *c);
enum problem api_history_get(struct call *c);

#endif
