// Safety numbers: the same digits, and QR codes that either side accepts.
import assert from 'node:assert/strict';
import { Dice, Side } from './side.mjs';

const ID_LENGTHS = [16, 16, 16, 1, 36, 255];

export async function fingerprints({ subject, judge, firstSeed, log }) {
  const dice = new Dice(firstSeed);
  for (let round = 0; round < 24; round++) {
    const ours = await Side.create(subject, dice.uuid());
    const theirs = await Side.create(judge, dice.uuid());
    const [oursId, theirsId] = [dice.hex(ID_LENGTHS[round % 6]), dice.hex(ID_LENGTHS[(round + 3) % 6])];
    const seenByUs = { localId: oursId, remoteId: theirsId, remoteKey: theirs.identity };
    const seenByThem = { localId: theirsId, remoteId: oursId, remoteKey: ours.identity };
    const [a, b] = [await ours.call('fp', seenByUs), await theirs.call('fp', seenByThem)];
    assert.match(a.digits, /^\d{60}$/);
    assert.equal(a.digits, b.digits);
    assert.equal((await ours.call('fp', { ...seenByUs, scanned: b.qr })).match, 1);
    assert.equal((await theirs.call('fp', { ...seenByThem, scanned: a.qr })).match, true);

    // Another person's key is found out, on both sides.
    const stranger = await Side.create(judge, dice.uuid());
    const wrong = await theirs.call('fp', { ...seenByThem, remoteKey: stranger.identity });
    assert.notEqual(wrong.digits, a.digits);
    assert.equal((await ours.call('fp', { ...seenByUs, scanned: wrong.qr })).match, 0);
    const mistaken = await ours.call('fp', { ...seenByUs, remoteKey: stranger.identity });
    assert.equal((await theirs.call('fp', { ...seenByThem, scanned: mistaken.qr })).match, false);
  }
  log('24 pairs of people');
}
