/* user, invite, device: straight on the directory's database, which SQLite
 * shares between processes. A running server notices within a second.
 */
#include "server/commands.h"
#include "server/datadir.h"
#include "server/terminal.h"
#include "server/values.h"
#include "wire/json.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { INVITE_TTL_MS = 7 * 24 * 3600 * 1000, LINE_MAX_BYTES = 4096 };

struct office {
    struct loaded_config config;
    struct datadir dir;
    struct log *log;
    struct metrics *metrics;
    struct directory *directory;
    struct buffer why;
};

static enum sotto_err open_directory(struct office *o, bool create)
{
    const struct config *c = &o->config.config;
    char path[PATH_MAX_LEN + 64];
    enum sotto_err err = datadir_open(c->data_dir, create, NULL, &o->why, &o->dir);
    if (err == SOTTO_ERR_NOT_FOUND) buffer_append_str(&o->why, " Name it with --data-dir.");
    if (err != SOTTO_OK) return err;
    err = datadir_check_whole(&o->dir, &o->why);
    if (err != SOTTO_OK) return err;
    if (!create && !datadir_has(&o->dir, "directory.db")) {
        buffer_printf(&o->why, "There is no data in %s. Name the data directory with --data-dir.", c->data_dir);
        return SOTTO_ERR_NOT_FOUND;
    }
    if (!datadir_path(&o->dir, "directory.db", path)) return SOTTO_ERR_INVALID;
    struct directory_options options = {
        .file = path,
        .clock = clock_system(),
        .random = random_system(),
        .log = o->log,
        .metrics = o->metrics,
        .registration = REGISTRATION_INVITE,
        .cache_bytes = 1 << 20,
        .argon2_ops = c->argon2_passes,
        .argon2_mem_bytes = c->argon2_memory_bytes,
        .prekeys_low = (uint32_t)c->prekeys_low,
    };
    return directory_open(&options, &o->why, &o->directory);
}

static void office_close(struct office *o)
{
    if (o->directory != NULL) directory_close(&o->directory);
    if (o->metrics != NULL) metrics_destroy(&o->metrics);
    if (o->log != NULL) log_destroy(&o->log);
    if (o->dir.fd >= 0) datadir_give_back(&o->dir);
    datadir_close(&o->dir);
    buffer_deinit(&o->why);
    loaded_config_deinit(&o->config);
}

/* create: the command makes sense before the server's first start. On success
 * the caller ends with office_end; otherwise everything is closed already. */
static enum exit_code office_begin(struct office *o, const struct command_line *line, bool create)
{
    *o = (struct office){.dir = {.fd = -1, .lock_fd = -1}};
    enum exit_code code = command_config(line, &o->config);
    if (code != EXIT_CODE_OK) return code;
    umask(077);
    buffer_init(&o->why, 4096);
    o->log = log_create(STDERR_FILENO, LOG_WARN, false, clock_system());
    o->metrics = metrics_create();
    /* Each try waits some seconds for the server's writes on a busy disk. */
    enum { TRIES = 6 };
    enum sotto_err err = SOTTO_ERR_AGAIN;
    for (int i = 0; i < TRIES && err == SOTTO_ERR_AGAIN; i++) {
        buffer_clear(&o->why);
        datadir_close(&o->dir);
        err = open_directory(o, create);
    }
    if (err == SOTTO_OK) return EXIT_CODE_OK;
    if (o->why.len == 0) buffer_printf(&o->why, "The directory cannot be opened (%s).", sotto_err_name(err));
    fprintf(stderr, "sottod: %.*s\n", (int)o->why.len, (const char *)o->why.data);
    office_close(o);
    return err == SOTTO_ERR_CORRUPT ? EXIT_CODE_DAMAGED : EXIT_CODE_FAILED;
}

/* Says what went wrong, if anything, and closes. */
static enum exit_code office_end(struct office *o, enum problem p)
{
    if (p != PROBLEM_NONE) {
        if (o->why.len == 0) buffer_append_str(&o->why, problem_text(p));
        fprintf(stderr, "sottod: %.*s\n", (int)o->why.len, (const char *)o->why.data);
    }
    office_close(o);
    return p == PROBLEM_NONE ? EXIT_CODE_OK : EXIT_CODE_FAILED;
}

static enum problem find_user(struct office *o, const char *name, struct profile *profile)
{
    enum problem p = directory_find_username(o->directory, slice_str(name), profile);
    if (p != PROBLEM_NOT_FOUND && p != PROBLEM_NO_SUCH_USER) return p;
    buffer_printf(&o->why, "There is no user \"%s\". \"sottod user list\" shows who there is.", name);
    return PROBLEM_NO_SUCH_USER;
}

static void format_time(uint64_t ms, char out[24])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    memcpy(out, "never", 6);
    if (ms != 0 && gmtime_r(&seconds, &tm) != NULL) strftime(out, 24, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* Output of a list: a table, or an object a line. */
struct listing {
    bool json;
    size_t count;
    struct buffer line;
    struct json_writer w;
};

static void listing_begin(struct listing *l, const struct command_line *line)
{
    *l = (struct listing){.json = command_line_flag(line, "json") != NULL};
    buffer_init(&l->line, LINE_MAX_BYTES);
}

static void listing_object(struct listing *l)
{
    buffer_clear(&l->line);
    l->w = json_writer_of(&l->line);
    json_begin_object(&l->w);
}

static void listing_print(struct listing *l)
{
    json_end_object(&l->w);
    printf("%.*s\n", (int)l->line.len, (const char *)l->line.data);
}

/* Names are for people and could hold anything printable or not. */
static const char *shown(const char *text, char out[160])
{
    size_t n = 0;
    for (; *text != '\0' && n < 158; text++) out[n++] = (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text;
    out[n] = '\0';
    return out;
}

static void print_user(void *ctx, const struct profile *p)
{
    struct listing *l = ctx;
    char created[24], seen[24], id[ID_TEXT_LEN + 1], name[160];
    if (l->json) {
        listing_object(l);
        json_put_id(&l->w, "userId", p->id);
        json_put_cstr(&l->w, "username", p->username);
        json_put_cstr(&l->w, "displayName", p->display_name);
        json_put_bool(&l->w, "admin", p->is_admin);
        json_put_u64(&l->w, "createdAt", p->created_ms);
        json_put_u64(&l->w, "lastSeenAt", p->last_seen_ms);
        listing_print(l);
        return;
    }
    if (l->count++ == 0) printf("%-20s %-36s %-5s %-20s %-20s %s\n", "NAME", "ID", "ADMIN", "CREATED", "LAST ONLINE", "SHOWN AS");
    format_time(p->created_ms, created);
    format_time(p->last_seen_ms, seen);
    id_format(p->id, id);
    printf("%-20s %-36s %-5s %-20s %-20s %s\n", p->username, id, p->is_admin ? "yes" : "no", created, seen,
           shown(p->display_name, name));
}

enum exit_code command_user_list(const struct command_line *line)
{
    struct office o;
    struct listing l;
    enum exit_code code = office_begin(&o, line, false);
    if (code != EXIT_CODE_OK) return code;
    listing_begin(&l, line);
    enum problem p = directory_users(o.directory, print_user, &l);
    if (p == PROBLEM_NONE && !l.json && l.count == 0) puts("Nobody has an account yet.");
    buffer_deinit(&l.line);
    return office_end(&o, p);
}

/* An account as if registered with an invite, without the device that a
 * registration makes. */
static enum problem add_user(struct office *o, const char *name, struct slice password, bool admin)
{
    enum { MOMENT_MS = 60 * 1000 };
    char invite[INVITE_TEXT_MAX];
    struct credentials cred;
    enum problem p = directory_create_invite(o->directory, MOMENT_MS, admin, invite);
    if (p != PROBLEM_NONE) return p;
    struct registration r = {
        .username = slice_str(name),
        .password = password,
        .invite = slice_str(invite),
        .device = {SLICE_LIT("sottod user add"), SLICE_LIT("operator")},
    };
    p = directory_register(o->directory, &r, &o->why, &cred);
    if (p == PROBLEM_NONE) p = directory_revoke_device(o->directory, cred.user, cred.device);
    sodium_memzero(&cred, sizeof(cred));
    return p;
}

enum exit_code command_user_add(const struct command_line *line)
{
    struct office o;
    char password[SOTTO_PASSWORD_MAX + 2];
    if (!terminal_read_password(command_line_flag(line, "password-stdin") != NULL, password, sizeof(password))) {
        return EXIT_CODE_FAILED;
    }
    enum exit_code code = office_begin(&o, line, true);
    if (code == EXIT_CODE_OK) {
        bool admin = command_line_flag(line, "admin") != NULL;
        enum problem p = add_user(&o, line->args[0], slice_str(password), admin);
        if (p == PROBLEM_NONE) printf("%s has an account%s.\n", line->args[0], admin ? " and may administer" : "");
        code = office_end(&o, p);
    }
    sodium_memzero(password, sizeof(password));
    return code;
}

enum exit_code command_user_password(const struct command_line *line)
{
    struct office o;
    struct profile profile;
    char password[SOTTO_PASSWORD_MAX + 2];
    enum exit_code code = office_begin(&o, line, false);
    if (code != EXIT_CODE_OK) return code;
    enum problem p = find_user(&o, line->args[0], &profile);
    if (p == PROBLEM_NONE &&
        !terminal_read_password(command_line_flag(line, "password-stdin") != NULL, password, sizeof(password))) {
        office_close(&o);
        return EXIT_CODE_FAILED;
    }
    if (p == PROBLEM_NONE) {
        p = directory_set_password(o.directory, profile.id, slice_str(password), &o.why);
        sodium_memzero(password, sizeof(password));
    }
    if (p == PROBLEM_NONE) printf("%s has a new password; all devices are signed out.\n", profile.username);
    return office_end(&o, p);
}

enum exit_code command_user_remove(const struct command_line *line)
{
    struct office o;
    struct profile profile;
    enum exit_code code = office_begin(&o, line, false);
    if (code != EXIT_CODE_OK) return code;
    enum problem p = find_user(&o, line->args[0], &profile);
    if (p == PROBLEM_NONE && command_line_flag(line, "yes") == NULL) {
        char question[128];
        snprintf(question, sizeof(question), "Delete the account of %s for ever?", profile.username);
        if (!terminal_confirm(question)) {
            buffer_append_str(&o.why, "Nothing was deleted. (--yes deletes without asking.)");
            p = PROBLEM_FORBIDDEN;
        }
    }
    if (p == PROBLEM_NONE) p = directory_remove_user(o.directory, profile.id);
    if (p == PROBLEM_NONE) printf("The account of %s is deleted.\n", profile.username);
    return office_end(&o, p);
}

enum exit_code command_invite_create(const struct command_line *line)
{
    struct office o;
    char invite[INVITE_TEXT_MAX];
    uint64_t ttl_ms = INVITE_TTL_MS;
    const char *valid = command_line_flag(line, "valid");
    enum { MINUTE_MS = 60 * 1000 };
    if (valid != NULL) {
        struct buffer why;
        buffer_init(&why, 1024);
        enum sotto_err err = value_parse_duration(slice_str(valid), MINUTE_MS, 366ull * 24 * 60 * MINUTE_MS, &why, &ttl_ms);
        if (err != SOTTO_OK) fprintf(stderr, "sottod: --valid: %.*s.\n", (int)why.len, (const char *)why.data);
        buffer_deinit(&why);
        if (err != SOTTO_OK) return EXIT_CODE_USAGE;
    }
    enum exit_code code = office_begin(&o, line, true);
    if (code != EXIT_CODE_OK) return code;
    enum problem p = directory_create_invite(o.directory, ttl_ms, command_line_flag(line, "admin") != NULL, invite);
    if (p == PROBLEM_NONE) puts(invite);
    return office_end(&o, p);
}

static void print_invite(void *ctx, const struct invite_info *i)
{
    struct listing *l = ctx;
    char created[24], expires[24];
    if (l->json) {
        listing_object(l);
        json_put_u64(&l->w, "inviteId", i->id);
        json_put_u64(&l->w, "createdAt", i->created_ms);
        json_put_u64(&l->w, "expiresAt", i->expires_ms);
        json_put_bool(&l->w, "admin", i->admin);
        json_put_bool(&l->w, "used", i->used);
        listing_print(l);
        return;
    }
    if (l->count++ == 0) printf("%-6s %-20s %-20s %-5s %s\n", "ID", "CREATED", "EXPIRES", "ADMIN", "STATE");
    format_time(i->created_ms, created);
    format_time(i->expires_ms, expires);
    bool expired = i->expires_ms <= clock_wall_ms(clock_system());
    printf("%-6llu %-20s %-20s %-5s %s\n", (unsigned long long)i->id, created, expires, i->admin ? "yes" : "no",
           i->used ? "used" : expired ? "expired" : "open");
}

enum exit_code command_invite_list(const struct command_line *line)
{
    struct office o;
    struct listing l;
    enum exit_code code = office_begin(&o, line, false);
    if (code != EXIT_CODE_OK) return code;
    listing_begin(&l, line);
    enum problem p = directory_invites(o.directory, print_invite, &l);
    if (p == PROBLEM_NONE && !l.json && l.count == 0) puts("There are no invites.");
    buffer_deinit(&l.line);
    return office_end(&o, p);
}

/* A number on the command line. */
static bool parse_argument(const char *text, const char *what, uint64_t max, uint64_t *out)
{
    struct buffer why;
    buffer_init(&why, 1024);
    enum sotto_err err = value_parse_number(slice_str(text), 1, max, &why, out);
    if (err != SOTTO_OK) fprintf(stderr, "sottod: %s: %.*s.\n", what, (int)why.len, (const char *)why.data);
    buffer_deinit(&why);
    return err == SOTTO_OK;
}

enum exit_code command_invite_revoke(const struct command_line *line)
{
    struct office o;
    uint64_t id;
    if (!parse_argument(line->args[0], "ID", INT64_MAX, &id)) return EXIT_CODE_USAGE;
    enum exit_code code = office_begin(&o, line, false);
    if (code != EXIT_CODE_OK) return code;
    enum problem p = directory_revoke_invite(o.directory, id);
    if (p == PROBLEM_NOT_FOUND) {
        buffer_append_str(&o.why, "There is no invite of that number. \"sottod invite list\" shows them.");
    }
    if (p == PROBLEM_NONE) puts("The invite is useless now.");
    return office_end(&o, p);
}

static void print_device(struct listing *l, const struct device_info *d)
{
    char created[24], seen[24], name[160];
    if (l->json) {
        listing_object(l);
        json_put_u64(&l->w, "deviceId", d->id);
        json_put_cstr(&l->w, "name", d->name);
        json_put_cstr(&l->w, "platform", d->platform);
        json_put_u64(&l->w, "createdAt", d->created_ms);
        json_put_u64(&l->w, "lastSeenAt", d->last_seen_ms);
        json_put_bool(&l->w, "hasKeys", d->has_keys);
        listing_print(l);
        return;
    }
    if (l->count++ == 0) printf("%-6s %-20s %-20s %-10s %s\n", "DEVICE", "CREATED", "LAST SEEN", "PLATFORM", "NAME");
    format_time(d->created_ms, created);
    format_time(d->last_seen_ms, seen);
    printf("%-6u %-20s %-20s %-10s %s\n", (unsigned)d->id, created, seen, d->platform, shown(d->name, name));
}

enum exit_code command_device_list(const struct command_line *line)
{
    struct office o;
    struct listing l;
    struct profile profile;
    struct device_info devices[SOTTO_DEVICES_PER_USER_MAX];
    size_t count = 0;
    enum exit_code code = office_begin(&o, line, false);
    if (code != EXIT_CODE_OK) return code;
    enum problem p = find_user(&o, line->args[0], &profile);
    if (p == PROBLEM_NONE) p = directory_devices(o.directory, profile.id, devices, &count);
    listing_begin(&l, line);
    for (size_t i = 0; p == PROBLEM_NONE && i < count; i++) print_device(&l, &devices[i]);
    if (p == PROBLEM_NONE && count == 0 && !l.json) printf("%s is signed in nowhere.\n", profile.username);
    buffer_deinit(&l.line);
    return office_end(&o, p);
}

enum exit_code command_device_revoke(const struct command_line *line)
{
    struct office o;
    struct profile profile;
    uint64_t device;
    if (!parse_argument(line->args[1], "DEVICE", SOTTO_DEVICE_ID_MAX, &device)) return EXIT_CODE_USAGE;
    enum exit_code code = office_begin(&o, line, false);
    if (code != EXIT_CODE_OK) return code;
    enum problem p = find_user(&o, line->args[0], &profile);
    if (p == PROBLEM_NONE) p = directory_revoke_device(o.directory, profile.id, (uint8_t)device);
    if (p == PROBLEM_NOT_FOUND) {
        buffer_printf(&o.why, "%s has no device %u. \"sottod device list %s\" shows them.", profile.username,
                      (unsigned)device, profile.username);
    }
    if (p == PROBLEM_NONE) printf("Device %u of %s is signed out.\n", (unsigned)device, profile.username);
    return office_end(&o, p);
}
