//! How `serve` ends.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::support::{Program, on_each_runtime, serve};
use super::{connect, sleep};

const CROWD: usize = 40;

fn crowded(runtime: &str, flags: &str) -> (Program, String, Vec<TcpStream>) {
    let (mut server, address) = serve(runtime, flags);
    let crowd = (0..CROWD).map(|_| connect(&address)).collect();
    for _ in 0..CROWD {
        server.events.expect("open conn=");
    }
    (server, address, crowd)
}

/// When each was told to leave.
fn goodbyes(server: &Program) -> Vec<f64> {
    let closed = server.events.all().into_iter();
    let closed = closed.filter(|line| line.contains(" closed "));
    let when = closed.map(|line| {
        assert!(line.contains("reason=Draining"), "{line}");
        line.split(' ').next().unwrap().parse().unwrap()
    });
    when.collect()
}

#[test]
fn sigterm_drains_over_a_while() {
    on_each_runtime(|runtime| {
        let (mut server, address, crowd) = crowded(runtime, "--drain-on-term 2s");
        server.signal(Signal::TERM);
        server.events.expect("drain within=2.000 open=40");
        let refused = TcpStream::connect(&address);
        assert!(refused.is_err(), "nobody comes in any more");
        // Each has its goodbye answered as soon as it comes.
        for stream in crowd {
            std::thread::spawn(move || { &stream }.read(&mut [0; 8]));
        }
        assert_eq!(server.wait().code(), Some(0));
        server.events.expect("bye");
        let when = goodbyes(&server);
        assert_eq!(when.len(), CROWD);
        let (first, last) = (when[0], when[CROWD - 1]);
        assert!((1.5..2.5).contains(&(last - first)), "{when:?}");
        let gaps = when.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.fold(0.0, f64::max) < 0.5, "{when:?}");
    });
}

#[test]
fn without_a_while_they_leave_at_once() {
    on_each_runtime(|runtime| {
        for (flags, signal) in [("", Signal::TERM), ("--drain-on-term 60s", Signal::INT)] {
            let (mut server, _, crowd) = crowded(runtime, flags);
            server.signal(signal);
            for stream in crowd {
                std::thread::spawn(move || { &stream }.read(&mut [0; 8]));
            }
            assert_eq!(server.wait().code(), Some(0));
            server.events.expect("bye");
            server.events.assert_none("drain");
            let when = goodbyes(&server);
            assert_eq!(when.len(), CROWD);
            assert!(when[CROWD - 1] - when[0] < 0.5, "{when:?}");
        }
    });
}

#[test]
fn a_second_signal_ends_it_at_once() {
    on_each_runtime(|runtime| {
        let (mut server, _, _crowd) = crowded(runtime, "--drain-on-term 60s");
        server.signal(Signal::TERM);
        server.events.expect("drain");
        sleep(0.2);
        let start = Instant::now();
        server.signal(Signal::TERM);
        assert_eq!(server.wait().code(), Some(130));
        assert!(start.elapsed() < Duration::from_secs(1));
        server.events.assert_none("bye");
    });
}
