//! No verdict takes from the user what can be read, and none waits for what
//! cannot be written.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use std::io::ErrorKind;

use nabiz::tokio::SendError;
use nabiz::{CloseReason, EndReason};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, advance, sleep, sleep_until};

use super::helpers::{Seen, dialling, idle, next, next_but_beats, passed, up};
use super::transport::Remote;
use crate::common::{bare_client, millis, secs};

fn why(event: Option<Seen>) -> EndReason {
    match event {
        Some(Seen::Down { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_at_the_limit_are_read_and_withdraw_the_verdict() {
    let start = Instant::now();
    let (mut link, mut peer) = up(bare_client().with_silence_timeout(secs(10)), 64).await;
    let says = async {
        sleep_until(start + secs(10)).await;
        peer.write_all(b"just").await.unwrap();
        core::future::pending::<()>().await;
    };
    let mut says = core::pin::pin!(says);
    let first = tokio::select! {
        biased;
        () = &mut says => unreachable!(),
        event = next(&mut link) => event,
    };
    assert_eq!(first, Some(Seen::Data(b"just".to_vec())));
    passed(start, secs(10));
    let silent = EndReason::Closed(CloseReason::PeerSilent);
    assert_eq!(why(next(&mut link).await), silent);
    passed(start, secs(20));
}

#[tokio::test(start_paused = true)]
async fn everything_that_can_be_read_is_read_before_the_verdict() {
    let (mut link, mut peer) = up(bare_client().with_silence_timeout(secs(10)), 1 << 16).await;
    peer.write_all(&[7; 10_000]).await.unwrap();
    let start = Instant::now();
    advance(secs(10)).await;
    let mut bytes = 0;
    loop {
        match next(&mut link).await {
            Some(Seen::Data(data)) => bytes += data.len(),
            other => {
                assert_eq!(why(other), EndReason::Closed(CloseReason::PeerSilent));
                break;
            }
        }
    }
    assert_eq!(bytes, 10_000);
    passed(start, secs(20));
}

#[tokio::test(start_paused = true)]
async fn an_end_at_the_limit_is_a_disconnect_and_no_silence() {
    let (mut link, mut peer) = up(bare_client().with_silence_timeout(secs(10)), 64).await;
    peer.write_all(b"bye").await.unwrap();
    drop(peer);
    advance(secs(11)).await;
    assert_eq!(next(&mut link).await, Some(Seen::Data(b"bye".to_vec())));
    assert_eq!(why(next(&mut link).await), EndReason::Disconnected);
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_task_judges_nobody_whom_it_could_not_read() {
    for polled_before in [true, false] {
        let (mut link, mut peer) = up(bare_client().with_silence_timeout(secs(10)), 64).await;
        if polled_before {
            idle(&mut link, secs(1)).await;
        }
        let mut is_first = true;
        advance(secs(10)).await;
        peer.write_all(b"there").await.unwrap();
        let event = poll_fn(|cx| {
            if !core::mem::take(&mut is_first) {
                return pin!(next(&mut link)).poll(cx);
            }
            let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
            for number in 0..10_000 {
                tx.send(number).unwrap();
            }
            while rx.poll_recv(cx).is_ready() {}
            let polled = pin!(next(&mut link)).poll(cx);
            assert_eq!(polled, Poll::Pending);
            polled
        });
        assert_eq!(event.await, Some(Seen::Data(b"there".to_vec())));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wake_when_a_verdict_is_due_waits_for_the_timer() {
    let (mut link, mut peer) = up(bare_client().with_silence_timeout(secs(10)), 64).await;
    // Nobody polled it, so no timer runs, and none has rung.
    advance(secs(10)).await;
    let start = Instant::now();
    let first = poll_fn(|cx| Poll::Ready(pin!(next(&mut link)).poll(cx)));
    assert_eq!(first.await, Poll::Pending);
    peer.write_all(b"there").await.unwrap();
    assert_eq!(next(&mut link).await, Some(Seen::Data(b"there".to_vec())));
    passed(start, secs(0));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_stalls_our_output_and_no_verdict() {
    let start = Instant::now();
    let config = bare_client()
        .with_interval(secs(3))
        .with_silence_timeout(secs(10))
        .with_write_timeout(secs(5));
    let (mut link, mut peer) = up(config, 16).await;
    link.set_send_limit(100);
    let talks = tokio::spawn(async move {
        while peer.write_all(b".").await.is_ok() {
            sleep(millis(500)).await;
        }
    });
    assert_eq!(link.send(&[b'x'; 1000]), Ok(())); // alone it may exceed the limit
    assert_eq!(link.send(b"more"), Err(SendError::Full));
    loop {
        match next(&mut link).await {
            Some(Seen::Data(_)) => {
                assert_eq!(link.send(b"more"), Err(SendError::Full));
            }
            other => {
                assert_eq!(why(other), EndReason::Closed(CloseReason::WriteStalled));
                break;
            }
        }
    }
    // Some bytes went out at once; the beat was due 3 s later.
    passed(start, secs(3 + 5));
    assert_eq!(link.send(b"late"), Err(SendError::NotConnected));
    talks.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_mute_peer_that_does_not_read_is_silent_at_the_limit() {
    let start = Instant::now();
    let config = bare_client()
        .with_interval(secs(3))
        .with_silence_timeout(secs(10));
    let (mut link, _peer) = up(config, 16).await;
    link.send(&[b'x'; 1000]).unwrap();
    assert_eq!(
        why(next(&mut link).await),
        EndReason::Closed(CloseReason::PeerSilent)
    );
    passed(start, secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_pauses_puts_off_no_beat_and_no_end() {
    let config = bare_client()
        .with_interval(secs(3))
        .with_silence_timeout(secs(10))
        .with_max_age(secs(30));
    let (mut link, mut peer) = up(config, 1 << 12).await;
    let start = Instant::now();
    let talks = tokio::spawn(async move {
        loop {
            let written = tokio::time::timeout(millis(1), peer.write_all(&[b'.'; 4096]));
            if let Ok(Err(_)) = written.await {
                break;
            }
        }
    });
    let mut beats = 0;
    loop {
        match next(&mut link).await {
            Some(Seen::Data(_)) => sleep(millis(2)).await,
            Some(Seen::Beat(number)) => {
                beats = number;
                let late = start.elapsed().checked_sub(secs(3) * number).unwrap();
                assert!(late < millis(50), "{late:?}");
            }
            other => {
                assert_eq!(why(other), EndReason::Closed(CloseReason::TooOld));
                break;
            }
        }
    }
    assert_eq!(beats, 9);
    talks.abort();
}

#[tokio::test(start_paused = true)]
async fn what_the_peer_said_last_comes_before_the_error_of_our_write() {
    let remote = Remote::default();
    let wire = remote.clone();
    let mut link = dialling(bare_client(), move || {
        core::future::ready(Ok(wire.transport()))
    });
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    remote.with(|wire| {
        wire.write_error = Some(ErrorKind::BrokenPipe);
        wire.reads.push_back(Ok(b"go ".to_vec()));
        wire.reads.push_back(Ok(b"away".to_vec()));
        wire.reads.push_back(Err(ErrorKind::ConnectionReset));
    });
    link.send(b"hello").unwrap();
    assert_eq!(next(&mut link).await, Some(Seen::Data(b"go ".to_vec())));
    assert_eq!(link.send(b"hello"), Err(SendError::NotConnected));
    assert_eq!(next(&mut link).await, Some(Seen::Data(b"away".to_vec())));
    let Some(Seen::Down { why, error, .. }) = next(&mut link).await else {
        panic!("still up");
    };
    assert_eq!(why, EndReason::Disconnected);
    // The first error is the one that tells.
    assert_eq!(error, Some(ErrorKind::BrokenPipe));
    assert!(remote.with(|wire| wire.is_dropped));
    remote.with(|wire| *wire = super::transport::Wire::default());
    assert_eq!(next(&mut link).await, Some(Seen::Up(1)));
    link.send(b"again").unwrap();
    idle(&mut link, secs(1)).await;
    assert_eq!(remote.with(|wire| wire.written.clone()), b"again");
}

#[tokio::test(start_paused = true)]
async fn a_link_whose_write_failed_ends_also_when_the_peer_says_nothing() {
    let remote = Remote::default();
    let wire = remote.clone();
    let start = Instant::now();
    let mut link = dialling(bare_client(), move || {
        core::future::ready(Ok(wire.transport()))
    });
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    remote.with(|wire| wire.write_error = Some(ErrorKind::BrokenPipe));
    link.send(b"hello").unwrap();
    let Some(Seen::Down { why, error, .. }) = next(&mut link).await else {
        panic!("still up");
    };
    assert_eq!(
        (why, error),
        (EndReason::Disconnected, Some(ErrorKind::BrokenPipe))
    );
    assert!(start.elapsed() < secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_read_that_fails_ends_the_link_with_its_error() {
    let remote = Remote::default();
    let wire = remote.clone();
    let mut link = dialling(bare_client(), move || {
        core::future::ready(Ok(wire.transport()))
    });
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    idle(&mut link, secs(5)).await;
    remote.with(|wire| wire.reads.push_back(Err(ErrorKind::ConnectionReset)));
    let Some(Seen::Down { error, silence, .. }) = next_but_beats(&mut link).await else {
        panic!("still up");
    };
    assert_eq!(error, Some(ErrorKind::ConnectionReset));
    assert_eq!(silence, Some(secs(5)));
}
