//! What a roster costs: per packet, per connection that comes or goes, per
//! second of a quiet life.
//!
//! `cargo bench --bench roster`. Beside the crates that people would pick
//! instead: `benches/peers`.

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

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nabiz::{Config, ConfigBuilder, Key, Reap, Reaper, Timestamp};

const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

fn at(millis: u64) -> Timestamp {
    Timestamp::from_epoch(Duration::from_millis(millis)).unwrap()
}

fn crowd(config: ConfigBuilder, size: usize) -> (Reaper<()>, Vec<Key>) {
    let reaper = Reaper::new(config.build().unwrap(), 7, at(0)).unwrap();
    let mut reaper = reaper.with_capacity(size);
    let keys = (0..size).map(|_| reaper.insert((), at(0))).collect();
    (reaper, keys)
}

/// Whose packet comes next: random, with replacement.
struct Dice(u64);

impl Dice {
    fn below(&mut self, size: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(((self.0 >> 32) * size as u64) >> 32).unwrap()
    }
}

fn packets(c: &mut Criterion) {
    let mut group = c.benchmark_group("roster/packet");
    group.throughput(Throughput::Elements(1));
    for size in SIZES {
        let mut stores = vec![0u32; size];
        let mut dice = Dice(7);
        group.bench_function(BenchmarkId::new("a store, to compare", size), |b| {
            b.iter(|| stores[dice.below(size)] = black_box(1));
        });
        let (mut reaper, keys) = crowd(Config::server(), size);
        group.bench_function(BenchmarkId::new("received", size), |b| {
            b.iter(|| reaper.received(keys[dice.below(size)], black_box(at(1))));
        });
        group.bench_function(BenchmarkId::new("sent", size), |b| {
            b.iter(|| reaper.sent(keys[dice.below(size)], black_box(at(1))));
        });
    }
}

fn coming_and_going(c: &mut Criterion) {
    let mut group = c.benchmark_group("roster/connection");
    for size in SIZES {
        group.throughput(Throughput::Elements(size as u64));
        group.sample_size(10);
        let empty = || crowd(Config::server(), 0).0.with_capacity(size);
        group.bench_function(BenchmarkId::new("insert", size), |b| {
            b.iter_batched_ref(
                empty,
                |reaper| {
                    for _ in 0..size {
                        black_box(reaper.insert((), at(1)));
                    }
                },
                BatchSize::PerIteration,
            );
        });
        let full = || {
            let (reaper, mut keys) = crowd(Config::server(), size);
            let mut dice = Dice(7);
            for last in (1..size).rev() {
                keys.swap(last, dice.below(last + 1));
            }
            (reaper, keys)
        };
        group.bench_function(BenchmarkId::new("remove", size), |b| {
            b.iter_batched_ref(
                full,
                |(reaper, keys)| {
                    for key in keys {
                        black_box(reaper.remove(*key));
                    }
                },
                BatchSize::PerIteration,
            );
        });
        let quiet = || crowd(Config::server().without_interval(), size).0;
        group.bench_function(BenchmarkId::new("expire together", size), |b| {
            b.iter_batched_ref(
                quiet,
                |reaper| {
                    while let Some(due) = reaper.deadline() {
                        while reaper.poll(due).is_some() {}
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
}

/// A second of a roster whose clients are heard every 55 s.
fn seconds(c: &mut Criterion) {
    let mut group = c.benchmark_group("roster/second");
    group.sample_size(20);
    let configs = [
        ("quiet", Config::server().without_interval()),
        ("with heartbeats", Config::server()),
    ];
    for (name, config) in configs {
        for size in SIZES {
            let (mut reaper, keys) = crowd(config, size);
            let mut now = 0;
            let mut second = || {
                let start = now;
                while now < start + 1000 {
                    now += 20;
                    let instant = at(now);
                    while let Some(reap) = reaper.poll(instant) {
                        match reap {
                            Reap::Heartbeat { key, .. } => {
                                reaper.heartbeat_sent(key, instant);
                            }
                            Reap::Close { .. } => unreachable!("all are heard in time"),
                            Reap::Yield => {}
                        }
                    }
                }
                let heard = usize::try_from(now / 1000 % 55).unwrap();
                (keys.iter().skip(heard).step_by(55))
                    .for_each(|key| assert!(reaper.received(*key, at(now))));
            };
            (0..180).for_each(|_| second()); // until it is in its stride
            group.bench_function(BenchmarkId::new(name, size), |b| b.iter(&mut second));
        }
    }
}

criterion_group!(benches, packets, coming_and_going, seconds);
criterion_main!(benches);
