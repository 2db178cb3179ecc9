/* Recovery keys and backups: typos found, files cut, reordered, damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "e2ee/backup.h"
#include "e2ee/unit/golden.h"
#include "e2ee/unit/plain_env.h"

enum { CHEAP_KIB = E2EE_BACKUP_MEMORY_MIN_KIB };
static const uint8_t phrase[] = "correct horse battery staple";
enum { PHRASE_LEN = sizeof(phrase) - 1 };

/* --- recovery keys --------------------------------------------------------------- */

static void recovery_key__round_trip__also_sloppily_typed(void **state)
{
    (void)state;
    struct plain_env plain;
    plain_env_init(&plain, 1);
    for (int i = 0; i < 200; i++) {
        uint8_t key[32], got[32];
        char text[E2EE_RECOVERY_TEXT_LEN + 1], sloppy[2 * sizeof(text)];
        unsigned wrong = 99;
        assert_int_equal(e2ee_recovery_key_create(&plain.env, key), E2EE_OK);
        e2ee_recovery_key_format(key, text);
        assert_int_equal(strlen(text), E2EE_RECOVERY_TEXT_LEN);
        assert_int_equal(e2ee_recovery_key_parse(text, strlen(text), got, &wrong), E2EE_OK);
        assert_memory_equal(got, key, 32);
        size_t len = 0;
        for (const char *c = text; *c != '\0'; c++) {
            if (*c == '-') continue;
            sloppy[len++] = *c;
            if (len % 5 != 4) continue;
            sloppy[len] = " \n\t.,-\r"[len % 7];
            len++;
        }
        assert_int_equal(e2ee_recovery_key_parse(sloppy, len, got, &wrong), E2EE_OK);
        assert_memory_equal(got, key, 32);
        assert_int_equal(wrong, 99);
    }
}

static void recovery_key__typo__names_the_group(void **state)
{
    (void)state;
    uint8_t key[32], got[32];
    char text[E2EE_RECOVERY_TEXT_LEN + 1];
    unsigned wrong;
    for (size_t i = 0; i < 32; i++) key[i] = (uint8_t)(i * 37 + 11);
    e2ee_recovery_key_format(key, text);
    for (size_t at = 0; at < E2EE_RECOVERY_TEXT_LEN; at++) {
        if (text[at] == '-') continue;
        unsigned group = (unsigned)(at / 7) + 1;
        char kept = text[at];
        for (char c = '0'; c <= '9'; c++) {
            if (c == kept) continue;
            text[at] = c;
            assert_int_equal(e2ee_recovery_key_parse(text, strlen(text), got, &wrong),
                             E2EE_ERR_MALFORMED);
            assert_int_equal(wrong, group);
        }
        text[at] = 'x';
        assert_int_equal(e2ee_recovery_key_parse(text, strlen(text), got, &wrong),
                         E2EE_ERR_MALFORMED);
        assert_int_equal(wrong, group);
        text[at] = kept;
        if (at % 7 < 5 && text[at + 1] != kept) { /* neighbours swapped */
            text[at] = text[at + 1];
            text[at + 1] = kept;
            assert_int_equal(e2ee_recovery_key_parse(text, strlen(text), got, &wrong),
                             E2EE_ERR_MALFORMED);
            assert_int_equal(wrong, group);
            text[at + 1] = text[at];
            text[at] = kept;
        }
    }
    /* Two groups swapped; a group missing; one too many. */
    char swapped[sizeof(text)];
    memcpy(swapped, text, sizeof(text));
    memcpy(swapped, text + 7, 6);
    memcpy(swapped + 7, text, 6);
    assert_int_equal(e2ee_recovery_key_parse(swapped, strlen(swapped), got, &wrong),
                     E2EE_ERR_MALFORMED);
    assert_int_equal(wrong, 0);
    assert_int_equal(e2ee_recovery_key_parse(text, strlen(text) - 7, got, &wrong),
                     E2EE_ERR_MALFORMED);
    assert_int_equal(wrong, 0);
    assert_int_equal(e2ee_recovery_key_parse("", 0, got, &wrong), E2EE_ERR_MALFORMED);
    char longer[sizeof(text) + 2];
    (void)snprintf(longer, sizeof(longer), "%s0", text);
    assert_int_equal(e2ee_recovery_key_parse(longer, strlen(longer), got, &wrong),
                     E2EE_ERR_MALFORMED);
}

/* --- files ------------------------------------------------------------------------ */

struct file {
    uint8_t *bytes;
    size_t len;
    uint8_t key[32];
};

static void write_file(struct plain_env *plain, size_t size, bool with_phrase, struct file *file)
{
    struct e2ee_backup backup;
    file->bytes = calloc(1, E2EE_BACKUP_HEADER_LEN + size + 16 * (size / 65536 + 1));
    memset(file->key, 0x31, 32);
    enum e2ee_err err =
        with_phrase ? e2ee_backup_begin_passphrase(&plain->env, phrase, PHRASE_LEN, CHEAP_KIB, 1,
                                                   &backup, file->bytes)
                    : e2ee_backup_begin(&plain->env, file->key, &backup, file->bytes);
    assert_int_equal(err, E2EE_OK);
    uint8_t *data = malloc(E2EE_BACKUP_CHUNK_LEN), *at = file->bytes + E2EE_BACKUP_HEADER_LEN;
    for (size_t done = 0;;) {
        size_t len = size - done < 65536 ? size - done : 65536;
        bool last = done + len == size;
        memset(data, (int)(done >> 16) + 1, 65536);
        assert_int_equal(e2ee_backup_seal(&backup, data, len, last, at), E2EE_OK);
        at += len + 16;
        done += len;
        if (last) break;
    }
    file->len = (size_t)(at - file->bytes);
    assert_int_equal(e2ee_backup_seal(&backup, data, 0, true, data), E2EE_ERR_ARGUMENT);
    assert_true(e2ee_backup_end(&backup));
    free(data);
}

/* Reads a whole file; the plaintext length in *size_out. */
static enum e2ee_err read_file(const struct file *file, size_t len, bool with_phrase,
                               size_t *size_out)
{
    struct e2ee_backup backup;
    size_t head = len < E2EE_BACKUP_HEADER_LEN ? len : E2EE_BACKUP_HEADER_LEN;
    enum e2ee_err err =
        with_phrase ? e2ee_backup_open_passphrase(file->bytes, head, phrase, PHRASE_LEN, &backup)
                    : e2ee_backup_open(file->bytes, head, file->key, &backup);
    uint8_t *data = malloc(E2EE_BACKUP_SEALED_LEN);
    size_t at = head, size = 0;
    bool last = false;
    while (err == E2EE_OK && !last) {
        size_t piece = len - at < E2EE_BACKUP_SEALED_LEN ? len - at : E2EE_BACKUP_SEALED_LEN;
        last = at + piece == len;
        err = e2ee_backup_open_chunk(&backup, file->bytes + at, piece, last, data);
        at += piece;
        size += piece - 16;
    }
    if (err == E2EE_OK && !e2ee_backup_end(&backup)) err = E2EE_ERR_MALFORMED;
    if (err == E2EE_OK) *size_out = size;
    free(data);
    return err;
}

static void backup__round_trip__sizes_around_chunks(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 131072, 200000};
    struct plain_env plain;
    plain_env_init(&plain, 2);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (int with_phrase = 0; with_phrase < 2; with_phrase++) {
            struct file file;
            size_t size = 1;
            enum e2ee_backup_kind kind;
            write_file(&plain, sizes[i], with_phrase, &file);
            assert_int_equal(e2ee_backup_kind(file.bytes, E2EE_BACKUP_HEADER_LEN, &kind), E2EE_OK);
            assert_int_equal(kind, with_phrase ? E2EE_BACKUP_PASSPHRASE : E2EE_BACKUP_RECOVERY_KEY);
            assert_int_equal(read_file(&file, file.len, with_phrase, &size), E2EE_OK);
            assert_int_equal(size, sizes[i]);
            assert_int_equal(read_file(&file, file.len, !with_phrase, &size), E2EE_ERR_ARGUMENT);
            free(file.bytes);
        }
    }
}

static void backup__damage__is_an_error_everywhere(void **state)
{
    (void)state;
    struct plain_env plain;
    plain_env_init(&plain, 3);
    struct file file;
    size_t size = 0;
    write_file(&plain, 150000, false, &file);
    for (size_t at = 0; at < file.len; at += at < 200 ? 1 : 509) {
        file.bytes[at] ^= 4;
        assert_int_not_equal(read_file(&file, file.len, false, &size), E2EE_OK);
        file.bytes[at] ^= 4;
        assert_int_not_equal(read_file(&file, at, false, &size), E2EE_OK);
    }
    /* Cut exactly between chunks; two chunks swapped. */
    assert_int_equal(
        read_file(&file, E2EE_BACKUP_HEADER_LEN + E2EE_BACKUP_SEALED_LEN, false, &size),
        E2EE_ERR_DECRYPT);
    uint8_t *first = file.bytes + E2EE_BACKUP_HEADER_LEN, *held = malloc(E2EE_BACKUP_SEALED_LEN);
    memcpy(held, first, E2EE_BACKUP_SEALED_LEN);
    memcpy(first, first + E2EE_BACKUP_SEALED_LEN, E2EE_BACKUP_SEALED_LEN);
    memcpy(first + E2EE_BACKUP_SEALED_LEN, held, E2EE_BACKUP_SEALED_LEN);
    assert_int_equal(read_file(&file, file.len, false, &size), E2EE_ERR_DECRYPT);
    free(held);
    file.key[3] ^= 1;
    assert_int_equal(read_file(&file, file.len, false, &size), E2EE_ERR_KEY);
    assert_int_equal(size, 0);
    free(file.bytes);
}

static void backup__passphrase__wrong_or_costly_is_refused(void **state)
{
    (void)state;
    struct plain_env plain;
    plain_env_init(&plain, 4);
    struct file file;
    struct e2ee_backup backup;
    uint8_t header[E2EE_BACKUP_HEADER_LEN];
    write_file(&plain, 10, true, &file);
    assert_int_equal(e2ee_backup_open_passphrase(file.bytes, E2EE_BACKUP_HEADER_LEN, phrase,
                                                 PHRASE_LEN - 1, &backup),
                     E2EE_ERR_KEY);
    assert_int_equal(e2ee_backup_open_passphrase(file.bytes, E2EE_BACKUP_HEADER_LEN, phrase, 0,
                                                 &backup),
                     E2EE_ERR_ARGUMENT);
    file.bytes[12] = 0x40; /* memory: a terabyte */
    assert_int_equal(e2ee_backup_open_passphrase(file.bytes, E2EE_BACKUP_HEADER_LEN, phrase,
                                                 PHRASE_LEN, &backup),
                     E2EE_ERR_MALFORMED);
    static const uint32_t bad[][2] = {{1, 1}, {E2EE_BACKUP_MEMORY_MAX_KIB + 1, 1}, {CHEAP_KIB, 17}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(e2ee_backup_begin_passphrase(&plain.env, phrase, PHRASE_LEN, bad[i][0],
                                                      bad[i][1], &backup, header),
                         E2EE_ERR_ARGUMENT);
    }
    plain.random_left = 0;
    assert_int_equal(e2ee_backup_begin(&plain.env, file.key, &backup, header), E2EE_ERR_RANDOM);
    free(file.bytes);
}

static void backup__order__of_calls_is_kept(void **state)
{
    (void)state;
    struct plain_env plain;
    plain_env_init(&plain, 5);
    struct e2ee_backup backup;
    uint8_t header[E2EE_BACKUP_HEADER_LEN], key[32] = {1}, data[64] = {0};
    assert_int_equal(e2ee_backup_begin(&plain.env, key, &backup, header), E2EE_OK);
    assert_int_equal(e2ee_backup_seal(&backup, data, 10, false, data), E2EE_ERR_ARGUMENT);
    assert_int_equal(e2ee_backup_open_chunk(&backup, data, 15, true, data), E2EE_ERR_MALFORMED);
    assert_false(e2ee_backup_end(&backup));
    for (size_t i = 0; i < sizeof(backup); i++) assert_int_equal(((uint8_t *)&backup)[i], 0);
}

static void backup__golden__files_of_version_1(void **state)
{
    (void)state;
    struct plain_env plain;
    plain_env_init(&plain, 6);
    struct file file;
    char text[E2EE_RECOVERY_TEXT_LEN + 1];
    write_file(&plain, 300, false, &file);
    assert_true(golden_matches("backup-recovery-key-v1.bin", file.bytes, file.len));
    e2ee_recovery_key_format(file.key, text);
    assert_true(golden_matches("recovery-key-v1.txt", (const uint8_t *)text, strlen(text)));
    free(file.bytes);
    write_file(&plain, 300, true, &file);
    assert_true(golden_matches("backup-passphrase-v1.bin", file.bytes, file.len));
    free(file.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recovery_key__round_trip__also_sloppily_typed),
        cmocka_unit_test(recovery_key__typo__names_the_group),
        cmocka_unit_test(backup__round_trip__sizes_around_chunks),
        cmocka_unit_test(backup__damage__is_an_error_everywhere),
        cmocka_unit_test(backup__passphrase__wrong_or_costly_is_refused),
        cmocka_unit_test(backup__order__of_calls_is_kept),
        cmocka_unit_test(backup__golden__files_of_version_1),
    };
    if (e2ee_init() != E2EE_OK) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
