//! What all clients have seen together.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Written by all clients, by each of them seldom.
pub struct Tally {
    interval: Duration,
    tolerance: Duration,
    up: AtomicU64,
    failed: AtomicU64,
    closed: AtomicU64,
    beats: AtomicU64,
    answers: AtomicU64,
    late: AtomicU64,
    /// In microseconds.
    latest: AtomicU64,
    /// What went wrong first.
    error: Mutex<Option<String>>,
}

#[derive(Clone, Debug)]
pub struct Counts {
    /// How many connected, …
    pub up: u64,
    /// … how many did not, …
    pub failed: u64,
    /// … and how many have come to an end.
    pub closed: u64,
    pub beats: u64,
    pub answers: u64,
    /// Beats that came later than is tolerated, or did not come.
    pub late: u64,
    /// How much later than its interval the latest came.
    pub latest: Duration,
    pub error: Option<String>,
}

impl Tally {
    pub fn new(interval: Duration, tolerance: Duration) -> Self {
        Self {
            interval,
            tolerance,
            up: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            beats: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            late: AtomicU64::new(0),
            latest: AtomicU64::new(0),
            error: Mutex::default(),
        }
    }

    pub fn up(&self) {
        add(&self.up, 1);
    }

    pub fn failed(&self, error: &io::Error) {
        add(&self.failed, 1);
        self.error(format!("cannot connect: {error}"));
    }

    pub fn closed(&self, why: String) {
        add(&self.closed, 1);
        self.error(why);
    }

    fn error(&self, error: String) {
        let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error);
    }

    /// How many have dialled, with success or not.
    pub fn dialled(&self) -> u64 {
        get(&self.up) + get(&self.failed)
    }

    pub fn beats(&self, count: usize) {
        add(&self.beats, count as u64);
    }

    pub fn answers(&self, count: usize) {
        add(&self.answers, count as u64);
    }

    /// There was no beat for so long.
    pub fn gap(&self, gap: Duration) {
        let late = gap.saturating_sub(self.interval);
        let micros = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        self.latest.fetch_max(micros, Ordering::Relaxed);
        if late > self.tolerance {
            add(&self.late, 1);
        }
    }

    pub fn counts(&self) -> Counts {
        let error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        Counts {
            up: get(&self.up),
            failed: get(&self.failed),
            closed: get(&self.closed),
            beats: get(&self.beats),
            answers: get(&self.answers),
            late: get(&self.late),
            latest: Duration::from_micros(get(&self.latest)),
            error: error.clone(),
        }
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
