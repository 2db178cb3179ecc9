/* Real client engines and a real server, and everything between them breaks.
 *
 * People with several devices write to each other over connections that are cut
 * after any byte, while devices crash and come back from what they had stored,
 * and the server is restarted. Each device keeps what its engine showed. Whatever
 * happened: a message appears on every device of both people, once, in the order
 * of its sequence, without a hole, under the same number everywhere; and what was
 * put into an outbox was accepted once.
 *
 * Threads of the server make runs differ in their timing; what breaks, and where,
 * follows from the seed. Clocks of devices are set forward where one would only
 * wait to connect again.
 */
#include "unit/api/world.h"
#include "unit/client/fake_store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

enum {
    PEOPLE = 3, DEVICES = 2, NODES = PEOPLE * DEVICES,
    SENDS = 30,              /* of each device */
    TALKS = PEOPLE * (PEOPLE - 1) / 2,
    TALK_MAX = SENDS * NODES,
    NO_CUT = INT32_MAX,
    CUT_AFTER_MAX = 6000,    /* bytes, either way */
    TIME_MAX_MS = 240 * 1000
};

/* What a device showed of a conversation. */
struct talk {
    struct id id;
    uint64_t last;                    /* 1 to here was shown, in this order */
    char shown[TALK_MAX + 1][16];     /* by sequence: which text */
};
struct node {
    size_t person;
    struct person name;
    struct client *engine;
    struct fake_store store;
    struct random_seeded random;
    struct talk talks[TALKS];
    size_t talks_count;
    uint64_t ahead_ms;                /* how far its clock was set forward */
    int fd;                           /* -1: no connection */
    bool upgraded;
    int cut_in, cut_out;              /* bytes until the connection breaks */
    struct ws_decoder *decoder;
    struct buffer in, out;
    size_t sent, answered;            /* messages put into the outbox; SENT events */
};
struct chaos {
    struct world world;
    struct node nodes[NODES];
    struct peer rest;
    uint64_t dice;
    bool calm;                        /* nothing breaks any more */
    size_t cuts, crashes;
};

static uint64_t dice(struct chaos *x, uint64_t sides)
{
    x->dice = x->dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (x->dice >> 33) % sides;
}

static uint64_t node_now(const struct node *n)
{
    return clock_monotonic_ms(clock_system()) + n->ahead_ms;
}

/* ---- What a device shows --------------------------------------------------- */

static struct talk *talk_of(struct node *n, struct id conversation)
{
    for (size_t i = 0; i < n->talks_count; i++)
        if (id_eq(n->talks[i].id, conversation)) return &n->talks[i];
    assert_true(n->talks_count < TALKS);
    n->talks[n->talks_count].id = conversation;
    return &n->talks[n->talks_count++];
}

static void show(struct node *n, struct id conversation, uint64_t sequence, struct slice text)
{
    struct talk *t = talk_of(n, conversation);
    assert_true(sequence >= 1 && sequence <= TALK_MAX && text.len > 0 && text.len < sizeof(t->shown[0]));
    if (sequence != t->last + 1)
        fail_msg("number %" PRIu64 " (%.*s) was shown after %" PRIu64, sequence, (int)text.len, (const char *)text.data,
                 t->last);
    memcpy(t->shown[sequence], text.data, text.len);
    t->last = sequence;
}

static void on_event(struct node *n, const struct client_event *e)
{
    switch (e->kind) {
    case CLIENT_EVENT_MESSAGE:
        show(n, e->message.conversation, e->message.sequence, e->message.payload);
        break;
    case CLIENT_EVENT_SENT:
        n->answered++;
        show(n, e->message.conversation, e->message.sequence, e->message.client_msg_id);
        break;
    case CLIENT_EVENT_FAILED:
    case CLIENT_EVENT_HOLE:
    case CLIENT_EVENT_BROKEN_CHAIN: fail_msg("%s: %.*s", event_name(e), (int)e->code.len, (const char *)e->code.data); break;
    case CLIENT_EVENT_PHASE:
        if (e->phase == CLIENT_ENDED) fail_msg("a device ended (%d)", (int)e->end);
        break;
    default: break;
    }
}

/* ---- Its connection ---------------------------------------------------------- */

static void node_disconnect(struct node *n)
{
    if (n->fd >= 0) close(n->fd);
    n->fd = -1;
    n->upgraded = false;
    ws_decoder_destroy(&n->decoder);
    buffer_clear(&n->in);
    buffer_clear(&n->out);
}

static bool node_connect(struct chaos *x, struct node *n)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(gateway_port(x->world.gateway)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char key[25];
    node_disconnect(n);
    n->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(n->fd >= 0);
    if (connect(n->fd, (struct sockaddr *)&to, sizeof(to)) != 0) return false;
    assert_int_equal(fcntl(n->fd, F_SETFL, O_NONBLOCK), 0);
    (void)setsockopt(n->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    n->cut_in = !x->calm && dice(x, 2) ? (int)dice(x, CUT_AFTER_MAX) : NO_CUT;
    n->cut_out = !x->calm && dice(x, 2) ? (int)dice(x, CUT_AFTER_MAX) : NO_CUT;
    ws_request(&n->out, "test", "/api/v1/ws", false, &n->random.source, key);
    assert_int_equal(ws_decoder_create(NULL, false, false, SOTTO_FRAME_MAX * 4, &n->decoder), SOTTO_OK);
    return true;
}

static void take_outputs(struct chaos *x, struct node *n);

static void node_cut(struct chaos *x, struct node *n, unsigned code)
{
    x->cuts++;
    node_disconnect(n);
    client_closed(n->engine, code, node_now(n));
    take_outputs(x, n);
}

static void take_outputs(struct chaos *x, struct node *n)
{
    const struct client_output *o;
    bool refused = false;
    while ((o = client_poll(n->engine)) != NULL) {
        switch (o->kind) {
        case CLIENT_OUT_CONNECT: refused = !node_connect(x, n); break;
        case CLIENT_OUT_DISCONNECT: node_disconnect(n); break;
        case CLIENT_OUT_FRAME: ws_write_frame(&n->out, WS_TEXT, o->frame, &n->random.source); break;
        case CLIENT_OUT_EVENT: on_event(n, &o->event); break;
        }
    }
    if (refused) node_cut(x, n, 1006);
}

/* Writes what there is. False: the connection broke. */
static bool node_write(struct node *n)
{
    size_t len = n->out.len;
    if (len > (size_t)n->cut_out) len = (size_t)n->cut_out;
    ssize_t sent = len > 0 ? send(n->fd, n->out.data, len, MSG_NOSIGNAL) : 0;
    if (sent < 0) return errno == EAGAIN;
    buffer_consume(&n->out, (size_t)sent);
    if (n->cut_out != NO_CUT) n->cut_out -= (int)sent;
    return n->cut_out > 0;
}

static bool node_switched(struct chaos *x, struct node *n)
{
    uint8_t *end = n->in.len > 0 ? memmem(n->in.data, n->in.len, "\r\n\r\n", 4) : NULL;
    if (end == NULL) return true;
    if (memcmp(n->in.data, "HTTP/1.1 101", 12) != 0) return false; /* it is draining */
    buffer_consume(&n->in, (size_t)(end + 4 - n->in.data));
    n->upgraded = true;
    client_opened(n->engine, node_now(n));
    take_outputs(x, n);
    return true;
}

/* Hands over the frames that are there. False: the server said goodbye. */
static bool node_frames(struct chaos *x, struct node *n, unsigned *code_out)
{
    while (n->upgraded && n->in.len > 0) {
        struct ws_message m;
        size_t used = 0;
        uint16_t bad = 0;
        enum ws_result r = ws_decode(n->decoder, NULL, n->in.data, n->in.len, &used, &m, &bad);
        assert_int_not_equal(r, WS_BAD);
        struct ws_decoder *same = n->decoder;
        if (r == WS_MESSAGE && m.opcode == WS_CLOSE) {
            *code_out = m.close_code;
            return false;
        }
        if (r == WS_MESSAGE && m.opcode == WS_TEXT) client_frame(n->engine, m.payload, node_now(n));
        else client_heard(n->engine, node_now(n));
        buffer_consume(&n->in, used);
        take_outputs(x, n);
        if (n->decoder != same) return true; /* the engine has gone another way */
    }
    return true;
}

/* False: the connection broke. */
static bool node_read(struct chaos *x, struct node *n, unsigned *code_out)
{
    uint8_t bytes[4096];
    size_t size = sizeof(bytes) < (size_t)n->cut_in ? sizeof(bytes) : (size_t)n->cut_in;
    if (size == 0) return false;
    ssize_t len = recv(n->fd, bytes, size, 0);
    if (len < 0) return errno == EAGAIN;
    if (len == 0) return false;
    if (n->cut_in != NO_CUT) n->cut_in -= (int)len;
    buffer_append(&n->in, bytes, (size_t)len);
    if (!n->upgraded && !node_switched(x, n)) return false;
    return node_frames(x, n, code_out);
}

static void node_turn(struct chaos *x, struct node *n)
{
    unsigned code = 1006;
    if (n->fd >= 0 && (!node_write(n) || !node_read(x, n, &code))) node_cut(x, n, code);
    if (client_phase(n->engine) == CLIENT_WAITING && client_wake_ms(n->engine) > node_now(n))
        n->ahead_ms += client_wake_ms(n->engine) - node_now(n);
    if (client_wake_ms(n->engine) <= node_now(n)) client_tick(n->engine, node_now(n));
    take_outputs(x, n);
}

/* ---- Its life ---------------------------------------------------------------- */

static void node_start(struct chaos *x, struct node *n)
{
    struct client_options options = {.token = slice_str(n->name.token), .agent = SLICE_LIT("chaos/1"),
                                     .store = &n->store.port, .random = &n->random.source};
    assert_int_equal(id_parse(slice_str(n->name.user), &options.user), SOTTO_OK);
    assert_int_equal(client_create(&options, &n->engine), SOTTO_OK);
    client_start(n->engine, node_now(n));
    take_outputs(x, n);
}

/* Power off, at a moment between two events. */
static void node_crash(struct chaos *x, struct node *n)
{
    x->crashes++;
    node_disconnect(n);
    client_destroy(&n->engine);
    n->store.open = false;
    node_start(x, n);
}

static void node_init(struct chaos *x, size_t at)
{
    struct node *n = &x->nodes[at];
    char name[16];
    n->person = at / DEVICES;
    (void)snprintf(name, sizeof(name), "person%zu", n->person);
    n->name = person_of(&x->rest, &x->world, at % DEVICES == 0 ? "/accounts" : "/login", name);
    fake_store_init(&n->store);
    peer_value(&x->rest, "cursor", n->store.committed.cursor, sizeof(n->store.committed.cursor));
    random_seeded_init(&n->random, x->dice + at);
    buffer_init(&n->in, 1 << 24);
    buffer_init(&n->out, 1 << 24);
    n->fd = -1;
    node_start(x, n);
}

static void node_deinit(struct node *n)
{
    node_disconnect(n);
    client_destroy(&n->engine);
    buffer_deinit(&n->in);
    buffer_deinit(&n->out);
}

/* To anybody but oneself. The text is the clientMsgId. */
static void node_say(struct chaos *x, size_t at)
{
    struct node *n = &x->nodes[at];
    size_t other = (n->person + 1 + dice(x, PEOPLE - 1)) % PEOPLE;
    char text[16];
    int len = snprintf(text, sizeof(text), "%zu-%zu", at, n->sent);
    struct client_send send = {.client_msg_id = slice_of(text, (size_t)len), .type = SLICE_LIT("text"),
                               .payload = slice_of(text, (size_t)len)};
    assert_int_equal(id_parse(slice_str(x->nodes[other * DEVICES].name.user), &send.to), SOTTO_OK);
    assert_int_equal(client_send(n->engine, &send, node_now(n), NULL), SOTTO_OK);
    n->sent++;
    take_outputs(x, n);
}

static void node_misfortune(struct chaos *x, size_t at)
{
    struct node *n = &x->nodes[at];
    if (n->sent < SENDS && dice(x, 4) == 0) node_say(x, at);
    if (dice(x, 100) == 0) node_crash(x, n);
    if (n->fd >= 0 && dice(x, 30) == 0) node_cut(x, n, 1006);
    if (n->talks_count > 0 && dice(x, 20) == 0) {
        struct talk *t = &n->talks[dice(x, n->talks_count)];
        if (t->last > 0) assert_int_equal(client_mark_read(n->engine, t->id, t->last, node_now(n)), SOTTO_OK);
        take_outputs(x, n);
    }
}

/* ---- The whole ---------------------------------------------------------------- */

/* How many messages a device must have shown in all. */
static size_t expected(const struct chaos *x, const struct node *n)
{
    size_t count = 0;
    for (size_t i = 0; i < n->talks_count; i++) {
        uint64_t last = 0;
        for (size_t m = 0; m < NODES; m++)
            for (size_t j = 0; j < x->nodes[m].talks_count; j++)
                if (id_eq(x->nodes[m].talks[j].id, n->talks[i].id) && x->nodes[m].talks[j].last > last)
                    last = x->nodes[m].talks[j].last;
        count += (size_t)last;
    }
    return count;
}

static bool settled(const struct chaos *x)
{
    for (size_t i = 0; i < NODES; i++) {
        const struct node *n = &x->nodes[i];
        size_t shown = 0;
        for (size_t t = 0; t < n->talks_count; t++) shown += (size_t)n->talks[t].last;
        if (n->sent < SENDS || client_outbox_count(n->engine) > 0 || client_phase(n->engine) != CLIENT_LIVE ||
            n->talks_count < PEOPLE - 1 || shown < expected(x, n))
            return false;
    }
    return true;
}

static void turn_all(struct chaos *x)
{
    struct pollfd fds[NODES];
    for (size_t i = 0; i < NODES; i++)
        fds[i] = (struct pollfd){.fd = x->nodes[i].fd, .events = POLLIN};
    (void)poll(fds, NODES, 1);
    for (size_t i = 0; i < NODES; i++) node_turn(x, &x->nodes[i]);
}

static void restart(struct chaos *x)
{
    node_crash(x, &x->nodes[dice(x, NODES)]);
    world_close(&x->world, 20);
    world_open(&x->world, NULL);
}

/* The same numbers carry the same texts on every device, all of them are there,
 * and nothing else is. */
static void compare(const struct chaos *x)
{
    size_t total = 0;
    for (size_t i = 0; i < NODES; i++) {
        const struct node *n = &x->nodes[i];
        assert_int_equal(n->answered, SENDS);
        for (size_t t = 0; t < n->talks_count; t++) {
            if (i % DEVICES == 0) total += (size_t)n->talks[t].last;
            for (size_t m = 0; m < NODES; m++)
                for (size_t o = 0; o < x->nodes[m].talks_count; o++)
                    if (id_eq(x->nodes[m].talks[o].id, n->talks[t].id))
                        assert_memory_equal(x->nodes[m].talks[o].shown, n->talks[t].shown, sizeof(n->talks[t].shown));
        }
    }
    assert_int_equal(total, 2 * SENDS * NODES); /* by one device of each of the two */
}

static void run(uint64_t seed)
{
    struct chaos *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    x->dice = seed;
    world_start(&x->world, NULL);
    for (size_t i = 0; i < NODES; i++) node_init(x, i);
    uint64_t begin = clock_monotonic_ms(clock_system()), restarts = 0;
    while (!x->calm || !settled(x)) {
        turn_all(x);
        if (!x->calm) node_misfortune(x, dice(x, NODES));
        size_t sent = 0;
        for (size_t i = 0; i < NODES; i++) sent += x->nodes[i].sent;
        if (restarts < 2 && sent > (restarts + 1) * SENDS * NODES / 3) {
            restarts++;
            restart(x);
        }
        x->calm = sent == SENDS * NODES;
        if (clock_monotonic_ms(clock_system()) > begin + TIME_MAX_MS) fail_msg("seed %" PRIu64 ": it does not settle", seed);
    }
    compare(x);
    assert_true(x->cuts > 10 && x->crashes > 0);
    for (size_t i = 0; i < NODES; i++) node_deinit(&x->nodes[i]);
    world_stop(&x->world);
    free(x);
}

static void chaos__cut_connections_crashes_and_restarts__lose_and_repeat_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) run(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chaos__cut_connections_crashes_and_restarts__lose_and_repeat_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
