// Loads the encryption core (built by tools/build-wasm) in a browser, a worker
// or Node, and passes memory to and from it. device.js puts names to it.
//
// Needs 'wasm-unsafe-eval' in the content security policy and nothing else.

/* An error value of the core (enum e2ee_err); `code` is its name. */
export class CoreError extends Error {
  constructor(code, where) {
    super(`${where}: ${code}`);
    this.code = code;
  }
}

/* module: a WebAssembly.Module. now: clock in Unix milliseconds. */
export async function loadCore(module, { now = Date.now } = {}) {
  return new Core(module, now).start();
}

class Core {
  constructor(module, now) {
    this.module = module;
    this.stores = new Map(); // number -> {load, save, remove}
    this.nextStore = 1;
    this.imports = {
      random: (at, len) => {
        for (let done = 0; done < len; done += 65536) {
          crypto.getRandomValues(this.view(at + done, Math.min(65536, len - done)));
        }
      },
      now_ms: () => now(),
      store_load: (store, kind, key, keyLen, out) => this.guard(() => {
        const record = this.stores.get(store).load(kind, this.copy(key, keyLen));
        if (record === undefined) return NOT_FOUND;
        const at = this.put(record);
        new DataView(this.memory.buffer).setUint32(out, at, true);
        new DataView(this.memory.buffer).setUint32(out + 4, record.length, true);
        return 0;
      }),
      store_save: (store, kind, key, keyLen, data, dataLen) => this.guard(() => {
        this.stores.get(store).save(kind, this.copy(key, keyLen), this.copy(data, dataLen));
        return 0;
      }),
      store_remove: (store, kind, key, keyLen) => this.guard(() => {
        this.stores.get(store).remove(kind, this.copy(key, keyLen));
        return 0;
      }),
      panic: (at, len) => {
        throw new Error(`bug in the core: ${new TextDecoder().decode(this.copy(at, len))}`);
      },
    };
  }

  async start() {
    const instance = await WebAssembly.instantiate(this.module, { sotto: this.imports });
    this.exports = instance.exports;
    this.memory = instance.exports.memory;
    this.exports._initialize();
    this.check(this.exports.e2ee_init(), 'e2ee_init');
    this.scratch = this.exports.sotto_alloc(SCRATCH_LEN);
    this.view(this.scratch, SCRATCH_LEN).fill(0);
    return this;
  }

  /* An exception of the store must not unwind through the module's frames. */
  guard(action) {
    try {
      return action();
    } catch (error) {
      this.storeError = error;
      return STORE;
    }
  }

  view(at, len) {
    return new Uint8Array(this.memory.buffer, at, len);
  }

  copy(at, len) {
    return this.view(at, len).slice();
  }

  /* Copies bytes in; the address is the caller's to free. 0 for no bytes. */
  put(bytes) {
    if (bytes.length === 0) return 0;
    const at = this.exports.sotto_alloc(bytes.length);
    if (at === 0) throw new CoreError('memory', 'alloc');
    this.view(at, bytes.length).set(bytes);
    return at;
  }

  check(err, where) {
    if (err === 0) return;
    if (err === STORE && this.storeError) {
      const cause = this.storeError;
      this.storeError = undefined;
      throw cause;
    }
    const at = this.exports.e2ee_err_name(err);
    let end = at;
    while (this.view(end, 1)[0] !== 0) end++;
    throw new CoreError(new TextDecoder().decode(this.copy(at, end - at)), where);
  }

  /* Calls a function whose result is an error value. Arguments: a number as it
   * is (0 for NULL), bytes as address (and length, if wrapped in slice()), out(n)
   * for room of n bytes, BYTES for a result of any length. Returns what the out
   * arguments hold, in order. All copies are wiped afterwards. */
  call(name, ...args) {
    const large = []; // what did not fit into the scratch memory
    const outs = [];
    const flat = [];
    let used = 0;
    const room = (len) => {
      const at = this.scratch + used;
      if (used + len <= SCRATCH_LEN) {
        used = (used + len + 7) & ~7;
        return at;
      }
      const more = this.exports.sotto_alloc(len);
      if (more === 0) throw new CoreError('memory', name);
      this.view(more, len).fill(0);
      large.push([more, len]);
      return more;
    };
    try {
      for (const arg of args) {
        if (typeof arg === 'number') flat.push(arg);
        else if (arg instanceof Out) outs.push([arg, flat[flat.push(room(arg.len)) - 1]]);
        else {
          const bytes = arg instanceof Slice ? arg.bytes : arg;
          const at = room(bytes.length || 1);
          this.view(at, bytes.length).set(bytes);
          flat.push(at);
          if (arg instanceof Slice) flat.push(bytes.length);
        }
      }
      this.check(this.exports[name](...flat), name);
      return outs.map(([out, at]) => this.take(out, at));
    } finally {
      this.view(this.scratch, used).fill(0);
      for (const [at, len] of large) this.exports.sotto_free(at, len);
    }
  }

  take(out, at) {
    if (out !== BYTES) return this.copy(at, out.len);
    const words = new DataView(this.memory.buffer, at, 8);
    const [data, len] = [words.getUint32(0, true), words.getUint32(4, true)];
    const bytes = this.copy(data, len);
    this.exports.sotto_free(data, len);
    return bytes;
  }
}

const SCRATCH_LEN = 16384;
const STORE = 3; // E2EE_ERR_STORE
const NOT_FOUND = 4; // E2EE_ERR_NOT_FOUND

class Out {
  constructor(len) {
    this.len = len;
  }
}
class Slice {
  constructor(bytes) {
    this.bytes = bytes;
  }
}
export const out = (len) => new Out(len);
export const slice = (bytes) => new Slice(bytes);
export const BYTES = new Out(8);
