//! The tables.

use std::fmt::Write as _;

use serde::Serialize;

use crate::measure::Figures;
use crate::reaper_only::{Lateness, Price};
use crate::targets::Target;

/// All that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: String,
    pub repeats: String,
    pub figures: Vec<Figures>,
    pub prices: Vec<Price>,
    pub lateness: Vec<Lateness>,
    pub targets: Vec<Target>,
}

const NOTES: &str = "\
## How

Everything is measured in one run, one contender after the other and again; of the repeats the best counts.
Each contender is used as its own documentation proposes, behind one trait (`src/contenders/`), and a test
checks that each closes exactly the silent ones, in time. Time is virtual, except for moka.

- **touch**: a packet came, the deadline moves to 120 s from now. Random connections, drawn with replacement
  from fresh random numbers, 512 at one instant, then time goes on at a packet per connection and 30 s, with
  the polls that fall into it. Drawing is outside the measure, and the connection's key is in the cache, as it
  is for whoever has just read the packet. Median of the batches.
- **insert**, **remove**: the same batches; into capacity reserved before, where there is a way to reserve;
  removal in random order.
- **expire**: everyone falls silent, deadlines spread over 30 s in random order; all that the polls cost from
  the first close to the last, each 20 ms, by connection. Among a thousand that is mostly empty ticks.
- **steady poll**: everyone is heard of once in 30 s in a new random order each time, polls come each 20 ms,
  for 270 s: long enough for what a hierarchical wheel does once in 262 s. CPU time of this thread, without
  that of the touches; of each tick the least of the repeats, which are the same to the tick. The Reaper's
  heartbeats are answered with `heartbeat_sent` in it.
- **worst call**, **worst tick**: the most that a call, or all calls until nothing is left, took in that time.
- **mass expiry**: everyone was heard of at one instant and never again; all of its calls, from the first close
  to the last, and the worst of them.
- **bytes**: bytes that live on the heap after some minutes, by connection, less what an empty one takes.
  The key that the caller keeps is not counted: 8 bytes for the Reaper, `DelayQueue`, timer-queue,
  nexus-timer and `Sleep`; the others are told the connection's number. The values are empty, but the others
  need a number of 4 bytes to say who expired.

The floors are what no roster can do without: a store for each packet. A processor does not wait for a store; the
checked one must see first whether the key is stale, and so waits for the memory where the caches are too small.

No figure (–): the bare stores keep no deadlines. moka's clock is the machine's, so nothing expires in virtual
time, and its upkeep is done within the other calls; its cache can be shared between threads, which the others cannot.
";

/// How the figures of a column are shown.
type Column = (&'static str, fn(&Figures) -> Option<String>);

const COLUMNS: [Column; 12] = [
    ("touch", touch),
    ("insert", |f| f.insert_ns.map(nanos)),
    ("remove", |f| f.remove_ns.map(nanos)),
    ("expire", |f| f.expire_ns.map(nanos)),
    ("steady poll, per s", steady_poll),
    ("worst call", |f| {
        f.steady.map(|s| nanos(s.worst_call_us * 1e3))
    }),
    ("worst tick", worst_tick),
    ("mass expiry", mass_total),
    ("its calls", |f| f.mass.map(|mass| mass.calls.to_string())),
    ("its worst call", |f| {
        f.mass.map(|m| nanos(m.worst_call_us * 1e3))
    }),
    ("each", |f| f.mass.map(|mass| nanos(mass.ns_each))),
    ("bytes", bytes),
];

const SHORT: [&str; 8] = [
    "touch",
    "insert",
    "remove",
    "expire",
    "steady poll, per s",
    "worst tick",
    "mass expiry",
    "bytes",
];

fn touch(figures: &Figures) -> Option<String> {
    Some(nanos(figures.touch_ns))
}

fn steady_poll(figures: &Figures) -> Option<String> {
    figures
        .steady
        .map(|steady| nanos(steady.ms_per_second * 1e6))
}

fn worst_tick(figures: &Figures) -> Option<String> {
    figures
        .steady
        .map(|steady| nanos(steady.worst_tick_us * 1e3))
}

fn mass_total(figures: &Figures) -> Option<String> {
    figures.mass.map(|mass| nanos(mass.total_ms * 1e6))
}

fn bytes(figures: &Figures) -> Option<String> {
    Some(number(figures.bytes))
}

/// Three digits at least, and no more than mean something.
pub fn number(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// A length of time in the unit that reads best.
pub fn nanos(nanos: f64) -> String {
    match nanos {
        nanos if nanos < 1e3 => format!("{} ns", number(nanos)),
        nanos if nanos < 1e6 => format!("{} µs", number(nanos / 1e3)),
        nanos if nanos < 1e9 => format!("{} ms", number(nanos / 1e6)),
        nanos => format!("{} s", number(nanos / 1e9)),
    }
}

/// A number of connections, as people say it.
pub fn count(connections: usize) -> String {
    match connections {
        count if count % 1_000_000 == 0 => format!("{} M", count / 1_000_000),
        count if count % 1000 == 0 => format!("{} k", count / 1000),
        count => count.to_string(),
    }
}

fn table<'a>(figures: impl Iterator<Item = &'a Figures>, columns: &[&Column]) -> String {
    let mut table = String::from("| |");
    for (name, _) in columns {
        let _ = write!(table, " {name} |");
    }
    table.push_str("\n|---|");
    table.push_str(&"---:|".repeat(columns.len()));
    table.push('\n');
    for figures in figures {
        let _ = write!(table, "| {}", figures.contender);
        if let Some(version) = &figures.version {
            let _ = write!(table, " {version}");
        }
        table.push_str(" |");
        for (_, show) in columns {
            let shown = show(figures).unwrap_or_else(|| "–".to_owned());
            let _ = write!(table, " {shown} |");
        }
        table.push('\n');
    }
    table
}

impl Report {
    fn sizes(&self) -> Vec<usize> {
        let sizes = self.figures.iter().map(|figures| figures.connections);
        let mut sizes: Vec<usize> = sizes.collect();
        sizes.dedup();
        sizes
    }

    /// Those among so many connections.
    pub fn among(&self, connections: usize) -> impl Iterator<Item = &Figures> {
        let figures = self.figures.iter();
        figures.filter(move |figures| figures.connections == connections)
    }

    /// The table for the README.
    pub fn readme(&self) -> String {
        let is_shown = |column: &&Column| SHORT.contains(&column.0);
        let columns: Vec<&Column> = COLUMNS.iter().filter(is_shown).collect();
        table(self.among(1_000_000), &columns)
    }

    /// Everything.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "# The Reaper beside what people use today\n\n\
             {}; best of {} repeats. Written by `cargo run --release` in this directory.\n",
            self.machine, self.repeats
        );
        let columns: Vec<&Column> = COLUMNS.iter().collect();
        for size in self.sizes() {
            let _ = write!(text, "\n## {} connections\n\n", count(size));
            text.push_str(&table(self.among(size), &columns));
        }
        self.write_reaper(&mut text);
        self.write_targets(&mut text);
        text.push('\n');
        text.push_str(NOTES);
        text
    }

    fn write_reaper(&self, text: &mut String) {
        if !self.prices.is_empty() {
            text.push_str("\n## The Reaper's options\n\n");
            text.push_str("| in use by every connection | bytes each |\n|---|---:|\n");
        }
        for price in &self.prices {
            let _ = writeln!(text, "| {} | {} |", price.option, number(price.bytes));
        }
        for lateness in &self.lateness {
            let _ = write!(
                text,
                "\nPolled at its deadlines only, among {} connections: a close was late by {} ms \
                 at most, never early; {} wake-ups a second.\n",
                count(lateness.connections),
                number(lateness.worst_ms),
                number(lateness.wake_ups_per_second)
            );
        }
    }

    fn write_targets(&self, text: &mut String) {
        if self.targets.is_empty() {
            return;
        }
        text.push_str(
            "\n## Targets\n\n| connections | | target | measured | |\n|---|---|---:|---:|---|\n",
        );
        for target in &self.targets {
            let _ = writeln!(
                text,
                "| {} | {} | {} {} {} | {} {} | {} |",
                count(target.connections),
                target.what,
                target.bound,
                target.limit,
                target.unit,
                number(target.measured),
                target.unit,
                if target.met { "met" } else { "**not met**" }
            );
        }
    }
}
