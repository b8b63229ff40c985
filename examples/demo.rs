//! The life of some connections in half a minute: a server and its clients on
//! real TCP, with short intervals, as a live timeline.
//!
//! `timeline` is what happened, `server` and `client` are the two ends,
//! `scenes` is the play and its checks, `summary` its table, `svg` its picture,
//! put together from `shapes`.

#[path = "demo/client.rs"]
mod client;
#[path = "demo/scenes.rs"]
mod scenes;
#[path = "demo/server.rs"]
mod server;
#[path = "demo/shapes.rs"]
mod shapes;
#[path = "demo/summary.rs"]
mod summary;
#[path = "demo/svg.rs"]
mod svg;
#[path = "demo/timeline.rs"]
mod timeline;

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use nabiz_examples::cli;

/// Watch nabiz keep connections: six scenes on real TCP, in under 30 seconds.
///
/// A server and three clients (A, B, C) run in this process and talk over the
/// loopback interface, with intervals of fractions of a second where real ones
/// are a minute. Six scenes put them to the test: beats alone keep a link open;
/// a frozen client is closed; a late tick convicts nobody; a silent server is
/// left, and tried again after growing, jittered delays; once it is back and
/// the link was stable, attempts count from the start; a shutdown is final.
///
/// Each scene is checked as it plays, and a table at the end says what was
/// seen. Delays are drawn anew in each run.
#[derive(Parser)]
#[command(name = "demo", version, after_help = LEGEND, max_term_width = 100)]
struct Args {
    /// Also draw the timeline, as an SVG picture
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

const LEGEND: &str = "\
Each line is one event: seconds, then the server, A, B and C in a column each, then who and what.
  ┃ up   │ connected, but the peer has not spoken   ┊ away, waiting to dial   ▒ frozen
  ◀ beat to the server   ▶ beat from the server   ◇ dial   ◆ connected   ! late tick   ✕ closed

Exit status: 0 if every scene went as it should, 1 if one did not, 2 for bad usage.
Colours only on a terminal, or with CLICOLOR_FORCE=1; never with NO_COLOR=1.";

fn main() -> ExitCode {
    match run(&cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            anstream::eprintln!("demo: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether every scene went as it should; an error is worth one line.
fn run(args: &Args) -> Result<bool, String> {
    // Nobody wants to hear of a bad path after the show.
    let picture = args.svg.as_deref().map(open).transpose()?;
    let (entries, outcomes) =
        scenes::play().map_err(|error| format!("no sockets on loopback: {error}"))?;
    summary::print(&outcomes);
    if let (Some(mut file), Some(path)) = (picture, args.svg.as_deref()) {
        overwrite(&mut file, &svg::draw(&entries)).map_err(|error| cannot_write(path, &error))?;
        anstream::println!("The timeline is drawn in {}.", path.display());
    }
    Ok(outcomes.iter().all(|outcome| outcome.seen.is_ok()))
}

/// Opens without emptying: an old picture stays until there is a new one.
fn open(path: &Path) -> Result<File, String> {
    let options = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    options.map_err(|error| cannot_write(path, &error))
}

fn overwrite(file: &mut File, text: &str) -> io::Result<()> {
    // What is not a plain file, as a pipe, has no length to set.
    if file.metadata()?.is_file() {
        file.set_len(0)?;
        file.rewind()?;
    }
    file.write_all(text.as_bytes())
}

fn cannot_write(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}
