/* What a connection that is not let in still hears.
 *
 * One answer for each reason, written once: a refusal costs no memory and no
 * state, as those who are refused may come in any number. Nobody has asked
 * anything yet, so nothing of it depends on a request. Under TLS there is no
 * answer, since it would cost a handshake.
 */
#include "gateway/gateway_private.h"
#include "net/http.h"
#include "wire/json.h"
#include "wire/problem.h"

enum { REFUSAL_MAX = 1024 };

static const struct {
    enum problem problem;
    const char *message;
    unsigned retry_s;
} refusals[REFUSALS] = {
    [REFUSAL_ADDRESS] = {PROBLEM_RATE_LIMITED, "Too many connections from your address. Wait, then try again.", 60},
    [REFUSAL_FULL] = {PROBLEM_BUSY, "The server has as many connections as it takes. Try again in a moment.", 5},
    [REFUSAL_DRAINING] = {PROBLEM_DRAINING, NULL, 1},
};

static void refusal_write(struct buffer *out, enum problem p, const char *message, unsigned retry_s)
{
    struct buffer body, seconds;
    buffer_init(&body, REFUSAL_MAX);
    struct json_writer w = json_writer_of(&body);
    json_begin_object(&w);
    json_put_cstr(&w, "type", "error");
    json_put_cstr(&w, "code", problem_code(p));
    json_put_cstr(&w, "message", message != NULL ? message : problem_text(p));
    json_put_cstr(&w, "requestId", "refused"); /* there was no request */
    json_put_u64(&w, "retryAfterMs", retry_s * 1000);
    json_end_object(&w);
    buffer_init(&seconds, 16);
    buffer_append_u64(&seconds, retry_s);
    http_write_status(out, problem_status(p));
    http_write_header(out, "Content-Type", SLICE_LIT("application/json"));
    http_write_header(out, "Cache-Control", SLICE_LIT("no-store"));
    http_write_header(out, "X-Content-Type-Options", SLICE_LIT("nosniff"));
    http_write_header(out, "Retry-After", buffer_slice(&seconds));
    http_write_header(out, "Connection", SLICE_LIT("close"));
    http_write_body(out, buffer_slice(&body));
    SOTTO_ASSERT(!out->overflow);
    buffer_deinit(&seconds);
    buffer_deinit(&body);
}

void refusals_init(struct gateway *g)
{
    for (size_t i = 0; i < REFUSALS; i++) {
        buffer_init(&g->refusals[i], REFUSAL_MAX);
        refusal_write(&g->refusals[i], refusals[i].problem, refusals[i].message, refusals[i].retry_s);
    }
}

void refusals_deinit(struct gateway *g)
{
    for (size_t i = 0; i < REFUSALS; i++) buffer_deinit(&g->refusals[i]);
}
