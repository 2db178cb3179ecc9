/* Checks of what people type. Each sentence is meant for the person. */
#include "directory/directory_private.h"

#include "base/text.h"

enum problem field_problem(struct buffer *why, const char *sentence)
{
    if (why != NULL) {
        buffer_clear(why);
        buffer_append_str(why, sentence);
    }
    return PROBLEM_BAD_FIELD;
}

static bool refuse(struct buffer *why, const char *sentence)
{
    (void)field_problem(why, sentence);
    return false;
}

static bool is_lower_or_digit(uint8_t c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

/* [a-z0-9][a-z0-9._-]{2,31}, upper case being taken as lower. */
bool username_normalize(struct slice text, char out[SOTTO_USERNAME_MAX + 1])
{
    if (text.len < SOTTO_USERNAME_MIN || text.len > SOTTO_USERNAME_MAX) return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c >= 'A' && c <= 'Z') c = (uint8_t)(c - 'A' + 'a');
        bool mark = c == '.' || c == '_' || c == '-';
        if (!is_lower_or_digit(c) && !(mark && i > 0)) return false;
        out[i] = (char)c;
    }
    out[text.len] = '\0';
    return true;
}

bool field_username(struct slice text, char out[SOTTO_USERNAME_MAX + 1], struct buffer *why)
{
    return username_normalize(text, out) ||
           refuse(why, "A user name has 3 to 32 characters: letters a-z, digits, '.', '_' and '-', and begins with a "
                       "letter or a digit.");
}

bool field_password(struct slice password, struct buffer *why)
{
    if (password.len < SOTTO_PASSWORD_MIN) return refuse(why, "The password is too short: at least 8 bytes.");
    if (password.len > SOTTO_PASSWORD_MAX) return refuse(why, "The password is too long: at most 256 bytes.");
    return utf8_valid(password) || refuse(why, "The password is not valid UTF-8.");
}

/* Valid UTF-8 that a screen does not show but obeys: a control character (C0, DEL, C1), a
 * separator of lines, or an embedding, override or isolate of writing direction (UAX #9), by
 * which a name can look like another. Marks such as U+200F, which names need, are none. */
static bool steers_screen(const uint8_t *at, size_t left)
{
    if (at[0] < 0x20 || at[0] == 0x7f) return true;
    if (at[0] == 0xc2) return left > 1 && at[1] < 0xa0;
    if (at[0] != 0xe2 || left < 3) return false;
    return (at[1] == 0x80 && at[2] >= 0xa8 && at[2] <= 0xae) || (at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9);
}

bool field_text(struct slice text, size_t max, const char *name, struct buffer *why)
{
    bool good = text.len <= max && utf8_valid(text);
    for (size_t i = 0; i < text.len && good; i++) good = !steers_screen(text.data + i, text.len - i);
    if (good) return true;
    if (why != NULL) {
        buffer_clear(why);
        buffer_printf(why, "The %s is at most %zu bytes of UTF-8, without control characters and characters that turn the "
                           "direction of writing.", name, max);
    }
    return false;
}

/* E.164: '+', a digit that is not 0, 7 to 15 digits in all. */
bool field_phone(struct slice text, struct buffer *why)
{
    bool good = text.len >= 8 && text.len <= SOTTO_PHONE_MAX && text.data[0] == '+' && text.data[1] != '0';
    for (size_t i = 1; i < text.len && good; i++) good = text.data[i] >= '0' && text.data[i] <= '9';
    return good || refuse(why, "A phone number is '+', the country's code and the number: 7 to 15 digits, no spaces.");
}

bool field_picture(struct slice text, struct buffer *why)
{
    bool good = text.len <= SOTTO_HANDLE_MAX;
    for (size_t i = 0; i < text.len && good; i++) good = text.data[i] > 0x20 && text.data[i] < 0x7f;
    return good || refuse(why, "The picture is a media handle: at most 128 printable ASCII characters.");
}

bool field_device(const struct device_login *device, struct buffer *why)
{
    return field_text(device->name, SOTTO_DEVICE_NAME_MAX, "device name", why) &&
           field_text(device->platform, SOTTO_PLATFORM_MAX, "platform", why);
}
