/* A directory on a real SQLite file in a folder of its own, with a clock that
 * stands still and a password hash that costs little. */
#ifndef SOTTO_TEST_DIRECTORY_FIXTURE_H
#define SOTTO_TEST_DIRECTORY_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "directory/directory.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { RECORDED_MAX = 256 };
struct recorded {
    enum directory_change what;
    struct id user;
    uint8_t device;
};
struct fixture {
    char folder[64];
    char file[96];
    struct clock_manual clock;
    struct directory *d;
    struct buffer why;
    pthread_mutex_t mutex;
    struct recorded changes[RECORDED_MAX]; /* what the listener was told */
    size_t changes_count;
};

static inline void record_change(void *ctx, enum directory_change what, struct id user, uint8_t device)
{
    struct fixture *f = ctx;
    pthread_mutex_lock(&f->mutex);
    if (f->changes_count < RECORDED_MAX) f->changes[f->changes_count++] = (struct recorded){what, user, device};
    pthread_mutex_unlock(&f->mutex);
}

static inline size_t count_changes(struct fixture *f, enum directory_change what, struct id user)
{
    size_t count = 0;
    pthread_mutex_lock(&f->mutex);
    for (size_t i = 0; i < f->changes_count; i++)
        if (f->changes[i].what == what && id_eq(f->changes[i].user, user)) count++;
    pthread_mutex_unlock(&f->mutex);
    return count;
}

static inline bool was_told(struct fixture *f, enum directory_change what, struct id user, uint8_t device)
{
    bool told = false;
    pthread_mutex_lock(&f->mutex);
    for (size_t i = 0; i < f->changes_count && !told; i++)
        told = f->changes[i].what == what && id_eq(f->changes[i].user, user) && f->changes[i].device == device;
    pthread_mutex_unlock(&f->mutex);
    return told;
}

static inline enum sotto_err fixture_try_open(struct fixture *f, struct directory **out)
{
    struct directory_options options = {
        .file = f->file,
        .clock = &f->clock.source,
        .random = random_system(),
        .registration = REGISTRATION_OPEN,
        .cache_bytes = 1 << 20,
        .argon2_ops = 1,
        .argon2_mem_bytes = 8192,
        .prekeys_low = 3,
    };
    return directory_open(&options, &f->why, out);
}

static inline struct directory *fixture_open(struct fixture *f)
{
    struct directory *d = NULL;
    enum sotto_err err = fixture_try_open(f, &d);
    if (err != SOTTO_OK) print_error("%.*s\n", (int)f->why.len, (const char *)f->why.data);
    assert_int_equal(err, SOTTO_OK);
    return d;
}

static inline int fixture_setup_closed(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    snprintf(f->folder, sizeof f->folder, "/tmp/sotto-directory-XXXXXX");
    if (mkdtemp(f->folder) == NULL) return -1;
    snprintf(f->file, sizeof f->file, "%s/directory.db", f->folder);
    clock_manual_init(&f->clock, 1700000000000);
    buffer_init(&f->why, 4096);
    pthread_mutex_init(&f->mutex, NULL);
    *state = f;
    return 0;
}

static inline int fixture_setup(void **state)
{
    if (fixture_setup_closed(state) != 0) return -1;
    struct fixture *f = *state;
    f->d = fixture_open(f);
    directory_on_change(f->d, record_change, f);
    return 0;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"directory.db", "directory.db-wal", "directory.db-shm", "copy.db",
                                        "copy.db-wal", "copy.db-shm", "copy.db.part"};
    directory_close(&f->d);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", f->folder, names[i]);
        unlink(path);
    }
    int left = rmdir(f->folder);
    buffer_deinit(&f->why);
    pthread_mutex_destroy(&f->mutex);
    free(f);
    return left;
}

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
#define CLOSED_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup_closed, fixture_teardown)
#define PASSWORD "correct horse battery"

static inline bool why_says(const struct fixture *f, const char *words)
{
    char text[4097];
    snprintf(text, sizeof text, "%.*s", (int)f->why.len, f->why.len > 0 ? (const char *)f->why.data : "");
    return strstr(text, words) != NULL;
}

static inline struct device_login some_device(void)
{
    return (struct device_login){SLICE_LIT("Anna's phone"), SLICE_LIT("cli")};
}

static inline struct registration registration_of(const char *username)
{
    return (struct registration){
        .username = slice_str(username), .password = SLICE_LIT(PASSWORD), .device = some_device()};
}

static inline struct credentials add_user(struct fixture *f, const char *username)
{
    struct credentials c;
    struct registration r = registration_of(username);
    assert_int_equal(directory_register(f->d, &r, &f->why, &c), PROBLEM_NONE);
    return c;
}

static inline enum problem try_login(struct fixture *f, const char *username, const char *password,
                                     const char *address, uint64_t *retry_ms, struct credentials *out)
{
    struct device_login device = some_device();
    return directory_login(f->d, slice_str(username), slice_str(password), &device, slice_str(address), &f->why,
                           retry_ms, out);
}

static inline struct credentials login(struct fixture *f, const char *username)
{
    struct credentials c;
    uint64_t retry_ms = 0;
    assert_int_equal(try_login(f, username, PASSWORD, "192.0.2.1", &retry_ms, &c), PROBLEM_NONE);
    return c;
}

static inline enum problem authenticate(struct directory *d, const char *token)
{
    struct id user;
    uint8_t device;
    return directory_authenticate(d, slice_str(token), &user, &device);
}

#endif
