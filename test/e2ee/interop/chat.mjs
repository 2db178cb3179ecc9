// Long conversations: loss, reordering and duplicates, sessions reloaded at
// every message, the post-quantum ratchet turning.
import assert from 'node:assert/strict';
import { Dice, Side } from './side.mjs';

const LOSS = 0.1;
const LATE = 0.15;
const TWICE = 0.03;
const LATE_STEPS_MAX = 6; // within the five chains that a receiver keeps

/* One conversation; `swap` makes the official side begin. Returns counts. */
async function conversation(subject, judge, seed, messages, swap) {
  const dice = new Dice(seed);
  const sides = [await Side.create(subject, dice.uuid(), 1 + dice.below(127)),
    await Side.create(judge, dice.uuid(), 1 + dice.below(127))];
  const [first, second] = swap ? [sides[1], sides[0]] : sides;
  await first.start(second, { oneTime: dice.chance(0.7), lastResort: dice.chance(0.5) });
  const counts = { sent: 0, lost: 0, late: 0, repeated: 0 };
  const flight = []; // {due, from, to, message, pt}
  const delivered = new Set();
  let sender = first;

  for (let step = 0; step < messages || flight.length > 0; step++) {
    const due = flight.filter((parcel) => parcel.due <= step || step >= messages);
    for (const parcel of due) {
      flight.splice(flight.indexOf(parcel), 1);
      const { from, to, message, pt } = parcel;
      if (delivered.has(pt)) {
        await assert.rejects(to.dec(from, message), (error) => /duplicate|old counter/i.test(`${error.code} ${error.message}`));
      } else {
        assert.equal(await to.dec(from, message), pt);
        delivered.add(pt);
        to.heard = true;
      }
    }
    if (step >= messages) continue;
    if (dice.chance(0.6)) sender = sides[dice.below(2)];
    if (sender === second && !second.heard) sender = first;
    const pt = dice.hex(8 + dice.below(120));
    const to = sender === first ? second : first;
    const message = await sender.enc(to, pt);
    counts.sent++;
    if (dice.chance(LOSS)) {
      counts.lost++;
      continue;
    }
    const late = dice.chance(LATE) ? 1 + dice.below(LATE_STEPS_MAX) : 0;
    counts.late += late > 0;
    flight.push({ due: step + 1 + late, from: sender, to, message, pt });
    if (dice.chance(TWICE)) {
      counts.repeated++;
      flight.push({ due: step + 2 + late, from: sender, to, message, pt });
    }
  }
  const info = await sides[0].call('info', sides[0].at(sides[1]));
  return { ...counts, epoch: info.epoch };
}

export async function chat({ subject, judge, seeds, messages, firstSeed, log }) {
  for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
    try {
      const counts = await conversation(subject, judge, seed, messages, seed % 2 === 1);
      log(`seed ${seed}: ${JSON.stringify(counts)}`);
      assert.ok(counts.epoch >= Math.min(20, messages / 100), `only ${counts.epoch} post-quantum epochs`);
    } catch (error) {
      error.message = `seed ${seed}: ${error.message}`;
      throw error;
    }
  }
}
