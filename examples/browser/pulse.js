// A WebSocket that stays connected, by the rules of nabiz: it beats, notices
// when the server is dead, and comes back. One file, no dependency: copy it.
//
//     const pulse = new Pulse('wss://example.org/link', { isBeat: (data) => data === 'beat' });
//     pulse.addEventListener('data', (event) => console.log(event.detail.data));
//
// | event  | detail                                                             |
// |--------|--------------------------------------------------------------------|
// | up     | attempt                                                            |
// | data   | data, isBeat                                                       |
// | beat   | id: a heartbeat of ours was handed to the network                  |
// | stall  | we slept, or were frozen: the server is suspect, but not blamed    |
// | down   | why, silence, code, reason; retryIn and attempt of the next dial   |
// | retry  | retryIn, attempt: the next dial was moved                          |
// | gaveup | why: nothing follows                                               |
//
// All times are milliseconds.

const DEFAULTS = {
  interval: 55_000, // beat when nothing else was sent for this long
  intervalJitter: 0.1, // shortens only
  silence: 120_000, // the server is dead after this long without a message
  writeTimeout: 20_000, // a beat that is still in our buffer by then is stuck
  connectTimeout: 20_000,
  closeGrace: 5_000, // how long a polite close may take
  stallTolerance: null, // later than this is our stall [a quarter of the shortest limit, at most 5 s]
  backoff: { initial: 1_000, multiplier: 1.6, max: 120_000 },
  stableAfter: 10_000, // attempts start again after a link that held this long
  maxRetryAfter: 3_600_000, // a bad hint cannot keep us away for good
  protocols: [],
  makeBeat: () => 'beat',
  isBeat: (data) => data === 'beat',
};

// Given as an argument, so that a test can play time, chance and network.
const WORLD = {
  now: () => performance.now(), // may stop while the machine sleeps: hence `resumed`
  random: Math.random,
  setTimeout: (callback, delay) => setTimeout(callback, delay),
  clearTimeout: (timer) => clearTimeout(timer),
  connect: (url, protocols) => new WebSocket(url, protocols),
  page: globalThis.document,
  window: globalThis.window,
};

/** No event tells that a message has left our buffer: look again so often. */
const LOOK = 100;
/** Messages that are there already come before a verdict. */
const MOMENT = 20;
/** As far as a timer reaches. */
const LONGEST = 2 ** 31 - 1;

const isLiveness = (why) => why === 'PeerSilent' || why === 'WriteStalled';

export class Pulse extends EventTarget {
  #url;
  #options;
  #world;
  #tolerance;
  #phase = 'connecting'; // → open → closing → waiting → connecting …, and done
  #socket = null;
  #since = 0; // when we began to dial, or to close
  #forgiven = false; // the dial got its whole time again
  #link = null; // the clocks of one open link
  #wait = null; // until the next dial
  #floor = null; // before which the server does not want us back
  #ending = null; // what a close in progress leads to
  #attempt = 0;
  #beats = 0;
  #heard = 0;
  #stalls = 0;
  #lastEnd = null;
  #last = 0;
  #timer = null;
  #news = []; // told when the step is complete: a listener may call us
  #listeners = new AbortController();

  constructor(url, options = {}, world = {}) {
    super();
    this.#url = url;
    this.#options = { ...DEFAULTS, ...options, backoff: { ...DEFAULTS.backoff, ...options.backoff } };
    this.#world = { ...WORLD, ...world };
    const { silence, writeTimeout, connectTimeout, stallTolerance } = this.#options;
    this.#tolerance = stallTolerance ?? Math.min(5_000, Math.min(silence, writeTimeout, connectTimeout) / 4);
    this.#watchPage();
    this.#dial((this.#last = this.#world.now()));
    this.#arm();
  }

  /** Sends at once or not at all: false while there is no link. */
  send(data) {
    if (this.#phase !== 'open') return false;
    this.#step((now) => this.#write(data, now));
    return true;
  }

  /** The machine slept, the network changed, or the user asks to retry now. */
  resumed() {
    this.#step((now) => this.#resume(now), { isStall: false });
  }

  /** Closes politely, for good. */
  shutdown() {
    this.#step((now) => {
      if (this.#phase === 'waiting') this.#finish();
      else if (this.#phase === 'closing') this.#ending.isFinal = true;
      else if (this.#phase !== 'done') this.#close('Shutdown', now);
    });
  }

  get status() {
    const now = this.#now();
    const link = this.#link;
    return {
      phase: this.#phase,
      suspect: link?.suspect ?? false,
      silence: link ? now - link.evidence : null,
      age: link ? now - link.connected : null,
      beats: this.#beats,
      heard: this.#heard,
      stalls: this.#stalls,
      attempt: this.#attempt,
      retryIn: this.#wait ? Math.max(0, this.#wait.dial - now) : null,
      lastEnd: this.#lastEnd,
    };
  }

  // ---- one step: what happened, then what to do, then sleep until the deadline

  #now() {
    return (this.#last = Math.max(this.#last, this.#world.now())); // never backwards
  }

  #step(event, { isStall = true } = {}) {
    const now = this.#now();
    if (isStall) this.#judge(now); // a resume is forgiven as it is, and once
    event?.(now);
    this.#act(now);
    this.#arm();
    for (const news of this.#news.splice(0)) this.dispatchEvent(news);
  }

  #arm() {
    this.#world.clearTimeout(this.#timer);
    const deadline = this.#deadline();
    if (deadline === Infinity) return;
    const delay = Math.max(0, Math.ceil(deadline - this.#now()));
    // It may ring early or late: what counts is the clock.
    this.#timer = this.#world.setTimeout(() => this.#step(), Math.min(delay, LONGEST));
  }

  #deadline() {
    const { connectTimeout, closeGrace } = this.#options;
    switch (this.#phase) {
      case 'connecting':
        return this.#since + connectTimeout;
      case 'open':
        return Math.min(Math.max(this.#verdict().at, this.#link.doubt ?? 0), this.#beatDue(), this.#lookDue());
      case 'closing':
        return this.#since + closeGrace;
      case 'waiting':
        return this.#wait.dial;
      default:
        return Infinity;
    }
  }

  #act(now) {
    if (this.#phase === 'open') this.#actOpen(now);
    if (this.#deadline() > now) return;
    if (this.#phase === 'connecting') this.#close('ConnectTimeout', now);
    else if (this.#phase === 'closing') this.#closed(now);
    else if (this.#phase === 'waiting') this.#dial(now);
  }

  #actOpen(now) {
    this.#look(now);
    const link = this.#link;
    const { at, why } = this.#verdict();
    if (at > now) link.doubt = null;
    else if (link.doubt === null) link.doubt = now + MOMENT;
    else if (link.doubt <= now) return this.#close(why, now);
    if (this.#beatDue() <= now) {
      link.probed = true;
      const beat = ++this.#beats;
      this.#write(this.#options.makeBeat(beat), now, { asked: now, beat });
    }
  }

  // ---- when we must send

  #beatDue() {
    const { asked, flushed, gap, suspect, probed, stalled } = this.#link;
    if (asked !== null) return Infinity; // one in flight at a time
    return suspect && !probed ? stalled : flushed + gap;
  }

  #gap(isFirst) {
    const { interval, intervalJitter } = this.#options;
    // The first comes anywhere in the interval: who connected together does not beat together.
    return interval * (isFirst ? this.#world.random() : 1 - intervalJitter * this.#world.random());
  }

  #write(data, now, beat = {}) {
    this.#look(now);
    this.#socket.send(data);
    Object.assign(this.#link, { handed: now, left: this.#socket.bufferedAmount, ...beat });
    this.#look(now);
  }

  /** What is no longer in the buffer was flushed, at the earliest after it was there last. */
  #look(now) {
    const link = this.#link;
    const left = this.#socket.bufferedAmount;
    if (left === 0) link.flushed = Math.max(link.flushed, link.handed, link.left > 0 ? link.looked : 0);
    else if (left < link.left) link.flushed = now;
    link.left = left;
    link.looked = now;
    if (left === 0 && link.asked !== null) {
      link.asked = null;
      link.gap = this.#gap(false);
      this.#tell('beat', { id: link.beat });
    }
  }

  #lookDue() {
    const { left, looked } = this.#link;
    return left > 0 ? looked + LOOK : Infinity;
  }

  // ---- when the server is dead

  #verdict() {
    const { silence, writeTimeout } = this.#options;
    const { suspect, stalled, evidence, asked, flushed } = this.#link;
    const silent = (suspect ? stalled : evidence) + silence;
    const stuck = asked === null ? Infinity : Math.max(asked, flushed) + writeTimeout;
    return silent <= stuck ? { at: silent, why: 'PeerSilent' } : { at: stuck, why: 'WriteStalled' };
  }

  #received(data, now) {
    Object.assign(this.#link, { evidence: now, suspect: false });
    const isBeat = this.#options.isBeat(data);
    if (isBeat) this.#heard++;
    this.#tell('data', { data, isBeat });
  }

  // ---- late ticks convict nobody, once

  /** Whether we are called so late that we must have slept. */
  #judge(now) {
    if (now <= this.#deadline() + this.#tolerance) return;
    if (this.#phase === 'open' && !this.#link.suspect) this.#forgive(now);
    if (this.#phase === 'connecting' && !this.#forgiven) {
      this.#forgiven = true;
      this.#since = now;
    }
  }

  #resume(now) {
    if (this.#phase === 'open') this.#forgive(now);
    if (this.#phase === 'connecting') this.#since = now;
    if (this.#phase === 'waiting') this.#hurry(now);
  }

  /** What came meanwhile is still unread. So: ask, read, and judge from now. */
  #forgive(now) {
    const link = this.#link;
    this.#look(now);
    this.#stalls++;
    Object.assign(link, { suspect: true, stalled: now, probed: link.asked !== null });
    if (link.asked !== null) link.asked = now;
    this.#tell('stall', {});
  }

  // ---- coming and going

  #dial(now) {
    this.#phase = 'connecting';
    this.#since = now;
    this.#forgiven = false;
    this.#wait = null;
    const socket = (this.#socket = this.#world.connect(this.#url, this.#options.protocols));
    const on = (name, handler) =>
      socket.addEventListener(name, (event) => {
        // What an abandoned socket still has to say is nobody's concern.
        if (socket === this.#socket) this.#step((now) => handler(event, now));
      });
    on('open', (_, now) => this.#connected(now));
    on('message', ({ data }, now) => this.#phase === 'open' && this.#received(data, now));
    on('close', (event, now) => this.#closed(now, event));
  }

  #connected(now) {
    if (this.#phase !== 'connecting') return;
    this.#phase = 'open';
    this.#floor = null;
    this.#link = {
      connected: now,
      evidence: now,
      flushed: now,
      handed: now, // when something was last given to the socket
      left: 0, // in its buffer, when we looked
      looked: now,
      gap: this.#gap(true),
      beat: 0,
      asked: null, // a beat is in flight since then
      suspect: false,
      stalled: now,
      probed: true,
      doubt: null, // a limit has passed; the verdict waits for what is unread
    };
    this.#tell('up', { attempt: this.#attempt });
  }

  #close(why, now) {
    const link = this.#link;
    const until = isLiveness(why) ? link?.evidence : now; // mute is not stable
    this.#ending = { why, isStable: this.#isStable(until), isFinal: why === 'Shutdown' };
    this.#phase = 'closing';
    this.#since = now;
    this.#socket.close(isLiveness(why) ? 4000 : 1000, why);
    if (isLiveness(why)) this.#closed(now); // nobody there to be polite to
  }

  /** The link has ended, whoever did it. */
  #closed(now, { code = null, reason = '' } = {}) {
    const ending = this.#ending ?? {
      why: this.#link ? 'Disconnected' : 'ConnectFailed',
      isStable: this.#isStable(now),
      isFinal: false,
    };
    const silence = this.#link ? now - this.#link.evidence : null;
    if (ending.isStable) this.#attempt = 0;
    this.#lastEnd = ending.why;
    this.#socket = this.#link = this.#ending = null;
    const hint = /\bretry-after=(\d+(\.\d+)?)/.exec(reason);
    if (hint && (code === 1012 || code === 1013)) this.#retryAfter(Number(hint[1]) * 1_000, now);

    const end = { why: ending.why, silence, code, reason };
    if (ending.isFinal || code === 1008) {
      this.#finish();
      this.#tell('down', end);
      if (!ending.isFinal) this.#tell('gaveup', { why: 'Rejected' });
      return;
    }
    this.#rest(now);
    this.#tell('down', { ...end, retryIn: this.#wait.dial - now, attempt: this.#attempt });
  }

  #isStable(until) {
    return this.#link !== null && until - this.#link.connected >= this.#options.stableAfter;
  }

  /** Cap, then jitter: the full range of it, and still at the cap. */
  #rest(now) {
    const { initial, multiplier, max } = this.#options.backoff;
    const { random } = this.#world;
    this.#attempt++;
    const delay = random() * Math.min(max, initial * multiplier ** (this.#attempt - 1));
    let after = delay;
    if (this.#floor && this.#floor.until > now) {
      // On top, because equal hints would herd everyone again.
      const jitter = random() * Math.max(delay, this.#floor.span / 4);
      after = Math.max(delay, this.#floor.until - now + jitter);
    }
    this.#phase = 'waiting';
    this.#wait = { dial: now + after, isHurried: false };
  }

  /** Once per wait the next dial may move to a first attempt's delay. */
  #hurry(now) {
    if (this.#wait.isHurried) return;
    this.#wait.isHurried = true;
    const floor = Math.max(now, this.#floor?.until ?? 0);
    const dial = floor + this.#world.random() * this.#options.backoff.initial;
    if (dial >= this.#wait.dial) return;
    this.#wait.dial = dial;
    this.#tell('retry', { retryIn: dial - now, attempt: this.#attempt });
  }

  #retryAfter(span, now) {
    span = Math.min(span, this.#options.maxRetryAfter);
    if (now + span > (this.#floor?.until ?? 0)) this.#floor = { until: now + span, span };
  }

  #finish() {
    this.#phase = 'done';
    this.#wait = null;
    this.#listeners.abort();
  }

  /** What our timers cannot know: that the page was hidden, frozen or offline. */
  #watchPage() {
    const { page, window } = this.#world;
    const on = (target, name, isNews = () => true) =>
      target?.addEventListener(name, (event) => isNews(event) && this.resumed(), { signal: this.#listeners.signal });
    on(page, 'visibilitychange', () => page.visibilityState === 'visible');
    on(page, 'resume');
    on(window, 'pageshow', (event) => event.persisted);
    on(window, 'online');
  }

  #tell(name, detail) {
    this.#news.push(new CustomEvent(name, { detail }));
  }
}
