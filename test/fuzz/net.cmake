if(NOT SOTTO_SERVER)
  return()
endif()
sotto_fuzzer(http LINK sotto_net)
sotto_fuzzer(websocket LINK sotto_net)
# The parser's state machine guides the HTTP fuzzer too.
target_compile_options(sotto_llhttp PRIVATE -fsanitize=fuzzer-no-link)
