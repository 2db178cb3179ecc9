/* What goes to stdout. Text from others is never trusted with the terminal:
 * see cli/show.h. */
#include "base/text.h"
#include "cli/cli_private.h"
#include "cli/show.h"

#include <langinfo.h>
#include <time.h>
#include <unistd.h>

struct json_writer print_json_begin(struct cli *cli)
{
    buffer_clear(&cli->line);
    struct json_writer w = json_writer_of(&cli->line);
    json_begin_object(&w);
    return w;
}

/* DEL and the C1 controls may stand in JSON, but a terminal obeys them. */
void print_json_line(struct cli *cli)
{
    const uint8_t *text = cli->line.data;
    size_t len = cli->line.len, done = 0;
    for (size_t i = 0; i < len; i++) {
        bool c1 = text[i] == 0xc2 && i + 1 < len && text[i + 1] < 0xa0;
        if (text[i] != 0x7f && !c1) continue;
        (void)fwrite(text + done, 1, i - done, stdout);
        (void)fprintf(stdout, "\\u00%02x", c1 ? text[++i] : text[i]);
        done = i + 1;
    }
    (void)fwrite(text + done, 1, len - done, stdout);
    (void)fputc('\n', stdout);
    (void)fflush(stdout);
}

void print_json_end(struct cli *cli, struct json_writer *w)
{
    json_end_object(w);
    print_json_line(cli);
}

/* What the reader of `out` takes: a terminal may not know UTF-8, files and pipes
 * get what there is. */
static unsigned reader_flags(FILE *out)
{
    return isatty(fileno(out)) && strcmp(nl_langinfo(CODESET), "UTF-8") != 0 ? SHOW_ASCII : 0;
}

static size_t print_shown(FILE *out, struct slice text, unsigned flags)
{
    struct buffer b;
    buffer_init(&b, CLI_LINE_MAX);
    size_t columns = show_append(&b, text, flags | reader_flags(out));
    (void)fwrite(b.data, 1, b.len, out);
    buffer_deinit(&b);
    return columns;
}

void print_text(FILE *out, struct slice text)
{
    (void)print_shown(out, text, 0);
}

void print_lines(FILE *out, struct slice text)
{
    (void)print_shown(out, text, SHOW_LINES);
}

void print_cell(struct slice text, size_t width)
{
    for (size_t columns = print_shown(stdout, text, 0); columns < width; columns++) (void)fputc(' ', stdout);
}

void print_time(uint64_t ts_ms, char out[32])
{
    time_t seconds = (time_t)(ts_ms / 1000);
    struct tm tm;
    if (!localtime_r(&seconds, &tm) || strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm) == 0) out[0] = '\0';
}

static void message_json(struct cli *cli, const struct printed_message *m, const char *sender)
{
    struct json_writer w = print_json_begin(cli);
    json_put_cstr(&w, "type", m->event);
    json_put_id(&w, "conversationId", m->conversation);
    json_put_id(&w, "messageId", m->message_id);
    json_put_u64(&w, "sequence", m->sequence);
    json_put_id(&w, "senderId", m->sender);
    json_put_cstr(&w, "sender", sender);
    json_put_u64(&w, "ts", m->ts_ms);
    if (m->type.len) json_put_string(&w, "messageType", m->type);
    if (m->client_msg_id.len) json_put_string(&w, "clientMsgId", m->client_msg_id);
    if (m->withheld.len) {
        json_put_string(&w, "withheld", m->withheld);
    } else {
        json_put_base64(&w, "payload", m->payload);
        if (utf8_valid(m->payload)) json_put_string(&w, "text", m->payload);
    }
    if (m->expires_ms) json_put_u64(&w, "expiresAt", m->expires_ms);
    if (m->urgent) json_put_bool(&w, "urgent", true);
    print_json_end(cli, &w);
}

void print_message(struct cli *cli, const struct printed_message *m)
{
    char sender[SOTTO_USERNAME_MAX + 8], when[32];
    people_name(cli, m->sender, sender);
    if (cli->json) {
        message_json(cli, m, sender);
        return;
    }
    print_time(m->ts_ms, when);
    printf("%s  #%llu  ", when, (unsigned long long)m->sequence);
    print_text(stdout, slice_str(sender));
    printf("%s: ", m->urgent ? " (urgent)" : "");
    if (slice_is(m->withheld, "expired"))
        printf("[this message has expired]");
    else if (slice_is(m->withheld, "blocked"))
        printf("[from someone you have blocked]");
    else if (m->withheld.len)
        printf("[not for this device]");
    else
        print_lines(stdout, m->payload);
    printf("\n");
    (void)fflush(stdout);
}

void print_failed(struct cli *cli, struct slice client_msg_id, struct slice code, struct slice text)
{
    if (!cli->json) return;
    struct json_writer w = print_json_begin(cli);
    json_put_cstr(&w, "type", "message.failed");
    json_put_string(&w, "clientMsgId", client_msg_id);
    json_put_string(&w, "code", code);
    json_put_string(&w, "message", text);
    print_json_end(cli, &w);
}
