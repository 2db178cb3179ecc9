/* Starting, measuring and ending the server under test.
 *
 * Processor time is the sum over the threads of /proc/PID/task/TID/schedstat
 * (nanoseconds on a core, user and system), memory the line "Anonymous" of
 * /proc/PID/smaps_rollup: heap, stacks and what else has no file behind it.
 */
#include "bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

const char *const bench_open_args[] = {
    "--registration=open", "--argon2-memory=8KiB", "--argon2-passes=1", "--limit-address=off", "--limit-user=off",
    "--limit-device=off", "--limit-conversation=off", "--limit-bundles=off", "--limit-typing=off",
    "--connections-max=1000000", "--connections-per-address=1000000", "--log-level=warn", NULL};

void pin_to_cpu(pid_t pid, int cpu)
{
    if (cpu < 0 || cpu >= (int)sysconf(_SC_NPROCESSORS_ONLN)) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    if (sched_setaffinity(pid, sizeof set, &set) != 0) (void)fprintf(stderr, "not pinned to core %d\n", cpu);
}

static bool find_binary(const struct options *o, char *out, size_t size)
{
    if (o->server_binary) return (size_t)snprintf(out, size, "%s", o->server_binary) < size;
    ssize_t n = readlink("/proc/self/exe", out, size - 1);
    if (n < 0) return false;
    out[n] = '\0';
    char *slash = strrchr(out, '/');
    return slash && (size_t)(slash - out) + sizeof "/sottod" < size && strcpy(slash, "/sottod");
}

static _Noreturn void exec_server(const struct server *s, const struct options *o, const char *const *args)
{
    char binary[BENCH_PATH_MAX], data[BENCH_PATH_MAX + 16];
    const char *argv[24 + 2 * BENCH_EXTRA_MAX];
    int n = 0;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* never outlives the generator */
    pin_to_cpu(0, o->server_cpu);
    int log = open(s->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log >= 0) {
        (void)dup2(log, 1);
        (void)dup2(log, 2);
    }
    if (!find_binary(o, binary, sizeof binary)) _exit(127);
    (void)snprintf(data, sizeof data, "--data-dir=%s/data", s->data);
    argv[n++] = binary;
    argv[n++] = "serve";
    argv[n++] = data;
    argv[n++] = "--port=0";
    if (o->server_cpu >= 0) argv[n++] = "--io-threads=1";
    for (size_t i = 0; args[i]; i++) argv[n++] = args[i];
    for (int i = 0; i < o->extra_count; i++) argv[n++] = o->extra[i];
    argv[n] = NULL;
    execv(binary, (char *const *)(uintptr_t)argv);
    (void)fprintf(stderr, "%s: %s\n", binary, strerror(errno));
    _exit(127);
}

static bool read_file(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = read(fd, out, size - 1);
    close(fd);
    if (n <= 0) return false;
    out[n] = '\0';
    return true;
}

static void show_log(const struct server *s)
{
    char text[4096];
    if (read_file(s->log, text, sizeof text)) (void)fprintf(stderr, "--- the server said:\n%s\n", text);
}

bool server_again(struct server *s, const struct options *o, const char *const *args)
{
    char path[BENCH_PATH_MAX + 32], text[32];
    (void)snprintf(path, sizeof path, "%s/data/port", s->data);
    (void)unlink(path);
    s->pid = fork();
    if (s->pid < 0) return false;
    if (s->pid == 0) exec_server(s, o, args);
    for (int i = 0; i < 1500; i++) {
        int status;
        if (waitpid(s->pid, &status, WNOHANG) == s->pid) {
            (void)fprintf(stderr, "the server ended at once (status %d)\n", status);
            show_log(s);
            s->pid = 0;
            return false;
        }
        if (read_file(path, text, sizeof text) && strchr(text, '\n')) {
            s->port = (uint16_t)strtoul(text, NULL, 10);
            return true;
        }
        (void)usleep(10000);
    }
    (void)fprintf(stderr, "the server did not listen within 15 s\n");
    show_log(s);
    return false;
}

bool server_start(struct server *s, const struct options *o, const char *const *args)
{
    *s = (struct server){0};
    (void)snprintf(s->host, sizeof s->host, "127.0.0.1");
    if (o->url) {
        char *end;
        const char *at = strncmp(o->url, "http://", 7) == 0 ? o->url + 7 : o->url;
        size_t len = strcspn(at, ":/");
        unsigned long port = at[len] == ':' ? strtoul(at + len + 1, &end, 10) : 80;
        if (len == 0 || len >= sizeof s->host || port == 0 || port > 65535) {
            (void)fprintf(stderr, "--url takes http://HOST:PORT, not \"%s\"\n", o->url);
            return false;
        }
        (void)snprintf(s->host, sizeof s->host, "%.*s", (int)len, at);
        s->port = (uint16_t)port;
        return true;
    }
    (void)snprintf(s->data, sizeof s->data, "%.900s/sotto-bench-XXXXXX", o->data_parent);
    if (!mkdtemp(s->data)) {
        (void)fprintf(stderr, "%s: %s\n", s->data, strerror(errno));
        s->data[0] = '\0';
        return false;
    }
    (void)snprintf(s->log, sizeof s->log, "%s/log", s->data);
    return server_again(s, o, args);
}

void server_halt(struct server *s)
{
    if (s->pid <= 0) return;
    int status;
    (void)kill(s->pid, SIGTERM);
    for (int i = 0; i < 1000; i++) {
        if (waitpid(s->pid, &status, WNOHANG) == s->pid) {
            s->pid = 0;
            return;
        }
        (void)usleep(10000);
    }
    (void)fprintf(stderr, "the server did not stop within 10 s; killed\n");
    (void)kill(s->pid, SIGKILL);
    (void)waitpid(s->pid, &status, 0);
    s->pid = 0;
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

void server_stop(struct server *s)
{
    server_halt(s);
    if (s->data[0]) (void)nftw(s->data, remove_entry, 32, FTW_DEPTH | FTW_PHYS);
    s->data[0] = '\0';
}

bool server_usage(const struct server *s, struct usage *out)
{
    char path[300], text[4096];
    *out = (struct usage){0};
    if (s->pid <= 0) return false;
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)s->pid);
    DIR *dir = opendir(path);
    if (!dir) return false;
    uint64_t ns = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        if (e->d_name[0] == '.') continue;
        (void)snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", (int)s->pid, e->d_name);
        if (read_file(path, text, sizeof text)) ns += strtoull(text, NULL, 10);
    }
    closedir(dir);
    out->cpu_us = ns / 1000;
    (void)snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)s->pid);
    if (!read_file(path, text, sizeof text)) return false;
    const char *at = strstr(text, "\nAnonymous:");
    out->anonymous_bytes = at ? strtoull(at + 11, NULL, 10) * 1024 : 0;
    return at != NULL;
}
