// The rules of `pulse.js`, in virtual time: those of nabiz, as far as they
// concern a page.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { World, chance, open, start } from './world.mjs';

const between = (value, low, high) => assert.ok(value >= low && value <= high, `${value} not in [${low}, ${high}]`);

// ---- when we must send

test('the first beat comes anywhere in the interval, later ones a bit before it', () => {
  const firsts = [];
  for (let seed = 0; seed < 500; seed++) {
    const world = new World(chance(seed));
    open(world, { silence: 1e9 });
    world.run(100_000);
    const times = world.socket.sent.map(({ at }) => at);
    firsts.push(times[0] - 1_000);
    times.slice(1).forEach((at, nth) => between(at - times[nth], 1_800, 2_001));
  }
  between(Math.min(...firsts), 0, 40);
  between(Math.max(...firsts), 1_960, 2_001);
});

test('what we send pushes the beat back, what we receive does not', () => {
  const world = new World();
  const { pulse } = open(world);
  world.run(900);
  pulse.send('a word');
  world.run(900);
  world.socket.say('theirs');
  assert.equal(world.socket.sent.length, 1);
  world.run(150);
  assert.deepEqual(world.socket.sent.map(({ data }) => data), ['a word', 'beat']);
});

test('a message is a tick: a page whose timers sleep beats when it hears the server', () => {
  const world = new World();
  open(world);
  for (let turn = 0; turn < 100; turn++) {
    world.freeze(2_000);
    world.socket.say();
  }
  between(world.socket.sent.length, 95, 101);
});

test('nothing is sent without a link', () => {
  const world = new World();
  const { pulse } = start(world);
  assert.equal(pulse.send('early'), false);
  world.socket.open();
  assert.equal(pulse.send('word'), true);
  world.socket.end();
  assert.equal(pulse.send('late'), false);
});

test('one beat in flight at a time, and stuck output is not the server that fell silent', () => {
  const world = new World();
  const { named } = open(world, { silence: 60_000, writeTimeout: 20_000, backoff: { initial: 1_000 } });
  world.socket.isStuck = true;
  world.run(10_000);
  assert.equal(world.socket.sent.length, 1);
  assert.equal(named('beat').length, 0);
  world.socket.bufferedAmount -= 1; // it moves
  world.run(19_000);
  assert.equal(named('down').length, 0);
  world.run(2_000);
  assert.equal(named('down')[0].why, 'WriteStalled');
});

test('a beat that was flushed late is told then, and the next follows', () => {
  const world = new World();
  const { named } = open(world, { silence: 60_000 });
  world.socket.isStuck = true;
  world.run(3_000);
  world.socket.isStuck = false;
  world.socket.bufferedAmount = 0;
  world.run(100);
  assert.equal(named('beat').length, 1);
  world.run(2_000);
  assert.equal(named('beat').length, 2);
});

// ---- when the server is dead

test('silence is borne to its limit and no longer', () => {
  const world = new World();
  const { named } = open(world);
  const { socket } = world;
  world.run(5_000);
  socket.say('any word is evidence');
  world.run(5_999);
  assert.equal(named('down').length, 0);
  world.run(30);
  assert.deepEqual([named('down')[0].why, socket.closes[0].reason], ['PeerSilent', 'PeerSilent']);
  between(named('down')[0].silence, 6_000, 6_030);
});

test('an hour of beats keeps the link', () => {
  const world = new World(chance(7));
  const { events, named } = open(world);
  for (let beat = 0; beat < 1_800; beat++) {
    world.run(2_000);
    world.socket.say();
  }
  assert.deepEqual([named('down').length, named('stall').length], [0, 0]);
  between(named('beat').length, 1_800, 2_001);
  assert.equal(events.at(-1).name, 'data');
});

test('a message that was there comes before the verdict', () => {
  const world = new World();
  const { named } = open(world);
  world.run(5_500);
  world.freeze(1_000); // busy; within the tolerance
  world.ring();
  world.socket.say();
  world.run(5_900);
  assert.equal(named('down').length, 0);
});

test('a word after the close changes nothing', () => {
  const world = new World();
  const { named } = open(world);
  const { socket } = world;
  world.run(6_100);
  socket.say();
  socket.end(1000);
  assert.deepEqual([named('down').length, named('data').length], [1, 0]);
});

// ---- late ticks convict nobody, once

test('after a freeze the server is asked, and judged from then', () => {
  const world = new World();
  const { named, pulse } = open(world);
  world.run(2_000);
  world.freeze(3_600_000);
  world.ring();
  assert.equal(named('stall').length, 1);
  assert.equal(world.socket.sent.at(-1).at, world.time);
  assert.ok(pulse.status.suspect);
  world.run(5_990);
  assert.equal(named('down').length, 0);
  world.run(50);
  assert.equal(named('down')[0].why, 'PeerSilent');
});

test('evidence ends suspicion, whichever comes first after the freeze', () => {
  for (const isMessageFirst of [true, false]) {
    const world = new World();
    const { named, pulse } = open(world);
    world.freeze(60_000);
    if (!isMessageFirst) world.ring();
    world.socket.say();
    world.ring();
    assert.equal(pulse.status.suspect, false);
    world.run(5_900);
    assert.equal(named('down').length, 0);
  }
});

test('forgiveness ends: however coarse the ticks, who stays silent is closed', () => {
  for (const period of [1_000, 5_000, 10_000, 60_000]) {
    const world = new World();
    const { named } = open(world);
    while (named('down').length === 0) {
      world.freeze(period);
      world.ring();
      assert.ok(world.time - 1_000 <= 2 * (6_000 + period) + period);
    }
  }
});

test('stuck output has its whole time again, too', () => {
  const world = new World();
  const { named } = open(world, { silence: 60_000, writeTimeout: 20_000 });
  world.socket.isStuck = true;
  world.run(3_000);
  world.freeze(3_600_000);
  world.ring();
  world.run(19_900);
  assert.equal(named('down').length, 0);
  world.run(200);
  assert.equal(named('down')[0].why, 'WriteStalled');
});

test('a freeze that is told of is one stall', () => {
  const world = new World();
  const { named, pulse } = open(world);
  world.freeze(60_000);
  pulse.resumed();
  world.ring();
  assert.equal(named('stall').length, 1);
});

test('a late dial gets its whole time again, once', () => {
  const world = new World();
  const { named } = start(world, { connectTimeout: 4_000 });
  const { socket } = world;
  world.freeze(60_000);
  world.ring();
  world.run(3_900);
  assert.equal(socket.closes.length, 0);
  world.freeze(60_000);
  world.ring();
  assert.equal(socket.closes.length, 1);
  socket.end();
  assert.equal(named('down')[0].why, 'ConnectTimeout');
});

test('who comes back to the page has the server asked', () => {
  const world = new World();
  const { named } = open(world);
  const news = [
    () => world.page.dispatchEvent(new Event('visibilitychange')),
    () => world.page.dispatchEvent(new Event('resume')),
    () => world.window.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true })),
    () => world.window.dispatchEvent(new Event('online')),
  ];
  for (const [nth, tell] of news.entries()) {
    world.run(100);
    tell();
    assert.equal(named('stall').length, nth + 1);
    assert.equal(world.socket.sent.length, nth + 1);
  }
  world.page.visibilityState = 'hidden';
  news[0]();
  assert.equal(named('stall').length, news.length);
});

// ---- coming back

/** Fails dial after dial; the delays. */
function failing(world, { named }, dials) {
  for (let dial = 0; dial < dials; dial++) {
    const before = world.sockets.length;
    world.socket.end();
    world.run(named('down').at(-1).retryIn + 1);
    assert.equal(world.sockets.length, before + 1);
  }
  return named('down').map(({ retryIn }) => retryIn);
}

test('delays: cap, then jitter, and still jitter at the cap', () => {
  const backoff = { initial: 1_000, multiplier: 1.6, max: 30_000 };
  const most = Array(20).fill(0);
  let sum = 0;
  for (let seed = 0; seed < 300; seed++) {
    const world = new World(chance(seed));
    const delays = failing(world, start(world, { backoff }), 20);
    delays.forEach((delay, nth) => {
      between(delay, 0, Math.min(30_000, 1_000 * 1.6 ** nth));
      most[nth] = Math.max(most[nth], delay);
    });
    sum += delays.at(-1);
  }
  most.forEach((delay, nth) => between(delay / Math.min(30_000, 1_000 * 1.6 ** nth), 0.97, 1));
  between(sum / 300, 13_500, 16_500);
});

test('attempts start again only after a link that held', () => {
  const world = new World();
  const started = start(world, { stableAfter: 10_000 });
  failing(world, started, 5);
  const attempts = (held) => {
    world.socket.open();
    for (let second = 0; second < held; second++) {
      world.run(1_000);
      world.socket.say();
    }
    world.socket.end();
    const { attempt, retryIn } = started.named('down').at(-1);
    world.run(retryIn + 1);
    return attempt;
  };
  assert.deepEqual([attempts(0), attempts(9), attempts(11), attempts(1)], [6, 7, 1, 2]);
});

test('a mute server was not stable because we waited for it', () => {
  const world = new World();
  const { named } = open(world, { silence: 20_000 });
  world.run(21_000);
  assert.equal(named('down')[0].attempt, 1);
  world.run(1_000);
  world.socket.open();
  world.run(21_000);
  assert.equal(named('down')[1].attempt, 2);
});

test('a hint is a floor, with jitter on top, and lasts until there is a link', () => {
  const delays = [];
  for (let seed = 0; seed < 300; seed++) {
    const world = new World(chance(seed));
    const { named } = open(world);
    world.socket.end(seed % 2 ? 1012 : 1013, 'Draining, retry-after=12.5');
    const { retryIn } = named('down')[0];
    delays.push(retryIn);
    between(retryIn, 12_500, 12_500 * 1.25);
    world.run(1_000);
    assert.equal(world.sockets.length, 1);
  }
  between(Math.max(...delays) - Math.min(...delays), 2_900, 3_125);
});

test('a hint is believed within reason, and of a restarting server only', () => {
  const retryIn = (code, reason) => {
    const world = new World();
    const { named } = open(world, { maxRetryAfter: 60_000 });
    world.socket.end(code, reason);
    return named('down')[0].retryIn;
  };
  between(retryIn(1012, 'retry-after=999999'), 60_000, 75_000);
  between(retryIn(1012, 'retry-after=soon'), 0, 1_000);
  between(retryIn(1012, ''), 0, 1_000);
  between(retryIn(1001, 'retry-after=60'), 0, 1_000);
});

test('who asks goes sooner, once a wait, and never below the floor', () => {
  const world = new World();
  const started = start(world, { backoff: { initial: 1_000, multiplier: 10, max: 100_000 } });
  const { pulse, named } = started;
  failing(world, started, 2);
  world.socket.end();
  assert.equal(named('down').at(-1).retryIn, 50_000);
  pulse.resumed();
  assert.deepEqual(named('retry').map(({ retryIn }) => retryIn), [500]);
  world.run(400);
  pulse.resumed();
  assert.equal(named('retry').length, 1);
  world.run(100);
  assert.equal(world.sockets.length, 4);

  world.socket.open();
  world.socket.end(1012, 'retry-after=30');
  pulse.resumed();
  between(pulse.status.retryIn, 30_000, 31_000);
});

test('who asks never goes later', () => {
  const world = new World(() => 0.1);
  const { pulse, named } = open(world);
  world.socket.end();
  world.draw = () => 0.9;
  pulse.resumed();
  assert.equal(named('retry').length, 0);
  world.draw = () => 0;
  pulse.resumed();
  assert.equal(named('retry').length, 0, 'once a wait');
  assert.equal(pulse.status.retryIn, 100);
});

test('a dial has its time', () => {
  const world = new World();
  const { named, pulse } = start(world, { connectTimeout: 8_000, closeGrace: 1_000 });
  const { socket } = world;
  world.run(8_000);
  assert.equal(pulse.status.phase, 'closing');
  world.run(1_000); // nobody answers: politeness has an end
  assert.deepEqual([socket.closes.length, named('down')[0].why], [1, 'ConnectTimeout']);
  socket.open();
  assert.equal(pulse.status.phase, 'waiting');
});

// ---- the end

test('a shutdown is final in every phase', () => {
  const phases = {
    connecting: (world) => start(world),
    open: (world) => open(world),
    waiting: (world) => {
      const started = open(world);
      world.socket.end();
      return started;
    },
    closing: (world) => {
      const started = start(world, { connectTimeout: 1_000 });
      world.run(1_000);
      return started;
    },
  };
  for (const [phase, reach] of Object.entries(phases)) {
    const world = new World();
    const { pulse, named } = reach(world);
    assert.equal(pulse.status.phase, phase);
    pulse.shutdown();
    world.socket.end(1000);
    world.run(100_000);
    assert.equal(pulse.status.phase, 'done', phase);
    assert.equal(named('down').at(-1)?.retryIn, phase === 'waiting' ? 500 : undefined);
    pulse.resumed();
    pulse.shutdown();
    world.window.dispatchEvent(new Event('online'));
    assert.deepEqual([world.sockets.length, world.timers], [1, 0]);
    assert.equal(world.socket.closes.length, phase === 'waiting' ? 0 : 1);
  }
});

test('who is refused gives up', () => {
  const world = new World();
  const { named, pulse } = open(world);
  world.socket.end(1008, 'who are you?');
  assert.deepEqual(named('gaveup').map(({ why }) => why), ['Rejected']);
  assert.equal(pulse.status.phase, 'done');
});

test('a listener may do anything', () => {
  const world = new World();
  const { pulse, named } = open(world);
  pulse.addEventListener('data', () => pulse.send('thanks'));
  pulse.addEventListener('beat', () => pulse.shutdown());
  world.socket.say();
  assert.equal(world.socket.sent.at(-1).data, 'thanks');
  world.run(3_000);
  assert.equal(pulse.status.phase, 'closing');
  world.socket.end(1000);
  assert.equal(named('down')[0].why, 'Shutdown');
});

// ---- whatever happens

test('any events at any times: one socket, one close, delays in bounds, an end to silence', () => {
  for (let seed = 1; seed <= 400; seed++) {
    const random = chance(seed);
    const world = new World(random);
    const pick = (list) => list[Math.floor(random() * list.length)];
    const { pulse, events, named } = start(world);
    for (let turn = 0; turn < 300; turn++) {
      pick([
        () => world.run(random() * 3_000),
        () => world.run(random() * 300),
        () => (world.freeze(random() ** 4 * 100_000), world.ring()),
        () => world.freeze(random() * 10_000),
        () => pick(world.sockets).open(),
        () => world.socket.open(),
        () => pick(world.sockets).say(),
        () => world.socket.say(),
        () => pick(world.sockets).end(pick([1000, 1006, 1012, 4000]), pick(['', 'retry-after=3'])),
        () => pulse.resumed(),
        () => pulse.send('word'),
        () => (world.socket.isStuck = !world.socket.isStuck),
        () => (world.socket.bufferedAmount = Math.floor(world.socket.bufferedAmount * random())),
      ])();
      const { phase } = pulse.status;
      // Dialling, closing and waiting have an end, and so has silence.
      assert.equal(world.timers, 1, phase);
    }
    for (const socket of world.sockets) assert.ok(socket.closes.length <= 1);
    for (const { retryIn, attempt, reason } of named('down')) {
      const bound = Math.min(120_000, 1_000 * 1.6 ** (attempt - 1));
      if (!reason && !events.some((event) => event.reason)) between(retryIn, 0, bound);
      between(retryIn, 0, bound + 3_000 + Math.max(bound, 750));
    }
    const sent = world.sockets.flatMap((socket) => socket.sent).length;
    assert.ok(pulse.status.beats <= sent);
    world.sockets.forEach((socket) => (socket.bufferedAmount = 0));
    pulse.shutdown();
    world.socket.end(1000);
    world.run(10_000);
    assert.equal(pulse.status.phase, 'done');
  }
});
