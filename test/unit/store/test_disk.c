/* The embedded store on a disk that is slow, or that fails: what RocksDB calls in
 * the C library is defined here, and that wins. */
#include "unit/store/folder.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "base/bytes.h"

static atomic_int reads_left = -1;
static atomic_uint sync_us;
static atomic_bool sync_fails;
enum { READ_US = 20 * 1000, SYNC_US = 300 };

/* How RocksDB reads a file that it copies, 4 KB at a time: quickly, but once it waits. */
#undef fread_unlocked
size_t fread_unlocked(void *restrict to, size_t size, size_t count, FILE *restrict file);
size_t fread_unlocked(void *restrict to, size_t size, size_t count, FILE *restrict file)
{
    if (atomic_load(&reads_left) >= 0 && atomic_fetch_sub(&reads_left, 1) == 0) usleep(READ_US);
    return fread(to, size, count, file);
}

static int sync_with(long call, int fd)
{
    usleep(atomic_load(&sync_us));
    if (!atomic_load(&sync_fails)) return (int)syscall(call, fd);
    errno = EIO;
    return -1;
}

int fdatasync(int fd) { return sync_with(SYS_fdatasync, fd); }
int fsync(int fd) { return sync_with(SYS_fsync, fd); }

/* ---- Backup -------------------------------------------------------------------- */

struct row_writer {
    struct store *store;
    atomic_bool busy, done;
    atomic_uint_fast64_t committed;
};

enum { ROW_MIN = 3000, ROW_MAX = 20 * 1000 };

static size_t busy_row_len(uint64_t n) { return ROW_MIN + n * 7919 % (ROW_MAX - ROW_MIN); }

/* As the engine does: commits, and rests between them. */
static void *write_rows(void *arg)
{
    struct row_writer *w = arg;
    static uint8_t value[ROW_MAX];
    struct store_batch *b = store_batch_create(w->store);
    for (uint64_t n = 1; !atomic_load(&w->done);) {
        uint8_t key[8];
        if (!atomic_load(&w->busy)) {
            usleep(50);
            continue;
        }
        store_be64(key, n);
        memset(value, (int)n, sizeof(value));
        store_batch_clear(b);
        store_put(b, STORE_MESSAGE, slice_of(key, 8), slice_of(value, busy_row_len(n)));
        child_check(store_commit(w->store, b) == SOTTO_OK);
        atomic_store(&w->committed, n++);
        store_rest(w->store);
    }
    store_batch_destroy(&b);
    return NULL;
}

/* Rows without a gap, at least so many. */
static void check_copy(const char *path, uint64_t least)
{
    struct store *s = must_open(path);
    struct store_iter *it = store_iter_create(s, STORE_MESSAGE);
    uint64_t n = 0;
    for (store_iter_seek(it, slice_of("", 0)); store_iter_valid(it); store_iter_next(it)) {
        struct slice row = store_iter_value(it);
        assert_int_equal(load_be64(store_iter_key(it).data), ++n);
        assert_int_equal(row.len, busy_row_len(n));
        assert_int_equal(row.data[row.len - 1], (uint8_t)n);
    }
    assert_int_equal(store_iter_error(it), SOTTO_OK);
    assert_true(n >= least);
    store_iter_destroy(&it);
    store_close(&s);
}

static void store_disk__backup__of_a_busy_store_has_no_gap(void **state)
{
    enum { BACKUPS = 30, LEAD_US = 2000 };
    const struct folder *f = *state;
    struct row_writer writer = {.store = must_open(f->store)};
    struct buffer why;
    pthread_t thread;
    buffer_init(&why, 4096);
    assert_int_equal(pthread_create(&thread, NULL, write_rows, &writer), 0);
    atomic_store(&sync_us, SYNC_US);
    for (unsigned i = 0; i < BACKUPS; i++) {
        atomic_store(&writer.busy, true);
        if (i % 2) usleep(LEAD_US);
        uint64_t least = atomic_load(&writer.committed);
        atomic_store(&reads_left, 4 * (int)i);
        assert_int_equal(store_backup(writer.store, f->other, &why), SOTTO_OK);
        atomic_store(&writer.busy, false);
        check_copy(f->other, least);
        remove_tree(f->other);
    }
    atomic_store(&writer.done, true);
    atomic_store(&sync_us, 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(atomic_load(&writer.committed) != 0);
    store_close(&writer.store);
    buffer_deinit(&why);
}

/* ---- Syncing -------------------------------------------------------------------- */

static enum sotto_err put_position(struct store *s, const char *position)
{
    struct store_batch *b = store_batch_create(s);
    store_put(b, STORE_META, SLICE_LIT("position"), slice_str(position));
    enum sotto_err err = store_commit(s, b);
    store_batch_destroy(&b);
    return err;
}

static enum sotto_err read_position(struct store *s, struct buffer *position)
{
    return store_get(s, STORE_META, SLICE_LIT("position"), position);
}

/* The batch is in the log as the system remembers it, and the disk has none of it. */
static void store_disk__failed_sync__is_settled_by_writing_only(void **state)
{
    enum { REOPEN_US = 1100 * 1000 };
    const struct folder *f = *state;
    struct buffer position;
    buffer_init(&position, 16);
    struct store *s = must_open(f->store);
    put_one(s, "k", "v");
    assert_int_equal(put_position(s, "1"), SOTTO_OK);
    atomic_store(&sync_fails, true);
    assert_int_equal(put_position(s, "2"), SOTTO_ERR_UNCERTAIN);
    for (int tries = 0; tries < 2; tries++) {
        assert_int_equal(read_position(s, &position), SOTTO_ERR_IO);
        struct store_iter *it = store_iter_create(s, STORE_MESSAGE);
        assert_int_equal(store_get(s, STORE_MESSAGE, SLICE_LIT("k"), &position), SOTTO_ERR_IO);
        assert_int_equal(store_iter_error(it), SOTTO_ERR_IO);
        store_iter_destroy(&it);
        usleep(REOPEN_US); /* and it is tried again */
    }
    assert_int_not_equal(put_position(s, "3"), SOTTO_OK);
    atomic_store(&sync_fails, false);
    enum sotto_err err = SOTTO_ERR_IO;
    for (int tries = 0; err == SOTTO_ERR_IO && tries < PATIENCE; tries++) {
        usleep(PAUSE_US);
        err = read_position(s, &position);
    }
    assert_int_equal(err, SOTTO_OK);
    assert_true(slice_is(buffer_slice(&position), "2") && has_value(s, "k", "v"));
    assert_int_equal(put_position(s, "3"), SOTTO_OK);
    store_close(&s);
    s = must_open(f->store);
    assert_int_equal(read_position(s, &position), SOTTO_OK);
    assert_true(slice_is(buffer_slice(&position), "3"));
    store_close(&s);
    buffer_deinit(&position);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(store_disk__backup__of_a_busy_store_has_no_gap),
        IN_FOLDER(store_disk__failed_sync__is_settled_by_writing_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
