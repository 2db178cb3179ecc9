// ML-KEM-1024 and ML-KEM-768 against another implementation, byte for byte:
// seeded keys, ciphertexts, secrets, and the secret of a damaged ciphertext.
// Native only: the module gives no access to its primitives.
import assert from 'node:assert/strict';
import { ml_kem768, ml_kem1024 } from '@noble/post-quantum/ml-kem.js';
import { Dice } from './side.mjs';

const CASES = 300;
const bin = (hex) => new Uint8Array(Buffer.from(hex, 'hex'));
const hex = (bytes) => Buffer.from(bytes).toString('hex');

export async function kem({ subject, firstSeed, log }) {
  const dice = new Dice(firstSeed);
  for (const [op, other] of [['mlkem1024', ml_kem1024], ['mlkem768', ml_kem768]]) {
    for (let i = 0; i < CASES; i++) {
      const [seed, coins] = [dice.hex(64), dice.hex(32)];
      const theirs = other.keygen(bin(seed));
      const sealed = other.encapsulate(theirs.publicKey, bin(coins));
      const damaged = sealed.cipherText.slice();
      damaged[dice.below(damaged.length)] ^= 1 << dice.below(8);
      const ours = await subject.call({ op, seed, coins, foreign: hex(damaged) });
      assert.equal(ours.publicKey, hex(theirs.publicKey));
      assert.equal(ours.secretKey, hex(theirs.secretKey));
      assert.equal(ours.ciphertext, hex(sealed.cipherText));
      assert.equal(ours.sent, hex(sealed.sharedSecret));
      assert.equal(ours.got, ours.sent);
      assert.equal(ours.foreign, hex(other.decapsulate(damaged, theirs.secretKey)));
      assert.notEqual(ours.foreign, ours.sent);
    }
    log(`${op}: ${CASES} cases`);
  }
}
