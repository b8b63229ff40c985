//! Every contender through the same runs, and the best of the repeats.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::contenders::Visitor;
use crate::heap;
use crate::roster::{Roster, SECOND, Scope};
use crate::world::{CYCLE, TICK, Tick, Watch, World};

/// Cycles before anything is measured, so that no trace of the start is left.
const WARM_UP: u32 = 2;
/// Cycles that are measured: 270 s, for a wheel of 64 slots a level and
/// milliseconds moves everyone down a level each 262 s.
const STEADY: u32 = 9;
const STEADY_TICKS: usize = (CYCLE / TICK) as usize * STEADY as usize;

/// Packets are measured for so long, and for two of each connection's at least.
const TOUCHES_FOR: Duration = Duration::from_millis(300);

/// What was measured of a contender among so many connections. Where a
/// measure makes no sense there is none.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    pub contender: &'static str,
    pub version: Option<String>,
    pub connections: usize,
    pub touch_ns: f64,
    pub bytes: f64,
    pub insert_ns: Option<f64>,
    pub remove_ns: Option<f64>,
    pub expire_ns: Option<f64>,
    pub steady: Option<Steady>,
    pub mass: Option<Mass>,
}

/// All are alive, each is heard of every 30 s.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Steady {
    pub ms_per_second: f64,
    pub worst_tick_us: f64,
    pub worst_call_us: f64,
}

/// All are silent since the same instant.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Mass {
    pub total_ms: f64,
    pub ns_each: f64,
    pub calls: usize,
    pub worst_call_us: f64,
}

/// The least of every repeat, tick by tick and call by call: the runs are the
/// same, so that what differs is the machine's doing.
#[derive(Clone, Debug, Default)]
struct Least(Vec<u64>);

impl Least {
    fn merge(&mut self, run: Vec<u64>) {
        if self.0.is_empty() {
            self.0 = run;
            return;
        }
        assert_eq!(self.0.len(), run.len(), "a run differs from the one before");
        for (least, cost) in self.0.iter_mut().zip(run) {
            *least = cost.min(*least);
        }
    }

    fn sum(&self) -> f64 {
        self.0.iter().sum::<u64>() as f64
    }

    fn worst_us(&self) -> f64 {
        self.0.iter().max().copied().unwrap_or(0) as f64 / 1e3
    }
}

/// What the repeats have measured so far.
#[derive(Clone, Debug)]
struct Samples {
    insert: f64,
    touch: f64,
    remove: f64,
    bytes: f64,
    expiry: Least,
    steady: Least,
    steady_calls: Least,
    mass: Least,
    mass_calls: Least,
}

impl Default for Samples {
    fn default() -> Self {
        Self {
            insert: f64::INFINITY,
            touch: f64::INFINITY,
            remove: f64::INFINITY,
            bytes: f64::INFINITY,
            expiry: Least::default(),
            steady: Least::default(),
            steady_calls: Least::default(),
            mass: Least::default(),
            mass_calls: Least::default(),
        }
    }
}

impl Samples {
    /// Minutes of traffic, then everyone is removed.
    fn traffic<R: Roster>(&mut self, count: usize) {
        let fixed = fixed_bytes::<R>();
        let mut costs = Vec::with_capacity(STEADY_TICKS);
        let mut has_many_calls = false;
        let mut world = World::<R>::new(count);
        self.insert = self.insert.min(world.fill());
        if R::SCOPE == Scope::Everything {
            steady(&mut world, Watch::Ticks, |tick, _| {
                costs.push(tick.cpu);
                has_many_calls |= tick.calls > 1;
            });
        } else {
            world.cycle(|_, _| ());
        }
        self.bytes = (world.bytes() as f64 - fixed as f64) / count as f64;
        // The quicker, the more often: what the caches hold changes by the second.
        let start = Instant::now();
        loop {
            self.touch = self.touch.min(world.touches());
            if start.elapsed() >= TOUCHES_FOR {
                break;
            }
        }
        self.remove = self.remove.min(world.remove_all());
        assert!(
            world.server.closed.is_empty(),
            "{} closes the living",
            R::NAME
        );
        drop(world);

        self.steady.merge(costs);
        if has_many_calls {
            self.steady_calls::<R>(count);
        }
    }

    /// The same minutes again, for the worst call of each tick. Where a tick
    /// is one call, the worst tick tells it.
    fn steady_calls<R: Roster>(&mut self, count: usize) {
        let mut costs = Vec::with_capacity(STEADY_TICKS);
        let mut world = World::<R>::new(count);
        world.fill();
        steady(&mut world, Watch::Calls, |_, calls| {
            costs.push(calls.iter().copied().max().map_or(0, u64::from));
        });
        self.steady_calls.merge(costs);
    }

    /// Everyone falls silent; deadlines are spread over 30 s.
    fn expiry<R: Roster>(&mut self, count: usize) {
        let mut world = World::<R>::new(count);
        world.fill();
        world.cycle(|_, _| ());
        world.watch = Watch::Ticks;
        let mut costs = Vec::new();
        world.silence(|tick, _| {
            // From the first close on; the wait before is no part of it.
            if tick.closed != 0 || !costs.is_empty() {
                costs.push(tick.cpu);
            }
        });
        self.expiry.merge(costs);
    }

    /// Everyone is heard of at one instant, in random order, and never again.
    fn mass_expiry<R: Roster>(&mut self, count: usize, watch: Watch) {
        let mut world = World::<R>::new(count);
        world.fill();
        world.touch_all();
        world.watch = watch;
        let mut costs = Vec::new();
        let from_first_closing = |tick: Tick, calls: &[u32]| {
            if tick.closed == 0 && costs.is_empty() {
                return;
            }
            match watch {
                Watch::Calls => costs.extend(calls.iter().copied().map(u64::from)),
                Watch::Ticks | Watch::Nothing => costs.push(tick.cpu),
            }
        };
        world.silence(from_first_closing);
        match watch {
            Watch::Calls => self.mass_calls.merge(costs),
            Watch::Ticks | Watch::Nothing => self.mass.merge(costs),
        }
    }

    fn figures<R: Roster>(&self, count: usize) -> Figures {
        let connections = count as f64;
        let seconds = (CYCLE / SECOND * u64::from(STEADY)) as f64;
        let is_roster = R::SCOPE != Scope::TouchOnly;
        let expires = R::SCOPE == Scope::Everything;
        Figures {
            contender: R::NAME,
            version: R::CRATE.and_then(version),
            connections: count,
            touch_ns: self.touch,
            bytes: self.bytes,
            insert_ns: is_roster.then_some(self.insert),
            remove_ns: is_roster.then_some(self.remove),
            expire_ns: expires.then(|| self.expiry.sum() / connections),
            steady: expires.then(|| Steady {
                ms_per_second: self.steady.sum() / seconds / 1e6,
                worst_tick_us: self.steady.worst_us(),
                worst_call_us: match self.steady_calls.0.len() {
                    0 => self.steady.worst_us(),
                    _ => self.steady_calls.worst_us(),
                },
            }),
            mass: expires.then(|| Mass {
                total_ms: self.mass.sum() / 1e6,
                ns_each: self.mass.sum() / connections,
                calls: self.mass_calls.0.len(),
                worst_call_us: self.mass_calls.worst_us(),
            }),
        }
    }
}

/// Everyone lives on, and is watched when no trace of the start is left.
fn steady<R: Roster>(world: &mut World<R>, watch: Watch, mut on_tick: impl FnMut(Tick, &[u32])) {
    for _ in 0..WARM_UP {
        world.cycle(|_, _| ());
    }
    world.watch = watch;
    for _ in 0..STEADY {
        world.cycle(&mut on_tick);
    }
    world.watch = Watch::Nothing;
}

/// What a roster holds before anyone comes.
fn fixed_bytes<R: Roster>() -> usize {
    let before = heap::live();
    let _empty = R::new(1);
    heap::live() - before
}

/// The version of a dependency, as locked.
fn version(name: &str) -> Option<String> {
    let lock = include_str!("../Cargo.lock");
    let after = lock
        .split_once(&format!("name = \"{name}\"\nversion = \""))?
        .1;
    Some(after.split_once('"')?.0.to_owned())
}

/// Measures every contender among so many connections.
pub fn measure(count: usize, repeats: u32, wanted: impl Fn(&str) -> bool) -> Vec<Figures> {
    let mut all = Repeats {
        count,
        wanted,
        samples: Vec::new(),
        place: 0,
        figures: Vec::new(),
    };
    // One after the other and again, for the machine's moods to be shared.
    for repeat in 1..=repeats {
        eprintln!("{count} connections, {repeat} of {repeats}");
        all.place = 0;
        all.figures.clear();
        crate::contenders::visit_all(&mut all);
    }
    all.figures
}

struct Repeats<W> {
    count: usize,
    wanted: W,
    samples: Vec<Samples>,
    place: usize,
    figures: Vec<Figures>,
}

impl<W: Fn(&str) -> bool> Visitor for Repeats<W> {
    fn visit<R: Roster>(&mut self) {
        if !(self.wanted)(R::NAME) {
            return;
        }
        if self.samples.len() == self.place {
            self.samples.push(Samples::default());
        }
        let samples = &mut self.samples[self.place];
        self.place += 1;

        let start = Instant::now();
        samples.traffic::<R>(self.count);
        if R::SCOPE == Scope::Everything {
            samples.expiry::<R>(self.count);
            samples.mass_expiry::<R>(self.count, Watch::Ticks);
            samples.mass_expiry::<R>(self.count, Watch::Calls);
        }
        eprintln!("  {} in {:.1?}", R::NAME, start.elapsed());
        self.figures.push(samples.figures::<R>(self.count));
    }
}
