//! Whoever is frozen, a relay or we ourselves: what bursts in after the thaw is
//! read before anybody is judged.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use nabiz::{CloseReason, Config};
use nabiz_interop::{clients, peers, watch::Watch};
use rustix::process::{Pid, Signal, kill_process};

use crate::Case;
use crate::config::{secs, with_beats};

const LONG: &str = "a relay frozen beyond the limit of 2 s";
const SHORT: &str = "a relay frozen for 3 s, limit 6 s";
const WE: &str = "we ourselves frozen for 5 s, limit 2 s";

pub const CASES: &[Case] = &[
    (LONG, "Redis, blocking", || {
        let server = peers::redis(0);
        long(server.address(), clients::redis)
    }),
    (LONG, "NATS, tokio", || {
        let server = peers::nats("60s", 2);
        long(server.address(), clients::nats)
    }),
    (LONG, "MQTT, smol", || {
        let server = peers::aedes();
        long(server.address(), mqtt)
    }),
    (SHORT, "Redis, blocking", || {
        let server = peers::redis(0);
        short(server.address(), clients::redis)
    }),
    (SHORT, "NATS, tokio", || {
        let server = peers::nats("1s", 20);
        short(server.address(), clients::nats)
    }),
    (SHORT, "MQTT, smol", || {
        let server = peers::aedes();
        short(server.address(), mqtt)
    }),
    (WE, "Redis, blocking", || {
        let server = peers::redis(0);
        ourselves("redis", server.address())
    }),
    (WE, "NATS, tokio", || {
        let server = peers::nats("1s", 20); // its pings pile up
        ourselves("nats", server.address())
    }),
    (WE, "MQTT, smol", || {
        let server = peers::aedes();
        ourselves("mqtt", server.address())
    }),
];

fn mqtt(address: SocketAddr, config: Config) -> Watch {
    clients::mqtt(address, 60, config)
}

fn long(server: SocketAddr, client: fn(SocketAddr, Config) -> Watch) -> String {
    let relay = peers::socat(server);
    let mut watch = client(relay.address(), with_beats(secs(1)));
    watch.stays_up(secs(2));
    relay.freeze();
    let frozen = Instant::now();
    let ended = watch.ends();
    ended.by_us(&[CloseReason::NoAnswer, CloseReason::PeerSilent]);
    let noticed = ended.at - frozen;
    assert!(secs(1) < noticed && noticed < secs(8), "{noticed:?}");
    relay.thaw();
    let thawed = Instant::now();
    watch.comes_up();
    let back_in = thawed.elapsed();
    watch.stays_up(secs(3));
    format!("noticed in {noticed:.3?}, back in {back_in:.3?}")
}

fn short(server: SocketAddr, client: fn(SocketAddr, Config) -> Watch) -> String {
    let relay = peers::socat(server);
    let mut watch = client(relay.address(), with_beats(secs(3)));
    watch.stays_up(secs(1));
    relay.freeze();
    watch.stays_up(secs(3));
    relay.thaw();
    watch.stays_up(secs(4));
    "stayed up".into()
}

fn ourselves(which: &str, server: SocketAddr) -> String {
    let mut client = Process::start(which, server);
    client.says("up");
    thread::sleep(secs(2));
    client.signal(Signal::STOP);
    thread::sleep(secs(5));
    client.signal(Signal::CONT);
    client.says("stalls 1");
    thread::sleep(secs(4));
    assert!(client.is_running(), "its link went down");
    "stayed up, 1 stall forgiven".into()
}

/// A client in a process of its own.
struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    fn start(which: &str, server: SocketAddr) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_client"))
            .args([which, &server.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it was built");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    fn says(&self, expected: &str) {
        let line = self.lines.recv_timeout(secs(20));
        assert_eq!(line.as_deref(), Ok(expected));
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is ours");
    }

    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
