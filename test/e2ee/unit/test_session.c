/* Sessions between simulated devices: the ordinary course of things. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

struct pair {
    struct device alice, bob;
};

static int setup(void **state)
{
    struct pair *pair = malloc(sizeof *pair);
    assert_non_null(pair);
    device_init(&pair->alice, 1, 0xa, 1);
    device_init(&pair->bob, 2, 0xb, 1);
    device_publish(&pair->alice);
    device_publish(&pair->bob);
    *state = pair;
    return 0;
}

static int teardown(void **state)
{
    struct pair *pair = *state;
    device_deinit(&pair->alice);
    device_deinit(&pair->bob);
    free(pair);
    return 0;
}

static void session__converses__both_ways(void **state)
{
    struct pair *pair = *state;
    struct device *alice = &pair->alice, *bob = &pair->bob;
    device_start(alice, bob, 1, 1);
    for (int i = 0; i < 300; i++) {
        device_say(alice, bob, "hello, bob");
        device_say(bob, alice, "hello, alice");
    }
    struct e2ee_session_info info;
    OK(e2ee_session_info(&alice->env, &bob->env.self, &info));
    assert_true(info.acknowledged);
    assert_true(info.can_send);
    assert_true(info.pq_epoch >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(session__converses__both_ways, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
