/* Contacts and blocks. Worker threads. Nobody is told that they are blocked:
 * that is the message path's business, which reads the view of the recipient.
 */
#include "api/api.h"

struct contact_in {
    struct id user;
    struct slice alias;
};
static const struct json_field contact_fields[] = {
    {.name = "userId", .kind = JF_ID, .required = true, .offset = offsetof(struct contact_in, user),
     .present_offset = SIZE_MAX},
    {.name = "alias", .kind = JF_STRING, .required = false, .offset = offsetof(struct contact_in, alias),
     .max = SOTTO_DISPLAY_NAME_MAX, .present_offset = SIZE_MAX},
};
enum { ONLY_USER = 1, USER_AND_ALIAS = 2 };

static void write_contact(void *ctx, const struct contact *contact)
{
    struct json_writer *w = ctx;
    json_begin_object(w);
    json_put_id(w, "userId", contact->user);
    json_put_cstr(w, "username", contact->username);
    json_put_cstr(w, "displayName", contact->display_name);
    if (contact->alias[0] != '\0') json_put_cstr(w, "alias", contact->alias);
    if (contact->picture[0] != '\0') json_put_cstr(w, "picture", contact->picture);
    json_put_bool(w, "blocked", contact->blocked);
    json_end_object(w);
}

enum problem api_contact_list(struct call *c)
{
    json_key(&c->answer, "contacts");
    json_begin_array(&c->answer);
    enum problem p = directory_contacts(c->services->directory, c->user, write_contact, &c->answer);
    json_end_array(&c->answer);
    if (p != PROBLEM_NONE) call_error_details(c);
    return p;
}

static enum problem decode_other(struct call *c, size_t fields, struct contact_in *in)
{
    enum problem p = call_decode(c, contact_fields, fields, in);
    if (p != PROBLEM_NONE || !id_eq(in->user, c->user)) return p;
    c->field = "userId";
    buffer_append_str(&c->why, "userId is your own.");
    return PROBLEM_BAD_FIELD;
}

enum problem api_contact_put(struct call *c)
{
    struct contact_in in = {0};
    enum problem p = decode_other(c, USER_AND_ALIAS, &in);
    if (p != PROBLEM_NONE) return p;
    p = directory_put_contact(c->services->directory, c->user, c->device, in.user, in.alias, &c->why);
    if (p == PROBLEM_BAD_FIELD) c->field = "alias";
    return p;
}

enum problem api_contact_remove(struct call *c)
{
    struct contact_in in = {0};
    enum problem p = decode_other(c, ONLY_USER, &in);
    if (p != PROBLEM_NONE) return p;
    return directory_remove_contact(c->services->directory, c->user, c->device, in.user);
}

static enum problem set_blocked(struct call *c, bool blocked)
{
    struct contact_in in = {0};
    enum problem p = decode_other(c, ONLY_USER, &in);
    if (p != PROBLEM_NONE) return p;
    return directory_set_blocked(c->services->directory, c->user, c->device, in.user, blocked);
}

enum problem api_block_put(struct call *c)
{
    return set_blocked(c, true);
}

enum problem api_block_remove(struct call *c)
{
    return set_blocked(c, false);
}
