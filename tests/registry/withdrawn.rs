//! A verdict that nobody acted on yet is withdrawn by what disproves it, and by
//! nothing else.

use nabiz::tokio::{Duty, Registry};
use nabiz::{CloseReason, ConfigBuilder, Evidence, Ratio};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::helpers::{LATE, close, due, quiet, roster};
use crate::common::{bare_server, millis, secs};

const SILENT: Duty = close(CloseReason::PeerSilent);

/// A roster with one connection whose verdict was taken, and that does not know.
async fn convicted(
    config: ConfigBuilder,
    after: u64,
) -> (Registry, nabiz::tokio::Lease, JoinHandle<()>) {
    let (registry, driver) = roster(config);
    let lease = registry.register();
    sleep(secs(after) - millis(1)).await;
    assert_eq!(registry.len(), 1);
    sleep(LATE + millis(1)).await;
    assert_eq!(registry.len(), 0);
    (registry, lease, driver)
}

#[tokio::test(start_paused = true)]
async fn bytes_withdraw_silence() {
    let config = bare_server().with_silence_timeout(secs(10));
    let (registry, lease, _driver) = convicted(config, 10).await;
    lease.received();
    let start = Instant::now();
    assert_eq!(lease.poll(), None);
    assert_eq!(registry.len(), 1);
    assert_eq!(due(&lease, start, secs(10)).await, SILENT);
    assert_eq!(registry.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn bytes_of_which_the_roster_knew_withdraw_nothing() {
    let config = bare_server().with_silence_timeout(secs(10));
    let (registry, _driver) = roster(config);
    let lease = registry.register();
    sleep(secs(3)).await;
    lease.received();
    lease.sent();
    sleep(secs(10) + LATE).await;
    assert_eq!(registry.len(), 0);
    lease.sent(); // ours prove nothing
    assert_eq!(lease.poll(), Some(SILENT));
}

#[tokio::test(start_paused = true)]
async fn bytes_withdraw_a_missing_hello() {
    let config = bare_server()
        .with_silence_timeout(secs(10))
        .with_hello_timeout(secs(4));
    let (registry, lease, _driver) = convicted(config, 4).await;
    lease.received();
    let start = Instant::now();
    assert_eq!(lease.poll(), None);
    assert_eq!(registry.len(), 1);
    assert_eq!(due(&lease, start, secs(10)).await, SILENT);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_withdraw_their_absence_and_bytes_do_not() {
    let config = bare_server()
        .with_silence_timeout(secs(10))
        .with_evidence(Evidence::Heartbeats);
    let (registry, lease, _driver) = convicted(config, 10).await;
    lease.heartbeat_received();
    let start = Instant::now();
    assert_eq!(lease.poll(), None);
    assert_eq!(registry.len(), 1);
    // It was evidence of life.
    assert_eq!(due(&lease, start, secs(10)).await, SILENT);

    let (registry, lease, _driver) = convicted(config, 10).await;
    lease.received();
    assert_eq!(lease.poll(), Some(SILENT));
    assert_eq!(registry.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flush_withdraws_a_stall_of_our_output() {
    for beat in [true, false] {
        let config = bare_server()
            .with_interval(secs(3))
            .with_silence_timeout(secs(100))
            .with_write_timeout(secs(5));
        let (registry, _driver) = roster(config);
        let lease = registry.register();
        assert_eq!(lease.next().await, Duty::Heartbeat);
        sleep(secs(5) + LATE).await;
        assert_eq!(registry.len(), 0);
        lease.received(); // which proves nothing
        if beat {
            lease.heartbeat_sent();
        } else {
            lease.sent();
        }
        assert_eq!(lease.poll(), None);
        assert_eq!(registry.len(), 1);
        if beat {
            let start = Instant::now();
            assert_eq!(lease.next().await, Duty::Heartbeat);
            assert!(start.elapsed() <= secs(3) + LATE);
        }
        // The beat is in flight: this one, or still the first.
        sleep(secs(5) - LATE).await;
        assert_eq!(lease.poll(), None);
        sleep(2 * LATE).await;
        lease.received();
        assert_eq!(lease.poll(), Some(close(CloseReason::WriteStalled)));
    }
}

#[tokio::test(start_paused = true)]
async fn the_path_is_kept_warm_all_the_same() {
    let config = bare_server()
        .with_interval(secs(10))
        .with_silence_timeout(secs(29));
    let (registry, _driver) = roster(config);
    let start = Instant::now();
    let lease = registry.register();
    for _ in 0..2 {
        assert_eq!(lease.next().await, Duty::Heartbeat);
        lease.heartbeat_sent();
    }
    let flushed = Instant::now();
    sleep(secs(29) + LATE - start.elapsed()).await;
    assert_eq!(registry.len(), 0);
    lease.received();
    assert_eq!(lease.next().await, Duty::Heartbeat);
    assert!(
        flushed.elapsed() <= secs(10) + LATE,
        "{:?}",
        flushed.elapsed()
    );
}

/// The output progresses again, but the peer said nothing all the while.
#[tokio::test(start_paused = true)]
async fn a_flush_is_no_evidence_of_the_peers_life() {
    let config = bare_server()
        .with_interval(secs(3))
        .with_silence_timeout(secs(20))
        .with_write_timeout(secs(5));
    let (registry, _driver) = roster(config);
    let start = Instant::now();
    let lease = registry.register();
    assert_eq!(lease.next().await, Duty::Heartbeat);
    sleep(secs(5) + LATE).await;
    assert_eq!(registry.len(), 0);
    lease.heartbeat_sent();
    assert_eq!(lease.poll(), None);
    loop {
        match lease.next().await {
            Duty::Heartbeat => lease.heartbeat_sent(),
            duty => {
                assert_eq!(duty, SILENT);
                break;
            }
        }
    }
    let elapsed = start.elapsed();
    assert!(
        elapsed >= secs(20) && elapsed <= secs(20) + LATE,
        "{elapsed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_borne_is_borne_again() {
    let config = bare_server().with_silence_timeout(secs(10));
    let (registry, _driver) = roster(config);
    let lease = registry.register();
    lease.set_silence_timeout(secs(30)).unwrap();
    sleep(secs(30) + LATE).await;
    assert_eq!(registry.len(), 0);
    lease.received();
    let start = Instant::now();
    assert_eq!(due(&lease, start, secs(30)).await, SILENT);
}

#[tokio::test(start_paused = true)]
async fn what_is_changed_after_the_verdict_holds_when_it_is_withdrawn() {
    let config = bare_server().with_silence_timeout(secs(10));
    let (_registry, lease, _driver) = convicted(config, 10).await;
    lease.set_silence_timeout(secs(25)).unwrap();
    lease.received();
    let start = Instant::now();
    assert_eq!(due(&lease, start, secs(25)).await, SILENT);

    let (_registry, lease, _driver) = convicted(config, 10).await;
    lease.exempt();
    lease.received();
    quiet(&lease, secs(1000)).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_grows_younger_by_it() {
    let config = bare_server()
        .with_silence_timeout(secs(10))
        .with_max_age(secs(15))
        .with_max_age_jitter(Ratio::ZERO);
    let start = Instant::now();
    let (_registry, lease, _driver) = convicted(config, 10).await;
    lease.received();
    assert_eq!(
        due(&lease, start, secs(15)).await,
        close(CloseReason::TooOld)
    );
}

#[tokio::test(start_paused = true)]
async fn other_verdicts_stand() {
    let config = bare_server()
        .with_max_age(secs(10))
        .with_max_age_jitter(Ratio::ZERO);
    let (_registry, old, _driver) = convicted(config, 10).await;
    old.received();
    old.heartbeat_received();
    old.heartbeat_sent();
    assert_eq!(old.poll(), Some(close(CloseReason::TooOld)));

    let (registry, _driver) = roster(bare_server().with_silence_timeout(secs(10)));
    let lease = registry.register();
    registry.drain(secs(0));
    sleep(millis(50)).await;
    lease.received();
    let duty = lease.poll();
    assert!(matches!(
        duty,
        Some(Duty::Close {
            reason: CloseReason::Draining,
            ..
        })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_verdict_may_come_again_and_be_withdrawn_again() {
    let config = bare_server().with_silence_timeout(secs(10));
    let (registry, _driver) = roster(config);
    let lease = registry.register();
    for _ in 0..5 {
        sleep(secs(10) + LATE).await;
        assert_eq!(registry.len(), 0);
        lease.received();
        assert_eq!(lease.poll(), None);
        assert_eq!(registry.len(), 1);
    }
    drop(lease);
    assert_eq!(registry.len(), 0);
    assert_eq!(registry.register().poll(), None);
}

#[tokio::test(start_paused = true)]
async fn nobody_returns_to_a_roster_that_nobody_watches() {
    let config = bare_server().with_silence_timeout(secs(10));
    let (_registry, lease, driver) = convicted(config, 10).await;
    driver.abort();
    assert!(driver.await.is_err());
    lease.received();
    assert_eq!(lease.poll(), Some(close(CloseReason::Shutdown)));
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_heartbeat_give_the_silence_no_fresh_start() {
    let config = bare_server()
        .with_silence_timeout(secs(10))
        .with_hello_timeout(secs(4))
        .with_evidence(Evidence::Heartbeats);
    let start = Instant::now();
    let (_registry, lease, _driver) = convicted(config, 4).await;
    lease.received(); // it said hello, and no more
    assert_eq!(due(&lease, start, secs(10)).await, SILENT);
}

#[tokio::test(start_paused = true)]
async fn who_never_said_hello_has_not_said_it_by_that() {
    let config = bare_server()
        .with_interval(secs(3))
        .with_write_timeout(secs(5))
        .with_hello_timeout(secs(20))
        .with_silence_timeout(secs(40));
    let start = Instant::now();
    let (registry, _driver) = roster(config);
    let lease = registry.register();
    assert_eq!(lease.next().await, Duty::Heartbeat);
    sleep(secs(5) + LATE).await;
    assert_eq!(registry.len(), 0);
    lease.heartbeat_sent();
    let (_, reason) = super::helpers::serve(&lease).await;
    assert_eq!(reason, CloseReason::NoHello);
    let elapsed = start.elapsed();
    assert!(
        elapsed >= secs(20) && elapsed <= secs(20) + LATE,
        "{elapsed:?}"
    );
}

/// Though the duties are asked for first.
#[tokio::test(start_paused = true)]
async fn what_is_there_to_read_is_read_before_the_verdict_is_told() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let config = bare_server().with_silence_timeout(secs(10));
    let (registry, lease, _driver) = convicted(config, 10).await;
    let (mut near, mut far) = tokio::io::duplex(8);
    far.write_all(b".").await.unwrap();
    tokio::select! {
        biased;
        duty = lease.next() => panic!("{duty:?} before the input"),
        read = near.read_u8() => assert_eq!(read.unwrap(), b'.'),
    }
    lease.received();
    let start = Instant::now();
    assert_eq!(lease.poll(), None);
    assert_eq!(registry.len(), 1);
    // And where there is nothing, it is told.
    tokio::select! {
        biased;
        duty = due(&lease, start, secs(10)) => assert_eq!(duty, SILENT),
        read = near.read_u8() => panic!("{read:?}"),
    }
}
