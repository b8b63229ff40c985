//! A server that was blocked convicts nobody who was there all the while.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use nabiz::tokio::{Duty, Lease, Registry};
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep};

use crate::common::{bare_server, millis, secs};

/// As many as the limit on open files allows, both ends being ours.
fn many() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = files.and_then(|files| files.split_whitespace().next()?.parse().ok());
    soft.unwrap_or(256_usize).saturating_sub(300).min(6000) / 2
}

async fn serve(mut stream: tokio::net::TcpStream, lease: Lease, closed: Arc<AtomicUsize>) {
    let mut buffer = [0; 16];
    loop {
        tokio::select! {
            biased;
            read = stream.read(&mut buffer) => match read {
                Ok(1..) => lease.received(),
                _ => return,
            },
            duty = lease.next() => match duty {
                Duty::Heartbeat => lease.heartbeat_sent(),
                Duty::Close { .. } => {
                    closed.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            },
        }
    }
}

async fn thaw() {
    let many = many();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(4096).unwrap();
    let address = listener.local_addr().unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let stop = is_over.clone();
    let clients = thread::spawn(move || {
        let mut clients: Vec<_> = (0..many)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        while !stop.load(Ordering::Relaxed) {
            for client in &mut clients {
                let _ = client.write_all(b".");
            }
            thread::sleep(millis(150));
        }
        clients
    });
    let config = bare_server()
        .with_silence_timeout(secs(2))
        .with_stall_tolerance(secs(5));
    let (registry, driver) = Registry::new(config.build().unwrap()).unwrap();
    tokio::spawn(driver.run());
    let closed = Arc::new(AtomicUsize::new(0));
    let mut streams = Vec::new();
    for _ in 0..many {
        streams.push(listener.accept().await.unwrap().0);
    }
    for stream in streams {
        tokio::spawn(serve(stream, registry.register(), closed.clone()));
    }
    sleep(millis(500)).await;
    assert_eq!((registry.len(), closed.load(Ordering::Relaxed)), (many, 0));
    // Longer than anybody may be silent, but not than we may be late.
    thread::sleep(millis(2500));
    let start = Instant::now();
    sleep(millis(700)).await;
    assert!(start.elapsed() < secs(2), "this machine is too slow");
    assert_eq!(closed.load(Ordering::Relaxed), 0, "of {many}");
    assert_eq!(registry.len(), many);
    assert_eq!(registry.counters().stalls, 0, "the stall was forgiven");
    is_over.store(true, Ordering::Relaxed);
    let silent = clients.join().unwrap();
    sleep(secs(3)).await;
    assert_eq!(closed.load(Ordering::Relaxed), many);
    drop(silent);
}

#[tokio::test]
async fn a_blocked_server_convicts_nobody_whose_bytes_have_come() {
    thaw().await;
}
