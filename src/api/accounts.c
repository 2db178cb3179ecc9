/* Accounts and what others may see of them. Worker threads; all of these block
 * on the directory.
 */
#include "api/api.h"

#include "engine/inbox.h"

#include <sodium.h>

#define FIELD(kind_, name_, required_, type, member, min_, max_)                                          \
    {.name = (name_), .kind = (kind_), .required = (required_), .offset = offsetof(type, member),         \
     .min = (min_), .max = (max_), .present_offset = SIZE_MAX}
#define FIELD_IF(kind_, name_, type, member, min_, max_, present_)                                        \
    {.name = (name_), .kind = (kind_), .required = false, .offset = offsetof(type, member), .min = (min_), \
     .max = (max_), .present_offset = offsetof(type, present_)}
#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* `position`: before the device was there. What arrives from then on is for it, too,
 * even before it says its first hello. */
static void write_credentials(struct call *c, struct credentials *cred, uint64_t position)
{
    uint8_t memory[CURSOR_TEXT_MAX];
    struct buffer text;
    struct engine *e = c->services->engine;
    json_put_id(&c->answer, "userId", cred->user);
    json_put_u64(&c->answer, "deviceId", cred->device);
    json_put_cstr(&c->answer, "token", cred->token);
    uint64_t now_ms = clock_wall_ms(c->services->clock);
    if (inbox_start(engine_store(e), cred->user, now_ms, &position) == SOTTO_OK) {
        struct cursor cursor = {.epoch = engine_epoch(e), .position = position};
        buffer_init_fixed(&text, memory, sizeof(memory));
        cursor_write(&cursor, &text);
        json_put_string(&c->answer, "cursor", buffer_slice(&text));
    }
    sodium_memzero(cred, sizeof(*cred));
}

enum problem api_account_register(struct call *c)
{
    static const struct json_field fields[] = {
        FIELD(JF_STRING, "username", true, struct registration, username, 1, SOTTO_USERNAME_MAX),
        FIELD(JF_STRING, "password", true, struct registration, password, SOTTO_PASSWORD_MIN, SOTTO_PASSWORD_MAX),
        FIELD(JF_STRING, "displayName", false, struct registration, display_name, 0, SOTTO_DISPLAY_NAME_MAX),
        FIELD(JF_STRING, "phone", false, struct registration, phone, 0, SOTTO_PHONE_MAX),
        FIELD(JF_STRING, "picture", false, struct registration, picture, 0, SOTTO_HANDLE_MAX),
        FIELD(JF_STRING, "invite", false, struct registration, invite, 0, INVITE_TEXT_MAX),
        FIELD(JF_STRING, "deviceName", true, struct registration, device.name, 1, SOTTO_DEVICE_NAME_MAX),
        FIELD(JF_STRING, "platform", true, struct registration, device.platform, 1, SOTTO_PLATFORM_MAX),
    };
    struct registration r = {0};
    struct credentials cred;
    uint64_t position = engine_position(c->services->engine);
    enum problem p = call_decode(c, fields, COUNT(fields), &r);
    if (p == PROBLEM_NONE) {
        p = directory_register(c->services->directory, &r, &c->why, &cred);
        if (p == PROBLEM_BAD_FIELD) c->field = directory_wrong_registration(&r);
    }
    if (p == PROBLEM_NONE) write_credentials(c, &cred, position);
    return p;
}

/* Where a guess comes from, besides the name that it is for. What comes from this machine
 * may come through a proxy on it that does not say for whom, and so does everybody: one
 * who guesses would keep all the others out. */
static struct slice guess_address(const struct call *c)
{
    bool here = (c->address.len > 4 && memcmp(c->address.data, "127.", 4) == 0) || slice_is(c->address, "::");
    return here ? (struct slice){0} : c->address;
}

/* Whoever is signed in has no name to mistake. */
static enum problem confirmed(struct call *c, enum problem p, const char *field)
{
    if (p != PROBLEM_CREDENTIALS) return p;
    c->field = field;
    buffer_append_str(&c->why, "The password is wrong.");
    return p;
}

enum problem api_account_login(struct call *c)
{
    struct login {
        struct slice username, password;
        struct device_login device;
    } in = {0};
    static const struct json_field fields[] = {
        FIELD(JF_STRING, "username", true, struct login, username, 1, SOTTO_USERNAME_MAX),
        FIELD(JF_STRING, "password", true, struct login, password, 1, SOTTO_PASSWORD_MAX),
        FIELD(JF_STRING, "deviceName", true, struct login, device.name, 1, SOTTO_DEVICE_NAME_MAX),
        FIELD(JF_STRING, "platform", true, struct login, device.platform, 1, SOTTO_PLATFORM_MAX),
    };
    struct credentials cred;
    uint64_t position = engine_position(c->services->engine);
    enum problem p = call_decode(c, fields, COUNT(fields), &in);
    if (p == PROBLEM_NONE) {
        p = directory_login(c->services->directory, in.username, in.password, &in.device, guess_address(c), &c->why,
                            &c->retry_after_ms, &cred);
    }
    if (p == PROBLEM_NONE) write_credentials(c, &cred, position);
    return p;
}

enum problem api_account_logout(struct call *c)
{
    return directory_revoke_device(c->services->directory, c->user, c->device);
}

/* Members that are empty are left out. */
static void put_if_any(struct json_writer *w, const char *key, const char *text)
{
    if (text[0] != '\0') json_put_cstr(w, key, text);
}

static const char *const visibility_names[] = {"everyone", "contacts", "nobody"};

static enum problem write_account(struct call *c)
{
    struct profile p;
    enum problem problem = directory_profile(c->services->directory, c->user, &p);
    if (problem != PROBLEM_NONE) return problem;
    json_put_id(&c->answer, "userId", p.id);
    json_put_cstr(&c->answer, "username", p.username);
    json_put_cstr(&c->answer, "displayName", p.display_name);
    put_if_any(&c->answer, "phone", p.phone);
    put_if_any(&c->answer, "picture", p.picture);
    json_put_bool(&c->answer, "readReceipts", !p.receipts_off);
    SOTTO_ASSERT(p.presence_visibility < COUNT(visibility_names));
    json_put_cstr(&c->answer, "presenceVisibility", visibility_names[p.presence_visibility]);
    json_put_u64(&c->answer, "createdAt", p.created_ms);
    return PROBLEM_NONE;
}

enum problem api_account_get(struct call *c)
{
    return write_account(c);
}

enum problem api_account_update(struct call *c)
{
    struct update {
        struct slice display_name, phone, picture, visibility;
        bool read_receipts;
        bool has_display_name, has_phone, has_picture, has_visibility, has_receipts;
    } in = {0};
    static const struct json_field fields[] = {
        FIELD_IF(JF_STRING, "displayName", struct update, display_name, 0, SOTTO_DISPLAY_NAME_MAX, has_display_name),
        FIELD_IF(JF_STRING, "phone", struct update, phone, 0, SOTTO_PHONE_MAX, has_phone),
        FIELD_IF(JF_STRING, "picture", struct update, picture, 0, SOTTO_HANDLE_MAX, has_picture),
        FIELD_IF(JF_STRING, "presenceVisibility", struct update, visibility, 1, 16, has_visibility),
        FIELD_IF(JF_BOOL, "readReceipts", struct update, read_receipts, 0, 0, has_receipts),
    };
    enum problem p = call_decode(c, fields, COUNT(fields), &in);
    if (p != PROBLEM_NONE) return p;

    /* Present but empty is a change; absent has no data. */
    static const struct slice empty = SLICE_LIT("");
    struct profile_change change = {0};
    if (in.has_display_name) change.display_name = in.display_name.len > 0 ? in.display_name : empty;
    if (in.has_phone) change.phone = in.phone.len > 0 ? in.phone : empty;
    if (in.has_picture) change.picture = in.picture.len > 0 ? in.picture : empty;
    bool receipts_off = !in.read_receipts;
    if (in.has_receipts) change.receipts_off = &receipts_off;
    uint8_t visibility = 0;
    while (in.has_visibility && visibility < COUNT(visibility_names) &&
           !slice_is(in.visibility, visibility_names[visibility])) {
        visibility++;
    }
    if (visibility == COUNT(visibility_names)) {
        c->field = "presenceVisibility";
        buffer_append_str(&c->why, "presenceVisibility must be everyone, contacts or nobody.");
        return PROBLEM_BAD_FIELD;
    }
    if (in.has_visibility) change.presence_visibility = &visibility;
    p = directory_update_profile(c->services->directory, c->user, c->device, &change, &c->why);
    if (p == PROBLEM_BAD_FIELD) c->field = directory_wrong_change(&change);
    return p == PROBLEM_NONE ? write_account(c) : p;
}

enum problem api_account_password(struct call *c)
{
    struct change {
        struct slice old, fresh;
    } in = {0};
    static const struct json_field fields[] = {
        FIELD(JF_STRING, "oldPassword", true, struct change, old, 1, SOTTO_PASSWORD_MAX),
        FIELD(JF_STRING, "newPassword", true, struct change, fresh, SOTTO_PASSWORD_MIN, SOTTO_PASSWORD_MAX),
    };
    enum problem p = call_decode(c, fields, COUNT(fields), &in);
    if (p != PROBLEM_NONE) return p;
    p = directory_change_password(c->services->directory, c->user, c->device, in.old, in.fresh, guess_address(c),
                                  &c->why, &c->retry_after_ms);
    return confirmed(c, p, "oldPassword");
}

enum problem api_account_delete(struct call *c)
{
    struct removal {
        struct slice password;
    } in = {0};
    static const struct json_field fields[] = {
        FIELD(JF_STRING, "password", true, struct removal, password, 1, SOTTO_PASSWORD_MAX),
    };
    enum problem p = call_decode(c, fields, COUNT(fields), &in);
    if (p != PROBLEM_NONE) return p;
    p = directory_delete_account(c->services->directory, c->user, in.password, guess_address(c), &c->retry_after_ms);
    return confirmed(c, p, "password");
}

static enum problem write_user(struct call *c, enum problem found, const struct profile *p)
{
    if (found == PROBLEM_NOT_FOUND) return PROBLEM_NO_SUCH_USER;
    if (found != PROBLEM_NONE) return found;
    json_put_id(&c->answer, "userId", p->id);
    json_put_cstr(&c->answer, "username", p->username);
    json_put_cstr(&c->answer, "displayName", p->display_name);
    put_if_any(&c->answer, "picture", p->picture);
    return PROBLEM_NONE;
}

struct user_in {
    struct id user;
};
static const struct json_field user_fields[] = {
    FIELD(JF_ID, "userId", true, struct user_in, user, 0, 0),
};

enum problem api_user_get(struct call *c)
{
    struct user_in in = {0};
    struct profile profile;
    enum problem p = call_decode(c, user_fields, COUNT(user_fields), &in);
    if (p != PROBLEM_NONE) return p;
    p = directory_profile(c->services->directory, in.user, &profile);
    return write_user(c, p, &profile);
}

enum problem api_user_find(struct call *c)
{
    struct find {
        struct slice username;
    } in = {0};
    static const struct json_field fields[] = {
        FIELD(JF_STRING, "username", true, struct find, username, 1, SOTTO_USERNAME_MAX),
    };
    struct profile profile;
    enum problem p = call_decode(c, fields, COUNT(fields), &in);
    if (p != PROBLEM_NONE) return p;
    p = directory_find_username(c->services->directory, in.username, &profile);
    return write_user(c, p, &profile);
}

enum problem api_user_devices(struct call *c)
{
    struct user_in in = {0};
    struct user_view *view;
    enum problem p = call_decode(c, user_fields, COUNT(user_fields), &in);
    if (p != PROBLEM_NONE) return p;
    enum sotto_err err = directory_view(c->services->directory, in.user, &view);
    if (err != SOTTO_OK) return err == SOTTO_ERR_NOT_FOUND ? PROBLEM_NO_SUCH_USER : PROBLEM_INTERNAL;
    json_put_id(&c->answer, "userId", in.user);
    json_key(&c->answer, "devices");
    json_begin_array(&c->answer);
    for (size_t i = 0; i < view->devices_count; i++) {
        json_begin_object(&c->answer);
        json_put_u64(&c->answer, "deviceId", view->devices[i].id);
        json_put_u64(&c->answer, "registrationId", view->devices[i].registration_id);
        json_end_object(&c->answer);
    }
    json_end_array(&c->answer);
    user_view_unref(view);
    return PROBLEM_NONE;
}
