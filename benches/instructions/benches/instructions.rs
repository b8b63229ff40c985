//! Instruction counts, which are the same in every run on a machine, with
//! limits that fail the run. Needs valgrind and `gungraun-runner` of the same
//! version as the dependency.
//!
//! `cargo bench` in this directory prints the counts and checks the limits.
//! They are 10 % above what was measured; after a change that is worth its
//! instructions, or with a new compiler, measure again and write 1.1 times the
//! count of each into `limit`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs
)]

use std::hint::black_box;
use std::time::Duration;

use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};
use nabiz::{Action, Config, Event, Key, Reap, Reaper, Session, Timestamp};

/// A client with the presets, connected at the epoch.
fn open() -> Session {
    let config = Config::client().build().unwrap();
    let mut session = Session::new(config, 7, Timestamp::EPOCH);
    assert!(session.poll(Timestamp::EPOCH).is_some());
    session.handle(Event::Connected, Timestamp::EPOCH);
    session
}

fn limit(instructions: u64) -> LibraryBenchmarkConfig {
    LibraryBenchmarkConfig::default()
        .tool(Callgrind::with_args(["--cache-sim=no"]).hard_limits([(EventKind::Ir, instructions)]))
        .clone()
}

// 1000 times `handle`, a microsecond apart.
#[library_benchmark(config = limit(33_100))]
#[bench::received(setup = open)]
fn handle(mut session: Session) -> Session {
    let mut now = Timestamp::EPOCH;
    for _ in 0..1000 {
        now = now.checked_add(Duration::from_micros(1)).unwrap();
        session.handle(black_box(Event::Received), black_box(now));
    }
    session
}

// 1000 times `handle`, `poll` and `deadline`.
#[library_benchmark(config = limit(137_600))]
#[bench::received(setup = open)]
fn turn(mut session: Session) -> Session {
    let mut now = Timestamp::EPOCH;
    for _ in 0..1000 {
        now = now.checked_add(Duration::from_micros(1)).unwrap();
        session.handle(black_box(Event::Received), black_box(now));
        assert!(black_box(session.poll(black_box(now))).is_none());
        black_box(session.deadline());
    }
    session
}

// A day, polled at the deadlines only; the peer is heard every half minute.
#[library_benchmark(config = limit(2_257_400))]
#[bench::idle(setup = open)]
fn day(mut session: Session) -> Session {
    let mut now = Timestamp::EPOCH;
    let mut arrives = now.checked_add(Duration::from_secs(30)).unwrap();
    let evening = now.checked_add(Duration::from_secs(24 * 3600)).unwrap();
    while now < evening {
        now = session.deadline().unwrap().min(arrives);
        if now == arrives {
            session.handle(Event::Received, now);
            arrives = now.checked_add(Duration::from_secs(30)).unwrap();
        }
        while let Some(action) = session.poll(now) {
            assert!(matches!(action, Action::SendHeartbeat { .. }));
            session.handle(Event::HeartbeatSent, now);
        }
    }
    session
}

const CROWD: usize = 10_240;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_epoch(Duration::from_millis(millis)).unwrap()
}

/// A roster with the server's presets, full of connections.
fn crowd() -> (Reaper<()>, Vec<Key>) {
    let mut reaper = empty();
    let keys = (0..CROWD).map(|_| reaper.insert((), at(0))).collect();
    (reaper, keys)
}

fn empty() -> Reaper<()> {
    let config = Config::server().build().unwrap();
    let reaper = Reaper::new(config, 7, at(0)).unwrap();
    reaper.with_capacity(CROWD)
}

// A packet of each connection.
#[library_benchmark(config = limit(293_500))]
#[bench::each(setup = crowd)]
fn touch((mut reaper, keys): (Reaper<()>, Vec<Key>)) -> Reaper<()> {
    for key in keys {
        assert!(reaper.received(black_box(key), black_box(at(1))));
    }
    reaper
}

#[library_benchmark(config = limit(2_649_300))]
#[bench::each(setup = empty)]
fn insert(mut reaper: Reaper<()>) -> Reaper<()> {
    for _ in 0..CROWD {
        black_box(reaper.insert((), black_box(at(1))));
    }
    reaper
}

#[library_benchmark(config = limit(702_400))]
#[bench::each(setup = crowd)]
fn remove((mut reaper, keys): (Reaper<()>, Vec<Key>)) -> Reaper<()> {
    for key in keys {
        assert!(reaper.remove(black_box(key)).is_some());
    }
    reaper
}

// All fell silent together: each is closed.
#[library_benchmark(config = limit(4_355_100))]
#[bench::all(setup = quiet)]
fn expire(mut reaper: Reaper<()>) -> Reaper<()> {
    while !reaper.is_empty() {
        let now = reaper.deadline().unwrap();
        while reaper.poll(black_box(now)).is_some() {}
    }
    reaper
}

/// A roster that sends no heartbeats.
fn quiet() -> Reaper<()> {
    let config = Config::server().without_interval().build().unwrap();
    let mut reaper = Reaper::new(config, 7, at(0)).unwrap();
    for _ in 0..CROWD {
        reaper.insert((), at(0));
    }
    reaper
}

// Five minutes of a roster whose clients are heard every 55 s: a beat to each
// every interval, and no verdict.
#[library_benchmark(config = limit(49_363_500))]
#[bench::steady(setup = crowd)]
fn minutes((mut reaper, keys): (Reaper<()>, Vec<Key>)) -> Reaper<()> {
    for second in 1..300 {
        for key in keys.iter().skip(second % 55).step_by(55) {
            reaper.received(*key, at(second as u64 * 1000));
        }
        for tick in 0..50 {
            let now = at(second as u64 * 1000 + tick * 20);
            while let Some(reap) = reaper.poll(now) {
                if let Reap::Heartbeat { key, .. } = reap {
                    reaper.heartbeat_sent(key, now);
                }
            }
        }
    }
    assert_eq!(reaper.len(), CROWD);
    reaper
}

library_benchmark_group!(name = session, benchmarks = [handle, turn, day]);
library_benchmark_group!(
    name = roster,
    benchmarks = [touch, insert, remove, expire, minutes]
);
main!(library_benchmark_groups = session, roster);
