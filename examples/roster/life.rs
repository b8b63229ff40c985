//! What the clients do, and what befalls them.

use std::time::{Duration, Instant};

use indicatif::HumanCount;
use nabiz::{Config, ConfigError, Key, Reaper, Timestamp};

use crate::Args;
use crate::calendar::{Calendar, Client};
use crate::server::Server;
use crate::summary::Summary;
use crate::view::View;

/// Clients speak at whole steps; the server acts in between when it is due.
pub const STEP: Duration = Duration::from_millis(20);
/// How long the server is frozen: longer than it tolerates.
pub const PAUSE: Duration = Duration::from_secs(10);
/// One client in so many chats, with pauses of so many steps.
const CHATTY: u32 = 100;
const CHAT: (u32, u32) = (25, 75);
/// One region of so many falls silent.
const REGIONS: usize = 20;
/// How long a client stays, on average, …
const STAY: Duration = Duration::from_secs(2 * 3600);
/// … unless it falls silent without a word, after so long on average.
const HEALTH: Duration = Duration::from_secs(10 * 3600);

pub struct Life {
    server: Server,
    calendar: Calendar,
    chance: Chance,
    view: View,
    duration: u32,
    /// How many there shall be.
    connections: usize,
    /// The pauses of those who do not chat.
    beat: (u32, u32),
    /// How many said goodbye.
    left: u64,
    drain: bool,
    /// Nobody comes any more.
    is_closing: bool,
}

impl Life {
    pub fn new(args: &Args, config: Config) -> Result<Self, ConfigError> {
        let connections = args.connections as usize;
        let roster = Reaper::new(config, args.seed, at(0))?.with_capacity(connections);
        let interval = steps(args.interval);
        Ok(Self {
            server: Server::new(roster, at(0)),
            calendar: Calendar::new(interval.max(CHAT.1) + steps(PAUSE)),
            chance: Chance(args.seed),
            view: View::new(args.duration),
            duration: steps(args.duration),
            connections,
            beat: (interval - interval / 10, interval),
            left: 0,
            drain: args.drain,
            is_closing: false,
        })
    }

    pub fn run(mut self) -> Summary {
        let wall = Instant::now();
        let end = self.duration;
        let frozen = end / 2..end / 2 + steps(PAUSE);
        self.fill_up(0);
        for step in 1..=end {
            if frozen.contains(&step) {
                continue;
            }
            if step == frozen.end {
                self.thaw(frozen.start, step);
            } else {
                self.server.keep_up(at(step));
                self.speak(step, step);
            }
            if step == end / 3 {
                self.broadcast(step);
            } else if step == end / 3 * 2 {
                self.outage(step);
            } else if step == end - end / 30 && self.drain {
                self.close(step);
            }
            self.fill_up(step);
            self.view.show(at(step), &self.server);
        }
        self.view.end();
        Summary {
            connections: self.server.roster.len() as u64,
            counters: self.server.roster.counters(),
            tally: self.server.tally,
            left: self.left,
            duration: STEP * end,
            wall: wall.elapsed(),
        }
    }

    /// Others come in the place of those who went.
    fn fill_up(&mut self, step: u32) {
        while self.server.roster.len() < self.connections && !self.is_closing {
            let key = self.server.roster.insert(None, at(step));
            let client = Client {
                key,
                since: step,
                is_chatty: self.chance.between(1, CHATTY) == 1,
            };
            // The first of all came long ago.
            let wait = if step == 0 { self.beat.1 } else { 1 };
            let turn = step + self.chance.between(1, wait);
            self.calendar.put(turn, client);
        }
    }

    /// Those whose turn it is speak, and are heard by `step`.
    fn speak(&mut self, turn: u32, step: u32) {
        let clients = self.calendar.take(turn);
        let keys = clients.iter().map(|client| client.key);
        self.server.hear(keys, at(step));
        for client in &clients {
            let client = Client {
                since: step,
                ..*client
            };
            self.go_on(client);
        }
        self.calendar.give_back(turn, clients);
    }

    /// What a client does after it spoke: leave, fall silent, or pause. (Whom
    /// the roster closed speaks on, and is not heard: its key is stale.)
    fn go_on(&mut self, client: Client) {
        let (least, most) = if client.is_chatty {
            // The server says something too.
            self.server.roster.sent(client.key, at(client.since));
            CHAT
        } else {
            self.beat
        };
        let pause = self.chance.between(least, most);
        let luck = self.chance.draw() / f64::from(pause);
        let leaves = 1.0 / f64::from(steps(STAY));
        let falls_silent = 1.0 / f64::from(steps(HEALTH));
        if luck < leaves {
            self.left += u64::from(self.server.roster.remove(client.key).is_some());
        } else if luck < leaves + falls_silent {
            fall_silent(&mut self.server, &client);
        } else {
            self.calendar.put(client.since + pause, client);
        }
    }

    /// The server was frozen, and reads first what came meanwhile.
    fn thaw(&mut self, frozen: u32, step: u32) {
        for turn in frozen..=step {
            self.speak(turn, step);
        }
        self.server.thaw(at(step));
        let stalls = self.server.roster.counters().stalls;
        let probes = HumanCount(self.server.tally.probes);
        self.view.say(
            at(step),
            &format!("the server was frozen for {PAUSE:?}: {stalls} stall, {probes} probes"),
        );
    }

    /// The server sends something to everyone.
    fn broadcast(&mut self, step: u32) {
        let everyone: Vec<Key> = self.server.roster.iter().map(|(key, _)| key).collect();
        for key in &everyone {
            self.server.roster.sent(*key, at(step));
        }
        let count = HumanCount(everyone.len() as u64);
        self.view
            .say(at(step), &format!("a message to everyone, {count}"));
    }

    /// A region falls silent.
    fn outage(&mut self, step: u32) {
        let mut struck = 0;
        self.calendar.strike(|client| {
            let is_struck = client.key.index() % REGIONS == 0;
            if is_struck {
                fall_silent(&mut self.server, client);
                struck += 1;
            }
            is_struck
        });
        let struck = HumanCount(struck);
        self.view
            .say(at(step), &format!("a region falls silent: {struck}"));
    }

    fn close(&mut self, step: u32) {
        let window = STEP * (self.duration / 60);
        self.is_closing = true;
        self.server.roster.drain(window, at(step));
        self.view
            .say(at(step), &format!("closing everyone within {window:?}"));
    }
}

/// The client will not speak again.
fn fall_silent(server: &mut Server, client: &Client) {
    if let Some(fate) = server.roster.get_mut(client.key) {
        *fate = Some(at(client.since));
    }
}

fn steps(span: Duration) -> u32 {
    u32::try_from(span.as_nanos() / STEP.as_nanos()).unwrap_or(u32::MAX)
}

fn at(step: u32) -> Timestamp {
    Timestamp::from_epoch(STEP * step).unwrap_or(Timestamp::MAX)
}

/// A small generator of chance (`SplitMix64`).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// From 0 to below 1.
    fn draw(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Both included.
    fn between(&mut self, least: u32, most: u32) -> u32 {
        let span = u64::from(most - least) + 1;
        least + (((self.next() >> 32) * span) >> 32) as u32
    }
}
