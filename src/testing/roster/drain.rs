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

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten within a hundred, from a thousand on.
    fn ten() -> Drain {
        Drain::new(100, 1000, 10)
    }

    /// How many in a row may be closed at `now`, each told to stay away until
    /// the end.
    fn closes(drain: &mut Drain, now: Nanos) -> usize {
        let stay = Duration::from_nanos(u64::try_from(1100 - now).unwrap());
        (0..20)
            .take_while(|_| drain.closed(now, 0, Some(stay), 2).is_ok())
            .count()
    }

    #[test]
    fn as_many_are_closed_as_time_has_passed_and_one() {
        assert_eq!(closes(&mut ten(), 1000), 1);
        assert_eq!(closes(&mut ten(), 1050), 6);
        let mut drain = ten();
        assert_eq!(closes(&mut drain, 1020), 3);
        assert_eq!(closes(&mut drain, 1050), 2, "one of them was one too many");
    }

    #[test]
    fn as_few_are_left_as_time_is_and_one() {
        let is_fine = |now, left| ten().rested(now, left, 2).is_ok();
        assert!(is_fine(1050, 6) && !is_fine(1050, 7));
        assert!(is_fine(1080, 3) && !is_fine(1080, 4));
        assert!(is_fine(1100, 0) && !is_fine(1100, 1));
    }

    #[test]
    fn who_comes_meanwhile_sets_another_pace() {
        let mut drain = ten();
        drain.inserted();
        // Not before one was closed since.
        assert!(drain.rested(1010, 11, 2).is_ok());
        assert_eq!(closes(&mut drain, 1010), 20);
        assert!(drain.rested(1020, 10, 2).is_ok());
        assert_eq!(closes(&mut drain.clone(), 1060), 6);
        assert!(drain.clone().rested(1061, 6, 2).is_ok());
        assert!(drain.rested(1061, 7, 2).is_err());
    }

    #[test]
    fn one_is_told_to_stay_away_until_the_end_and_a_window_more_at_most() {
        let is_fine = |nanos| {
            let stay = Some(Duration::from_nanos(nanos));
            ten().closed(1040, 0, stay, 2).is_ok()
        };
        assert!(!is_fine(59) && is_fine(60) && is_fine(160) && !is_fine(161));
    }

    #[test]
    fn the_earlier_end_counts() {
        assert!(ten().ends_before(&Drain::new(101, 1000, 10)));
        assert!(!ten().ends_before(&ten()));
    }
}
