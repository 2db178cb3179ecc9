/* The WebAssembly side of the environment: memory, and one environment per
 * device. Exported to the host. */
#ifndef SOTTO_E2EE_WASM_PLATFORM_H
#define SOTTO_E2EE_WASM_PLATFORM_H

#include "e2ee/e2ee.h"

/* Memory for arguments and results; NULL for 0 bytes or when it runs out. */
void *sotto_alloc(size_t len);
/* Wipes and frees. */
void sotto_free(void *block, size_t len);

/* store      a number of the host's, given back in each store call
 * service_id 17 bytes
 * NULL when memory runs out. */
struct e2ee_env *sotto_env_create(uint32_t store, const uint8_t *service_id, uint32_t device_id);
void sotto_env_destroy(struct e2ee_env *env);

#endif
