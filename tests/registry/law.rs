//! A shared roster gives the verdicts of a plain one that is told the same at
//! the same times.

use core::time::Duration;
use std::sync::{Arc, Mutex};

use nabiz::tokio::{Duty, Lease};
use nabiz::{CloseReason, Config, Evidence, Key, Reap, Reaper, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::helpers::{LATE, RESOLUTION, roster};
use crate::common::{SEED, bare_server, millis};

/// What happens to a connection. All of it happens in the middle of a tenth of
/// a second, and no limit that it starts runs out near another such instant.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Comes(Kind),
    Received,
    Heartbeat,
    Sent,
    /// In thirtieths of a second and tenths.
    Bears(u64),
    Exempt,
    Goes,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Flushes each beat at once.
    Flushes,
    /// Flushes nothing.
    Stuck,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    /// Tenths of a second since the last.
    wait: u64,
    who: usize,
    what: Happens,
}

fn step() -> impl Strategy<Value = Step> {
    let what = prop_oneof![
        3 => prop_oneof![3 => Just(Kind::Flushes), 1 => Just(Kind::Stuck)].prop_map(Happens::Comes),
        6 => Just(Happens::Received),
        4 => Just(Happens::Heartbeat),
        3 => Just(Happens::Sent),
        1 => (5..40_u64).prop_map(Happens::Bears),
        1 => Just(Happens::Exempt),
        1 => Just(Happens::Goes),
    ];
    (0..12_u64, 0..8_usize, what).prop_map(|(wait, who, what)| Step { wait, who, what })
}

fn config() -> impl Strategy<Value = Config> {
    let limits = (prop::option::of(10..40_u64), prop::option::of(3..9_u64));
    let beats = (
        prop::option::of(4..30_u64),
        prop::option::of(5..40_u64),
        any::<bool>(),
    );
    (limits, beats, any::<bool>(), any::<bool>()).prop_map(
        |((silence, hello), (interval, write, idle), spread, heartbeats)| {
            let tenths = |tenths: u64| millis(tenths * 100 + 30);
            let mut config = bare_server()
                .with_only_when_idle(idle)
                .with_spread_first_beat(spread);
            if let Some(silence) = silence {
                config = config.with_silence_timeout(tenths(silence));
            }
            if let Some(hello) = hello {
                config = config.with_hello_timeout(tenths(hello));
            }
            if let Some(interval) = interval {
                config = config.with_interval(tenths(interval));
                // A round of beats that are spread goes by when the roster is
                // polled, and what waits for a flush goes by the beat.
                if let Some(write) = write.filter(|_| !spread) {
                    config = config.with_write_timeout(tenths(write));
                }
            }
            if heartbeats {
                config = config.with_evidence(Evidence::Heartbeats);
            }
            config.build().unwrap()
        },
    )
}

/// When each connection was closed, and why; by the order in which they came.
type Ends = Vec<Option<(Duration, CloseReason)>>;

struct Connection {
    number: usize,
    key: Key,
    kind: Kind,
}

fn plain(config: Config, steps: &[Step], until: Duration) -> Ends {
    let at = |time: Duration| Timestamp::from_epoch(time).unwrap();
    let mut reaper: Reaper<(usize, Kind)> = Reaper::new(config, SEED, at(Duration::ZERO))
        .unwrap()
        .with_resolution(RESOLUTION)
        .unwrap();
    let mut ends: Ends = Vec::new();
    let mut who: [Option<Connection>; 8] = Default::default();
    let mut now = millis(50);
    let run = |reaper: &mut Reaper<(usize, Kind)>, ends: &mut Ends, until: Duration| {
        while let Some(due) = reaper.deadline().filter(|due| *due < at(until)) {
            loop {
                match reaper.poll(due) {
                    Some(Reap::Heartbeat {
                        key,
                        value: (_, kind),
                    }) => {
                        if *kind == Kind::Flushes {
                            reaper.heartbeat_sent(key, due);
                        }
                    }
                    Some(Reap::Close {
                        value: (number, _),
                        reason,
                        ..
                    }) => {
                        ends[number] = Some((due.since_epoch(), reason));
                    }
                    Some(Reap::Yield) => {}
                    None => break,
                }
            }
        }
    };
    for step in steps {
        now += millis(100 * step.wait);
        run(&mut reaper, &mut ends, now);
        let place = &mut who[step.who];
        if let Happens::Comes(kind) = step.what {
            let number = ends.len();
            ends.push(None);
            if let Some(old) = place.take() {
                reaper.remove(old.key);
            }
            let key = reaper.insert((number, kind), at(now));
            *place = Some(Connection { number, key, kind });
            continue;
        }
        let Some(Connection { number, key, kind }) = place else {
            continue;
        };
        if ends[*number].is_some() {
            continue;
        }
        match step.what {
            Happens::Received => {
                reaper.received(*key, at(now));
            }
            Happens::Heartbeat => {
                reaper.heartbeat_received(*key, at(now));
            }
            Happens::Sent if *kind == Kind::Flushes => {
                reaper.sent(*key, at(now));
            }
            Happens::Bears(tenths) => {
                let bears = millis(tenths * 100 + 30);
                let _ = reaper.set_silence_timeout(*key, bears, at(now));
            }
            Happens::Exempt => {
                reaper.exempt(*key, at(now));
            }
            Happens::Goes => {
                reaper.remove(*key);
                *place = None;
            }
            Happens::Sent | Happens::Comes(_) => {}
        }
    }
    run(&mut reaper, &mut ends, until);
    ends
}

/// A connection and the task that does its duties.
type Served = (usize, Kind, Arc<Lease>, JoinHandle<()>);

async fn shared(config: Config, steps: &[Step], until: Duration) -> Ends {
    let start = Instant::now();
    let (registry, driver) = roster(config.to_builder());
    let ends: Arc<Mutex<Ends>> = Arc::default();
    let mut who: [Option<Served>; 8] = Default::default();
    let mut now = millis(50);
    for step in steps {
        now += millis(100 * step.wait);
        sleep_until(start + now).await;
        let place = &mut who[step.who];
        if let Happens::Comes(kind) = step.what {
            let number = ends.lock().unwrap().len();
            ends.lock().unwrap().push(None);
            if let Some((.., task)) = place.take() {
                task.abort();
                let _ = task.await;
            }
            let lease = Arc::new(registry.register());
            let (served, ends) = (lease.clone(), ends.clone());
            let task = tokio::spawn(async move {
                loop {
                    match served.next().await {
                        Duty::Heartbeat if kind == Kind::Flushes => served.heartbeat_sent(),
                        Duty::Heartbeat => {}
                        Duty::Close { reason, .. } => {
                            ends.lock().unwrap()[number] = Some((start.elapsed(), reason));
                            return;
                        }
                    }
                }
            });
            *place = Some((number, kind, lease, task));
            continue;
        }
        let Some((number, kind, lease, task)) = place else {
            continue;
        };
        if ends.lock().unwrap()[*number].is_some() {
            continue;
        }
        match step.what {
            Happens::Received => lease.received(),
            Happens::Heartbeat => lease.heartbeat_received(),
            Happens::Sent if *kind == Kind::Flushes => lease.sent(),
            Happens::Bears(tenths) => {
                let _ = lease.set_silence_timeout(millis(tenths * 100 + 30));
            }
            Happens::Exempt => lease.exempt(),
            Happens::Goes => {
                task.abort();
                *place = None;
            }
            Happens::Sent | Happens::Comes(_) => {}
        }
    }
    sleep_until(start + until).await;
    let ends = ends.lock().unwrap().clone();
    driver.abort();
    ends
}

fn compare(config: Config, steps: &[Step]) -> Result<(), TestCaseError> {
    let waits: u64 = steps.iter().map(|step| step.wait).sum();
    let until = millis(waits * 100 + 20_000);
    let plain = plain(config, steps, until);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let shared = runtime.block_on(shared(config, steps, until));
    prop_assert_eq!(plain.len(), shared.len());
    for (number, (plain, shared)) in plain.iter().zip(&shared).enumerate() {
        let agree = match (plain, shared) {
            (None, None) => true,
            (Some((at, why)), Some((then, reason))) => why == reason && at.abs_diff(*then) <= LATE,
            _ => false,
        };
        prop_assert!(agree, "connection {number}: {plain:?} and {shared:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_shared_roster_is_a_roster(config in config(), steps in vec(step(), 1..80)) {
        compare(config, &steps)?;
    }
}
