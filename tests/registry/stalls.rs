//! A driver that is late convicts nobody, once.

use nabiz::CloseReason;
use nabiz::tokio::Duty;
use tokio::time::{Instant, advance, sleep};

use super::helpers::{LATE, close, due, roster, serve};
use crate::common::{bare_server, secs};

#[tokio::test(start_paused = true)]
async fn a_late_driver_convicts_nobody_and_then_again() {
    let config = bare_server()
        .with_silence_timeout(secs(10))
        .with_stall_tolerance(secs(2));
    let (registry, _driver) = roster(config);
    let leases: Vec<_> = (0..100).map(|_| registry.register()).collect();
    sleep(secs(5)).await;
    // As a runtime that is blocked: nothing runs in between.
    advance(secs(100)).await;
    let start = Instant::now();
    leases[0].received();
    sleep(secs(4)).await;
    assert_eq!(registry.len(), 100);
    assert_eq!(registry.counters().stalls, 1);
    leases[1].received();
    for (number, lease) in leases.iter().enumerate() {
        // Everyone is judged from then on.
        if number == 1 {
            continue;
        }
        let duty = lease.next().await;
        assert_eq!(duty, close(CloseReason::PeerSilent));
        let elapsed = start.elapsed();
        assert!(
            elapsed >= secs(10) && elapsed <= secs(10) + LATE,
            "{elapsed:?}"
        );
    }
    assert_eq!(
        due(&leases[1], start, secs(14)).await,
        close(CloseReason::PeerSilent)
    );
}

#[tokio::test(start_paused = true)]
async fn who_is_suspect_is_asked_for_a_probe() {
    let config = bare_server()
        .with_silence_timeout(secs(100))
        .with_interval(secs(50));
    let (registry, _driver) = roster(config);
    let leases: Vec<_> = (0..10).map(|_| registry.register()).collect();
    sleep(secs(1)).await;
    advance(secs(500)).await;
    let start = Instant::now();
    for lease in &leases {
        assert_eq!(lease.next().await, Duty::Heartbeat);
        lease.heartbeat_sent();
    }
    assert!(start.elapsed() <= LATE, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn forgiveness_ends_for_a_driver_that_is_always_late() {
    let config = bare_server()
        .with_silence_timeout(secs(10))
        .with_stall_tolerance(secs(1));
    let (registry, _driver) = roster(config);
    let _lease = registry.register();
    let start = Instant::now();
    while !registry.is_empty() {
        advance(secs(7)).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(start.elapsed() <= secs(2 * (10 + 7)), "never closed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_driver_within_its_tolerance_reads_the_news_first() {
    let config = bare_server()
        .with_silence_timeout(secs(10))
        .with_stall_tolerance(secs(5));
    let (registry, _driver) = roster(config);
    let (talks, mute) = (registry.register(), registry.register());
    sleep(secs(6)).await;
    talks.received();
    advance(secs(8)).await;
    sleep(LATE).await;
    assert_eq!(registry.counters().stalls, 0);
    assert_eq!(mute.poll(), Some(close(CloseReason::PeerSilent)));
    assert_eq!(talks.poll(), None);
    assert_eq!(registry.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_is_told_of() {
    let config = bare_server()
        .with_silence_timeout(secs(10))
        .with_interval(secs(5));
    let (registry, _driver) = roster(config);
    let lease = registry.register();
    let task = tokio::spawn(async move { (serve(&lease).await, Instant::now()) });
    sleep(secs(9)).await;
    let start = Instant::now();
    registry.resumed();
    let ((beats, reason), end) = task.await.unwrap();
    assert_eq!(reason, CloseReason::PeerSilent);
    let elapsed = end - start;
    assert!(
        elapsed >= secs(10) && elapsed <= secs(10) + LATE,
        "{elapsed:?}"
    );
    assert!(beats >= 3, "{beats}");
    assert_eq!(registry.counters().stalls, 1);
}
