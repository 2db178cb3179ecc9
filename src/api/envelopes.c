/* Envelopes: see envelopes.h.
 *
 * The lists are short (both people have at most SOTTO_DEVICES_PER_USER_MAX
 * devices), so everything here is a walk over two sorted arrays.
 */
#include "api/envelopes.h"

#include "wire/record.h"

#include <stdlib.h>

struct given {
    struct id user;
    uint64_t device, registration_id, kind;
    struct slice content;
};
struct wanted {
    struct id user;
    uint8_t device;
    uint16_t registration_id;
};

#define AT(member) offsetof(struct given, member)
static const struct json_field fields[] = {
    {"userId", JF_ID, true, AT(user), 0, 0, SIZE_MAX},
    {"deviceId", JF_U64, true, AT(device), 1, SOTTO_DEVICE_ID_MAX, SIZE_MAX},
    {"registrationId", JF_U64, true, AT(registration_id), 0, UINT16_MAX, SIZE_MAX},
    {"kind", JF_U64, true, AT(kind), 0, UINT8_MAX, SIZE_MAX},
    {"content", JF_BASE64, true, AT(content), 0, SOTTO_PAYLOAD_MAX, SIZE_MAX},
};
#undef AT

static int device_cmp(struct id a_user, uint64_t a, struct id b_user, uint64_t b)
{
    int by_user = id_cmp(a_user, b_user);
    return by_user != 0 ? by_user : a < b ? -1 : a > b;
}

static int given_cmp(const void *a, const void *b)
{
    const struct given *x = a, *y = b;
    return device_cmp(x->user, x->device, y->user, y->device);
}

static size_t wanted_add(struct wanted *out, size_t count, const struct user_view *v, const struct call *c)
{
    for (size_t i = 0; i < v->devices_count; i++) {
        if (id_eq(v->id, c->user) && v->devices[i].id == c->device) continue;
        out[count++] = (struct wanted){v->id, v->devices[i].id, v->devices[i].registration_id};
    }
    return count;
}

static enum problem list_decode(struct call *c, struct json list, struct given *out, size_t count)
{
    struct json e = json_first(list);
    for (size_t i = 0; i < count; i++, e = json_next(list, e)) {
        enum sotto_err err = json_decode(&c->arena, e, fields, sizeof(fields) / sizeof(fields[0]), &out[i], &c->why, NULL);
        if (err == SOTTO_OK) continue;
        c->field = "envelopes";
        return PROBLEM_BAD_FIELD;
    }
    qsort(out, count, sizeof(*out), given_cmp);
    for (size_t i = 1; i < count; i++) {
        if (given_cmp(&out[i - 1], &out[i]) != 0) continue;
        c->field = "envelopes";
        buffer_append_str(&c->why, "A device is listed twice.");
        return PROBLEM_BAD_FIELD;
    }
    return PROBLEM_NONE;
}

enum difference { MISSING, EXTRA, CHANGED, SAME };

/* Walks both lists; calls for each difference. */
static size_t compare(const struct given *g, size_t gn, const struct wanted *w, size_t wn, enum difference which,
                      struct json_writer *out)
{
    size_t gi = 0, wi = 0, found = 0;
    while (gi < gn || wi < wn) {
        int cmp = gi == gn ? 1 : wi == wn ? -1 : device_cmp(g[gi].user, g[gi].device, w[wi].user, w[wi].device);
        struct id user = cmp > 0 ? w[wi].user : g[gi].user;
        uint64_t device = cmp > 0 ? w[wi].device : g[gi].device;
        enum difference is = cmp > 0                                                ? MISSING
                             : cmp < 0                                              ? EXTRA
                             : g[gi].registration_id != w[wi].registration_id ? CHANGED
                                                                                    : SAME;
        if (cmp >= 0) wi++;
        if (cmp <= 0) gi++;
        if (is == SAME || (which != SAME && is != which)) continue;
        found++;
        if (out == NULL) continue;
        json_begin_object(out);
        json_put_id(out, "userId", user);
        json_put_u64(out, "deviceId", device);
        json_end_object(out);
    }
    return found;
}

static enum problem stale(struct call *c, const struct given *g, size_t gn, const struct wanted *w, size_t wn)
{
    static const char *const names[] = {"missing", "extra", "changed"};
    call_error_details(c);
    for (int which = MISSING; which <= CHANGED; which++) {
        json_key(&c->answer, names[which]);
        json_begin_array(&c->answer);
        (void)compare(g, gn, w, wn, (enum difference)which, &c->answer);
        json_end_array(&c->answer);
    }
    return PROBLEM_DEVICES_STALE;
}

enum problem envelopes_build(struct call *c, struct json list, const struct user_view *me,
                             const struct user_view *other, struct buffer *body)
{
    struct wanted wanted[2 * SOTTO_DEVICES_PER_USER_MAX];
    if (json_type(list) != JSON_ARRAY) {
        c->field = "envelopes";
        buffer_append_str(&c->why, "\"envelopes\" must be a list of objects.");
        return PROBLEM_BAD_FIELD;
    }
    size_t count = json_count(list);
    struct given *given = arena_zalloc(&c->arena, count * sizeof(*given) + 1);
    if (given == NULL) return PROBLEM_TOO_LARGE;
    enum problem p = list_decode(c, list, given, count);
    if (p != PROBLEM_NONE) return p;
    /* Views list devices by id, so only the two people must be put in order. */
    bool me_first = other == NULL || id_cmp(me->id, other->id) < 0;
    const struct user_view *first = me_first ? me : other, *second = me_first ? other : me;
    size_t wanted_count = wanted_add(wanted, 0, first, c);
    if (second != NULL) wanted_count = wanted_add(wanted, wanted_count, second, c);
    write_varint(body, count);
    for (size_t i = 0; i < count; i++)
        envelope_encode(&(struct envelope){given[i].user, (uint8_t)given[i].device, (uint8_t)given[i].kind,
                                           given[i].content}, body);
    if (body->overflow) return PROBLEM_TOO_LARGE;
    if (compare(given, count, wanted, wanted_count, SAME, NULL) > 0)
        return stale(c, given, count, wanted, wanted_count);
    return PROBLEM_NONE;
}
