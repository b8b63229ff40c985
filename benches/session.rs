//! What a session costs: per packet, per day, per delay.
//!
//! `cargo bench --bench session`. For a gate that no noise breaks, see
//! `benches/instructions`.

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

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use nabiz::{Action, Backoff, Config, Event, Jitter, Ratio, Session, Timestamp};

const MICROSECOND: Duration = Duration::from_micros(1);
/// Packets a sample: 1 ms of virtual time, so that no timer falls due.
const PACKETS: u64 = 1000;

/// A client with the presets, connected at the epoch.
fn open(config: Config) -> Session {
    let mut session = Session::new(config, 7, Timestamp::EPOCH);
    assert_eq!(
        session.poll(Timestamp::EPOCH),
        Some(Action::Connect { attempt: 0 })
    );
    session.handle(Event::Connected, Timestamp::EPOCH);
    session
}

fn packets(c: &mut Criterion) {
    let presets = Config::client().build().unwrap();
    let asking = Config::client()
        .with_answer_timeout(Duration::from_secs(10))
        .with_max_age(Duration::from_secs(3600))
        .build()
        .unwrap();
    let guarded = Config::client()
        .with_flood(Duration::from_nanos(1), u32::MAX)
        .build()
        .unwrap();

    let mut group = c.benchmark_group("packet");
    group.throughput(Throughput::Elements(PACKETS));
    let mut bench = |name: &str, config, step: fn(&mut Session, Timestamp)| {
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || open(config),
                |session| {
                    let mut now = Timestamp::EPOCH;
                    for _ in 0..PACKETS {
                        now = now.checked_add(MICROSECOND).unwrap();
                        step(session, now);
                    }
                },
                BatchSize::SmallInput,
            );
        });
    };
    bench("handle", presets, |session, now| {
        session.handle(black_box(Event::Received), black_box(now));
    });
    bench("handle, with answers and an age", asking, |session, now| {
        session.handle(black_box(Event::Received), black_box(now));
    });
    let in_full = |session: &mut Session, now: Timestamp| {
        session.handle(black_box(Event::Received), black_box(now));
        assert!(black_box(session.poll(black_box(now))).is_none());
        black_box(session.deadline());
    };
    bench("handle, poll, deadline", presets, in_full);
    bench(
        "handle, poll, deadline, with answers and an age",
        asking,
        in_full,
    );
    bench(
        "handle a heartbeat, with a flood limit",
        guarded,
        |session, now| {
            session.handle(black_box(Event::HeartbeatReceived), black_box(now));
        },
    );
    group.finish();
}

/// A day of one client that is polled at its deadlines only, and whose peer is
/// heard every half minute. Counts the heartbeats.
fn idle_day(session: &mut Session) -> u32 {
    let mut now = Timestamp::EPOCH;
    let mut arrives = now.checked_add(Duration::from_secs(30)).unwrap();
    let evening = now.checked_add(Duration::from_secs(24 * 3600)).unwrap();
    let mut beats = 0;
    while now < evening {
        now = session.deadline().unwrap().min(arrives);
        if now == arrives {
            session.handle(Event::Received, now);
            arrives = now.checked_add(Duration::from_secs(30)).unwrap();
        }
        while let Some(action) = session.poll(now) {
            assert!(matches!(action, Action::SendHeartbeat { .. }));
            session.handle(Event::HeartbeatSent, now);
            beats += 1;
        }
    }
    beats
}

fn day(c: &mut Criterion) {
    let config = Config::client().build().unwrap();
    c.bench_function("an idle day", |b| {
        b.iter_batched_ref(|| open(config), idle_day, BatchSize::SmallInput);
    });
}

fn delays(c: &mut Criterion) {
    let mut group = c.benchmark_group("delay");
    for (name, jitter) in [
        ("full", Jitter::Full),
        ("proportional", Jitter::Proportional(Ratio::percent(20))),
        ("decorrelated", Jitter::Decorrelated),
    ] {
        let mut delays = Backoff::new().with_jitter(jitter).delays(7).unwrap();
        group.bench_function(name, |b| b.iter(|| black_box(&mut delays).next()));
    }
    group.finish();
}

criterion_group!(benches, packets, day, delays);
criterion_main!(benches);
