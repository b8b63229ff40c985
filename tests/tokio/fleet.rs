//! A hundred links at once on several threads, against a server that hangs up
//! as it likes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use nabiz::tokio::Link;
use nabiz::{Backoff, Config, EndReason, Phase};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::helpers::{Seen, next, ping};
use crate::common::{millis, secs};

const LINKS: u32 = 100;

/// Echoes, and closes some connections: at once, after a few words, or with
/// words unread.
async fn serve(listener: TcpListener, accepted: Arc<AtomicU32>, is_calm: Arc<AtomicBool>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let number = accepted.fetch_add(1, Ordering::Relaxed);
        let is_calm = is_calm.clone();
        tokio::spawn(async move {
            let mut words = number.wrapping_mul(0x9e37_79b9) >> 28;
            let mut bytes = [0; 256];
            loop {
                if words == 0 && !is_calm.load(Ordering::Relaxed) {
                    break; // perhaps with something unread, which resets
                }
                words = words.saturating_sub(1);
                match stream.read(&mut bytes).await {
                    Ok(read @ 1..) => {
                        if stream.write_all(&bytes[..read]).await.is_err() {
                            break;
                        }
                    }
                    _ => break,
                }
            }
        });
    }
}

#[derive(Default)]
struct Tally {
    ups: u32,
    downs: u32,
    silent: u32,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_survives_a_server_that_hangs_up_as_it_likes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicU32::new(0));
    let is_calm = Arc::new(AtomicBool::new(false));
    tokio::spawn(serve(listener, accepted.clone(), is_calm.clone()));
    let config = Config::client()
        .with_interval(millis(50))
        .with_silence_timeout(secs(2))
        .with_stable_after(millis(500))
        .with_backoff(
            Backoff::new()
                .with_initial(millis(10))
                .with_max(millis(100)),
        )
        .build()
        .unwrap();
    let mut handles = Vec::new();
    let mut drivers = Vec::new();
    for _ in 0..LINKS {
        let mut link = Link::new(config, ping, move || TcpStream::connect(address)).unwrap();
        handles.push(link.handle());
        drivers.push(tokio::spawn(async move {
            let mut tally = Tally::default();
            while let Some(event) = next(&mut link).await {
                match event {
                    Seen::Up(_) => {
                        tally.ups += 1;
                        let _ = link.send(b"hello");
                    }
                    Seen::Down { why, .. } => {
                        tally.downs += 1;
                        tally.silent += u32::from(
                            matches!(why, EndReason::Closed(reason) if reason.is_liveness()),
                        );
                    }
                    _ => {}
                }
            }
            tally
        }));
    }
    let mut watchers = Vec::new();
    for handle in &handles {
        let mut watch = handle.clone();
        watchers.push(tokio::spawn(async move {
            let mut last = Phase::Connecting;
            while let Some(status) = watch.changed().await {
                last = status.phase;
            }
            last
        }));
    }
    let start = Instant::now();
    while start.elapsed() < millis(1200) {
        for (number, handle) in handles.iter().enumerate() {
            let _ = handle.send(b"words");
            if number % 7 == 0 {
                handle.reconnect_now();
            }
        }
        sleep(millis(10)).await;
    }
    is_calm.store(true, Ordering::Relaxed);
    sleep(millis(600)).await;
    let up = handles
        .iter()
        .filter(|handle| handle.status().phase == Phase::Open);
    assert!(up.count() > 95, "the fleet is not back");
    let start = Instant::now();
    for handle in &handles {
        handle.shutdown().await;
        assert_eq!(handle.status().phase, Phase::Done);
    }
    assert!(start.elapsed() < secs(5), "{:?}", start.elapsed());
    let (mut ups, mut downs) = (0, 0);
    for driver in drivers {
        let tally = driver.await.unwrap();
        assert!(tally.ups > 0 && tally.downs >= tally.ups);
        assert_eq!(tally.silent, 0, "nobody was silent");
        ups += tally.ups;
        downs += tally.downs;
    }
    assert!(
        ups > 2 * LINKS && downs > 2 * LINKS,
        "{ups} ups, {downs} downs"
    );
    for watcher in watchers {
        assert_eq!(watcher.await.unwrap(), Phase::Done);
    }
}
