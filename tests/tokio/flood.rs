//! Peers that never pause: whatever they send, the duties are done.

use core::future::ready;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;

use nabiz::tokio::{Clock, Duty, Link, LinkEvent, Pulse, Registry};
use nabiz::{Action, CloseReason, EndReason, Event, Evidence};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, advance};

use crate::common::{SEED, bare_client, bare_server, millis, secs};

#[tokio::test(start_paused = true)]
async fn a_pulse_beats_and_judges_all_the_same() {
    let config = bare_server()
        .with_interval(secs(3))
        .with_silence_timeout(secs(10))
        .with_evidence(Evidence::Heartbeats);
    let mut pulse = Pulse::with(config.build().unwrap(), SEED, Clock::tokio());
    let start = Instant::now();
    let mut beats = 0;
    let reason = loop {
        tokio::select! {
            biased;
            action = pulse.next() => match action {
                Some(Action::SendHeartbeat { .. }) => {
                    beats += 1;
                    pulse.handle(Event::HeartbeatSent);
                }
                Some(Action::Close(reason)) => break reason,
                other => panic!("{other:?}"),
            },
            () = ready(()) => {
                pulse.handle(Event::Received);
                advance(millis(7)).await;
            }
        }
    };
    assert_eq!((reason, beats), (CloseReason::PeerSilent, 3));
    let took = start.elapsed();
    assert!(took >= secs(10) && took < millis(10_100), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_beats_and_is_drained_all_the_same() {
    let config = bare_server()
        .with_interval(secs(3))
        .with_silence_timeout(secs(10));
    let config = config.build().unwrap();
    let (registry, driver) = Registry::with(config, SEED, Clock::tokio(), millis(20)).unwrap();
    let driver = tokio::spawn(driver.run());
    let lease = registry.register();
    let start = Instant::now();
    let mut beats = 0;
    let reason = loop {
        tokio::select! {
            biased;
            duty = lease.next() => match duty {
                Duty::Heartbeat => {
                    beats += 1;
                    lease.heartbeat_sent();
                    if beats == 5 {
                        registry.drain(secs(2));
                    }
                }
                Duty::Close { reason, .. } => break reason,
            },
            () = ready(()) => {
                lease.received();
                advance(millis(7)).await;
            }
        }
    };
    assert_eq!((reason, beats), (CloseReason::Draining, 5));
    assert!(start.elapsed() < secs(18), "{:?}", start.elapsed());
    driver.abort();
}

/// It says without end, and takes nothing.
struct Endless;

impl AsyncRead for Endless {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        buffer.put_slice(b"and another thing");
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// However slowly its user reads: each read must not be taken for a stall.
#[tokio::test(start_paused = true)]
async fn a_link_whose_output_is_stuck_ends_in_time() {
    for pause in [millis(1), millis(5), millis(20), millis(400)] {
        let config = bare_client()
            .with_interval(secs(3))
            .with_silence_timeout(secs(60))
            .with_write_timeout(secs(5));
        let connect = || async { Ok(Endless) };
        let ping = |_, out: &mut Vec<u8>| out.extend(b"ping");
        let config = config.build().unwrap();
        let mut link = Link::with(config, SEED, Clock::tokio(), ping, connect).unwrap();
        let start = Instant::now();
        let mut buffer = [0; 64];
        loop {
            match link.next(&mut buffer).await.unwrap() {
                LinkEvent::Up { .. } => {}
                LinkEvent::Data(_) => advance(pause).await,
                LinkEvent::Down { why, .. } => {
                    assert_eq!(why, EndReason::Closed(CloseReason::WriteStalled));
                    break;
                }
                other => panic!("{other:?} with {pause:?}"),
            }
        }
        let took = start.elapsed();
        assert!(took >= secs(8) && took < secs(9), "{took:?} with {pause:?}");
    }
}
