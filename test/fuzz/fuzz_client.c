/* The client engine against a server that says anything, and crashes in between.
 *
 * Input: lines. "!" is a crash of the client, which starts again from its store; "." a
 * connection that breaks; every other line is one text message from the server. Whatever
 * comes: what the client says is JSON, no transaction stays open, its outputs are bounded,
 * and a store that it wrote can be read again.
 */
#include "base/limits.h"
#include "client/client.h"
#include "wire/json.h"

#include <stdlib.h>

enum { MARKS_MAX = 64, OUTPUTS_MAX = 20000, LINES_MAX = 200 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct kept {
    struct client_mark marks[MARKS_MAX];
    size_t marks_count;
    uint8_t cursor[256];
    size_t cursor_len;
};
struct world {
    struct kept committed, working;
    bool open;
    struct client_store store;
    struct random_seeded random;
    struct client *client;
    struct id user;
    uint64_t now_ms;
    bool connected;
};

static enum sotto_err begin(void *ctx)
{
    struct world *w = ctx;
    SOTTO_ASSERT(!w->open);
    w->working = w->committed;
    w->open = true;
    return SOTTO_OK;
}

static enum sotto_err commit(void *ctx)
{
    struct world *w = ctx;
    SOTTO_ASSERT(w->open);
    w->committed = w->working;
    w->open = false;
    return SOTTO_OK;
}

static void rollback(void *ctx)
{
    ((struct world *)ctx)->open = false;
}

static enum sotto_err load_marks(void *ctx, bool (*each)(void *arg, const struct client_mark *m), void *arg)
{
    const struct world *w = ctx;
    for (size_t i = 0; i < w->committed.marks_count; i++)
        if (!each(arg, &w->committed.marks[i])) return SOTTO_ERR_FULL;
    return SOTTO_OK;
}

static enum sotto_err load_queued(void *ctx, bool (*each)(void *arg, const struct client_queued *q), void *arg)
{
    (void)ctx, (void)each, (void)arg;
    return SOTTO_OK;
}

static enum sotto_err load_cursor(void *ctx, bool (*each)(void *arg, struct slice cursor), void *arg)
{
    const struct world *w = ctx;
    return each(arg, slice_of(w->committed.cursor, w->committed.cursor_len)) ? SOTTO_OK : SOTTO_ERR_FULL;
}

static enum sotto_err save_cursor(void *ctx, struct slice cursor)
{
    struct world *w = ctx;
    SOTTO_ASSERT(w->open && cursor.len <= sizeof(w->working.cursor));
    if (cursor.len != 0) memcpy(w->working.cursor, cursor.data, cursor.len);
    w->working.cursor_len = cursor.len;
    return SOTTO_OK;
}

static enum sotto_err save_mark(void *ctx, const struct client_mark *m)
{
    struct world *w = ctx;
    SOTTO_ASSERT(w->open);
    size_t i = 0;
    while (i < w->working.marks_count && !id_eq(w->working.marks[i].conversation, m->conversation)) i++;
    if (i == MARKS_MAX) return SOTTO_ERR_IO; /* a full disk */
    if (i == w->working.marks_count) w->working.marks_count++;
    w->working.marks[i] = *m;
    return SOTTO_OK;
}

static enum sotto_err put_queued(void *ctx, const struct client_queued *q)
{
    (void)q;
    SOTTO_ASSERT(((struct world *)ctx)->open);
    return SOTTO_OK;
}

static enum sotto_err remove_queued(void *ctx, struct slice client_msg_id)
{
    (void)client_msg_id;
    SOTTO_ASSERT(((struct world *)ctx)->open);
    return SOTTO_OK;
}

static void check_frame(struct slice frame)
{
    struct arena arena;
    struct json root;
    arena_init(&arena, NULL, 0, 4u << 20);
    SOTTO_ASSERT(json_parse(&arena, frame, &root) == SOTTO_OK && json_type(root) == JSON_OBJECT);
    arena_deinit(&arena);
}

static void drain(struct world *w)
{
    const struct client_output *o;
    for (size_t count = 0; (o = client_poll(w->client)) != NULL; count++) {
        SOTTO_ASSERT(count < OUTPUTS_MAX);
        if (o->kind == CLIENT_OUT_FRAME) check_frame(o->frame);
        if (o->kind == CLIENT_OUT_CONNECT) w->connected = true;
        if (o->kind == CLIENT_OUT_DISCONNECT) w->connected = false;
    }
    SOTTO_ASSERT(!w->open);
}

static void start(struct world *w)
{
    struct client_options options = {.token = SLICE_LIT("sot_token"), .user = w->user, .agent = SLICE_LIT("fuzz/1"),
                                     .store = &w->store, .random = &w->random.source};
    struct client_send send = {.client_msg_id = SLICE_LIT("a"), .type = SLICE_LIT("text"), .payload = SLICE_LIT("x")};
    memset(send.to.bytes, 1, ID_LEN);
    w->connected = false;
    SOTTO_ASSERT(client_create(&options, &w->client) == SOTTO_OK);
    client_start(w->client, w->now_ms);
    drain(w);
    (void)!client_send(w->client, &send, w->now_ms, NULL);
    drain(w);
}

/* A connection that stands, if the client wants one. */
static void connect_if_wanted(struct world *w)
{
    static const char hello[] = "{\"type\":\"hello\",\"userId\":\"aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa\",\"deviceId\":3,"
                                "\"resumeToken\":\"r\",\"heartbeatMs\":30000,\"idleTimeoutMs\":90000}";
    uint64_t wake = client_wake_ms(w->client);
    if (!w->connected && wake != UINT64_MAX) {
        if (wake > w->now_ms) w->now_ms = wake;
        client_tick(w->client, w->now_ms);
        drain(w);
    }
    if (!w->connected || client_phase(w->client) != CLIENT_CONNECTING) return;
    client_opened(w->client, w->now_ms);
    drain(w);
    client_frame(w->client, SLICE_LIT(hello), w->now_ms);
    drain(w);
}

static void line(struct world *w, const uint8_t *data, size_t len)
{
    if (len == 1 && *data == '!') {
        client_destroy(&w->client);
        w->open = false;
        start(w);
    } else if (len == 1 && *data == '.') {
        client_closed(w->client, 1006, w->now_ms);
        w->connected = false;
        drain(w);
    } else {
        uint8_t *copy = malloc(len); /* of its own size: a sanitizer sees reads past its end */
        if (len != 0) memcpy(copy, data, len);
        client_frame(w->client, slice_of(copy, len), w->now_ms);
        free(copy);
        drain(w);
        w->now_ms += 50;
        client_tick(w->client, w->now_ms);
        drain(w);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct world *w = sotto_zalloc(sizeof(*w));
    w->store = (struct client_store){begin, commit, rollback, load_marks, load_queued, load_cursor,
                                     save_cursor, save_mark, put_queued, remove_queued, w};
    w->now_ms = 1000;
    memset(w->user.bytes, 0xaa, ID_LEN);
    random_seeded_init(&w->random, 7);
    start(w);
    for (int i = 0; i < LINES_MAX && len != 0; i++) {
        const uint8_t *end = memchr(data, '\n', len);
        size_t part = end != NULL ? (size_t)(end - data) : len;
        connect_if_wanted(w);
        line(w, data, part);
        if (end != NULL) part++;
        data += part;
        len -= part;
    }
    client_destroy(&w->client);
    free(w);
    return 0;
}
