// Media, backups, linking of devices and recovery keys: the parts of the core
// beside the Signal protocol. Formats: src/e2ee/{media,backup,provisioning,
// recovery_key}.h. `env` is device.env of device.js, for randomness.
import { BYTES, CoreError, out, slice } from './loader.js';
import { serviceId } from './device.js';

export const CHUNK_LEN = 65536;
const SEALED_LEN = CHUNK_LEN + 16;

const words = (bytes) => new Uint32Array(bytes.buffer);
const doubles = (bytes) => new Float64Array(bytes.buffer);

export function mediaLayout(core, size) {
  const [padded, chunks, hashesAt, objectSize] = doubles(core.call('sotto_media_layout', size, out(32))[0]);
  return { size, padded, chunks, hashesAt, objectSize };
}
export function mediaRange(core, size, offset, len) {
  const [firstChunk, chunkCount, objectOffset, objectLen, skip] = doubles(
    core.call('sotto_media_range', size, offset, len, out(40))[0]);
  return { firstChunk, chunkCount, objectOffset, objectLen, skip };
}

/* Room for one chunk in, one chunk out, kept for the whole object. */
class Chunks {
  constructor(core) {
    this.core = core;
    this.in = core.exports.sotto_alloc(SEALED_LEN);
    this.out = core.exports.sotto_alloc(SEALED_LEN);
    this.len = core.exports.sotto_alloc(4);
    if (!this.in || !this.out || !this.len) throw new CoreError('memory', 'media');
  }
  give(bytes) {
    if (bytes.length > SEALED_LEN) throw new CoreError('argument', 'media');
    this.core.view(this.in, bytes.length).set(bytes);
  }
  free() {
    this.core.exports.sotto_free(this.in, SEALED_LEN);
    this.core.exports.sotto_free(this.out, SEALED_LEN);
    this.core.exports.sotto_free(this.len, 4);
  }
}

export class MediaWriter {
  constructor(core, env, size) {
    this.core = core;
    this.layout = mediaLayout(core, size);
    [this.at] = words(core.call('sotto_media_writer_create', env, size, out(4))[0]);
    this.room = new Chunks(core);
    this.next = 0;
  }
  /* Bytes of the medium that the next chunk takes. */
  want() {
    return Math.max(0, Math.min(CHUNK_LEN, this.layout.size - this.next * CHUNK_LEN));
  }
  chunk(data) {
    this.room.give(data);
    const err = this.core.exports.e2ee_media_writer_chunk(this.at, this.room.in, data.length, this.room.out);
    this.core.check(err, 'media chunk');
    const padded = Math.min(CHUNK_LEN, this.layout.padded - this.next++ * CHUNK_LEN);
    return this.core.copy(this.room.out, padded + 16);
  }
  finish() {
    const [hashesAt, len, descriptor] = this.core.call(
      'e2ee_media_writer_finish', this.at, out(4), out(4), out(73));
    return { hashes: this.core.copy(words(hashesAt)[0], words(len)[0]), descriptor };
  }
  close() {
    this.core.exports.sotto_media_writer_destroy(this.at);
    this.room.free();
  }
}

export class MediaReader {
  constructor(core, env, descriptor) {
    this.core = core;
    [this.at] = words(core.call('e2ee_media_reader_create', env, slice(descriptor), out(4))[0]);
    this.layout = mediaLayout(core, core.exports.sotto_media_reader_size(this.at));
    this.room = new Chunks(core);
  }
  hashes(bytes) {
    this.core.call('e2ee_media_reader_hashes', this.at, slice(bytes));
  }
  chunk(index, sealed) {
    this.room.give(sealed);
    const { in: from, out: to, len } = this.room;
    const err = this.core.exports.e2ee_media_reader_chunk(this.at, index, from, sealed.length, to, len);
    this.core.check(err, 'media chunk');
    return this.core.copy(to, words(this.core.copy(len, 4))[0]);
  }
  close() {
    this.core.exports.sotto_media_reader_destroy(this.at);
    this.room.free();
  }
}

/* A backup in either direction. key: recovery key (32 bytes) or passphrase
 * (text). */
export class Backup {
  static write(core, env, key, { memoryKib = 0, passes = 0 } = {}) {
    const state = out(core.exports.sotto_backup_size());
    const [kept, header] = typeof key === 'string'
      ? core.call('e2ee_backup_begin_passphrase', env, passphrase(key), memoryKib, passes, state, out(80))
      : core.call('e2ee_backup_begin', env, key, state, out(80));
    return Object.assign(new Backup(core, kept), { header });
  }
  static read(core, header, key) {
    const state = out(core.exports.sotto_backup_size());
    const [kept] = typeof key === 'string'
      ? core.call('e2ee_backup_open_passphrase', slice(header), passphrase(key), state)
      : core.call('e2ee_backup_open', slice(header), key, state);
    return new Backup(core, kept);
  }
  constructor(core, state) {
    this.core = core;
    this.at = core.put(state);
    state.fill(0);
  }
  seal(data, last) {
    return this.core.call('e2ee_backup_seal', this.at, slice(data), last ? 1 : 0, out(data.length + 16))[0];
  }
  open(sealed, last) {
    const [data] = this.core.call(
      'e2ee_backup_open_chunk', this.at, slice(sealed), last ? 1 : 0, out(Math.max(sealed.length, 17) - 16));
    return data.subarray(0, sealed.length - 16);
  }
  /* True if the last chunk was seen. */
  close() {
    const complete = this.core.exports.e2ee_backup_end(this.at);
    this.core.exports.sotto_free(this.at, this.core.exports.sotto_backup_size());
    return complete === 1;
  }
}
export function backupKind(core, header) {
  const [kind] = words(core.call('e2ee_backup_kind', slice(header), out(4))[0]);
  return kind === 1 ? 'recovery key' : 'passphrase';
}
const passphrase = (text) => slice(new TextEncoder().encode(text.normalize('NFKC')));

export function createRecoveryKey(core, env) {
  return core.call('e2ee_recovery_key_create', env, out(32))[0];
}
export function formatRecoveryKey(core, key) {
  const at = core.put(key);
  const text = core.put(new Uint8Array(119));
  core.exports.e2ee_recovery_key_format(at, text);
  const groups = new TextDecoder().decode(core.copy(text, 118));
  core.exports.sotto_free(at, 32);
  core.exports.sotto_free(text, 119);
  return groups;
}
/* {key}, or {wrongGroup}: 1..17, or 0 if the groups are right one by one. */
export function parseRecoveryKey(core, text) {
  const bytes = new TextEncoder().encode(text);
  const at = core.put(bytes);
  const result = core.put(new Uint8Array(36));
  const err = core.exports.e2ee_recovery_key_parse(at, bytes.length, result, result + 32);
  const copy = core.copy(result, 36);
  core.exports.sotto_free(at, bytes.length);
  core.exports.sotto_free(result, 36);
  return err === 0 ? { key: copy.slice(0, 32) } : { wrongGroup: words(copy.slice(32))[0] };
}

/* New device: {url, link}; link is for openLink and secret. */
export function beginLink(core, env) {
  const [link] = core.call('e2ee_link_begin', env, out(112));
  const at = core.put(link);
  const text = core.put(new Uint8Array(132));
  core.exports.e2ee_link_url(at, text);
  const url = new TextDecoder().decode(core.copy(text, 131));
  core.exports.sotto_free(at, 112);
  core.exports.sotto_free(text, 132);
  return { url, link };
}
/* Old device: the envelope for a scanned code. */
export function sealLink(core, env, url, { uuid, identityPrivate, recoveryKey, more = new Uint8Array(0) }) {
  return core.call('sotto_link_seal', env, slice(new TextEncoder().encode(url)), serviceId(uuid),
    identityPrivate, recoveryKey ?? 0, slice(more), BYTES)[0];
}
export function openLink(core, env, link, envelope) {
  const [secrets, more] = core.call('sotto_link_open', env, link, slice(envelope), out(82), BYTES);
  return {
    serviceId: secrets.slice(0, 17),
    identityPrivate: secrets.slice(17, 49),
    recoveryKey: secrets[49] === 1 ? secrets.slice(50, 82) : undefined,
    more,
  };
}
