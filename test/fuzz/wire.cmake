sotto_fuzzer(json LINK sotto_wire)
sotto_fuzzer(record LINK sotto_core)
