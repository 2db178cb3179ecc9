/* FILE FORMAT. One `key = value` a line. Blanks around both are dropped. A `#`
 * at the start of a line or after a blank begins a comment, unless the value
 * stands in double quotes (which then must be the whole value; no escapes). A
 * key may come once. The file is UTF-8.
 *
 * A value that is wrong is reported even when a stronger source overrides it:
 * it would be wrong on the day when that source goes away. A variable that
 * begins with SOTTO_ and is nearly a setting's name is taken for a mistake;
 * others belong to other programs (the client has some) and are let be.
 */
#include "server/config.h"
#include "base/text.h"
#include "server/suggest.h"
#include "server/values.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct loading {
    const struct config_inputs *inputs;
    struct loaded_config result;
    struct buffer *errors;
    size_t errors_count;
};

/* Starts one line of the error list: "where: ". */
static struct buffer *error_begin(struct loading *l, const char *where)
{
    l->errors_count++;
    buffer_printf(l->errors, "%s: ", where);
    return l->errors;
}

static void error_line(struct loading *l, const char *where, const char *text)
{
    buffer_append_str(error_begin(l, where), text);
    buffer_append_byte(l->errors, '\n');
}

static void suggest_option(struct loading *l, const char *typed, const char *prefix)
{
    struct suggestion s = {typed, NULL, 0};
    for (size_t i = 0; i < option_table_count; i++) suggestion_consider(&s, option_table[i].key);
    if (s.best != NULL) buffer_printf(l->errors, " Did you mean %s%s?", prefix, s.best);
}

static void set(struct loading *l, const struct option *o, struct slice text, struct config_origin origin,
                const char *where)
{
    struct buffer why;
    buffer_init(&why, 4096);
    if (option_set(o, &l->result.config, text, &why) == SOTTO_OK) {
        l->result.origins[o - option_table] = origin;
    } else {
        struct buffer *out = error_begin(l, where);
        if (origin.kind == ORIGIN_FILE) buffer_printf(out, "%s: ", o->key);
        buffer_append_slice(out, buffer_slice(&why));
        buffer_append_str(out, ".\n");
    }
    buffer_deinit(&why);
}

/* The value without its comment or quotes; false when the quotes are wrong. */
static bool file_value(struct slice *value)
{
    struct slice v = *value;
    if (v.len > 0 && v.data[0] == '"') {
        const uint8_t *end = memchr(v.data + 1, '"', v.len - 1);
        if (end == NULL) return false;
        struct slice rest = value_trim(slice_of(end + 1, v.len - (size_t)(end + 1 - v.data)));
        if (rest.len > 0 && rest.data[0] != '#') return false;
        *value = slice_of(v.data + 1, (size_t)(end - v.data) - 1);
        return true;
    }
    for (size_t i = 0; i < v.len; i++) {
        if (v.data[i] != '#' || (i > 0 && v.data[i - 1] != ' ' && v.data[i - 1] != '\t')) continue;
        v.len = i;
        break;
    }
    *value = value_trim(v);
    return true;
}

static void file_line(struct loading *l, struct slice line, unsigned number, unsigned *seen)
{
    char where[OPTION_TEXT_MAX + 32];
    snprintf(where, sizeof(where), "%s:%u", l->result.file, number);
    line = value_trim(line);
    if (line.len == 0 || line.data[0] == '#') return;
    const uint8_t *equals = memchr(line.data, '=', line.len);
    if (equals == NULL) {
        error_line(l, where, "this is not `key = value`.");
        return;
    }
    struct slice key = value_trim(slice_of(line.data, (size_t)(equals - line.data)));
    struct slice value = value_trim(slice_of(equals + 1, line.len - (size_t)(equals + 1 - line.data)));
    const struct option *o = option_find(key);
    if (o == NULL) {
        char typed[OPTION_KEY_MAX + 1];
        snprintf(typed, sizeof(typed), "%.*s", (int)key.len, (const char *)key.data);
        buffer_printf(error_begin(l, where), "there is no setting \"%s\".", typed);
        suggest_option(l, typed, "");
        buffer_append_byte(l->errors, '\n');
        return;
    }
    if (!file_value(&value)) {
        error_line(l, where, "the quotes do not match.");
        return;
    }
    if (seen[o - option_table] != 0) {
        buffer_printf(error_begin(l, where), "%s was set in line %u already.\n", o->key, seen[o - option_table]);
        return;
    }
    seen[o - option_table] = number;
    set(l, o, value, (struct config_origin){ORIGIN_FILE, number}, where);
}

static void read_lines(struct loading *l, struct slice text)
{
    unsigned seen[OPTIONS_MAX] = {0};
    unsigned number = 1;
    while (text.len > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.data);
        file_line(l, slice_of(text.data, len), number++, seen);
        size_t used = end == NULL ? len : len + 1;
        text = slice_of(text.data + used, text.len - used);
    }
}

/* must_exist: the file was asked for by name. */
static void read_file(struct loading *l, const char *path, bool must_exist)
{
    FILE *f = fopen(path, "re");
    if (f == NULL && errno == ENOENT && !must_exist) return;
    if (f == NULL) {
        buffer_printf(error_begin(l, path), "the configuration file cannot be read: %s.\n", strerror(errno));
        return;
    }
    l->result.file = sotto_alloc(strlen(path) + 1);
    memcpy(l->result.file, path, strlen(path) + 1);
    struct buffer text;
    buffer_init(&text, CONFIG_FILE_MAX_BYTES);
    uint8_t chunk[4096];
    size_t got;
    while (!text.overflow && (got = fread(chunk, 1, sizeof(chunk), f)) > 0) buffer_append(&text, chunk, got);
    if (ferror(f)) {
        buffer_printf(error_begin(l, path), "the configuration file cannot be read: %s.\n", strerror(errno));
    } else if (text.overflow) {
        error_line(l, path, "the configuration file is larger than 256KiB.");
    } else if (!utf8_valid(buffer_slice(&text))) {
        error_line(l, path, "the configuration file is not UTF-8 text.");
    } else {
        /* Some editors begin a file with a byte order mark. */
        struct slice mark = SLICE_LIT("\xef\xbb\xbf"), lines = buffer_slice(&text);
        bool marked = lines.len >= mark.len && memcmp(lines.data, mark.data, mark.len) == 0;
        read_lines(l, marked ? slice_of(lines.data + mark.len, lines.len - mark.len) : lines);
    }
    buffer_deinit(&text);
    fclose(f);
}

static const char *variable(const struct config_inputs *in, const char *name)
{
    size_t len = strlen(name);
    for (const char *const *e = in->environment; e != NULL && *e != NULL; e++) {
        if (strncmp(*e, name, len) == 0 && (*e)[len] == '=') return *e + len + 1;
    }
    return NULL;
}

static void read_environment(struct loading *l)
{
    for (size_t i = 0; i < option_table_count; i++) {
        char name[OPTION_KEY_MAX + 8];
        option_variable(&option_table[i], name);
        const char *value = variable(l->inputs, name);
        if (value == NULL) continue;
        set(l, &option_table[i], value_trim(slice_str(value)), (struct config_origin){ORIGIN_ENVIRONMENT, 0}, name);
    }
}

/* "tls-cert" for SOTTO_TLS_CERT; empty when it is no such name. */
static void key_of_variable(const char *entry, char out[OPTION_KEY_MAX + 1])
{
    size_t n = 0, len = strcspn(entry, "=");
    for (size_t i = strlen("SOTTO_"); i < len && n < OPTION_KEY_MAX; i++) {
        char c = entry[i];
        out[n++] = c == '_' ? '-' : c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    out[n] = '\0';
}

/* SOTTO_PROT=80 would be ignored in silence otherwise. */
static void find_mistyped_variables(struct loading *l)
{
    enum { NEAR_LETTERS = 2, SHORTEST = 4 };
    for (const char *const *e = l->inputs->environment; e != NULL && *e != NULL; e++) {
        char key[OPTION_KEY_MAX + 1];
        if (strncmp(*e, "SOTTO_", 6) != 0) continue;
        key_of_variable(*e, key);
        if (strcmp(key, "config") == 0 || option_find(slice_str(key)) != NULL) continue;
        struct suggestion s = {key, NULL, 0};
        for (size_t i = 0; i < option_table_count; i++) suggestion_consider(&s, option_table[i].key);
        if (s.best == NULL || s.distance > NEAR_LETTERS || strlen(key) < SHORTEST) continue;
        char meant[OPTION_KEY_MAX + 8], typed[OPTION_KEY_MAX + 8];
        snprintf(typed, sizeof(typed), "%.*s", (int)strcspn(*e, "="), *e);
        option_variable(option_find(slice_str(s.best)), meant);
        buffer_printf(error_begin(l, typed), "there is no such setting. Did you mean %s?\n", meant);
    }
}

static void read_flags(struct loading *l)
{
    for (size_t i = 0; i < l->inputs->flags_count; i++) {
        const struct config_flag *f = &l->inputs->flags[i];
        char where[OPTION_KEY_MAX + 8];
        snprintf(where, sizeof(where), "--%s", f->option->key);
        set(l, f->option, value_trim(slice_str(f->value)), (struct config_origin){ORIGIN_FLAG, 0}, where);
    }
}

static bool is_readable_file(const char *path, const char **why)
{
    struct stat st;
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        *why = strerror(errno);
        return false;
    }
    bool regular = fstat(fileno(f), &st) == 0 && !S_ISDIR(st.st_mode);
    fclose(f);
    *why = "it is a directory";
    return regular;
}

/* A line about a value that parsed: "where it came from: key: …". */
static void value_error(struct loading *l, const char *key, const char *text)
{
    const struct option *o = option_find(slice_str(key));
    struct buffer where;
    buffer_init(&where, 2 * OPTION_TEXT_MAX);
    config_describe_origin(&l->result, (size_t)(o - option_table), &where);
    buffer_append_byte(&where, 0);
    buffer_printf(error_begin(l, (const char *)where.data), "%s: %s\n", key, text);
    buffer_deinit(&where);
}

/* "(10s, sottod.conf:3)" */
static void append_value(const struct loading *l, const struct option *o, struct buffer *out)
{
    buffer_printf(out, "%s (", o->key);
    option_format(o, &l->result.config, out);
    buffer_append_str(out, ", ");
    config_describe_origin(&l->result, (size_t)(o - option_table), out);
    buffer_append_str(out, ")");
}

/* A line about two values that do not go together: "where: key (value, where) relation other
 * (value, where) rest". The first is the place of the one that somebody has set. */
static void pair_error(struct loading *l, const char *key, const char *relation, const char *other_key, const char *rest)
{
    const struct option *one = option_find(slice_str(key)), *other = option_find(slice_str(other_key));
    bool set = l->result.origins[one - option_table].kind != ORIGIN_DEFAULT;
    struct buffer where;
    buffer_init(&where, 2 * OPTION_TEXT_MAX);
    config_describe_origin(&l->result, (size_t)((set ? one : other) - option_table), &where);
    buffer_append_byte(&where, 0);
    struct buffer *out = error_begin(l, (const char *)where.data);
    append_value(l, one, out);
    buffer_printf(out, " %s ", relation);
    append_value(l, other, out);
    buffer_printf(out, "%s\n", rest);
    buffer_deinit(&where);
}

static void check_file(struct loading *l, const char *key, const char *path)
{
    const char *why;
    char text[OPTION_TEXT_MAX + 128];
    if (path[0] == '\0' || is_readable_file(path, &why)) return;
    snprintf(text, sizeof(text), "cannot read %s: %s.", path, why);
    value_error(l, key, text);
}

/* What only shows when the values are seen together. */
static void check_whole(struct loading *l)
{
    const struct config *c = &l->result.config;
    const struct gateway_limits *g = &c->limits;
    bool has_cert = c->tls_cert[0] != '\0', has_key = c->tls_key[0] != '\0';
    if (has_cert && !has_key) value_error(l, "tls-cert", "tls-key is missing: TLS needs both.");
    if (has_key && !has_cert) value_error(l, "tls-key", "tls-cert is missing: TLS needs both.");
    check_file(l, "tls-cert", c->tls_cert);
    check_file(l, "tls-key", c->tls_key);
    if (g->idle_timeout_ms <= g->heartbeat_ms) {
        pair_error(l, "idle-timeout", "must be longer than", "heartbeat", ", or healthy connections are closed.");
    }
    if (g->memory_max_bytes < g->window_bytes) {
        pair_error(l, "queue-memory", "must hold at least one connection's", "window-bytes", ".");
    }
    if (g->connections_per_address_max > g->connections_max) {
        pair_error(l, "connections-per-address", "must not be more than", "connections-max", ".");
    }
    /* libsodium refuses less. */
    if (c->argon2_memory_bytes != 0 && c->argon2_memory_bytes < 8192) {
        value_error(l, "argon2-memory", "it must be 0 or at least 8KiB.");
    }
}

/* The data directory as flags and environment say: the place of the file. */
static const char *early_data_dir(const struct config_inputs *in, const char *initial)
{
    const char *dir = variable(in, "SOTTO_DATA_DIR");
    for (size_t i = 0; i < in->flags_count; i++) {
        if (strcmp(in->flags[i].option->key, "data-dir") == 0) dir = in->flags[i].value;
    }
    return dir != NULL && dir[0] != '\0' ? dir : initial;
}

static void find_and_read_file(struct loading *l)
{
    const char *named = l->inputs->file != NULL ? l->inputs->file : variable(l->inputs, "SOTTO_CONFIG");
    if (named != NULL && named[0] != '\0') {
        read_file(l, named, true);
        return;
    }
    char path[OPTION_TEXT_MAX + 16];
    snprintf(path, sizeof(path), "%s/sottod.conf", early_data_dir(l->inputs, l->result.config.data_dir));
    read_file(l, path, false);
    size_t data_dir = (size_t)(option_find(SLICE_LIT("data-dir")) - option_table);
    if (l->result.origins[data_dir].kind == ORIGIN_FILE) {
        value_error(l, "data-dir", "it cannot be set in the file that the data directory holds; use --config.");
    }
}

enum sotto_err config_load(const struct config_inputs *inputs, struct buffer *errors_out, struct loaded_config *out)
{
    struct loading l = {.inputs = inputs, .errors = errors_out};
    config_init(&l.result.config);
    find_and_read_file(&l);
    read_environment(&l);
    find_mistyped_variables(&l);
    read_flags(&l);
    check_whole(&l);
    if (l.errors_count > 0) {
        loaded_config_deinit(&l.result);
        return SOTTO_ERR_INVALID;
    }
    *out = l.result;
    return SOTTO_OK;
}

void loaded_config_deinit(struct loaded_config *c)
{
    config_deinit(&c->config);
    free(c->file);
    c->file = NULL;
}

void config_describe_origin(const struct loaded_config *c, size_t option_index, struct buffer *out)
{
    char name[OPTION_KEY_MAX + 8];
    switch (c->origins[option_index].kind) {
    case ORIGIN_DEFAULT: buffer_append_str(out, "default"); break;
    case ORIGIN_FILE: buffer_printf(out, "%s:%u", c->file, c->origins[option_index].line); break;
    case ORIGIN_ENVIRONMENT:
        option_variable(&option_table[option_index], name);
        buffer_append_str(out, name);
        break;
    case ORIGIN_FLAG: buffer_printf(out, "--%s", option_table[option_index].key); break;
    }
}
