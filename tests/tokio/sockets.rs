//! Links over real sockets, in both of tokio's runtimes. Limits are short and
//! margins wide.

use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

use nabiz::tokio::{Link, LinkEvent, SendError};
use nabiz::{Backoff, CloseReason, Config, ConfigBuilder, EndReason, Event, Jitter, Ratio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::helpers::{Seen, next_but_beats, ping};
use crate::common::{millis, secs};

/// A client that beats every 100 ms, bears 400 ms of silence, and comes back
/// after 50, 100, 200, 400 … ms exactly.
fn config() -> ConfigBuilder {
    Config::client()
        .with_interval(millis(100))
        .with_silence_timeout(millis(400))
        .with_stall_tolerance(secs(5))
        .with_stable_after(millis(300))
        .with_backoff(
            Backoff::new()
                .with_initial(millis(50))
                .with_multiplier(Ratio::percent(200))
                .with_max(secs(2))
                .with_jitter(Jitter::None),
        )
}

fn link(config: ConfigBuilder, address: std::net::SocketAddr) -> Link<TcpStream> {
    Link::new(config.build().unwrap(), ping, move || {
        TcpStream::connect(address)
    })
    .unwrap()
}

async fn sequence() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        let mut hello = [0; 5];
        first.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"hello");
        first.write_all(b"welcome").await.unwrap();
        drop(first);
        let (mut second, _) = listener.accept().await.unwrap();
        let mut said = Vec::new();
        second.read_to_end(&mut said).await.unwrap();
        assert!(said.len() >= 2, "{said:?}");
        let (mut third, _) = listener.accept().await.unwrap();
        let mut said = Vec::new();
        third.read_to_end(&mut said).await.unwrap();
        third.write_all(b"bye").await.unwrap();
        drop(listener);
        said
    });
    let mut link = link(config(), address);
    assert_eq!(next_but_beats(&mut link).await, Some(Seen::Up(0)));
    link.send(b"hello").unwrap();
    let welcome = next_but_beats(&mut link).await;
    assert_eq!(welcome, Some(Seen::Data(b"welcome".to_vec())));
    let event = next_but_beats(&mut link).await;
    let Some(Seen::Down {
        why,
        retry_in,
        attempt,
        ..
    }) = event
    else {
        panic!("{event:?}");
    };
    assert_eq!(
        (why, retry_in, attempt),
        (EndReason::Disconnected, Some(millis(50)), 1)
    );
    let start = Instant::now();
    assert_eq!(next_but_beats(&mut link).await, Some(Seen::Up(1)));
    let took = start.elapsed();
    assert!(took >= millis(50) && took < secs(5), "{took:?}");
    let event = next_but_beats(&mut link).await;
    let Some(Seen::Down { why, silence, .. }) = event else {
        panic!("{event:?}");
    };
    assert_eq!(why, EndReason::Closed(CloseReason::PeerSilent));
    assert!(silence.unwrap() >= millis(400), "{silence:?}");
    let took = start.elapsed();
    assert!(took >= millis(450) && took < secs(5), "{took:?}");
    assert_eq!(next_but_beats(&mut link).await, Some(Seen::Up(2)));
    link.send(b"goodbye").unwrap();
    link.report(Event::Shutdown);
    let bye = next_but_beats(&mut link).await;
    assert_eq!(bye, Some(Seen::Data(b"bye".to_vec())));
    let event = next_but_beats(&mut link).await;
    assert!(
        matches!(event, Some(Seen::Down { retry_in: None, .. })),
        "{event:?}"
    );
    assert_eq!(next_but_beats(&mut link).await, None);
    assert_eq!(server.await.unwrap(), b"goodbye");
}

#[tokio::test]
async fn a_life_over_tcp_on_one_thread() {
    sequence().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_over_tcp_on_several_threads() {
    tokio::spawn(sequence()).await.unwrap();
}

#[tokio::test]
async fn a_refused_address_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut link = link(config(), address);
    for tried in 1..4 {
        let event = next_but_beats(&mut link).await;
        let Some(Seen::Down {
            why,
            error,
            attempt,
            ..
        }) = event
        else {
            panic!("{event:?}");
        };
        assert_eq!(why, EndReason::ConnectFailed);
        assert_eq!(
            (error, attempt),
            (Some(ErrorKind::ConnectionRefused), tried)
        );
    }
}

/// The peer's last words, and its reset because of ours, came while we did
/// not look; our write then fails first.
#[tokio::test]
async fn what_was_said_before_a_reset_is_read() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (go, gone) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        go.1.recv().unwrap();
        stream.read_exact(&mut [0]).unwrap();
        stream.write_all(b"go away").unwrap();
        // Closing with bytes unread resets.
        drop(stream);
        gone.0.send(()).unwrap();
        listener
    });
    let mut link = link(config().without_interval(), address);
    assert_eq!(next_but_beats(&mut link).await, Some(Seen::Up(0)));
    link.send(b"much more than a byte").unwrap();
    super::helpers::idle(&mut link, millis(50)).await;
    // We look again when all of it has happened.
    go.0.send(()).unwrap();
    gone.1.recv().unwrap();
    std::thread::sleep(millis(20));
    link.send(b"more").unwrap();
    let words = next_but_beats(&mut link).await;
    assert_eq!(words, Some(Seen::Data(b"go away".to_vec())));
    let event = next_but_beats(&mut link).await;
    let Some(Seen::Down { why, error, .. }) = event else {
        panic!("{event:?}");
    };
    assert_eq!(why, EndReason::Disconnected);
    assert!(error.is_some());
    drop(server.join().unwrap());
}

#[tokio::test]
async fn a_blocked_runtime_convicts_nobody_whose_bytes_have_come() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for _ in 0..25 {
            stream.write_all(b".").unwrap();
            std::thread::sleep(millis(50));
        }
        stream
    });
    let mut link = link(config(), address);
    assert_eq!(next_but_beats(&mut link).await, Some(Seen::Up(0)));
    assert_eq!(
        next_but_beats(&mut link).await,
        Some(Seen::Data(b".".to_vec()))
    );
    // Twice the limit, but within the tolerance for late calls.
    std::thread::sleep(millis(800));
    let event = next_but_beats(&mut link).await;
    assert!(matches!(event, Some(Seen::Data(_))), "{event:?}");
    assert_eq!(link.status().stalls, 0);
    drop(server.join());
}

#[tokio::test]
async fn a_peer_that_stops_reading_stalls_our_output() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // Sends all the time, reads never.
        while stream.write_all(b".").await.is_ok() {
            sleep(millis(20)).await;
        }
    });
    let mut link = link(config().with_write_timeout(millis(600)), address);
    assert_eq!(next_but_beats(&mut link).await, Some(Seen::Up(0)));
    let message = vec![b'x'; 300_000];
    let mut filled = false;
    let why = loop {
        filled |= link.send(&message) == Err(SendError::Full);
        match next_but_beats(&mut link).await {
            Some(Seen::Data(_)) => {}
            Some(Seen::Down { why, .. }) => break why,
            other => panic!("{other:?}"),
        }
    };
    assert!(filled, "the send limit was never reached");
    assert_eq!(why, EndReason::Closed(CloseReason::WriteStalled));
    drop(link);
    server.await.unwrap();
}

#[tokio::test]
async fn megabytes_go_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut input, mut output) = stream.split();
        let _ = tokio::io::copy(&mut input, &mut output).await;
    });
    let config = config().without_interval().with_silence_timeout(secs(5));
    let mut link = link(config, address);
    let sent: Vec<u8> = (0..=250).cycle().take(3 << 20).collect();
    let mut buffer = vec![0; 1 << 16];
    let (mut taken, mut got) = (0, Vec::new());
    assert!(matches!(
        link.next(&mut buffer).await,
        Some(LinkEvent::Up { .. })
    ));
    while got.len() < sent.len() {
        let end = sent.len().min(taken + 50_000);
        if taken < end && link.send(&sent[taken..end]).is_ok() {
            taken = end;
            continue;
        }
        match link.next(&mut buffer).await {
            Some(LinkEvent::Data(bytes)) => got.extend_from_slice(bytes),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, sent);
    link.shutdown().await;
}
