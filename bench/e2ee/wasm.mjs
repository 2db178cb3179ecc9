// The WebAssembly core's figures; the scenarios of native.c.
//
//   node wasm.mjs MODULE SCENARIO COUNT
import { readFileSync } from 'node:fs';
import { Device } from '../../web/e2ee/device.js';
import { loadCore } from '../../web/e2ee/loader.js';
import { MediaReader, MediaWriter } from '../../web/e2ee/media.js';
import { MemoryStore } from '../../web/e2ee/store.js';

const [, , modulePath, name, countText] = process.argv;
const count = Number(countText);
const core = await loadCore(new WebAssembly.Module(readFileSync(modulePath)));
const text = new Uint8Array(256);
const groupId = new Uint8Array(16).fill(1);

function party(uuid) {
  const store = new MemoryStore();
  const device = new Device(core, { uuid, device: 1, store });
  device.createIdentity(7);
  return { uuid, device, store };
}
const alice = party('11111111-1111-4111-8111-111111111111');
const bob = party('22222222-2222-4222-8222-222222222222');

function send(from, to) {
  const message = from.store.transaction(() => from.device.encrypt(to.uuid, 1, text));
  to.store.transaction(() => to.device.decrypt(from.uuid, 1, message));
}
function start() {
  const bundle = bob.device.bundle(1, 1);
  alice.store.transaction(() => alice.device.start(bob.uuid, 1, bundle));
  send(alice, bob);
}
bob.device.createSignedPrekey(1);
bob.device.createKemPrekey(1, true);
start();
send(bob, alice);
bob.device.processDistribution(alice.uuid, 1, alice.device.distribute(groupId));

const scenarios = {
  pairs: (i) => (i % 2 === 0 ? send(alice, bob) : send(bob, alice)),
  one_way: () => send(alice, bob),
  start,
  group() {
    const bytes = alice.store.transaction(() => alice.device.groupEncrypt(groupId, text));
    bob.store.transaction(() => bob.device.groupDecrypt(alice.uuid, 1, bytes));
  },
};

const seconds = () => Number(process.hrtime.bigint()) / 1e9;

function media(megabytes, decrypt) {
  const data = new Uint8Array(65536);
  const writer = new MediaWriter(core, alice.device.env, megabytes * 1e6);
  const chunks = [];
  let began = seconds();
  for (let i = 0; i < writer.layout.chunks; i++) chunks.push(writer.chunk(data.subarray(0, writer.want())));
  const { hashes, descriptor } = writer.finish();
  let took = seconds() - began;
  if (decrypt) {
    began = seconds();
    const reader = new MediaReader(core, bob.device.env, descriptor);
    reader.hashes(hashes);
    chunks.forEach((chunk, i) => reader.chunk(i, chunk));
    took = seconds() - began;
    reader.close();
  }
  writer.close();
  return megabytes / took;
}

if (name.startsWith('media_')) {
  media(5, true); // warm
  console.log(media(count, name === 'media_decrypt').toFixed(1));
} else {
  for (let i = 0; i < count / 10; i++) scenarios[name](2 * i); // warm; an even number
  if (name === 'pairs') send(bob, alice);
  const began = seconds();
  for (let i = 0; i < count; i++) scenarios[name](i);
  console.log((count / (seconds() - began)).toFixed(1));
}
