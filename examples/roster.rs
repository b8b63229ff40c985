//! An hour in the life of a million connections, in virtual time.
//!
//! `life` is the play: what the clients do, and what befalls them. `calendar`
//! knows who speaks when, `server` is the roster with a stopwatch, `view` shows
//! how it goes, and `summary` how it went.

#[path = "roster/calendar.rs"]
mod calendar;
#[path = "roster/life.rs"]
mod life;
#[path = "roster/server.rs"]
mod server;
#[path = "roster/summary.rs"]
mod summary;
#[path = "roster/view.rs"]
mod view;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use nabiz::{Config, ConfigError};
use nabiz_examples::args::time;
use nabiz_examples::cli;

use life::Life;

/// Watch one roster keep a million connections for an hour of virtual time.
///
/// There are no sockets, and nobody sleeps: clients and clock are simulated, the
/// roster is real, and all that is said of its speed is measured on this machine.
///
/// Most clients beat once an interval, one in a hundred chats about every second.
/// Some leave politely, some fall silent without a word; others come in their
/// place. A third of the way through, the server sends something to everyone;
/// halfway it is frozen for 10 seconds; after two thirds a region, one client in
/// twenty, falls silent at once; and with --drain all are closed near the end.
#[derive(Parser)]
#[command(name = "roster", version, after_help = EXAMPLE, max_term_width = 100)]
struct Args {
    /// How many are connected at a time
    #[arg(long, value_name = "COUNT", default_value = "1000000")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,

    /// How long, in virtual time
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    duration: Duration,

    /// How often both ends beat
    #[arg(long, value_name = "TIME", default_value = "55s", value_parser = time)]
    interval: Duration,

    /// Close whoever was silent for this long
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = time)]
    silence_timeout: Duration,

    /// Close everyone, spread over a sixtieth of the duration, when a thirtieth
    /// of it is left
    #[arg(long)]
    drain: bool,

    /// Draw all chance from this number: the same again with the same number
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    seed: u64,

    /// The summary as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLE: &str = "\
A progress bar on a terminal, else a line a virtual minute, on stderr; the summary on stdout.
A tick is all calls of poll until there is no more to do, with what they ask for. Times but the last
are CPU time where the platform tells it, so that other programs do not count; interrupts may.

Example: cargo run --release --example roster -- --connections 200000 --duration 10m --drain

Exit status: 0 if none was closed who was alive, 1 if one was, 2 for bad usage.";

/// The freeze must have an end before the region falls silent.
const SHORTEST: Duration = Duration::from_secs(60);
/// The longest that steps are counted for.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

fn main() -> ExitCode {
    let args: Args = cli::parse();
    if args.duration > LONGEST || args.duration < SHORTEST {
        cli::usage_error::<Args>("--duration must be from 1m to a year");
    }
    if args.interval < life::STEP || args.interval > args.duration {
        cli::usage_error::<Args>("--interval must be from 20ms to the duration");
    }
    let life = config(&args).and_then(|config| Life::new(&args, config));
    let summary = life
        .unwrap_or_else(|error| cli::refused::<Args>(error))
        .run();
    let shown = if args.json {
        summary.json().to_string()
    } else {
        summary.text()
    };
    // Who closed stdout does not want to know.
    let _ = writeln!(io::stdout(), "{shown}");
    ExitCode::from(u8::from(summary.wrongly_closed() > 0))
}

fn config(args: &Args) -> Result<Config, ConfigError> {
    Config::server()
        .with_interval(args.interval)
        .with_silence_timeout(args.silence_timeout)
        .build()
}
