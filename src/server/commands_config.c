/* config show, version, help. */
#include "server/commands.h"

#include <stdio.h>

enum exit_code command_config(const struct command_line *line, struct loaded_config *out)
{
    struct config_inputs inputs = {line->config_file, line->environment, line->settings, line->settings_count};
    struct buffer errors;
    buffer_init(&errors, CONFIG_ERRORS_MAX_BYTES);
    enum sotto_err err = config_load(&inputs, &errors, out);
    if (err != SOTTO_OK) {
        fprintf(stderr, "sottod: the configuration is wrong:\n%.*s", (int)errors.len, (const char *)errors.data);
        fputs("Nothing was started or changed. \"sottod help settings\" lists the settings.\n", stderr);
    }
    buffer_deinit(&errors);
    return err == SOTTO_OK ? EXIT_CODE_OK : EXIT_CODE_CONFIG;
}

enum exit_code command_config_show(const struct command_line *line)
{
    struct loaded_config c;
    enum exit_code code = command_config(line, &c);
    if (code != EXIT_CODE_OK) return code;
    if (c.file != NULL) printf("# read from %s\n", c.file);
    const char *group = "";
    for (size_t i = 0; i < option_table_count; i++) {
        struct buffer value, origin;
        buffer_init(&value, OPTION_TEXT_MAX + 2);
        buffer_init(&origin, 2 * OPTION_TEXT_MAX);
        if (strcmp(group, option_table[i].group) != 0) printf("\n# %s\n", option_table[i].group);
        group = option_table[i].group;
        bool quote = option_table[i].kind == OPTION_TEXT;
        if (quote) buffer_append_byte(&value, '"');
        option_format(&option_table[i], &c.config, &value);
        if (quote) buffer_append_byte(&value, '"');
        config_describe_origin(&c, i, &origin);
        printf("%-24s = %-28.*s # %.*s\n", option_table[i].key, (int)value.len, (const char *)value.data,
               (int)origin.len, (const char *)origin.data);
        buffer_deinit(&value);
        buffer_deinit(&origin);
    }
    loaded_config_deinit(&c);
    return EXIT_CODE_OK;
}

enum exit_code command_version(const struct command_line *line)
{
    (void)line;
    puts("sottod " SOTTO_VERSION);
    return EXIT_CODE_OK;
}

static enum exit_code print(struct buffer *text)
{
    fwrite(text->data, 1, text->len, stdout);
    buffer_deinit(text);
    return EXIT_CODE_OK;
}

enum exit_code command_help(const struct command_line *line)
{
    struct buffer text;
    buffer_init(&text, 64 * 1024);
    command_line_overview(line->commands, &text);
    return print(&text);
}

enum exit_code command_help_settings(const struct command_line *line)
{
    struct buffer text;
    buffer_init(&text, 64 * 1024);
    if (command_line_flag(line, "markdown") != NULL) command_line_settings_markdown(&text);
    else command_line_settings(&text);
    return print(&text);
}
