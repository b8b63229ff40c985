//! Who is in the roster, and for how long.

use std::sync::Arc;

use nabiz::tokio::Registry;
use nabiz::{CloseReason, Config};
use tokio::time::{Instant, sleep, timeout};

use super::helpers::{close, due, roster};
use crate::common::{bare_server, millis, secs};

#[tokio::test(start_paused = true)]
async fn a_connection_is_there_while_its_lease_is() {
    let (registry, _driver) = roster(bare_server());
    assert!(registry.is_empty());
    let mut leases: Vec<_> = (0..1000).map(|_| registry.register()).collect();
    assert_eq!(registry.len(), 1000);
    leases.truncate(300);
    assert_eq!(registry.len(), 300);
    leases.extend((0..500).map(|_| registry.register()));
    assert_eq!(registry.clone().len(), 800);
    leases.clear();
    assert!(registry.is_empty());
    let counters = registry.counters();
    assert_eq!((counters.inserted, counters.removed), (1500, 1500));
    assert_eq!(counters.closed, 0);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_panics_or_is_aborted_leaves_the_roster() {
    let (registry, _driver) = roster(bare_server());
    let lease = registry.register();
    let panics = tokio::spawn(async move {
        lease.received();
        panic!("as is meant to be");
    });
    assert!(panics.await.is_err());
    assert_eq!(registry.len(), 0);
    let lease = registry.register();
    let waits = tokio::spawn(async move { lease.next().await });
    sleep(secs(1)).await;
    assert_eq!(registry.len(), 1);
    waits.abort();
    assert!(waits.await.is_err());
    assert_eq!(registry.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_was_told_to_close_is_not_counted_and_leaves_nothing_behind() {
    let start = Instant::now();
    let (registry, _driver) = roster(bare_server().with_silence_timeout(secs(10)));
    let lease = registry.register();
    assert_eq!(
        due(&lease, start, secs(10)).await,
        close(CloseReason::PeerSilent)
    );
    assert_eq!(registry.len(), 0);
    // Another one comes before the first is dropped.
    let other = registry.register();
    drop(lease);
    assert_eq!(registry.len(), 1);
    let counters = registry.counters();
    assert_eq!((counters.closed, counters.removed), (1, 0));
    drop(other);
}

/// What was said of the last one in a place is not said of the next.
#[tokio::test(start_paused = true)]
async fn a_place_that_is_taken_again_starts_afresh() {
    let config = bare_server()
        .with_silence_timeout(secs(10))
        .with_hello_timeout(secs(4))
        .with_interval(secs(3));
    let (registry, _driver) = roster(config);
    let first = registry.register();
    first.received();
    first.sent();
    first.exempt();
    sleep(secs(4)).await; // a beat is asked for, and not taken
    drop(first);
    sleep(secs(100)).await;
    let start = Instant::now();
    let next = registry.register();
    assert_eq!(next.silence(), secs(0));
    assert_eq!(next.poll(), None);
    let (beats, reason) = super::helpers::serve(&next).await;
    assert_eq!((beats, reason), (1, CloseReason::NoHello));
    assert!(start.elapsed() < secs(5));
    drop(next);
    // Nor the verdict.
    let third = registry.register();
    assert_eq!(third.poll(), None);
    assert_eq!(registry.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_lease_serves_a_reader_and_a_writer() {
    let (registry, driver) = roster(bare_server().with_silence_timeout(secs(10)));
    let start = Instant::now();
    let lease = Arc::new(registry.register());
    let reader = tokio::spawn({
        let lease = lease.clone();
        async move {
            for _ in 0..3 {
                sleep(secs(7)).await;
                lease.received();
            }
        }
    });
    let writer = tokio::spawn(async move {
        let duty = due(&lease, start, secs(31)).await;
        assert_eq!(duty, close(CloseReason::PeerSilent));
    });
    reader.await.unwrap();
    writer.await.unwrap();
    assert_eq!(registry.len(), 0);
    drop(registry);
    timeout(secs(1), driver).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_tells_how_long_the_peer_has_been_silent() {
    let (registry, _driver) = roster(bare_server());
    let lease = registry.register();
    sleep(millis(1500)).await;
    assert_eq!(lease.silence(), millis(1500));
    lease.received();
    sleep(millis(700)).await;
    assert_eq!(lease.silence(), millis(700));
    lease.heartbeat_received();
    lease.sent();
    assert_eq!(lease.silence(), secs(0));
}

#[tokio::test(start_paused = true)]
async fn what_a_roster_cannot_honour_is_refused() {
    assert!(Registry::new(Config::client().build().unwrap()).is_err());
    let answers = bare_server()
        .with_interval(secs(1))
        .with_silence_timeout(secs(60))
        .with_answer_timeout(secs(5));
    assert!(Registry::new(answers.build().unwrap()).is_err());
    let config = bare_server()
        .with_silence_timeout(secs(60))
        .build()
        .unwrap();
    let (registry, _driver) = Registry::new(config).unwrap();
    assert_eq!(registry.config(), config);
}
