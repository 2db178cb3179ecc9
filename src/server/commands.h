/* The commands of sottod other than serving. Each returns the exit status. */
#ifndef SOTTO_SERVER_COMMANDS_H
#define SOTTO_SERVER_COMMANDS_H

#include "server/command_line.h"

/* Loads the configuration for a command; says on stderr what is wrong with it.
 * EXIT_CODE_OK: *out is to be freed with loaded_config_deinit. */
SOTTO_CHECKED enum exit_code command_config(const struct command_line *line, struct loaded_config *out);

/* commands_config.c */
enum exit_code command_config_show(const struct command_line *line);
enum exit_code command_version(const struct command_line *line);
enum exit_code command_help(const struct command_line *line);
enum exit_code command_help_settings(const struct command_line *line);

/* commands_store.c */
enum exit_code command_backup(const struct command_line *line);
enum exit_code command_restore(const struct command_line *line);
enum exit_code command_check(const struct command_line *line);

/* commands_users.c: while the server runs, too; it sees the change within a
 * second. */
enum exit_code command_user_list(const struct command_line *line);
enum exit_code command_user_add(const struct command_line *line);
enum exit_code command_user_password(const struct command_line *line);
enum exit_code command_user_remove(const struct command_line *line);
enum exit_code command_invite_create(const struct command_line *line);
enum exit_code command_invite_list(const struct command_line *line);
enum exit_code command_invite_revoke(const struct command_line *line);
enum exit_code command_device_list(const struct command_line *line);
enum exit_code command_device_revoke(const struct command_line *line);

#endif
