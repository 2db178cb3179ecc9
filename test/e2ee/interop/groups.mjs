// Sender keys in both directions: five members of both implementations, every
// member sends, messages come late, and a removed member reads nothing more.
import assert from 'node:assert/strict';
import { Dice, Side } from './side.mjs';

const uuid = (dice) => dice.uuid();

/* Hands the current key of `from` to each of `others`, over their sessions. */
async function distribute(from, others, distribution) {
  const { bytes } = await from.call('skdm', { distribution });
  for (const other of others) {
    const sealed = await from.enc(other, bytes);
    await other.call('skin', { ...other.at(from), bytes: await other.dec(from, sealed) });
  }
}

async function readBy(reader, from, bytes) {
  return (await reader.call('gdec', { ...reader.at(from), bytes })).pt;
}

async function round(members, distribution, dice, count) {
  for (const from of members) {
    const sent = [];
    for (let i = 0; i < count; i++) {
      const pt = dice.hex(1 + dice.below(200));
      sent.push({ pt, bytes: (await from.call('genc', { distribution, pt })).bytes });
    }
    for (const to of members) {
      if (to === from) continue;
      const order = sent.map((message) => ({ message, key: dice.next() })).sort((a, b) => a.key - b.key);
      for (const { message } of order) {
        if (dice.chance(0.1)) continue; // lost to this member
        assert.equal(await readBy(to, from, message.bytes), message.pt);
        if (dice.chance(0.1)) {
          await to.refuses(() => readBy(to, from, message.bytes), to.peer.name === 'judge' ? undefined : ['duplicate']);
        }
      }
    }
  }
}

async function changed(to, from, bytes, at) {
  const copy = Buffer.from(bytes, 'hex');
  copy[at] ^= 1;
  await to.refuses(() => readBy(to, from, copy.toString('hex')));
}

export async function groups({ subject, judge, seeds, firstSeed, log }) {
  for (let seed = firstSeed; seed < firstSeed + Math.min(seeds, 3); seed++) {
    const dice = new Dice(seed);
    const members = [];
    for (const peer of [subject, judge, subject, judge, judge]) members.push(await Side.create(peer, uuid(dice)));
    for (const a of members) {
      for (const b of members) if (members.indexOf(a) < members.indexOf(b)) await a.meet(b);
    }
    const distribution = uuid(dice);
    for (const from of members) await distribute(from, members.filter((m) => m !== from), distribution);
    await round(members, distribution, dice, 20);

    // Any byte changed is refused, and then the right one is read.
    const [ours, theirs] = members;
    for (const [from, to] of [[theirs, ours], [ours, theirs]]) {
      const { bytes } = await from.call('genc', { distribution, pt: 'aabb' });
      if (to === ours) for (let at = 0; at < bytes.length / 2; at++) await changed(to, from, bytes, at);
      assert.equal(await readBy(to, from, bytes), 'aabb');
    }

    // Far ahead: 300 messages that nobody delivered, then one more.
    for (const from of [ours, theirs]) {
      let last;
      for (let i = 0; i < 300; i++) last = (await from.call('genc', { distribution, pt: 'cc' })).bytes;
      for (const to of members) if (to !== from) assert.equal(await readBy(to, from, last), 'cc');
    }

    // One is removed: everybody makes new keys, which the removed one lacks.
    const removed = members.pop();
    for (const from of members) {
      await from.call('rotate', { distribution });
      await distribute(from, members.filter((m) => m !== from), distribution);
    }
    await round(members, distribution, dice, 10);
    for (const from of members.slice(0, 2)) {
      const { bytes } = await from.call('genc', { distribution, pt: 'dd' });
      await removed.refuses(() => readBy(removed, from, bytes));
    }
    log(`seed ${seed}: five members, two rounds, a removal`);
  }
}
