/* A full disk: SQLite's own system calls are replaced by ones that run out of
 * room after so many writes. Reading goes on, nothing is half done, and it
 * recovers by itself. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/types.h>

static atomic_long writes_left; /* negative: the disk is roomy */

static bool no_room(void)
{
    long left = atomic_load(&writes_left);
    if (left < 0) return false;
    if (left > 0) atomic_store(&writes_left, left - 1);
    if (left == 0) errno = ENOSPC;
    return left == 0;
}

static ssize_t full_write(int fd, const void *data, size_t len) { return no_room() ? -1 : write(fd, data, len); }
static ssize_t full_pwrite(int fd, const void *data, size_t len, off_t at)
{
    return no_room() ? -1 : pwrite(fd, data, len, at);
}
static int full_fallocate(int fd, off_t at, off_t len) { return no_room() ? ENOSPC : posix_fallocate(fd, at, len); }
static int full_ftruncate(int fd, off_t len) { return no_room() ? -1 : ftruncate(fd, len); }

static void install(void)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    vfs->xSetSystemCall(vfs, "write", (sqlite3_syscall_ptr)full_write);
    vfs->xSetSystemCall(vfs, "pwrite", (sqlite3_syscall_ptr)full_pwrite);
    vfs->xSetSystemCall(vfs, "pwrite64", (sqlite3_syscall_ptr)full_pwrite);
    vfs->xSetSystemCall(vfs, "fallocate", (sqlite3_syscall_ptr)full_fallocate);
    vfs->xSetSystemCall(vfs, "ftruncate", (sqlite3_syscall_ptr)full_ftruncate);
}

static void fail_on_finding(void *ctx, const char *sentence)
{
    (void)ctx;
    print_error("%s\n", sentence);
    fail();
}

static void full_disk__refuses_writes__and_goes_on_reading(void **state)
{
    struct fixture *f = *state;
    struct credentials c = add_user(f, "anna"), other;
    struct profile p;
    uint64_t retry_ms;
    atomic_store(&writes_left, 0);
    struct registration r = registration_of("berta");
    assert_int_equal(directory_register(f->d, &r, &f->why, &other), PROBLEM_STORAGE_FULL);
    assert_int_equal(try_login(f, "anna", PASSWORD, "a", &retry_ms, &other), PROBLEM_STORAGE_FULL);
    assert_int_equal(try_login(f, "anna", "wrong password", "a", &retry_ms, &other), PROBLEM_CREDENTIALS);
    assert_int_equal(directory_revoke_device(f->d, c.user, 1), PROBLEM_STORAGE_FULL);
    clock_manual_advance(&f->clock, 2 * 3600 * 1000); /* last_seen is due, and cannot be written */
    assert_int_equal(authenticate(f->d, c.token), PROBLEM_NONE);
    assert_int_equal(directory_profile(f->d, c.user, &p), PROBLEM_NONE);
    assert_int_equal(directory_find_username(f->d, SLICE_LIT("berta"), &p), PROBLEM_NO_SUCH_USER);
    char copy[128];
    snprintf(copy, sizeof copy, "%s/copy.db", f->folder);
    assert_int_equal(directory_backup(f->d, copy, &f->why), SOTTO_ERR_FULL);
    assert_int_not_equal(access(copy, F_OK), 0);
    atomic_store(&writes_left, -1);
    assert_int_equal(directory_register(f->d, &r, &f->why, &other), PROBLEM_NONE);
    assert_int_equal(directory_check(f->d, fail_on_finding, NULL), SOTTO_OK);
}

/* The disk fills at the k-th write, for every k that matters; afterwards the
 * file is closed, opened and checked. */
static void full_disk__at_any_write__leaves_all_or_nothing(void **state)
{
    struct fixture *f = *state;
    bool told = true;
    for (long k = 0; told && k < 200; k++) {
        char name[16];
        struct credentials c;
        struct profile p;
        snprintf(name, sizeof name, "user%ld", k);
        struct registration r = registration_of(name);
        atomic_store(&writes_left, k);
        enum problem result = directory_register(f->d, &r, &f->why, &c);
        told = result != PROBLEM_NONE;
        if (told) assert_int_equal(result, PROBLEM_STORAGE_FULL);
        atomic_store(&writes_left, -1);
        directory_close(&f->d);
        f->d = fixture_open(f);
        enum problem found = directory_find_username(f->d, slice_str(name), &p);
        assert_int_equal(found, told ? PROBLEM_NO_SUCH_USER : PROBLEM_NONE);
        assert_int_equal(directory_check(f->d, fail_on_finding, NULL), SOTTO_OK);
    }
    assert_false(told); /* the sweep reached the end */
}

/* Opening on a full disk says so; with room again it opens. */
static void full_disk__while_opening__is_named(void **state)
{
    struct fixture *f = *state;
    directory_close(&f->d);
    bool opened = false;
    for (long k = 0; !opened && k < 200; k++) {
        struct directory *d = NULL;
        unlink(f->file);
        atomic_store(&writes_left, k);
        enum sotto_err err = fixture_try_open(f, &d);
        opened = err == SOTTO_OK;
        if (!opened) {
            assert_int_equal(err, SOTTO_ERR_FULL);
            assert_true(why_says(f, "full"));
        }
        atomic_store(&writes_left, -1);
        directory_close(&d);
        d = fixture_open(f);
        directory_close(&d);
    }
    assert_true(opened);
}

int main(void)
{
    atomic_init(&writes_left, -1);
    install();
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(full_disk__refuses_writes__and_goes_on_reading),
        FIXTURE_TEST(full_disk__at_any_write__leaves_all_or_nothing),
        FIXTURE_TEST(full_disk__while_opening__is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
