/* Linking and padding: scanned texts, envelopes, and what is inside them. The
 * source is included to reach the parser behind the encryption. */
#include <stdlib.h>
#include <string.h>

#include "../../src/e2ee/provisioning.c"
#include "e2ee/unit/plain_env.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plain_env plain;
    struct e2ee_link link;
    struct e2ee_link_contents contents;
    struct e2ee_link_code code;
    plain_env_init(&plain, 1);
    if (e2ee_init() != E2EE_OK || size < 1) return 0;
    if (e2ee_link_begin(&plain.env, &link) != E2EE_OK) abort();
    const uint8_t *rest = data + 1;
    size_t len = size - 1;
    switch (data[0] % 4) {
    case 0:
        if (e2ee_link_parse((const char *)rest, len, &code) == E2EE_OK) {
            char url[E2EE_LINK_URL_LEN + 1];
            e2ee_link_url(&code, url);
            if (len != E2EE_LINK_URL_LEN || memcmp(url, rest, len) != 0) abort();
        }
        break;
    case 1:
        if (e2ee_link_open(&plain.env, &link, rest, len, &contents) == E2EE_OK) abort();
        break;
    case 2: {
        uint8_t written[CONTENTS_FIXED_LEN + E2EE_LINK_MORE_MAX];
        if (contents_read(rest, len, &contents) == E2EE_OK &&
            contents_write(&contents, written) != len) {
            abort();
        }
        break;
    }
    default: {
        size_t plain_len = 0;
        if (e2ee_unpad(rest, len, &plain_len) == E2EE_OK && e2ee_padded_len(plain_len) != len) {
            abort();
        }
    }
    }
    if (plain.live != 0) abort();
    return 0;
}
