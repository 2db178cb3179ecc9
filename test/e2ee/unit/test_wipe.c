/* Secrets are gone when a call has returned: from the heap (freed blocks are
 * all zero), from the stack the call ran on, and from the stored session once
 * a message key is used.
 *
 * The call runs on a stack of its own that is searched afterwards. Under a
 * sanitizer that stack is not ours to read, so only the rest is tested.
 */
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "e2ee/ratchet.h"
#include "support.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OWN_STACK 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define OWN_STACK 0
#endif
#endif
#ifndef OWN_STACK
#define OWN_STACK 1
#endif

enum { STACK_LEN = 1 << 20, SECRETS_MAX = 64 };

struct named_secret {
    const char *name;
    uint8_t bytes[32];
};

static struct {
    struct device alice, bob;
    struct message message;
    struct e2ee_bytes plaintext;
    enum e2ee_err err;
    struct named_secret secrets[SECRETS_MAX];
    size_t secret_count;
    ucontext_t main, call;
    uint8_t *stack;
} scene;

static void secret_add(const char *name, const uint8_t bytes[32])
{
    assert_true(scene.secret_count < SECRETS_MAX);
    struct named_secret *secret = &scene.secrets[scene.secret_count++];
    secret->name = name;
    memcpy(secret->bytes, bytes, 32);
}

static struct session *session_of(struct device *device, struct device *peer)
{
    struct test_record *record = device_session_record(device, peer);
    struct e2ee_bytes bytes = {record->data, record->data_len};
    struct reader reader;
    struct session *session = session_create(&device->env);
    assert_non_null(session);
    OK(record_open(E2EE_RECORD_SESSION, &bytes, &reader));
    OK(session_read(&device->env, &reader, session));
    return session;
}

static bool holds(const uint8_t *memory, size_t len, const uint8_t secret[32])
{
    for (size_t i = 0; i + 32 <= len; i++) {
        if (memory[i] == secret[0] && memcmp(memory + i, secret, 32) == 0) {
            return true;
        }
    }
    return false;
}

/* Half a key would do an attacker nearly as much good: look for 16 bytes. */
static const char *left_behind(const uint8_t *memory, size_t len)
{
    for (size_t s = 0; s < scene.secret_count; s++) {
        for (size_t i = 0; i + 16 <= len; i++) {
            if (memcmp(memory + i, scene.secrets[s].bytes, 16) == 0 ||
                memcmp(memory + i, scene.secrets[s].bytes + 16, 16) == 0) {
                return scene.secrets[s].name;
            }
        }
    }
    return NULL;
}

static void decrypt_call(void)
{
    scene.err = e2ee_session_decrypt(&scene.bob.env, &scene.alice.env.self, scene.message.type,
                                     scene.message.bytes.data, scene.message.bytes.len,
                                     &scene.plaintext, NULL);
}

static void encrypt_call(void)
{
    enum e2ee_message_type type;
    scene.err = e2ee_session_encrypt(&scene.bob.env, &scene.alice.env.self,
                                     (const uint8_t *)"answer", 6, &type, &scene.plaintext);
}

static void run_on_own_stack(void (*call)(void))
{
    memset(scene.stack, 0x5a, STACK_LEN);
    assert_int_equal(getcontext(&scene.call), 0);
    scene.call.uc_stack.ss_sp = scene.stack;
    scene.call.uc_stack.ss_size = STACK_LEN;
    scene.call.uc_link = &scene.main;
    makecontext(&scene.call, call, 0);
    assert_int_equal(swapcontext(&scene.main, &scene.call), 0);
    assert_int_equal(scene.err, E2EE_OK);
    e2ee_bytes_free(&scene.bob.env, &scene.plaintext);
}

/* What a careless call would do. */
static void careless_call(void)
{
    volatile uint8_t copy[32];
    for (size_t i = 0; i < sizeof copy; i++) {
        copy[i] = scene.secrets[0].bytes[i];
    }
    scene.err = copy[0] == scene.secrets[0].bytes[0] ? E2EE_OK : E2EE_ERR_DECRYPT;
}

static int setup(void **state)
{
    (void)state;
    memset(&scene, 0, sizeof scene);
    scene.stack = malloc(STACK_LEN);
    assert_non_null(scene.stack);
    device_init(&scene.alice, 1, 0xa, 1);
    device_init(&scene.bob, 2, 0xb, 1);
    device_publish(&scene.alice);
    device_publish(&scene.bob);
    device_start(&scene.alice, &scene.bob, 1, 1);
    for (int i = 0; i < 3; i++) {
        device_say(&scene.alice, &scene.bob, "start");
        device_say(&scene.bob, &scene.alice, "started");
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    message_free(&scene.message);
    device_deinit(&scene.alice);
    device_deinit(&scene.bob);
    free(scene.stack);
    return 0;
}

/* The secrets that opening alice's next message goes through on bob's side. */
static void collect_secrets(void)
{
    struct session *sender = session_of(&scene.alice, &scene.bob);
    struct session *receiver = session_of(&scene.bob, &scene.alice);
    struct secret32 chain = sender->sender_chain, seed, pq_key, shared;
    struct message_keys keys;
    uint8_t pq[SPQR_MESSAGE_MAX];
    size_t len;

    secret_add("sender chain", chain.bytes);
    chain_step(&chain, &seed);
    secret_add("next sender chain", chain.bytes);
    secret_add("seed", seed.bytes);
    OK(spqr_send(&scene.alice.env, &sender->spqr, pq, &len, &pq_key));
    secret_add("pq key", pq_key.bytes);
    message_keys_derive(&seed, &pq_key, &keys);
    secret_add("cipher key", keys.cipher);
    secret_add("mac key", keys.mac);
    assert_true(curve_agree(&receiver->sender.private_key, sender->sender.public_key, &shared));
    secret_add("shared secret", shared.bytes);
    secret_add("old root", receiver->root.bytes);
    secret_add("old ratchet key", receiver->sender.private_key.bytes);
    session_destroy(&scene.alice.env, &sender);
    session_destroy(&scene.bob.env, &receiver);
}

static void collect_new_secrets(void)
{
    struct session *session = session_of(&scene.bob, &scene.alice);
    secret_add("new root", session->root.bytes);
    secret_add("new ratchet key", session->sender.private_key.bytes);
    secret_add("new sender chain", session->sender_chain.bytes);
    secret_add("pq chain", session->spqr.chain.epochs[0].receive.next.bytes);
    secret_add("pq root", session->spqr.chain.next_root.bytes);
    secret_add("authenticator", session->spqr.braid.auth_mac.bytes);
    session_destroy(&scene.bob.env, &session);
}

static void search__finds__what_a_careless_call_leaves(void **state)
{
    (void)state;
    collect_secrets();
    if (OWN_STACK) {
        run_on_own_stack(careless_call);
        assert_string_equal(left_behind(scene.stack, STACK_LEN), scene.secrets[0].name);
    }
}

static void decrypt__leaves__nothing_on_the_stack(void **state)
{
    (void)state;
    struct test_random saved = scene.alice.random;
    collect_secrets();
    scene.alice.random = saved;
    scene.message = device_encrypt(&scene.alice, &scene.bob, "target");
    if (OWN_STACK) {
        run_on_own_stack(decrypt_call);
        collect_new_secrets();
        const char *name = left_behind(scene.stack, STACK_LEN);
        if (name != NULL) {
            fail_msg("%s is on the stack", name);
        }
    }
}

static void encrypt__leaves__nothing_on_the_stack(void **state)
{
    (void)state;
    collect_new_secrets();
    if (OWN_STACK) {
        run_on_own_stack(encrypt_call);
        collect_new_secrets();
        const char *name = left_behind(scene.stack, STACK_LEN);
        if (name != NULL) {
            fail_msg("%s is on the stack", name);
        }
    }
}

/* After a message is opened its keys are in no record: who takes the device
 * cannot read it again (forward secrecy). */
static void decrypt__leaves__no_used_key_in_the_store(void **state)
{
    (void)state;
    struct test_random saved = scene.alice.random;
    collect_secrets();
    scene.alice.random = saved;
    scene.message = device_encrypt(&scene.alice, &scene.bob, "target");
    OK(device_decrypt(&scene.bob, &scene.alice, &scene.message, "target"));
    for (size_t r = 0; r < scene.bob.record_count; r++) {
        const struct test_record *record = &scene.bob.records[r];
        for (size_t s = 0; s < scene.secret_count; s++) {
            if (strcmp(scene.secrets[s].name, "next sender chain") != 0) {
                assert_false(holds(record->data, record->data_len, scene.secrets[s].bytes));
            }
        }
    }
}

/* Destroying a session clears it while the memory is still there to look at:
 * a heap that does not give anything back shows what is left. */
static uint8_t *kept_block;
static size_t kept_len;

static void keeping_free(void *context, void *block, size_t len)
{
    (void)context;
    kept_block = block;
    kept_len = len;
}

static void session__destroyed__is_all_zero(void **state)
{
    (void)state;
    struct session *session = session_of(&scene.bob, &scene.alice);
    void (*give_back)(void *, void *, size_t) = scene.bob.env.memory.free;
    uint8_t root[32];
    memcpy(root, session->root.bytes, 32);
    assert_true(holds((const uint8_t *)session, sizeof *session, root));
    scene.bob.env.memory.free = keeping_free;
    session_destroy(&scene.bob.env, &session);
    assert_null(session);
    assert_int_equal(kept_len, sizeof *session);
    for (size_t i = 0; i < kept_len; i++) {
        assert_int_equal(kept_block[i], 0);
    }
    scene.bob.env.memory.free = give_back;
    give_back(scene.bob.env.memory.context, kept_block, kept_len);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(search__finds__what_a_careless_call_leaves),
        TEST(decrypt__leaves__nothing_on_the_stack),
        TEST(encrypt__leaves__nothing_on_the_stack),
        TEST(decrypt__leaves__no_used_key_in_the_store),
        TEST(session__destroyed__is_all_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
