//! Stays connected to a TCP endpoint.
//!
//! `view` is what the link's events come to, written once. `blocking`, `tokio`
//! and `smol` are the same program on each runtime: they make a link, and wait
//! for its events.

#[path = "keep/blocking.rs"]
mod blocking;
#[path = "keep/smol.rs"]
mod smol;
#[path = "keep/tokio.rs"]
mod tokio;
#[path = "keep/view.rs"]
mod view;

use std::io::{self, BufRead, Read};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Parser;
use nabiz::blocking::{SendError, random_seed};
use nabiz::{Config, ConfigError, Evidence, HeartbeatId};
use nabiz_examples::args::{ClientArgs, Runtime, SessionArgs, endpoint};
use nabiz_examples::bytes::{Bytes, unescape};
use nabiz_examples::cli;
use nabiz_examples::events::{Line, Log};

use view::View;

/// Stays connected to a TCP endpoint: sends heartbeats, notices when the other
/// end is dead, and comes back.
///
/// Lines from stdin go out one by one; while there is no connection they wait
/// for the next. The end of stdin ends nothing. Received bytes go to stdout,
/// all of them. Ctrl-C closes politely, a second one exits at once.
#[derive(Parser)]
#[command(name = "keep", version, after_long_help = EVENTS)]
struct Args {
    /// Where to connect
    #[arg(value_name = "HOST:PORT", value_parser = endpoint)]
    address: String,

    /// What the connection runs on; the lines are the same
    #[arg(long, value_enum, default_value = "blocking")]
    runtime: Runtime,

    /// The bytes with which the peer answers our heartbeat
    #[arg(long, value_name = "BYTES", value_parser = unescape)]
    #[arg(help_heading = "Heartbeats")]
    answer: Option<Bytes>,

    /// The bytes of the peer's own heartbeat
    #[arg(long, value_name = "BYTES", value_parser = unescape)]
    #[arg(help_heading = "Heartbeats")]
    peer_heartbeat: Option<Bytes>,

    #[command(flatten)]
    session: SessionArgs,

    #[command(flatten)]
    client: ClientArgs,

    /// Draw all delays and jitter from this number: the same again with the
    /// same number [default: random]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// Events as JSON lines
    #[arg(long)]
    json: bool,
}

const EVENTS: &str = r#"Events, one line each on stderr, seconds since the start first:
  0.004 up attempt=0               connected; attempts count from the last stable connection
  3.346 beat id=1                  a heartbeat of ours was written
  3.347 answer rtt=0.8ms           it was answered (with --answer; rtt where it is certain)
  9.101 stall                      we stalled or slept: the peer is not blamed for it
  12.348 down reason=PeerSilent silent=5.001 retry_in=1.213 attempt=1
  13.561 down reason=ConnectFailed error="Connection refused (os error 111)" retry_in=…
  14.000 retry retry_in=… attempt=…  the next attempt was moved
  15.000 gave_up reason=AttemptsExhausted
  20.000 bye                       always the last

With --json the same as objects with "t" and "event"; every time is in seconds.

Times are written as 500ms, 5s, 1m 30s, 2h. Exit code: 0 after Ctrl-C, 1 when the
connection ended and none will follow, 2 for a usage error, 130 after a second Ctrl-C.

Example: keep example.org:4000 --heartbeat 'ping\n' --answer 'pong\n' \
    --interval 20s --answer-timeout 10s"#;

fn main() -> ExitCode {
    let args: Args = cli::parse();
    let config = args
        .client
        .client(&args.session)
        .unwrap_or_else(|error| cli::refused::<Args>(error));
    if let Err(error) = check(&args, config) {
        cli::usage_error::<Args>(error);
    }

    let log = Log::new(args.json);
    let stopping = Arc::new(AtomicBool::new(false));
    let view = View::new(log, args.answer, args.peer_heartbeat, Arc::clone(&stopping));
    let job = Job {
        address: args.address,
        config,
        seed: args.seed.unwrap_or_else(random_seed),
        heartbeat: args.session.heartbeat,
        stopping: Arc::clone(&stopping),
    };
    let kept = match args.runtime {
        Runtime::Blocking => blocking::keep(job, view),
        Runtime::Tokio => tokio::keep(job, view),
        Runtime::Smol => smol::keep(job, view),
    };
    match kept {
        Ok(()) => {}
        Err(Refused::Config(error)) => cli::refused::<Args>(error),
        Err(Refused::Runtime(error)) => {
            eprintln!("keep: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    }
    log.write(Line::new("bye"));
    if stopping.load(Ordering::Relaxed) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What would make a configuration that can only fail.
fn check(args: &Args, config: Config) -> Result<(), &'static str> {
    let beats = args.peer_heartbeat.is_some();
    if config.evidence() == Evidence::Heartbeats && !beats && args.answer.is_none() {
        return Err("evidence of heartbeats alone needs --peer-heartbeat or --answer");
    }
    if config.flood().is_some() && !beats {
        return Err("flood needs --peer-heartbeat");
    }
    Ok(())
}

/// What a link is made of, and what goes on beside it, on any runtime.
struct Job {
    address: String,
    config: Config,
    seed: u64,
    heartbeat: Bytes,
    stopping: Arc<AtomicBool>,
}

/// Why there is no link.
enum Refused {
    Config(ConfigError),
    Runtime(io::Error),
}

impl From<ConfigError> for Refused {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Runtime(error)
    }
}

impl Job {
    fn heartbeat(&self) -> impl FnMut(HeartbeatId, &mut Vec<u8>) + Send + 'static {
        let Bytes(heartbeat) = self.heartbeat.clone();
        move |_id, out| out.extend_from_slice(&heartbeat)
    }

    /// The first Ctrl-C ends politely, by `shutdown`, the second at once.
    fn stop_on_signal(&self, shutdown: impl Fn() + Send + 'static) {
        let stopping = Arc::clone(&self.stopping);
        let handler = move || {
            if stopping.swap(true, Ordering::Relaxed) {
                process::exit(130);
            }
            shutdown();
        };
        if let Err(error) = ctrlc::set_handler(handler) {
            eprintln!("keep: Ctrl-C will not be polite: {error}");
        }
    }

    /// Sends what comes on stdin, in a thread of its own, because a read of it
    /// cannot be called off.
    fn send_lines(&self, send: impl Fn(&[u8]) -> Result<(), SendError> + Send + 'static) {
        thread::spawn(move || send_lines(io::stdin().lock(), send));
    }
}

/// Sends what comes, line by line, until it ends. A line waits while there is
/// no connection, or while the peer does not read; one that was sent into a
/// connection that then broke is lost.
fn send_lines(mut input: impl BufRead, send: impl Fn(&[u8]) -> Result<(), SendError>) {
    const LONGEST: u64 = 64 * 1024; // what is longer goes out in parts
    const PAUSE: Duration = Duration::from_millis(20);
    let mut line = Vec::new();
    while let Ok(1..) = input.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
        while send(&line).is_err() {
            thread::sleep(PAUSE);
        }
        line.clear();
    }
}
