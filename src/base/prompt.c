/* INVARIANT. While the echo is off, signals that end or stop the process are held
 * back, so that it is on again before they act. */
#include "base/prompt.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

struct prompt {
    const char *question;
    struct termios before;
    sigset_t held, mask;
    int signals;
    char *out;
    size_t len, size;
};

static void echo_off(struct prompt *p)
{
    (void)sigprocmask(SIG_BLOCK, &p->held, NULL);
    struct termios quiet = p->before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    (void)fputs(p->question, stderr); /* only now: what is typed at once is hidden too */
    (void)fflush(stderr);
}

static void echo_on(struct prompt *p)
{
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &p->before);
    (void)fputc('\n', stderr);
    (void)sigprocmask(SIG_SETMASK, &p->mask, NULL);
}

/* The next byte; EOF at the end; lets a signal act first. */
static int next_byte(struct prompt *p)
{
    struct signalfd_siginfo info;
    uint8_t c;
    for (;;) {
        struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = p->signals, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR) return EOF;
        if (fds[1].revents && read(p->signals, &info, sizeof(info)) == sizeof(info)) {
            (void)raise((int)info.ssi_signo);
            echo_on(p); /* here it acts */
            p->len = 0;
            echo_off(p);
        } else if (fds[0].revents) {
            return read(STDIN_FILENO, &c, 1) == 1 ? c : EOF;
        }
    }
}

static bool read_line(struct prompt *p)
{
    int c;
    while ((c = next_byte(p)) != EOF && c != '\n') {
        if (p->len + 1 == p->size || c == '\0') return false;
        p->out[p->len++] = (char)c;
    }
    if (p->len > 0 && p->out[p->len - 1] == '\r') p->len--;
    p->out[p->len] = '\0';
    return p->len > 0;
}

bool prompt_hidden(const char *question, char *out, size_t size)
{
    static const int held[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    struct prompt p = {.question = question, .out = out, .size = size};
    sigemptyset(&p.held);
    for (size_t i = 0; i < sizeof(held) / sizeof(held[0]); i++) sigaddset(&p.held, held[i]);
    if (tcgetattr(STDIN_FILENO, &p.before) != 0 || sigprocmask(SIG_BLOCK, NULL, &p.mask) != 0) return false;
    p.signals = signalfd(-1, &p.held, SFD_NONBLOCK | SFD_CLOEXEC);
    if (p.signals < 0) return false;
    echo_off(&p);
    bool got = read_line(&p);
    echo_on(&p);
    close(p.signals);
    return got;
}
