/* Speed of the native core, one figure per run: what a client does for each
 * message, with every record loaded and saved.
 *
 *   e2ee_bench SCENARIO COUNT      prints operations (or megabytes) a second
 *
 *   pairs           encrypt and decrypt, the ratchet turning at each message
 *   one_way         encrypt and decrypt, all in one direction
 *   start           session from a bundle, first message, decrypted
 *   group           encrypt and decrypt under a sender key
 *   media_encrypt   MB/s, COUNT megabytes
 *   media_decrypt   MB/s, COUNT megabytes
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "e2ee/group.h"
#include "e2ee/interop/peer_store.h"
#include "e2ee/media.h"
#include "e2ee/session.h"

enum { TEXT_LEN = 256 };

struct device {
    struct e2ee_env env;
    struct peer_store store;
};

static struct device alice, bob;
static const uint8_t text[TEXT_LEN];
static const uint8_t group_id[E2EE_DISTRIBUTION_ID_LEN] = {1};

static void *heap_alloc(void *context, size_t len)
{
    (void)context;
    return malloc(len);
}

static void heap_free(void *context, void *block, size_t len)
{
    (void)context;
    (void)len;
    free(block);
}

static int system_random(void *context, uint8_t *out, size_t len)
{
    (void)context;
    randombytes_buf(out, len);
    return 0;
}

static uint64_t fixed_now_ms(void *context)
{
    (void)context;
    return UINT64_C(1800000000000);
}

static void must(enum e2ee_err err)
{
    if (err == E2EE_OK) return;
    fprintf(stderr, "e2ee_bench: %s\n", e2ee_err_name(err));
    exit(1);
}

static void done(void)
{
    peer_store_end(&alice.store, true);
    peer_store_end(&bob.store, true);
}

static void device_init(struct device *device, uint8_t user)
{
    device->env.memory = (struct e2ee_memory){NULL, heap_alloc, heap_free};
    device->env.random = (struct e2ee_random){NULL, system_random};
    device->env.clock = (struct e2ee_clock){NULL, fixed_now_ms};
    device->env.store = peer_store_table(&device->store);
    device->env.self.service_id[16] = user;
    device->env.self.device_id = 1;
    must(e2ee_identity_create(&device->env, user));
    done();
}

static void send(struct device *from, struct device *to)
{
    struct e2ee_bytes message, plaintext;
    enum e2ee_message_type type;
    must(e2ee_session_encrypt(&from->env, &to->env.self, text, TEXT_LEN, &type, &message));
    must(e2ee_session_decrypt(&to->env, &from->env.self, type, message.data, message.len,
                              &plaintext, NULL));
    e2ee_bytes_free(&from->env, &message);
    e2ee_bytes_free(&to->env, &plaintext);
    done();
}

static void start(void)
{
    static struct e2ee_bundle bundle;
    must(e2ee_bundle_make(&bob.env, 1, 1, NULL, &bundle));
    must(e2ee_session_start(&alice.env, &bob.env.self, &bundle, NULL));
    send(&alice, &bob);
}

static void send_group(void)
{
    struct e2ee_bytes message, plaintext;
    must(e2ee_group_encrypt(&alice.env, group_id, text, TEXT_LEN, &message));
    must(e2ee_group_decrypt(&bob.env, &alice.env.self, message.data, message.len, NULL,
                            &plaintext));
    e2ee_bytes_free(&alice.env, &message);
    e2ee_bytes_free(&bob.env, &plaintext);
    done();
}

static void prepare(void)
{
    static uint8_t kem_public[E2EE_KEM_PUBLIC_LEN];
    uint8_t public_key[E2EE_PUBLIC_LEN], signature[E2EE_SIGNATURE_LEN];
    struct e2ee_bytes keys;
    device_init(&alice, 1);
    device_init(&bob, 2);
    must(e2ee_signed_prekey_create(&bob.env, 1, public_key, signature));
    must(e2ee_kem_prekey_create(&bob.env, 1, true, kem_public, signature));
    start();
    send(&bob, &alice);
    must(e2ee_group_distribute(&alice.env, group_id, &keys));
    must(e2ee_group_process(&bob.env, &alice.env.self, keys.data, keys.len));
    e2ee_bytes_free(&alice.env, &keys);
    done();
}

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

/* Encrypts `megabytes`; keeps the object if it is to be decrypted. */
static double media(size_t megabytes, bool decrypt)
{
    uint64_t size = (uint64_t)megabytes * 1000000;
    struct e2ee_media_writer *writer;
    struct e2ee_media_reader *reader;
    uint8_t descriptor[E2EE_MEDIA_DESCRIPTOR_LEN];
    static uint8_t data[E2EE_MEDIA_CHUNK_LEN];
    const uint8_t *hashes;
    size_t hashes_len, len;
    must(e2ee_media_writer_create(&alice.env, size, &writer));
    struct e2ee_media_layout layout = *e2ee_media_writer_layout(writer);
    uint8_t *object = malloc((size_t)layout.chunks * E2EE_MEDIA_SEALED_LEN);
    if (object == NULL) exit(1);
    memset(object, 1, (size_t)layout.chunks * E2EE_MEDIA_SEALED_LEN);
    double began = now();
    for (uint32_t i = 0; i < layout.chunks; i++) {
        must(e2ee_media_writer_chunk(writer, data, e2ee_media_data_len(&layout, i),
                                     object + (size_t)i * E2EE_MEDIA_SEALED_LEN));
    }
    must(e2ee_media_writer_finish(writer, &hashes, &hashes_len, descriptor));
    double took = now() - began;
    if (decrypt) {
        began = now();
        must(e2ee_media_reader_create(&bob.env, descriptor, sizeof(descriptor), &reader));
        must(e2ee_media_reader_hashes(reader, hashes, hashes_len));
        for (uint32_t i = 0; i < layout.chunks; i++) {
            must(e2ee_media_reader_chunk(reader, i, object + (size_t)i * E2EE_MEDIA_SEALED_LEN,
                                         e2ee_media_sealed_len(&layout, i), data, &len));
        }
        took = now() - began;
        e2ee_media_reader_destroy(&reader);
    }
    e2ee_media_writer_destroy(&writer);
    free(object);
    return (double)megabytes / took;
}

int main(int argc, char **argv)
{
    if (argc != 3 || e2ee_init() != E2EE_OK) return 2;
    const char *name = argv[1];
    size_t count = strtoul(argv[2], NULL, 10);
    prepare();
    if (strncmp(name, "media_", 6) == 0) {
        printf("%.1f\n", media(count, strcmp(name, "media_decrypt") == 0));
        return 0;
    }
    double began = now();
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, "pairs") == 0) send(i % 2 == 0 ? &alice : &bob, i % 2 == 0 ? &bob : &alice);
        else if (strcmp(name, "one_way") == 0) send(&alice, &bob);
        else if (strcmp(name, "start") == 0) start();
        else if (strcmp(name, "group") == 0) send_group();
        else return 2;
    }
    printf("%.1f\n", (double)count / (now() - began));
    peer_store_deinit(&alice.store);
    peer_store_deinit(&bob.store);
    return 0;
}
