/* The devices of one's own account. Worker threads. */
#include "api/api.h"

struct device_in {
    uint64_t device;
    struct slice name;
};
static const struct json_field device_fields[] = {
    {.name = "deviceId", .kind = JF_U64, .required = true, .offset = offsetof(struct device_in, device), .min = 1,
     .max = SOTTO_DEVICE_ID_MAX, .present_offset = SIZE_MAX},
    {.name = "name", .kind = JF_STRING, .required = true, .offset = offsetof(struct device_in, name), .min = 1,
     .max = SOTTO_DEVICE_NAME_MAX, .present_offset = SIZE_MAX},
};
enum { WITHOUT_NAME = 1, WITH_NAME = 2 };

enum problem api_device_list(struct call *c)
{
    struct device_info devices[SOTTO_DEVICES_PER_USER_MAX];
    size_t count;
    enum problem p = directory_devices(c->services->directory, c->user, devices, &count);
    if (p != PROBLEM_NONE) return p;
    json_key(&c->answer, "devices");
    json_begin_array(&c->answer);
    for (size_t i = 0; i < count; i++) {
        const struct device_info *d = &devices[i];
        json_begin_object(&c->answer);
        json_put_u64(&c->answer, "deviceId", d->id);
        json_put_cstr(&c->answer, "name", d->name);
        json_put_cstr(&c->answer, "platform", d->platform);
        json_put_u64(&c->answer, "createdAt", d->created_ms);
        json_put_u64(&c->answer, "lastSeenAt", d->last_seen_ms);
        json_put_bool(&c->answer, "current", d->id == c->device);
        json_put_u64(&c->answer, "registrationId", d->registration_id);
        json_end_object(&c->answer);
    }
    json_end_array(&c->answer);
    return PROBLEM_NONE;
}

enum problem api_device_rename(struct call *c)
{
    struct device_in in = {0};
    enum problem p = call_decode(c, device_fields, WITH_NAME, &in);
    if (p != PROBLEM_NONE) return p;
    p = directory_rename_device(c->services->directory, c->user, (uint8_t)in.device, in.name, &c->why);
    if (p == PROBLEM_BAD_FIELD) c->field = "name";
    return p;
}

enum problem api_device_revoke(struct call *c)
{
    struct device_in in = {0};
    enum problem p = call_decode(c, device_fields, WITHOUT_NAME, &in);
    if (p != PROBLEM_NONE) return p;
    return directory_revoke_device(c->services->directory, c->user, (uint8_t)in.device);
}
