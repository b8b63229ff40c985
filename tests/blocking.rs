//! `blocking::Link` and `Pulse` on real sockets. Limits are short and margins
//! wide; nothing here judges a time closely.
#![cfg(feature = "std")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs,
    unreachable_pub
)]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nabiz::blocking::{Clock, Link, LinkEvent, Pulse, SendError, Transport, random_seed};
use nabiz::{
    Action, Backoff, CloseReason, Config, ConfigBuilder, EndReason, Event, GiveUpReason,
    HeartbeatId, Jitter, Phase,
};

#[path = "common/sockets.rs"]
mod sockets;

use sockets::{Seen, config, millis};

fn ping(_: HeartbeatId, out: &mut Vec<u8>) {
    out.extend_from_slice(b"ping\n");
}

fn link(address: String, config: ConfigBuilder) -> Link<TcpStream> {
    Link::tcp(address, config.build().unwrap(), ping).unwrap()
}

/// The next event that is neither a heartbeat's nor a stall's.
fn next<T: Transport>(link: &mut Link<T>) -> Option<Seen> {
    let mut buffer = [0; 4096];
    loop {
        if let Some(seen) = Seen::of(link.next(&mut buffer)?) {
            return Some(seen);
        }
    }
}

fn closed(reason: CloseReason, retry_in: u64, attempt: u32) -> Option<Seen> {
    let why = EndReason::Closed(reason);
    Some(Seen::Down(why, None, Some(millis(retry_in)), attempt))
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[test]
fn a_refused_address_is_tried_at_growing_delays_and_does_not_spin() {
    let (listener, address) = listener();
    drop(listener);
    let start = Instant::now();
    let mut link = link(address, config());
    let mut waited = Duration::ZERO;
    for (attempt, retry_in) in [(1, 50), (2, 100), (3, 200), (4, 400)] {
        let refused = Some(ErrorKind::ConnectionRefused);
        assert_eq!(
            next(&mut link),
            Some(Seen::Down(
                EndReason::ConnectFailed,
                refused,
                Some(millis(retry_in)),
                attempt
            ))
        );
        assert!(start.elapsed() >= waited);
        waited += millis(retry_in);
    }
}

#[test]
fn attempts_end_where_the_policy_says() {
    let (listener, address) = listener();
    drop(listener);
    let policy = config().build().unwrap().backoff().unwrap();
    let mut link = link(address, config().with_backoff(policy.with_max_attempts(2)));
    for attempt in [1, 2] {
        assert!(matches!(next(&mut link), Some(Seen::Down(.., Some(_), a)) if a == attempt));
    }
    assert!(matches!(next(&mut link), Some(Seen::Down(.., None, _))));
    let exhausted = GiveUpReason::AttemptsExhausted;
    assert_eq!(next(&mut link), Some(Seen::GaveUp(exhausted)));
    assert_eq!(next(&mut link), None);
    assert_eq!(next(&mut link), None);
}

#[test]
fn a_name_that_does_not_resolve_is_a_failed_dial() {
    let mut link = link("no-such-host.invalid:4000".into(), config());
    assert!(matches!(
        next(&mut link),
        Some(Seen::Down(EndReason::ConnectFailed, Some(_), Some(_), 1))
    ));
}

#[test]
fn a_peer_that_resets_is_a_disconnect_with_its_error() {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Closing with bytes unread resets.
        stream.read_exact(&mut [0]).unwrap();
    });
    let mut link = link(address, config());
    assert_eq!(next(&mut link), Some(Seen::Up(0)));
    link.send(b"much more than one byte").unwrap();
    let reset = Some(ErrorKind::ConnectionReset);
    assert_eq!(
        next(&mut link),
        Some(Seen::Down(
            EndReason::Disconnected,
            reset,
            Some(millis(50)),
            1
        ))
    );
    server.join().unwrap();
}

#[test]
fn a_server_that_closes_at_once_over_and_over_is_not_hammered() {
    let (listener, address) = listener();
    thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream);
        }
    });
    let mut link = link(address, config());
    for (attempt, retry_in) in [(1, 50), (2, 100), (3, 200), (4, 400)] {
        assert_eq!(next(&mut link), Some(Seen::Up(attempt - 1)));
        let Some(Seen::Down(EndReason::Disconnected, _, after, number)) = next(&mut link) else {
            panic!("no disconnect");
        };
        assert_eq!((after, number), (Some(millis(retry_in)), attempt));
    }
}

#[test]
fn a_mute_server_is_silent_at_the_limit_and_never_counts_as_stable() {
    let (listener, address) = listener();
    let server = thread::spawn(move || listener.incoming().take(2).collect::<Vec<_>>());
    let mut link = link(address, config());
    for (attempt, retry_in) in [(1, 50), (2, 100)] {
        assert_eq!(next(&mut link), Some(Seen::Up(attempt - 1)));
        let start = Instant::now();
        // Longer than `stable_after`, but only because we waited.
        assert_eq!(
            next(&mut link),
            closed(CloseReason::PeerSilent, retry_in, attempt)
        );
        assert!(start.elapsed() >= millis(390), "{:?}", start.elapsed());
        assert!(start.elapsed() < millis(1500), "{:?}", start.elapsed());
    }
    drop(server.join());
}

#[test]
fn a_server_that_comes_back_is_found_and_attempts_reset_once_it_was_stable() {
    let (first, address) = listener();
    drop(first);
    let mut link = link(address.clone(), config());
    for attempt in 1..=3 {
        assert!(matches!(next(&mut link), Some(Seen::Down(.., a)) if a == attempt));
    }
    let listener = TcpListener::bind(address).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for _ in 0..8 {
            stream.write_all(b".").unwrap();
            thread::sleep(millis(100));
        }
    });
    assert!(matches!(next(&mut link), Some(Seen::Up(_))));
    loop {
        match next(&mut link) {
            Some(Seen::Data(_)) => {}
            Some(Seen::Down(EndReason::Disconnected, _, retry_in, attempt)) => {
                assert_eq!((retry_in, attempt), (Some(millis(50)), 1));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    server.join().unwrap();
}

#[test]
fn beats_in_both_directions_keep_a_quiet_link_open() {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(millis(100))).unwrap();
        let mut beats = 0;
        let mut bytes = [0; 64];
        let start = Instant::now();
        while start.elapsed() < millis(1500) {
            match (&stream).read(&mut bytes) {
                Ok(0) => panic!("the client left"),
                Ok(_) => beats += 1,
                Err(_) => {}
            }
            (&stream).write_all(b"beat\n").unwrap();
        }
        beats
    });
    let mut link = link(address, config());
    assert_eq!(next(&mut link), Some(Seen::Up(0)));
    while let Some(Seen::Data(_)) = next(&mut link) {}
    assert!(server.join().unwrap() >= 5);
}

#[test]
fn bytes_that_wait_to_be_read_withdraw_a_verdict() {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for _ in 0..10 {
            stream.write_all(b".").unwrap();
            thread::sleep(millis(100));
        }
        stream
    });
    let mut link = link(address, config());
    assert_eq!(next(&mut link), Some(Seen::Up(0)));
    // Twice the silence timeout, but within the tolerance for late calls.
    thread::sleep(millis(800));
    assert!(matches!(next(&mut link), Some(Seen::Data(_))));
    assert_eq!(link.status().stalls, 0);
    assert_eq!(link.status().phase, Phase::Open);
    drop(server.join());
}

#[test]
fn a_late_tick_convicts_nobody() {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        thread::sleep(millis(1200));
        stream.write_all(b"!").unwrap();
        stream
    });
    let mut link = link(address, config().with_stall_tolerance(millis(100)));
    assert_eq!(next(&mut link), Some(Seen::Up(0)));
    thread::sleep(millis(1000));
    // Nothing to read, and long past the limit: suspect, not dead.
    assert_eq!(next(&mut link), Some(Seen::Data(b"!".to_vec())));
    assert_eq!(link.status().stalls, 1);
    drop(server.join());
}

#[test]
fn a_peer_that_stops_reading_stalls_our_output_and_no_verdict() {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        // Sends all the time, reads never.
        while (&stream).write_all(b".").is_ok() {
            thread::sleep(millis(20));
        }
    });
    let mut link = link(address, config().with_write_timeout(millis(600)));
    assert_eq!(next(&mut link), Some(Seen::Up(0)));
    let message = vec![b'x'; 300_000];
    let mut filled = false;
    let why = loop {
        match link.send(&message) {
            Ok(()) | Err(SendError::NotConnected) => {}
            Err(SendError::Full) => filled = true,
            Err(other) => panic!("{other}"),
        }
        match next(&mut link) {
            Some(Seen::Data(_)) => {}
            Some(Seen::Down(why, ..)) => break why,
            other => panic!("{other:?}"),
        }
    };
    assert!(filled, "the send limit was never reached");
    assert_eq!(why, EndReason::Closed(CloseReason::WriteStalled));
    assert_eq!(link.send(b"late"), Err(SendError::NotConnected));
    server.join().unwrap();
}

/// Takes a few bytes at a time, now and then none.
struct Dribble {
    stream: TcpStream,
    writes: AtomicUsize,
    reads: Arc<AtomicUsize>,
}

impl Transport for Dribble {
    fn read_within(&self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.stream.read_within(buffer, wait)
    }

    fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.writes.fetch_add(1, Ordering::Relaxed);
        if count % 5 == 4 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.stream
            .write_now(&bytes[..bytes.len().min(1 + count % 13)])
    }

    fn finish(&self) -> io::Result<()> {
        self.stream.finish()
    }

    fn abort(&self) -> io::Result<()> {
        self.stream.abort()
    }
}

fn dribble(address: String, config: ConfigBuilder, reads: &Arc<AtomicUsize>) -> Link<Dribble> {
    let reads = Arc::clone(reads);
    Link::new(config.build().unwrap(), ping, move |_| {
        Ok(Dribble {
            stream: TcpStream::connect(&address)?,
            writes: AtomicUsize::new(0),
            reads: Arc::clone(&reads),
        })
    })
    .unwrap()
}

#[test]
fn heartbeats_go_between_messages_also_when_writes_are_partial() {
    const MESSAGE: &str = "a message of a fair length, which takes many writes to send";
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"go").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    let hasty = config()
        .with_interval(millis(5))
        .with_silence_timeout(millis(5000))
        .with_only_when_idle(false);
    let mut link = dribble(address, hasty, &Arc::default());
    assert_eq!(next(&mut link), Some(Seen::Up(0)));
    let sender = link.handle();
    let sending = thread::spawn(move || {
        for _ in 0..40 {
            while sender.send(format!("{MESSAGE}\n").as_bytes()).is_err() {
                thread::sleep(millis(1));
            }
            thread::sleep(millis(10));
        }
        sender.shutdown();
    });
    while next(&mut link).is_some() {}
    sending.join().unwrap();
    let text = server.join().unwrap();
    let (pings, messages): (Vec<_>, Vec<_>) = text.lines().partition(|line| *line == "ping");
    assert_eq!(messages, vec![MESSAGE; 40], "all of them, none cut");
    assert!(pings.len() > 3, "{} beats", pings.len());
}

#[test]
fn an_idle_link_sleeps() {
    let (listener, address) = listener();
    let server = thread::spawn(move || listener.accept());
    let calm = config()
        .with_interval(millis(5000))
        .with_spread_first_beat(false)
        .with_silence_timeout(millis(1000));
    let reads = Arc::new(AtomicUsize::new(0));
    let mut link = dribble(address, calm, &reads);
    assert_eq!(next(&mut link), Some(Seen::Up(0)));
    assert_eq!(next(&mut link), closed(CloseReason::PeerSilent, 50, 1));
    // One to wait, one to look before the verdict, a few for coarse timers.
    let reads = reads.load(Ordering::Relaxed);
    assert!(reads <= 10, "{reads} reads in a second of silence");
    drop(server.join());
}

#[test]
fn a_handle_shuts_down_a_link_that_is_up_and_the_rest_is_still_sent() {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        stream.write_all(b"farewell").unwrap();
        text
    });
    let mut link = link(address, config().with_silence_timeout(millis(5000)));
    assert_eq!(next(&mut link), Some(Seen::Up(0)));
    let handle = link.handle();
    let other = thread::spawn(move || {
        // A handle's turn comes after the owner's.
        while handle.send(b"last words").is_err() {
            thread::sleep(millis(1));
        }
        handle.shutdown();
    });
    assert_eq!(next(&mut link), Some(Seen::Data(b"farewell".to_vec())));
    let why = EndReason::Closed(CloseReason::Shutdown);
    assert!(matches!(next(&mut link), Some(Seen::Down(w, _, None, _)) if w == why));
    assert_eq!(next(&mut link), None);
    assert!(server.join().unwrap().ends_with("last words"));
    other.join().unwrap();
}

#[test]
fn a_peer_that_does_not_close_in_turn_is_dropped_after_the_grace() {
    let (listener, address) = listener();
    let server = thread::spawn(move || listener.accept());
    let mut link = link(address, config().with_close_grace(millis(200)));
    assert_eq!(next(&mut link), Some(Seen::Up(0)));
    link.shutdown();
    let start = Instant::now();
    assert!(matches!(next(&mut link), Some(Seen::Down(.., None, _))));
    assert_eq!(next(&mut link), None);
    assert!(start.elapsed() >= millis(190), "{:?}", start.elapsed());
    assert!(start.elapsed() < millis(2000), "{:?}", start.elapsed());
    drop(server.join());
}

#[test]
fn a_handle_reaches_a_link_that_waits() {
    let (listener, address) = listener();
    drop(listener);
    let slow = Backoff::new()
        .with_initial(millis(60_000))
        .with_jitter(Jitter::None);
    let mut link = link(
        address,
        config().with_backoff(slow.with_max(millis(60_000))),
    );
    assert!(matches!(next(&mut link), Some(Seen::Down(..))));
    let handle = link.handle();
    let start = Instant::now();
    let other = thread::spawn(move || {
        thread::sleep(millis(100));
        assert_eq!(handle.status().phase, Phase::Waiting);
        handle.shutdown();
    });
    assert_eq!(next(&mut link), None);
    assert!(start.elapsed() < millis(5000), "{:?}", start.elapsed());
    other.join().unwrap();
}

fn moves_the_dial(hurry: impl FnOnce(&mut Link<TcpStream>)) {
    let (listener, address) = listener();
    drop(listener);
    let growing = config().build().unwrap().backoff().unwrap();
    let mut link = link(
        address,
        config().with_backoff(growing.with_multiplier(nabiz::Ratio::percent(100_000))),
    );
    assert!(matches!(next(&mut link), Some(Seen::Down(.., 1))));
    let Some(Seen::Down(.., Some(after), 2)) = next(&mut link) else {
        panic!("no second failure");
    };
    assert_eq!(after, millis(2000));
    hurry(&mut link);
    assert_eq!(next(&mut link), Some(Seen::Retry(millis(50), 2)));
    assert!(matches!(next(&mut link), Some(Seen::Down(.., 3))));
}

#[test]
fn reconnect_now_moves_the_dial() {
    moves_the_dial(Link::reconnect_now);
    moves_the_dial(|link| link.handle().reconnect_now());
}

#[test]
fn a_handle_is_heard_though_the_peer_says_nothing() {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let mute = config().without_interval().without_silence_timeout();
    let mut link = link(address, mute);
    assert_eq!(next(&mut link), Some(Seen::Up(0)));
    let handle = link.handle();
    let other = thread::spawn(move || {
        thread::sleep(millis(300));
        handle.shutdown();
    });
    let start = Instant::now();
    while next(&mut link).is_some() {}
    assert!(start.elapsed() < millis(5000), "{:?}", start.elapsed());
    other.join().unwrap();
    server.join().unwrap();
}

/// The time on a processor of this thread so far, in ticks of a hundredth.
#[cfg(target_os = "linux")]
fn ticks_worked() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // The second field is the thread's name, in parentheses.
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap()..].split(' ').collect();
    fields[12].parse::<u64>().unwrap() + fields[13].parse::<u64>().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_link_that_waits_sleeps() {
    let (listener, address) = listener();
    drop(listener);
    let slow = Backoff::new()
        .with_initial(millis(1000))
        .with_jitter(Jitter::None);
    let mut link = link(address, config().with_backoff(slow));
    assert!(matches!(next(&mut link), Some(Seen::Down(.., 1))));
    let before = ticks_worked();
    assert!(matches!(next(&mut link), Some(Seen::Down(.., 2))));
    let worked = ticks_worked() - before;
    assert!(worked < 20, "{worked} hundredths of a second");
}

#[cfg(target_os = "linux")]
#[test]
fn a_driver_of_who_needs_nothing_sleeps() {
    let config = Config::server().build().unwrap();
    let (registry, driver) = nabiz::blocking::Registry::new(config).unwrap();
    let driving = thread::spawn(move || {
        let before = ticks_worked();
        driver.run();
        ticks_worked() - before
    });
    let lease = registry.register();
    thread::sleep(millis(1000));
    drop((lease, registry));
    let worked = driving.join().unwrap();
    assert!(worked < 20, "{worked} hundredths of a second");
}

#[test]
fn more_may_wait_to_be_written_if_it_is_said() {
    const MANY: usize = 16 << 20;
    let (listener, address) = listener();
    let mut link = link(address, config());
    link.set_send_limit(2 * MANY);
    assert_eq!(next(&mut link), Some(Seen::Up(0)));
    let _peer = listener.accept().unwrap();
    // No socket takes as much from who reads nothing.
    link.send(&vec![0; MANY]).unwrap();
    link.send(b"one more").unwrap();
    link.set_send_limit(1);
    assert_eq!(link.send(b"and one more"), Err(SendError::Full));
}

#[test]
fn limits_are_refused_as_of_a_session() {
    let (_listener, address) = listener();
    let mut link = link(address, config());
    let mut limits = config().build().unwrap().limits();
    limits.silence_timeout = Some(Duration::ZERO);
    let refused = link.set_limits(limits).unwrap_err();
    assert_eq!(refused.field(), "silence_timeout");
}

#[test]
fn what_is_there_can_be_shown() {
    let (_listener, address) = listener();
    let link = link(address, config());
    assert!(format!("{link:?}").starts_with("Link { engine: Engine { session: "));
    assert_eq!(format!("{:?}", link.handle()), "LinkHandle { .. }");
    assert_eq!(SendError::NotConnected.to_string(), "the link is not up");
    let full = SendError::Full.to_string();
    assert!(full.starts_with("too much waits"), "{full}");
}

#[test]
fn seeds_and_clocks_are_what_they_are_called() {
    assert_ne!(random_seed(), random_seed());
    // Counted from now on, not from when the machine was started.
    let clock = Clock::monotonic();
    assert!(clock.now().since_epoch() < millis(30_000));
}

#[cfg(unix)]
#[test]
fn unix_sockets_will_do() {
    use std::os::unix::net::{UnixListener, UnixStream};
    let path = std::env::temp_dir().join(format!("nabiz-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"hello").unwrap();
        stream
    });
    let there = path.clone();
    let mut link: Link<UnixStream> = Link::new(config().build().unwrap(), ping, move |_| {
        UnixStream::connect(&there)
    })
    .unwrap();
    assert_eq!(next(&mut link), Some(Seen::Up(0)));
    assert_eq!(next(&mut link), Some(Seen::Data(b"hello".to_vec())));
    drop(server.join());
    std::fs::remove_file(path).unwrap();
}

#[test]
fn the_same_seed_waits_as_long() {
    let delays = |seed| {
        let policy = Backoff::new()
            .with_initial(millis(5))
            .with_max(millis(20))
            .with_jitter(Jitter::Full);
        let config = config().with_backoff(policy).build().unwrap();
        let refuse = |_| -> io::Result<TcpStream> { Err(ErrorKind::ConnectionRefused.into()) };
        let mut link = Link::with(config, seed, Clock::default(), ping, refuse).unwrap();
        let mut delay = || match next(&mut link) {
            Some(Seen::Down(_, _, retry_in, _)) => retry_in,
            other => panic!("{other:?}"),
        };
        [delay(), delay(), delay()]
    };
    assert_eq!(delays(7), delays(7));
    assert_ne!(delays(7), delays(8));
}

#[test]
fn only_what_the_user_knows_can_be_reported() {
    let (listener, address) = listener();
    let server = thread::spawn(move || listener.accept());
    let mut link = link(address, config());
    assert_eq!(next(&mut link), Some(Seen::Up(0)));
    link.report(Event::ConnectFailed);
    assert_eq!(link.status().phase, Phase::Open);
    link.report(Event::Rejected);
    let why = EndReason::Closed(CloseReason::Rejected);
    assert!(matches!(next(&mut link), Some(Seen::Down(w, _, None, _)) if w == why));
    assert_eq!(next(&mut link), Some(Seen::GaveUp(GiveUpReason::Rejected)));
    assert_eq!(next(&mut link), None);
    drop(server.join());
}

/// As where what came makes no sense.
#[test]
fn a_link_of_no_use_is_dropped_and_dialled_again() {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (mut first, _) = listener.accept().unwrap();
        let ended = first.read(&mut [0; 64]);
        (ended, listener.accept())
    });
    let mut link = link(address, config());
    // Of no link yet it says nothing.
    link.report(Event::Disconnected);
    assert_eq!(next(&mut link), Some(Seen::Up(0)));
    link.report(Event::Disconnected);
    assert_eq!(link.send(b"late"), Err(SendError::NotConnected));
    assert!(matches!(
        next(&mut link),
        Some(Seen::Down(EndReason::Disconnected, _, Some(_), 1))
    ));
    assert_eq!(next(&mut link), Some(Seen::Up(1)));
    // Nothing is dropped twice.
    link.report(Event::Disconnected);
    link.report(Event::Disconnected);
    assert!(matches!(next(&mut link), Some(Seen::Down(..))));
    let (ended, again) = server.join().unwrap();
    assert!(matches!(ended, Ok(0)), "{ended:?}");
    drop(again);
}

#[test]
fn a_pulse_beats_and_closes_at_its_limit() {
    let config = Config::server()
        .with_interval(millis(100))
        .with_silence_timeout(millis(500))
        .with_stall_tolerance(millis(5000));
    let mut pulse = Pulse::new(config.build().unwrap());
    let start = Instant::now();
    let mut beats = 0;
    let reason = loop {
        match pulse.poll() {
            Some(Action::SendHeartbeat { .. }) => {
                beats += 1;
                pulse.handle(Event::HeartbeatSent);
            }
            Some(Action::Close(reason)) => break reason,
            None => thread::sleep(pulse.timeout().unwrap()),
            other => panic!("{other:?}"),
        }
    };
    let took = start.elapsed();
    assert_eq!(reason, CloseReason::PeerSilent);
    assert!(took >= millis(500) && took < millis(5000), "{took:?}");
    assert!(beats >= 3, "{beats}");
    let mut limits = pulse.session().config().limits();
    limits.interval = Some(Duration::ZERO);
    assert!(pulse.set_limits(limits).is_err());
    pulse.handle(Event::Disconnected);
    assert_eq!(pulse.poll(), None);
}

#[test]
fn a_pulse_never_times_out_in_no_time() {
    let config = Config::server().with_silence_timeout(millis(1));
    let mut pulse = Pulse::new(config.build().unwrap());
    thread::sleep(millis(5));
    assert!(pulse.timeout().unwrap() >= millis(1));
    let forever = Config::server()
        .without_interval()
        .without_silence_timeout();
    assert_eq!(Pulse::new(forever.build().unwrap()).timeout(), None);
    pulse.handle(Event::Received);
    assert_eq!(pulse.status().phase, Phase::Open);
}

#[test]
fn the_peer_is_told_as_soon_as_the_last_byte_is_written() {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        thread::sleep(millis(300));
        let mut bytes = vec![0; 1 << 16];
        let mut last = Instant::now();
        while stream.read(&mut bytes).unwrap() > 0 {
            last = Instant::now();
        }
        last.elapsed()
    });
    let mut link = link(address, config().with_close_grace(millis(5000)));
    assert_eq!(next(&mut link), Some(Seen::Up(0)));
    link.send(&vec![7; 16 << 20]).unwrap();
    link.shutdown();
    while next(&mut link).is_some() {}
    let waited = server.join().unwrap();
    assert!(waited < millis(2000), "{waited:?} after the last byte");
}

#[test]
fn a_server_does_not_dial() {
    let server = Config::server().build().unwrap();
    let refused = Link::tcp("127.0.0.1:1", server, ping).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "role must be client: a server does not dial"
    );
}

#[test]
fn a_shutdown_during_the_dial_delivers_nothing() {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"greetings").unwrap();
        stream
    });
    let slow = move |_| {
        let stream = TcpStream::connect(&address)?;
        thread::sleep(millis(300));
        Ok(stream)
    };
    let mut link = Link::new(config().build().unwrap(), ping, slow).unwrap();
    let handle = link.handle();
    let other = thread::spawn(move || {
        thread::sleep(millis(100));
        handle.shutdown();
    });
    let why = EndReason::Closed(CloseReason::Shutdown);
    assert_eq!(next(&mut link), Some(Seen::Down(why, None, None, 0)));
    assert_eq!(next(&mut link), None);
    other.join().unwrap();
    drop(server.join());
}

#[test]
fn a_dropped_link_leaves_its_handles_nothing() {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    let mut link = link(address, config());
    assert_eq!(next(&mut link), Some(Seen::Up(0)));
    let handle = link.handle();
    drop(link);
    assert_eq!(handle.send(b"from the dead"), Err(SendError::NotConnected));
    assert_eq!(handle.status().phase, Phase::Done);
    assert_eq!(server.join().unwrap(), "");
}

#[test]
fn a_thread_that_sends_does_not_spend_the_forgiveness_of_one_that_is_late() {
    let (listener, address) = listener();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut bytes) {
            if bytes[..read].windows(4).any(|word| word == b"ping") {
                stream.write_all(b"pong\n").unwrap();
            }
        }
    });
    let asking = config()
        .with_stall_tolerance(millis(100))
        .with_answer_timeout(millis(1000))
        .with_resume_grace(millis(1000))
        .with_silence_timeout(millis(1200));
    let mut link = link(address, asking);
    assert_eq!(next(&mut link), Some(Seen::Up(0)));
    let handle = link.handle();
    let stop = Arc::new(AtomicBool::new(false));
    let sender = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            while !stop.load(Ordering::Relaxed) {
                let _ = handle.send(b"data\n");
                thread::sleep(millis(20));
            }
        }
    });
    assert!(matches!(next(&mut link), Some(Seen::Data(_))));
    thread::sleep(millis(3000)); // longer than every limit, twice
    for _ in 0..5 {
        assert!(matches!(next(&mut link), Some(Seen::Data(_))));
    }
    stop.store(true, Ordering::Relaxed);
    sender.join().unwrap();
}

/// A listener whose queue is full swallows packets, as a firewall does.
#[cfg(target_os = "linux")]
#[test]
fn an_address_that_swallows_packets_leaves_the_others_their_time() {
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let swallows = hole.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&swallows, millis(500)) {
        queue.push(stream);
    }
    let (listener, address) = listener();
    let answers: SocketAddr = address.parse().unwrap();
    let addresses: &[SocketAddr] = &[swallows, answers];
    let stream = nabiz::blocking::dial_tcp(&addresses, Some(millis(1000))).unwrap();
    assert_eq!(stream.peer_addr().unwrap(), answers);
    drop((listener, queue));
}

#[test]
fn what_is_said_first_goes_first() {
    let (listener, address) = listener();
    let mut link = link(address, config());
    let handle = link.handle();
    let other = thread::spawn(move || {
        while handle.send(b"early").is_err() {
            thread::yield_now();
        }
        handle.shutdown();
    });
    assert_eq!(next(&mut link), Some(Seen::Up(0)));
    thread::sleep(millis(50));
    link.send(b"hello").unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    while next(&mut link).is_some() {}
    other.join().unwrap();
    let text = server.join().unwrap();
    assert!(text.starts_with("hello"), "{text}");
    assert!(text.ends_with("early"), "{text}");
}

/// Reads go on, writes fail: as after the peer's `shutdown(Read)`.
#[cfg(unix)]
#[test]
fn broken_output_ends_the_link_after_what_the_peer_still_said() {
    use std::os::unix::net::UnixStream;
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"last words").unwrap();
    theirs.shutdown(Shutdown::Read).unwrap();
    let mut ours = Some(ours);
    let take = move |_| {
        ours.take()
            .ok_or_else(|| ErrorKind::ConnectionRefused.into())
    };
    let mut link = Link::new(config().build().unwrap(), ping, take).unwrap();
    assert_eq!(next(&mut link), Some(Seen::Up(0)));
    link.send(b"to nobody").unwrap();
    assert_eq!(link.send(b"again"), Err(SendError::NotConnected));
    assert_eq!(next(&mut link), Some(Seen::Data(b"last words".to_vec())));
    let broken = Some(ErrorKind::BrokenPipe);
    let retry_in = Some(millis(50));
    assert_eq!(
        next(&mut link),
        Some(Seen::Down(EndReason::Disconnected, broken, retry_in, 1))
    );
}

#[test]
fn an_empty_buffer_reads_nothing_and_loses_nothing() {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"hello").unwrap();
        stream
    });
    let mut link = link(address, config().with_silence_timeout(millis(5000)));
    assert_eq!(next(&mut link), Some(Seen::Up(0)));
    assert!(matches!(
        link.next(&mut []),
        Some(LinkEvent::HeartbeatSent { .. })
    ));
    assert_eq!(next(&mut link), Some(Seen::Data(b"hello".to_vec())));
    drop(server.join());
}

#[cfg(unix)]
#[test]
fn broken_output_ends_the_link_also_of_a_user_who_reads_nothing() {
    use std::os::unix::net::UnixStream;
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.shutdown(Shutdown::Read).unwrap();
    let mut ours = Some(ours);
    let take = move |_| {
        ours.take()
            .ok_or_else(|| ErrorKind::ConnectionRefused.into())
    };
    let mut link = Link::new(config().build().unwrap(), ping, take).unwrap();
    assert_eq!(next(&mut link), Some(Seen::Up(0)));
    link.send(b"to nobody").unwrap();
    let Some(LinkEvent::Down { why, error, .. }) = link.next(&mut []) else {
        panic!("not down");
    };
    assert_eq!(why, EndReason::Disconnected);
    assert_eq!(error.unwrap().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_link_that_was_up_tells_the_silence_whoever_closed_it() {
    let (listener, address) = listener();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        thread::sleep(millis(300));
        drop(stream);
    });
    let mut link = link(address, config().with_silence_timeout(millis(5000)));
    assert_eq!(next(&mut link), Some(Seen::Up(0)));
    thread::sleep(millis(100));
    link.shutdown();
    server.join().unwrap();
    let Some(LinkEvent::Down { silence, .. }) = link.next(&mut [0; 64]) else {
        panic!("not down");
    };
    assert!(silence.unwrap() >= millis(90), "{silence:?}");
}

#[test]
fn who_watches_a_link_sees_it_dial() {
    let (seen, is_seen) = std::sync::mpsc::channel::<()>();
    let mut dials = 0;
    let dial = move |_| -> io::Result<TcpStream> {
        dials += 1;
        if dials == 2 {
            is_seen.recv_timeout(Duration::from_secs(10)).unwrap();
        }
        Err(ErrorKind::ConnectionRefused.into())
    };
    let mut link = Link::new(config().build().unwrap(), ping, dial).unwrap();
    let mut handle = link.handle();
    let watcher = thread::spawn(move || {
        let phases = [(); 2].map(|()| handle.changed().map(|status| status.phase));
        seen.send(()).unwrap();
        phases
    });
    for _ in 0..2 {
        let down = next(&mut link);
        assert!(matches!(
            down,
            Some(Seen::Down(EndReason::ConnectFailed, ..))
        ));
    }
    let phases = [Phase::Waiting, Phase::Connecting].map(Some);
    assert_eq!(watcher.join().unwrap(), phases);
}

#[test]
fn a_dial_that_took_its_whole_budget_timed_out() {
    let config = config().with_connect_timeout(millis(100)).build().unwrap();
    let swallowed = |budget: Option<Duration>| -> io::Result<TcpStream> {
        thread::sleep(budget.unwrap() + millis(1));
        Err(ErrorKind::TimedOut.into())
    };
    let mut link = Link::new(config, ping, swallowed).unwrap();
    let why = EndReason::Closed(CloseReason::ConnectTimeout);
    assert!(matches!(next(&mut link), Some(Seen::Down(w, _, Some(_), 1)) if w == why));
}

#[test]
fn a_dial_that_takes_its_time_is_no_stall() {
    let slow = |_| -> io::Result<TcpStream> {
        thread::sleep(millis(400));
        Err(ErrorKind::TimedOut.into())
    };
    let hasty = config()
        .with_connect_timeout(millis(100))
        .with_stall_tolerance(millis(100));
    let mut link = Link::new(hasty.build().unwrap(), ping, slow).unwrap();
    for _ in 0..2 {
        let mut buffer = [0; 64];
        let event = link.next(&mut buffer);
        assert!(matches!(event, Some(LinkEvent::Down { .. })), "{event:?}");
    }
}

/// Where nobody listens, the kernel picks the dialled port for our end once in
/// a while, and connects the socket with itself.
#[cfg(target_os = "linux")]
#[test]
fn a_dial_never_reaches_itself() {
    let (listener, address) = listener();
    drop(listener);
    let mut address: SocketAddr = address.parse().unwrap();
    // Linux dials from even ports and listens on odd ones, where it may choose.
    address.set_port(address.port() & !1);
    for _ in 0..30_000 {
        if let Ok(stream) = nabiz::blocking::dial_tcp(&address, Some(millis(1000))) {
            let ours = stream.local_addr().unwrap();
            assert_ne!(ours, stream.peer_addr().unwrap());
        }
    }
}
