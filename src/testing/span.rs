//! Time as the checker tells it: plain nanoseconds in 128 bits, which no sum
//! of a session's times overflows.

use core::time::Duration;

use crate::time::Timestamp;

/// An instant, or a length of time.
pub(super) type Nanos = u128;

/// Later than any instant.
pub(super) const NEVER: Nanos = Nanos::MAX;

/// The longest time that a session can tell.
pub(super) const LONGEST: Nanos = u64::MAX as Nanos - 1;

pub(super) fn at(instant: Timestamp) -> Nanos {
    Nanos::from(instant.as_nanos())
}

pub(super) fn maybe_at(instant: Option<Timestamp>) -> Nanos {
    instant.map_or(NEVER, at)
}

pub(super) const fn len(span: Duration) -> Nanos {
    span.as_nanos()
}

/// An instant beyond the range is never, not the end of it.
pub(super) const fn after(since: Nanos, span: Nanos) -> Nanos {
    let at = since.saturating_add(span);
    if at > LONGEST { NEVER } else { at }
}

/// From the least to the most that something drawn can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) least: Nanos,
    pub(super) most: Nanos,
}

impl Range {
    pub(super) const fn exactly(value: Nanos) -> Self {
        Self {
            least: value,
            most: value,
        }
    }

    pub(super) const fn new(least: Nanos, most: Nanos) -> Self {
        Self { least, most }
    }

    pub(super) const fn holds(self, value: Nanos) -> bool {
        self.least <= value && value <= self.most
    }

    /// The range of the larger of two.
    pub(super) fn max(self, other: Self) -> Self {
        Self::new(self.least.max(other.least), self.most.max(other.most))
    }

    /// The range of the smaller of two.
    pub(super) fn min(self, other: Self) -> Self {
        Self::new(self.least.min(other.least), self.most.min(other.most))
    }

    /// This long after `since`.
    pub(super) const fn after(self, since: Nanos) -> Self {
        Self::new(after(since, self.least), after(since, self.most))
    }

    /// Longer by `by`; a session saturates at the longest time it can tell.
    pub(super) fn plus(self, by: Nanos) -> Self {
        Self::new(
            (self.least + by).min(LONGEST),
            (self.most + by).min(LONGEST),
        )
    }
}
