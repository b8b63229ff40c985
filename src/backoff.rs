//! How long to stay away after a failure.

use core::time::Duration;

use crate::chance::{Draw, draw, up_to};
use crate::config::{ConfigError, Rule};
use crate::time::{Ratio, Span};

/// Reconnect delays: exponential, capped, and jittered *after* the cap.
///
/// The delay before attempt *n* (from 1) is drawn around
/// `min(initial × multiplierⁿ⁻¹, max)`; [`Jitter`] says how. Arithmetic is in
/// integers and saturates: attempt 10⁹ still has a sane delay.
///
/// The defaults, 1 s × 1.6 up to 120 s, are those of the [gRPC connection
/// backoff](https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md),
/// with [`Jitter::Full`] in place of its ±20 %: the [AWS study of
/// backoff](https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/)
/// found that it makes the least work for a server that everybody returns to.
///
/// A [`Session`](crate::Session) paces its reconnects by the policy in its
/// [`Config`](crate::Config). Alone, for any other thing that is retried:
///
/// ```
/// use core::time::Duration;
/// use nabiz::{Backoff, Jitter};
///
/// let policy = Backoff::new()
///     .with_initial(Duration::from_millis(100))
///     .with_max(Duration::from_secs(5))
///     .with_jitter(Jitter::Equal)
///     .with_max_attempts(8);
/// # let seed_from_your_entropy_source = 7;
/// let mut delays = policy.delays(seed_from_your_entropy_source)?;
/// let first = delays.next().unwrap();
/// assert!(first >= Duration::from_millis(50) && first <= Duration::from_millis(100));
/// assert_eq!(delays.count(), 7);
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backoff {
    initial: Span,
    max: Span,
    multiplier: Ratio,
    /// `u32::MAX` is without end: the counter stops there too.
    max_attempts: u32,
    jitter: Jitter,
}

/// How a delay is spread, so that those who failed together do not return
/// together.
///
/// `base` is the exponential delay, already capped.
///
/// ```
/// use core::time::Duration;
/// use nabiz::{Backoff, Jitter};
///
/// let exact = Backoff::new().with_jitter(Jitter::None);
/// let delays: Vec<_> = exact.delays(0)?.take(3).collect();
/// assert_eq!(delays, [1000, 1600, 2560].map(Duration::from_millis));
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Jitter {
    /// `base` itself. For tests, and where there is only one client.
    None,
    /// `base × (1 ± p)`, as gRPC does with 20 %. May exceed `max` by `p`.
    Proportional(Ratio),
    /// U\[`base`/2, `base`\].
    Equal,
    /// U\[0, `base`\].
    Full,
    /// U\[`initial`, min(`max`, 3 × the previous delay)\]; the multiplier is
    /// not used. The cap is applied before the draw: the usual
    /// `min(max, U[…])` would pile delays up at `max`.
    Decorrelated,
}

impl Backoff {
    /// 1 s × 1.6 to 120 s, full jitter, attempts without end.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            initial: Span::saturating(Duration::from_secs(1)),
            max: Span::saturating(Duration::from_secs(120)),
            multiplier: Ratio::permille(1600),
            max_attempts: u32::MAX,
            jitter: Jitter::Full,
        }
    }

    /// The delay before the first attempt, before jitter.
    #[must_use]
    pub const fn with_initial(mut self, initial: Duration) -> Self {
        self.initial = Span::saturating(initial);
        self
    }

    /// What each delay is multiplied by for the next.
    #[must_use]
    pub const fn with_multiplier(mut self, multiplier: Ratio) -> Self {
        self.multiplier = multiplier;
        self
    }

    /// The cap, applied before the jitter.
    #[must_use]
    pub const fn with_max(mut self, max: Duration) -> Self {
        self.max = Span::saturating(max);
        self
    }

    /// How delays are spread.
    #[must_use]
    pub const fn with_jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Give up after this many attempts in a row. The default is never to, and
    /// `u32::MAX` says the same.
    #[must_use]
    pub const fn with_max_attempts(mut self, max_attempts: u32) -> Self {
        self.max_attempts = max_attempts;
        self
    }

    /// Never give up.
    #[must_use]
    pub const fn without_max_attempts(mut self) -> Self {
        self.max_attempts = u32::MAX;
        self
    }

    /// The delay before the first attempt, before jitter.
    #[must_use]
    pub const fn initial(&self) -> Duration {
        self.initial.duration()
    }

    /// What each delay is multiplied by for the next.
    #[must_use]
    pub const fn multiplier(&self) -> Ratio {
        self.multiplier
    }

    /// The cap on a delay, before jitter.
    #[must_use]
    pub const fn max(&self) -> Duration {
        self.max.duration()
    }

    /// How delays are spread.
    #[must_use]
    pub const fn jitter(&self) -> Jitter {
        self.jitter
    }

    /// After how many attempts in a row to give up.
    #[must_use]
    pub const fn max_attempts(&self) -> Option<u32> {
        match self.max_attempts {
            u32::MAX => None,
            max => Some(max),
        }
    }

    /// The delays, one an attempt, without end or up to `max_attempts`.
    ///
    /// The same seed gives the same delays. Take it from an entropy source:
    /// with a constant one all clients wait equally long, and return together.
    ///
    /// # Errors
    /// Where a delay or the number of attempts is zero, the cap below the
    /// first delay, the multiplier below 1, the proportion above 100 %.
    pub const fn delays(self, seed: u64) -> Result<Delays, ConfigError> {
        match self.check() {
            Ok(()) => Ok(Delays {
                policy: self,
                seed,
                series: 0,
                attempt: 0,
                step: None,
            }),
            Err(error) => Err(error),
        }
    }

    pub(crate) const fn check(&self) -> Result<(), ConfigError> {
        if let Err(error) = ConfigError::check_span("backoff.initial", self.initial) {
            return Err(error);
        }
        if let Err(error) = ConfigError::check_span("backoff.max", self.max) {
            return Err(error);
        }
        if self.max.nanos() < self.initial.nanos() {
            return Err(ConfigError::new("backoff.max", Rule::BelowInitial));
        }
        if self.multiplier.as_permille() < Ratio::ONE.as_permille() {
            return Err(ConfigError::new("backoff.multiplier", Rule::BelowOne));
        }
        if self.max_attempts == 0 {
            return Err(ConfigError::new("backoff.max_attempts", Rule::Zero));
        }
        match self.jitter {
            Jitter::Proportional(p) if p.as_permille() > Ratio::ONE.as_permille() => {
                Err(ConfigError::new("backoff.jitter", Rule::AboveOne))
            }
            _ => Ok(()),
        }
    }

    /// The delay after `attempt` attempts, which it counts up; `None` when they
    /// are used up. `step` is the last base, with decorrelated jitter the last
    /// delay, and none at first.
    pub(crate) fn next(
        &self,
        attempt: &mut u32,
        step: &mut Option<Span>,
        seed: u64,
        link: u32,
    ) -> Option<Span> {
        if self.max_attempts().is_some_and(|max| *attempt >= max) {
            return None;
        }
        *attempt = attempt.saturating_add(1);
        let chance = draw(seed, link, Draw::Backoff(*attempt));
        let is_decorrelated = self.jitter == Jitter::Decorrelated;
        let base = match *step {
            None => self.initial,
            Some(previous) if is_decorrelated => previous,
            Some(previous) => previous.times(self.multiplier).min(self.max),
        };
        let delay = self.spread(base, chance);
        *step = Some(if is_decorrelated { delay } else { base });
        Some(delay)
    }

    /// A first attempt's delay, whatever came before.
    pub(crate) fn first(&self, seed: u64, link: u32) -> Span {
        self.spread(self.initial, draw(seed, link, Draw::Hurry))
    }

    /// A delay around `base`, which for decorrelated jitter is the one before.
    fn spread(&self, base: Span, chance: u64) -> Span {
        match self.jitter {
            Jitter::None => base,
            Jitter::Decorrelated => {
                let most = base.scaled(3, 1).min(self.max);
                self.initial
                    .saturating_add(up_to(most.saturating_sub(self.initial), chance))
            }
            Jitter::Proportional(p) => {
                let reach = base.times(p);
                base.saturating_sub(reach)
                    .saturating_add(up_to(reach.scaled(2, 1), chance))
            }
            Jitter::Equal => {
                let half = base.scaled(1, 2);
                base.saturating_sub(half)
                    .saturating_add(up_to(half, chance))
            }
            Jitter::Full => up_to(base, chance),
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

/// The delays of one series of attempts, from [`Backoff::delays`].
///
/// ```
/// use nabiz::Backoff;
///
/// let mut delays = Backoff::new().delays(42)?;
/// delays.by_ref().take(20).for_each(drop);
/// assert_eq!(delays.attempt(), 20);
/// delays.reset(); // it worked, and stayed so for a while
/// assert!(delays.next().unwrap() <= Backoff::new().initial());
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "an iterator does nothing until it is asked"]
pub struct Delays {
    policy: Backoff,
    seed: u64,
    /// Counts the resets, so that each series draws anew.
    series: u32,
    attempt: u32,
    step: Option<Span>,
}

impl Delays {
    /// How many delays were drawn since the start.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Back to the first delay. Do this when the thing *held* for a while, not
    /// as soon as it began: what is accepted and dropped over and over would
    /// otherwise be tried at the shortest delay for ever.
    pub const fn reset(&mut self) {
        self.series = self.series.wrapping_add(1);
        self.attempt = 0;
        self.step = None;
    }
}

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let delay = self
            .policy
            .next(&mut self.attempt, &mut self.step, self.seed, self.series)?;
        Some(delay.duration())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: f64 = 1e9;

    fn delays(policy: Backoff, seed: u64) -> Delays {
        policy.delays(seed).unwrap()
    }

    /// The smallest and the largest delay before attempt `n` over many seeds.
    fn reach(policy: Backoff, n: usize) -> (f64, f64) {
        let mut reach = (f64::MAX, 0.0_f64);
        for seed in 0..2000 {
            let delay = delays(policy, seed).nth(n).unwrap().as_secs_f64();
            reach = (reach.0.min(delay), reach.1.max(delay));
        }
        reach
    }

    fn assert_reach(reach: (f64, f64), low: f64, high: f64) {
        let slack = (high - low) / 100.0;
        assert!(reach.0 >= low && reach.0 <= low + slack, "{reach:?} {low}");
        let above = 1.0 / SECOND;
        assert!(
            reach.1 <= high + above && reach.1 >= high - slack,
            "{reach:?} {high}"
        );
    }

    /// gRPC connection backoff: 1 s × 1.6 up to 120 s, ±20 %.
    /// <https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md>
    #[test]
    fn grpc_vector() {
        let policy = Backoff::new().with_jitter(Jitter::Proportional(Ratio::percent(20)));
        for n in 0..15 {
            let base = 1.6_f64.powi(i32::try_from(n).unwrap()).min(120.0);
            assert_reach(reach(policy, n), base * 0.8, base * 1.2);
        }
        assert_reach(reach(policy, 11), 96.0, 144.0);
    }

    /// AWS architecture blog, "Exponential Backoff And Jitter": base 5, cap
    /// 2000, n = 9 (5 × 2⁹ is above the cap).
    /// <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>
    #[test]
    fn aws_vector() {
        let policy = Backoff::new()
            .with_initial(Duration::from_secs(5))
            .with_multiplier(Ratio::percent(200))
            .with_max(Duration::from_secs(2000));
        assert_reach(reach(policy.with_jitter(Jitter::Full), 9), 0.0, 2000.0);
        assert_reach(reach(policy.with_jitter(Jitter::Equal), 9), 1000.0, 2000.0);
    }

    #[test]
    fn decorrelated_draws_below_three_times_the_previous_and_does_not_pile_up_at_the_cap() {
        let policy = Backoff::new()
            .with_initial(Duration::from_secs(1))
            .with_max(Duration::from_secs(20))
            .with_jitter(Jitter::Decorrelated);
        let mut capped = 0_u32;
        for seed in 0..500 {
            let mut previous = policy.initial();
            for delay in delays(policy, seed).take(40) {
                assert!(delay >= policy.initial());
                assert!(delay <= (previous * 3).min(policy.max()));
                capped += u32::from(delay > Duration::from_millis(19_900));
                previous = delay;
            }
        }
        // An even draw from a range that ends at the cap: about 0.5 % of them.
        assert!(capped < 500 * 40 / 100, "{capped} delays at the cap");
    }

    #[test]
    fn decorrelated_delays_grow_from_the_one_before() {
        let policy = Backoff::new().with_jitter(Jitter::Decorrelated);
        for seed in 0..100 {
            // Three times the first delay is as far as one draw can reach.
            let longest = delays(policy, seed).take(40).max().unwrap();
            assert!(longest > policy.initial() * 10, "{longest:?}");
        }
    }

    #[test]
    fn attempts_without_a_limit_do_not_end() {
        let policy = Backoff::new().with_initial(Duration::from_millis(7));
        let limited = policy.with_max_attempts(1);
        assert_eq!(delays(limited, 1).count(), 1);
        assert_eq!(limited.without_max_attempts(), policy);
        assert_eq!(delays(policy, 1).take(100).count(), 100);
    }

    #[test]
    fn still_sane_after_a_billion_attempts() {
        for jitter in [
            Jitter::None,
            Jitter::Equal,
            Jitter::Full,
            Jitter::Decorrelated,
        ] {
            let policy = Backoff::new().with_jitter(jitter);
            let mut delays = delays(policy, 3);
            delays.by_ref().take(1000).for_each(drop);
            delays.attempt = 1_000_000_000;
            assert!(delays.next().unwrap() <= policy.max());
            delays.attempt = u32::MAX;
            assert!(delays.next().unwrap() <= policy.max());
            assert_eq!(delays.attempt(), u32::MAX);
        }
    }

    #[test]
    fn extremes_saturate() {
        let policy = Backoff::new()
            .with_initial(Duration::from_nanos(u64::MAX - 2))
            .with_max(Duration::from_nanos(u64::MAX - 2))
            .with_multiplier(Ratio::permille(u32::MAX))
            .with_jitter(Jitter::Proportional(Ratio::ONE));
        assert_eq!(delays(policy, 1).take(100).count(), 100);
    }

    #[test]
    fn attempts_end() {
        let mut delays = delays(Backoff::new().with_max_attempts(3), 9);
        assert_eq!(delays.by_ref().count(), 3);
        assert_eq!(delays.next(), None);
        delays.reset();
        assert_eq!(delays.count(), 3);
    }

    #[test]
    fn each_series_draws_anew() {
        let mut delays = delays(Backoff::new(), 9);
        let first = delays.next();
        delays.reset();
        assert_ne!(delays.next(), first);
    }

    #[test]
    fn refusals_name_field_and_rule() {
        let refused = |policy: Backoff, field, rule| {
            let error = policy.delays(0).unwrap_err();
            assert_eq!((error.field(), error.rule()), (field, rule));
        };
        let policy = Backoff::new();
        let (zero, day) = (Duration::ZERO, Duration::from_secs(86_400));
        refused(policy.with_initial(zero), "backoff.initial", Rule::Zero);
        refused(policy.with_max(zero), "backoff.max", Rule::Zero);
        refused(policy.with_max(Duration::MAX), "backoff.max", Rule::TooLong);
        refused(policy.with_initial(day), "backoff.max", Rule::BelowInitial);
        refused(
            policy.with_multiplier(Ratio::permille(999)),
            "backoff.multiplier",
            Rule::BelowOne,
        );
        refused(
            policy.with_max_attempts(0),
            "backoff.max_attempts",
            Rule::Zero,
        );
        let beyond = Jitter::Proportional(Ratio::permille(1001));
        refused(policy.with_jitter(beyond), "backoff.jitter", Rule::AboveOne);
    }
}
