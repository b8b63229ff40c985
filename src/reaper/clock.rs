//! How time passes for a roster: in ticks, by leaps, and with stalls that are
//! forgiven.

use super::amnesty::Amnesty;
use super::dues::NEVER;
use super::roster::Slot;
use super::{Reaper, ticks};
use crate::time::{Span, Timestamp};

impl<T> Reaper<T> {
    /// Time never goes backwards.
    #[inline]
    pub(super) fn advance(&mut self, now: Timestamp) {
        if now == self.now {
            return; // many packets are read in one turn of a loop
        }
        if now > self.now && now < self.plain {
            self.now = now;
        } else {
            self.advance_in_full(now);
        }
    }

    /// The tick that counts for what happens now.
    #[inline]
    pub(super) const fn tick(&self) -> u64 {
        self.heard.tick()
    }

    #[cold]
    fn advance_in_full(&mut self, now: Timestamp) {
        if now < self.now {
            return;
        }
        self.leap(now);
        if now > self.late {
            let (longest, done) = (self.longest(), self.done_until());
            let amnesty = self.amnesty();
            self.amnesties
                .grant(amnesty, |at| at.after(longest).is_none_or(|end| done < end));
            self.forgave(amnesty);
        }
        let end = Timestamp::from_nanos(self.ticks.end(self.tick()));
        self.plain = end.unwrap_or(Timestamp::MAX).min(self.late);
    }

    /// Up to when all that fell due was done: nothing falls due before `next`,
    /// polled for or not.
    pub(super) fn done_until(&self) -> Timestamp {
        let next = Timestamp::from_nanos(self.next.saturating_sub(1));
        match (self.busy, next) {
            (None, Some(next)) => self.done.max(next.min(self.now)),
            _ => self.done,
        }
    }

    /// There is work at `next`.
    pub(super) fn plan(&mut self, next: u64) {
        self.done = self.done_until();
        self.next = next;
        self.expect();
    }

    /// The longest limit in force.
    fn longest(&self) -> Span {
        let config = &self.config;
        let write = config.write_timeout.filter(|_| config.interval.is_some());
        let common = [config.silence_timeout, config.hello_timeout, write];
        let own = self.silences.iter().enumerate();
        let own = own.filter(|(index, _)| self.roster.live_slot(*index).is_some());
        let all = common.into_iter().chain(own.map(|(_, silence)| *silence));
        all.flatten().max().unwrap_or(Span::ZERO)
    }

    /// An amnesty granted now.
    pub(super) fn amnesty(&self) -> Amnesty {
        let tick = match self.amnesties.younger {
            // What was heard since that one is too fresh to matter.
            Some(last) if last.tick.saturating_add(1) == self.tick() => last.tick,
            _ => self.tick(),
        };
        Amnesty::new(self.now, tick)
    }

    pub(super) fn forgave(&mut self, amnesty: Amnesty) {
        self.heard = Slot::heard(amnesty.tick.saturating_add(1));
        self.counters.stalls = self.counters.stalls.wrapping_add(1);
        let probes = self.config.interval.map_or(NEVER, |_| self.now.as_nanos());
        self.plan(self.next.min(probes));
    }

    /// Goes to `now`, however far: what the clocks of the connections cannot
    /// tell is then just long ago.
    pub(super) fn leap(&mut self, now: Timestamp) {
        let tick = self.ticks.at(now).max(self.tick());
        if tick.saturating_sub(self.tick()) > ticks::LONGEST {
            for flush in &mut self.flushes {
                *flush = flush.aged(tick);
            }
        }
        self.now = now;
        self.heard = Slot::heard(tick);
        if tick >= ticks::LAST {
            let ticks = ticks::surplus(tick);
            let amnesties = self.amnesties;
            self.roster.rebase(|tick| amnesties.rebased(tick, ticks));
            self.amnesties.rebase(ticks);
            self.heard = Slot::heard(tick.saturating_sub(ticks));
            self.ticks.rebase(ticks);
        }
    }

    /// When the roster expects to be polled, from which its driver's stalls
    /// are told: what lay in the past when one was forgiven fell due then.
    pub(super) fn expect(&mut self) {
        let expected = self.busy.map_or(self.next, Timestamp::as_nanos);
        let stalled = self.amnesties.last().map_or(0, Timestamp::as_nanos);
        let late = expected.max(stalled).saturating_add(self.tolerance.nanos());
        self.late = Timestamp::from_nanos(late).unwrap_or(Timestamp::MAX);
        self.plain = self.plain.min(self.late);
    }

    /// Up to when what is spread may be done early, so that it does not take a
    /// wake each.
    pub(super) fn ahead(&self) -> Timestamp {
        self.now.after(self.resolution).unwrap_or(Timestamp::MAX)
    }

    /// Plans when there is work again; what should have been before is now.
    pub(super) fn schedule(&mut self) {
        let mut next = NEVER;
        if self.roster.len() > 0 {
            let drain = self.drain.map_or(NEVER, |drain| drain.next.as_nanos());
            let spread = self.next_beat_due().min(self.next_probe_due()).min(drain);
            next = self.dues.earliest().min(spread).max(self.now.as_nanos());
        }
        self.plan(next);
    }
}
