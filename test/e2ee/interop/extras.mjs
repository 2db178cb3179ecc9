// The module's media, backups, recovery keys and linking: round trips, damage,
// and the golden files that the native library wrote.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Device, pad, unpad } from '../../../web/e2ee/device.js';
import { Backup, MediaReader, MediaWriter, backupKind, beginLink, createRecoveryKey, formatRecoveryKey, mediaRange,
  openLink, parseRecoveryKey, sealLink } from '../../../web/e2ee/media.js';
import { MemoryStore } from '../../../web/e2ee/store.js';

const golden = (name) => new Uint8Array(readFileSync(new URL(`../golden/${name}`, import.meta.url)));
const coded = (code) => (error) => error.code === code;

function media(core, env) {
  for (const size of [0, 1, 65536, 65537, 300001]) {
    const data = Uint8Array.from({ length: size }, (_, i) => (i * 7 + (i >> 9)) & 255);
    const writer = new MediaWriter(core, env, size);
    const chunks = [];
    for (let i = 0; i < writer.layout.chunks; i++) {
      chunks.push(writer.chunk(data.subarray(i * 65536, i * 65536 + writer.want())));
    }
    const { hashes, descriptor } = writer.finish();
    writer.close();
    const object = Buffer.concat([...chunks, hashes]);
    assert.equal(object.length, writer.layout.objectSize);

    const reader = new MediaReader(core, env, descriptor);
    assert.throws(() => reader.chunk(0, chunks[0]), coded('argument'));
    reader.hashes(object.subarray(reader.layout.hashesAt));
    for (let i = reader.layout.chunks - 1; i >= 0; i--) {
      assert.deepEqual(reader.chunk(i, chunks[i]), data.slice(i * 65536, (i + 1) * 65536));
      chunks[i][3] ^= 1;
      assert.throws(() => reader.chunk(i, chunks[i]), coded('decrypt'));
    }
    reader.close();
  }
  const range = mediaRange(core, 300001, 65530, 20);
  assert.deepEqual(range, { firstChunk: 0, chunkCount: 2, objectOffset: 0, objectLen: 2 * 65552, skip: 65530 });
}

function backups(core, env) {
  const key = createRecoveryKey(core, env);
  const text = formatRecoveryKey(core, key);
  assert.deepEqual(parseRecoveryKey(core, text).key, key);
  assert.equal(parseRecoveryKey(core, text.replace(/^./, (d) => (d === '1' ? '2' : '1'))).wrongGroup, 1);
  const kept = new Uint8Array(32).fill(0x31);
  assert.equal(formatRecoveryKey(core, kept), new TextDecoder().decode(golden('recovery-key-v1.txt')));

  for (const secret of [key, 'correct horse battery staple']) {
    const backup = Backup.write(core, env, secret, { memoryKib: 8192, passes: 1 });
    const chunk = backup.seal(new Uint8Array(65536).fill(5), false);
    const last = backup.seal(new Uint8Array(0), true);
    assert.equal(backup.close(), true);
    const read = Backup.read(core, backup.header, secret);
    assert.deepEqual(read.open(chunk, false), new Uint8Array(65536).fill(5));
    assert.deepEqual(read.open(last, true), new Uint8Array(0));
    assert.equal(read.close(), true);
  }
  const plain = new Uint8Array(300).fill(1);
  const files = [['backup-recovery-key-v1.bin', kept, 'recovery key'],
    ['backup-passphrase-v1.bin', 'correct horse battery staple', 'passphrase']];
  for (const [name, secret, kind] of files) {
    const file = golden(name);
    const header = file.slice(0, 80);
    assert.equal(backupKind(core, header), kind);
    const read = Backup.read(core, header, secret);
    assert.deepEqual(read.open(file.slice(80), true), plain);
    read.close();
    const wrong = typeof secret === 'string' ? `${secret}!` : new Uint8Array(32);
    assert.throws(() => Backup.read(core, header, wrong), coded('key'));
  }
}

function linking(core, env) {
  const secrets = { uuid: '12345678-1234-4234-8234-123456789abc', identityPrivate: new Uint8Array(32).fill(0x48),
    recoveryKey: new Uint8Array(32).fill(9), more: new TextEncoder().encode('token') };
  const { url, link } = beginLink(core, env);
  assert.match(url, /^sotto:link\?v=1&m=[\w-]{22}&k=[\w-]{43}&s=[\w-]{43}$/);
  const envelope = sealLink(core, env, url, secrets);
  const got = openLink(core, env, link, envelope);
  assert.deepEqual(got.identityPrivate, secrets.identityPrivate);
  assert.deepEqual(got.recoveryKey, secrets.recoveryKey);
  assert.deepEqual(got.more, secrets.more);
  envelope[60] ^= 1;
  assert.throws(() => openLink(core, env, link, envelope), coded('decrypt'));
  assert.throws(() => sealLink(core, env, url.slice(1), secrets), coded('malformed'));
  const without = openLink(core, env, link, sealLink(core, env, url, { ...secrets, recoveryKey: undefined, more: undefined }));
  assert.equal(without.recoveryKey, undefined);
  assert.equal(without.more.length, 0);
}

export async function extras({ subject, log }) {
  const { core } = subject;
  const device = new Device(core, { uuid: '12345678-1234-4234-8234-123456789abc', device: 1, store: new MemoryStore() });
  media(core, device.env);
  log('media');
  backups(core, device.env);
  log('recovery keys and backups, with the native golden files');
  linking(core, device.env);
  log('linking');
  for (const len of [0, 1, 159, 160, 5000]) {
    const text = new Uint8Array(len).fill(0x80);
    assert.deepEqual(unpad(core, pad(core, text)), text);
  }
  // A store that fails: its own exception comes out, and the core lives on.
  device.core.stores.set(device.storeNumber, { load() { throw new RangeError('disk'); } });
  assert.throws(() => device.createIdentity(5), RangeError);
  device.core.stores.set(device.storeNumber, new MemoryStore());
  device.createIdentity(5);
  assert.equal(device.identity().registration, 5);
  assert.equal(device.sign(new Uint8Array(3)).length, 64);
  device.close();
  log('padding, failing stores');
}
