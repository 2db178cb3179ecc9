// The limits, at their edge and one beyond, in both roles: 25,000 messages
// ahead, 2,000 keys kept for late ones.
import assert from 'node:assert/strict';
import { Dice, Side } from './side.mjs';

const JUMP = 25000; // a message may be this many places after the last one
const KEPT = 2000;

async function edges(from, to, log) {
  await from.meet(to);
  await to.say(from, 'aa'); // so that the next message begins a chain
  const sent = [];
  const text = (i) => i.toString(16).padStart(8, '0');
  for (let i = 0; i <= JUMP; i++) sent.push(await from.enc(to, text(i)));
  const open = async (i) => assert.equal(await to.dec(from, sent[i]), text(i));

  await to.refuses(() => to.dec(from, sent[JUMP]), to.peer.name === 'judge' ? undefined : ['too_far']);
  await open(JUMP - 1);
  // Of those that were skipped, the newest 2,000 still open, and no more.
  await open(JUMP - 2);
  await open(JUMP - 1 - KEPT);
  await to.refuses(() => to.dec(from, sent[JUMP - 2 - KEPT]));
  await to.refuses(() => to.dec(from, sent[0]));
  await to.refuses(() => to.dec(from, sent[JUMP - 1]));
  await open(JUMP);
  await to.say(from, 'bb');
  await from.say(to, 'cc');
  log(`${from.peer.name} to ${to.peer.name}: ${JUMP} ahead, ${KEPT} kept`);
}

/* The same for groups. */
async function groupEdges(from, to, dice, log) {
  await from.meet(to);
  const distribution = dice.uuid();
  const { bytes } = await from.call('skdm', { distribution });
  await to.call('skin', { ...to.at(from), bytes });
  const sent = [];
  for (let i = 0; i <= JUMP + 1; i++) sent.push((await from.call('genc', { distribution, pt: 'ee' })).bytes);
  const open = async (i) => (await to.call('gdec', { ...to.at(from), bytes: sent[i] })).pt;
  await to.refuses(() => open(JUMP + 1), to.peer.name === 'judge' ? undefined : ['too_far']);
  assert.equal(await open(JUMP), 'ee');
  assert.equal(await open(JUMP - 1), 'ee');
  assert.equal(await open(JUMP - KEPT), 'ee');
  await to.refuses(() => open(JUMP - KEPT - 1));
  await to.refuses(() => open(JUMP));
  log(`${from.peer.name} to ${to.peer.name}, group: ${JUMP} ahead, ${KEPT} kept`);
}

export async function limits({ subject, judge, firstSeed, log }) {
  const dice = new Dice(firstSeed);
  for (const [p, q] of [[judge, subject], [subject, judge]]) {
    await edges(await Side.create(p, dice.uuid()), await Side.create(q, dice.uuid()), log);
    await groupEdges(await Side.create(p, dice.uuid()), await Side.create(q, dice.uuid()), dice, log);
  }
}
