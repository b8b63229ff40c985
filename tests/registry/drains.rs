//! Everyone is closed, spread over a window.

use core::time::Duration;

use nabiz::CloseReason;
use nabiz::tokio::{Duty, Lease};
use tokio::time::{Instant, sleep};

use super::helpers::{LATE, roster};
use crate::common::{bare_server, millis, secs};

async fn drained(lease: Lease) -> (Instant, Duration) {
    match lease.next().await {
        Duty::Close {
            reason: CloseReason::Draining,
            retry_after: Some(wait),
        } => (Instant::now(), wait),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn everyone_is_closed_evenly_each_with_a_time_of_their_own() {
    let (registry, _driver) = roster(bare_server());
    let tasks: Vec<_> = (0..500)
        .map(|_| tokio::spawn(drained(registry.register())))
        .collect();
    sleep(secs(100)).await; // nothing is due, and the driver sleeps
    let start = Instant::now();
    registry.drain(secs(10));
    let mut ends = Vec::new();
    let mut returns = Vec::new();
    for task in tasks {
        let (end, wait) = task.await.unwrap();
        let end = end - start;
        assert!(end <= secs(10) + LATE, "{end:?}");
        // After the drain, within another window.
        let back = end + wait;
        assert!(back >= secs(10) && back <= secs(20) + LATE, "{back:?}");
        ends.push(end);
        returns.push(back);
    }
    for list in [&mut ends, &mut returns] {
        list.sort_unstable();
        for part in list.chunks(50) {
            let took = part[49] - part[0];
            assert!(took > millis(600) && took < millis(1700), "{took:?}");
        }
    }
    assert_eq!(registry.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_comes_later_is_closed_too() {
    let (registry, _driver) = roster(bare_server());
    let first = tokio::spawn(drained(registry.register()));
    sleep(secs(1)).await;
    let start = Instant::now();
    registry.drain(secs(10));
    sleep(secs(5)).await;
    let meanwhile = tokio::spawn(drained(registry.register()));
    first.await.unwrap();
    let (end, _) = meanwhile.await.unwrap();
    assert!(end - start <= secs(10) + LATE);
    sleep(secs(100)).await;
    let start = Instant::now();
    let (end, wait) = drained(registry.register()).await;
    assert!(end - start <= LATE, "{:?}", end - start);
    assert!(wait <= secs(10));
}

#[tokio::test(start_paused = true)]
async fn other_verdicts_and_beats_go_on_meanwhile() {
    let config = bare_server()
        .with_silence_timeout(secs(10))
        .with_interval(secs(3));
    let (registry, _driver) = roster(config);
    let tasks: Vec<_> = (0..10)
        .map(|_| registry.register())
        .map(|lease| tokio::spawn(async move { super::helpers::serve(&lease).await }))
        .collect();
    registry.drain(secs(100));
    let (mut beats, mut silent) = (0, 0);
    for task in tasks {
        let (beaten, reason) = task.await.unwrap();
        beats += beaten;
        silent += u32::from(reason == CloseReason::PeerSilent);
    }
    assert!(beats >= 18 && silent >= 8, "{beats} beats, {silent} silent");
}

#[tokio::test(start_paused = true)]
async fn of_two_drains_the_one_that_ends_first_counts() {
    let (registry, _driver) = roster(bare_server());
    let lease = registry.register();
    let start = Instant::now();
    registry.drain(secs(1000));
    sleep(secs(1)).await;
    registry.drain(secs(5));
    let (end, _) = drained(lease).await;
    assert!(end - start <= secs(6) + LATE);
}
