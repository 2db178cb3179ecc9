/* The recovery key: 256 random bits that a person writes down.
 *
 * On paper it is 17 groups of 6 digits:
 *
 *     016038-423577-... (16 groups of the key, 1 group to check them)
 *
 * Each group is 11 times a 16-bit number, so it is divisible by 11: a wrong
 * digit or two neighbours swapped make that group impossible, and we can say
 * which one to look at. The last group holds the first 16 bits of
 * SHA-256("Sotto recovery key" || key): it finds swapped groups and the rest,
 * all but one in 65,536.
 *
 * Spaces, line ends, dashes, dots and commas between digits are ignored.
 */
#ifndef SOTTO_E2EE_RECOVERY_KEY_H
#define SOTTO_E2EE_RECOVERY_KEY_H

#include "e2ee/e2ee.h"

enum {
    E2EE_RECOVERY_KEY_LEN = 32,
    E2EE_RECOVERY_GROUPS = 17,
    E2EE_RECOVERY_GROUP_DIGITS = 6,
    E2EE_RECOVERY_TEXT_LEN = 17 * 7 - 1, /* with a dash between groups */
};

/* Fresh key; secret. Errors: RANDOM. */
E2EE_CHECKED enum e2ee_err e2ee_recovery_key_create(const struct e2ee_env *env,
                                                    uint8_t key_out[E2EE_RECOVERY_KEY_LEN]);

/* The groups, joined by dashes, with a NUL; secret. */
void e2ee_recovery_key_format(const uint8_t key[E2EE_RECOVERY_KEY_LEN],
                              char text_out[E2EE_RECOVERY_TEXT_LEN + 1]);

/* Reads what a person typed.
 *
 * wrong_group_out  set on failure only: the first group that cannot be right,
 *                  1..17, or 0 when each is possible by itself (two groups
 *                  swapped, or another key's) or their number is wrong
 *
 * Errors: MALFORMED for a typo, a missing digit or a strange character. */
E2EE_CHECKED enum e2ee_err e2ee_recovery_key_parse(const char *text, size_t text_len,
                                                   uint8_t key_out[E2EE_RECOVERY_KEY_LEN],
                                                   unsigned *wrong_group_out);

#endif
