//! How it went.

use std::fmt::Write;
use std::time::Duration;

use indicatif::HumanCount;
use nabiz::Counters;
use serde_json::{Value, json};

use crate::server::Tally;
use crate::view::hours;

pub struct Summary {
    pub tally: Tally,
    pub counters: Counters,
    /// How many were connected at the end.
    pub connections: u64,
    /// How many said goodbye.
    pub left: u64,
    pub duration: Duration,
    pub wall: Duration,
}

impl Summary {
    pub fn wrongly_closed(&self) -> u64 {
        self.tally.wrongly_closed
    }

    /// In a second of virtual time.
    fn rate(&self, count: u64) -> f64 {
        count as f64 / self.duration.as_secs_f64()
    }

    fn speed_up(&self) -> f64 {
        self.duration.as_secs_f64() / self.wall.as_secs_f64()
    }

    /// Heartbeats in a tenth of a second, probes aside.
    fn mean(&self) -> f64 {
        let heartbeats = self.tally.heartbeats - self.tally.probes;
        heartbeats as f64 / self.tally.windows.max(1) as f64
    }

    /// Nanoseconds to tell the roster of one packet.
    fn touch(&self) -> f64 {
        self.tally.touching.as_nanos() as f64 / self.tally.packets.max(1) as f64
    }

    fn mean_tick(&self) -> Duration {
        let ticks = u32::try_from(self.tally.ticks).unwrap_or(u32::MAX);
        self.tally.ticking / ticks.max(1)
    }

    pub fn json(&self) -> Value {
        let Self {
            tally, counters, ..
        } = self;
        json!({
            "duration": self.duration.as_secs_f64(),
            "connections": self.connections,
            "inserted": counters.inserted,
            "left": self.left,
            "closed": tally.closed,
            "wrongly_closed": tally.wrongly_closed,
            "latest_close": tally.latest.as_secs_f64(),
            "packets": tally.packets,
            "packets_per_second": self.rate(tally.packets),
            "heartbeats": tally.heartbeats,
            "heartbeats_per_second": self.rate(tally.heartbeats),
            "heartbeats_per_100ms": { "mean": self.mean(), "peak": tally.peak },
            "stalls": counters.stalls,
            "probes": tally.probes,
            "wall": self.wall.as_secs_f64(),
            "speed_up": self.speed_up(),
            "touch_ns": self.touch(),
            "polls": tally.polls,
            "ticks": tally.ticks,
            "worst_poll": tally.worst_poll.took.as_secs_f64(),
            "worst_tick": tally.worst_tick.took.as_secs_f64(),
            "mean_tick": self.mean_tick().as_secs_f64(),
        })
    }

    pub fn text(&self) -> String {
        let tally = &self.tally;
        let count = |count: u64| HumanCount(count).to_string();
        let rate = |count: u64| HumanCount(self.rate(count).round() as u64);
        let mut rows = vec![
            ("connections", count(self.connections), "at the end".into()),
            ("inserted", count(self.counters.inserted), String::new()),
            ("left", count(self.left), String::new()),
        ];
        for (reason, closed) in &tally.closed {
            let alive = match reason.as_str() {
                "PeerSilent" => format!(
                    "{} of them alive; the latest {:.1?} after its limit",
                    tally.wrongly_closed, tally.latest
                ),
                _ => String::new(),
            };
            rows.push((reason, count(*closed), alive));
        }
        rows.extend([
            (
                "packets",
                count(tally.packets),
                format!(
                    "{} a second, {:.1} ns each",
                    rate(tally.packets),
                    self.touch()
                ),
            ),
            (
                "heartbeats",
                count(tally.heartbeats),
                format!(
                    "{} a second; probes aside {:.0} in 100 ms, {} at most",
                    rate(tally.heartbeats),
                    self.mean(),
                    count(tally.peak),
                ),
            ),
            (
                "probes",
                count(tally.probes),
                format!("after {} stall", self.counters.stalls),
            ),
            (
                "worst poll",
                format!("{:.1?}", tally.worst_poll.took),
                format!(
                    "at {}; of {}",
                    hours(tally.worst_poll.at),
                    count(tally.polls)
                ),
            ),
            (
                "worst tick",
                format!("{:.1?}", tally.worst_tick.took),
                format!(
                    "at {}; of {}, which took {:.1?} on average",
                    hours(tally.worst_tick.at),
                    count(tally.ticks),
                    self.mean_tick()
                ),
            ),
            (
                "wall time",
                format!("{:.1?}", self.wall),
                format!(
                    "for {:?}: {:.0} times as fast",
                    self.duration,
                    self.speed_up()
                ),
            ),
        ]);
        let mut text = String::new();
        for (name, value, remark) in rows {
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{}",
                format!("{name:<12} {value:>14}  {remark}").trim_end()
            );
        }
        text.truncate(text.trim_end().len());
        text
    }
}
