/* The plain characters of a JSON string: all that stand in it as they are,
 * which a quote, a backslash and the control characters do not. Bytes above
 * 0x7f count as plain; whether they are UTF-8 is for others to say. */
#ifndef SOTTO_WIRE_JSON_PLAIN_H
#define SOTTO_WIRE_JSON_PLAIN_H

#include "base/bytes.h"

/* How many of the first `len` bytes are plain, until one that is not. */
static inline size_t json_plain_len(const uint8_t *at, size_t len)
{
    size_t i = 0;
    for (; len - i >= sizeof(bytes16); i += sizeof(bytes16)) {
        bytes16 v = bytes16_load(at + i);
        size_t first = bytes16_first((bytes16)((v < 0x20) | (v == '"') | (v == '\\')));
        if (first != sizeof(bytes16)) return i + first;
    }
    while (i < len && at[i] >= 0x20 && at[i] != '"' && at[i] != '\\') i++;
    return i;
}

#endif
