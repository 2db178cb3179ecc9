/* Tokens: who is let in, for how long, and who hears of a revocation. */
#include "fixture.h"

#include "directory/directory_private.h"

static void authenticate__accepts_the_token_only_as_given(void **state)
{
    struct fixture *f = *state;
    struct credentials c = add_user(f, "anna");
    struct id user;
    uint8_t device;
    assert_int_equal(strlen(c.token), 70);
    assert_memory_equal(c.token, "sot_", 4);
    assert_int_equal(directory_authenticate(f->d, slice_str(c.token), &user, &device), PROBLEM_NONE);
    assert_true(id_eq(user, c.user));
    assert_int_equal(device, 1);
    for (size_t i = 0; i < strlen(c.token); i++) { /* each character counts */
        char other[TOKEN_TEXT_MAX];
        memcpy(other, c.token, sizeof other);
        other[i] = other[i] == 'A' ? 'B' : 'A';
        assert_int_equal(authenticate(f->d, other), PROBLEM_TOKEN);
        assert_false(directory_authenticate_peek(f->d, slice_str(other), &user, &device));
    }
    for (size_t len = 0; len < strlen(c.token); len++)
        assert_int_equal(directory_authenticate(f->d, slice_of(c.token, len), &user, &device), PROBLEM_TOKEN);
    assert_int_equal(directory_authenticate(f->d, slice_of(NULL, 0), &user, &device), PROBLEM_TOKEN);
}

static void authenticate_peek__knows_what_was_asked_before__for_an_hour(void **state)
{
    struct fixture *f = *state;
    struct credentials c = add_user(f, "anna");
    struct slice token = slice_str(c.token);
    struct id user;
    uint8_t device;
    assert_false(directory_authenticate_peek(f->d, token, &user, &device));
    assert_int_equal(authenticate(f->d, c.token), PROBLEM_NONE);
    assert_true(directory_authenticate_peek(f->d, token, &user, &device));
    assert_true(id_eq(user, c.user));
    clock_manual_advance(&f->clock, 3600 * 1000);
    assert_false(directory_authenticate_peek(f->d, token, &user, &device));
    assert_int_equal(authenticate(f->d, c.token), PROBLEM_NONE);
    assert_true(directory_authenticate_peek(f->d, token, &user, &device));
    struct device_info devices[SOTTO_DEVICES_PER_USER_MAX];
    size_t count;
    assert_int_equal(directory_devices(f->d, c.user, devices, &count), PROBLEM_NONE);
    assert_int_equal(devices[0].last_seen_ms, f->clock.wall_ms);
    assert_int_equal(devices[0].created_ms, f->clock.wall_ms - 3600 * 1000);
}

static void authenticate__holds_with_more_devices_than_the_cache_keeps_together(void **state)
{
    struct fixture *f = *state;
    struct credentials c[SOTTO_DEVICES_PER_USER_MAX];
    c[0] = add_user(f, "anna");
    for (size_t i = 1; i < SOTTO_DEVICES_PER_USER_MAX; i++) c[i] = login(f, "anna");
    for (size_t round = 0; round < 3; round++)
        for (size_t i = 0; i < SOTTO_DEVICES_PER_USER_MAX; i++)
            assert_int_equal(authenticate(f->d, c[i].token), PROBLEM_NONE);
}

static void revoke_device__ends_its_tokens__and_tells(void **state)
{
    struct fixture *f = *state;
    struct credentials one = add_user(f, "anna"), two = login(f, "anna");
    char resume[TOKEN_TEXT_MAX];
    struct id user;
    uint8_t device;
    assert_int_equal(authenticate(f->d, two.token), PROBLEM_NONE);
    directory_resume_token(f->d, two.user, 2, 60000, resume);
    f->changes_count = 0;
    assert_int_equal(directory_revoke_device(f->d, two.user, 2), PROBLEM_NONE);
    assert_true(was_told(f, CHANGE_DEVICE_REVOKED, two.user, 2));
    assert_int_equal(count_changes(f, CHANGE_DEVICES, two.user), 1);
    assert_int_equal(authenticate(f->d, two.token), PROBLEM_TOKEN);
    assert_false(directory_authenticate_peek(f->d, slice_str(two.token), &user, &device));
    assert_int_equal(directory_resume(f->d, slice_str(resume), &user, &device), PROBLEM_TOKEN);
    directory_resume_token(f->d, two.user, 2, 60000, resume);
    assert_string_equal(resume, "");
    assert_int_equal(authenticate(f->d, one.token), PROBLEM_NONE);
    assert_int_equal(directory_revoke_device(f->d, two.user, 2), PROBLEM_NOT_FOUND);
}

/* A lookup that read the database before a revocation and ends after it. */
static void auth_put__after_a_change_since_the_stamp__is_not_kept(void **state)
{
    (void)state;
    struct auth_cache cache = {.uses = 0};
    auth_init(&cache);
    struct auth_entry stale = {.user = {{7}}, .device = 3}, found;
    uint64_t stamp, later;
    for (int all = 0; all < 2; all++) {
        assert_false(auth_find(&cache, stale.user, 3, &found, &stamp));
        auth_forget(&cache, all ? NULL : &stale.user);
        auth_put(&cache, &stale, stamp);
        assert_false(auth_find(&cache, stale.user, 3, &found, &later));
    }
    auth_put(&cache, &stale, later);
    assert_true(auth_find(&cache, stale.user, 3, &found, &stamp));
    assert_false(auth_find(&cache, stale.user, 4, &found, &stamp));
    auth_forget(&cache, &stale.user);
    assert_false(auth_find(&cache, stale.user, 3, &found, &stamp));
    auth_deinit(&cache);
}

static void resume__holds_until_it_expires__across_a_restart(void **state)
{
    struct fixture *f = *state;
    struct credentials c = add_user(f, "anna");
    char resume[TOKEN_TEXT_MAX];
    struct id user;
    uint8_t device;
    directory_resume_token(f->d, c.user, 1, 60000, resume);
    assert_int_equal(strlen(resume), 91);
    assert_int_equal(directory_resume(f->d, slice_str(resume), &user, &device), PROBLEM_NONE);
    assert_true(id_eq(user, c.user));
    assert_int_equal(device, 1);
    for (size_t i = 0; i < strlen(resume); i++) {
        char other[TOKEN_TEXT_MAX];
        memcpy(other, resume, sizeof other);
        other[i] = other[i] == 'A' ? 'B' : 'A';
        assert_int_equal(directory_resume(f->d, slice_str(other), &user, &device), PROBLEM_TOKEN);
    }
    assert_int_equal(directory_resume(f->d, slice_str(c.token), &user, &device), PROBLEM_TOKEN);
    assert_int_equal(authenticate(f->d, resume), PROBLEM_TOKEN);
    directory_close(&f->d);
    f->d = fixture_open(f);
    clock_manual_advance(&f->clock, 59999);
    assert_int_equal(directory_resume(f->d, slice_str(resume), &user, &device), PROBLEM_NONE);
    clock_manual_advance(&f->clock, 1);
    assert_int_equal(directory_resume(f->d, slice_str(resume), &user, &device), PROBLEM_TOKEN);
}

static void poll_changes__hears_of_a_revocation_in_another_process(void **state)
{
    struct fixture *f = *state;
    struct credentials c = add_user(f, "anna");
    struct directory *operator_side = fixture_open(f);
    struct user_view *v;
    struct id user;
    uint8_t device;
    assert_int_equal(authenticate(f->d, c.token), PROBLEM_NONE);
    assert_int_equal(directory_view(f->d, c.user, &v), SOTTO_OK);
    assert_int_equal(v->devices_count, 1);
    user_view_unref(v);
    directory_poll_changes(f->d);
    f->changes_count = 0;
    directory_poll_changes(f->d);
    assert_int_equal(f->changes_count, 0); /* its own are not told again */

    assert_int_equal(directory_revoke_device(operator_side, c.user, 1), PROBLEM_NONE);
    directory_poll_changes(f->d);
    assert_true(was_told(f, CHANGE_DEVICE_REVOKED, c.user, 1));
    assert_int_equal(count_changes(f, CHANGE_DEVICE_REVOKED, c.user), 1);
    assert_false(directory_authenticate_peek(f->d, slice_str(c.token), &user, &device));
    assert_int_equal(authenticate(f->d, c.token), PROBLEM_TOKEN);
    assert_null(directory_peek(f->d, c.user));
    directory_poll_changes(f->d);
    assert_int_equal(count_changes(f, CHANGE_DEVICE_REVOKED, c.user), 1);

    assert_int_equal(directory_remove_user(operator_side, c.user), PROBLEM_NONE);
    directory_poll_changes(f->d);
    assert_true(was_told(f, CHANGE_USER_DELETED, c.user, 0));
    directory_close(&operator_side);
}

static void poll_changes__reads_many_batches__and_outlives_pruning(void **state)
{
    struct fixture *f = *state;
    struct credentials c = add_user(f, "anna");
    struct directory *operator_side = fixture_open(f);
    for (int i = 0; i < 300; i++) {
        bool off = i % 2 == 0;
        struct profile_change change = {.receipts_off = &off};
        struct directory *writer = i % 3 == 0 ? f->d : operator_side;
        assert_int_equal(directory_update_profile(writer, c.user, 1, &change, &f->why), PROBLEM_NONE);
    }
    f->changes_count = 0;
    directory_poll_changes(f->d);
    assert_int_equal(count_changes(f, CHANGE_PROFILE, c.user), 200);
    clock_manual_advance(&f->clock, 8ull * 24 * 3600 * 1000);
    directory_poll_changes(f->d); /* prunes */
    f->changes_count = 0;
    assert_int_equal(directory_revoke_device(operator_side, c.user, 1), PROBLEM_NONE);
    directory_poll_changes(f->d);
    assert_int_equal(f->changes_count, 2);
    directory_close(&operator_side);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(authenticate__accepts_the_token_only_as_given),
        FIXTURE_TEST(authenticate_peek__knows_what_was_asked_before__for_an_hour),
        FIXTURE_TEST(authenticate__holds_with_more_devices_than_the_cache_keeps_together),
        FIXTURE_TEST(revoke_device__ends_its_tokens__and_tells),
        cmocka_unit_test(auth_put__after_a_change_since_the_stamp__is_not_kept),
        FIXTURE_TEST(resume__holds_until_it_expires__across_a_restart),
        FIXTURE_TEST(poll_changes__hears_of_a_revocation_in_another_process),
        FIXTURE_TEST(poll_changes__reads_many_batches__and_outlives_pruning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
