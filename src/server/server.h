/* The running server: every part, brought up and taken down in order. */
#ifndef SOTTO_SERVER_SERVER_H
#define SOTTO_SERVER_SERVER_H

#include "server/command_line.h"

/* Serves until SIGTERM or SIGINT. Main thread; owns the process's signals. */
enum exit_code server_run(const struct command_line *line);

#endif
