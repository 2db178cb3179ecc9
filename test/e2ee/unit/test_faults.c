/* Fault sweeps: every allocation, every draw of randomness and every write to
 * the store fails once, in each public function. A failed call leaves no
 * memory behind and, unless the store itself broke, nothing changed. */
#include <stdlib.h>
#include <string.h>

#include "e2ee/record.h"
#include "support.h"

static const uint8_t group[E2EE_DISTRIBUTION_ID_LEN] = {7};

struct scene {
    struct device alice, bob;
    struct device saved; /* snapshot of alice's store */
    struct message first, whisper, late, group_message, distribution;
    struct e2ee_bundle bundle;
};

static struct message keep(struct device *device, struct e2ee_bytes bytes)
{
    struct message message = {E2EE_MESSAGE_SENDER_KEY, {malloc(bytes.len), bytes.len}};
    assert_non_null(message.bytes.data);
    memcpy(message.bytes.data, bytes.data, bytes.len);
    e2ee_bytes_free(&device->env, &bytes);
    return message;
}

/* Alice and bob talk; an archived session, skipped keys and a group are there;
 * messages of every kind wait for alice. */
static int setup(void **state)
{
    struct scene *scene = calloc(1, sizeof *scene);
    struct e2ee_bytes bytes;
    assert_non_null(scene);
    struct device *alice = &scene->alice, *bob = &scene->bob;
    device_init(alice, 1, 0xa, 1);
    device_init(bob, 2, 0xb, 1);
    device_init(&scene->saved, 3, 0xa, 1);
    device_publish(alice);
    device_publish(bob);
    device_start(alice, bob, 2, 1);
    device_say(alice, bob, "start");
    device_say(bob, alice, "started");
    scene->late = device_encrypt(bob, alice, "late");
    device_start(alice, bob, 2, 2);
    for (int i = 0; i < 40; i++) {
        device_say(alice, bob, "new start");
        device_say(bob, alice, "started");
    }
    struct message skipped = device_encrypt(bob, alice, "skipped");
    message_free(&skipped);
    scene->whisper = device_encrypt(bob, alice, "whisper");
    OK(e2ee_group_distribute(&bob->env, group, &bytes));
    OK(e2ee_group_process(&alice->env, &bob->env.self, bytes.data, bytes.len));
    e2ee_bytes_free(&bob->env, &bytes);
    OK(e2ee_group_encrypt(&bob->env, group, (const uint8_t *)"lost", 4, &bytes));
    e2ee_bytes_free(&bob->env, &bytes);
    OK(e2ee_group_encrypt(&bob->env, group, (const uint8_t *)"group", 5, &bytes));
    scene->group_message = keep(bob, bytes);
    OK(e2ee_group_rotate(&bob->env, group));
    OK(e2ee_group_distribute(&bob->env, group, &bytes));
    scene->distribution = keep(bob, bytes);
    device_start(bob, alice, 2, 5);
    scene->first = device_encrypt(bob, alice, "first");
    OK(e2ee_bundle_make(&bob->env, 1, 2, NULL, &scene->bundle));
    device_store_copy(&scene->saved, alice);
    *state = scene;
    return 0;
}

static int teardown(void **state)
{
    struct scene *scene = *state;
    message_free(&scene->first);
    message_free(&scene->whisper);
    message_free(&scene->late);
    message_free(&scene->group_message);
    message_free(&scene->distribution);
    device_deinit(&scene->alice);
    device_deinit(&scene->bob);
    device_deinit(&scene->saved);
    free(scene);
    return 0;
}

/* --- the public functions, one by one --------------------------------------------------- */

typedef enum e2ee_err operation(struct scene *scene);

static enum e2ee_err finish(struct scene *scene, enum e2ee_err err, struct e2ee_bytes *bytes)
{
    if (err == E2EE_OK) {
        e2ee_bytes_free(&scene->alice.env, bytes);
    } else {
        assert_null(bytes->data);
    }
    return err;
}

static enum e2ee_err do_encrypt(struct scene *scene)
{
    enum e2ee_message_type type;
    struct e2ee_bytes bytes = {0};
    return finish(scene,
                  e2ee_session_encrypt(&scene->alice.env, &scene->bob.env.self,
                                       (const uint8_t *)"text", 4, &type, &bytes),
                  &bytes);
}

static enum e2ee_err do_decrypt(struct scene *scene, const struct message *message)
{
    struct e2ee_bytes bytes = {0};
    return finish(scene,
                  e2ee_session_decrypt(&scene->alice.env, &scene->bob.env.self, message->type,
                                       message->bytes.data, message->bytes.len, &bytes, NULL),
                  &bytes);
}

static enum e2ee_err do_decrypt_whisper(struct scene *scene)
{
    return do_decrypt(scene, &scene->whisper);
}

static enum e2ee_err do_decrypt_archived(struct scene *scene)
{
    return do_decrypt(scene, &scene->late);
}

static enum e2ee_err do_decrypt_first(struct scene *scene)
{
    return do_decrypt(scene, &scene->first);
}

static enum e2ee_err do_start(struct scene *scene)
{
    return e2ee_session_start(&scene->alice.env, &scene->bob.env.self, &scene->bundle, NULL);
}

static enum e2ee_err do_start_and_encrypt(struct scene *scene)
{
    enum e2ee_err err = do_start(scene);
    return err == E2EE_OK ? do_encrypt(scene) : err;
}

static enum e2ee_err do_info(struct scene *scene)
{
    struct e2ee_session_info info;
    return e2ee_session_info(&scene->alice.env, &scene->bob.env.self, &info);
}

static enum e2ee_err do_archive(struct scene *scene)
{
    return e2ee_session_archive(&scene->alice.env, &scene->bob.env.self);
}

static enum e2ee_err do_remove(struct scene *scene)
{
    return e2ee_session_remove(&scene->alice.env, &scene->bob.env.self);
}

static enum e2ee_err do_group_distribute(struct scene *scene)
{
    struct e2ee_bytes bytes = {0};
    return finish(scene, e2ee_group_distribute(&scene->alice.env, group, &bytes), &bytes);
}

static enum e2ee_err do_group_process(struct scene *scene)
{
    return e2ee_group_process(&scene->alice.env, &scene->bob.env.self,
                              scene->distribution.bytes.data, scene->distribution.bytes.len);
}

static enum e2ee_err do_group_decrypt(struct scene *scene)
{
    struct e2ee_bytes bytes = {0};
    return finish(scene,
                  e2ee_group_decrypt(&scene->alice.env, &scene->bob.env.self,
                                     scene->group_message.bytes.data,
                                     scene->group_message.bytes.len, NULL, &bytes),
                  &bytes);
}

static enum e2ee_err do_group_distribute_and_encrypt(struct scene *scene)
{
    struct e2ee_bytes bytes = {0};
    enum e2ee_err err = do_group_distribute(scene);
    return err != E2EE_OK
               ? err
               : finish(scene,
                        e2ee_group_encrypt(&scene->alice.env, group, (const uint8_t *)"text", 4,
                                           &bytes),
                        &bytes);
}

static enum e2ee_err do_group_rotate(struct scene *scene)
{
    return e2ee_group_rotate(&scene->alice.env, group);
}

static enum e2ee_err do_prekey_create(struct scene *scene)
{
    uint8_t key[E2EE_PUBLIC_LEN];
    return e2ee_prekey_create(&scene->alice.env, 77, key);
}

static enum e2ee_err do_signed_prekey_create(struct scene *scene)
{
    uint8_t key[E2EE_PUBLIC_LEN], signature[E2EE_SIGNATURE_LEN];
    return e2ee_signed_prekey_create(&scene->alice.env, 77, key, signature);
}

static enum e2ee_err do_kem_prekey_create(struct scene *scene)
{
    uint8_t key[E2EE_KEM_PUBLIC_LEN], signature[E2EE_SIGNATURE_LEN];
    return e2ee_kem_prekey_create(&scene->alice.env, 77, true, key, signature);
}

static enum e2ee_err do_prekey_info(struct scene *scene)
{
    struct e2ee_prekey_info info;
    return e2ee_prekey_info(&scene->alice.env, E2EE_RECORD_KEM_PREKEY, 2, &info);
}

static enum e2ee_err do_prekey_remove(struct scene *scene)
{
    return e2ee_prekey_remove(&scene->alice.env, E2EE_RECORD_PREKEY, 9);
}

static enum e2ee_err do_bundle_make(struct scene *scene)
{
    struct e2ee_bundle bundle;
    uint32_t prekey = 9;
    return e2ee_bundle_make(&scene->alice.env, 1, 2, &prekey, &bundle);
}

static enum e2ee_err do_identity_get(struct scene *scene)
{
    uint8_t key[E2EE_PUBLIC_LEN];
    uint32_t registration;
    return e2ee_identity_get(&scene->alice.env, key, &registration);
}

static enum e2ee_err do_identity_export(struct scene *scene)
{
    uint8_t key[E2EE_PRIVATE_LEN];
    return e2ee_identity_export(&scene->alice.env, key);
}

static enum e2ee_err do_identity_sign(struct scene *scene)
{
    uint8_t signature[E2EE_SIGNATURE_LEN];
    return e2ee_identity_sign(&scene->alice.env, (const uint8_t *)"text", 4, signature);
}

static enum e2ee_err do_identity_create(struct scene *scene)
{
    device_store_clear(&scene->alice);
    return e2ee_identity_create(&scene->alice.env, 5);
}

static enum e2ee_err do_peer_accept(struct scene *scene)
{
    return e2ee_peer_accept(&scene->alice.env, scene->bob.env.self.service_id,
                            scene->bundle.identity, true);
}

static operation *const operations[] = {
    do_encrypt,
    do_decrypt_whisper,
    do_decrypt_archived,
    do_decrypt_first,
    do_start,
    do_start_and_encrypt,
    do_info,
    do_archive,
    do_remove,
    do_group_distribute,
    do_group_process,
    do_group_decrypt,
    do_group_distribute_and_encrypt,
    do_group_rotate,
    do_prekey_create,
    do_signed_prekey_create,
    do_kem_prekey_create,
    do_prekey_info,
    do_prekey_remove,
    do_bundle_make,
    do_identity_get,
    do_identity_export,
    do_identity_sign,
    do_identity_create,
    do_peer_accept,
};
enum { OPERATIONS = sizeof operations / sizeof operations[0] };

/* Operations of two calls may have finished the first; and one clears. */
static bool is_single(operation *op)
{
    return op != do_start_and_encrypt && op != do_group_distribute_and_encrypt &&
           op != do_identity_create;
}

/* --- sweeps ----------------------------------------------------------------------------------- */

static void allocation__failing_at_each_point__is_an_error(void **state)
{
    struct scene *scene = *state;
    uint64_t before = device_store_hash(&scene->alice);
    for (size_t i = 0; i < OPERATIONS; i++) {
        for (long k = 0;; k++) {
            scene->alice.fail_at = scene->alice.allocations + k;
            enum e2ee_err err = operations[i](scene);
            assert_int_equal(scene->alice.block_count, 0);
            if (err == E2EE_OK) {
                break;
            }
            assert_int_equal(err, E2EE_ERR_MEMORY);
            if (is_single(operations[i])) {
                assert_int_equal(device_store_hash(&scene->alice), before);
            }
            device_store_copy(&scene->alice, &scene->saved);
        }
        scene->alice.fail_at = -1;
        device_store_copy(&scene->alice, &scene->saved);
    }
}

/* The source fails from the k-th draw on. */
static struct {
    struct device *device;
    long draws_left;
    int (*fill)(void *context, uint8_t *out, size_t len);
} failing;

static int failing_fill(void *context, uint8_t *out, size_t len)
{
    return failing.draws_left-- <= 0 ? -1 : failing.fill(context, out, len);
}

static void randomness__failing_at_each_draw__is_an_error(void **state)
{
    struct scene *scene = *state;
    uint64_t before = device_store_hash(&scene->alice);
    failing.fill = scene->alice.env.random.fill;
    scene->alice.env.random.fill = failing_fill;
    for (size_t i = 0; i < OPERATIONS; i++) {
        for (long k = 0;; k++) {
            failing.draws_left = k;
            enum e2ee_err err = operations[i](scene);
            assert_int_equal(scene->alice.block_count, 0);
            if (err == E2EE_OK) {
                break;
            }
            assert_int_equal(err, E2EE_ERR_RANDOM);
            if (is_single(operations[i])) {
                assert_int_equal(device_store_hash(&scene->alice), before);
            }
            device_store_copy(&scene->alice, &scene->saved);
        }
        device_store_copy(&scene->alice, &scene->saved);
    }
}

/* A write fails: the caller rolls back, and then all goes as if nothing was. */
static void store__failing_at_each_write__is_an_error(void **state)
{
    struct scene *scene = *state;
    for (size_t i = 0; i < OPERATIONS; i++) {
        for (long k = 0;; k++) {
            scene->alice.writes_until_failure = k;
            enum e2ee_err err = operations[i](scene);
            assert_int_equal(scene->alice.block_count, 0);
            if (err == E2EE_OK) {
                break;
            }
            assert_int_equal(err, E2EE_ERR_STORE);
            device_store_copy(&scene->alice, &scene->saved);
        }
        scene->alice.writes_until_failure = -1;
        device_store_copy(&scene->alice, &scene->saved);
        OK(operations[i](scene));
        device_store_copy(&scene->alice, &scene->saved);
    }
}

/* Every record in turn is cut or damaged: an error or, where the operation
 * does not read it, success; never a crash, never a leak. */
static void records__damaged__are_errors(void **state)
{
    struct scene *scene = *state;
    struct test_random random;
    test_random_seed(&random, 99);
    size_t corrupt = 0;
    for (size_t i = 0; i < OPERATIONS; i++) {
        for (size_t r = 0; r < scene->saved.record_count; r++) {
            for (int damage = 0; damage < 6; damage++) {
                struct test_record *record = &scene->alice.records[r];
                if (damage < 3) {
                    record->data_len = damage == 0 ? test_random_below(&random, 12)
                                                   : test_random_below(&random,
                                                                       (uint32_t)record->data_len);
                } else {
                    record->data[test_random_below(&random, (uint32_t)record->data_len)] ^=
                        (uint8_t)(1u << damage);
                }
                enum e2ee_err err = operations[i](scene);
                assert_true(err == E2EE_OK || err == E2EE_ERR_CORRUPT ||
                            (err == E2EE_ERR_EXISTS && operations[i] == do_identity_create));
                corrupt += err == E2EE_ERR_CORRUPT ? 1 : 0;
                assert_int_equal(scene->alice.block_count, 0);
                device_store_copy(&scene->alice, &scene->saved);
            }
        }
    }
    assert_true(corrupt > 100);
}

/* The same with a correct checksum, as a bug or a forger would leave it. What
 * comes out does not matter; memory does. */
static void body_write(struct writer *writer, const void *object)
{
    const struct e2ee_bytes *body = object;
    write_bytes(writer, body->data, body->len);
}

static void record_bodies__damaged__do_no_harm(void **state)
{
    struct scene *scene = *state;
    struct test_random random;
    test_random_seed(&random, 100);
    for (size_t i = 0; i < OPERATIONS; i++) {
        for (size_t r = 0; r < scene->saved.record_count; r++) {
            for (int damage = 0; damage < 4; damage++) {
                struct test_record *record = &scene->alice.records[r];
                uint32_t len = (uint32_t)record->data_len - RECORD_OVERHEAD;
                struct e2ee_bytes body = {record->data + 4, len}, sealed;
                if (damage < 2) {
                    body.len = test_random_below(&random, len);
                } else {
                    body.data[test_random_below(&random, damage == 2 ? len : 300) % len] ^=
                        (uint8_t)(1u << test_random_below(&random, 8));
                }
                OK(record_seal(&scene->alice.env, record->kind, body_write, &body, &sealed));
                memcpy(record->data, sealed.data, sealed.len);
                record->data_len = sealed.len;
                e2ee_bytes_free(&scene->alice.env, &sealed);
                enum e2ee_err err = operations[i](scene);
                assert_true(err < E2EE_ERR_COUNT);
                assert_int_equal(scene->alice.block_count, 0);
                device_store_copy(&scene->alice, &scene->saved);
            }
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(allocation__failing_at_each_point__is_an_error),
        TEST(randomness__failing_at_each_draw__is_an_error),
        TEST(store__failing_at_each_write__is_an_error),
        TEST(records__damaged__are_errors),
        TEST(record_bodies__damaged__do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
