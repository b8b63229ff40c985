//! A link whose every future is dropped at its every poll does the same as one
//! whose futures are not.

use core::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nabiz::tokio::Link;
use nabiz::{CloseReason, EndReason, Event};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::helpers::{HOWS, How, Seen, awaited, dialling, next, passed, up};
use crate::common::{bare_client, millis, secs};

/// Dials of which the first fails at once, the second late, and the third
/// hangs; then they succeed after a while.
fn link() -> (Link<DuplexStream>, mpsc::UnboundedReceiver<DuplexStream>) {
    let (far_ends, peers) = mpsc::unbounded_channel();
    let dials = AtomicU32::new(0);
    let config = bare_client()
        .with_connect_timeout(secs(4))
        .with_interval(secs(3))
        .with_silence_timeout(secs(10))
        .with_write_timeout(secs(6))
        .with_close_grace(secs(2));
    let link = dialling(config, move || {
        let dial = dials.fetch_add(1, Ordering::Relaxed);
        let far_ends = far_ends.clone();
        async move {
            match dial {
                0 => Err(io::ErrorKind::ConnectionRefused.into()),
                1 => {
                    sleep(secs(3)).await;
                    Err(io::ErrorKind::TimedOut.into())
                }
                2 => pending().await,
                _ => {
                    sleep(millis(1500)).await;
                    let (near, far) = duplex(16);
                    let _ = far_ends.send(far);
                    Ok(near)
                }
            }
        }
    });
    (link, peers)
}

/// Says things for a while, reads the others, and keeps what it read.
async fn peer(number: u32, mut far: DuplexStream, heard: mpsc::UnboundedSender<(u32, Vec<u8>)>) {
    let mut said = Vec::new();
    match number {
        // Talks and reads, then says no more.
        0 => {
            for word in [&b"one"[..], b"two", b"three"] {
                sleep(secs(2)).await;
                far.write_all(word).await.unwrap();
            }
            let _ = far.read_to_end(&mut said).await;
        }
        // Talks, and does not read.
        1 => {
            while far.write_all(b".").await.is_ok() {
                sleep(secs(2)).await;
            }
            let _ = far.read_to_end(&mut said).await;
        }
        // Reads slowly, then leaves.
        2 => {
            let mut byte = [0];
            for _ in 0..30 {
                if far.read(&mut byte).await.unwrap() == 0 {
                    break;
                }
                said.push(byte[0]);
                sleep(millis(100)).await;
                far.write_all(b",").await.unwrap();
            }
        }
        // Stays until it is told to go.
        _ => {
            far.write_all(b"stay").await.unwrap();
            far.read_to_end(&mut said).await.unwrap();
            far.write_all(b"well").await.unwrap();
            sleep(secs(1)).await;
        }
    }
    let _ = heard.send((number, said));
}

type Log = (Vec<(u128, Seen)>, Vec<(u32, Vec<u8>)>);

async fn scenario(how: How) -> Log {
    let start = Instant::now();
    let (mut link, mut peers) = link();
    let (heard, mut said) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut number = 0;
        while let Some(far) = peers.recv().await {
            tokio::spawn(peer(number, far, heard.clone()));
            number += 1;
        }
    });
    let handle = link.handle();
    let mut log = Vec::new();
    let mut ups = 0;
    loop {
        let event = awaited(how, async || next(&mut link).await).await;
        let Some(event) = event else { break };
        match &event {
            Seen::Up(_) => {
                ups += 1;
                link.send(b"hello").unwrap();
                if ups == 2 {
                    link.send(&[b'x'; 100]).unwrap();
                }
                if ups == 3 {
                    link.send(&[b'y'; 40]).unwrap();
                }
            }
            Seen::Data(bytes) if bytes == b"two" => handle.send(b"thanks").unwrap(),
            Seen::Data(bytes) if bytes == b"stay" => {
                link.send(&[b'z'; 40]).unwrap();
                link.report(Event::Shutdown);
            }
            Seen::Down { attempt: 5, .. } => handle.reconnect_now(),
            _ => {}
        }
        log.push((start.elapsed().as_millis(), event));
    }
    drop(link);
    let mut all = Vec::new();
    while let Some(heard) = said.recv().await {
        all.push(heard);
    }
    (log, all)
}

#[tokio::test(start_paused = true)]
async fn a_whole_life_in_pieces_is_the_same_life() {
    let (log, said) = scenario(How::Whole).await;
    let ends: Vec<_> = log
        .iter()
        .filter_map(|(_, event)| match event {
            Seen::Down { why, .. } => Some(*why),
            _ => None,
        })
        .collect();
    assert_eq!(
        ends,
        [
            EndReason::ConnectFailed,
            EndReason::ConnectFailed,
            EndReason::Closed(CloseReason::ConnectTimeout),
            EndReason::Closed(CloseReason::PeerSilent),
            EndReason::Closed(CloseReason::WriteStalled),
            EndReason::Disconnected,
            EndReason::Closed(CloseReason::Shutdown),
        ],
        "{log:?}"
    );
    assert!(
        log.iter()
            .any(|(_, event)| *event == Seen::Data(b"well".to_vec()))
    );
    assert_eq!(said.len(), 4);
    assert!(said[3].1.ends_with(&[b'z'; 40]), "{said:?}");
    for how in HOWS {
        let (pieces, heard) = scenario(how).await;
        for (whole, piece) in log.iter().zip(&pieces) {
            assert_eq!(whole, piece, "{how:?}");
        }
        assert_eq!((log.len(), &said), (pieces.len(), &heard), "{how:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_in_pieces_is_the_same_shutdown() {
    for how in HOWS {
        let start = Instant::now();
        let (mut link, mut peer) = up(bare_client().with_close_grace(secs(9)), 4).await;
        link.send(b"goodbye to you").unwrap();
        let reader = tokio::spawn(async move {
            let mut said = Vec::new();
            sleep(secs(1)).await;
            peer.read_to_end(&mut said).await.unwrap();
            peer.write_all(b"and").await.unwrap();
            sleep(secs(1)).await;
            said
        });
        awaited(how, async || link.shutdown().await).await;
        passed(start, secs(2));
        assert_eq!(reader.await.unwrap(), b"goodbye to you");
        assert_eq!(next(&mut link).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn handles_that_wait_in_pieces_see_the_same() {
    let mut logs = Vec::new();
    for how in HOWS {
        let start = Instant::now();
        let (mut link, _peers) = link();
        let mut watch = link.handle();
        let ends = link.handle();
        let driver = tokio::spawn(async move { while next(&mut link).await.is_some() {} });
        let watcher = async move {
            let mut log = Vec::new();
            while let Some(status) = awaited(how, async || watch.changed().await).await {
                log.push((start.elapsed().as_millis(), status.phase));
            }
            log
        };
        let ending = async {
            sleep(secs(40)).await;
            awaited(how, async || ends.shutdown().await).await;
        };
        let (log, ()) = tokio::join!(watcher, ending);
        logs.push(log);
        driver.await.unwrap();
    }
    assert!(logs[0].len() > 8, "{logs:?}");
    assert_eq!(logs[0], logs[1]);
    assert_eq!(logs[0], logs[2]);
}

#[tokio::test(start_paused = true)]
async fn a_link_in_a_select_loses_nothing() {
    let (mut link, mut peer) = up(bare_client().with_interval(secs(3)), 16).await;
    let sent: Vec<u8> = (0..=255).cycle().take(2000).collect();
    let expected = sent.clone();
    let writer = tokio::spawn(async move {
        for piece in sent.chunks(37) {
            peer.write_all(piece).await.unwrap();
            sleep(millis(90)).await;
        }
        let mut said = Vec::new();
        let _ = timeout(secs(60), peer.read_to_end(&mut said)).await;
        said
    });
    let (mut got, mut beats) = (Vec::new(), 0);
    while got.len() < expected.len() {
        tokio::select! {
            biased;
            () = sleep(millis(7)) => {}
            event = next(&mut link) => match event {
                Some(Seen::Data(bytes)) => got.extend(bytes),
                Some(Seen::Beat(_)) => beats += 1,
                other => panic!("{other:?}"),
            },
        }
    }
    assert_eq!(got, expected);
    drop(link);
    assert_eq!(writer.await.unwrap().len(), beats);
}

/// What a link holds while it dials is let go of with it.
#[tokio::test(start_paused = true)]
async fn a_link_that_is_dropped_drops_its_dial() {
    let held = Arc::new(());
    let guard = held.clone();
    let mut link = dialling(bare_client(), move || {
        let guard = guard.clone();
        async move {
            let _guard = guard;
            pending::<io::Result<DuplexStream>>().await
        }
    });
    assert!(timeout(secs(1), next(&mut link)).await.is_err());
    assert_eq!(Arc::strong_count(&held), 3);
    drop(link);
    assert_eq!(Arc::strong_count(&held), 1);
}
