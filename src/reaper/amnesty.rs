//! Late ticks convict nobody, once: for the whole roster at a time.
//!
//! A session remembers for itself since when it is suspect. Here it follows
//! from when the peer was last heard of: it is suspect since the first amnesty
//! after that, and the instants of two tell it. While the older one can still
//! convict somebody, a new one takes the place of the younger one; so whoever
//! stays silent is forgiven for no longer than it takes the older to run out,
//! and then once more.

use super::Reaper;
use super::dues::NEVER;
use super::news::News;
use super::work::BUDGET;
use crate::session::probe_wait;
use crate::time::Timestamp;

/// A stall that was forgiven, and the round of probes that it asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amnesty {
    pub(super) at: Timestamp,
    /// Evidence up to this tick came before it.
    pub(super) tick: u64,
    /// How many probes everyone suspect was asked for.
    pub(super) probes: u8,
    /// Up to where the next one is asked for.
    pub(super) cursor: usize,
}

impl Amnesty {
    pub(super) const fn new(at: Timestamp, tick: u64) -> Self {
        Self {
            at,
            tick,
            probes: 0,
            cursor: 0,
        }
    }
}

/// How a connection stands to the amnesties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Since when its clocks run, at the earliest.
    pub(super) since: Option<Timestamp>,
    /// No evidence of life came since then.
    pub(super) is_suspect: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Amnesties {
    pub(super) older: Option<Amnesty>,
    pub(super) younger: Option<Amnesty>,
}

impl Amnesties {
    /// Forgives everyone who is not suspect since the older amnesty, which is
    /// kept while it `convicts` somebody yet.
    pub(super) fn grant(&mut self, new: Amnesty, convicts: impl Fn(Timestamp) -> bool) {
        if !self.older.is_some_and(|older| convicts(older.at)) {
            self.older = self.younger;
        }
        self.younger = Some(new);
    }

    /// Forgives everyone.
    pub(super) fn grant_all(&mut self, new: Amnesty) {
        self.older = None;
        self.younger = Some(new);
    }

    /// The standing of a connection last heard of in a tick.
    #[inline]
    pub(super) fn standing(&self, tick: u64) -> Standing {
        let covering = match (&self.older, &self.younger) {
            (Some(older), _) if tick <= older.tick => Some(older),
            (_, younger) => younger.as_ref(),
        };
        Standing {
            since: covering.map(|amnesty| amnesty.at),
            is_suspect: covering.is_some_and(|amnesty| tick <= amnesty.tick),
        }
    }

    /// The tick of evidence that came at an instant: later than that of any
    /// amnesty granted by then.
    pub(super) fn passed(&self, at: Timestamp, tick: u64) -> u64 {
        let amnesties = [&self.older, &self.younger].into_iter().flatten();
        let passed = amnesties.filter(|amnesty| amnesty.at <= at);
        let after = passed.map(|amnesty| amnesty.tick.saturating_add(1));
        after.fold(tick, u64::max)
    }

    /// Nobody is left who would be asked.
    pub(super) fn end_probes(&mut self) {
        for amnesty in [&mut self.older, &mut self.younger].into_iter().flatten() {
            amnesty.probes = u8::MAX;
        }
    }

    /// The last stall.
    pub(super) fn last(&self) -> Option<Timestamp> {
        self.younger.map(|younger| younger.at)
    }

    /// Counts ticks from so many later on.
    pub(super) fn rebase(&mut self, ticks: u64) {
        let before = *self;
        for amnesty in [&mut self.older, &mut self.younger].into_iter().flatten() {
            amnesty.tick = before.rebased(amnesty.tick, ticks);
        }
    }

    /// A tick counted from so many later on. What is older is just old, but
    /// keeps its place among the amnesties.
    pub(super) fn rebased(&self, tick: u64, ticks: u64) -> u64 {
        let amnesties = [&self.older, &self.younger].into_iter().flatten();
        let passed = amnesties.filter(|amnesty| amnesty.tick < tick).count();
        tick.saturating_sub(ticks).max(passed as u64)
    }
}

impl<T> Reaper<T> {
    /// The next that is suspect and to be asked for a probe.
    pub(super) fn next_probe(&mut self, news: &impl Fn(&T) -> News) -> Option<usize> {
        if self.next_probe_due() > self.now.as_nanos() {
            return None;
        }
        let Amnesties {
            mut older,
            mut younger,
        } = self.amnesties;
        let found = self.next_probe_of(older.as_mut(), news);
        let found = found.or_else(|| self.next_probe_of(younger.as_mut(), news));
        self.amnesties = Amnesties { older, younger };
        found
    }

    fn next_probe_of(
        &mut self,
        amnesty: Option<&mut Amnesty>,
        news: &impl Fn(&T) -> News,
    ) -> Option<usize> {
        let amnesty = amnesty?;
        while self.probe_due(amnesty) <= self.now.as_nanos() && self.visited < BUDGET {
            let Some(index) = self.roster.next(amnesty.cursor) else {
                amnesty.probes = amnesty.probes.saturating_add(1);
                amnesty.cursor = 0;
                continue;
            };
            amnesty.cursor = index.saturating_add(1);
            self.looked_at(1);
            self.learn(index, news);
            let standing = self.amnesties.standing(self.roster.slot(index)?.tick());
            let is_ours = standing.is_suspect && standing.since == Some(amnesty.at);
            if is_ours && !self.flushes.get(index)?.is_in_flight() {
                return Some(index);
            }
        }
        None
    }

    /// When somebody is to be asked for a probe.
    pub(super) fn next_probe_due(&self) -> u64 {
        let Amnesties { older, younger } = &self.amnesties;
        let due = |amnesty: &Option<Amnesty>| {
            let amnesty = amnesty.as_ref();
            amnesty.map_or(NEVER, |amnesty| self.probe_due(amnesty))
        };
        due(older).min(due(younger))
    }

    fn probe_due(&self, amnesty: &Amnesty) -> u64 {
        if self.config.interval.is_none() || amnesty.probes >= self.config.probes {
            return NEVER;
        }
        let wait = probe_wait(&self.config, amnesty.probes);
        amnesty.at.after(wait).map_or(NEVER, Timestamp::as_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_epoch(Duration::from_secs(secs)).unwrap()
    }

    fn since(amnesties: &Amnesties, tick: u64) -> (Option<Timestamp>, bool) {
        let standing = amnesties.standing(tick);
        (standing.since, standing.is_suspect)
    }

    #[test]
    fn the_first_amnesty_after_the_evidence_counts() {
        let mut amnesties = Amnesties::default();
        assert_eq!(since(&amnesties, 5), (None, false));
        amnesties.grant(Amnesty::new(at(10), 10), |_| true);
        amnesties.grant(Amnesty::new(at(20), 20), |_| true);
        assert_eq!(since(&amnesties, 10), (Some(at(10)), true));
        assert_eq!(since(&amnesties, 11), (Some(at(20)), true));
        assert_eq!(since(&amnesties, 20), (Some(at(20)), true));
        assert_eq!(since(&amnesties, 21), (Some(at(20)), false));
    }

    #[test]
    fn the_older_one_stays_while_it_can_convict() {
        let mut amnesties = Amnesties::default();
        for secs in [10, 20, 30, 40] {
            amnesties.grant(Amnesty::new(at(secs), secs), |since| since == at(10));
        }
        assert_eq!(since(&amnesties, 5), (Some(at(10)), true));
        assert_eq!(since(&amnesties, 15), (Some(at(40)), true));
        amnesties.grant(Amnesty::new(at(50), 50), |_| false);
        assert_eq!(since(&amnesties, 15), (Some(at(40)), true));
        assert_eq!(since(&amnesties, 45), (Some(at(50)), true));
    }

    #[test]
    fn what_is_counted_anew_keeps_its_place_among_the_amnesties() {
        let mut amnesties = Amnesties::default();
        for secs in [10, 20] {
            amnesties.grant(Amnesty::new(at(secs), secs), |_| true);
        }
        let before = amnesties;
        amnesties.rebase(1000);
        for tick in [5, 10, 11, 15, 20, 21, 999, 1000, 1002, 1003, 1500] {
            let rebased = before.rebased(tick, 1000);
            assert_eq!(since(&amnesties, rebased), since(&before, tick), "{tick}");
        }
        assert_eq!(before.rebased(1500, 1000), 500);
    }

    #[test]
    fn the_drivers_word_forgives_everyone() {
        let mut amnesties = Amnesties::default();
        amnesties.grant(Amnesty::new(at(10), 10), |_| true);
        amnesties.grant_all(Amnesty::new(at(20), 20));
        assert_eq!(since(&amnesties, 5), (Some(at(20)), true));
    }
}
