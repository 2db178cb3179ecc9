/* The first minute: plain words on stdout. The log on stderr is for machines.
 *
 * While nobody is registered each start makes a fresh one-time invite for an
 * administrator; there is no default password to forget about.
 */
#include "server/server_private.h"

#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

enum { FIRST_INVITE_TTL_MS = 24 * 3600 * 1000 };

/* A URL that works on this machine. */
static void write_url(const struct server *s, struct buffer *out)
{
    const char *listen = s->loaded.config.listen;
    size_t len = strcspn(listen, ", ");
    bool any = strncmp(listen, "0.0.0.0", len) == 0 || strncmp(listen, "::", len) == 0;
    bool brackets = !any && memchr(listen, ':', len) != NULL;
    buffer_append_str(out, s->tls != NULL ? "https://" : "http://");
    if (brackets) buffer_append_byte(out, '[');
    buffer_append(out, any ? "localhost" : listen, any ? strlen("localhost") : len);
    if (brackets) buffer_append_byte(out, ']');
    buffer_printf(out, ":%u", (unsigned)gateway_port(s->gateway));
}

/* The programs as the operator typed them: "build/bin/sotto" beside
 * "build/bin/sottod", so that the lines below work when copied. */
static void write_program(const struct server *s, const char *name, struct buffer *out)
{
    const char *slash = strrchr(s->line->program, '/');
    char path[PATH_MAX_LEN];
    snprintf(path, sizeof(path), "%.*s%s", slash == NULL ? 0 : (int)(slash + 1 - s->line->program), s->line->program,
             name);
    buffer_append_str(out, slash != NULL && access(path, X_OK) == 0 ? path : name);
}

void server_prepare_welcome(struct server *s)
{
    s->nobody_registered = directory_user_count(s->directory) == 0;
    if (!s->nobody_registered || s->loaded.config.registration == REGISTRATION_CLOSED) return;
    char invite[INVITE_TEXT_MAX];
    enum problem p = directory_create_invite(s->directory, FIRST_INVITE_TTL_MS, true, invite);
    if (p == PROBLEM_NONE) memcpy(s->first_invite, invite, sizeof(invite));
    else LOG(s->log, LOG_ERROR, "server.first_invite", LOG_S("problem", problem_code(p)));
    sodium_memzero(invite, sizeof(invite));
}

static void tell_first_account(struct server *s, const char *url)
{
    struct buffer out;
    const char *data_dir = s->loaded.config.data_dir;
    buffer_init(&out, 4 * PATH_MAX_LEN);
    if (s->loaded.config.registration == REGISTRATION_CLOSED) {
        buffer_append_str(&out, "\nNobody has an account yet, and registration is closed. Make one with\n\n    ");
        write_program(s, "sottod", &out);
        buffer_printf(&out, " user add NAME --admin --data-dir %s\n", data_dir);
    } else if (s->first_invite[0] == '\0') {
        buffer_append_str(&out, "\nNobody has an account yet, and an invite could not be made; the log on stderr says why.\n");
    } else {
        buffer_append_str(&out, "\nNobody has an account yet. Make the first one, yours, in another terminal:\n\n    ");
        write_program(s, "sotto", &out);
        buffer_printf(&out, " register NAME --server %s --invite %s\n\n"
                            "It becomes an administrator. The invite works once, for a day; a restart makes another.\n"
                            "To invite others:\n\n    ", url, s->first_invite);
        write_program(s, "sottod", &out);
        buffer_printf(&out, " invite create --data-dir %s\n", data_dir);
    }
    fwrite(out.data, 1, out.len, stdout);
    sodium_memzero(s->first_invite, sizeof(s->first_invite));
    sodium_memzero(out.data, out.len);
    buffer_deinit(&out);
}

/* Whether only this machine can reach it. */
static bool listens_here(const char *listen)
{
    while (*listen != '\0') {
        size_t len = strcspn(listen, ", ");
        bool here = strncmp(listen, "127.", 4) == 0 || (len == 3 && strncmp(listen, "::1", 3) == 0);
        if (len != 0 && !here) return false;
        listen += len;
        listen += strspn(listen, ", ");
    }
    return true;
}

void server_welcome(struct server *s)
{
    struct buffer url;
    buffer_init(&url, 512);
    write_url(s, &url);
    buffer_append_byte(&url, 0);
    const char *text = (const char *)url.data;
    printf("Sotto %s, data in %s\nListening on %s\n", SOTTO_VERSION, s->loaded.config.data_dir, text);
    if (s->nobody_registered) tell_first_account(s, text);
    if (s->tls == NULL && !listens_here(s->loaded.config.listen)) {
        fputs("\nWarning: without TLS, passwords cross the network in the clear. Use --tls-cert and --tls-key,\n"
              "or a proxy that speaks TLS in front.\n", stdout);
    }
    fputs("\nCtrl-C stops the server.\n", stdout);
    fflush(stdout);
    buffer_deinit(&url);
}
