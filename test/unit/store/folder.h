/* A folder for one test, and what the tests do to files in it. */
#ifndef SOTTO_TEST_STORE_FOLDER_H
#define SOTTO_TEST_STORE_FOLDER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "store/store_rocksdb.h"

/* How often to look again for what the store's own threads do in their time: a
 * minute, for machines that have other things to do. */
enum { PATIENCE = 1200, PAUSE_US = 50 * 1000 };

struct folder {
    char path[64];   /* removed at the end, with what is in it */
    char store[80];  /* path/store */
    char other[80];  /* path/other */
};

/* In memory where there is room: a killed process loses nothing there either,
 * and the syncs of a busy disk would take most of the tests' time. */
static inline const char *folder_parent(void)
{
    struct statvfs v;
    const char *memory = "/dev/shm";
    bool room = statvfs(memory, &v) == 0 && (uint64_t)v.f_bavail * v.f_frsize >= 256u << 20;
    return room && access(memory, W_OK) == 0 ? memory : "/tmp";
}

static inline void folder_make(struct folder *f)
{
    snprintf(f->path, sizeof(f->path), "%s/sotto-test-XXXXXX", folder_parent());
    assert_non_null(mkdtemp(f->path));
    snprintf(f->store, sizeof(f->store), "%s/store", f->path);
    snprintf(f->other, sizeof(f->other), "%s/other", f->path);
}

static inline int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static inline void remove_tree(const char *path) { (void)nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS); }

static inline void folder_remove(struct folder *f) { remove_tree(f->path); }

/* A test that finds a folder of its own in *state. */
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_set_up, folder_tear_down)

static inline int folder_set_up(void **state)
{
    struct folder *f = sotto_zalloc(sizeof(*f));
    folder_make(f);
    *state = f;
    return 0;
}

static inline int folder_tear_down(void **state)
{
    folder_remove(*state);
    free(*state);
    return 0;
}

/* The newest file with that ending; false if there is none. */
static inline bool newest_file(const char *path, const char *ending, char out[PATH_MAX])
{
    DIR *dir = opendir(path);
    unsigned long newest = 0;
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char *end;
        unsigned long number = strtoul(entry->d_name, &end, 10);
        if (strcmp(end, ending) != 0 || end == entry->d_name || number < newest) continue;
        newest = number;
        snprintf(out, PATH_MAX, "%s/%s", path, entry->d_name);
    }
    closedir(dir);
    return newest != 0;
}

/* The first file with that ending that has these bytes, and where; false: none has. */
static inline bool find_bytes(const char *path, const char *ending, struct slice needle, char name_out[PATH_MAX],
                              size_t *at_out)
{
    DIR *dir = opendir(path);
    bool found = false;
    assert_non_null(dir);
    for (struct dirent *entry; !found && (entry = readdir(dir)) != NULL;) {
        static uint8_t content[4 << 20];
        snprintf(name_out, PATH_MAX, "%s/%s", path, entry->d_name);
        size_t name_len = strlen(name_out), ending_len = strlen(ending);
        FILE *file = name_len < ending_len || strcmp(name_out + name_len - ending_len, ending) != 0
                         ? NULL
                         : fopen(name_out, "rb");
        if (file == NULL) continue;
        const uint8_t *at = memmem(content, fread(content, 1, sizeof(content), file), needle.data, needle.len);
        (void)fclose(file);
        found = at != NULL;
        if (found) *at_out = (size_t)(at - content);
    }
    closedir(dir);
    return found;
}

static inline bool folder_contains(const char *path, const char *needle)
{
    char name[PATH_MAX];
    size_t at;
    return find_bytes(path, "", slice_str(needle), name, &at);
}

static inline size_t file_len(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return (size_t)status.st_size;
}

/* Turns bits of `len` bytes at `offset`. */
static inline void damage(const char *path, size_t offset, size_t len)
{
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    for (size_t i = 0; i < len; i++) {
        uint8_t byte;
        assert_int_equal(pread(fd, &byte, 1, (off_t)(offset + i)), 1);
        byte ^= 0x5a;
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)(offset + i)), 1);
    }
    close(fd);
}

static inline enum sotto_err open_store(const char *path, struct buffer *why, struct store **out)
{
    struct store_rocksdb_options options = {
        .directory = path, .block_cache_bytes = 1 << 20, .write_buffer_bytes = 1 << 20};
    return store_rocksdb_open(&options, why, out);
}

/* For children: a failure ends the child, which must not go on with the tests. */
static inline void child_check(bool condition)
{
    if (!condition) _exit(99);
}

static inline struct store *must_open(const char *path)
{
    struct buffer why;
    struct store *s = NULL;
    buffer_init(&why, 4096);
    enum sotto_err err = open_store(path, &why, &s);
    if (err != SOTTO_OK) print_message("%.*s\n", (int)why.len, (const char *)why.data);
    assert_int_equal(err, SOTTO_OK);
    buffer_deinit(&why);
    return s;
}

/* Opening must fail with that error and a sentence that has those words. */
static inline void must_refuse(const char *path, enum sotto_err expected, const char *words)
{
    struct buffer why;
    struct store *s = NULL;
    buffer_init(&why, 4096);
    assert_int_equal(open_store(path, &why, &s), expected);
    assert_null(s);
    buffer_append_byte(&why, 0);
    if (strstr((const char *)why.data, words) == NULL) print_message("%s\n", (const char *)why.data);
    assert_non_null(strstr((const char *)why.data, words));
    buffer_deinit(&why);
}

static inline void put_one(struct store *s, const char *key, const char *value)
{
    struct store_batch *b = store_batch_create(s);
    store_put(b, STORE_MESSAGE, slice_str(key), slice_str(value));
    assert_int_equal(store_commit(s, b), SOTTO_OK);
    store_batch_destroy(&b);
}

static inline bool has_value(struct store *s, const char *key, const char *value)
{
    struct buffer got;
    buffer_init(&got, 1 << 20);
    enum sotto_err err = store_get(s, STORE_MESSAGE, slice_str(key), &got);
    bool same = err == SOTTO_OK && slice_is(buffer_slice(&got), value);
    assert_true(err == SOTTO_OK || err == SOTTO_ERR_NOT_FOUND);
    buffer_deinit(&got);
    return same;
}

#endif
