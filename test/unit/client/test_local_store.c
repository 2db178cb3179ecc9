/* The client's SQLite file: what was committed is there again, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "client/local_store.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char dir[64], file[96];
    struct buffer why;
    struct local_store *store;
    const struct client_store *port;
};

static void reopen(struct fixture *f)
{
    local_store_close(&f->store);
    buffer_clear(&f->why);
    assert_int_equal(local_store_open(f->file, &f->why, &f->store), SOTTO_OK);
    f->port = local_store_port(f->store);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    if (!f) return -1;
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/sotto-local-XXXXXX");
    if (!mkdtemp(f->dir)) return -1;
    (void)snprintf(f->file, sizeof f->file, "%s/state.db", f->dir);
    buffer_init(&f->why, 4096);
    *state = f;
    reopen(f);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char name[128];
    local_store_close(&f->store);
    buffer_deinit(&f->why);
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(name, sizeof name, "%s%s", f->file, ends[i]);
        (void)unlink(name);
    }
    (void)rmdir(f->dir);
    free(f);
    return 0;
}

struct found {
    size_t marks, queued;
    struct client_mark mark;
    char ids[64], cursor[64];
    uint64_t ttl_s;
    bool urgent;
};

static bool each_mark(void *arg, const struct client_mark *m)
{
    struct found *f = arg;
    f->marks++;
    f->mark = *m;
    return true;
}

static bool each_queued(void *arg, const struct client_queued *q)
{
    struct found *f = arg;
    f->queued++;
    strncat(f->ids, (const char *)q->client_msg_id.data, q->client_msg_id.len);
    f->ttl_s = q->ttl_s;
    f->urgent = q->urgent;
    return true;
}

static bool each_cursor(void *arg, struct slice s)
{
    struct found *f = arg;
    if (s.len) memcpy(f->cursor, s.data, s.len);
    return true;
}

static struct found look(struct fixture *f)
{
    struct found found = {0};
    assert_int_equal(f->port->load_marks(f->port->ctx, each_mark, &found), SOTTO_OK);
    assert_int_equal(f->port->load_queued(f->port->ctx, each_queued, &found), SOTTO_OK);
    assert_int_equal(f->port->load_cursor(f->port->ctx, each_cursor, &found), SOTTO_OK);
    return found;
}

static void write_all(struct fixture *f)
{
    void *ctx = f->port->ctx;
    struct client_mark m = {.sequence = 5, .read = 3, .confirmed = {4, 2}, .first = 5, .chain_known = true};
    memset(m.conversation.bytes, 1, ID_LEN);
    memset(m.chain, 9, HASH_LEN);
    struct client_queued q = {.client_msg_id = SLICE_LIT("a"), .type = SLICE_LIT("text"), .payload = SLICE_LIT("x"),
                              .ttl_s = 60, .urgent = true};
    memset(q.to.bytes, 2, ID_LEN);
    assert_int_equal(f->port->save_mark(ctx, &m), SOTTO_OK);
    assert_int_equal(f->port->save_cursor(ctx, SLICE_LIT("cursor")), SOTTO_OK);
    assert_int_equal(f->port->put_queued(ctx, &q), SOTTO_OK);
    q.client_msg_id = SLICE_LIT("b");
    assert_int_equal(f->port->put_queued(ctx, &q), SOTTO_OK);
}

static void local_store__commit__survives(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(f->port->begin(f->port->ctx), SOTTO_OK);
    write_all(f);
    assert_int_equal(f->port->commit(f->port->ctx), SOTTO_OK);
    reopen(f);
    struct found found = look(f);
    assert_int_equal(found.marks, 1);
    assert_int_equal(found.mark.sequence, 5);
    assert_int_equal(found.mark.read, 3);
    assert_int_equal(found.mark.confirmed[MARK_DELIVERED], 4);
    assert_int_equal(found.mark.confirmed[MARK_READ], 2);
    assert_int_equal(found.mark.first, 5);
    assert_int_equal(found.mark.chain[31], 9);
    assert_string_equal(found.ids, "ab");
    assert_int_equal(found.ttl_s, 60);
    assert_true(found.urgent);
    assert_string_equal(found.cursor, "cursor");
    assert_int_equal(f->port->remove_queued(f->port->ctx, SLICE_LIT("a")), SOTTO_OK);
    assert_string_equal(look(f).ids, "b");
    assert_int_equal(local_outbox_count(f->store), 1);
}

static void local_store__rollback_and_crash__leave_nothing(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(f->port->begin(f->port->ctx), SOTTO_OK);
    write_all(f);
    f->port->rollback(f->port->ctx);
    assert_int_equal(look(f).marks, 0);
    assert_int_equal(f->port->begin(f->port->ctx), SOTTO_OK);
    write_all(f);
    reopen(f);
    assert_int_equal(look(f).queued, 0);
}

static void local_store__file__private(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    assert_int_equal(stat(f->file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void local_store__settings__kept_until_reset(void **state)
{
    struct fixture *f = *state;
    struct buffer value;
    buffer_init(&value, 256);
    assert_int_equal(local_setting_get(f->store, "token", &value), SOTTO_ERR_NOT_FOUND);
    assert_int_equal(local_setting_put(f->store, "token", SLICE_LIT("one")), SOTTO_OK);
    assert_int_equal(local_setting_put(f->store, "token", SLICE_LIT("two")), SOTTO_OK);
    reopen(f);
    assert_int_equal(local_setting_get(f->store, "token", &value), SOTTO_OK);
    assert_true(slice_is(buffer_slice(&value), "two"));
    write_all(f);
    assert_int_equal(local_store_reset(f->store), SOTTO_OK);
    assert_int_equal(local_setting_get(f->store, "token", &value), SOTTO_ERR_NOT_FOUND);
    assert_int_equal(look(f).marks + look(f).queued, 0);
    buffer_deinit(&value);
}

static void local_store__version_1__is_brought_up_to_date(void **state)
{
    struct fixture *f = *state;
    sqlite3 *db;
    write_all(f);
    local_store_close(&f->store);
    assert_int_equal(sqlite3_open(f->file, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "ALTER TABLE mark DROP COLUMN first; PRAGMA user_version=1", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    for (int i = 0; i < 2; i++) {
        reopen(f);
        assert_int_equal(look(f).mark.sequence, 5);
        assert_int_equal(look(f).mark.first, 0);
    }
    assert_string_equal(look(f).ids, "ab");
}

static void local_store__foreign_files__refused_untouched(void **state)
{
    struct fixture *f = *state;
    local_store_close(&f->store);
    FILE *out = fopen(f->file, "w");
    assert_non_null(out);
    assert_true(fputs("this is a diary and no database, and long enough to be looked at in earnest", out) >= 0);
    assert_int_equal(fclose(out), 0);
    assert_int_not_equal(local_store_open(f->file, &f->why, &f->store), SOTTO_OK);
    assert_true(f->why.len > 10);
    FILE *in = fopen(f->file, "r");
    assert_non_null(in);
    assert_int_equal(fgetc(in), 't');
    (void)fclose(in);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(local_store__commit__survives),
        T(local_store__rollback_and_crash__leave_nothing),
        T(local_store__file__private),
        T(local_store__settings__kept_until_reset),
        T(local_store__version_1__is_brought_up_to_date),
        T(local_store__foreign_files__refused_untouched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
