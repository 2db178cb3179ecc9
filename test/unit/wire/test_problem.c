/* The table of problems: codes are unique and stable, statuses are errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/problem.h"

#include <string.h>

static void problem__code__is_unique_and_snake_case(void **state)
{
    (void)state;
    for (int i = 0; i < PROBLEM_COUNT; i++) {
        const char *code = problem_code((enum problem)i);
        assert_int_equal(strspn(code, "abcdefghijklmnopqrstuvwxyz_"), strlen(code));
        for (int j = 0; j < i; j++) assert_string_not_equal(code, problem_code((enum problem)j));
    }
}

static void problem__status__is_an_error_and_says_a_sentence(void **state)
{
    (void)state;
    assert_int_equal(problem_status(PROBLEM_NONE), 200);
    for (int i = 1; i < PROBLEM_COUNT; i++) {
        const char *text = problem_text((enum problem)i);
        assert_in_range(problem_status((enum problem)i), 400, 599);
        assert_int_equal(text[strlen(text) - 1], '.');
    }
}

/* Clients decide by these: a change here breaks those that are installed. */
static void problem__code__names_that_clients_know(void **state)
{
    (void)state;
    assert_string_equal(problem_code(PROBLEM_ID_CONFLICT), "client_msg_id_conflict");
    assert_string_equal(problem_code(PROBLEM_DEVICES_STALE), "devices_stale");
    assert_string_equal(problem_code(PROBLEM_UNCERTAIN), "uncertain");
    assert_string_equal(problem_code(PROBLEM_STORAGE_FULL), "storage_full");
    assert_string_equal(problem_code(PROBLEM_TOKEN), "bad_token");
    assert_string_equal(problem_code(PROBLEM_BUSY), "busy");
    assert_string_equal(problem_code(PROBLEM_DRAINING), "draining");
    assert_string_equal(problem_code(PROBLEM_RATE_LIMITED), "rate_limited");
    assert_int_equal(problem_status(PROBLEM_RATE_LIMITED), 429);
    assert_int_equal(problem_status(PROBLEM_STORAGE_FULL), 507);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(problem__code__is_unique_and_snake_case),
        cmocka_unit_test(problem__status__is_an_error_and_says_a_sentence),
        cmocka_unit_test(problem__code__names_that_clients_know),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
