/* message.delivered, message.read and typing.
 *
 * RULES.
 *   - Receipts switched off: what the user reads is shared with the own devices
 *     only (WATERMARK_PRIVATE); that it was delivered is not hidden.
 *   - A direct conversation in which either has blocked the other: `delivered`
 *     is not taken at all (answered `ok`), `read` is private, typing is not
 *     passed on. So the blocked one learns nothing while it lasts. Marks are
 *     high-water marks: after unblocking, the first one that is taken also
 *     covers the numbers in between; the status of a withheld message never
 *     says delivered (message.get).
 *   - Groups know no blocks.
 *
 * One request may carry marks of many conversations: each is a record of its
 * own, and the call is answered when the last of them is on disk. The first
 * problem is the answer.
 */
#include "api/api.h"
#include "api/direct.h"

struct mark {
    struct id conversation;
    uint64_t sequence;
};
struct marks {
    bool read;
    size_t count;
    size_t at;             /* next to look up */
    size_t waiting;        /* with the engine, and 1 while submitting */
    enum problem problem;  /* the first */
    struct direct *directs;
    struct mark *marks;
};
struct mark_fields {
    struct id conversation;
    uint64_t sequence;
    struct json marks;
    bool has_conversation, has_sequence, has_marks;
};

#define AT(member) offsetof(struct mark_fields, member)
static const struct json_field outer_fields[] = {
    {"conversationId", JF_ID, false, AT(conversation), 0, 0, AT(has_conversation)},
    {"sequence", JF_U64, false, AT(sequence), 1, SEQUENCE_MAX, AT(has_sequence)},
    {"marks", JF_JSON, false, AT(marks), 0, SOTTO_MARKS_MAX, AT(has_marks)},
};
static const struct json_field inner_fields[] = {
    {"conversationId", JF_ID, true, offsetof(struct mark, conversation), 0, 0, SIZE_MAX},
    {"sequence", JF_U64, true, offsetof(struct mark, sequence), 1, SEQUENCE_MAX, SIZE_MAX},
};
#undef AT

static enum problem bad(struct call *c, const char *field, const char *why)
{
    c->field = field;
    buffer_append_str(&c->why, why);
    return PROBLEM_BAD_FIELD;
}

static enum problem marks_decode(struct call *c, struct marks *m)
{
    struct mark_fields f = {0};
    enum problem p = call_decode(c, outer_fields, sizeof(outer_fields) / sizeof(outer_fields[0]), &f);
    if (p != PROBLEM_NONE) return p;
    bool one = f.has_conversation && f.has_sequence;
    if (f.has_marks ? f.has_conversation || f.has_sequence : !one)
        return bad(c, "sequence", "Give conversationId and sequence, or marks.");
    if (f.has_marks && json_type(f.marks) != JSON_ARRAY) return bad(c, "marks", "\"marks\" must be a list of objects.");
    m->count = f.has_marks ? json_count(f.marks) : 1;
    m->marks = arena_zalloc(&c->arena, m->count * sizeof(*m->marks) + 1);
    m->directs = arena_zalloc(&c->arena, m->count * sizeof(*m->directs) + 1);
    if (m->marks == NULL || m->directs == NULL) return PROBLEM_TOO_LARGE;
    if (!f.has_marks) m->marks[0] = (struct mark){f.conversation, f.sequence};
    struct json e = f.has_marks ? json_first(f.marks) : (struct json){0};
    for (size_t i = 0; f.has_marks && i < m->count; i++, e = json_next(f.marks, e)) {
        if (json_decode(&c->arena, e, inner_fields, 2, &m->marks[i], &c->why, NULL) == SOTTO_OK) continue;
        c->field = "marks";
        return PROBLEM_BAD_FIELD;
    }
    for (size_t i = 0; i < m->count; i++) m->directs[i].conversation = m->marks[i].conversation;
    return PROBLEM_NONE;
}

static void marks_finish(struct call *c)
{
    struct marks *m = c->context;
    for (size_t i = 0; i < m->count; i++) direct_deinit(&m->directs[i]);
    call_finish(c, m->problem);
}

static void mark_done(struct call *c, enum problem p)
{
    struct marks *m = c->context;
    if (m->problem == PROBLEM_NONE) m->problem = p;
    if (--m->waiting == 0) marks_finish(c);
}

static void on_submitted(struct call *c, const struct submission *s)
{
    if (s->answer.problem == PROBLEM_BAD_FIELD) {
        c->field = "sequence";
        buffer_clear(&c->why);
        buffer_append_str(&c->why, "There is no such message yet.");
    }
    if (c->context == NULL) call_finish(c, s->answer.problem); /* one alone */
    else mark_done(c, s->answer.problem);
}

/* False: nothing is to be recorded. */
static bool mark_fill(const struct call *c, const struct marks *m, size_t i, struct record_watermark *w)
{
    const struct direct *d = &m->directs[i];
    w->user = c->user;
    w->device = c->device;
    w->ts_ms = clock_wall_ms(c->services->clock);
    if (!m->read) {
        w->delivered = m->marks[i].sequence;
        return !d->blocked;
    }
    w->read = m->marks[i].sequence;
    /* Read implies delivered, also when only the latter may be known. */
    if (!d->blocked) w->delivered = w->read;
    if (d->blocked || d->me->receipts_off) w->flags |= WATERMARK_PRIVATE;
    return true;
}

static void mark_submit(struct call *c, size_t i)
{
    struct marks *m = c->context;
    struct record r = {.kind = RECORD_WATERMARK, .conversation = m->marks[i].conversation};
    if (!mark_fill(c, m, i, &r.watermark)) return;
    struct buffer *encoded = call_record(c);
    record_encode(&r, encoded);
    m->waiting++;
    if (!call_submit(c, encoded, on_submitted))
        mark_done(c, engine_draining(c->services->engine) ? PROBLEM_DRAINING : PROBLEM_BUSY);
}

static void marks_go(struct call *c)
{
    struct marks *m = c->context;
    m->waiting = 1; /* so that it cannot end while we submit */
    for (size_t i = 0; i < m->count; i++) {
        if (m->directs[i].problem != PROBLEM_NONE) {
            if (m->problem == PROBLEM_NONE) m->problem = m->directs[i].problem;
            continue;
        }
        mark_submit(c, i);
        direct_deinit(&m->directs[i]); /* now, while they are at hand */
    }
    bool alone = m->count == 1 && m->waiting == 2;
    if (alone) call_forget(c);
    else mark_done(c, PROBLEM_NONE);
}

static void marks_load(struct call *c)
{
    struct marks *m = c->context;
    for (; m->at < m->count; m->at++) direct_load(c, &m->directs[m->at], false);
}

static void marks_start(struct call *c, bool read)
{
    struct marks *m = arena_zalloc(&c->arena, sizeof(*m));
    enum problem p = m != NULL ? marks_decode(c, m) : PROBLEM_TOO_LARGE;
    if (p != PROBLEM_NONE) {
        call_finish(c, p);
        return;
    }
    m->read = read;
    c->context = m;
    while (m->at < m->count && direct_peek(c, &m->directs[m->at], false)) m->at++;
    if (m->at == m->count) {
        marks_go(c);
    } else if (!call_work(c, marks_load, marks_go)) {
        m->problem = PROBLEM_BUSY;
        marks_finish(c);
    }
}

void api_message_delivered(struct call *c)
{
    marks_start(c, false);
}

void api_message_read(struct call *c)
{
    marks_start(c, true);
}

/* ---- Typing -------------------------------------------------------------- */

struct typing {
    struct id conversation;
    bool started, has_started;
    struct direct direct;
};

static void typing_finish(struct call *c, enum problem p)
{
    struct typing *t = c->context;
    direct_deinit(&t->direct);
    call_finish(c, p);
}

static void typing_submitted(struct call *c, const struct submission *s)
{
    typing_finish(c, s->answer.problem);
}

static void typing_go(struct call *c)
{
    struct typing *t = c->context;
    if (t->direct.problem != PROBLEM_NONE || t->direct.blocked) {
        typing_finish(c, t->direct.problem);
        return;
    }
    struct record r = {.kind = RECORD_TYPING, .conversation = t->conversation};
    r.typing.user = c->user;
    r.typing.device = c->device;
    r.typing.started = !t->has_started || t->started;
    struct buffer *encoded = call_record(c);
    record_encode(&r, encoded);
    if (!call_submit(c, encoded, typing_submitted)) typing_finish(c, PROBLEM_BUSY);
}

static void typing_load(struct call *c)
{
    struct typing *t = c->context;
    direct_load(c, &t->direct, false);
}

void api_typing(struct call *c)
{
    static const struct json_field fields[] = {
        {"conversationId", JF_ID, true, offsetof(struct typing, conversation), 0, 0, SIZE_MAX},
        {"started", JF_BOOL, false, offsetof(struct typing, started), 0, 0, offsetof(struct typing, has_started)},
    };
    struct typing *t = arena_zalloc(&c->arena, sizeof(*t));
    enum problem p = t != NULL ? call_decode(c, fields, 2, t) : PROBLEM_TOO_LARGE;
    if (p != PROBLEM_NONE) {
        call_finish(c, p);
        return;
    }
    c->context = t;
    t->direct.conversation = t->conversation;
    if (direct_peek(c, &t->direct, false)) typing_go(c);
    else if (!call_work(c, typing_load, typing_go)) typing_finish(c, PROBLEM_BUSY);
}
