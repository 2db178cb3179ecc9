/* Pages for monitoring. They run on the loops: atomics, a few lines of /proc,
 * nothing that waits for a disk.
 *
 *   /healthz   200 as long as the process answers
 *   /readyz    200, or 503 with the reasons: draining, disk full
 *   /metrics   Prometheus text format 0.0.4; 403 for who is elsewhere and may not
 */
#include "server/server_private.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Open descriptors: newer kernels tell the number as the size of the directory. */
static uint64_t count_open_files(void)
{
    struct stat st;
    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0) return (uint64_t)st.st_size;
    DIR *d = opendir("/proc/self/fd");
    if (d == NULL) return 0;
    uint64_t count = 0;
    while (readdir(d) != NULL) count++;
    closedir(d);
    return count > 3 ? count - 3 : 0; /* ".", ".." and the directory itself */
}

void server_observe(struct server *s)
{
    struct statvfs fs;
    if (fstatvfs(s->dir.fd, &fs) == 0) {
        uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
        bool full = free_bytes < s->loaded.config.disk_reserve_bytes;
        atomic_store_explicit(&s->disk_free_bytes, free_bytes, memory_order_relaxed);
        if (atomic_exchange(&s->disk_full, full) != full) {
            LOG(s->log, full ? LOG_ERROR : LOG_INFO, full ? "disk.full" : "disk.has_room",
                LOG_U("free_bytes", free_bytes), LOG_U("reserve_bytes", s->loaded.config.disk_reserve_bytes));
        }
    }
    atomic_store_explicit(&s->open_files, count_open_files(), memory_order_relaxed);
}

/* For /readyz and sotto_ready alike. */
static bool is_ready(struct server *s)
{
    return !atomic_load(&s->draining) && !atomic_load(&s->disk_full);
}

static unsigned write_readiness(struct server *s, struct buffer *body)
{
    bool ready = is_ready(s);
    struct json_writer w = json_writer_of(body);
    json_begin_object(&w);
    json_put_bool(&w, "ready", ready);
    json_key(&w, "reasons");
    json_begin_array(&w);
    if (atomic_load(&s->draining)) json_write_string(&w, SLICE_LIT("draining"));
    if (atomic_load(&s->disk_full)) json_write_string(&w, SLICE_LIT("disk_full"));
    json_end_array(&w);
    json_put_u64(&w, "diskFreeBytes", atomic_load(&s->disk_free_bytes));
    json_end_object(&w);
    buffer_append_byte(body, '\n');
    return ready ? 200 : 503;
}

static void metric_head(struct buffer *out, const char *name, const char *type, const char *help)
{
    buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s ", name, help, name, type, name);
}

static void metric_u64(struct buffer *out, const char *name, const char *type, const char *help, uint64_t value)
{
    metric_head(out, name, type, help);
    buffer_append_u64(out, value);
    buffer_append_byte(out, '\n');
}

static uint64_t resident_bytes(uint64_t *virtual_out)
{
    unsigned long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f != NULL) {
        if (fscanf(f, "%lu %lu", &total, &resident) != 2) total = resident = 0;
        fclose(f);
    }
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    *virtual_out = total * page;
    return resident * page;
}

/* The names that Prometheus' own client libraries use. */
static void write_process_metrics(struct server *s, struct buffer *out)
{
    struct rusage usage;
    struct rlimit files;
    uint64_t virtual_bytes, resident = resident_bytes(&virtual_bytes);
    getrusage(RUSAGE_SELF, &usage);
    metric_head(out, "process_cpu_seconds_total", "counter", "User and system CPU time.");
    buffer_printf(out, "%.6f\n", (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                                     (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    metric_u64(out, "process_resident_memory_bytes", "gauge", "Resident memory.", resident);
    metric_u64(out, "process_virtual_memory_bytes", "gauge", "Virtual memory.", virtual_bytes);
    metric_u64(out, "process_open_fds", "gauge", "Open file descriptors.", atomic_load(&s->open_files));
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        metric_u64(out, "process_max_fds", "gauge", "Limit of open file descriptors.", files.rlim_cur);
    }
    metric_u64(out, "process_start_time_seconds", "gauge", "Start of the process, Unix time.", s->started_s);
    metric_u64(out, "sotto_disk_free_bytes", "gauge", "Free space where the data directory is.",
               atomic_load(&s->disk_free_bytes));
    metric_u64(out, "sotto_disk_reserve_bytes", "gauge", "Free space below which sends are refused.",
               s->loaded.config.disk_reserve_bytes);
    uint64_t until_s = atomic_load(&s->certificate_until_s);
    if (until_s != 0)
        metric_u64(out, "sotto_tls_not_after_seconds", "gauge", "When the certificate expires, Unix time.", until_s);
    metric_u64(out, "sotto_ready", "gauge", "1 when the server takes new work.", is_ready(s));
    metric_u64(out, "sotto_engine_queue_length", "gauge", "Records waiting for the writer.",
               engine_queue_depth(s->engine));
    metric_u64(out, "sotto_work_queue_length", "gauge", "Jobs waiting for the workers.", workers_depth(s->workers));
    metric_head(out, "sotto_build_info", "gauge", "Always 1; the label is the version.");
    out->len--; /* the label goes before the blank */
    buffer_append_str(out, "{version=\"" SOTTO_VERSION "\"} 1\n");
}

bool server_page(void *ctx, const struct http_message *request, bool local, unsigned *status_out,
                 const char **content_type_out, struct buffer *body)
{
    struct server *s = ctx;
    if (slice_is(request->path, "/healthz")) {
        *status_out = 200;
        *content_type_out = "text/plain; charset=utf-8";
        buffer_append_str(body, "ok\n");
        return true;
    }
    if (slice_is(request->path, "/readyz")) {
        *content_type_out = "application/json";
        *status_out = write_readiness(s, body);
        return true;
    }
    unsigned shown_to = atomic_load(&s->metrics_for);
    if (slice_is(request->path, "/metrics") && shown_to == METRICS_LOCAL && !local) {
        *status_out = 403;
        *content_type_out = "text/plain; charset=utf-8";
        buffer_append_str(body, "Metrics are for clients on the server's machine. The setting metrics = on gives them to others.\n");
        return true;
    }
    if (slice_is(request->path, "/metrics") && shown_to != METRICS_OFF) {
        *status_out = 200;
        *content_type_out = "text/plain; version=0.0.4; charset=utf-8";
        metrics_write(s->metrics, body);
        write_process_metrics(s, body);
        return true;
    }
    return false;
}
