//! Who is closed, why, and when.

use nabiz::{CloseReason, Evidence, Ratio};
use tokio::time::{Instant, sleep, timeout};

use super::helpers::{LATE, close, due, quiet, roster, serve};
use crate::common::{bare_server, millis, secs};

const SILENT: nabiz::tokio::Duty = close(CloseReason::PeerSilent);

#[tokio::test(start_paused = true)]
async fn everyone_is_closed_at_their_own_limit_and_nobody_before() {
    let (registry, _driver) = roster(bare_server().with_silence_timeout(secs(10)));
    let mut tasks = Vec::new();
    for number in 0..3000_u32 {
        let lease = registry.register();
        tasks.push(tokio::spawn(async move {
            let opened = Instant::now();
            // Some say nothing, others say something up to three times.
            let mut last = opened;
            for time in 0..number % 4 {
                sleep(millis(u64::from(number * 37 + time * 1009) % 9900)).await;
                assert_eq!(lease.poll(), None);
                lease.received();
                last = Instant::now();
            }
            assert_eq!(lease.next().await, SILENT);
            let silence = last.elapsed();
            assert!(
                silence >= secs(10) && silence <= secs(10) + LATE,
                "{silence:?}"
            );
        }));
        if number % 10 == 0 {
            sleep(millis(3)).await;
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(registry.counters().closed, 3000);
    assert_eq!(registry.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_close_is_said_again() {
    let start = Instant::now();
    let (registry, _driver) = roster(bare_server().with_silence_timeout(secs(10)));
    let lease = registry.register();
    for _ in 0..3 {
        assert_eq!(due(&lease, start, secs(10)).await, SILENT);
        assert_eq!(lease.poll(), Some(SILENT));
        // It is acted on, whatever comes.
        lease.received();
        lease.heartbeat_received();
        lease.sent();
    }
    assert_eq!(registry.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_at_first_is_closed_sooner() {
    let start = Instant::now();
    let config = bare_server()
        .with_silence_timeout(secs(10))
        .with_hello_timeout(secs(4));
    let (registry, _driver) = roster(config);
    let (mute, greets) = (registry.register(), registry.register());
    greets.received(); // at the very instant
    assert_eq!(
        due(&mute, start, secs(4)).await,
        close(CloseReason::NoHello)
    );
    assert_eq!(due(&greets, start, secs(10)).await, SILENT);
}

#[tokio::test(start_paused = true)]
async fn where_heartbeats_are_evidence_other_bytes_are_not() {
    let start = Instant::now();
    let config = bare_server()
        .with_silence_timeout(secs(10))
        .with_hello_timeout(secs(4))
        .with_evidence(Evidence::Heartbeats);
    let (registry, _driver) = roster(config);
    let (talks, beats) = (registry.register(), registry.register());
    for _ in 0..3 {
        sleep(secs(3)).await;
        talks.received(); // satisfies the hello, and no more
        beats.heartbeat_received();
    }
    assert_eq!(due(&talks, start, secs(10)).await, SILENT);
    assert_eq!(due(&beats, start, secs(19)).await, SILENT);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_heartbeats_is_closed_at_once() {
    let config = bare_server()
        .with_silence_timeout(secs(100))
        .with_flood(secs(5), 3);
    let (registry, _driver) = roster(config);
    let (floods, beats) = (registry.register(), registry.register());
    for _ in 0..20 {
        sleep(secs(5)).await;
        beats.heartbeat_received();
        floods.received(); // which is no heartbeat
        floods.received();
    }
    let start = Instant::now();
    for _ in 0..4 {
        floods.heartbeat_received();
    }
    let flooded = close(CloseReason::Flooded);
    assert_eq!(due(&floods, start, secs(0)).await, flooded);
    floods.heartbeat_received();
    assert_eq!(floods.poll(), Some(flooded));
    quiet(&beats, secs(50)).await;
}

#[tokio::test(start_paused = true)]
async fn who_grows_too_old_is_closed_whatever_they_say() {
    let start = Instant::now();
    let config = bare_server()
        .with_max_age(secs(30))
        .with_max_age_jitter(Ratio::ZERO);
    let (registry, _driver) = roster(config);
    let lease = registry.register();
    for _ in 0..29 {
        sleep(secs(1)).await;
        lease.received();
    }
    assert_eq!(
        due(&lease, start, secs(30)).await,
        close(CloseReason::TooOld)
    );
    lease.received();
    assert_eq!(lease.poll(), Some(close(CloseReason::TooOld)));
}

#[tokio::test(start_paused = true)]
async fn ages_are_drawn_so_that_not_everyone_ends_at_once() {
    let start = Instant::now();
    let config = bare_server()
        .with_max_age(secs(100))
        .with_max_age_jitter(Ratio::percent(50));
    let (registry, _driver) = roster(config);
    let mut ends = Vec::new();
    let leases: Vec<_> = (0..50).map(|_| registry.register()).collect();
    while ends.len() < leases.len() {
        sleep(millis(100)).await;
        let closed = leases.iter().filter(|lease| lease.poll().is_some());
        ends.resize(closed.count(), start.elapsed());
    }
    assert!(ends[0] >= secs(50) && ends[49] <= secs(100) + LATE);
    // Spread over the half that chance may take.
    assert!(
        ends[24] >= secs(60) && ends[24] <= secs(90),
        "{:?}",
        ends[24]
    );
    assert!(ends[49] - ends[0] >= secs(30), "{ends:?}");
}

#[tokio::test(start_paused = true)]
async fn some_are_borne_longer_or_for_ever() {
    let start = Instant::now();
    let (registry, _driver) = roster(bare_server().with_silence_timeout(secs(10)));
    let (usual, longer, shorter, exempt) = (
        registry.register(),
        registry.register(),
        registry.register(),
        registry.register(),
    );
    longer.set_silence_timeout(secs(30)).unwrap();
    shorter.set_silence_timeout(secs(5)).unwrap();
    exempt.exempt();
    assert!(longer.set_silence_timeout(secs(0)).is_err());
    assert_eq!(due(&shorter, start, secs(5)).await, SILENT);
    assert_eq!(due(&usual, start, secs(10)).await, SILENT);
    assert_eq!(due(&longer, start, secs(30)).await, SILENT);
    quiet(&exempt, secs(1000)).await;
    let again = Instant::now();
    exempt.received();
    exempt.set_silence_timeout(secs(7)).unwrap();
    assert_eq!(due(&exempt, again, secs(7)).await, SILENT);
}

#[tokio::test(start_paused = true)]
async fn a_beat_that_is_not_flushed_stalls() {
    let config = bare_server()
        .with_interval(secs(3))
        .with_silence_timeout(secs(100))
        .with_write_timeout(secs(5));
    let (registry, _driver) = roster(config);
    let lease = registry.register();
    assert_eq!(lease.next().await, nabiz::tokio::Duty::Heartbeat);
    let start = Instant::now();
    // Output progresses, without the beat.
    for _ in 0..3 {
        quiet(&lease, secs(4)).await;
        lease.sent();
    }
    let stalled = close(CloseReason::WriteStalled);
    assert_eq!(due(&lease, start, secs(12 + 5)).await, stalled);
}

#[tokio::test(start_paused = true)]
async fn who_waits_last_is_woken() {
    let (registry, _driver) = roster(bare_server().with_silence_timeout(secs(10)));
    let start = Instant::now();
    let lease = registry.register();
    let mut nobody = core::task::Context::from_waker(core::task::Waker::noop());
    assert!(lease.poll_next(&mut nobody).is_pending());
    let waits = tokio::spawn(async move { due(&lease, start, secs(10)).await });
    let duty = timeout(secs(100), waits).await.unwrap();
    assert_eq!(duty.unwrap(), SILENT);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_duty_in_pieces_loses_none() {
    let config = bare_server()
        .with_interval(secs(3))
        .with_silence_timeout(secs(20));
    let (registry, _driver) = roster(config);
    let (whole, pieces) = (registry.register(), registry.register());
    let whole = tokio::spawn(async move { serve(&whole).await });
    let mut beats = 0;
    loop {
        let next = timeout(millis(7), pieces.next());
        match next.await {
            Err(_) => {}
            Ok(nabiz::tokio::Duty::Heartbeat) => {
                beats += 1;
                pieces.heartbeat_sent();
            }
            Ok(duty) => {
                assert_eq!(duty, SILENT);
                break;
            }
        }
    }
    let (expected, reason) = whole.await.unwrap();
    assert_eq!(reason, CloseReason::PeerSilent);
    assert!(
        beats >= 6 && expected.abs_diff(beats) <= 1,
        "{beats} and {expected}"
    );
}
