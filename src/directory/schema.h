/* The tables of the directory, as a numbered list of migrations. */
#ifndef SOTTO_DIRECTORY_SCHEMA_H
#define SOTTO_DIRECTORY_SCHEMA_H

#include "directory/sql.h"

struct migration {
    unsigned version; /* 1, 2, 3 … without holes */
    const char *script;
};
extern const struct migration schema_migrations[];
extern const size_t schema_migrations_count;

/* Brings the database up to the last of `list`, each step in a transaction of
 * its own together with its number.
 *
 * Errors: INVALID  a newer program made it, nothing was touched
 *         FULL, AGAIN, CORRUPT, IO  as the database says; the steps before
 *                  the one that failed are kept
 * why_out says it for a person. Blocks.
 */
SOTTO_CHECKED enum sotto_err schema_migrate(struct sql *sql, const struct migration *list, size_t count,
                                            struct buffer *why_out);

#endif
