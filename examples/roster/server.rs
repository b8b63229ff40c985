//! The roster, with a stopwatch.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nabiz::{CloseReason, Key, Reap, Reaper, Timestamp};

/// Heartbeats are counted by the window, for how evenly they are spread.
const WINDOW: Duration = Duration::from_millis(100);

/// The CPU time is asked for after so many polls.
const MARK: u64 = 64;

/// When a client fell silent for good; none while it lives.
pub type Fate = Option<Timestamp>;

pub struct Server {
    pub roster: Reaper<Fate>,
    pub tally: Tally,
    /// The end of the last freeze: before it no silence counts.
    thawed: Timestamp,
    window: Timestamp,
    in_window: u64,
}

/// What was counted and measured.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Packets of the clients.
    pub packets: u64,
    /// How long the roster took to be told of them.
    pub touching: Duration,
    pub heartbeats: u64,
    /// Heartbeats that asked suspects, among them.
    pub probes: u64,
    /// The most heartbeats in a window, probes aside.
    pub peak: u64,
    pub windows: u64,
    pub closed: BTreeMap<String, u64>,
    /// Who was alive.
    pub wrongly_closed: u64,
    /// How late the latest close was.
    pub latest: Duration,
    pub ticks: u64,
    pub polls: u64,
    pub ticking: Duration,
    pub worst_poll: Worst,
    pub worst_tick: Worst,
}

/// The longest that something took, and when that was in virtual time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Worst {
    pub took: Duration,
    pub at: Duration,
}

impl Worst {
    fn see(&mut self, took: Duration, now: Timestamp) {
        if took > self.took {
            *self = Self {
                took,
                at: now.since_epoch(),
            };
        }
    }
}

impl Server {
    pub fn new(roster: Reaper<Fate>, now: Timestamp) -> Self {
        Self {
            roster,
            tally: Tally::default(),
            thawed: now,
            window: now,
            in_window: 0,
        }
    }

    /// All these spoke. Not all are still in the roster.
    pub fn hear(&mut self, keys: impl Iterator<Item = Key>, now: Timestamp) {
        let start = cpu_time();
        let heard = keys.filter(|key| self.roster.received(*key, now)).count();
        self.tally.touching += cpu_time().saturating_sub(start);
        self.tally.packets += heard as u64;
    }

    /// Does what is due before an instant, each when it is due.
    pub fn keep_up(&mut self, before: Timestamp) {
        while let Some(due) = self.roster.deadline().filter(|due| *due < before) {
            self.tick(due);
        }
    }

    /// Nobody looked after the clients until now. What they said meanwhile has
    /// been heard.
    pub fn thaw(&mut self, now: Timestamp) {
        self.thawed = now;
        let before = self.tally.heartbeats;
        self.tick(now);
        let probes = self.tally.heartbeats - before;
        self.tally.probes += probes;
        self.in_window = self.in_window.saturating_sub(probes);
    }

    fn tick(&mut self, now: Timestamp) {
        self.turn_to(now);
        let start = cpu_time();
        let (mut mark, mut polls) = (start, 0);
        loop {
            // A poll's own CPU time would take longer to ask for than the poll:
            // its time by the clock will do, and no more than the CPU time since
            // the mark.
            if polls % MARK == MARK - 1 {
                mark = cpu_time();
            }
            let before = Instant::now();
            let reap = self.roster.poll(now);
            let took = before.elapsed();
            if took > self.tally.worst_poll.took {
                let most = cpu_time().saturating_sub(mark);
                self.tally.worst_poll.see(took.min(most), now);
            }
            polls += 1;
            match reap {
                Some(Reap::Heartbeat { key, .. }) => {
                    // A socket takes it at once, be the client alive or not.
                    self.roster.heartbeat_sent(key, now);
                    self.in_window += 1;
                    self.tally.heartbeats += 1;
                }
                Some(Reap::Close { value, reason, .. }) => {
                    if reason == CloseReason::PeerSilent {
                        self.judge(value, now);
                    }
                    *self.tally.closed.entry(reason.to_string()).or_default() += 1;
                }
                Some(Reap::Yield) => {} // a server would look after its sockets here
                None => break,
            }
        }
        let took = cpu_time().saturating_sub(start);
        let tally = &mut self.tally;
        tally.ticks += 1;
        tally.polls += polls;
        tally.ticking += took;
        tally.worst_tick.see(took, now);
    }

    /// The roster called this client dead. Was it, and was it told in time?
    fn judge(&mut self, fate: Fate, now: Timestamp) {
        let limit = self.roster.config().silence_timeout();
        let due = fate
            .zip(limit)
            .and_then(|(silent_since, limit)| silent_since.max(self.thawed).checked_add(limit));
        match due {
            Some(due) if due <= now => {
                let late = now.saturating_duration_since(due);
                self.tally.latest = self.tally.latest.max(late);
            }
            _ => self.tally.wrongly_closed += 1,
        }
    }

    /// Ends the windows that are over.
    fn turn_to(&mut self, now: Timestamp) {
        while let Some(end) = self.window.checked_add(WINDOW).filter(|end| *end <= now) {
            self.window = end;
            self.tally.windows += 1;
            self.tally.peak = self.tally.peak.max(self.in_window);
            self.in_window = 0;
        }
    }
}

/// The CPU time of this thread.
#[cfg(target_os = "linux")]
fn cpu_time() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(spent).unwrap_or_default() // it is never negative
}

/// What comes next to it.
#[cfg(not(target_os = "linux"))]
fn cpu_time() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
