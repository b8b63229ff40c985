//! A server in virtual time: connections come, are heard of and go, and the
//! roster is polled every 20 ms.

use std::hint::black_box;

use crate::clock::{time_cpu, time_cpu_each, time_wall};
use crate::heap;
use crate::random::Random;
use crate::roster::{LIMIT, MILLISECOND, Nanos, Roster, SECOND, Server};

/// The server's loop comes round this often.
pub const TICK: Nanos = 20 * MILLISECOND;

/// Each connection is heard of once in this time.
pub const CYCLE: Nanos = 30 * SECOND;

/// Operations that are timed together, at one instant: their keys fit the
/// first cache.
const BATCH: usize = 512;

/// What a tick cost, in nanoseconds of this thread's CPU time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tick {
    pub cpu: u64,
    pub calls: u32,
    pub closed: u32,
}

/// What of a tick is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    Nothing,
    Ticks,
    /// Each call by itself, which slows the tick as a whole.
    Calls,
}

pub struct World<R: Roster> {
    roster: R,
    pub server: Server<R::Key>,
    count: usize,
    /// Everyone, in the order in which they are touched or removed.
    order: Vec<u32>,
    random: Random,
    nanos: Nanos,
    pub watch: Watch,
    /// What each call of the last tick took; only while those are watched.
    calls: Vec<u32>,
    inserted: usize,
    /// Bytes that lived before the roster was made.
    heap: usize,
}

impl<R: Roster> World<R> {
    pub fn new(count: usize) -> Self {
        let order = (0..count as u32).collect();
        let server = Server::new(count);
        // Mass expiry may take a call for each, and some.
        let mut calls = vec![1; 2 * count + 1000];
        calls.clear();
        let heap = heap::live();
        Self {
            roster: R::new(count),
            order,
            server,
            calls,
            inserted: 0,
            heap,
            count,
            random: Random::new(42),
            nanos: 0,
            watch: Watch::Nothing,
        }
    }

    /// Bytes of the heap that the roster holds; the server's keys are no
    /// part of it.
    pub fn bytes(&self) -> usize {
        heap::live() - self.heap
    }

    fn tick(&mut self) -> Tick {
        let now = self.roster.now(self.nanos);
        self.roster.turn(now);
        let Self { roster, server, .. } = self;
        let closed = server.closed.len();
        let mut calls = 1;
        let cpu = match self.watch {
            Watch::Nothing => {
                while roster.poll(now, server) {}
                0
            }
            Watch::Ticks => {
                let poll_all = || {
                    while roster.poll(now, server) {
                        calls += 1;
                    }
                };
                time_cpu(poll_all).0
            }
            Watch::Calls => {
                self.calls.clear();
                let each = time_cpu_each(|| roster.poll(now, server));
                self.calls.extend(each.map(|cpu| cpu as u32));
                calls = self.calls.len() as u32;
                self.calls.iter().map(|cpu| u64::from(*cpu)).sum()
            }
        };
        let closed = (self.server.closed.len() - closed) as u32;
        Tick { cpu, calls, closed }
    }

    /// Lets time pass, with the ticks that fall into it.
    pub fn run_until(&mut self, nanos: Nanos) {
        self.run(nanos, |_, _| ());
    }

    pub fn run(&mut self, nanos: Nanos, mut on_tick: impl FnMut(Tick, &[u32])) {
        loop {
            let next = (self.nanos / TICK + 1) * TICK;
            if next > nanos {
                self.nanos = nanos;
                return;
            }
            self.nanos = next;
            let tick = self.tick();
            on_tick(tick, &self.calls);
        }
    }

    fn insert(&mut self, count: usize) {
        let now = self.roster.now(self.nanos);
        for index in self.inserted..self.inserted + count {
            let key = self.roster.insert(index as u32, now);
            self.server.keys[index] = Some(key);
        }
        self.inserted += count;
    }

    /// Everyone at once, in a random order.
    pub fn touch_all(&mut self) {
        self.random.shuffle(&mut self.order);
        self.touch_each(self.order.clone());
    }

    pub fn touch_each(&mut self, ids: impl IntoIterator<Item = u32>) {
        let now = self.roster.now(self.nanos);
        for id in ids {
            self.touch(id, now);
        }
    }

    #[inline]
    fn touch(&mut self, id: u32, now: R::Now) {
        if let Some(Some(key)) = self.server.keys.get_mut(id as usize) {
            self.roster.touch(key, now);
        }
    }

    /// Everyone is inserted, over three cycles, and heard of once in each
    /// cycle from then on: all that is periodic is spread from the start.
    /// Nanoseconds an insertion.
    pub fn fill(&mut self) -> f64 {
        let mut samples = Vec::new();
        let span = 3 * CYCLE;
        let cycle = self.count / 3;
        while self.inserted < self.count {
            let first = self.inserted;
            let end = self.count.min(first + BATCH);
            let nanos = time_wall(|| self.insert(end - first)).0;
            samples.push(nanos as f64 / (end - first) as f64);
            for passed in [cycle, 2 * cycle] {
                let (first, end) = (first.saturating_sub(passed), end.saturating_sub(passed));
                self.touch_each(first as u32..end as u32);
            }
            self.run_until(span / self.count as u64 * end as u64);
        }
        median(samples)
    }

    /// Everyone is heard of once, in a new random order, over 30 s.
    pub fn cycle(&mut self, mut on_tick: impl FnMut(Tick, &[u32])) {
        self.random.shuffle(&mut self.order);
        let start = self.nanos;
        let mut touched = 0;
        while touched < self.count {
            self.run(self.nanos + TICK, &mut on_tick);
            let passed = (self.nanos - start).min(CYCLE);
            let wanted = (self.count as u128 * u128::from(passed) / u128::from(CYCLE)) as usize;
            let now = self.roster.now(self.nanos);
            for index in touched..wanted {
                self.touch(self.order[index], now);
            }
            touched = wanted;
        }
    }

    /// Packets from random connections, drawn with replacement, at the pace
    /// of one per connection and cycle, two cycles long, or as often as it
    /// takes for a fair number of batches. Nanoseconds a packet.
    pub fn touches(&mut self) -> f64 {
        let mut samples = Vec::new();
        let pause = CYCLE * BATCH as u64 / self.count as u64;
        while samples.len() < 100 {
            let end = self.nanos + 2 * CYCLE;
            while self.nanos + pause <= end {
                self.run_until(self.nanos + pause);
                samples.push(self.touch_batch());
            }
            // Whom chance left out is heard of before it is too late.
            self.cycle(|_, _| ());
        }
        median(samples)
    }

    fn touch_batch(&mut self) -> f64 {
        let draw = |_| self.random.below(self.count as u32);
        let ids: [u32; BATCH] = std::array::from_fn(draw);
        // The keys are at hand: whoever has read a packet has its connection.
        for id in ids {
            black_box(self.server.keys[id as usize].is_some());
        }
        let now = self.roster.now(self.nanos);
        let touch_all = || ids.iter().for_each(|id| self.touch(*id, now));
        time_wall(touch_all).0 as f64 / BATCH as f64
    }

    /// Everyone goes, in random order. Nanoseconds a removal.
    pub fn remove_all(&mut self) -> f64 {
        self.random.shuffle(&mut self.order);
        let mut samples = Vec::new();
        let mut keys = Vec::with_capacity(BATCH);
        for ids in self.order.chunks(BATCH) {
            keys.extend(ids.iter().filter_map(|id| self.server.take(*id)));
            let removed = keys.len();
            let remove_all = || keys.drain(..).for_each(|key| self.roster.remove(key));
            samples.push(time_wall(remove_all).0 as f64 / removed as f64);
        }
        median(samples)
    }

    /// Silence, until everyone is closed.
    pub fn silence(&mut self, mut on_tick: impl FnMut(Tick, &[u32])) {
        let last = self.nanos + 2 * LIMIT;
        while self.server.closed.len() < self.count {
            assert!(self.nanos < last, "{} does not close everyone", R::NAME);
            self.run(self.nanos + TICK, &mut on_tick);
        }
    }
}

#[cfg(test)]
impl<R: Roster> World<R> {
    pub fn nanos(&self) -> Nanos {
        self.nanos
    }

    /// Everyone at once.
    pub fn insert_all(&mut self) {
        self.insert(self.count);
    }
}

/// The middle one; nothing but a number if there are none.
fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}
