/* Passwords: never on the command line, where other users of the machine could
 * read them. */
#include "cli/cli_private.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

/* Appends one byte of a line. False: too long, or nothing that a password may hold. */
static bool take(char out[SOTTO_PASSWORD_MAX + 1], size_t *len, int c)
{
    if (*len == SOTTO_PASSWORD_MAX || c == '\0') return false;
    out[(*len)++] = (char)c;
    return true;
}

/* Without its end; false when there is nothing. */
static bool finish(char out[SOTTO_PASSWORD_MAX + 1], size_t len)
{
    if (len && out[len - 1] == '\r') len--;
    out[len] = '\0';
    return len > 0;
}

/* First line without its end. False: unreadable, empty or too long. */
static bool read_line(FILE *in, char out[SOTTO_PASSWORD_MAX + 1])
{
    size_t len = 0;
    int c;
    while ((c = fgetc(in)) != EOF && c != '\n')
        if (!take(out, &len, c)) return false;
    return finish(out, len);
}

/* ---- From a terminal ----------------------------------------------------
 *
 * While the echo is off, signals that end or stop the process are held back, so
 * that it is on again before they act.
 */
struct terminal {
    struct termios before;
    sigset_t held, mask;
    int signals;
};

static void echo_off(struct terminal *t, const char *prompt)
{
    (void)sigprocmask(SIG_BLOCK, &t->held, NULL);
    struct termios quiet = t->before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    (void)fputs(prompt, stderr); /* only now: what is typed at once is hidden too */
    (void)fflush(stderr);
}

static void echo_on(struct terminal *t)
{
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &t->before);
    (void)fputc('\n', stderr);
    (void)sigprocmask(SIG_SETMASK, &t->mask, NULL);
}

/* The next byte; EOF at the end; lets a signal act first. */
static int next_byte(struct terminal *t, const char *prompt, size_t *len)
{
    struct signalfd_siginfo info;
    uint8_t c;
    for (;;) {
        struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = t->signals, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR) return EOF;
        if (fds[1].revents && read(t->signals, &info, sizeof info) == sizeof info) {
            (void)raise((int)info.ssi_signo);
            echo_on(t); /* here it acts */
            *len = 0;
            echo_off(t, prompt);
        } else if (fds[0].revents) {
            return read(STDIN_FILENO, &c, 1) == 1 ? c : EOF;
        }
    }
}

static bool ask(const char *prompt, char out[SOTTO_PASSWORD_MAX + 1])
{
    static const int held[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    struct terminal t;
    sigemptyset(&t.held);
    for (size_t i = 0; i < sizeof held / sizeof held[0]; i++) sigaddset(&t.held, held[i]);
    if (tcgetattr(STDIN_FILENO, &t.before) != 0 || sigprocmask(SIG_BLOCK, NULL, &t.mask) != 0) return false;
    t.signals = signalfd(-1, &t.held, SFD_NONBLOCK | SFD_CLOEXEC);
    if (t.signals < 0) return false;
    echo_off(&t, prompt);
    size_t len = 0;
    bool fits = true;
    int c;
    while (fits && (c = next_byte(&t, prompt, &len)) != EOF && c != '\n') fits = take(out, &len, c);
    echo_on(&t);
    close(t.signals);
    return fits && finish(out, len);
}

enum cli_exit password_read(struct cli *cli, bool twice, char out[SOTTO_PASSWORD_MAX + 1])
{
    const char *file = args_get(&cli->args, "password-file");
    bool read;
    if (file) {
        FILE *in = fopen(file, "re");
        if (!in) return cli_fail(cli, CLI_EXIT_USAGE, "--password-file %s: %s", file, strerror(errno));
        read = read_line(in, out);
        (void)fclose(in);
    } else if (isatty(STDIN_FILENO)) {
        read = ask("Password: ", out);
        char again[SOTTO_PASSWORD_MAX + 1] = "";
        if (read && twice && (!ask("Once more: ", again) || strcmp(again, out) != 0)) {
            sodium_memzero(out, SOTTO_PASSWORD_MAX + 1);
            sodium_memzero(again, sizeof again);
            return cli_fail(cli, CLI_EXIT_FAILED, "the two are not the same; nothing was done");
        }
        sodium_memzero(again, sizeof again);
    } else {
        read = read_line(stdin, out);
    }
    if (!read)
        return cli_fail(cli, CLI_EXIT_USAGE, "a password is needed (up to %d bytes): type it, pipe it in, or use "
                        "--password-file FILE", SOTTO_PASSWORD_MAX);
    return CLI_EXIT_OK;
}
