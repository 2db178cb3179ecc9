// What must be refused: every byte of every kind of message changed, every
// truncation, replays, downgrades, wrong addresses, forged bundles. Each time
// the receiver's whole state must be what it was, and the good message must
// still open at the end.
import assert from 'node:assert/strict';
import { Dice, Side } from './side.mjs';

const PREKEY = 3;

/* Fields of a protobuf message after `skip` bytes: number, where it begins,
 * where its value begins and ends. */
function fieldsOf(bytes, skip, end) {
  const fields = [];
  let at = skip;
  const varint = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      value += (bytes[at] & 127) * 2 ** shift;
      if (bytes[at++] < 128) return value;
    }
  };
  while (at < end) {
    const begin = at;
    const tag = varint();
    const value = at;
    if (tag % 8 === 2) {
      const len = varint();
      fields.push({ number: tag >> 3, begin, value: at, end: at + len });
      at += len;
    } else {
      varint();
      fields.push({ number: tag >> 3, begin, value, end: at });
    }
  }
  return fields;
}

const hexOf = (message) => Buffer.from(message.bytes, 'hex');
const withBytes = (message, bytes) => ({ ...message, bytes: Buffer.from(bytes).toString('hex') });
const without = (bytes, fields, numbers) => Buffer.concat([
  bytes.subarray(0, fields[0].begin),
  ...fields.filter((f) => !numbers.includes(f.number)).map((f) => bytes.subarray(f.begin, f.end)),
]);

/* The registration id of a first message is not authenticated by the
 * protocol: a changed one is taken for what it says. The same holds for the
 * lower half of its version byte. */
function unauthenticated(message) {
  if (message.type !== PREKEY) return new Set();
  const bytes = hexOf(message);
  const places = new Set([0]);
  for (const field of fieldsOf(bytes, 1, bytes.length)) {
    if (field.number === 5) for (let at = field.begin; at < field.end; at++) places.add(at);
  }
  return places;
}

async function everyChange(from, to, message, dice) {
  const bytes = hexOf(message);
  const skip = unauthenticated(message);
  for (let at = 0; at < bytes.length; at++) {
    if (skip.has(at)) continue;
    const copy = Buffer.from(bytes);
    copy[at] ^= 1 << dice.below(8);
    await to.refuses(() => to.dec(from, withBytes(message, copy)));
  }
  const step = bytes.length > 400 ? 7 : 1;
  for (let len = 0; len < bytes.length; len += step) {
    await to.refuses(() => to.dec(from, withBytes(message, bytes.subarray(0, len))));
  }
  await to.refuses(() => to.dec(from, withBytes(message, Buffer.concat([bytes, Buffer.from([0])]))));
  await to.refuses(() => to.dec(from, { ...message, type: message.type === PREKEY ? 2 : PREKEY }));
}

async function downgrades(from, to, message) {
  const bytes = hexOf(message);
  for (const version of [0x00, 0x11, 0x22, 0x33, 0x34, 0x24, 0x55, 0xff]) {
    await to.refuses(() => to.dec(from, withBytes(message, [version, ...bytes.subarray(1)])));
  }
  if (message.type !== PREKEY) {
    const fields = fieldsOf(bytes, 1, bytes.length - 8);
    for (const { number } of fields) {
      if (number === 3) continue; // optional: the rest is authenticated anyway
      const cut = Buffer.concat([without(bytes, fields, [number]), bytes.subarray(bytes.length - 8)]);
      await to.refuses(() => to.dec(from, withBytes(message, cut)));
    }
    return;
  }
  const fields = fieldsOf(bytes, 1, bytes.length);
  for (const numbers of [[1], [2], [3], [4], [6], [7], [8], [7, 8]]) {
    await to.refuses(() => to.dec(from, withBytes(message, without(bytes, fields, numbers))));
  }
  // The inner message with its post-quantum part removed.
  const inner = fields.find((field) => field.number === 4);
  const body = bytes.subarray(inner.value, inner.end);
  const parts = fieldsOf(body, 1, body.length - 8);
  for (const number of [5, 6]) {
    const cut = Buffer.concat([without(body, parts, [number]), body.subarray(body.length - 8)]);
    const len = Buffer.from([0x22, (cut.length & 127) | 128, cut.length >> 7]);
    const whole = Buffer.concat([without(bytes, fields, [4]), len, cut]);
    await to.refuses(() => to.dec(from, withBytes(message, whole)));
  }
}

async function wrongAddresses(from, to, message, peer, dice) {
  const otherUser = { ...message, uuid: dice.uuid(), device: from.device };
  const otherDevice = { ...message, uuid: from.uuid, device: from.device === 1 ? 2 : 1 };
  await to.refuses(() => to.call('dec', otherUser));
  await to.refuses(() => to.call('dec', otherDevice));
  const stranger = await Side.create(peer, to.uuid, to.device);
  await stranger.publish({ oneTime: true });
  await stranger.refuses(() => stranger.dec(from, message));
}

async function bundles(peer, other, dice) {
  const [me, them] = [await Side.create(peer, dice.uuid()), await Side.create(other, dice.uuid())];
  const bundle = { ...(await them.publish()), uuid: them.uuid };
  for (const name of ['identity', 'signedKey', 'signedSig', 'kemKey', 'kemSig', 'oneTimeKey']) {
    const places = [0, 1, 17, bundle[name].length / 2 - 1];
    if (name === 'oneTimeKey') places.splice(1, 3, 32); // not signed: only what is no key
    for (const at of places) {
      const bytes = Buffer.from(bundle[name], 'hex');
      bytes[at] ^= 0x80;
      await me.refuses(() => me.call('start', { ...bundle, [name]: bytes.toString('hex') }));
    }
  }
  for (const small of ['00', '01']) { // points of small order
    const key = `05${small}${'00'.repeat(31)}`;
    await me.refuses(() => me.call('start', { ...bundle, oneTimeKey: key }));
  }
  await me.refuses(() => me.call('start', { ...bundle, device: 0 }));
  await me.refuses(() => me.call('start', { ...bundle, device: 128 }));
  await me.call('start', bundle);
  await me.say(them, '0a');
}

/* Everything, with `to` receiving from `from`. */
async function receiving(from, to, dice) {
  await from.start(to, { oneTime: true, lastResort: true });
  const first = await from.enc(to, '0b0b');
  await everyChange(from, to, first, dice);
  await downgrades(from, to, first);
  await wrongAddresses(from, to, first, to.peer, dice);
  assert.equal(await to.dec(from, first), '0b0b');
  await to.refuses(() => to.dec(from, first), ['duplicate']);

  const second = await from.enc(to, '0c'); // the same session, another first message
  assert.equal(await to.dec(from, second), '0c');
  await to.say(from, '0d');
  for (let round = 0; round < 3; round++) { // with and without a new ratchet key
    const kept = await from.enc(to, '0e');
    const message = await from.enc(to, '0f');
    await everyChange(from, to, message, dice);
    await downgrades(from, to, message);
    assert.equal(await to.dec(from, message), '0f');
    await to.refuses(() => to.dec(from, message), ['duplicate']);
    await to.refuses(() => to.dec(from, first), ['duplicate']);
    assert.equal(await to.dec(from, kept), '0e');
    await to.refuses(() => to.dec(from, kept), ['duplicate']);
    await to.say(from, '10');
  }
}

export async function negatives({ subject, judge, firstSeed, log }) {
  const dice = new Dice(firstSeed);
  await receiving(await Side.create(judge, dice.uuid()), await Side.create(subject, dice.uuid()), dice);
  log('messages to us');
  await bundles(subject, judge, dice);
  log('bundles to us');

  // The official side refuses ours the same way: what we send is bound as it
  // should be.
  const [ours, theirs] = [await Side.create(subject, dice.uuid()), await Side.create(judge, dice.uuid())];
  await ours.start(theirs);
  const first = await ours.enc(theirs, '11');
  await wrongAddresses(ours, theirs, first, judge, dice);
  assert.equal(await theirs.dec(ours, first), '11');
  await assert.rejects(theirs.dec(ours, first));
  await theirs.say(ours, '12');
  const message = await ours.enc(theirs, '13');
  const bytes = hexOf(message);
  for (let at = 0; at < bytes.length; at++) {
    const copy = Buffer.from(bytes);
    copy[at] ^= 1 << dice.below(8);
    await assert.rejects(theirs.dec(ours, withBytes(message, copy)));
  }
  assert.equal(await theirs.dec(ours, message), '13');
  log('messages from us');
}
