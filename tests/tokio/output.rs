//! What a link writes: whole messages, heartbeats between them, and no more
//! once it was told to end.

use core::time::Duration;
use std::io::ErrorKind;

use nabiz::tokio::{Link, SendError};
use nabiz::{CloseReason, ConfigBuilder, EndReason, Event};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use super::helpers::{Seen, dialling, idle, next, next_but_beats, passed, up};
use super::transport::{Remote, Scripted};
use crate::common::{bare_client, millis, secs};

fn scripted(config: ConfigBuilder) -> (Link<Scripted>, Remote) {
    let remote = Remote::default();
    let wire = remote.clone();
    let connect = move || core::future::ready(Ok(wire.transport()));
    (dialling(config, connect), remote)
}

fn written(remote: &Remote) -> Vec<u8> {
    remote.with(|wire| wire.written.clone())
}

fn closed(event: Option<Seen>) -> CloseReason {
    match event {
        Some(Seen::Down {
            why: EndReason::Closed(reason),
            ..
        }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn no_heartbeat_is_inside_a_message() {
    let config = bare_client()
        .with_interval(secs(3))
        .with_only_when_idle(false);
    let (mut link, mut peer) = up(config, 5).await;
    let reader = tokio::spawn(async move {
        let mut said = Vec::new();
        let mut piece = [0; 3];
        while let Ok(read @ 1..) = peer.read(&mut piece).await {
            said.extend_from_slice(&piece[..read]);
            sleep(millis(300)).await;
        }
        said
    });
    let mut message = [b'x'; 100];
    message[99] = b';';
    for _ in 0..5 {
        link.send(&message).unwrap();
        idle(&mut link, millis(10)).await;
    }
    let mut beats = 0;
    while beats < 8 {
        let event = next(&mut link).await;
        assert!(matches!(event, Some(Seen::Beat(_))), "{event:?}");
        beats += 1;
    }
    drop(link);
    let said = reader.await.unwrap();
    let messages = said.split_inclusive(|byte| *byte == b';');
    for message in messages {
        let bare = message.trim_ascii_start();
        let beats = bare.iter().take_while(|byte| **byte == b'!').count();
        let rest = &bare[beats..];
        assert!(rest.is_empty() || rest.iter().all(|byte| b"x;".contains(byte)));
        assert!(rest.is_empty() || rest.len() == 100, "{}", rest.len());
    }
    assert_eq!(said.iter().filter(|byte| **byte == b'!').count(), 8);
    assert_eq!(said.iter().filter(|byte| **byte == b';').count(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_beat_goes_ahead_of_what_waits() {
    let config = bare_client().with_interval(secs(3));
    let (mut link, remote) = scripted(config);
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    idle(&mut link, secs(1)).await;
    remote.with(|wire| wire.blocks = true);
    // More than may share a buffer.
    link.send(&[b'a'; 10_000]).unwrap();
    link.send(&[b'b'; 10_000]).unwrap();
    idle(&mut link, secs(3)).await;
    remote.with(|wire| wire.blocks = false);
    assert_eq!(next(&mut link).await, Some(Seen::Beat(1)));
    assert_eq!(written(&remote)[0], b'!');
    idle(&mut link, millis(1)).await;
    assert_eq!(written(&remote).len(), 20_001);
}

#[tokio::test(start_paused = true)]
async fn what_is_said_first_goes_ahead_of_everything() {
    let config = bare_client().with_interval(secs(3));
    let (mut link, remote) = scripted(config);
    let handle = link.handle();
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    assert_eq!(handle.send(b"handle"), Err(SendError::NotConnected));
    sleep(secs(4)).await; // a heartbeat is overdue
    link.send(b"login").unwrap();
    assert_eq!(next(&mut link).await, Some(Seen::Beat(1)));
    assert_eq!(handle.send(b"handle"), Ok(()));
    idle(&mut link, millis(1)).await;
    assert_eq!(written(&remote), b"login!handle");

    // So it is on each link.
    remote.says(b"");
    assert!(matches!(next(&mut link).await, Some(Seen::Down { .. })));
    remote.with(|wire| wire.written.clear());
    assert_eq!(next(&mut link).await, Some(Seen::Up(1)));
    assert_eq!(handle.send(b"handle"), Err(SendError::NotConnected));
    sleep(secs(4)).await;
    link.send(b"login").unwrap();
    assert_eq!(next(&mut link).await, Some(Seen::Beat(2)));
    assert_eq!(written(&remote), b"login!");
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_is_sent_when_it_is_flushed() {
    let start = Instant::now();
    let config = bare_client()
        .with_interval(secs(3))
        .with_write_timeout(secs(5));
    let (mut link, remote) = scripted(config);
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    remote.with(|wire| wire.holds = true);
    idle(&mut link, secs(6)).await;
    assert_eq!(written(&remote), b"!"); // taken, but held back
    remote.with(|wire| wire.holds = false);
    assert_eq!(next(&mut link).await, Some(Seen::Beat(1)));
    passed(start, secs(6));
    assert_eq!(next(&mut link).await, Some(Seen::Beat(2)));
    passed(start, secs(9));

    remote.with(|wire| wire.holds = true);
    assert_eq!(closed(next(&mut link).await), CloseReason::WriteStalled);
    passed(start, secs(12 + 5));
    assert_eq!(written(&remote), b"!!!");
}

#[tokio::test(start_paused = true)]
async fn an_output_that_can_go_on_at_the_limit_is_not_stalled() {
    let config = bare_client()
        .with_interval(secs(3))
        .with_write_timeout(secs(5));
    let (mut link, remote) = scripted(config);
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    remote.with(|wire| wire.blocks = true);
    idle(&mut link, millis(7900)).await;
    remote.with(|wire| wire.blocks = false);
    sleep(millis(600)).await; // past the limit, and not too late
    assert_eq!(next(&mut link).await, Some(Seen::Beat(1)));
}

#[tokio::test(start_paused = true)]
async fn an_output_that_progresses_is_not_stalled() {
    let config = bare_client()
        .with_interval(secs(3))
        .with_write_timeout(secs(5));
    let (mut link, remote) = scripted(config);
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    remote.with(|wire| wire.blocks = true);
    link.send(&[b'x'; 100]).unwrap();
    for written in 0..20 {
        assert_eq!(remote.with(|wire| wire.written.len()), written);
        // No beat, for the message is not whole; and no verdict either.
        idle(&mut link, secs(4)).await;
        remote.with(|wire| (wire.blocks, wire.once, wire.most) = (false, true, 1));
        idle(&mut link, millis(1)).await;
    }
    remote.with(|wire| wire.blocks = true);
    let start = Instant::now();
    assert_eq!(closed(next(&mut link).await), CloseReason::WriteStalled);
    passed(start, secs(5) - millis(1));
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_takes_a_byte_at_a_time_gets_them_all() {
    let (mut link, remote) = scripted(bare_client());
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    remote.with(|wire| wire.most = 1);
    let message: Vec<u8> = (0..=255).cycle().take(5000).collect();
    link.send(&message).unwrap();
    let start = Instant::now();
    // No timer and no other waker is needed for it.
    let ended = tokio::spawn(async move {
        idle(&mut link, millis(1)).await;
    });
    ended.await.unwrap();
    passed(start, millis(1));
    assert_eq!(written(&remote), message);
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_interrupted_are_made_again() {
    let (mut link, remote) = scripted(bare_client().with_interval(secs(3)));
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    for number in 1..10 {
        remote.with(|wire| wire.interrupts = number);
        link.send(b"out").unwrap();
        remote.says(b"in");
        let data = timeout(millis(1), next(&mut link)).await.unwrap();
        assert_eq!(data, Some(Seen::Data(b"in".to_vec())));
        idle(&mut link, millis(1)).await;
    }
    assert_eq!(written(&remote), b"out".repeat(9));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_interrupted_is_made_again_at_once() {
    let (mut link, remote) = scripted(bare_client());
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    remote.with(|wire| wire.interrupts = 2);
    link.send(b"out").unwrap();
    // In one call, as nobody would wake it for another.
    let once = core::future::poll_fn(|cx| {
        let next = core::pin::pin!(next(&mut link));
        core::task::Poll::Ready(core::future::Future::poll(next, cx))
    });
    assert!(once.await.is_pending());
    assert_eq!(written(&remote), b"out");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_interrupted_is_made_again_at_once() {
    let (mut link, remote) = scripted(bare_client());
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    remote.says(b"in");
    remote.with(|wire| wire.interrupts = 3);
    let data = timeout(millis(1), next(&mut link)).await.unwrap();
    assert_eq!(data, Some(Seen::Data(b"in".to_vec())));
}

#[tokio::test(start_paused = true)]
async fn a_flush_that_fails_is_the_transports_end() {
    let (mut link, remote) = scripted(bare_client());
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    remote.with(|wire| wire.flush_error = Some(ErrorKind::TimedOut));
    link.send(b"out").unwrap();
    let event = next(&mut link).await;
    let Some(Seen::Down { why, error, .. }) = event else {
        panic!("{event:?}");
    };
    assert_eq!(
        (why, error),
        (EndReason::Disconnected, Some(ErrorKind::TimedOut))
    );
}

/// What it failed with is lost: bytes behind it would be taken for its rest.
#[tokio::test(start_paused = true)]
async fn nothing_is_written_after_a_write_that_failed() {
    let (mut link, remote) = scripted(bare_client());
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    let handle = link.handle();
    idle(&mut link, millis(1)).await;
    remote.with(|wire| wire.write_error = Some(ErrorKind::BrokenPipe));
    link.send(b"lost").unwrap();
    idle(&mut link, Duration::ZERO).await;
    // The transport would take it, and what the peer said is read first.
    assert_eq!(link.send(b"link"), Err(SendError::NotConnected));
    assert_eq!(handle.send(b"handle"), Err(SendError::NotConnected));
    remote.says(b"in");
    assert_eq!(next(&mut link).await, Some(Seen::Data(b"in".to_vec())));
    let event = next(&mut link).await;
    let Some(Seen::Down { why, error, .. }) = event else {
        panic!("{event:?}");
    };
    assert_eq!(
        (why, error),
        (EndReason::Disconnected, Some(ErrorKind::BrokenPipe))
    );
    assert_eq!(written(&remote), b"");
    // The next link is another one.
    assert_eq!(next(&mut link).await, Some(Seen::Up(1)));
    link.send(b"new").unwrap();
    idle(&mut link, millis(1)).await;
    assert_eq!(written(&remote), b"new");
}

/// The peer would take a polite end for the end of all that was meant for it.
#[tokio::test(start_paused = true)]
async fn a_link_whose_write_failed_does_not_end_politely() {
    for event in [Event::Shutdown, Event::Drain] {
        let (mut link, remote) = scripted(bare_client());
        assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
        remote.with(|wire| wire.write_error = Some(ErrorKind::BrokenPipe));
        link.send(b"lost").unwrap();
        idle(&mut link, Duration::ZERO).await;
        link.report(event);
        let event = next(&mut link).await;
        assert!(matches!(event, Some(Seen::Down { .. })), "{event:?}");
        assert_eq!(remote.with(|wire| wire.finishes), 0);
    }
}

/// Nor is a heartbeat that falls due before the link ends.
#[tokio::test(start_paused = true)]
async fn no_heartbeat_is_written_after_a_write_that_failed() {
    let config = bare_client()
        .with_interval(millis(1))
        .with_spread_first_beat(false);
    let (mut link, remote) = scripted(config);
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    remote.with(|wire| wire.write_error = Some(ErrorKind::BrokenPipe));
    link.send(b"lost").unwrap();
    idle(&mut link, Duration::ZERO).await;
    tokio::time::advance(millis(5)).await;
    remote.says(b"in");
    loop {
        match next(&mut link).await {
            Some(Seen::Data(_)) => {}
            event => {
                assert!(matches!(event, Some(Seen::Down { .. })), "{event:?}");
                break;
            }
        }
    }
    assert_eq!(written(&remote), b"");
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_link_is_written_to_the_next() {
    let (mut link, remote) = scripted(bare_client());
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    remote.with(|wire| wire.blocks = true);
    link.send(b"old").unwrap();
    idle(&mut link, secs(1)).await;
    remote.with(|wire| {
        wire.blocks = false;
        wire.reads.push_back(Ok(Vec::new()));
        wire.blocks = true;
    });
    assert!(matches!(next(&mut link).await, Some(Seen::Down { .. })));
    remote.with(|wire| wire.blocks = false);
    assert_eq!(next(&mut link).await, Some(Seen::Up(1)));
    link.send(b"new").unwrap();
    idle(&mut link, secs(1)).await;
    assert_eq!(written(&remote), b"new");
}

#[tokio::test(start_paused = true)]
async fn an_end_writes_what_waits_tells_the_peer_and_waits_for_it() {
    let start = Instant::now();
    let (mut link, mut peer) = up(bare_client(), 8).await;
    link.send(b"much more than fits").unwrap();
    let reader = tokio::spawn(async move {
        sleep(secs(1)).await;
        let mut said = Vec::new();
        peer.read_to_end(&mut said).await.unwrap(); // the end of our output
        peer.write_all(b"and bye").await.unwrap();
        sleep(secs(2)).await;
        said
    });
    link.report(Event::Shutdown);
    assert_eq!(link.send(b"late"), Err(SendError::NotConnected));
    assert_eq!(next(&mut link).await, Some(Seen::Data(b"and bye".to_vec())));
    passed(start, secs(1));
    assert_eq!(closed(next(&mut link).await), CloseReason::Shutdown);
    passed(start, secs(3));
    assert_eq!(next(&mut link).await, None);
    assert_eq!(reader.await.unwrap(), b"much more than fits");
}

#[tokio::test(start_paused = true)]
async fn an_end_is_bounded_by_the_grace() {
    for reads in [true, false] {
        let start = Instant::now();
        let (mut link, mut peer) = up(bare_client().with_close_grace(secs(4)), 8).await;
        link.send(b"much more than fits").unwrap();
        let stays = tokio::spawn(async move {
            let mut said = Vec::new();
            if reads {
                peer.read_to_end(&mut said).await.unwrap();
            }
            sleep(secs(100)).await;
            (said.len(), peer)
        });
        link.shutdown().await;
        passed(start, secs(4));
        assert_eq!(next(&mut link).await, None);
        let (said, _peer) = stays.await.unwrap();
        assert_eq!(said, if reads { 19 } else { 0 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_throws_away_what_still_comes() {
    let start = Instant::now();
    let (mut link, mut peer) = up(bare_client(), 8).await;
    tokio::spawn(async move {
        let _ = timeout(secs(2), peer.write_all(&[b'.'; 100_000])).await;
    });
    link.shutdown().await;
    assert!(start.elapsed() <= secs(2));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_has_to_wait_is_awaited() {
    let (mut link, remote) = scripted(bare_client());
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    remote.with(|wire| wire.lingers = true);
    link.report(Event::Shutdown);
    idle(&mut link, secs(2)).await;
    assert_eq!(
        remote.with(|wire| (wire.is_finished, wire.is_dropped)),
        (false, false)
    );
    remote.with(|wire| wire.lingers = false);
    idle(&mut link, secs(1)).await;
    let finishes = remote.with(|wire| {
        assert!(wire.is_finished);
        wire.finishes
    });
    idle(&mut link, secs(1)).await;
    assert_eq!(remote.with(|wire| wire.finishes), finishes, "told twice");
    remote.says(b"");
    assert_eq!(
        closed(next_but_beats(&mut link).await),
        CloseReason::Shutdown
    );
    assert!(remote.with(|wire| wire.is_dropped));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_of_the_end_before_what_waits_is_written() {
    let (mut link, remote) = scripted(bare_client());
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    remote.with(|wire| wire.holds = true);
    link.send(b"last").unwrap();
    link.report(Event::Shutdown);
    idle(&mut link, secs(2)).await;
    assert_eq!(remote.with(|wire| wire.finishes), 0);
    remote.with(|wire| wire.holds = false);
    idle(&mut link, secs(1)).await;
    assert!(remote.with(|wire| wire.is_finished));
}

#[tokio::test(start_paused = true)]
async fn the_dead_are_not_told_of_the_end() {
    let (mut link, remote) = scripted(bare_client().with_silence_timeout(secs(10)));
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    assert_eq!(closed(next(&mut link).await), CloseReason::PeerSilent);
    assert_eq!(
        remote.with(|wire| (wire.finishes, wire.is_dropped)),
        (0, true)
    );
}
