/* Two walks over argv: the first finds the command (settings may stand before
 * it), the second takes everything else, knowing which flags it allows.
 */
#include "server/command_line.h"
#include "server/suggest.h"

#include <stdio.h>

struct parsing {
    struct command_line *line;
    struct buffer *why;
    size_t mistakes;
    size_t args_count;
    int word_at[2];    /* where the command's words stand; 0: nowhere */
};

static bool is_flag(const char *arg)
{
    return arg[0] == '-' && arg[1] != '\0';
}

/* The name in "--name=value" or "--name"; false for what is too long. */
static bool flag_name(const char *arg, char out[OPTION_KEY_MAX + 1])
{
    const char *name = arg + strspn(arg, "-");
    size_t len = strcspn(name, "=");
    if (len > OPTION_KEY_MAX) return false;
    memcpy(out, name, len);
    out[len] = '\0';
    return true;
}

static bool takes_value(const char *name)
{
    return strcmp(name, "config") == 0 || option_find(slice_str(name)) != NULL;
}

static size_t first_word_len(const char *name)
{
    return strcspn(name, " ");
}

/* "help settings" goes before "help". */
static const struct command *find_command(const struct command *commands, const char *first, const char *second)
{
    const struct command *single = NULL;
    for (const struct command *c = commands; c->name != NULL; c++) {
        size_t len = first_word_len(c->name);
        if (strlen(first) != len || strncmp(c->name, first, len) != 0) continue;
        if (c->name[len] == '\0') single = c;
        else if (second != NULL && strcmp(c->name + len + 1, second) == 0) return c;
    }
    return single;
}

/* Names the commands that begin with this word; false when there are none. */
static bool list_group(const struct command *commands, const char *first, struct buffer *out)
{
    bool any = false;
    for (const struct command *c = commands; c->name != NULL; c++) {
        size_t len = first_word_len(c->name);
        if (c->name[len] == '\0' || strlen(first) != len || strncmp(c->name, first, len) != 0) continue;
        buffer_printf(out, any ? ", \"%s\"" : "\"%s\"", c->name);
        any = true;
    }
    return any;
}

static void no_such_command(struct parsing *p, const char *first, const char *second)
{
    const struct command *commands = p->line->commands;
    struct buffer group;
    buffer_init(&group, 1024);
    p->mistakes++;
    if (list_group(commands, first, &group)) {
        if (second == NULL) buffer_printf(p->why, "\"%s\" needs a second word: ", first);
        else buffer_printf(p->why, "there is no command \"%s %s\", only ", first, second);
        buffer_append_slice(p->why, buffer_slice(&group));
        buffer_append_str(p->why, ".\n");
    } else {
        char whole[2 * OPTION_KEY_MAX];
        snprintf(whole, sizeof(whole), second == NULL ? "%s" : "%s %s", first, second);
        struct suggestion s = {first, NULL, 0}, two = {whole, NULL, 0};
        for (const struct command *c = commands; c->name != NULL; c++) {
            suggestion_consider(strchr(c->name, ' ') == NULL ? &s : &two, c->name);
        }
        const char *best = s.best != NULL ? s.best : two.best;
        buffer_printf(p->why, "there is no command \"%s\".", first);
        if (best != NULL) buffer_printf(p->why, " Did you mean \"%s\"?", best);
        buffer_append_byte(p->why, '\n');
    }
    buffer_deinit(&group);
}

/* Whether some command begins with this word. */
static bool is_first_word(const struct command *commands, const char *word)
{
    for (const struct command *c = commands; c->name != NULL; c++) {
        size_t len = first_word_len(c->name);
        if (strlen(word) == len && strncmp(c->name, word, len) == 0) return true;
    }
    return false;
}

/* Whether a flag that nobody knows seems to have the next word for its value:
 * "--prot 81" is one mistake, not two. */
static bool swallows_next(const struct command *commands, int argc, char *const argv[], int i)
{
    return strchr(argv[i], '=') == NULL && i + 1 < argc && !is_flag(argv[i + 1]) &&
           !is_first_word(commands, argv[i + 1]);
}

static bool is_any_flag(const struct command *commands, const char *name)
{
    if (takes_value(name) || strcmp(name, "help") == 0) return true;
    for (const struct command *c = commands; c->name != NULL; c++) {
        for (size_t i = 0; i < COMMAND_FLAGS_MAX && c->flags[i].name != NULL; i++) {
            if (strcmp(c->flags[i].name, name) == 0) return true;
        }
    }
    return false;
}

static void locate_command(struct parsing *p, int argc, char *const argv[])
{
    const char *words[2] = {NULL, NULL};
    int at[2] = {0, 0};
    size_t count = 0;
    for (int i = 1; i < argc && count < 2; i++) {
        char name[OPTION_KEY_MAX + 1];
        if (!is_flag(argv[i])) {
            at[count] = i;
            words[count++] = argv[i];
        } else if (strchr(argv[i], '=') == NULL && flag_name(argv[i], name) && takes_value(name)) {
            i++;
        } else if (flag_name(argv[i], name) && !is_any_flag(p->line->commands, name)) {
            i += swallows_next(p->line->commands, argc, argv, i);
        }
    }
    if (count == 0) {
        p->line->command = p->line->commands;
        return;
    }
    p->line->command = find_command(p->line->commands, words[0], words[1]);
    if (p->line->command == NULL) {
        no_such_command(p, words[0], words[1]);
        return;
    }
    p->word_at[0] = at[0];
    if (strchr(p->line->command->name, ' ') != NULL) p->word_at[1] = at[1];
}

static void unknown_flag(struct parsing *p, const char *name)
{
    const struct command *command = p->line->command;
    struct suggestion s = {name, NULL, 0};
    for (size_t i = 0; i < option_table_count; i++) suggestion_consider(&s, option_table[i].key);
    for (size_t i = 0; i < COMMAND_FLAGS_MAX && command->flags[i].name != NULL; i++) {
        suggestion_consider(&s, command->flags[i].name);
    }
    suggestion_consider(&s, "config");
    suggestion_consider(&s, "help");
    p->mistakes++;
    buffer_printf(p->why, "there is no option --%s.", name);
    if (s.best != NULL) buffer_printf(p->why, " Did you mean --%s?", s.best);
    buffer_append_byte(p->why, '\n');
}

static int own_flag(const struct command *command, const char *name)
{
    for (int i = 0; i < COMMAND_FLAGS_MAX && command->flags[i].name != NULL; i++) {
        if (strcmp(command->flags[i].name, name) == 0) return i;
    }
    return -1;
}

static void add_setting(struct parsing *p, const struct option *o, const char *value)
{
    struct command_line *line = p->line;
    for (size_t i = 0; i < line->settings_count; i++) {
        if (line->settings[i].option != o) continue;
        p->mistakes++;
        buffer_printf(p->why, "--%s is there twice.\n", o->key);
        return;
    }
    line->settings[line->settings_count++] = (struct config_flag){o, value};
}

/* One flag at argv[i]; returns how many arguments it took. */
static int take_flag(struct parsing *p, int argc, char *const argv[], int i)
{
    char name[OPTION_KEY_MAX + 1];
    const char *equals = strchr(argv[i], '=');
    if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
        p->line->help = true;
        return 1;
    }
    if (strncmp(argv[i], "--", 2) != 0 || !flag_name(argv[i], name)) {
        p->mistakes++;
        buffer_printf(p->why, "\"%s\" is no option; options are written --name.\n", argv[i]);
        return 1;
    }
    int own = own_flag(p->line->command, name);
    const struct option *o = option_find(slice_str(name));
    bool is_config = strcmp(name, "config") == 0;
    bool wants_value = own >= 0 ? p->line->command->flags[own].value_name != NULL : takes_value(name);
    if (own < 0 && o == NULL && !is_config) {
        unknown_flag(p, name);
        return is_any_flag(p->line->commands, name) || !swallows_next(p->line->commands, argc, argv, i) ? 1 : 2;
    }
    const char *value = "";
    int used = 1;
    if (wants_value && equals == NULL) {
        if (i + 1 >= argc || (is_flag(argv[i + 1]) && strncmp(argv[i + 1], "--", 2) == 0)) {
            p->mistakes++;
            buffer_printf(p->why, "--%s needs a value.\n", name);
            return 1;
        }
        value = argv[i + 1];
        used = 2;
    } else if (wants_value) {
        value = equals + 1;
    } else if (equals != NULL) {
        p->mistakes++;
        buffer_printf(p->why, "--%s takes no value.\n", name);
    }
    if (own >= 0) p->line->flag_values[own] = value;
    else if (is_config) p->line->config_file = value;
    else add_setting(p, o, value);
    return used;
}

static void take_argument(struct parsing *p, const char *arg)
{
    if (p->args_count < p->line->command->args_count) {
        p->line->args[p->args_count] = arg;
    } else {
        p->mistakes++;
        buffer_printf(p->why, "\"%s\" is one argument too many for \"%s\".\n", arg, p->line->command->name);
    }
    p->args_count++;
}

enum sotto_err command_line_parse(const struct command *commands, int argc, char *const argv[],
                                  const char *const *environment, struct buffer *why_out, struct command_line *out)
{
    struct command_line line = {.commands = commands, .environment = environment,
                                .program = argc > 0 ? argv[0] : "sottod"};
    struct parsing p = {.line = &line, .why = why_out};
    locate_command(&p, argc, argv);
    for (int i = 1; line.command != NULL && i < argc;) {
        if (i == p.word_at[0] || i == p.word_at[1]) {
            i++;
        } else if (is_flag(argv[i])) {
            i += take_flag(&p, argc, argv, i);
        } else {
            take_argument(&p, argv[i++]);
        }
    }
    if (line.command != NULL && !line.help && p.args_count < line.command->args_count) {
        p.mistakes++;
        buffer_printf(why_out, "\"%s\" needs %s.\n", line.command->name, line.command->args);
    }
    if (p.mistakes > 0) return SOTTO_ERR_INVALID;
    *out = line;
    return SOTTO_OK;
}

const char *command_line_flag(const struct command_line *line, const char *name)
{
    int i = own_flag(line->command, name);
    SOTTO_ASSERT(i >= 0);
    return line->flag_values[i];
}

static void usage_of(const struct command *c, struct buffer *out)
{
    buffer_printf(out, c->args[0] == '\0' ? "%s" : "%s %s", c->name, c->args);
}

void command_line_overview(const struct command *commands, struct buffer *out)
{
    buffer_append_str(out, "sottod - the Sotto messaging server\n\nUsage: sottod [COMMAND] [--SETTING VALUE ...]\n\n");
    for (const struct command *c = commands; c->name != NULL; c++) {
        struct buffer usage;
        buffer_init(&usage, 256);
        usage_of(c, &usage);
        buffer_printf(out, "  %-30.*s %s\n", (int)usage.len, (const char *)usage.data, c->help);
        buffer_deinit(&usage);
    }
    buffer_append_str(out, "\nWithout a command, sottod serves. \"sottod COMMAND --help\" tells more;\n"
                           "\"sottod help settings\" lists the settings, \"sottod config show\" what they are now.\n");
}

void command_line_explain(const struct command *command, struct buffer *out)
{
    buffer_append_str(out, "Usage: sottod ");
    usage_of(command, out);
    buffer_printf(out, " [--SETTING VALUE ...]\n\n%s\n", command->help);
    for (size_t i = 0; i < COMMAND_FLAGS_MAX && command->flags[i].name != NULL; i++) {
        const struct command_flag *f = &command->flags[i];
        char shown[2 * OPTION_KEY_MAX];
        snprintf(shown, sizeof(shown), f->value_name != NULL ? "--%s %s" : "--%s", f->name, f->value_name);
        buffer_printf(out, "%s  %-20s %s\n", i == 0 ? "\n" : "", shown, f->help);
    }
    buffer_append_str(out, "\nSettings come from --config FILE (or sottod.conf in the data directory), then\n"
                           "SOTTO_… variables, then flags. \"sottod help settings\" lists them.\n");
}

void command_line_settings(struct buffer *out)
{
    struct config defaults;
    config_init(&defaults);
    const char *group = "";
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option *o = &option_table[i];
        if (strcmp(group, o->group) != 0) buffer_printf(out, "%s%s\n", i == 0 ? "" : "\n", o->group);
        group = o->group;
        struct buffer value;
        buffer_init(&value, OPTION_TEXT_MAX);
        option_format(o, &defaults, &value);
        buffer_printf(out, "  --%s (default: %.*s%s)\n      %s\n", o->key, (int)value.len,
                      value.len > 0 ? (const char *)value.data : "", value.len > 0 ? "" : "none", o->help);
        buffer_deinit(&value);
    }
    config_deinit(&defaults);
}

static void markdown_row(const struct option *o, const struct config *defaults, struct buffer *out)
{
    struct buffer value;
    buffer_init(&value, OPTION_TEXT_MAX);
    option_format(o, defaults, &value);
    buffer_printf(out, "| `%s` | ", o->key);
    if (value.len > 0) buffer_printf(out, "`%.*s`", (int)value.len, (const char *)value.data);
    buffer_printf(out, " | %s | %s |\n", o->reloads ? "yes" : "", o->help);
    buffer_deinit(&value);
}

void command_line_settings_markdown(struct buffer *out)
{
    struct config defaults;
    config_init(&defaults);
    const char *group = "";
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option *o = &option_table[i];
        if (strcmp(group, o->group) != 0) {
            buffer_printf(out, "%s### %s\n\n| setting | default | SIGHUP | what |\n| --- | --- | --- | --- |\n",
                          i == 0 ? "" : "\n", o->group);
        }
        group = o->group;
        markdown_row(o, &defaults, out);
    }
    config_deinit(&defaults);
}
