# Libraries from Debian. tools/install-dependencies installs them.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl>=3.0)
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium>=1.0.18)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3>=3.40)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
find_library(ROCKSDB_LIBRARY rocksdb REQUIRED)
find_path(ROCKSDB_INCLUDE rocksdb/c.h REQUIRED)
add_library(sotto_rocksdb INTERFACE)
target_link_libraries(sotto_rocksdb INTERFACE ${ROCKSDB_LIBRARY})
target_include_directories(sotto_rocksdb SYSTEM INTERFACE ${ROCKSDB_INCLUDE})

find_path(JSMN_INCLUDE jsmn.h REQUIRED)

# llhttp: Debian ships its generated C sources without a shared library.
find_path(LLHTTP_INCLUDE llhttp.h PATHS /usr/share/include/llhttp REQUIRED NO_DEFAULT_PATH)
find_path(LLHTTP_SOURCE llhttp.c PATHS /usr/share/llhttp REQUIRED NO_DEFAULT_PATH)
add_library(sotto_llhttp STATIC
  ${LLHTTP_SOURCE}/llhttp.c ${LLHTTP_SOURCE}/api.c ${LLHTTP_SOURCE}/http.c)
target_include_directories(sotto_llhttp SYSTEM PUBLIC ${LLHTTP_INCLUDE})
target_compile_options(sotto_llhttp PRIVATE -w -O2)
# Else the bytes that end a chunk and its size may be anything (RFC 9112, section 7.1).
target_compile_definitions(sotto_llhttp PUBLIC LLHTTP_STRICT_MODE=1)
