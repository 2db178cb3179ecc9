// The WebAssembly core behind the peer protocol of README.md, in this process.
// Runs in Node and, without change, in a browser's worker.
import { Device, fingerprint, fingerprintMatches } from '../../../web/e2ee/device.js';
import { loadCore } from '../../../web/e2ee/loader.js';
import { MemoryStore } from '../../../web/e2ee/store.js';

export class Refused extends Error {
  constructor(code, request) {
    super(`${request.op}: ${code}`);
    this.code = code;
  }
}

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
const bin = (text) => {
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(text.substr(2 * i, 2), 16);
  return bytes;
};
const uuidBytes = (uuid) => bin(uuid.replaceAll('-', ''));

const operations = {
  publish(request, me) {
    const id = me.nextId++;
    me.device.createSignedPrekey(id);
    me.device.createKemPrekey(id, request.lastResort);
    if (request.oneTime) me.device.createPrekey(id);
    const bundle = me.device.bundle(id, id, request.oneTime ? id : undefined);
    const answer = { registration: bundle.registration, device: bundle.device };
    for (const name of ['identity', 'signedKey', 'signedSig', 'kemKey', 'kemSig']) answer[name] = hex(bundle[name]);
    Object.assign(answer, { signedId: id, kemId: id });
    if (request.oneTime) Object.assign(answer, { oneTimeId: id, oneTimeKey: hex(bundle.prekey) });
    return answer;
  },
  start(request, me) {
    const bundle = { registration: request.registration, device: request.device,
      signedId: request.signedId, kemId: request.kemId };
    for (const name of ['identity', 'signedKey', 'signedSig', 'kemKey', 'kemSig']) bundle[name] = bin(request[name]);
    if (request.oneTimeKey !== undefined) {
      bundle.prekeyId = request.oneTimeId;
      bundle.prekey = bin(request.oneTimeKey);
    }
    return { seen: SEEN.indexOf(me.device.start(request.uuid, request.device, bundle)) };
  },
  enc(request, me) {
    const message = me.device.encrypt(request.uuid, request.device, bin(request.pt));
    return { type: message.type, bytes: hex(message.bytes) };
  },
  dec(request, me) {
    const message = { type: request.type, bytes: bin(request.bytes) };
    const received = me.device.decrypt(request.uuid, request.device, message);
    return { pt: hex(received.plaintext), seen: SEEN.indexOf(received.seen), started: Number(received.sessionStarted) };
  },
  skdm: (request, me) => ({ bytes: hex(me.device.distribute(uuidBytes(request.distribution))) }),
  skin(request, me) {
    me.device.processDistribution(request.uuid, request.device, bin(request.bytes));
    return {};
  },
  genc: (request, me) => ({ bytes: hex(me.device.groupEncrypt(uuidBytes(request.distribution), bin(request.pt))) }),
  gdec: (request, me) => ({ pt: hex(me.device.groupDecrypt(request.uuid, request.device, bin(request.bytes)).plaintext) }),
  rotate(request, me) {
    me.device.rotateGroup(uuidBytes(request.distribution));
    return {};
  },
  fp(request, me, core) {
    const mine = fingerprint(core, bin(request.localId), me.device.identity().key,
      bin(request.remoteId), bin(request.remoteKey));
    const answer = { digits: mine.digits, qr: hex(mine.qr) };
    if (request.scanned) answer.match = Number(fingerprintMatches(core, mine.qr, bin(request.scanned)));
    return answer;
  },
  archive(request, me) {
    me.device.archiveSession(request.uuid, request.device);
    return {};
  },
  approve(request, me) {
    me.device.acceptPeer(request.uuid, bin(request.identity), request.verified === true);
    return {};
  },
  info(request, me) {
    const info = me.device.sessionInfo(request.uuid, request.device);
    return { ...info, canSend: Number(info.canSend), acknowledged: Number(info.acknowledged) };
  },
  state(request, me) {
    const lines = [...me.store.records].map(([name, data]) => `${name}=${hex(data)}`).sort();
    return { digest: lines.join('\n') };
  },
};
const SEEN = ['same', 'new', 'changed'];

export class WasmPeer {
  static async create(module) {
    const peer = new WasmPeer();
    peer.name = 'wasm';
    peer.shiftMs = 0;
    peer.devices = [];
    peer.core = await loadCore(module, { now: () => Date.now() + peer.shiftMs });
    return peer;
  }

  async call(request) {
    if (request.op === 'clock') {
      this.shiftMs += request.ms;
      return {};
    }
    try {
      if (request.op === 'new') return this.newDevice(request);
      const me = this.devices[request.peer];
      return me.store.transaction(() => operations[request.op](request, me, this.core));
    } catch (error) {
      if (error.name === 'RuntimeError' || error.code === undefined) throw error;
      throw new Refused(error.code, request);
    }
  }

  newDevice(request) {
    const store = new MemoryStore();
    const device = new Device(this.core, { uuid: request.uuid, device: request.device, store });
    const registration = request.registration ?? 1 + Math.floor(Math.random() * 16380);
    if (request.identity) device.importIdentity(bin(request.identity), registration);
    else device.createIdentity(registration);
    this.devices.push({ device, store, nextId: 1 });
    return {
      peer: this.devices.length - 1,
      identity: hex(device.identity().key),
      identityPrivate: hex(device.exportIdentity()),
    };
  }

  async close() {
    for (const { device } of this.devices) device.close();
  }
}
