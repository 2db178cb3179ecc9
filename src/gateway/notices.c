/* What must reach connections from other threads: closing one, and changes of
 * the directory (a device revoked, an account deleted, settings changed).
 *
 * Each is a small mail to the loop where the session is. The number of changes
 * is bounded by the workers that make them, so these mails may pass the bound
 * of the mailbox.
 */
#include "gateway/call_private.h"

#include <stdio.h>
#include <stdlib.h>

struct notice {
    struct mail mail;
    struct session_name name;
    uint16_t close_code;  /* 0: send `text` */
    uint8_t but_device;   /* which knows already; 0: none */
    const char *type;
    size_t len;
    char text[160];
};

static void notice_received(struct mail *mail, void *receiver)
{
    struct gateway_loop *gl = loop_owner(receiver);
    struct notice *n = (struct notice *)(void *)mail;
    struct conn *c = conn_named(gl, n->name.slot, n->name.serial);
    if (c != NULL && conn_alive(c) && (n->but_device == 0 || c->session.device != n->but_device)) {
        /* A request may have brought this on itself (logout): it is answered. */
        if (n->close_code != 0) conn_close_after_calls(c, n->close_code);
        else conn_send(c, n->type, slice_of(n->text, n->len), (struct slice){0}, false);
    }
    free(n);
}

static struct notice *notice_create(struct session_name name)
{
    struct notice *n = sotto_zalloc(sizeof(*n));
    n->mail.deliver = notice_received;
    n->name = name;
    return n;
}

void gateway_close_session(struct gateway *g, struct session_name name, uint16_t code)
{
    struct notice *n = notice_create(name);
    n->close_code = code;
    gateway_post(gateway_loop_at(g, name), &n->mail);
}

static void close_sessions(struct gateway *g, struct id user, uint8_t device, uint16_t code)
{
    struct session_name names[REGISTRY_SESSIONS_MAX];
    size_t count = registry_names(g->registry, user, device, names);
    for (size_t i = 0; i < count; i++) gateway_close_session(g, names[i], code);
}

/* To one device, or to all of them (0) but one. */
static void send_sessions(struct gateway *g, struct id user, uint8_t device, uint8_t but_device, const char *type,
                          const char *text)
{
    struct session_name names[REGISTRY_SESSIONS_MAX];
    size_t count = registry_names(g->registry, user, device, names);
    for (size_t i = 0; i < count; i++) {
        struct notice *n = notice_create(names[i]);
        n->but_device = but_device;
        n->type = type;
        n->len = strlen(text);
        SOTTO_ASSERT(n->len < sizeof(n->text));
        memcpy(n->text, text, n->len);
        gateway_post(gateway_loop_at(g, names[i]), &n->mail);
    }
}

static bool has_device(const struct user_view *view, uint8_t device)
{
    for (size_t i = 0; i < view->devices_count; i++)
        if (view->devices[i].id == device) return true;
    return false;
}

bool gateway_settings_load(struct gateway *g, struct id user, uint8_t device, bool *receipts_off_out)
{
    struct user_view *view = NULL;
    /* One after the other: else what was read before a change could be set after it. */
    pthread_mutex_lock(&g->settings_mutex);
    bool exists = directory_view_once(g->services->directory, user, &view) == SOTTO_OK;
    if (exists) registry_receipts_off(g->registry, user, view->receipts_off);
    pthread_mutex_unlock(&g->settings_mutex);
    if (!exists) return false;
    *receipts_off_out = view->receipts_off;
    exists = has_device(view, device);
    user_view_unref(view);
    return exists;
}

/* The settings that delivery and presence look at. The change is committed, so what is
 * loaded is fresh. May block for SQL, as whoever made the change did. */
static void settings_changed(struct gateway *g, struct id user)
{
    bool receipts_off;
    presence_touch(g->registry, user); /* who is away may hide, too */
    if (registry_loops(g->registry, user) != 0) (void)!gateway_settings_load(g, user, 0, &receipts_off);
}

static void prekeys_low(struct gateway *g, struct id user, uint8_t device)
{
    uint32_t ec = 0, kem = 0;
    struct session_name names[REGISTRY_SESSIONS_MAX];
    if (registry_names(g->registry, user, device, names) == 0) return;
    if (directory_key_counts(g->services->directory, user, device, &ec, &kem) != PROBLEM_NONE) return;
    char text[160];
    snprintf(text, sizeof(text), "{\"type\":\"prekeys.low\",\"ecPrekeys\":%u,\"kemPrekeys\":%u}", ec, kem);
    send_sessions(g, user, device, 0, "prekeys.low", text);
}

void gateway_directory_change(void *ctx, enum directory_change what, struct id user, uint8_t device)
{
    struct gateway *g = ctx;
    switch (what) {
    case CHANGE_DEVICE_REVOKED: close_sessions(g, user, device, CLOSE_SIGN_IN); break;
    case CHANGE_USER_DELETED: close_sessions(g, user, 0, CLOSE_GONE); break;
    case CHANGE_DEVICES:
        send_sessions(g, user, 0, 0, "devices.changed", "{\"type\":\"devices.changed\"}");
        break;
    case CHANGE_PREKEYS_LOW: prekeys_low(g, user, device); break;
    case CHANGE_PROFILE:
        settings_changed(g, user);
        send_sessions(g, user, 0, device, "account.changed", "{\"type\":\"account.changed\"}");
        break;
    case CHANGE_PASSWORD: break; /* every revoked device is told apart */
    }
}
