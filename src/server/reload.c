/* SIGHUP. The whole configuration is read and checked as at the start; when
 * anything is wrong with it, or with the certificate, everything stays as it
 * was and the log says why. Settings that only a restart can change are named.
 */
#include "server/server_private.h"

static void log_lines(struct server *s, const char *event, struct slice text)
{
    while (text.len > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.data);
        LOG(s->log, LOG_ERROR, event, LOG_SLICE("why", slice_of(text.data, len)));
        text = slice_of(text.data + len, text.len - len);
        if (text.len > 0) text = slice_of(text.data + 1, text.len - 1);
    }
}

/* Reads the files again; false when they do not do, or TLS would go on or off. */
static bool load_tls(struct server *s, const struct config *fresh, struct tls_context **tls_out)
{
    *tls_out = NULL;
    if ((fresh->tls_cert[0] != '\0') != (s->tls != NULL)) {
        LOG(s->log, LOG_ERROR, "reload.refused", LOG_S("why", "TLS can be turned on or off by a restart only"));
        return false;
    }
    if (s->tls == NULL) return true;
    struct buffer why;
    buffer_init(&why, 2048);
    bool loaded = tls_server_create(fresh->tls_cert, fresh->tls_key, &why, tls_out) == SOTTO_OK;
    if (!loaded) log_lines(s, "reload.refused", buffer_slice(&why));
    buffer_deinit(&why);
    return loaded;
}

/* Takes the values that may change while we run. */
static void take_values(struct server *s, const struct loaded_config *fresh)
{
    struct buffer old, new;
    buffer_init(&old, OPTION_TEXT_MAX);
    buffer_init(&new, OPTION_TEXT_MAX);
    for (size_t i = 0; i < option_table_count; i++) {
        buffer_clear(&old);
        buffer_clear(&new);
        option_format(&option_table[i], &s->loaded.config, &old);
        option_format(&option_table[i], &fresh->config, &new);
        if (slice_eq(buffer_slice(&old), buffer_slice(&new))) continue;
        if (!option_table[i].reloads) {
            LOG(s->log, LOG_WARN, "reload.needs_restart", LOG_S("setting", option_table[i].key));
            continue;
        }
        option_copy(&option_table[i], &s->loaded.config, &fresh->config);
        LOG(s->log, LOG_INFO, "reload.changed", LOG_S("setting", option_table[i].key), LOG_SLICE("from", buffer_slice(&old)),
            LOG_SLICE("to", buffer_slice(&new)));
    }
    buffer_deinit(&old);
    buffer_deinit(&new);
}

void server_note_certificate(struct server *s)
{
    enum { SOON_S = 7 * 24 * 3600 };
    uint64_t now_s = clock_wall_ms(clock_system()) / 1000, until_s = s->tls != NULL ? tls_not_after_s(s->tls) : 0;
    atomic_store(&s->certificate_until_s, until_s);
    if (until_s == 0 || until_s > now_s + SOON_S) return;
    LOG(s->log, LOG_WARN, "tls.certificate", LOG_S("why", until_s <= now_s ? "it has expired" : "it expires within a week"),
        LOG_U("not_after", until_s));
}

static void apply(struct server *s, struct tls_context *tls)
{
    const struct config *c = &s->loaded.config;
    gateway_set_limits(s->gateway, &c->limits);
    log_set_level(s->log, (enum log_level)c->log_level);
    directory_set_registration(s->directory, (enum registration_policy)c->registration);
    __atomic_store_n(&s->services.registration, (enum registration_policy)c->registration, __ATOMIC_RELAXED);
    atomic_store(&s->metrics_for, c->metrics);
    if (tls == NULL) return;
    gateway_set_tls(s->gateway, tls);
    tls_unref(&s->tls);
    s->tls = tls;
    server_note_certificate(s);
}

void server_reload(struct server *s)
{
    struct config_inputs inputs = {s->line->config_file, s->line->environment, s->line->settings,
                                   s->line->settings_count};
    struct loaded_config fresh;
    struct tls_context *tls;
    struct buffer errors;
    buffer_init(&errors, CONFIG_ERRORS_MAX_BYTES);
    if (config_load(&inputs, &errors, &fresh) != SOTTO_OK) {
        log_lines(s, "reload.refused", buffer_slice(&errors));
    } else {
        if (load_tls(s, &fresh.config, &tls)) {
            take_values(s, &fresh);
            apply(s, tls);
            LOG(s->log, LOG_INFO, "reload.done", LOG_S("tls", tls != NULL ? "read again" : "off"),
                LOG_U("not_after", atomic_load(&s->certificate_until_s)));
        }
        loaded_config_deinit(&fresh);
    }
    buffer_deinit(&errors);
}
