//! Who is asked for a heartbeat, and when.

use nabiz::tokio::Duty;
use tokio::time::{Instant, sleep};

use super::helpers::{LATE, quiet, roster};
use crate::common::{bare_server, millis, secs};

#[tokio::test(start_paused = true)]
async fn everyone_beats_within_every_interval() {
    for spread in [true, false] {
        let config = bare_server()
            .with_interval(secs(3))
            .with_spread_first_beat(spread);
        let (registry, _driver) = roster(config);
        let mut tasks = Vec::new();
        for _ in 0..500 {
            let lease = registry.register();
            tasks.push(tokio::spawn(async move {
                for _ in 0..10 {
                    let last = Instant::now();
                    assert_eq!(lease.next().await, Duty::Heartbeat);
                    let gap = last.elapsed();
                    assert!(gap <= secs(3) + LATE, "{gap:?}");
                    lease.heartbeat_sent();
                }
            }));
            sleep(millis(2)).await;
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(registry.counters().heartbeats, 5000);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_puts_the_beat_off() {
    let config = bare_server().with_interval(secs(3));
    let (registry, _driver) = roster(config);
    let lease = registry.register();
    for _ in 0..100 {
        quiet(&lease, millis(400)).await;
        lease.sent();
    }
    let start = Instant::now();
    assert_eq!(lease.next().await, Duty::Heartbeat);
    let gap = start.elapsed();
    assert!(gap > millis(500) && gap <= secs(3) + LATE, "{gap:?}");
    assert_eq!(registry.counters().heartbeats, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_does_not_put_it_off_where_beats_are_wanted_anyway() {
    let config = bare_server()
        .with_interval(secs(3))
        .with_only_when_idle(false);
    let (registry, _driver) = roster(config);
    let lease = registry.register();
    let start = Instant::now();
    let mut beats = 0;
    while start.elapsed() < secs(60) {
        tokio::select! {
            duty = lease.next() => {
                assert_eq!(duty, Duty::Heartbeat);
                lease.heartbeat_sent();
                beats += 1;
            }
            () = sleep(millis(400)) => lease.sent(),
        }
    }
    assert!((19..=26).contains(&beats), "{beats}");
}

#[tokio::test(start_paused = true)]
async fn one_beat_is_asked_for_at_a_time() {
    let config = bare_server().with_interval(secs(3));
    let (registry, _driver) = roster(config);
    let lease = registry.register();
    assert_eq!(lease.next().await, Duty::Heartbeat);
    quiet(&lease, secs(100)).await;
    lease.heartbeat_sent();
    let start = Instant::now();
    assert_eq!(lease.next().await, Duty::Heartbeat);
    assert!(start.elapsed() <= secs(3) + LATE);
}

#[tokio::test(start_paused = true)]
async fn a_beat_that_nobody_took_waits() {
    let config = bare_server().with_interval(secs(3));
    let (registry, _driver) = roster(config);
    let lease = registry.register();
    sleep(secs(50)).await;
    assert_eq!(lease.poll(), Some(Duty::Heartbeat));
    assert_eq!(lease.poll(), None);
    assert_eq!(registry.counters().heartbeats, 1);
}
