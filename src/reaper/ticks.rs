//! Instants in few bits: ticks of a power of two nanoseconds.

use core::time::Duration;

use crate::config::{Config, ConfigError, Rule};
use crate::time::{Span, Timestamp};

/// How many bits of a slot tell a tick: 584 years at the default resolution,
/// 18 at one of a millisecond, after which they are counted anew.
pub(super) const BITS: u32 = 41;

/// The last tick that can be told; the one after it marks a free slot.
pub(super) const LAST: u64 = (1 << BITS) - 2;

/// The longest limit in ticks, 26 days at the default resolution. What lies
/// between two flushes stays well below the range of their clock, 2³⁰.
pub(super) const LONGEST: u64 = 1 << 28;

/// By how much to count from later on, so that `tick` is one that leaves as
/// much again; the lower bits, by which flushes are told, stay what they are.
pub(super) const fn surplus(tick: u64) -> u64 {
    tick.saturating_sub(LAST / 2) & !(4 * LONGEST - 1)
}

/// The scale of time in a roster.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticks {
    /// A tick is `1 << shift` nanoseconds.
    shift: u32,
    /// The tick of the epoch's that is our tick 0.
    base: u64,
}

impl Ticks {
    /// Ticks of at most half the resolution: a clock that is rounded up to one
    /// end of a tick, and after a stall to the next, is still within it.
    pub(super) const fn new(resolution: Span, now: Timestamp) -> Self {
        let shift = match (resolution.nanos() / 2).checked_ilog2() {
            Some(shift) => shift,
            None => 0,
        };
        Self {
            shift,
            base: now.as_nanos() >> shift,
        }
    }

    /// The tick that `now` is in, counted from 1.
    #[inline]
    pub(super) const fn at(&self, now: Timestamp) -> u64 {
        (now.as_nanos() >> self.shift)
            .wrapping_sub(self.base)
            .wrapping_add(1)
    }

    /// The end of a tick, in nanoseconds: later than anything in it.
    #[inline]
    pub(super) fn end(&self, tick: u64) -> u64 {
        let count = tick.saturating_add(self.base);
        if count > u64::MAX >> self.shift {
            u64::MAX
        } else {
            count << self.shift
        }
    }

    /// The start of a tick, in nanoseconds: not later than anything in it.
    #[inline]
    pub(super) fn start(&self, tick: u64) -> u64 {
        self.end(tick.saturating_sub(1))
    }

    /// From which age on, in ticks before `tick`, a limit has passed by `now`
    /// that is counted from the end of a tick.
    #[inline]
    pub(super) fn ages(&self, tick: u64, now: u64, limit: u64) -> u64 {
        let youngest = now
            .checked_sub(limit)
            .and_then(|since| (since >> self.shift).checked_sub(self.base));
        youngest.map_or(u64::MAX, |youngest| tick.saturating_sub(youngest))
    }

    /// Counts from `ticks` later on.
    pub(super) fn rebase(&mut self, ticks: u64) {
        self.base = self.base.wrapping_add(ticks);
    }

    /// Whether the limits of a configuration can be told in these ticks.
    pub(super) fn check(&self, config: &Config) -> Result<(), ConfigError> {
        for (field, limit) in [
            ("interval", config.interval),
            ("silence_timeout", config.silence_timeout),
            ("write_timeout", config.write_timeout),
            ("hello_timeout", config.hello_timeout),
        ] {
            if limit.is_some_and(|limit| limit.nanos() >> self.shift >= LONGEST) {
                return Err(ConfigError::new(field, Rule::TooLongForResolution));
            }
        }
        Ok(())
    }
}

/// The default resolution.
pub(crate) const RESOLUTION: Span = Span::saturating(Duration::from_millis(20));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_inside_its_tick() {
        for resolution in [1, 2, 3, 20_000_000, u64::MAX - 2] {
            for nanos in [0, 1, 12_345_678_901, u64::MAX / 2, u64::MAX - 1] {
                let now = Timestamp::from_nanos(nanos).unwrap();
                let ticks = Ticks::new(Span::from_nanos(resolution), Timestamp::EPOCH);
                let tick = ticks.at(now);
                assert!(ticks.start(tick) <= nanos, "{resolution} {nanos}");
                assert!(ticks.end(tick) > nanos, "{resolution} {nanos}");
                let length = ticks.end(tick) - ticks.start(tick);
                assert!(length <= (resolution / 2).max(1) || ticks.end(tick) == u64::MAX);
            }
        }
    }
}
