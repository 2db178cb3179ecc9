// What the scenarios share: a seeded generator, and one device as an object
// whatever implementation is behind it.
import assert from 'node:assert/strict';

/* Small seeded generator (mulberry32); the seed is printed on failure. */
export class Dice {
  constructor(seed) {
    this.state = seed >>> 0;
  }
  next() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }
  below(count) {
    return Math.floor(this.next() * count);
  }
  chance(probability) {
    return this.next() < probability;
  }
  uuid() {
    const hex = Array.from({ length: 32 }, () => this.below(16).toString(16));
    hex[12] = '4';
    hex[16] = '8';
    const text = hex.join('');
    return [text.slice(0, 8), text.slice(8, 12), text.slice(12, 16), text.slice(16, 20), text.slice(20)].join('-');
  }
  hex(bytes) {
    return Array.from({ length: 2 * bytes }, () => this.below(16).toString(16)).join('');
  }
}

export class Side {
  static async create(peer, uuid, device = 1, options = {}) {
    const side = new Side();
    const { identity, identityPrivate, peer: handle } = await peer.call({ op: 'new', uuid, device, ...options });
    return Object.assign(side, { peer, uuid, device, identity, identityPrivate, handle });
  }
  call(op, fields = {}) {
    return this.peer.call({ op, peer: this.handle, ...fields });
  }
  at(other) {
    return { uuid: other.uuid, device: other.device };
  }
  publish(options = { oneTime: true }) {
    return this.call('publish', options);
  }
  async start(other, options) {
    const bundle = await other.publish(options);
    return this.call('start', { ...bundle, uuid: other.uuid });
  }
  enc(other, pt) {
    return this.call('enc', { ...this.at(other), pt });
  }
  async dec(other, message) {
    return (await this.call('dec', { ...this.at(other), ...message })).pt;
  }
  /* One message there, checked. */
  async say(other, pt) {
    const message = await this.enc(other, pt);
    assert.equal(await other.dec(this, message), pt);
    return message;
  }
  /* A conversation until both sides have acknowledged the session. */
  async meet(other) {
    await this.start(other);
    await this.say(other, '01');
    await other.say(this, '02');
    await this.say(other, '03');
  }
  async digest() {
    return (await this.call('state')).digest;
  }
  /* The action must be refused (with one of `codes`, if given) and leave all
   * that this side stores as it was. */
  async refuses(action, codes) {
    const before = await this.digest();
    let refused;
    try {
      await action();
    } catch (error) {
      if (error.code === undefined) throw error;
      refused = error;
    }
    assert.ok(refused, 'was not refused');
    if (codes) assert.ok(codes.includes(refused.code), `refused with ${refused.code}, not ${codes}`);
    assert.equal(await this.digest(), before, 'the refusal changed the state');
    return refused;
  }
}
