/* The command line: what is understood, and the words for what is not. */
#include "server/command_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static enum exit_code nothing(const struct command_line *line)
{
    (void)line;
    return EXIT_CODE_OK;
}

static const struct command commands[] = {
    {"serve", "", 0, "Serves.", {{0}}, nothing},
    {"user list", "", 0, "Lists.", {{"json", NULL, "as JSON"}}, nothing},
    {"user add", "NAME", 1, "Adds.", {{"valid", "DURATION", "how long"}, {"admin", NULL, "may administer"}}, nothing},
    {"device revoke", "NAME DEVICE", 2, "Revokes.", {{0}}, nothing},
    {"backup", "DIR", 1, "Copies.", {{0}}, nothing},
    {"help", "", 0, "Helps.", {{0}}, nothing},
    {"help settings", "", 0, "Helps more.", {{0}}, nothing},
    {0},
};

struct fixture {
    struct buffer why;
    struct command_line line;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    if (f == NULL) return -1;
    buffer_init(&f->why, 8192);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    buffer_deinit(&f->why);
    free(f);
    return 0;
}

/* Words ended by NULL, without the program's name. */
static bool parse(struct fixture *f, const char *const *words)
{
    char *argv[16] = {(char *)(uintptr_t)"sottod"};
    int argc = 1;
    for (; words[argc - 1] != NULL; argc++) argv[argc] = (char *)(uintptr_t)words[argc - 1];
    buffer_clear(&f->why);
    bool good = command_line_parse(commands, argc, argv, NULL, &f->why, &f->line) == SOTTO_OK;
    buffer_append_byte(&f->why, 0);
    return good;
}
#define PARSE(...) parse(f, (const char *const[]){__VA_ARGS__, NULL})

static void expect_words(struct fixture *f, const char *text)
{
    if (strcmp((const char *)f->why.data, text) != 0) fail_msg("not \"%s\" but \"%s\"", text, (const char *)f->why.data);
}

static void command_line__no_command(void **state)
{
    struct fixture *f = *state;
    assert_true(parse(f, (const char *const[]){NULL}));
    assert_string_equal(f->line.command->name, "serve");
    assert_true(PARSE("--port", "81", "--listen=::1"));
    assert_string_equal(f->line.command->name, "serve");
    assert_int_equal(f->line.settings_count, 2);
    assert_string_equal(f->line.settings[0].option->key, "port");
    assert_string_equal(f->line.settings[0].value, "81");
    assert_string_equal(f->line.settings[1].value, "::1");
}

static void command_line__settings_before_and_after(void **state)
{
    struct fixture *f = *state;
    assert_true(PARSE("--data-dir", "d", "user", "--config", "c", "add", "anna", "--admin", "--valid=7d"));
    assert_string_equal(f->line.command->name, "user add");
    assert_string_equal(f->line.args[0], "anna");
    assert_string_equal(f->line.config_file, "c");
    assert_string_equal(command_line_flag(&f->line, "admin"), "");
    assert_string_equal(command_line_flag(&f->line, "valid"), "7d");
    assert_true(PARSE("user", "add", "anna"));
    assert_null(command_line_flag(&f->line, "admin"));
}

static void command_line__longer_name_first(void **state)
{
    struct fixture *f = *state;
    assert_true(PARSE("help", "settings"));
    assert_string_equal(f->line.command->name, "help settings");
    assert_true(PARSE("help"));
    assert_string_equal(f->line.command->name, "help");
}

static void command_line__help_needs_no_arguments(void **state)
{
    struct fixture *f = *state;
    assert_true(PARSE("backup", "--help"));
    assert_true(f->line.help);
}

static void command_line__mistyped_command(void **state)
{
    struct fixture *f = *state;
    assert_false(PARSE("bakcup", "x"));
    expect_words(f, "there is no command \"bakcup\". Did you mean \"backup\"?\n");
    assert_false(PARSE("usr", "add"));
    expect_words(f, "there is no command \"usr\". Did you mean \"user add\"?\n");
    assert_false(PARSE("frobnicate"));
    expect_words(f, "there is no command \"frobnicate\".\n");
    assert_false(PARSE("user"));
    expect_words(f, "\"user\" needs a second word: \"user list\", \"user add\".\n");
    assert_false(PARSE("user", "delete"));
    expect_words(f, "there is no command \"user delete\", only \"user list\", \"user add\".\n");
}

static void command_line__mistyped_option(void **state)
{
    struct fixture *f = *state;
    assert_false(PARSE("--prot", "81"));
    assert_non_null(strstr((const char *)f->why.data, "there is no option --prot. Did you mean --port?\n"));
    assert_false(PARSE("user", "add", "anna", "--admn"));
    expect_words(f, "there is no option --admn. Did you mean --admin?\n");
    assert_false(PARSE("user", "list", "--admin"));
    assert_non_null(strstr((const char *)f->why.data, "there is no option --admin."));
    assert_false(PARSE("-p", "81"));
    assert_non_null(strstr((const char *)f->why.data, "\"-p\" is no option"));
}

static void command_line__values(void **state)
{
    struct fixture *f = *state;
    assert_false(PARSE("serve", "--port"));
    expect_words(f, "--port needs a value.\n");
    assert_false(PARSE("serve", "--port", "--listen", "::1"));
    expect_words(f, "--port needs a value.\n");
    assert_false(PARSE("user", "list", "--json=yes"));
    expect_words(f, "--json takes no value.\n");
    assert_false(PARSE("serve", "--port", "1", "--port=2"));
    expect_words(f, "--port is there twice.\n");
}

static void command_line__argument_counts(void **state)
{
    struct fixture *f = *state;
    assert_false(PARSE("device", "revoke", "anna"));
    expect_words(f, "\"device revoke\" needs NAME DEVICE.\n");
    assert_false(PARSE("backup", "a", "b"));
    expect_words(f, "\"b\" is one argument too many for \"backup\".\n");
}

static void command_line__several_mistakes(void **state)
{
    struct fixture *f = *state;
    assert_false(PARSE("backup", "--prot", "--json"));
    assert_non_null(strstr((const char *)f->why.data, "--prot"));
    assert_non_null(strstr((const char *)f->why.data, "--json"));
    assert_non_null(strstr((const char *)f->why.data, "needs DIR"));
}

static void command_line__very_long_words(void **state)
{
    struct fixture *f = *state;
    char longer[600];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    memcpy(longer, "--", 2);
    assert_false(PARSE(longer));
    assert_false(PARSE(longer + 2));
    assert_false(PARSE("user", longer + 2));
}

static void command_line__help_texts(void **state)
{
    struct fixture *f = *state;
    buffer_clear(&f->why);
    command_line_overview(commands, &f->why);
    command_line_explain(&commands[2], &f->why);
    buffer_append_byte(&f->why, 0);
    assert_non_null(strstr((const char *)f->why.data, "device revoke NAME DEVICE"));
    assert_non_null(strstr((const char *)f->why.data, "--valid DURATION"));
    struct buffer settings;
    buffer_init(&settings, 64 * 1024);
    command_line_settings(&settings);
    assert_false(settings.overflow);
    buffer_append_byte(&settings, 0);
    assert_non_null(strstr((const char *)settings.data, "--tls-cert (default: none)"));
    buffer_deinit(&settings);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(command_line__no_command), TEST(command_line__settings_before_and_after),
        TEST(command_line__longer_name_first), TEST(command_line__help_needs_no_arguments),
        TEST(command_line__mistyped_command), TEST(command_line__mistyped_option), TEST(command_line__values),
        TEST(command_line__argument_counts), TEST(command_line__several_mistakes),
        TEST(command_line__very_long_words), TEST(command_line__help_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
