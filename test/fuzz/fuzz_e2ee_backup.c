/* Backups and recovery keys: arbitrary files under a right key, arbitrary
 * texts. Passphrase headers stop before Argon2id, which would take seconds. */
#include <stdlib.h>
#include <string.h>

#include "e2ee/backup.h"
#include "e2ee/unit/plain_env.h"

static void read_file(const uint8_t *file, size_t len, const uint8_t key[32])
{
    struct e2ee_backup backup;
    enum e2ee_backup_kind kind;
    size_t head = len < E2EE_BACKUP_HEADER_LEN ? len : E2EE_BACKUP_HEADER_LEN;
    if (e2ee_backup_kind(file, head, &kind) != E2EE_OK) return;
    if (e2ee_backup_open(file, head, key, &backup) != E2EE_OK) return;
    uint8_t *data = malloc(E2EE_BACKUP_SEALED_LEN);
    for (bool last = false; !last;) {
        size_t piece = len - head < E2EE_BACKUP_SEALED_LEN ? len - head : E2EE_BACKUP_SEALED_LEN;
        last = head + piece == len;
        if (e2ee_backup_open_chunk(&backup, file + head, piece, last, data) != E2EE_OK) break;
        head += piece;
    }
    (void)e2ee_backup_end(&backup);
    free(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t key[32] = {7};
    if (e2ee_init() != E2EE_OK || size < 1) return 0;
    if (data[0] % 4 == 0) {
        uint8_t got[32];
        char text[E2EE_RECOVERY_TEXT_LEN + 1];
        unsigned wrong;
        if (e2ee_recovery_key_parse((const char *)data + 1, size - 1, got, &wrong) == E2EE_OK) {
            uint8_t again[32];
            e2ee_recovery_key_format(got, text);
            if (e2ee_recovery_key_parse(text, strlen(text), again, &wrong) != E2EE_OK ||
                memcmp(again, got, 32) != 0) {
                abort();
            }
        } else if (wrong > E2EE_RECOVERY_GROUPS) {
            abort();
        }
    } else if (data[0] % 4 == 1) {
        read_file(data + 1, size - 1, key);
    } else { /* a good header, then arbitrary chunks */
        struct plain_env plain;
        struct e2ee_backup backup;
        plain_env_init(&plain, 1);
        uint8_t *file = malloc(E2EE_BACKUP_HEADER_LEN + size + 16);
        if (e2ee_backup_begin(&plain.env, key, &backup, file) != E2EE_OK) abort();
        memcpy(file + E2EE_BACKUP_HEADER_LEN, data + 1, size - 1);
        if (data[0] % 4 == 2 && size - 1 <= E2EE_BACKUP_CHUNK_LEN &&
            e2ee_backup_seal(&backup, data + 1, size - 1, true, file + E2EE_BACKUP_HEADER_LEN) !=
                E2EE_OK) {
            abort();
        }
        read_file(file, E2EE_BACKUP_HEADER_LEN + size - 1 + (data[0] % 4 == 2 ? 16 : 0), key);
        (void)e2ee_backup_end(&backup);
        free(file);
    }
    return 0;
}
