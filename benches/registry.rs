//! What a packet costs where many tasks share a roster: a lease's `received`
//! beside a bare roster's, and beside the read of the clock that it includes;
//! by one thread and by two.

#![allow(clippy::expect_used, clippy::indexing_slicing)]

use core::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use nabiz::blocking::{Clock, Lease, Registry};
use nabiz::{Config, Key, Reaper};

const LEASES: u32 = 100_000;

/// Numbers below `LEASES` in an order that no prefetcher knows.
fn order(seed: u64) -> Vec<u32> {
    let mut state = seed;
    (0..LEASES)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            u32::try_from(state >> 33).expect("31 bits") % LEASES
        })
        .collect()
}

fn config() -> Config {
    Config::server().build().expect("the presets are valid")
}

fn one_thread(c: &mut Criterion) {
    let mut group = c.benchmark_group("a packet, of 100,000 connections");
    let clock = Clock::default();
    group.bench_function("the clock alone", |b| b.iter(|| black_box(clock.now())));

    let mut reaper = Reaper::new(config(), 7, clock.now()).expect("a server's");
    let keys: Vec<Key> = (0..LEASES)
        .map(|_| reaper.insert((), clock.now()))
        .collect();
    let order = order(1);
    let mut turns = order.iter().cycle();
    let now = clock.now();
    group.bench_function("a bare roster", |b| {
        b.iter(|| {
            let key = turns.next().map(|place| keys[*place as usize]);
            key.map(|key| reaper.received(black_box(key), now))
        });
    });

    // What `received` of a lease does, were the roster not shared.
    let mut turns = order.iter().cycle();
    group.bench_function("a bare roster, and the clock", |b| {
        b.iter(|| {
            let key = turns.next().map(|place| keys[*place as usize]);
            key.map(|key| reaper.received(black_box(key), clock.now()))
        });
    });

    let (registry, driver) = Registry::new(config()).expect("a server's");
    let leases: Vec<Lease> = (0..LEASES).map(|_| registry.register()).collect();
    let mut turns = order.iter().cycle();
    group.bench_function("a lease", |b| {
        b.iter(|| {
            if let Some(place) = turns.next() {
                black_box(&leases[*place as usize]).received();
            }
        });
    });
    group.finish();

    // Each has every second connection, as a runtime would deal them out.
    let mut group = c.benchmark_group("a packet, of 100,000 connections, by each of two threads");
    let orders = [0, 1].map(|thread| {
        let places = self::order(2).into_iter();
        places.map(|place| place & !1 | thread).collect::<Vec<_>>()
    });
    let work = |packets: u64, order: &[u32], each: &(dyn Fn(u32) + Sync)| {
        for place in order
            .iter()
            .cycle()
            .take(usize::try_from(packets).expect("a count"))
        {
            each(*place);
        }
    };
    let two = |packets: u64, each: &(dyn Fn(u32) + Sync)| -> Duration {
        let start = Barrier::new(2);
        let took = std::thread::scope(|scope| {
            let threads = orders.each_ref().map(|order| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    let begun = Instant::now();
                    work(packets, order, each);
                    begun.elapsed()
                })
            });
            threads.map(|thread| thread.join().expect("it only counts"))
        });
        took.into_iter().max().unwrap_or_default()
    };
    group.bench_function("the clock alone", |b| {
        b.iter_custom(|packets| {
            two(packets, &|place| {
                black_box((place, clock.now()));
            })
        });
    });
    group.bench_function("a lease", |b| {
        b.iter_custom(|packets| two(packets, &|place| leases[place as usize].received()));
    });
    group.finish();
    drop(driver);
}

criterion_group!(benches, one_thread);
criterion_main!(benches);
