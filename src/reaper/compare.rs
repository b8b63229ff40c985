//! Of a group, who may be due, and when the others are: by comparing ticks.

use super::Reaper;
use super::beats::Flush;
use super::dues::NEVER;
use super::roster::place;

impl<T> Reaper<T> {
    /// Whether what is due follows from ticks and the configuration alone.
    pub(super) fn is_plain(&self) -> bool {
        self.silences.is_empty()
            && self.retirements.is_empty()
            && self.buckets.is_empty()
            && (self.flushes.is_empty() || self.config.spread_first_beat)
    }

    /// Of some of a group: who may be due, and when the others are at the
    /// earliest.
    pub(super) fn compare_each(&self, group: usize, some: u64) -> (u64, u64) {
        let now = self.now.as_nanos();
        let (mut todo, mut rest) = (0, NEVER);
        for (bit, slot) in members(some, self.roster.slots_in(group)) {
            let due = self.bound(place(group, bit), *slot);
            if due <= now {
                todo |= bit;
            } else {
                rest = rest.min(due);
            }
        }
        (todo, rest)
    }

    /// The same for a plain roster, many times as fast: the oldest of each
    /// kind tell for all.
    pub(super) fn compare(&self, group: usize, some: u64) -> (u64, u64) {
        if some == 0 {
            return (0, NEVER);
        }
        let (tick, limits) = (self.tick(), &self.nanos);
        let ages = |limit| self.ticks.ages(tick, self.now.as_nanos(), limit);
        let end = |age: u64| self.ticks.end(tick.saturating_sub(age));
        let slots = self.roster.slots_in(group);

        // A free slot only makes it look sooner than it is.
        let silence = ages(limits.silence);
        let silent = slots.iter().map(|slot| tick.saturating_sub(slot.tick()));
        let (mut todo, silent) = sift(silent, silence);
        let mut rest = silent.due(|age| end(age).saturating_add(limits.silence));

        if limits.hello != NEVER {
            let hello = ages(limits.hello);
            for (bit, slot) in members(some, slots).filter(|(_, slot)| !slot.is_heard()) {
                let age = tick.saturating_sub(slot.tick());
                if age >= hello {
                    todo |= bit;
                } else {
                    rest = rest.min(end(age).saturating_add(limits.hello));
                }
            }
        }

        // A beat is due from the start of the tick of the last flush, but not
        // within it. Of who is not at rest this may be said too soon.
        let flushes = self.flushes_in(group);
        let interval = ages(limits.interval).saturating_sub(1).max(ages(0));
        let (beats, idle) = sift(flushes.iter().map(|flush| flush.age(tick)), interval);
        todo |= beats;
        rest = rest.min(idle.due(|age| {
            let start = end(age.saturating_add(1));
            start.saturating_add(limits.interval).max(end(age))
        }));
        let restless = |(bit, flush): (usize, &Flush)| u64::from(!flush.is_at_rest()) << bit;
        let restless: u64 = flushes.iter().enumerate().map(restless).sum();
        for (bit, flush) in members(restless & some & !todo, flushes) {
            let due = if flush.is_in_flight() {
                end(flush.age(tick)).saturating_add(limits.write)
            } else {
                self.beat_bound(place(group, bit), *flush)
            };
            if due <= self.now.as_nanos() {
                todo |= bit;
            } else {
                rest = rest.min(due);
            }
        }
        (todo & some, rest)
    }
}

/// Of some ages, those that have come to a limit, a bit each, and the oldest
/// of the others.
#[inline]
fn sift(ages: impl Iterator<Item = u64>, limit: u64) -> (u64, Oldest) {
    let (mut passed, mut oldest, mut bit) = (0, 0, 1u64);
    for age in ages {
        let is_past = age >= limit;
        passed |= if is_past { bit } else { 0 };
        oldest = oldest.max(if is_past { 0 } else { age.saturating_add(1) });
        bit = bit.wrapping_shl(1);
    }
    (passed, Oldest(oldest))
}

/// One more than the age of the oldest, if there is any.
#[derive(Clone, Copy)]
struct Oldest(u64);

impl Oldest {
    fn due(self, of: impl Fn(u64) -> u64) -> u64 {
        self.0.checked_sub(1).map_or(NEVER, of)
    }
}

/// The slots of some of a group, each with its bit.
#[inline]
fn members<S>(some: u64, slots: &[S]) -> impl Iterator<Item = (u64, &S)> {
    let mut left = some;
    core::iter::from_fn(move || {
        let slot = slots.get(left.trailing_zeros() as usize)?;
        let bit = left & left.wrapping_neg();
        left ^= bit;
        Some((bit, slot))
    })
}
