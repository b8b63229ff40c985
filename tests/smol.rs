//! The smol adapter, in its executor and on real sockets. Time is real here:
//! limits are short and margins wide.
#![cfg(feature = "smol")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs,
    unreachable_pub
)]

use core::future::{Future, pending, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Instant;

use nabiz::smol::{Duty, Link, LinkEvent, Pulse, Registry, SendError};
use nabiz::{Action, CloseReason, Config, ConfigBuilder, EndReason, Event, HeartbeatId, Phase};
use smol::future::{FutureExt, block_on};
use smol::net::TcpStream;

#[path = "common/sockets.rs"]
mod sockets;

use sockets::{Seen, millis};

fn config() -> ConfigBuilder {
    sockets::config().with_stall_tolerance(millis(5000))
}

fn ping(_: HeartbeatId, out: &mut Vec<u8>) {
    out.extend_from_slice(b"!");
}

fn link(config: ConfigBuilder, address: SocketAddr) -> Link<TcpStream> {
    let connect = move || TcpStream::connect(address);
    Link::new(config.build().unwrap(), ping, connect).unwrap()
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The next event that is neither a heartbeat's nor a stall's; in pieces, its future is polled
/// twice, the first time by nobody, and dropped, each time that it is woken.
async fn next(link: &mut Link<TcpStream>, in_pieces: bool) -> Option<Seen> {
    let mut buffer = [0; 64];
    loop {
        let event = if in_pieces {
            let polled = poll_fn(|cx| {
                let mut nobody = Context::from_waker(Waker::noop());
                let event = pin!(next_whole(link, &mut buffer)).poll(&mut nobody);
                if event.is_ready() {
                    return event;
                }
                pin!(next_whole(link, &mut buffer)).poll(cx)
            });
            polled.await
        } else {
            next_whole(link, &mut buffer).await
        };
        match event {
            Some(None) => {}
            Some(seen) => return seen,
            None => return None,
        }
    }
}

async fn next_whole(link: &mut Link<TcpStream>, buffer: &mut [u8]) -> Option<Option<Seen>> {
    link.next(buffer).await.map(Seen::of)
}

#[test]
fn a_pulse_beats_and_closes_at_its_limit() {
    block_on(async {
        let config = Config::server()
            .with_interval(millis(100))
            .with_silence_timeout(millis(500))
            .with_stall_tolerance(millis(5000));
        let mut pulse = Pulse::new(config.build().unwrap());
        let start = Instant::now();
        let mut beats = 0;
        let reason = loop {
            match pulse.next().await {
                Some(Action::SendHeartbeat { .. }) => {
                    beats += 1;
                    pulse.handle(Event::HeartbeatSent);
                }
                Some(Action::Close(reason)) => break reason,
                other => panic!("{other:?}"),
            }
        };
        let took = start.elapsed();
        assert_eq!(reason, CloseReason::PeerSilent);
        assert!(took >= millis(500) && took < millis(5000), "{took:?}");
        assert!(beats >= 3, "{beats}");
        pulse.handle(Event::Disconnected);
        assert_eq!(pulse.next().await, None);
    });
}

#[test]
fn a_pulse_in_pieces_closes_at_its_limit_too() {
    block_on(async {
        let config = Config::server()
            .without_interval()
            .with_silence_timeout(millis(400))
            .with_stall_tolerance(millis(5000));
        let mut pulse = Pulse::new(config.build().unwrap());
        let start = Instant::now();
        let waited = async {
            smol::Timer::after(millis(200)).await;
            None
        };
        assert_eq!(waited.or(pulse.next()).await, None);
        pulse.handle(Event::Received);
        let action = poll_fn(|cx| {
            let mut nobody = Context::from_waker(Waker::noop());
            let action = pin!(pulse.next()).poll(&mut nobody);
            if action.is_ready() {
                return action;
            }
            pin!(pulse.next()).poll(cx)
        });
        let close = Action::Close(CloseReason::PeerSilent);
        assert_eq!(action.await, Some(close));
        let took = start.elapsed();
        assert!(took >= millis(600) && took < millis(5000), "{took:?}");
    });
}

fn life(in_pieces: bool) {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (mut first, _) = listener.accept().unwrap();
        let mut hello = [0; 5];
        first.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"hello");
        first.write_all(b"welcome").unwrap();
        drop(first);
        let (mut second, _) = listener.accept().unwrap();
        let mut said = Vec::new();
        second.read_to_end(&mut said).unwrap();
        assert!(said.len() >= 2, "{said:?}");
        let (mut third, _) = listener.accept().unwrap();
        let mut said = Vec::new();
        third.read_to_end(&mut said).unwrap();
        third.write_all(b"bye").unwrap();
        said
    });
    block_on(async {
        let mut link = link(config(), address);
        assert_eq!(next(&mut link, in_pieces).await, Some(Seen::Up(0)));
        link.send(b"hello").unwrap();
        let welcome = next(&mut link, in_pieces).await;
        assert_eq!(welcome, Some(Seen::Data(b"welcome".to_vec())));
        let down = next(&mut link, in_pieces).await;
        // With or without a beat of ours unread, for which it is reset.
        let gone = EndReason::Disconnected;
        assert!(matches!(down, Some(Seen::Down(why, _, Some(_), 1)) if why == gone));
        let start = Instant::now();
        assert_eq!(next(&mut link, in_pieces).await, Some(Seen::Up(1)));
        let silent = EndReason::Closed(CloseReason::PeerSilent);
        let down = next(&mut link, in_pieces).await;
        let expected = Seen::Down(silent, None, Some(millis(100)), 2);
        assert_eq!(down, Some(expected));
        let took = start.elapsed();
        assert!(took >= millis(450) && took < millis(5000), "{took:?}");
        assert_eq!(next(&mut link, in_pieces).await, Some(Seen::Up(2)));
        link.send(b"goodbye").unwrap();
        link.report(Event::Shutdown);
        let bye = next(&mut link, in_pieces).await;
        assert_eq!(bye, Some(Seen::Data(b"bye".to_vec())));
        let down = next(&mut link, in_pieces).await;
        assert!(matches!(down, Some(Seen::Down(_, _, None, _))), "{down:?}");
        assert_eq!(next(&mut link, in_pieces).await, None);
    });
    assert_eq!(server.join().unwrap(), b"goodbye");
}

#[test]
fn a_life_over_tcp() {
    life(false);
}

#[test]
fn a_life_over_tcp_in_pieces() {
    life(true);
}

/// Which cannot tell the peer of the end but by going away.
#[test]
fn an_end_of_a_bare_socket_is_bounded_by_the_grace() {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
        said
    });
    let config = config().without_interval().with_close_grace(millis(300));
    let connect = move || smol::Async::<std::net::TcpStream>::connect(address);
    let mut link = Link::new(config.build().unwrap(), ping, connect).unwrap();
    block_on(async {
        let mut buffer = [0; 64];
        let up = link.next(&mut buffer).await;
        assert!(matches!(up, Some(LinkEvent::Up { .. })), "{up:?}");
        link.send(b"hello").unwrap();
        let start = Instant::now();
        link.shutdown().await;
        assert!(start.elapsed() < millis(5000), "{:?}", start.elapsed());
    });
    assert_eq!(server.join().unwrap(), b"hello");
}

#[test]
fn a_dial_that_hangs_is_dropped_at_its_limit() {
    block_on(async {
        let config = config().with_connect_timeout(millis(200));
        let dials = || pending::<std::io::Result<TcpStream>>();
        let mut link = Link::new(config.build().unwrap(), ping, dials).unwrap();
        let start = Instant::now();
        let timed_out = EndReason::Closed(CloseReason::ConnectTimeout);
        for attempt in 1..3 {
            let Some(Seen::Down(why, _, _, tried)) = next(&mut link, false).await else {
                panic!("no end");
            };
            assert_eq!((why, tried), (timed_out, attempt));
        }
        let took = start.elapsed();
        assert!(took >= millis(450) && took < millis(5000), "{took:?}");
    });
}

#[test]
fn handles_send_watch_and_end_it_from_other_threads() {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"hi").unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
        said
    });
    let config = config()
        .without_interval()
        .with_silence_timeout(millis(5000));
    let mut link = link(config, address);
    let handle = link.handle();
    let mut watch = link.handle();
    assert_eq!(handle.send(b"early"), Err(SendError::NotConnected));
    let watcher = thread::spawn(move || {
        block_on(async {
            let mut phases = Vec::new();
            while let Some(status) = watch.changed().await {
                phases.push(status.phase);
            }
            phases
        })
    });
    let driver = smol::spawn(async move { while next(&mut link, false).await.is_some() {} });
    let start = Instant::now();
    while handle.send(b"from afar").is_err() {
        assert!(start.elapsed() < millis(5000));
        thread::sleep(millis(5));
    }
    block_on(handle.shutdown());
    block_on(driver);
    assert!(start.elapsed() < millis(5000), "{:?}", start.elapsed());
    assert_eq!(server.join().unwrap(), b"from afar");
    let phases = watcher.join().unwrap();
    assert_eq!(phases.last(), Some(&Phase::Done));
    assert_eq!(handle.status().phase, Phase::Done);
}

#[test]
fn what_was_said_before_a_reset_is_read() {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0]).unwrap();
        thread::sleep(millis(50));
        stream.write_all(b"go away").unwrap();
        // Closing with bytes unread resets.
        drop(stream);
    });
    block_on(async {
        let mut link = link(config().without_interval(), address);
        assert_eq!(next(&mut link, false).await, Some(Seen::Up(0)));
        link.send(b"much more than a byte").unwrap();
        let mut buffer = [0; 64];
        let waited = async {
            smol::Timer::after(millis(20)).await;
            None
        };
        assert_eq!(waited.or(next_whole(&mut link, &mut buffer)).await, None);
        server.join().unwrap();
        link.send(b"more").unwrap();
        let words = next(&mut link, false).await;
        assert_eq!(words, Some(Seen::Data(b"go away".to_vec())));
        let down = next(&mut link, false).await;
        let gone = EndReason::Disconnected;
        assert!(
            matches!(down, Some(Seen::Down(why, Some(_), ..)) if why == gone),
            "{down:?}"
        );
    });
}

#[test]
fn a_blocked_thread_convicts_nobody_whose_bytes_have_come() {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for _ in 0..25 {
            stream.write_all(b".").unwrap();
            thread::sleep(millis(50));
        }
        stream
    });
    block_on(async {
        let mut link = link(config(), address);
        assert_eq!(next(&mut link, false).await, Some(Seen::Up(0)));
        let data = next(&mut link, false).await;
        assert!(matches!(data, Some(Seen::Data(_))), "{data:?}");
        thread::sleep(millis(800));
        let data = next(&mut link, false).await;
        assert!(matches!(data, Some(Seen::Data(_))), "{data:?}");
        assert_eq!(link.status().stalls, 0);
    });
    drop(server.join());
}

#[test]
fn a_roster_closes_the_silent_and_beats_to_the_quiet() {
    let config = Config::server()
        .with_interval(millis(100))
        .with_silence_timeout(millis(600))
        .with_write_timeout(millis(10_000))
        .with_stall_tolerance(millis(5000));
    let (registry, driver) = Registry::new(config.build().unwrap()).unwrap();
    let driver = smol::spawn(driver.run());
    let mut tasks = Vec::new();
    for number in 0..50 {
        let mut last = Instant::now();
        let lease = registry.register();
        tasks.push(smol::spawn(async move {
            if number % 2 == 0 {
                smol::Timer::after(millis(300)).await;
                last = Instant::now();
                lease.received();
            }
            let mut beats = 0;
            loop {
                match lease.next().await {
                    Duty::Heartbeat => {
                        beats += 1;
                        lease.heartbeat_sent();
                    }
                    Duty::Close { reason, .. } => {
                        assert_eq!(reason, CloseReason::PeerSilent);
                        return (beats, last.elapsed());
                    }
                }
            }
        }));
    }
    for task in tasks {
        let (beats, silence) = block_on(task);
        assert!(beats >= 2, "{beats}");
        assert!(
            silence >= millis(600) && silence < millis(5000),
            "{silence:?}"
        );
    }
    assert_eq!(registry.len(), 0);
    drop(registry);
    block_on(driver);
}

#[test]
fn a_roster_is_drained_or_left_at_once() {
    let config = Config::server().build().unwrap();
    let (registry, driver) = Registry::new(config).unwrap();
    let driver = smol::spawn(driver.run());
    let (first, second) = (registry.register(), registry.register());
    thread::sleep(millis(50));
    registry.drain(millis(100));
    let start = Instant::now();
    for lease in [&first, &second] {
        let duty = block_on(lease.next());
        assert!(
            matches!(
                duty,
                Duty::Close {
                    reason: CloseReason::Draining,
                    ..
                }
            ),
            "{duty:?}"
        );
    }
    assert!(start.elapsed() < millis(5000), "{:?}", start.elapsed());
    block_on(driver.cancel());
    let late = registry.register();
    let shutdown = Duty::Close {
        reason: CloseReason::Shutdown,
        retry_after: None,
    };
    assert_eq!(block_on(late.next()), shutdown);
}

/// So that executors with threads take them.
#[test]
fn all_of_it_may_move_between_threads() {
    fn is_send(_: &impl Send) {}
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Registry>();
    is_shared::<nabiz::smol::Lease>();
    is_shared::<nabiz::smol::LinkHandle>();
    let (registry, driver) = Registry::new(Config::server().build().unwrap()).unwrap();
    let lease = registry.register();
    is_send(&driver.run());
    is_send(&lease.next());
    let mut pulse = Pulse::new(Config::server().build().unwrap());
    is_send(&pulse.next());
    let (_listener, address) = listener();
    let mut link = link(config(), address);
    let mut handle = link.handle();
    is_send(&handle.changed());
    is_send(&link.next(&mut [0; 64]));
    is_send(&link.shutdown());
}

/// A stream that keeps what is written until it is flushed.
struct Held {
    read: TcpStream,
    write: smol::io::BufWriter<TcpStream>,
}

impl smol::io::AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.read).poll_read(cx, buffer)
    }
}

impl smol::io::AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.write).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_close(cx)
    }
}

#[test]
fn what_a_stream_holds_back_is_flushed() {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(millis(5000))).unwrap();
        let mut beat = [0];
        stream.read_exact(&mut beat).map(|()| beat)
    });
    let connect = move || async move {
        let read = TcpStream::connect(address).await?;
        let write = smol::io::BufWriter::new(read.clone());
        Ok(Held { read, write })
    };
    let patient = config().without_silence_timeout().build().unwrap();
    let mut link = Link::new(patient, ping, connect).unwrap();
    block_on(async {
        let mut buffer = [0; 64];
        while !matches!(link.next(&mut buffer).await, Some(LinkEvent::Down { .. })) {}
    });
    assert_eq!(server.join().unwrap().unwrap(), *b"!");
}

#[test]
fn what_is_there_can_be_shown() {
    let (_listener, address) = listener();
    let link = link(config(), address);
    assert!(format!("{link:?}").starts_with("Link { "), "{link:?}");
    assert_eq!(format!("{:?}", link.handle()), "LinkHandle { .. }");
    let shown = format!("{:?}", Pulse::new(config().build().unwrap()));
    assert!(shown.contains("alarm: Alarm { rings: "), "{shown}");
}
