//! A roster within its capacity never allocates, and holds little.

use core::time::Duration;
use std::hint::black_box;

use nabiz::{CloseReason, Config, ConfigBuilder, Evidence, Key, Ratio, Reap, Reaper, Timestamp};
use nabiz_alloc::{Counting, allocations, held};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_epoch(Duration::from_millis(millis)).unwrap()
}

/// Every option that a roster has, on.
fn everything() -> ConfigBuilder {
    Config::server()
        .with_interval(secs(10))
        .with_silence_timeout(secs(40))
        .with_write_timeout(secs(8))
        .with_hello_timeout(secs(20))
        .with_flood(secs(1), 5)
        .with_max_age(secs(300))
        .with_max_age_jitter(Ratio::percent(50))
        .with_probes(3)
}

fn reserved<T>(config: ConfigBuilder, capacity: usize) -> Reaper<T> {
    let reaper = Reaper::new(config.build().unwrap(), 7, at(0)).unwrap();
    reaper.with_capacity(capacity)
}

const CAPACITY: usize = 5000;

/// Which paths were taken: one that was not shows nothing.
#[derive(Debug, Default)]
struct Seen {
    beats: u64,
    yields: u64,
    reasons: Vec<CloseReason>,
}

/// Lives for a while at full capacity; gives how often it allocated.
fn lives(config: ConfigBuilder, own_timeouts: bool) -> (u64, Seen) {
    let mut reaper: Reaper<u64> = reserved(config, CAPACITY);
    let mut keys: Vec<Key> = Vec::with_capacity(CAPACITY);
    let mut seen = Seen::default();
    seen.reasons.reserve(100);
    if own_timeouts {
        // The first timeout of its own makes room for those of all others.
        let key = reaper.insert(0, at(0));
        assert!(reaper.exempt(key, at(0)));
        reaper.remove(key);
    }
    let count = allocations(|| {
        let mut state = 1u64;
        let mut now = 0;
        for turn in 0..3000u64 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let roll = state >> 33;
            // Now and then too late.
            now += if turn % 700 == 699 {
                100_000
            } else {
                roll % 200
            };
            let now = at(now);
            while keys.len() < CAPACITY {
                keys.push(reaper.insert(turn, now));
            }
            for step in 0..40u64 {
                let place = (roll.wrapping_add(step * 7919) % CAPACITY as u64) as usize;
                let key = keys[place];
                match (roll + step) % 8 {
                    0 | 1 => black_box(reaper.received(key, now)),
                    2 | 3 => black_box(reaper.heartbeat_received(key, now)),
                    4 => black_box(reaper.sent(key, now)),
                    5 => black_box(reaper.remove(key).is_some()),
                    6 if own_timeouts => black_box(
                        reaper
                            .set_silence_timeout(key, secs(30 + step), now)
                            .unwrap(),
                    ),
                    7 if own_timeouts => black_box(reaper.exempt(key, now)),
                    _ => black_box(reaper.silence(key, now).is_some()),
                };
            }
            if turn % 50 == 25 {
                // A flood of one client's.
                let key = keys[(roll % CAPACITY as u64) as usize];
                for _ in 0..10 {
                    black_box(reaper.heartbeat_received(key, now));
                }
            }
            if turn % 900 == 500 {
                reaper.resumed(now);
            }
            if turn == 2900 {
                reaper.drain(secs(5), now);
            }
            poll(&mut reaper, now, &mut seen);
            black_box((reaper.deadline(), reaper.len(), reaper.counters()));
            keys.retain(|key| reaper.contains(*key));
        }
    });
    (count, seen)
}

fn poll(reaper: &mut Reaper<u64>, now: Timestamp, seen: &mut Seen) {
    while let Some(reap) = reaper.poll(now) {
        match reap {
            Reap::Yield => seen.yields += 1,
            Reap::Heartbeat { key, .. } => {
                seen.beats += 1;
                // One in eight stays in flight.
                if seen.beats % 8 != 0 {
                    assert!(reaper.heartbeat_sent(key, now));
                }
            }
            Reap::Close { reason, .. } => {
                if !seen.reasons.contains(&reason) {
                    seen.reasons.push(reason);
                }
            }
        }
    }
}

#[test]
fn a_roster_within_its_capacity_does_not_allocate() {
    for evidence in [Evidence::AnyBytes, Evidence::Heartbeats] {
        for spread in [true, false] {
            for own_timeouts in [true, false] {
                let config = everything()
                    .with_evidence(evidence)
                    .with_spread_first_beat(spread);
                let (count, seen) = lives(config, own_timeouts);
                assert_eq!(count, 0, "{evidence:?} {spread} {own_timeouts}");
                assert!(seen.beats > 1000 && seen.yields > 10, "{seen:?}");
                assert_eq!(seen.reasons.len(), 6, "{seen:?}");
            }
        }
    }
}

#[test]
fn a_roster_with_no_option_does_not_allocate() {
    let config = Config::server()
        .without_interval()
        .without_write_timeout()
        .with_silence_timeout(secs(40));
    let (count, seen) = lives(config, false);
    assert_eq!((count, seen.beats), (0, 0));
    assert_eq!(seen.reasons.len(), 2, "{seen:?}");
}

/// A leap beyond the range of every clock inside.
#[test]
fn a_leap_of_years_does_not_allocate() {
    let mut reaper: Reaper<u64> = reserved(everything(), CAPACITY);
    for value in 0..CAPACITY as u64 {
        reaper.insert(value, at(0));
    }
    let mut seen = Seen::default();
    seen.reasons.reserve(100);
    let count = allocations(|| {
        for years in [1, 30, 300, 580] {
            let now = at(years * 365 * 24 * 3_600_000);
            poll(&mut reaper, now, &mut seen);
            while reaper.len() < CAPACITY {
                reaper.insert(0, now);
            }
            poll(&mut reaper, now, &mut seen);
        }
        poll(&mut reaper, Timestamp::MAX, &mut seen);
    });
    assert_eq!(count, 0);
}

#[test]
fn an_empty_roster_and_its_keys_do_not_allocate() {
    let config = everything().build().unwrap();
    let mut reaper: Reaper<u64> = reserved(everything(), 1);
    let key = reaper.insert(1, at(0));
    let count = allocations(|| {
        let bad = Config::client().build().unwrap();
        black_box(Reaper::<u64>::new(bad, 7, at(0)).unwrap_err());
        assert_eq!(Key::from_bits(black_box(key).into_bits()), Some(key));
        black_box((key.index(), reaper.get(key), reaper.iter().count()));
        black_box((
            reaper.config() == &config,
            reaper.resolution(),
            reaper.capacity(),
        ));
        reaper.remove(key);
        black_box(reaper.poll(at(1000)));
    });
    assert_eq!(count, 0);
}

/// Bytes for each connection, with the capacity reserved.
fn bytes_each<T>(config: ConfigBuilder, count: usize) -> f64 {
    let (reaper, bytes) = held(|| reserved::<T>(config, count));
    assert!(reaper.capacity() >= count);
    bytes as f64 / count as f64
}

fn filled<T>(config: ConfigBuilder, count: usize, value: impl Fn() -> T) -> f64 {
    let (reaper, bytes) = held(|| {
        let mut reaper = reserved::<T>(config, count);
        for _ in 0..count {
            reaper.insert(value(), at(0));
        }
        reaper
    });
    assert_eq!(reaper.len(), count);
    bytes as f64 / count as f64
}

#[test]
fn a_connection_takes_what_the_documentation_says() {
    let plain = Config::server().without_interval();
    let beating = Config::server();
    for count in [1 << 12, 100_000, 1_000_000] {
        for each in [bytes_each::<()>(plain, count), filled(plain, count, || ())] {
            println!("{count}: {each:.3} bytes each");
            assert!(each <= 8.5, "{each}");
        }
        for each in [
            bytes_each::<()>(beating, count),
            filled(beating, count, || ()),
        ] {
            println!("{count}: {each:.3} bytes each, with an interval");
            assert!(each <= 12.5, "{each}");
        }
        let each = bytes_each::<u64>(plain, count);
        assert!(each <= 8.5 + size_of::<Option<u64>>() as f64, "{each}");
        let each = filled(plain, count, || Box::new(()));
        assert!(each <= 8.5 + 8.0, "{each}: an Option of a box is a box");
        for one_more in [plain.with_max_age(secs(1000)), plain.with_flood(secs(1), 3)] {
            let each = filled(one_more, count, || ());
            assert!(each <= 16.5, "{each}");
        }
    }
}

#[test]
fn what_is_given_back_is_used_again() {
    let mut reaper: Reaper<()> = reserved(everything(), 100);
    let count = allocations(|| {
        for turn in 0..100_000 {
            let key = reaper.insert((), at(turn));
            assert!(reaper.remove(key).is_some());
        }
    });
    assert_eq!(count, 0);
}
