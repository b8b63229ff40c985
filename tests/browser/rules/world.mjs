// Time, chance and network of `pulse.js`, played.

import { readFile } from 'node:fs/promises';

globalThis.CustomEvent ??= class extends Event {
  constructor(name, { detail }) {
    super(name);
    this.detail = detail;
  }
};

// As a module whatever this version of Node takes a `.js` for.
const source = await readFile(new URL('../../../examples/browser/pulse.js', import.meta.url));
export const { Pulse } = await import(`data:text/javascript;base64,${source.toString('base64')}`);

/** A stream of numbers from a seed (mulberry32). */
export function chance(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Socket extends EventTarget {
  bufferedAmount = 0;
  isStuck = false; // what is sent stays in the buffer
  sent = [];
  closes = [];

  constructor(world, protocols) {
    super();
    this.world = world;
    this.protocols = protocols;
  }

  send(data) {
    this.sent.push({ at: this.world.time, data });
    if (this.isStuck) this.bufferedAmount += data.length;
  }

  close(code, reason) {
    this.closes.push({ at: this.world.time, code, reason });
  }

  open() {
    this.dispatchEvent(new Event('open'));
  }

  say(data = 'beat') {
    this.dispatchEvent(Object.assign(new Event('message'), { data }));
  }

  end(code = 1006, reason = '') {
    this.dispatchEvent(Object.assign(new Event('close'), { code, reason }));
  }
}

export class World {
  time = 1_000;
  sockets = [];
  page = Object.assign(new EventTarget(), { visibilityState: 'visible' });
  window = new EventTarget();
  #timers = new Map();
  #numbers = 0;

  constructor(draw = () => 0.5) {
    this.draw = draw;
  }

  random = () => this.draw();

  now = () => this.time;
  connect = (_, protocols) => {
    this.sockets.push(new Socket(this, protocols));
    return this.socket;
  };
  setTimeout = (callback, delay) => {
    this.#timers.set(++this.#numbers, { at: this.time + delay, callback });
    return this.#numbers;
  };
  clearTimeout = (number) => this.#timers.delete(number);

  /** The latest. */
  get socket() {
    return this.sockets.at(-1);
  }

  get timers() {
    return this.#timers.size;
  }

  /** When the next timer rings. */
  get next() {
    return Math.min(...[...this.#timers.values()].map(({ at }) => at));
  }

  /** Time passes, and timers ring when they should. */
  run(span) {
    const until = this.time + span;
    while (this.next <= until) {
      this.time = Math.max(this.time, this.next);
      this.ring();
    }
    this.time = until;
  }

  /** Time passes, and nothing of this page runs. */
  freeze(span) {
    this.time += span;
  }

  /** Timers that are due ring, however late. */
  ring() {
    for (const [number, { at, callback }] of [...this.#timers]) {
      if (at <= this.time && this.#timers.delete(number)) callback();
    }
  }
}

/** A pulse in a world, with all it tells. */
export function start(world, options = {}) {
  const pulse = new Pulse('ws://server/link', { interval: 2_000, silence: 6_000, ...options }, world);
  const events = [];
  for (const name of ['up', 'data', 'beat', 'stall', 'down', 'retry', 'gaveup']) {
    pulse.addEventListener(name, ({ detail }) => events.push({ at: world.time, name, ...detail }));
  }
  const named = (name) => events.filter((event) => event.name === name);
  return { pulse, events, named };
}

/** The same with a link that is up. */
export function open(world, options) {
  const started = start(world, options);
  world.socket.open();
  return started;
}
