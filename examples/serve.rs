//! A line server that notices dead clients.
//!
//! `server` is the event loop: sockets, and a roster that says what to do with
//! them. `connection` is one client, `leaving` one that is no longer in the
//! roster but not yet gone, `output` what waits to be written.

#[path = "serve/connection.rs"]
mod connection;
#[path = "serve/leaving.rs"]
mod leaving;
#[path = "serve/output.rs"]
mod output;
#[path = "serve/server.rs"]
mod server;

use std::convert::Infallible;
use std::fmt::Display;
use std::io::{self, Write};
use std::net::TcpListener;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use nabiz::blocking::{Clock, random_seed};
use nabiz::{ConfigError, Reaper};
use nabiz_examples::args::{SessionArgs, endpoint, time};
use nabiz_examples::bytes::Bytes;
use nabiz_examples::cli;
use nabiz_examples::events::{Line, Log};

use connection::Connection;
use server::Server;

/// A line server that notices dead clients: it echoes lines, and keeps or
/// closes each connection by its heartbeats.
///
/// One thread serves all of them, and one roster judges them. A line `ping` is
/// a client's heartbeat and gets `pong`; every other line comes back. The first
/// line on stdout tells the address: `listening 127.0.0.1:4000`. Ctrl-C closes
/// all connections politely, a second one exits at once.
#[derive(Parser)]
#[command(name = "serve", version, after_long_help = EVENTS)]
struct Args {
    /// Where to listen; port 0: any that is free
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0", value_parser = endpoint)]
    listen: String,

    #[command(flatten)]
    session: SessionArgs,

    /// How much later than its limit a connection may be closed; coarser is
    /// less work
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = time)]
    #[arg(help_heading = "Verdicts")]
    resolution: Duration,

    #[arg(long = "answer-timeout", hide = true, value_parser = not_in_a_roster)]
    _answer_timeout: Option<Infallible>,

    #[arg(long = "max-unanswered", hide = true, value_parser = not_in_a_roster)]
    _max_unanswered: Option<Infallible>,

    /// Draw all jitter from this number: the same again with the same number
    /// [default: random]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// Events as JSON lines
    #[arg(long)]
    json: bool,
}

const EVENTS: &str = r#"Events, one line each on stderr, seconds since the start first:
  1.204 open conn=1 peer=127.0.0.1:50122
  2.346 beat conn=1 id=1           a heartbeat of ours was written
  9.101 stall                      we stalled or slept: no client is blamed for it
  12.348 closed conn=1 reason=PeerSilent silent=3.001
  13.102 closed conn=2 reason=Disconnected silent=0.512 error="Connection reset by peer (os error 104)"
  14.003 accept_failed error="…"
  20.000 bye                       always the last

With --json the same as objects with "t" and "event"; every time is in seconds.

Times are written as 500ms, 5s, 1m 30s, 2h. Exit code: 0 after Ctrl-C, 1 when the address
cannot be listened on, 2 for a usage error, 130 after a second Ctrl-C.

Example: serve --listen 127.0.0.1:4000 --silence-timeout 3s --interval 2s"#;

fn not_in_a_roster(_: &str) -> Result<Infallible, String> {
    Err("serve judges all clients by one roster, which does not know their answers".into())
}

fn main() -> ExitCode {
    let args: Args = cli::parse();
    let roster = roster(&args).unwrap_or_else(|error| cli::refused::<Args>(error));
    let stopping = Arc::new(AtomicBool::new(false));
    let handler = {
        let stopping = Arc::clone(&stopping);
        move || {
            if stopping.swap(true, Ordering::Relaxed) {
                process::exit(130);
            }
        }
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        return failed("cannot catch Ctrl-C", error);
    }
    let listener = match TcpListener::bind(&args.listen) {
        Ok(listener) => listener,
        Err(error) => return failed(&format!("cannot listen on {}", args.listen), error),
    };
    match listener.local_addr() {
        Ok(address) => {
            let mut stdout = io::stdout();
            // Serving does not depend on who reads this.
            let _ = writeln!(stdout, "listening {address}").and_then(|()| stdout.flush());
        }
        Err(error) => return failed("cannot tell the address", error),
    }

    let log = Log::new(args.json);
    let Bytes(heartbeat) = args.session.heartbeat;
    let served =
        Server::new(listener, roster, heartbeat, log).and_then(|mut server| server.run(&stopping));
    if let Err(error) = served {
        return failed("cannot wait for events", error);
    }
    log.write(Line::new("bye"));
    ExitCode::SUCCESS
}

fn roster(args: &Args) -> Result<Reaper<Connection>, ConfigError> {
    let seed = args.seed.unwrap_or_else(random_seed);
    let roster = Reaper::new(args.session.server()?, seed, Clock::default().now())?;
    roster.with_resolution(args.resolution)
}

fn failed(what: &str, error: impl Display) -> ExitCode {
    eprintln!("serve: {what}: {error}");
    ExitCode::FAILURE
}
