/* Configuration: sources and their order, and every way to get it wrong. Files
 * are written to a directory that is removed at the end. */
#include "server/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char directory[64];
    char file[96];
    struct buffer errors;
    struct loaded_config loaded;
    bool is_loaded;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    strcpy(f->directory, "/tmp/sotto-config-XXXXXX");
    if (f == NULL || mkdtemp(f->directory) == NULL) return -1;
    snprintf(f->file, sizeof(f->file), "%s/sottod.conf", f->directory);
    buffer_init(&f->errors, CONFIG_ERRORS_MAX_BYTES);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    if (f->is_loaded) loaded_config_deinit(&f->loaded);
    buffer_deinit(&f->errors);
    unlink(f->file);
    rmdir(f->directory);
    free(f);
    return 0;
}

static void write_file(struct fixture *f, const char *text)
{
    FILE *out = fopen(f->file, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(text, 1, strlen(text), out), strlen(text));
    fclose(out);
}

/* Flags come as "key", "value", …, NULL. */
static bool load(struct fixture *f, const char *file, const char *const *environment, const char *const *flags)
{
    struct config_flag list[16];
    size_t count = 0;
    for (; flags != NULL && flags[2 * count] != NULL; count++) {
        list[count] = (struct config_flag){option_find(slice_str(flags[2 * count])), flags[2 * count + 1]};
        assert_non_null(list[count].option);
    }
    struct config_inputs in = {file, environment, list, count};
    f->is_loaded = config_load(&in, &f->errors, &f->loaded) == SOTTO_OK;
    buffer_append_byte(&f->errors, 0);
    return f->is_loaded;
}

static const char *errors(struct fixture *f)
{
    return (const char *)f->errors.data;
}

static void expect_error(struct fixture *f, const char *text)
{
    if (strstr(errors(f), text) == NULL) fail_msg("\"%s\" is not in:\n%s", text, errors(f));
}

static size_t origin_of(const char *key)
{
    return (size_t)(option_find(slice_str(key)) - option_table);
}

static void config__defaults(void **state)
{
    struct fixture *f = *state;
    const char *flags[] = {"data-dir", f->directory, NULL};
    assert_true(load(f, NULL, NULL, flags));
    const struct config *c = &f->loaded.config;
    assert_string_equal(c->listen, "127.0.0.1");
    assert_int_equal(c->port, 8080);
    assert_int_equal(c->registration, REGISTRATION_INVITE);
    assert_true(c->metrics);
    struct gateway_limits l;
    gateway_limits_default(&l);
    assert_int_equal(c->limits.window_bytes, l.window_bytes);
    assert_null(f->loaded.file);
}

static void config__order_of_sources(void **state)
{
    struct fixture *f = *state;
    write_file(f, "port = 1\nlisten = 10.0.0.1\nserver-name = of the file\n");
    const char *environment[] = {"SOTTO_PORT=2", "SOTTO_LISTEN=10.0.0.2", "PATH=/bin", NULL};
    const char *flags[] = {"port", "3", NULL};
    assert_true(load(f, f->file, environment, flags));
    assert_int_equal(f->loaded.config.port, 3);
    assert_string_equal(f->loaded.config.listen, "10.0.0.2");
    assert_string_equal(f->loaded.config.server_name, "of the file");
    assert_int_equal(f->loaded.origins[origin_of("port")].kind, ORIGIN_FLAG);
    assert_int_equal(f->loaded.origins[origin_of("listen")].kind, ORIGIN_ENVIRONMENT);
    assert_int_equal(f->loaded.origins[origin_of("server-name")].kind, ORIGIN_FILE);
    assert_int_equal(f->loaded.origins[origin_of("server-name")].line, 3);
    struct buffer where;
    buffer_init(&where, 256);
    config_describe_origin(&f->loaded, origin_of("listen"), &where);
    assert_true(slice_is(buffer_slice(&where), "SOTTO_LISTEN"));
    buffer_deinit(&where);
}

static void config__file_in_data_directory(void **state)
{
    struct fixture *f = *state;
    write_file(f, "\xef\xbb\xbf" "# comment\n\n  port=81 # of the web\r\nserver-name = \"Anna's # 1\"  # quoted\nlog-level = debug");
    const char *environment[] = {NULL};
    const char *flags[] = {"data-dir", f->directory, NULL};
    assert_true(load(f, NULL, environment, flags));
    assert_int_equal(f->loaded.config.port, 81);
    assert_string_equal(f->loaded.config.server_name, "Anna's # 1");
    assert_int_equal(f->loaded.config.log_level, LOG_DEBUG);
    assert_string_equal(f->loaded.file, f->file);
}

static void config__file_by_environment(void **state)
{
    struct fixture *f = *state;
    char variable[128];
    write_file(f, "port = 82\n");
    snprintf(variable, sizeof(variable), "SOTTO_CONFIG=%s", f->file);
    const char *environment[] = {variable, NULL};
    assert_true(load(f, NULL, environment, NULL));
    assert_int_equal(f->loaded.config.port, 82);
}

static void config__all_mistakes_at_once(void **state)
{
    struct fixture *f = *state;
    write_file(f, "prot = 1\njust words\nport = 99999\nheartbeat = 10\nlisten = 1.2.3.4\nlisten = 1.2.3.4\n"
                  "server-name = \"open\nwindow-bytes = many\nregistration = perhaps\nmetrics = 7\n"
                  "trusted-proxies = here\n");
    const char *environment[] = {"SOTTO_IO_THREADS=some", "SOTTO_PRT=1", "SOTTO_REGISTRATON=open", NULL};
    const char *flags[] = {"limit-user", "fast", NULL};
    assert_false(load(f, f->file, environment, flags));
    expect_error(f, "sottod.conf:1: there is no setting \"prot\". Did you mean port?\n");
    expect_error(f, "sottod.conf:2: this is not `key = value`.\n");
    expect_error(f, "sottod.conf:3: port: 99999 is not between 0 and 65535.\n");
    expect_error(f, "sottod.conf:4: heartbeat: \"10\" has no unit");
    expect_error(f, "sottod.conf:6: listen was set in line 5 already.\n");
    expect_error(f, "sottod.conf:7: the quotes do not match.\n");
    expect_error(f, "sottod.conf:8: window-bytes: \"many\" is not a number with a unit");
    expect_error(f, "sottod.conf:9: registration: \"perhaps\" is none of open, invite and closed.\n");
    expect_error(f, "sottod.conf:10: metrics: \"7\" is none of off, local and on.\n");
    expect_error(f, "sottod.conf:11: trusted-proxies: \"here\" is neither an address nor a network");
    expect_error(f, "SOTTO_IO_THREADS: \"some\" is not a whole number.\n");
    expect_error(f, "SOTTO_REGISTRATON: there is no such setting. Did you mean SOTTO_REGISTRATION?\n");
    expect_error(f, "--limit-user: \"fast\" is not a rate");
}

/* Wrong even when a flag overrides it. */
static void config__overridden_mistake(void **state)
{
    struct fixture *f = *state;
    write_file(f, "port = wrong\n");
    const char *flags[] = {"port", "80", NULL};
    assert_false(load(f, f->file, NULL, flags));
    expect_error(f, "sottod.conf:1: port:");
}

static void config__other_programs_variables(void **state)
{
    struct fixture *f = *state;
    const char *environment[] = {"SOTTO_URL=http://x", "SOTTO_HOME=/x", "SOTTO_BIN=/x", NULL};
    const char *flags[] = {"data-dir", f->directory, NULL};
    assert_true(load(f, NULL, environment, flags));
}

static void config__missing_file(void **state)
{
    struct fixture *f = *state;
    assert_false(load(f, "/nowhere/sottod.conf", NULL, NULL));
    expect_error(f, "/nowhere/sottod.conf: the configuration file cannot be read: No such file");
}

static void config__file_too_large(void **state)
{
    struct fixture *f = *state;
    char *text = malloc(CONFIG_FILE_MAX_BYTES + 2);
    assert_non_null(text);
    memset(text, '#', CONFIG_FILE_MAX_BYTES + 1);
    text[CONFIG_FILE_MAX_BYTES + 1] = '\0';
    write_file(f, text);
    free(text);
    assert_false(load(f, f->file, NULL, NULL));
    expect_error(f, "is larger than 256KiB");
}

static void config__file_not_text(void **state)
{
    struct fixture *f = *state;
    write_file(f, "server-name = \xff\xfe\n");
    assert_false(load(f, f->file, NULL, NULL));
    expect_error(f, "is not UTF-8");
}

static void config__data_dir_in_its_own_file(void **state)
{
    struct fixture *f = *state;
    write_file(f, "data-dir = /elsewhere\n");
    const char *flags[] = {"data-dir", f->directory, NULL};
    assert_true(load(f, f->file, NULL, flags)); /* named: a flag overrides it */
    loaded_config_deinit(&f->loaded);
    char variable[128];
    snprintf(variable, sizeof(variable), "SOTTO_DATA_DIR=%s", f->directory);
    const char *environment[] = {variable, NULL};
    buffer_clear(&f->errors);
    assert_false(load(f, NULL, environment, NULL));
    expect_error(f, "sottod.conf:1: data-dir: it cannot be set in the file that the data directory holds");
}

static void config__whole(void **state)
{
    struct fixture *f = *state;
    const char *flags[] = {"tls-cert", "/nowhere/cert.pem", "heartbeat", "60s", "idle-timeout", "30s",
                           "queue-memory", "64KiB", "window-bytes", "1MiB", "connections-max", "10",
                           "connections-per-address", "20", "argon2-memory", "4KiB", NULL};
    assert_false(load(f, NULL, NULL, flags));
    expect_error(f, "--tls-cert: tls-cert: tls-key is missing: TLS needs both.");
    expect_error(f, "--tls-cert: tls-cert: cannot read /nowhere/cert.pem: No such file");
    expect_error(f, "--idle-timeout: idle-timeout (30s, --idle-timeout) must be longer than heartbeat (1m, --heartbeat)");
    expect_error(f, "--queue-memory: queue-memory (64KiB, --queue-memory) must hold at least one connection's window-bytes (1MiB, --window-bytes).");
    expect_error(f, "--connections-per-address: connections-per-address (20, --connections-per-address) must not be more");
    expect_error(f, "--argon2-memory: argon2-memory: it must be 0 or at least 8KiB");
}

/* One of two that do not go together is the default: the other is named first. */
static void config__whole__names_what_was_set(void **state)
{
    struct fixture *f = *state;
    write_file(f, "port = 1\nheartbeat = 5m\n");
    assert_false(load(f, f->file, NULL, NULL));
    expect_error(f, "sottod.conf:2: idle-timeout (90s, default) must be longer than heartbeat (5m, ");
}

static void config__text_limits(void **state)
{
    struct fixture *f = *state;
    char *longer = calloc(1, 300);
    assert_non_null(longer);
    memset(longer, 'x', 299);
    const char *flags[] = {"server-name", longer, "listen", "", NULL};
    assert_false(load(f, NULL, NULL, flags));
    expect_error(f, "--server-name: it is longer than 128 bytes.");
    expect_error(f, "--listen: it must not be empty.");
    free(longer);
    buffer_clear(&f->errors);
    const char *control[] = {"server-name", "a\033[31mb", NULL};
    assert_false(load(f, NULL, NULL, control));
    expect_error(f, "--server-name: it has a control character in it.");
}

/* Every option: its default is one that it accepts itself, and it has words. */
static void options__table(void **state)
{
    (void)state;
    struct config c;
    config_init(&c);
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option *o = &option_table[i];
        struct buffer text, why;
        buffer_init(&text, OPTION_TEXT_MAX);
        buffer_init(&why, OPTION_TEXT_MAX);
        option_format(o, &c, &text);
        if (option_set(o, &c, buffer_slice(&text), &why) != SOTTO_OK) {
            fail_msg("%s: %.*s", o->key, (int)why.len, (const char *)why.data);
        }
        assert_true(strlen(o->key) <= OPTION_KEY_MAX);
        assert_true(o->help[strlen(o->help) - 1] == '.');
        assert_ptr_equal(option_find(slice_str(o->key)), o);
        buffer_deinit(&text);
        buffer_deinit(&why);
    }
    config_deinit(&c);
    char name[OPTION_KEY_MAX + 8];
    option_variable(option_find(SLICE_LIT("tls-cert")), name);
    assert_string_equal(name, "SOTTO_TLS_CERT");
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(config__defaults), TEST(config__order_of_sources), TEST(config__file_in_data_directory),
        TEST(config__file_by_environment), TEST(config__all_mistakes_at_once), TEST(config__overridden_mistake),
        TEST(config__other_programs_variables), TEST(config__missing_file), TEST(config__file_too_large),
        TEST(config__file_not_text), TEST(config__data_dir_in_its_own_file), TEST(config__whole),
        TEST(config__whole__names_what_was_set),
        TEST(config__text_limits), cmocka_unit_test(options__table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
