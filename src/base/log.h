/* Structured logs: an event name and typed fields, one line each.
 *
 * Text form `2026-01-02T03:04:05.678Z info gateway.accept conn=12 addr=…`, or
 * one JSON object per line. Never content, keys, tokens or passwords. Each
 * event name is limited to LOG_BURST lines a second; what was dropped is told
 * with the next line of that name (`suppressed=…`). Thread-safe.
 */
#ifndef SOTTO_BASE_LOG_H
#define SOTTO_BASE_LOG_H

#include "base/clock.h"
#include "base/id.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum { LOG_BURST = 20 };

struct log;
struct log_field {
    const char *name;
    enum { LOG_F_STR, LOG_F_INT, LOG_F_UINT, LOG_F_ID } kind;
    union {
        struct slice str; /* escaped when written, cut at 512 bytes */
        int64_t i;
        uint64_t u;
        struct id id;
    };
};
#define LOG_S(key, text) ((struct log_field){.name = (key), .kind = LOG_F_STR, .str = slice_str(text)})
#define LOG_SLICE(key, s) ((struct log_field){.name = (key), .kind = LOG_F_STR, .str = (s)})
#define LOG_I(key, v) ((struct log_field){.name = (key), .kind = LOG_F_INT, .i = (int64_t)(v)})
#define LOG_U(key, v) ((struct log_field){.name = (key), .kind = LOG_F_UINT, .u = (uint64_t)(v)})
#define LOG_ID(key, v) ((struct log_field){.name = (key), .kind = LOG_F_ID, .id = (v)})

/* Writes to `fd` (not owned), which is never waited for longer than a write. */
struct log *log_create(int fd, enum log_level least, bool json, const struct clock_source *clock);
void log_destroy(struct log **log);
void log_set_level(struct log *log, enum log_level least);
/* event: a literal such as "store.open". log may be NULL: nothing happens. */
void log_write(struct log *log, enum log_level level, const char *event,
               const struct log_field *fields, size_t count);
#define LOG(log, level, event, ...)                                              \
    log_write((log), (level), (event), (const struct log_field[]){__VA_ARGS__},  \
              sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))

#endif
