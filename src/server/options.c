/* The table of settings, and how one value gets in and out of struct config.
 *
 * Defaults of the gateway's limits are those of gateway_limits_default: they
 * are not written down twice.
 */
#include "server/options.h"
#include "server/values.h"

#include <stdlib.h>

static const char *const registration_names[] = {"open", "invite", "closed", NULL};
static const char *const level_names[] = {"debug", "info", "warn", "error", NULL};
static const char *const metrics_names[] = {"off", "local", "on", NULL};
static const char *const form_names[] = {"text", "json", NULL};

#define AT(member) offsetof(struct config, member)
#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)
#define SECONDS(n) ((uint64_t)(n) * 1000)
#define DAYS(n) ((uint64_t)(n) * 24 * 3600 * 1000)

static const char net[] = "Network", accounts[] = "Accounts", data[] = "Data", limits[] = "Limits",
                  running[] = "Running";

const struct option option_table[] = {
    {net, "listen", OPTION_TEXT, AT(listen), 1, 255, "127.0.0.1", NULL, false,
     "Addresses to listen on, separated by commas. 0.0.0.0 is every IPv4 address of the machine; use TLS or a proxy then."},
    {net, "port", OPTION_NUMBER, AT(port), 0, 65535, "8080", NULL, false,
     "TCP port for HTTP, REST and WebSocket. 0 takes a free one and writes it to the file `port` in the data directory."},
    {net, "tls-cert", OPTION_TEXT, AT(tls_cert), 0, 1023, "", NULL, true,
     "Certificate chain (PEM). With tls-key it turns on TLS 1.3. SIGHUP reads the files again."},
    {net, "tls-key", OPTION_TEXT, AT(tls_key), 0, 1023, "", NULL, true,
     "Private key of the certificate (PEM)."},
    {net, "trusted-proxies", OPTION_RANGES, AT(limits.proxies), 0, 0, "", NULL, true,
     "Addresses or networks (10.0.0.0/8), separated by commas, of proxies in front. Their X-Forwarded-For says whose address counts for limits."},
    {net, "server-name", OPTION_TEXT, AT(server_name), 1, 128, "Sotto", NULL, false,
     "What the server calls itself in clients."},

    {accounts, "registration", OPTION_CHOICE, AT(registration), 0, 0, "invite", registration_names, true,
     "Who may make an account: open (anyone), invite (with a one-time invite) or closed."},
    {accounts, "argon2-memory", OPTION_BYTES, AT(argon2_memory_bytes), 0, GIB(2), "0", NULL, false,
     "Memory for one password hash; 0 is 64MiB. Each worker thread may use as much at a time."},
    {accounts, "argon2-passes", OPTION_NUMBER, AT(argon2_passes), 0, 100, "0", NULL, false,
     "Passes over that memory; 0 is 2."},
    {accounts, "prekeys-low", OPTION_NUMBER, AT(prekeys_low), 0, 200, "20", NULL, false,
     "A device that has fewer one-time prekeys left than this is asked for more."},

    {data, "data-dir", OPTION_TEXT, AT(data_dir), 1, 900, "data", NULL, false,
     "Where everything is kept. Made when missing, readable by its owner only."},
    {data, "retention-days", OPTION_NUMBER, AT(retention_days), 0, 36500, "0", NULL, false,
     "Messages older than this are removed. 0 keeps them for ever."},
    {data, "housekeeping-interval", OPTION_DURATION, AT(housekeeping_ms), 100, DAYS(1), "10s", NULL, false,
     "How often expired and outdated messages are looked for."},
    {data, "disk-reserve", OPTION_BYTES, AT(disk_reserve_bytes), 0, GIB(1024), "256MiB", NULL, false,
     "With less free disk than this, sends are refused (storage_full) and reading goes on."},
    {data, "store-cache", OPTION_BYTES, AT(store_cache_bytes), KIB(64), GIB(256), "32MiB", NULL, false,
     "Memory for blocks read from the message store."},
    {data, "store-write-buffer", OPTION_BYTES, AT(store_write_buffer_bytes), KIB(64), GIB(4), "16MiB", NULL, false,
     "Memory for new messages before they move from the log to sorted files."},
    {data, "conversation-cache", OPTION_NUMBER, AT(conversation_cache), 16, 100000000, "65536", NULL, false,
     "Conversation states kept in memory. One with many members counts as several, one for each 8."},
    {data, "directory-cache", OPTION_BYTES, AT(directory_cache_bytes), KIB(64), GIB(64), "32MiB", NULL, false,
     "Memory for what the message path knows of users."},

    {limits, "limit-address", OPTION_RATE, AT(limits.address), 0, 0, NULL, NULL, true,
     "Requests and new connections of one client address."},
    {limits, "limit-user", OPTION_RATE, AT(limits.user), 0, 0, NULL, NULL, true,
     "Requests of one user."},
    {limits, "limit-device", OPTION_RATE, AT(limits.device), 0, 0, NULL, NULL, true,
     "Messages sent by one device."},
    {limits, "limit-conversation", OPTION_RATE, AT(limits.pair), 0, 0, NULL, NULL, true,
     "Messages sent by one user to one conversation."},
    {limits, "limit-bundles", OPTION_RATE, AT(limits.bundles), 0, 0, NULL, NULL, true,
     "Key bundles fetched by one user."},
    {limits, "limit-typing", OPTION_RATE, AT(limits.typing), 0, 0, NULL, NULL, true,
     "Typing notices of one device."},
    {limits, "connections-max", OPTION_NUMBER, AT(limits.connections_max), 1, 10000000, NULL, NULL, true,
     "Connections at one time."},
    {limits, "connections-per-address", OPTION_NUMBER, AT(limits.connections_per_address_max), 1, 10000000, NULL,
     NULL, true, "Connections at one time from one client address."},
    {limits, "window-bytes", OPTION_BYTES, AT(limits.window_bytes), KIB(4), GIB(1), NULL, NULL, true,
     "Queued for one connection before live events are held back."},
    {limits, "window-events", OPTION_NUMBER, AT(limits.window_events), 1, 1000000, NULL, NULL, true,
     "The same, in events."},
    {limits, "lag-timeout", OPTION_DURATION, AT(limits.lag_timeout_ms), 100, DAYS(1), NULL, NULL, true,
     "A reader that makes no progress for so long is cut and may resume."},
    {limits, "queue-memory", OPTION_BYTES, AT(limits.memory_max_bytes), KIB(64), GIB(1024), NULL, NULL, true,
     "Memory of what is queued for all connections together; past it the slowest are cut and may resume."},
    {limits, "heartbeat", OPTION_DURATION, AT(limits.heartbeat_ms), 100, DAYS(1), NULL, NULL, true,
     "A connection that is silent for so long gets a ping."},
    {limits, "idle-timeout", OPTION_DURATION, AT(limits.idle_timeout_ms), 200, DAYS(7), NULL, NULL, true,
     "A connection that is silent for so long is closed."},
    {limits, "hello-timeout", OPTION_DURATION, AT(limits.hello_timeout_ms), 100, SECONDS(3600), NULL, NULL, true,
     "Time for a new connection to sign in."},
    {limits, "request-timeout", OPTION_DURATION, AT(limits.request_timeout_ms), 100, SECONDS(3600), NULL, NULL, true,
     "Time for a whole request to arrive, over HTTP or in the frames of one WebSocket message."},
    {limits, "keepalive-timeout", OPTION_DURATION, AT(limits.keepalive_timeout_ms), 100, DAYS(1), NULL, NULL, true,
     "An HTTP connection without a request, or whose client reads nothing of the answer, is closed after this."},
    {limits, "presence-ttl", OPTION_DURATION, AT(limits.presence_ttl_ms), 100, DAYS(1), NULL, NULL, true,
     "A user counts as online for so long after the last sign of life."},
    {limits, "typing-ttl", OPTION_DURATION, AT(limits.typing_ttl_ms), 100, SECONDS(3600), NULL, NULL, true,
     "A typing notice expires after this."},
    {limits, "resume-ttl", OPTION_DURATION, AT(limits.resume_ttl_ms), SECONDS(1), DAYS(30), NULL, NULL, true,
     "A resumption token is good for so long."},

    {running, "io-threads", OPTION_NUMBER, AT(io_threads), 0, 256, "0", NULL, false,
     "Event loops; 0 is one for each core."},
    {running, "worker-threads", OPTION_NUMBER, AT(worker_threads), 0, 256, "0", NULL, false,
     "Threads for passwords, SQL and reads from disk; 0 is one for each core, two at least."},
    {running, "drain-timeout", OPTION_DURATION, AT(drain_timeout_ms), 0, SECONDS(3600), "10s", NULL, true,
     "How long a stop waits for requests in flight."},
    {running, "log-level", OPTION_CHOICE, AT(log_level), 0, 0, "info", level_names, true,
     "The least important lines to write: debug, info, warn or error."},
    {running, "log-format", OPTION_CHOICE, AT(log_form), 0, 0, "text", form_names, false,
     "text, or json: one object in each line."},
    {running, "metrics", OPTION_CHOICE, AT(metrics), 0, 0, "local", metrics_names, true,
     "Who may read /metrics: local (clients on this machine), on (anyone who reaches the port) or off (nobody)."},
};
const size_t option_table_count = sizeof(option_table) / sizeof(option_table[0]);
_Static_assert(sizeof(option_table) / sizeof(option_table[0]) <= OPTIONS_MAX, "OPTIONS_MAX is too small");
_Static_assert(sizeof(size_t) == sizeof(uint64_t), "numbers of both types are stored alike");

const struct option *option_find(struct slice key)
{
    for (size_t i = 0; i < option_table_count; i++) {
        if (slice_is(key, option_table[i].key)) return &option_table[i];
    }
    return NULL;
}

void option_variable(const struct option *o, char out[OPTION_KEY_MAX + 8])
{
    size_t n = strlen("SOTTO_");
    memcpy(out, "SOTTO_", n);
    for (const char *c = o->key; *c != '\0' && n < OPTION_KEY_MAX + 7; c++) {
        out[n++] = *c == '-' ? '_' : *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
    }
    out[n] = '\0';
}

static void *place(const struct option *o, const struct config *c)
{
    return (uint8_t *)(uintptr_t)c + o->offset;
}

static enum sotto_err set_text(const struct option *o, char **out, struct slice text, struct buffer *why_out)
{
    if (text.len < o->min) {
        buffer_append_str(why_out, "it must not be empty");
        return SOTTO_ERR_INVALID;
    }
    if (text.len > o->max) {
        buffer_printf(why_out, "it is longer than %llu bytes", (unsigned long long)o->max);
        return SOTTO_ERR_INVALID;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] >= 0x20 && text.data[i] != 0x7f) continue;
        buffer_append_str(why_out, "it has a control character in it");
        return SOTTO_ERR_INVALID;
    }
    char *copy = sotto_alloc(text.len + 1);
    if (text.len > 0) memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    free(*out);
    *out = copy;
    return SOTTO_OK;
}

static enum sotto_err set_choice(const struct option *o, unsigned *out, struct slice text, struct buffer *why_out)
{
    for (unsigned i = 0; o->choices[i] != NULL; i++) {
        if (!slice_is(text, o->choices[i])) continue;
        *out = i;
        return SOTTO_OK;
    }
    buffer_printf(why_out, "\"%.*s\" is none of ", (int)text.len, (const char *)text.data);
    for (unsigned i = 0; o->choices[i] != NULL; i++) {
        buffer_printf(why_out, i == 0 ? "%s" : o->choices[i + 1] == NULL ? " and %s" : ", %s", o->choices[i]);
    }
    return SOTTO_ERR_INVALID;
}

enum sotto_err option_set(const struct option *o, struct config *c, struct slice text, struct buffer *why_out)
{
    void *at = place(o, c);
    switch (o->kind) {
    case OPTION_TEXT: return set_text(o, at, text, why_out);
    case OPTION_NUMBER: return value_parse_number(text, o->min, o->max, why_out, at);
    case OPTION_BYTES: return value_parse_bytes(text, o->min, o->max, why_out, at);
    case OPTION_DURATION: return value_parse_duration(text, o->min, o->max, why_out, at);
    case OPTION_RATE: return value_parse_rate(text, why_out, at);
    case OPTION_CHOICE: return set_choice(o, at, text, why_out);
    case OPTION_RANGES: return value_parse_ranges(text, why_out, at);
    }
    SOTTO_ASSERT(!"option kind");
    return SOTTO_ERR_INVALID;
}

void option_copy(const struct option *o, struct config *to, const struct config *from)
{
    void *at = place(o, to);
    const void *value = place(o, from);
    switch (o->kind) {
    case OPTION_TEXT:
        free(*(char **)at);
        *(char **)at = strdup(*(char *const *)value);
        SOTTO_ASSERT(*(char **)at != NULL);
        break;
    case OPTION_NUMBER:
    case OPTION_BYTES:
    case OPTION_DURATION: memcpy(at, value, sizeof(uint64_t)); break;
    case OPTION_RATE: memcpy(at, value, sizeof(struct rate)); break;
    case OPTION_CHOICE: memcpy(at, value, sizeof(unsigned)); break;
    case OPTION_RANGES: memcpy(at, value, sizeof(struct address_ranges)); break;
    }
}

void option_format(const struct option *o, const struct config *c, struct buffer *out)
{
    const void *at = place(o, c);
    switch (o->kind) {
    case OPTION_TEXT: buffer_append_str(out, *(char *const *)at); break;
    case OPTION_NUMBER: buffer_append_u64(out, *(const uint64_t *)at); break;
    case OPTION_BYTES: value_format_bytes(*(const uint64_t *)at, out); break;
    case OPTION_DURATION: value_format_duration(*(const uint64_t *)at, out); break;
    case OPTION_RATE: value_format_rate(*(const struct rate *)at, out); break;
    case OPTION_CHOICE: buffer_append_str(out, o->choices[*(const unsigned *)at]); break;
    case OPTION_RANGES: value_format_ranges(at, out); break;
    }
}

void config_init(struct config *c)
{
    *c = (struct config){0};
    gateway_limits_default(&c->limits);
    for (size_t i = 0; i < option_table_count; i++) {
        if (option_table[i].initial == NULL) continue;
        struct buffer why;
        buffer_init(&why, 256);
        enum sotto_err err = option_set(&option_table[i], c, slice_str(option_table[i].initial), &why);
        SOTTO_ASSERT(err == SOTTO_OK);
        buffer_deinit(&why);
    }
}

void config_deinit(struct config *c)
{
    for (size_t i = 0; i < option_table_count; i++) {
        if (option_table[i].kind != OPTION_TEXT) continue;
        char **text = place(&option_table[i], c);
        free(*text);
        *text = NULL;
    }
}
