// The judge: the official implementation behind the peer protocol of our
// tests (README.md lists the requests). Every store keeps serialised bytes, so
// each request reloads what it needs, as a client after a restart would.
//
// It runs as a process of its own, in tests only.
import { createHash } from 'node:crypto';
import * as signal from '@signalapp/libsignal-client';
import { serve } from './lines.mjs';
import { officialBench } from './judge_bench.mjs';

const hex = (bytes) => Buffer.from(bytes).toString('hex');
const bin = (text) => new Uint8Array(Buffer.from(text, 'hex'));
const addressKey = (address) => `${address.name()}.${address.deviceId()}`;

class Sessions extends signal.SessionStore {
  records = new Map();
  async saveSession(name, record) {
    this.records.set(addressKey(name), record.serialize());
  }
  async getSession(name) {
    const bytes = this.records.get(addressKey(name));
    return bytes ? signal.SessionRecord.deserialize(bytes) : null;
  }
  async getExistingSessions(addresses) {
    return Promise.all(addresses.map((address) => this.getSession(address)));
  }
}

class Identities extends signal.IdentityKeyStore {
  known = new Map();
  constructor(pair, registration) {
    super();
    this.pair = pair;
    this.registration = registration;
  }
  async getIdentityKey() {
    return this.pair.privateKey;
  }
  async getLocalRegistrationId() {
    return this.registration;
  }
  async saveIdentity(name, key) {
    const before = this.known.get(addressKey(name));
    const now = hex(key.serialize());
    this.known.set(addressKey(name), now);
    const changed = before !== undefined && before !== now;
    return changed ? signal.IdentityChange.ReplacedExisting : signal.IdentityChange.NewOrUnchanged;
  }
  async isTrustedIdentity(name, key) {
    const before = this.known.get(addressKey(name));
    return before === undefined || before === hex(key.serialize());
  }
  async getIdentity(name) {
    const known = this.known.get(addressKey(name));
    return known ? signal.PublicKey.deserialize(bin(known)) : null;
  }
}

/* One-time keys, signed keys and KEM keys: the same map with other types. */
function keyStore(Base, Record, save, get, more) {
  const Store = class extends Base {
    records = new Map();
  };
  Store.prototype[save] = async function (id, record) {
    this.records.set(id, record.serialize());
  };
  Store.prototype[get] = async function (id) {
    const bytes = this.records.get(id);
    if (!bytes) throw Object.assign(new Error(`no key ${id}`), { code: 'NoSuchKey' });
    return Record.deserialize(bytes);
  };
  Object.assign(Store.prototype, more);
  return Store;
}
const PreKeys = keyStore(signal.PreKeyStore, signal.PreKeyRecord, 'savePreKey', 'getPreKey', {
  async removePreKey(id) {
    this.records.delete(id);
  },
});
const SignedPreKeys = keyStore(
  signal.SignedPreKeyStore, signal.SignedPreKeyRecord, 'saveSignedPreKey', 'getSignedPreKey', {});
const KyberPreKeys = keyStore(
  signal.KyberPreKeyStore, signal.KyberPreKeyRecord, 'saveKyberPreKey', 'getKyberPreKey', {
    async markKyberPreKeyUsed(id, signedId, baseKey) {
      this.lastResort ??= new Set();
      this.seen ??= new Set();
      if (!this.lastResort.has(id)) {
        this.records.delete(id);
        return;
      }
      const use = `${id}.${signedId}.${hex(baseKey.serialize())}`;
      if (this.seen.has(use)) throw Object.assign(new Error('base key reused'), { code: 'ReusedBaseKey' });
      this.seen.add(use);
    },
  });

class SenderKeys extends signal.SenderKeyStore {
  records = new Map();
  async saveSenderKey(sender, distribution, record) {
    this.records.set(`${addressKey(sender)}/${distribution}`, record.serialize());
  }
  async getSenderKey(sender, distribution) {
    const bytes = this.records.get(`${addressKey(sender)}/${distribution}`);
    return bytes ? signal.SenderKeyRecord.deserialize(bytes) : null;
  }
}

class Device {
  constructor({ uuid, device, registration, identity }) {
    const pair = identity
      ? (() => {
          const priv = signal.PrivateKey.deserialize(bin(identity));
          return new signal.IdentityKeyPair(priv.getPublicKey(), priv);
        })()
      : signal.IdentityKeyPair.generate();
    this.pair = pair;
    this.registration = registration ?? 1 + Math.floor(Math.random() * 16380);
    this.address = signal.ProtocolAddress.new(uuid, device);
    this.sessions = new Sessions();
    this.identities = new Identities(pair, this.registration);
    this.preKeys = new PreKeys();
    this.signedPreKeys = new SignedPreKeys();
    this.kyberPreKeys = new KyberPreKeys();
    this.senderKeys = new SenderKeys();
    this.nextId = 1;
  }
}

const devices = [];
const remote = (request) => signal.ProtocolAddress.new(request.uuid, request.device);

const operations = {
  new(request) {
    const device = new Device(request);
    devices.push(device);
    return {
      peer: devices.length - 1,
      identity: hex(device.pair.publicKey.serialize()),
      identityPrivate: hex(device.pair.privateKey.serialize()),
    };
  },

  async publish(request, me) {
    const id = me.nextId++;
    const now = Date.now();
    const signed = signal.PrivateKey.generate();
    const signedSig = me.pair.privateKey.sign(signed.getPublicKey().serialize());
    await me.signedPreKeys.saveSignedPreKey(
      id, signal.SignedPreKeyRecord.new(id, now, signed.getPublicKey(), signed, signedSig));
    const kyber = signal.KEMKeyPair.generate();
    const kyberSig = me.pair.privateKey.sign(kyber.getPublicKey().serialize());
    await me.kyberPreKeys.saveKyberPreKey(id, signal.KyberPreKeyRecord.new(id, now, kyber, kyberSig));
    if (request.lastResort) (me.kyberPreKeys.lastResort ??= new Set()).add(id);
    const bundle = {
      registration: me.registration,
      device: me.address.deviceId(),
      identity: hex(me.pair.publicKey.serialize()),
      signedId: id,
      signedKey: hex(signed.getPublicKey().serialize()),
      signedSig: hex(signedSig),
      kemId: id,
      kemKey: hex(kyber.getPublicKey().serialize()),
      kemSig: hex(kyberSig),
    };
    if (request.oneTime) {
      const once = signal.PrivateKey.generate();
      await me.preKeys.savePreKey(id, signal.PreKeyRecord.new(id, once.getPublicKey(), once));
      bundle.oneTimeId = id;
      bundle.oneTimeKey = hex(once.getPublicKey().serialize());
    }
    return bundle;
  },

  async start(request, me) {
    const b = request;
    const bundle = signal.PreKeyBundle.new(
      b.registration, b.bundleDevice ?? b.device,
      b.oneTimeId ?? null, b.oneTimeKey ? signal.PublicKey.deserialize(bin(b.oneTimeKey)) : null,
      b.signedId, signal.PublicKey.deserialize(bin(b.signedKey)), bin(b.signedSig),
      signal.PublicKey.deserialize(bin(b.identity)),
      b.kemId, signal.KEMPublicKey.deserialize(bin(b.kemKey)), bin(b.kemSig));
    await signal.processPreKeyBundle(bundle, remote(request), me.address, me.sessions, me.identities);
    return {};
  },

  async enc(request, me) {
    const message = await signal.signalEncrypt(
      bin(request.pt), remote(request), me.address, me.sessions, me.identities);
    return { type: message.type(), bytes: hex(message.serialize()) };
  },

  async dec(request, me) {
    const bytes = bin(request.bytes);
    if (request.type === signal.CiphertextMessageType.PreKey) {
      const message = signal.PreKeySignalMessage.deserialize(bytes);
      return {
        pt: hex(await signal.signalDecryptPreKey(
          message, remote(request), me.address, me.sessions, me.identities,
          me.preKeys, me.signedPreKeys, me.kyberPreKeys)),
      };
    }
    const message = signal.SignalMessage.deserialize(bytes);
    return { pt: hex(await signal.signalDecrypt(message, remote(request), me.address, me.sessions, me.identities)) };
  },

  async skdm(request, me) {
    const message = await signal.SenderKeyDistributionMessage.create(me.address, request.distribution, me.senderKeys);
    return { bytes: hex(message.serialize()) };
  },

  async skin(request, me) {
    await signal.processSenderKeyDistributionMessage(
      remote(request), signal.SenderKeyDistributionMessage.deserialize(bin(request.bytes)), me.senderKeys);
    return {};
  },

  async genc(request, me) {
    const message = await signal.groupEncrypt(me.address, request.distribution, me.senderKeys, bin(request.pt));
    return { bytes: hex(message.serialize()) };
  },

  async gdec(request, me) {
    return { pt: hex(await signal.groupDecrypt(remote(request), me.senderKeys, bin(request.bytes))) };
  },

  /* Forgets the sender key, so that the next skdm makes a new chain. */
  rotate(request, me) {
    me.senderKeys.records.delete(`${addressKey(me.address)}/${request.distribution}`);
    return {};
  },

  fp(request, me) {
    const mine = signal.Fingerprint.new(
      5200, 2, bin(request.localId), me.pair.publicKey,
      bin(request.remoteId), signal.PublicKey.deserialize(bin(request.remoteKey)));
    const scannable = mine.scannableFingerprint();
    const answer = {
      digits: mine.displayableFingerprint().toString(),
      qr: hex(scannable.toBuffer()),
    };
    if (request.scanned) {
      answer.match = scannable.compare(signal.ScannableFingerprint._fromBuffer(bin(request.scanned)));
    }
    return answer;
  },

  async archive(request, me) {
    const record = await me.sessions.getSession(remote(request));
    record.archiveCurrentState();
    await me.sessions.saveSession(remote(request), record);
    return {};
  },

  /* The person has looked at the new safety number and accepts it. */
  approve(request, me) {
    me.identities.known.set(addressKey(remote(request)), request.identity);
    return {};
  },

  session(request, me) {
    const bytes = me.sessions.records.get(addressKey(remote(request)));
    return { bytes: bytes ? hex(bytes) : null };
  },

  /* A digest over all that the device stores: equal before and after a refusal. */
  state(request, me) {
    const hash = createHash('sha256');
    for (const map of [me.sessions.records, me.identities.known, me.preKeys.records,
      me.signedPreKeys.records, me.kyberPreKeys.records, me.senderKeys.records]) {
      for (const key of [...map.keys()].sort()) hash.update(`${key}\0`).update(map.get(key)).update('\0');
    }
    return { digest: hash.digest('hex') };
  },

  bench: (request) => officialBench(request),
};

serve((request) => {
  const operation = operations[request.op];
  if (!operation) throw Object.assign(new Error(`no operation ${request.op}`), { code: 'NoSuchOperation' });
  return operation(request, devices[request.peer]);
});
