/* Structured log lines.
 *
 *   text   2026-01-02T03:04:05.678Z info gateway.accept conn=12 addr="a b"
 *   JSON   {"ts":"2026-…Z","level":"info","event":"gateway.accept","conn":12,"addr":"a b"}
 *
 * A line is built under one mutex in one buffer that lives as long as the log,
 * and leaves in one write, so that lines of several threads never mix. A value
 * that could break a line (space, quote, control byte, '=') is quoted with JSON
 * escapes in both forms; bytes that are not UTF-8 are shown as \u00XX.
 *
 * Rate limit: per event name, LOG_BURST lines in each second of the monotonic
 * clock. Names are literals, so their number is small; past LOG_EVENTS_MAX
 * names the rest share the last entry. A log that cannot be written is not an
 * error for anybody: the line is lost.
 */
#include "base/log.h"
#include "base/text.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    LOG_EVENTS_MAX = 256,
    LOG_STR_MAX = 512,
    LOG_LINE_MAX = 8 * 1024, /* no field is begun past this */
};

struct log_rate {
    const char *event;
    uint64_t second;
    unsigned written;    /* in that second */
    uint64_t suppressed; /* since the last line */
};

struct log {
    int fd;
    bool json;
    atomic_int least;
    const struct clock_source *clock;
    pthread_mutex_t lock;
    struct buffer line;
    size_t rates_count;
    struct log_rate rates[LOG_EVENTS_MAX];
};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

struct log *log_create(int fd, enum log_level least, bool json, const struct clock_source *clock)
{
    struct log *log = sotto_zalloc(sizeof(*log));
    log->fd = fd;
    log->json = json;
    log->clock = clock;
    atomic_init(&log->least, (int)least);
    SOTTO_ASSERT(pthread_mutex_init(&log->lock, NULL) == 0);
    /* Room for one field past the soft limit, each byte of it escaped. */
    buffer_init(&log->line, LOG_LINE_MAX + 8 * LOG_STR_MAX);
    return log;
}

void log_destroy(struct log **log)
{
    if (*log == NULL) return;
    pthread_mutex_destroy(&(*log)->lock);
    buffer_deinit(&(*log)->line);
    free(*log);
    *log = NULL;
}

void log_set_level(struct log *log, enum log_level least)
{
    atomic_store_explicit(&log->least, (int)least, memory_order_relaxed);
}

static struct log_rate *rate_of(struct log *log, const char *event)
{
    for (size_t i = 0; i < log->rates_count; i++)
        if (strcmp(log->rates[i].event, event) == 0) return &log->rates[i];
    if (log->rates_count == LOG_EVENTS_MAX) return &log->rates[LOG_EVENTS_MAX - 1];
    struct log_rate *rate = &log->rates[log->rates_count++];
    rate->event = event;
    return rate;
}

/* Whether a line may be written now; if so, how many were dropped before it. */
static bool rate_allows(struct log *log, const char *event, uint64_t *suppressed_out)
{
    struct log_rate *rate = rate_of(log, event);
    uint64_t second = clock_monotonic_ms(log->clock) / 1000;
    if (rate->second != second) {
        rate->second = second;
        rate->written = 0;
    }
    if (rate->written == LOG_BURST) {
        rate->suppressed++;
        return false;
    }
    rate->written++;
    *suppressed_out = rate->suppressed;
    rate->suppressed = 0;
    return true;
}

static void append_time(struct buffer *line, uint64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    char text[64];
    if (gmtime_r(&seconds, &tm) == NULL || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
        text[0] = 0;
    buffer_printf(line, "%s.%03uZ", text, (unsigned)(wall_ms % 1000));
}

static void append_escaped(struct buffer *line, struct slice s, bool utf8)
{
    buffer_append_byte(line, '"');
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (c == '"' || c == '\\') {
            buffer_append_byte(line, '\\');
            buffer_append_byte(line, c);
        } else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8)) {
            buffer_printf(line, "\\u%04x", c);
        } else {
            buffer_append_byte(line, c);
        }
    }
    buffer_append_byte(line, '"');
}

static bool is_plain(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=') return false;
    }
    return s.len != 0;
}

static void append_text(struct buffer *line, struct slice s, bool json)
{
    if (s.len > LOG_STR_MAX) {
        /* Not in the middle of a character. */
        s.len = LOG_STR_MAX;
        while (s.len > LOG_STR_MAX - 4 && (s.data[s.len] & 0xc0) == 0x80) s.len--;
    }
    if (!json && is_plain(s))
        buffer_append_slice(line, s);
    else
        append_escaped(line, s, utf8_valid(s));
}

static void append_field(struct buffer *line, const struct log_field *field, bool json)
{
    if (json)
        buffer_printf(line, ",\"%s\":", field->name);
    else
        buffer_printf(line, " %s=", field->name);
    switch (field->kind) {
    case LOG_F_STR:
        append_text(line, field->str, json);
        break;
    case LOG_F_INT:
        buffer_append_i64(line, field->i);
        break;
    case LOG_F_UINT:
        buffer_append_u64(line, field->u);
        break;
    case LOG_F_ID:
        if (json) buffer_append_byte(line, '"');
        buffer_append_id(line, field->id);
        if (json) buffer_append_byte(line, '"');
        break;
    }
}

static void write_line(int fd, struct slice line)
{
    ssize_t n;
    do
        n = write(fd, line.data, line.len);
    while (n < 0 && errno == EINTR);
}

void log_write(struct log *log, enum log_level level, const char *event,
               const struct log_field *fields, size_t count)
{
    if (log == NULL || (int)level < atomic_load_explicit(&log->least, memory_order_relaxed)) return;
    uint64_t suppressed;
    pthread_mutex_lock(&log->lock);
    if (rate_allows(log, event, &suppressed)) {
        struct buffer *line = &log->line;
        buffer_clear(line);
        if (log->json) buffer_append_str(line, "{\"ts\":\"");
        append_time(line, clock_wall_ms(log->clock));
        buffer_printf(line, log->json ? "\",\"level\":\"%s\",\"event\":\"%s\"" : " %s %s",
                      level_names[level], event);
        for (size_t i = 0; i < count && line->len < LOG_LINE_MAX; i++)
            append_field(line, &fields[i], log->json);
        if (suppressed != 0) append_field(line, &LOG_U("suppressed", suppressed), log->json);
        buffer_append_str(line, log->json ? "}\n" : "\n");
        write_line(log->fd, buffer_slice(line));
    }
    pthread_mutex_unlock(&log->lock);
}
