//! What the Reaper is meant to reach, and whether it does.

use serde::Serialize;

use crate::measure::Figures;
use crate::reaper_only::Lateness;

/// A limit, and what was measured against it.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    pub connections: usize,
    pub what: String,
    /// `≤` or `≥`.
    pub bound: &'static str,
    pub limit: f64,
    pub measured: f64,
    pub unit: &'static str,
    pub met: bool,
}

/// The targets of one number of connections.
struct Targets<'a> {
    connections: usize,
    figures: &'a [Figures],
    targets: Vec<Target>,
}

/// Those among a million and more; below, the cost of a tick hides all else.
pub fn targets(figures: &[Figures], lateness: &[Lateness]) -> Vec<Target> {
    let mut all = Vec::new();
    let mut sizes: Vec<usize> = figures.iter().map(|figures| figures.connections).collect();
    sizes.dedup();
    for connections in sizes.into_iter().filter(|size| *size >= 1_000_000) {
        let is_of_size = |figures: &&Figures| figures.connections == connections;
        let figures: Vec<Figures> = figures.iter().filter(is_of_size).cloned().collect();
        let mut targets = Targets {
            connections,
            figures: &figures,
            targets: Vec::new(),
        };
        targets.all();
        all.extend(targets.targets);
    }
    for lateness in lateness {
        let mut targets = Targets {
            connections: lateness.connections,
            figures: &[],
            targets: Vec::new(),
        };
        let worst = Some(lateness.worst_ms);
        targets.at_most(20.0, "ms", "a close, late by", worst);
        all.extend(targets.targets);
    }
    all
}

impl Targets<'_> {
    fn of(&self, contender: &str) -> Option<&Figures> {
        let mut figures = self.figures.iter();
        figures.find(|figures| figures.contender == contender)
    }

    fn at_most(&mut self, limit: f64, unit: &'static str, what: &str, measured: Option<f64>) {
        let is_met = |measured| measured <= limit;
        self.push("≤", limit, unit, what, measured, is_met);
    }

    fn at_least(&mut self, limit: f64, unit: &'static str, what: &str, measured: Option<f64>) {
        let is_met = |measured| measured >= limit;
        self.push("≥", limit, unit, what, measured, is_met);
    }

    fn push(
        &mut self,
        bound: &'static str,
        limit: f64,
        unit: &'static str,
        what: &str,
        measured: Option<f64>,
        is_met: impl Fn(f64) -> bool,
    ) {
        // What was not run has no verdict.
        let Some(measured) = measured else { return };
        self.targets.push(Target {
            connections: self.connections,
            what: what.to_owned(),
            bound,
            limit,
            measured,
            unit,
            met: is_met(measured),
        });
    }

    fn all(&mut self) {
        let Some(reaper) = self.of("nabiz Reaper").cloned() else {
            return;
        };
        let touch = reaper.touch_ns;
        let floor = self.of("a 4-byte store (floor)");
        let over_floor = floor.map(|floor| touch / floor.touch_ns);
        self.at_most(1.4, "×", "touch, of a 4-byte store", over_floor);
        for (limit, peer) in [
            (50.0, "tokio-util DelayQueue"),
            (12.0, "timer-queue"),
            (15.0, "a tokio Sleep each"),
        ] {
            let times = self.of(peer).map(|peer| peer.touch_ns / touch);
            self.at_least(limit, "×", &format!("touch, faster than {peer}"), times);
        }
        self.at_most(10.0, "ns", "insert", reaper.insert_ns);
        self.at_most(12.0, "ns", "remove", reaper.remove_ns);
        self.at_most(30.0, "ns", "expire", reaper.expire_ns);
        let is_large = self.connections > 1_000_000;
        let (polls, calls) = match is_large {
            false => ([0.5, 0.9], 50.0),
            true => ([10.0, 13.0], 100.0),
        };
        let beating = self.of("nabiz Reaper, heartbeats").cloned();
        let [plain, beats] = ["", ", heartbeats"];
        let rows = [
            (Some(reaper), plain, polls[0], 8.5),
            (beating, beats, polls[1], 12.5),
        ];
        for (figures, suffix, poll, bytes) in rows {
            let name = |what: &str| format!("{what}{suffix}");
            let bytes_each = figures.as_ref().map(|figures| figures.bytes);
            let steady = figures.and_then(|figures| figures.steady);
            self.at_most(bytes, "B", &name("bytes a connection"), bytes_each);
            let ms = steady.map(|steady| steady.ms_per_second);
            self.at_most(poll, "ms", &name("steady poll, a second"), ms);
            let call = steady.map(|steady| steady.worst_call_us);
            self.at_most(calls, "µs", &name("worst call"), call);
            if !is_large {
                let tick = steady.map(|steady| steady.worst_tick_us);
                self.at_most(200.0, "µs", &name("worst tick"), tick);
            }
        }
    }
}
