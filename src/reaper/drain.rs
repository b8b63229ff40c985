//! Closing everyone, spread evenly over a window.

use super::Reaper;
use super::work::Step;
use crate::chance::{Draw, draw, up_to};
use crate::session::CloseReason;
use crate::time::{Span, Timestamp};

#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    pub(super) window: Span,
    pub(super) end: Timestamp,
    /// When the next is closed.
    pub(super) next: Timestamp,
    /// Up to which place all are closed.
    pub(super) cursor: usize,
}

impl Drain {
    pub(super) fn new(window: Span, now: Timestamp, connections: usize) -> Self {
        let end = now.after(window).unwrap_or(Timestamp::MAX);
        let mut drain = Self {
            window: end.since(now),
            end,
            next: now,
            cursor: 0,
        };
        drain.pace(now, connections);
        drain
    }

    /// The earlier of two ends.
    pub(super) fn hastened(self, earlier: Option<Self>) -> Self {
        match earlier {
            Some(earlier) if earlier.end < self.end => earlier,
            _ => self,
        }
    }

    /// One was closed, or the first of all came: so many are left.
    pub(super) fn pace(&mut self, since: Timestamp, connections: usize) {
        let left = self.end.since(since).scaled(1, connections.max(1) as u64);
        self.next = since.after(left).unwrap_or(Timestamp::MAX);
    }

    /// More came: what was planned for few is late.
    pub(super) fn hasten(&mut self, now: Timestamp, connections: usize) {
        let planned = self.next;
        self.pace(now, connections);
        if connections > 1 {
            self.next = self.next.min(planned);
        }
    }

    /// When a connection that is closed now may come back: after the drain,
    /// at an instant of its own.
    pub(super) fn retry_after(&self, seed: u64, link: u32, now: Timestamp) -> Span {
        let spread = up_to(self.window, draw(seed, link, Draw::Drain));
        self.end.since(now).saturating_add(spread)
    }
}

impl<T> Reaper<T> {
    /// Closes the next whose turn in the drain it is.
    pub(super) fn drain_one(&mut self) -> Option<Step<T>> {
        let mut drain = self.drain?;
        if self.roster.len() == 0 || drain.next > self.ahead() {
            return None;
        }
        let index = self.roster.next_around(drain.cursor)?;
        #[allow(clippy::cast_possible_truncation)] // it may wrap
        let number = self.counters.closed as u32;
        let retry_after = drain.retry_after(self.seed, number, self.now);
        drain.cursor = index.saturating_add(1);
        self.looked_at(1);
        let step = self.close(index, CloseReason::Draining, Some(retry_after));
        drain.pace(drain.next, self.roster.len());
        self.drain = Some(drain);
        step
    }
}
