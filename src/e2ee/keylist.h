/* Keys that were skipped over and wait for late messages. Internal.
 *
 * Ascending by index, because a chain only moves forward. Each key is given
 * out once. Blocks are wiped when they are freed or when a key leaves.
 */
#ifndef SOTTO_E2EE_KEYLIST_H
#define SOTTO_E2EE_KEYLIST_H

#include "e2ee/codec.h"
#include "e2ee/crypto.h"

struct skipped_key {
    uint32_t index;
    struct secret32 key;
};

struct keylist {
    struct skipped_key *items; /* NULL if capacity is 0 */
    uint32_t count;
    uint32_t capacity;
};

void keylist_deinit(const struct e2ee_env *env, struct keylist *list);

/* Makes room for `more` keys. Errors: MEMORY. */
E2EE_CHECKED enum e2ee_err keylist_reserve(const struct e2ee_env *env, struct keylist *list,
                                           uint32_t more);
/* Needs room, and an index above all in the list. */
void keylist_push(struct keylist *list, uint32_t index, const struct secret32 *key);
/* Moves the key of `index` out. False if it is not there. */
E2EE_CHECKED bool keylist_take(struct keylist *list, uint32_t index, struct secret32 *key_out);
/* Drops the `count` oldest. */
void keylist_drop(struct keylist *list, uint32_t count);
/* Drops all below `index`. */
void keylist_drop_below(struct keylist *list, uint32_t index);

void keylist_write(struct writer *writer, const struct keylist *list);
/* `list` is empty before. Errors: CORRUPT, MEMORY. */
E2EE_CHECKED enum e2ee_err keylist_read(const struct e2ee_env *env, struct reader *reader,
                                        struct keylist *list);

#endif
