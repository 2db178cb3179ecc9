/* What goes to stdout. Text from others is never trusted with the terminal:
 * control characters and broken UTF-8 are shown as \xNN. */
#include "base/text.h"
#include "cli/cli_private.h"

#include <time.h>

struct json_writer print_json_begin(struct cli *cli)
{
    buffer_clear(&cli->line);
    struct json_writer w = json_writer_of(&cli->line);
    json_begin_object(&w);
    return w;
}

void print_json_end(struct cli *cli, struct json_writer *w)
{
    json_end_object(w);
    buffer_append_byte(&cli->line, '\n');
    (void)fwrite(cli->line.data, 1, cli->line.len, stdout);
    (void)fflush(stdout);
}

/* Length of the character at `at`, 0 when it must be escaped. */
static size_t printable(struct slice text, size_t at)
{
    uint8_t c = text.data[at];
    if (c < 0x80) return (c >= 0x20 && c != 0x7f) || c == '\n' || c == '\t';
    size_t len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (at + len > text.len || !utf8_valid(slice_of(text.data + at, len))) return 0;
    bool c1 = c == 0xc2 && text.data[at + 1] < 0xa0; /* C1 controls */
    return c1 ? 0 : len;
}

void print_text(FILE *out, struct slice text)
{
    for (size_t i = 0; i < text.len;) {
        size_t len = printable(text, i);
        if (len) {
            (void)fwrite(text.data + i, 1, len, out);
            i += len;
        } else {
            (void)fprintf(out, "\\x%02x", text.data[i++]);
        }
    }
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
        print_text(stdout, m->payload);
    printf("\n");
    (void)fflush(stdout);
}
