//! What only the Reaper promises: how late it closes, and what each option
//! costs in memory.

use std::num::NonZeroU64;
use std::time::Duration;

use nabiz::{Config, ConfigBuilder, Key, Reap, Reaper, Timestamp};
use serde::Serialize;

use crate::heap;
use crate::random::Random;
use crate::roster::{LIMIT, MILLISECOND, Nanos, SECOND};
use crate::world::CYCLE;

/// Bytes a connection, with an option in use.
#[derive(Clone, Debug, Serialize)]
pub struct Price {
    pub option: &'static str,
    pub bytes: f64,
}

/// Closings by a driver that polls at the deadlines and nowhere else.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Lateness {
    pub worst_ms: f64,
    pub connections: usize,
    pub wake_ups_per_second: f64,
}

fn at(nanos: Nanos) -> Timestamp {
    Timestamp::from_nanos(nanos).expect("some hours")
}

fn reaper<T>(config: ConfigBuilder, connections: usize) -> Reaper<T> {
    let config = config.build().expect("a valid configuration");
    let reaper = Reaper::new(config, 7, at(0)).expect("a server's configuration");
    reaper.with_capacity(connections)
}

fn presets() -> ConfigBuilder {
    Config::server().without_interval()
}

/// What the options cost, each in use by every connection.
pub fn prices(connections: usize) -> Vec<Price> {
    let price = |option, config| {
        let nothing = |_: &mut Reaper<()>, _, _| ();
        (option, bytes(connections, config, || (), nothing))
    };
    let day = Duration::from_secs(24 * 3600);
    let limit_of_its_own = |reaper: &mut Reaper<()>, key: Key, index: usize| {
        let limit = Duration::from_secs(60 + index as u64 % 1000);
        let was_set = reaper.set_silence_timeout(key, limit, at(SECOND));
        assert!(was_set.is_ok_and(|is_known| is_known));
    };
    let beat = |reaper: &mut Reaper<()>, key, _| {
        assert!(reaper.heartbeat_received(key, at(SECOND)));
    };
    let flood = presets().with_flood(Duration::from_secs(10), 5);
    let prices = [
        price("none", presets()),
        price("heartbeats", Config::server()),
        price("an age limit", presets().with_max_age(day)),
        ("a flood limit", bytes(connections, flood, || (), beat)),
        (
            "silence limits of their own",
            bytes(connections, presets(), || (), limit_of_its_own),
        ),
        (
            "values of 8 bytes, with a niche",
            bytes(connections, presets(), || NonZeroU64::MIN, |_, _, _| ()),
        ),
    ];
    let priced = |(option, bytes)| Price { option, bytes };
    prices.map(priced).into()
}

/// Bytes a connection, when everyone is in and was used once.
fn bytes<T>(
    connections: usize,
    config: ConfigBuilder,
    value: impl Fn() -> T,
    mut use_it: impl FnMut(&mut Reaper<T>, Key, usize),
) -> f64 {
    let mut keys = Vec::with_capacity(connections);
    let before = heap::live();
    let mut reaper = reaper::<T>(config, connections);
    keys.extend((0..connections).map(|_| reaper.insert(value(), at(0))));
    for (index, key) in keys.iter().enumerate() {
        use_it(&mut reaper, *key, index);
    }
    (heap::live() - before) as f64 / connections as f64
}

/// Packets come at random times for a minute, then never again.
pub fn lateness(connections: usize) -> Lateness {
    let mut reaper: Reaper<()> = reaper(presets(), connections);
    let mut random = Random::new(3);
    let gap = CYCLE / connections as u64;
    let mut keys = Vec::with_capacity(connections);
    let mut heard = vec![0; connections];
    let mut now = 0;
    let mut next_packet = 0;
    let (mut worst, mut wake_ups) = (0, 0u32);
    while keys.len() < connections || !reaper.is_empty() {
        let due = reaper.deadline().map_or(Nanos::MAX, Timestamp::as_nanos);
        if next_packet <= due {
            now = next_packet;
            if keys.len() < connections {
                heard[keys.len()] = now;
                keys.push(reaper.insert((), at(now)));
            } else {
                let index = random.below(connections as u32) as usize;
                heard[index] = now;
                reaper.received(keys[index], at(now));
            }
            let is_last = now > 3 * CYCLE;
            next_packet = if is_last { Nanos::MAX } else { now + gap };
        } else {
            now = due.max(now);
            wake_ups += 1;
            while let Some(reap) = reaper.poll(at(now)) {
                if let Reap::Close { key, .. } = reap {
                    let after = now - heard[key.index()];
                    assert!(after >= LIMIT, "closed after {after} ns");
                    worst = worst.max(after - LIMIT);
                }
            }
        }
    }
    Lateness {
        worst_ms: worst as f64 / MILLISECOND as f64,
        connections,
        wake_ups_per_second: f64::from(wake_ups) / (now as f64 / SECOND as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_is_closed_within_the_resolution() {
        for connections in [1000, 100_000] {
            let lateness = lateness(connections);
            assert!(lateness.worst_ms <= 20.0, "{lateness:?}");
        }
    }
}
