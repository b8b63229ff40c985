//! A crowd of clients on real sockets, and what they cost a server.
//!
//! `client` is one of them, `tally` what they have seen together, `server` the
//! process at their other end, `summary` how it went.

#[path = "crowd/client.rs"]
mod client;
#[path = "crowd/server.rs"]
mod server;
#[path = "crowd/summary.rs"]
mod summary;
#[path = "crowd/tally.rs"]
mod tally;

use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use indicatif::HumanCount;
use nabiz::{Config, ConfigError};
use nabiz_examples::args::{Runtime, endpoint, time};
use nabiz_examples::{cli, files};
use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use server::Server;
use summary::Summary;
use tally::Tally;

/// Holds many connections to `serve`, all of them beating, and says what that
/// costs it.
///
/// Each client beats once an interval, and expects a beat of the server's within
/// one. Without an address it starts a server of its own; one that is given is to
/// run with --only-when-idle false and the same --interval. A single process
/// holds as many connections as files may be open (`ulimit -Hn`), and so does
/// the server.
#[derive(Parser)]
#[command(name = "crowd", version, after_help = EXAMPLE, max_term_width = 100)]
struct Args {
    /// Where `serve` listens [default: a server of our own]
    #[arg(value_name = "HOST:PORT", value_parser = endpoint)]
    address: Option<String>,

    /// The process that serves there, to be measured
    #[arg(long, value_name = "PID", requires = "address")]
    pid: Option<u32>,

    /// What the server of our own runs on
    #[arg(long, value_enum, default_value = "tokio", conflicts_with = "address")]
    runtime: Runtime,

    /// How many connect
    #[arg(long, value_name = "COUNT", default_value = "1000")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections: u32,

    /// How often both ends beat
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    interval: Duration,

    /// Spread the dials over this long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    ramp: Duration,

    /// Measure for this long, an interval after the last has connected
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    duration: Duration,

    /// A beat that comes so much later than it should is late
    #[arg(long, value_name = "TIME", default_value = "250ms", value_parser = time)]
    tolerance: Duration,

    /// The summary as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
How it goes on stderr; the summary on stdout. What is said of the server's memory and processor time
is what Linux says of its process; what the kernel keeps for its sockets is not among it.

Example: cargo build --release --examples && \\
    cargo run --release --example crowd -- --connections 20000

Exit status: 0 if all connected, none was closed and no beat was late; 1 if not; 2 for bad usage.";

fn main() -> ExitCode {
    let args: Args = cli::parse();
    let config = config(&args).unwrap_or_else(|error| cli::refused::<Args>(error));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let summary = match runtime {
        Ok(runtime) => runtime.block_on(run(&args, config)),
        Err(error) => Err(format!("cannot start: {error}")),
    };
    let summary = match summary {
        Ok(summary) => summary,
        Err(error) => {
            eprintln!("crowd: {error}");
            return ExitCode::FAILURE;
        }
    };
    let shown = if args.json {
        summary.json().to_string()
    } else {
        summary.table()
    };
    // Who closed stdout does not want to know.
    let _ = writeln!(io::stdout(), "{shown}");
    ExitCode::from(u8::from(!summary.is_well()))
}

/// What a client lives by: it connects once.
fn config(args: &Args) -> Result<Config, ConfigError> {
    Config::client()
        .with_interval(args.interval)
        .with_silence_timeout(args.interval.saturating_mul(3))
        .without_backoff()
        .build()
}

/// An error is worth one line.
async fn run(args: &Args, config: Config) -> Result<Summary, String> {
    enough_files(args.connections)?;
    let server = match &args.address {
        Some(address) => Server::given(address, args.pid),
        None => Server::start(args.runtime, args.interval)?,
    };
    let address = resolve(server.address()).await?;
    let empty = server.usage();

    let tally = Arc::new(Tally::new(args.interval, args.tolerance));
    let mut crowd = JoinSet::new();
    let start = Instant::now();
    for number in 0..args.connections {
        sleep_until(
            start
                + args
                    .ramp
                    .mul_f64(f64::from(number) / f64::from(args.connections)),
        )
        .await;
        crowd.spawn(client::live(number, address, config, Arc::clone(&tally)));
    }
    while tally.dialled() < args.connections.into() {
        sleep(GLANCE).await;
    }
    let counts = tally.counts();
    if counts.up == 0 {
        return Err(counts.error.unwrap_or_default());
    }
    eprintln!(
        "{} connected after {:.1?}",
        HumanCount(counts.up),
        start.elapsed()
    );

    sleep(args.interval).await; // within which each has its first beat
    let (settled, beats, since) = (server.usage(), tally.counts().beats, Instant::now());
    eprintln!("measuring for {:?}", args.duration);
    sleep(args.duration).await;
    let (full, window) = (server.usage(), since.elapsed());
    let beats = tally.counts().beats - beats;
    crowd.shutdown().await;
    Ok(Summary {
        connections: args.connections,
        counts: tally.counts(),
        window,
        beats,
        empty,
        settled,
        full,
    })
}

/// How often it is looked whether all have dialled.
const GLANCE: Duration = Duration::from_millis(20);
/// Files that are no connections.
const OTHER_FILES: u64 = 32;

fn enough_files(connections: u32) -> Result<(), String> {
    let needed = u64::from(connections) + OTHER_FILES;
    match files::raise_limit() {
        Some(limit) if limit < needed => Err(format!(
            "{} connections take {} open files, and the limit is {}: see `ulimit -Hn`",
            HumanCount(connections.into()),
            HumanCount(needed),
            HumanCount(limit),
        )),
        _ => Ok(()),
    }
}

async fn resolve(address: &str) -> Result<SocketAddr, String> {
    let failed = |error: &dyn Display| format!("{address}: {error}");
    let mut addresses = lookup_host(address).await.map_err(|error| failed(&error))?;
    addresses
        .next()
        .ok_or_else(|| failed(&"the name has no address"))
}
