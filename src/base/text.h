/* Text codecs: base64, hex, UTF-8. */
#ifndef SOTTO_BASE_TEXT_H
#define SOTTO_BASE_TEXT_H

#include "base/buffer.h"
#include "base/error.h"

/* Standard alphabet with padding (RFC 4648 section 4). */
void buffer_append_base64(struct buffer *b, struct slice bytes);
/* URL alphabet without padding (section 5). */
void buffer_append_base64url(struct buffer *b, struct slice bytes);
static inline size_t base64_decoded_max(size_t text_len) { return text_len / 4 * 3 + 3; }
/* Accepts either alphabet, padding optional, non-zero trailing bits refused.
 * out holds base64_decoded_max(text.len). */
SOTTO_CHECKED enum sotto_err base64_decode(struct slice text, uint8_t *out, size_t *len_out);
void buffer_append_hex(struct buffer *b, struct slice bytes);
SOTTO_CHECKED enum sotto_err hex_decode(struct slice text, uint8_t *out, size_t out_len);
/* RFC 3629: no surrogates, no overlong forms, nothing above U+10FFFF. */
bool utf8_valid(struct slice text);
/* Streaming form for fragmented frames. State starts 0; the result is the next
 * state, or UTF8_REJECT; a complete text ends in state 0. */
enum { UTF8_ACCEPT = 0, UTF8_REJECT = 1 };
uint32_t utf8_step(uint32_t state, struct slice chunk);

#endif
