//! When the roster must send, spread evenly.
//!
//! Each round, of about an interval, passes every connection once, in the
//! order of their places and at an even pace: where it comes by, a beat goes
//! out. So whoever was inserted together, or sent to together, does not beat
//! together. A connection that was sent to shortly before needs none; its beat
//! is put off to an instant of its own in what remains of its interval, and a
//! later round finds it in step again.

use super::Reaper;
use super::dues::NEVER;
use super::news::News;
use super::roster::GROUP;
use super::ticks;
use super::work::BUDGET;
use crate::chance::{Draw, draw, up_to};
use crate::config::Config;
use crate::time::Span;

/// How much of the interval before a beat other traffic stands in for it: a
/// sixth. After a broadcast all beats of an interval go out in the other five,
/// a fifth more densely than they would.
const RECENT: u64 = 6;

/// How much sooner than the interval a round is over at least, so that it
/// comes by before a beat is due anyway: a 64th.
const MARGIN: u64 = 64;

/// When a connection was last flushed to, or asked for a heartbeat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flush(u32);

const TICKS: u32 = (1 << 30) - 1;
const PUT_OFF: u32 = 1 << 30;
const IN_FLIGHT: u32 = 1 << 31;

impl Flush {
    /// Nothing is in flight, and nothing was put off.
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // ticks are told apart by their lower bits
    pub(super) const fn new(tick: u64) -> Self {
        Self(tick as u32 & TICKS)
    }

    /// A heartbeat was asked for.
    pub(super) const fn asked(tick: u64) -> Self {
        Self(Self::new(tick).0 | IN_FLIGHT)
    }

    /// Something was flushed; a heartbeat in flight still is.
    #[inline]
    pub(super) const fn flushed(self, tick: u64) -> Self {
        Self(Self::new(tick).0 | self.0 & IN_FLIGHT)
    }

    /// After a leap of time: longer ago than any limit.
    pub(super) const fn aged(self, now: u64) -> Self {
        Self(Self::new(now.wrapping_sub(ticks::LONGEST)).0 | self.0 & IN_FLIGHT)
    }

    pub(super) const fn put_off(self) -> Self {
        Self(self.0 | PUT_OFF)
    }

    /// The tick that this is, as of the tick `now`.
    #[inline]
    pub(super) fn tick(self, now: u64) -> u64 {
        now.saturating_sub(self.age(now))
    }

    /// A number for what is drawn once a flush.
    pub(super) const fn number(self) -> u32 {
        self.0 & TICKS
    }

    /// How long ago, in ticks.
    #[inline]
    pub(super) fn age(self, now: u64) -> u64 {
        u64::from(Self::new(now).0.wrapping_sub(self.0) & TICKS)
    }

    #[inline]
    pub(super) const fn is_in_flight(self) -> bool {
        self.0 & IN_FLIGHT != 0
    }

    /// Neither in flight nor put off.
    #[inline]
    pub(super) const fn is_at_rest(self) -> bool {
        self.0 & !TICKS == 0
    }

    #[inline]
    pub(super) const fn is_put_off(self) -> bool {
        self.0 & PUT_OFF != 0
    }
}

/// The wait of a connection whose beat was put off, counted from its flush.
pub(super) fn put_off_wait(interval: Span, index: usize) -> Span {
    // Multiples of the golden ratio fill a range evenly, in whatever order.
    let place = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let recent = interval.scaled(1, RECENT);
    let rest = interval.saturating_sub(recent);
    recent.saturating_add(rest.scaled(place, 1 << 32))
}

/// Whether what was sent before this wait is recent enough to stand in.
pub(super) const fn is_recent(wait: Span, interval: Span) -> bool {
    wait.nanos() < interval.scaled(1, RECENT).nanos()
}

/// The round: from which place on the next is, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) next: usize,
    pub(super) at: u64,
    /// How long a round takes.
    length: u64,
}

impl Round {
    /// None where no beats are sent, or not to be spread.
    pub(super) fn new(config: &Config, resolution: Span, now: u64) -> Option<Self> {
        let interval = config.interval.filter(|_| config.spread_first_beat)?;
        // In the middle of what jitter allows, which bears a roster that grows.
        let jitter = interval.times(config.interval_jitter.ratio()).scaled(1, 2);
        let length = interval.saturating_sub(jitter.max(interval.scaled(1, MARGIN)));
        Some(Self {
            next: 0,
            at: now,
            length: length.max(resolution).nanos(),
        })
    }

    /// The roster was empty: starts at any time of a round, so that rosters
    /// that start together do not beat together either.
    pub(super) fn begin(&mut self, seed: u64, now: u64) {
        let wait = up_to(Span::from_nanos(self.length), draw(seed, 0, Draw::Beat(0)));
        self.at = now.saturating_add(wait.nanos());
    }

    /// The time from one connection to the next, of so many.
    #[inline]
    fn pace(&self, connections: usize) -> u64 {
        let pace = self.length.checked_div(connections as u64);
        pace.unwrap_or(NEVER).max(1)
    }

    /// When many came it does not wait for as long as it would for few.
    pub(super) fn hasten(&mut self, now: u64, connections: usize) {
        let latest = now.saturating_add(self.pace(connections));
        self.at = self.at.min(latest);
    }

    /// After a stall it is not run more than once over.
    fn catch_up(&mut self, now: u64) {
        self.at = self.at.max(now.saturating_sub(self.length));
    }
}

impl<T> Reaper<T> {
    /// A heartbeat is in flight from now on; gives when it has been so for
    /// too long.
    pub(super) fn ask(&mut self, index: usize) -> u64 {
        let tick = self.tick();
        if let Some(flush) = self.flushes.get_mut(index) {
            *flush = Flush::asked(tick);
        }
        let asked = self.ticks.end(tick);
        asked.saturating_add(self.nanos.write)
    }

    /// The next that the round comes by, and that was sent nothing of late.
    pub(super) fn next_beat(&mut self, news: &impl Fn(&T) -> News) -> Option<usize> {
        let mut round = self.round?;
        let interval = self.config.interval?;
        let (now, ahead) = (self.now.as_nanos(), self.ahead().as_nanos());
        let (tick, pace) = (self.tick(), round.pace(self.roster.len()));
        round.catch_up(now);
        let mut found = None;
        while found.is_none() && round.at <= ahead && self.visited < BUDGET {
            let Some(index) = self.roster.next_around(round.next) else {
                break;
            };
            round.next = index.saturating_add(1);
            round.at = round.at.saturating_add(pace);
            self.looked_at(1);
            self.learn(index, news);
            let Some(flush) = self.flushes.get_mut(index) else {
                break;
            };
            if flush.is_in_flight() || flush.is_put_off() {
                continue;
            }
            let since = self.ticks.start(flush.tick(tick));
            let wait = Span::from_nanos(now.saturating_sub(since));
            if flush.age(tick) > 0 && !is_recent(wait, interval) {
                found = Some(index);
                continue;
            }
            let put_off = flush.put_off();
            *flush = put_off;
            let due = self.beat_bound(index, put_off);
            self.dues.lower(index / GROUP, due);
        }
        self.round = Some(round);
        found
    }

    /// When the round comes by somebody, of a roster that is not empty.
    pub(super) fn next_beat_due(&self) -> u64 {
        self.round.map_or(NEVER, |round| round.at)
    }

    pub(super) fn flushes_in(&self, group: usize) -> &[Flush] {
        let flushes = self.flushes.get(group.saturating_mul(GROUP)..);
        let flushes = flushes.unwrap_or_default();
        flushes.get(..GROUP).unwrap_or(flushes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn a_flush_is_told_by_its_lower_bits() {
        for now in [7, u64::from(TICKS), 1 << 30, (1 << 40) + 3] {
            for age in [0, 1, 5] {
                let flush = Flush::new(now - age);
                assert_eq!(flush.tick(now), now - age);
                assert_eq!(flush.put_off().tick(now), now - age);
                assert_eq!(Flush::asked(now - age).tick(now), now - age);
            }
        }
    }

    #[test]
    fn at_rest_is_who_has_nothing_in_flight_and_nothing_put_off() {
        for tick in [0, 5, u64::from(TICKS)] {
            assert!(Flush::new(tick).is_at_rest());
            assert!(!Flush::new(tick).put_off().is_at_rest());
            assert!(!Flush::asked(tick).is_at_rest());
        }
    }

    #[test]
    fn a_flush_keeps_what_is_in_flight_and_forgets_what_was_put_off() {
        let asked = Flush::asked(5).put_off().flushed(9);
        assert!(asked.is_in_flight() && !asked.is_put_off());
        assert!(!Flush::new(5).flushed(9).is_in_flight());
    }

    #[test]
    fn what_is_put_off_is_spread_over_the_rest_of_the_interval() {
        let interval = Span::saturating(Duration::from_secs(50));
        let mut seconds = [0; 50];
        for index in 1000..5000 {
            let wait = put_off_wait(interval, index);
            assert!(!is_recent(wait, interval) && wait <= interval);
            seconds[usize::try_from(wait.nanos() / 1_000_000_000).unwrap()] += 1;
        }
        assert!(seconds[..8].iter().all(|count| *count == 0));
        assert!(
            seconds[9..].iter().all(|count| (93..=99).contains(count)),
            "{seconds:?}"
        );
    }
}
