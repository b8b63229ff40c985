// The page's own view: what this end knows of its links, and what the server
// says of all of them. The rules are in `pulse.js`.

import { Pulse } from './pulse.js';

const LINES = 200;
const PERIOD = 100;

const find = (name, root = document) => root.querySelector(`[data-is="${name}"]`);
const put = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};
const seconds = (ms) => (ms === null || ms === undefined ? '–' : `${(ms / 1_000).toFixed(1)} s`);
const exactly = (ms) => `${ms / 1_000} s`;
const age = (ms) => {
  const whole = Math.floor(ms / 1_000);
  if (whole < 60) return `${whole} s`;
  const [hours, minutes, rest] = [whole / 3_600, (whole / 60) % 60, whole % 60].map(Math.floor);
  return hours ? `${hours} h ${minutes} min` : `${minutes} min ${rest} s`;
};

const WHY = {
  PeerSilent: 'the server fell silent',
  WriteStalled: 'our output was stuck',
  ConnectTimeout: 'the dial took too long',
  ConnectFailed: 'the dial failed',
  Disconnected: 'the server closed, or the network broke',
  Shutdown: 'closed by you',
};

/** The links of this page, for whoever wants to look. */
export const links = [];
/** What the server said last. */
export let roster = { at: 0, links: [], ended: [] };

const limits = await (await fetch('limits.json')).json();
const { interval, silence } = limits.pulse;
put(find('limits'), `Both ends beat every ${exactly(interval)} when idle. Silence is borne for ` +
  (silence === limits.serverSilence
    ? `${exactly(silence)}.`
    : `${exactly(limits.serverSilence)} by the server, for ${exactly(silence)} by this page.`));

function log(link, name, text) {
  const line = document.createElement('li');
  line.className = name;
  const cells = [new Date().toLocaleTimeString('en-GB'), `link ${link.number}`, name, text];
  for (const cell of cells) line.append(Object.assign(document.createElement('span'), { textContent: cell }));
  const list = find('log');
  list.prepend(line);
  while (list.children.length > LINES) list.lastElementChild.remove();
}

class Link {
  id = null; // the server's number for it
  events = [];

  constructor(number) {
    this.number = number;
    this.pulse = new Pulse(new URL('link', location.href.replace(/^http/, 'ws')), {
      ...limits.pulse,
      isBeat: (data) => data.startsWith('{"beat":'),
    });
    this.card = find('card').content.firstElementChild.cloneNode(true);
    put(find('number', this.card), `Link ${number}`);
    find('retry', this.card).onclick = () => this.pulse.resumed();
    find('close', this.card).onclick = () => this.pulse.shutdown();
    find('links').append(this.card);
    this.watch();
  }

  watch() {
    const on = (name, tell) =>
      this.pulse.addEventListener(name, ({ detail }) => {
        const text = tell(detail);
        if (text === undefined) return;
        this.events.push({ at: performance.now(), name, ...detail });
        if (this.events.length > LINES) this.events.shift();
        log(this, name, text);
        this.show();
      });
    on('up', ({ attempt }) => (attempt ? `connected at attempt ${attempt}` : 'connected'));
    on('data', ({ data }) => {
      this.hear(JSON.parse(data));
    });
    on('beat', ({ id }) => `number ${id}`);
    on('stall', () => 'we slept, or came back: the server is asked before it is judged');
    on('down', ({ why, reason, silence, retryIn, attempt }) => {
      this.id = null;
      const back = retryIn === undefined ? '' : `; attempt ${attempt} in ${seconds(retryIn)}`;
      const heard = silence === null ? '' : `, last heard ${seconds(silence)} ago`;
      return `${WHY[why]}${reason ? ` (${reason})` : ''}${heard}${back}`;
    });
    on('retry', ({ retryIn, attempt }) => `sooner: attempt ${attempt} in ${seconds(retryIn)}`);
    on('gaveup', ({ why }) => why);
  }

  hear(message) {
    if (message.id !== undefined) this.id = message.id;
    if (message.links) roster = { at: performance.now(), links: message.links, ended: message.ended };
  }

  show() {
    const { card } = this;
    const status = this.pulse.status;
    const isOpen = status.phase === 'open';
    card.dataset.phase = status.suspect ? 'suspect' : status.phase;
    put(find('phase', card), card.dataset.phase);
    put(find('id', card), this.id === null ? '' : `#${this.id} there`);
    const [head, tail] = {
      open: [seconds(status.silence), 'since the server was heard'],
      waiting: [seconds(status.retryIn), 'until the next dial'],
      connecting: ['…', 'dialling'],
      closing: ['…', 'saying goodbye'],
      done: ['–', 'closed for good'],
    }[status.phase];
    put(find('head', card), head);
    put(find('tail', card), tail);
    find('meter', card).style.scale = `${isOpen ? Math.min(1, status.silence / silence) : 0} 1`;
    put(find('beats', card), `${status.beats}`);
    put(find('heard', card), `${status.heard}`);
    put(find('attempt', card), `${status.attempt}`);
    put(find('stalls', card), `${status.stalls}`);
    find('retry', card).disabled = status.phase === 'done';
    find('close', card).disabled = status.phase === 'done';
  }
}

function row(link, since) {
  const silence = link.silence + since;
  const cells = [`#${link.id}`, seconds(silence), `${link.beats}`, `${link.heard}`, age(link.age + since)];
  const row = document.createElement('tr');
  row.className = links.some(({ id }) => id === link.id) ? 'ours' : '';
  row.append(...cells.map((text) => Object.assign(document.createElement('td'), { textContent: text })));
  row.style.setProperty('--silence', Math.min(1, silence / limits.serverSilence));
  return row;
}

function show() {
  for (const link of links) link.show();
  const since = performance.now() - roster.at;
  const isFresh = links.some(({ pulse }) => pulse.status.phase === 'open');
  find('server').classList.toggle('stale', !isFresh);
  put(find('told'), roster.at ? `told ${seconds(since)} ago` : 'nothing heard yet');
  find('roster').replaceChildren(...roster.links.map((link) => row(link, isFresh ? since : 0)));
  find('ended').replaceChildren(
    ...roster.ended.map(({ id, why, silence }) =>
      Object.assign(document.createElement('li'), { textContent: `#${id} ${why}, silent for ${seconds(silence)}` }),
    ),
  );
}

/** One more link to the same server. */
export function add() {
  const link = new Link(links.length + 1);
  links.push(link);
  return link;
}

find('add').onclick = () => add();
find('freeze').onclick = () => {
  // What a busy script does to a page: no timer fires, nothing is read.
  const until = performance.now() + limits.serverSilence + 2_000;
  while (performance.now() < until);
};
find('freeze').title = `Blocks this page's script for ${exactly(limits.serverSilence + 2_000)}`;
add();
setInterval(show, PERIOD);
show();
