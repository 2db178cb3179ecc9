/* Public keys: each one-time key reaches one caller, whatever happens. */
#include "fixture.h"

enum { KEYS_MAX = SOTTO_ONE_TIME_PREKEYS_MAX + 1 };

/* Keys whose bytes say which key they are. */
struct key_material {
    uint8_t identity[EC_KEY_LEN], signed_key[EC_KEY_LEN], resort[KEM_KEY_LEN], signature[SIGNATURE_LEN];
    uint8_t ec[KEYS_MAX][EC_KEY_LEN], kem[KEYS_MAX][KEM_KEY_LEN];
    struct signed_key ec_keys[KEYS_MAX], kem_keys[KEYS_MAX];
};

static struct key_upload upload_of(struct key_material *m, uint8_t identity, uint32_t first_id, size_t count)
{
    memset(m->identity, identity, sizeof m->identity);
    memset(m->signed_key, 0x51, sizeof m->signed_key);
    memset(m->resort, 0x52, sizeof m->resort);
    memset(m->signature, 0x53, sizeof m->signature);
    for (size_t i = 0; i < count; i++) {
        memset(m->ec[i], (int)(first_id + i), EC_KEY_LEN);
        memset(m->kem[i], (int)(first_id + i), KEM_KEY_LEN);
        m->ec_keys[i] = (struct signed_key){first_id + (uint32_t)i, slice_of(m->ec[i], EC_KEY_LEN), {NULL, 0}};
        m->kem_keys[i] = (struct signed_key){first_id + (uint32_t)i, slice_of(m->kem[i], KEM_KEY_LEN),
                                             slice_of(m->signature, SIGNATURE_LEN)};
    }
    struct slice signature = slice_of(m->signature, SIGNATURE_LEN);
    return (struct key_upload){
        .identity_key = slice_of(m->identity, EC_KEY_LEN),
        .registration_id = 77,
        .signed_prekey = {7, slice_of(m->signed_key, EC_KEY_LEN), signature},
        .last_resort_kem = {8, slice_of(m->resort, KEM_KEY_LEN), signature},
        .kem_prekeys = m->kem_keys,
        .kem_prekeys_count = count,
        .ec_prekeys = m->ec_keys,
        .ec_prekeys_count = count,
    };
}

static struct key_upload more_of(struct key_material *m, uint32_t first_id, size_t count)
{
    struct key_upload u = upload_of(m, 1, first_id, count);
    u.identity_key = u.signed_prekey.key = u.last_resort_kem.key = slice_of(NULL, 0);
    return u;
}

static void assert_counts(struct fixture *f, struct id user, uint8_t device, uint32_t ec, uint32_t kem)
{
    uint32_t ec_found, kem_found;
    assert_int_equal(directory_key_counts(f->d, user, device, &ec_found, &kem_found), PROBLEM_NONE);
    assert_int_equal(ec_found, ec);
    assert_int_equal(kem_found, kem);
}

static struct key_material material; /* large; one test at a time */
static struct key_bundle bundles[SOTTO_DEVICES_PER_USER_MAX];

static void upload__refuses_wrong_sizes_and_partial_first_uploads(void **state)
{
    struct fixture *f = *state;
    struct credentials c = add_user(f, "anna");
    struct key_upload u = more_of(&material, 1, 2);
    assert_int_equal(directory_upload_keys(f->d, c.user, 1, &u, &f->why), PROBLEM_BAD_FIELD);
    assert_true(why_says(f, "first upload"));
    u = upload_of(&material, 1, 1, 2);
    u.last_resort_kem.key = slice_of(NULL, 0);
    assert_int_equal(directory_upload_keys(f->d, c.user, 1, &u, &f->why), PROBLEM_BAD_FIELD);
    u = upload_of(&material, 1, 1, 2);
    u.identity_key.len--;
    assert_int_equal(directory_upload_keys(f->d, c.user, 1, &u, &f->why), PROBLEM_BAD_FIELD);
    u = upload_of(&material, 1, 1, 2);
    u.registration_id = 16381;
    assert_int_equal(directory_upload_keys(f->d, c.user, 1, &u, &f->why), PROBLEM_BAD_FIELD);
    u = upload_of(&material, 1, 1, 2);
    material.kem_keys[1].signature.len = 63;
    assert_int_equal(directory_upload_keys(f->d, c.user, 1, &u, &f->why), PROBLEM_BAD_FIELD);
    u = upload_of(&material, 1, 1, SOTTO_ONE_TIME_PREKEYS_MAX + 1);
    assert_int_equal(directory_upload_keys(f->d, c.user, 1, &u, &f->why), PROBLEM_BAD_FIELD);
    u = upload_of(&material, 1, 1, 2);
    assert_int_equal(directory_upload_keys(f->d, c.user, 2, &u, &f->why), PROBLEM_NOT_FOUND);
    size_t count;
    assert_int_equal(directory_take_bundles(f->d, c.user, 0, bundles, &count), PROBLEM_NO_PREKEYS);
    assert_int_equal(directory_take_bundles(f->d, (struct id){{9}}, 0, bundles, &count), PROBLEM_NO_SUCH_USER);
}

static void take__hands_out_each_key_once__then_the_last_resort(void **state)
{
    struct fixture *f = *state;
    struct credentials c = add_user(f, "anna");
    struct key_upload u = upload_of(&material, 1, 10, 2);
    size_t count = 0;
    f->changes_count = 0;
    assert_int_equal(directory_upload_keys(f->d, c.user, 1, &u, &f->why), PROBLEM_NONE);
    assert_true(was_told(f, CHANGE_DEVICES, c.user, 1));
    for (uint32_t id = 10; id < 12; id++) {
        assert_int_equal(directory_take_bundles(f->d, c.user, 0, bundles, &count), PROBLEM_NONE);
        assert_int_equal(count, 1);
        assert_int_equal(bundles[0].device, 1);
        assert_int_equal(bundles[0].registration_id, 77);
        assert_memory_equal(bundles[0].identity_key, material.identity, EC_KEY_LEN);
        assert_int_equal(bundles[0].signed_prekey_id, 7);
        assert_memory_equal(bundles[0].signed_prekey, material.signed_key, EC_KEY_LEN);
        assert_memory_equal(bundles[0].signed_prekey_signature, material.signature, SIGNATURE_LEN);
        assert_false(bundles[0].kem_is_last_resort);
        assert_true(bundles[0].has_ec_prekey);
        assert_int_equal(bundles[0].ec_prekey_id, id);
        assert_int_equal(bundles[0].ec_prekey[32], id);
        assert_int_equal(bundles[0].kem_prekey_id, id);
        assert_int_equal(bundles[0].kem_prekey[KEM_KEY_LEN - 1], id);
    }
    assert_int_equal(count_changes(f, CHANGE_PREKEYS_LOW, c.user), 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(directory_take_bundles(f->d, c.user, 1, bundles, &count), PROBLEM_NONE);
        assert_true(bundles[0].kem_is_last_resort);
        assert_int_equal(bundles[0].kem_prekey_id, 8);
        assert_memory_equal(bundles[0].kem_prekey, material.resort, KEM_KEY_LEN);
        assert_false(bundles[0].has_ec_prekey);
    }
}

static void take__names_every_device_with_keys__or_the_one_asked_for(void **state)
{
    struct fixture *f = *state;
    struct credentials c = add_user(f, "anna");
    login(f, "anna");
    login(f, "anna");
    size_t count = 0;
    for (uint8_t device = 1; device <= 3; device += 2) {
        struct key_upload u = upload_of(&material, device, 1, 5);
        assert_int_equal(directory_upload_keys(f->d, c.user, device, &u, &f->why), PROBLEM_NONE);
    }
    assert_int_equal(directory_take_bundles(f->d, c.user, 0, bundles, &count), PROBLEM_NONE);
    assert_int_equal(count, 2);
    assert_int_equal(bundles[0].device, 1);
    assert_int_equal(bundles[1].device, 3);
    assert_int_equal(directory_take_bundles(f->d, c.user, 3, bundles, &count), PROBLEM_NONE);
    assert_int_equal(count, 1);
    assert_int_equal(bundles[0].identity_key[0], 3);
    assert_int_equal(directory_take_bundles(f->d, c.user, 2, bundles, &count), PROBLEM_NO_PREKEYS);
    assert_counts(f, c.user, 1, 4, 4);
    assert_counts(f, c.user, 3, 3, 3);
    assert_int_equal(directory_revoke_device(f->d, c.user, 3), PROBLEM_NONE);
    assert_counts(f, c.user, 3, 0, 0);
}

static void upload__repeated__does_not_offer_a_key_again(void **state)
{
    struct fixture *f = *state;
    struct credentials c = add_user(f, "anna");
    struct key_upload u = upload_of(&material, 1, 1, 3);
    size_t count;
    assert_int_equal(directory_upload_keys(f->d, c.user, 1, &u, &f->why), PROBLEM_NONE);
    assert_int_equal(directory_take_bundles(f->d, c.user, 0, bundles, &count), PROBLEM_NONE);
    assert_int_equal(bundles[0].ec_prekey_id, 1);
    assert_int_equal(directory_upload_keys(f->d, c.user, 1, &u, &f->why), PROBLEM_NONE);
    assert_counts(f, c.user, 1, 2, 2);
    u.replace = true;
    assert_int_equal(directory_upload_keys(f->d, c.user, 1, &u, &f->why), PROBLEM_NONE);
    assert_counts(f, c.user, 1, 2, 2);
    assert_int_equal(directory_take_bundles(f->d, c.user, 0, bundles, &count), PROBLEM_NONE);
    assert_int_equal(bundles[0].ec_prekey_id, 2);
}

static void restored__offers_no_one_time_key_again(void **state)
{
    struct fixture *f = *state;
    struct credentials c = add_user(f, "anna");
    struct key_upload u = upload_of(&material, 1, 1, 3);
    char copy[96];
    size_t count;
    snprintf(copy, sizeof copy, "%s/copy.db", f->folder);
    assert_int_equal(directory_upload_keys(f->d, c.user, 1, &u, &f->why), PROBLEM_NONE);
    assert_int_equal(directory_take_bundles(f->d, c.user, 0, bundles, &count), PROBLEM_NONE);
    assert_int_equal(directory_backup(f->d, copy, &f->why), SOTTO_OK);
    directory_close(&f->d);
    assert_int_equal(directory_restored(copy, &f->clock.source, &f->why), SOTTO_OK);
    memcpy(f->file, copy, sizeof f->file);
    f->d = fixture_open(f);
    assert_counts(f, c.user, 1, 0, 0);
    assert_int_equal(directory_take_bundles(f->d, c.user, 0, bundles, &count), PROBLEM_NONE);
    assert_false(bundles[0].has_ec_prekey);
    assert_true(bundles[0].kem_is_last_resort);
    /* For a month, as for keys that were taken; then their ids are free. */
    assert_int_equal(directory_upload_keys(f->d, c.user, 1, &u, &f->why), PROBLEM_NONE);
    assert_counts(f, c.user, 1, 0, 0);
    clock_manual_advance(&f->clock, UINT64_C(31) * 24 * 3600 * 1000);
    assert_int_equal(directory_upload_keys(f->d, c.user, 1, &u, &f->why), PROBLEM_NONE);
    assert_counts(f, c.user, 1, 3, 3);
    assert_int_not_equal(directory_restored("/no/such/folder/copy.db", &f->clock.source, &f->why), SOTTO_OK);
}

static void upload__over_the_limit__changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct credentials c = add_user(f, "anna");
    struct key_upload u = upload_of(&material, 1, 1, SOTTO_ONE_TIME_PREKEYS_MAX);
    assert_int_equal(directory_upload_keys(f->d, c.user, 1, &u, &f->why), PROBLEM_NONE);
    u = more_of(&material, 1000, 1);
    assert_int_equal(directory_upload_keys(f->d, c.user, 1, &u, &f->why), PROBLEM_BAD_FIELD);
    assert_counts(f, c.user, 1, SOTTO_ONE_TIME_PREKEYS_MAX, SOTTO_ONE_TIME_PREKEYS_MAX);
    u.replace = true;
    assert_int_equal(directory_upload_keys(f->d, c.user, 1, &u, &f->why), PROBLEM_NONE);
    assert_counts(f, c.user, 1, 1, 1);
}

static void upload__of_a_new_identity__forgets_the_old_keys(void **state)
{
    struct fixture *f = *state;
    struct credentials c = add_user(f, "anna");
    struct key_upload u = upload_of(&material, 1, 1, 4);
    size_t count;
    assert_int_equal(directory_upload_keys(f->d, c.user, 1, &u, &f->why), PROBLEM_NONE);
    assert_int_equal(directory_take_bundles(f->d, c.user, 0, bundles, &count), PROBLEM_NONE);
    f->changes_count = 0;
    assert_int_equal(directory_upload_keys(f->d, c.user, 1, &u, &f->why), PROBLEM_NONE);
    assert_int_equal(count_changes(f, CHANGE_DEVICES, c.user), 0); /* nothing new for others */
    u = upload_of(&material, 2, 1, 2);
    assert_int_equal(directory_upload_keys(f->d, c.user, 1, &u, &f->why), PROBLEM_NONE);
    assert_int_equal(count_changes(f, CHANGE_DEVICES, c.user), 1);
    assert_counts(f, c.user, 1, 2, 2);
    assert_int_equal(directory_take_bundles(f->d, c.user, 0, bundles, &count), PROBLEM_NONE);
    assert_int_equal(bundles[0].ec_prekey_id, 1); /* another key under the same number */
}

enum { TAKERS = 4, TAKES = 40 };
struct taker {
    struct fixture *f;
    struct directory *d;
    struct id user;
    struct key_bundle got[SOTTO_DEVICES_PER_USER_MAX];
    uint32_t ec[TAKES], kem[TAKES]; /* 0: none, last resort */
    bool failed;
};

static void *take_many(void *ctx)
{
    struct taker *t = ctx;
    for (size_t i = 0; i < TAKES; i++) {
        size_t count = 0;
        if (directory_take_bundles(t->d, t->user, 0, t->got, &count) != PROBLEM_NONE || count != 1) {
            t->failed = true;
            continue;
        }
        t->ec[i] = t->got[0].has_ec_prekey ? t->got[0].ec_prekey_id : 0;
        t->kem[i] = t->got[0].kem_is_last_resort ? 0 : t->got[0].kem_prekey_id;
    }
    return NULL;
}

/* Half of the callers come through a second handle, as another process would. */
static void take__by_many_at_once__never_gives_a_key_twice(void **state)
{
    enum { STOCK = 130 };
    struct fixture *f = *state;
    struct credentials c = add_user(f, "anna");
    struct directory *second = fixture_open(f);
    struct taker *takers = calloc(TAKERS, sizeof *takers);
    pthread_t threads[TAKERS];
    size_t ec_times[STOCK + 1] = {0}, kem_times[STOCK + 1] = {0};
    struct key_upload u = upload_of(&material, 1, 1, STOCK);
    assert_int_equal(directory_upload_keys(f->d, c.user, 1, &u, &f->why), PROBLEM_NONE);
    for (size_t i = 0; i < TAKERS; i++) {
        takers[i] = (struct taker){.f = f, .d = i % 2 == 0 ? f->d : second, .user = c.user};
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, &takers[i]), 0);
    }
    for (size_t i = 0; i < TAKERS; i++) {
        pthread_join(threads[i], NULL);
        assert_false(takers[i].failed);
        for (size_t k = 0; k < TAKES; k++) {
            ec_times[takers[i].ec[k]]++;
            kem_times[takers[i].kem[k]]++;
        }
    }
    for (size_t id = 1; id <= STOCK; id++) {
        assert_int_equal(ec_times[id], 1);
        assert_int_equal(kem_times[id], 1);
    }
    assert_int_equal(ec_times[0], TAKERS * TAKES - STOCK);
    assert_int_equal(kem_times[0], TAKERS * TAKES - STOCK);
    free(takers);
    directory_close(&second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(upload__refuses_wrong_sizes_and_partial_first_uploads),
        FIXTURE_TEST(take__hands_out_each_key_once__then_the_last_resort),
        FIXTURE_TEST(take__names_every_device_with_keys__or_the_one_asked_for),
        FIXTURE_TEST(upload__repeated__does_not_offer_a_key_again),
        FIXTURE_TEST(restored__offers_no_one_time_key_again),
        FIXTURE_TEST(upload__over_the_limit__changes_nothing),
        FIXTURE_TEST(upload__of_a_new_identity__forgets_the_old_keys),
        FIXTURE_TEST(take__by_many_at_once__never_gives_a_key_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
