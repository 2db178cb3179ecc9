/* Direct conversations and their members: remembered, bounded, never mixed up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/peers.h"

#include <string.h>

static struct id numbered(uint64_t n, uint8_t tag)
{
    struct id id = {{tag}};
    memcpy(id.bytes + 8, &n, sizeof(n));
    id.bytes[1] = (uint8_t)(n * 37);
    return id;
}

static void peers__put__is_found_from_both_sides(void **state)
{
    (void)state;
    struct peers *p = peers_create(128);
    struct id talk = numbered(1, 1), a = numbered(1, 2), b = numbered(1, 3), peer, none = {{0}};
    assert_int_equal(peers_find(p, talk, a, &peer), PEERS_UNKNOWN);
    peers_put(p, talk, a, b);
    assert_int_equal(peers_find(p, talk, a, &peer), PEERS_DIRECT);
    assert_true(id_eq(peer, b));
    assert_int_equal(peers_find(p, talk, b, &peer), PEERS_DIRECT);
    assert_true(id_eq(peer, a));
    assert_int_equal(peers_find(p, talk, numbered(9, 9), &peer), PEERS_STRANGER);
    peers_put(p, numbered(2, 1), none, none);
    assert_int_equal(peers_find(p, numbered(2, 1), a, &peer), PEERS_OTHER);
    peers_put(p, none, a, b); /* no conversation has that id */
    assert_int_equal(peers_find(p, none, numbered(9, 9), &peer) == PEERS_DIRECT, false);
    peers_destroy(&p);
}

static void peers__more_than_there_is_room_for__forgets_but_never_errs(void **state)
{
    (void)state;
    struct peers *p = peers_create(128);
    size_t known = 0;
    for (uint64_t n = 0; n < 1000; n++) peers_put(p, numbered(n, 1), numbered(n, 2), numbered(n, 3));
    for (uint64_t n = 0; n < 1000; n++) {
        struct id peer;
        if (peers_find(p, numbered(n, 1), numbered(n, 2), &peer) != PEERS_DIRECT) continue;
        assert_true(id_eq(peer, numbered(n, 3)));
        known++;
    }
    assert_in_range(known, 1, 128);
    peers_destroy(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peers__put__is_found_from_both_sides),
        cmocka_unit_test(peers__more_than_there_is_room_for__forgets_but_never_errs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
