sotto_fuzzer(http LINK sotto_net)
sotto_fuzzer(websocket LINK sotto_net)
