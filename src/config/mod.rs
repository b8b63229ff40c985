//! What a session is told once, and checked for.

mod builder;
mod error;
mod pair;

pub use builder::ConfigBuilder;
pub use error::{ConfigError, End, Incompatible, Rule};

use core::num::NonZeroU16;
use core::time::Duration;

use crate::backoff::Backoff;
use crate::time::{Ratio, Span};

/// Which end of the connection a session is.
///
/// ```
/// use nabiz::{Config, Role};
///
/// assert_eq!(Config::server().build()?.role(), Role::Server);
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Dials, and comes back after the link broke.
    Client,
    /// Is dialled. Lives one link, and never comes back: a server cannot dial
    /// a browser.
    Server,
}

/// What proves that the peer lives.
///
/// ```
/// use nabiz::{Config, Event, Evidence, Session, Timestamp};
///
/// let strict = Config::server().with_evidence(Evidence::Heartbeats).build()?;
/// let mut session = Session::new(strict, 7, Timestamp::EPOCH);
/// let later = Timestamp::MAX;
/// session.handle(Event::Received, later);
/// assert!(!session.status(later).silence.unwrap().is_zero());
/// session.handle(Event::HeartbeatReceived, later);
/// assert!(session.status(later).silence.unwrap().is_zero());
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Evidence {
    /// Any byte, a partial frame too: a long transfer is not silence.
    AnyBytes,
    /// Recognised heartbeats and answers alone. For peers whose transport
    /// stays lively when the application has frozen, as a browser answers
    /// WebSocket pings for a page whose scripts stand still.
    Heartbeats,
}

/// The three limits that protocols settle after connecting, for
/// [`Session::set_limits`](crate::Session::set_limits).
///
/// ```
/// use core::time::Duration;
/// use nabiz::{Config, Limits};
///
/// let config = Config::client().build()?;
/// let limits = Limits { answer_timeout: Some(Duration::from_secs(10)), ..config.limits() };
/// assert_eq!(limits.interval, Some(Duration::from_secs(55)));
/// # Ok::<(), nabiz::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// See [`ConfigBuilder::with_interval`]. None: never beat.
    pub interval: Option<Duration>,
    /// See [`ConfigBuilder::with_silence_timeout`]. None: silence is no ground.
    pub silence_timeout: Option<Duration>,
    /// See [`ConfigBuilder::with_answer_timeout`]. None: no answer is awaited
    /// by the clock.
    pub answer_timeout: Option<Duration>,
}

/// A valid configuration. Start from [`Config::client`] or [`Config::server`];
/// the setters, with every field's meaning, default and source, are on
/// [`ConfigBuilder`].
///
/// ```
/// use core::time::Duration;
/// use nabiz::{Config, ConfigError};
///
/// // For a server that closes after 60 s without a byte, and answers pings.
/// const CONFIG: Config = match Config::client()
///     .with_interval(Duration::from_secs(30))
///     .with_answer_timeout(Duration::from_secs(10))
///     .build()
/// {
///     Ok(config) => config,
///     Err(_) => panic!(),
/// };
/// assert_eq!(CONFIG.interval(), Some(Duration::from_secs(30)));
/// assert_eq!(CONFIG.silence_timeout(), Some(Duration::from_secs(120)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    pub(crate) interval: Option<Span>,
    pub(crate) silence_timeout: Option<Span>,
    pub(crate) answer_timeout: Option<Span>,
    pub(crate) write_timeout: Option<Span>,
    pub(crate) hello_timeout: Option<Span>,
    pub(crate) connect_timeout: Option<Span>,
    pub(crate) close_grace: Span,
    /// None: derived, see [`Config::tolerance`].
    stall_tolerance: Option<Span>,
    pub(crate) resume_grace: Span,
    pub(crate) flood_gap: Option<Span>,
    pub(crate) max_age: Option<Span>,
    pub(crate) stable_after: Span,
    pub(crate) max_retry_after: Span,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) flood_strikes: u32,
    max_unanswered: Option<NonZeroU16>,
    pub(crate) interval_jitter: Permille,
    pub(crate) max_age_jitter: Permille,
    pub(crate) probes: u8,
    pub(crate) role: Role,
    pub(crate) evidence: Evidence,
    pub(crate) spread_first_beat: bool,
    pub(crate) only_when_idle: bool,
}

/// A ratio that only shortens: below 1000, so 2 bytes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Permille(u16);

impl Permille {
    /// Anything at or above 100 % becomes 100 %, which `build` refuses.
    const fn new(ratio: Ratio) -> Self {
        match ratio.as_permille() {
            #[allow(clippy::cast_possible_truncation)] // just compared
            permille @ 0..1000 => Self(permille as u16),
            _ => Self(1000),
        }
    }

    pub(crate) const fn ratio(self) -> Ratio {
        Ratio::permille(self.0 as u32)
    }
}

impl Config {
    /// A client's presets: dials, beats every 55 s, calls the server dead
    /// after 120 s of silence, comes back.
    pub const fn client() -> ConfigBuilder {
        ConfigBuilder::client()
    }

    /// A server's presets: the same beats and limits, for one link.
    pub const fn server() -> ConfigBuilder {
        ConfigBuilder::server()
    }

    /// This configuration, to change.
    pub const fn to_builder(self) -> ConfigBuilder {
        ConfigBuilder::of(self)
    }

    /// Which end this is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// See [`ConfigBuilder::with_interval`].
    #[must_use]
    pub const fn interval(&self) -> Option<Duration> {
        duration(self.interval)
    }

    /// See [`ConfigBuilder::with_interval_jitter`].
    #[must_use]
    pub const fn interval_jitter(&self) -> Ratio {
        self.interval_jitter.ratio()
    }

    /// See [`ConfigBuilder::with_spread_first_beat`].
    #[must_use]
    pub const fn spread_first_beat(&self) -> bool {
        self.spread_first_beat
    }

    /// See [`ConfigBuilder::with_only_when_idle`].
    #[must_use]
    pub const fn only_when_idle(&self) -> bool {
        self.only_when_idle
    }

    /// See [`ConfigBuilder::with_silence_timeout`].
    #[must_use]
    pub const fn silence_timeout(&self) -> Option<Duration> {
        duration(self.silence_timeout)
    }

    /// See [`ConfigBuilder::with_evidence`].
    #[must_use]
    pub const fn evidence(&self) -> Evidence {
        self.evidence
    }

    /// See [`ConfigBuilder::with_answer_timeout`].
    #[must_use]
    pub const fn answer_timeout(&self) -> Option<Duration> {
        duration(self.answer_timeout)
    }

    /// See [`ConfigBuilder::with_max_unanswered`].
    #[must_use]
    pub const fn max_unanswered(&self) -> Option<u16> {
        match self.max_unanswered {
            Some(max) => Some(max.get()),
            None => None,
        }
    }

    /// See [`ConfigBuilder::with_write_timeout`].
    #[must_use]
    pub const fn write_timeout(&self) -> Option<Duration> {
        duration(self.write_timeout)
    }

    /// See [`ConfigBuilder::with_hello_timeout`].
    #[must_use]
    pub const fn hello_timeout(&self) -> Option<Duration> {
        duration(self.hello_timeout)
    }

    /// See [`ConfigBuilder::with_connect_timeout`].
    #[must_use]
    pub const fn connect_timeout(&self) -> Option<Duration> {
        duration(self.connect_timeout)
    }

    /// See [`ConfigBuilder::with_close_grace`].
    #[must_use]
    pub const fn close_grace(&self) -> Duration {
        self.close_grace.duration()
    }

    /// The tolerance in force, set or derived; see
    /// [`ConfigBuilder::with_stall_tolerance`].
    #[must_use]
    pub const fn stall_tolerance(&self) -> Duration {
        self.tolerance().duration()
    }

    /// See [`ConfigBuilder::with_resume_grace`].
    #[must_use]
    pub const fn resume_grace(&self) -> Duration {
        self.resume_grace.duration()
    }

    /// See [`ConfigBuilder::with_probes`].
    #[must_use]
    pub const fn probes(&self) -> u8 {
        self.probes
    }

    /// Gap and strikes; see [`ConfigBuilder::with_flood`].
    #[must_use]
    pub const fn flood(&self) -> Option<(Duration, u32)> {
        match self.flood_gap {
            Some(gap) => Some((gap.duration(), self.flood_strikes)),
            None => None,
        }
    }

    /// See [`ConfigBuilder::with_max_age`].
    #[must_use]
    pub const fn max_age(&self) -> Option<Duration> {
        duration(self.max_age)
    }

    /// See [`ConfigBuilder::with_max_age_jitter`].
    #[must_use]
    pub const fn max_age_jitter(&self) -> Ratio {
        self.max_age_jitter.ratio()
    }

    /// See [`ConfigBuilder::with_backoff`].
    #[must_use]
    pub const fn backoff(&self) -> Option<Backoff> {
        self.backoff
    }

    /// See [`ConfigBuilder::with_stable_after`].
    #[must_use]
    pub const fn stable_after(&self) -> Duration {
        self.stable_after.duration()
    }

    /// See [`ConfigBuilder::with_max_retry_after`].
    #[must_use]
    pub const fn max_retry_after(&self) -> Duration {
        self.max_retry_after.duration()
    }

    /// The three limits that may be settled after connecting.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        Limits {
            interval: self.interval(),
            silence_timeout: self.silence_timeout(),
            answer_timeout: self.answer_timeout(),
        }
    }

    /// This configuration with other limits, checked as a whole.
    pub(crate) const fn with_limits(self, limits: Limits) -> Result<Self, ConfigError> {
        let mut config = self;
        config.interval = span(limits.interval);
        config.silence_timeout = span(limits.silence_timeout);
        config.answer_timeout = span(limits.answer_timeout);
        config.to_builder().build()
    }

    /// Whether the peer is to answer our heartbeats.
    pub(crate) const fn expects_answers(&self) -> bool {
        self.answer_timeout.is_some() || self.max_unanswered().is_some()
    }

    /// How long a suspect peer has to answer a probe, from its flush.
    pub(crate) fn probe_limit(&self) -> Span {
        self.resume_grace
            .max(self.answer_timeout.unwrap_or(Span::ZERO))
    }

    /// How late a call may come before it counts as a stall.
    pub(crate) const fn tolerance(&self) -> Span {
        if let Some(tolerance) = self.stall_tolerance {
            return tolerance;
        }
        let counted = match self.max_unanswered() {
            Some(_) => self.interval,
            None => None,
        };
        let limits = [
            self.silence_timeout,
            self.answer_timeout,
            self.write_timeout,
            self.hello_timeout,
            self.connect_timeout,
            counted,
        ];
        let mut tolerance = Span::saturating(Duration::from_secs(5));
        let mut rest = limits.as_slice();
        while let [limit, others @ ..] = rest {
            if let Some(limit) = limit {
                let quarter = limit.scaled(1, 4);
                if quarter.nanos() < tolerance.nanos() {
                    tolerance = quarter;
                }
            }
            rest = others;
        }
        tolerance
    }
}

const fn span(duration: Option<Duration>) -> Option<Span> {
    match duration {
        Some(duration) => Some(Span::saturating(duration)),
        None => None,
    }
}

const fn duration(span: Option<Span>) -> Option<Duration> {
    match span {
        Some(span) => Some(span.duration()),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn presets_are_the_documented_defaults() {
        let client = Config::client().build().unwrap();
        assert_eq!(client.role(), Role::Client);
        assert_eq!(client.interval(), Some(secs(55)));
        assert_eq!(client.interval_jitter(), Ratio::percent(10));
        assert!(client.spread_first_beat() && client.only_when_idle());
        assert_eq!(client.silence_timeout(), Some(secs(120)));
        assert_eq!(client.evidence(), Evidence::AnyBytes);
        assert_eq!(client.answer_timeout(), None);
        assert_eq!(client.max_unanswered(), None);
        assert_eq!(client.write_timeout(), Some(secs(20)));
        assert_eq!(client.hello_timeout(), None);
        assert_eq!(client.connect_timeout(), Some(secs(20)));
        assert_eq!(client.close_grace(), secs(5));
        assert_eq!(client.stall_tolerance(), secs(5));
        assert_eq!((client.resume_grace(), client.probes()), (secs(10), 1));
        assert_eq!(client.flood(), None);
        assert_eq!(client.max_age(), None);
        assert_eq!(client.backoff(), Some(Backoff::new()));
        assert_eq!(client.stable_after(), secs(10));
        assert_eq!(client.max_retry_after(), secs(3600));

        let server = Config::server().build().unwrap();
        assert_eq!(server.role(), Role::Server);
        assert_eq!((server.backoff(), server.connect_timeout()), (None, None));
        assert_eq!(server.limits(), client.limits());
    }

    #[test]
    fn tolerance_is_a_quarter_of_the_shortest_limit_and_at_most_five_seconds() {
        let tolerance = |config: ConfigBuilder| config.build().unwrap().stall_tolerance();
        let bare = Config::server()
            .without_silence_timeout()
            .without_write_timeout();
        assert_eq!(tolerance(bare), secs(5));
        assert_eq!(tolerance(bare.with_silence_timeout(secs(8))), secs(2));
        assert_eq!(tolerance(bare.with_write_timeout(secs(4))), secs(1));
        assert_eq!(tolerance(bare.with_hello_timeout(secs(12))), secs(3));
        let asking = bare
            .with_write_timeout(secs(20))
            .with_answer_timeout(secs(4));
        assert_eq!(tolerance(asking), secs(1));
        let counting = bare
            .with_write_timeout(secs(20))
            .with_max_unanswered(2)
            .with_interval(secs(8));
        assert_eq!(tolerance(counting), secs(2));
        let dialling = Config::client().with_connect_timeout(secs(4));
        assert_eq!(tolerance(dialling), secs(1));
        assert_eq!(tolerance(dialling.with_stall_tolerance(secs(60))), secs(60));
    }
}
