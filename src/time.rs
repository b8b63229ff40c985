//! Instants, spans and ratios: integers, so that every platform replays the same.

use core::fmt;
use core::num::NonZeroU64;
use core::time::Duration;

/// An instant: nanoseconds since an epoch that the caller picked.
///
/// The core reads no clock. Any clock will do as long as one connection sees
/// the same one throughout: the time since the program started, a virtual time
/// in a test, a hardware counter. The range is about 584 years, and an instant
/// beyond it is *never*: [`checked_add`](Self::checked_add) gives `None`.
///
/// `Option<Timestamp>` is 8 bytes, like `Timestamp` itself.
///
/// ```
/// use core::time::Duration;
/// use nabiz::Timestamp;
///
/// let start = Timestamp::EPOCH;
/// let later = start.checked_add(Duration::from_millis(1500)).unwrap();
/// assert_eq!(later.as_nanos(), 1_500_000_000);
/// assert_eq!(later.saturating_duration_since(start), Duration::from_millis(1500));
/// assert_eq!(start.saturating_duration_since(later), Duration::ZERO);
/// assert_eq!(later.checked_add(Duration::MAX), None);
/// ```
// The value is stored plus one, which keeps zero free for `None`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(NonZeroU64);

impl Timestamp {
    /// The epoch itself.
    pub const EPOCH: Self = Self(NonZeroU64::MIN);

    /// The last instant that can be told, 2⁶⁴ − 2 ns after the epoch.
    pub const MAX: Self = Self(NonZeroU64::MAX);

    /// The instant `nanos` nanoseconds after the epoch; `None` for
    /// `u64::MAX`, the one value that is given up.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Option<Self> {
        match NonZeroU64::MIN.checked_add(nanos) {
            Some(stored) => Some(Self(stored)),
            None => None,
        }
    }

    /// The instant `since_epoch` after the epoch; `None` beyond the range.
    ///
    /// ```
    /// # use core::time::Duration;
    /// # use nabiz::Timestamp;
    /// let now = Timestamp::from_epoch(Duration::from_secs(3)).unwrap();
    /// assert_eq!(now.since_epoch(), Duration::from_secs(3));
    /// ```
    #[must_use]
    pub const fn from_epoch(since_epoch: Duration) -> Option<Self> {
        Self::EPOCH.checked_add(since_epoch)
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0.get().wrapping_sub(1) // never zero
    }

    /// Time since the epoch.
    #[must_use]
    pub const fn since_epoch(self) -> Duration {
        Duration::from_nanos(self.as_nanos())
    }

    /// The instant `after` later, or `None` ("never") beyond the range.
    #[must_use]
    pub const fn checked_add(self, after: Duration) -> Option<Self> {
        match Span::new(after) {
            Some(span) => self.after(span),
            None => None,
        }
    }

    /// How long ago `earlier` was; zero if it is not earlier.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.since(earlier).duration()
    }

    pub(crate) const fn after(self, span: Span) -> Option<Self> {
        match self.0.checked_add(span.nanos()) {
            Some(stored) => Some(Self(stored)),
            None => None,
        }
    }

    pub(crate) const fn since(self, earlier: Self) -> Span {
        Span::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.since_epoch(), f)
    }
}

/// A length of time in 8 bytes, `Option` included; what [`Duration`] is for
/// callers, this is inside, where a session keeps a dozen of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Span(NonZeroU64);

impl Span {
    pub(crate) const ZERO: Self = Self(NonZeroU64::MIN);

    /// What is too long for the range; no valid configuration holds it.
    pub(crate) const TOO_LONG: Self = Self(NonZeroU64::MAX);

    pub(crate) const fn new(duration: Duration) -> Option<Self> {
        let nanos = duration.as_nanos();
        if nanos < u64::MAX as u128 {
            #[allow(clippy::cast_possible_truncation)] // just compared
            Some(Self::from_nanos(nanos as u64))
        } else {
            None
        }
    }

    pub(crate) const fn saturating(duration: Duration) -> Self {
        match Self::new(duration) {
            Some(span) => span,
            None => Self::TOO_LONG,
        }
    }

    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(nanos))
    }

    pub(crate) const fn nanos(self) -> u64 {
        self.0.get().wrapping_sub(1) // never zero
    }

    pub(crate) const fn duration(self) -> Duration {
        Duration::from_nanos(self.nanos())
    }

    pub(crate) const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.nanos()))
    }

    pub(crate) const fn saturating_sub(self, other: Self) -> Self {
        Self::from_nanos(self.nanos().saturating_sub(other.nanos()))
    }

    /// `self × numerator ÷ denominator`, rounded down, saturating.
    pub(crate) const fn scaled(self, numerator: u64, denominator: u64) -> Self {
        // Mostly it fits 64 bits, whose division is several times as fast.
        if let Some(product) = self.nanos().checked_mul(numerator) {
            if let Some(nanos) = product.checked_div(denominator) {
                return Self::from_nanos(nanos);
            }
        }
        #[allow(clippy::arithmetic_side_effects)] // two u64 multiplied fit a u128
        let product = self.nanos() as u128 * numerator as u128;
        match product.checked_div(denominator as u128) {
            #[allow(clippy::cast_possible_truncation)] // just compared
            Some(nanos) if nanos < u64::MAX as u128 => Self::from_nanos(nanos as u64),
            _ => Self::TOO_LONG,
        }
    }

    pub(crate) const fn times(self, ratio: Ratio) -> Self {
        self.scaled(ratio.permille as u64, 1000)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.duration(), f)
    }
}

/// A ratio in thousandths: an integer, because floats round differently from
/// platform to platform and a replay must not.
///
/// ```
/// use nabiz::Ratio;
///
/// assert_eq!(Ratio::percent(10), Ratio::permille(100));
/// assert_eq!(Ratio::permille(1600).to_string(), "160%");
/// assert_eq!(Ratio::permille(1275).to_string(), "127.5%");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio {
    permille: u32,
}

impl Ratio {
    /// Nothing.
    pub const ZERO: Self = Self::permille(0);
    /// One to one, 100 %.
    pub const ONE: Self = Self::permille(1000);

    /// `percent` hundredths; `u32::MAX / 10` at most, saturating.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Self::permille(percent.saturating_mul(10))
    }

    /// `permille` thousandths.
    #[must_use]
    pub const fn permille(permille: u32) -> Self {
        Self { permille }
    }

    /// The ratio in thousandths.
    #[must_use]
    pub const fn as_permille(self) -> u32 {
        self.permille
    }
}

impl fmt::Display for Ratio {
    #[allow(clippy::arithmetic_side_effects)] // division by ten
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.permille % 10 {
            0 => write!(f, "{}%", self.permille / 10),
            tenth => write!(f, "{}.{tenth}%", self.permille / 10),
        }
    }
}

impl fmt::Debug for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_cost_nothing() {
        assert_eq!(size_of::<Option<Timestamp>>(), 8);
        assert_eq!(size_of::<Option<Span>>(), 8);
    }

    #[test]
    fn one_value_of_the_range_is_given_up() {
        assert_eq!(Timestamp::from_nanos(u64::MAX), None);
        assert_eq!(Timestamp::from_nanos(u64::MAX - 1), Some(Timestamp::MAX));
        assert_eq!(Timestamp::MAX.as_nanos(), u64::MAX - 1);
        assert_eq!(Timestamp::from_nanos(0), Some(Timestamp::EPOCH));
    }

    #[test]
    fn beyond_the_range_is_never() {
        let nano = Duration::from_nanos(1);
        assert_eq!(Timestamp::MAX.checked_add(nano), None);
        assert_eq!(
            Timestamp::MAX.checked_add(Duration::ZERO),
            Some(Timestamp::MAX)
        );
        assert_eq!(
            Timestamp::EPOCH.checked_add(Duration::from_nanos(u64::MAX)),
            None
        );
    }

    #[test]
    fn a_report_shows_times_as_people_tell_them() {
        extern crate alloc;
        let span = Span::from_nanos(1_500_000_000);
        assert_eq!(alloc::format!("{span:?}"), "1.5s");
        assert_eq!(alloc::format!("{:?}", Ratio::permille(1275)), "127.5%");
    }

    #[test]
    fn scaling_is_exact_and_saturates() {
        let span = Span::from_nanos(1_000_000_001);
        assert_eq!(span.times(Ratio::permille(1600)).nanos(), 1_600_000_001);
        assert_eq!(
            Span::from_nanos(u64::MAX).scaled(3, 2).nanos(),
            u64::MAX - 1
        );
    }
}
