// People with several devices, devices linked anew, sessions started from both
// sides at once, archived sessions, and identity keys that change.
import assert from 'node:assert/strict';
import { Dice, Side } from './side.mjs';

async function threeDevicesEach(subject, judge, dice) {
  const users = [];
  for (const peer of [subject, judge]) {
    const uuid = dice.uuid();
    const first = await Side.create(peer, uuid, 1);
    const devices = [first];
    for (const device of [2, 3]) {
      devices.push(await Side.create(peer, uuid, device, { identity: first.identityPrivate }));
    }
    assert.ok(devices.every((d) => d.identity === first.identity));
    users.push(devices);
  }
  const [ours, theirs] = users;
  for (const a of ours) {
    for (const b of theirs) await (dice.chance(0.5) ? a.meet(b) : b.meet(a));
  }
  for (let i = 0; i < 30; i++) {
    const [from, to] = dice.chance(0.5) ? [ours, theirs] : [theirs, ours];
    const pt = dice.hex(20);
    for (const device of to) await from[dice.below(3)].say(device, pt);
  }
  return [ours, theirs];
}

/* A device is wiped and linked again: same user and device id, same identity,
 * everything else new. Both ways of noticing: a new prekey message from it,
 * and a new bundle of it. */
async function relinked(peer, other, old) {
  const fresh = await Side.create(peer, old.uuid, old.device, { identity: old.identityPrivate });
  await fresh.start(other);
  await fresh.say(other, 'a1');
  await other.say(fresh, 'a2');
  await fresh.say(other, 'a3');
  const again = await Side.create(peer, old.uuid, old.device, { identity: old.identityPrivate });
  await other.start(again);
  await other.say(again, 'b1');
  await again.say(other, 'b2');
  return again;
}

/* Both begin before either has heard the other; messages cross. */
async function bothStart(a, b, dice) {
  await a.start(b);
  await b.start(a);
  for (let round = 0; round < 5; round++) {
    const fromA = await a.enc(b, '11');
    const fromB = await b.enc(a, '22');
    const deliver = [() => b.dec(a, fromA), () => a.dec(b, fromB)];
    if (dice.chance(0.5)) deliver.reverse();
    for (const one of deliver) assert.match(await one(), /^(11|22)$/);
  }
  for (let i = 0; i < 10; i++) await (i % 2 ? a.say(b, '33') : b.say(a, '44'));
}

/* First messages out of order, and many before the first answer. */
async function lateFirst(a, b) {
  await a.start(b);
  const sent = [];
  for (let i = 0; i < 10; i++) sent.push(await a.enc(b, `0${i}`));
  for (const i of [4, 0, 9, 2, 1, 8, 3, 7, 5, 6]) assert.equal(await b.dec(a, sent[i]), `0${i}`);
  await b.say(a, 'ff');
  assert.equal((await a.enc(b, '00')).type, 2);
}

/* A message of a session that has been archived since still opens. */
async function archived(a, b) {
  await a.meet(b);
  const old = await a.enc(b, 'e1');
  for (let i = 0; i < 3; i++) {
    await b.call('archive', b.at(a));
    await b.start(a);
    await b.say(a, 'e2');
    await a.say(b, 'e3');
  }
  assert.equal(await b.dec(a, old), 'e1');
  await b.say(a, 'e4');
}

/* The person gets a new identity: the official side refuses until approved,
 * ours reports the change. */
async function identityChanges(subject, judge, dice) {
  const [ours, theirs] = [await Side.create(subject, dice.uuid()), await Side.create(judge, dice.uuid())];
  await ours.meet(theirs);

  const theirsNew = await Side.create(judge, theirs.uuid);
  await theirsNew.start(ours);
  const hello = await theirsNew.enc(ours, 'c1');
  const received = await ours.call('dec', { ...ours.at(theirsNew), ...hello });
  assert.equal(received.pt, 'c1');
  assert.equal(received.seen, 2);
  await ours.say(theirsNew, 'c2');
  const stale = await theirs.enc(ours, 'c3'); // under the key that was replaced
  await ours.refuses(() => ours.dec(theirs, stale), ['identity', 'decrypt', 'no_session']);

  // After a person had verified the key, nothing is sent to a new one unasked.
  await ours.call('approve', { ...ours.at(theirsNew), identity: theirsNew.identity, verified: true });
  const theirsThird = await Side.create(judge, theirs.uuid);
  await ours.start(theirsThird);
  await ours.refuses(() => ours.enc(theirsThird, 'c4'), ['identity']);
  await ours.call('approve', { ...ours.at(theirsThird), identity: theirsThird.identity, verified: false });
  await ours.say(theirsThird, 'c5');

  const oursNew = await Side.create(subject, ours.uuid);
  await oursNew.start(theirsThird);
  const surprise = await oursNew.enc(theirsThird, 'd1');
  await assert.rejects(theirsThird.dec(oursNew, surprise), (error) => error.code !== undefined);
  await theirsThird.call('approve', { ...theirsThird.at(oursNew), identity: oursNew.identity });
  const welcome = await oursNew.enc(theirsThird, 'd2');
  assert.equal(await theirsThird.dec(oursNew, welcome), 'd2');
  await theirsThird.say(oursNew, 'd3');
}

/* A session to a device that never answered is given up after 30 days. */
async function unanswered(subject, judge, dice) {
  const [ours, theirs] = [await Side.create(subject, dice.uuid()), await Side.create(judge, dice.uuid())];
  await ours.start(theirs);
  await ours.enc(theirs, '01');
  await subject.call({ op: 'clock', ms: 31 * 24 * 3600 * 1000 });
  await ours.refuses(() => ours.enc(theirs, '02'), ['no_session']);
  await ours.start(theirs);
  await ours.say(theirs, '03');
}

export async function devices({ subject, judge, firstSeed, log }) {
  const dice = new Dice(firstSeed);
  const [ours, theirs] = await threeDevicesEach(subject, judge, dice);
  log('three devices a user');
  theirs[1] = await relinked(judge, ours[0], theirs[1]);
  ours[2] = await relinked(subject, theirs[0], ours[2]);
  log('relinked devices');
  for (const [p, q] of [[subject, judge], [judge, subject]]) {
    for (let i = 0; i < 4; i++) {
      await bothStart(await Side.create(p, dice.uuid()), await Side.create(q, dice.uuid()), dice);
    }
    await lateFirst(await Side.create(p, dice.uuid()), await Side.create(q, dice.uuid()));
    await archived(await Side.create(p, dice.uuid()), await Side.create(q, dice.uuid()));
  }
  log('simultaneous starts, late first messages, archived sessions');
  await identityChanges(subject, judge, dice);
  log('identity changes');
  await unanswered(subject, judge, dice);
  log('unanswered sessions');
}
