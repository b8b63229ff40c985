//! The same on threads. Limits are short and margins wide.

use std::thread;
use std::time::{Duration, Instant};

use nabiz::CloseReason;
use nabiz::blocking::{Clock, Duty, Lease, Registry};

use crate::common::{SEED, bare_server, millis, secs};

const SILENT: Duty = Duty::Close {
    reason: CloseReason::PeerSilent,
    retry_after: None,
};

/// Polls as a thread would that reads meanwhile, until it is told to close.
fn serve(lease: &Lease) -> (u32, Duty) {
    let mut beats = 0;
    loop {
        match lease.poll() {
            Some(Duty::Heartbeat) => {
                beats += 1;
                lease.heartbeat_sent();
            }
            Some(duty) => return (beats, duty),
            None => thread::sleep(lease.timeout()),
        }
    }
}

#[test]
fn the_silent_are_closed_and_the_quiet_are_beaten_to() {
    let config = bare_server()
        .with_interval(millis(100))
        .with_silence_timeout(millis(600))
        .with_stall_tolerance(secs(5));
    let (registry, driver) = Registry::new(config.build().unwrap()).unwrap();
    let driver = thread::spawn(move || driver.run());
    let mut connections = Vec::new();
    for number in 0..20 {
        let mut last = Instant::now();
        let lease = registry.register();
        connections.push(thread::spawn(move || {
            if number % 2 == 0 {
                thread::sleep(millis(300));
                last = Instant::now();
                lease.received();
            }
            let (beats, duty) = serve(&lease);
            assert_eq!(duty, SILENT);
            let silence = last.elapsed();
            assert!(silence >= millis(600) && silence < secs(5), "{silence:?}");
            assert!(beats >= 2, "{beats}");
        }));
    }
    assert_eq!(registry.len(), 20);
    for connection in connections {
        connection.join().unwrap();
    }
    assert!(registry.is_empty());
    drop(registry);
    driver.join().unwrap();
}

#[test]
fn a_driver_that_sleeps_long_is_woken() {
    let config = bare_server().with_silence_timeout(secs(3600));
    let (registry, driver) = Registry::new(config.build().unwrap()).unwrap();
    let driver = thread::spawn(move || driver.run());
    let lease = registry.register();
    thread::sleep(millis(100));
    let start = Instant::now();
    lease.set_silence_timeout(millis(250)).unwrap();
    assert_eq!(serve(&lease).1, SILENT);
    assert!(start.elapsed() < secs(5), "{:?}", start.elapsed());
    drop(lease);
    let lease = registry.register();
    thread::sleep(millis(50));
    registry.drain(millis(100));
    let duty = serve(&lease).1;
    let Duty::Close {
        reason,
        retry_after,
    } = duty
    else {
        panic!("{duty:?}");
    };
    assert_eq!(reason, CloseReason::Draining);
    assert!(retry_after.unwrap() <= millis(200));
    assert!(start.elapsed() < secs(5), "{:?}", start.elapsed());
    // And for the end.
    drop(lease);
    let start = Instant::now();
    drop(registry);
    driver.join().unwrap();
    assert!(start.elapsed() < secs(5), "{:?}", start.elapsed());
}

#[test]
fn without_a_driver_everyone_is_told_to_close() {
    let (registry, driver) = Registry::new(bare_server().build().unwrap()).unwrap();
    let lease = registry.register();
    assert_eq!(lease.poll(), None);
    drop(driver);
    let shutdown = Some(Duty::Close {
        reason: CloseReason::Shutdown,
        retry_after: None,
    });
    assert_eq!(lease.poll(), shutdown);
    assert_eq!(registry.register().poll(), shutdown);
}

#[test]
fn a_thread_that_panics_leaves_the_roster() {
    let (registry, _driver) = Registry::new(bare_server().build().unwrap()).unwrap();
    let lease = registry.register();
    let thread = thread::spawn(move || {
        lease.received();
        panic!("as is meant to be");
    });
    assert!(thread.join().is_err());
    assert!(registry.is_empty());
}

#[test]
fn a_wait_is_fit_for_a_read_timeout() {
    let (registry, _driver) = Registry::new(bare_server().build().unwrap()).unwrap();
    let wait = registry.register().timeout();
    assert!(wait > Duration::ZERO && wait <= millis(50));
}

#[test]
fn many_come_and_go_on_several_threads() {
    let config = bare_server()
        .with_interval(millis(20))
        .with_silence_timeout(secs(5));
    let (registry, driver) = Registry::new(config.build().unwrap()).unwrap();
    let driver = thread::spawn(move || driver.run());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let registry = registry.clone();
            thread::spawn(move || {
                let start = Instant::now();
                let mut leases = Vec::new();
                let mut turns = 0;
                while start.elapsed() < millis(500) {
                    leases.push(registry.register());
                    turns += 1;
                    for lease in &leases {
                        lease.received();
                        match lease.poll() {
                            Some(Duty::Heartbeat) => lease.heartbeat_sent(),
                            Some(duty) => panic!("{duty:?}"),
                            None => {}
                        }
                    }
                    if leases.len() > 100 {
                        leases.drain(..50);
                    }
                }
                turns
            })
        })
        .collect();
    let turns: u64 = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .sum();
    let counters = registry.counters();
    assert_eq!((counters.inserted, counters.removed), (turns, turns));
    assert_eq!(counters.closed, 0);
    assert!(counters.heartbeats > 0);
    drop(registry);
    driver.join().unwrap();
}

/// What is reported while the driver judges everyone is seen, be it by the
/// driver or by who asks for the duties.
#[test]
fn what_came_before_the_duties_are_asked_for_withdraws_the_verdict() {
    const MANY: usize = 3000;
    const LIMIT: Duration = millis(25);
    let config = bare_server().with_silence_timeout(LIMIT);
    let config = config.with_stall_tolerance(secs(5)).build().unwrap();
    let clock = Clock::monotonic();
    let (registry, driver) = Registry::with(config, SEED, clock, millis(2)).unwrap();
    let driver = thread::spawn(move || driver.run());
    let mut told = 0;
    for round in 0..25 {
        let leases: Vec<_> = (0..MANY).map(|_| registry.register()).collect();
        for lease in &leases {
            lease.received();
        }
        let start = Instant::now();
        let offset = LIMIT + Duration::from_micros(round * 137);
        while start.elapsed() < offset {
            std::hint::spin_loop();
        }
        let start = Instant::now();
        for lease in &leases {
            lease.received();
        }
        let closed = leases.iter().filter(|lease| lease.poll().is_some());
        let closed = closed.count();
        // Unless we were held up so long that they are silent again.
        if start.elapsed() < LIMIT {
            assert_eq!(closed, 0, "in round {round}");
            told += 1;
        }
    }
    assert!(told > 0, "this machine is too slow to tell");
    drop(registry);
    driver.join().unwrap();
}
