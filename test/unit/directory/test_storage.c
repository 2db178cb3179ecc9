/* The file below: migration, refusal, damage, backup, and what is never in it. */
#include "fixture.h"

#include "directory/schema.h"
#include "directory/sql.h"

#include <sodium.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/stat.h>

static void run_sql(const char *file, const char *script)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, script, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* ---- Versions ----------------------------------------------------------------- */

static void open__brings_version_1_up__and_keeps_what_is_there(void **state)
{
    struct fixture *f = *state;
    struct sql *sql = NULL;
    assert_int_equal(sql_sqlite.open(f->file, NULL, &f->why, &sql), SOTTO_OK);
    assert_int_equal(schema_migrate(sql, schema_migrations, 1, &f->why), SOTTO_OK);
    sql->driver->close(sql);
    run_sql(f->file, "INSERT INTO users VALUES (x'00112233445566778899aabbccddeeff', 'anna', NULL, 'Anna', '', 'x', "
                     "0, 1, 0, 0, 0, 5, 0, 0)");
    f->d = fixture_open(f);
    struct profile p;
    assert_int_equal(directory_find_username(f->d, SLICE_LIT("anna"), &p), PROBLEM_NONE);
    assert_string_equal(p.display_name, "Anna");
    assert_true(p.receipts_off);
    add_user(f, "berta"); /* writes to what version 2 added */
    assert_int_equal(directory_user_count(f->d), 2);
}

static void migrate__runs_each_step_once__and_keeps_those_before_a_failure(void **state)
{
    struct fixture *f = *state;
    static const struct migration list[] = {
        {1, "CREATE TABLE one (n BIGINT)"},
        {2, "INSERT INTO one VALUES (1)"},
        {3, "INSERT INTO one VALUES (2); INSERT INTO missing VALUES (1)"},
    };
    struct sql *sql = NULL;
    assert_int_equal(sql_sqlite.open(f->file, NULL, &f->why, &sql), SOTTO_OK);
    for (int i = 0; i < 2; i++) assert_int_equal(schema_migrate(sql, list, 2, &f->why), SOTTO_OK);
    assert_int_not_equal(schema_migrate(sql, list, 3, &f->why), SOTTO_OK);
    assert_true(why_says(f, "version 3"));
    struct sql_tx *tx = sql_begin(sql, SQL_READ);
    struct sql_stmt *q = sql_prepare(tx, "SELECT COUNT(*), (SELECT version FROM schema_version) FROM one");
    assert_true(sql_step(q));
    assert_int_equal(sql_u64(q, 0), 1);
    assert_int_equal(sql_u64(q, 1), 2);
    assert_int_equal(sql_end(tx, true), SOTTO_OK);
    sql->driver->close(sql);
}

static void open__refuses_a_newer_version__and_says_so(void **state)
{
    struct fixture *f = *state;
    struct directory *d = fixture_open(f);
    directory_close(&d);
    run_sql(f->file, "UPDATE schema_version SET version = 99");
    assert_int_equal(fixture_try_open(f, &d), SOTTO_ERR_INVALID);
    assert_null(d);
    assert_true(why_says(f, "newer Sotto"));
    assert_true(why_says(f, "99"));
}

static void open__refuses_what_is_not_ours(void **state)
{
    struct fixture *f = *state;
    struct directory *d = NULL;
    run_sql(f->file, "CREATE TABLE recipes (name TEXT)");
    assert_int_equal(fixture_try_open(f, &d), SOTTO_ERR_INVALID);
    assert_true(why_says(f, "another program"));
    char missing[sizeof f->file];
    memcpy(missing, f->file, sizeof missing);
    snprintf(f->file, sizeof f->file, "%s/no/such/folder.db", f->folder);
    assert_int_equal(fixture_try_open(f, &d), SOTTO_ERR_IO);
    assert_true(why_says(f, "No such file"));
    memcpy(f->file, missing, sizeof missing);
}

/* ---- Damage --------------------------------------------------------------------- */

static long size_of(const char *file)
{
    struct stat st;
    return stat(file, &st) == 0 ? (long)st.st_size : -1;
}

static void overwrite(const char *file, long at, size_t len)
{
    FILE *out = fopen(file, "r+b");
    assert_non_null(out);
    assert_int_equal(fseek(out, at, SEEK_SET), 0);
    for (size_t i = 0; i < len; i++) fputc(0xa5, out);
    assert_int_equal(fclose(out), 0);
}

static void open__refuses_a_damaged_file__wherever_the_damage_is(void **state)
{
    struct fixture *f = *state;
    f->d = fixture_open(f);
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "user%d", i);
        add_user(f, name);
    }
    directory_close(&f->d); /* the last one to close folds the log into the file */
    long size = size_of(f->file);
    assert_true(size >= 5 * 4096);
    char good[128], restore[300];
    snprintf(good, sizeof good, "%s/copy.db", f->folder);
    snprintf(restore, sizeof restore, "cp %s %s", f->file, good);
    assert_int_equal(system(restore), 0);
    snprintf(restore, sizeof restore, "cp %s %s", good, f->file);
    long places[] = {0, 100, 4096, 2 * 4096, 3 * 4096};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct directory *d = NULL;
        overwrite(f->file, places[i], 64);
        assert_int_equal(fixture_try_open(f, &d), SOTTO_ERR_CORRUPT);
        assert_true(why_says(f, "damaged"));
        assert_true(why_says(f, "backup"));
        assert_int_equal(system(restore), 0);
    }
    assert_int_equal(truncate(f->file, size / 2), 0);
    struct directory *d = NULL;
    assert_int_equal(fixture_try_open(f, &d), SOTTO_ERR_CORRUPT);
    assert_int_equal(system(restore), 0);
    f->d = fixture_open(f);
    assert_int_equal(directory_user_count(f->d), 20);
}

static void count_sentence(void *ctx, const char *sentence)
{
    assert_true(strlen(sentence) > 10);
    ++*(size_t *)ctx;
}

static void check__finds_broken_invariants(void **state)
{
    struct fixture *f = *state;
    size_t found = 0;
    f->d = fixture_open(f);
    add_user(f, "anna");
    assert_int_equal(directory_check(f->d, count_sentence, &found), SOTTO_OK);
    assert_int_equal(found, 0);
    run_sql(f->file, "UPDATE users SET username = NULL");
    run_sql(f->file, "UPDATE devices SET registration_id = 5");
    assert_int_equal(directory_check(f->d, count_sentence, &found), SOTTO_ERR_CORRUPT);
    assert_int_equal(found, 2);
    found = 0;
    run_sql(f->file, "PRAGMA foreign_keys = OFF; DELETE FROM users");
    assert_int_equal(directory_check(f->d, count_sentence, &found), SOTTO_ERR_CORRUPT);
    assert_true(found >= 1);
}

/* ---- Backup ----------------------------------------------------------------------- */

struct writer {
    struct fixture *f;
    atomic_bool stop;
    struct id user;
};
static void *write_on(void *ctx)
{
    struct writer *w = ctx;
    for (uint64_t n = 1; !atomic_load(&w->stop); n++) directory_store_last_seen(w->f->d, &w->user, &n, 1);
    return NULL;
}

static void backup__while_others_write__is_whole_and_opens(void **state)
{
    struct fixture *f = *state;
    f->d = fixture_open(f);
    struct credentials c = add_user(f, "anna");
    char copy[128];
    snprintf(copy, sizeof copy, "%s/copy.db", f->folder);
    struct writer w = {.f = f, .user = c.user};
    atomic_init(&w.stop, false);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_on, &w), 0);
    for (int i = 0; i < 5; i++) assert_int_equal(directory_backup(f->d, copy, &f->why), SOTTO_OK);
    atomic_store(&w.stop, true);
    pthread_join(thread, NULL);
    struct stat st;
    assert_int_equal(stat(copy, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    directory_close(&f->d);
    memcpy(f->file, copy, sizeof f->file);
    f->d = fixture_open(f);
    size_t found = 0;
    assert_int_equal(directory_check(f->d, count_sentence, &found), SOTTO_OK);
    assert_int_equal(authenticate(f->d, c.token), PROBLEM_NONE);
    assert_int_not_equal(directory_backup(f->d, "/no/such/folder/copy.db", &f->why), SOTTO_OK);
    assert_true(why_says(f, "No such file"));
}

/* ---- What is never in it ------------------------------------------------------------ */

static bool file_holds(const char *file, struct slice words)
{
    FILE *in = fopen(file, "rb");
    if (in == NULL) return false;
    long size = size_of(file);
    char *bytes = malloc((size_t)size + 1);
    size_t got = fread(bytes, 1, (size_t)size, in);
    fclose(in);
    bool found = memmem(bytes, got, words.data, words.len) != NULL;
    free(bytes);
    return found;
}

static void assert_nowhere(const struct fixture *f, struct slice words)
{
    static const char *const endings[] = {"", "-wal"};
    for (size_t i = 0; i < 2; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s%s", f->file, endings[i]);
        assert_false(file_holds(path, words));
    }
}

static void secrets__are_nowhere_in_the_files(void **state)
{
    struct fixture *f = *state;
    f->d = fixture_open(f);
    char invite[INVITE_TEXT_MAX], resume[TOKEN_TEXT_MAX], wal[128];
    assert_int_equal(directory_create_invite(f->d, 60000, false, invite), PROBLEM_NONE);
    struct registration r = registration_of("anna");
    struct credentials c;
    r.invite = slice_str(invite);
    assert_int_equal(directory_register(f->d, &r, &f->why, &c), PROBLEM_NONE);
    struct credentials second = login(f, "anna");
    directory_resume_token(f->d, c.user, 1, 60000, resume);
    struct stat st;
    assert_int_equal(stat(f->file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    snprintf(wal, sizeof wal, "%s-wal", f->file);
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(file_holds(wal, SLICE_LIT("anna"))); /* the search can find something */
    uint8_t raw[64];
    size_t raw_len = 0;
    assert_int_equal(sodium_base642bin(raw, sizeof raw, c.token + 4, strlen(c.token + 4), NULL, &raw_len, NULL,
                                       sodium_base64_VARIANT_URLSAFE_NO_PADDING), 0);
    assert_int_equal(raw_len, 49);
    for (int closed = 0; closed < 2; closed++) {
        assert_nowhere(f, SLICE_LIT(PASSWORD));
        assert_nowhere(f, slice_str(c.token + 4 + 23)); /* the secret's part of the text */
        assert_nowhere(f, slice_str(second.token + 4 + 23));
        assert_nowhere(f, slice_of(raw + 17, 32)); /* the secret */
        assert_nowhere(f, slice_str(invite + 4));
        assert_nowhere(f, slice_str(resume + 4 + 44)); /* the MAC's part */
        directory_close(&f->d);
    }
    assert_true(file_holds(f->file, SLICE_LIT("$argon2id$")));
}

/* ---- Threads -------------------------------------------------------------------------- */

/* A device's life; what went wrong, or NULL. */
static const char *live_once(struct fixture *f)
{
    struct credentials c;
    struct device_login device = some_device();
    uint64_t retry_ms;
    struct user_view *v = NULL;
    struct id user;
    uint8_t id;
    char resume[TOKEN_TEXT_MAX];
    if (directory_login(f->d, SLICE_LIT("anna"), SLICE_LIT(PASSWORD), &device, SLICE_LIT("a"), NULL, &retry_ms, &c) !=
        PROBLEM_NONE)
        return "no login";
    if (directory_authenticate(f->d, slice_str(c.token), &user, &id) != PROBLEM_NONE) return "not let in";
    directory_resume_token(f->d, user, id, 1000, resume);
    if (directory_resume(f->d, slice_str(resume), &user, &id) != PROBLEM_NONE) return "not resumed";
    if (directory_view(f->d, user, &v) != SOTTO_OK) return "no view";
    bool listed = false;
    for (size_t k = 0; k < v->devices_count; k++) listed = listed || v->devices[k].id == id;
    user_view_unref(v);
    if (!listed) return "a device is missing from a view loaded after it was made";
    if (directory_revoke_device(f->d, user, id) != PROBLEM_NONE) return "not revoked";
    if (directory_authenticate(f->d, slice_str(c.token), &user, &id) != PROBLEM_TOKEN) return "revoked and let in";
    if (directory_view(f->d, user, &v) != SOTTO_OK) return "no view";
    for (size_t k = 0; k < v->devices_count; k++) listed = listed && v->devices[k].id != id;
    user_view_unref(v);
    if (!listed) return "a revoked device is in a view loaded after it went";
    directory_poll_changes(f->d);
    return NULL;
}

struct liver {
    struct fixture *f;
    const char *complaint;
};
static void *live(void *ctx)
{
    struct liver *l = ctx;
    for (int i = 0; i < 40 && l->complaint == NULL; i++) l->complaint = live_once(l->f);
    return NULL;
}

static void directory__used_by_many_threads__is_never_out_of_date(void **state)
{
    enum { THREADS = 4 };
    struct fixture *f = *state;
    f->d = fixture_open(f);
    add_user(f, "anna");
    pthread_t threads[THREADS];
    struct liver livers[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        livers[i] = (struct liver){f, NULL};
        assert_int_equal(pthread_create(&threads[i], NULL, live, &livers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        if (livers[i].complaint != NULL) print_error("%s\n", livers[i].complaint);
        assert_null(livers[i].complaint);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLOSED_TEST(open__brings_version_1_up__and_keeps_what_is_there),
        CLOSED_TEST(migrate__runs_each_step_once__and_keeps_those_before_a_failure),
        CLOSED_TEST(open__refuses_a_newer_version__and_says_so),
        CLOSED_TEST(open__refuses_what_is_not_ours),
        CLOSED_TEST(open__refuses_a_damaged_file__wherever_the_damage_is),
        CLOSED_TEST(check__finds_broken_invariants),
        CLOSED_TEST(backup__while_others_write__is_whole_and_opens),
        CLOSED_TEST(secrets__are_nowhere_in_the_files),
        CLOSED_TEST(directory__used_by_many_threads__is_never_out_of_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
