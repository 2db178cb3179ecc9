/* The registry of sessions: who is found where, and what a second connection of
 * the same device does to the first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "session/registry.h"

static struct id user_of(uint8_t n)
{
    struct id id = {{n, 1, 2, n}};
    return id;
}

static struct session session_at(uint8_t loop, uint32_t slot)
{
    return (struct session){.name = {.slot = slot, .serial = slot + 100, .loop = loop}};
}

static void registry__add__is_found_on_its_loop_only(void **state)
{
    (void)state;
    struct registry *r = registry_create();
    struct session a = session_at(0, 1), b = session_at(3, 2);
    struct session_name replaced;
    struct session *found[REGISTRY_SESSIONS_MAX];
    assert_false(registry_add(r, &a, user_of(1), 1, 10, &replaced));
    assert_false(registry_add(r, &b, user_of(1), 2, 10, &replaced));
    assert_int_equal(registry_loops(r, user_of(1)), 1 << 0 | 1 << 3);
    assert_int_equal(registry_loops(r, user_of(2)), 0);
    assert_int_equal(registry_on_loop(r, user_of(1), 0, found), 1);
    assert_ptr_equal(found[0], &a);
    assert_int_equal(registry_on_loop(r, user_of(1), 3, found), 1);
    assert_ptr_equal(found[0], &b);
    assert_int_equal(registry_on_loop(r, user_of(1), 1, found), 0);
    assert_int_equal(registry_users_online(r), 1);
    registry_remove(r, &a, 20);
    registry_remove(r, &b, 20);
    assert_int_equal(registry_loops(r, user_of(1)), 0);
    assert_int_equal(registry_users_online(r), 0);
    registry_destroy(&r);
}

static void registry__second_connection_of_a_device__replaces_the_first(void **state)
{
    (void)state;
    struct registry *r = registry_create();
    struct session old = session_at(0, 1), new = session_at(1, 2), other = session_at(0, 3);
    struct session_name replaced, names[REGISTRY_SESSIONS_MAX];
    assert_false(registry_add(r, &old, user_of(1), 7, 10, &replaced));
    assert_false(registry_add(r, &other, user_of(1), 8, 10, &replaced));
    assert_true(registry_add(r, &new, user_of(1), 7, 10, &replaced));
    assert_int_equal(replaced.slot, 1);
    assert_int_equal(replaced.serial, 101);
    assert_int_equal(replaced.loop, 0);
    /* No event reaches it any more, though its owner has not heard yet. */
    assert_int_equal(registry_names(r, user_of(1), 7, names), 1);
    assert_int_equal(names[0].slot, 2);
    assert_int_equal(registry_names(r, user_of(1), 0, names), 2);
    assert_true(id_eq(session_user_id(&old), user_of(1)));
    registry_remove(r, &old, 20);
    assert_int_equal(registry_names(r, user_of(1), 7, names), 1);
    registry_remove(r, &new, 20);
    registry_remove(r, &other, 20);
    assert_int_equal(registry_users_online(r), 0);
    registry_destroy(&r);
}

static void registry__connection_that_was_opened_earlier__is_replaced_though_it_comes_later(void **state)
{
    (void)state;
    struct registry *r = registry_create();
    struct session early = session_at(0, 1), late = session_at(1, 2);
    struct session_name replaced, names[REGISTRY_SESSIONS_MAX];
    /* Also where the numbers begin again in between. */
    for (int round = 0; round < 2; round++) {
        if (round == 1) early.name.serial = UINT32_MAX - 1, late.name.serial = 3;
        assert_false(registry_add(r, &late, user_of(1), 7, 10, &replaced));
        assert_true(registry_add(r, &early, user_of(1), 7, 10, &replaced));
        assert_int_equal(replaced.serial, early.name.serial);
        assert_int_equal(registry_names(r, user_of(1), 7, names), 1);
        assert_int_equal(names[0].serial, late.name.serial);
        assert_int_equal(registry_users_online(r), 1);
        assert_true(id_eq(session_user_id(&early), user_of(1)));
        registry_remove(r, &early, 20);
        assert_int_equal(registry_users_online(r), 1);
        assert_int_equal(registry_loops(r, user_of(1)), 1 << 1);
        registry_remove(r, &late, 20);
        assert_int_equal(registry_users_online(r), 0);
    }
    /* Numbers far apart tell nothing: then who comes later is the later one. */
    late.name.serial = 5, early.name.serial = 5u - (1u << 30);
    assert_false(registry_add(r, &late, user_of(1), 7, 10, &replaced));
    assert_true(registry_add(r, &early, user_of(1), 7, 10, &replaced));
    assert_int_equal(replaced.serial, 5);
    registry_remove(r, &late, 20);
    registry_remove(r, &early, 20);
    registry_destroy(&r);
}

static void registry__receipts_off__is_seen_by_all_sessions_of_the_user(void **state)
{
    (void)state;
    struct registry *r = registry_create();
    struct session a = session_at(0, 1), b = session_at(0, 2), later = session_at(0, 3);
    struct session_name replaced;
    (void)!registry_add(r, &a, user_of(1), 1, 10, &replaced);
    (void)!registry_add(r, &b, user_of(2), 1, 10, &replaced);
    assert_false(session_receipts_off(&a));
    registry_receipts_off(r, user_of(1), true);
    registry_receipts_off(r, user_of(9), true); /* nobody there */
    assert_true(session_receipts_off(&a));
    assert_false(session_receipts_off(&b));
    /* Who comes later brings nothing older along. */
    (void)!registry_add(r, &later, user_of(1), 2, 10, &replaced);
    assert_true(session_receipts_off(&a) && session_receipts_off(&later));
    registry_remove(r, &a, 20);
    registry_remove(r, &b, 20);
    registry_remove(r, &later, 20);
    registry_destroy(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registry__add__is_found_on_its_loop_only),
        cmocka_unit_test(registry__second_connection_of_a_device__replaces_the_first),
        cmocka_unit_test(registry__connection_that_was_opened_earlier__is_replaced_though_it_comes_later),
        cmocka_unit_test(registry__receipts_off__is_seen_by_all_sessions_of_the_user),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
