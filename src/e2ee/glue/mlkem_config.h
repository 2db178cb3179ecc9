/* How we compile mlkem-native: one parameter set per file, everything static,
 * no randomness of its own, SHA-3 from libsodium, portable C. */
#ifndef SOTTO_E2EE_GLUE_MLKEM_CONFIG_H
#define SOTTO_E2EE_GLUE_MLKEM_CONFIG_H

#define MLK_CONFIG_NAMESPACE_PREFIX pxmlk
#define MLK_CONFIG_NO_RANDOMIZED_API
#define MLK_CONFIG_INTERNAL_API_QUALIFIER static
#define MLK_CONFIG_EXTERNAL_API_QUALIFIER static
#define MLK_CONFIG_SERIAL_FIPS202_ONLY
#define MLK_CONFIG_FIPS202_CUSTOM_HEADER "e2ee/glue/mlkem_fips202.h"
#define MLK_CONFIG_CUSTOM_ZEROIZE
#if !defined(__ASSEMBLER__)
#include <sodium/utils.h>
#include <stddef.h>
#include <stdint.h>
static inline void mlk_zeroize(void *memory, size_t len)
{
    sodium_memzero(memory, len);
}
#endif

#endif
