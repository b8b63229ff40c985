//! How it goes: a bar on a terminal, else lines.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use nabiz::Timestamp;

use crate::server::Server;

pub struct View {
    bar: Option<ProgressBar>,
    started: Instant,
    /// When it was shown last, how much had happened by then, and how often it is shown.
    shown: Timestamp,
    then: Sums,
    every: Duration,
}

#[derive(Clone, Copy, Default)]
struct Sums {
    packets: u64,
    heartbeats: u64,
    left: u64,
    closed: u64,
}

impl View {
    pub fn new(duration: Duration) -> Self {
        let bar = io::stderr().is_terminal().then(|| bar(duration));
        Self {
            every: Duration::from_secs(if bar.is_some() { 5 } else { 60 }),
            bar,
            started: Instant::now(),
            shown: Timestamp::EPOCH,
            then: Sums::default(),
        }
    }

    /// What befell them.
    pub fn say(&self, now: Timestamp, what: &str) {
        let line = format!("{} {what}", hours(now.since_epoch()));
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    /// Shows how it is now, if that is due.
    pub fn show(&mut self, now: Timestamp, server: &Server) {
        let passed = now.saturating_duration_since(self.shown);
        if passed < self.every {
            return;
        }
        let counters = server.roster.counters();
        let sums = Sums {
            packets: server.tally.packets,
            heartbeats: server.tally.heartbeats,
            left: counters.removed,
            closed: counters.closed,
        };
        let rate = |now: u64, then: u64| {
            HumanCount(((now - then) as f64 / passed.as_secs_f64()).round() as u64)
        };
        let speed = now.since_epoch().as_secs_f64() / self.started.elapsed().as_secs_f64();
        let state = format!(
            "{} connected, per second {} packets, {} heartbeats, {} left, {} closed; {speed:.0} x",
            HumanCount(server.roster.len() as u64),
            rate(sums.packets, self.then.packets),
            rate(sums.heartbeats, self.then.heartbeats),
            rate(sums.left, self.then.left),
            rate(sums.closed, self.then.closed),
        );
        match &self.bar {
            Some(bar) => {
                bar.set_position(now.since_epoch().as_secs());
                bar.set_prefix(hours(now.since_epoch()));
                bar.set_message(state);
            }
            None => eprintln!("{} {state}", hours(now.since_epoch())),
        }
        self.shown = now;
        self.then = sums;
    }

    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(duration: Duration) -> ProgressBar {
    let bar = ProgressBar::new(duration.as_secs());
    match ProgressStyle::with_template("{prefix} {wide_bar:.green} {percent}%\n{msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar, // it has a style of its own
    }
}

/// Virtual time.
pub fn hours(now: Duration) -> String {
    let seconds = now.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours}:{minutes:02}:{:02}", seconds % 60)
}
