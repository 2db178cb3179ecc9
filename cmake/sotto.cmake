# Flags shared by everything that we compile, and the two helpers that the
# folders use: one static library per layer, one executable per test file.

add_library(sotto_flags INTERFACE)
target_compile_options(sotto_flags INTERFACE
  -Wall -Wextra -Wshadow $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes> $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>
  -Wvla -Wpointer-arith -Wwrite-strings -Wundef -Wformat=2 -Wimplicit-fallthrough
  -fno-strict-aliasing -fno-common)
target_compile_definitions(sotto_flags INTERFACE _GNU_SOURCE)
if(SOTTO_WERROR)
  target_compile_options(sotto_flags INTERFACE -Werror)
endif()

if(SOTTO_SANITIZE STREQUAL "address")
  target_compile_options(sotto_flags INTERFACE
    -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(sotto_flags INTERFACE -fsanitize=address,undefined)
elseif(SOTTO_SANITIZE STREQUAL "thread")
  target_compile_options(sotto_flags INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_link_options(sotto_flags INTERFACE -fsanitize=thread)
elseif(SOTTO_SANITIZE STREQUAL "")
  target_compile_options(sotto_flags INTERFACE
    -fstack-protector-strong -fstack-clash-protection -fcf-protection)
  if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
    target_compile_options(sotto_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
  endif()
  target_link_options(sotto_flags INTERFACE -Wl,-z,relro,-z,now -Wl,-z,noexecstack)
else()
  message(FATAL_ERROR "SOTTO_SANITIZE is empty, address or thread, not ${SOTTO_SANITIZE}")
endif()
if(SOTTO_FUZZ)
  target_compile_options(sotto_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(NOT SOTTO_FUZZ)
  include(CheckPIESupported)
  check_pie_supported(LANGUAGES C CXX)
endif()

# Assertions stay on in every build type: a bug stops the process.
foreach(type RELEASE RELWITHDEBINFO MINSIZEREL)
  string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_${type} "${CMAKE_C_FLAGS_${type}}")
  string(REPLACE "-DNDEBUG" "" CMAKE_CXX_FLAGS_${type} "${CMAKE_CXX_FLAGS_${type}}")
endforeach()

# sotto_layer(NAME [LINK library...]): library sotto_NAME from the .c files of
# the calling folder, and the .cc files (of src/store only). Only the layers named after LINK can be included.
function(sotto_layer name)
  cmake_parse_arguments(arg "" "" "LINK;PRIVATE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  list(FILTER sources EXCLUDE REGEX "/main\\.c$")
  if(sources)
    add_library(sotto_${name} STATIC ${sources})
    target_link_libraries(sotto_${name} PUBLIC sotto_flags ${arg_LINK} PRIVATE ${arg_PRIVATE})
    target_include_directories(sotto_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  else()
    add_library(sotto_${name} INTERFACE)
    target_link_libraries(sotto_${name} INTERFACE sotto_flags ${arg_LINK})
    target_include_directories(sotto_${name} INTERFACE ${CMAKE_SOURCE_DIR}/src)
  endif()
endfunction()

# sotto_unit_tests(LAYER [LINK library...]): one cmocka executable and one
# ctest entry per test/unit/LAYER/test_*.c.
function(sotto_unit_tests layer)
  cmake_parse_arguments(arg "" "" "LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/test/unit/${layer}/test_*.c)
  foreach(source ${sources})
    get_filename_component(stem ${source} NAME_WE)
    set(target unit_${layer}_${stem})
    add_executable(${target} ${source})
    target_link_libraries(${target} PRIVATE sotto_${layer} ${arg_LINK} cmocka)
    target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/test)
    add_test(NAME ${target} COMMAND ${target} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${target} PROPERTIES TIMEOUT 300 LABELS unit)
  endforeach()
endfunction()

# sotto_fuzzer(NAME LINK library...): libFuzzer executable from
# test/fuzz/fuzz_NAME.c with its corpus in test/fuzz/corpus/NAME.
function(sotto_fuzzer name)
  cmake_parse_arguments(arg "" "" "LINK" ${ARGN})
  if(SOTTO_FUZZ)
    add_executable(fuzz_${name} ${CMAKE_SOURCE_DIR}/test/fuzz/fuzz_${name}.c)
    target_link_libraries(fuzz_${name} PRIVATE ${arg_LINK})
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  endif()
endfunction()
