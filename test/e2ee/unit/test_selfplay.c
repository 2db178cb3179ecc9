/* Two devices under loss, reordering and repeats, from a seed. Every message
 * goes through the store, so the session is serialised and loaded each time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

enum { FLIGHT_MAX = 64, SENT_MAX = 3000 };

struct side {
    struct device device;
    struct message flight[FLIGHT_MAX]; /* to this side */
    unsigned number[FLIGHT_MAX];       /* of the message, for its text */
    unsigned flight_count;
    unsigned sent;
    bool received[SENT_MAX];
};

static void text_of(unsigned number, char out[32])
{
    snprintf(out, 32, "message %u", number);
}

static void send(struct side *from, struct side *to, struct test_random *random,
                 unsigned loss_percent)
{
    char text[32];
    text_of(from->sent, text);
    struct message message = device_encrypt(&from->device, &to->device, text);
    unsigned number = from->sent++;
    if (test_random_below(random, 100) < loss_percent || to->flight_count == FLIGHT_MAX) {
        message_free(&message);
        return;
    }
    to->flight[to->flight_count] = message;
    to->number[to->flight_count++] = number;
}

static void receive(struct side *to, struct side *from, struct test_random *random)
{
    if (to->flight_count == 0) {
        return;
    }
    /* mostly in order, sometimes any */
    unsigned at = test_random_below(random, 100) < 15
                      ? test_random_below(random, to->flight_count)
                      : 0;
    char text[32];
    text_of(to->number[at], text);
    enum e2ee_err err = device_decrypt(&to->device, &from->device, &to->flight[at], text);
    if (to->received[to->number[at]]) {
        assert_int_equal(err, E2EE_ERR_DUPLICATE);
    } else {
        assert_string_equal(e2ee_err_name(err), "ok");
        to->received[to->number[at]] = true;
    }
    if (test_random_below(random, 100) < 5) {
        return; /* it will come again */
    }
    message_free(&to->flight[at]);
    to->flight_count--;
    memmove(to->flight + at, to->flight + at + 1,
            (to->flight_count - at) * sizeof to->flight[0]);
    memmove(to->number + at, to->number + at + 1,
            (to->flight_count - at) * sizeof to->number[0]);
}

static uint64_t epoch_of(struct side *side, struct side *peer)
{
    struct e2ee_session_info info;
    OK(e2ee_session_info(&side->device.env, &peer->device.env.self, &info));
    return info.pq_epoch;
}

static void play(uint64_t seed, unsigned messages, unsigned loss_percent, bool both_start,
                 uint64_t epochs_min)
{
    struct side *alice = calloc(1, sizeof *alice), *bob = calloc(1, sizeof *bob);
    struct test_random random;
    assert_non_null(alice);
    assert_non_null(bob);
    print_message("seed %llu\n", (unsigned long long)seed);
    test_random_seed(&random, seed);
    device_init(&alice->device, seed * 2, 0xa, 1);
    device_init(&bob->device, seed * 2 + 1, 0xb, 1);
    device_publish(&alice->device);
    device_publish(&bob->device);
    device_start(&alice->device, &bob->device, 2, 1);
    if (both_start) {
        device_start(&bob->device, &alice->device, 2, 1);
    } else {
        /* bob can only answer */
        while (bob->sent == 0 && bob->flight_count == 0) {
            send(alice, bob, &random, loss_percent);
        }
        receive(bob, alice, &random);
    }
    while (alice->sent + bob->sent < messages) {
        struct side *from = test_random_below(&random, 2) == 0 ? alice : bob;
        struct side *to = from == alice ? bob : alice;
        send(from, to, &random, loss_percent);
        if (test_random_below(&random, 10) < 7) {
            receive(to, from, &random);
            receive(from, to, &random);
        }
    }
    while (alice->flight_count + bob->flight_count > 0) {
        receive(alice, bob, &random);
        receive(bob, alice, &random);
    }
    device_say(&alice->device, &bob->device, "the end");
    device_say(&bob->device, &alice->device, "of it");
    assert_true(epoch_of(alice, bob) >= epochs_min);
    device_deinit(&alice->device);
    device_deinit(&bob->device);
    free(alice);
    free(bob);
}

static void selfplay__without_loss__turns_epochs(void **state)
{
    (void)state;
    play(1, 2500, 0, false, 20);
}

static void selfplay__with_loss_and_reordering__loses_nothing_else(void **state)
{
    (void)state;
    for (uint64_t seed = 10; seed < 16; seed++) {
        play(seed, 1200, 10, false, 8);
    }
}

static void selfplay__with_heavy_loss__goes_on(void **state)
{
    (void)state;
    for (uint64_t seed = 20; seed < 23; seed++) {
        play(seed, 1200, 50, false, 4);
    }
}

static void selfplay__of_two_starters__settles(void **state)
{
    (void)state;
    for (uint64_t seed = 30; seed < 36; seed++) {
        play(seed, 600, 10, true, 3);
    }
}

/* One side only talks for a long time: the other's silence stalls the braid,
 * not the messages. */
static void selfplay__monologue__keeps_epoch(void **state)
{
    struct device alice, bob;
    (void)state;
    device_init(&alice, 70, 0xa, 1);
    device_init(&bob, 71, 0xb, 1);
    device_publish(&alice);
    device_publish(&bob);
    device_start(&alice, &bob, 1, 1);
    for (int i = 0; i < 500; i++) {
        device_say(&alice, &bob, "monologue");
    }
    for (int i = 0; i < 200; i++) {
        device_say(&bob, &alice, "answer");
        device_say(&alice, &bob, "talk");
    }
    device_deinit(&alice);
    device_deinit(&bob);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(selfplay__without_loss__turns_epochs),
        cmocka_unit_test(selfplay__with_loss_and_reordering__loses_nothing_else),
        cmocka_unit_test(selfplay__with_heavy_loss__goes_on),
        cmocka_unit_test(selfplay__of_two_starters__settles),
        cmocka_unit_test(selfplay__monologue__keeps_epoch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
