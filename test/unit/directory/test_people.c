/* Devices, profile, contacts, blocks, and the views made of them. */
#include "fixture.h"

static struct user_view *view_of(struct fixture *f, struct id user)
{
    struct user_view *v = NULL;
    assert_int_equal(directory_view(f->d, user, &v), SOTTO_OK);
    return v;
}

static void device_ids__go_round__before_one_is_used_again(void **state)
{
    struct fixture *f = *state;
    struct credentials anna = add_user(f, "anna");
    for (int i = 2; i <= SOTTO_DEVICE_ID_MAX; i++) {
        struct credentials c = login(f, "anna");
        assert_int_equal(c.device, i);
        assert_int_equal(directory_revoke_device(f->d, c.user, c.device), PROBLEM_NONE);
    }
    assert_int_equal(login(f, "anna").device, 2); /* 1 is still there */
    assert_int_equal(authenticate(f->d, anna.token), PROBLEM_NONE);
}

static void rename_device__is_listed(void **state)
{
    struct fixture *f = *state;
    struct credentials c = add_user(f, "anna");
    struct device_info devices[SOTTO_DEVICES_PER_USER_MAX];
    size_t count = 0;
    assert_int_equal(directory_rename_device(f->d, c.user, 1, SLICE_LIT("K\xc3\xbc" "che"), &f->why), PROBLEM_NONE);
    assert_int_equal(directory_rename_device(f->d, c.user, 1, SLICE_LIT(""), &f->why), PROBLEM_BAD_FIELD);
    assert_int_equal(directory_rename_device(f->d, c.user, 1, SLICE_LIT("\xc3"), &f->why), PROBLEM_BAD_FIELD);
    assert_int_equal(directory_rename_device(f->d, c.user, 2, SLICE_LIT("x"), &f->why), PROBLEM_NOT_FOUND);
    assert_int_equal(directory_devices(f->d, c.user, devices, &count), PROBLEM_NONE);
    assert_int_equal(count, 1);
    assert_string_equal(devices[0].name, "K\xc3\xbc" "che");
    assert_string_equal(devices[0].platform, "cli");
    assert_false(devices[0].has_keys);
}

static void update_profile__changes_what_is_given__and_leaves_the_rest(void **state)
{
    struct fixture *f = *state;
    struct credentials anna = add_user(f, "anna"), berta = add_user(f, "berta");
    struct profile_change change = {.display_name = SLICE_LIT("Anna B."), .phone = SLICE_LIT("+491701234567")};
    struct profile p;
    assert_int_equal(directory_update_profile(f->d, anna.user, 1, &change, &f->why), PROBLEM_NONE);
    assert_true(was_told(f, CHANGE_PROFILE, anna.user, 1));
    bool off = true;
    uint8_t visibility = VISIBLE_CONTACTS, wrong = 3;
    change = (struct profile_change){
        .picture = SLICE_LIT("media/abc"), .receipts_off = &off, .presence_visibility = &visibility};
    assert_int_equal(directory_update_profile(f->d, anna.user, 1, &change, &f->why), PROBLEM_NONE);
    assert_int_equal(directory_profile(f->d, anna.user, &p), PROBLEM_NONE);
    assert_string_equal(p.display_name, "Anna B.");
    assert_string_equal(p.phone, "+491701234567");
    assert_string_equal(p.picture, "media/abc");
    assert_true(p.receipts_off);
    assert_int_equal(p.presence_visibility, VISIBLE_CONTACTS);
    assert_int_equal(directory_find_username(f->d, SLICE_LIT("anna"), &p), PROBLEM_NONE);
    assert_string_equal(p.phone, "");

    change = (struct profile_change){.display_name = SLICE_LIT("B"), .phone = SLICE_LIT("+491701234567")};
    assert_int_equal(directory_update_profile(f->d, berta.user, 1, &change, &f->why), PROBLEM_PHONE_TAKEN);
    assert_int_equal(directory_profile(f->d, berta.user, &p), PROBLEM_NONE);
    assert_string_equal(p.display_name, "berta");
    change = (struct profile_change){.presence_visibility = &wrong};
    assert_int_equal(directory_update_profile(f->d, berta.user, 1, &change, &f->why), PROBLEM_BAD_FIELD);
    change = (struct profile_change){.phone = SLICE_LIT(""), .display_name = SLICE_LIT("")};
    assert_int_equal(directory_update_profile(f->d, anna.user, 1, &change, &f->why), PROBLEM_NONE);
    assert_int_equal(directory_profile(f->d, anna.user, &p), PROBLEM_NONE);
    assert_string_equal(p.phone, "");
    assert_string_equal(p.display_name, "anna");
}

static void store_last_seen__only_moves_forward(void **state)
{
    struct fixture *f = *state;
    struct id users[2] = {add_user(f, "anna").user, add_user(f, "berta").user};
    struct profile p;
    directory_store_last_seen(f->d, users, (uint64_t[]){500, 600}, 2);
    directory_store_last_seen(f->d, users, (uint64_t[]){400, 700}, 2);
    assert_int_equal(directory_profile(f->d, users[0], &p), PROBLEM_NONE);
    assert_int_equal(p.last_seen_ms, 500);
    assert_int_equal(directory_profile(f->d, users[1], &p), PROBLEM_NONE);
    assert_int_equal(p.last_seen_ms, 700);
}

struct list {
    struct contact items[4];
    size_t count;
};
static void add_to_list(void *ctx, const struct contact *c)
{
    struct list *l = ctx;
    assert_true(l->count < 4);
    l->items[l->count++] = *c;
}

static void contacts__are_listed_with_alias_and_block(void **state)
{
    struct fixture *f = *state;
    struct id anna = add_user(f, "anna").user, berta = add_user(f, "berta").user, carl = add_user(f, "carl").user;
    assert_int_equal(directory_put_contact(f->d, anna, 1, anna, SLICE_LIT(""), &f->why), PROBLEM_BAD_FIELD);
    assert_int_equal(directory_put_contact(f->d, anna, 1, (struct id){{5}}, SLICE_LIT(""), &f->why),
                     PROBLEM_NO_SUCH_USER);
    assert_int_equal(directory_put_contact(f->d, anna, 1, berta, SLICE_LIT("B"), &f->why), PROBLEM_NONE);
    assert_int_equal(directory_put_contact(f->d, anna, 1, berta, SLICE_LIT("Bertie"), &f->why), PROBLEM_NONE);
    assert_int_equal(directory_set_blocked(f->d, anna, 1, berta, true), PROBLEM_NONE);
    assert_int_equal(directory_set_blocked(f->d, anna, 1, carl, true), PROBLEM_NONE);
    assert_int_equal(directory_set_blocked(f->d, anna, 1, anna, true), PROBLEM_BAD_FIELD);
    struct list l = {.count = 0};
    assert_int_equal(directory_contacts(f->d, anna, add_to_list, &l), PROBLEM_NONE);
    assert_int_equal(l.count, 2);
    assert_string_equal(l.items[0].username, "berta");
    assert_string_equal(l.items[0].alias, "Bertie");
    assert_true(l.items[0].listed && l.items[0].blocked);
    assert_string_equal(l.items[1].username, "carl");
    assert_true(!l.items[1].listed && l.items[1].blocked);
    assert_int_equal(directory_remove_contact(f->d, anna, 1, berta), PROBLEM_NONE);
    assert_int_equal(directory_remove_contact(f->d, anna, 1, berta), PROBLEM_NOT_FOUND);
    assert_int_equal(directory_set_blocked(f->d, anna, 1, carl, false), PROBLEM_NONE);
    l.count = 0;
    assert_int_equal(directory_contacts(f->d, anna, add_to_list, &l), PROBLEM_NONE);
    assert_int_equal(l.count, 1);
    assert_true(!l.items[0].listed && l.items[0].blocked);
}

static void view__is_kept_until_something_changes(void **state)
{
    struct fixture *f = *state;
    struct id anna = add_user(f, "anna").user, berta = add_user(f, "berta").user;
    assert_null(directory_peek(f->d, anna));
    struct user_view *before = view_of(f, anna), *peeked = directory_peek(f->d, anna);
    assert_ptr_equal(peeked, before);
    assert_false(user_view_blocks(before, berta) || user_view_has_contact(before, berta));
    assert_int_equal(before->devices_count, 1);
    user_view_unref(peeked);

    assert_int_equal(directory_set_blocked(f->d, anna, 1, berta, true), PROBLEM_NONE);
    assert_null(directory_peek(f->d, anna));
    assert_int_equal(directory_put_contact(f->d, anna, 1, berta, SLICE_LIT(""), &f->why), PROBLEM_NONE);
    login(f, "anna");
    struct user_view *after = view_of(f, anna);
    assert_true(user_view_blocks(after, berta) && user_view_has_contact(after, berta));
    assert_false(user_view_blocks(after, anna));
    assert_int_equal(after->devices_count, 2);
    assert_int_equal(after->devices[1].id, 2);
    assert_int_equal(before->blocks_count, 0); /* who holds the old one still reads it */
    user_view_unref(before);
    user_view_unref(after);
}

static void view__finds_each_of_many_blocks(void **state)
{
    struct fixture *f = *state;
    struct id anna = add_user(f, "anna").user, others[20];
    for (size_t i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "user%zu", i);
        others[i] = add_user(f, name).user;
        if (i % 2 == 0) assert_int_equal(directory_set_blocked(f->d, anna, 1, others[i], true), PROBLEM_NONE);
    }
    struct user_view *v = view_of(f, anna);
    assert_int_equal(v->blocks_count, 10);
    for (size_t i = 0; i < 20; i++) assert_int_equal(user_view_blocks(v, others[i]), i % 2 == 0);
    user_view_unref(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(device_ids__go_round__before_one_is_used_again),
        FIXTURE_TEST(rename_device__is_listed),
        FIXTURE_TEST(update_profile__changes_what_is_given__and_leaves_the_rest),
        FIXTURE_TEST(store_last_seen__only_moves_forward),
        FIXTURE_TEST(contacts__are_listed_with_alias_and_block),
        FIXTURE_TEST(view__is_kept_until_something_changes),
        FIXTURE_TEST(view__finds_each_of_many_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
