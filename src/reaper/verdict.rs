//! What is due for one connection, and from when on it may be.
//!
//! What is certainly not due is told by comparing ticks; what may be is put
//! into the form of a session's link, whose rules then decide.

use super::Reaper;
use super::beats::{Flush, put_off_wait};
use super::dues::NEVER;
use super::roster::{Slot, place};
use crate::config::Config;
use crate::session::{CloseReason, Link, beat_gap};
use crate::time::{Span, Timestamp};

/// What is to be done about one connection.
pub(super) enum Judgement {
    Close(CloseReason),
    /// A heartbeat; and a verdict not before this instant.
    Beat(u64),
    /// Nothing before this instant.
    Wait(u64),
}

/// The limits of the configuration in nanoseconds, where none is never.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) silence: u64,
    pub(super) hello: u64,
    pub(super) write: u64,
    pub(super) interval: u64,
}

impl Limits {
    pub(super) fn of(config: &Config) -> Self {
        let nanos = |limit: Option<Span>| limit.map_or(NEVER, Span::nanos);
        Self {
            silence: nanos(config.silence_timeout),
            hello: nanos(config.hello_timeout),
            write: nanos(config.write_timeout),
            interval: nanos(config.interval),
        }
    }
}

impl<T> Reaper<T> {
    /// What a session in this connection's state would do.
    pub(super) fn judge(&self, index: usize) -> Judgement {
        let Some(slot) = self.roster.live_slot(index) else {
            return Judgement::Wait(NEVER); // gone meanwhile
        };
        if let Some(None) = self.buckets.get(index) {
            return Judgement::Close(CloseReason::Flooded);
        }
        let flush = self.flushes.get(index).copied();
        let link = self.unpack(slot, flush);
        let retirement = self.retirements.get(index).copied().flatten();
        let verdict = match self.silences.get(index) {
            None => link.verdict(&self.config, retirement),
            Some(silence) => {
                let mut config = self.config;
                config.silence_timeout = *silence;
                link.verdict(&config, retirement)
            }
        };
        let verdict_at = match verdict {
            Some((at, reason)) if at <= self.now => return Judgement::Close(reason),
            Some((at, _)) => at.as_nanos(),
            None => NEVER,
        };
        let beat_at = match flush {
            Some(flush) if !flush.is_in_flight() => self.beat_bound(index, flush),
            _ => NEVER,
        };
        if beat_at <= self.now.as_nanos() {
            return Judgement::Beat(verdict_at);
        }
        Judgement::Wait(verdict_at.min(beat_at))
    }

    /// The connection as a session has it.
    fn unpack(&self, slot: Slot, flush: Option<Flush>) -> Link {
        let instant = |nanos| Timestamp::from_nanos(nanos).unwrap_or(Timestamp::MAX);
        let standing = self.amnesties.standing(slot.tick());
        let mut link = Link::new(Span::ZERO, instant(self.ticks.end(slot.tick())));
        link.heard = slot.is_heard();
        link.suspect = standing.is_suspect;
        link.stalled = standing.since;
        if let Some(flush) = flush.filter(|flush| flush.is_in_flight()) {
            link.flushed = instant(self.ticks.end(flush.tick(self.tick())));
            // A stall gave what was in flight its whole time again.
            link.asked = Some(link.flushed.max(standing.since.unwrap_or(link.flushed)));
        }
        link
    }

    /// Before this instant the connection is not due for anything. Amnesties
    /// move it later yet.
    #[inline]
    pub(super) fn bound(&self, index: usize, slot: Slot) -> u64 {
        let evidence = self.ticks.end(slot.tick());
        let silence = match self.silences.get(index) {
            None => self.limits.silence,
            Some(own) => own.map_or(NEVER, Span::nanos),
        };
        let mut due = evidence.saturating_add(silence);
        if !slot.is_heard() {
            due = due.min(evidence.saturating_add(self.limits.hello));
        }
        if let Some(flush) = self.flushes.get(index) {
            due = due.min(if flush.is_in_flight() {
                let since = self.ticks.end(flush.tick(self.tick()));
                since.saturating_add(self.limits.write)
            } else {
                self.beat_bound(index, *flush)
            });
        }
        if let Some(Some(retirement)) = self.retirements.get(index) {
            due = due.min(retirement.as_nanos());
        }
        match self.buckets.get(index) {
            Some(None) => 0,
            _ => due,
        }
    }

    /// When the next beat is due at the latest.
    #[inline]
    pub(super) fn beat_bound(&self, index: usize, flush: Flush) -> u64 {
        let Some(interval) = self.config.interval else {
            return NEVER;
        };
        let flushed = flush.tick(self.tick());
        let wait = if flush.is_put_off() {
            put_off_wait(interval, index)
        } else if self.config.spread_first_beat {
            interval
        } else {
            #[allow(clippy::cast_possible_truncation)] // it may wrap
            beat_gap(&self.config, self.seed, index as u32, flush.number(), false)
        };
        // Not twice in one tick, however short the interval.
        let due = self.ticks.start(flushed).saturating_add(wait.nanos());
        due.max(self.ticks.end(flushed))
    }

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
        let (tick, limits) = (self.tick(), &self.limits);
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
