/* backup, restore, check.
 *
 * RocksDB may be open in one process. Whoever gets the data directory's lock
 * opens the store itself; otherwise a server runs, and is asked.
 */
#include "server/admin.h"
#include "server/commands.h"
#include "store/check.h"
#include "store/store_rocksdb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct work {
    struct loaded_config config;
    struct datadir dir;
    struct log *log;
    struct metrics *metrics;
    struct store *store;
    struct directory *directory;
    struct buffer why;
};

static enum exit_code failed(struct work *w, enum sotto_err err)
{
    if (w->why.len == 0) buffer_printf(&w->why, "It could not be done (%s).", sotto_err_name(err));
    fprintf(stderr, "sottod: %.*s\n", (int)w->why.len, (const char *)w->why.data);
    return err == SOTTO_ERR_CORRUPT ? EXIT_CODE_DAMAGED
         : err == SOTTO_ERR_CONFLICT ? EXIT_CODE_IN_USE : EXIT_CODE_FAILED;
}

static enum exit_code work_begin(struct work *w, const struct command_line *line)
{
    *w = (struct work){.dir = {.fd = -1, .lock_fd = -1}};
    buffer_init(&w->why, 4096);
    umask(077);
    return command_config(line, &w->config);
}

static void work_end(struct work *w)
{
    if (w->store != NULL) store_close(&w->store);
    if (w->directory != NULL) directory_close(&w->directory);
    if (w->metrics != NULL) metrics_destroy(&w->metrics);
    if (w->log != NULL) log_destroy(&w->log);
    datadir_give_back(&w->dir);
    datadir_close(&w->dir);
    buffer_deinit(&w->why);
    loaded_config_deinit(&w->config);
}

static enum sotto_err open_databases(struct work *w)
{
    char path[PATH_MAX_LEN + 64];
    w->log = log_create(STDERR_FILENO, LOG_WARN, false, clock_system());
    w->metrics = metrics_create();
    if (datadir_check_whole(&w->dir, &w->why) != SOTTO_OK) return SOTTO_ERR_CORRUPT;
    if (!datadir_has(&w->dir, "store") || !datadir_has(&w->dir, "directory.db")) {
        buffer_printf(&w->why, "There is no data in %s. Name the data directory with --data-dir.", w->dir.path);
        return SOTTO_ERR_NOT_FOUND;
    }
    if (!datadir_path(&w->dir, "store", path)) return SOTTO_ERR_INVALID;
    struct store_rocksdb_options store = {
        .directory = path, .block_cache_bytes = w->config.config.store_cache_bytes,
        .write_buffer_bytes = w->config.config.store_write_buffer_bytes, .log = w->log};
    enum sotto_err err = store_rocksdb_open(&store, &w->why, &w->store);
    if (err != SOTTO_OK || !datadir_path(&w->dir, "directory.db", path)) return err;
    struct directory_options directory = {
        .file = path, .clock = clock_system(), .random = random_system(), .log = w->log, .metrics = w->metrics,
        .registration = REGISTRATION_CLOSED, .cache_bytes = 1 << 20};
    return directory_open(&directory, &w->why, &w->directory);
}

/* The server's working directory need not be ours. */
static bool absolute_path(const char *path, char out[2 * PATH_MAX_LEN])
{
    char here[PATH_MAX_LEN];
    if (path[0] == '/') return snprintf(out, 2 * PATH_MAX_LEN, "%s", path) < 2 * PATH_MAX_LEN;
    if (getcwd(here, sizeof(here)) == NULL) return false;
    return snprintf(out, 2 * PATH_MAX_LEN, "%s/%s", here, path) < 2 * PATH_MAX_LEN;
}

/* A server in a mount namespace of its own (PrivateTmp) may mean another
 * directory by that path, one that is gone when it stops. */
static enum sotto_err look_at_backup(struct work *w, const char *target)
{
    char mark[2 * PATH_MAX_LEN];
    snprintf(mark, sizeof(mark), "%s/backup", target);
    if (access(mark, F_OK) == 0 || errno != ENOENT) return SOTTO_OK;
    buffer_printf(&w->why,
                  "The server has written the backup, but where it sees %s, which is another place than ours (under "
                  "systemd, /tmp is). Name a directory that both see, for instance in /var/lib/sotto-backups.",
                  target);
    return SOTTO_ERR_IO;
}

static enum sotto_err backup(struct work *w, const char *target)
{
    enum sotto_err err = datadir_lock(&w->dir, &w->why);
    if (err == SOTTO_ERR_CONFLICT) {
        struct buffer answer;
        buffer_init(&answer, 4096);
        err = admin_ask_backup(&w->dir, target, &answer);
        if (err == SOTTO_OK) {
            buffer_clear(&w->why);
            err = look_at_backup(w, target);
        } else if (err == SOTTO_ERR_NOT_FOUND) {
            /* Locked, and nobody listens: it is just starting, or no server. */
            buffer_append_str(&w->why, " It does not answer on admin.sock; is it still starting?");
            err = SOTTO_ERR_CONFLICT;
        } else {
            buffer_clear(&w->why);
            buffer_append_slice(&w->why, buffer_slice(&answer));
        }
        buffer_deinit(&answer);
        return err;
    }
    if (err == SOTTO_OK) err = open_databases(w);
    /* Now, because files of the backup may be second names of these. */
    datadir_give_back(&w->dir);
    if (err != SOTTO_OK) return err;
    struct backup_sources sources = {w->store, w->directory, &w->dir, clock_system(), SOTTO_VERSION};
    return backup_write(&sources, target, &w->why);
}

enum exit_code command_backup(const struct command_line *line)
{
    struct work w;
    char target[2 * PATH_MAX_LEN];
    enum exit_code code = work_begin(&w, line);
    if (code != EXIT_CODE_OK) return code;
    enum sotto_err err = SOTTO_ERR_INVALID;
    if (!absolute_path(line->args[0], target) || strlen(target) >= PATH_MAX_LEN || strchr(target, '\n') != NULL) {
        buffer_append_str(&w.why, "That is no path for a backup.");
    } else {
        err = datadir_open(w.config.config.data_dir, false, NULL, &w.why, &w.dir);
        if (err == SOTTO_OK) err = backup(&w, target);
    }
    if (err != SOTTO_OK) code = failed(&w, err);
    else printf("The backup is in %s.\n", target);
    work_end(&w);
    return code;
}

enum exit_code command_restore(const struct command_line *line)
{
    struct work w;
    enum exit_code code = work_begin(&w, line);
    if (code != EXIT_CODE_OK) return code;
    enum sotto_err err = datadir_open(w.config.config.data_dir, true, NULL, &w.why, &w.dir);
    if (err == SOTTO_OK) err = datadir_lock(&w.dir, &w.why);
    if (err == SOTTO_OK) err = backup_restore(line->args[0], &w.dir, &w.why);
    if (err != SOTTO_OK) {
        code = failed(&w, err);
    } else {
        printf("%s is restored to %s. Verify it with \"sottod check\", then start the server; devices will fetch what "
               "they are missing.\n",
               line->args[0], w.dir.path);
    }
    work_end(&w);
    return code;
}

static void print_finding(void *ctx, const char *sentence)
{
    uint64_t *count = ctx;
    ++*count;
    printf("problem: %s\n", sentence);
}

static enum sotto_err check(struct work *w, uint64_t *findings, struct store_report *report)
{
    enum sotto_err err = datadir_lock(&w->dir, &w->why);
    if (err == SOTTO_ERR_CONFLICT) {
        buffer_append_str(&w->why, " Stop it first; or make a backup, restore that elsewhere and check it there.");
    }
    if (err == SOTTO_OK) err = open_databases(w);
    if (err == SOTTO_OK) err = store_check(w->store, print_finding, findings, report);
    /* A store with wrong rows does not keep us from the rest; one that does not open does. */
    if (w->directory != NULL && (err == SOTTO_OK || err == SOTTO_ERR_CORRUPT)) {
        enum sotto_err second = directory_check(w->directory, print_finding, findings);
        if (err == SOTTO_OK) err = second;
    }
    return err;
}

enum exit_code command_check(const struct command_line *line)
{
    struct work w;
    uint64_t findings = 0;
    struct store_report report = {0};
    enum exit_code code = work_begin(&w, line);
    if (code != EXIT_CODE_OK) return code;
    enum sotto_err err = datadir_open(w.config.config.data_dir, false, NULL, &w.why, &w.dir);
    if (err == SOTTO_OK) err = check(&w, &findings, &report);
    if (err == SOTTO_OK || findings > 0) {
        printf("%llu conversations, %llu messages (%llu of them expired), %llu users: ",
               (unsigned long long)report.conversations, (unsigned long long)report.messages,
               (unsigned long long)report.tombstones,
               (unsigned long long)(w.directory != NULL ? directory_user_count(w.directory) : 0));
        if (findings == 0) puts("no problems.");
        else printf("%llu problems. Restore the last good backup, and keep this directory for inspection.\n",
                    (unsigned long long)findings);
    }
    if (findings > 0) code = EXIT_CODE_DAMAGED;
    else if (err != SOTTO_OK) code = failed(&w, err);
    work_end(&w);
    return code;
}
