/* Who may see whom, and telling them.
 *
 * RULE. V sees T when T shows itself to V and V would show itself to T (both by
 * their settings: everyone, contacts, nobody), and neither blocks the other.
 * Otherwise V gets `hidden`, which says nothing about T. One always sees
 * oneself.
 *
 * About once a second loop 0 starts a job that takes what changed from the
 * registry, decides for each watcher, and sends each watching connection one
 * event with all its changes. The same job writes when users were last seen to
 * the directory.
 *
 * Who has just gone counts as online for a moment yet: between two long-polls, or
 * while a connection is made anew, nobody has gone anywhere.
 */
#include "gateway/call_private.h"

#include <stdio.h>
#include <stdlib.h>

enum { PRESENCE_SETTLE_MS = 3000 };

static bool just_gone(struct gateway *g, uint64_t last_seen_ms, uint64_t now)
{
    uint64_t ttl = gateway_limits(g)->presence_ttl_ms, settle = ttl < PRESENCE_SETTLE_MS ? ttl : PRESENCE_SETTLE_MS;
    if (atomic_load_explicit(&g->draining, memory_order_relaxed)) return false;
    return last_seen_ms <= now && now - last_seen_ms < settle;
}

static bool shows_to(const struct user_view *who, struct id other)
{
    if (who->presence_visibility == VISIBLE_NOBODY) return false;
    if (who->presence_visibility == VISIBLE_CONTACTS) return user_view_has_contact(who, other);
    return true;
}

static bool may_see(const struct user_view *viewer, const struct user_view *target)
{
    if (id_eq(viewer->id, target->id)) return true;
    if (user_view_blocks(viewer, target->id) || user_view_blocks(target, viewer->id)) return false;
    return shows_to(target, viewer->id) && shows_to(viewer, target->id);
}

static void entry_write(struct json_writer *w, struct id user, enum presence_status status, uint64_t last_seen_ms)
{
    json_begin_object(w);
    json_put_id(w, "userId", user);
    json_put_cstr(w, "status", presence_name(status));
    bool tells = status == PRESENCE_RECENTLY || status == PRESENCE_OFFLINE;
    if (tells && last_seen_ms != 0) json_put_u64(w, "lastSeenAt", last_seen_ms);
    json_end_object(w);
}

/* ---- The turn ------------------------------------------------------------ */

struct change_entry {
    struct session_name name;
    struct id user;
    enum presence_status status;
    uint64_t last_seen_ms;
};
struct presence_job {
    struct job job;
    struct gateway *gateway;
    struct change_entry *entries;
    size_t count, size;
    struct id *seen_users;
    uint64_t *seen_ms;
    size_t seen_count, seen_size;
};
struct presence_mail {
    struct mail mail;
    struct session_name name;
    struct buffer text;
};

static void on_changed(void *ctx, struct id user, bool online, bool settings, uint64_t last_seen_ms,
                       struct presence_watcher *watchers, size_t count)
{
    struct presence_job *j = ctx;
    struct directory *d = j->gateway->services->directory;
    uint64_t now = gateway_wall_ms(j->gateway);
    if (!online && !settings && count > 0 && just_gone(j->gateway, last_seen_ms, now) &&
        presence_later(j->gateway->registry, user))
        return;
    if (!online && last_seen_ms != 0) {
        if (j->seen_count == j->seen_size) {
            j->seen_size = j->seen_size != 0 ? 2 * j->seen_size : 64;
            j->seen_users = sotto_realloc(j->seen_users, j->seen_size * sizeof(*j->seen_users));
            j->seen_ms = sotto_realloc(j->seen_ms, j->seen_size * sizeof(*j->seen_ms));
        }
        j->seen_users[j->seen_count] = user;
        j->seen_ms[j->seen_count++] = last_seen_ms;
    }
    struct user_view *target = NULL;
    enum sotto_err err = count > 0 ? directory_view(d, user, &target) : SOTTO_ERR_NOT_FOUND;
    if (count == 0 || (err != SOTTO_OK && err != SOTTO_ERR_NOT_FOUND)) return;
    bool deleted = target == NULL;
    struct profile profile;
    if (!online && last_seen_ms == 0 && directory_profile(d, user, &profile) == PROBLEM_NONE)
        last_seen_ms = profile.last_seen_ms; /* only watched: the registry has not met them */
    enum presence_status status = online ? PRESENCE_ONLINE : presence_of_last_seen(last_seen_ms, now);
    for (size_t i = 0; i < count; i++) {
        struct user_view *viewer = NULL;
        if (directory_view(d, watchers[i].user, &viewer) != SOTTO_OK) continue;
        bool sees = !deleted && may_see(viewer, target);
        user_view_unref(viewer);
        bool was_hidden = watchers[i].hidden;
        if (settings || deleted) watchers[i].hidden = !sees;
        /* When they come and go is hidden, too, and when they change something else. */
        if (!sees && !deleted && (!settings || was_hidden)) continue;
        if (j->count == j->size) {
            j->size = j->size != 0 ? 2 * j->size : 64;
            j->entries = sotto_realloc(j->entries, j->size * sizeof(*j->entries));
        }
        j->entries[j->count++] = (struct change_entry){
            watchers[i].name, user, sees ? status : PRESENCE_HIDDEN, sees ? last_seen_ms : 0};
    }
    if (!deleted) user_view_unref(target);
}

static int name_cmp(const struct session_name *a, const struct session_name *b)
{
    if (a->loop != b->loop) return a->loop < b->loop ? -1 : 1;
    if (a->slot != b->slot) return a->slot < b->slot ? -1 : 1;
    return a->serial < b->serial ? -1 : a->serial > b->serial;
}

static int entry_cmp(const void *a, const void *b)
{
    return name_cmp(&((const struct change_entry *)a)->name, &((const struct change_entry *)b)->name);
}

static void presence_received(struct mail *mail, void *receiver)
{
    struct presence_mail *m = (struct presence_mail *)(void *)mail;
    struct conn *c = conn_named(loop_owner(receiver), m->name.slot, m->name.serial);
    /* Passing news: a reader that lags does without. */
    if (c != NULL && c->mode == MODE_LIVE) conn_send(c, "presence", buffer_slice(&m->text), (struct slice){0}, false);
    buffer_deinit(&m->text);
    free(m);
}

static size_t post_watcher(struct gateway *g, const struct change_entry *e, size_t count)
{
    struct presence_mail *m = sotto_zalloc(sizeof(*m));
    size_t n = 0;
    m->mail.deliver = presence_received;
    m->name = e->name;
    buffer_init(&m->text, SOTTO_FRAME_MAX);
    struct json_writer w = json_writer_of(&m->text);
    json_begin_object(&w);
    json_put_cstr(&w, "type", "presence");
    json_key(&w, "users");
    json_begin_array(&w);
    for (; n < count && name_cmp(&e[n].name, &e->name) == 0; n++)
        entry_write(&w, e[n].user, e[n].status, e[n].last_seen_ms);
    json_end_array(&w);
    json_end_object(&w);
    gateway_post(gateway_loop_at(g, m->name), &m->mail);
    return n;
}

static void turn_run(struct job *job)
{
    struct presence_job *j = (struct presence_job *)(void *)job;
    struct gateway *g = j->gateway;
    presence_take_changes(g->registry, on_changed, j);
    if (j->count > 0) qsort(j->entries, j->count, sizeof(*j->entries), entry_cmp);
    for (size_t i = 0; i < j->count;) i += post_watcher(g, &j->entries[i], j->count - i);
    if (j->seen_count > 0)
        directory_store_last_seen(g->services->directory, j->seen_users, j->seen_ms, j->seen_count);
    free(j->entries);
    free(j->seen_users);
    free(j->seen_ms);
    atomic_store(&g->presence_busy, false);
    free(j);
}

static struct presence_job *turn_create(struct gateway *g)
{
    if (atomic_exchange(&g->presence_busy, true)) return NULL;
    struct presence_job *j = sotto_zalloc(sizeof(*j));
    j->gateway = g;
    j->job.run = turn_run; /* frees itself */
    return j;
}

void presence_turn(struct gateway *g)
{
    struct presence_job *j = turn_create(g);
    if (j == NULL || workers_submit(g->services->workers, &j->job)) return;
    atomic_store(&g->presence_busy, false);
    free(j);
}

void presence_turn_now(struct gateway *g)
{
    struct presence_job *j = turn_create(g);
    if (j != NULL) turn_run(&j->job);
}

/* ---- Asking -------------------------------------------------------------- */

/* One entry of an answer. Worker thread. once: nothing more will be told. */
static enum presence_status look(struct call *c, const struct user_view *viewer, struct id user, bool once)
{
    struct gateway *g = c->gateway;
    struct directory *d = g->services->directory;
    struct user_view *target = NULL;
    uint64_t last_seen = 0, now = gateway_wall_ms(g);
    enum presence_status status = PRESENCE_HIDDEN;
    if (directory_view(d, user, &target) == SOTTO_OK && may_see(viewer, target)) {
        status = presence_get(g->registry, user, now, &last_seen);
        bool known = last_seen != 0;
        struct profile profile;
        if (status != PRESENCE_ONLINE && last_seen == 0 && directory_profile(d, user, &profile) == PROBLEM_NONE) {
            last_seen = profile.last_seen_ms;
            status = presence_of_last_seen(last_seen, now);
        }
        if (status == PRESENCE_RECENTLY && just_gone(g, last_seen, now) &&
            (once || (known && presence_later(g->registry, user))))
            status = PRESENCE_ONLINE;
    }
    if (target != NULL) user_view_unref(target);
    entry_write(&c->answer, user, status, last_seen);
    return status;
}

/* hidden_out: of each; NULL: nothing more will be told. */
static enum problem answer_users(struct call *c, const struct id *users, size_t count, bool *hidden_out)
{
    struct user_view *viewer = NULL;
    if (directory_view(c->services->directory, c->user, &viewer) != SOTTO_OK) return PROBLEM_TOKEN;
    json_key(&c->answer, "users");
    json_begin_array(&c->answer);
    for (size_t i = 0; i < count; i++) {
        bool hidden = look(c, viewer, users[i], hidden_out == NULL) == PRESENCE_HIDDEN;
        if (hidden_out != NULL) hidden_out[i] = hidden;
    }
    json_end_array(&c->answer);
    user_view_unref(viewer);
    return PROBLEM_NONE;
}

struct presence_request {
    struct id user;
    struct json users;
};

enum problem gateway_op_presence_get(struct call *c)
{
    static const struct json_field fields[] = {
        {"userId", JF_ID, true, offsetof(struct presence_request, user), 0, 0, SIZE_MAX},
    };
    struct presence_request r = {0};
    struct user_view *target = NULL;
    enum problem p = call_decode(c, fields, 1, &r);
    if (p != PROBLEM_NONE) return p;
    if (directory_view(c->services->directory, r.user, &target) != SOTTO_OK) return PROBLEM_NO_SUCH_USER;
    user_view_unref(target);
    return answer_users(c, &r.user, 1, NULL);
}

/* ---- Watching ------------------------------------------------------------ */

struct watch_list {
    size_t count;
    bool hidden[SOTTO_PRESENCE_VIEW_MAX];
    struct id users[];
};

static void watch_work(struct call *c)
{
    struct watch_list *list = c->context;
    ((struct call_state *)c)->problem = answer_users(c, list->users, list->count, list->hidden);
}

static void watch_done(struct call *c)
{
    const struct watch_list *list = c->context;
    struct call_state *cs = (struct call_state *)c;
    const struct conn_extra *x = cs->conn->extra;
    bool ours = cs->problem == PROBLEM_NONE && x != NULL && x->links_count == list->count; /* not replaced meanwhile */
    for (size_t i = 0; ours && i < list->count; i++)
        presence_said(c->gateway->registry, &x->links[i], list->users[i], list->hidden[i]);
    call_finish(c, cs->problem);
}

static void watch_replace(struct conn *c, const struct watch_list *list)
{
    struct registry *r = conn_loop(c)->gateway->registry;
    struct conn_extra *x = conn_extra(c);
    for (size_t i = 0; i < x->links_count; i++) presence_unwatch(r, &x->links[i]);
    free(x->links);
    x->links = NULL;
    x->links_count = list->count;
    if (list->count > 0) x->links = sotto_zalloc(list->count * sizeof(*x->links));
    for (size_t i = 0; i < list->count; i++) presence_watch(r, &x->links[i], &c->session, list->users[i]);
    conn_extra_trim(c);
}

void gateway_op_presence_watch(struct call *c)
{
    static const struct json_field fields[] = {
        {"userIds", JF_JSON, true, offsetof(struct presence_request, users), 0, SOTTO_PRESENCE_VIEW_MAX, SIZE_MAX},
    };
    struct conn *conn = ((struct call_state *)c)->conn;
    struct presence_request r = {0};
    enum problem p = call_decode(c, fields, 1, &r);
    if (p == PROBLEM_NONE && json_type(r.users) != JSON_ARRAY) p = PROBLEM_BAD_FIELD;
    size_t count = p == PROBLEM_NONE ? json_count(r.users) : 0;
    struct watch_list *list = arena_zalloc(&c->arena, sizeof(*list) + count * sizeof(struct id));
    if (list == NULL) p = PROBLEM_TOO_LARGE;
    for (struct json u = json_first(r.users); p == PROBLEM_NONE && json_type(u) != JSON_ABSENT;
         u = json_next(r.users, u)) {
        struct slice text;
        bool good = json_type(u) == JSON_STRING && json_string(&c->arena, u, &text) == SOTTO_OK &&
                    id_parse(text, &list->users[list->count]) == SOTTO_OK;
        if (good) list->count++;
        else p = PROBLEM_BAD_FIELD;
    }
    if (p != PROBLEM_NONE || !conn_alive(conn)) {
        if (p == PROBLEM_BAD_FIELD && c->why.len == 0) {
            c->field = "userIds";
            buffer_append_str(&c->why, "\"userIds\" must be a list of UUIDs.");
        }
        call_finish(c, p);
        return;
    }
    c->context = list;
    watch_replace(conn, list);
    if (!call_work(c, watch_work, watch_done)) call_finish(c, PROBLEM_BUSY);
}
