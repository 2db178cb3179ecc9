/* SHA-256 of long inputs with the processor's own instructions, where it has
 * them: media are hashed at four times the speed. Internal to this library.
 *
 * The result is that of sha256() in crypto.h, byte for byte. Without such a
 * processor, and in WebAssembly, it is that function.
 */
#ifndef SOTTO_E2EE_HASH_FAST_H
#define SOTTO_E2EE_HASH_FAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Asks the processor, which can be slow in a virtual machine: ask once per
 * object and keep the answer. */
bool hash_fast_available(void);

/* fast: what hash_fast_available answered. */
void hash_fast_sha256(bool fast, const uint8_t *data, size_t len, uint8_t out[32]);

#endif
