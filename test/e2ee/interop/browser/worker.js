// The core in a worker, as the web app will hold it.
import { WasmPeer } from '/test/e2ee/interop/wasm_peer.mjs';

const ready = WebAssembly.compileStreaming(fetch('/sotto-e2ee.wasm')).then((module) => WasmPeer.create(module));

onmessage = async ({ data: request }) => {
  try {
    postMessage(await (await ready).call(request));
  } catch (error) {
    postMessage(error.code ? { error: error.code, message: error.message } : { broken: String(error.stack ?? error) });
  }
};
