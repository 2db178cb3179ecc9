/* Accounts: what may be registered, who gets in, how guessing is slowed. */
#include "fixture.h"

static enum problem try_register(struct fixture *f, struct registration r)
{
    struct credentials c;
    return directory_register(f->d, &r, &f->why, &c);
}

static void register__lower_cases_the_name__and_makes_device_one(void **state)
{
    struct fixture *f = *state;
    struct credentials c = add_user(f, "Anna.B");
    struct profile p;
    assert_int_equal(c.device, 1);
    assert_int_equal(directory_find_username(f->d, SLICE_LIT("ANNA.b"), &p), PROBLEM_NONE);
    assert_string_equal(p.username, "anna.b");
    assert_string_equal(p.display_name, "anna.b");
    assert_true(id_eq(p.id, c.user));
    assert_false(p.is_admin);
    assert_int_equal(p.created_ms, f->clock.wall_ms);
    assert_int_equal(directory_user_count(f->d), 1);
}

static void register__refuses_bad_fields__with_a_sentence(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"ab", ".anna", "an na", "anna!", "ann\xc3\xa4",
                                        "abcdefghijklmnopqrstuvwxyz0123456"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        buffer_clear(&f->why);
        assert_int_equal(try_register(f, registration_of(names[i])), PROBLEM_BAD_FIELD);
        assert_true(why_says(f, "user name"));
    }
    static const char *const phones[] = {"123456789", "+0123456789", "+49 170 123", "+123456", "+1234567890123456"};
    for (size_t i = 0; i < sizeof phones / sizeof phones[0]; i++) {
        struct registration r = registration_of("anna");
        r.phone = slice_str(phones[i]);
        assert_int_equal(try_register(f, r), PROBLEM_BAD_FIELD);
        assert_true(why_says(f, "phone"));
    }
    struct registration r = registration_of("anna");
    r.password = SLICE_LIT("short");
    assert_int_equal(try_register(f, r), PROBLEM_BAD_FIELD);
    r.password = SLICE_LIT("long enough \xff\xfe");
    assert_int_equal(try_register(f, r), PROBLEM_BAD_FIELD);
    r = registration_of("anna");
    r.display_name = SLICE_LIT("line\nbreak");
    assert_int_equal(try_register(f, r), PROBLEM_BAD_FIELD);
    r = registration_of("anna");
    r.device.name = SLICE_LIT("nul\0inside");
    assert_int_equal(try_register(f, r), PROBLEM_BAD_FIELD);
    assert_int_equal(directory_user_count(f->d), 0);
}

static void register__tells_what_is_taken(void **state)
{
    struct fixture *f = *state;
    struct registration r = registration_of("anna");
    r.phone = SLICE_LIT("+491701234567");
    assert_int_equal(try_register(f, r), PROBLEM_NONE);
    assert_int_equal(try_register(f, registration_of("ANNA")), PROBLEM_USERNAME_TAKEN);
    r.username = SLICE_LIT("berta");
    assert_int_equal(try_register(f, r), PROBLEM_PHONE_TAKEN);
}

static void register__follows_the_policy__open_invite_closed(void **state)
{
    struct fixture *f = *state;
    directory_set_registration(f->d, REGISTRATION_CLOSED);
    assert_int_equal(try_register(f, registration_of("anna")), PROBLEM_REGISTRATION_CLOSED);
    directory_set_registration(f->d, REGISTRATION_INVITE);
    assert_int_equal(try_register(f, registration_of("anna")), PROBLEM_INVITE);
    struct registration r = registration_of("anna");
    r.invite = SLICE_LIT("inv_aaaaaaaaaaaaaaaaaaaaaaaa");
    assert_int_equal(try_register(f, r), PROBLEM_INVITE);
}

static void take_first_invite(void *ctx, const struct invite_info *i) { *(struct invite_info *)ctx = *i; }

static void invite__is_good_once__and_can_make_an_administrator(void **state)
{
    struct fixture *f = *state;
    char invite[INVITE_TEXT_MAX];
    struct credentials c;
    struct profile p;
    directory_set_registration(f->d, REGISTRATION_INVITE);
    assert_int_equal(directory_create_invite(f->d, 1000, true, invite), PROBLEM_NONE);
    struct registration r = registration_of("anna");
    r.invite = slice_str(invite);
    assert_int_equal(directory_register(f->d, &r, &f->why, &c), PROBLEM_NONE);
    assert_int_equal(directory_profile(f->d, c.user, &p), PROBLEM_NONE);
    assert_true(p.is_admin);
    r.username = SLICE_LIT("berta");
    assert_int_equal(try_register(f, r), PROBLEM_INVITE);
    struct invite_info info = {0};
    assert_int_equal(directory_invites(f->d, take_first_invite, &info), PROBLEM_NONE);
    assert_true(info.used && info.admin);
    assert_int_equal(directory_revoke_invite(f->d, info.id), PROBLEM_NOT_FOUND);
}

static void invite__expires_and_is_revoked__but_survives_a_taken_name(void **state)
{
    struct fixture *f = *state;
    char invite[INVITE_TEXT_MAX];
    add_user(f, "anna");
    assert_int_equal(directory_create_invite(f->d, 1000, false, invite), PROBLEM_NONE);
    struct registration r = registration_of("anna");
    r.invite = slice_str(invite);
    assert_int_equal(try_register(f, r), PROBLEM_USERNAME_TAKEN);
    struct invite_info info = {0};
    assert_int_equal(directory_invites(f->d, take_first_invite, &info), PROBLEM_NONE);
    assert_false(info.used);
    clock_manual_advance(&f->clock, 1000);
    r.username = SLICE_LIT("berta");
    assert_int_equal(try_register(f, r), PROBLEM_INVITE);
    assert_int_equal(directory_create_invite(f->d, 1000, false, invite), PROBLEM_NONE);
    assert_int_equal(directory_revoke_invite(f->d, info.id + 1), PROBLEM_NONE);
    assert_int_equal(try_register(f, r), PROBLEM_INVITE);
}

static void login__makes_further_devices__up_to_the_limit(void **state)
{
    struct fixture *f = *state;
    add_user(f, "anna");
    for (uint8_t device = 2; device <= SOTTO_DEVICES_PER_USER_MAX; device++)
        assert_int_equal(login(f, "Anna").device, device);
    struct credentials c;
    uint64_t retry_ms = 0;
    assert_int_equal(try_login(f, "anna", PASSWORD, "a", &retry_ms, &c), PROBLEM_TOO_MANY_DEVICES);
    assert_int_equal(try_login(f, "anna", "wrong password", "a", &retry_ms, &c), PROBLEM_CREDENTIALS);
    assert_int_equal(try_login(f, "nobody", PASSWORD, "a", &retry_ms, &c), PROBLEM_CREDENTIALS);
    assert_int_equal(try_login(f, "no such name!", PASSWORD, "a", &retry_ms, &c), PROBLEM_CREDENTIALS);
}

static void login__slows_guesses_by_name__for_known_and_unknown_alike(void **state)
{
    struct fixture *f = *state;
    add_user(f, "anna");
    static const char *const names[] = {"anna", "nobody"};
    for (size_t n = 0; n < 2; n++) {
        struct credentials c;
        char address[16];
        uint64_t retry_ms = 0;
        for (int i = 0; i < 5; i++) {
            snprintf(address, sizeof address, "address %d", i);
            assert_int_equal(try_login(f, names[n], "wrong password", address, &retry_ms, &c), PROBLEM_CREDENTIALS);
        }
        for (uint64_t wait_ms = 1000; wait_ms <= 8000; wait_ms *= 2) {
            assert_int_equal(try_login(f, names[n], PASSWORD, "other", &retry_ms, &c), PROBLEM_RATE_LIMITED);
            assert_int_equal(retry_ms, wait_ms);
            clock_manual_advance(&f->clock, wait_ms);
            assert_int_equal(try_login(f, names[n], "wrong password", "other", &retry_ms, &c), PROBLEM_CREDENTIALS);
        }
    }
    clock_manual_advance(&f->clock, 16000);
    login(f, "anna");
    struct credentials c;
    uint64_t retry_ms = 0;
    for (int i = 0; i < 5; i++) /* all is forgiven */
        assert_int_equal(try_login(f, "anna", "wrong password", "third", &retry_ms, &c), PROBLEM_CREDENTIALS);
}

static void login__slows_guesses_by_address__whatever_the_name(void **state)
{
    struct fixture *f = *state;
    struct credentials c;
    uint64_t retry_ms = 0;
    add_user(f, "anna");
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "user%d", i);
        assert_int_equal(try_login(f, name, PASSWORD, "198.51.100.7", &retry_ms, &c), PROBLEM_CREDENTIALS);
    }
    assert_int_equal(try_login(f, "anna", PASSWORD, "198.51.100.7", &retry_ms, &c), PROBLEM_RATE_LIMITED);
    assert_int_equal(retry_ms, 1000);
    assert_int_equal(try_login(f, "anna", PASSWORD, "198.51.100.8", &retry_ms, &c), PROBLEM_NONE);
}

static void change_password__revokes_the_other_devices__and_keeps_this_one(void **state)
{
    struct fixture *f = *state;
    struct credentials one = add_user(f, "anna"), two = login(f, "anna"), three = login(f, "anna"), c;
    uint64_t retry_ms = 0;
    struct slice old = SLICE_LIT(PASSWORD), fresh = SLICE_LIT("another password"), address = SLICE_LIT("a");
    assert_int_equal(directory_change_password(f->d, one.user, 2, fresh, fresh, address, &f->why, &retry_ms),
                     PROBLEM_CREDENTIALS);
    assert_int_equal(directory_change_password(f->d, one.user, 9, old, fresh, address, &f->why, &retry_ms),
                     PROBLEM_TOKEN);
    f->changes_count = 0;
    assert_int_equal(directory_change_password(f->d, one.user, 2, old, fresh, address, &f->why, &retry_ms),
                     PROBLEM_NONE);
    assert_true(was_told(f, CHANGE_PASSWORD, one.user, 2));
    assert_true(was_told(f, CHANGE_DEVICE_REVOKED, one.user, 1));
    assert_true(was_told(f, CHANGE_DEVICE_REVOKED, one.user, 3));
    assert_int_equal(count_changes(f, CHANGE_DEVICE_REVOKED, one.user), 2);
    assert_int_equal(authenticate(f->d, one.token), PROBLEM_TOKEN);
    assert_int_equal(authenticate(f->d, two.token), PROBLEM_NONE);
    assert_int_equal(authenticate(f->d, three.token), PROBLEM_TOKEN);
    assert_int_equal(try_login(f, "anna", PASSWORD, "b", &retry_ms, &c), PROBLEM_CREDENTIALS);
    assert_int_equal(try_login(f, "anna", "another password", "b", &retry_ms, &c), PROBLEM_NONE);
}

/* A clock that lets somebody else sign in the first time it is read. */
struct meddling_clock {
    struct clock_source source;
    struct fixture *f;
    bool due;
};
static uint64_t meddling_wall_ms(void *ctx) { return clock_wall_ms(&((struct meddling_clock *)ctx)->f->clock.source); }
static uint64_t meddling_monotonic_us(void *ctx)
{
    struct meddling_clock *m = ctx;
    if (m->due) {
        m->due = false;
        login(m->f, "anna");
    }
    return clock_monotonic_us(&m->f->clock.source);
}

static void login__while_another_raises_the_hashs_cost__succeeds(void **state)
{
    struct fixture *f = *state;
    struct meddling_clock m = {{meddling_wall_ms, meddling_monotonic_us, &m}, f, false};
    add_user(f, "anna");
    directory_close(&f->d);
    struct directory_options options = {.file = f->file, .clock = &m.source, .random = random_system(),
                                        .cache_bytes = 1 << 20, .argon2_ops = 2, .argon2_mem_bytes = 8192};
    assert_int_equal(directory_open(&options, &f->why, &f->d), SOTTO_OK);
    m.due = true;
    assert_int_equal(login(f, "anna").device, 3);
    assert_false(m.due);
    directory_close(&f->d);
    f->d = fixture_open(f);
}

static void change_password__is_not_held_up_by_a_strangers_guesses(void **state)
{
    struct fixture *f = *state;
    struct credentials one = add_user(f, "anna"), c;
    uint64_t retry_ms = 0;
    struct slice old = SLICE_LIT(PASSWORD), fresh = SLICE_LIT("another password"), wrong = SLICE_LIT("wrong password");
    struct slice address = SLICE_LIT("own");
    for (int i = 0; i < 5; i++)
        assert_int_equal(try_login(f, "anna", "wrong password", "stranger", &retry_ms, &c), PROBLEM_CREDENTIALS);
    assert_int_equal(try_login(f, "anna", PASSWORD, "own", &retry_ms, &c), PROBLEM_RATE_LIMITED);
    assert_int_equal(directory_change_password(f->d, one.user, 1, old, fresh, address, &f->why, &retry_ms),
                     PROBLEM_NONE);
    /* Guesses with a stolen token are slowed as well. */
    for (int i = 0; i < 5; i++)
        assert_int_equal(directory_delete_account(f->d, one.user, wrong, address, &retry_ms), PROBLEM_CREDENTIALS);
    assert_int_equal(directory_delete_account(f->d, one.user, fresh, address, &retry_ms), PROBLEM_RATE_LIMITED);
    assert_int_equal(retry_ms, 1000);
}

static void set_password__by_the_operator__revokes_every_device(void **state)
{
    struct fixture *f = *state;
    struct credentials one = add_user(f, "anna"), two = login(f, "anna"), c;
    uint64_t retry_ms = 0;
    assert_int_equal(directory_set_password(f->d, one.user, SLICE_LIT("short"), &f->why), PROBLEM_BAD_FIELD);
    assert_int_equal(directory_set_password(f->d, one.user, SLICE_LIT("set by operator"), &f->why), PROBLEM_NONE);
    assert_int_equal(authenticate(f->d, one.token), PROBLEM_TOKEN);
    assert_int_equal(authenticate(f->d, two.token), PROBLEM_TOKEN);
    assert_int_equal(try_login(f, "anna", "set by operator", "b", &retry_ms, &c), PROBLEM_NONE);
    assert_int_equal(directory_set_password(f->d, (struct id){{1}}, SLICE_LIT("set by operator"), &f->why),
                     PROBLEM_NO_SUCH_USER);
}

static void delete_account__frees_name_and_phone__and_never_the_id(void **state)
{
    struct fixture *f = *state;
    struct registration r = registration_of("anna");
    struct credentials anna, berta = add_user(f, "berta"), again;
    struct slice address = SLICE_LIT("a");
    uint64_t retry_ms = 0;
    r.phone = SLICE_LIT("+491701234567");
    assert_int_equal(directory_register(f->d, &r, &f->why, &anna), PROBLEM_NONE);
    assert_int_equal(directory_put_contact(f->d, berta.user, 1, anna.user, SLICE_LIT(""), &f->why), PROBLEM_NONE);
    assert_int_equal(directory_delete_account(f->d, anna.user, SLICE_LIT("wrong password"), address, &retry_ms),
                     PROBLEM_CREDENTIALS);
    assert_int_equal(directory_delete_account(f->d, anna.user, r.password, address, &retry_ms), PROBLEM_NONE);
    assert_true(was_told(f, CHANGE_USER_DELETED, anna.user, 0));
    assert_int_equal(authenticate(f->d, anna.token), PROBLEM_TOKEN);
    struct profile p;
    struct user_view *v;
    assert_int_equal(directory_profile(f->d, anna.user, &p), PROBLEM_NO_SUCH_USER);
    assert_int_equal(directory_view(f->d, anna.user, &v), SOTTO_ERR_NOT_FOUND);
    assert_int_equal(directory_delete_account(f->d, anna.user, r.password, address, &retry_ms), PROBLEM_NO_SUCH_USER);
    assert_int_equal(directory_register(f->d, &r, &f->why, &again), PROBLEM_NONE);
    assert_false(id_eq(again.user, anna.user));
    assert_int_equal(directory_user_count(f->d), 2);
}

struct registering {
    struct fixture *f;
    struct slice invite;
    size_t index;
    enum problem result;
};
static void *register_one(void *ctx)
{
    struct registering *job = ctx;
    char name[16];
    struct credentials c;
    snprintf(name, sizeof name, "user%zu", job->index);
    struct registration r = registration_of(name);
    r.invite = job->invite;
    job->result = directory_register(job->f->d, &r, NULL, &c);
    return NULL;
}

static void invite__raced_for_by_many__lets_one_in(void **state)
{
    enum { RACERS = 6 };
    struct fixture *f = *state;
    char invite[INVITE_TEXT_MAX];
    pthread_t threads[RACERS];
    struct registering jobs[RACERS];
    directory_set_registration(f->d, REGISTRATION_INVITE);
    assert_int_equal(directory_create_invite(f->d, 1000, false, invite), PROBLEM_NONE);
    for (size_t i = 0; i < RACERS; i++) {
        jobs[i] = (struct registering){f, slice_str(invite), i, PROBLEM_COUNT};
        assert_int_equal(pthread_create(&threads[i], NULL, register_one, &jobs[i]), 0);
    }
    size_t let_in = 0;
    for (size_t i = 0; i < RACERS; i++) {
        pthread_join(threads[i], NULL);
        if (jobs[i].result == PROBLEM_NONE) let_in++;
        else assert_int_equal(jobs[i].result, PROBLEM_INVITE);
    }
    assert_int_equal(let_in, 1);
    assert_int_equal(directory_user_count(f->d), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(register__lower_cases_the_name__and_makes_device_one),
        FIXTURE_TEST(register__refuses_bad_fields__with_a_sentence),
        FIXTURE_TEST(register__tells_what_is_taken),
        FIXTURE_TEST(register__follows_the_policy__open_invite_closed),
        FIXTURE_TEST(invite__is_good_once__and_can_make_an_administrator),
        FIXTURE_TEST(invite__expires_and_is_revoked__but_survives_a_taken_name),
        FIXTURE_TEST(invite__raced_for_by_many__lets_one_in),
        FIXTURE_TEST(login__makes_further_devices__up_to_the_limit),
        FIXTURE_TEST(login__slows_guesses_by_name__for_known_and_unknown_alike),
        FIXTURE_TEST(login__slows_guesses_by_address__whatever_the_name),
        FIXTURE_TEST(change_password__revokes_the_other_devices__and_keeps_this_one),
        FIXTURE_TEST(login__while_another_raises_the_hashs_cost__succeeds),
        FIXTURE_TEST(change_password__is_not_held_up_by_a_strangers_guesses),
        FIXTURE_TEST(set_password__by_the_operator__revokes_every_device),
        FIXTURE_TEST(delete_account__frees_name_and_phone__and_never_the_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
