/* Puts the configuration together from defaults, file, environment and flags
 * (each overrides what stands before it), checks it as a whole, and lists every
 * mistake at once.
 */
#ifndef SOTTO_SERVER_CONFIG_H
#define SOTTO_SERVER_CONFIG_H

#include "server/options.h"

enum config_origin_kind { ORIGIN_DEFAULT, ORIGIN_FILE, ORIGIN_ENVIRONMENT, ORIGIN_FLAG };
struct config_origin {
    enum config_origin_kind kind;
    unsigned line; /* FILE */
};
struct config_flag {
    const struct option *option;
    const char *value;
};
struct config_inputs {
    const char *file;              /* --config; NULL: SOTTO_CONFIG, else data-dir/sottod.conf if it is there */
    const char *const *environment;/* "NAME=value", ended by NULL */
    const struct config_flag *flags;
    size_t flags_count;
};
struct loaded_config {
    struct config config;
    struct config_origin origins[OPTIONS_MAX]; /* by index in option_table[] */
    char *file;                                /* that was read; NULL: none */
};

enum { CONFIG_FILE_MAX_BYTES = 256 * 1024, CONFIG_ERRORS_MAX_BYTES = 64 * 1024 };

/* Reads and checks everything. On SOTTO_ERR_INVALID errors_out has one line per
 * mistake, "file:line: …", "SOTTO_X: …" or "--x: …", and *out is untouched.
 * Blocks on the file. */
SOTTO_CHECKED enum sotto_err config_load(const struct config_inputs *inputs, struct buffer *errors_out,
                                         struct loaded_config *out);
void loaded_config_deinit(struct loaded_config *c);
/* "default", "data/sottod.conf:3", "SOTTO_PORT" or "--port". */
void config_describe_origin(const struct loaded_config *c, size_t option_index, struct buffer *out);

#endif
