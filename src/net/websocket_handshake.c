/* The opening handshake, RFC 6455 section 4, and the negotiation of
 * permessage-deflate, RFC 7692 section 5 and 7.1.
 *
 * Compression is agreed on without context takeover in both directions, which
 * the answer always says; a client has to follow it even when it did not offer
 * that. An offer that limits the server's window is declined, since the shared
 * compressor has one window size; the next offer is looked at, or the
 * connection goes without.
 */
#include "base/text.h"
#include "net/websocket_private.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <strings.h>

enum { WS_KEY_LEN = 24, WS_ACCEPT_LEN = 28 };

static void accept_value(struct slice key, struct buffer *out)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t in[WS_KEY_LEN + sizeof(guid) - 1], digest[20];
    size_t len;
    SOTTO_ASSERT(key.len == WS_KEY_LEN);
    memcpy(in, key.data, WS_KEY_LEN);
    memcpy(in + WS_KEY_LEN, guid, sizeof(guid) - 1);
    SOTTO_ASSERT(EVP_Q_digest(NULL, "SHA1", NULL, in, sizeof(in), digest, &len) == 1 && len == sizeof(digest));
    buffer_append_base64(out, slice_of(digest, sizeof(digest)));
}

/* --- Extensions --- */

/* Cuts the part before the separator off `rest`. A separator within a quoted
 * value splits it too: no extension that we know has such values, and a part
 * that makes no sense is declined. */
static struct slice next_part(struct slice *rest, char separator)
{
    const uint8_t *end = memchr(rest->data, separator, rest->len);
    size_t len = end != NULL ? (size_t)(end - rest->data) : rest->len;
    struct slice part = slice_trim(slice_of(rest->data, len));
    if (end != NULL) len++;
    *rest = slice_of(rest->data + len, rest->len - len);
    return part;
}

static bool is_word(struct slice s, const char *word)
{
    return s.len == strlen(word) && strncasecmp((const char *)s.data, word, s.len) == 0;
}

static bool window_bits_valid(struct slice value)
{
    if (value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"') {
        value.data++;
        value.len -= 2;
    }
    if (value.len == 1) return value.data[0] == '8' || value.data[0] == '9';
    return value.len == 2 && value.data[0] == '1' && value.data[1] >= '0' && value.data[1] <= '5';
}

/* One "permessage-deflate; a; b=c". As a server: can we accept the offer? As a
 * client: can we live with the answer? */
static bool deflate_acceptable(struct slice extension, bool server)
{
    enum { SERVER_TAKEOVER = 1, CLIENT_TAKEOVER = 2, SERVER_BITS = 4, CLIENT_BITS = 8 };
    unsigned seen = 0;
    if (!is_word(next_part(&extension, ';'), "permessage-deflate")) return false;
    while (extension.len != 0) {
        struct slice value = next_part(&extension, ';');
        bool has_value = value.len != 0 && memchr(value.data, '=', value.len) != NULL;
        struct slice name = value.len != 0 ? next_part(&value, '=') : value;
        unsigned bit;
        if (is_word(name, "server_no_context_takeover") && !has_value)
            bit = SERVER_TAKEOVER;
        else if (is_word(name, "client_no_context_takeover") && !has_value)
            bit = CLIENT_TAKEOVER;
        else if (is_word(name, "server_max_window_bits") && window_bits_valid(value))
            bit = SERVER_BITS;
        else if (is_word(name, "client_max_window_bits") && (has_value ? window_bits_valid(value) : server))
            bit = CLIENT_BITS;
        else
            return false;
        if (seen & bit) return false;
        seen |= bit;
    }
    if (server) return !(seen & SERVER_BITS);
    /* Our compressor and inflater forget after each message: the server must
     * do so as well, and must not ask for a smaller window of ours. */
    return (seen & SERVER_TAKEOVER) && !(seen & CLIENT_BITS);
}

/* Whether any extension of the message is an acceptable permessage-deflate. */
static bool find_deflate(const struct http_message *m, bool server, size_t *extensions_out)
{
    size_t count = 0;
    bool found = false;
    for (size_t i = 0; i < m->headers_count; i++) {
        if (!is_word(m->headers[i].name, "Sec-WebSocket-Extensions")) continue;
        struct slice rest = m->headers[i].value;
        while (rest.len != 0) {
            struct slice extension = next_part(&rest, ',');
            if (extension.len == 0) continue;
            count++;
            if (!found) found = deflate_acceptable(extension, server);
        }
    }
    *extensions_out = count;
    return found;
}

/* --- Server --- */

enum sotto_err ws_accept(const struct http_message *request, bool offer_deflate, struct buffer *out,
                         bool *deflate_out, unsigned *status_out)
{
    struct slice key = http_header_get(request, "Sec-WebSocket-Key");
    uint8_t nonce[32];
    size_t nonce_len;
    if (request->method != HTTP_M_GET || !http_header_has(request, "Upgrade", "websocket") ||
        !http_header_has(request, "Connection", "upgrade")) {
        *status_out = 426;
        return SOTTO_ERR_INVALID;
    }
    if (!slice_is(http_header_get(request, "Sec-WebSocket-Version"), "13")) {
        *status_out = 426;
        return SOTTO_ERR_INVALID;
    }
    if (key.len != WS_KEY_LEN || base64_decode(key, nonce, &nonce_len) != SOTTO_OK || nonce_len != 16) {
        *status_out = 400;
        return SOTTO_ERR_INVALID;
    }
    size_t extensions;
    bool deflate = offer_deflate && find_deflate(request, true, &extensions);
    http_write_status(out, 101);
    buffer_append_str(out, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
    accept_value(key, out);
    if (deflate)
        buffer_append_str(out, "\r\nSec-WebSocket-Extensions: permessage-deflate; "
                               "server_no_context_takeover; client_no_context_takeover");
    buffer_append_str(out, "\r\n\r\n");
    *deflate_out = deflate;
    return SOTTO_OK;
}

/* --- Client --- */

void ws_request(struct buffer *out, const char *host, const char *path, bool offer_deflate,
                const struct random_source *random, char key_out[25])
{
    uint8_t nonce[16];
    struct buffer key;
    random_fill(random, nonce, sizeof(nonce));
    buffer_init(&key, WS_KEY_LEN);
    buffer_append_base64(&key, slice_of(nonce, sizeof(nonce)));
    memcpy(key_out, key.data, WS_KEY_LEN);
    key_out[WS_KEY_LEN] = 0;
    buffer_deinit(&key);
    buffer_printf(out, "GET %s HTTP/1.1\r\n", path);
    http_write_header(out, "Host", slice_str(host));
    buffer_append_str(out, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
    http_write_header(out, "Sec-WebSocket-Key", slice_str(key_out));
    if (offer_deflate)
        buffer_append_str(out, "Sec-WebSocket-Extensions: permessage-deflate; "
                               "server_no_context_takeover; client_no_context_takeover\r\n");
    buffer_append_str(out, "\r\n");
}

enum sotto_err ws_connected(const struct http_message *response, const char key[25], bool *deflate_out)
{
    if (response->status != 101 || !http_header_has(response, "Upgrade", "websocket") ||
        !http_header_has(response, "Connection", "upgrade"))
        return SOTTO_ERR_DENIED;
    struct buffer expected;
    buffer_init(&expected, WS_ACCEPT_LEN);
    accept_value(slice_str(key), &expected);
    bool right = slice_eq(buffer_slice(&expected), http_header_get(response, "Sec-WebSocket-Accept"));
    buffer_deinit(&expected);
    size_t extensions;
    bool deflate = find_deflate(response, false, &extensions);
    /* An extension that was not offered, or one that we cannot follow. */
    if (!right || extensions != (deflate ? 1 : 0)) return SOTTO_ERR_INVALID;
    if (http_header_get(response, "Sec-WebSocket-Protocol").data != NULL) return SOTTO_ERR_INVALID;
    *deflate_out = deflate;
    return SOTTO_OK;
}
