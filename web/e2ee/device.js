// One device of one user: the functions of the encryption core by name. All
// calls are synchronous. A store is {load(kind, key), save(kind, key, data),
// remove(kind, key)}, also synchronous: run each call inside one transaction
// and roll back when it throws. What each call does and refuses is in
// src/e2ee/*.h.
import { BYTES, out, slice } from './loader.js';

export const MESSAGE_WHISPER = 2;
export const MESSAGE_PREKEY = 3;
const KINDS = { prekey: 5, signedPrekey: 6, kemPrekey: 7 };
const SEEN = ['same', 'new', 'changed'];

const words = (bytes) => new Uint32Array(bytes.buffer);
const doubles = (bytes) => new Float64Array(bytes.buffer);
const addresses = new Map(); // of the last peers, as bytes
const ADDRESSES_MAX = 4096;
const u32le = (value) => new Uint8Array(new Uint32Array([value]).buffer);

/* The account of a user: kind byte 0 and the 16 bytes of the UUID. */
export function serviceId(uuid) {
  const hex = uuid.replaceAll('-', '');
  if (!/^[0-9a-f]{32}$/i.test(hex)) throw new TypeError('not a UUID');
  return Uint8Array.from([0, ...hex.match(/../g).map((pair) => parseInt(pair, 16))]);
}
export function address(uuid, device) {
  const name = `${uuid}.${device}`;
  let bytes = addresses.get(name);
  if (bytes === undefined) {
    bytes = Uint8Array.from([...serviceId(uuid), device]);
    if (addresses.size >= ADDRESSES_MAX) addresses.clear();
    addresses.set(name, bytes);
  }
  return bytes;
}

export class Device {
  constructor(core, { uuid, device, store }) {
    this.core = core;
    this.storeNumber = core.nextStore++;
    core.stores.set(this.storeNumber, store);
    const at = core.put(serviceId(uuid));
    this.env = core.exports.sotto_env_create(this.storeNumber, at, device);
    core.exports.sotto_free(at, 17);
    if (this.env === 0) throw new Error('out of memory');
  }

  close() {
    this.core.exports.sotto_env_destroy(this.env);
    this.core.stores.delete(this.storeNumber);
    this.env = 0;
  }

  call(name, ...args) {
    return this.core.call(name, this.env, ...args);
  }

  // identity.h
  createIdentity(registration) {
    this.call('e2ee_identity_create', registration);
  }
  importIdentity(privateKey, registration) {
    this.call('e2ee_identity_import', privateKey, registration);
  }
  identity() {
    const [key, registration] = this.call('e2ee_identity_get', out(33), out(4));
    return { key, registration: words(registration)[0] };
  }
  exportIdentity() {
    return this.call('e2ee_identity_export', out(32))[0];
  }
  sign(message) {
    return this.call('e2ee_identity_sign', slice(message), out(64))[0];
  }
  peer(uuid) {
    const [identity, facts] = this.call('sotto_peer_get', serviceId(uuid), out(33), out(32));
    const [verified, blocked, sinceMs, changes] = doubles(facts);
    return { identity, verified: verified === 1, blocked: blocked === 1, sinceMs, changes };
  }
  acceptPeer(uuid, identity, verified) {
    this.call('e2ee_peer_accept', serviceId(uuid), identity, verified ? 1 : 0);
  }

  // prekey.h
  createPrekey(id) {
    return this.call('e2ee_prekey_create', id, out(33))[0];
  }
  createSignedPrekey(id) {
    const [key, signature] = this.call('e2ee_signed_prekey_create', id, out(33), out(64));
    return { key, signature };
  }
  createKemPrekey(id, lastResort) {
    const [key, signature] = this.call('e2ee_kem_prekey_create', id, lastResort ? 1 : 0, out(1569), out(64));
    return { key, signature };
  }
  prekeyInfo(kind, id) {
    const [createdMs, lastResort] = doubles(this.call('sotto_prekey_info', KINDS[kind], id, out(16))[0]);
    return { createdMs, lastResort: lastResort === 1 };
  }
  removePrekey(kind, id) {
    this.call('e2ee_prekey_remove', KINDS[kind], id);
  }
  bundle(signedId, kemId, prekeyId) {
    const id = prekeyId === undefined ? 0 : u32le(prekeyId);
    return unpackBundle(this.call('sotto_bundle_make', signedId, kemId, id, out(BUNDLE_LEN))[0]);
  }

  // session.h
  start(uuid, device, bundle) {
    const [seen] = this.call('sotto_session_start', address(uuid, device), slice(packBundle(bundle)), out(4));
    return SEEN[words(seen)[0]];
  }
  encrypt(uuid, device, plaintext) {
    const [type, bytes] = this.call(
      'e2ee_session_encrypt', address(uuid, device), slice(plaintext), out(4), BYTES);
    return { type: words(type)[0], bytes };
  }
  decrypt(uuid, device, { type, bytes }) {
    const [plaintext, facts] = this.call(
      'sotto_session_decrypt', address(uuid, device), type, slice(bytes), BYTES, out(28));
    const [seen, started, usedPrekey, prekeyId, usedKem, kemId, registration] = words(facts);
    return {
      plaintext,
      seen: SEEN[seen],
      sessionStarted: started === 1,
      usedPrekey: usedPrekey ? prekeyId : undefined,
      usedKemPrekey: usedKem ? kemId : undefined,
      registration,
    };
  }
  sessionInfo(uuid, device) {
    const [canSend, acknowledged, createdMs, registration, epoch, archived] = doubles(
      this.call('sotto_session_info', address(uuid, device), out(48))[0]);
    return { canSend: canSend === 1, acknowledged: acknowledged === 1, createdMs, registration, epoch, archived };
  }
  archiveSession(uuid, device) {
    this.call('e2ee_session_archive', address(uuid, device));
  }
  removeSession(uuid, device) {
    this.call('e2ee_session_remove', address(uuid, device));
  }

  // group.h; a distribution id is 16 bytes
  distribute(id) {
    return this.call('e2ee_group_distribute', id, BYTES)[0];
  }
  processDistribution(uuid, device, bytes) {
    this.call('e2ee_group_process', address(uuid, device), slice(bytes));
  }
  groupEncrypt(id, plaintext) {
    return this.call('e2ee_group_encrypt', id, slice(plaintext), BYTES)[0];
  }
  groupDecrypt(uuid, device, bytes) {
    const [id, plaintext] = this.call('e2ee_group_decrypt', address(uuid, device), slice(bytes), out(16), BYTES);
    return { id, plaintext };
  }
  rotateGroup(id) {
    this.call('e2ee_group_rotate', id);
  }
  forgetGroup(uuid, device, id) {
    this.call('e2ee_group_forget', address(uuid, device), id);
  }
}

// fingerprint.h
export function fingerprint(core, localId, localKey, remoteId, remoteKey) {
  const [digits, qr] = core.call(
    'sotto_fingerprint', slice(localId), localKey, slice(remoteId), remoteKey, out(60), out(74));
  return { digits: new TextDecoder().decode(digits), qr };
}
export function fingerprintMatches(core, qr, scanned) {
  return words(core.call('sotto_fingerprint_compare', qr, slice(scanned), out(4))[0])[0] === 1;
}

// padding.h
export function pad(core, plaintext) {
  const room = new Uint8Array(core.exports.e2ee_padded_len(plaintext.length));
  room.set(plaintext);
  const at = core.put(room);
  core.exports.e2ee_pad(at, plaintext.length);
  const padded = core.copy(at, room.length);
  core.exports.sotto_free(at, room.length);
  return padded;
}
export function unpad(core, padded) {
  return padded.subarray(0, words(core.call('e2ee_unpad', slice(padded), out(4))[0])[0]);
}

/* Fields of a bundle: name, bytes; 0 for a 32-bit number. */
const BUNDLE = [
  ['registration', 0], ['device', 1], ['identity', 33], ['signedId', 0], ['signedKey', 33], ['signedSig', 64],
  ['kemId', 0], ['kemKey', 1569], ['kemSig', 64], ['hasPrekey', 1], ['prekeyId', 0], ['prekey', 33],
];
const BUNDLE_LEN = 1814;

function packBundle(bundle) {
  const packed = new Uint8Array(BUNDLE_LEN);
  const view = new DataView(packed.buffer);
  let at = 0;
  for (const [name, len] of BUNDLE) {
    const value = name === 'hasPrekey' ? Number(bundle.prekey !== undefined) : bundle[name];
    if (len > 1 && value !== undefined) {
      if (value.length !== len) throw new TypeError(`${name}: ${len} bytes, not ${value.length}`);
      packed.set(value, at);
    } else if (len === 1) packed[at] = value;
    else if (value !== undefined) view.setUint32(at, value);
    at += len || 4;
  }
  return packed;
}

function unpackBundle(packed) {
  const view = new DataView(packed.buffer);
  const bundle = {};
  let at = 0;
  for (const [name, len] of BUNDLE) {
    bundle[name] = len === 0 ? view.getUint32(at) : len === 1 ? packed[at] : packed.slice(at, at + len);
    at += len || 4;
  }
  if (bundle.hasPrekey !== 1) {
    delete bundle.prekey;
    delete bundle.prekeyId;
  }
  delete bundle.hasPrekey;
  return bundle;
}
