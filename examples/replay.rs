//! Runs of sessions and rosters from their text, call by call.
//!
//! `timeline` prints what happens; the runs themselves, and the laws that watch
//! them, are those of `nabiz::testing`.

#[path = "replay/timeline.rs"]
mod timeline;

use std::any::Any;
use std::fs;
use std::io;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use nabiz::testing::{Replay, RosterReplay, RosterScript, Script};
use nabiz_examples::cli;

/// Run sessions and rosters from lines of text, under watch of the laws.
///
/// A line is what a panic of nabiz's checkers ends with, after `replay: `, or is
/// written by hand; without any, lines are read from stdin.
#[derive(Parser)]
#[command(name = "replay", version, after_help = EXAMPLES, max_term_width = 100)]
struct Args {
    /// Runs, one each; in single quotes
    #[arg(value_name = "LINE")]
    lines: Vec<String>,

    /// Read runs from a file, one a line; empty lines are skipped
    #[arg(long, value_name = "FILE", conflicts_with = "lines")]
    file: Option<PathBuf>,

    /// Make a run of a fuzzer's input, and print its line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["lines", "file"])]
    bytes: Option<PathBuf>,

    /// The input is of the fuzz targets reaper and reaper_vs_sessions
    #[arg(long, requires = "bytes")]
    roster: bool,

    /// Only say whether the laws hold
    #[arg(long)]
    quiet: bool,
}

const EXAMPLES: &str = "\
A client that hears nothing:
  cargo run --example replay -- 'session client silence_timeout=12s seed=42 at 0s poll at 1s connected \
at 13s poll disconnected poll'
A server's roster:
  cargo run --example replay -- 'roster silence_timeout=12s seed=42 at 0s insert insert at 9s received#2 \
at 12.02s poll poll'
What a fuzzer found:
  cargo run --example replay -- --bytes fuzz/artifacts/session/crash-…
  cargo run --example replay -- --roster --bytes fuzz/artifacts/reaper/crash-…

The docs of nabiz::testing::Replay and RosterReplay have all words.

Exit status: 0 if all laws hold, 1 if one is broken (its report is on stderr), 2 for bad usage.";

/// A run of either kind.
enum Run {
    Session(Replay),
    Roster(RosterReplay),
}

fn main() -> ExitCode {
    let args: Args = cli::parse();
    let runs = match &args.bytes {
        Some(file) => vec![scripted(&read(file), args.roster)],
        None => written(&args),
    };
    // A report is printed below, without a backtrace into the checker.
    panic::set_hook(Box::new(|_| {}));
    let mut broken = 0;
    for (number, run) in runs.iter().enumerate() {
        if number > 0 && !args.quiet {
            timeline::blank();
        }
        let watched = panic::catch_unwind(|| match run {
            Run::Session(replay) => timeline::session(replay, args.quiet),
            Run::Roster(replay) => timeline::roster(replay, args.quiet),
        });
        if let Err(report) = watched {
            broken += 1;
            eprintln!("{}", message(report.as_ref()));
        }
    }
    ExitCode::from(u8::from(broken > 0))
}

fn scripted(bytes: &[u8], is_roster: bool) -> Run {
    if is_roster {
        // The sessions beside it watch one law more.
        Run::Roster(RosterScript::new(bytes).replay().with_sessions())
    } else {
        Run::Session(Script::new(bytes).replay())
    }
}

/// The runs that are given as lines.
fn written(args: &Args) -> Vec<Run> {
    let text = match &args.file {
        Some(file) => String::from_utf8_lossy(&read(file)).into_owned(),
        None if args.lines.is_empty() => io::read_to_string(io::stdin())
            .unwrap_or_else(|error| cli::usage_error::<Args>(format_args!("stdin: {error}"))),
        None => args.lines.join("\n"),
    };
    let lines = text.lines().enumerate();
    let runs: Vec<Run> = lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| {
            parse(line).unwrap_or_else(|error| {
                cli::usage_error::<Args>(format_args!("line {}: {error}", number + 1))
            })
        })
        .collect();
    if runs.is_empty() {
        cli::usage_error::<Args>("no run is given");
    }
    runs
}

fn parse(line: &str) -> Result<Run, String> {
    let line = line.trim();
    let line = line.strip_prefix("replay:").unwrap_or(line);
    let run = match line.split_whitespace().next() {
        Some("session") => line.parse().map(Run::Session),
        Some("roster") => line.parse().map(Run::Roster),
        first => {
            let word = first.unwrap_or_default();
            return Err(format!("word 1, '{word}': expected session or roster"));
        }
    };
    run.map_err(|error| error.to_string())
}

fn read(file: &Path) -> Vec<u8> {
    fs::read(file).unwrap_or_else(|error| {
        cli::usage_error::<Args>(format_args!("{}: {error}", file.display()))
    })
}

/// What was panicked with.
fn message(report: &(dyn Any + Send)) -> &str {
    let text = report.downcast_ref::<String>().map(String::as_str);
    text.or(report.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message")
}
