/* Presence: statuses, the queue of changes, watchers that come and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "session/presence.h"

#include <string.h>

static struct id user_of(uint8_t n)
{
    struct id id = {{n, 1, 2, n}};
    return id;
}

static struct session session_at(uint32_t slot)
{
    return (struct session){.name = {.slot = slot, .serial = slot}};
}

static void join(struct registry *r, struct session *s, uint8_t user, uint8_t device, uint64_t now_ms)
{
    struct session_name replaced;
    (void)!registry_add(r, s, user_of(user), device, now_ms, &replaced);
}

struct seen {
    size_t calls;
    bool online[256];
    uint64_t last_seen[256];
    size_t watchers[256];
    uint32_t watcher_slot[256];
};
static void on_change(void *ctx, struct id user, bool online, bool settings, uint64_t last_seen_ms,
                      struct presence_watcher *watchers, size_t count)
{
    (void)settings;
    struct seen *s = ctx;
    s->calls++;
    s->online[user.bytes[0]] = online;
    s->last_seen[user.bytes[0]] = last_seen_ms;
    s->watchers[user.bytes[0]] = count;
    if (count > 0) s->watcher_slot[user.bytes[0]] = watchers[0].name.slot;
}

static struct seen take(struct registry *r)
{
    struct seen s;
    memset(&s, 0, sizeof(s));
    presence_take_changes(r, on_change, &s);
    return s;
}

static void presence__life_of_a_user__online_recently_offline(void **state)
{
    (void)state;
    struct registry *r = registry_create();
    struct session a = session_at(1), b = session_at(2);
    uint64_t last = 0;
    assert_int_equal(presence_get(r, user_of(1), 1000, &last), PRESENCE_OFFLINE);
    join(r, &a, 1, 1, 1000);
    join(r, &b, 1, 2, 1000);
    assert_int_equal(presence_get(r, user_of(1), 1000, &last), PRESENCE_ONLINE);
    struct seen s = take(r);
    assert_int_equal(s.calls, 1);
    assert_true(s.online[1]);
    registry_remove(r, &a, 2000);
    assert_int_equal(take(r).calls, 0); /* the other device is still there */
    registry_remove(r, &b, 3000);
    assert_int_equal(presence_get(r, user_of(1), 3500, &last), PRESENCE_RECENTLY);
    assert_int_equal(last, 3000);
    assert_int_equal(presence_of_last_seen(3000, 3000 + PRESENCE_RECENT_MS + 1), PRESENCE_OFFLINE);
    assert_int_equal(presence_of_last_seen(3000, 10), PRESENCE_RECENTLY); /* the clock went back */
    s = take(r);
    assert_int_equal(s.calls, 1);
    assert_false(s.online[1]);
    assert_int_equal(s.last_seen[1], 3000);
    registry_destroy(&r);
}

static void presence__silent_session__does_not_count(void **state)
{
    (void)state;
    struct registry *r = registry_create();
    struct session a = session_at(1);
    uint64_t last;
    join(r, &a, 1, 1, 1000);
    presence_session_alive(r, &a, false, 5000);
    assert_int_equal(presence_get(r, user_of(1), 5000, &last), PRESENCE_RECENTLY);
    presence_session_alive(r, &a, false, 6000); /* again: nothing */
    presence_session_alive(r, &a, true, 7000);
    assert_int_equal(presence_get(r, user_of(1), 7000, &last), PRESENCE_ONLINE);
    assert_int_equal(take(r).calls, 1); /* there and back is one line */
    registry_remove(r, &a, 8000);
    registry_destroy(&r);
}

static void presence__watchers__are_told_until_they_leave(void **state)
{
    (void)state;
    struct registry *r = registry_create();
    struct session w1 = session_at(1), w2 = session_at(2), target = session_at(3);
    struct presence_link l1 = {0}, l2 = {0};
    join(r, &w1, 1, 1, 1000);
    join(r, &w2, 2, 1, 1000);
    (void)take(r);
    presence_watch(r, &l1, &w1, user_of(9)); /* who is not there yet */
    presence_watch(r, &l2, &w2, user_of(9));
    join(r, &target, 9, 1, 2000);
    struct seen s = take(r);
    assert_int_equal(s.watchers[9], 2);
    presence_unwatch(r, &l2);
    presence_unwatch(r, &l2); /* harmless */
    registry_remove(r, &target, 3000);
    s = take(r);
    assert_false(s.online[9]);
    assert_int_equal(s.watchers[9], 1);
    assert_int_equal(s.watcher_slot[9], 1);
    presence_touch(r, user_of(9));
    assert_int_equal(take(r).calls, 1);
    presence_unwatch(r, &l1);
    presence_touch(r, user_of(9)); /* forgotten: nobody asks */
    assert_int_equal(take(r).calls, 0);
    registry_remove(r, &w1, 4000);
    registry_remove(r, &w2, 4000);
    registry_destroy(&r);
}

static void presence__later__is_told_in_the_next_turn_to_watchers_only(void **state)
{
    (void)state;
    struct registry *r = registry_create();
    struct session watcher = session_at(1), target = session_at(2);
    struct presence_link link = {0};
    assert_false(presence_later(r, user_of(9))); /* unknown */
    join(r, &watcher, 1, 1, 1000);
    join(r, &target, 9, 1, 1000);
    assert_false(presence_later(r, user_of(9)));
    presence_watch(r, &link, &watcher, user_of(9));
    registry_remove(r, &target, 2000);
    (void)take(r);
    assert_int_equal(take(r).calls, 0);
    assert_true(presence_later(r, user_of(9)));
    struct seen s = take(r);
    assert_int_equal(s.watchers[9], 1);
    assert_int_equal(s.last_seen[9], 2000);
    assert_int_equal(take(r).calls, 0);
    presence_unwatch(r, &link);
    assert_false(presence_later(r, user_of(9)));
    registry_remove(r, &watcher, 3000);
    registry_destroy(&r);
}

struct hiding {
    bool was[4], now[4];
    size_t count;
};
static void on_hide(void *ctx, struct id user, bool online, bool settings, uint64_t last_seen_ms,
                    struct presence_watcher *watchers, size_t count)
{
    struct hiding *h = ctx;
    (void)online;
    (void)last_seen_ms;
    if (!settings || user.bytes[0] != 9) return;
    h->count = count;
    for (size_t i = 0; i < count; i++) {
        h->was[watchers[i].name.slot] = watchers[i].hidden;
        watchers[i].hidden = h->now[watchers[i].name.slot];
    }
}

static void presence__what_was_said__is_known_to_each_watcher(void **state)
{
    (void)state;
    struct registry *r = registry_create();
    struct session watchers[3] = {session_at(1), session_at(2), session_at(3)};
    struct presence_link links[3] = {{0}};
    for (uint8_t i = 0; i < 3; i++) {
        join(r, &watchers[i], (uint8_t)(i + 1), 1, 1000);
        presence_watch(r, &links[i], &watchers[i], user_of(9));
    }
    presence_said(r, &links[0], user_of(9), true);
    presence_said(r, &links[1], user_of(8), true); /* another's */
    struct hiding h = {.now = {[2] = true}};
    presence_touch(r, user_of(9));
    presence_take_changes(r, on_hide, &h);
    assert_int_equal(h.count, 3);
    assert_true(h.was[1] && !h.was[2] && !h.was[3]);
    presence_unwatch(r, &links[2]);
    presence_touch(r, user_of(9));
    presence_take_changes(r, on_hide, &h);
    assert_int_equal(h.count, 2);
    assert_true(!h.was[1] && h.was[2]);
    for (int i = 0; i < 2; i++) presence_unwatch(r, &links[i]);
    for (int i = 0; i < 3; i++) registry_remove(r, &watchers[i], 3000);
    registry_destroy(&r);
}

static void presence__replaced_connection__never_goes_offline_between(void **state)
{
    (void)state;
    struct registry *r = registry_create();
    struct session old = session_at(1), new = session_at(2);
    join(r, &old, 1, 1, 1000);
    (void)take(r);
    join(r, &new, 1, 1, 2000);
    registry_remove(r, &old, 2001);
    assert_int_equal(take(r).calls, 0);
    assert_int_equal(registry_users_online(r), 1);
    registry_remove(r, &new, 3000);
    registry_destroy(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presence__life_of_a_user__online_recently_offline),
        cmocka_unit_test(presence__silent_session__does_not_count),
        cmocka_unit_test(presence__watchers__are_told_until_they_leave),
        cmocka_unit_test(presence__later__is_told_in_the_next_turn_to_watchers_only),
        cmocka_unit_test(presence__what_was_said__is_known_to_each_watcher),
        cmocka_unit_test(presence__replaced_connection__never_goes_offline_between),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
