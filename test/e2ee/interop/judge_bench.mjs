// The official implementation's own figures, measured inside its process so
// that no pipe is counted.
import * as signal from '@signalapp/libsignal-client';

const stores = () => {
  const sessions = new Map();
  const senderKeys = new Map();
  const key = (address) => `${address.name()}.${address.deviceId()}`;
  const session = Object.assign(Object.create(signal.SessionStore.prototype), {
    saveSession: async (name, record) => void sessions.set(key(name), record.serialize()),
    getSession: async (name) => {
      const bytes = sessions.get(key(name));
      return bytes ? signal.SessionRecord.deserialize(bytes) : null;
    },
  });
  const sender = Object.assign(Object.create(signal.SenderKeyStore.prototype), {
    saveSenderKey: async (name, id, record) => void senderKeys.set(key(name) + id, record.serialize()),
    getSenderKey: async (name, id) => {
      const bytes = senderKeys.get(key(name) + id);
      return bytes ? signal.SenderKeyRecord.deserialize(bytes) : null;
    },
  });
  return { session, sender };
};

class Party {
  constructor(uuid) {
    Object.assign(this, stores());
    this.address = signal.ProtocolAddress.new(uuid, 1);
    this.pair = signal.IdentityKeyPair.generate();
    this.identity = Object.assign(Object.create(signal.IdentityKeyStore.prototype), {
      getIdentityKey: async () => this.pair.privateKey,
      getIdentityKeyPair: async () => this.pair,
      getLocalRegistrationId: async () => 77,
      saveIdentity: async () => signal.IdentityChange.NewOrUnchanged,
      isTrustedIdentity: async () => true,
      getIdentity: async () => null,
    });
    this.signed = signal.PrivateKey.generate();
    this.kyber = signal.KEMKeyPair.generate();
    this.signedSig = this.pair.privateKey.sign(this.signed.getPublicKey().serialize());
    this.kyberSig = this.pair.privateKey.sign(this.kyber.getPublicKey().serialize());
    this.signedStore = Object.assign(Object.create(signal.SignedPreKeyStore.prototype), {
      getSignedPreKey: async () =>
        signal.SignedPreKeyRecord.new(1, 0, this.signed.getPublicKey(), this.signed, this.signedSig),
    });
    this.kyberStore = Object.assign(Object.create(signal.KyberPreKeyStore.prototype), {
      getKyberPreKey: async () => signal.KyberPreKeyRecord.new(1, 0, this.kyber, this.kyberSig),
      markKyberPreKeyUsed: async () => {},
    });
    this.preKeyStore = Object.create(signal.PreKeyStore.prototype);
  }

  bundle() {
    return signal.PreKeyBundle.new(77, 1, null, null, 1, this.signed.getPublicKey(), this.signedSig,
      this.pair.publicKey, 1, this.kyber.getPublicKey(), this.kyberSig);
  }

  start(peer) {
    return signal.processPreKeyBundle(peer.bundle(), peer.address, this.address, this.session, this.identity);
  }

  async encrypt(peer, plaintext) {
    const message = await signal.signalEncrypt(plaintext, peer.address, this.address, this.session, this.identity);
    return { type: message.type(), bytes: message.serialize() };
  }

  decrypt(peer, { type, bytes }) {
    if (type === signal.CiphertextMessageType.PreKey) {
      return signal.signalDecryptPreKey(signal.PreKeySignalMessage.deserialize(bytes), peer.address, this.address,
        this.session, this.identity, this.preKeyStore, this.signedStore, this.kyberStore);
    }
    return signal.signalDecrypt(signal.SignalMessage.deserialize(bytes), peer.address, this.address,
      this.session, this.identity);
  }
}

async function pair() {
  const alice = new Party('11111111-1111-4111-8111-111111111111');
  const bob = new Party('22222222-2222-4222-8222-222222222222');
  await alice.start(bob);
  const hello = new Uint8Array(64);
  await bob.decrypt(alice, await alice.encrypt(bob, hello));
  await alice.decrypt(bob, await bob.encrypt(alice, hello));
  return [alice, bob];
}

async function perSecond(count, once) {
  const start = process.hrtime.bigint();
  for (let i = 0; i < count; i++) await once(i);
  return count / (Number(process.hrtime.bigint() - start) / 1e9);
}

/* {scenario, count} -> {rate}: operations a second. */
export async function officialBench({ scenario, count }) {
  const text = new Uint8Array(256);
  const [alice, bob] = await pair();
  if (scenario === 'pairs') {
    return { rate: await perSecond(count, async (i) => {
      const [from, to] = i % 2 ? [bob, alice] : [alice, bob];
      await to.decrypt(from, await from.encrypt(to, text));
    }) };
  }
  if (scenario === 'one_way') {
    return { rate: await perSecond(count, async () => {
      await bob.decrypt(alice, await alice.encrypt(bob, text));
    }) };
  }
  if (scenario === 'start') {
    return { rate: await perSecond(count, async () => {
      await alice.start(bob);
      await bob.decrypt(alice, await alice.encrypt(bob, text));
    }) };
  }
  if (scenario === 'group') {
    const id = '33333333-3333-4333-8333-333333333333';
    const keys = await signal.SenderKeyDistributionMessage.create(alice.address, id, alice.sender);
    await signal.processSenderKeyDistributionMessage(alice.address, keys, bob.sender);
    return { rate: await perSecond(count, async () => {
      const message = await signal.groupEncrypt(alice.address, id, alice.sender, text);
      await signal.groupDecrypt(alice.address, bob.sender, message.serialize());
    }) };
  }
  throw new Error(`no scenario ${scenario}`);
}
