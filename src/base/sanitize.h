/* Memory of our own that nobody may touch just now, said to the address sanitizer. */
#ifndef SOTTO_BASE_SANITIZE_H
#define SOTTO_BASE_SANITIZE_H

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SOTTO_SANITIZED
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SOTTO_SANITIZED
#endif

#ifdef SOTTO_SANITIZED
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, len) ((void)(at), (void)(len))
#define ASAN_UNPOISON_MEMORY_REGION(at, len) ((void)(at), (void)(len))
#define __lsan_register_root_region(at, len) ((void)(at), (void)(len))
#define __lsan_unregister_root_region(at, len) ((void)(at), (void)(len))
#endif

#endif
