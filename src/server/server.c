/* The main thread: signals, the admin socket, and once a second the things that
 * nothing else tells us about (the disk, and changes that another process made
 * to the directory).
 *
 * Signals arrive through a descriptor, so there are no handlers and nothing
 * runs between two instructions; only while the server drains does a second
 * SIGTERM or SIGINT have one, which ends the process on the spot.
 */
#include "server/server.h"
#include "server/commands.h"
#include "server/server_private.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { TICK_MS = 1000 };

/* Before any thread is made: they all inherit the mask. */
static bool take_signals(struct server *s)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0) return false;
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signal_fd >= 0;
}

#define QUIT_REASON "second signal, ending at once. What was acknowledged is on disk."
/* A signal handler can do no more than write what is ready. */
static const char *quit_line = "sottod: " QUIT_REASON "\n";

static void quit_now(int signal_number)
{
    ssize_t n = write(STDERR_FILENO, quit_line, strlen(quit_line));
    (void)n;
    (void)signal_number;
    _exit(EXIT_CODE_FAILED);
}

static void quit_on_second_signal(bool json)
{
    if (json) quit_line = "{\"level\":\"warn\",\"event\":\"server.quit\",\"reason\":\"" QUIT_REASON "\"}\n";
    struct sigaction action = {.sa_handler = quit_now};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* True when it is time to stop. */
static bool handle_signals(struct server *s)
{
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo != SIGHUP) {
            LOG(s->log, LOG_INFO, "server.signal", LOG_S("name", info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM"));
            return true;
        }
        server_reload(s);
    }
    return false;
}

static void poll_directory(struct job *job)
{
    struct poll_job *p = (struct poll_job *)(void *)job;
    directory_poll_changes(p->server->directory);
    atomic_store(&p->busy, false);
}

static void tick(struct server *s)
{
    server_observe(s);
    if (atomic_exchange(&s->poll_job.busy, true)) return;
    s->poll_job.job = (struct job){.run = poll_directory};
    s->poll_job.server = s;
    /* A full queue: the next second does it. */
    if (!workers_submit(s->workers, &s->poll_job.job)) atomic_store(&s->poll_job.busy, false);
}

static void serve(struct server *s)
{
    uint64_t next_ms = clock_monotonic_ms(s->services.clock) + TICK_MS;
    for (;;) {
        struct pollfd fds[] = {{.fd = s->signal_fd, .events = POLLIN}, {.fd = admin_fd(s->admin), .events = POLLIN}};
        uint64_t now_ms = clock_monotonic_ms(s->services.clock);
        poll(fds, 2, now_ms >= next_ms ? 0 : (int)(next_ms - now_ms));
        if (handle_signals(s)) return;
        if (fds[1].revents != 0) admin_accept(s->admin);
        now_ms = clock_monotonic_ms(s->services.clock);
        if (now_ms < next_ms) continue;
        next_ms = now_ms + TICK_MS;
        tick(s);
    }
}

enum exit_code server_run(const struct command_line *line)
{
    struct server s = {.line = line, .signal_fd = -1, .dir = {.fd = -1, .lock_fd = -1}};
    enum exit_code code = command_config(line, &s.loaded);
    if (code != EXIT_CODE_OK) return code;
    notify_init(&s.notify, getenv("NOTIFY_SOCKET"));
    if (!take_signals(&s)) {
        fputs("sottod: the system does not hand over its signals.\n", stderr);
        loaded_config_deinit(&s.loaded);
        return EXIT_CODE_FAILED;
    }
    code = server_start(&s);
    if (code == EXIT_CODE_OK) {
        notify_send(&s.notify, "READY=1");
        serve(&s);
        quit_on_second_signal(s.loaded.config.log_form == LOG_FORM_JSON);
    }
    server_stop(&s);
    close(s.signal_fd);
    loaded_config_deinit(&s.loaded);
    return code;
}
