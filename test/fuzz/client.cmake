if(NOT SOTTO_SERVER)
  return()
endif()
sotto_fuzzer(client LINK sotto_client)
