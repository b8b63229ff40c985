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
use nabiz::{Action, Config, Event, Session, Timestamp};

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
#[library_benchmark(config = limit(133_200))]
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
#[library_benchmark(config = limit(2_336_000))]
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

library_benchmark_group!(name = session, benchmarks = [handle, turn, day]);
main!(library_benchmark_groups = session);
