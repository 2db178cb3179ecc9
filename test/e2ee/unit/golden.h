/* Golden files: bytes that a version of a format must keep giving. With
 * SOTTO_GOLDEN_WRITE=1 in the environment a missing file is written. */
#ifndef SOTTO_TEST_E2EE_GOLDEN_H
#define SOTTO_TEST_E2EE_GOLDEN_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Tests run in the source root. Frees: the caller. NULL if there is none. */
static inline uint8_t *golden_read(const char *name, size_t *len_out)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "test/e2ee/golden/%s", name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) return NULL;
    uint8_t *data = malloc(1 << 20);
    *len_out = data == NULL ? 0 : fread(data, 1, 1 << 20, file);
    (void)fclose(file);
    return data;
}

/* True if the file holds exactly these bytes. */
static inline bool golden_matches(const char *name, const uint8_t *data, size_t len)
{
    size_t golden_len = 0;
    uint8_t *golden = golden_read(name, &golden_len);
    if (golden == NULL && getenv("SOTTO_GOLDEN_WRITE") != NULL) {
        char path[256];
        (void)snprintf(path, sizeof(path), "test/e2ee/golden/%s", name);
        FILE *file = fopen(path, "wb");
        if (file == NULL) return false;
        bool written = fwrite(data, 1, len, file) == len;
        return fclose(file) == 0 && written;
    }
    bool same = golden != NULL && golden_len == len && memcmp(golden, data, len) == 0;
    free(golden);
    return same;
}

#endif
