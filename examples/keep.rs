//! Stays connected to a TCP endpoint.

use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Parser;
use nabiz::Event;
use nabiz::blocking::{Clock, Link, LinkEvent, LinkHandle, random_seed};
use nabiz_examples::args::{ClientArgs, SessionArgs, endpoint};
use nabiz_examples::bytes::{Bytes, Scanner, unescape};
use nabiz_examples::cli;
use nabiz_examples::dial::dial;
use nabiz_examples::events::{Line, Log};

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
    let Bytes(heartbeat) = args.session.heartbeat;
    let address = args.address;
    let called_off = Arc::clone(&stopping);
    let mut link = Link::with(
        config,
        args.seed.unwrap_or_else(random_seed),
        Clock::default(),
        move |_id, out: &mut Vec<u8>| out.extend_from_slice(&heartbeat),
        move |budget| dial(&address, budget, &called_off),
    )
    .unwrap_or_else(|error| cli::refused::<Args>(error));

    stop_on_signal(link.handle(), Arc::clone(&stopping));
    let handle = link.handle();
    thread::spawn(move || send_lines(io::stdin().lock(), &handle));

    let mut answers = args.answer.map(Scanner::new);
    let mut heartbeats = args.peer_heartbeat.map(Scanner::new);
    let mut stdout = io::stdout().lock();
    let mut buffer = [0; 16 * 1024];
    while let Some(event) = link.next(&mut buffer) {
        if let Some(line) = Line::of(&event) {
            log.write(line);
        }
        match event {
            LinkEvent::Up { .. } => {
                // The last connection may have ended in half an answer.
                answers.iter_mut().for_each(Scanner::reset);
                heartbeats.iter_mut().for_each(Scanner::reset);
            }
            LinkEvent::Data(bytes) => {
                for _ in 0..count(&mut heartbeats, bytes) {
                    link.report(Event::HeartbeatReceived);
                }
                for _ in 0..count(&mut answers, bytes) {
                    log.write(answer(&mut link));
                }
                let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
                if written.is_err() && !stopping.swap(true, Ordering::Relaxed) {
                    link.shutdown(); // nobody reads any more: `keep … | head -1`
                }
            }
            _ => {}
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
fn check(args: &Args, config: nabiz::Config) -> Result<(), &'static str> {
    let beats = args.peer_heartbeat.is_some();
    if config.evidence() == nabiz::Evidence::Heartbeats && !beats && args.answer.is_none() {
        return Err("evidence of heartbeats alone needs --peer-heartbeat or --answer");
    }
    if config.flood().is_some() && !beats {
        return Err("flood needs --peer-heartbeat");
    }
    Ok(())
}

fn count(scanner: &mut Option<Scanner>, bytes: &[u8]) -> usize {
    scanner.as_mut().map_or(0, |scanner| scanner.count(bytes))
}

/// Tells the link of an answer. Not every answer gives a round-trip time: it
/// must be clear which heartbeat it answers.
fn answer(link: &mut Link<TcpStream>) -> Line {
    link.report(Event::AnswerReceived { id: None });
    let status = link.status();
    Line::new("answer").round_trip("rtt", status.rtt.filter(|_| status.rtt_is_new))
}

/// The first Ctrl-C ends politely, the second at once.
fn stop_on_signal(link: LinkHandle<TcpStream>, stopping: Arc<AtomicBool>) {
    let handler = move || {
        if stopping.swap(true, Ordering::Relaxed) {
            process::exit(130);
        }
        link.shutdown();
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        eprintln!("keep: Ctrl-C will not be polite: {error}");
    }
}

/// Sends what comes, line by line, until it ends. A line waits while there is
/// no connection, or while the peer does not read; one that was sent into a
/// connection that then broke is lost.
fn send_lines(mut input: impl BufRead, link: &LinkHandle<TcpStream>) {
    const LONGEST: u64 = 64 * 1024; // what is longer goes out in parts
    const PAUSE: Duration = Duration::from_millis(20);
    let mut line = Vec::new();
    while let Ok(1..) = input.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
        while link.send(&line).is_err() {
            thread::sleep(PAUSE);
        }
        line.clear();
    }
}
