//! A line server that notices dead clients.
//!
//! `server` is what it has in common on all runtimes, `client` one client
//! without the waiting, `output` what waits to be written. `blocking`, `tokio`
//! and `smol` accept, and wait.

#[path = "serve/blocking.rs"]
mod blocking;
#[path = "serve/client.rs"]
mod client;
#[path = "serve/output.rs"]
mod output;
#[path = "serve/server.rs"]
mod server;
#[path = "serve/smol.rs"]
mod smol;
#[path = "serve/tokio.rs"]
mod tokio;

use std::convert::Infallible;
use std::fmt::Display;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use nabiz::ConfigError;
use nabiz::blocking::random_seed;
use nabiz_examples::args::{Runtime, SessionArgs, endpoint, time};
use nabiz_examples::bytes::Bytes;
use nabiz_examples::events::{Line, Log};
use nabiz_examples::{cli, files};

use server::{Plan, Signals};

/// A line server that notices dead clients: it echoes lines, and keeps or
/// closes each connection by its heartbeats.
///
/// Each has a task or a thread, and one roster judges them all. A line `ping` is
/// a client's heartbeat and gets `pong`; every other line comes back. The first
/// line on stdout tells the address: `listening 127.0.0.1:4000`. Ctrl-C closes
/// all connections politely, a second one exits at once.
#[derive(Parser)]
#[command(name = "serve", version, after_long_help = EVENTS)]
struct Args {
    /// Where to listen; port 0: any that is free
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0", value_parser = endpoint)]
    listen: String,

    /// What the connections run on; the lines are the same
    #[arg(long, value_enum, default_value = "blocking")]
    runtime: Runtime,

    /// Spread the goodbyes over so long when a termination signal comes
    /// (SIGTERM, not Ctrl-C) [default: all at once]
    #[arg(long, value_name = "TIME", value_parser = time)]
    drain_on_term: Option<Duration>,

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

    /// Only events that concern all connections
    #[arg(long)]
    quiet: bool,
}

const EVENTS: &str = r#"Events, one line each on stderr, seconds since the start first:
  1.204 open conn=1 peer=127.0.0.1:50122
  2.346 beat conn=1 id=1           a heartbeat of ours was written
  9.101 stall                      we stalled or slept: no client is blamed for it
  12.348 closed conn=1 reason=PeerSilent silent=3.001
  13.102 closed conn=2 reason=Disconnected silent=0.512 error="Connection reset by peer (os error 104)"
  14.003 accept_failed error="…"   with files=… where it takes a higher limit of them
  15.000 drain within=5.000 open=2 SIGTERM came, with --drain-on-term
  20.000 bye                       always the last

With --json the same as objects with "t" and "event"; every time is in seconds.

Times are written as 500ms, 5s, 1m 30s, 2h. Exit code: 0 after Ctrl-C or SIGTERM, 1 when the
address cannot be listened on, 2 for a usage error, 130 after a second signal.

Example: serve --listen 127.0.0.1:4000 --silence-timeout 3s --interval 2s"#;

fn main() -> ExitCode {
    let args: Args = cli::parse();
    let config = args.session.server();
    let config = config.unwrap_or_else(|error| cli::refused::<Args>(error));
    let signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => return failed("cannot catch signals", error),
    };
    let files = files::raise_limit();
    let listener = match server::listen(&args.listen) {
        Ok(listener) => listener,
        Err(error) => return failed(&format!("cannot listen on {}", args.listen), error),
    };
    let address = match listener.local_addr() {
        Ok(address) => address,
        Err(error) => return failed("cannot tell the address", error),
    };

    let log = Log::new(args.json);
    let Bytes(heartbeat) = args.session.heartbeat;
    let plan = Plan {
        address,
        config,
        seed: args.seed.unwrap_or_else(random_seed),
        resolution: args.resolution,
        heartbeat,
        log,
        is_quiet: args.quiet,
        files,
        signals,
        drain: args.drain_on_term.unwrap_or_default(),
    };
    let served = match args.runtime {
        Runtime::Blocking => blocking::serve(listener, plan),
        Runtime::Tokio => tokio::serve(listener, plan),
        Runtime::Smol => smol::serve(listener, plan),
    };
    match served {
        Ok(()) => {}
        Err(Failed::Config(error)) => cli::refused::<Args>(error),
        Err(Failed::Runtime(error)) => return failed("cannot serve", error),
    }
    log.write(Line::new("bye"));
    ExitCode::SUCCESS
}

/// Why nobody is served.
enum Failed {
    Config(ConfigError),
    Runtime(io::Error),
}

impl From<ConfigError> for Failed {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Runtime(error)
    }
}

fn not_in_a_roster(_: &str) -> Result<Infallible, String> {
    Err("serve judges all clients by one roster, which does not know their answers".into())
}

fn failed(what: &str, error: impl Display) -> ExitCode {
    eprintln!("serve: {what}: {error}");
    ExitCode::FAILURE
}
