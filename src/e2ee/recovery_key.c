/* The recovery key on paper. recovery_key.h has the form.
 *
 * Why 11: it is prime and 10 is -1 modulo 11, so the alternating sum of the
 * digits decides; one wrong digit, or two unequal neighbours swapped, always
 * change it.
 */
#include "e2ee/recovery_key.h"

#include <string.h>

#include "e2ee/crypto.h"

enum { KEY_GROUPS = E2EE_RECOVERY_GROUPS - 1, LABEL_LEN = 18 };
static const char label[] = "Sotto recovery key";

enum e2ee_err e2ee_recovery_key_create(const struct e2ee_env *env,
                                       uint8_t key_out[E2EE_RECOVERY_KEY_LEN])
{
    struct secret32 key;
    bool filled = env_random(env, key.bytes, sizeof(key.bytes));
    if (filled) memcpy(key_out, key.bytes, sizeof(key.bytes));
    SECRET_WIPE(key);
    return filled ? E2EE_OK : E2EE_ERR_RANDOM;
}

static unsigned check_value(const uint8_t key[E2EE_RECOVERY_KEY_LEN])
{
    uint8_t input[LABEL_LEN + E2EE_RECOVERY_KEY_LEN], hash[32];
    memcpy(input, label, LABEL_LEN);
    memcpy(input + LABEL_LEN, key, E2EE_RECOVERY_KEY_LEN);
    sha256(input, sizeof(input), hash);
    unsigned value = (unsigned)hash[0] << 8 | hash[1];
    SECRET_WIPE(input);
    SECRET_WIPE(hash);
    return value;
}

void e2ee_recovery_key_format(const uint8_t key[E2EE_RECOVERY_KEY_LEN],
                              char text_out[E2EE_RECOVERY_TEXT_LEN + 1])
{
    char *out = text_out;
    for (size_t group = 0; group < E2EE_RECOVERY_GROUPS; group++) {
        unsigned value = group < KEY_GROUPS
                             ? (unsigned)key[2 * group] << 8 | key[2 * group + 1]
                             : check_value(key);
        unsigned number = value * 11; /* at most 720,885 */
        if (group > 0) *out++ = '-';
        for (size_t digit = E2EE_RECOVERY_GROUP_DIGITS; digit-- > 0; number /= 10) {
            out[digit] = (char)('0' + number % 10);
        }
        out += E2EE_RECOVERY_GROUP_DIGITS;
    }
    *out = '\0';
}

static bool is_separator(char c)
{
    return c == ' ' || c == '-' || c == '\n' || c == '\r' || c == '\t' || c == '.' || c == ',';
}

enum e2ee_err e2ee_recovery_key_parse(const char *text, size_t text_len,
                                      uint8_t key_out[E2EE_RECOVERY_KEY_LEN],
                                      unsigned *wrong_group_out)
{
    uint32_t numbers[E2EE_RECOVERY_GROUPS] = {0};
    struct secret32 key = {{0}};
    enum e2ee_err err = E2EE_ERR_MALFORMED;
    size_t digits = 0;
    unsigned wrong = 0;
    for (size_t i = 0; i < text_len; i++) {
        if (is_separator(text[i])) continue;
        size_t group = digits / E2EE_RECOVERY_GROUP_DIGITS;
        if (text[i] < '0' || text[i] > '9') {
            if (group < E2EE_RECOVERY_GROUPS) wrong = (unsigned)group + 1;
            goto out;
        }
        if (group >= E2EE_RECOVERY_GROUPS) goto out;
        numbers[group] = numbers[group] * 10 + (uint32_t)(text[i] - '0');
        digits++;
    }
    for (size_t group = 0; group < digits / E2EE_RECOVERY_GROUP_DIGITS; group++) {
        if (numbers[group] % 11 != 0 || numbers[group] / 11 > 0xffff) {
            wrong = (unsigned)group + 1;
            goto out;
        }
    }
    if (digits != E2EE_RECOVERY_GROUPS * E2EE_RECOVERY_GROUP_DIGITS) goto out;
    for (size_t group = 0; group < KEY_GROUPS; group++) {
        key.bytes[2 * group] = (uint8_t)(numbers[group] / 11 >> 8);
        key.bytes[2 * group + 1] = (uint8_t)(numbers[group] / 11);
    }
    if (numbers[KEY_GROUPS] / 11 != check_value(key.bytes)) goto out;
    memcpy(key_out, key.bytes, sizeof(key.bytes));
    err = E2EE_OK;
out:
    if (err != E2EE_OK) *wrong_group_out = wrong;
    SECRET_WIPE(numbers);
    SECRET_WIPE(key);
    return err;
}
