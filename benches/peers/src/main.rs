//! The Reaper beside what people use today: one run, one table.
//!
//! `cargo run --release` in this directory writes `results.md`,
//! `results.json` and `readme.md` here, and the picture of the documentation.

mod clock;
mod contenders;
mod heap;
mod measure;
mod picture;
mod random;
mod reaper_only;
mod report;
mod roster;
mod targets;
mod world;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;

use crate::report::Report;

/// Measures the Reaper and what people would pick instead, side by side
///
/// Writes results.md, results.json and readme.md beside this program's
/// sources and the picture docs/peers.svg. A run of a part prints its table
/// and writes nothing, unless it is told where.
#[derive(Debug, Parser)]
struct Args {
    /// Also among ten million connections, which takes half an hour more and 3 GB
    #[arg(long)]
    ten_million: bool,
    /// Only contenders whose name contains this, in any case; may be given again
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Among how many connections
    #[arg(
        long,
        value_name = "N,N…",
        value_delimiter = ',',
        default_value = "1000,100000,1000000"
    )]
    sizes: Vec<usize>,
    /// How often everything is repeated [default: 5 below a million
    /// connections, 3 from there, 2 from ten million]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repeats: Option<u32>,
    /// Write everything into this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Args {
    fn repeats(&self, connections: usize) -> u32 {
        self.repeats.unwrap_or(match connections {
            ..1_000_000 => 5,
            1_000_000..10_000_000 => 3,
            10_000_000.. => 2,
        })
    }

    fn wants(&self, contender: &str) -> bool {
        let contender = contender.to_lowercase();
        let mut names = self.only.iter().map(|name| name.to_lowercase());
        self.only.is_empty() || names.any(|name| contender.contains(&name))
    }

    /// Where the tables go, and where the picture goes.
    fn places(&self) -> Option<[PathBuf; 2]> {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let is_whole = self.only.is_empty() && self.sizes == [1000, 100_000, 1_000_000];
        match &self.out {
            Some(out) => Some([out.clone(), out.clone()]),
            None if is_whole => Some([package.to_owned(), package.join("../../docs")]),
            None => None,
        }
    }
}

/// The processor, by its own account.
fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let is_model = |line: &&str| line.starts_with("model name");
    let model = info.lines().find(is_model);
    let model = model.and_then(|line| line.split_once(": "));
    let model = model.map_or("an unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {cores} cores, virtual")
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = Args::parse();
    let places = args.places();
    if args.ten_million {
        args.sizes.push(10_000_000);
    }
    args.sizes.sort_unstable();
    args.sizes.dedup();

    let start = Instant::now();
    let mut figures = Vec::new();
    for size in &args.sizes {
        let repeats = args.repeats(*size);
        figures.extend(measure::measure(*size, repeats, |name| args.wants(name)));
    }
    let has_reaper = args.wants("nabiz Reaper");
    let largest = args.sizes.last().copied().filter(|_| has_reaper);
    let lateness: Vec<_> = largest.into_iter().map(reaper_only::lateness).collect();
    let prices = largest.map(reaper_only::prices).unwrap_or_default();
    let targets = targets::targets(&figures, &lateness);
    let repeats = args
        .sizes
        .iter()
        .map(|size| args.repeats(*size).to_string());
    let report = Report {
        machine: machine(),
        repeats: repeats.collect::<Vec<_>>().join(", "),
        figures,
        prices,
        lateness,
        targets,
    };
    println!("{}", report.markdown());
    if let Some([tables, pictures]) = places {
        write(&report, &tables, &pictures)?;
    }
    eprintln!("{:.0?}", start.elapsed());
    Ok(())
}

fn write(report: &Report, tables: &Path, pictures: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(tables)?;
    fs::write(tables.join("results.md"), report.markdown())?;
    let mut json = serde_json::to_string_pretty(report)?;
    json.push('\n');
    fs::write(tables.join("results.json"), json)?;
    let figures: Vec<_> = report.among(1_000_000).collect();
    if !figures.is_empty() {
        fs::write(tables.join("readme.md"), report.readme())?;
        let title = format!("One million connections, log scale ({})", report.machine);
        let svg = picture::draw(&figures, &title)?;
        fs::write(pictures.join("peers.svg"), svg)?;
    }
    Ok(())
}
