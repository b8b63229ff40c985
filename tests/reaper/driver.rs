//! A roster in virtual time: what it asked for, and when.
#![allow(dead_code, unused_imports)]

use core::time::Duration;

use nabiz::{CloseReason, Config, ConfigBuilder, Key, Reap, Reaper, Timestamp};

pub(crate) use crate::common::{SEED, after, at, at_ms, bare_server, before, millis, secs};

/// A roster whose connections are numbers.
pub(crate) type Roster = Reaper<u32>;

/// What a roster asked for, of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Did {
    Beat(u32),
    Close(u32, CloseReason),
}

pub(crate) use CloseReason::{Draining, Flooded, NoHello, PeerSilent, TooOld, WriteStalled};

/// What it closes one for that was silent.
pub(crate) const fn silent(name: u32) -> Did {
    Did::Close(name, PeerSilent)
}

pub(crate) type Log = Vec<(Timestamp, Did)>;

/// The resolution unless told otherwise.
pub(crate) const RESOLUTION: Duration = millis(20);

/// An empty roster at 0 s.
pub(crate) fn roster(config: ConfigBuilder) -> Roster {
    roster_at(config, at(0))
}

pub(crate) fn roster_at(config: ConfigBuilder, now: Timestamp) -> Roster {
    Reaper::new(config.build().unwrap(), SEED, now).unwrap()
}

pub(crate) fn resolving(config: ConfigBuilder, resolution: Duration, now: Timestamp) -> Roster {
    roster_at(config, now).with_resolution(resolution).unwrap()
}

/// Closes who is silent for 60 s, and stalls after 5 s.
pub(crate) fn hearing() -> ConfigBuilder {
    bare_server()
        .with_silence_timeout(secs(60))
        .with_stall_tolerance(secs(5))
}

/// Beats every 10 s, without chance in it, and never closes.
pub(crate) fn beating() -> ConfigBuilder {
    bare_server()
        .with_interval(secs(10))
        .with_stall_tolerance(secs(5))
}

/// Everything, with chance in it.
pub(crate) fn everything() -> ConfigBuilder {
    Config::server()
        .with_hello_timeout(secs(30))
        .with_flood(secs(1), 3)
        .with_max_age(secs(3000))
        .with_max_age_jitter(nabiz::Ratio::percent(10))
        .with_probes(2)
}

pub(crate) fn plus(instant: Timestamp, span: Duration) -> Timestamp {
    instant.checked_add(span).unwrap()
}

/// The one that polls: everything there is to do at `now`, and when nothing is
/// left, that nothing is.
#[track_caller]
pub(crate) fn poll_all(
    roster: &mut Roster,
    now: Timestamp,
    mut did: impl FnMut(&mut Roster, Key, Did, Option<Duration>),
) {
    for _ in 0..100_000_000 {
        let (key, action, retry_after) = match roster.poll(now) {
            None => {
                let due = roster.deadline();
                assert!(due.is_none_or(|due| due > now), "{due:?} at {now:?}");
                return;
            }
            Some(Reap::Yield) => continue,
            Some(Reap::Heartbeat { key, value }) => (key, Did::Beat(*value), None),
            Some(Reap::Close {
                key,
                value,
                reason,
                retry_after,
            }) => (key, Did::Close(value, reason), retry_after),
        };
        did(roster, key, action, retry_after);
    }
    panic!("no end of work");
}

/// Everything there is to do at `now`; heartbeats stay in flight.
#[track_caller]
pub(crate) fn stuck(roster: &mut Roster, now: Timestamp) -> Vec<Did> {
    let mut all = Vec::new();
    poll_all(roster, now, |_, _, did, _| all.push(did));
    all
}

/// Everything there is to do at `now`; heartbeats are flushed at once.
#[track_caller]
pub(crate) fn poll(roster: &mut Roster, now: Timestamp) -> Vec<Did> {
    let mut all = Vec::new();
    poll_all(roster, now, |roster, key, did, _| {
        if matches!(did, Did::Beat(_)) {
            assert!(roster.heartbeat_sent(key, now));
        }
        all.push(did);
    });
    all
}

/// That there is nothing to do at `now`.
#[track_caller]
pub(crate) fn idle(roster: &mut Roster, now: Timestamp) {
    assert_eq!(stuck(roster, now), [], "at {now:?}");
}

/// Drives the roster by its deadlines from one instant to another, and calls
/// `did` for what it asks for.
#[track_caller]
pub(crate) fn drive(
    roster: &mut Roster,
    from: Timestamp,
    until: Timestamp,
    mut did: impl FnMut(&mut Roster, Timestamp, Key, Did, Option<Duration>),
) {
    let mut now = from;
    while let Some(due) = roster.deadline() {
        now = now.max(due);
        if now > until {
            break;
        }
        poll_all(roster, now, |roster, key, action, retry_after| {
            did(roster, now, key, action, retry_after);
        });
    }
}

/// Drives the roster by its deadlines, flushes each heartbeat at once, and
/// tells what it asked for.
#[track_caller]
pub(crate) fn run(roster: &mut Roster, from: Timestamp, until: Timestamp) -> Log {
    let mut log = Vec::new();
    drive(roster, from, until, |roster, now, key, did, _| {
        if matches!(did, Did::Beat(_)) {
            assert!(roster.heartbeat_sent(key, now));
        }
        log.push((now, did));
    });
    log
}

/// The same, but heartbeats stay in flight.
#[track_caller]
pub(crate) fn run_stuck(roster: &mut Roster, from: Timestamp, until: Timestamp) -> Log {
    let mut log = Vec::new();
    drive(roster, from, until, |_, now, _, did, _| {
        log.push((now, did))
    });
    log
}

/// That of everything asked for, this is all, each from its instant to a
/// resolution later. Order counts only for what is further apart.
#[track_caller]
pub(crate) fn assert_log(log: &Log, resolution: Duration, expected: &[(Timestamp, Did)]) {
    assert_eq!(log.len(), expected.len(), "{log:?}");
    for (limit, did) in expected {
        let window = *limit..=plus(*limit, resolution);
        assert!(
            log.iter()
                .any(|(when, what)| what == did && window.contains(when)),
            "{did:?} in {window:?}: {log:?}"
        );
    }
}

/// The instants of somebody's beats.
pub(crate) fn beats_of(log: &Log, name: u32) -> Vec<Timestamp> {
    let beats = log.iter().filter(|(_, did)| *did == Did::Beat(name));
    beats.map(|(when, _)| *when).collect()
}

/// A simple source of chance for the tests.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.roll() << 31 ^ self.roll()) % end
    }

    pub(crate) fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }

    /// A span of up to so much.
    pub(crate) fn span(&mut self, most: Duration) -> Duration {
        let nanos = u64::try_from(most.as_nanos()).unwrap();
        Duration::from_nanos(self.below(nanos + 1))
    }
}
