/* The embedded store on bad days: killed, torn, damaged, locked, full. */
#include "unit/store/folder.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/bytes.h"
#include "store/wal_ahead.h"
#include "store/wal_tail.h"

/* ---- Children: this program again, because the database has threads, and those
 * do not survive a fork -------------------------------------------------------- */

static pid_t start_child(const char *what, const char *path, uint64_t from, int out)
{
    char number[24], descriptor[24];
    snprintf(number, sizeof(number), "%llu", (unsigned long long)from);
    snprintf(descriptor, sizeof(descriptor), "%d", out);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl("/proc/self/exe", "test_rocksdb", what, path, number, descriptor, (char *)NULL);
        _exit(98);
    }
    return child;
}

static struct store *child_open(const char *path)
{
    struct store *s = NULL;
    struct buffer why;
    buffer_init(&why, 4096);
    child_check(open_store(path, &why, &s) == SOTTO_OK);
    return s;
}

/* Writes rows until it is killed, and says on `out` which are synced. Other
 * families get a row in the same batch, one that is overwritten in place among
 * them: all or none. */
static void child_write(const char *path, uint64_t from, int out)
{
    struct store *s = child_open(path);
    struct store_batch *b = store_batch_create(s);
    static uint8_t value[3000];
    for (uint64_t n = from;; n++) {
        uint8_t key[8];
        store_be64(key, n);
        memset(value, (int)n, sizeof(value));
        store_batch_clear(b);
        store_put(b, STORE_MESSAGE, slice_of(key, 8), slice_of(value, n % sizeof(value)));
        store_put(b, STORE_META, SLICE_LIT("last"), slice_of(key, 8));
        store_put(b, STORE_CONVERSATION, SLICE_LIT("last"), slice_of(key, 8));
        child_check(store_commit(s, b) == SOTTO_OK && write(out, key, 8) == 8);
        store_rest(s);
    }
}

/* Rows that lie in one block of the log, or in several. */
enum { ROW_LEN = 200, WIDE_ROW_LEN = 100 * 1000 };

/* Commits five rows and is gone without closing. */
static void child_leave(const char *path, uint64_t row_len)
{
    struct store *s = child_open(path);
    struct store_batch *b = store_batch_create(s);
    for (unsigned n = 0; n < 5; n++) {
        static char value[WIDE_ROW_LEN];
        char key[16];
        snprintf(key, sizeof(key), "k%02u", n);
        memset(value, 'a' + (int)n, row_len);
        store_batch_clear(b);
        store_put(b, STORE_MESSAGE, slice_str(key), slice_of(value, row_len));
        store_rest(s); /* not after the last, which stands for one under way */
        child_check(store_commit(s, b) == SOTTO_OK);
    }
    _exit(0);
}

/* ---- Tests ------------------------------------------------------------------- */

/* Every row up to the last is there, whole; returns the last. */
static uint64_t check_rows(const char *path)
{
    struct store *s = must_open(path);
    struct buffer value;
    buffer_init(&value, 4096);
    uint64_t last = 0, n = 0;
    if (store_get(s, STORE_META, SLICE_LIT("last"), &value) == SOTTO_OK) last = load_be64(value.data);
    if (store_get(s, STORE_CONVERSATION, SLICE_LIT("last"), &value) == SOTTO_OK)
        assert_int_equal(load_be64(value.data), last);
    struct store_iter *it = store_iter_create(s, STORE_MESSAGE);
    for (store_iter_seek(it, slice_of("", 0)); store_iter_valid(it); store_iter_next(it)) {
        struct slice row = store_iter_value(it);
        assert_int_equal(load_be64(store_iter_key(it).data), ++n);
        assert_int_equal(row.len, n % 3000);
        if (row.len != 0) assert_int_equal(row.data[row.len - 1], (uint8_t)n);
    }
    assert_int_equal(store_iter_error(it), SOTTO_OK);
    assert_int_equal(n, last);
    store_iter_destroy(&it);
    buffer_deinit(&value);
    store_close(&s);
    return last;
}

static void store_rocksdb__kill__loses_nothing_that_was_synced(void **state)
{
    const struct folder *f = *state;
    uint64_t last = 0;
    unsigned delay_us = 20011;
    for (int round = 0; round < 10; round++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t child = start_child("write", f->store, last + 1, ends[1]);
        close(ends[1]);
        uint64_t synced = last;
        uint8_t key[8];
        assert_int_equal(read(ends[0], key, 8), 8); /* it has begun */
        synced = load_be64(key);
        delay_us = delay_us * 48271u % 40009u;
        usleep(delay_us);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        while (read(ends[0], key, 8) == 8) synced = load_be64(key);
        close(ends[0]);
        last = check_rows(f->store);
        assert_true(last == synced || last == synced + 1);
    }
}

/* Where RocksDB's part of a log ends and the zeros begin that lie ahead. */
static size_t log_used(const char *path)
{
    size_t len = file_len(path);
    uint8_t *bytes = sotto_alloc(len + 1);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, bytes, len), len);
    close(fd);
    while (len != 0 && bytes[len - 1] == 0) len--;
    free(bytes);
    return len;
}

/* A log with five commits that no close has tidied up. */
static void leave_log(const char *path, size_t row_len, char log[PATH_MAX])
{
    int status;
    pid_t child = start_child("leave", path, row_len, STDERR_FILENO);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(newest_file(path, ".log", log));
}

static bool has_row(struct store *s, unsigned n, size_t row_len)
{
    static char value[WIDE_ROW_LEN + 1];
    char key[16];
    snprintf(key, sizeof(key), "k%02u", n);
    memset(value, 0, sizeof(value));
    memset(value, 'a' + (int)n, row_len);
    return has_value(s, key, value);
}

/* Leaves a log, does to it what a crash of the machine may do to the last write, opens it. */
static struct store *open_torn(const char *path, size_t row_len, size_t torn, bool zeros)
{
    char log[PATH_MAX];
    remove_tree(path);
    leave_log(path, row_len, log);
    size_t keep = log_used(log) - torn, len = file_len(log);
    assert_int_equal(truncate(log, (off_t)keep), 0);
    if (zeros) assert_int_equal(truncate(log, (off_t)len), 0);
    return must_open(path);
}

static void store_rocksdb__torn_end__drops_the_last_write_only(void **state)
{
    static const struct { size_t row_len, step; } rows[] = {{ROW_LEN, 33}, {WIDE_ROW_LEN, 17001}};
    const struct folder *f = *state;
    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        size_t row_len = rows[i / 2].row_len;
        for (size_t torn = 1; torn < row_len; torn += rows[i / 2].step) {
            struct store *s = open_torn(f->store, row_len, torn, i % 2);
            for (unsigned n = 0; n < 4; n++) assert_true(has_row(s, n, row_len));
            assert_false(has_row(s, 4, row_len));
            store_close(&s);
        }
    }
}

/* Of the pages of the last write any may be missing: then zeros are there instead. */
static void store_rocksdb__missing_pages__drop_the_last_write_only(void **state)
{
    enum { PAGE = 4096, ROUNDS = 12 };
    static const uint8_t zeros[PAGE];
    const struct folder *f = *state;
    struct random_seeded random;
    random_seeded_init(&random, 11);
    for (unsigned round = 0; round < ROUNDS; round++) {
        char log[PATH_MAX];
        unsigned missing = 0;
        remove_tree(f->store);
        leave_log(f->store, WIDE_ROW_LEN, log);
        size_t used = log_used(log);
        int fd = open(log, O_WRONLY);
        assert_true(fd >= 0);
        for (size_t at = (used - WIDE_ROW_LEN) / PAGE * PAGE + PAGE; at < used; at += PAGE) {
            if (random_u64(&random.source) % (2 + round % 3) != 0) continue;
            assert_int_equal(pwrite(fd, zeros, PAGE, (off_t)at), PAGE);
            missing++;
        }
        close(fd);
        struct store *s = must_open(f->store);
        for (unsigned n = 0; n < 4; n++) assert_true(has_row(s, n, WIDE_ROW_LEN));
        assert_true(missing != 0 && !has_row(s, 4, WIDE_ROW_LEN));
        store_close(&s);
    }
}

static bool has_epoch(struct store *s)
{
    struct buffer epoch;
    buffer_init(&epoch, 16);
    enum sotto_err err = store_get(s, STORE_META, SLICE_LIT("epoch"), &epoch);
    assert_true(err == SOTTO_OK || err == SOTTO_ERR_NOT_FOUND);
    buffer_deinit(&epoch);
    return err == SOTTO_OK;
}

static void store_rocksdb__hole_in_the_last_write__drops_it_only(void **state)
{
    const struct folder *f = *state;
    char log[PATH_MAX];
    struct store *s = must_open(f->store);
    struct store_batch *b = store_batch_create(s);
    store_put(b, STORE_META, SLICE_LIT("epoch"), SLICE_LIT("1"));
    assert_int_equal(store_commit(s, b), SOTTO_OK);
    store_batch_destroy(&b);
    store_close(&s);
    s = must_open(f->store);
    assert_true(has_epoch(s));
    store_close(&s);
    leave_log(f->store, ROW_LEN, log);
    damage(log, log_used(log) - 50, 20);
    assert_true(wal_tail_is_torn(f->store));
    s = must_open(f->store);
    assert_false(has_epoch(s));
    for (unsigned n = 0; n < 4; n++) assert_true(has_row(s, n, ROW_LEN));
    assert_false(has_row(s, 4, ROW_LEN));
    put_one(s, "k04", "again");
    store_close(&s);
    s = must_open(f->store);
    assert_true(has_value(s, "k04", "again"));
    store_close(&s);
}

/* What is written lands on zeros that were there before, also in the logs that
 * follow the first; closing leaves none. */
static void store_rocksdb__log__grows_over_zeros(void **state)
{
    const struct folder *f = *state;
    static char value[20 * 1000];
    char log[PATH_MAX], first[PATH_MAX];
    memset(value, 'v', sizeof(value) - 1);
    struct store *s = must_open(f->store);
    put_one(s, "first", "v");
    assert_true(newest_file(f->store, ".log", first));
    unsigned over_zeros = 0, logs = 1;
    enum { COMMITS = 200 };
    for (unsigned n = 0; n < COMMITS; n++) {
        char key[16];
        snprintf(key, sizeof(key), "k%03u", n);
        put_one(s, key, value);
        store_rest(s);
        assert_true(newest_file(f->store, ".log", log));
        logs += strcmp(log, first) != 0;
        snprintf(first, sizeof(first), "%s", log);
        size_t used = log_used(log), len = file_len(log);
        over_zeros += len % 4096 == 0 && len > used;
        assert_true(len < used + 2 * WAL_AHEAD_BYTES + sizeof(value));
    }
    /* All but the first of each log. */
    assert_true(logs > 2 && over_zeros >= COMMITS - logs);
    store_close(&s);
    assert_true(newest_file(f->store, ".log", log));
    assert_int_equal(file_len(log), log_used(log));
    s = must_open(f->store);
    assert_true(has_value(s, "k000", value) && has_value(s, "k199", value));
    store_close(&s);
}

static void store_rocksdb__damaged_log__refuses_and_says_what_to_do(void **state)
{
    const struct folder *f = *state;
    char log[PATH_MAX];
    leave_log(f->store, ROW_LEN, log);
    size_t last_but_one = log_used(log) - 2 * ROW_LEN;
    damage(log, last_but_one, 8);
    assert_false(wal_tail_is_torn(f->store));
    must_refuse(f->store, SOTTO_ERR_CORRUPT, "sottod restore");
    damage(log, last_but_one, 8); /* nothing was changed: undone, it is whole */
    struct store *s = must_open(f->store);
    for (unsigned n = 0; n < 5; n++) assert_true(has_row(s, n, ROW_LEN));
    store_close(&s);
}

static void copy(const char *from, const char *to)
{
    char command[2 * PATH_MAX + 16];
    snprintf(command, sizeof(command), "cp %s %s", from, to);
    assert_int_equal(system(command), 0);
}

/* Leaves two logs with five commits each, of which the newest has a torn end. In the
 * older one the last commit is damaged, or was torn already before the newer one began. */
static void leave_two(const struct folder *f, bool torn_before, char older[PATH_MAX], char newest[PATH_MAX])
{
    char away[PATH_MAX];
    snprintf(away, sizeof(away), "%s/away", f->path);
    remove_tree(f->store);
    leave_log(f->store, ROW_LEN, older);
    if (torn_before) damage(older, log_used(older) - 50, 20);
    copy(older, away);
    leave_log(f->store, ROW_LEN, newest);
    assert_string_not_equal(older, newest);
    damage(newest, log_used(newest) - 50, 20);
    copy(away, older);
}

static void store_rocksdb__older_log__is_judged_too(void **state)
{
    const struct folder *f = *state;
    char older[PATH_MAX], newest[PATH_MAX];
    leave_two(f, true, older, newest);
    assert_true(wal_tail_is_torn(f->store));
    leave_two(f, false, older, newest);
    assert_true(wal_tail_is_torn(f->store));
    damage(older, log_used(older) - 50, 20);
    assert_false(wal_tail_is_torn(f->store)); /* the newest has what came after */
}

/* Closed, and the newest log alone has the row. */
static void close_one(const char *path, const char *key, char log[PATH_MAX])
{
    struct store *s = must_open(path);
    put_one(s, key, "x");
    store_close(&s);
    assert_true(newest_file(path, ".log", log));
}

static void store_rocksdb__missing_log__is_missed(void **state)
{
    const struct folder *f = *state;
    char log[PATH_MAX], away[PATH_MAX];
    close_one(f->store, "first", log);
    close_one(f->store, "second", log);
    snprintf(away, sizeof(away), "%s/away", f->path);
    assert_int_equal(rename(log, away), 0);
    for (int tries = 0; tries < 2; tries++)
        must_refuse(f->store, SOTTO_ERR_CORRUPT, ".log, which holds messages, is missing");
    must_refuse(f->store, SOTTO_ERR_CORRUPT, "sottod restore");
    assert_int_equal(rename(away, log), 0); /* nothing was changed: put back, it is whole */
    struct store *s = must_open(f->store);
    assert_true(has_value(s, "first", "x") && has_value(s, "second", "x"));
    store_close(&s);
}

static void store_rocksdb__short_log__is_missed(void **state)
{
    const struct folder *f = *state;
    char log[PATH_MAX];
    close_one(f->store, "first", log);
    off_t len = (off_t)file_len(log);
    assert_int_equal(truncate(log, len - 1), 0);
    must_refuse(f->store, SOTTO_ERR_CORRUPT, "bytes are left");
    assert_int_equal(truncate(log, 0), 0);
    must_refuse(f->store, SOTTO_ERR_CORRUPT, "only 0 of");
}

/* A clean stop tears nothing. The note of older versions has no sums; one without
 * them cannot miss what RocksDB does not miss. */
static void without_sums(const char *store)
{
    char note[PATH_MAX], text[1000] = "", *at = text, *sum;
    snprintf(note, sizeof(note), "%s/stopped", store);
    FILE *file = fopen(note, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = 0;
    (void)fclose(file);
    file = fopen(note, "w");
    for (char *line; (line = strsep(&at, "\n")) != NULL && *line != 0;) {
        sum = strrchr(line, ' ');
        if (sum != NULL) *sum = 0;
        assert_true(fprintf(file, "%s\n", line) > 0);
    }
    (void)fclose(file);
}

static void store_rocksdb__damaged_end__is_no_torn_write_after_a_stop(void **state)
{
    const struct folder *f = *state;
    char log[PATH_MAX];
    for (int sums = 1; sums >= 0; sums--) {
        close_one(f->store, "first", log);
        if (!sums) without_sums(f->store);
        damage(log, file_len(log) - 2, 1);
        must_refuse(f->store, SOTTO_ERR_CORRUPT, sums ? "is not what it was" : "sottod restore");
        damage(log, file_len(log) - 2, 1); /* nothing was changed: undone, it is whole */
        struct store *s = must_open(f->store);
        assert_true(has_value(s, "first", "x"));
        store_close(&s);
    }
}

/* Zeros where records were, which RocksDB passes over. */
static void store_rocksdb__zeros_in_a_log__are_missed(void **state)
{
    const struct folder *f = *state;
    char log[PATH_MAX];
    struct store *s = must_open(f->store);
    put_one(s, "first", "x");
    assert_true(newest_file(f->store, ".log", log));
    off_t second = (off_t)log_used(log);
    put_one(s, "second", "x");
    store_close(&s);
    off_t len = (off_t)file_len(log);
    assert_true(second < len);
    assert_int_equal(truncate(log, second), 0);
    assert_int_equal(truncate(log, len), 0);
    must_refuse(f->store, SOTTO_ERR_CORRUPT, "is not what it was");
}

/* The log that was made since the last clean stop, too. */
static void store_rocksdb__missing_log__is_missed_after_a_crash(void **state)
{
    const struct folder *f = *state;
    char log[PATH_MAX];
    close_one(f->store, "first", log);
    leave_log(f->store, ROW_LEN, log);
    assert_int_equal(unlink(log), 0);
    must_refuse(f->store, SOTTO_ERR_CORRUPT, ".log, which holds messages, is missing");
}

/* And where there was no clean stop, or it was long ago. */
static void store_rocksdb__log_of_a_crash__is_missed(void **state)
{
    const struct folder *f = *state;
    char log[PATH_MAX], away[PATH_MAX];
    snprintf(away, sizeof(away), "%s/away", f->path);
    for (int stopped = 0; stopped < 2; stopped++) {
        remove_tree(f->store);
        if (stopped) close_one(f->store, "first", log);
        for (int crashes = 0; crashes < 3; crashes++) leave_log(f->store, ROW_LEN, log);
        copy(log, away);
        assert_int_equal(unlink(log), 0);
        must_refuse(f->store, SOTTO_ERR_CORRUPT, ".log, which holds messages, is missing");
        copy(away, log);
        assert_int_equal(truncate(log, 0), 0);
        must_refuse(f->store, SOTTO_ERR_CORRUPT, "only 0 of");
        copy(away, log); /* nothing was changed: put back, it is whole */
        struct store *s = must_open(f->store);
        assert_true(has_row(s, 4, ROW_LEN));
        store_close(&s);
    }
}

/* Of the note, too, a crash may leave some of the new and some of the old. */
static void store_rocksdb__torn_note__refuses_nothing(void **state)
{
    const struct folder *f = *state;
    char log[PATH_MAX], note[PATH_MAX], text[200];
    snprintf(note, sizeof(note), "%s/running", f->store);
    for (int torn = 0; torn < 2; torn++) {
        remove_tree(f->store);
        leave_log(f->store, ROW_LEN, log);
        FILE *file = fopen(note, "r+");
        assert_non_null(file);
        size_t len = fread(text, 1, sizeof(text), file), line = 42;
        assert_int_equal(len, 2 * line + 4);
        text[25] = '9';
        if (!torn) memcpy(text + line, text, line);
        rewind(file);
        assert_int_equal(fwrite(text, 1, len, file), len);
        (void)fclose(file);
        if (!torn) {
            must_refuse(f->store, SOTTO_ERR_CORRUPT, "bytes are left");
            continue;
        }
        struct store *s = must_open(f->store);
        assert_true(has_row(s, 4, ROW_LEN));
        store_close(&s);
    }
}

/* The note of a long log says more than its beginning. */
static void store_rocksdb__cut_log_of_a_crash__is_missed(void **state)
{
    const struct folder *f = *state;
    char log[PATH_MAX];
    leave_log(f->store, WIDE_ROW_LEN, log);
    assert_int_equal(truncate(log, WIDE_ROW_LEN + WIDE_ROW_LEN / 2), 0);
    must_refuse(f->store, SOTTO_ERR_CORRUPT, "bytes are left");
}

/* A crash leaves an old note, or half of one; a log that a crash cut short is no damage. */
static void store_rocksdb__old_note__refuses_nothing(void **state)
{
    const struct folder *f = *state;
    char log[PATH_MAX], note[PATH_MAX];
    snprintf(note, sizeof(note), "%s/stopped", f->store);
    for (int round = 0; round < 3; round++) {
        close_one(f->store, "first", log);
        leave_log(f->store, ROW_LEN, log);
        assert_int_equal(truncate(log, (off_t)log_used(log) - 20), 0);
        struct store *s = must_open(f->store);
        assert_true(has_value(s, "first", "x") && has_row(s, 3, ROW_LEN));
        store_close(&s);
        if (round == 1) assert_int_equal(truncate(note, (off_t)file_len(note) - 3), 0);
        if (round == 2) assert_int_equal(unlink(note), 0);
    }
    close_one(f->store, "last", log);
}

/* One table file: flushed by a close, then opened again. */
static void leave_table(const char *path, char table[PATH_MAX])
{
    struct store *s = must_open(path);
    for (unsigned n = 0; n < 50; n++) {
        char key[16], value[100];
        snprintf(key, sizeof(key), "k%02u", n);
        memset(value, 'a' + (int)(n % 26), 99);
        value[99] = 0;
        put_one(s, key, value);
    }
    store_close(&s);
    s = must_open(path); /* writes the recovered rows to a table */
    store_close(&s);
    assert_true(newest_file(path, ".sst", table));
}

static void store_rocksdb__damaged_table__is_found_when_read(void **state)
{
    const struct folder *f = *state;
    char table[PATH_MAX];
    struct buffer value;
    buffer_init(&value, 4096);
    leave_table(f->store, table);
    damage(table, 20, 8);
    struct store *s = NULL;
    enum sotto_err err = open_store(f->store, &value, &s);
    if (err == SOTTO_OK) {
        err = store_get(s, STORE_MESSAGE, SLICE_LIT("k01"), &value);
        if (err == SOTTO_ERR_NOT_FOUND) err = store_get(s, STORE_META, SLICE_LIT("format"), &value);
        store_close(&s);
    }
    assert_int_equal(err, SOTTO_ERR_CORRUPT);
    buffer_deinit(&value);
}

static void store_rocksdb__missing_table__refuses(void **state)
{
    const struct folder *f = *state;
    char table[PATH_MAX];
    leave_table(f->store, table);
    assert_int_equal(unlink(table), 0);
    must_refuse(f->store, SOTTO_ERR_CORRUPT, "damaged");
}

static void store_rocksdb__missing_manifest__refuses(void **state)
{
    const struct folder *f = *state;
    char table[PATH_MAX], command[PATH_MAX + 32];
    leave_table(f->store, table);
    snprintf(command, sizeof(command), "rm %s/MANIFEST-*", f->store);
    assert_int_equal(system(command), 0);
    must_refuse(f->store, SOTTO_ERR_CORRUPT, "damaged");
}

static void store_rocksdb__damaged_manifest__refuses(void **state)
{
    const struct folder *f = *state;
    char table[PATH_MAX], current[128];
    leave_table(f->store, table);
    snprintf(current, sizeof(current), "%s/CURRENT", f->store);
    damage(current, 0, 4);
    must_refuse(f->store, SOTTO_ERR_CORRUPT, "damaged");
}

static void store_rocksdb__second_opener__is_told_that_it_is_in_use(void **state)
{
    const struct folder *f = *state;
    struct store *s = must_open(f->store);
    must_refuse(f->store, SOTTO_ERR_DENIED, "in use by another process");
    store_close(&s);
    s = must_open(f->store);
    store_close(&s);
}

static void store_rocksdb__other_version__refuses(void **state)
{
    const struct folder *f = *state;
    struct store *s = must_open(f->store);
    struct store_batch *b = store_batch_create(s);
    store_put(b, STORE_META, SLICE_LIT("format"), SLICE_LIT("\0\0\0\x07"));
    assert_int_equal(store_commit(s, b), SOTTO_OK);
    store_batch_destroy(&b);
    store_close(&s);
    must_refuse(f->store, SOTTO_ERR_CORRUPT, "another version");
}

static void store_rocksdb__reserve__refuses_before_the_disk_is_full(void **state)
{
    const struct folder *f = *state;
    struct buffer why;
    struct store *s = NULL;
    buffer_init(&why, 4096);
    struct store_rocksdb_options options = {.directory = f->store, .write_buffer_bytes = 1 << 20};
    assert_int_equal(store_rocksdb_open(&options, &why, &s), SOTTO_OK);
    put_one(s, "k", "v");
    store_close(&s);
    options.reserve_bytes = UINT64_MAX / 2;
    assert_int_equal(store_rocksdb_open(&options, &why, &s), SOTTO_OK);
    struct store_batch *b = store_batch_create(s);
    store_put(b, STORE_MESSAGE, SLICE_LIT("k2"), SLICE_LIT("v"));
    assert_int_equal(store_commit(s, b), SOTTO_ERR_FULL);
    assert_true(has_value(s, "k", "v"));
    assert_false(has_value(s, "k2", "v"));
    /* But what makes room is written. */
    store_batch_clear(b);
    store_batch_frees(b);
    store_delete(b, STORE_MESSAGE, SLICE_LIT("k"));
    assert_int_equal(store_commit(s, b), SOTTO_OK);
    assert_false(has_value(s, "k", "v"));
    store_batch_clear(b);
    store_put(b, STORE_MESSAGE, SLICE_LIT("k2"), SLICE_LIT("v"));
    assert_int_equal(store_commit(s, b), SOTTO_ERR_FULL);
    store_batch_destroy(&b);
    store_close(&s);
    buffer_deinit(&why);
}

/* Files may not grow past a limit: the write fails half way. What was there is
 * read on; when the limit is gone, writing goes on. */
static void store_rocksdb__failing_writes__are_outlived(void **state)
{
    const struct folder *f = *state;
    struct rlimit before, limit;
    char log[PATH_MAX];
    static char value[300 * 1000], large[500 * 1000];
    memset(value, 'x', sizeof(value) - 1);
    memset(large, 'y', sizeof(large) - 1);
    (void)signal(SIGXFSZ, SIG_IGN);
    struct store *s = must_open(f->store);
    put_one(s, "first", value);
    assert_true(newest_file(f->store, ".log", log));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 400 * 1000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    struct store_batch *b = store_batch_create(s);
    store_put(b, STORE_MESSAGE, SLICE_LIT("second"), slice_str(large));
    enum sotto_err err = store_commit(s, b);
    assert_true(err == SOTTO_ERR_IO || err == SOTTO_ERR_FULL);
    assert_true(has_value(s, "first", value));
    assert_false(has_value(s, "second", large));
    err = store_commit(s, b);
    assert_true(err == SOTTO_ERR_IO || err == SOTTO_ERR_FULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    for (int tries = 0; err != SOTTO_OK && tries < PATIENCE; tries++) {
        usleep(PAUSE_US);
        err = store_commit(s, b);
    }
    assert_int_equal(err, SOTTO_OK);
    assert_true(has_value(s, "first", value) && has_value(s, "second", large));
    store_batch_destroy(&b);
    store_close(&s);
    s = must_open(f->store);
    assert_true(has_value(s, "first", value) && has_value(s, "second", large));
    store_close(&s);
}

/* ---- States in place ---------------------------------------------------------- */

struct state_reader {
    struct store *store;
    atomic_bool done;
    unsigned reads;
};

/* The first byte is the length, the others are all alike. */
static void *read_states(void *arg)
{
    struct state_reader *r = arg;
    struct buffer value;
    buffer_init(&value, 4096);
    while (!atomic_load(&r->done) || r->reads == 0) {
        enum sotto_err err = store_get(r->store, STORE_CONVERSATION, SLICE_LIT("state"), &value);
        if (err == SOTTO_ERR_NOT_FOUND) continue;
        child_check(err == SOTTO_OK && value.len == value.data[0]);
        for (size_t i = 2; i < value.len; i++) child_check(value.data[i] == value.data[1]);
        r->reads++;
    }
    buffer_deinit(&value);
    return NULL;
}

static void store_rocksdb__states__are_read_whole_while_they_change(void **state)
{
    const struct folder *f = *state;
    struct store *s = must_open(f->store);
    struct state_reader reader = {.store = s};
    pthread_t thread;
    uint8_t value[128];
    struct store_batch *b = store_batch_create(s);
    assert_int_equal(pthread_create(&thread, NULL, read_states, &reader), 0);
    for (unsigned n = 0; n < 2560; n++) {
        memset(value, (int)n, sizeof(value));
        value[0] = (uint8_t)(40 + n / 64); /* never shorter, see store.h */
        store_batch_clear(b);
        store_put(b, STORE_CONVERSATION, SLICE_LIT("state"), slice_of(value, value[0]));
        assert_int_equal(store_commit(s, b), SOTTO_OK);
    }
    atomic_store(&reader.done, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    store_batch_destroy(&b);
    store_close(&s);
    s = must_open(f->store);
    struct buffer again;
    buffer_init(&again, 4096);
    assert_int_equal(store_get(s, STORE_CONVERSATION, SLICE_LIT("state"), &again), SOTTO_OK);
    assert_true(slice_eq(buffer_slice(&again), slice_of(value, value[0])));
    buffer_deinit(&again);
    store_close(&s);
}

static void expect_restore(const struct folder *f, enum sotto_err expected, const char *words)
{
    struct buffer why;
    char to[128];
    buffer_init(&why, 4096);
    snprintf(to, sizeof(to), "%s/restored/", f->path);
    assert_int_equal(store_rocksdb_restore(f->other, to, &why), expected);
    buffer_append_byte(&why, 0);
    assert_non_null(strstr((const char *)why.data, words));
    buffer_deinit(&why);
}

static void store_rocksdb__backup__is_a_moment_that_can_be_put_back(void **state)
{
    const struct folder *f = *state;
    struct buffer why;
    char restored[128], table[PATH_MAX];
    buffer_init(&why, 4096);
    struct store *s = must_open(f->store);
    put_one(s, "before", "1");
    assert_int_equal(store_backup(s, f->other, &why), SOTTO_OK);
    assert_int_equal(store_backup(s, f->other, &why), SOTTO_ERR_IO); /* it exists */
    put_one(s, "after", "2");
    store_close(&s);
    expect_restore(f, SOTTO_OK, "");
    expect_restore(f, SOTTO_ERR_IO, "only restored to an empty folder");
    snprintf(restored, sizeof(restored), "%s/restored", f->path);
    s = must_open(restored);
    assert_true(has_value(s, "before", "1"));
    assert_false(has_value(s, "after", "2"));
    store_close(&s);
    /* A damaged one is found out, and leaves nothing behind. */
    remove_tree(restored);
    assert_true(newest_file(f->other, ".sst", table));
    assert_int_equal(unlink(table), 0);
    expect_restore(f, SOTTO_ERR_CORRUPT, "damaged");
    assert_int_not_equal(access(restored, F_OK), 0);
    remove_tree(f->other);
    expect_restore(f, SOTTO_ERR_IO, "no backup");
    assert_int_equal(mkdir(f->other, 0700), 0);
    expect_restore(f, SOTTO_ERR_INVALID, "holds no backup");
    buffer_deinit(&why);
}

/* Deleted bytes leave the files, those of the log too. */
static void store_rocksdb__compact__erases_what_was_deleted(void **state)
{
    const struct folder *f = *state;
    struct store *s = must_open(f->store);
    put_one(s, "k1", "a secret, 4711-0815-qwertz");
    put_one(s, "k2", "kept, 1234-5678-azerty");
    assert_true(folder_contains(f->store, "4711-0815-qwertz"));
    put_one(s, "k1", "gone");
    store_compact(s, STORE_MESSAGE);
    bool there = true;
    for (int tries = 0; there && tries < PATIENCE; tries++) {
        usleep(PAUSE_US);
        there = folder_contains(f->store, "4711-0815-qwertz");
    }
    assert_false(there);
    assert_true(has_value(s, "k1", "gone"));
    assert_true(has_value(s, "k2", "kept, 1234-5678-azerty"));
    store_close(&s);
}

/* There is no room for what it writes, flushing or (when that has been done) compacting: it
 * stays to be done. */
static void compact_without_room(const struct folder *f, bool flushed)
{
    static char value[500 * 1000];
    struct rlimit before, limit;
    struct random_seeded random;
    random_seeded_init(&random, 3);
    for (size_t i = 0; i + 1 < sizeof(value); i++) value[i] = (char)('a' + random_u64(&random.source) % 26);
    struct store *s = must_open(f->store);
    for (unsigned i = 0; i < 2; i++) {
        put_one(s, "k1", value);
        if (!flushed) continue;
        store_close(&s);
        s = must_open(f->store);
    }
    assert_false(store_compacting(s, STORE_MESSAGE));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 100 * 1000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    store_compact(s, STORE_MESSAGE);
    bool busy = true;
    for (int tries = 0; busy && tries < 20; tries++) {
        usleep(PAUSE_US);
        busy = store_compacting(s, STORE_MESSAGE);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(busy);
    store_close(&s);
    s = must_open(f->store);
    assert_true(has_value(s, "k1", value));
    store_compact(s, STORE_MESSAGE);
    for (int tries = 0; store_compacting(s, STORE_MESSAGE) && tries < PATIENCE; tries++) usleep(PAUSE_US);
    assert_false(store_compacting(s, STORE_MESSAGE));
    store_close(&s);
}

static void store_rocksdb__compact__is_not_done_when_it_failed(void **state)
{
    const struct folder *f = *state;
    (void)signal(SIGXFSZ, SIG_IGN);
    compact_without_room(f, false);
    remove_tree(f->store);
    compact_without_room(f, true);
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "write") == 0)
        child_write(argv[2], strtoull(argv[3], NULL, 10), (int)strtol(argv[4], NULL, 10));
    if (argc == 5 && strcmp(argv[1], "leave") == 0) child_leave(argv[2], strtoull(argv[3], NULL, 10));
    const struct CMUnitTest tests[] = {
        IN_FOLDER(store_rocksdb__kill__loses_nothing_that_was_synced),
        IN_FOLDER(store_rocksdb__torn_end__drops_the_last_write_only),
        IN_FOLDER(store_rocksdb__missing_pages__drop_the_last_write_only),
        IN_FOLDER(store_rocksdb__hole_in_the_last_write__drops_it_only),
        IN_FOLDER(store_rocksdb__log__grows_over_zeros),
        IN_FOLDER(store_rocksdb__damaged_log__refuses_and_says_what_to_do),
        IN_FOLDER(store_rocksdb__older_log__is_judged_too),
        IN_FOLDER(store_rocksdb__missing_log__is_missed),
        IN_FOLDER(store_rocksdb__short_log__is_missed),
        IN_FOLDER(store_rocksdb__damaged_end__is_no_torn_write_after_a_stop),
        IN_FOLDER(store_rocksdb__zeros_in_a_log__are_missed),
        IN_FOLDER(store_rocksdb__missing_log__is_missed_after_a_crash),
        IN_FOLDER(store_rocksdb__log_of_a_crash__is_missed),
        IN_FOLDER(store_rocksdb__torn_note__refuses_nothing),
        IN_FOLDER(store_rocksdb__cut_log_of_a_crash__is_missed),
        IN_FOLDER(store_rocksdb__old_note__refuses_nothing),
        IN_FOLDER(store_rocksdb__damaged_table__is_found_when_read),
        IN_FOLDER(store_rocksdb__missing_table__refuses),
        IN_FOLDER(store_rocksdb__missing_manifest__refuses),
        IN_FOLDER(store_rocksdb__damaged_manifest__refuses),
        IN_FOLDER(store_rocksdb__second_opener__is_told_that_it_is_in_use),
        IN_FOLDER(store_rocksdb__other_version__refuses),
        IN_FOLDER(store_rocksdb__reserve__refuses_before_the_disk_is_full),
        IN_FOLDER(store_rocksdb__failing_writes__are_outlived),
        IN_FOLDER(store_rocksdb__backup__is_a_moment_that_can_be_put_back),
        IN_FOLDER(store_rocksdb__states__are_read_whole_while_they_change),
        IN_FOLDER(store_rocksdb__compact__erases_what_was_deleted),
        IN_FOLDER(store_rocksdb__compact__is_not_done_when_it_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
