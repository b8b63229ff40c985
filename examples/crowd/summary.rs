//! How it went.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};

use crate::server::Usage;
use crate::tally::Counts;

pub struct Summary {
    /// How many there should be.
    pub connections: u32,
    pub counts: Counts,
    /// What the server took before the first came, …
    pub empty: Option<Usage>,
    /// … when all were settled, …
    pub settled: Option<Usage>,
    /// … and after the window.
    pub full: Option<Usage>,
    pub window: Duration,
    /// Those in the window.
    pub beats: u64,
}

impl Summary {
    pub fn is_well(&self) -> bool {
        let counts = &self.counts;
        counts.up == u64::from(self.connections) && counts.closed == 0 && counts.late == 0
    }

    fn beats_per_second(&self) -> f64 {
        self.beats as f64 / self.window.as_secs_f64()
    }

    /// The server's memory without and with all connections, in bytes.
    fn memory(&self) -> Option<(u64, u64)> {
        Some((self.empty?.memory, self.full?.memory))
    }

    fn memory_per_connection(&self) -> Option<u64> {
        let (empty, full) = self.memory()?;
        full.saturating_sub(empty).checked_div(self.counts.up)
    }

    /// The server's processor time in the window.
    fn processor(&self) -> Option<Duration> {
        Some(self.full?.processor - self.settled?.processor)
    }

    /// Seconds of the processor's a second.
    fn load(&self) -> Option<f64> {
        Some(self.processor()?.as_secs_f64() / self.window.as_secs_f64())
    }

    fn per_connection_second(&self) -> Option<f64> {
        (self.counts.up > 0).then_some(self.load()? / self.counts.up as f64)
    }

    pub fn json(&self) -> Value {
        let counts = &self.counts;
        json!({
            "connections": self.connections,
            "up": counts.up,
            "failed": counts.failed,
            "closed": counts.closed,
            "error": counts.error,
            "beats": counts.beats,
            "answers": counts.answers,
            "late_beats": counts.late,
            "latest_beat": counts.latest.as_secs_f64(),
            "window": self.window.as_secs_f64(),
            "beats_per_second": self.beats_per_second(),
            "memory_empty": self.memory().map(|(empty, _)| empty),
            "memory_full": self.memory().map(|(_, full)| full),
            "memory_per_connection": self.memory_per_connection(),
            "processor": self.processor().map(|time| time.as_secs_f64()),
            "processor_per_connection_second": self.per_connection_second(),
        })
    }

    pub fn table(&self) -> String {
        let counts = &self.counts;
        let count = |count: u64| HumanCount(count).to_string();
        let mut rows = vec![
            (
                "connections",
                count(counts.up),
                format!("of {}", HumanCount(self.connections.into())),
            ),
            (
                "beats received",
                count(counts.beats),
                format!("{:.0} a second", self.beats_per_second()),
            ),
            ("answers received", count(counts.answers), String::new()),
            (
                "late beats",
                count(counts.late),
                format!("the latest by {:.1?}", counts.latest),
            ),
            (
                "closed",
                count(counts.closed),
                counts.error.clone().unwrap_or_default(),
            ),
        ];
        if let (Some(each), Some((empty, full))) = (self.memory_per_connection(), self.memory()) {
            rows.push((
                "memory each",
                format!("{each} B"),
                format!(
                    "{} without any, {} with all",
                    HumanBytes(empty),
                    HumanBytes(full)
                ),
            ));
        }
        if let (Some(each), Some(load)) = (self.per_connection_second(), self.load()) {
            rows.push((
                "processor each",
                format!("{:.2} µs/s", each * 1e6),
                format!("{:.1} % of one for all", load * 100.0),
            ));
        }
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        for (name, value, remark) in rows {
            table.add_row([name, &value, &remark]);
        }
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.trim_fmt()
    }
}
