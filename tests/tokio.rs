//! The tokio adapter in paused time.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, clippy::panic)]

use core::time::Duration;
use nabiz::tokio::{Clock, Duty, Link, LinkEvent, Registry};
use nabiz::{CloseReason, Config, EndReason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_left_at_its_limit() {
    let (far_tx, mut far_rx) = tokio::sync::mpsc::unbounded_channel();
    let mut link = Link::with(
        Config::client().build().unwrap(),
        7,
        Clock::tokio(),
        |_, out| out.extend_from_slice(b"ping"),
        move || {
            let (near, far) = tokio::io::duplex(64);
            far_tx.send(far).unwrap();
            async { Ok(near) }
        },
    )
    .unwrap();
    let start = Instant::now();
    let mut buffer = [0; 64];
    let mut beats = 0;
    loop {
        match link.next(&mut buffer).await.unwrap() {
            LinkEvent::HeartbeatSent { .. } => beats += 1,
            LinkEvent::Down { why, silence, .. } => {
                assert_eq!(why, EndReason::Closed(CloseReason::PeerSilent));
                assert_eq!(silence.unwrap().as_secs(), 120);
                break;
            }
            LinkEvent::Up { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    let took = start.elapsed();
    assert!(took >= 120 * SECOND && took < 121 * SECOND, "{took:?}");
    assert!(beats >= 2);
    let mut far = far_rx.recv().await.unwrap();
    let mut all = Vec::new();
    far.read_to_end(&mut all).await.unwrap();
    assert_eq!(all.len(), 4 * beats);
    let _ = far.write_all(b"x").await;
    link.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_registry_closes_the_silent_and_beats_to_the_quiet() {
    let config = Config::server().build().unwrap();
    let (registry, driver) =
        Registry::with(config, 7, Clock::tokio(), Duration::from_millis(20)).unwrap();
    let driver = tokio::spawn(driver.run());
    let lease = registry.register();
    let start = Instant::now();
    let mut beats = 0;
    tokio::time::sleep(30 * SECOND).await;
    lease.received();
    loop {
        match lease.next().await {
            Duty::Heartbeat => {
                beats += 1;
                lease.heartbeat_sent();
            }
            Duty::Close { reason, .. } => {
                assert_eq!(reason, CloseReason::PeerSilent);
                break;
            }
        }
    }
    let took = start.elapsed();
    assert!(took >= 150 * SECOND && took < 151 * SECOND, "{took:?}");
    assert!((2..=4).contains(&beats), "{beats}");
    drop(lease);
    drop(registry);
    driver.await.unwrap();
}
