//! Everything that can happen to a small roster, one call after the other,
//! level by level up to a depth, unless there is no new state before.

use core::fmt;
use core::time::Duration;
use std::collections::HashSet;

use nabiz::testing::{CheckedReaper, Reaped};
use nabiz::{Config, Key, Timestamp};

use super::canon::{Canon, START};

/// The unit in which all times are counted: half a tick at the fine resolution.
pub const UNIT: u64 = 1024;

pub const fn units(count: u64) -> Duration {
    Duration::from_nanos(count * UNIT)
}

fn nanos(at: Timestamp) -> u64 {
    u64::try_from(at.since_epoch().as_nanos()).unwrap()
}

/// What is searched.
#[derive(Clone, Debug)]
pub struct Setting {
    pub name: &'static str,
    pub config: Config,
    /// In units.
    pub resolution: u64,
    /// No limit or wait is longer.
    pub longest: u64,
    /// Fields of the watched roster on which nothing depends here.
    pub idle: Vec<&'static str>,
    /// How many connections there are at most.
    pub most: usize,
    pub calls: Calls,
    /// The driver polls at each deadline, and makes its calls at most a unit
    /// after the one before.
    pub is_punctual: bool,
}

/// Which calls are made beside inserting, removing, bytes and polls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calls {
    /// The peers' heartbeats.
    pub beats: bool,
    /// Flushes, and heartbeats that are never flushed.
    pub flushes: bool,
    /// Timeouts of their own, none among them, and the driver's word for a
    /// stall.
    pub timeouts: bool,
    pub drain: bool,
    /// What is told of who is gone.
    pub stale: bool,
}

/// When a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Now,
    /// Just before the deadline.
    Before,
    Deadline,
    After,
    /// As late as is borne, and a bit later.
    Borne,
    Stall,
    /// Half a limit later, which the deadlines do not tell.
    Half,
    /// Earlier than the call before.
    Back,
    /// A unit later, but not after the deadline.
    Next,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Insert,
    Received(usize),
    HeartbeatReceived(usize),
    Sent(usize),
    HeartbeatSent(usize),
    Remove(usize),
    Exempt(usize),
    Bear(usize, u64),
    Resumed,
    Drain(u64),
    Stale,
    /// Until there is no more to do; heartbeats are flushed at once, or not.
    Poll {
        flushes: bool,
    },
    PollOnce,
}

type Step = (When, What);

/// A roster, and what its driver knows.
#[derive(Clone)]
struct World {
    reaper: CheckedReaper,
    now: Timestamp,
    keys: Vec<Key>,
    stale: Option<Key>,
}

/// What a search came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    pub states: usize,
    pub transitions: u64,
    pub depth: usize,
    /// Nothing new is to be found, however deep.
    pub is_whole: bool,
    /// How many states were gone on from at the last level.
    front: usize,
    /// Closes, each of which was held against its session's.
    pub verdicts: u64,
    /// Polls that left nothing to do, at each of which no session may be
    /// overdue.
    pub rests: u64,
}

impl World {
    fn new(setting: &Setting) -> Self {
        let early = Timestamp::from_epoch(Duration::from_nanos(START)).unwrap();
        let reaper = CheckedReaper::new(setting.config, 7, early).unwrap();
        let reaper = reaper.with_resolution(units(setting.resolution)).unwrap();
        let mut reaper = reaper.with_sessions();
        // Beyond the first ticks, which have nothing before them.
        let now = early.checked_add(units(1 << 16)).unwrap();
        assert_eq!(reaper.poll(now), None);
        Self {
            reaper,
            now,
            keys: Vec::new(),
            stale: None,
        }
    }

    /// When that is, if it is another instant than all that come before it.
    fn instant(&self, when: When, setting: &Setting) -> Option<Timestamp> {
        let due = self.reaper.reaper().deadline();
        let after = |since: Option<Timestamp>, count: u64| since?.checked_add(units(count));
        let earlier = |at: Timestamp| {
            let nanos = at.since_epoch().checked_sub(units(1))?;
            Timestamp::from_epoch(nanos)
        };
        let tolerance = setting.config.stall_tolerance();
        let borne = due.and_then(|due| due.checked_add(tolerance.max(units(setting.resolution))));
        let now = Some(self.now);
        let at = match when {
            When::Now => return now,
            When::Back => return earlier(self.now),
            When::Before => due.and_then(earlier),
            When::Deadline => due,
            When::After => after(due, 1),
            When::Borne => borne,
            When::Stall => after(borne, 1),
            When::Half => after(now, setting.longest / 2),
            When::Next => {
                let next = after(now, 1);
                next.filter(|next| due.is_none_or(|due| *next <= due))
            }
        };
        // What is not later is now.
        at.filter(|at| *at > self.now)
    }

    /// All that can happen next.
    fn steps(&self, setting: &Setting) -> Vec<Step> {
        let mut calls = Vec::new();
        if self.keys.len() < setting.most {
            calls.push(What::Insert);
        }
        let with = setting.calls;
        for place in 0..self.keys.len() {
            calls.push(What::Received(place));
            if with.beats {
                calls.push(What::HeartbeatReceived(place));
            }
            if with.flushes {
                calls.extend([What::Sent(place), What::HeartbeatSent(place)]);
            }
            if with.timeouts {
                calls.extend([What::Exempt(place), What::Bear(place, setting.longest)]);
            }
        }
        if with.timeouts {
            calls.push(What::Resumed);
        }
        if with.drain {
            calls.push(What::Drain(setting.longest));
        }
        if with.stale && self.stale.is_some() {
            calls.push(What::Stale);
        }
        let mut polls = vec![What::Poll { flushes: true }, What::PollOnce];
        if with.flushes {
            polls.push(What::Poll { flushes: false });
        }
        let (whens, odd): (&[When], &[When]) = if setting.is_punctual {
            (&[When::Now, When::Next], &[])
        } else {
            (
                &[When::Now, When::Deadline, When::Stall],
                &[
                    When::Before,
                    When::After,
                    When::Borne,
                    When::Half,
                    When::Back,
                ],
            )
        };
        // A connection is taken out at no instant of its own.
        let removals = (0..self.keys.len()).map(What::Remove);
        let pair = |when: When, what: &What| (when, *what);
        let mut steps: Vec<Step> = removals.map(|what| (When::Now, what)).collect();
        for when in whens.iter().copied() {
            steps.extend(calls.iter().chain(&polls).map(|what| pair(when, what)));
        }
        for when in odd.iter().copied() {
            steps.extend(polls.iter().map(|what| pair(when, what)));
        }
        steps.retain(|(when, _)| self.instant(*when, setting).is_some());
        steps
    }

    fn take(&mut self, (when, what): Step, setting: &Setting, found: &mut Found) {
        let Some(now) = self.instant(when, setting) else {
            return;
        };
        self.now = self.now.max(now);
        let key = |place: usize| self.keys[place];
        match what {
            What::Insert => {
                let number = self.reaper.reaper().counters().inserted;
                let key = self.reaper.insert(number, now);
                let place = self.keys.partition_point(|held| *held < key);
                self.keys.insert(place, key);
            }
            What::Received(place) => assert!(self.reaper.received(key(place), now)),
            What::HeartbeatReceived(place) => {
                assert!(self.reaper.heartbeat_received(key(place), now));
            }
            What::Sent(place) => assert!(self.reaper.sent(key(place), now)),
            What::HeartbeatSent(place) => assert!(self.reaper.heartbeat_sent(key(place), now)),
            What::Remove(place) => {
                let key = self.keys.remove(place);
                assert!(self.reaper.remove(key).is_some());
                self.stale = Some(key);
            }
            What::Exempt(place) => assert!(self.reaper.exempt(key(place), now)),
            What::Bear(place, limit) => {
                let known = self
                    .reaper
                    .set_silence_timeout(key(place), units(limit), now);
                assert_eq!(known, Ok(true));
            }
            What::Resumed => self.reaper.resumed(now),
            What::Drain(window) => self.reaper.drain(units(window), now),
            What::Stale => self.stale(now),
            What::Poll { flushes } => while self.poll(now, flushes, found) {},
            What::PollOnce => {
                self.poll(now, true, found);
            }
        }
    }

    /// The key of who is gone opens nothing, whoever has its place now.
    fn stale(&mut self, now: Timestamp) {
        let Some(key) = self.stale else {
            return;
        };
        assert!(!self.reaper.received(key, now));
        assert!(!self.reaper.heartbeat_received(key, now));
        assert!(!self.reaper.sent(key, now));
        assert!(!self.reaper.heartbeat_sent(key, now));
        assert!(!self.reaper.exempt(key, now));
        assert_eq!(self.reaper.remove(key), None);
    }

    fn poll(&mut self, now: Timestamp, flushes: bool, found: &mut Found) -> bool {
        match self.reaper.poll(now) {
            Some(Reaped::Heartbeat { key, .. }) => {
                if flushes {
                    self.reaper.heartbeat_sent(key, now);
                }
            }
            Some(Reaped::Close { key, .. }) => {
                found.verdicts += 1;
                self.keys.retain(|held| *held != key);
                self.stale = Some(key);
            }
            Some(Reaped::Yield) => {}
            None => {
                found.rests += 1;
                return false;
            }
        }
        true
    }

    fn name(&self, canon: &mut Canon, reach: u64) -> u128 {
        // Of the stale key only the place tells.
        let stale = self.stale.map_or(0, |key| key.index() as u64 + 1);
        canon.name(&self.reaper, [nanos(self.now), stale], reach)
    }
}

/// How a state was found: from which other, by which step; or at which start.
#[derive(Clone, Copy)]
enum Origin {
    Start(usize),
    Step(u32, Step),
}

/// Where a search starts: nobody is there, or all are, who came together or one
/// after the other.
fn starts(setting: &Setting) -> Vec<World> {
    let empty = World::new(setting);
    let full = |apart: u64| {
        let mut world = empty.clone();
        for _ in 0..setting.most {
            world.take((When::Now, What::Insert), setting, &mut Found::default());
            world.now = world.now.checked_add(units(apart)).unwrap();
        }
        world
    };
    let mut starts = vec![full(0)];
    if setting.most > 1 {
        starts.push(full(1));
    }
    starts.push(empty);
    starts
}

/// Two calls are looked into whatever they cost.
const LEAST: usize = 2;

/// Searches breadth-first, level by level, until there is no new state, or as
/// long as a level is likely to stay within the budget of transitions in all.
pub fn search(setting: &Setting, budget: u64) -> Found {
    // The longest sum that is ever compared: a limit, what is lost to ticks and
    // to the lateness of a poll.
    let reach = (setting.longest + 2 * setting.resolution + 1) * UNIT;
    let mut canon = Canon::new(&setting.idle);
    let mut found = Found::default();
    let starts = starts(setting);
    let mut known: HashSet<u128> = starts
        .iter()
        .map(|start| start.name(&mut canon, reach))
        .collect();
    let mut origins: Vec<Origin> = (0..starts.len()).map(Origin::Start).collect();
    // The states that were new at the last level.
    let mut front: Vec<u32> = (0..).take(starts.len()).collect();
    let mut last = 0;
    while !front.is_empty() {
        // Each state has about as many steps as those of the last level had.
        let cost = (found.transitions - last) * front.len() as u64;
        let likely = cost.checked_div(found.front as u64).unwrap_or(0);
        if found.depth >= LEAST && found.transitions + likely > budget {
            break;
        }
        (last, found.front) = (found.transitions, front.len());
        for state in core::mem::take(&mut front) {
            let world = revisit(&starts, &origins, state, setting);
            for step in world.steps(setting) {
                let mut next = world.clone();
                next.take(step, setting, &mut found);
                found.transitions += 1;
                if known.insert(next.name(&mut canon, reach)) {
                    front.push(u32::try_from(origins.len()).unwrap());
                    origins.push(Origin::Step(state, step));
                }
            }
        }
        found.depth += 1;
    }
    found.is_whole = front.is_empty();
    found.states = known.len();
    found
}

/// The world in a state, by the steps that led there.
fn revisit(starts: &[World], origins: &[Origin], state: u32, setting: &Setting) -> World {
    let mut steps = Vec::new();
    let mut place = state;
    let mut world = loop {
        match origins[place as usize] {
            Origin::Start(start) => break starts[start].clone(),
            Origin::Step(from, step) => {
                steps.push(step);
                place = from;
            }
        }
    };
    for step in steps.into_iter().rev() {
        world.take(step, setting, &mut Found::default());
    }
    world
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            states,
            transitions,
            depth,
            is_whole,
            verdicts,
            rests,
            front: _,
        } = self;
        let end = if *is_whole { "all" } else { "to that depth" };
        write!(
            f,
            "{states:>8} states, {transitions:>9} transitions, depth {depth:>3} ({end}), \
             {verdicts:>8} verdicts and {rests:>8} rests compared"
        )
    }
}
