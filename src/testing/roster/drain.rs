//! A drain as it should go: evenly over its window.

use alloc::format;
use core::time::Duration;

use crate::testing::model::{Verdict, broken};
use crate::testing::span::{LONGEST, Nanos, len};

#[derive(Clone, Debug)]
pub(super) struct Drain {
    window: Nanos,
    end: Nanos,
    /// How many there were at some instant, and how many were drained since.
    since: Nanos,
    were: Nanos,
    drained: Nanos,
    /// Some were inserted since then, to whom the pace is not yet set.
    unsettled: bool,
}

impl Drain {
    pub(super) fn new(window: Nanos, now: Nanos, connections: usize) -> Self {
        let end = (now + window).min(LONGEST);
        Self {
            window: end - now,
            end,
            since: now,
            were: connections as Nanos,
            drained: 0,
            unsettled: false,
        }
    }

    pub(super) fn ends_before(&self, other: &Self) -> bool {
        self.end < other.end
    }

    pub(super) fn end(&self) -> Nanos {
        self.end
    }

    pub(super) fn inserted(&mut self) {
        self.unsettled = true;
        self.drained = 0;
    }

    /// One was closed.
    pub(super) fn closed(
        &mut self,
        now: Nanos,
        left: usize,
        retry_after: Option<Duration>,
        resolution: Nanos,
    ) -> Verdict {
        let told = retry_after.map_or(0, len);
        let rest = self.end.saturating_sub(now);
        if told < rest || told > rest + self.window {
            return broken(
                7,
                format!("{told} ns to stay away, {rest} ns before the end"),
            );
        }
        self.drained += 1;
        if self.unsettled || self.end <= now.max(self.since) {
            return Ok(());
        }
        // The turn of one may come a resolution early.
        let passed = (now + resolution).saturating_sub(self.since);
        let most = self.were * passed / (self.end - self.since) + 1;
        if self.drained > most {
            let drained = self.drained;
            return broken(
                7,
                format!("{drained} drained, of {left} left; at most {most}"),
            );
        }
        Ok(())
    }

    /// Nothing was left to do at `now`, with so many left.
    pub(super) fn rested(&mut self, now: Nanos, left: usize, resolution: Nanos) -> Verdict {
        let left = left as Nanos;
        if left == 0 {
            return Ok(());
        }
        if self.end <= now {
            return broken(2, format!("{left} are not drained at the end"));
        }
        if self.unsettled {
            if self.drained > 0 {
                // So far ahead it has gone.
                self.since = now + resolution;
                self.were = left;
                self.drained = 0;
                self.unsettled = false;
            }
            return Ok(());
        }
        if self.end <= self.since {
            return broken(2, format!("{left} are not drained just before the end"));
        }
        let rest = self.end - now.max(self.since);
        let most = self.were * rest / (self.end - self.since) + 1;
        if left > most {
            return broken(2, format!("{left} are not drained yet, {most} are to be"));
        }
        Ok(())
    }
}
